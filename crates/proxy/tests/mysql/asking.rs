//! Asking where one connects: by a reason sent along, in the lobby, or not at all.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::gate::{Policy, Setup, Town, errors_of, out_of};

fn needs_ben() -> Setup {
    Setup { policy: Policy::NeedsBen, ..Setup::default() }
}

/// A Node program that connects with a reason.
const WITH_REASON: &str = r"const attributes = {tide_reason: 'disk full', tide_for: '1h'};
const c = await mysql.createConnection({...options, connectAttributes: attributes});
console.log('signed in');
try { const [rows] = await c.query(`select 'in' as x`); console.log(rows[0].x) } catch (e) { console.log(e.errno, e.message) }
await c.end().catch(() => {});
";

// covers: ASK-3 (mysql2)
#[tokio::test(flavor = "multi_thread")]
async fn a_reason_sent_along_is_asked_for_and_waited_on() {
    let town = Town::with(needs_ben()).await;
    let approving = async {
        let asked = town.gate.asked().await;
        assert_eq!((asked.reason.as_deref(), asked.asked), (Some("disk full"), "1h".parse().unwrap()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        town.gate.ben_approves();
    };
    let (said, ()) = tokio::join!(town.node(WITH_REASON), approving);
    assert_eq!(said, "signed in\nin");
}

// covers: ASK-3 (pymysql)
#[tokio::test]
async fn a_driver_without_a_reason_is_told_how_to_give_one() {
    let town = Town::with(needs_ben()).await;
    let said = town.python("import pymysql\ntry: connect()\nexcept pymysql.Error as e: print(e)\n").await;
    assert!(said.contains("needs the agreement of 1 of dba") && said.contains("tide_reason"), "{said}");
    assert!(town.gate.asked.borrow().is_empty());
}

// covers: ASK-3 (mysql2)
#[tokio::test(flavor = "multi_thread")]
async fn waiting_has_an_end_and_names_the_request() {
    let town = Town::with(Setup { patience: Duration::from_millis(300), ..needs_ben() }).await;
    let said = town.node(WITH_REASON).await;
    assert!(said.starts_with("signed in\n3168 Your request waits for approval") && said.contains("(req_"), "{said}");
    // Connecting again finds the same request.
    let said = town.node(WITH_REASON).await;
    assert!(said.contains("(req_"), "{said}");
    assert_eq!(town.gate.asked.borrow().len(), 1);
    town.gate.ben_approves();
    assert_eq!(town.node(WITH_REASON).await, "signed in\nin");
}

// covers: ASK-3 (mariadb)
#[tokio::test(flavor = "multi_thread")]
async fn who_gave_no_reason_gives_it_in_the_lobby() {
    let town = Town::with(Setup { patience: Duration::from_millis(300), ..needs_ben() }).await;
    // As at a terminal: the client greets, shows tables, and stays after an error.
    let mut client = town.tool("mariadb", &["-v", "-f", "-n", "-t"]);
    let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    async fn until(lines: &mut tokio::io::Lines<impl tokio::io::AsyncBufRead + Unpin>, text: &str) -> String {
        let mut seen = String::new();
        let found = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                seen.push_str(&line);
                if line.contains(text) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(Duration::from_secs(60), found).await.unwrap_or(false);
        assert!(found, "never said: {text}; but: {seen}");
        seen
    }
    typed.write_all(b"select 1;\n").await.unwrap();
    until(&mut errors, "no statement runs here").await;
    typed.write_all(b"status;\n").await.unwrap();
    typed.write_all(b"request 'Ana''s order is stuck' for 1h;\n").await.unwrap();
    let shown = until(&mut out, "waits for approval").await;
    assert!(shown.contains("needs the agreement of 1 of dba"), "{shown}");
    assert_eq!(town.gate.asked().await.reason.as_deref(), Some("Ana's order is stuck"));
    typed.write_all(b"select 2;\n").await.unwrap();
    until(&mut errors, "waits for approval").await;
    town.gate.ben_approves();
    typed.write_all(b"select concat('in as ', left(current_user(), 3));\n").await.unwrap();
    until(&mut out, "in as app").await;
    drop(typed);
    assert!(child.wait().await.unwrap().code().is_some());
    assert!(town.gate.texts().last().unwrap().starts_with("select concat('in as '"));
}

/// What `mariadb` shows of what is typed; as at a terminal, it stays after an error.
async fn types(town: &Town, lines: &[&str]) -> (String, String) {
    let mut client = town.tool("mariadb", &["-f", "-n", "-N", "-B"]);
    let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut typed = child.stdin.take().unwrap();
    for line in lines {
        typed.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    drop(typed);
    let out = child.wait_with_output().await.unwrap();
    (out_of(&out), errors_of(&out))
}

// covers: GRANT-9 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_is_declared_in_the_lobby_where_policy_has_that_path() {
    let looks = "select @@version_comment;";
    for policy in [Policy::OnlyEmergency, Policy::NeedsBenOrEmergency] {
        let only = matches!(policy, Policy::OnlyEmergency);
        let town = Town::with(Setup { policy, ..Setup::default() }).await;
        let typed = ["break glass;", "break glass 'site down' for 30m;", "select concat('in as ', left(current_user(), 3));"];
        let (out, shown) = types(&town, &[&[looks][..], &typed].concat()).await;
        assert!(out.contains("Everybody of dba is told") && out.contains("break glass '<reason>'"), "{out}");
        let how = if only { "break glass" } else { "request" };
        assert!(shown.contains("the reason stands in single quotes") && shown.contains(how), "{out}{shown}");
        assert!(out.ends_with("in as app"), "{out}{shown}");
        let asked = town.gate.asked().await;
        assert_eq!((asked.reason.as_deref(), asked.break_glass, asked.asked), (Some("site down"), true, "30m".parse().unwrap()));
        // The ordinary way is not there where it is refused, nor the emergency where policy has none.
        let town = Town::with(Setup { policy: if only { Policy::OnlyEmergency } else { Policy::NeedsBen }, ..Setup::default() }).await;
        let typed = if only { "request 'site down';" } else { "break glass 'site down';" };
        let (out, shown) = types(&town, &[typed, "select 'in as';"]).await;
        assert!(!out.contains("in as"), "{out}");
        assert!(shown.contains(if only { "there is only the emergency" } else { "no statement runs here" }), "{shown}");
        assert!(town.gate.asked.borrow().is_empty());
    }
    // A program is told no, and declares nothing.
    let town = Town::with(Setup { policy: Policy::OnlyEmergency, ..Setup::default() }).await;
    let said = town.python("import pymysql\ntry: connect()\nexcept pymysql.Error as e: print(e)\n").await;
    assert!(said.contains("it is Friday"), "{said}");
}

// covers: GRANT-5 (mysql)
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
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "this session is open until 14:43:20 UTC", "still in"), "{out}");
    assert!(lines[1].contains("waits for approval. Asked: 1 of dba. `tidegate grant list`"), "{out}");
    assert!(shown.contains("This access needs a reason") && shown.matches("type  extend 30m '<reason>'").count() == 2, "{shown}");
    assert!(shown.contains("more time is asked for outside a transaction"), "{shown}");
    // None of it went to the server.
    let texts = town.gate.texts();
    assert!(texts.iter().any(|text| text == "commit") && !texts.iter().any(|text| text.starts_with("extend")), "{texts:?}");
}
