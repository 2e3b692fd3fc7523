//! Unix sockets forwarded between client and target (OpenSSH `PROTOCOL`, section 2.4): allowed by their whole path, counted, recorded
//! as events.

use std::sync::Arc;

use russh::{Channel, ChannelOpenFailure, client, server};
use serde_json::json;

use super::forward::{ANSWER, LISTENERS, enter, join};
use super::lane::{Cargo, Lane};
use super::session::{Place, Visit, lock};
use super::text;
use crate::tape::WHOLE_SESSION;

/// The longest path that is shown or kept.
const SHOWN: usize = 300;

/// A connection that the client forwards to a socket on the target (`ssh -L here:/run/app.sock`).
pub(crate) async fn local(visit: Arc<Visit>, channel: Channel<server::Msg>, path: String, reply: server::ChannelOpenHandle, place: Place) {
    let _place = place;
    let Some(live) = enter(&visit).await else {
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    };
    let shown = text::inert(&path, SHOWN);
    if !live.rights.local_socket.iter().any(|socket| socket.covers(&path)) {
        visit.report_refused("local_socket", shown).await;
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    }
    let lane = Lane::new(visit.number(), Cargo::Forward, &live, visit.client.clone());
    if live.note(lane.number, json!({"kind": "forward.local_socket", "to": shown})).await.is_err() {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
    let Ok(target) = live.target.handle().channel_open_direct_streamlocal(path).await else {
        let _ = live.note(lane.number, json!({"kind": "target.refused", "why": "it could not connect"})).await;
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    };
    reply.accept().await;
    join(&live, &lane, channel, target).await;
}

/// Lets the target listen on a socket for the client (`ssh -R /run/app.sock:there`); whether it does.
///
/// A client may ask for this before anything else; then the door has to be open already, since nobody could be asked here.
pub(crate) async fn listen(visit: &Arc<Visit>, path: &str) -> bool {
    // While a channel asks at the door, waiting for it here would keep back every answer that is owed after this one.
    if visit.live().is_none() && visit.entering.try_lock().is_err() {
        return false;
    }
    let Ok(Some(live)) = tokio::time::timeout(ANSWER, enter(visit)).await else { return false };
    let shown = text::inert(path, SHOWN);
    let allowed = live.rights.remote_socket.iter().any(|socket| socket.covers(path));
    if !allowed || lock(&visit.forwards.sockets).len() >= LISTENERS {
        visit.report_refused("remote_socket", shown).await;
        return false;
    }
    // Entered before the target is asked, so that nothing listens that is not recorded.
    if live.note(WHOLE_SESSION, json!({"kind": "forward.listening_socket", "at": shown})).await.is_err() {
        return false;
    }
    lock(&visit.forwards.sockets).insert(path.to_owned());
    if !matches!(tokio::time::timeout(ANSWER, live.target.handle().streamlocal_forward(path)).await, Ok(Ok(()))) {
        lock(&visit.forwards.sockets).remove(path);
        let _ = live.note(WHOLE_SESSION, json!({"kind": "target.refused", "why": format!("it does not listen at {shown}")})).await;
        return false;
    }
    true
}

/// The target listens no more.
pub(crate) async fn cancel(visit: &Arc<Visit>, path: &str) -> bool {
    if !lock(&visit.forwards.sockets).remove(path) {
        return false;
    }
    let Some(live) = visit.live() else { return false };
    let _ = live.note(WHOLE_SESSION, json!({"kind": "forward.stopped_socket", "at": text::inert(path, SHOWN)})).await;
    matches!(tokio::time::timeout(ANSWER, live.target.handle().cancel_streamlocal_forward(path)).await, Ok(Ok(())))
}

/// A connection that came in on a socket where the target listens for the client.
pub(crate) async fn remote(visit: Arc<Visit>, channel: Channel<client::Msg>, path: String, reply: client::ChannelOpenHandle, place: Place) {
    let _place = place;
    let known = lock(&visit.forwards.sockets).contains(&path);
    let shown = text::inert(&path, SHOWN);
    let Some(live) = visit.live().cloned().filter(|_| known) else {
        visit.report_refused("forwarded_socket", shown).await;
        return reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    };
    let lane = Lane::new(visit.number(), Cargo::Forward, &live, visit.client.clone());
    if live.note(lane.number, json!({"kind": "forward.remote_socket", "at": shown})).await.is_err() {
        return reply.reject(ChannelOpenFailure::ConnectFailed).await;
    }
    match visit.client.channel_open_forwarded_streamlocal(&path).await {
        Ok(client) => {
            reply.accept().await;
            join(&live, &lane, client, channel).await;
        }
        Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
    }
}
