//! A session ends when its permit does: measured at the target.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use access::rights::SshRights;
use access::session::{ClosedSession, EndReason, Standing};
use access::time::Span;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::process::Child;
use tokio::sync::mpsc;

use crate::forwards::{connect, free_port};
use crate::gate::{Setup, everything};
use crate::hostile_clients::{ana, run};
use crate::tape::TapeFault;
use crate::town::Town;

/// Starts something at the target that tells its process id first.
async fn start(town: &Town, options: &[&str], command: &str) -> (Child, u32, BufReader<tokio::process::ChildStdout>) {
    let command = format!("echo $$; {command}");
    let mut ssh = town.ssh_with(options, &[&command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(ssh.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).await.unwrap();
    let pid = line.trim().parse().unwrap_or_else(|_| panic!("no process id: {line:?}"));
    (ssh, pid, output)
}

/// What a command says of its process id, first.
pub(crate) async fn said_id(channel: &mut russh::Channel<russh::client::Msg>) -> u32 {
    loop {
        if let Some(russh::ChannelMsg::Data { data }) = channel.wait().await {
            return String::from_utf8_lossy(&data).trim().parse().unwrap();
        }
    }
}

/// The ends of so many sessions, oldest first.
pub(crate) async fn ends(town: &Town, count: usize) -> Vec<ClosedSession> {
    let mut ended = town.gate.ended.subscribe();
    let all = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|ended| ended.len() >= count)).await;
    all.expect("not all sessions ended").unwrap().clone()
}

pub(crate) fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn dies(pid: u32) -> Duration {
    let start = Instant::now();
    while lives(pid) {
        assert!(start.elapsed() < Duration::from_secs(5), "process {pid} still lives at the target");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

// covers: GRANT-3 (ssh), D2 (ssh)
#[tokio::test]
async fn whatever_runs_is_gone_from_the_target_when_the_session_is_cut() {
    let stubborn = "trap '' HUP TERM; while :; do sleep 0.1; done";
    for (options, command) in [
        (&["-T"][..], "exec sleep 1000"),
        (&["-tt"], "exec sleep 1000"),
        (&["-T"], "exec cat /dev/zero"),
        (&["-T"], stubborn),
        (&["-tt"], stubborn),
    ] {
        let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
        let (ssh, pid, output) = start(&town, options, command).await;
        assert!(lives(pid));
        town.gate.cut(EndReason::Revoked);
        dies(pid).await;
        // Nobody reads `cat /dev/zero`'s output: the cut must not wait for that.
        let closed = town.gate.ended().await;
        assert_eq!((closed.end, closed.confirmed), (EndReason::Revoked, true), "{command}");
        drop((ssh, output));
    }
}

// covers: GRANT-3 (ssh)
#[tokio::test]
async fn who_is_cut_is_told_why_and_exits_76() {
    let town = Town::open(everything()).await;
    let (ssh, _, mut output) = start(&town, &["-T"], "exec sleep 1000").await;
    town.gate.cut(EndReason::Killed);
    let out = ssh.wait_with_output().await.unwrap();
    assert_eq!(out.status.code(), Some(76), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("An administrator ended this session."), "{out:?}");
    let mut rest = String::new();
    output.read_to_string(&mut rest).await.unwrap();

    let town = Town::open(everything()).await;
    let (ssh, _, mut output) = start(&town, &["-tt"], "exec sleep 1000").await;
    town.gate.cut(EndReason::Expired);
    let mut shown = String::new();
    output.read_to_string(&mut shown).await.unwrap();
    assert!(shown.contains("Your grant's time is up."), "{shown}");
    assert_eq!(ssh.wait_with_output().await.unwrap().status.code(), Some(76));
    town.gate.ended().await;
    assert!(town.gate.output().ends_with(&shown), "what the gate shows is recorded too");
}

// covers: GRANT-2 (ssh)
#[tokio::test]
async fn warnings_appear_in_the_terminal() {
    let town = Town::open(everything()).await;
    let (_ssh, _, mut output) = start(&town, &["-tt"], "exec cat").await;
    let ends_at = jiff::Timestamp::from_second(1_790_000_300).unwrap();
    town.gate.stand(&Standing::Warned { ends_at, left: Span::minutes(5) });
    let mut shown = String::new();
    while !shown.contains("db-1+debug.tide extend 30m") {
        assert_ne!(output.read_line(&mut shown).await.unwrap(), 0);
    }
    assert!(shown.contains("This session ends in 5m"), "{shown}");
    town.gate.stand(&Standing::Open { ends_at: None });
    while !shown.contains("has been extended") {
        assert_ne!(output.read_line(&mut shown).await.unwrap(), 0);
    }
}

// covers: GRANT-2 (ssh)
#[tokio::test]
async fn what_begins_near_the_end_is_warned_whatever_else_was_said_since() {
    let town = Town::open(everything()).await;
    let ana = ana(&town).await;
    let held = ana.channel_open_session().await.unwrap();
    held.exec(true, "cat").await.unwrap();
    assert_eq!(run(&ana, "echo in").await, "in\n", "nothing is near yet");
    let warned = |said: &str| said.contains("This session ends in 5m");
    let ends_at = jiff::Timestamp::from_second(1_790_000_300).unwrap();
    town.gate.stand(&Standing::Warned { ends_at, left: Span::minutes(5) });
    while !warned(&run(&ana, "echo in; sleep 0.1").await) {}
    town.gate.tell("You asked for 30m more; it waits for approval.");
    while !town.gate.errors().contains("it waits for approval") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = run(&ana, "echo in; sleep 1").await;
    assert!(warned(&said), "{said}");
    town.gate.stand(&Standing::Open { ends_at: None });
    while !town.gate.errors().contains("has been extended") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!warned(&run(&ana, "echo in; sleep 0.1").await), "that end is past");
    drop(held);
}

// covers: SES-3 (ssh), F1 (ssh)
#[tokio::test]
async fn a_session_that_cannot_be_recorded_ends() {
    let town = Town::open(everything()).await;
    let (ssh, pid, _output) = start(&town, &["-T"], "exec sleep 1000").await;
    town.gate.break_recorder();
    dies(pid).await;
    assert_eq!(town.gate.ended().await.end, EndReason::Recorder);
    let out = ssh.wait_with_output().await.unwrap();
    assert_eq!(out.status.code(), Some(76), "{out:?}");

    // And none begins.
    let out = town.ssh(&["echo in"]).output().await.unwrap();
    assert_eq!((out.stdout.as_slice(), out.status.code()), (&b""[..], Some(76)), "{out:?}");
}

// covers: SES-3 (ssh)
#[tokio::test]
async fn nothing_is_forwarded_that_was_not_recorded() {
    let town = Town::open(everything()).await;
    let (mut ssh, _, mut output) = start(&town, &["-T"], "exec cat").await;
    let mut input = ssh.stdin.take().unwrap();
    let mut line = String::new();
    input.write_all(b"one\n").await.unwrap();
    output.read_line(&mut line).await.unwrap();
    assert_eq!(line, "one\n");
    // The recorder fails at the next frame only.
    town.gate.recorder_broken.store(true, Ordering::Release);
    input.write_all(b"two\n").await.unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    assert_eq!(town.gate.ended().await.end, EndReason::Recorder);
}

#[tokio::test]
async fn a_silent_session_ends_after_its_idle_time() {
    let town = Town::new(Setup { idle: Some(Span::seconds(1)), ..Setup::default() }).await;
    let (_ssh, pid, _output) = start(&town, &["-T"], "exec sleep 1000").await;
    dies(pid).await;
    assert_eq!(town.gate.ended().await.end, EndReason::Idle);
}

#[tokio::test]
async fn a_client_that_vanishes_and_a_target_that_vanishes_end_the_session() {
    let town = Town::open(everything()).await;
    let (mut ssh, _, _output) = start(&town, &["-T"], "exec sleep 5").await;
    ssh.start_kill().unwrap();
    assert_eq!(town.gate.ended().await.end, EndReason::Client);

    let town = Town::open(everything()).await;
    // The parent of what runs at the target is the server's process for this connection.
    let (mut ssh, _, _output) = start(&town, &["-T"], "read go; kill -9 $PPID; exec sleep 1").await;
    ssh.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    let out = ssh.wait_with_output().await.unwrap();
    assert_eq!(town.gate.ended().await.end, EndReason::Target);
    assert!(String::from_utf8_lossy(&out.stderr).contains("The target closed the connection."), "{out:?}");
}

// covers: GRANT-3 (ssh), D2 (ssh)
#[tokio::test]
async fn a_client_that_never_asks_for_anything_is_cut_too() {
    let town = Town::open(everything()).await;
    let control = town.path("control");
    let (first, _, _output) = start(&town, &["-T", "-M", "-S", control.to_str().unwrap()], "exec sleep 1000").await;
    // A second command over the same connection.
    let second = town.ssh_with(&["-S", control.to_str().unwrap()], &["echo $$; exec sleep 1000"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut second = second;
    let mut lines = BufReader::new(second.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).await.unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    town.gate.cut(EndReason::Locked);
    dies(pid).await;
    assert_eq!(town.gate.ended().await.end, EndReason::Locked);
    drop(first);
}

// covers: GRANT-3 (ssh), D2 (ssh)
#[tokio::test]
async fn what_runs_on_behind_a_closed_channel_is_gone_too_and_if_nobody_can_tell_that_is_said() {
    // A target that takes one session at a time has no place for the gate's own command.
    for (options, confirmed) in [(vec![], true), (vec!["MaxSessions 1".to_owned()], false)] {
        let town = Town::new(Setup { sshd: options, ..Setup::default() }).await;
        let ana = ana(&town).await;
        let mut channel = ana.channel_open_session().await.unwrap();
        channel.exec(true, "echo $$; trap '' HUP TERM PIPE; while :; do sleep 0.1; done").await.unwrap();
        let pid = said_id(&mut channel).await;
        channel.close().await.unwrap();
        // The gate has closed it at the target as well by then.
        while town.gate.activities("channel.closed").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(lives(pid));
        town.gate.cut(EndReason::Revoked);
        let closed = town.gate.ended().await;
        assert_eq!((closed.end, closed.confirmed), (EndReason::Revoked, confirmed));
        if confirmed {
            dies(pid).await;
        } else {
            assert!(lives(pid), "it was not confirmed, and rightly so");
            end_group(pid);
        }
    }
}

/// Not by kill(1): some take `-12345` for everybody (`-1`).
fn end_group(pid: u32) {
    let group = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
}

// covers: GRANT-3 (ssh), GRANT-7 (ssh), D2 (ssh)
#[tokio::test]
async fn a_daemon_goes_with_the_right_that_started_it_and_stays_where_its_user_only_left() {
    let town = Town::open(everything()).await;
    let mut staying = Vec::new();
    for (count, end, stays) in [
        (1, EndReason::Client, true),
        (2, EndReason::Idle, true),
        (3, EndReason::Revoked, false),
        (4, EndReason::Expired, false),
        (5, EndReason::Threshold, false),
    ] {
        let ana = ana(&town).await;
        // In a session of the system of its own; the command that started it has ended.
        let said = run(&ana, "setsid -f sh -c 'echo $$; exec sleep 1000 </dev/null >/dev/null 2>&1'").await;
        let pid: u32 = said.trim().parse().unwrap();
        assert!(lives(pid));
        match end {
            EndReason::Client => ana.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap(),
            end => town.gate.cut(end),
        }
        let closed = ends(&town, count).await.pop().unwrap();
        assert_eq!((closed.end, closed.confirmed, lives(pid)), (end, true, stays), "{closed:?}");
        staying.extend(stays.then_some(pid));
    }
    // Those of other sessions were left alone.
    for pid in staying {
        assert!(lives(pid));
        end_group(pid);
    }
}

// covers: GRANT-3 (ssh), D2 (ssh)
#[tokio::test]
async fn daemons_of_sessions_that_are_cut_together_all_go() {
    let town = Town::open(everything()).await;
    let (mut sessions, mut daemons) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let ana = ana(&town).await;
        let said = run(&ana, "setsid -f sh -c 'echo $$; exec sleep 1000 </dev/null >/dev/null 2>&1'").await;
        daemons.push(said.trim().parse::<u32>().unwrap());
        sessions.push(ana);
    }
    assert!(daemons.iter().all(|pid| lives(*pid)));
    town.gate.cut(EndReason::Revoked);
    for closed in ends(&town, 12).await {
        assert_eq!((closed.end, closed.confirmed), (EndReason::Revoked, true), "{closed:?}");
    }
    assert!(!daemons.iter().any(|pid| lives(*pid)));
}

/// Whether nothing more comes of a connection, however it was closed.
async fn is_over(mut connection: impl AsyncRead + Unpin) -> bool {
    let reading = async { while !matches!(connection.read(&mut [0; 1024]).await, Ok(0) | Err(_)) {} };
    tokio::time::timeout(Duration::from_secs(60), reading).await.is_ok()
}

/// Something gets through from one end to the other.
async fn passes(mut from: impl AsyncWrite + Unpin, mut to: impl AsyncRead + Unpin) {
    from.write_all(b"x").await.unwrap();
    to.read_exact(&mut [0; 1]).await.unwrap();
}

/// An agent that has no keys, until it is told to keep whoever asks for them waiting.
fn slow_agent(at: &Path) -> (Arc<AtomicBool>, mpsc::Receiver<UnixStream>) {
    let listener = UnixListener::bind(at).unwrap();
    let slow = Arc::new(AtomicBool::new(false));
    let (kept, waiting) = mpsc::channel(1);
    let is_slow = slow.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, is_slow.clone(), kept.clone()));
        }
    });
    (slow, waiting)
}

/// Requests as `PROTOCOL.agent` has them: which keys there are, and others.
async fn answer(mut stream: UnixStream, slow: Arc<AtomicBool>, kept: mpsc::Sender<UnixStream>) {
    while let Ok(length) = stream.read_u32().await {
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        match request[0] {
            11 if slow.load(Ordering::Acquire) => return kept.send(stream).await.unwrap(),
            11 => stream.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).await.unwrap(),
            _ => stream.write_all(&[0, 0, 0, 1, 5]).await.unwrap(),
        }
    }
}

// covers: GRANT-3 (ssh), D2 (ssh), F6 (ssh)
#[tokio::test]
async fn forwards_sockets_the_agent_and_transfers_are_cut_midway() {
    let town = Town::open(everything()).await;
    let (there, agent) = (town.target.dir().join("app.sock"), town.path("agent"));
    let local_socket = vec![there.to_str().unwrap().parse().unwrap()];
    town.gate.setup.lock().unwrap().rights = SshRights { local_socket, ..everything() };
    let (behind, here) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (at_socket, (slow, mut waiting)) = (UnixListener::bind(&there).unwrap(), slow_agent(&agent));
    let [local, socket, remote] = [free_port(), free_port(), free_port()];
    let port_of = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let mut ssh = tokio::process::Command::new("ssh")
        .args(town.options().into_iter().filter(|option| !option.contains("IdentityAgent")))
        .args(["-A", "-T", "-oExitOnForwardFailure=yes", "-p", &town.port.to_string()])
        .args(["-L", &format!("{local}:127.0.0.1:{}", port_of(&behind)), "-L", &format!("{socket}:{}", there.display())])
        .args(["-R", &format!("127.0.0.1:{remote}:127.0.0.1:{}", port_of(&here)), "db-1@127.0.0.1"])
        .arg("read go; exec ssh-add -L")
        .env("SSH_AUTH_SOCK", &agent)
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut forwarded, mut through, mut back) = (connect(local).await, connect(socket).await, connect(remote).await);
    let (mut at_behind, mut at_there, mut at_here) =
        (behind.accept().await.unwrap().0, at_socket.accept().await.unwrap().0, here.accept().await.unwrap().0);
    passes(&mut forwarded, &mut at_behind).await;
    passes(&mut through, &mut at_there).await;
    passes(&mut back, &mut at_here).await;
    slow.store(true, Ordering::Release);
    ssh.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    let asked = waiting.recv().await.unwrap();
    // A file on its way down, slowly enough to be still on its way.
    let (big, got) = (town.target.dir().join("big"), town.path("got"));
    std::fs::File::create(&big).unwrap().set_len(256 << 20).unwrap();
    let port = town.port.to_string();
    let mut sftp = town
        .tool("sftp", &["-l", "8000", "-b", "-", "-P", &port, "db-1@127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    sftp.stdin.take().unwrap().write_all(format!("get {} {}\n", big.display(), got.display()).as_bytes()).await.unwrap();
    let received = || std::fs::metadata(&got).map_or(0, |file| file.len());
    while received() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    town.gate.cut(EndReason::Revoked);
    for closed in ends(&town, 2).await {
        assert_eq!((closed.end, closed.confirmed), (EndReason::Revoked, true), "{closed:?}");
    }
    assert!(is_over(forwarded).await && is_over(at_behind).await, "a local forward goes on");
    assert!(is_over(through).await && is_over(at_there).await, "a forward to a socket goes on");
    assert!(is_over(back).await && is_over(at_here).await, "a remote forward goes on");
    assert!(is_over(asked).await, "the agent is still asked");
    let listens = async { while TcpStream::connect(("127.0.0.1", remote)).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(60), listens).await.expect("the target still listens");
    assert_eq!(ssh.wait().await.unwrap().code(), Some(76));
    assert!(!sftp.wait().await.unwrap().success());
    // What was received of the file, and that it was not all of it.
    assert!(received() < 256 << 20);
    let done: Vec<_> = town.gate.activities("sftp").into_iter().filter(|done| done["outcome"] != "under way").collect();
    let [opened, left] = &done[..] else { panic!("{done:?}") };
    assert_eq!((&opened["act"], &opened["outcome"]), (&"open for reading".into(), &"asked".into()));
    assert_eq!((&left["path"], &left["outcome"], &left["read"]["partial"]), (&opened["path"], &"unclosed".into(), &true.into()));
    assert!(left["read"]["bytes"].as_u64().unwrap() >= received(), "{left}");
}

// covers: SES-3 (ssh), F1 (ssh)
#[tokio::test]
async fn a_recording_that_cannot_be_closed_ends_its_session_as_that() {
    for (tape, end) in [(TapeFault::Nowhere, EndReason::Client), (TapeFault::NoClose, EndReason::Recorder)] {
        let town = Town::new(Setup { tape, ..Setup::default() }).await;
        let out = town.ssh(&["echo in"]).output().await.unwrap();
        assert_eq!((out.stdout.as_slice(), out.status.code()), (&b"in\n"[..], Some(0)), "{out:?}");
        let closed = town.gate.ended().await;
        assert_eq!((closed.end, closed.recording.is_some()), (end, tape == TapeFault::Nowhere));
    }
}
