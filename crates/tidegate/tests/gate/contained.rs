//! Ana is contained, and so is a database: whatever runs at the targets is gone, and nothing opens until it is lifted. Measured there.
//! And sessions that take out too much: alerted, or ended with the reason said.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{mariadb, postgres};

use crate::demo::{Talk, eventually, lives};
use crate::served::{Plan, Served};

/// A gate before a machine and two databases of a shop, each with a role that may do everything in it.
fn shop(orders: &postgres::Database, stock: &mariadb::Database, tiers: &str) -> Served {
    shop_in(orders, stock, &format!("approvals = []\nreason = false\nrecord = \"events\"\n{tiers}"))
}

/// The same, in a tier with this in it.
pub(crate) fn shop_in(orders: &postgres::Database, stock: &mariadb::Database, tier: &str) -> Served {
    let orders_owner = orders.account("owner", "owners-password", postgres::Proof::Scram).unwrap();
    let stock_owner = stock.account("owner", "owners-password", mariadb::Proof::Native).unwrap();
    let resources = format!(
        "[[resource]]\nname = \"sales-db\"\nkind = \"postgres\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{}\"\ntier = \"watched\"\n\
         credential = \"secret:sales-db\"\ntls_ca = \"\"\"{}\"\"\"\n\
         [[resource]]\nname = \"stock-db\"\nkind = \"mysql\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{}\"\ntier = \"watched\"\n\
         credential = \"secret:stock-db\"\ntls_ca = \"\"\"{}\"\"\"\n\
         [[resource]]\nname = \"shop-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{{port}}\"\nlogin = \"{{login}}\"\ntier = \"watched\"\n\
         host_keys = [\"{{host_key}}\"]\n",
        orders.port(),
        orders.name(),
        postgres::Database::authority().unwrap(),
        stock.port(),
        stock.name(),
        mariadb::Database::authority().unwrap(),
    );
    let roles = format!(
        "[[role]]\nname = \"seller\"\ndescription = \"Everything in it.\"\nkind = \"postgres\"\nlogin = \"{orders_owner}\"\ndatabase = {{ unrestricted = true }}\n\
         [[role]]\nname = \"keeper\"\ndescription = \"Everything in it.\"\nkind = \"mysql\"\nlogin = \"{stock_owner}\"\ndatabase = {{ unrestricted = true }}\n"
    );
    let tier = format!("[[tier]]\nname = \"watched\"\nmax = \"2h\"\ndefault = \"1h\"\nidle = \"1h\"\n{tier}\n");
    let path = "@id(\"engineers-on-watched\")\npermit(\n  principal in Tide::Group::\"engineers\",\n  action == Tide::Action::\"request\",\n  \
                resource in Tide::Tier::\"watched\"\n);\n";
    let policy = vec![("resources.toml", resources), ("roles.toml", roles), ("tiers.toml", tier), ("access.cedar", path.to_owned())];
    let gate = Served::with(Plan { policy, databases: true, ..Plan::default() });
    for name in ["sales-db", "stock-db"] {
        let (status, answer) = gate.api("dan", "PUT", &format!("/api/v1/secrets/{name}"), Some(json!({"value": "owners-password"})));
        assert!(status < 300, "{name}: {status} {answer}");
    }
    gate
}

/// The configuration of `ssh` names the example's machines alone.
pub(crate) const AS_SHELL: &[&str] = &["-o", "User=shop-1+shell"];

/// Ana's `psql` through the gate.
fn psql(gate: &Served, orders: &postgres::Database, sql: &str) -> Command {
    let port = gate.databases.unwrap().port();
    let place = format!("host=127.0.0.1 port={port} user=sales-db+seller dbname={} sslmode=require connect_timeout=20", orders.name());
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", "-d", &place, "-c", sql]).env("PGPASSWORD", gate.person("ana")["token"].as_str().unwrap());
    psql.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    psql
}

/// Ana's `mariadb` through the gate.
fn mysql(gate: &Served, sql: &str) -> Command {
    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "-h", "127.0.0.1", "-P", &gate.mysql.unwrap().port().to_string(), "-u", "stock-db+keeper", "--ssl"]);
    client.args(["-N", "-B", "-q", "-e", sql]).env("HOME", gate.dir()).env_remove("MYSQL_PWD");
    client.arg(format!("-p{}", gate.person("ana")["token"].as_str().unwrap()));
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    client
}

/// What somebody else than the tests' own connection does in the database now.
pub(crate) fn in_orders(orders: &postgres::Database) -> String {
    let look = format!(
        "SELECT coalesce(string_agg(query, ' '), '') FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        orders.name()
    );
    orders.query(&look).unwrap()
}

pub(crate) fn in_stock(stock: &mariadb::Database) -> String {
    let look = format!(
        "SELECT COALESCE(GROUP_CONCAT(info), '') FROM information_schema.processlist WHERE db = '{}' AND user <> '{}'",
        stock.name(),
        mariadb::ADMIN.0
    );
    stock.query(&look).unwrap()
}

// covers: MAY-9 (ssh, postgres, mysql, api, cli), WHO-8 (ssh, postgres, mysql), GRANT-3 (ssh, postgres, mysql), G2 (api)
#[test]
fn carla_contains_ana_and_nothing_of_hers_runs_at_any_target() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let orders = runtime.block_on(postgres::Database::fresh()).unwrap();
    let stock = runtime.block_on(mariadb::Database::fresh()).unwrap();
    let gate = shop(&orders, &stock, "");
    for (resource, role) in [("shop-1", "shell"), ("sales-db", "seller"), ("stock-db", "keeper")] {
        gate.grant("ana", resource, role, "1h");
    }
    // Something of hers waits for others, too.
    let asked = gate.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "debug", "reason": "a slow query"}));
    assert_eq!(asked["answer"], "needs_approval", "{asked}");
    let mut shell = Talk::start(gate.ssh("ana", "shop-1+shell", AS_SHELL, &["echo pid-$$-; exec sleep 1000"]));
    let pid: u32 = eventually("the target's process", || shell.heard().split("pid-").nth(1)?.split_once('-')?.0.parse().ok());
    let sales = psql(&gate, &orders, "SELECT pg_sleep(1000)").spawn().unwrap();
    let keeping = mysql(&gate, "SELECT SLEEP(1000)").spawn().unwrap();
    eventually("all of it runs", || {
        (lives(pid) && in_orders(&orders).contains("pg_sleep") && in_stock(&stock).contains("SLEEP")).then_some(())
    });

    // It is a right of its own, takes a reason, and is nobody's for themselves.
    let ana = gate.id("ana");
    let scope = format!("person:{ana}");
    let (status, _) = gate.api("ben", "POST", "/api/v1/containments", Some(json!({"scope": scope, "reason": "x"})));
    assert_eq!(status, 403);
    let (status, _) = gate.api("carla", "POST", "/api/v1/containments", Some(json!({"scope": scope, "reason": " "})));
    assert!((400..500).contains(&status), "{status}");
    let own = format!("person:{}", gate.id("carla"));
    let (status, said) = gate.api("carla", "POST", "/api/v1/containments", Some(json!({"scope": own, "reason": "x"})));
    assert!((400..500).contains(&status) && said.to_string().contains("nobody contains themselves"), "{status} {said}");
    assert!(lives(pid), "nothing happened so far");

    let since = Instant::now();
    let done = gate.cli("carla", &["contain", "user", "ana", "--reason", "her laptop was stolen"]);
    assert!(since.elapsed() < Duration::from_secs(10), "it took {:?}", since.elapsed());
    assert_eq!(done["cut"]["confirmed"].as_array().unwrap().len(), 3, "{done}");
    assert_eq!((&done["cut"]["unconfirmed"], &done["already"]), (&json!([]), &json!(false)), "{done}");
    assert!(done["grants"].as_array().unwrap().len() == 3 && done["requests"].as_array().unwrap().len() == 1, "{done}");
    assert!(done["credentials"].as_u64().unwrap() > 0 && done["seconds"].as_f64().unwrap() > 0.0, "{done}");
    // What the answer says is so at the targets, at once.
    assert!(!lives(pid), "the process runs still");
    assert_eq!((in_orders(&orders), in_stock(&stock)), (String::new(), String::new()));
    assert_eq!(shell.end(), 76, "{}", shell.heard());
    for client in [sales, keeping] {
        let told = client.wait_with_output().unwrap();
        assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("locked"), "{told:?}");
    }
    // Nothing opens: not with her key, not with her token.
    assert_ne!(gate.ssh("ana", "shop-1+shell", AS_SHELL, &["true"]).output().unwrap().status.code(), Some(0));
    assert_eq!(gate.api("ana", "GET", "/api/v1/me", None).0, 401);
    assert!(!psql(&gate, &orders, "SELECT 1").output().unwrap().status.success());
    assert!(!mysql(&gate, "SELECT 1").output().unwrap().status.success());

    // Said again it is the same one; a plain lift does not do.
    let again = gate.post("carla", "/api/v1/containments", json!({"scope": scope, "reason": "to be sure"}));
    assert_eq!((&again["already"], &again["lock"]["id"]), (&json!(true), &done["lock"]["id"]), "{again}");
    let lock = done["lock"]["id"].as_str().unwrap();
    assert_eq!(gate.api("carla", "POST", &format!("/api/v1/locks/{lock}/lift"), Some(json!({}))).0, 400);
    let (_, entries) = gate.api("eve", "GET", "/api/v1/audit/entries?event=containment.reached", None);
    assert_eq!(entries["items"].as_array().unwrap().len(), 2, "{entries}");
    let numbers = gate.get("eve", "/api/v1/metrics")["raw"].as_str().unwrap().to_owned();
    for line in ["tidegate_contain_seconds_count 2", "tidegate_containment_orders_total 1"] {
        assert!(numbers.lines().any(|found| found == line), "{line}: {numbers}");
    }
    let lifted = gate.cli("carla", &["contain", "lift", lock, "--reason", "it was found again"]);
    assert_eq!(lifted["state"], "lifted", "{lifted}");
    assert_eq!(gate.api("ana", "GET", "/api/v1/me", None).0, 401, "her token stays gone");
    gate.assert_provable();
}

// covers: MAY-9 (ssh, postgres, mysql, api)
#[test]
fn a_session_that_takes_out_too_much_is_ended_and_told_why() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let orders = runtime.block_on(postgres::Database::fresh()).unwrap();
    let stock = runtime.block_on(mariadb::Database::fresh()).unwrap();
    let gate = shop(&orders, &stock, "watch = [\"results over 1MiB: alert\", \"results over 8MiB: end\"]");
    for (resource, role) in [("shop-1", "shell"), ("sales-db", "seller"), ("stock-db", "keeper")] {
        gate.grant("ana", resource, role, "1h");
    }
    // Two MiB are an alert, and no more than that.
    let some = "SELECT repeat('x', 1024) FROM generate_series(1, 2048); SELECT pg_sleep(1)";
    let out = psql(&gate, &orders, some).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // Twelve are too many, whatever comes then.
    // Just below, then a little more: the answer is over when it is seen, and so the reason fits behind it.
    let rows = |count: u32| format!("SELECT repeat('x', 1024) FROM generate_series(1, {count})");
    let mut much = psql(&gate, &orders, &rows(7900));
    let out = much.args(["-c", &rows(400), "-c", "SELECT pg_sleep(1000)"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("threshold") && told.contains("more than 8 MiB"), "{told}");
    let out = mysql(&gate, "SELECT REPEAT('x', 1024) FROM seq_1_to_12288; SELECT SLEEP(1000)").output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("threshold") && told.contains("more than 8 MiB"), "{told}");
    let out = gate.ssh("ana", "shop-1+shell", AS_SHELL, &["head -c 12582912 /dev/zero | tr '\\0' x; exec sleep 1000"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(76) && told.contains("threshold") && told.contains("more than 8 MiB"), "{:?} {told}", out.status);
    eventually("nothing of it runs on", || (in_orders(&orders) + &in_stock(&stock)).is_empty().then_some(()));
    let sessions = eventually("all have ended, and say why", || {
        let sessions = gate.get("eve", "/api/v1/sessions?all=true")["items"].as_array().unwrap().clone();
        sessions.iter().all(|session| session["state"] == "ended").then_some(sessions)
    });
    let ended: Vec<_> = sessions.iter().filter(|session| session["end"] == "threshold").collect();
    assert_eq!(ended.len(), 3, "{sessions:?}");
    for session in ended {
        let alerts: Vec<_> = session["alerts"].as_array().unwrap().iter().map(|alert| alert["then"].clone()).collect();
        assert_eq!(alerts, [json!("alert"), json!("end")], "{session}");
        assert_eq!(session["confirmed"], json!(true), "{session}");
    }
    let warned = sessions.iter().find(|session| session["end"] == "client").unwrap();
    assert_eq!(warned["alerts"][0]["what"], "results", "{warned}");
    gate.assert_provable();
}

// covers: MAY-9 (api, cli, ssh, postgres)
#[test]
fn what_is_unusual_is_said_where_one_asks_and_to_who_decides() {
    let gate = Served::with(Plan { databases: true, ..Plan::default() });
    let says = "No session of theirs from 127.0.0.0/24 in 90 days";
    let ask = json!({"resource": "db-1", "role": "debug", "reason": "a slow query"});
    // Before anything is sent, and nothing is kept of the question.
    let preview = gate.post("ana", "/api/v1/requests/preview", ask);
    assert_eq!(preview["risk"]["level"], "high", "{preview}");
    assert!(preview["risk"]["says"][0].as_str().unwrap().starts_with(says), "{preview}");
    let signals = preview["risk"]["signals"].as_array().unwrap();
    assert_eq!((signals.len(), &signals[2]["signal"], &signals[2]["found"]), (6, &json!("first_use"), &json!("yes")), "{preview}");
    let knocked = gate.ssh("ana", "db-1+debug", &[], &["true"]).output().unwrap();
    let told = String::from_utf8_lossy(&knocked.stderr).into_owned();
    assert!(told.contains("Those who decide see: ") && told.contains(says), "{told}");
    let place = format!("host=127.0.0.1 port={} user=orders-db+readonly dbname=orders sslmode=require", gate.databases.unwrap().port());
    let mut program = Command::new("psql");
    program.args(["-X", "-w", "-d", &place, "-c", "SELECT 1"]).env("PGAPPNAME", "a-program").stdin(Stdio::null());
    let knocked = program.env("PGPASSWORD", gate.person("ana")["token"].as_str().unwrap()).output().unwrap();
    let told = String::from_utf8_lossy(&knocked.stderr).into_owned();
    assert!(told.contains("Those who decide see: ") && told.contains(says), "{told}");

    let asked = gate.tidegate("ana", &["request", "create", "db-1", "debug", "--reason", "a slow query"]);
    assert!(asked.status.code() == Some(75) && String::from_utf8_lossy(&asked.stderr).contains(says), "{asked:?}");
    let inbox = gate.cli("ben", &["request", "list", "--inbox"]);
    let request = &inbox["items"][0];
    assert_eq!(request["risk"], preview["risk"], "what he sees is what she saw");
    let shown = gate.tidegate("ben", &["request", "show", request["id"].as_str().unwrap()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&format!("unusual: {says}")), "{shown:?}");
    // It stays in the log: the numbers for good, the sentences until somebody erases them.
    let entries = gate.get("eve", "/api/v1/audit/entries?event=request.submitted");
    let entry = &entries["items"][0];
    assert!(entry.to_string().contains("risk_says") && entry.to_string().contains("new_network"), "{entry}");
    gate.assert_provable();
}
