//! The demo's databases, known by its ready file alone and reached with stock clients.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::demo::Demo;

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

fn way(demo: &Demo, person: &str, role: &str) -> String {
    let databases = demo.person(person)["databases"].as_array().unwrap();
    let found = databases.iter().find(|way| way["role"] == role).unwrap_or_else(|| panic!("no {role}: {databases:?}"));
    found["url"].as_str().unwrap().to_owned()
}

fn psql(url: &str, sql: &str) -> String {
    said(&Command::new("psql").args(["-X", "-q", "-A", "-t", "-w", "-d", url, "-c", sql]).stdin(Stdio::null()).output().unwrap())
}

// covers: PG-4 (demo), MAY-6 (demo), ASK-4 (demo), EV-5 (sql)
#[test]
fn ana_looks_into_the_demos_orders_when_ben_agrees() {
    let demo = Demo::start();
    let url = way(&demo, "ana", "readonly");
    let none = psql(&url, "SELECT 1");
    assert!(none.contains("You have no grant for orders-db as readonly"), "{none}");
    demo.grant("ana", "orders-db", "readonly", "10m");
    assert_eq!(psql(&url, "SELECT count(*) FROM customers"), "200");
    assert_eq!(psql(&url, "SELECT email FROM customers LIMIT 1"), "****");
    assert_eq!(psql(&url, "SELECT count(*) > 1000 FROM orders WHERE total > 0"), "t");
    let refused = psql(&url, "SELECT card FROM payments");
    assert!(refused.contains("Your role does not include this"), "{refused}");

    // MariaDB opens at once, since nobody has to be asked.
    let mysql = &demo.ready["mysql"];
    let mariadb = |role: &str, sql: &str| {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--protocol=tcp", "--ssl", "-h"]).arg(mysql["host"].as_str().unwrap());
        client.args(["-P", &mysql["port"].to_string(), "-u", &format!("warehouse-db+{role}"), "-N", "-B", "-e", sql, "stock"]);
        client.env("MYSQL_PWD", demo.person("ana")["token"].as_str().unwrap()).stdin(Stdio::null());
        said(&client.output().unwrap())
    };
    assert_eq!(mariadb("stock-readonly", "SELECT name FROM items WHERE id = 1"), "kettle");
    let denied = mariadb("stock-readonly", "UPDATE items SET on_hand = 0");
    assert!(denied.contains("ERROR"), "{denied}");
    let done = demo.tidegate("ana", &["mysql", "warehouse-db", "--", "-N", "-B", "-e", "SELECT on_hand FROM items WHERE id = 1"]);
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "140", "{}", said(&done));

    // What was run is found again, and written as a table.
    let found = demo.cli("eve", &["session", "search", "--sql", "FROM CUSTOMERS", "--resource", "orders-db"]);
    let session = found["items"][0]["session"]["id"].as_str().or(found["items"][0]["id"].as_str()).unwrap_or_else(|| panic!("{found}"));
    let csv = said(&demo.tidegate("eve", &["session", "statements", session, "--format", "csv"]));
    assert!(csv.starts_with("n,at_us,via,text,"), "{csv}");
    assert!(csv.contains("customers"), "{csv}");
    let lines = said(&demo.tidegate("eve", &["session", "statements", session, "--format", "json"]));
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["via"], json!("simple"), "{first}");
}
