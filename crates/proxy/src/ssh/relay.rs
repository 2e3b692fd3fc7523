//! The relay of one channel: two directions that never wait for each other, each recorded before it is forwarded.
//!
//! A side may send as much as its window allows, and its window only grows by what was forwarded. So what waits in memory is bounded,
//! a side that reads nothing stops just the direction towards it, and a full direction never keeps the other from being read.
//!
//! How a program ended reaches the client before the end of what it said, and the recording also when the client closes the channel first
//! and stays connected. Whoever disconnects ends the session: then nobody waits for it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use access::session::EndReason;
use bytes::Bytes;
use evidence::recording::Direction;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client, server};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::backlog::{Backlog, TooMuch};
use super::door::WINDOW;
use super::lane::{Lane, Stopped, Stream};
use super::live::{Live, Notice};
use super::text;
use super::turns::Stopping;

/// A channel of the client, split so that both directions are independent.
pub(crate) struct ClientSide {
    pub(crate) rx: ChannelReadHalf,
    pub(crate) tx: ChannelWriteHalf<server::Msg>,
}

/// A channel of the target.
pub(crate) struct TargetSide {
    pub(crate) rx: ChannelReadHalf,
    /// Shared with those who join.
    pub(crate) tx: Arc<ChannelWriteHalf<client::Msg>>,
    /// What it sent before it said that it had started.
    pub(crate) early: Backlog,
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

/// How long it is waited at most for how a program ended, once one side has said all: the client that closed, or the program itself.
///
/// Some clients (`plink`, `dbclient`) close as soon as nothing more is said, and hear no status after that. Servers say first that the
/// output is closed and then how the program ended; RFC 4254 section 6.10 asks for no order.
const LAST_WORD: Duration = Duration::from_secs(2);

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
pub(crate) async fn relay(live: &Live, lane: &Lane, client: &mut ClientSide, target: &mut TargetSide, early: Backlog) -> Ended {
    let mut cut = live.notices();
    let (injector, injected) = mpsc::channel(64);
    let up = Up { live, lane, client: &client.tx, target: &target.tx, injector, allowance: Allowance(0) };
    let down = Down { live, lane, client: &client.tx, target: &target.tx, allowance: Allowance(0), eof_due: None };
    let ended = tokio::select! {
        biased;
        end = until_cut(&mut cut) => Ended::Cut(end),
        () = up.run(&mut client.rx, early) => Ended::Client,
        () = down.run(&mut target.rx, &mut target.early, injected) => Ended::Target,
    };
    // A terminal that is closed is hung up at once.
    if ended == Ended::Client && lane.waits_for_exit() && !lane.is_terminal() {
        let last_word = async {
            let _ = target.tx.eof().await;
            ends(live, lane, target).await;
        };
        tokio::select! {
            biased;
            end = until_cut(&mut cut) => return Ended::Cut(end),
            _ = timeout(LAST_WORD, last_word) => {}
        }
    }
    ended
}

/// Does something while what a side sends meanwhile is kept, so that the connection it comes over is read on.
///
/// # Errors
/// It sent more than anybody means to.
pub(crate) async fn while_reading<T>(rx: &mut ChannelReadHalf, backlog: &mut Backlog, work: impl Future<Output = T>) -> Result<T, TooMuch> {
    let mut work = std::pin::pin!(work);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            message = rx.wait(), if open => match message {
                Some(message) => backlog.push(message)?,
                None => open = false,
            },
        }
    }
}

/// The next message: of those kept, first. Nothing is lost if it is given up.
async fn next(rx: &mut ChannelReadHalf, backlog: &mut Backlog) -> Option<ChannelMsg> {
    match backlog.pop() {
        Some(message) => Some(message),
        None => rx.wait().await,
    }
}

/// What comes after one message was passed on.
enum Then {
    Next,
    /// The side that sent it closed the channel.
    Closed,
    /// Nothing more may be passed on; the session, or the other direction, says so.
    Stop,
}

impl From<Stopped> for Then {
    fn from(_: Stopped) -> Self {
        Self::Stop
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

/// From the client to the target.
struct Up<'a> {
    live: &'a Live,
    lane: &'a Lane,
    client: &'a ChannelWriteHalf<server::Msg>,
    target: &'a ChannelWriteHalf<client::Msg>,
    /// Replies of the gate's own go through the down direction.
    injector: mpsc::Sender<Bytes>,
    allowance: Allowance,
}

impl Up<'_> {
    /// Until the client closes.
    async fn run(mut self, rx: &mut ChannelReadHalf, mut backlog: Backlog) {
        while let Some(message) = next(rx, &mut backlog).await {
            match while_reading(rx, &mut backlog, self.pass(message)).await {
                Ok(Then::Next) => {}
                Ok(Then::Closed) => return,
                Ok(Then::Stop) => return std::future::pending().await,
                Err(much) => {
                    self.live.fail(format!("This session was closed: {much}."));
                    return std::future::pending().await;
                }
            }
        }
    }

    async fn pass(&mut self, message: ChannelMsg) -> Then {
        let (live, lane, target) = (self.live, self.lane, self.target);
        let sent = match message {
            ChannelMsg::Data { data } => {
                let length = data.len();
                let passed = match lane.take(live, Stream::In, data).await {
                    Ok(passed) => passed,
                    Err(stopped) => return stopped.into(),
                };
                for reply in passed.back {
                    // The down direction sends it, between two packets of the target.
                    if self.injector.send(reply).await.is_err() {
                        return Then::Stop;
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
                if let Some(more) = self.allowance.spend(length) {
                    let _ = self.client.grant_window(more).await;
                }
                sent
            }
            ChannelMsg::Eof => target.eof().await,
            ChannelMsg::Signal { signal } => {
                let noted =
                    live.note(lane.number, serde_json::json!({"kind": "signal", "signal": text::inert(&format!("{signal:?}"), 64)})).await;
                if noted.is_err() {
                    return Then::Stop;
                }
                target.signal(signal).await
            }
            ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height } => {
                if let Err(stopped) = lane.resized(live, col_width, row_height).await {
                    return stopped.into();
                }
                target.window_change(col_width, row_height, pix_width, pix_height).await
            }
            ChannelMsg::Close => return Then::Closed,
            // Requests for a channel that runs already were refused where they arrived; extended data has no meaning in this direction.
            _ => Ok(()),
        };
        // If the target's connection is gone, the other direction or the session says so.
        if sent.is_err() { Then::Stop } else { Then::Next }
    }
}

/// From the target to the client. Also the only one that writes to the client, so that nothing stands in the middle of something else.
struct Down<'a> {
    live: &'a Live,
    lane: &'a Lane,
    client: &'a ChannelWriteHalf<server::Msg>,
    target: &'a ChannelWriteHalf<client::Msg>,
    allowance: Allowance,
    /// When the client hears that nothing more is said, if the target said so and not yet how its program ended.
    eof_due: Option<Instant>,
}

impl Down<'_> {
    /// Until the target closes.
    async fn run(mut self, rx: &mut ChannelReadHalf, backlog: &mut Backlog, mut injected: mpsc::Receiver<Bytes>) {
        let mut notices = self.live.notices();
        // What begins when the end is near is told so as well, whatever else was said since.
        let mut warning = self.live.warning();
        loop {
            let done = if let Some(warning) = warning.take() {
                while_reading(rx, backlog, self.notify(Notice::Say(warning))).await
            } else {
                let eof_due = self.eof_due;
                tokio::select! {
                    message = next(rx, backlog) => match message {
                        Some(message) => while_reading(rx, backlog, self.pass(message)).await,
                        None => return,
                    },
                    Some(reply) = injected.recv() => while_reading(rx, backlog, self.inject(reply)).await,
                    () = at(eof_due) => while_reading(rx, backlog, self.eof()).await.map(|()| Then::Next),
                    Ok(()) = notices.changed() => {
                        let notice = notices.borrow_and_update().clone();
                        while_reading(rx, backlog, self.notify(notice)).await
                    }
                }
            };
            match done {
                Ok(Then::Next) => {}
                Ok(Then::Closed) => return,
                Ok(Then::Stop) => return std::future::pending().await,
                Err(much) => {
                    self.live.fail(format!("This session was closed: {much}."));
                    return std::future::pending().await;
                }
            }
        }
    }

    async fn inject(&mut self, reply: Bytes) -> Then {
        for bytes in self.lane.inject(reply) {
            let _ = self.client.data_bytes(bytes).await;
        }
        Then::Next
    }

    async fn notify(&mut self, notice: Notice) -> Then {
        match notice {
            Notice::Say(text) => say(self.live, self.lane, self.client, &text).await.map_or_else(Then::from, |()| Then::Next),
            _ => Then::Next,
        }
    }

    async fn pass(&mut self, message: ChannelMsg) -> Then {
        let (live, lane, client) = (self.live, self.lane, self.client);
        match message {
            ChannelMsg::Data { data } => return self.output(Stream::Out, data).await,
            ChannelMsg::ExtendedData { data, ext: 1 } => return self.output(Stream::Err, data).await,
            ChannelMsg::Eof if lane.waits_for_exit() => self.eof_due = Some(Instant::now() + LAST_WORD),
            ChannelMsg::Eof => {
                let _ = client.eof().await;
            }
            ChannelMsg::ExitStatus { exit_status } => {
                lane.exited(live, serde_json::json!({"status": exit_status}));
                let _ = client.exit_status(exit_status).await;
                self.eof().await;
            }
            ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, lang_tag } => {
                lane.exited(live, serde_json::json!({"signal": format!("{signal_name:?}")}));
                let (error_message, lang_tag) = (text::inert(&error_message, 255), text::inert(&lang_tag, 32));
                let _ = lane.client.exit_signal_request(client.id(), signal_name, core_dumped, error_message, lang_tag).await;
                self.eof().await;
            }
            ChannelMsg::XonXoff { client_can_do } => {
                let _ = lane.client.xon_xoff_request(client.id(), client_can_do).await;
            }
            ChannelMsg::Close => {
                self.eof().await;
                return Then::Closed;
            }
            // Extended data other than standard error is not defined (RFC 4254 section 5.2).
            _ => {}
        }
        Then::Next
    }

    /// Tells the client that nothing more is said, if that is still to be told.
    async fn eof(&mut self) {
        if self.eof_due.take().is_some() {
            let _ = self.client.eof().await;
        }
    }

    async fn output(&mut self, stream: Stream, data: Bytes) -> Then {
        let length = data.len();
        let passed = match self.lane.take(self.live, stream, data).await {
            Ok(passed) => passed,
            Err(stopped) => return stopped.into(),
        };
        for bytes in passed.on {
            if let Some(stage) = self.lane.stage() {
                stage.show(&bytes);
            }
            let _ = match stream {
                Stream::Err => self.client.extended_data_bytes(1, bytes).await,
                Stream::In | Stream::Out => self.client.data_bytes(bytes).await,
            };
        }
        self.live.moved(Direction::Output, length);
        if let Some(more) = self.allowance.spend(length) {
            let _ = self.target.grant_window(more).await;
        }
        Then::Next
    }
}

/// Resolves at that time, if there is one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Shows a line (or a few) of the gate's own, recorded like everything else that is shown.
pub(crate) async fn say(live: &Live, lane: &Lane, client: &ChannelWriteHalf<server::Msg>, line: &str) -> Result<(), Stopped> {
    let lines: Vec<String> = line.lines().map(|line| text::inert(line, 1024)).collect();
    if lane.is_terminal() {
        let bytes = Bytes::from(format!("\r\n*** {}\r\n", lines.join("\r\n*** ")));
        lane.shown(live, Stream::Out, bytes.clone()).await?;
        let _ = client.data_bytes(bytes).await;
    } else if lane.has_error_stream() {
        let bytes = Bytes::from(format!("tidegate: {}\n", lines.join("\ntidegate: ")));
        lane.shown(live, Stream::Err, bytes.clone()).await?;
        let _ = client.extended_data_bytes(1, bytes).await;
    }
    Ok(())
}

/// Tells a target's process to stop, as hard as it takes, and closes its channel. It is told by signals as long as `stopping` lives.
pub(crate) async fn stop(live: &Live, lane: &Lane, target: &mut TargetSide, stopping: Stopping<'_>) {
    const PATIENCE: Duration = Duration::from_millis(150);
    for signal in [Sig::HUP, Sig::TERM] {
        let _ = target.tx.signal(signal).await;
    }
    let ended = timeout(PATIENCE, ends(live, lane, target)).await;
    drop(stopping);
    if ended.is_err() {
        let _ = target.tx.signal(Sig::KILL).await;
        // OpenSSH passes no signals on for logins of root, and other servers for none.
        if timeout(PATIENCE, ends(live, lane, target)).await.is_err() {
            tokio::select! {
                // Whom a signal reaches late, as many others are told at the same time, needs no command.
                biased;
                () = ends(live, lane, target) => {}
                _ = live.kill_processes() => {
                    let _ = timeout(PATIENCE, ends(live, lane, target)).await;
                }
            }
        }
    }
    let _ = target.tx.eof().await;
    let _ = target.tx.close().await;
}

/// Resolves when the target says that its process has ended, or closes the channel.
async fn ends(live: &Live, lane: &Lane, target: &mut TargetSide) {
    while let Some(message) = next(&mut target.rx, &mut target.early).await {
        match message {
            ChannelMsg::ExitStatus { exit_status } => return lane.exited(live, serde_json::json!({"status": exit_status})),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                return lane.exited(live, serde_json::json!({"signal": format!("{signal_name:?}")}));
            }
            ChannelMsg::Close => return,
            _ => {}
        }
    }
}
