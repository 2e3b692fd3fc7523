//! Under strain: memory stays flat, and nobody else notices.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use access::rights::SshRights;
use access::session::EndReason;

use crate::cuts::{ends, lives, said_id};
use crate::gate::{Setup, everything};
use crate::hostile_clients::ana;
use crate::refusals::sftp;
use crate::tape::TapeFault;
use crate::town::Town;

/// Set in a process that runs one test.
const ALONE: &str = "TIDEGATE_TEST_ALONE";

/// Resident memory of this process, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// covers: SSH-3 (ssh)
#[tokio::test]
async fn memory_stays_flat_when_one_side_reads_nothing() {
    // What is measured is the memory of a process, in which other tests run: so it has one of its own.
    if std::env::var_os(ALONE).is_none() {
        let mut alone = tokio::process::Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "strain::memory_stays_flat_when_one_side_reads_nothing"]).env(ALONE, "1").kill_on_drop(true);
        let out = alone.output().await.unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
    assert!(town.ssh(&["head -c 10000000 /dev/zero"]).output().await.unwrap().status.success());
    let before = memory();
    // Towards a target that reads nothing …
    let mut up = town.ssh(&["exec sleep 1000"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = up.stdin.take().unwrap();
    let pushing = tokio::spawn(async move {
        let block = vec![0u8; 1 << 16];
        let mut pushed = 0usize;
        while input.write_all(&block).await.is_ok() {
            pushed += block.len();
            if pushed > 1 << 30 {
                break;
            }
        }
        pushed
    });
    // … and towards a client that reads nothing.
    let down = town.ssh(&["exec cat /dev/zero"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut most = 0;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(memory());
    }
    assert!(!pushing.is_finished(), "the client is held back");
    let grown = most.saturating_sub(before);
    assert!(grown < 40 * 1024, "memory grew by {grown} KiB");
    // Somebody else works on meanwhile.
    let out = tokio::time::timeout(Duration::from_secs(60), town.ssh(&["echo in"]).output()).await.unwrap().unwrap();
    assert_eq!(out.stdout, b"in\n");
    drop((up, down));
}

// covers: GRANT-3 (ssh), D2 (ssh)
#[tokio::test]
async fn a_hundred_sessions_that_are_cut_at_once_are_all_seen_gone_at_the_target() {
    const MANY: usize = 100;
    let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
    let (mut held, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..MANY {
        let ana = ana(&town).await;
        let mut channel = ana.channel_open_session().await.unwrap();
        channel.exec(true, "echo $$; exec sleep 1000").await.unwrap();
        ids.push(said_id(&mut channel).await);
        held.push((ana, channel));
    }
    assert!(ids.iter().all(|id| lives(*id)));
    town.gate.cut(EndReason::Revoked);
    let closed = ends(&town, MANY).await;
    assert!(closed.iter().all(|closed| closed.end == EndReason::Revoked && closed.confirmed), "{closed:?}");
    assert!(!ids.iter().any(|id| lives(*id)), "confirmed, and still there");
}

// covers: E8 (ssh)
#[tokio::test]
async fn a_fault_in_one_session_ends_that_session_only() {
    let town = Town::open(SshRights { local_forward: Vec::new(), ..everything() }).await;
    let other = town.ssh(&["read line; echo $line"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut other = other.unwrap();
    let mut first = town.gate.ended.subscribe();
    first.borrow_and_update();
    // The double's faulty part: reporting a refusal panics.
    town.gate.setup.lock().unwrap().faulty = true;
    let out = town.ssh_with(&["-W", "127.0.0.1:9"], &[]).output().await.unwrap();
    assert!(!out.status.success());
    assert_eq!(town.gate.ended().await.end, EndReason::Error);
    other.stdin.take().unwrap().write_all(b"still here\n").await.unwrap();
    assert_eq!(other.wait_with_output().await.unwrap().stdout, b"still here\n");
}

// covers: E8 (ssh)
#[tokio::test]
async fn a_recorder_that_panics_ends_its_session_and_the_end_is_entered() {
    for (fault, closes, end) in [
        (TapeFault::Nowhere, 1, EndReason::Client),
        (TapeFault::Record, 1, EndReason::Error),
        (TapeFault::Failed, 1, EndReason::Error),
        (TapeFault::Close, 0, EndReason::Error),
    ] {
        let town = Town::open(everything()).await;
        let mut other = town.ssh(&["read line; echo $line"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        while town.gate.activities("exec").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        town.gate.setup.lock().unwrap().tape = fault;
        let mut faulty = town.ssh(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        while town.gate.activities("exec").len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match fault {
            TapeFault::Failed => town.gate.break_recorder_of_the_last(),
            _ => faulty.stdin.take().unwrap().write_all(b"no fault here\n").await.unwrap(),
        }
        let closed = town.gate.ended().await;
        assert_eq!((closed.end, town.gate.ended.borrow().len()), (end, 1), "{fault:?}");
        assert_eq!(town.gate.tapes_closed.load(std::sync::atomic::Ordering::Acquire), closes, "{fault:?}");
        assert_eq!(closed.recording.is_some(), closes == 1, "{fault:?}");
        other.stdin.take().unwrap().write_all(b"still here\n").await.unwrap();
        assert_eq!(other.wait_with_output().await.unwrap().stdout, b"still here\n", "{fault:?}");
    }
}

// covers: F2 (ssh)
#[tokio::test]
async fn a_long_command_and_a_thousand_acts_on_files_are_recorded_whole_and_each() {
    let town = Town::open(everything()).await;
    let long = format!("echo {} | wc -c", "a".repeat(100_000));
    let out = town.ssh(&[&long]).output().await.unwrap();
    assert_eq!(out.stdout, b"100001\n", "{}", String::from_utf8_lossy(&out.stderr));
    assert!(town.gate.activities("exec")[0]["command"] == long.as_str(), "it is recorded otherwise than it ran");
    let made: Vec<String> = (0..1_000).map(|n| town.target.dir().join(format!("made-{n}")).display().to_string()).collect();
    let batch: String = made.iter().map(|path| format!("mkdir {path}\n")).collect();
    let out = sftp(&town, &batch).await;
    assert!(out.status.success(), "{out:?}");
    let acts = town.gate.activities("sftp");
    let done = acts.iter().filter(|act| act["act"] == "mkdir" && act["outcome"] == "ok").map(|act| act["path"].as_str().unwrap());
    assert!(done.eq(made.iter().map(String::as_str)), "not each of them is recorded, in order");
}
