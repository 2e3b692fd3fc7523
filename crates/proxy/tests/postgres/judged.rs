//! Statements are judged before a byte of them is sent; what is refused leaves nothing behind.

use access::reason::{Reason, Refusal};
use access::rights::DatabaseRights;
use access::session::SessionFacts;
use tidegate_proxy::postgres::judge::{Act, Judge, Verdict};

use super::gate::{Setup, Town, errors_of, out_of};

/// Refuses whatever speaks of a secret.
struct NoSecrets;

impl Judge for NoSecrets {
    fn judge(&mut self, act: Act<'_>) -> Verdict {
        let text = match act {
            Act::Query(text) | Act::Parse { text, .. } => text,
            Act::Bind { text, .. } => text.unwrap_or_default(),
            Act::FunctionCall(_) => b"secret",
        };
        if text.windows(6).any(|w| w == b"secret") {
            Verdict::Refuse(Refusal::because(Reason::NotInRole, "secrets are not part of the role"))
        } else {
            Verdict::Allow
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a judge's maker")]
fn no_secrets(_: &SessionFacts, _: &DatabaseRights) -> Result<Box<dyn Judge>, Refusal> {
    Ok(Box::new(NoSecrets))
}

fn judged() -> Setup {
    Setup { judge: no_secrets, ..Setup::default() }
}

// covers: D10 (psql), MAY-6 (psql)
#[tokio::test]
async fn a_refused_statement_leaves_nothing_of_its_transaction() {
    let town = Town::with(judged()).await;
    town.target.query("create table t (n int); create table secret (n int)").unwrap();
    assert_eq!(errors_of(&town.run("begin; insert into t values (1); commit").await), "");
    let out = town
        .psql(&town.conninfo(""), &["-c", "begin", "-c", "insert into t values (2)", "-c", "insert into secret values (3)", "-c", "commit"])
        .output()
        .await
        .unwrap();
    assert!(errors_of(&out).contains("ERROR:  Your role does not include this: secrets are not part of the role"), "{}", errors_of(&out));
    assert!(out_of(&out).contains("ROLLBACK"), "{}", out_of(&out));
    // A batch is judged whole: nothing of it is sent.
    let out = town.run("insert into t values (4); select * from secret").await;
    assert!(errors_of(&out).contains("ERROR:"), "{}", errors_of(&out));
    assert_eq!(town.target.query("select string_agg(n::text, ',') from t").unwrap(), "1");
    assert_eq!(town.target.query("select count(*) from secret").unwrap(), "0");
    assert_eq!(town.gate.of_kind("sql.refused").len(), 2);
    assert_eq!(town.gate.refused.borrow().len(), 2);
    assert!(town.gate.texts().iter().all(|t| !t.contains("secret")));
}

// covers: D10 (psycopg)
#[tokio::test]
async fn a_pipeline_goes_on_after_its_sync() {
    let town = Town::with(judged()).await;
    let said = town
        .python(
            r#"import psycopg
with psycopg.connect(dsn, autocommit=True) as c:
    c.execute('create table t (n int)')
    try:
        with c.pipeline() as p:
            c.execute('insert into t values (%s)', (1,))
            c.execute('select %s::text, \'secret\'', ('x',))
            c.execute('insert into t values (%s)', (2,))
            p.sync()
            c.execute('insert into t values (%s)', (3,))
    except psycopg.errors.InsufficientPrivilege as e: print(e.sqlstate)
    print([r[0] for r in c.execute('select n from t order by n')])
    try:
        with c.transaction():
            c.execute('insert into t values (4)')
            c.execute('select %s, 1 as secret', (1,), prepare=True)
    except psycopg.errors.InsufficientPrivilege: print('refused')
    print([r[0] for r in c.execute('select n from t order by n')])
"#,
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[2]), ("42501", "refused"), "{said}");
    assert_eq!(lines[1], lines[3]);
    assert!(!lines[1].contains('2') && !lines[1].contains('4'), "{said}");
}

// covers: MAY-6 (psql)
#[tokio::test]
async fn a_restricted_role_opens_nothing_where_nobody_can_judge() {
    let town = Town::with(Setup { rights: DatabaseRights::default(), ..Setup::default() }).await;
    let out = town.run("select 1").await;
    assert!(errors_of(&out).contains("the role is restricted"), "{}", errors_of(&out));
    let town = Town::open().await;
    assert_eq!(out_of(&town.run("select 1").await), "1");
}
