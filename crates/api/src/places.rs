//! Connections to the API: how many there may be, all together and from one source, and who goes when there are too many.
//!
//! Whoever fills all places must not keep others out with them. So when all are taken, a newcomer gets the place of a connection from
//! the source that holds the most, first of one on which nothing is under way; and where nothing is for long, the place is free again.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use access::source::source;
use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The places there are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    all: usize,
    each: usize,
    crowd: Arc<Mutex<Crowd>>,
}

#[derive(Debug, Default)]
struct Crowd {
    number: u64,
    all: usize,
    /// By their number, so that the first is the oldest.
    by_source: HashMap<IpAddr, BTreeMap<u64, Present>>,
}

#[derive(Debug)]
struct Present {
    calls: watch::Receiver<usize>,
    shown_out: CancellationToken,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    source: IpAddr,
    number: u64,
    calls: Arc<watch::Sender<usize>>,
    shown_out: CancellationToken,
    crowd: Arc<Mutex<Crowd>>,
}

/// A call under way on a connection, until its answer has gone out.
#[derive(Debug)]
pub(crate) struct Call(Arc<watch::Sender<usize>>);

fn locked(crowd: &Mutex<Crowd>) -> MutexGuard<'_, Crowd> {
    crowd.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crowd {
    fn remove(&mut self, source: &IpAddr, number: u64) -> Option<Present> {
        let theirs = self.by_source.get_mut(source)?;
        let present = theirs.remove(&number)?;
        self.all -= 1;
        if theirs.is_empty() {
            self.by_source.remove(source);
        }
        Some(present)
    }

    /// Shows one of a source's connections out.
    fn show_out(&mut self, source: IpAddr) {
        let theirs = self.by_source.get(&source).into_iter().flatten();
        let goes = theirs.min_by_key(|(number, present)| (*present.calls.borrow() > 0, **number)).map(|(number, _)| *number);
        if let Some(present) = goes.and_then(|number| self.remove(&source, number)) {
            present.shown_out.cancel();
        }
    }
}

impl Places {
    /// `all` together, `each` source.
    pub(crate) fn new(all: usize, each: usize) -> Self {
        Self { all, each, crowd: Arc::default() }
    }

    /// A place for a connection, maybe that of another which has to go for it.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Place> {
        let source = source(address);
        let mut crowd = locked(&self.crowd);
        let mine = crowd.by_source.get(&source).map_or(0, BTreeMap::len);
        if mine >= self.each {
            return None;
        }
        if crowd.all >= self.all {
            let most = crowd.by_source.iter().max_by_key(|(_, theirs)| theirs.len()).map(|(source, theirs)| (*source, theirs.len()));
            match most {
                Some((most, held)) if held > mine + 1 => crowd.show_out(most),
                _ => return None,
            }
        }
        crowd.number += 1;
        crowd.all += 1;
        let (number, shown_out, (sender, calls)) = (crowd.number, CancellationToken::new(), watch::channel(0));
        crowd.by_source.entry(source).or_default().insert(number, Present { calls, shown_out: shown_out.clone() });
        drop(crowd);
        Some(Place { source, number, calls: Arc::new(sender), shown_out, crowd: Arc::clone(&self.crowd) })
    }
}

impl Place {
    /// Where the calls on this connection are counted.
    pub(crate) fn calls(&self) -> Arc<watch::Sender<usize>> {
        Arc::clone(&self.calls)
    }

    /// When the connection has to go for another.
    pub(crate) async fn shown_out(&self) {
        self.shown_out.cancelled().await;
    }

    /// When it has to go: for another, or because nothing was under way on it for so long.
    pub(crate) async fn to_go(&self, idle: Duration) {
        let mut calls = self.calls.subscribe();
        let idles = async {
            loop {
                // The sender is held here, so neither fails.
                let _none = calls.wait_for(|under_way| *under_way == 0).await.is_ok();
                if tokio::time::timeout(idle, calls.changed()).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.shown_out() => {}
            () = idles => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = locked(&self.crowd).remove(&self.source, self.number);
    }
}

impl Call {
    /// A call begins.
    pub(crate) fn begin(calls: &Arc<watch::Sender<usize>>) -> Self {
        calls.send_modify(|under_way| *under_way += 1);
        Self(Arc::clone(calls))
    }

    /// The call is under way until this answer has gone out, or nobody waits for it any more.
    pub(crate) fn until_answered(self, response: Response) -> Response {
        response.map(|body| Body::new(Answering { body, _call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.send_modify(|under_way| *under_way = under_way.saturating_sub(1));
    }
}

struct Answering {
    body: Body,
    _call: Call,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use futures::FutureExt as _;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    // covers: E7 (api)
    #[test]
    fn whoever_takes_all_places_keeps_nobody_else_out() {
        let places = Places::new(6, 3);
        let crowd: Vec<Place> = (0..6).map(|n| places.admit(at(n % 2)).unwrap()).collect();
        assert!(places.admit(at(0)).is_none(), "a source that has its share");
        let busy: Vec<Call> = crowd[..2].iter().map(|place| Call::begin(&place.calls())).collect();
        let newcomer = places.admit(at(7)).unwrap();
        let gone = |crowd: &[Place]| crowd.iter().map(|place| place.shown_out.is_cancelled()).collect::<Vec<_>>();
        assert_eq!(gone(&crowd).iter().filter(|gone| **gone).count(), 1);
        assert!(!gone(&crowd)[0] && !gone(&crowd)[1], "where something is under way goes last");
        assert!(!newcomer.shown_out.is_cancelled());
        drop((busy, crowd, newcomer));
        let crowd = locked(&places.crowd);
        assert!(crowd.all == 0 && crowd.by_source.is_empty());
    }

    // covers: E7 (api)
    #[test]
    fn a_network_of_addresses_is_one_source() {
        let places = Places::new(100, 2);
        let from = |text: &str| places.admit(text.parse().unwrap());
        let there = (from("2001:db8::1"), from("2001:db8::2:1"));
        assert!(there.0.is_some() && there.1.is_some() && from("2001:db8::3").is_none());
        assert!(from("2001:db8:0:1::1").is_some());
    }

    // covers: E7 (api)
    #[tokio::test]
    async fn where_nothing_is_under_way_the_place_is_free_again() {
        let place = Places::new(2, 2).admit(at(1)).unwrap();
        let call = Call::begin(&place.calls());
        let response = call.until_answered("hello".into_response());
        let mut going = Box::pin(place.to_go(Duration::from_millis(1)));
        assert!((&mut going).now_or_never().is_none());
        assert_eq!(axum::body::to_bytes(response.into_body(), 10).await.unwrap(), "hello");
        going.await;
    }
}
