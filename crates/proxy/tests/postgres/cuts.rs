//! The end: warned before it, cut at it, whatever runs; seen gone at the server.

use std::time::Duration;

use access::session::{EndReason, Standing};
use access::time::Span;
use tokio::process::Child;

use super::gate::{Setup, Town, errors_of, out_of};

/// What of the session still runs at the server.
fn running(town: &Town) -> String {
    town.target
        .query("select coalesce(string_agg(state || ' ' || query, ';'), '') from pg_stat_activity where datname = current_database() and application_name like '%ses\\_%'")
        .unwrap()
}

/// Starts `psql` with statements and waits until the server runs them.
async fn start(town: &Town, sql: &str) -> Child {
    let mut psql = town.psql(&town.conninfo(""), &["-c", sql]);
    let child = psql.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..400 {
        if running(town).starts_with("active") {
            return child;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the statement does not run");
}

// covers: GRANT-3 (psql), D1 (psql), D2 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_reaches_a_running_statement() {
    for (end, told) in [
        (EndReason::Expired, "Your grant's time is up."),
        (EndReason::Revoked, "Your grant was revoked."),
        (EndReason::Locked, "has been locked"),
        (EndReason::Killed, "An administrator ended this session."),
    ] {
        let town = Town::open().await;
        // Left alone it goes on.
        assert_eq!(out_of(&town.run("select 'fine' from pg_sleep(0.3)").await), "fine");
        let child = start(&town, "select pg_sleep(60)").await;
        let before = std::time::Instant::now();
        town.gate.stand(&Standing::Cut(end));
        let out = child.wait_with_output().await.unwrap();
        assert!(errors_of(&out).contains(&format!("FATAL:  {told}")) || errors_of(&out).contains(told), "{}", errors_of(&out));
        let ended = town.gate.ended(2).await[1].clone();
        assert_eq!((ended.end, ended.confirmed), (end, true));
        assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
        assert_eq!(running(&town), "");
    }
}

// covers: GRANT-3 (psql), D2 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_ignores_cancels_is_ended_with_its_process() {
    for acts_as_another in [false, true] {
        let town = Town::open().await;
        let (app, plain) = (format!("app_{}", town.target.name()), format!("plain_{}", town.target.name()));
        if acts_as_another {
            // Which may not end what the account itself began.
            let sql = format!("drop role if exists {plain}; create role {plain}; grant {plain} to {app}; alter role {app} nosuperuser");
            town.target.admin(&format!("{sql}; alter role {app} set role = {plain}")).unwrap();
            assert_eq!(out_of(&town.run("select current_user").await), plain);
        }
        let stubborn = "do $$ begin loop begin perform pg_sleep(30); exception when query_canceled then null; end; end loop; end $$";
        let child = start(&town, stubborn).await;
        town.gate.stand(&Standing::Cut(EndReason::Revoked));
        child.wait_with_output().await.unwrap();
        let ended = town.gate.ended(1 + usize::from(acts_as_another)).await.last().unwrap().clone();
        assert_eq!((ended.end, ended.confirmed), (EndReason::Revoked, true));
        assert_eq!(running(&town), "");
        if acts_as_another {
            town.target.admin(&format!("drop role {plain}")).unwrap();
        }
    }
}

// covers: D2 (psql), GRANT-3 (psycopg)
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_reaches_a_copy_each_way_and_rows_that_nobody_reads() {
    let town = Town::open().await;
    town.run("create table t (s text)").await;
    let copying_in = r#"import psycopg
with psycopg.connect(dsn) as c, c.cursor() as cur:
    try:
        with cur.copy('copy t from stdin') as copy:
            while True: copy.write('x' * 1000 + '\n')
    except psycopg.Error as e: print(e.sqlstate or 'closed')
"#;
    let streaming = r#"import psycopg, time
with psycopg.connect(dsn) as c, c.cursor() as cur:
    try:
        for _ in cur.stream("select repeat('x', 1000) from generate_series(1, 100000000)"): time.sleep(0.01)
    except psycopg.Error as e: print('ended')
"#;
    for (count, program) in [(2, copying_in), (3, streaming)] {
        let cutting = async {
            for _ in 0..400 {
                if running(&town).starts_with("active") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            town.gate.stand(&Standing::Cut(EndReason::Expired));
            town.gate.ended(count).await.pop().unwrap()
        };
        let (said, ended) = tokio::join!(town.python(program), cutting);
        assert!(["57P01", "closed", "ended"].contains(&said.as_str()), "{said}");
        assert_eq!((ended.end, ended.confirmed), (EndReason::Expired, true));
        assert_eq!(running(&town), "");
    }
    assert_eq!(town.target.query("select count(*) from t").unwrap(), "0");
}

// covers: GRANT-2 (psycopg)
#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_a_notice_and_an_end_is_a_fatal_error() {
    let town = Town::open().await;
    let program = r#"import psycopg, time
seen = []
with psycopg.connect(dsn, autocommit=True) as c:
    c.add_notice_handler(lambda d: seen.append(d.message_primary))
    print(c.execute('select 1').fetchone()[0], flush=True)
    for _ in range(200):
        try: c.execute('select 1')
        except psycopg.Error: break
        if seen: break
        time.sleep(0.05)
    print(seen[0].split(',')[0], flush=True)
    try:
        while True:
            c.execute('select 1'); time.sleep(0.02)
    except psycopg.Error as e: print(e.sqlstate or e)
"#;
    let ending = async {
        while town.gate.texts().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ends_at = jiff::Timestamp::from_second(1_790_000_600).unwrap();
        town.gate.stand(&Standing::Warned { ends_at, left: Span::minutes(5) });
        tokio::time::sleep(Duration::from_secs(3)).await;
        town.gate.stand(&Standing::Cut(EndReason::Expired));
    };
    let (said, ()) = tokio::join!(town.python(program), ending);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["1", "this session ends in 5m"], "{said}");
    assert!(lines[2].contains("57P01") || lines[2].contains("Your grant's time is up"), "{said}");
    assert_eq!(town.gate.ended(1).await[0].end, EndReason::Expired);
}

// covers: SES-3 (psql), F1 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_does_not_run_on() {
    let town = Town::open().await;
    let child = start(&town, "select pg_sleep(60)").await;
    town.gate.break_recorder();
    let out = child.wait_with_output().await.unwrap();
    assert!(errors_of(&out).contains("could no longer be recorded"), "{}", errors_of(&out));
    assert_eq!(town.gate.ended(1).await[0].end, EndReason::Recorder);
    assert_eq!(running(&town), "");
    // Nor does anything reach the server afterwards.
    let out = town.run("create table never (n int)").await;
    assert!(errors_of(&out).contains("could no longer be recorded"), "{}", errors_of(&out));
    assert_eq!(town.target.query("select count(*) from pg_tables where tablename = 'never'").unwrap(), "0");
}

// covers: SES-3 (psql), F1 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_cannot_be_closed_ends_its_session_as_that() {
    let town = Town::open().await;
    town.gate.notices_what_cannot_be_closed(async || town.run("select 1").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_nothing_for_the_idle_time_is_cut() {
    let town = Town::with(Setup { idle: Some(Span::seconds(2)), ..Setup::default() }).await;
    let said = town
        .python(
            r#"import psycopg, time
with psycopg.connect(dsn, autocommit=True) as c:
    for _ in range(7): c.execute('select 1'); time.sleep(0.4)
    print('kept'); time.sleep(5)
    try: c.execute('select 1')
    except psycopg.Error as e: print('cut')
"#,
        )
        .await;
    assert_eq!(said, "kept\ncut");
    assert_eq!(town.gate.ended(1).await[0].end, EndReason::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_runs_longer_than_the_idle_time_comes_back() {
    let town = Town::with(Setup { idle: Some(Span::seconds(2)), ..Setup::default() }).await;
    let said = town
        .python(
            r#"import psycopg, time
with psycopg.connect(dsn, autocommit=True) as c:
    c.execute('create table t (s text)')
    for _ in range(2): c.execute('select pg_sleep(4), %s::text', ('x',)); print('came back')
    c.execute('select 1'); print('goes on'); time.sleep(5)
    try: c.execute('select 1')
    except psycopg.Error as e: print('cut')
# A copy that waits for rows, and something asked that nobody wants an answer to, are silence.
with psycopg.connect(dsn, autocommit=True) as c, c.cursor() as k:
    try:
        with k.copy('copy t from stdin') as copy: time.sleep(5); copy.write('x\n'); time.sleep(1)
    except psycopg.Error as e: print('cut')
"#,
        )
        .await;
    assert_eq!(said, "came back\ncame back\ngoes on\ncut\ncut");
    assert!(town.gate.ended(2).await.iter().all(|closed| closed.end == EndReason::Idle));
}

// covers: GRANT-7 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_nothing_running() {
    let town = Town::open().await;
    let mut child = start(&town, "select pg_sleep(60)").await;
    child.kill().await.unwrap();
    let ended = town.gate.ended(1).await[0].clone();
    assert_eq!((ended.end, ended.confirmed), (EndReason::Client, true));
    assert_eq!(running(&town), "");
}

// covers: D7 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_reaches_only_the_session_whose_key_it_has() {
    use std::io::{Read, Write};
    let town = Town::open().await;
    let mut child = start(&town, "select pg_sleep(60)").await;
    // The server's own process id, and guesses: nothing happens.
    let pid: u32 = town
        .target
        .query("select pid from pg_stat_activity where datname = current_database() and application_name like '%ses\\_%'")
        .unwrap()
        .parse()
        .unwrap();
    for secret in 0..50u32 {
        let key = wire::postgres::startup::CancelKey::new(pid, &secret.to_be_bytes()).unwrap();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", town.port)).unwrap();
        stream.write_all(&key.request()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
    assert!(running(&town).starts_with("active"));
    // psql's own Ctrl-C does.
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().unwrap().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = tokio::time::timeout(Duration::from_secs(60), child.wait()).await.expect("psql ends").unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(town.gate.of_kind("sql.outcome")[0]["sqlstate"], "57014");
}
