//! Targets that can't take the gate's certificates: a stored key, a stored password; and which targets are believed to be themselves.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use testkit::sshd::{Sshd, SshdOptions, keypair, public_half};

use crate::demo::eventually;
use crate::known::program;
use crate::served::{Plan, Served};

/// A resource of the tier `prod` or `non-prod`, as `resources.toml` says it.
pub(crate) fn resource(name: &str, port: u16, tier: &str, host_keys: &str, credential: &str) -> String {
    let host_keys = if host_keys.is_empty() { String::new() } else { format!("host_keys = [\"{host_keys}\"]\n") };
    format!(
        "[[resource]]\nname = \"{name}\"\nkind = \"ssh\"\naddress = \"127.0.0.1:{port}\"\nlogin = \"{{login}}\"\ntier = \"{tier}\"\n\
         owner = \"payments\"\n{host_keys}credential = \"{credential}\"\n"
    )
}

/// Seals a secret as an operator does: on stdin, never as an argument.
fn seal(gate: &Served, name: &str, value: &str) {
    let mut command = Command::new(program())
        .env("TIDEGATE_URL", gate.ready["api"].as_str().unwrap())
        .env("TIDEGATE_TOKEN", gate.person("dan")["token"].as_str().unwrap())
        .env("HOME", &gate.home)
        .args(["secret", "set", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    command.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let done = command.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// What Ana hears of a command there: the status, what it says, and what she is told.
pub(crate) fn said(gate: &Served, selector: &str) -> (Option<i32>, String, String) {
    let out = gate.ssh("ana", selector, &[], &["echo inside"]).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stdout).trim().to_owned(), String::from_utf8_lossy(&out.stderr).into_owned())
}

/// A server that knows passwords alone, from a shadow file that only it sees.
pub(crate) fn by_password(dir: &std::path::Path, password: &str) -> Sshd {
    let hash = Command::new("openssl").args(["passwd", "-6", password]).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let mut shadow = format!("root:{}:20000:0:99999:7:::\n", hash.trim());
    for line in fs::read_to_string("/etc/shadow").unwrap().lines().filter(|line| !line.starts_with("root:")) {
        shadow.push_str(&format!("{line}\n"));
    }
    let file = dir.join("shadow");
    fs::write(&file, shadow).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mount = format!("mount --bind {} /etc/shadow && exec \"$@\"", file.display());
    let through = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &mount, "sh"].map(str::to_owned).into();
    let extra = vec!["PasswordAuthentication yes".to_owned(), "PubkeyAuthentication no".to_owned()];
    Sshd::start(&SshdOptions { through, extra, ..SshdOptions::default() }).unwrap()
}

// covers: CRED-1 (ssh), CRED-1 (cli), G1 (cli)
#[test]
fn what_opens_a_target_is_sealed_and_nobody_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let (key, old) = (keypair(dir.path(), "stored").unwrap(), keypair(dir.path(), "old").unwrap());
    let keyed = Sshd::start(&SshdOptions { authorized_keys: vec![public_half(&key).unwrap()], ..SshdOptions::default() }).unwrap();
    let passworded = by_password(dir.path(), "swordfish-in-the-dark");
    let gate = Served::with(Plan {
        policy: vec![(
            "resources.toml",
            resource("extra-1", keyed.port(), "prod", keyed.host_key(), "secret:router-key")
                + &resource("extra-2", passworded.port(), "prod", passworded.host_key(), "secret:router-password"),
        )],
        ..Plan::default()
    });
    for name in ["extra-1", "extra-2"] {
        gate.grant("ana", name, "shell", "1h");
    }
    // Nothing is set: said so, and nothing is tried.
    let (status, out, told) = said(&gate, "extra-1+shell");
    assert!(status != Some(0) && out.is_empty() && told.contains("router-key"), "{status:?} {told}");
    // The wrong ones are the target's to refuse.
    seal(&gate, "router-key", &fs::read_to_string(&old).unwrap());
    seal(&gate, "router-password", "swordfish-in-the-light");
    for name in ["extra-1+shell", "extra-2+shell"] {
        let (status, out, told) = said(&gate, name);
        assert!(status != Some(0) && out.is_empty() && told.contains("did not accept"), "{name}: {status:?} {told}");
    }
    seal(&gate, "router-key", &fs::read_to_string(&key).unwrap());
    seal(&gate, "router-password", "swordfish-in-the-dark");
    for name in ["extra-1+shell", "extra-2+shell"] {
        let (status, out, told) = said(&gate, name);
        assert_eq!((status, out.as_str()), (Some(0), "inside"), "{name}: {told}");
    }
    // Ana knows neither: directly she gets nowhere, and nothing of the gate's gives them away.
    let listed = gate.tidegate("dan", &["secret", "list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("router-key") && listed.contains("router-password"), "{listed}");
    assert!(!gate.tidegate("ana", &["secret", "list"]).status.success());
    let private = fs::read_to_string(&key).unwrap();
    let middle = private.lines().nth(2).unwrap();
    for needle in ["swordfish", middle] {
        assert!(!listed.contains(needle));
        let found = Command::new("grep").args(["-r", "-l", "-a", "-F", needle]).arg(gate.dir()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{needle} stands in clear");
    }
    // The key that seals them is replaced while the gate serves; they open as before, sealed before and after.
    gate.cli("dan", &["keys", "rotate", "secrets"]);
    for name in ["extra-1+shell", "extra-2+shell"] {
        let (status, out, told) = said(&gate, name);
        assert_eq!((status, out.as_str()), (Some(0), "inside"), "{name}: {told}");
    }
    gate.assert_provable();
}

// covers: D9 (ssh, cli), CRED-2 (ssh)
#[test]
fn a_sessions_certificate_opens_no_other_host_where_each_wants_principals_of_its_own() {
    let login = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned();
    let wants = |resource: &str| SshdOptions {
        trusted_user_ca: Some(String::new()),
        principals: vec![format!("{login}@{resource}")],
        ..SshdOptions::default()
    };
    let second = Sshd::start(&wants("bound-2")).unwrap();
    // In quotes, so that it is the policy's to fill in and not this test's.
    let named = "principal = \"\\u007blogin}@\\u007bresource}\"\n";
    let by_hand = |name: &str| format!("principal = \"\\u007blogin}}@{name}\"\n");
    let at_second = |name: &str| resource(name, second.port(), "prod", second.host_key(), "target-ca");
    let at_first = |name: &str| resource(name, 0, "prod", "{host_key}", "target-ca").replace("127.0.0.1:0", "127.0.0.1:{port}");
    let gate = Served::with(Plan {
        policy: vec![(
            "resources.toml",
            [
                at_first("bound-1") + named,
                at_second("bound-2") + named,
                // What the sessions at `bound-1` have, shown at both.
                at_first("shown-1") + &by_hand("bound-1"),
                at_second("shown-2") + &by_hand("bound-1"),
                // What sessions have where nothing is said.
                at_second("plain-1"),
            ]
            .concat(),
        )],
        target: wants("bound-1"),
        ..Plan::default()
    });
    second.trust(gate.get("ana", "/api/v1/gate")["target_ca"].as_str().unwrap()).unwrap();
    for (name, opens) in [("bound-1", true), ("bound-2", true), ("shown-1", true), ("shown-2", false), ("plain-1", false)] {
        gate.grant("ana", name, "shell", "1h");
        let (status, out, told) = said(&gate, &format!("{name}+shell"));
        if opens {
            assert_eq!((status, out.as_str()), (Some(0), "inside"), "{name}: {told}");
        } else {
            assert!(status != Some(0) && out.is_empty() && told.contains("did not accept"), "{name}: {status:?} {told}");
        }
    }
    // How a machine is set up for it is said where that is asked.
    let setup = |name: &str| gate.cli("dan", &["resource", "show", name])["setup"]["files"].clone();
    let files = setup("bound-2");
    assert_eq!(files[1]["lines"][1], "AuthorizedPrincipalsFile /etc/ssh/tidegate_principals/%u", "{files}");
    assert_eq!(files[2]["path"], format!("/etc/ssh/tidegate_principals/{login}").as_str(), "{files}");
    assert_eq!(files[2]["lines"], serde_json::json!([format!("{login}@bound-2")]), "{files}");
    assert_eq!(setup("plain-1").as_array().map(Vec::len), Some(2));
}

// covers: CRED-2 (ssh), G3 (ssh)
#[test]
fn a_target_shows_that_it_is_itself_or_is_not_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (keypair(dir.path(), "host_ca").unwrap(), keypair(dir.path(), "other_ca").unwrap());
    let certified = |name: &str, by: &std::path::Path, host: &str| {
        let key = keypair(dir.path(), name).unwrap();
        let public = key.with_extension("pub");
        let signed =
            Command::new("ssh-keygen").args(["-q", "-s"]).arg(by).args(["-h", "-I", name, "-n", host]).arg(&public).status().unwrap();
        assert!(signed.success());
        key
    };
    let serve = |key: &std::path::Path, port: Option<u16>| {
        let extra = vec![format!("HostCertificate {}-cert.pub", key.display())];
        let options =
            SshdOptions { host_key: Some(key.to_owned()), extra, port, trusted_user_ca: Some(String::new()), ..SshdOptions::default() };
        Sshd::start(&options).unwrap()
    };
    let good = certified("good", &authority, "127.0.0.1");
    let target = serve(&good, None);
    let first = Sshd::start(&SshdOptions { trusted_user_ca: Some(String::new()), ..SshdOptions::default() }).unwrap();
    let pinned = format!("@cert-authority {}", public_half(&authority).unwrap());
    let gate = Served::with(Plan {
        policy: vec![(
            "resources.toml",
            resource("extra-1", target.port(), "prod", &pinned, "target-ca")
                + &resource("extra-2", first.port(), "non-prod", "", "target-ca"),
        )],
        ..Plan::default()
    });
    let ca = gate.get("ana", "/api/v1/gate")["target_ca"].as_str().unwrap().to_owned();
    target.trust(&ca).unwrap();
    first.trust(&ca).unwrap();
    gate.grant("ana", "extra-1", "shell", "1h");
    gate.grant("ana", "extra-2", "shell", "1h");
    let inside = |selector: &str| {
        let (status, out, told) = said(&gate, selector);
        assert_eq!((status, out.as_str()), (Some(0), "inside"), "{selector}: {told}");
    };
    let unknown = |selector: &str, why: &str| {
        let (status, out, told) = said(&gate, selector);
        assert!(status != Some(0) && out.is_empty(), "{why}: {told}");
        assert!(told.contains("host key") || told.contains("host certificate"), "{why}: {told}");
    };
    // Host certificates: of the pinned CA, for this host; not of another CA, nor for another host, nor a bare key.
    inside("extra-1+shell");
    let port = target.port();
    drop(target);
    for (name, by, host) in [("foreign", &stranger, "127.0.0.1"), ("elsewhere", &authority, "db.example")] {
        let impostor = serve(&certified(name, by, host), Some(port));
        impostor.trust(&ca).unwrap();
        unknown("extra-1+shell", name);
    }
    let bare = Sshd::start(&SshdOptions { port: Some(port), trusted_user_ca: Some(ca.clone()), ..SshdOptions::default() }).unwrap();
    unknown("extra-1+shell", "a bare key");
    drop(bare);
    let back = serve(&good, Some(port));
    back.trust(&ca).unwrap();
    inside("extra-1+shell");

    // First use: the key that is seen first is the only one from then on, over a restart too.
    // Many who come first at the same moment see the same key.
    std::thread::scope(|scope| {
        let first: Vec<_> = (0..8).map(|_| scope.spawn(|| said(&gate, "extra-2+shell"))).collect();
        for one in first {
            let (status, out, told) = one.join().unwrap();
            assert_eq!((status, out.as_str()), (Some(0), "inside"), "{told}");
        }
    });
    inside("extra-2+shell");
    let learned = eventually("the entry", || {
        let entries = gate.get("eve", "/api/v1/audit/entries?event=host_key.learned");
        entries["items"].as_array().unwrap().first().cloned()
    });
    assert!(learned.to_string().contains("extra-2"), "{learned}");
    let port = first.port();
    drop(first);
    let other = Sshd::start(&SshdOptions { port: Some(port), trusted_user_ca: Some(ca), ..SshdOptions::default() }).unwrap();
    unknown("extra-2+shell", "another key than the first");
    drop(other);
    gate.assert_provable();
}
