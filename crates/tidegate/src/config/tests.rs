use std::path::Path;

use access::secret::Secret;
use credentials::sealing::SealingSource;
use insta::assert_snapshot;

use super::{Config, Environment, Tls};

fn parse(text: &str) -> Result<Config, policy::Problems> {
    Config::parse(Path::new("/etc/tidegate/tidegate.toml"), text, &Environment::default())
}

#[test]
fn two_paths_are_enough() {
    let config = parse("data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n").unwrap();
    assert_eq!(config.policy_dir, Path::new("/etc/tidegate/policy"));
    assert_eq!(config.store.to_string(), "sqlite:/var/lib/tidegate/store.db");
    assert_eq!(config.sealing, SealingSource::File("/var/lib/tidegate/sealing.key".into()));
    assert_eq!(config.tls, Tls::Internal);
    assert_eq!(config.api_url("127.0.0.1:41000".parse().unwrap()), "https://127.0.0.1:41000");
    assert_eq!(config.api_url("0.0.0.0:443".parse().unwrap()), "https://gate-1:443");
    assert_eq!(config.ssh_address("0.0.0.0:22".parse().unwrap()), ("gate-1".to_owned(), 22));
}

// covers: RUN-3 (cli)
#[test]
fn all_mistakes_are_named_at_once() {
    let text = r#"
data_dri = "/var/lib/tidegate"
policy_dir = 7
node = "gate one"
store = "mysql://root:hunter2@db/tide"

[listen]
api = "0.0.0.0:3143"
ssh = "3122"
plain_http = true
apj = "x"

[public]
api_url = "gate.example.com"
ssh_port = 70000

[tls]
certificate = "gate.pem"

[gate]
addresses = ["10.0.0.1", "ten"]

[permissions]
ana = "root"
"#;
    let mistakes = parse(text).unwrap_err().to_string();
    assert!(!mistakes.contains("hunter2"), "{mistakes}");
    assert_snapshot!("all_mistakes", mistakes);
}

#[test]
fn what_is_no_toml_is_named_with_the_rest() {
    assert_snapshot!("no_toml", parse("data_dir = \npolicy_dir = 'p'\nnoed = 'x'\n").unwrap_err());
}

// covers: E9 (cli)
#[test]
fn hostile_names_are_shown_inert() {
    let shown = parse("data_dir='d'\npolicy_dir='p'\n\"\\u001b[2J\\u202eevil\" = 1\n").unwrap_err().to_string();
    assert!(shown.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{shown:?}");
}

#[test]
fn the_environment_gives_paths_and_secrets() {
    let environment = Environment {
        data_dir: Some("/data".into()),
        store_url: Some(Secret::new("postgres://tide:hunter2@db.example/gate".to_owned())),
        sealing_key_file: Some("fd:3".into()),
        ..Environment::default()
    };
    let config = Config::parse(Path::new("tidegate.toml"), "policy_dir = 'policy'", &environment).unwrap();
    assert_eq!(config.data_dir, Path::new("/data"));
    assert_eq!(config.store.to_string(), "postgres://tide@db.example:5432/gate");
    assert_eq!(config.sealing, SealingSource::Descriptor(3));

    let wrong = Environment {
        store_url: Some(Secret::new("mysql://x:hunter2@y".to_owned())),
        sealing_key_file: Some("fd:1".into()),
        ..environment
    };
    let mistakes = Config::parse(Path::new("tidegate.toml"), "policy_dir = 'policy'", &wrong).unwrap_err().to_string();
    assert!(!mistakes.contains("hunter2"), "{mistakes}");
    assert_snapshot!("wrong_environment", mistakes);
}

#[test]
fn a_file_that_is_not_there_is_one_sentence() {
    let error = Config::load(Some(Path::new("/nonexistent/tidegate.toml")), &Environment::default()).unwrap_err();
    assert_snapshot!(error, @"/nonexistent/tidegate.toml: there is no such file; name one with `--config` or `TIDEGATE_CONFIG`");
}
