//! PostgreSQL's own regression suite, straight to the server and through the gate: the same tests pass.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::process::Command;

use super::gate::{Setup, TOKEN, Town, out_of};

/// Tests that pass without the gate and not through it, and why; docs/postgres.md says it to people.
const DIFFERENT: &[(&str, &str)] = &[];

/// An empty database as the suite wants it, and none of the roles that it makes.
fn empty(town: &Town, name: &str) {
    let run = |sql: &str| town.target.admin(sql).unwrap();
    run(&format!("drop database if exists {name} with (force)"));
    run(
        "do $$ declare r name; begin for r in select spcname from pg_tablespace where spcname like 'regress%' loop execute format('drop tablespace %I', r); end loop; \
         for r in select rolname from pg_roles where rolname like 'regress%' loop execute format('drop owned by %I', r); execute format('drop role %I', r); end loop; end $$",
    );
    run(&format!("create database {name} template template0 lc_collate 'C' lc_ctype 'C' encoding 'UTF8'"));
    for (setting, value) in [
        ("lc_messages", "C"),
        ("lc_monetary", "C"),
        ("lc_numeric", "C"),
        ("lc_time", "C"),
        ("bytea_output", "hex"),
        ("timezone_abbreviations", "Default"),
    ] {
        run(&format!("alter database {name} set {setting} to '{value}'"));
    }
}

/// The tests that pass, and all of them.
#[expect(clippy::print_stdout, reason = "what the suite says is for whoever runs it")]
async fn passing(
    output: &Path,
    (port, user, password, tls): (u16, &str, &str, &str),
    database: &str,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/pg-regress");
    let host = if tls == "disable" { "127.0.0.1" } else { "localhost" };
    let mut command = Command::new(script);
    command.args([host, &port.to_string(), user, database]).arg(output);
    let out = command.env("PGPASSWORD", password).env("PGSSLMODE", tls).kill_on_drop(true).output().await.unwrap();
    let said = out_of(&out);
    println!("{said}");
    // `     copy                         ... FAILED      406 ms`, and before a test that runs alone `test copy`.
    let lines = said.lines().filter_map(|line| line.split_once(" ... "));
    let tests: Vec<(String, bool)> = lines
        .filter_map(|(name, how)| Some((name.split_whitespace().last()?.to_owned(), how.starts_with("ok"))))
        .filter(|(name, _)| name != "tests)")
        .collect();
    (tests.iter().filter(|(_, ok)| *ok).map(|(name, _)| name.clone()).collect(), tests.into_iter().map(|(name, _)| name).collect())
}

// covers: PG-1 (pg_regress)
#[expect(clippy::print_stdout, reason = "the numbers are for whoever runs it")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "PostgreSQL's own suite, twice: it takes minutes, and its source from Debian; scripts/soak runs it"]
async fn postgresqls_own_suite_passes_through_the_gate_as_it_does_without() {
    let town = Town::with(Setup { one_database: false, ..Setup::default() }).await;
    let account = format!("app_{}", town.target.name());
    let folder = std::env::temp_dir().join(format!("tidegate-regress-{}", std::process::id()));
    empty(&town, "regression");
    let (direct, all) = passing(&folder, (town.target.port(), &account, "right", "disable"), "regression").await;
    assert!(all.len() > 200 && direct.len() > 190, "{} of {} tests pass without the gate", direct.len(), all.len());
    empty(&town, "regression");
    let (gate, _) = passing(&folder, (town.port, "orders-db+readwrite", TOKEN, "require"), "regression").await;
    town.target.admin("drop database regression with (force)").unwrap();
    let missing: BTreeSet<&str> = direct.difference(&gate).map(String::as_str).collect();
    println!(
        "{} tests, {} pass without the gate, {} through it; different: {missing:?}; {}",
        all.len(),
        direct.len(),
        gate.len(),
        folder.display()
    );
    assert_eq!(missing, DIFFERENT.iter().map(|(name, _)| *name).collect(), "see {}", folder.join("regression.diffs").display());
    std::fs::remove_dir_all(&folder).unwrap();
}
