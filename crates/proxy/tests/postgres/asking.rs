//! Asking where one connects: by a reason sent along, in the lobby, or not at all.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::gate::{Policy, Setup, Town, errors_of, out_of};

fn needs_ben() -> Setup {
    Setup { policy: Policy::NeedsBen, ..Setup::default() }
}

// covers: ASK-3 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn a_reason_sent_along_is_asked_for_and_waited_on() {
    let town = Town::with(needs_ben()).await;
    let mut psql = town.psql(&town.conninfo("options='-c tide.reason=disk\\\\ full -c tide.for=1h'"), &["-c", "select 'in'"]);
    let waiting = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
    let approving = async {
        let asked = town.gate.asked().await;
        assert_eq!((asked.reason.as_deref(), asked.asked), (Some("disk full"), "1h".parse().unwrap()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        town.gate.ben_approves();
    };
    let (out, ()) = tokio::join!(waiting, approving);
    let out = out.unwrap();
    assert_eq!(out_of(&out), "in");
    let notices = errors_of(&out);
    assert!(notices.contains("waits for approval. Asked: 1 of dba.") && notices.contains("Ben approved: go ahead"), "{notices}");
}

// covers: ASK-3 (psycopg)
#[tokio::test]
async fn a_driver_without_a_reason_is_told_how_to_give_one() {
    let town = Town::with(needs_ben()).await;
    let said = town.python("import psycopg\ntry: psycopg.connect(dsn)\nexcept psycopg.OperationalError as e: print(e)\n").await;
    assert!(said.contains("needs the agreement of 1 of dba") && said.contains("tide.reason"), "{said}");
    assert!(town.gate.asked.borrow().is_empty());
}

// covers: ASK-3 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn waiting_has_an_end_and_names_the_request() {
    let town = Town::with(Setup { patience: Duration::from_millis(300), ..needs_ben() }).await;
    let conninfo = town.conninfo("options='-c tide.reason=disk\\\\ full'");
    let out = town.psql(&conninfo, &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("FATAL:  Your request waits for approval (req_"), "{}", errors_of(&out));
    // Connecting again finds the same request.
    let out = town.psql(&conninfo, &["-c", "select 1"]).output().await.unwrap();
    assert!(errors_of(&out).contains("(req_"));
    assert_eq!(town.gate.asked.borrow().len(), 1);
    town.gate.ben_approves();
    assert_eq!(out_of(&town.psql(&conninfo, &["-c", "select 1"]).output().await.unwrap()), "1");
}

// covers: ASK-3 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn who_gave_no_reason_gives_it_in_the_lobby() {
    let town = Town::with(needs_ben()).await;
    let mut psql = town.psql(&town.conninfo(""), &[]);
    let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    let mut shown = BufReader::new(child.stderr.take().unwrap()).lines();
    let until = async |shown: &mut tokio::io::Lines<BufReader<tokio::process::ChildStderr>>, text: &str| {
        let found = async {
            while let Some(line) = shown.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("never said: {text}");
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.unwrap_or_else(|_| panic!("not said in time: {text}"));
    };
    until(&mut shown, "needs the agreement of 1 of dba").await;
    typed.write_all(b"select 1;\n").await.unwrap();
    until(&mut shown, "no statement runs here").await;
    typed.write_all(b"request 'Ana''s order is stuck' for 1h;\n").await.unwrap();
    until(&mut shown, "waits for approval").await;
    assert_eq!(town.gate.asked().await.reason.as_deref(), Some("Ana's order is stuck"));
    town.gate.ben_approves();
    until(&mut shown, "Ben approved").await;
    typed.write_all(b"select 'in as ' || left(current_user, 3);\n").await.unwrap();
    drop(typed);
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert!(out.contains("in as app"), "{out}");
    assert_eq!(town.gate.texts(), ["select 'in as ' || left(current_user, 3);"]);
}

/// What `psql` shows of what is typed.
async fn types(town: &Town, lines: &[&str]) -> (String, String) {
    let mut child = town.psql(&town.conninfo(""), &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    for line in lines {
        typed.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    drop(typed);
    let out = child.wait_with_output().await.unwrap();
    (out_of(&out), errors_of(&out))
}

// covers: GRANT-9 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_is_declared_in_the_lobby_where_policy_has_that_path() {
    for policy in [Policy::OnlyEmergency, Policy::NeedsBenOrEmergency] {
        let only = matches!(policy, Policy::OnlyEmergency);
        let town = Town::with(Setup { policy, ..Setup::default() }).await;
        let (out, shown) =
            types(&town, &["break glass;", "break glass 'site down' for 30m;", "select 'in as ' || left(current_user, 3);"]).await;
        assert!(shown.contains("Everybody of dba is told") && shown.contains("the reason stands in single quotes"), "{shown}");
        assert!(shown.contains(if only { "Type  break glass" } else { "Type  request" }), "{shown}");
        assert!(!only || !shown.contains("Type  request"), "{shown}");
        assert!(out.contains("in as app"), "{out}{shown}");
        let asked = town.gate.asked().await;
        assert_eq!((asked.reason.as_deref(), asked.break_glass, asked.asked), (Some("site down"), true, "30m".parse().unwrap()));
        // The ordinary way is not there where it is refused, nor the emergency where policy has none.
        let town = Town::with(Setup { policy: if only { Policy::OnlyEmergency } else { Policy::NeedsBen }, ..Setup::default() }).await;
        let typed = if only { "request 'site down';" } else { "break glass 'site down';" };
        let (out, shown) = types(&town, &[typed, "select 'in';"]).await;
        assert_eq!(out, "");
        assert!(shown.contains(if only { "there is only the emergency" } else { "no statement runs here" }), "{shown}");
        assert!(town.gate.asked.borrow().is_empty());
    }
    // A program is told no, and declares nothing.
    let town = Town::with(Setup { policy: Policy::OnlyEmergency, ..Setup::default() }).await;
    let said = town.python("import psycopg\ntry: psycopg.connect(dsn)\nexcept psycopg.OperationalError as e: print(e)\n").await;
    assert!(said.contains("it is Friday"), "{said}");
}

// covers: GRANT-5 (psql)
#[tokio::test(flavor = "multi_thread")]
async fn more_time_is_asked_for_from_inside_a_session() {
    let town = Town::open().await;
    let typed = [
        "extend 30m 'not done';",
        "extend 'not done';",
        "extend 30m;",
        "extend soon;",
        "begin;",
        "extend 30m 'not done';",
        "commit;",
        "select 'still in';",
    ];
    let (out, shown) = types(&town, &typed).await;
    assert!(shown.contains("this session is open until 14:43:20 UTC"), "{shown}");
    assert!(shown.contains("waits for approval. Asked: 1 of dba. What comes of it is shown here"), "{shown}");
    assert!(shown.contains("ERROR:  This access needs a reason") && shown.contains("Type  extend 30m '<reason>';"), "{shown}");
    assert!(shown.contains("more time is asked for outside a transaction"), "{shown}");
    assert_eq!(out, "EXTEND\nEXTEND\nBEGIN\nCOMMIT\nstill in");
    // None of it went to the server.
    assert_eq!(town.gate.texts(), ["begin;", "commit;", "select 'still in';"]);
}
