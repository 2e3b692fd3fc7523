//! Lists and searches. What names one by its `userName`, `externalId`, `id` or `displayName` is found by that; all else is looked through.

use axum::extract::State;
use axum::response::Response;
use identity::scim::list::Query;
use identity::scim::{Directory, ScimError};
use serde_json::Value;
use workflow::Caller;

use super::answers::{ByDirectory, Said, ScimBody, ScimQuery, answered};
use super::kinds::{Kept, Kind};
use crate::problem::Refused;
use crate::state::{ApiState, Long};

/// How many are read at once when all are looked through.
const AT_ONCE: u32 = 1000;

pub(super) async fn list(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    ScimQuery(query): ScimQuery,
    kind: Kind,
) -> Result<Response, Said> {
    let (found, total) = search(&state, &caller, &query, kind).await?;
    Ok(answered(200, query.answer(found, total)))
}

pub(super) async fn posted(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    ScimBody(body): ScimBody,
    kind: Kind,
) -> Result<Response, Said> {
    let query = Query::of_body(&body)?;
    let (found, total) = search(&state, &caller, &query, kind).await?;
    Ok(answered(200, query.answer(found, total)))
}

/// Users and groups together (RFC 7644 §3.4.2.1): users first, then groups, each as far as the question is about them.
pub(super) async fn everything(
    State(state): State<ApiState>,
    ByDirectory(caller): ByDirectory,
    ScimBody(body): ScimBody,
) -> Result<Response, Said> {
    let query = Query::of_body(&body)?;
    let mut wrong = None;
    let (mut found, mut total) = (Vec::new(), 0u64);
    for kind in [Kind::User, Kind::Group] {
        // Each from its beginning, so that both together can be counted through.
        let whole = Query { start: 1, count: query.start.saturating_add(query.count), ..query.clone() };
        match search(&state, &caller, &whole, kind).await {
            Ok((some, of)) => {
                found.extend(some);
                total += of;
            }
            Err(error) if error.status == 400 && wrong.is_none() => wrong = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    if let (Some(error), true) = (wrong, found.is_empty() && total == 0) {
        return Err(error.into());
    }
    let skip = usize::try_from(query.start.saturating_sub(1)).unwrap_or(usize::MAX);
    let found = found.into_iter().skip(skip).take(query.count as usize).collect();
    Ok(answered(200, query.answer(found, total)))
}

async fn search(state: &ApiState, caller: &Caller, query: &Query, kind: Kind) -> Result<(Vec<Value>, u64), ScimError> {
    let directory = state.gate.directory_of(caller)?;
    query.check(kind.schema())?;
    let wanted = |name: &str| {
        let asked = query.filter.as_ref().is_some_and(|filter| filter.mentions(name));
        let sorted = query.order.as_ref().is_some_and(|order| order.by.name.eq_ignore_ascii_case(name));
        asked || sorted || query.shown.shows(name)
    };
    if query.is_plain() {
        let counts = state.gate.store().directory_counts(&directory.name).await.map_err(away)?;
        let rows = page(state, directory, kind, query.start.saturating_sub(1), query.count).await?;
        let total = match kind {
            Kind::User => counts.people,
            Kind::Group => counts.groups,
        };
        return Ok((bodies(state, &rows, wanted).await?, total));
    }
    if let Some(one) = by_name(state, caller, directory, query, kind).await? {
        let rows: Vec<Kept> = one.into_iter().collect();
        return Ok(query.choose(kind.schema(), bodies(state, &rows, wanted).await?));
    }
    let _share = state.long(caller.who.id(), Long::Search)?;
    let (mut all, mut skip) = (Vec::new(), 0);
    loop {
        let rows = page(state, directory, kind, skip, AT_ONCE).await?;
        all.extend(bodies(state, &rows, wanted).await?);
        if rows.len() < AT_ONCE as usize {
            return Ok(query.choose(kind.schema(), all));
        }
        skip += AT_ONCE;
    }
}

/// The one that a filter names by what it is found by; `None`: it names none so.
async fn by_name(
    state: &ApiState,
    caller: &Caller,
    directory: &Directory,
    query: &Query,
    kind: Kind,
) -> Result<Option<Option<Kept>>, ScimError> {
    let Some(filter) = &query.filter else { return Ok(None) };
    if let Some(id) = filter.is_just("id") {
        return match kind.find(state, caller, id).await {
            Ok(found) => Ok(Some(Some(found))),
            Err(error) if error.status == 404 => Ok(Some(None)),
            Err(error) => Err(error),
        };
    }
    let gate = &state.gate;
    Ok(match kind {
        Kind::User => match (filter.is_just("userName"), filter.is_just("externalId")) {
            (Some(name), _) => Some(gate.directory_user_named(directory, name).await?.map(Kept::from)),
            (_, Some(id)) => Some(gate.directory_user_called(directory, id).await?.map(Kept::from)),
            _ => None,
        },
        Kind::Group => match filter.is_just("displayName") {
            Some(name) => Some(gate.directory_group_named(directory, name).await?.map(Kept::from)),
            None => None,
        },
    })
}

async fn page(state: &ApiState, directory: &Directory, kind: Kind, skip: u32, limit: u32) -> Result<Vec<Kept>, ScimError> {
    let store = state.gate.store();
    Ok(match kind {
        Kind::User => store.directory_users(&directory.name, skip, limit).await.map_err(away)?.into_iter().map(Kept::from).collect(),
        Kind::Group => store.directory_groups(&directory.name, skip, limit).await.map_err(away)?.into_iter().map(Kept::from).collect(),
    })
}

async fn bodies(state: &ApiState, rows: &[Kept], wanted: impl Fn(&str) -> bool) -> Result<Vec<Value>, ScimError> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        all.push(row.body(state, &wanted).await?);
    }
    Ok(all)
}

fn away(error: workflow::read::StoreError) -> ScimError {
    Refused::from(error).into_refusal().into()
}
