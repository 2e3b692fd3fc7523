//! `/events`: what happens, as it happens, as far as the caller may see it.

use std::convert::Infallible;
use std::sync::Arc;

use access::event::{Actor, Entry};
use access::ids::PrincipalId;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream};
use tokio::sync::broadcast::{self, error::RecvError};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::{Caller, Gate};

use crate::caller::Reads;
use crate::extract::Asked;
use crate::frame::AS_OF;
use crate::problem::Answer;
use crate::shares::Share;
use crate::sight::Sight;
use crate::stand::{LOOK_EVERY, shakes, still_signed_in};
use crate::state::{ApiState, Long};
use crate::types::audit::AuditEntry;
use crate::types::events::{EventsQuery, Lagged};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Sends what happens as server-sent events: what concerns the caller, and to who may read the audit log, everything.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery), responses((status = 200, body = AuditEntry, content_type = "text/event-stream")))]
async fn events(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<EventsQuery>) -> Answer<impl IntoResponse> {
    let _share = state.long(caller.who.id(), Long::Stream)?;
    let news = state.gate.news();
    // Read when everything later will be heard, so that whoever was answered as of the same entry missed nothing.
    let as_of = [(AS_OF, state.as_of())];
    state.gate.refuse_if_person_locked(caller.who.id()).await?;
    let listener = Listener { gate: state.gate, caller, query, news, _share };
    Ok((as_of, Sse::new(heard(listener)).keep_alive(KeepAlive::default())))
}

struct Listener {
    gate: Arc<Gate>,
    caller: Caller,
    query: EventsQuery,
    news: broadcast::Receiver<Arc<Entry>>,
    _share: Share<PrincipalId>,
}

fn heard(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    let first = tokio::time::Instant::now() + LOOK_EVERY;
    stream::unfold((listener, first), |(mut listener, mut look)| async move {
        loop {
            let event = tokio::select! {
                biased;
                () = tokio::time::sleep_until(look) => {
                    look = tokio::time::Instant::now() + LOOK_EVERY;
                    if !still_signed_in(&listener.gate, &listener.caller).await {
                        return None;
                    }
                    continue;
                }
                entry = listener.news.recv() => match entry {
                    Ok(entry) if shakes(&entry.event) && !still_signed_in(&listener.gate, &listener.caller).await => return None,
                    Ok(entry) => listener.shown(&entry).await.map(|shown| event_of(&shown)),
                    Err(RecvError::Lagged(missed)) => {
                        let data = serde_json::to_string(&Lagged { missed }).unwrap_or_default();
                        Some(Event::default().event("lagged").data(data))
                    }
                    Err(RecvError::Closed) => return None,
                },
            };
            if let Some(event) = event {
                return Some((Ok(event), (listener, look)));
            }
        }
    })
}

fn event_of(entry: &AuditEntry) -> Event {
    let data = serde_json::to_string(entry).unwrap_or_default();
    Event::default().id(entry.id.to_string()).event(entry.data.name()).data(data)
}

impl Listener {
    /// An entry as the caller may see it; `None` if they may not, or did not ask for it.
    async fn shown(&self, entry: &Entry) -> Option<AuditEntry> {
        let wanted = self.query.event.as_deref().is_none_or(|prefix| entry.event.name().starts_with(prefix));
        if !wanted || !still_signed_in(&self.gate, &self.caller).await {
            return None;
        }
        let sight = Sight::of(&self.gate, &self.caller).await.ok()?;
        let all = sight.audits();
        let own = entry.actor == Actor::Principal(self.caller.who.id());
        // A job hears of what it may see, and not of all that its workload does.
        let job = self.caller.who.claims().is_some();
        if all || (own && (!job || self.sees_what_it_is_about(entry).await)) {
            return Some(AuditEntry::from(entry));
        }
        // Of others' doing one is told what happened to what one may see; their words stay where they stand.
        let concerns = (!job && mentions(entry, &self.caller.who.id().to_string())) || self.sees_what_it_is_about(entry).await;
        concerns.then(|| AuditEntry { texts: std::collections::BTreeMap::new(), ..AuditEntry::from(entry) })
    }

    async fn sees_what_it_is_about(&self, entry: &Entry) -> bool {
        let store = self.gate.store();
        for id in ids_in(entry) {
            let seen = if let Ok(request) = id.parse() {
                match store.request(request).await {
                    Ok(row) => self.gate.visible_request(&self.caller, row).await.is_ok(),
                    Err(_) => false,
                }
            } else if let Ok(grant) = id.parse() {
                match store.grant(grant).await {
                    Ok(row) => self.gate.visible_grant(&self.caller, row).await.is_ok(),
                    Err(_) => false,
                }
            } else if let Ok(session) = id.parse() {
                match store.session(session).await {
                    Ok(row) => self.gate.visible_session(&self.caller, row).await.is_ok(),
                    Err(_) => false,
                }
            } else {
                false
            };
            if seen {
                return true;
            }
        }
        false
    }
}

fn mentions(entry: &Entry, id: &str) -> bool {
    ids_in(entry).iter().any(|found| found == id)
}

/// The texts that stand directly in an event: its ids among them.
fn ids_in(entry: &Entry) -> Vec<String> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(&entry.event) else { return Vec::new() };
    fields.into_values().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}
