//! Targets that mean harm: servers made for these tests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use access::session::EndReason;
use russh::keys::PrivateKey;
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::gate::Setup;
use crate::hostile_clients::{ana, output, run};
use crate::town::Town;

/// What a target does when a command is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// Says `in` and ends it.
    Serve,
    /// Opens connections nobody asked for, without end.
    Forwards,
    /// Asks for the client's agent without end.
    Agents,
    /// Opens what no target may.
    Oddities,
    /// Runs for ever, takes no signals, and has much to do before it comes to the command that kills.
    Busy,
    /// Says `early` before it says that it has started, then as `Serve`; of a subsystem, something on its error stream.
    Early,
    /// Says nothing of what it starts but that it does not start `refused`; and has nothing to kill with.
    Silent,
}

#[derive(Clone)]
struct Target {
    deed: Deed,
    asked_to_listen: Arc<AtomicUsize>,
    /// The recorder of the gate, as it was when the target was asked.
    sessions: Arc<Mutex<Vec<ChannelId>>>,
    /// Commands that run.
    started: Arc<Semaphore>,
    /// How often it was told to kill, and when it comes to it.
    told_to_kill: Arc<AtomicUsize>,
    comes_to_it: Arc<Semaphore>,
}

impl Target {
    fn that(does: Deed) -> Self {
        Self {
            deed: does,
            asked_to_listen: Arc::default(),
            sessions: Arc::default(),
            started: Arc::new(Semaphore::new(0)),
            told_to_kill: Arc::default(),
            comes_to_it: Arc::new(Semaphore::new(0)),
        }
    }
}

impl server::Handler for Target {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        self.sessions.lock().unwrap().push(channel.id());
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        if self.deed == Deed::Silent {
            if command == b"refused" || String::from_utf8_lossy(command).contains("tidegate: none left") {
                return session.channel_failure(channel);
            }
            self.started.add_permits(1);
            return Ok(());
        }
        if self.deed == Deed::Early {
            session.data(channel, bytes::Bytes::from_static(b"early\n"))?;
        }
        session.channel_success(channel)?;
        let (handle, deed) = (session.handle(), self.deed);
        if deed == Deed::Busy {
            if !String::from_utf8_lossy(command).contains("tidegate: none left") {
                self.started.add_permits(1);
                return Ok(());
            }
            self.told_to_kill.fetch_add(1, Ordering::AcqRel);
            let comes_to_it = self.comes_to_it.clone();
            tokio::spawn(async move {
                let _now = comes_to_it.acquire().await;
                let _ = handle.data(channel, bytes::Bytes::from_static(b"tidegate: none left\n")).await;
                let _ = handle.close(channel).await;
            });
            return Ok(());
        }
        let serves = command == b"echo in" || matches!(deed, Deed::Serve | Deed::Early);
        tokio::spawn(async move {
            if serves {
                let _ = handle.data(channel, bytes::Bytes::from_static(b"in\n")).await;
                let _ = handle.exit_status_request(channel, 0).await;
                let _ = handle.close(channel).await;
                return;
            }
            for _ in 0..20_000 {
                let opened = match deed {
                    Deed::Forwards => handle.channel_open_forwarded_tcpip("127.0.0.1", 9, "\x1b[2J", 9).await,
                    Deed::Agents => handle.channel_open_agent().await,
                    Deed::Serve | Deed::Oddities | Deed::Busy | Deed::Early | Deed::Silent => handle.channel_open_session().await,
                };
                if matches!(opened, Err(russh::Error::SendError)) {
                    return;
                }
            }
        });
        Ok(())
    }

    async fn subsystem_request(&mut self, channel: ChannelId, _: &str, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_success(channel)?;
        session.extended_data(channel, 1, bytes::Bytes::from_static(b"disk quota exceeded\n"))?;
        session.close(channel)
    }

    async fn tcpip_forward(&mut self, _: &str, _: &mut u32, _: &mut Session) -> Result<bool, Self::Error> {
        self.asked_to_listen.fetch_add(1, Ordering::AcqRel);
        Ok(true)
    }
}

/// A gate in front of such a target; the count of remote forwards it was asked for.
async fn town(deed: Deed) -> (Town, Arc<AtomicUsize>) {
    let target = Target::that(deed);
    let asked = target.asked_to_listen.clone();
    (town_with(target).await, asked)
}

async fn town_with(target: Target) -> Town {
    let town = Town::new(Setup::default()).await;
    let host = testkit::sshd::keypair(town.dir.path(), "hostile").unwrap();
    let key = testkit::sshd::public_half(&host).unwrap();
    let config = Arc::new(server::Config {
        keys: vec![PrivateKey::read_openssh_file(&host).unwrap()],
        auth_rejection_time: Duration::ZERO,
        ..server::Config::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    town.gate.setup.lock().unwrap().instead = Some((listener.local_addr().unwrap().port(), key));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (config, target) = (config.clone(), target.clone());
            tokio::spawn(async move {
                if let Ok(session) = server::run_stream(config, stream, target).await {
                    let _ = session.await;
                }
            });
        }
    });
    town
}

// covers: D2 (ssh), GRANT-3 (ssh)
#[tokio::test]
async fn a_target_that_is_busy_has_its_time_to_kill_and_the_client_does_not_wait_for_it() {
    let target = Target::that(Deed::Busy);
    let town = town_with(target.clone()).await;
    let ana = ana(&town).await;
    let channel = ana.channel_open_session().await.unwrap();
    channel.exec(true, "runs for ever").await.unwrap();
    let mut ended = town.gate.ended.subscribe();
    target.started.acquire().await.unwrap().forget();
    town.gate.cut(EndReason::Revoked);
    tokio::time::timeout(Duration::from_secs(60), ana).await.expect("the client waits for the target").ok();
    assert!(ended.borrow_and_update().is_empty(), "the target was left alone");
    target.comes_to_it.add_permits(1);
    let closed = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|e| !e.is_empty())).await.unwrap().unwrap()[0].clone();
    assert!(closed.confirmed && closed.end == EndReason::Revoked, "{closed:?}");
    // Once to kill what it runs, once to look for what left that.
    assert_eq!(target.told_to_kill.load(Ordering::Acquire), 2);
}

// covers: D2 (ssh), GRANT-3 (ssh)
#[tokio::test]
async fn what_may_have_been_started_is_not_said_to_be_gone() {
    for (command, confirmed) in [("refused", true), ("runs for ever", false)] {
        let target = Target::that(Deed::Silent);
        let town = town_with(target.clone()).await;
        let ana = ana(&town).await;
        let mut channel = ana.channel_open_session().await.unwrap();
        channel.exec(true, command).await.unwrap();
        if !confirmed {
            // It was sent, and she is shown out before the target says a word of it.
            target.started.acquire().await.unwrap().forget();
            for _ in 0..300 {
                channel.signal(russh::Sig::USR1).await.unwrap();
            }
        }
        let told = async { while channel.wait().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), told).await.expect("the channel does not end");
        let mut ended = town.gate.ended.subscribe();
        town.gate.cut(EndReason::Revoked);
        let closed = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|e| !e.is_empty())).await.unwrap().unwrap()[0].clone();
        assert_eq!((closed.confirmed, closed.end), (confirmed, EndReason::Revoked), "{command}: {closed:?}");
    }
}

// covers: E6 (ssh), E7 (ssh), B1 (ssh)
#[tokio::test]
async fn a_target_that_floods_is_cut_off_with_one_entry() {
    let (good, _) = town(Deed::Serve).await;
    assert_eq!(run(&ana(&good).await, "anything").await, "in\n");
    for (deed, what) in [(Deed::Forwards, "forwarded_tcpip"), (Deed::Agents, "agent_forward"), (Deed::Oddities, "target_channel")] {
        let (town, _) = town(deed).await;
        let ana = ana(&town).await;
        let held = ana.channel_open_session().await.unwrap();
        let begun = Instant::now();
        held.exec(true, "do harm").await.unwrap();
        let mut ended = town.gate.ended.subscribe();
        let closed = tokio::time::timeout(Duration::from_secs(60), ended.wait_for(|e| !e.is_empty())).await;
        assert_eq!(closed.expect("the flood goes on").unwrap()[0].end, EndReason::Error, "{deed:?}");
        let refused = town.gate.refused.borrow().clone();
        let times = |what: &str| refused.iter().filter(|r| r.what == what).count();
        // 64 at once, and one for each tenth of a second that the flood takes.
        let tenths = usize::try_from(begun.elapsed().as_millis() / 100).unwrap();
        assert!((1..=64 + tenths).contains(&times(what)), "{deed:?}: {} in {tenths} tenths", times(what));
        assert_eq!((times("flood"), times("refusals")), (1, 1), "{deed:?}");
        drop(ana);
    }
}

// covers: SSH-1 (ssh), F6 (ssh)
#[tokio::test]
async fn what_a_target_says_early_or_beside_a_subsystem_arrives_and_is_recorded() {
    let (town, _) = town(Deed::Early).await;
    let ana = ana(&town).await;
    assert_eq!(run(&ana, "anything").await, "early\nin\n");
    assert_eq!(town.gate.output(), "early\nin\n");
    let channel = ana.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    assert_eq!(output(channel).await, "disk quota exceeded\n");
    assert_eq!(town.gate.errors(), "disk quota exceeded\n");
}

// covers: SES-3 (ssh), F6 (ssh)
#[tokio::test]
async fn what_cannot_be_recorded_is_not_asked_of_the_target() {
    let (good, asked) = town(Deed::Serve).await;
    let ana_ = ana(&good).await;
    assert!(ana_.tcpip_forward("127.0.0.1", 4000).await.is_ok());
    assert_eq!(asked.load(Ordering::Acquire), 1);
    // The recorder takes nothing more, and nobody has noticed yet.
    good.gate.recorder_broken.store(true, Ordering::Release);
    assert!(ana_.tcpip_forward("127.0.0.1", 4001).await.is_err());
    assert_eq!(asked.load(Ordering::Acquire), 1, "the target was asked to listen, and nothing says so");
    assert_eq!(good.gate.ended().await.end, EndReason::Recorder);
}
