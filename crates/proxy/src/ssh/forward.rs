//! Forwarded connections and the forwarded agent: allowed one by one, counted, recorded as events.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use access::limits::Limits;
use access::session::Onward;
use russh::{Channel, ChannelOpenFailure, client, server};
use serde_json::json;

use super::backlog::Backlog;
use super::channel::finish;
use super::lane::{Cargo, Lane};
use super::live::Live;
use super::reach::{self, Route};
use super::relay::{self, ClientSide, TargetSide};
use super::session::{Place, Step, Visit, lock};
use super::text;
use crate::gatekeeper::Answer;
use crate::tape::WHOLE_SESSION;

/// How long the target may take to say whether it listens. What the client asked for after it waits as long.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);
/// Remote forwards of one connection, at most.
pub(crate) const LISTENERS: usize = 32;

/// What a target may open back to this client.
#[derive(Debug, Default)]
pub(crate) struct Forwards {
    /// Addresses and ports where the target listens for the client.
    listening: Mutex<HashSet<(String, u32)>>,
    /// Held while the target is asked to listen: only its answer says at which port.
    asking: tokio::sync::Mutex<()>,
    /// Unix sockets where it does.
    pub(crate) sockets: Mutex<HashSet<String>>,
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

    /// Where it comes from, as it may be told to the other side: that writes it into its logs, so it is an address or nothing.
    fn origin(&self) -> (String, u32) {
        let address = self.originator.parse::<IpAddr>().map_or_else(|_| "0.0.0.0".to_owned(), |ip| ip.to_string());
        (address, self.originator_port.min(u32::from(u16::MAX)))
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
    let route = match u16::try_from(to.port) {
        Ok(port) => reach::route(&live.rights.local_forward, &to.host, port, &live.target).await,
        Err(_) => Route::Closed,
    };
    let (hosts, resolved) = match route {
        Route::ByName => (vec![to.host.clone()], None),
        Route::To(addresses) => {
            let hosts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            (hosts.clone(), Some(hosts))
        }
        Route::Closed => {
            visit.report_refused("local_forward", to.shown()).await;
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        Route::Guarded(address) => {
            visit.report_refused("local_forward", text::inert(&format!("{}, which leads to {address}", to.shown()), 400)).await;
            return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        }
        Route::Unknown(why) => {
            let why = text::inert(&format!("the gate cannot resolve {}: {why}", to.shown()), 400);
            let _ = live.note(WHOLE_SESSION, json!({"kind": "forward.unresolved", "why": why})).await;
            return reply.reject(ChannelOpenFailure::ConnectFailed).await;
        }
    };
    let lane = Lane::new(visit.number(), Cargo::Forward, &live, visit.client.clone());
    if live.note(lane.number, json!({"kind": "forward.local", "to": to.shown(), "addresses": resolved})).await.is_err() {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
    let (originator, originator_port) = to.origin();
    for host in hosts {
        let opened = live.target.handle().channel_open_direct_tcpip(host, to.port, originator.clone(), originator_port).await;
        if let Ok(target) = opened {
            visit.door.gate.onward(live.facts.session, Onward::Forward, &to.shown()).await;
            reply.accept().await;
            return join(&live, &lane, channel, target).await;
        }
    }
    let _ = live.note(lane.number, json!({"kind": "target.refused", "why": "it could not connect"})).await;
    reply.reject(ChannelOpenFailure::ConnectFailed).await;
}

/// The way in for what has no terminal and no error stream to talk through: an open door, or none.
pub(crate) async fn enter(visit: &Arc<Visit>) -> Option<Arc<Live>> {
    if let Some(live) = visit.live() {
        return Some(live.clone());
    }
    let _entering = visit.entering.lock().await;
    match visit.step(&Limits::default(), &Answer::default(), None).await {
        Step::In(live) => Some(live),
        Step::Ask(_) | Step::Waiting(_) | Step::Prove(_) | Step::Refused(_) => None,
    }
}

/// Lets the target listen for the client (`ssh -R`; RFC 4254 section 7.1). The port it listens on, or `None` if it may not or does not.
///
/// A client may ask for this before anything else; then the door has to be open already, since nobody could be asked here.
pub(crate) async fn listen(visit: &Arc<Visit>, address: &str, port: u32) -> Option<u32> {
    // While a channel asks at the door, waiting for it here would keep back every answer that is owed after this one.
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
    // Entered before the target is asked, so that nothing listens that is not recorded.
    live.note(WHOLE_SESSION, json!({"kind": "forward.listening", "at": shown, "port": port})).await.ok()?;
    let _asking = visit.forwards.asking.lock().await;
    let answered = tokio::time::timeout(ANSWER, live.target.handle().tcpip_forward(address, port)).await;
    let Ok(Ok(bound)) = answered else {
        let _ = live.note(WHOLE_SESSION, json!({"kind": "target.refused", "why": format!("it does not listen at {shown}")})).await;
        return None;
    };
    let bound = if bound == 0 { port } else { bound };
    lock(&visit.forwards.listening).insert((address.to_owned(), bound));
    if bound != port {
        live.note(WHOLE_SESSION, json!({"kind": "forward.bound", "at": shown, "port": bound})).await.ok()?;
    }
    Some(bound)
}

/// Whether the target listens there for the client.
async fn is_known(visit: &Visit, from: &Destination) -> bool {
    let place = (from.host.clone(), from.port);
    if lock(&visit.forwards.listening).contains(&place) {
        return true;
    }
    // Its answer that it listens may be under way still.
    let _asking = visit.forwards.asking.lock().await;
    lock(&visit.forwards.listening).contains(&place)
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
pub(crate) async fn remote(
    visit: Arc<Visit>,
    channel: Channel<client::Msg>,
    from: Destination,
    reply: client::ChannelOpenHandle,
    place: Place,
) {
    let _place = place;
    let known = is_known(&visit, &from).await;
    let Some(live) = visit.live().cloned().filter(|_| known) else {
        visit.report_refused("forwarded_tcpip", from.shown()).await;
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    };
    let lane = Lane::new(visit.number(), Cargo::Forward, &live, visit.client.clone());
    let originator = text::inert(&format!("{}:{}", from.originator, from.originator_port), 300);
    if live.note(lane.number, json!({"kind": "forward.remote", "at": from.shown(), "from": originator})).await.is_err() {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
    let (originator, originator_port) = from.origin();
    match visit.client.channel_open_forwarded_tcpip(&from.host, from.port, originator, originator_port).await {
        Ok(client) => {
            reply.accept().await;
            join(&live, &lane, client, channel).await;
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

/// Something on the target wants the client's agent.
pub(crate) async fn agent(visit: Arc<Visit>, channel: Channel<client::Msg>, reply: client::ChannelOpenHandle, place: Place) {
    let _place = place;
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
            visit.door.gate.onward(live.facts.session, Onward::Agent, "").await;
            reply.accept().await;
            join(&live, &lane, client, channel).await;
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}

/// Relays a forwarded connection until either end closes it.
pub(crate) async fn join(live: &Live, lane: &Lane, client: Channel<server::Msg>, target: Channel<client::Msg>) {
    let (rx, tx) = client.split();
    let mut client = ClientSide { rx, tx };
    let (rx, tx) = target.split();
    let mut target = TargetSide { rx, tx: Arc::new(tx), early: Backlog::default() };
    let ended = relay::relay(live, lane, &mut client, &mut target, Backlog::default()).await;
    finish(live, lane, client, target, ended).await;
}
