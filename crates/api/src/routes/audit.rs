//! `/audit`: the log, and the questions it answers. All of it takes the right to read the audit log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use access::ids::{EntryId, PrincipalId, SessionId};
use access::reason::{Reason, Refusal};
use axum::Json;
use axum::body::Body as Stream;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use evidence::lines::{Form, LineWriter};
use futures::stream;
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::Caller;
use workflow::history::{Place, ReachBy as By};
use workflow::read::{EntryFilter, EntryPage};

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{cursor_of, key_in, limit, page};
use crate::problem::{Answer, Refused};
use crate::shares::Share;
use crate::shown::Shown;
use crate::stand::{Looks, still_signed_in, withdrawn};
use crate::state::{ApiState, Long};
use crate::types::audit::{
    AuditEntry, AuditExportQuery, AuditQuery, Checkpoint, Could, Did, Difference, LinesFormat, ReachBy, Replayed, WhoCouldQuery,
    WhoDidQuery,
};
use crate::types::evidence::TextErasure;
use crate::types::list::Page;
use crate::types::schema;
use crate::version::Unversioned;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(entries))
        .routes(routes!(erase))
        .routes(routes!(export))
        .routes(routes!(checkpoint))
        .routes(routes!(replay))
        .routes(routes!(who_could))
        .routes(routes!(who_did))
}

/// So many names of events are looked for at once, at most.
const MOST_NAMES: usize = 16;

/// The names of events that are asked for, if they are not too many.
fn names(event: Option<String>) -> Answer<Option<String>> {
    if event.as_deref().is_some_and(|names| names.split(',').count() > MOST_NAMES) {
        let why = format!("name at most {MOST_NAMES} kinds of events at once");
        return Err(Refusal::because(Reason::Invalid, why).into());
    }
    Ok(event)
}

/// Lists entries, newest first.
#[utoipa::path(get, path = "/audit/entries", tag = "audit", params(AuditQuery), responses((status = 200, body = Page<AuditEntry>)))]
async fn entries(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Asked(query): Asked<AuditQuery>,
) -> Answer<Json<Page<AuditEntry>>> {
    // 1. Which part of which entries?
    let limit = limit(query.limit)?;
    let after: Option<i64> = query.cursor.as_deref().map(key_in).transpose()?;
    let filter =
        EntryFilter { mentions: query.about, actor: query.actor, name: names(query.event)?, from: query.since, until: query.until };
    // 2. May they?
    state.gate.authorize(&caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
    // 3. Read one more than fits, to know whether there is more.
    let part = EntryPage { limit: limit + 1, after, newest_first: true };
    let mut found = state.gate.store().entries(&filter, part).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| cursor_of(last.seq));
    Ok(page(found.iter().map(|logged| AuditEntry::from(&logged.entry)).collect(), next))
}

/// How many entries are read at once for an export.
const AT_ONCE: u32 = 500;

/// Gives every entry, oldest first, as JSON lines or as a table: whole, however many there are.
#[utoipa::path(get, path = "/audit/export", tag = "audit", params(AuditExportQuery), responses(
    (status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))),
))]
async fn export(State(state): State<ApiState>, SignedIn(caller): SignedIn, Asked(query): Asked<AuditExportQuery>) -> Answer<Response> {
    // 1. One of theirs at a time, and only while they may read the log.
    let share = state.long(caller.who.id(), Long::Export)?;
    let looks = Looks::from_now(&state.gate);
    state.gate.authorize(&caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
    // 2. Entry by entry, as fast as they take it.
    let (form, kind) = match query.format {
        LinesFormat::Jsonl => (Form::JsonLines, "application/x-ndjson"),
        LinesFormat::Csv => (Form::Csv, "text/csv; charset=utf-8; header=present"),
    };
    let filter =
        EntryFilter { mentions: query.about, actor: query.actor, name: names(query.event)?, from: query.since, until: query.until };
    let gate = Arc::clone(&state.gate);
    let begun = Lines { gate, caller, looks, filter, form, after: None, header: form == Form::Csv, done: false, _share: share };
    // The stream breaks off where the store or their right does, so that nobody takes a part for the whole.
    let mut response = Stream::from_stream(stream::try_unfold(begun, Lines::next)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// An export on its way.
struct Lines {
    gate: Arc<workflow::Gate>,
    caller: Caller,
    looks: Looks,
    filter: EntryFilter,
    form: Form,
    after: Option<i64>,
    header: bool,
    done: bool,
    _share: Share<PrincipalId>,
}

impl Lines {
    /// A reader holds their right all the time.
    async fn may_go_on(&self) -> bool {
        let right = Act::Administer(Noun::Audit);
        still_signed_in(&self.gate, &self.caller).await && self.gate.allowed(&self.caller, right, &Object::Nothing).await.is_ok()
    }

    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        if self.done {
            return Ok(None);
        }
        if self.looks.are_due() && !self.may_go_on().await {
            return Err(withdrawn());
        }
        let page = EntryPage { limit: AT_ONCE, after: self.after, newest_first: false };
        let found = self.gate.store().entries(&self.filter, page).await.map_err(std::io::Error::other)?;
        self.done = found.len() < AT_ONCE as usize;
        self.after = found.last().map(|logged| logged.seq).or(self.after);
        let mut lines = LineWriter::new(self.form, Vec::new())?;
        for logged in &found {
            lines.entry(&logged.entry)?;
        }
        let mut bytes = lines.finish()?;
        if self.form == Form::Csv && !std::mem::take(&mut self.header) {
            // Each part begins as a table of its own; only the first keeps its header.
            let end = bytes.iter().position(|b| *b == b'\n').map_or(0, |end| end + 1);
            bytes.drain(..end);
        }
        Ok(Some((bytes.into(), self)))
    }
}

/// Erases one text of an entry for good. Its digest stays, and the log verifies.
#[utoipa::path(post, path = "/audit/entries/{id}/erase", tag = "audit", params(("id" = schema::EntryId, Path)), request_body = TextErasure, responses((status = 204)))]
async fn erase(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<EntryId>,
    _: Unversioned,
    Body(body): Body<TextErasure>,
) -> Answer<StatusCode> {
    state.gate.erase_text(&caller, id, &body.text, &body.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives the newest signed checkpoint. It says how long the log is and nothing of what is in it.
#[utoipa::path(get, path = "/audit/checkpoint", tag = "audit", responses((status = 200, body = Checkpoint)))]
async fn checkpoint(State(state): State<ApiState>, Reads(_caller): Reads) -> Answer<Json<Checkpoint>> {
    let path = state.gate.settings().data_dir.join("audit").join("checkpoint");
    let note = tokio::fs::read_to_string(&path).await.map_err(|_| Refused::not_found())?;
    let verifier = state.gate.public_keys().checkpoint_verifier.unwrap_or_default();
    Ok(Json(Checkpoint { note, verifier }))
}

/// Tells the whole log again and names every row of the store that is not as the log says.
#[utoipa::path(post, path = "/audit/replay", tag = "audit", responses((status = 200, body = Replayed)))]
async fn replay(State(state): State<ApiState>, SignedIn(caller): SignedIn) -> Answer<Json<Replayed>> {
    state.gate.authorize(&caller, Act::Administer(Noun::Audit), &Object::Nothing).await?;
    let _share = state.long(caller.who.id(), Long::Search)?;
    let replay = state.gate.replay().await?;
    let differences = replay.differences.iter().map(|difference| Difference {
        table: difference.table.to_owned(),
        key: difference.key.clone(),
        says: difference.to_string(),
    });
    Ok(Json(Replayed { entries: replay.entries, differences: differences.collect() }))
}

/// Says who could have reached a resource at a time, by name: by grants that were open, and by the policy then in force.
#[utoipa::path(get, path = "/audit/who-could", tag = "audit", params(WhoCouldQuery), responses((status = 200, body = Page<Could>)))]
async fn who_could(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Asked(query): Asked<WhoCouldQuery>,
) -> Answer<Json<Page<Could>>> {
    let limit = limit(query.limit)? as usize;
    let behind: Option<Behind> = query.cursor.as_deref().map(key_in).transpose()?;
    // All parts of an answer speak of the moment that the first did.
    let at = behind.as_ref().map(|behind| behind.at).or(query.at).unwrap_or_else(|| state.gate.now());
    let _share = state.long(caller.who.id(), Long::Search)?;
    // One more than fits, to know whether there is more.
    let mut reaches = state.gate.who_could(&caller, &query.resource, at, behind.map(|behind| behind.last).as_ref(), limit + 1).await?;
    let more = reaches.len() > limit;
    reaches.truncate(limit);
    let next = reaches.last().filter(|_| more).map(|last| cursor_of(Behind { at, last: last.place() }));
    let mut show = Shown::new(&state.gate);
    let mut items = Vec::with_capacity(reaches.len());
    for reach in reaches {
        let by = match reach.by {
            By::Grant(grant) => ReachBy::Grant { grant },
            By::Ready(grant) => ReachBy::Ready { grant },
            By::AtOnce => ReachBy::AtOnce,
            By::Emergency => ReachBy::Emergency,
            By::Approval(people) => ReachBy::Approval { people },
        };
        items.push(Could { person: show.who(reach.person).await?, role: reach.role, by });
    }
    Ok(page(items, next))
}

/// Where a part of who could ends: of which moment it speaks, and the last way in on it.
struct Behind {
    at: Timestamp,
    last: Place,
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { username, role, by } = &self.last;
        write!(f, "{} {username} {role} ", self.at.as_microsecond())?;
        match by {
            By::Grant(grant) => write!(f, "grant {grant}"),
            By::Ready(grant) => write!(f, "ready {grant}"),
            By::AtOnce => f.write_str("at_once"),
            By::Approval(people) => write!(f, "approval {people}"),
            By::Emergency => f.write_str("emergency"),
        }
    }
}

impl FromStr for Behind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split(' ').collect();
        let [at, username, role, by @ ..] = words.as_slice() else { return Err(()) };
        let at = at.parse::<i64>().ok().and_then(|at| Timestamp::from_microsecond(at).ok()).ok_or(())?;
        let by = match by {
            ["grant", grant] => By::Grant(grant.parse().map_err(|_| ())?),
            ["ready", grant] => By::Ready(grant.parse().map_err(|_| ())?),
            ["at_once"] => By::AtOnce,
            ["approval", people] => By::Approval(people.parse().map_err(|_| ())?),
            ["emergency"] => By::Emergency,
            _ => return Err(()),
        };
        Ok(Self { at, last: Place { username: (*username).to_owned(), role: role.parse().map_err(|_| ())?, by } })
    }
}

/// Says who was on a resource between two times, oldest first.
#[utoipa::path(get, path = "/audit/who-did", tag = "audit", params(WhoDidQuery), responses((status = 200, body = Page<Did>)))]
async fn who_did(State(state): State<ApiState>, SignedIn(caller): SignedIn, Asked(query): Asked<WhoDidQuery>) -> Answer<Json<Page<Did>>> {
    let limit = limit(query.limit)?;
    let after: Option<SessionId> = query.cursor.as_deref().map(key_in).transpose()?;
    let from = query.since.unwrap_or(Timestamp::UNIX_EPOCH);
    let until = query.until.unwrap_or_else(|| state.gate.now());
    if until < from {
        return Err(Refused::from(access::reason::Refusal::because(Reason::Invalid, "`until` is before `since`")));
    }
    let _share = state.long(caller.who.id(), Long::Search)?;
    // One more than fits, to know whether there is more.
    let mut visits = state.gate.who_did(&caller, &query.resource, (from, until), after, limit + 1).await?;
    let more = visits.len() > limit as usize;
    visits.truncate(limit as usize);
    let next = visits.last().filter(|_| more).map(|last| cursor_of(last.session));
    let mut show = Shown::new(&state.gate);
    let mut items = Vec::with_capacity(visits.len());
    for visit in visits {
        let person = show.who(visit.person).await?;
        items.push(Did { person, role: visit.role, session: visit.session, from: visit.opened_at, until: visit.ended_at });
    }
    Ok(page(items, next))
}
