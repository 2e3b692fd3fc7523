//! `/inventory`: ways to production that do not pass the gate, and what targets hold that it did not put there. For who keeps the inventory
//! (`administer:inventory`) or reads the whole log.

use std::collections::BTreeMap;

use access::ids::{FindingId, PathId};
use access::inventory::{Attribution, FindingRow, Issuance, LookRow, PathRow, PathState};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::inventory::{About, List, NewPath};
use workflow::read::{FindingFilter, PathFilter};

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::{Answer, Refused};
use crate::shown::Shown;
use crate::state::ApiState;
use crate::types::inventory::{
    Acceptance, Backlog, BacklogQuery, BacklogWeek, Closing, DriftFinding, FindingsQuery, Import, Imported, KnownWay, Look, Looked, Looks,
    NewLook, NewWay, WayCounts, WaySource, WaysQuery,
};
use crate::types::list::Page;
use crate::types::schema;
use crate::version::IfMatch;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(backlog))
        .routes(routes!(looks, look))
        .routes(routes!(findings))
        .routes(routes!(accept_finding))
        .routes(routes!(import))
        .routes(routes!(ways, add))
        .routes(routes!(accept))
        .routes(routes!(close))
        .routes(routes!(reopen))
}

/// Imports a list of ways: all of it, or nothing. The same list again changes nothing; what it does not name any more is gone.
#[utoipa::path(post, path = "/inventory/import", tag = "inventory", request_body = Import, responses((status = 200, body = Imported)))]
async fn import(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(list): Body<Import>) -> Answer<Json<Imported>> {
    let Import { kind, content, source, on, account, of, file } = list;
    for text in [&on, &account, &of, &file].into_iter().flatten() {
        if text.chars().count() > 255 {
            return Err(Refused::invalid("`on`, `account`, `of` and `file` have at most 255 characters"));
        }
    }
    let facts = &state.facts;
    let hosts =
        [facts.ssh.as_ref().map(|ssh| &ssh.host), facts.postgres.as_ref().map(|at| &at.host), facts.mysql.as_ref().map(|at| &at.host)];
    let gate_hosts = hosts.into_iter().flatten().cloned().collect();
    let about = About { on, account, of, gate_hosts, ..About::default() };
    let done = state.gate.import_inventory(&caller, List { kind, source, about, content: content.into_bytes(), file }).await?;
    let workflow::inventory::Imported { source, same, paths, found, changed, back, gone, taken_in, skipped, notes } = done;
    Ok(Json(Imported { source, same, paths, found, changed, back, gone, taken_in, skipped, notes }))
}

/// Lists ways, newest first.
#[utoipa::path(get, path = "/inventory/paths", tag = "inventory", params(WaysQuery), responses((status = 200, body = Page<KnownWay>)))]
async fn ways(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<WaysQuery>) -> Answer<Json<Page<KnownWay>>> {
    let gate = &state.gate;
    gate.may_see_inventory(&caller).await?;
    let filter = PathFilter { state: query.state, source: query.source, reach: query.reach };
    let mut listing = Listing::new::<PathId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().inventory_paths(&filter, &page), |row| Some(row));
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(way(&mut show, row).await?);
    }
    Ok(page(items, next))
}

/// Enters a way that no list names.
#[utoipa::path(post, path = "/inventory/paths", tag = "inventory", request_body = NewWay, responses((status = 201, body = KnownWay)))]
async fn add(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(new): Body<NewWay>) -> Answer<impl IntoResponse> {
    let NewWay { reach, target, account, holder, issuance, attribution, note } = new;
    let (issuance, attribution) = (issuance.unwrap_or(Issuance::Unknown), attribution.unwrap_or(Attribution::Unknown));
    let row = state.gate.add_path(&caller, NewPath { reach, target, account, holder, issuance, attribution, note }).await?;
    Ok((StatusCode::CREATED, Json(way(&mut Shown::new(&state.gate), row).await?)))
}

/// Says why a way stays, until a date.
#[utoipa::path(post, path = "/inventory/paths/{id}/accept", tag = "inventory", params(("id" = schema::PathId, Path), schema::IfMatch), request_body = Acceptance, responses((status = 200, body = KnownWay)))]
async fn accept(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<PathId>,
    seen: IfMatch,
    Body(said): Body<Acceptance>,
) -> Answer<Json<KnownWay>> {
    let until = said.until.ok_or_else(|| Refused::invalid("say until when, as in `\"until\": \"2027-01-01T00:00:00Z\"`"))?;
    let row = state.gate.accept_path(&caller, seen.of(id), until, &said.reason).await?;
    Ok(Json(way(&mut Shown::new(&state.gate), row).await?))
}

/// Says that a way is closed.
#[utoipa::path(post, path = "/inventory/paths/{id}/close", tag = "inventory", params(("id" = schema::PathId, Path), schema::IfMatch), request_body = Closing, responses((status = 200, body = KnownWay)))]
async fn close(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<PathId>,
    seen: IfMatch,
    Body(said): Body<Closing>,
) -> Answer<Json<KnownWay>> {
    let row = state.gate.close_path(&caller, seen.of(id), &said.reason).await?;
    Ok(Json(way(&mut Shown::new(&state.gate), row).await?))
}

/// Takes back that a way was closed or accepted.
#[utoipa::path(post, path = "/inventory/paths/{id}/reopen", tag = "inventory", params(("id" = schema::PathId, Path), schema::IfMatch), responses((status = 200, body = KnownWay)))]
async fn reopen(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<PathId>, seen: IfMatch) -> Answer<Json<KnownWay>> {
    let row = state.gate.reopen_path(&caller, seen.of(id)).await?;
    Ok(Json(way(&mut Shown::new(&state.gate), row).await?))
}

/// Says how large the backlog is, and whether it shrinks.
#[utoipa::path(get, path = "/inventory/backlog", tag = "inventory", params(BacklogQuery), responses((status = 200, body = Backlog)))]
async fn backlog(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<BacklogQuery>) -> Answer<Json<Backlog>> {
    let found = state.gate.backlog(&caller, query.weeks.unwrap_or(12)).await?;
    Ok(Json(Backlog {
        now: counts(&found.now),
        weeks: found.weeks.into_iter().map(|week| BacklogWeek { at: week.at, ways: counts(&week.counts) }).collect(),
        sources: found
            .sources
            .into_iter()
            .map(|row| WaySource { name: row.id, kind: row.kind, paths: row.paths, imported_at: row.imported_at })
            .collect(),
    }))
}

/// Says when which target was looked at for what the gate did not put there.
#[utoipa::path(get, path = "/inventory/drift", tag = "inventory", responses((status = 200, body = Looks)))]
async fn looks(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<Json<Looks>> {
    state.gate.may_see_inventory(&caller).await?;
    let items = state.gate.store().drift_looks().await?.into_iter().map(shown_look).collect();
    Ok(Json(Looks { every: state.gate.drift_every(), items }))
}

/// Looks at a target for what the gate did not put there.
#[utoipa::path(post, path = "/inventory/drift", tag = "inventory", request_body = NewLook, responses((status = 200, body = Looked)))]
async fn look(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(wanted): Body<NewLook>) -> Answer<Json<Looked>> {
    let looked = state.gate.look_for_drift(&caller, &wanted.resource).await?;
    let mut show = Shown::new(&state.gate);
    let mut findings = Vec::with_capacity(looked.findings.len());
    for row in looked.findings {
        findings.push(finding(&mut show, row).await?);
    }
    Ok(Json(Looked { look: shown_look(looked.look), new: looked.new, mended: looked.mended, findings }))
}

/// Lists findings, newest first.
#[utoipa::path(get, path = "/inventory/findings", tag = "inventory", params(FindingsQuery), responses((status = 200, body = Page<DriftFinding>)))]
async fn findings(
    State(state): State<ApiState>,
    Reads(caller): Reads,
    Asked(query): Asked<FindingsQuery>,
) -> Answer<Json<Page<DriftFinding>>> {
    let gate = &state.gate;
    gate.may_see_inventory(&caller).await?;
    let filter = FindingFilter { state: query.state, resource: query.resource, kind: query.kind };
    let mut listing = Listing::new::<FindingId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| gate.store().findings(&filter, &page), |row| Some(row));
    let (rows, next) = listing.done();
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(finding(&mut show, row).await?);
    }
    Ok(page(items, next))
}

/// Says why a finding may stay.
#[utoipa::path(post, path = "/inventory/findings/{id}/accept", tag = "inventory", params(("id" = schema::FindingId, Path), schema::IfMatch), request_body = Acceptance, responses((status = 200, body = DriftFinding)))]
async fn accept_finding(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<FindingId>,
    seen: IfMatch,
    Body(said): Body<Acceptance>,
) -> Answer<Json<DriftFinding>> {
    let row = state.gate.accept_finding(&caller, seen.of(id), said.until, &said.reason).await?;
    Ok(Json(finding(&mut Shown::new(&state.gate), row).await?))
}

fn counts(of: &BTreeMap<PathState, u64>) -> WayCounts {
    let count = |state| of.get(&state).copied().unwrap_or(0);
    WayCounts {
        open: count(PathState::Open),
        taken_in: count(PathState::TakenIn),
        accepted: count(PathState::Accepted),
        closed: count(PathState::Closed),
        gone: count(PathState::Gone),
    }
}

fn shown_look(row: LookRow) -> Look {
    let LookRow { id, tried_at, seen_at, failed, detail, findings, version: _ } = row;
    Look { resource: id, tried_at, seen_at, failed, detail, findings }
}

async fn way(show: &mut Shown<'_>, row: PathRow) -> Answer<KnownWay> {
    let person = match row.person {
        Some(person) => Some(show.who(person).await?),
        None => None,
    };
    let decided_by = match row.decided_by {
        Some(person) => Some(show.who(person).await?),
        None => None,
    };
    Ok(KnownWay {
        id: row.id,
        source: row.source,
        reach: row.reach,
        target: row.target,
        account: row.account,
        holder: row.holder,
        person,
        issuance: row.issuance,
        attribution: row.attribution,
        detail: row.detail.map(|detail| detail.lines().map(str::to_owned).collect()).unwrap_or_default(),
        state: row.state,
        resource: row.resource,
        accepted_until: row.accepted_until,
        decided_by,
        reason: row.reason,
        found_at: row.found_at,
        since: row.since,
        version: row.version,
    })
}

async fn finding(show: &mut Shown<'_>, row: FindingRow) -> Answer<DriftFinding> {
    let decided_by = match row.decided_by {
        Some(person) => Some(show.who(person).await?),
        None => None,
    };
    Ok(DriftFinding {
        id: row.id,
        resource: row.resource,
        kind: row.kind,
        subject: row.subject,
        detail: row.detail,
        state: row.state,
        accepted_until: row.accepted_until,
        decided_by,
        reason: row.reason,
        found_at: row.found_at,
        since: row.since,
        version: row.version,
    })
}
