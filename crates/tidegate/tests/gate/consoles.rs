//! A terminal and a SQL prompt in the browser, through the whole program: the same doors, grants, records and cuts as a client's.

use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use testkit::postgres::Database;

use crate::contained::in_orders;
use crate::databases::shop;
use crate::demo::{Talk, eventually, lives};
use crate::known::http;
use crate::mysql::stock_with;
use crate::served::Served;

/// A console that somebody has open: a stream that curl reads, and calls beside it.
struct Console<'g> {
    gate: &'g Served,
    token: String,
    stream: Talk,
    id: String,
}

impl<'g> Console<'g> {
    fn open(gate: &'g Served, person: &str, wanted: Value) -> Self {
        Self::with(gate, gate.person(person)["token"].as_str().unwrap(), &wanted)
    }

    fn with(gate: &'g Served, token: &str, wanted: &Value) -> Self {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-N", "-X", "POST", "-H", "Content-Type: application/json", "-H", &format!("Authorization: Bearer {token}")])
            .args(["-d", &wanted.to_string(), &format!("{}/api/v1/consoles", api(gate))])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut console = Self { gate, token: token.to_owned(), stream: Talk::start(curl), id: String::new() };
        console.id = eventually("it is open", || console.first("opened")?["id"].as_str().map(str::to_owned));
        console
    }

    fn terminal(gate: &'g Served, person: &str, to: &str) -> Self {
        Self::open(gate, person, json!({ "kind": "terminal", "to": to, "cols": 100, "rows": 30 }))
    }

    fn events(&self) -> Vec<Value> {
        let heard = self.stream.heard();
        // The last line may not be whole yet.
        let whole = heard.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter_map(|line| line.strip_prefix("data: ")).filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    fn first(&self, name: &str) -> Option<Value> {
        self.events().into_iter().find(|event| event["event"] == name)
    }

    /// What the terminal has shown.
    fn shown(&self) -> String {
        let pieces = self.events().into_iter().filter(|event| event["event"] == "output");
        let bytes: Vec<u8> = pieces.flat_map(|event| BASE64_STANDARD.decode(event["data"].as_str().unwrap()).unwrap()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn until(&self, text: &str) {
        eventually(&format!("it shows {text}"), || self.shown().contains(text).then_some(()));
    }

    fn call(&self, what: &str, body: Value) -> (u16, Value) {
        http(api(self.gate), Some(&self.token), "POST", &format!("/api/v1/consoles/{}/{what}", self.id), Some(body))
    }

    fn types(&self, text: &str) {
        let (status, answer) = self.call("input", json!({ "data": BASE64_STANDARD.encode(text) }));
        assert_eq!(status, 204, "{answer}");
    }

    /// What statements were answered with so far.
    fn answers(&self) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == "answer").map(|event| event["answer"].clone()).collect()
    }

    /// Runs a statement and gives its answer.
    fn asks(&self, text: &str, rows: u32) -> Value {
        let before = self.answers().len();
        let (status, answer) = self.call("statements", json!({ "text": text, "rows": rows }));
        assert_eq!(status, 204, "{answer}");
        eventually("it is answered", || self.answers().get(before).cloned())
    }

    /// What runs is stopped once it `runs`, and so is what waits behind it; what comes then is not.
    fn stops_both(&self, runs: impl Fn() -> bool, sqlstate: &str) {
        let before = self.answers().len();
        let long = "SELECT COUNT(*) FROM orders a, orders b, orders c, orders d, orders e, orders f";
        assert_eq!(self.call("statements", json!({ "text": long })).0, 204);
        eventually("it runs at the server", || runs().then_some(()));
        eventually("another waits behind it", || {
            let (status, _) = self.call("statements", json!({ "text": "UPDATE orders SET status = 'never' WHERE id = 4" }));
            (status == 204).then_some(())
        });
        assert_eq!(self.call("stop", json!({})).0, 204);
        eventually("both are answered", || (self.answers().len() == before + 2).then_some(()));
        for answer in &self.answers()[before..] {
            assert_eq!(answer["error"]["sqlstate"], sqlstate, "{answer}");
        }
        assert_eq!(self.asks("SELECT status FROM orders WHERE id = 4", 100)["rows"], json!([["new"]]));
    }

    fn end(&self) -> Value {
        eventually("it ends", || self.first("ended"))
    }
}

fn api(gate: &Served) -> &str {
    gate.ready["api"].as_str().unwrap()
}

// covers: SES-2 (api), ASK-3 (console), GRANT-3 (console), EV-1 (console), B2 (console), WHO-4 (console)
#[test]
pub(crate) fn a_terminal_in_the_browser_is_a_session_like_any_other() {
    let gate = Served::start();
    // Without a grant it asks where one sits, and goes through when who has to agreed.
    let ana = Console::terminal(&gate, "ana", "db-1+shell");
    ana.until("Reason:");
    ana.types("orders are slow\r");
    eventually("the question how long, or the request", || {
        (ana.shown().contains("For how long") || ana.shown().contains("waits for approval")).then_some(())
    });
    if ana.shown().contains("For how long") {
        ana.types("\r");
    }
    ana.until("waits for approval");
    assert_eq!(gate.live_session("ana"), None);
    let request = gate.get("ben", "/api/v1/requests?of=inbox")["items"][0].clone();
    assert_eq!((&request["resource"], &request["reason"]), (&json!("db-1"), &json!("orders are slow")));
    gate.post("ben", &format!("/api/v1/requests/{}/approve", request["id"].as_str().unwrap()), json!({ "note": "go ahead" }));
    ana.until("go ahead");
    ana.types("echo pid-$$-; stty size\r");
    let pid: u32 = eventually("the shell says which it is", || {
        ana.shown().match_indices("pid-").find_map(|(at, _)| ana.shown()[at + 4..].split_once('-')?.0.parse().ok())
    });
    ana.until("30 100");
    assert_eq!(ana.call("input", json!({ "cols": 132, "rows": 40 })).0, 204);
    ana.types("stty size\r");
    ana.until("40 132");
    let session = gate.live_session("ana").unwrap();
    assert_eq!((&session["resource"], &session["role"], &session["protocol"]), (&json!("db-1"), &json!("shell"), &json!("ssh")));

    // It is this sign-in's alone: not Ben's, nor another token's of hers.
    let (input, path) = (json!({ "data": BASE64_STANDARD.encode("exit\r") }), format!("/api/v1/consoles/{}/input", ana.id));
    assert_eq!(gate.api("ben", "POST", &path, Some(input.clone())).0, 404);
    let other = gate.post("ana", "/api/v1/tokens", json!({ "scopes": ["read", "ask"], "duration": "1h" }));
    assert_eq!(http(api(&gate), other["secret"].as_str(), "POST", &path, Some(input)).0, 404);

    // Revoked: the shell at the target is gone, and she reads why.
    assert!(lives(pid));
    gate.post("dan", &format!("/api/v1/grants/{}/revoke", session["grant"].as_str().unwrap()), json!({ "reason": "drill" }));
    eventually("the shell at the target is gone", || (!lives(pid)).then_some(()));
    ana.end();
    assert!(ana.shown().contains("revoked"), "{}", ana.shown());
    let recording = gate.recording(session["id"].as_str().unwrap());
    assert!(recording.contains("40 132") && recording.contains("pid-"), "{recording}");

    // Who has no way there is told the same as of what does not exist.
    let frank = |to: &str| {
        let console = Console::terminal(&gate, "frank", to);
        console.end();
        console.shown()
    };
    assert_eq!(frank("db-1+shell").replace("db-1", "db-9"), frank("db-9+shell"));
    assert_eq!(gate.live_session("frank"), None);
    gate.assert_provable();
}

// covers: SES-2 (api), WHO-8 (console)
#[test]
fn a_terminal_ends_with_its_tab_and_with_the_sign_in_it_was_opened_with() {
    let gate = Served::start();
    gate.grant("ana", "db-1", "shell", "1h");
    let shell = |console: &Console<'_>| {
        console.types("echo pid-$$-\r");
        eventually("the shell says which it is", || {
            let shown = console.shown();
            shown.match_indices("pid-").find_map(|(at, _)| shown[at + 4..].split_once('-')?.0.parse::<u32>().ok())
        })
    };
    let gone = |pid: u32| eventually("the shell at the target is gone", || (!lives(pid)).then_some(()));
    // Left by itself.
    let left = Console::terminal(&gate, "ana", "db-1+shell");
    let pid = shell(&left);
    left.types("exit 3\r");
    assert_eq!(left.end()["exit_status"], json!(3));
    gone(pid);
    // The tab is closed.
    let mut closed = Console::terminal(&gate, "ana", "db-1+shell");
    let pid = shell(&closed);
    closed.stream.child.kill().unwrap();
    gone(pid);
    // The token is revoked.
    let issued = gate.post("ana", "/api/v1/tokens", json!({ "scopes": ["read", "ask"], "duration": "1h" }));
    let wanted = json!({ "kind": "terminal", "to": "db-1+shell" });
    let mut revoked = Console::with(&gate, issued["secret"].as_str().unwrap(), &wanted);
    let pid = shell(&revoked);
    gate.api("ana", "DELETE", &format!("/api/v1/tokens/{}", issued["token"]["id"].as_str().unwrap()), None);
    gone(pid);
    eventually("the stream is over", || revoked.stream.child.try_wait().unwrap());
    // She is locked.
    let locked = Console::terminal(&gate, "ana", "db-1+shell");
    let pid = shell(&locked);
    gate.post("carla", "/api/v1/locks", json!({ "scope": format!("person:{}", gate.id("ana")), "reason": "drill" }));
    gone(pid);
    gate.assert_provable();
}

// covers: SES-2 (api), MAY-6 (console), PG-4 (console), GRANT-3 (console)
#[test]
pub(crate) fn a_sql_prompt_in_the_browser_is_judged_masked_and_cut_like_any_client() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = shop(&database);
    let prompt = |person: &str, reason: Option<&str>| {
        Console::open(&gate, person, json!({ "kind": "sql", "to": "sales-db+clerk", "reason": reason }))
    };
    // Who has no way there gets none.
    let ended = prompt("frank", Some("curious")).end();
    assert!(ended["error"]["sqlstate"].is_string() && ended["error"]["hint"].is_string(), "{ended}");
    // Nobody has to agree for Ana: a reason is enough.
    let ana = prompt("ana", Some("a customer asks"));
    eventually("it takes statements", || ana.first("ready"));
    let rows = ana.asks("SELECT * FROM customers", 100);
    assert_eq!((&rows["columns"], &rows["rows"]), (&json!(["name", "card"]), &json!([["Kim", "****"]])), "{rows}");
    assert_eq!((&rows["done"], &rows["more"], &rows["error"]), (&json!("SELECT 1"), &json!(false), &Value::Null), "{rows}");
    // The server's error and the gate's, each with its code and what to do.
    let wrong = ana.asks("SELECT nonsense FROM orders", 100);
    assert!(wrong["error"]["sqlstate"].is_string() && wrong["error"]["message"].as_str().unwrap().contains("nonsense"), "{wrong}");
    let refused = ana.asks("SELECT * FROM payments", 100);
    assert_eq!(refused["error"]["sqlstate"], "42501", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("does not include this"), "{refused}");
    // A limit is a limit, also inside a transaction, which goes on.
    assert_eq!(ana.asks("BEGIN", 100)["transaction"], "open");
    assert_eq!(ana.asks("UPDATE orders SET status = 'sent' WHERE id = 1", 100)["done"], "UPDATE 1");
    let some = ana.asks("SELECT a.id FROM orders a, orders b", 100);
    assert_eq!((&some["more"], some["rows"].as_array().unwrap().len()), (&json!(false), 1), "{some}");
    assert_eq!(ana.asks("COMMIT", 100)["transaction"], "none");
    assert_eq!(database.query("SELECT status FROM orders").unwrap(), "sent");
    database.query("INSERT INTO orders SELECT n, 'new' FROM generate_series(2, 50) n").unwrap();
    let some = ana.asks("SELECT id FROM orders", 10);
    assert_eq!((&some["more"], some["rows"].as_array().unwrap().len()), (&json!(true), 10), "{some}");
    // What is shown is the beginning: after a row that is too large comes none.
    database.query("UPDATE orders SET status = repeat('x', 3000000) WHERE id = 3").unwrap();
    let some = ana.asks("SELECT id, status FROM orders WHERE id IN (2, 3, 4) ORDER BY id", 100);
    assert_eq!((&some["more"], &some["rows"]), (&json!(true), &json!([["2", "new"]])), "{}", some["error"]);
    assert_eq!(ana.asks("SELECT id FROM orders WHERE id = 4", 100)["rows"], json!([["4"]]));
    ana.stops_both(|| in_orders(&database).contains("orders f"), "57014");
    // Revoked: it is over, and says so.
    let session = gate.live_session("ana").unwrap();
    assert_eq!(session["protocol"], "postgres");
    gate.post("dan", &format!("/api/v1/grants/{}/revoke", session["grant"].as_str().unwrap()), json!({ "reason": "drill" }));
    let ended = ana.end();
    assert_eq!(ended["error"]["sqlstate"], "57P01", "{ended}");
    let statements = gate.tidegate("eve", &["session", "statements", session["id"].as_str().unwrap(), "--format", "csv"]);
    let statements = String::from_utf8_lossy(&statements.stdout).into_owned();
    assert!(statements.contains("FROM customers") && statements.contains("FROM payments"), "{statements}");
    gate.assert_provable();
}

// covers: SES-2 (api), MAY-6 (console), MY-1 (console), GRANT-3 (console), ASK-3 (console)
#[test]
pub(crate) fn a_sql_prompt_on_a_mariadb_is_judged_masked_stopped_and_cut_like_any_client() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(testkit::mariadb::Database::fresh()).unwrap();
    let gate = stock_with(&database, Vec::new());
    let prompt =
        |person: &str, to: &str, reason: Option<&str>| Console::open(&gate, person, json!({ "kind": "mysql", "to": to, "reason": reason }));
    // Who has no way there gets none, and hears the same of what does not exist.
    let none = |to: &str| prompt("frank", to, Some("curious")).end()["error"].clone();
    assert_eq!(none("stock-db+picker").to_string().replace("stock-db", "stack-db"), none("stack-db+picker").to_string());
    assert!(none("stock-db+picker")["hint"].is_null() && none("stock-db+picker")["message"].is_string());
    // Ana may, and Ben has not to agree: a reason is enough.
    let ana = prompt("ana", "stock-db+picker", Some("a customer asks"));
    eventually("it takes statements", || ana.first("ready"));
    let rows = ana.asks("SELECT * FROM customers", 100);
    assert_eq!((&rows["columns"], &rows["rows"]), (&json!(["name", "card"]), &json!([["Kim", "****"]])), "{rows}");
    assert_eq!((&rows["more"], &rows["error"]), (&json!(false), &Value::Null), "{rows}");
    // The server's error and the gate's, each with its code and its number.
    let wrong = ana.asks("SELECT nonsense FROM orders", 100);
    assert!(wrong["error"]["sqlstate"].is_string() && wrong["error"]["message"].as_str().unwrap().contains("nonsense"), "{wrong}");
    let refused = ana.asks("SELECT * FROM payments", 100);
    assert_eq!(refused["error"]["sqlstate"], "42000", "{refused}");
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("does not include this") && message.ends_with("(1142)"), "{refused}");
    // One statement is one statement.
    assert!(ana.asks("SELECT 1; SELECT 2", 100)["error"].is_object());
    // A transaction that is open stays so.
    assert_eq!(ana.asks("BEGIN", 100)["transaction"], "open");
    let sent = ana.asks("UPDATE orders SET status = 'sent' WHERE id = 1", 100);
    assert_eq!((&sent["done"], &sent["transaction"]), (&json!("1 row affected"), &json!("open")), "{sent}");
    assert_eq!(ana.asks("COMMIT", 100)["transaction"], "none");
    assert_eq!(database.query("SELECT status FROM orders").unwrap(), "sent");
    // A limit is a limit.
    database.query("INSERT INTO orders SELECT seq, 'new' FROM seq_2_to_50").unwrap();
    let some = ana.asks("SELECT id FROM orders", 10);
    assert_eq!((&some["more"], some["rows"].as_array().unwrap().len()), (&json!(true), 10), "{some}");
    // What is shown is the beginning: after a row that is too large comes none.
    database.query("ALTER TABLE orders MODIFY status LONGTEXT; UPDATE orders SET status = REPEAT('x', 3000000) WHERE id = 3").unwrap();
    let some = ana.asks("SELECT id, status FROM orders WHERE id IN (2, 3, 4) ORDER BY id", 100);
    assert_eq!((&some["more"], &some["rows"]), (&json!(true), &json!([["2", "new"]])), "{}", some["error"]);
    // It may not have reached the server yet.
    ana.stops_both(|| true, "70100");
    assert_eq!(ana.asks("SELECT id FROM orders WHERE id = 2", 10)["rows"], json!([["2"]]));
    // Revoked: it is over, and says so.
    let session = gate.live_session("ana").unwrap();
    assert_eq!((&session["protocol"], &session["role"]), (&json!("mysql"), &json!("picker")));
    gate.post("dan", &format!("/api/v1/grants/{}/revoke", session["grant"].as_str().unwrap()), json!({ "reason": "drill" }));
    let ended = ana.end();
    assert_eq!(ended["error"]["sqlstate"], "70100", "{ended}");
    assert!(ended["error"]["message"].as_str().unwrap().contains("revoked"), "{ended}");
    let statements = gate.tidegate("eve", &["session", "statements", session["id"].as_str().unwrap(), "--format", "csv"]);
    let statements = String::from_utf8_lossy(&statements.stdout).into_owned();
    assert!(statements.contains("FROM customers") && statements.contains("FROM payments"), "{statements}");
    gate.assert_provable();
}

// covers: SES-1 (console), B5 (console)
#[test]
fn somebody_joins_a_terminal_from_the_browser() {
    let gate = Served::start();
    for person in ["ana", "ben"] {
        gate.grant(person, "db-1", "shell", "1h");
    }
    let ana = Console::terminal(&gate, "ana", "db-1+shell");
    ana.types("echo ready-$((1+1))\r");
    ana.until("ready-2");
    let session = gate.live_session("ana").unwrap()["id"].as_str().unwrap().to_owned();
    let ben = Console::open(&gate, "ben", json!({ "kind": "terminal", "to": "db-1+shell", "join": session }));
    ana.until("ben has joined this session");
    ben.until("You are in ana's terminal");
    ben.types("echo from-ben-$((20+3))\r");
    ana.until("from-ben-23");
    // Who may not watch it joins nothing.
    let refused = Console::open(&gate, "frank", json!({ "kind": "terminal", "to": "build-1+shell", "join": session }));
    assert_eq!(refused.end()["exit_status"], json!(77), "{}", refused.shown());
    assert!(!refused.shown().contains("from-ben"), "{}", refused.shown());
    ana.types("exit\r");
    ana.end();
    ben.end();
}
