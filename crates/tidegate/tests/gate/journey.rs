//! A newcomer lives the journey: Ana asks in her own `ssh`, Ben approves, Ana works, the grant ends.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::demo::{Demo, Talk, eventually};

// covers: ASK-3 (ssh), ASK-3 (api), OK-5 (ssh), OK-5 (api), SSH-1 (ssh), SSH-1 (api), WHO-5 (ssh), WHO-5 (api), RUN-1
#[test]
pub(crate) fn ana_asks_where_she_connects_and_goes_through_when_ben_agrees() {
    let demo = Demo::start();
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.until("Reason:");
    assert!(ana.heard().contains("db-1 as shell"), "{}", ana.heard());
    ana.say("orders are slow\r");
    eventually("the question how long, or the request", || {
        (ana.heard().contains("For how long") || ana.heard().contains("waits for approval")).then_some(())
    });
    if ana.heard().contains("For how long") {
        ana.say("\r");
    }
    ana.until("waits for approval");
    let inbox = demo.cli("ben", &["request", "list", "--inbox"]);
    let request = inbox["items"][0].clone();
    assert_eq!((&request["resource"], &request["role"], &request["reason"]), (&json!("db-1"), &json!("shell"), &json!("orders are slow")));
    let id = request["id"].as_str().unwrap();
    demo.cli("ben", &["request", "approve", id, "--note", "go ahead"]);
    ana.until("go ahead");
    ana.say("echo $((6*7))-is-the-answer\r");
    ana.until("42-is-the-answer");
    let session = demo.live_session("ana").expect("her session is live");
    assert_eq!(session["resource"], "db-1");
    ana.say("exit 7\r");
    assert_eq!(ana.end(), 7, "the exit status of the shell is hers");
    let ended = eventually("the session's end", || {
        let row = demo.get("ana", &format!("/api/v1/sessions/{}", session["id"].as_str().unwrap()));
        (row["state"] == "ended").then_some(row)
    });
    assert!(matches!(ended["end"].as_str(), Some("client" | "target")), "{ended}");
}

// covers: ASK-3 (ssh)
#[test]
fn without_a_terminal_one_line_and_an_exit_status() {
    let demo = Demo::start();
    let no_reason = demo.ssh("ana", "db-1+shell", &[], &["true"]).output().unwrap();
    assert_eq!(no_reason.status.code(), Some(77), "{}", String::from_utf8_lossy(&no_reason.stderr));
    let asked = demo.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_REASON=nightly"], &["true"]).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert_eq!(asked.status.code(), Some(75), "{said}");
    assert!(said.contains("req_"), "{said}");
    // Connecting again finds the same request; waiting goes through the moment it is approved.
    let mut waiting = Talk::start(demo.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_WAIT=1"], &["echo through"]));
    waiting.until("waits for approval");
    let inbox = demo.get("ben", "/api/v1/requests?of=inbox");
    assert_eq!(inbox["items"].as_array().map(Vec::len), Some(1), "{inbox}");
    let id = inbox["items"][0]["id"].as_str().unwrap();
    demo.post("ben", &format!("/api/v1/requests/{id}/approve"), json!({}));
    waiting.until("through");
    assert_eq!(waiting.end(), 0);
    // Low risk opens at once.
    let build = demo.ssh("ana", "build-1+shell", &[], &["echo open"]).output().unwrap();
    assert_eq!((build.status.code(), String::from_utf8_lossy(&build.stdout).trim()), (Some(0), "open"));
}

// covers: ASK-3 (ssh), OK-5 (ssh)
#[test]
fn a_denial_is_told_in_the_terminal() {
    let demo = Demo::start();
    let mut ana = Talk::start(demo.ssh("ana", "db-1+shell", &["-o", "SetEnv=TIDEGATE_WAIT=1 TIDEGATE_REASON=curious"], &["true"]));
    ana.until("waits for approval");
    let inbox = demo.get("ben", "/api/v1/requests?of=inbox");
    let id = inbox["items"][0]["id"].as_str().unwrap();
    demo.post("ben", &format!("/api/v1/requests/{id}/deny"), json!({"note": "not today"}));
    assert_eq!(ana.end(), 77);
    assert!(ana.heard().contains("not today") && ana.heard().contains("denied"), "{}", ana.heard());
}

// covers: WHO-5 (cli), WHO-5 (ssh), A9 (cli), A9 (ssh)
#[test]
pub(crate) fn a_registered_key_signs_in_at_the_terminal_and_leaves_a_short_lived_certificate() {
    let demo = Demo::start();
    let home = tempfile::tempdir().unwrap();
    let login_at = |key: &str, url: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .args(["login", "--key", key, "--url", url, "--ssh-dir"])
            .arg(home.path().join("ssh"))
            .output()
            .unwrap()
    };
    let login = |key: &str| login_at(key, demo.ready["api"].as_str().unwrap());
    let stranger = home.path().join("stranger");
    assert!(
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&stranger).status().unwrap().success()
    );
    let refused = login(stranger.to_str().unwrap());
    assert!(!refused.status.success() && !home.path().join("ssh/tidegate").exists());
    let done = login(demo.person("ana")["key"].as_str().unwrap());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // The certificate works where the key does.
    let config = demo.person("ana")["ssh_config"].as_str().unwrap();
    let text = std::fs::read_to_string(config)
        .unwrap()
        .replace(demo.person("ana")["key"].as_str().unwrap(), home.path().join("ssh/tidegate").to_str().unwrap());
    let mine = home.path().join("ssh_config");
    std::fs::write(&mine, text).unwrap();
    let inside = std::process::Command::new("ssh")
        .arg("-F")
        .arg(&mine)
        .args(["-o", "BatchMode=yes", "build-1+shell.tide", "echo inside"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "inside", "{}", String::from_utf8_lossy(&inside.stderr));
    // Signing in again renews it.
    assert!(login(demo.person("ana")["key"].as_str().unwrap()).status.success());
    // Somebody else who hands on this gate's challenge gets no signature to sign in here with.
    let (between, heard) = relay(&demo);
    let refused = login_at(demo.person("ana")["key"].as_str().unwrap(), &between);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("nothing was signed"), "{said}");
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    assert!(heard.contains("POST /api/v1/sign-in/challenge") && !heard.contains("SSH SIGNATURE"), "{heard}");
}

// covers: SSH-1 (cli), SSH-1 (ssh), WHO-5 (cli)
#[test]
fn what_ssh_config_writes_is_all_that_stock_tools_need() {
    let demo = Demo::start();
    let home = tempfile::tempdir().unwrap();
    let ssh_dir = home.path().join("of ana");
    let mine = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TIDEGATE_SSH_DIR", &ssh_dir)
            .args(args)
            .output()
            .unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    std::fs::create_dir(&ssh_dir).unwrap();
    std::fs::write(ssh_dir.join("config"), "Host other\n  User somebody\n").unwrap();
    mine(&["login", "--key", demo.person("ana")["key"].as_str().unwrap(), "--url", demo.ready["api"].as_str().unwrap()]);
    mine(&["ssh-config", "--write"]);
    let config = ssh_dir.join("config");
    let run = |program: &str, args: &[&str]| {
        let out = std::process::Command::new(program)
            .arg("-F")
            .arg(&config)
            .args(["-o", "BatchMode=yes", "-o", "IdentityAgent=none"])
            .args(args)
            .output()
            .unwrap();
        assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    // A name, a name with a role, and files.
    assert_eq!(run("ssh", &["build-1.tide", "echo in"]), "in");
    assert_eq!(run("ssh", &["build-1+shell.tide", "echo in"]), "in");
    let (here, there, back) = (home.path().join("here"), home.path().join("there"), home.path().join("back"));
    std::fs::write(&here, "carried").unwrap();
    run("scp", &[here.to_str().unwrap(), &format!("build-1.tide:{}", there.display())]);
    run("scp", &[&format!("build-1.tide:{}", there.display()), back.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "carried");
    let by_rsync = std::process::Command::new("rsync")
        .args(["-e", &format!("ssh -F '{}' -o BatchMode=yes", config.display())])
        .arg(&here)
        .arg(format!("build-1.tide:{}.2", there.display()))
        .output()
        .unwrap();
    assert!(by_rsync.status.success(), "{}", String::from_utf8_lossy(&by_rsync.stderr));
    assert_eq!(std::fs::read_to_string(home.path().join("there.2")).unwrap(), "carried");
    // What stood there still stands; written again it is the same.
    let before = std::fs::read_to_string(&config).unwrap();
    assert!(before.ends_with("Host other\n  User somebody\n"), "{before}");
    mine(&["ssh-config", "--write"]);
    assert_eq!(std::fs::read_to_string(&config).unwrap(), before);
    // Another gate at that address is not taken for this one.
    let known = ssh_dir.join("tidegate_known_hosts");
    let of_another = std::fs::read_to_string(demo.person("ben")["key"].as_str().unwrap().to_owned() + ".pub").unwrap();
    let alias = std::fs::read_to_string(&known).unwrap().split(' ').next().unwrap().to_owned();
    std::fs::write(&known, format!("{alias} {of_another}")).unwrap();
    let refused =
        std::process::Command::new("ssh").arg("-F").arg(&config).args(["-o", "BatchMode=yes", "build-1.tide", "echo in"]).output();
    let refused = refused.unwrap();
    assert!(refused.stdout.is_empty() && refused.status.code() == Some(255), "{}", String::from_utf8_lossy(&refused.stderr));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"));
}

/// Something that hands everything on to the gate and keeps what it hears: its address, and what clients said.
fn relay(demo: &Demo) -> (String, Arc<Mutex<Vec<u8>>>) {
    let gate = demo.ready["api"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut there) = (client.unwrap(), TcpStream::connect(&gate).unwrap());
            let (mut to_client, mut from_gate) = (client.try_clone().unwrap(), there.try_clone().unwrap());
            std::thread::spawn(move || io::copy(&mut from_gate, &mut to_client));
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    kept.lock().unwrap().extend_from_slice(&bytes[..count]);
                    there.write_all(&bytes[..count]).unwrap();
                }
            });
        }
    });
    (address, heard)
}
