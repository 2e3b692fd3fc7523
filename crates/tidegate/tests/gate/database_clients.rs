//! Signing in at a database's door otherwise than with a token of one's own: connect tokens, client certificates, and the program's own
//! `psql` and `connect`, through the whole program with stock `psql`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use testkit::postgres::Database;

use crate::databases::{said, shop};
use crate::demo::{Talk, eventually};
use crate::known::program;
use crate::served::Served;

/// Stock `psql` at the gate, with more in its connection string, and a password or none.
fn psql(gate: &Served, user: &str, more: &str, password: Option<&str>, sql: &str) -> Output {
    let port = gate.databases.unwrap().port();
    let place = format!("host=127.0.0.1 port={port} user={user} sslmode=require connect_timeout=20 {more}");
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", "-w", "-d", &place, "-c", sql])
        .stdin(Stdio::null())
        .env_remove("PGPASSWORD")
        .env("HOME", gate.dir());
    if let Some(password) = password {
        psql.env("PGPASSWORD", password);
    }
    psql.output().unwrap()
}

fn start() -> (Database, Served) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = shop(&database);
    // The database outlives its runtime.
    drop(runtime);
    (database, gate)
}

// covers: WHO-4 (psql), GRANT-3 (psql), A9 (psql), D2 (psql)
#[test]
fn a_connect_token_is_the_password_of_one_grant() {
    let (_database, gate) = start();
    let grant = gate.grant("ana", "sales-db", "clerk", "10m");
    let issued = gate.cli("ana", &["grant", "token", &grant, "--label", "a pool"]);
    let token = issued["secret"].as_str().unwrap();
    assert!(token.starts_with("tg_con_"), "{issued}");
    let ask = |user: &str| said(&psql(&gate, user, "", Some(token), "SELECT id FROM orders"));
    assert_eq!((ask("sales-db+clerk"), ask("sales-db"), ask("sales-db+clerk")), ("1".into(), "1".into(), "1".into()));

    // Nothing else: no other resource, nothing at the API, nobody else's making, no other person's revoking.
    let other = ask("orders-db+readonly");
    assert!(other.contains("opens `sales-db+clerk` and nothing else"), "{other}");
    let api = gate.ready["api"].as_str().unwrap();
    let (status, refused) = crate::known::http(api, Some(token), "GET", "/api/v1/me", None);
    assert_eq!((status, &refused["code"]), (401, &json!("not_signed_in")), "{refused}");
    let (status, _) = gate.api("ben", "POST", &format!("/api/v1/grants/{grant}/connect_tokens"), Some(json!({})));
    assert_eq!(status, 404);
    let id = issued["token"]["id"].as_str().unwrap();
    let (status, _) = gate.api("ben", "DELETE", &format!("/api/v1/tokens/{id}"), None);
    assert_eq!(status, 404);

    // Taken away: no more. And one that was not, ends with its grant.
    let second = gate.cli("ana", &["grant", "token", &grant]);
    let second = second["secret"].as_str().unwrap();
    gate.cli("ana", &["token", "revoke", id]);
    assert!(ask("sales-db+clerk").contains("this is none that is valid"), "{}", ask("sales-db+clerk"));
    let again = || said(&psql(&gate, "sales-db+clerk", "", Some(second), "SELECT id FROM orders"));
    assert_eq!(again(), "1");
    gate.post("dan", &format!("/api/v1/grants/{grant}/revoke"), json!({"reason": "drill"}));
    assert!(again().contains("revoked"), "{}", again());
    gate.assert_provable();
}

/// `tidegate login` into a directory: the client certificate and its key.
fn login(gate: &Served, person: &str, dir: &Path) -> String {
    let dir = dir.join(person);
    std::fs::create_dir_all(&dir).unwrap();
    let done = gate.tidegate(person, &["login", "--ssh-dir", dir.to_str().unwrap()]);
    assert!(done.status.success(), "{}", said(&done));
    format!("sslcert={0}/tidegate-client.crt sslkey={0}/tidegate-client.key", dir.display())
}

// covers: WHO-5 (psql), WHO-8 (psql), A4 (psql)
#[test]
fn the_client_certificate_of_a_login_signs_in_at_the_database() {
    let (_database, gate) = start();
    gate.grant("ana", "sales-db", "clerk", "10m");
    let certificate = login(&gate, "ana", gate.dir());
    let ask = |more: &str, password| said(&psql(&gate, "sales-db+clerk", more, password, "SELECT id FROM orders"));
    assert_eq!(ask(&certificate, None), "1");
    let ca = gate.dir().join("data/ca.pem");
    assert_eq!(ask(&format!("{certificate} sslrootcert={}", ca.display()), None), "1");

    // Another CA's certificate is nobody's: its holder is asked for a token like anybody.
    let own = rcgen::generate_simple_self_signed(["ana".to_owned()]).unwrap();
    let foreign = gate.dir().join("foreign");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("crt"), own.cert.pem()).unwrap();
    std::fs::write(foreign.join("key"), own.signing_key.serialize_pem()).unwrap();
    assert!(Command::new("chmod").arg("600").arg(foreign.join("key")).status().unwrap().success());
    let foreign = format!("sslcert={0}/crt sslkey={0}/key", foreign.display());
    let refused = ask(&foreign, None);
    assert!(refused.contains("no password supplied"), "{refused}");
    assert_eq!(ask(&foreign, gate.person("ana")["token"].as_str()), "1");

    // Locked: the certificate is good, and opens nothing. Taken away: it is nothing.
    let lock = gate.cli("carla", &["lock", "set", "user", "ana", "--reason", "drill"]);
    let locked = ask(&certificate, None);
    assert!(locked.contains("locked"), "{locked}");
    gate.cli("carla", &["lock", "lift", lock["lock"]["id"].as_str().or(lock["id"].as_str()).unwrap()]);
    // What the lock withdrew stays withdrawn.
    gate.grant("ana", "sales-db", "clerk", "10m");
    assert_eq!(ask(&certificate, None), "1");
    let keys = gate.cli("ana", &["key", "list"]);
    let key = keys["items"].as_array().unwrap().iter().find(|key| key["kind"] == "client_certificate").unwrap();
    gate.cli("ana", &["key", "remove", key["id"].as_str().unwrap()]);
    assert!(ask(&certificate, None).contains("no password supplied"));
    gate.assert_provable();
}

// covers: ASK-3 (psql), F5 (psql)
#[test]
fn tidegate_psql_asks_waits_and_connects_without_a_secret_among_its_arguments() {
    let (_database, gate) = start();
    // Nobody has to agree here: it opens at once. Its own arguments come from behind `--`.
    let show = "\\! tr '\\0' '\\n' </proc/$PPID/cmdline | grep -c tg_[c]on_";
    let done = gate.tidegate("ana", &["psql", "sales-db", "--", "-X", "-A", "-t", "-q", "-c", "SELECT id FROM orders", "-c", show]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "1\n0");
    let tokens = gate.cli("ana", &["token", "list"]);
    let connect: Vec<&Value> = tokens["items"].as_array().unwrap().iter().filter(|token| token["grant"].is_string()).collect();
    assert!(!connect.is_empty() && connect.iter().all(|token| token["revoked_at"].is_string()), "{tokens}");
    // The client's own exit status is told on, and a resource of another kind is refused in words.
    assert_eq!(gate.tidegate("ana", &["psql", "sales-db", "--", "-c", "SELECT nonsense"]).status.code(), Some(1));
    let wrong = gate.tidegate("ana", &["psql", "build-1"]);
    assert!(!wrong.status.success() && said(&wrong).contains("is no database"), "{}", said(&wrong));

    // Where people have to agree: without a terminal it needs the reason, then says who was asked, and waits if it is told to.
    let bare = gate.tidegate("ana", &["psql", "orders-db"]);
    assert_eq!(bare.status.code(), Some(77), "{}", said(&bare));
    assert!(said(&bare).contains("You have no grant for orders-db as readonly. It needs the agreement of 1 of"), "{}", said(&bare));
    let asked = gate.tidegate("ana", &["psql", "orders-db", "--reason", "a slow query"]);
    assert_eq!(asked.status.code(), Some(75), "{}", said(&asked));
    assert!(said(&asked).contains("Asked: 1 of on-call:payments or"), "{}", said(&asked));
    let mut waiting = Command::new(program());
    waiting.env("TIDEGATE_URL", gate.ready["api"].as_str().unwrap()).env("TIDEGATE_TOKEN", gate.person("ana")["token"].as_str().unwrap());
    waiting.env("HOME", gate.dir()).args(["psql", "orders-db", "--wait"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut waiting = Talk::start(waiting);
    waiting.until("Asked: ");
    let pending = gate.get("ana", "/api/v1/requests?state=pending");
    let request = pending["items"][0]["id"].as_str().unwrap().to_owned();
    gate.cli("ben", &["request", "deny", &request, "--note", "not today"]);
    assert_eq!(waiting.end(), 77, "{}", waiting.heard());
    waiting.until("ben denied: not today");
}

// covers: GRANT-3 (connect), ASK-3 (connect)
#[test]
fn tidegate_connect_opens_a_port_for_tools_until_the_grant_ends() {
    let (_database, gate) = start();
    let mut connect = Command::new(program())
        .env("TIDEGATE_URL", gate.ready["api"].as_str().unwrap())
        .env("TIDEGATE_TOKEN", gate.person("ana")["token"].as_str().unwrap())
        .env("HOME", gate.dir())
        .args(["connect", "sales-db+clerk", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut out = BufReader::new(connect.stdout.take().unwrap());
    let ready: Value = loop {
        assert!(out.read_line(&mut text).unwrap() > 0, "{text}");
        if let Ok(ready) = serde_json::from_str(&text) {
            break ready;
        }
    };
    let ask = |uri: &str, sql: &str| {
        let done = Command::new("psql").args(["-X", "-q", "-A", "-t", "-w", "-d", uri, "-c", sql]).stdin(Stdio::null()).output().unwrap();
        said(&done)
    };
    let uri = ready["uri"].as_str().unwrap();
    assert_eq!(ask(uri, "SELECT id FROM orders"), "1");
    // Whoever else is on this machine does not know the port's password.
    let stranger = uri.replace(ready["password"].as_str().unwrap(), "guessed");
    let refused = ask(&stranger, "SELECT id FROM orders");
    assert!(refused.contains("not the password of this port"), "{refused}");
    let grant = ready["grant"].as_str().unwrap();
    gate.post("dan", &format!("/api/v1/grants/{grant}/revoke"), json!({"reason": "drill"}));
    let ended = eventually("the port is closed", || connect.try_wait().unwrap());
    assert!(ended.success());
    assert!(ask(uri, "SELECT 1").contains("refused"));
}
