//! Asking where one connects.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdout;

use tidegate_proxy::ssh::DoorLimits;

use crate::gate::{Policy, Setup};
use crate::town::Town;

async fn town() -> Town {
    Town::new(Setup { policy: Policy::NeedsBen, ..Setup::default() }).await
}

/// Reads what is shown until `text` appears in it.
pub(crate) async fn until(output: &mut ChildStdout, shown: &mut String, text: &str) {
    let reading = async {
        let mut block = [0; 1024];
        while !shown.contains(text) {
            let n = output.read(&mut block).await.unwrap();
            assert_ne!(n, 0, "never saw {text:?} in {shown:?}");
            shown.push_str(&String::from_utf8_lossy(&block[..n]));
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(60), reading).await;
    assert!(read.is_ok(), "never saw {text:?} in {shown:?}");
}

// covers: ASK-3 (ssh)
#[tokio::test]
async fn ana_asks_in_her_terminal_ben_approves_and_the_shell_opens() {
    let town = town().await;
    let mut ssh = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut shown = String::new();
    until(&mut output, &mut shown, "needs the agreement of 1 of dba").await;
    until(&mut output, &mut shown, "Reason: ").await;
    input.write_all(b"disk fulk\x7fl\r").await.unwrap();
    until(&mut output, &mut shown, "waits for approval.\r\nAsked: dba.").await;
    assert_eq!(town.gate.asked.borrow()[0].reason.as_deref(), Some("disk full"));
    town.gate.ben_approves();
    until(&mut output, &mut shown, "Ben approved: go ahead").await;
    until(&mut output, &mut shown, "Opening db-1").await;
    input.write_all(b"echo at work$((1+1)); exit\n").await.unwrap();
    until(&mut output, &mut shown, "at work2").await;
    assert!(ssh.wait().await.unwrap().success());
}

// covers: ASK-3 (ssh)
#[tokio::test]
async fn a_denial_is_said_in_the_terminal() {
    let town = town().await;
    let mut ssh =
        town.ssh_with(&["-tt", "-oSetEnv=TIDEGATE_REASON=why"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = ssh.stdout.take().unwrap();
    let mut shown = String::new();
    until(&mut output, &mut shown, "waits for approval").await;
    town.gate.ben_denies();
    until(&mut output, &mut shown, "Your request was denied").await;
    assert_eq!(ssh.wait().await.unwrap().code(), Some(77));
}

// covers: ASK-3 (ssh)
#[tokio::test]
async fn control_c_leaves_and_the_request_stands() {
    let town = town().await;
    let mut ssh =
        town.ssh_with(&["-tt", "-oSetEnv=TIDEGATE_REASON=why"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut shown = String::new();
    until(&mut output, &mut shown, "Ctrl-C leaves").await;
    input.write_all(b"\x03").await.unwrap();
    until(&mut output, &mut shown, "(req_").await;
    assert_eq!(ssh.wait().await.unwrap().code(), Some(75));
}

// covers: ASK-3 (ssh)
#[tokio::test]
async fn without_a_terminal_one_line_and_exit_75_then_through_when_approved() {
    let town = town().await;
    let out = town.ssh(&["echo in"]).output().await.unwrap();
    assert_eq!(out.status.code(), Some(77));
    assert!(String::from_utf8_lossy(&out.stderr).contains("This access needs a reason"), "{out:?}");
    let out = town.ssh_with(&["-oSetEnv=TIDEGATE_REASON=why"], &["echo in"]).output().await.unwrap();
    assert_eq!(out.status.code(), Some(75));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.lines().count() == 1 && said.contains("waits for approval") && said.contains("(req_"), "{said}");
    town.gate.ben_approves();
    assert_eq!(town.ssh(&["echo in"]).output().await.unwrap().stdout, b"in\n");
}

// covers: ASK-3 (ssh)
#[tokio::test]
async fn without_a_terminal_it_waits_when_told_to_and_loses_no_input() {
    let town = town().await;
    let mut ssh = town
        .ssh_with(&["-oSetEnv=TIDEGATE_REASON=why TIDEGATE_WAIT=1"], &["cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = ssh.stdin.take().unwrap();
    input.write_all(b"early bird").await.unwrap();
    drop(input);
    let mut asked = town.gate.asked.subscribe();
    asked.wait_for(|a| !a.is_empty()).await.unwrap();
    town.gate.ben_approves();
    let out = ssh.wait_with_output().await.unwrap();
    assert_eq!(out.stdout, b"early bird", "{out:?}");
}

// covers: E7 (ssh)
#[tokio::test]
async fn a_question_that_nobody_answers_keeps_no_connection() {
    let door = DoorLimits { answers: Duration::from_millis(300), ..DoorLimits::default() };
    let town = Town::new(Setup { policy: Policy::NeedsBen, door, ..Setup::default() }).await;
    let mut ssh = town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (_input, mut output) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
    let mut shown = String::new();
    until(&mut output, &mut shown, "Reason: ").await;
    until(&mut output, &mut shown, "nobody answered the question here").await;
    assert_eq!(ssh.wait().await.unwrap().code(), Some(77));
    assert!(town.gate.asked.borrow().is_empty());
}
