//! Who goes first where many sessions are cut at once: every target is told to stop by a signal, then their clients are told why, then commands
//! kill what no signal ended and look for what left its process group.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many of the commands that kill run at once, over all targets, and how long one of them keeps the others waiting.
///
/// Where a thousand sessions are cut at once, each is told to stop by a signal, which costs nothing, and most have ended by it. A thousand
/// shells that are started beside those signals would keep the target's servers from delivering them.
const KILLERS: usize = 16;
/// The same of those that look for what left its process group: fewer, since nobody who was seen to end waits for them.
const LOOKERS: usize = 4;
const KEEPS_WAITING: Duration = Duration::from_secs(1);
/// How long those who look wait for the signals of others.
const SIGNALS_FIRST: Duration = Duration::from_secs(1);

/// The turns at one door.
pub(crate) struct Turns {
    kill: Arc<Semaphore>,
    look: Arc<Semaphore>,
    /// How many channels' targets are being told to stop.
    stopping: watch::Sender<usize>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { kill: Arc::new(Semaphore::new(KILLERS)), look: Arc::new(Semaphore::new(LOOKERS)), stopping: watch::Sender::new(0) }
    }
}

impl Turns {
    /// A turn of the commands that kill.
    pub(crate) async fn kill(&self) -> DropGuard {
        turn(&self.kill).await
    }

    /// A turn of those that look.
    pub(crate) async fn look(&self) -> DropGuard {
        self.signals_first(SIGNALS_FIRST).await;
        turn(&self.look).await
    }

    /// One target more is being told to stop, until this is dropped.
    pub(crate) fn stopping(&self) -> Stopping<'_> {
        self.stopping.send_if_modified(|stopping| {
            *stopping += 1;
            false
        });
        Stopping(self)
    }

    /// Resolves when no target is being told to stop any more, or `patience` is over.
    pub(crate) async fn signals_first(&self, patience: Duration) {
        let mut stopping = self.stopping.subscribe();
        let _over = timeout(patience, stopping.wait_for(|stopping| *stopping == 0)).await.is_ok();
    }
}

/// A target that is being told to stop.
pub(crate) struct Stopping<'t>(&'t Turns);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        // Who waits is woken once, by the last.
        self.0.stopping.send_if_modified(|stopping| {
            *stopping = stopping.saturating_sub(1);
            *stopping == 0
        });
    }
}

/// Waits for a turn, which is over when this is dropped or has kept others waiting for long.
async fn turn(of: &Arc<Semaphore>) -> DropGuard {
    let over = CancellationToken::new();
    if let Ok(turn) = of.clone().acquire_owned().await {
        let over = over.clone();
        tokio::spawn(async move {
            let _ = timeout(KEEPS_WAITING, over.cancelled()).await;
            drop(turn);
        });
    }
    over.drop_guard()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    // covers: GRANT-3 (ssh)
    #[tokio::test]
    async fn who_tells_waits_for_the_signals_of_all_and_not_for_ever() {
        const LONG: Duration = Duration::from_secs(600);
        let turns = Turns::default();
        assert!(turns.signals_first(LONG).now_or_never().is_some(), "nobody is being cut");
        let (one, other) = (turns.stopping(), turns.stopping());
        drop(one);
        turns.signals_first(Duration::ZERO).await;
        assert!(turns.signals_first(LONG).now_or_never().is_none(), "one has not stopped yet");
        tokio::join!(turns.signals_first(LONG), async { drop(other) });
        assert!(turns.signals_first(LONG).now_or_never().is_some(), "the last one has stopped");
    }
}
