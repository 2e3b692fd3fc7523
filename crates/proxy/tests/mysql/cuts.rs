//! The end: cut at it, whatever runs; seen gone at the server.

use std::process::Stdio;
use std::time::Duration;

use access::session::{EndReason, Standing};
use access::time::Span;
use tokio::process::Child;

use super::gate::{Setup, Town, errors_of, out_of};

/// What of the session still is at the server.
fn there(town: &Town) -> String {
    town.target.query(&format!("select coalesce(group_concat(command, ' ', coalesce(info, '')), '') from information_schema.processlist where user like '%\\_{}'", town.target.name())).unwrap()
}

/// Starts `mariadb` with a statement and waits until the server runs it.
async fn start(town: &Town, sql: &str) -> Child {
    let child = town.client(&["-e", sql]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..400 {
        if there(town).starts_with("Query ") {
            return child;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the statement does not run");
}

// covers: GRANT-2 (mysql), GRANT-3 (mysql), D1 (mysql), D2 (mysql)
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
        assert_eq!(out_of(&town.run("select 'fine', sleep(0.3)").await), "fine\t0");
        let child = start(&town, "select sleep(60)").await;
        town.gate.stand(&Standing::Cut(end));
        let out = child.wait_with_output().await.unwrap();
        assert!(errors_of(&out).contains(told), "{}", errors_of(&out));
        let ended = town.gate.ended(2).await[1].clone();
        assert_eq!((ended.end, ended.confirmed), (end, true));
        assert_eq!(there(&town), "");
    }
}

// covers: GRANT-3 (mysql), D2 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_in_the_middle_of_rows_ends_them_with_an_error() {
    let town = Town::open().await;
    let said = town
        .python_beside(
            r"import pymysql, sys
c = connect(cursorclass=pymysql.cursors.SSCursor)
k = c.cursor(); k.execute('select repeat(seq, 1000) from seq_1_to_100000000')
try:
    for n, _ in enumerate(k):
        if n == 101: print('going', flush=True)
except pymysql.Error as e: print(n > 100, e.args)
",
            async {
                town.gate.stand(&Standing::Cut(EndReason::Revoked));
            },
        )
        .await;
    assert!(said.contains("True (1927, 'Your grant was revoked."), "{said}");
    assert!(town.gate.ended(1).await[0].confirmed);
    assert_eq!(there(&town), "");
}

// covers: GRANT-3 (mysql), D2 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_cut_and_says_so_when_it_is_asked_next() {
    let town = Town::open().await;
    let said = town
        .python_beside(
            r"import pymysql, sys
c = connect(); k = c.cursor(); k.execute('select 1')
print('going', flush=True); sys.stdin.readline()
try: k.execute('select 2')
except pymysql.Error as e: print(e.args)
",
            async {
                town.gate.stand(&Standing::Cut(EndReason::Expired));
                assert!(town.gate.ended(1).await[0].confirmed);
                assert_eq!(there(&town), "");
            },
        )
        .await;
    assert!(said.contains("grant's time is up"), "{said}");
    assert_eq!(town.gate.texts().last().unwrap(), "select 1");
}

// covers: SES-3 (mysql), F1 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_does_not_run_on() {
    let town = Town::open().await;
    let child = start(&town, "select sleep(60)").await;
    town.gate.break_recorder();
    let out = child.wait_with_output().await.unwrap();
    assert!(errors_of(&out).contains("could no longer be recorded"), "{}", errors_of(&out));
    assert_eq!(town.gate.ended(1).await[0].end, EndReason::Recorder);
    assert_eq!(there(&town), "");
    // Nor does anything reach the server afterwards.
    let out = town.run("create table never (n int)").await;
    assert!(errors_of(&out).contains("could no longer be recorded"), "{}", errors_of(&out));
    assert_eq!(
        town.target
            .query(&format!(
                "select count(*) from information_schema.tables where table_schema = '{}' and table_name = 'never'",
                town.target.name()
            ))
            .unwrap(),
        "0"
    );
}

// covers: SES-3 (mysql), F1 (mysql)
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
            r"import pymysql, time
c = connect(); k = c.cursor()
for _ in range(7): k.execute('select 1'); time.sleep(0.4)
print('kept'); time.sleep(5)
try: k.execute('select 1')
except pymysql.Error as e: print('cut')
",
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
            r"import pymysql, time
c = connect(); k = c.cursor()
k.execute('select sleep(4)'); print('came back', k.fetchone()[0])
k.execute('select 1'); print('goes on')
time.sleep(5)
try: k.execute('select 1')
except pymysql.Error as e: print('cut')
",
        )
        .await;
    assert_eq!(said, "came back 0\ngoes on\ncut");
    assert_eq!(town.gate.ended(1).await[0].end, EndReason::Idle);
}

// covers: GRANT-7 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_leaves_nothing_running() {
    let town = Town::open().await;
    let mut child = start(&town, "select sleep(60)").await;
    child.kill().await.unwrap();
    let ended = town.gate.ended(1).await[0].clone();
    assert_eq!((ended.end, ended.confirmed), (EndReason::Client, true));
    assert_eq!(there(&town), "");
}

// covers: D7 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_reaches_only_connections_of_ones_own() {
    let town = Town::open().await;
    // Somebody else works at the server, past the gate.
    let other = town.target.account("other", "pw", testkit::mariadb::Proof::Native).unwrap();
    let mut direct = tokio::process::Command::new("mariadb");
    direct.args([
        "--no-defaults",
        "-h",
        "127.0.0.1",
        "-P",
        &town.target.port().to_string(),
        "-u",
        &other,
        "-ppw",
        "-e",
        "select sleep(60)",
    ]);
    let mut direct = direct.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let id = loop {
        let id = town
            .target
            .query(&format!("select id from information_schema.processlist where user = '{other}' and info is not null"))
            .unwrap();
        if !id.is_empty() {
            break id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    town.target.query(&format!("grant connection admin on *.* to app_{}", town.target.name())).unwrap();
    for sql in [
        format!("kill {id}"),
        format!("kill query {id}"),
        format!("/*!kill {id}*/"),
        format!("execute immediate 'kill {id}'"),
        "kill user tide".to_owned(),
    ] {
        let out = town.run(&sql).await;
        assert!(errors_of(&out).contains("ERROR 1142"), "{sql}: {}", errors_of(&out));
    }
    assert!(
        direct.try_wait().unwrap().is_none()
            && town.target.query(&format!("select count(*) from information_schema.processlist where id = {id}")).unwrap() == "1"
    );
    // What computes its text is recorded as it stands: whom it reaches, nobody here can tell.
    let computed = "set @s = concat('ki', 'll 0')";
    let out = town.run(&format!("{computed}; prepare s from @s; execute s")).await;
    assert!(errors_of(&out).contains("ERROR 1094"), "{}", errors_of(&out));
    assert!(town.gate.texts().ends_with(&[computed, "prepare s from @s", "execute s"].map(str::to_owned)), "{:?}", town.gate.texts());
    // One's own by the number the client knows, and by the server's.
    let said = town
        .python(
            r"import pymysql, threading, time
def run(kill):
    c = connect(); other = connect(); k = c.cursor()
    k.execute('select connection_id()'); theirs = k.fetchone()[0]
    t = threading.Timer(0.5, lambda: other.cursor().execute(kill.format(gates=c.thread_id(), servers=theirs)))
    t.start()
    try: k.execute('select sleep(60)'); print('came back', k.fetchone()[0])
    except pymysql.Error as e: print(e.args[0])
    t.join()
    try: k.execute('select 1'); print('goes on')
    except pymysql.Error as e: print('gone')
run('KILL QUERY {gates}'); run('kill query {servers}'); run('kill {gates}')
",
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[1], lines[3], lines[5]), ("goes on", "goes on", "gone"), "{said}");
}
