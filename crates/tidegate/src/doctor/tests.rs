use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

fn config_in(dir: &Path) -> ConfigFile {
    let policy = dir.join("policy");
    fs::create_dir_all(&policy).unwrap();
    let file = dir.join("tidegate.toml");
    let text = "data_dir = 'data'\npolicy_dir = 'policy'\nnode = 'gate-1'\n[listen]\napi = '127.0.0.1:0'\nssh = '127.0.0.1:0'\n";
    fs::write(&file, text).unwrap();
    ConfigFile { config: Some(file) }
}

fn health(findings: &[Finding], check: &str) -> Option<Health> {
    findings.iter().filter(|f| f.check == check).map(|f| f.health).max()
}

#[tokio::test]
async fn before_the_first_start_only_what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let findings = examine(&config_in(dir.path()), &Environment::default()).await;
    for check in ["configuration", "data directory", "sealing key", "keys", "store", "SSH listener", "API listener"] {
        assert_eq!(health(&findings, check), Some(Health::Ok), "{check}: {findings:#?}");
    }
    assert_eq!(health(&findings, "checkpoints"), Some(Health::Warn), "they lie inside the data directory");
    assert!(!dir.path().join("data").exists(), "looking makes nothing");
}

#[tokio::test]
async fn what_others_can_read_is_a_failure_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = config_in(dir.path());
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let key = data.join("sealing.key");
    fs::write(&key, "0".repeat(64)).unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    mode(&data, 0o700);
    mode(&key, 0o600);
    let findings = examine(&file, &Environment::default()).await;
    assert_eq!(health(&findings, "data directory"), Some(Health::Ok));
    assert_eq!(health(&findings, "sealing key"), Some(Health::Warn), "it lies beside what it seals");

    mode(&data, 0o755);
    mode(&key, 0o644);
    let findings = examine(&file, &Environment::default()).await;
    assert_eq!(health(&findings, "data directory"), Some(Health::Fail));
    let finding = findings.iter().find(|f| f.check == "sealing key").unwrap();
    assert_eq!(finding.health, Health::Fail);
    assert!(finding.advice.as_ref().unwrap().contains("chmod 600"));
}

#[tokio::test]
async fn keys_that_are_gone_are_a_failure_and_are_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let file = config_in(dir.path());
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("keys")).unwrap();
    fs::create_dir_all(data.join("audit")).unwrap();
    assert_eq!(health(&examine(&file, &Environment::default()).await, "keys"), Some(Health::Ok), "nothing ran here yet");
    fs::write(data.join("audit/checkpoint"), "x").unwrap();
    assert_eq!(health(&examine(&file, &Environment::default()).await, "keys"), Some(Health::Fail));
    assert_eq!(fs::read_dir(data.join("keys")).unwrap().count(), 0);
    assert!(!data.join("sealing.key").exists());
}

#[tokio::test]
async fn a_wrong_configuration_is_named_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidegate.toml");
    fs::write(&file, "data_dri = 'x'\nlisten = 3\n").unwrap();
    let findings = examine(&ConfigFile { config: Some(file) }, &Environment::default()).await;
    assert!(findings.len() >= 4 && findings.iter().all(|f| f.health == Health::Fail), "{findings:#?}");
}

#[test]
fn a_clock_behind_the_log_is_a_failure() {
    let now: jiff::Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!(state::clock(now, None).health, Health::Ok);
    assert_eq!(state::clock(now, at("2026-03-01T12:00:04Z")).health, Health::Ok);
    assert_eq!(state::clock(now, at("2026-03-01T13:00:00Z")).health, Health::Fail);
}

#[test]
fn a_port_in_use_is_named() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap();
    assert_eq!(machine::listener("SSH listener", at).health, Health::Warn);
    drop(held);
    assert_eq!(machine::listener("SSH listener", at).health, Health::Ok);
}
