//! A terminal that others may join: they see what it shows, and what they type goes where its owner's typing goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use access::ids::SessionId;
use bytes::Bytes;
use russh::{ChannelWriteHalf, client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::session::lock;

/// What one who joined has not read yet, in pieces of at most a packet. Who reads more slowly than that sees no more of it.
const BEHIND: usize = 256;

/// One terminal of a live session, as long as it runs.
pub(crate) struct Stage {
    /// Where it is typed.
    target: Arc<ChannelWriteHalf<client::Msg>>,
    audience: Mutex<Vec<mpsc::Sender<Bytes>>>,
    over: CancellationToken,
}

impl Stage {
    pub(crate) fn new(target: Arc<ChannelWriteHalf<client::Msg>>) -> Arc<Self> {
        Arc::new(Self { target, audience: Mutex::default(), over: CancellationToken::new() })
    }

    /// What it shows from now on.
    pub(crate) fn seen(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        lock(&self.audience).push(sender);
        receiver
    }

    /// Shows what its owner was shown. Never waits: who does not keep up is shown no more.
    pub(crate) fn show(&self, bytes: &Bytes) {
        lock(&self.audience).retain(|sender| sender.try_send(bytes.clone()).is_ok());
    }

    /// Types.
    ///
    /// # Errors
    /// The target is gone; the session's end says so.
    pub(crate) async fn type_in(&self, bytes: Bytes) -> Result<(), russh::Error> {
        self.target.data_bytes(bytes).await
    }

    /// Resolves when the terminal is closed.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// It is closed; nobody joins it any more.
    pub(crate) fn close(&self) {
        self.over.cancel();
        lock(&self.audience).clear();
    }

    fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// The terminals of a session, oldest first.
#[derive(Default)]
pub(crate) struct Stages(Mutex<Vec<Arc<Stage>>>);

impl Stages {
    pub(crate) fn add(&self, stage: Arc<Stage>) {
        let mut stages = lock(&self.0);
        stages.retain(|stage| !stage.is_over());
        stages.push(stage);
    }

    /// The one that was opened last and still runs.
    pub(crate) fn newest(&self) -> Option<Arc<Stage>> {
        lock(&self.0).iter().rfind(|stage| !stage.is_over()).cloned()
    }
}

/// The live sessions of a door, for those who join one.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<SessionId, Weak<Live>>>);

impl Sessions {
    pub(crate) fn add(&self, live: &Arc<Live>) {
        lock(&self.0).insert(live.facts.session, Arc::downgrade(live));
    }

    pub(crate) fn remove(&self, session: SessionId) {
        lock(&self.0).remove(&session);
    }

    pub(crate) fn find(&self, session: SessionId) -> Option<Arc<Live>> {
        lock(&self.0).get(&session).and_then(Weak::upgrade)
    }
}
