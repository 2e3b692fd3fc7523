//! Security keys through stock `ssh`, with a key made of software: with touch, without, and with the holder verified.

use std::path::Path;
use std::process::Output;

use serde_json::json;
use testkit::security_key::{LAZY, SecurityKey};
use testkit::sshd::public_half;

use crate::served::{Plan, Served};

/// Stock `ssh` with just this key.
fn with_key(gate: &Served, keys: &SecurityKey, key: &Path, selector: &str, lazy: bool) -> Output {
    let options = [
        format!("IdentityFile={}", key.display()),
        format!("SecurityKeyProvider={}", keys.library().display()),
        "BatchMode=no".to_owned(),
        "PreferredAuthentications=publickey".to_owned(),
    ];
    let hers = std::fs::read_to_string(gate.person("ana")["ssh_config"].as_str().unwrap()).unwrap();
    let config = key.with_extension("config");
    let only_this: String = hers.lines().filter(|line| !line.trim().starts_with("IdentityFile")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&config, only_this).unwrap();
    let mut ssh = std::process::Command::new("ssh");
    ssh.arg("-F").arg(&config);
    for option in &options {
        ssh.args(["-o", option]);
    }
    keys.unlock(&mut ssh);
    if lazy {
        ssh.env(LAZY, "1");
    }
    ssh.arg(format!("{selector}.tide")).arg("echo inside").stdin(std::process::Stdio::null()).output().unwrap()
}

fn opens(output: &Output) -> bool {
    output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == "inside"
}

// covers: A5 (ssh), WHO-2 (ssh), MAY-4 (ssh), MAY-3 (ssh)
#[test]
fn a_key_is_worth_what_its_holder_did_with_it() {
    let tier = "[[tier]]\nname = \"vault\"\nmax = \"1h\"\ndefault = \"10m\"\napprovals = []\nreason = false\nmfa = \"verified\"\n\
                mfa_within = \"15m\"\n";
    let resource = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{login}\"\ntier = \"vault\"\n\
                    owner = \"payments\"\nhost_keys = [\"{host_key}\"]\n";
    let path = "@id(\"payments-on-the-vault\")\npermit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource in \
                Tide::Tier::\"vault\");\n";
    let gate = Served::with(Plan {
        policy: vec![("tiers.toml", tier.to_owned()), ("resources.toml", resource.to_owned()), ("access.cedar", path.to_owned())],
        ..Plan::default()
    });
    let dir = tempfile::tempdir().unwrap();
    let keys = SecurityKey::build(dir.path()).unwrap();
    let kinds = [("touch", None), ("untouched", Some("no-touch-required")), ("verified", Some("verify-required"))];
    for (name, option) in kinds {
        let path = dir.path().join(name);
        keys.enroll(&path, option).unwrap();
        gate.post("ana", "/api/v1/me/keys", json!({"public_key": public_half(&path).unwrap(), "label": name}));
    }
    let key = |name: &str| dir.path().join(name);
    let on_build = |name: &str, lazy| with_key(&gate, &keys, &key(name), "build-1+shell", lazy);
    let on_vault = |name: &str| with_key(&gate, &keys, &key(name), "extra-1+shell", false);

    // A touch signs in; the same key that was not touched does not, however it was made.
    for name in ["touch", "verified"] {
        let touched = on_build(name, false);
        assert!(opens(&touched), "{name}: {}", String::from_utf8_lossy(&touched.stderr));
        assert_eq!(on_build(name, true).status.code(), Some(255), "{name}, untouched");
    }
    assert_eq!(on_build("untouched", false).status.code(), Some(255));

    // Where the tier wants the holder verified, a touch is too little and a plain key even less; the answer says what is missing.
    let verified = on_vault("verified");
    assert!(opens(&verified), "{}", String::from_utf8_lossy(&verified.stderr));
    for grant in gate.get("ana", "/api/v1/grants?state=active")["items"].as_array().unwrap() {
        gate.post("ana", &format!("/api/v1/grants/{}/return", grant["id"].as_str().unwrap()), json!({}));
    }
    let touched = on_vault("touch");
    let said = String::from_utf8_lossy(&touched.stderr).into_owned();
    assert!(matches!(touched.status.code(), Some(75 | 77)) && said.contains("verif"), "{:?} {said}", touched.status);
    let plain = gate.ssh("ana", "extra-1+shell", &[], &["echo inside"]).output().unwrap();
    assert!(!opens(&plain) && matches!(plain.status.code(), Some(75 | 77)), "{}", String::from_utf8_lossy(&plain.stderr));
    let by_token = gate.post("ana", "/api/v1/requests/preview", json!({"resource": "extra-1", "role": "shell"}));
    assert_eq!(by_token["answer"], json!("step_up"), "{by_token}");
}
