//! A session ends when its permit does: measured at the target.

use std::process::Stdio;
use std::time::{Duration, Instant};

use access::session::{EndReason, Standing};
use access::time::Span;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Child;

use crate::gate::{Setup, Town, everything};
use crate::hostile_clients::{ana, run};

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

fn lives(pid: u32) -> bool {
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
    let said = run(&ana, "echo in; sleep 0.1").await;
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
    town.gate.recorder_broken.store(true, std::sync::atomic::Ordering::Release);
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
        let pid: u32 = loop {
            if let Some(russh::ChannelMsg::Data { data }) = channel.wait().await {
                break String::from_utf8_lossy(&data).trim().parse().unwrap();
            }
        };
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
            // Not by kill(1): some take `-12345` for everybody (`-1`).
            let group = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        }
    }
}
