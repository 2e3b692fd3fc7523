//! Forwarded connections and the forwarded agent: allowed one by one, counted, recorded as events.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::{Channel, ChannelMsg, ChannelOpenFailure, client, server};
use serde_json::json;

use super::channel::finish;
use super::handler::Place;
use super::lane::{Cargo, Lane};
use super::relay::{self, ClientSide, TargetSide};
use super::session::{Live, Step, Visit, lock};
use super::text;
use crate::tape::WHOLE_SESSION;

/// How long the target may take to say whether it listens. The client's connection waits for it.
const ANSWER: Duration = Duration::from_secs(10);
/// Remote forwards of one connection, at most.
const LISTENERS: usize = 32;

/// What a target may open back to this client.
#[derive(Debug, Default)]
pub(crate) struct Forwards {
    /// Addresses and ports where the target listens for the client.
    listening: Mutex<HashSet<(String, u32)>>,
    agent: AtomicBool,
}

impl Forwards {
    /// From now on the target may reach the client's agent.
    pub(crate) fn allow_agent(&self) {
        self.agent.store(true, Ordering::Release);
    }
}

/// Where a forwarded connection leads, and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) port: u32,
    pub(crate) originator: String,
    pub(crate) originator_port: u32,
}

impl Destination {
    fn shown(&self) -> String {
        text::inert(&format!("{}:{}", self.host, self.port), 300)
    }
}

/// A connection that the client forwards to somewhere behind the target (`ssh -L`, `ssh -W`; RFC 4254 section 7.2).
pub(crate) async fn local(
    visit: Arc<Visit>,
    channel: Channel<server::Msg>,
    to: Destination,
    reply: server::ChannelOpenHandle,
    place: Place,
) {
    let _place = place;
    let Some(live) = enter(&visit).await else {
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    };
    let allowed = u16::try_from(to.port).is_ok_and(|port| live.rights.local_forward.iter().any(|e| e.covers(&to.host, port)));
    if !allowed {
        visit.report_refused("local_forward", to.shown()).await;
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    }
    let lane = Lane::new(visit.number(), Cargo::Forward, &live, visit.client.clone());
    if live.note(lane.number, json!({"kind": "forward.local", "to": to.shown()})).await.is_err() {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
    let opened = live.target.handle().channel_open_direct_tcpip(&to.host, to.port, &to.originator, to.originator_port).await;
    let Ok(target) = opened else {
        let _ = live.note(lane.number, json!({"kind": "target.refused", "why": "it could not connect"})).await;
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    };
    reply.accept().await;
    join(&live, &lane, channel, target).await;
}

/// The way in for what has no terminal and no error stream to talk through: an open door, or none.
async fn enter(visit: &Arc<Visit>) -> Option<Arc<Live>> {
    if let Some(live) = visit.live() {
        return Some(live.clone());
    }
    let _entering = visit.entering.lock().await;
    match visit.step(None).await {
        Step::In(live) => Some(live),
        Step::Ask(_) | Step::Waiting(_) | Step::Refused(_) => None,
    }
}

/// Lets the target listen for the client (`ssh -R`; RFC 4254 section 7.1). The port it listens on, or `None` if it may not or does not.
///
/// A client may ask for this before anything else; then the door has to be open already, since nobody could be asked here.
pub(crate) async fn listen(visit: &Arc<Visit>, address: &str, port: u32) -> Option<u32> {
    // While a channel asks at the door, waiting for it here would stop the very connection it asks over.
    if visit.live().is_none() && visit.entering.try_lock().is_err() {
        return None;
    }
    let live = tokio::time::timeout(ANSWER, enter(visit)).await.ok()??;
    // The empty address and `*` mean all; a wildcard in the rights does not cover them.
    let allowed = u16::try_from(port).is_ok_and(|p| {
        live.rights.remote_forward.iter().any(|e| e.covers(address, p) || (e.names(address) && e.port.is_none_or(|q| q == p)))
    });
    let shown = text::inert(&format!("{address}:{port}"), 300);
    if !allowed || lock(&visit.forwards.listening).len() >= LISTENERS {
        visit.report_refused("remote_forward", shown).await;
        return None;
    }
    let answered = tokio::time::timeout(ANSWER, live.target.handle().tcpip_forward(address, port)).await;
    let Ok(Ok(bound)) = answered else { return None };
    let bound = if bound == 0 { port } else { bound };
    lock(&visit.forwards.listening).insert((address.to_owned(), bound));
    live.note(WHOLE_SESSION, json!({"kind": "forward.listening", "at": shown, "port": bound})).await.ok()?;
    Some(bound)
}

/// The target listens no more.
pub(crate) async fn cancel(visit: &Arc<Visit>, address: &str, port: u32) -> bool {
    if !lock(&visit.forwards.listening).remove(&(address.to_owned(), port)) {
        return false;
    }
    let Some(live) = visit.live() else { return false };
    let shown = text::inert(&format!("{address}:{port}"), 300);
    let _ = live.note(WHOLE_SESSION, json!({"kind": "forward.stopped", "at": shown})).await;
    matches!(tokio::time::timeout(ANSWER, live.target.handle().cancel_tcpip_forward(address, port)).await, Ok(Ok(())))
}

/// A connection that came in where the target listens for the client.
pub(crate) async fn remote(visit: Arc<Visit>, channel: Channel<client::Msg>, from: Destination, reply: client::ChannelOpenHandle) {
    let known = lock(&visit.forwards.listening).contains(&(from.host.clone(), from.port));
    let Some(live) = visit.live().cloned().filter(|_| known) else {
        visit.report_refused("forwarded_tcpip", from.shown()).await;
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    };
    let lane = Lane::new(visit.number(), Cargo::Forward, &live, visit.client.clone());
    let originator = text::inert(&format!("{}:{}", from.originator, from.originator_port), 300);
    if live.note(lane.number, json!({"kind": "forward.remote", "at": from.shown(), "from": originator})).await.is_err() {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
    match visit.client.channel_open_forwarded_tcpip(&from.host, from.port, &from.originator, from.originator_port).await {
        Ok(client) => {
            reply.accept().await;
            join(&live, &lane, client, channel).await;
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

/// Something on the target wants the client's agent.
pub(crate) async fn agent(visit: Arc<Visit>, channel: Channel<client::Msg>, reply: client::ChannelOpenHandle) {
    let granted = visit.forwards.agent.load(Ordering::Acquire);
    let Some(live) = visit.live().cloned().filter(|_| granted) else {
        visit.report_refused("agent_forward", String::new()).await;
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    };
    let lane = Lane::new(visit.number(), Cargo::Forward, &live, visit.client.clone());
    if live.note(lane.number, json!({"kind": "agent.used"})).await.is_err() {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
    match visit.client.channel_open_agent().await {
        Ok(client) => {
            reply.accept().await;
            join(&live, &lane, client, channel).await;
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

/// Relays a forwarded connection until either end closes it.
async fn join(live: &Live, lane: &Lane, client: Channel<server::Msg>, target: Channel<client::Msg>) {
    let (rx, tx) = client.split();
    let mut client = ClientSide { rx, tx };
    let (rx, tx) = target.split();
    let mut target = TargetSide { rx, tx };
    let early: Vec<ChannelMsg> = Vec::new();
    let ended = relay::relay(live, lane, &mut client, &mut target, early).await;
    finish(live, lane, client, target, ended).await;
}
