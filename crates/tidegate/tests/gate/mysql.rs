//! A MariaDB through the whole program with the stock client: asked for, approved, opened, recorded, and cut when it is revoked; under a
//! restricted role on an account of its own, of which nothing is left.

use std::process::{Child, Command, Output, Stdio};

use serde_json::json;
use testkit::mariadb::{ADMIN, Database, Proof};

use crate::demo::eventually;
use crate::served::{Plan, Served};

/// A gate before a stock database, with what the policy says about it.
fn stock(database: &Database) -> Served {
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
         [[role]]\nname = \"picker\"\ndescription = \"Look after orders.\"\nkind = \"mysql\"\nlogin = \"nobody\"\n\
         [role.database]\ntables = [\n  {{ name = \"{name}.orders\", select = true, update = [\"status\"] }},\n  \
         {{ name = \"{name}.customers\", select = [\"name\", \"card\"], mask = [\"card\"] }},\n]\n"
    );
    let gate = Served::with(Plan { policy: vec![("resources.toml", resource), ("roles.toml", roles)], databases: true, ..Plan::default() });
    for (name, value) in [("stock-maker", ADMIN.1), ("stock-db", "owners-password")] {
        let (status, answer) = gate.api("dan", "PUT", &format!("/api/v1/secrets/{name}"), Some(json!({"value": value})));
        assert!(status < 300, "{name}: {status} {answer}");
    }
    gate
}

/// Ana's `mariadb` through the gate.
fn mariadb(gate: &Served, role: &str, arguments: &[&str]) -> Command {
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
    client.arg(format!("-p{}", gate.person("ana")["token"].as_str().unwrap())).args(["-N", "-B"]).args(arguments).stdin(Stdio::null());
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
