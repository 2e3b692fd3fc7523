//! Targets whose password or key a vault keeps: fetched for each session, through the whole program with stock clients.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use testkit::collectors::Scripted;
use testkit::sshd::{Sshd, SshdOptions, keypair, public_half};
use testkit::vault::VaultServer;
use testkit::{mariadb, postgres};

use crate::demo::eventually;
use crate::known::program;
use crate::served::{Plan, Served};
use crate::stored::{by_password, resource, said};

const KEY: &str = "vault:corp/kv/data/network/router-1#private_key";
const PASSWORD: &str = "vault:corp/old/network/router-2#password";

/// A gate that signs in to this vault by AppRole.
fn plan(server: &VaultServer, policy: Vec<(&'static str, String)>) -> Plan {
    let settings = format!(
        "[[vault]]\nname = \"corp\"\nkind = \"vault\"\naddress = \"{}\"\nca_file = \"vault-ca.pem\"\n\
         approle = {{ role_id = \"{}\", secret_id_file = \"vault.secret-id\" }}\n",
        server.url, server.role_id
    );
    let files =
        vec![("vault-ca.pem", fs::read_to_string(server.ca_file()).unwrap()), ("vault.secret-id", format!("{}\n", server.secret_id))];
    Plan { policy, settings, files, ..Plan::default() }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

fn inside(gate: &Served, selector: &str) {
    let (status, out, told) = said(gate, selector);
    assert_eq!((status, out.as_str()), (Some(0), "inside"), "{selector}: {told}");
}

fn outside(gate: &Served, selector: &str, why: &str) {
    let (status, out, told) = said(gate, selector);
    assert!(status != Some(0) && out.is_empty() && told.contains(why), "{selector}, {why}: {status:?} {told}");
}

/// The details of all refusals at the door, as the log has them.
fn refusals(gate: &Served) -> String {
    gate.get("eve", "/api/v1/audit/entries?event=session.refused&limit=200").to_string()
}

fn doctor(gate: &Served) -> String {
    let mut doctor = Command::new(program());
    doctor.args(["doctor", "--config"]).arg(gate.dir().join("tidegate.toml"));
    doctor.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env("AWS_EC2_METADATA_DISABLED", "true");
    String::from_utf8(doctor.env("HOME", gate.dir()).output().unwrap().stdout).unwrap()
}

// covers: CRED-1 (ssh, cli), G1 (ssh)
#[test]
fn what_a_vault_keeps_opens_a_target_as_it_is_now_and_stands_nowhere_here() {
    let (server, dir) = (VaultServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (key, old) = (keypair(dir.path(), "fetched").unwrap(), keypair(dir.path(), "old").unwrap());
    let keyed = Sshd::start(&SshdOptions { authorized_keys: vec![public_half(&key).unwrap()], ..SshdOptions::default() }).unwrap();
    let passworded = by_password(dir.path(), "swordfish-in-the-deep");
    let private = |file: &PathBuf| json!({ "private_key": fs::read_to_string(file).unwrap() });
    let resources = resource("extra-1", keyed.port(), "prod", keyed.host_key(), KEY)
        + &resource("extra-2", passworded.port(), "prod", passworded.host_key(), PASSWORD);
    let gate = Served::with(plan(&server, vec![("resources.toml", resources)]));
    for name in ["extra-1", "extra-2"] {
        gate.grant("ana", name, "shell", "1h");
        outside(&gate, &format!("{name}+shell"), "has no secret at");
    }
    // The wrong ones are the target's to refuse; what is set in the vault counts from the next session on.
    server.put("kv/data/network/router-1", &private(&old)).unwrap();
    server.put("old/network/router-2", &json!({ "password": "swordfish-in-the-shallows" })).unwrap();
    for name in ["extra-1+shell", "extra-2+shell"] {
        outside(&gate, name, "did not accept");
    }
    server.put("kv/data/network/router-1", &private(&key)).unwrap();
    server.put("old/network/router-2", &json!({ "password": "swordfish-in-the-deep" })).unwrap();
    for name in ["extra-1+shell", "extra-2+shell"] {
        inside(&gate, name);
    }
    // A token that ended costs nobody anything.
    let (logins, _) = server.counts().unwrap();
    assert_eq!(logins, 1);
    server.end_tokens().unwrap();
    inside(&gate, "extra-1+shell");
    assert_eq!(server.counts().unwrap().0, 2);

    // Who looks at how it is set up sees where the secret is; nobody sees what it is.
    let shown = text(&gate.tidegate("dan", &["resource", "show", "extra-1"]));
    assert!(shown.contains("opened by what the vault has as `corp/kv/data/network/router-1#private_key`"), "{shown}");
    let doctor = doctor(&gate);
    for line in [
        "ok    vaults: `corp` answers and lets the gate in".to_owned(),
        format!("ok    vaults: `{KEY}` is there; `extra-1` is opened by it"),
        format!("ok    vaults: `{PASSWORD}` is there; `extra-2` is opened by it"),
    ] {
        assert!(doctor.contains(&line), "{line}\n{doctor}");
    }
    let secret_key = fs::read_to_string(&key).unwrap();
    let middle = secret_key.lines().nth(2).unwrap();
    for needle in ["swordfish", middle] {
        assert!(!doctor.contains(needle) && !shown.contains(needle));
        let found = Command::new("grep").args(["-r", "-l", "-a", "-F", needle]).arg(gate.dir()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{needle} stands in clear");
    }
    let signs_in = format!("hvs\\.[0-9a-f]{{32}}|{}", server.secret_id);
    let found =
        Command::new("grep").args(["-r", "-l", "-a", "-E", &signs_in]).args([gate.dir().join("data"), gate.dir().join("log")]).output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "", "what the gate signs in with stands in clear");
    gate.assert_provable();
}

// covers: CRED-1 (ssh, cli)
#[test]
fn a_vault_that_gives_nothing_opens_nothing_and_says_why() {
    let (server, dir) = (VaultServer::start().unwrap(), tempfile::tempdir().unwrap());
    let key = keypair(dir.path(), "fetched").unwrap();
    let private = json!({ "private_key": fs::read_to_string(&key).unwrap() });
    server.put("kv/data/network/router-1", &private).unwrap();
    let target = Sshd::start(&SshdOptions { authorized_keys: vec![public_half(&key).unwrap()], ..SshdOptions::default() }).unwrap();
    // Nobody answers there; it only tells whether somebody came.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let resources = resource("extra-1", target.port(), "prod", target.host_key(), KEY)
        + &resource("extra-2", silent.local_addr().unwrap().port(), "prod", target.host_key(), KEY);
    let gate = Served::with(plan(&server, vec![("resources.toml", resources)]));
    for name in ["extra-1", "extra-2"] {
        gate.grant("ana", name, "shell", "1h");
    }
    inside(&gate, "extra-1+shell");
    for (what, value, as_before, why) in [
        ("sealed", json!(true), json!(false), "the vault `corp` is sealed; whoever holds its unseal keys has to unseal it"),
        ("standby", json!(true), json!(false), "answers as a standby"),
        ("odd", json!("<html>welcome</html>"), Value::Null, "no answer of a vault"),
        ("slow", json!(20), json!(0), "did not answer within 5 seconds"),
    ] {
        server.set(what, value).unwrap();
        outside(&gate, "extra-1+shell", why);
        outside(&gate, "extra-2+shell", "so nothing was tried there");
        server.set(what, as_before).unwrap();
        inside(&gate, "extra-1+shell");
        assert!(refusals(&gate).contains(why), "{why}: {}", refusals(&gate));
    }
    server.delete("kv/data/network/router-1").unwrap();
    outside(&gate, "extra-1+shell", "or its newest version was deleted");
    server.put("kv/data/network/router-1", &json!({ "password": "x" })).unwrap();
    outside(&gate, "extra-1+shell", "has no field `private_key`");
    server.put("kv/data/network/router-1", &private).unwrap();
    inside(&gate, "extra-1+shell");
    // Somebody replaces what the gate signs in with, and puts the new one where the gate finds it.
    server.replace_secret_id("a-new-secret-id").unwrap();
    server.end_tokens().unwrap();
    outside(&gate, "extra-1+shell", "did not let the gate sign in (HTTP 400)");
    assert!(doctor(&gate).contains("fail  vaults: the vault `corp` did not let the gate sign in (HTTP 400)"), "{}", doctor(&gate));
    fs::write(gate.dir().join("vault.secret-id"), "a-new-secret-id\n").unwrap();
    inside(&gate, "extra-1+shell");
    // Another path than its policy allows, and a vault that nobody configured.
    for (credential, why) in [
        ("vault:corp/kv/data/others/x#private_key", "its policy must allow `read` on that very path"),
        ("vault:crop/kv/data/network/router-1#private_key", "the vault `crop` is not configured"),
    ] {
        gate.change_policy("resources.toml", |text| text.replace(KEY, credential));
        outside(&gate, "extra-1+shell", why);
        outside(&gate, "extra-2+shell", why);
        if credential.contains("crop") {
            assert!(doctor(&gate).contains("no `[[vault]]` has that name; did you mean `corp`?"), "{}", doctor(&gate));
        }
        gate.change_policy("resources.toml", |text| text.replace(credential, KEY));
        inside(&gate, "extra-1+shell");
    }
    assert!(refusals(&gate).contains("secret_unavailable"), "{}", refusals(&gate));
    assert!(!refusals(&gate).contains(&server.secret_id));
    // All that time nobody came there; now somebody does.
    assert!(silent.accept().is_err(), "something was tried at a target that nothing opens");
    let ana = gate.ssh("ana", "extra-2+shell", &[], &["echo inside"]).spawn().unwrap();
    drop(eventually("it is dialled", || silent.accept().ok()));
    assert!(!ana.wait_with_output().unwrap().status.success());
    gate.assert_provable();
}

// covers: CRED-1 (ssh), GRANT-3 (ssh)
#[test]
fn a_vault_that_thinks_holds_nobody_else_up_and_what_is_revoked_meanwhile_does_not_open() {
    let (server, dir) = (VaultServer::start().unwrap(), tempfile::tempdir().unwrap());
    let key = keypair(dir.path(), "fetched").unwrap();
    server.put("kv/data/network/router-1", &json!({ "private_key": fs::read_to_string(&key).unwrap() })).unwrap();
    let target = Sshd::start(&SshdOptions { authorized_keys: vec![public_half(&key).unwrap()], ..SshdOptions::default() }).unwrap();
    let resources = resource("extra-1", target.port(), "prod", target.host_key(), KEY);
    let gate = Served::with(plan(&server, vec![("resources.toml", resources)]));
    let grant = gate.grant("ana", "extra-1", "shell", "1h");
    gate.grant("ana", "build-1", "shell", "1h");
    let knocks = || {
        let ana = gate.ssh("ana", "extra-1+shell", &[], &["echo inside"]).spawn().unwrap();
        eventually("the vault is asked", || (server.waiting().unwrap() > 0).then_some(()));
        ana
    };
    inside(&gate, "extra-1+shell");
    server.set("slow", 3).unwrap();
    // Elsewhere one gets in meanwhile, and here once it has thought.
    let ana = knocks();
    inside(&gate, "build-1+shell");
    let told = ana.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "inside", "{}", text(&told));
    let ana = knocks();
    let (status, answer) = gate.api("carla", "POST", &format!("/api/v1/grants/{grant}/revoke"), Some(json!({"reason": "drill"})));
    assert!(status < 300, "{status} {answer}");
    let told = ana.wait_with_output().unwrap();
    assert!(!told.status.success() && told.stdout.is_empty(), "{}", text(&told));
    server.set("slow", 0).unwrap();
    gate.assert_provable();
}

fn psql(gate: &Served, database: &postgres::Database, role: &str, sql: &str) -> String {
    let port = gate.databases.unwrap().port();
    let place = format!("host=127.0.0.1 port={port} user=sales-db+{role} dbname={} sslmode=require connect_timeout=30", database.name());
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", "-d", &place, "-c", sql]).stdin(Stdio::null());
    text(&psql.env("PGPASSWORD", gate.person("ana")["token"].as_str().unwrap()).output().unwrap())
}

// covers: CRED-1 (psql), CRED-3 (psql)
#[test]
fn a_password_that_is_rotated_in_the_vault_opens_postgres_from_the_next_session_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(postgres::Database::fresh()).unwrap();
    database.query("CREATE TABLE orders (id int, status text); INSERT INTO orders VALUES (1, 'new')").unwrap();
    let owner = database.account("owner", "owners-password", postgres::Proof::Scram).unwrap();
    let maker = database.account("maker", "makers-password", postgres::Proof::Scram).unwrap();
    let server = VaultServer::start().unwrap();
    let keeps = |owner: &str, maker: &str| {
        server.put("kv/data/databases/sales", &json!({ "owner": owner, "maker": maker })).unwrap();
    };
    keeps("owners-password", "makers-password");
    let place = "vault:corp/kv/data/databases/sales";
    let resource = format!(
        "[[resource]]\nname = \"sales-db\"\nkind = \"postgres\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{}\"\ntier = \"non-prod\"\n\
         credential = \"{place}#owner\"\naccounts = {{ login = \"{maker}\", credential = \"{place}#maker\" }}\ntls_ca = \"\"\"{}\"\"\"\n",
        database.port(),
        database.name(),
        postgres::Database::authority().unwrap()
    );
    let roles = format!(
        "[[role]]\nname = \"owner\"\ndescription = \"Everything in it.\"\nkind = \"postgres\"\nlogin = \"{owner}\"\ndatabase = {{ unrestricted = true }}\n\
         [[role]]\nname = \"clerk\"\ndescription = \"Look after orders.\"\nkind = \"postgres\"\nlogin = \"nobody\"\n\
         [role.database]\ntables = [{{ name = \"public.orders\", select = true }}]\n"
    );
    let policy = vec![("resources.toml", resource), ("roles.toml", roles)];
    let gate = Served::with(Plan { databases: true, ..plan(&server, policy) });
    for role in ["owner", "clerk"] {
        gate.grant("ana", "sales-db", role, "1h");
    }
    let status = "SELECT status FROM orders";
    // Many at once are one login.
    std::thread::scope(|scope| {
        let one = |role: &'static str| psql(&gate, &database, role, status);
        let many: Vec<_> = ["owner", "clerk"].repeat(4).into_iter().map(|role| scope.spawn(move || one(role))).collect();
        for one in many {
            assert_eq!(one.join().unwrap(), "new");
        }
    });
    assert_eq!(server.counts().unwrap().0, 1);
    // Rotated at the server and not in the vault: the server refuses. In the vault too: it opens.
    database.admin(&format!("ALTER ROLE {owner} PASSWORD 'owners-next'; ALTER ROLE {maker} PASSWORD 'makers-next'")).unwrap();
    let refused = psql(&gate, &database, "owner", status);
    assert!(refused.contains("did not accept the gate's credential"), "{refused}");
    keeps("owners-next", "makers-next");
    let accounts = "SELECT count(DISTINCT r.rolname) FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid \
                    WHERE d.datname = current_database() AND r.rolname LIKE 'tg\\_%'";
    eventually("the account of before is gone", || (database.query(accounts).unwrap() == "0").then_some(()));
    for role in ["owner", "clerk"] {
        assert_eq!(psql(&gate, &database, role, status), "new", "{role}");
    }
    // Sealed: nobody is let in, and what has to be dropped is dropped when it is not.
    server.set("sealed", true).unwrap();
    let refused = psql(&gate, &database, "owner", status);
    assert!(refused.contains("so nothing was tried there") && refused.contains("the vault `corp` is sealed"), "{refused}");
    server.set("sealed", false).unwrap();
    eventually("the account is gone", || (database.query(accounts).unwrap() == "0").then_some(()));
    assert_eq!(psql(&gate, &database, "clerk", status), "new");
    for needle in ["owners-password", "owners-next", "makers-password", "makers-next"] {
        let found = Command::new("grep").args(["-r", "-l", "-a", "-F", needle]).arg(gate.dir()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{needle} stands in clear");
    }
    gate.assert_provable();
}

fn mysql(gate: &Served, role: &str, sql: &str) -> String {
    let mut client = Command::new("mariadb");
    client.args([
        "--no-defaults",
        "-h",
        "127.0.0.1",
        "-P",
        &gate.mysql.unwrap().port().to_string(),
        "-u",
        &format!("stock-db+{role}"),
        "--ssl",
    ]);
    client.args(["-N", "-B"]).arg(format!("-p{}", gate.person("ana")["token"].as_str().unwrap())).args(["-e", sql]);
    text(&client.env("HOME", gate.dir()).env_remove("MYSQL_PWD").stdin(Stdio::null()).output().unwrap())
}

// covers: CRED-1 (mysql), CRED-3 (mysql)
#[test]
fn a_password_that_is_rotated_in_the_vault_opens_mariadb_from_the_next_session_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(mariadb::Database::fresh()).unwrap();
    database.query("CREATE TABLE orders (id int, status varchar(20)); INSERT INTO orders VALUES (1, 'new')").unwrap();
    let owner = database.account("owner", "owners-password", mariadb::Proof::Native).unwrap();
    let server = VaultServer::start().unwrap();
    let keeps = |owner: &str| {
        server.put("kv/data/databases/stock", &json!({ "owner": owner, "maker": mariadb::ADMIN.1 })).unwrap();
    };
    keeps("owners-password");
    let (place, name) = ("vault:corp/kv/data/databases/stock", database.name());
    let resource = format!(
        "[[resource]]\nname = \"stock-db\"\nkind = \"mysql\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{name}\"\ntier = \"non-prod\"\n\
         credential = \"{place}#owner\"\naccounts = {{ login = \"{}\", credential = \"{place}#maker\" }}\ntls_ca = \"\"\"{}\"\"\"\n",
        database.port(),
        mariadb::ADMIN.0,
        mariadb::Database::authority().unwrap()
    );
    let roles = format!(
        "[[role]]\nname = \"keeper\"\ndescription = \"Everything in it.\"\nkind = \"mysql\"\nlogin = \"{owner}\"\ndatabase = {{ unrestricted = true }}\n\
         [[role]]\nname = \"picker\"\ndescription = \"Look after orders.\"\nkind = \"mysql\"\nlogin = \"nobody\"\n\
         [role.database]\ntables = [{{ name = \"{name}.orders\", select = true }}]\n"
    );
    let policy = vec![("resources.toml", resource), ("roles.toml", roles)];
    let gate = Served::with(Plan { databases: true, ..plan(&server, policy) });
    for role in ["keeper", "picker"] {
        gate.grant("ana", "stock-db", role, "1h");
        assert_eq!(mysql(&gate, role, "SELECT status FROM orders"), "new", "{role}");
    }
    database.account("owner", "owners-next", mariadb::Proof::Native).unwrap();
    let refused = mysql(&gate, "keeper", "SELECT status FROM orders");
    assert!(refused.contains("ERROR 1429") && refused.contains("did not accept the gate's credential"), "{refused}");
    keeps("owners-next");
    assert_eq!(mysql(&gate, "keeper", "SELECT status FROM orders"), "new");
    server.set("sealed", true).unwrap();
    let refused = mysql(&gate, "keeper", "SELECT status FROM orders");
    assert!(refused.contains("ERROR 3168") && refused.contains("the vault `corp` is sealed"), "{refused}");
    server.set("sealed", false).unwrap();
    for role in ["keeper", "picker"] {
        assert_eq!(mysql(&gate, role, "SELECT status FROM orders"), "new", "{role}");
    }
    gate.assert_provable();
}

// covers: CRED-1 (ssh, cli)
#[test]
fn amazons_secrets_manager_opens_a_target_and_says_why_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut amazon = Scripted::secrets_manager().unwrap();
    let key = keypair(dir.path(), "fetched").unwrap();
    let private = fs::read_to_string(&key).unwrap();
    let target = Sshd::start(&SshdOptions { authorized_keys: vec![public_half(&key).unwrap()], ..SshdOptions::default() }).unwrap();
    let mut put = |name: &str, text: &str| amazon.ask(&json!({ "put": name, "text": text }).to_string()).unwrap();
    put("prod/router-1", &json!({ "user": "root", "private_key": private }).to_string());
    put("prod/router-2", &private);
    let resources = resource("extra-1", target.port(), "prod", target.host_key(), "vault:aws-eu/prod/router-1#private_key")
        + &resource("extra-2", target.port(), "prod", target.host_key(), "vault:aws-eu/prod/router-2");
    let said_of = |key: &str| amazon_said(&amazon, key);
    let (url, access_key, secret) = (said_of("url"), said_of("access_key"), said_of("secret"));
    let settings =
        format!("[[vault]]\nname = \"aws-eu\"\nkind = \"aws-secrets-manager\"\nregion = \"eu-central-1\"\nendpoint = \"{url}\"\n");
    let environment = vec![("AWS_ACCESS_KEY_ID".to_owned(), access_key), ("AWS_SECRET_ACCESS_KEY".to_owned(), secret.clone())];
    let gate = Served::with(Plan { policy: vec![("resources.toml", resources)], settings, environment, ..Plan::default() });
    for name in ["extra-1", "extra-2"] {
        gate.grant("ana", name, "shell", "1h");
        inside(&gate, &format!("{name}+shell"));
    }
    let old = fs::read_to_string(keypair(dir.path(), "old").unwrap()).unwrap();
    let mut tell = |what: Value| amazon.ask(&what.to_string()).unwrap();
    tell(json!({ "put": "prod/router-2", "text": old }));
    outside(&gate, "extra-2+shell", "did not accept");
    tell(json!({ "put": "prod/router-2", "text": private }));
    inside(&gate, "extra-2+shell");
    let first = "vault:aws-eu/prod/router-1#private_key";
    for (credential, why) in [
        ("vault:aws-eu/prod/router-9#private_key", "has no secret `prod/router-9` in this region"),
        ("vault:aws-eu/prod/router-1#password", "has no field `password` in `prod/router-1`"),
        ("vault:aws-eu/prod/router-2#private_key", "has a plain text as `prod/router-2` and no fields"),
    ] {
        gate.change_policy("resources.toml", |text| text.replace(first, credential));
        outside(&gate, "extra-1+shell", why);
        gate.change_policy("resources.toml", |text| text.replace(credential, first));
        inside(&gate, "extra-1+shell");
    }
    tell(json!({ "delete": "prod/router-1" }));
    outside(&gate, "extra-1+shell", "marked for deletion");
    // Whoever looks without the gate's own credentials is told that there are none.
    assert!(
        doctor(&gate).contains("fail  vaults: the vault `aws-eu` cannot be asked: the gate finds no AWS credentials"),
        "{}",
        doctor(&gate)
    );
    let found = Command::new("grep").args(["-r", "-l", "-a", "-F", &secret]).arg(gate.dir()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the gate's own key stands in clear");
    gate.assert_provable();
}

fn amazon_said(amazon: &Scripted, key: &str) -> String {
    amazon.ready[key].as_str().unwrap().to_owned()
}

/// A client of another make, which knows the original.
const HVAC: &str = r#"
import sys, hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, VaultDown
url, ca, root, role_id, secret_id, jwt = sys.argv[1:7]

def refused(error, act):
    try:
        act()
    except error:
        return
    raise SystemExit(f"no {error.__name__}")

def client(token=None, **more):
    return hvac.Client(url=url, verify=ca, token=token, **more)

admin = client(root)
assert admin.is_authenticated() and not admin.sys.is_sealed()
admin.secrets.kv.v2.create_or_update_secret(path="network/router-1", secret={"password": "one"}, mount_point="kv")
admin.secrets.kv.v2.create_or_update_secret(path="network/router-1", secret={"password": "two"}, mount_point="kv", cas=1)
refused(InvalidRequest, lambda: admin.secrets.kv.v2.create_or_update_secret(path="network/router-1", secret={"password": "x"}, mount_point="kv", cas=1))
admin.secrets.kv.v1.create_or_update_secret(path="network/router-2", secret={"password": "three"}, mount_point="old")

gate = client()
assert not gate.is_authenticated()
refused(InvalidRequest, lambda: gate.auth.approle.login(role_id, "wrong"))
gate.auth.approle.login(role_id, secret_id)
assert gate.is_authenticated() and gate.auth.token.lookup_self()["data"]["ttl"] > 0
read = gate.secrets.kv.v2.read_secret_version(path="network/router-1", mount_point="kv", raise_on_deleted_version=True)
assert read["data"]["data"] == {"password": "two"} and read["data"]["metadata"]["version"] == 2, read
assert gate.secrets.kv.v1.read_secret(path="network/router-2", mount_point="old")["data"] == {"password": "three"}
refused(Forbidden, lambda: gate.secrets.kv.v2.read_secret_version(path="others/x", mount_point="kv", raise_on_deleted_version=True))
refused(Forbidden, lambda: gate.secrets.kv.v2.create_or_update_secret(path="network/router-1", secret={"password": "x"}, mount_point="kv"))
refused(InvalidPath, lambda: gate.secrets.kv.v2.read_secret_version(path="network/none", mount_point="kv", raise_on_deleted_version=True))
admin.secrets.kv.v2.delete_latest_version_of_secret(path="network/router-1", mount_point="kv")
refused(InvalidPath, lambda: gate.secrets.kv.v2.read_secret_version(path="network/router-1", mount_point="kv", raise_on_deleted_version=True))
gone = gate.secrets.kv.v2.read_secret_version(path="network/router-1", mount_point="kv", raise_on_deleted_version=False)
assert gone["data"]["data"] is None and gone["data"]["metadata"]["deletion_time"], gone

pod = client()
pod.auth.jwt.jwt_login(role="tidegate", jwt=jwt, path="kubernetes")
assert pod.is_authenticated()
refused(InvalidRequest, lambda: client().auth.jwt.jwt_login(role="tidegate", jwt="wrong", path="kubernetes"))
apart = client(namespace="ops")
apart.auth.approle.login(role_id, secret_id)
assert apart.is_authenticated()
refused(Forbidden, lambda: client("hvs.wrong").secrets.kv.v1.read_secret(path="network/router-2", mount_point="old"))

print("awake", flush=True)
sys.stdin.readline()
assert admin.sys.is_sealed()
refused(VaultDown, lambda: gate.secrets.kv.v1.read_secret(path="network/router-2", mount_point="old"))
"#;

#[test]
fn the_vault_of_these_tests_is_one_to_a_client_of_another_make() {
    let server = VaultServer::start().unwrap();
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python"));
    assert!(python.exists(), "`{}` is not there; run `make setup`", python.display());
    let mut hvac = Command::new(python)
        .args(["-c", HVAC, &server.url])
        .arg(server.ca_file())
        .args([&server.root, &server.role_id, &server.secret_id, &server.jwt])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut awake = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(hvac.stdout.as_mut().unwrap()), &mut awake).unwrap();
    if awake == "awake\n" {
        server.set("sealed", true).unwrap();
    }
    // Closing its stdin lets it go on.
    let done = hvac.wait_with_output().unwrap();
    assert!(awake == "awake\n" && done.status.success(), "{awake}{}", text(&done));
}
