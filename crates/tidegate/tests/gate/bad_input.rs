//! Bad input: a sentence that says what, why and what to do; nothing lost.

use serde_json::json;

use std::path::PathBuf;
use std::process::Command;

use crate::demo::{Demo, Talk, eventually, http};
use crate::served::{Plan, Served};

// covers: A9 (api), A9 (ssh), B2 (api), B2 (ssh), G2 (api), G2 (ssh), E9 (api), E9 (ssh)
#[test]
fn wrong_things_get_a_sentence_and_a_status() {
    let demo = Demo::start();
    let base = demo.ready["api"].as_str().unwrap();
    // The right thing, first.
    assert_eq!(demo.api("ana", "GET", "/api/v1/me", None).0, 200);
    let (status, problem) = http(base, None, "GET", "/api/v1/me", None);
    assert_eq!((status, &problem["code"]), (401, &json!("not_signed_in")), "{problem}");
    let (status, _) = http(base, Some("tg_pat_0000000000000000000000000000000000"), "GET", "/api/v1/me", None);
    assert_eq!(status, 401);
    let (status, problem) = demo.api("ana", "GET", "/api/v1/grants/grt_00000000000000000000000000", None);
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
    let (status, problem) = demo.api("ana", "POST", "/api/v1/requests", Some(json!({"resource": "db-1", "rolle": "debug"})));
    assert_eq!(status, 400, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("rolle"), "{problem}");
    let (status, problem) = demo.api("ana", "POST", "/api/v1/locks", Some(json!({"scope": "resource:db-1"})));
    assert_eq!((status, &problem["code"]), (403, &json!("not_allowed")), "{problem}");
    let (status, problem) = demo.api("ana", "GET", "/api/v1/nothing", None);
    assert_eq!(status, 404, "{problem}");
    assert!(problem["hint"].is_string() && problem["request_id"].is_string(), "{problem}");
    // Unknown resource over SSH: refused in a sentence, no matter how it is spelled.
    for selector in ["nowhere", "db-1+nothing", "nowhere+shell"] {
        let config = demo.person("ana")["ssh_config"].as_str().unwrap();
        let out = std::process::Command::new("ssh")
            .args(["-F", config, "-o", "BatchMode=yes", "-l", selector, "build-1.tide", "true"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(77), "{selector}: {said}");
        assert!(said.contains("no such"), "{selector}: {said}");
    }
    // Escapes and direction marks in a reason are inert where they are shown.
    let hostile = "\u{1b}]0;owned\u{7}\u{202e}evil\r\nsecond line";
    demo.post("ana", "/api/v1/requests", json!({"resource": "db-1", "role": "debug", "reason": hostile}));
    let shown = demo.tidegate("ben", &["request", "list", "--inbox"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains("evil"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}') && !text.contains('\u{202e}'), "{text:?}");
}

/// A small file system, taken away again when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: PathBuf) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "a small disk is mounted for this test, which takes root");
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

// covers: SES-3 (ssh), F1 (ssh)
#[test]
fn a_full_disk_ends_the_session_and_opens_no_other() {
    let mut disk = None;
    let demo = Demo::start().restart_after(|dir| disk = Some(SmallDisk::at(dir.join("data/recordings"))));
    demo.grant("ana", "db-1", "shell", "1h");
    let small = demo.ssh("ana", "db-1+shell", &[], &["echo fits"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&small.stdout).trim(), "fits", "{}", String::from_utf8_lossy(&small.stderr));
    let mut flood = Talk::start(demo.ssh("ana", "db-1+shell", &[], &["exec head -c 50000000 /dev/urandom"]));
    assert_ne!(flood.end(), 0, "what can't be recorded isn't delivered");
    let ended = eventually("the session is entered as ended by the recorder", || {
        let all = demo.get("eve", "/api/v1/sessions?all=true");
        all["items"].as_array().unwrap().iter().find(|s| s["end"] == "recorder").cloned()
    });
    assert_eq!(ended["state"], "ended");
    // To the last byte: nothing opens, and the reason is said.
    let filled = Command::new("dd")
        .args(["if=/dev/zero", "bs=512"])
        .arg(format!("of={}", demo.dir().join("data/recordings/fill").display()))
        .output()
        .unwrap();
    assert!(!filled.status.success(), "there was room without end");
    let refused = demo.ssh("ana", "db-1+shell", &[], &["echo must-not-open"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("must-not-open"), "{said}");
    assert_eq!(refused.status.code(), Some(76), "{said}");
    assert!(said.contains("cannot be recorded"), "{said}");
    // Other things go on: the log is on another disk.
    assert_eq!(demo.post("eve", "/api/v1/audit/replay", json!({}))["differences"], json!([]));
    drop(demo);
    drop(disk);
}

// covers: G1 (api)
#[test]
fn nothing_secret_stands_in_arguments_logs_or_files() {
    let demo = Demo::start();
    let token = demo.person("ana")["token"].as_str().unwrap().to_owned();
    let secret = "correct-horse-battery";
    demo.post("dan", "/api/v1/requests/preview", json!({"resource": "db-1", "role": "debug"}));
    let (status, answer) = demo.api("dan", "PUT", "/api/v1/secrets/db-password", Some(json!({"value": secret})));
    assert_eq!(status, 204, "{answer}");
    let listed = demo.get("dan", "/api/v1/secrets");
    assert!(listed.to_string().contains("db-password") && !listed.to_string().contains(secret), "{listed}");
    for needle in [secret, token.as_str(), "PRIVATE KEY"] {
        let found = Command::new("grep").args(["-r", "-l", "-a", "-F", needle]).arg(demo.dir().join("data")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{needle} stands in clear in the data directory");
    }
    let processes = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    assert!(processes.contains("demo --dir") && !processes.contains(&token));
}

// covers: G1 (ssh), G1 (api)
#[test]
fn however_much_a_gate_says_of_itself_it_gives_nothing_away_and_leaves_no_core_file() {
    let environment = vec![("TIDEGATE_LOG".to_owned(), "trace".to_owned()), ("RUST_BACKTRACE".to_owned(), "1".to_owned())];
    let mut gate = Served::with(Plan { environment, ..Plan::default() });
    // Everything secret is used once: tokens, a key, an invitation, a sealed secret, a connect token, a web session's cookie, typed input.
    let secret = "correct-horse-battery";
    assert_eq!(gate.api("dan", "PUT", "/api/v1/secrets/db-password", Some(json!({"value": secret}))).0, 204);
    let invited = gate.post("dan", "/api/v1/users", json!({"username": "gina", "display_name": "Gina"}));
    let base = gate.ready["api"].as_str().unwrap().to_owned();
    let (status, joined) = http(&base, None, "POST", "/api/v1/invitations/accept", Some(json!({"code": invited["code"]})));
    assert_eq!(status, 201, "{joined}");
    gate.grant("ana", "db-1", "shell", "1h");
    let mut ana = Talk::start(gate.ssh("ana", "db-1+shell", &["-tt"], &[]));
    ana.say("stty -echo; echo now-$((1+1)); read x\r");
    ana.until("now-2");
    ana.say("hunter2-never-shown\r");
    ana.say("echo shown-$((3+4)); exit\r");
    ana.until("shown-7");
    ana.end();
    let (status, _) = http(&base, Some("tg_pat_notatokenbutsomebodytriesit"), "GET", "/api/v1/me", None);
    assert_eq!(status, 401);
    gate.ended_sessions("ana");
    let log = gate.log();
    assert!(log.contains("TRACE"), "it says all it can");
    let token = |name: &str| gate.person(name)["token"].as_str().unwrap().to_owned();
    let private = std::fs::read_to_string(gate.person("ana")["key"].as_str().unwrap()).unwrap();
    let private = private.lines().nth(2).unwrap();
    let (code, new) = (invited["code"].as_str().unwrap(), joined["token"]["secret"].as_str().unwrap());
    let (ana, dan, bot) = (token("ana"), token("dan"), token("deploy-bot"));
    for needle in [secret, &ana, &dan, &bot, code, new, private, "hunter2-never-shown", "tg_pat_notatoken", "PRIVATE KEY"] {
        assert!(!log.contains(needle), "{needle:?} stands in the log");
        let found = Command::new("grep").args(["-r", "-l", "-a", "-F", "--", needle]).arg(gate.dir().join("data")).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{needle} stands in clear in the data directory");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let core: Vec<&str> = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split_whitespace().skip(4).collect();
    assert_eq!(core, ["0", "0", "bytes"], "{limits}");
    gate.stop();
}

fn makes_key(args: &[&str], file: &std::path::Path) -> PathBuf {
    let made = Command::new("ssh-keygen").args(["-q", "-N", ""]).args(args).arg("-f").arg(file).status().unwrap();
    assert!(made.success());
    file.with_extension("pub")
}

// covers: A1 (cli), ASK-1 (cli), CRED-2 (ssh)
#[test]
fn each_wrong_thing_is_named_with_why_and_what_to_do() {
    let nowhere = "[[resource]]\nname = \"extra-1\"\nkind = \"ssh\"\naddress = \"127.0.0.1:1\"\nlogin = \"{login}\"\n\
                   tier = \"non-prod\"\nowner = \"platform\"\nhost_keys = [\"{host_key}\"]\n";
    let gate = Served::with(Plan { policy: vec![("resources.toml", nowhere.to_owned())], ..Plan::default() });
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let good = makes_key(&["-t", "ed25519"], &path("good"));
    let small = makes_key(&["-t", "rsa", "-b", "1024"], &path("small"));
    let signed =
        Command::new("ssh-keygen").args(["-q", "-s"]).arg(path("small")).args(["-I", "x", "-n", "ana"]).arg(&good).status().unwrap();
    assert!(signed.success());
    std::fs::write(path("rubbish.pub"), "hello, this is my key\n").unwrap();
    std::fs::write(path("torn.pub"), &std::fs::read_to_string(&good).unwrap()[..40]).unwrap();
    std::fs::write(path("long.pub"), format!("ssh-ed25519 {}", "A".repeat(100_000))).unwrap();
    std::fs::write(path("binary.pub"), [0xff, 0xfe, 0, 1]).unwrap();
    let absurd = path("policy");
    assert!(Command::new("cp").arg("-r").arg(gate.dir().join("policy")).arg(&absurd).status().unwrap().success());
    std::fs::write(absurd.join("roles.toml"), vec![b'#'; 17 << 20]).unwrap();
    let long = "x".repeat(4_001);
    let of = |name: &str| path(name).display().to_string();

    gate.cli("ana", &["key", "add", good.to_str().unwrap()]);
    let asked = gate.tidegate("ana", &["request", "create", "db-1", "debug", "--reason", &long[..4_000]]);
    assert_eq!(asked.status.code(), Some(75), "{}", String::from_utf8_lossy(&asked.stderr));
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["key", "add", &of("good")], 1, &["is a private key", "stays with you", "name `"]),
        (&["key", "add", &of("rubbish.pub")], 2, &["no public key in OpenSSH's format", "ssh-ed25519 AAAA", "`.pub` file"]),
        (&["key", "add", &of("torn.pub")], 2, &["no public key in OpenSSH's format", "`.pub` file"]),
        (&["key", "add", &of("good-cert.pub")], 2, &["this is a certificate", "without `-cert`"]),
        (&["key", "add", small.to_str().unwrap()], 2, &["1024 bits", "ssh-keygen -t ed25519"]),
        (&["key", "add", &of("long.pub")], 2, &["no public key is longer", "`.pub` file"]),
        (&["key", "add", &of("binary.pub")], 1, &["cannot read", "binary.pub"]),
        (&["key", "add", &of("absent.pub")], 1, &["cannot read", "absent.pub"]),
        (&["key", "add", good.to_str().unwrap()], 2, &["key"]),
        (&["request", "create", "db-1", "shell", "--reason", &long], 2, &["at most 4000 characters"]),
        (&["request", "create", "nowhere", "shell", "--reason", "x"], 77, &["no such", "`tidegate resource list`"]),
        (&["request", "create", "db-1", "nothing", "--reason", "x"], 77, &["no such role", "`tidegate resource show`"]),
        (&["request", "create", "db-1", "shell", "--reason", "x", "--for", "900d"], 77, &["4h"]),
        (&["request", "create", "db-1", "shell", "--reason", "x", "--for", "soon"], 2, &["soon", "--for"]),
        (&["session", "replay", "ses_rubbish"], 2, &["ses_rubbish"]),
        (&["policy", "check", absurd.to_str().unwrap()], 1, &["roles.toml", "no part of a policy may have more than"]),
    ];
    for (args, exit, words) in cases {
        let out = gate.tidegate("ana", args);
        let said = format!("{}{}", String::from_utf8_lossy(&out.stderr), String::from_utf8_lossy(&out.stdout));
        let shown: String = format!("{args:?}").chars().take(120).collect();
        assert_eq!(out.status.code(), Some(*exit), "{shown}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{shown}: {said}");
        assert!(!said.contains("panicked") && said.len() < 4_000, "{shown}: {said}");
    }
    // The same by the API, as a problem.
    for (path, body) in [
        ("/api/v1/me/keys", json!({"public_key": "hello"})),
        ("/api/v1/me/keys", json!({"public_key": ""})),
        ("/api/v1/requests", json!({"resource": "db-1", "role": "shell", "reason": long})),
        ("/api/v1/requests", json!({"resource": "Not A Name!", "role": "shell", "reason": "x"})),
        ("/api/v1/requests", json!({"resource": "x".repeat(70_000), "role": "shell", "reason": "x"})),
    ] {
        let (status, problem) = gate.api("ana", "POST", path, Some(body));
        assert!(matches!(status, 400 | 422) && problem["code"] == "invalid", "{path}: {status} {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() < 1_000) && problem["hint"].is_string(), "{path}: {problem}");
    }
    // At the door: a target that does not answer, and a reason nobody would read.
    let out = gate.ssh("ana", "extra-1+shell", &[], &["echo inside"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(77) && out.stdout.is_empty(), "{said}");
    assert!(said.contains("could not be reached") && said.contains("Check that it is up"), "{said}");
    let send = format!("SetEnv=TIDEGATE_REASON={}", "x".repeat(4_001));
    let out = gate.ssh("ana", "web-1+shell", &["-o", &send], &["echo inside"]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(77) && out.stdout.is_empty() && said.lines().count() <= 3, "{said}");
    assert_eq!(gate.get("ana", "/api/v1/requests?state=pending")["items"].as_array().unwrap().len(), 1);
    gate.assert_provable();
}
