//! Sessions that are cut together at one login of one machine wait here for a look at what they left.
//!
//! A look goes over every process of the machine. So where a thousand sessions are cut at once one of them looks, for all that wait by then.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use access::session::Ends;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::session::lock;

/// How many connections one look is for, at most: its command stays below the 9,000 bytes that Dropbear takes, with IPv6 on both sides.
pub(super) const TOGETHER: usize = 64;

/// One login of one machine: the host, port and account that were dialled, and the address that answered.
type At = (String, u16, String, SocketAddr);

/// Where sessions are being cut.
#[derive(Default)]
pub(crate) struct Looks(Mutex<HashMap<At, Weak<Place>>>);

impl Looks {
    /// Where those of this login of this machine wait.
    pub(crate) fn at(&self, at: At) -> Arc<Place> {
        let mut places = lock(&self.0);
        places.retain(|_, place| place.strong_count() > 0);
        if let Some(place) = places.get(&at).and_then(Weak::upgrade) {
            return place;
        }
        let place = Arc::new(Place::default());
        places.insert(at, Arc::downgrade(&place));
        place
    }
}

/// One login of one machine.
#[derive(Default)]
pub(crate) struct Place {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Whoever looks holds it.
    looking: tokio::sync::Mutex<()>,
    /// The machine sees the gate under another address than the gate itself, so each can only look for its own.
    alone: AtomicBool,
}

/// A connection that is being cut, until it is known whether anything is left of it.
pub(crate) struct Waiting {
    ends: Ends,
    since: Instant,
    none_left: oneshot::Sender<bool>,
}

impl Place {
    /// Whether nothing is left of a connection, once somebody looked for it. An error if whoever looked was stopped.
    pub(crate) fn wait_for(&self, ends: Ends, since: Instant) -> oneshot::Receiver<bool> {
        let (none_left, answer) = oneshot::channel();
        lock(&self.waiting).push_back(Waiting { ends, since, none_left });
        answer
    }

    /// The turn to look.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let looking = self.looking.lock().await;
        // Who looks for nobody else keeps nobody waiting.
        Turn { place: self, _looking: (!self.alone.load(Relaxed)).then_some(looking) }
    }
}

/// One look at a place. There is no other at the same time, unless each looks for its own.
pub(crate) struct Turn<'a> {
    place: &'a Place,
    _looking: Option<tokio::sync::MutexGuard<'a, ()>>,
}

impl Turn<'_> {
    /// Who else is looked for by the connection with these ends, which waits no more itself.
    pub(crate) fn others(&self, own: Ends) -> Vec<Waiting> {
        let mut waiting = lock(&self.place.waiting);
        waiting.retain(|one| one.ends != own && !one.none_left.is_closed());
        let others = if self.place.alone.load(Relaxed) { 0 } else { waiting.len().min(TOGETHER - 1) };
        waiting.drain(..others).collect()
    }

    /// They wait on, before those who came later.
    pub(crate) fn give_back(self, others: Vec<Waiting>) {
        let mut waiting = lock(&self.place.waiting);
        others.into_iter().rev().for_each(|one| waiting.push_front(one));
    }

    /// They wait on, and from now on each looks for its own.
    pub(crate) fn each_alone(self, others: Vec<Waiting>) {
        self.place.alone.store(true, Relaxed);
        self.give_back(others);
    }
}

/// What one look is for: the ends of each connection, and how long it is there.
pub(crate) fn connections(own: Ends, since: Instant, others: &[Waiting]) -> Vec<(Ends, Duration)> {
    let others = others.iter().map(|one| (one.ends, one.since.elapsed()));
    std::iter::once((own, since.elapsed())).chain(others).collect()
}

/// Tells those who were looked for.
pub(crate) fn answer(others: Vec<Waiting>, none_left: bool) {
    for one in others {
        // Whoever gave up waiting does not care.
        let _ = one.none_left.send(none_left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16) -> Ends {
        Ends { gate: ([127, 0, 0, 1], port).into(), target: ([127, 0, 0, 1], 22).into() }
    }

    fn at() -> At {
        ("db-1".into(), 22, "deploy".into(), ends(1).target)
    }

    fn ports(of: &[Waiting]) -> Vec<u16> {
        of.iter().map(|one| one.ends.gate.port()).collect()
    }

    // covers: D2 (ssh)
    #[tokio::test]
    async fn one_looks_for_all_that_wait_and_each_is_answered() {
        let looks = Looks::default();
        let place = looks.at(at());
        let now = Instant::now();
        let mut answers: Vec<_> = (1..=100).map(|port| place.wait_for(ends(port), now)).collect();
        let turn = looks.at(at()).turn().await.others(ends(2));
        assert_eq!(turn.len(), TOGETHER - 1);
        assert_eq!(ports(&turn)[..3], [1, 3, 4], "whoever looks is not among the others");
        let connections = connections(ends(2), now, &turn);
        assert_eq!((connections.len(), connections[0].0, connections[1].0), (TOGETHER, ends(2), ends(1)));
        answer(turn, true);
        assert_eq!(answers[0].try_recv(), Ok(true));
        assert!(answers[99].try_recv().is_err(), "not looked for yet");
        // Elsewhere nobody waits.
        assert!(looks.at(("db-1".into(), 22, "root".into(), ends(1).target)).turn().await.others(ends(2)).is_empty());
    }

    // covers: D2 (ssh)
    #[tokio::test]
    async fn whoever_is_not_looked_for_waits_on() {
        let place = Arc::new(Place::default());
        let now = Instant::now();
        let (mut first, mut second) = (place.wait_for(ends(1), now), place.wait_for(ends(2), now));
        // A connection that cannot be asked over gives them back, in order.
        let turn = place.turn().await;
        let others = turn.others(ends(3));
        turn.give_back(others);
        let turn = place.turn().await;
        let others = turn.others(ends(3));
        assert_eq!(ports(&others), [1, 2]);
        assert!(first.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
        // A look that is stopped is told to those it was for.
        drop((turn, others));
        assert!([&mut first, &mut second].into_iter().all(|answer| answer.try_recv() == Err(oneshot::error::TryRecvError::Closed)));
        // Whoever gave up is looked for no more; and where addresses are translated, each looks alone.
        drop(place.wait_for(ends(1), now));
        let _second = place.wait_for(ends(2), now);
        let turn = place.turn().await;
        let others = turn.others(ends(3));
        assert_eq!(ports(&others), [2]);
        turn.each_alone(others);
        assert!(place.turn().await.others(ends(3)).is_empty());
    }
}
