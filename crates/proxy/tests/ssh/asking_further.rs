//! Asking where one connects, further: more time, less than the role, emergencies, patience; and what is told to who has no key.

use std::process::Stdio;
use std::time::Duration;

use access::limits::Limits;
use access::rights::{ExecRights, Rights, SftpRights, SshRights};
use access::session::Standing;
use access::time::Span;
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;

use crate::asking::until;
use crate::gate::{Policy, Setup, everything};
use crate::hostile_clients::{ana, output};
use crate::refusals::sftp;
use crate::town::Town;

async fn town() -> Town {
    Town::new(Setup { policy: Policy::NeedsBen, ..Setup::default() }).await
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

// covers: GRANT-5, ASK-3 (ssh)
#[tokio::test]
async fn more_time_is_asked_for_beside_the_shell_and_told_in_it() {
    let town = Town::open(everything()).await;
    let mut shell = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
    let mut shown = String::new();
    input.write_all(b"echo in$((40+2))\n").await.unwrap();
    until(&mut output, &mut shown, "in42").await;
    town.gate.stand(&Standing::Warned { ends_at: at(1_790_000_300), left: Span::minutes(5) });
    until(&mut output, &mut shown, "  ssh -s db-1+debug.tide extend 30m 'why'").await;
    let warning: Vec<&str> = shown.lines().filter(|line| line.starts_with("*** ")).collect();
    assert_eq!(warning.len(), 3, "{shown}");
    assert!(
        warning[0].starts_with("*** This session ends in 5m, at ") && warning.iter().all(|line| line.trim_end().len() <= 80),
        "{shown}"
    );

    // Whatever is typed into the shell, or printed by the target, asks for nothing.
    input.write_all(b"extend 30m why; printf 'ssh -s db-1+debug.tide extend 30m why\\n'; echo still$((40+2))\n").await.unwrap();
    until(&mut output, &mut shown, "still42").await;
    assert!(town.gate.more.borrow().is_empty());
    // Nor does a command of that name on a channel of its own: it is the target's.
    let command = town.ssh(&["extend 30m why"]).output().await.unwrap();
    assert!(town.gate.more.borrow().is_empty() && command.status.code() == Some(127), "{command:?}");

    // A second connection asks; it needs no right to a subsystem, and opens no session.
    let sessions = town.gate.standings.lock().unwrap().len();
    let asked = town.ssh_with(&["-s"], &["extend", "30m", "still", "restoring"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success() && said.starts_with("tidegate: db-1 is open until "), "{asked:?}");
    assert_eq!(*town.gate.more.borrow(), vec![(Some(Span::minutes(30)), Some("still restoring".to_owned()))]);
    assert_eq!(town.gate.standings.lock().unwrap().len(), sessions);
    town.gate.stand(&Standing::Open { ends_at: Some(at(1_790_002_100)) });
    until(&mut output, &mut shown, "*** This session has been extended; it is open until ").await;

    // Without a reason the answer says how to give one.
    let silent = town.ssh_with(&["-s"], &["extend", "1h"]).output().await.unwrap();
    assert_eq!(silent.status.code(), Some(77));
    assert!(String::from_utf8_lossy(&silent.stderr).contains("ssh -s db-1.tide extend 1h 'why'"), "{silent:?}");
    // People are asked: one line and 75, or waiting; what they say is told in the shell too, and cannot drive its terminal.
    let asked = town.ssh_with(&["-s"], &["extend", "1h", "ask", "Ben"]).output().await.unwrap();
    assert_eq!(asked.status.code(), Some(75), "{asked:?}");
    town.gate.tell("No more time. Ben denied your request: go\u{1b}[2J home");
    until(&mut output, &mut shown, "*** No more time. Ben denied your request: go\\u{1b}[2J home").await;
    let waits = town.ssh_with(&["-s", "-oSetEnv=TIDEGATE_WAIT=1"], &["extend", "1h", "ask", "Ben"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut more = town.gate.more.subscribe();
    tokio::time::timeout(Duration::from_secs(60), more.wait_for(|all| all.len() == 3)).await.expect("nobody asks").unwrap();
    town.gate.ben_approves();
    let waited = waits.wait_with_output().await.unwrap();
    assert!(waited.status.success() && String::from_utf8_lossy(&waited.stderr).contains("Ben approved: go ahead"), "{waited:?}");

    // All the while the shell lived.
    input.write_all(b"echo alive$((40+2)); exit\n").await.unwrap();
    until(&mut output, &mut shown, "alive42").await;
    assert!(shell.wait().await.unwrap().success());
}

// covers: GRANT-5 (ssh)
#[tokio::test]
async fn a_person_at_a_terminal_is_asked_why_they_need_more_time() {
    let town = Town::open(everything()).await;
    let mut ssh = town.ssh_with(&["-tt", "-s"], &["extend"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut shown = String::new();
    until(&mut output, &mut shown, "Reason: ").await;
    input.write_all(b"one more table\r").await.unwrap();
    until(&mut output, &mut shown, "db-1 is open until ").await;
    assert!(ssh.wait().await.unwrap().success());
    assert_eq!(*town.gate.more.borrow(), vec![(None, Some("one more table".to_owned()))]);
}

// covers: ASK-3 (ssh)
#[tokio::test]
async fn a_client_that_waits_waits_as_long_as_the_resource_lets_it() {
    let town = Town::new(Setup { policy: Policy::NeedsBen, patience: Duration::from_secs(1), ..Setup::default() }).await;
    let out = town.ssh_with(&["-oSetEnv=TIDEGATE_REASON=why TIDEGATE_WAIT=1"], &["true"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(75) && said.contains("Waiting for at most 1 s (req_") && said.trim_end().ends_with(')'), "{out:?}");
    // Somebody at a terminal stays as long as they like, and is told that they need not.
    let mut ssh = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (_input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut shown = String::new();
    until(&mut output, &mut shown, "leave with Ctrl-C and connect again").await;
    assert!(shown.lines().all(|line| line.trim_end().len() <= 80), "{shown}");
    town.gate.ben_approves();
    until(&mut output, &mut shown, "Opening db-1").await;
}

// covers: ASK-6 (ssh)
#[tokio::test]
async fn one_command_or_only_reading_is_asked_for_at_the_door_and_is_all_there_is() {
    let town = town().await;
    let limited = |limit: &str| format!("-oSetEnv=TIDEGATE_REASON=why TIDEGATE_LIMIT={limit}");
    let out = town.ssh_with(&[&limited("command")], &["echo one"]).output().await.unwrap();
    assert_eq!(out.status.code(), Some(75), "{out:?}");
    let one = Limits { command: Some("echo one".into()), ..Limits::default() };
    assert_eq!(*town.gate.renounced.lock().unwrap(), vec![one]);
    for (limit, command, says) in [("command", &[][..], "there is none here"), ("less", &["true"][..], "it is `command` or `read-only`")] {
        let out = town.ssh_with(&[&limited(limit), "-T"], command).output().await.unwrap();
        assert!(out.status.code() == Some(77) && String::from_utf8_lossy(&out.stderr).contains(says), "{out:?}");
    }
    // On a connection that is open for more, a channel that renounces gets less all the same.
    town.gate.ben_approves();
    let socket = town.dir.path().join("control");
    let path = format!("-oControlPath={}", socket.display());
    let mut master = town.ssh_with(&["-M", "-N", &path, "-oSendEnv=TIDEGATE_LIMIT"], &[]).spawn().unwrap();
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let through =
        |limit: &str, command: &str| town.ssh_with(&[&path, "-oSendEnv=TIDEGATE_LIMIT"], &[command]).env("TIDEGATE_LIMIT", limit).output();
    assert_eq!(through("", "echo two").await.unwrap().stdout, b"two\n");
    assert_eq!(through("command", "echo one").await.unwrap().stdout, b"one\n");
    let refused = through("read-only", "echo one").await.unwrap();
    assert!(refused.status.code() == Some(77) && refused.stdout.is_empty(), "{refused:?}");
    master.kill().await.unwrap();
}

// covers: ASK-6, B1 (ssh)
#[tokio::test]
async fn what_one_channel_renounces_it_renounces_for_terminal_variables_and_agent_too() {
    let town = Town::open(everything()).await;
    let ana = ana(&town).await;
    let reach = "test -t 0 && echo terminal; echo \"[$GREETING] [${SSH_AUTH_SOCK:+agent}]\"";
    let reaching = async |limit: Option<&str>, agent: bool| {
        let channel = ana.channel_open_session().await.unwrap();
        if agent {
            channel.agent_forward(false).await.unwrap();
        }
        channel.request_pty(false, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
        channel.set_env(false, "GREETING", "hello").await.unwrap();
        if let Some(limit) = limit {
            channel.set_env(false, "TIDEGATE_LIMIT", limit).await.unwrap();
        }
        channel.exec(true, reach).await.unwrap();
        output(channel).await
    };
    let whole = reaching(None, false).await;
    assert!(whole.contains("terminal") && whole.contains("[hello] []"), "{whole}");
    let limits = Limits { command: Some(reach.to_owned()), ..Limits::default() };
    let Rights::Ssh(narrowed) = limits.narrow(Rights::Ssh(everything())) else { unreachable!() };
    let limited = reaching(Some("command"), true).await;
    assert_eq!(limited.contains("terminal"), narrowed.pty, "{limited}");
    assert_eq!(limited.contains("[hello]"), narrowed.allows_env("GREETING"), "{limited}");
    assert!(!narrowed.agent_forward && !limited.contains("[agent]"), "{limited}");
    // Who renounces nothing gets it; from then on the target shows it to the whole connection.
    let whole = reaching(None, true).await;
    assert!(whole.contains("[hello] [agent]"), "{whole}");
}

// covers: ASK-6 (ssh)
#[tokio::test]
async fn only_reading_reads_files_and_does_nothing_else() {
    let read_only = Limits { read_only: true, ..Limits::default() };
    let town = Town::new(Setup { limits: read_only, ..Setup::default() }).await;
    let there = town.path("there");
    std::fs::write(&there, "words").unwrap();
    let got = town.path("got");
    let read = sftp(&town, &format!("get {} {}\n", there.display(), got.display())).await;
    assert!(read.status.success() && std::fs::read(&got).unwrap() == b"words", "{read:?}");
    let written = sftp(&town, &format!("put {} {}.new\n", got.display(), there.display())).await;
    assert!(!written.status.success(), "{written:?}");
    for command in [&["true"][..], &[]] {
        let out = town.ssh_with(&["-T"], command).output().await.unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(77) && said.contains("limited to less"), "{out:?}");
    }
}

// covers: GRANT-9 (ssh)
#[tokio::test]
async fn an_emergency_is_declared_in_so_many_words() {
    let town = Town::new(Setup { policy: Policy::NeedsBen, emergency: true, ..Setup::default() }).await;
    let mut ssh = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut shown = String::new();
    until(&mut output, &mut shown, "In an emergency answer `break glass`").await;
    until(&mut output, &mut shown, "Reason: ").await;
    input.write_all(b"break glass\r").await.unwrap();
    until(&mut output, &mut shown, "What is the emergency: ").await;
    assert!(town.gate.asked.borrow().is_empty());
    input.write_all(b"checkout is down\r").await.unwrap();
    until(&mut output, &mut shown, "Emergency access: all of it is recorded, and reviewed afterwards.").await;
    let asked = town.gate.asked.borrow()[0].clone();
    assert!(asked.break_glass && asked.reason.as_deref() == Some("checkout is down"));
    input.write_all(b"echo in$((40+2)); exit\n").await.unwrap();
    until(&mut output, &mut shown, "in42").await;

    // Without a terminal it is said beforehand.
    let out = town.ssh_with(&["-oSetEnv=TIDEGATE_BREAK_GLASS='checkout is down'"], &["echo in"]).output().await.unwrap();
    assert_eq!((out.stdout.as_slice(), out.status.code()), (&b"in\n"[..], Some(0)), "{out:?}");
    assert!(town.gate.asked.borrow()[1].break_glass);
}

// covers: GRANT-9 (ssh)
#[tokio::test]
async fn where_no_emergency_is_open_those_words_are_a_reason_like_any_other() {
    let town = town().await;
    let mut ssh = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut shown = String::new();
    until(&mut output, &mut shown, "Reason: ").await;
    input.write_all(b"break glass\r").await.unwrap();
    until(&mut output, &mut shown, "waits for approval").await;
    let asked = town.gate.asked.borrow()[0].clone();
    assert!(!asked.break_glass && asked.reason.as_deref() == Some("break glass"));
}

const PARAMIKO: &str = r"
import paramiko, sys
shown = []
transport = paramiko.Transport((sys.argv[1], int(sys.argv[2])))
transport.start_client(timeout=20)
try:
    transport.auth_interactive('db-1', lambda title, instructions, prompts: shown.append((title, instructions, len(prompts))) or [])
    print('IN')
except paramiko.AuthenticationException as e:
    print('OUT', shown)
";

// covers: ASK-3, WHO-5 (ssh)
#[tokio::test]
async fn who_has_no_key_is_told_how_to_sign_in_and_gets_nowhere() {
    let town = Town::open(everything()).await;
    assert!(town.ssh(&["true"]).output().await.unwrap().status.success());
    let port = town.port.to_string();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python");
    let known_hosts = format!("-oUserKnownHostsFile={}", town.dir.path().join("elsewhere").display());
    let strict = ["-F/dev/null", "-oStrictHostKeyChecking=no", "-oIdentityAgent=none", "-oIdentitiesOnly=yes"];
    let stranger = format!("-i{}", town.stranger.display());
    let openssh = |more: &[&str]| {
        let arguments = [&strict[..], &[&known_hosts, "-p", &port], more, &["db-1@127.0.0.1", "true"]].concat();
        let mut command = tokio::process::Command::new("ssh");
        command.args(arguments);
        command
    };
    let mut plink = tokio::process::Command::new("plink");
    let host = testkit::sshd::public_half(&town.path("gate_host")).unwrap();
    std::fs::write(town.path("host.pub"), format!("{host}\n")).unwrap();
    let print = std::process::Command::new("ssh-keygen").arg("-lf").arg(town.path("host.pub")).output().unwrap();
    let fingerprint = String::from_utf8(print.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    plink.env("HOME", town.dir.path()).args(["-ssh", "-noagent", "-hostkey", &fingerprint, "-P", &port, "db-1@127.0.0.1", "true"]);
    let mut paramiko = tokio::process::Command::new(python);
    paramiko.args(["-c", PARAMIKO, "127.0.0.1", &port]);
    for (name, mut command) in
        [("ssh", openssh(&["-i/dev/null"])), ("ssh with a strange key", openssh(&[&stranger])), ("plink", plink), ("paramiko", paramiko)]
    {
        let out = tokio::time::timeout(Duration::from_secs(60), command.stdin(Stdio::null()).output()).await.unwrap().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(said.contains("Nobody is known by a key here.") && said.contains("Join first: tidegate join"), "{name}: {said}");
        assert_eq!(said.matches("Join first").count(), 1, "{name} is told once: {said}");
        assert!(!said.lines().any(|line| line.trim() == "IN"), "{name}: {said}");
        assert_ne!((name == "paramiko", out.status.code()), (false, Some(0)), "{name}: {said}");
    }
    assert_eq!(town.gate.proofs.lock().unwrap().len(), 1, "the one who signed in");
}

// covers: MAY-6, SSH-2, B1, B6 (ssh)
#[tokio::test]
async fn a_unix_socket_is_reached_where_the_role_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (named, other, here) = (dir.path().join("app.sock"), dir.path().join("secret.sock"), dir.path().join("here.sock"));
    for path in [&named, &other] {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"answer").await;
            }
        });
    }
    let rights = SshRights { local_socket: vec![named.to_str().unwrap().parse().unwrap()], ..everything() };
    let town = Town::open(rights).await;
    for (path, answer) in [(&named, &b"answer"[..]), (&other, &b""[..])] {
        let mut ssh = town.ssh_with(&["-N", &format!("-L{}:{}", here.display(), path.display())], &[]).spawn().unwrap();
        assert_eq!(ask(&here).await, answer, "{}", path.display());
        ssh.kill().await.unwrap();
        std::fs::remove_file(&here).unwrap();
    }
    let opened = town.gate.activities("forward.local_socket");
    assert!(opened.len() == 1 && opened[0]["to"] == named.to_str().unwrap(), "{opened:?}");
    let mut refused = town.gate.refused.subscribe();
    let refused = refused.wait_for(|all| !all.is_empty()).await.unwrap()[0].clone();
    assert_eq!((refused.what, refused.detail.as_str()), ("local_socket", other.to_str().unwrap()));
}

// covers: MAY-6, SSH-2, B1 (ssh)
#[tokio::test]
async fn a_unix_socket_is_made_on_the_target_where_the_role_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (named, other, mine) = (dir.path().join("there.sock"), dir.path().join("else.sock"), dir.path().join("mine.sock"));
    let listener = tokio::net::UnixListener::bind(&mine).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"answer").await;
        }
    });
    let rights = SshRights { remote_socket: vec![named.to_str().unwrap().parse().unwrap()], ..everything() };
    let town = Town::open(rights).await;
    let refused = town
        .ssh_with(&["-oExitOnForwardFailure=yes", &format!("-R{}:{}", other.display(), mine.display())], &["true"])
        .output()
        .await
        .unwrap();
    assert!(!refused.status.success() && !other.exists(), "{refused:?}");
    let mut ssh = town.ssh_with(&["-N", &format!("-R{}:{}", named.display(), mine.display())], &[]).spawn().unwrap();
    assert_eq!(ask(&named).await, b"answer");
    assert_eq!(town.gate.activities("forward.listening_socket")[0]["at"], named.to_str().unwrap());
    assert_eq!(town.gate.activities("forward.remote_socket").len(), 1);
    ssh.kill().await.unwrap();
}

/// What a socket says, once somebody listens there.
async fn ask(path: &std::path::Path) -> Vec<u8> {
    use tokio::io::AsyncReadExt as _;
    let asking = async {
        let mut stream = loop {
            match tokio::net::UnixStream::connect(path).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        heard
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("nobody listens")
}

// covers: MAY-6 (ssh)
#[tokio::test]
async fn sockets_are_closed_unless_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let _listener = tokio::net::UnixListener::bind(&path).unwrap();
    // All else is allowed.
    let rights = SshRights { local_socket: Vec::new(), remote_socket: Vec::new(), ..everything() };
    assert!(rights.shell && rights.exec == ExecRights::Any && rights.sftp == SftpRights::Write);
    let town = Town::open(rights).await;
    let here = dir.path().join("here.sock");
    let mut ssh = town.ssh_with(&["-N", &format!("-L{}:{}", here.display(), path.display())], &[]).spawn().unwrap();
    assert_eq!(ask(&here).await, b"");
    let mut refused = town.gate.refused.subscribe();
    refused.wait_for(|all| all.iter().any(|denied| denied.what == "local_socket")).await.unwrap();
    ssh.kill().await.unwrap();
}
