//! A MariaDB through the whole program with the stock client: asked for, approved, opened, recorded, and cut when it is revoked; under a
//! restricted role on an account of its own, of which nothing is left.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use testkit::mariadb::{ADMIN, Database, Proof, is_mysql};

use crate::demo::eventually;
use crate::known::program;
use crate::served::{Plan, Served};

/// A gate before a stock database, with what the policy says about it.
fn stock(database: &Database) -> Served {
    stock_with(database, Vec::new())
}

/// The same, with more of a policy.
pub(crate) fn stock_with(database: &Database, more: Vec<(&'static str, String)>) -> Served {
    let tables = "CREATE TABLE orders (id int, status varchar(20)); INSERT INTO orders VALUES (1, 'new'); CREATE TABLE payments (id int); \
                  CREATE TABLE customers (name varchar(20), card varchar(40)); INSERT INTO customers VALUES ('Kim', '4111-unique-card')";
    database.query(tables).unwrap();
    let owner = database.account("owner", "owners-password", Proof::Native).unwrap();
    let name = database.name();
    let resource = format!(
        "[[resource]]\nname = \"stock-db\"\nkind = \"mysql\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{name}\"\ntier = \"non-prod\"\n\
         credential = \"secret:stock-db\"\naccounts = {{ login = \"{}\", credential = \"secret:stock-maker\" }}\ntls_ca = \"\"\"{}\"\"\"\n",
        database.port(),
        ADMIN.0,
        Database::authority().unwrap()
    );
    let roles = format!(
        "[[role]]\nname = \"keeper\"\ndescription = \"Everything in it.\"\nkind = \"mysql\"\nlogin = \"{owner}\"\ndatabase = {{ unrestricted = true }}\n\
         [[role]]\nname = \"minder\"\ndescription = \"Everything in it, each on an account of their own.\"\nkind = \"mysql\"\n\
         login = \"minders_{name}\"\ndatabase = {{ unrestricted = true, own_account = true }}\n\
         [[role]]\nname = \"picker\"\ndescription = \"Look after orders.\"\nkind = \"mysql\"\nlogin = \"nobody\"\n\
         [role.database]\ntables = [\n  {{ name = \"{name}.orders\", select = true, update = [\"status\"] }},\n  \
         {{ name = \"{name}.customers\", select = [\"name\", \"card\"], mask = [\"card\"] }},\n]\n"
    );
    let mut policy = vec![("resources.toml", resource), ("roles.toml", roles)];
    policy.extend(more);
    let gate = Served::with(Plan { policy, databases: true, ..Plan::default() });
    for (name, value) in [("stock-maker", ADMIN.1), ("stock-db", "owners-password")] {
        let (status, answer) = gate.api("dan", "PUT", &format!("/api/v1/secrets/{name}"), Some(json!({"value": value})));
        assert!(status < 300, "{name}: {status} {answer}");
    }
    gate
}

/// Ana's `mariadb` through the gate, with her token.
fn mariadb(gate: &Served, role: &str, arguments: &[&str]) -> Command {
    mariadb_of("ana", gate, role, arguments)
}

/// The same of anybody.
fn mariadb_of(person: &str, gate: &Served, role: &str, arguments: &[&str]) -> Command {
    let mut client = client(gate, role);
    client.arg(format!("-p{}", gate.person(person)["token"].as_str().unwrap())).args(arguments);
    client
}

/// Somebody's, who has yet to say who they are.
fn client(gate: &Served, role: &str) -> Command {
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
    client.args(["-N", "-B"]).env("HOME", gate.dir()).env_remove("MYSQL_PWD").stdin(Stdio::null());
    client
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

fn run(gate: &Served, role: &str, sql: &str) -> String {
    said(&mariadb(gate, role, &["-e", sql]).output().unwrap())
}

/// What runs in the database at the server.
fn running(database: &Database) -> String {
    let look = format!(
        "SELECT COALESCE(GROUP_CONCAT(info), '') FROM information_schema.processlist WHERE db = '{}' AND user <> '{}'",
        database.name(),
        ADMIN.0
    );
    database.query(&look).unwrap()
}

// covers: MY-1 (mariadb), GRANT-3 (mysql), D2 (mysql), EV-5 (mysql)
#[test]
fn ana_asks_ben_approves_she_works_and_the_revocation_ends_what_runs() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = stock(&database);
    // Without a grant the client's first question is refused, or a lobby; with one it works.
    let grant = gate.grant("ana", "stock-db", "keeper", "10m");
    assert_eq!(run(&gate, "keeper", "SELECT status FROM orders"), "new");
    let sleeping: Child =
        mariadb(&gate, "keeper", &["-e", "SELECT SLEEP(60)"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it runs at the server", || running(&database).contains("SLEEP").then_some(()));
    let (status, answer) = gate.api("carla", "POST", &format!("/api/v1/grants/{grant}/revoke"), Some(json!({"reason": "drill"})));
    assert!(status < 300 && answer["cut"]["unconfirmed"] == json!([]), "{status} {answer}");
    let told = said(&sleeping.wait_with_output().unwrap());
    assert!(told.contains("ERROR 1927 (70100)") && told.contains("revoked"), "{told}");
    assert_eq!(running(&database), "");
    let (_, sessions) = gate.api("eve", "GET", "/api/v1/sessions?all=true&resource=stock-db", None);
    let ends: Vec<&str> = sessions["items"].as_array().unwrap().iter().filter_map(|s| s["end"].as_str()).collect();
    assert!(ends.contains(&"revoked") && ends.contains(&"client"), "{sessions}");
    let recording =
        sessions["items"].as_array().unwrap().iter().find(|s| s["end"] == "revoked").unwrap()["id"].as_str().unwrap().to_owned();
    let (_, activities) = gate.api("eve", "GET", &format!("/api/v1/sessions/{recording}/recording"), None);
    assert!(activities.to_string().contains("SELECT SLEEP(60)"), "{activities}");
    gate.assert_provable();
}

// covers: CRED-3 (mysql), D6 (mysql), MAY-6 (mariadb), E5 (mariadb)
#[test]
fn a_restricted_role_works_on_an_account_of_its_grant_and_nothing_is_left_of_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = stock(&database);
    gate.grant("ana", "stock-db", "picker", "10m");
    assert_eq!(run(&gate, "picker", "SELECT name, card FROM customers"), "Kim\t****");
    assert_eq!(run(&gate, "picker", "UPDATE orders SET status = 'sent'; SELECT id, status FROM orders"), "1\tsent");
    let refused = run(&gate, "picker", "SELECT * FROM payments");
    assert!(refused.contains("Your role does not include this"), "{refused}");
    // While a session lives its account is at the server; afterwards there is none.
    let me = run(&gate, "picker", "SELECT CURRENT_USER()");
    assert!(me.starts_with("tg_"), "{me}");
    let name = me.split('@').next().unwrap();
    let left = format!("SELECT COUNT(*) FROM mysql.user WHERE user = '{name}'");
    eventually("the account is gone", || (database.query(&left).unwrap() == "0").then_some(()));
    let (_, audit) = gate.api("eve", "GET", "/api/v1/audit/entries?limit=200", None);
    for event in ["account.created", "account.dropped", "session.denied"] {
        assert!(audit.to_string().contains(event), "{event}: {audit}");
    }
    gate.assert_provable();
}

// covers: D7 (mariadb), CRED-3 (mariadb), GRANT-3 (mariadb)
#[test]
fn nobody_ends_anothers_session_where_each_grant_has_an_account_of_its_own() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = stock(&database);
    let login = format!("minders_{}", database.name());
    database.query(&format!("DROP ROLE IF EXISTS {login}; CREATE ROLE {login}; GRANT ALL ON {}.* TO {login}", database.name())).unwrap();
    let sleeps = |role: &str| {
        let sleeper = mariadb(&gate, role, &["-e", "SELECT SLEEP(60)"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let its = format!("SELECT id FROM information_schema.processlist WHERE db = '{}' AND info = 'SELECT SLEEP(60)'", database.name());
        let id = eventually("it runs at the server", || Some(database.query(&its).unwrap()).filter(|id| !id.is_empty()));
        (sleeper, id)
    };
    // Ben computes whom he ends, so that nobody can read it beforehand.
    let ben = |role: &str, id: &str| {
        let sql = format!("SET @s = CONCAT('ki', 'll ', {id}); PREPARE s FROM @s; EXECUTE s; SELECT status FROM orders");
        said(&mariadb_of("ben", &gate, role, &["-e", &sql]).output().unwrap())
    };
    let grants: Vec<String> = ["keeper", "minder"].map(|role| gate.grant("ana", "stock-db", role, "10m")).into();
    for role in ["keeper", "minder"] {
        gate.grant("ben", "stock-db", role, "10m");
    }
    // On one login it reaches her; with an account for each grant it does not.
    let (shared, id) = sleeps("keeper");
    assert_eq!(ben("keeper", &id), "new");
    assert!(!shared.wait_with_output().unwrap().status.success());
    let (own, id) = sleeps("minder");
    let refused = ben("minder", &id);
    assert!(refused.contains("You are not owner of thread"), "{refused}");
    assert!(running(&database).contains("SLEEP"));
    // The gate ends it all the same.
    let (status, answer) = gate.api("carla", "POST", &format!("/api/v1/grants/{}/revoke", grants[1]), Some(json!({"reason": "drill"})));
    assert!(status < 300 && answer["cut"]["unconfirmed"] == json!([]), "{status} {answer}");
    let told = said(&own.wait_with_output().unwrap());
    assert!(told.contains("ERROR 1927 (70100)") && told.contains("revoked"), "{told}");
    assert_eq!(running(&database), "");
    let left = if is_mysql() {
        "SELECT COUNT(*) FROM mysql.role_edges WHERE TO_USER LIKE 'tg\\_%' AND FROM_USER = "
    } else {
        "SELECT COUNT(*) FROM mysql.user u JOIN mysql.roles_mapping m ON m.User = u.User WHERE u.User LIKE 'tg\\_%' AND m.Role = "
    };
    let left = format!("{left}'{login}'");
    eventually("their accounts are gone", || (database.query(&left).unwrap() == "0").then_some(()));
    database.query(&format!("DROP ROLE {login}")).unwrap();
    gate.assert_provable();
}

// covers: MY-1 (connect), GRANT-3 (connect)
#[test]
fn tidegate_connect_opens_a_port_for_tools_until_the_grant_ends() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = stock(&database);
    let grant = gate.grant("ana", "stock-db", "keeper", "10m");
    let mut connect = Command::new(program())
        .env("TIDEGATE_URL", gate.ready["api"].as_str().unwrap())
        .env("TIDEGATE_TOKEN", gate.person("ana")["token"].as_str().unwrap())
        .env("HOME", gate.dir())
        .args(["connect", "stock-db+keeper", "--json"])
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
    let password = ready["password"].as_str().unwrap();
    let (uri, port) = (format!("mysql://tidegate:{password}@127.0.0.1:{}/", ready["port"]), ready["port"].to_string());
    assert_eq!((&ready["uri"], &ready["grant"]), (&json!(uri), &json!(grant)));
    let ask = |password: &str, plugin: &str, sql: &str| {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--skip-ssl", "-h", "127.0.0.1", "-P", &port, "-u", "tidegate", "-N", "-B", "-e", sql]);
        said(&client.args([format!("-p{password}"), format!("--default-auth={plugin}")]).stdin(Stdio::null()).output().unwrap())
    };
    for plugin in ["mysql_native_password", "caching_sha2_password"] {
        assert_eq!(ask(password, plugin, "SELECT status FROM orders; SELECT LENGTH(REPEAT('x', 300000))"), "new\n300000", "{plugin}");
        // Whoever else is on this machine does not know the port's password.
        let refused = ask("guessed", plugin, "SELECT status FROM orders");
        assert!(refused.contains("not the password of this port"), "{plugin}: {refused}");
    }
    let (status, answer) = gate.api("carla", "POST", &format!("/api/v1/grants/{grant}/revoke"), Some(json!({"reason": "drill"})));
    assert!(status < 300, "{status} {answer}");
    let ended = eventually("the port is closed", || connect.try_wait().unwrap());
    assert!(ended.success());
    let closed = ask(password, "mysql_native_password", "SELECT 1");
    assert!(closed.contains("Can't connect"), "{closed}");
}

/// A certificate and its key as files, as `tidegate login` leaves them.
fn files(dir: &Path, certificate: &str, key: &str) -> (PathBuf, PathBuf) {
    std::fs::create_dir_all(dir).unwrap();
    let files = (dir.join("tidegate-client.crt"), dir.join("tidegate-client.key"));
    std::fs::write(&files.0, certificate).unwrap();
    std::fs::write(&files.1, key).unwrap();
    files
}

// covers: WHO-5 (mariadb), WHO-8 (mariadb), A4 (mysql)
#[test]
fn the_client_certificate_of_a_login_signs_in_and_no_other_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = stock(&database);
    gate.grant("ana", "stock-db", "keeper", "10m");
    let login = |person: &str| {
        let dir = gate.dir().join(format!("login-{person}"));
        std::fs::create_dir_all(&dir).unwrap();
        let done = gate.tidegate(person, &["login", "--ssh-dir", dir.to_str().unwrap()]);
        assert!(done.status.success(), "{}", said(&done));
        (dir.join("tidegate-client.crt"), dir.join("tidegate-client.key"))
    };
    let ask = |(certificate, key): &(PathBuf, PathBuf), more: &[&str]| {
        let mut client = client(&gate, "keeper");
        client.arg("--ssl-cert").arg(certificate).arg("--ssl-key").arg(key).args(more);
        said(&client.args(["-e", "SELECT status FROM orders"]).output().unwrap())
    };
    let anas = login("ana");
    assert_eq!(ask(&anas, &[]), "new");
    // What is given for a password counts for nothing beside it, whichever way it is sent.
    for plugin in ["caching_sha2_password", "mysql_native_password", "mysql_clear_password"] {
        assert_eq!(ask(&anas, &["-pwhatever", &format!("--default-auth={plugin}")]), "new", "{plugin}");
    }

    // Another person's signs that person in, who may not even know of it, with whatever of Ana's beside it.
    let eves = login("eve");
    let anas_token = format!("-p{}", gate.person("ana")["token"].as_str().unwrap());
    for more in [&[][..], &[anas_token.as_str()]] {
        assert!(ask(&eves, more).contains("There is no such resource"), "{}", ask(&eves, more));
    }

    // Another CA's certificate is nobody's: its holder is asked for a token like anybody.
    let own = rcgen::generate_simple_self_signed(["ana".to_owned()]).unwrap();
    let foreign = files(&gate.dir().join("foreign"), &own.cert.pem(), &own.signing_key.serialize_pem());
    assert!(ask(&foreign, &[]).contains("this is none that is valid"), "{}", ask(&foreign, &[]));
    assert_eq!(ask(&foreign, &[&anas_token]), "new");

    // One that has run out says so.
    let keys = gate.dir().join("brief");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&keys).status().unwrap();
    assert!(made.success());
    let key = rcgen::KeyPair::generate().unwrap();
    let new = json!({
        "public_key": std::fs::read_to_string(keys.with_extension("pub")).unwrap(), "client_key": key.public_key_pem(), "duration": "1s"
    });
    let issued = gate.post("ana", "/api/v1/certificates", new);
    let brief = files(&gate.dir().join("brief-client"), issued["client"]["certificate"].as_str().unwrap(), &key.serialize_pem());
    eventually("it has run out", || ask(&brief, &[]).contains("has run out; sign in again").then_some(()));

    // Locked: the certificate is good, and opens nothing. Taken away: it is nothing.
    let lock = gate.cli("carla", &["lock", "set", "user", "ana", "--reason", "drill"]);
    assert!(ask(&anas, &[]).contains("locked"), "{}", ask(&anas, &[]));
    gate.cli("carla", &["lock", "lift", lock["lock"]["id"].as_str().or(lock["id"].as_str()).unwrap()]);
    // What the lock withdrew stays withdrawn.
    gate.grant("ana", "stock-db", "keeper", "10m");
    assert_eq!(ask(&anas, &[]), "new");
    let keys = gate.cli("ana", &["key", "list"]);
    for key in keys["items"].as_array().unwrap().iter().filter(|key| key["kind"] == "client_certificate") {
        gate.cli("ana", &["key", "remove", key["id"].as_str().unwrap()]);
    }
    assert!(ask(&anas, &[]).contains("this is none that is valid"), "{}", ask(&anas, &[]));
    gate.assert_provable();
}
