//! MariaDB's own test suite, straight to a server and through the gate: the same tests pass. It runs those in `suite.txt`, or those that
//! `TIDEGATE_MARIADB_TESTS` names; `all` stands for whatever `scripts/mariadb-test list` says.

#![expect(clippy::print_stdout, reason = "which test passed and which did not is what it is run for")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use access::session::TargetTls;
use tokio::process::{Child, Command};

use super::gate::{Setup, TOKEN, Town, out_of};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/mariadb-test");

const CHOSEN: &str = include_str!("suite.txt");

/// Tests that pass without the gate and not through it, and why; docs/mysql.md says it to people.
const DIFFERENT: &[(&str, &str)] = &[
    ("ps_1general", "it prepares `KILL`, which is refused"),
    ("parser", "it computes whom to `KILL`, which is refused"),
    ("sp-bugs", "it computes whom to `KILL`, which is refused"),
    ("type_json", "MariaDB's extended metadata of columns is not spoken"),
    ("gis", "MariaDB's extended metadata of columns is not spoken"),
];

/// A server as the suite wants it, in this folder.
async fn server(folder: &Path) -> (Child, u16) {
    let port = testkit::ports::free().unwrap().port();
    let mut child = Command::new(SCRIPT).arg("serve").arg(folder).arg(port.to_string()).kill_on_drop(true).spawn().unwrap();
    loop {
        let mut ping = Command::new("mariadb");
        ping.args(["--no-defaults", "-h", "127.0.0.1", "-u", "root", "-P", &port.to_string(), "-e", "call mtr.add_suppression('')"]);
        if ping.output().await.unwrap().status.success() {
            return (child, port);
        }
        // Starting is the one thing that can only be asked about again.
        let ended = tokio::time::timeout(Duration::from_millis(200), child.wait()).await;
        assert!(ended.is_err(), "the server ended: {ended:?}");
    }
}

/// The tests that pass, and how many ran.
async fn passing(output: &Path, port: u16, user: &str, environment: &[(&str, &str)]) -> (BTreeSet<String>, usize) {
    let mut command = Command::new(SCRIPT);
    command.args(["run", "127.0.0.1", &port.to_string(), user]).arg(output).kill_on_drop(true);
    let chosen = std::env::var("TIDEGATE_MARIADB_TESTS").unwrap_or_else(|_| CHOSEN.to_owned());
    let names = chosen.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    command.args(names.filter(|name| *name != "all"));
    let said = out_of(&command.envs(environment.iter().copied()).output().await.unwrap());
    println!("{said}");
    // `main.select                              [ pass ]    353`
    let tests: Vec<(&str, bool)> = said
        .lines()
        .filter_map(|line| line.split_once(" ["))
        .filter(|(name, _)| name.starts_with("main."))
        .filter_map(|(name, how)| Some((name.trim().strip_prefix("main.")?, how.trim_start().starts_with("pass"))))
        .collect();
    (tests.iter().filter(|(_, passed)| *passed).map(|(name, _)| (*name).to_owned()).collect(), tests.len())
}

// covers: MY-1 (mysqltest)
#[tokio::test(flavor = "multi_thread")]
#[ignore = "MariaDB's own suite, twice: it takes long; scripts/soak runs it"]
async fn mariadbs_own_suite_passes_through_the_gate_as_it_does_without() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    // Each time a server that nobody has changed yet.
    let (mut first, port) = server(&place("first")).await;
    let (direct, ran) = passing(&place("direct"), port, "root", &[]).await;
    first.kill().await.unwrap();
    assert!(!direct.is_empty() && 2 * direct.len() > ran, "{} of {ran} tests pass without the gate", direct.len());

    let (mut second, port) = server(&place("second")).await;
    let setup =
        Setup { port: Some(port), user: Some("root"), password: "", one_database: false, tls: Some(TargetTls::Plain), ..Setup::default() };
    let town = Town::with(setup).await;
    let ca = town.dir.path().join("ca.pem").display().to_string();
    let (gate, _) = passing(&place("gate"), town.port, "orders-db+readwrite", &[("MYSQL_PWD", TOKEN), ("SSL_CA", &ca)]).await;
    second.kill().await.unwrap();
    let missing: BTreeSet<&str> = direct.difference(&gate).map(String::as_str).collect();
    println!("{ran} tests, {} pass without the gate, {} through it; different: {missing:?}", direct.len(), gate.len());
    let known: BTreeSet<&str> = DIFFERENT.iter().map(|(name, _)| *name).filter(|name| direct.contains(*name)).collect();
    assert_eq!(missing, known);
}
