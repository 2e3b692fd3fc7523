//! What a role does not include is refused, said, and reported. Each test first does the same act with only the right put differently.

use std::process::{Output, Stdio};
use std::time::Duration;

use access::limits::Limits;
use access::rights::{ExecRights, SftpRights, SshRights};
use tokio::io::AsyncWriteExt;

use crate::gate::{Policy, Setup, everything};
use crate::town::Town;

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout)
}

/// What was reported, waiting for it: reports go beside the session.
async fn reported(town: &Town) -> Vec<(&'static str, String)> {
    let mut refused = town.gate.refused.subscribe();
    tokio::time::timeout(Duration::from_secs(60), refused.wait_for(|r| !r.is_empty())).await.expect("nothing was reported").unwrap();
    town.gate.refused.borrow().iter().map(|r| (r.what, r.detail.clone())).collect()
}

/// Waits until it was reported that this variable was kept back.
async fn reported_variable(town: &Town, name: &str) {
    let mut refused = town.gate.refused.subscribe();
    let waiting = refused.wait_for(|all| all.iter().any(|one| one.what == "env" && one.detail == name));
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it was not reported").unwrap();
}

pub(crate) async fn sftp(town: &Town, batch: &str) -> Output {
    let port = town.port.to_string();
    let mut sftp = town
        .tool("sftp", &["-b", "-", "-P", &port, "db-1@127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = sftp.stdin.take().unwrap().write_all(batch.as_bytes()).await;
    sftp.wait_with_output().await.unwrap()
}

// covers: B1 (ssh), MAY-6 (ssh)
#[tokio::test]
async fn a_command_needs_the_right_to_it() {
    let only = |commands: &[&str]| SshRights { exec: ExecRights::Only(commands.iter().map(|c| (*c).to_owned()).collect()), ..everything() };
    let town = Town::open(only(&["uptime", "echo yes"])).await;
    assert_eq!(town.ssh(&["echo yes"]).output().await.unwrap().stdout, b"yes\n");
    for tried in ["echo yes; id", "echo  yes", " echo yes", "ECHO yes"] {
        let out = town.ssh(&[tried]).output().await.unwrap();
        assert_eq!(out.status.code(), Some(77), "{tried}: {out:?}");
        assert!(said(&out).contains("Your role does not include this"), "{}", said(&out));
    }
    let (what, detail) = reported(&town).await[0].clone();
    assert!(what == "exec" && detail == "echo … (12 bytes, whole in the recording)", "{what}: {detail}");
    assert_eq!(town.gate.activities("refused")[0]["detail"], "echo yes; id");
    let town = Town::open(SshRights { exec: ExecRights::None, ..everything() }).await;
    assert_eq!(town.ssh(&["echo yes"]).output().await.unwrap().status.code(), Some(77));
}

// covers: F5 (ssh)
#[tokio::test]
async fn the_arguments_of_a_refused_command_are_sealed_in_its_recording_alone() {
    let town = Town::open(SshRights { exec: ExecRights::Only(vec!["true".to_owned()]), ..everything() }).await;
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
    for tried in ["mysql -pHunter2Unique", "TOKEN=Hunter2Unique curl x"] {
        assert_eq!(town.ssh(&[tried]).output().await.unwrap().status.code(), Some(77));
    }
    let entered = reported(&town).await;
    assert_eq!(entered.len(), 2);
    assert!(entered.iter().all(|(_, detail)| !detail.contains("Hunter2Unique")), "{entered:?}");
    assert!(town.gate.activities("refused").iter().all(|activity| activity["detail"].as_str().unwrap().contains("Hunter2Unique")));
}

// covers: B1 (ssh)
#[tokio::test]
async fn a_shell_needs_the_right_to_it() {
    for (shell, code) in [(true, 5), (false, 77)] {
        let town = Town::open(SshRights { shell, ..everything() }).await;
        let mut ssh = town.ssh_with(&["-T"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = ssh.stdin.take().unwrap().write_all(b"exit 5\n").await;
        let out = ssh.wait_with_output().await.unwrap();
        assert_eq!(out.status.code(), Some(code), "{out:?}");
    }
}

// covers: B1 (ssh)
#[tokio::test]
async fn a_terminal_needs_the_right_to_it() {
    for (pty, expected) in [(true, "yes"), (false, "no")] {
        let town = Town::open(SshRights { pty, ..everything() }).await;
        let out = town.ssh_with(&["-tt"], &["test -t 1 && echo yes || echo no"]).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), expected);
        if !pty {
            assert_eq!(reported(&town).await[0].0, "pty");
        }
    }
}

// covers: B1 (ssh)
#[tokio::test]
async fn files_need_the_right_to_them_and_reading_is_not_writing() {
    let batch = |town: &Town| format!("put {} {}\n", town.ana.display(), town.target.dir().join("put").display());
    let get = |town: &Town| format!("get {} {}\n", town.target.dir().join("sshd_config").display(), town.path("got").display());
    let town = Town::open(everything()).await;
    assert!(sftp(&town, &batch(&town)).await.status.success());
    assert!(town.target.dir().join("put").exists());

    let town = Town::open(SshRights { sftp: SftpRights::Read, ..everything() }).await;
    assert!(sftp(&town, &get(&town)).await.status.success());
    let out = sftp(&town, &batch(&town)).await;
    assert!(!out.status.success() && said(&out).contains("ermission denied"), "{out:?}");
    for tried in ["rm", "mkdir", "rmdir"] {
        let out = sftp(&town, &format!("{tried} {}\n", town.target.dir().join("x").display())).await;
        assert!(said(&out).contains("ermission denied"), "{tried}: {out:?}");
    }
    let config = town.target.dir().join("sshd_config");
    let out = sftp(&town, &format!("rename {} {}x\n", config.display(), config.display())).await;
    assert!(!out.status.success() && config.exists());
    assert!(!town.target.dir().join("put").exists());

    let town = Town::open(SshRights { sftp: SftpRights::None, ..everything() }).await;
    let out = sftp(&town, &get(&town)).await;
    assert!(!out.status.success() && said(&out).contains("does not include this"), "{out:?}");
    assert_eq!(reported(&town).await[0].0, "sftp");
}

// covers: B1 (ssh), B7 (ssh)
#[tokio::test]
async fn only_named_variables_reach_the_target_and_loader_variables_never_do() {
    const LOADS: &str = "-oSetEnv=LD_PRELOAD=/nowhere.so";
    let shown = "echo [$GREETING][$OTHER][$LD_PRELOAD][$TIDEGATE_X]";
    let run = |town: &Town| {
        let mut ssh = town.ssh_with(&["-oSendEnv=GREETING OTHER TIDEGATE_X", LOADS], &[shown]);
        ssh.env("GREETING", "hello").env("OTHER", "other").env("TIDEGATE_X", "x");
        ssh
    };
    let town = Town::open(SshRights { env: vec!["*".into()], ..everything() }).await;
    // The target itself would take it.
    let (port, key) = (town.target.port().to_string(), format!("-i{}", town.path("gate").display()));
    let direct = town.tool("ssh", &["-p", &port, &key, LOADS, "127.0.0.1", shown]).output().await.unwrap();
    assert_eq!(direct.stdout, b"[][][/nowhere.so][]\n", "{direct:?}");
    // Under `*`, and under its whole name, it stays here.
    let out = run(&town).output().await.unwrap();
    assert_eq!(out.stdout, b"[hello][other][][]\n", "{out:?}");
    reported_variable(&town, "LD_PRELOAD").await;
    let town = Town::open(SshRights { env: vec!["LD_PRELOAD".into(), "GREETING".into()], ..everything() }).await;
    let out = run(&town).output().await.unwrap();
    assert_eq!(out.stdout, b"[hello][][][]\n", "{out:?}");
    reported_variable(&town, "LD_PRELOAD").await;
    let town = Town::open(everything()).await;
    assert_eq!(run(&town).output().await.unwrap().stdout, b"[hello][][][]\n");
    for kept_back in ["OTHER", "LD_PRELOAD"] {
        reported_variable(&town, kept_back).await;
    }
}

// covers: B1 (ssh)
#[tokio::test]
async fn a_request_limited_to_one_command_allows_nothing_else() {
    let limits = Limits { command: Some("echo one".into()), ..Limits::default() };
    let town = Town::new(Setup { limits, ..Setup::default() }).await;
    assert_eq!(town.ssh(&["echo one"]).output().await.unwrap().stdout, b"one\n");
    let out = town.ssh(&["echo two"]).output().await.unwrap();
    assert!(out.status.code() == Some(77) && said(&out).contains("limited to less than this"), "{out:?}");
}

// covers: B1 (ssh)
#[tokio::test]
async fn x11_is_refused() {
    let town = Town::open(everything()).await;
    let mut ssh = town.ssh_with(&["-Y"], &["echo [$DISPLAY]"]);
    ssh.env("DISPLAY", ":9");
    let out = ssh.output().await.unwrap();
    assert_eq!(out.stdout, b"[]\n", "{out:?}");
    assert_eq!(reported(&town).await[0].0, "x11");
}

#[tokio::test]
async fn a_refused_knock_is_one_line_and_exit_77() {
    let town = Town::new(Setup::default()).await;
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
    town.gate.setup.lock().unwrap().policy = Policy::Closed;
    let out = town.ssh(&["true"]).output().await.unwrap();
    assert_eq!(out.status.code(), Some(77));
    assert_eq!(said(&out).lines().count(), 1, "{out:?}");
    assert!(said(&out).contains("Your request was denied"));
}

// covers: CRED-2 (ssh), G3 (ssh)
#[tokio::test]
async fn a_target_with_an_unknown_host_key_is_not_entered() {
    let town = Town::new(Setup::default()).await;
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
    let other = testkit::sshd::keypair(town.dir.path(), "other").unwrap();
    town.gate.setup.lock().unwrap().host_keys = Some(vec![testkit::sshd::public_half(&other).unwrap()]);
    let out = town.ssh(&["true"]).output().await.unwrap();
    assert_eq!(out.status.code(), Some(77));
    assert!(said(&out).contains("host key is not one the policy names") && said(&out).contains("SHA256:"), "{}", said(&out));
    // Whoever looks for it later finds it: in the audit log, and in the recording.
    let mut ended = town.gate.ended.subscribe();
    ended.wait_for(|all| all.len() == 2).await.unwrap();
    let entered = reported(&town).await;
    assert!(entered.len() == 1 && entered[0].0 == "target", "{entered:?}");
    assert!(entered[0].1.starts_with("host_key_unknown: ") && entered[0].1.contains("SHA256:"), "{entered:?}");
    assert_eq!(town.gate.activities("target.refused")[0]["reason"], "host_key_unknown");
}

// covers: EV-1 (ssh)
#[tokio::test]
async fn a_target_that_is_down_is_recorded_and_is_no_refusal() {
    let town = Town::new(Setup::default()).await;
    let free = testkit::ports::free().unwrap().port();
    town.gate.setup.lock().unwrap().instead = Some((free, town.target.host_key().to_owned()));
    let out = town.ssh(&["true"]).output().await.unwrap();
    assert!(!out.status.success(), "{out:?}");
    assert_eq!(town.gate.ended().await.end, access::session::EndReason::Target);
    assert_eq!(town.gate.activities("target.refused")[0]["reason"], "target_unreachable");
    assert!(town.gate.refused.borrow().is_empty());
}

// covers: B6 (ssh)
#[tokio::test]
async fn the_gates_own_machine_is_no_target_unless_named() {
    let town = Town::new(Setup::default()).await;
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
    town.gate.setup.lock().unwrap().guarded_allowed = false;
    let out = town.ssh(&["true"]).output().await.unwrap();
    assert!(out.status.code() == Some(77) && said(&out).contains("link-local or a metadata"), "{out:?}");
    assert!(reported(&town).await[0].1.starts_with("target_forbidden: "));
}
