use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use access::event::{Actor, EntryDraft, Event};
use access::reason::Reason;
use access::request::Door;
use testkit::mail::{FROM, Kind, MailServer, PASSWORD, USER};

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

/// The same configuration with what stands outside.
fn with(file: &ConfigFile, outside: &str) {
    let path = file.config.as_ref().unwrap();
    let text = fs::read_to_string(path).unwrap();
    let (before, _) = text.split_once("# outside\n").unwrap_or((&text, ""));
    fs::write(path, format!("{before}# outside\n{outside}")).unwrap();
}

// covers: GRANT-9 (cli), C8 (cli)
#[tokio::test]
async fn that_nobody_would_be_told_of_an_emergency_is_said_and_so_is_who_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = config_in(dir.path());
    let look = async |outside: &str| {
        with(&file, outside);
        let findings = examine(&file, &Environment::default()).await;
        assert_eq!(health(&findings, "configuration"), Some(Health::Ok), "{findings:#?}");
        findings.into_iter().find(|finding| finding.check == "break-glass").map(|found| (found.health, found.says))
    };
    assert_eq!(look("").await, None, "there is no path for emergencies");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy");
    for entry in fs::read_dir(example).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        fs::copy(&entry, dir.path().join("policy").join(entry.file_name().unwrap())).unwrap();
    }
    let (health, says) = look("").await.unwrap();
    assert!(health == Health::Warn && says.starts_with("nobody would be told"), "{says}");
    let secret = dir.path().join("secret");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let hook = |events: &str| {
        format!(
            "[[webhook]]\nname = \"siem\"\nurl = \"https://siem.example.com/\"\nevents = [\"{events}\"]\nsecret_file = \"{}\"\n",
            secret.display()
        )
    };
    assert_eq!(look(&hook("session.*")).await.unwrap().0, Health::Warn, "it tells of something else");
    assert_eq!(look(&hook("review.*")).await.unwrap(), (Health::Ok, "of an emergency are told: the webhook `siem`".to_owned()));
    let mail = "[mail]\nhost = \"127.0.0.1\"\nport = 1\nsecurity = \"none\"\nfrom = \"gate@tide.example\"\naddresses = [\"127.0.0.1\"]\n";
    let (health, says) = look(mail).await.unwrap();
    assert!(health == Health::Warn && says.contains("who named a mailbox"), "{says}");
    let (health, says) = look(&format!("{mail}alerts = [\"security@tide.example\"]\n")).await.unwrap();
    assert!(health == Health::Ok && says.contains("security@tide.example"), "{says}");
}

// covers: D9 (cli)
#[tokio::test]
async fn that_a_sessions_certificate_is_good_from_anywhere_is_said_where_targets_take_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = config_in(dir.path());
    let look = async |outside: &str| {
        with(&file, outside);
        let findings = examine(&file, &Environment::default()).await;
        assert_eq!(health(&findings, "configuration"), Some(Health::Ok), "{findings:#?}");
        findings.into_iter().find(|finding| finding.check == "session certificates").map(|found| (found.health, found.says))
    };
    assert_eq!(look("").await, None, "no target takes one");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy");
    for entry in fs::read_dir(example).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        fs::copy(&entry, dir.path().join("policy").join(entry.file_name().unwrap())).unwrap();
    }
    let (health, says) = look("").await.unwrap();
    assert!(health == Health::Warn && says.contains("from anywhere"), "{says}");
    let bound = "[gate]\naddresses = ['192.0.2.1', '2001:db8::1']\n";
    assert_eq!(look(bound).await, Some((Health::Ok, "good from 192.0.2.1, 2001:db8::1 alone".to_owned())));
    let resources = dir.path().join("policy/resources.toml");
    let sealed =
        fs::read_to_string(&resources).unwrap().replace("kind = \"ssh\"\n", "kind = \"ssh\"\ncredential = \"secret:router-key\"\n");
    fs::write(&resources, sealed).unwrap();
    assert_eq!(look("").await, None, "a sealed secret opens each of them");
}

// covers: G3 (mail)
#[tokio::test]
async fn the_mail_server_is_asked_whether_it_takes_mails_and_what_it_says_is_told() {
    let server = MailServer::start(Kind::Tls).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = config_in(dir.path());
    let password = dir.path().join("password");
    let mail = |from: &Path| {
        format!(
            "[mail]\nhost = \"localhost\"\nport = {}\nsecurity = \"tls\"\nuser = \"{USER}\"\npassword_file = \"{}\"\nfrom = \"{FROM}\"\n\
             addresses = [\"127.0.0.1\", \"::1\"]\nca_file = \"{}\"\n",
            server.port,
            password.display(),
            from.display()
        )
    };
    with(&file, &mail(&server.ca_file()));
    let look = async || {
        let findings = examine(&file, &Environment::default()).await;
        let found = findings.into_iter().find(|finding| finding.check == "mail").unwrap();
        (found.health, found.says)
    };
    let (health, says) = look().await;
    assert!(health == Health::Warn && says.contains("cannot be read"), "{says}");
    fs::write(&password, PASSWORD).unwrap();
    let (health, says) = look().await;
    assert!(health == Health::Ok && says.contains(FROM), "{says}");
    fs::write(&password, "wrong").unwrap();
    assert_eq!(look().await.0, Health::Fail);
    fs::write(&password, PASSWORD).unwrap();
    let other = MailServer::start(Kind::Tls).unwrap();
    with(&file, &mail(&other.ca_file()));
    let (health, says) = look().await;
    assert!(health == Health::Fail && says.contains("certificate"), "another authority is not trusted: {says}");
    with(&file, &mail(&server.ca_file()));
    assert_eq!(look().await.0, Health::Ok);
    server.down(true);
    assert_eq!(look().await.0, Health::Fail);
    assert!(server.taken().is_empty(), "looking sends nothing");
}

#[tokio::test]
async fn microsoft_is_asked_whether_the_bot_is_let_in_and_for_its_keys() {
    use testkit::teams::{APP, APP_PASSWORD, CHANNEL, ISSUER, TENANT, Teams};
    let teams = Teams::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = config_in(dir.path());
    let password = dir.path().join("password");
    with(
        &file,
        &format!(
            "[teams]\ntenant = \"{TENANT}\"\napp = \"{APP}\"\nchannel = \"{CHANNEL}\"\napp_password_file = \"{}\"\nlogin_url = \"{}\"\n\
             service_url = \"{}\"\nmetadata_url = \"{}\"\nissuer = \"{ISSUER}\"\naddresses = [\"127.0.0.1\"]\n",
            password.display(),
            teams.login(),
            teams.service(),
            teams.metadata()
        ),
    );
    let look = async || {
        let findings = examine(&file, &Environment::default()).await;
        let found = findings.iter().find(|finding| finding.check == "Teams").unwrap_or_else(|| panic!("{findings:#?}"));
        (found.health, found.says.clone())
    };
    assert_eq!(look().await.0, Health::Warn);
    fs::write(&password, APP_PASSWORD).unwrap();
    let (health, says) = look().await;
    assert!(health == Health::Ok && says.contains(APP), "{says}");
    fs::write(&password, "wrong").unwrap();
    let (health, says) = look().await;
    assert!(health == Health::Fail && says.contains("secret"), "{says}");
    fs::write(&password, APP_PASSWORD).unwrap();
    teams.keys_down(true);
    let (health, says) = look().await;
    assert!(health == Health::Fail && says.contains("keys"), "{says}");
    assert!(teams.cards(CHANNEL).is_empty(), "looking posts nothing");
}

#[tokio::test]
async fn the_keys_of_a_transmitter_of_signals_are_looked_at() {
    let transmitter = testkit::signals::Transmitter::start("https://login.example.com", "https://gate.example.com").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = config_in(dir.path());
    let provider = "[[identity_provider]]\nname = \"corp\"\nissuer = \"https://login.example.com\"\nclient_id = \"tidegate\"\n";
    with(&file, &format!("{provider}{}authorization_file = \"shown\"\n", transmitter.settings("corp", "corp")));
    let look = async || {
        let findings = examine(&file, &Environment::default()).await;
        let found = findings.iter().filter(|finding| finding.check == "signals").max_by_key(|finding| finding.health);
        let found = found.unwrap_or_else(|| panic!("{findings:#?}"));
        (found.health, found.says.clone())
    };
    let (health, says) = look().await;
    assert!(health == Health::Fail && says.contains("cannot be compared"), "{says}");
    fs::write(dir.path().join("shown"), "Bearer x\n").unwrap();
    let (health, says) = look().await;
    assert!(health == Health::Ok && says.contains("`corp`"), "{says}");
    transmitter.go_away(true);
    let (health, says) = look().await;
    assert!(health == Health::Fail && says.contains("the keys of `corp`"), "{says}");
}

#[test]
fn a_clock_behind_the_log_is_a_failure() {
    let now: jiff::Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!(state::clock(now, None).health, Health::Ok);
    assert_eq!(state::clock(now, at("2026-03-01T12:00:04Z")).health, Health::Ok);
    assert_eq!(state::clock(now, at("2026-03-01T13:00:00Z")).health, Health::Fail);
}

// covers: MAY-1 (cli)
#[test]
fn a_question_that_could_not_be_put_to_the_policy_at_all_is_named() {
    let mut failed = state::Failed::new();
    for (hour, reason) in [(10, Reason::PolicyError), (11, Reason::PolicyError), (12, Reason::NotAllowed)] {
        let (action, object) = ("read".to_owned(), "gate".to_owned());
        let event = Event::ActionRefused { action, object, reason, bundle: None, policies: Vec::new() };
        let at: jiff::Timestamp = format!("2026-03-01T{hour}:00:00Z").parse().unwrap();
        let draft = EntryDraft::new(at, Actor::Gate, Door::Socket, event).text("detail", Some("it is too deep"));
        state::count_failed(&mut failed, &draft.seal());
    }
    let findings = state::said_of_failed(failed);
    assert!(findings.len() == 1 && findings[0].health == Health::Warn, "{findings:?}");
    let says = "a question could not be put to the policy at all, 2 times within a day and last at 2026-03-01T11:00:00Z; an error is a no: it is too deep";
    assert_eq!(findings[0].says, says);
}

#[test]
fn a_port_in_use_is_named() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = held.local_addr().unwrap();
    assert_eq!(machine::listener("SSH listener", at).health, Health::Warn);
    drop(held);
    assert_eq!(machine::listener("SSH listener", at).health, Health::Ok);
}
