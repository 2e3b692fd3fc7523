//! While a target takes its time: whoever waits can leave, is heard, and keeps nothing else waiting.

use std::process::Stdio;
use std::time::Duration;

use access::session::EndReason;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::asking::until;
use crate::gate::everything;
use crate::hostile_clients::{ana, run};
use crate::town::Town;

/// In front of the target: whoever comes waits there until it is open.
struct Doorway {
    open: watch::Sender<bool>,
    came: watch::Receiver<usize>,
}

impl Doorway {
    async fn before(town: &Town) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), town.target.port());
        town.gate.setup.lock().unwrap().instead = Some((port, town.target.host_key().to_owned()));
        let (open, opened) = watch::channel(false);
        let (counter, came) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                counter.send_modify(|count| *count += 1);
                let mut opened = opened.clone();
                tokio::spawn(async move {
                    if opened.wait_for(|open| *open).await.is_ok() {
                        let mut to = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Self { open, came }
    }

    async fn comes(&self, count: usize) {
        let mut came = self.came.clone();
        tokio::time::timeout(Duration::from_secs(60), came.wait_for(|came| *came >= count)).await.expect("nobody dials").unwrap();
    }
}

// covers: ASK-3 (ssh), E7 (ssh)
#[tokio::test]
async fn somebody_at_a_terminal_leaves_with_control_c_while_the_target_is_dialled() {
    let town = Town::open(everything()).await;
    let doorway = Doorway::before(&town).await;
    let shell = || town.ssh_with(&["-tt"], &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // What is typed while it is dialled reaches the shell.
    let mut stays = shell();
    let (mut input, mut output) = (stays.stdin.take().unwrap(), stays.stdout.take().unwrap());
    let mut shown = String::new();
    doorway.comes(1).await;
    input.write_all(b"echo in$((40+2)); exit\n").await.unwrap();
    until(&mut output, &mut shown, "takes its time. Stay, or leave with Ctrl-C.").await;
    doorway.open.send_replace(true);
    until(&mut output, &mut shown, "in42").await;
    assert!(stays.wait().await.unwrap().success());

    doorway.open.send_replace(false);
    let mut leaves = shell();
    let (mut input, mut output) = (leaves.stdin.take().unwrap(), leaves.stdout.take().unwrap());
    doorway.comes(2).await;
    input.write_all(b"\x03").await.unwrap();
    until(&mut output, &mut shown, "you left before it opened").await;
    assert_eq!(leaves.wait().await.unwrap().code(), Some(77));
    let mut ended = town.gate.ended.subscribe();
    let ended = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|all| all.len() == 2)).await.unwrap().unwrap().clone();
    assert_eq!((ended[0].end, ended[1].end), (EndReason::Client, EndReason::Client));
}

// covers: E7 (ssh)
#[tokio::test]
async fn a_client_that_vanishes_while_its_target_is_dialled_ends_the_session() {
    let town = Town::open(everything()).await;
    let doorway = Doorway::before(&town).await;
    let mut ssh = town.ssh(&["echo in"]).spawn().unwrap();
    doorway.comes(1).await;
    ssh.kill().await.unwrap();
    let closed = town.gate.ended().await;
    assert_eq!((closed.end, closed.confirmed), (EndReason::Client, true));
    doorway.open.send_replace(true);
    assert_eq!(town.ssh(&["echo in"]).output().await.unwrap().stdout, b"in\n");
}

// covers: SSH-3 (ssh), E7 (ssh)
#[tokio::test]
async fn a_forward_that_waits_for_the_target_keeps_nothing_else_waiting() {
    let town = Town::open(everything()).await;
    let doorway = Doorway::before(&town).await;
    let ana = ana(&town).await;
    let asking = ana.tcpip_forward("127.0.0.1", 0);
    tokio::pin!(asking);
    let refused = async {
        doorway.comes(1).await;
        ana.channel_open_x11("127.0.0.1", 6000).await
    };
    tokio::select! {
        biased;
        port = &mut asking => panic!("the target is not there yet, and listens at {port:?}"),
        refused = refused => assert!(refused.is_err(), "what else is asked meanwhile has its answer"),
    }
    doorway.open.send_replace(true);
    let port = asking.await.unwrap();
    assert_ne!(port, 0);
    assert_eq!(run(&ana, "echo in").await, "in\n");
    assert!(ana.cancel_tcpip_forward("127.0.0.1", port).await.is_ok());
    assert_eq!(town.gate.standings.lock().unwrap().len(), 1, "one session");
}
