//! A directory that brings people and takes them away, through the whole program: what they have open ends at the target.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::postgres::Database;
use testkit::sshd::{keypair, public_half};

use crate::databases::shop_that;
use crate::demo::eventually;
use crate::known::http;
use crate::served::{Plan, Served};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

const SETTINGS: &str =
    "[[directory]]\nname = \"corp\"\ndomains = [\"example.com\"]\n[directory.groups]\n\"Platform Team\" = \"engineers\"\n";

/// What speaks for the directory.
struct Hr<'g> {
    gate: &'g Served,
    token: String,
}

/// Somebody whom the directory brought, and who signed in.
struct Joined {
    id: String,
    token: String,
}

impl<'g> Hr<'g> {
    fn start(gate: &'g Served) -> Self {
        let made = gate.tidegate("dan", &["directory", "token", "corp", "--for", "1h", "--label", "HR"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { gate, token: String::from_utf8(made.stdout).unwrap().trim().to_owned() }
    }

    fn say(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = http(self.gate.ready_api(), Some(&self.token), method, &format!("/scim/v2{path}"), Some(body));
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Brings somebody, who joins by invitation.
    fn bring(&self, name: &str) -> Joined {
        let user = json!({ "schemas": [USER], "userName": format!("{name}@example.com"), "externalId": name, "displayName": name, "active": true });
        let id = self.say("POST", "/Users", user)["id"].as_str().unwrap().to_owned();
        let invited = self.gate.post("dan", &format!("/api/v1/users/{id}/invite"), json!({}));
        let (status, joined) =
            http(self.gate.ready_api(), None, "POST", "/api/v1/invitations/accept", Some(json!({ "code": invited["code"] })));
        assert!(status < 300, "{joined}");
        Joined { id, token: joined["token"]["secret"].as_str().unwrap().to_owned() }
    }

    fn team(&self, of: &str) -> String {
        let group = json!({ "schemas": [GROUP], "displayName": "Platform Team", "members": [{ "value": of }] });
        self.say("POST", "/Groups", group)["id"].as_str().unwrap().to_owned()
    }
}

impl Served {
    fn ready_api(&self) -> &str {
        self.ready["api"].as_str().unwrap()
    }

    /// Somebody with this token asks, and gets it at once.
    fn given(&self, token: &str, resource: &str, role: &str) {
        let wish = json!({ "resource": resource, "role": role, "duration": "10m", "reason": "a build hangs" });
        let (status, asked) = http(self.ready_api(), Some(token), "POST", "/api/v1/requests", Some(wish));
        assert!(status < 300 && asked["grant"]["id"].is_string(), "{status} {asked}");
    }
}

// covers: WHO-3 (ssh), WHO-8 (ssh), GRANT-3 (ssh)
#[test]
fn whoever_the_directory_says_has_left_is_gone_from_the_target() {
    let gate = Served::with(Plan { settings: SETTINGS.to_owned(), ..Plan::default() });
    let hr = Hr::start(&gate);
    let gina = hr.bring("gina");
    hr.team(&gina.id);
    // 1. She registers a key, asks, and works with stock `ssh`.
    let home = gate.dir().join("people").join("gina");
    std::fs::create_dir_all(&home).unwrap();
    let key = keypair(&home, "id_ed25519").unwrap();
    let (status, answer) =
        http(gate.ready_api(), Some(&gina.token), "POST", "/api/v1/me/keys", Some(json!({ "public_key": public_half(&key).unwrap() })));
    assert!(status < 300, "{answer}");
    let ana = gate.person("ana");
    let config = std::fs::read_to_string(ana["ssh_config"].as_str().unwrap()).unwrap();
    let mine = home.join("ssh_config");
    std::fs::write(&mine, config.replace(ana["key"].as_str().unwrap(), key.to_str().unwrap())).unwrap();
    gate.given(&gina.token, "build-1", "shell");
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&mine).args(["-o", "BatchMode=yes", "-T", "build-1+shell.tide", "echo $$; exec sleep 1000"]);
    let mut ssh = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(ssh.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let at_target = PathBuf::from(format!("/proc/{}", line.trim()));
    assert!(at_target.exists(), "{line:?}");
    // 2. As Microsoft Entra ID says that somebody left.
    let left = json!({ "schemas": [PATCH], "Operations": [{ "op": "Replace", "path": "active", "value": "False" }] });
    assert_eq!(hr.say("PATCH", &format!("/Users/{}", gina.id), left)["active"], false);
    eventually("what she ran is gone from the target", || (!at_target.exists()).then_some(()));
    assert_eq!(ssh.wait().unwrap().code(), Some(76));
    let mut said = String::new();
    ssh.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("locked"), "{said}");
    // 3. Nothing of hers opens, by key or token.
    let again = Command::new("ssh").arg("-F").arg(&mine).args(["-o", "BatchMode=yes", "build-1+shell.tide", "true"]).output().unwrap();
    assert!(!again.status.success());
    assert_eq!(http(gate.ready_api(), Some(&gina.token), "GET", "/api/v1/me", None).0, 403);
    // 4. Who looks after it sees what it brought, in words and as data.
    let status = gate.cli("dan", &["directory", "status"]);
    let corp = &status["items"][0];
    assert_eq!((&corp["people"], &corp["active_people"], &corp["group_count"]), (&json!(1), &json!(0), &json!(1)), "{status}");
    let shown = gate.tidegate("dan", &["directory", "status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("corp: 1 people, 0 of them let in, 1 groups") && shown.contains("Platform Team there is engineers here"),
        "{shown}"
    );
    gate.assert_provable();
}

// covers: WHO-3 (psql), GRANT-3 (psql), A11
#[test]
fn with_the_last_group_a_running_statement_ends() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = shop_that(&database, Vec::new(), SETTINGS.to_owned());
    let hr = Hr::start(&gate);
    let gina = hr.bring("gina");
    let team = hr.team(&gina.id);
    gate.given(&gina.token, "sales-db", "clerk");
    let place = format!(
        "host=127.0.0.1 port={} user=sales-db+clerk dbname={} sslmode=require connect_timeout=20",
        gate.databases.unwrap().port(),
        database.name()
    );
    let psql = |statement: &str| {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-A", "-t", "-d", &place, "-c", statement]).stdin(Stdio::null()).env("PGPASSWORD", &gina.token);
        psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let done = psql("SELECT id FROM orders").wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "1", "{done:?}");
    // A statement that waits for a row that somebody else holds runs until it is ended.
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'tg\\_%' AND state = 'active'";
    let mut holder = Command::new("psql");
    let own = format!("host=127.0.0.1 port={} user=tide dbname={}", database.port(), database.name());
    let mut holder = holder
        .args(["-X", "-q", "-d", &own])
        .args(["-c", "BEGIN", "-c", "SELECT 1 FROM orders FOR UPDATE", "-c", "SELECT pg_sleep(600)"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let held =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT pg_sleep(600)' AND state = 'active'";
    eventually("the row is held", || (database.query(held).unwrap() == "1").then_some(()));
    let statement = psql("UPDATE orders SET status = 'sent'");
    eventually("her statement runs", || (database.query(running).unwrap() == "1").then_some(()));
    let none = json!({ "schemas": [PATCH], "Operations": [{ "op": "remove", "path": format!("members[value eq \"{}\"]", gina.id) }] });
    hr.say("PATCH", &format!("/Groups/{team}"), none);
    eventually("her statement is gone from the server", || (database.query(running).unwrap() == "0").then_some(()));
    let ended = statement.wait_with_output().unwrap();
    assert!(!ended.status.success(), "{ended:?}");
    let again = psql("SELECT 1").wait_with_output().unwrap();
    assert!(!again.status.success(), "{again:?}");
    let _ended = holder.kill();
    let _ended = holder.wait();
    gate.assert_provable();
}

// covers: WHO-3 (api)
#[test]
fn a_tester_of_scim_servers_finds_nothing() {
    let gate = Served::with(Plan { settings: SETTINGS.to_owned(), ..Plan::default() });
    let hr = Hr::start(&gate);
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python"));
    assert!(python.exists(), "`{}` is not there; run `make setup`", python.display());
    let tested = Command::new(python).args(["-c", TESTER, &format!("{}/scim/v2", gate.ready_api()), &hr.token]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&tested.stdout), String::from_utf8_lossy(&tested.stderr));
    assert!(tested.status.success() && said.contains("nothing to fail"), "{said}");
    gate.assert_provable();
}

const TESTER: &str = r#"
import sys
from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server, Status
base, token = sys.argv[1:]
scim = SyncSCIMClient(Client(base_url=base, headers={"Authorization": "Bearer " + token}))
results = check_server(scim)
bad = [r for r in results if r.status not in (Status.SUCCESS, Status.SKIPPED, Status.COMPLIANT, Status.ACCEPTABLE)]
for result in bad:
    print(result.status.name, result.title, result.reason, result.data)
print(len(results), "checks,", "nothing to fail" if results and not bad else "%d failed" % len(bad))
sys.exit(1 if bad or len(results) < 20 else 0)
"#;
