//! How many rows a statement brings back under a role, and how long it runs.

use access::rights::DatabaseRights;
use access::session::EndReason;

use super::gate::{errors_of, out_of};
use super::restricted::{clerk, shop};

// covers: MAY-6 (psql)
#[tokio::test]
async fn a_statement_brings_back_no_more_rows_than_the_role_allows() {
    let town = shop(DatabaseRights { row_limit: Some(2), ..clerk() }).await;
    assert_eq!(out_of(&town.run("select id from orders order by id").await), "1\n2");
    assert_eq!(out_of(&town.run("select id from orders where id = 1; select id from orders order by id").await), "1\n1\n2");
    town.target.query("insert into orders values (3, 'third', 1)").unwrap();
    let out = town.run("select id, status from orders order by id").await;
    assert!(errors_of(&out).contains("one statement may bring back 2 rows under this role"), "{}", errors_of(&out));
    assert!(!out_of(&out).contains("third"), "{}", out_of(&out));
    let closed = town.gate.ended(3).await;
    assert_eq!((closed[2].end, closed[2].confirmed), (EndReason::Client, true));
    assert_eq!(town.gate.of_kind("sql.refused").len(), 1);
    let mut entered = town.gate.refused.subscribe();
    entered.wait_for(|all| all.len() == 1).await.unwrap();
    let said = town
        .python(
            r"import psycopg
with psycopg.connect(dsn, autocommit=True) as c:
    print(c.execute('select id from orders where id < %s order by id', (3,), binary=True).fetchall())
    try: print(c.execute('select id from orders where id < %s order by id', (4,), binary=True).fetchall())
    except psycopg.Error as e: print(e.sqlstate, 'LIMIT 2' in str(e))
",
        )
        .await;
    assert_eq!(said, "[(1,), (2,)]\n42501 True");
}

// covers: MAY-6 (psql)
#[tokio::test]
async fn an_unrestricted_role_has_its_limits_too() {
    let rights = DatabaseRights {
        unrestricted: true,
        row_limit: Some(2),
        statement_timeout: Some("1m".parse().unwrap()),
        ..DatabaseRights::default()
    };
    let town = shop(rights).await;
    assert_eq!(out_of(&town.run("show statement_timeout; select id from payments").await), "1min\n1");
    let out = town.run("select generate_series(1, 3)").await;
    assert!(errors_of(&out).contains("one statement may bring back 2 rows under this role"), "{}", errors_of(&out));
}

// covers: MAY-6 (psql)
#[tokio::test]
async fn a_statement_runs_no_longer_than_the_role_allows() {
    let town = shop(DatabaseRights { statement_timeout: Some("1s".parse().unwrap()), ..clerk() }).await;
    let slow = "select count(*) from generate_series(1, 3000000000) a";
    let out = town.run(slow).await;
    assert!(errors_of(&out).contains("canceling statement due to statement timeout"), "{}", errors_of(&out));
    assert_eq!(out_of(&town.run("reset all; show statement_timeout").await), "RESET\n1s");
    for sql in ["set statement_timeout = 0", "set local statement_timeout = '1h'", "select set_config('statement_timeout', '0', false)"] {
        assert!(errors_of(&town.run(sql).await).contains("Your role does not include this"), "{sql}");
    }
    let out = town.psql(&town.conninfo("options='-c statement_timeout=0'"), &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("is fixed under this role"), "{}", errors_of(&out));
}
