//! Statements are judged before a byte of them is sent; what is refused leaves nothing behind.

use std::collections::BTreeSet;

use access::reason::{Reason, Refusal};
use access::rights::DatabaseRights;
use access::session::SessionFacts;
use sql::postgres::{Copied, Form, Lines};
use tidegate_proxy::postgres::judge::{Act, Allowed, Judge, Judging, MakeJudge, Verdict};
use tidegate_proxy::postgres::veil::Withheld;

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
            Verdict::Refuse(Refusal::because(Reason::NotInRole, "secrets are not part of the role").into())
        } else {
            Verdict::Allow(Allowed::default())
        }
    }
}

fn no_secrets(_: &SessionFacts, _: &DatabaseRights) -> Judging {
    Judging::Now(Box::new(NoSecrets))
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
    let mut entered = town.gate.refused.subscribe();
    entered.wait_for(|all| all.len() == 2).await.unwrap();
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
async fn a_session_without_a_judge_does_not_open() {
    fn unreadable(_: &SessionFacts, _: &DatabaseRights) -> Judging {
        Judging::AfterReading { query: "select * from gone".into(), then: Box::new(|_| Ok(Box::new(NoSecrets))) }
    }
    fn unwilling(_: &SessionFacts, _: &DatabaseRights) -> Judging {
        let why = "this catalog makes no sense";
        Judging::AfterReading { query: "select 1".into(), then: Box::new(move |_| Err(Refusal::because(Reason::TargetRefused, why))) }
    }
    fn reads(_: &SessionFacts, _: &DatabaseRights) -> Judging {
        let then = |rows: &[Vec<Option<String>>]| {
            assert_eq!(rows, [[Some("1".to_owned()), None]]);
            Ok(Box::new(NoSecrets) as Box<dyn Judge>)
        };
        Judging::AfterReading { query: "select 1, null".into(), then: Box::new(then) }
    }
    let town = Town::with(Setup { judge: reads, ..Setup::default() }).await;
    assert_eq!(out_of(&town.run("select 1").await), "1");
    for (judge, why) in [(unreadable as MakeJudge, "relation \"gone\" does not exist"), (unwilling, "this catalog makes no sense")] {
        let town = Town::with(Setup { judge, ..Setup::default() }).await;
        let out = town.run("select 1").await;
        assert!(errors_of(&out).contains(why), "{}", errors_of(&out));
        assert!(town.gate.texts().is_empty());
    }
}

/// Has another query run for whatever copies, of which something is masked.
struct Copies;

impl Judge for Copies {
    fn judge(&mut self, act: Act<'_>) -> Verdict {
        let (Act::Query(text) | Act::Parse { text, .. }) = act else { return Verdict::Allow(Allowed::default()) };
        let form = Form::Lines(Lines { delimiter: b'\t', null: "\\N".to_owned(), header: false, quotes: None });
        let copied = text.starts_with(b"copy").then(|| Copied { query: "select 'open'".to_owned(), form, masked: true, of_table: true });
        Verdict::Allow(Allowed { copied, ..Allowed::default() })
    }

    fn withheld(&self) -> Withheld {
        Withheld { shown: Some(BTreeSet::new()), ..Withheld::default() }
    }
}

// covers: PG-4 (psycopg)
#[tokio::test]
async fn what_another_query_has_to_run_for_is_never_prepared() {
    fn copies(_: &SessionFacts, _: &DatabaseRights) -> Judging {
        Judging::Now(Box::new(Copies))
    }
    let town = Town::with(Setup { judge: copies, ..Setup::default() }).await;
    town.target.query("create table t (card text); insert into t values ('4111-unique-card')").unwrap();
    let said = town
        .python(
            r"import psycopg
with psycopg.connect(dsn, autocommit=True) as c:
    with c.cursor().copy('copy t to stdout') as rows: print(b''.join(bytes(data) for data in rows))
    try: c.execute('copy t to stdout', prepare=True); print('it was prepared')
    except psycopg.Error as e: print(e.sqlstate, 'plain query' in str(e))
",
        )
        .await;
    assert_eq!(said, "b'open\\n'\n0A000 True");
}
