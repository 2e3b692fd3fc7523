//! The relay of one channel: two directions that never wait for each other, each recorded before it is forwarded.
//!
//! A side may send as much as its window allows, and its window only grows by what was forwarded. So what waits in memory is bounded,
//! a side that reads nothing stops just the direction towards it, and a full direction never keeps the other from being read.

use std::time::Duration;

use access::session::EndReason;
use bytes::Bytes;
use evidence::recording::Direction;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client, server};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::door::WINDOW;
use super::lane::{Lane, Stopped, Stream};
use super::session::{Live, Notice};
use super::text;

/// A channel of the client, split so that both directions are independent.
pub(crate) struct ClientSide {
    pub(crate) rx: ChannelReadHalf,
    pub(crate) tx: ChannelWriteHalf<server::Msg>,
}

/// A channel of the target.
pub(crate) struct TargetSide {
    pub(crate) rx: ChannelReadHalf,
    pub(crate) tx: ChannelWriteHalf<client::Msg>,
}

/// How a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed the channel, or left.
    Client,
    /// The target did.
    Target,
    /// The session is over.
    Cut(EndReason),
}

/// Widens a window in steps, not byte by byte.
struct Allowance(u32);

impl Allowance {
    const STEP: u32 = WINDOW / 8;

    /// What to grant now that `bytes` more were forwarded.
    fn spend(&mut self, bytes: usize) -> Option<u32> {
        self.0 = self.0.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        (self.0 >= Self::STEP).then(|| std::mem::take(&mut self.0))
    }
}

/// Relays until one side closes or the session is cut. `early` is what the client sent before the target was there.
pub(crate) async fn relay(live: &Live, lane: &Lane, client: &mut ClientSide, target: &mut TargetSide, early: Vec<ChannelMsg>) -> Ended {
    let mut cut = live.notices();
    let (injector, injected) = mpsc::channel(64);
    let up = up(live, lane, &mut client.rx, &client.tx, &target.tx, early, injector);
    let down = down(live, lane, &mut target.rx, &target.tx, &client.tx, injected);
    tokio::select! {
        biased;
        end = until_cut(&mut cut) => Ended::Cut(end),
        () = up => Ended::Client,
        () = down => Ended::Target,
    }
}

/// Resolves when the session is over.
pub(crate) async fn until_cut(notices: &mut watch::Receiver<Notice>) -> EndReason {
    loop {
        if let Notice::Cut(end) = *notices.borrow_and_update() {
            return end;
        }
        if notices.changed().await.is_err() {
            return EndReason::Error;
        }
    }
}

/// From the client to the target, until the client closes.
async fn up(
    live: &Live,
    lane: &Lane,
    rx: &mut ChannelReadHalf,
    client: &ChannelWriteHalf<server::Msg>,
    target: &ChannelWriteHalf<client::Msg>,
    early: Vec<ChannelMsg>,
    injector: mpsc::Sender<Bytes>,
) {
    let mut early = early.into_iter();
    let mut allowance = Allowance(0);
    loop {
        let message = match early.next() {
            Some(message) => message,
            None => match rx.wait().await {
                Some(message) => message,
                None => return,
            },
        };
        let sent = match message {
            ChannelMsg::Data { data } => {
                let length = data.len();
                let passed = match lane.take(live, Stream::In, data).await {
                    Ok(passed) => passed,
                    Err(Stopped) => return std::future::pending().await,
                };
                for reply in passed.back {
                    // The down direction sends it, between two packets of the target.
                    if injector.send(reply).await.is_err() {
                        return;
                    }
                }
                let mut sent = Ok(());
                for bytes in passed.on {
                    sent = target.data_bytes(bytes).await;
                    if sent.is_err() {
                        break;
                    }
                }
                live.moved(Direction::Input, length);
                if let Some(more) = allowance.spend(length) {
                    let _ = client.grant_window(more).await;
                }
                sent
            }
            ChannelMsg::Eof => target.eof().await,
            ChannelMsg::Signal { signal } => target.signal(signal).await,
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                if lane.resized(live, col_width, row_height).await.is_err() {
                    return std::future::pending().await;
                }
                target.window_change(col_width, row_height, pix_width, pix_height).await
            }
            ChannelMsg::Close => return,
            // Requests for a channel that runs already were refused where they arrived; extended data has no meaning in this direction.
            _ => Ok(()),
        };
        if sent.is_err() {
            // The target's connection is gone; the other direction, or the session, says so.
            return std::future::pending().await;
        }
    }
}

/// From the target to the client, until the target closes. Also the only one that writes to the client, so that nothing stands in the
/// middle of something else.
async fn down(
    live: &Live,
    lane: &Lane,
    rx: &mut ChannelReadHalf,
    target: &ChannelWriteHalf<client::Msg>,
    client: &ChannelWriteHalf<server::Msg>,
    mut injected: mpsc::Receiver<Bytes>,
) {
    let mut notices = live.notices();
    let mut allowance = Allowance(0);
    loop {
        let message = tokio::select! {
            message = rx.wait() => match message {
                Some(message) => message,
                None => return,
            },
            Some(reply) = injected.recv() => {
                for bytes in lane.inject(reply) {
                    let _ = client.data_bytes(bytes).await;
                }
                continue;
            }
            Ok(()) = notices.changed() => {
                let notice = notices.borrow_and_update().clone();
                if let Notice::Say(text) = notice && say(live, lane, client, &text).await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            }
        };
        match message {
            ChannelMsg::Data { data } => {
                let length = data.len();
                let passed = match lane.take(live, Stream::Out, data).await {
                    Ok(passed) => passed,
                    Err(Stopped) => return std::future::pending().await,
                };
                for bytes in passed.on {
                    let _ = client.data_bytes(bytes).await;
                }
                live.moved(Direction::Output, length);
                if let Some(more) = allowance.spend(length) {
                    let _ = target.grant_window(more).await;
                }
            }
            ChannelMsg::ExtendedData { data, ext } => {
                let length = data.len();
                let passed = match lane.take(live, Stream::Err, data).await {
                    Ok(passed) => passed,
                    Err(Stopped) => return std::future::pending().await,
                };
                for bytes in passed.on {
                    let _ = client.extended_data_bytes(ext, bytes).await;
                }
                live.moved(Direction::Output, length);
                if let Some(more) = allowance.spend(length) {
                    let _ = target.grant_window(more).await;
                }
            }
            ChannelMsg::Eof => {
                let _ = client.eof().await;
            }
            ChannelMsg::ExitStatus { exit_status } => {
                lane.exited(serde_json::json!({"status": exit_status}));
                let _ = client.exit_status(exit_status).await;
            }
            ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, lang_tag } => {
                lane.exited(serde_json::json!({"signal": format!("{signal_name:?}")}));
                let _ = lane.client.exit_signal_request(client.id(), signal_name, core_dumped, error_message, lang_tag).await;
            }
            ChannelMsg::XonXoff { client_can_do } => {
                let _ = lane.client.xon_xoff_request(client.id(), client_can_do).await;
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}

/// Shows a line of the gate's own, recorded like everything else that is shown.
pub(crate) async fn say(live: &Live, lane: &Lane, client: &ChannelWriteHalf<server::Msg>, line: &str) -> Result<(), Stopped> {
    let line = text::inert(line, 1024);
    if lane.is_terminal() {
        let bytes = Bytes::from(format!("\r\n*** {line}\r\n"));
        lane.shown(live, Stream::Out, bytes.clone()).await?;
        let _ = client.data_bytes(bytes).await;
    } else if lane.has_error_stream() {
        let bytes = Bytes::from(format!("tidegate: {line}\n"));
        lane.shown(live, Stream::Err, bytes.clone()).await?;
        let _ = client.extended_data_bytes(1, bytes).await;
    }
    Ok(())
}

/// Tells a target's process to stop, as hard as it takes, and closes its channel.
pub(crate) async fn stop(live: &Live, target: &mut TargetSide) {
    const PATIENCE: Duration = Duration::from_millis(150);
    for signal in [Sig::HUP, Sig::TERM] {
        let _ = target.tx.signal(signal).await;
    }
    if timeout(PATIENCE, closes(&mut target.rx)).await.is_err() {
        let _ = target.tx.signal(Sig::KILL).await;
        // OpenSSH passes no signals on for logins of root, and other servers for none.
        if timeout(PATIENCE, closes(&mut target.rx)).await.is_err() {
            live.target.kill_processes().await;
            let _ = timeout(PATIENCE, closes(&mut target.rx)).await;
        }
    }
    let _ = target.tx.eof().await;
    let _ = target.tx.close().await;
}

async fn closes(rx: &mut ChannelReadHalf) {
    while let Some(message) = rx.wait().await {
        if matches!(message, ChannelMsg::Close | ChannelMsg::ExitStatus { .. } | ChannelMsg::ExitSignal { .. }) {
            return;
        }
    }
}
