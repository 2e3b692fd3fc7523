//! A restricted role at a database, through the whole program with stock `psql`: asked for, opened on an account of its own, judged,
//! masked, and nothing left of it afterwards.

use std::process::{Command, Output, Stdio};

use serde_json::json;
use testkit::postgres::{Database, Proof};

use crate::demo::eventually;
use crate::served::{Plan, Served};

/// A gate before a shop's database, with what the policy says about it.
pub(crate) fn shop(database: &Database) -> Served {
    shop_with(database, Vec::new())
}

/// The same, with more of a policy.
pub(crate) fn shop_with(database: &Database, more: Vec<(&'static str, String)>) -> Served {
    shop_that(database, more, String::new())
}

/// The same, with more in `tidegate.toml`.
pub(crate) fn shop_that(database: &Database, more: Vec<(&'static str, String)>, settings: String) -> Served {
    let orders = "CREATE TABLE orders (id int, status text); INSERT INTO orders VALUES (1, 'new'); CREATE TABLE payments (id int); \
                  CREATE TABLE customers (name text, card text); INSERT INTO customers VALUES ('Kim', '4111-unique-card')";
    database.query(orders).unwrap();
    let maker = database.account("maker", "makers-password", Proof::Scram).unwrap();
    let resource = format!(
        "[[resource]]\nname = \"sales-db\"\nkind = \"postgres\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{}\"\ntier = \"non-prod\"\n\
         credential = \"secret:sales-db\"\naccounts = {{ login = \"{maker}\", credential = \"secret:orders-maker\" }}\ntls_ca = \"\"\"{}\"\"\"\n",
        database.port(),
        database.name(),
        Database::authority().unwrap()
    );
    let role = "[[role]]\nname = \"clerk\"\ndescription = \"Look after orders.\"\nkind = \"postgres\"\nlogin = \"nobody\"\n\
                [role.database]\ntables = [\n  { name = \"public.orders\", select = true, update = [\"status\"] },\n  \
                { name = \"public.customers\", select = [\"name\", \"card\"], mask = [\"card\"] },\n]\n";
    let mut policy = vec![("resources.toml", resource), ("roles.toml", role.to_owned())];
    policy.extend(more);
    let gate = Served::with(Plan { policy, databases: true, settings, ..Plan::default() });
    for (name, value) in [("orders-maker", "makers-password"), ("sales-db", "never used")] {
        let (status, answer) = gate.api("dan", "PUT", &format!("/api/v1/secrets/{name}"), Some(json!({"value": value})));
        assert!(status < 300, "{name}: {status} {answer}");
    }
    gate
}

/// Ana's `psql` through the gate.
pub(crate) fn psql(gate: &Served, database: &Database, arguments: &[&str]) -> Output {
    let port = gate.databases.unwrap().port();
    let place = format!("host=127.0.0.1 port={port} user=sales-db+clerk dbname={} sslmode=require connect_timeout=20", database.name());
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", "-d", &place]).args(arguments).stdin(Stdio::null());
    psql.env("PGPASSWORD", gate.person("ana")["token"].as_str().unwrap()).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

// covers: CRED-3, D6, MAY-6, PG-4 (psql)
#[test]
fn ana_works_as_a_clerk_on_an_account_of_her_grant_and_nothing_is_left_of_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(Database::fresh()).unwrap();
    let gate = shop(&database);
    gate.grant("ana", "sales-db", "clerk", "10m");
    assert_eq!(said(&psql(&gate, &database, &["-c", "SELECT * FROM customers"])), "Kim|****");
    assert_eq!(said(&psql(&gate, &database, &["-c", "UPDATE orders SET status = 'sent' RETURNING id, status"])), "1|sent");
    let refused = said(&psql(&gate, &database, &["-c", "SELECT * FROM payments"]));
    assert!(refused.contains("Your role does not include this"), "{refused}");
    // While a session lives its account is at the server; afterwards there is none.
    let accounts = "SELECT count(DISTINCT r.rolname) FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid JOIN pg_database d ON d.oid = s.dbid \
                    WHERE d.datname = current_database() AND r.rolname LIKE 'tg\\_%'";
    let outside = format!("\\! psql -X -q -A -t -h 127.0.0.1 -p {} -U tide -d {} -c \"{accounts}\"", database.port(), database.name());
    assert_eq!(said(&psql(&gate, &database, &["-c", "SELECT id FROM orders", "-c", &outside, "-c", "SELECT 2"])), "1\n1\n2");
    eventually("the account is gone", || (database.query(accounts).unwrap() == "0").then_some(()));
    let (_, audit) = gate.api("eve", "GET", "/api/v1/audit/entries?limit=200", None);
    for event in ["account.created", "account.dropped", "session.denied"] {
        assert!(audit.to_string().contains(event), "{event}: {audit}");
    }
    gate.assert_provable();
}
