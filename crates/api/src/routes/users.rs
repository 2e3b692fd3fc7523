//! `/users`, `/workloads` and `/me`: people and machines.

use access::ids::PrincipalId;
use access::names::{Selector, Username};
use access::verdict::Verdict;
use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use policy::{Act, Noun, Object};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::Gate;

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::idempotency::ShownOnce;
use crate::listing::{Listing, cursor_of, key_in, limit, listed, page};
use crate::problem::{Answer, Refused};
use crate::routes::policy::situation_of;
use crate::routes::resources::offers;
use crate::shown::{self, Shown};
use crate::sight::Sight;
use crate::state::ApiState;
use crate::types::grants::Because;
use crate::types::list::Page;
use crate::types::resources::RoleOffer;
use crate::types::schema;
use crate::types::users::{DisabledUser, Invited, Me, NewUser, NewWorkload, User, UsersQuery, WayIn, WaysInQuery};
use crate::version::{IfMatch, etag};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(me))
        .routes(routes!(list, create))
        .routes(routes!(create_workload))
        .routes(routes!(show))
        .routes(routes!(ways_in))
        .routes(routes!(invite))
        .routes(routes!(disable))
        .routes(routes!(enable))
}

/// Says who the caller is and what they may administer.
#[utoipa::path(get, path = "/me", tag = "users", responses((status = 200, body = Me)))]
async fn me(State(state): State<ApiState>, SignedIn(caller): SignedIn) -> Answer<Json<Me>> {
    let row = state.gate.store().person(caller.who.id()).await?.ok_or_else(Refused::not_found)?;
    let sight = Sight::of(&state.gate, &caller).await?;
    let administers = Noun::ALL.iter().filter(|noun| sight.administers(**noun)).map(|noun| noun.code().to_owned()).collect();
    let scopes = access::identity::Scope::ALL.iter().copied().filter(|scope| caller.who.may(*scope)).collect();
    Ok(Json(Me {
        user: Shown::new(&state.gate).user(row).await?,
        mfa: caller.who.mfa(),
        scopes,
        administers,
        mail: state.gate.sends_mail(),
        pins: state.gate.pins(&caller).await?,
    }))
}

/// Lists people and machines, newest first: to who administers them all, else oneself and the machines one answers for.
#[utoipa::path(get, path = "/users", tag = "users", params(UsersQuery), responses((status = 200, body = Page<User>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<UsersQuery>) -> Answer<Json<Page<User>>> {
    let gate = &state.gate;
    let sight = Sight::of(gate, &caller).await?;
    let (rows, next) = match &query.username {
        Some(name) => (named(gate, &sight, name).await?, None),
        None => {
            let mut listing = Listing::new::<PrincipalId>(query.limit, query.cursor.as_deref())?;
            listed!(listing, |page| gate.store().people(None, &page), |row| sees(&sight, &row).then_some(row));
            listing.done()
        }
    };
    let mut show = Shown::new(gate);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(show.user(row).await?);
    }
    Ok(page(items, next))
}

async fn named(gate: &Gate, sight: &Sight, name: &Username) -> Answer<Vec<access::identity::PersonRow>> {
    Ok(gate.store().person_named(name).await?.into_iter().filter(|row| sees(sight, row)).collect())
}

fn sees(sight: &Sight, row: &access::identity::PersonRow) -> bool {
    row.id == sight.situation.id
        || row.owner.is_some_and(|owner| PrincipalId::User(owner) == sight.situation.id)
        || sight.administers(Noun::Person)
        || sight.audits()
}

/// Shows somebody.
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = schema::PrincipalId, Path)), responses((status = 200, body = User)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<PrincipalId>) -> Answer<impl IntoResponse> {
    let sight = Sight::of(&state.gate, &caller).await?;
    let row = state.gate.store().person(id).await?.filter(|row| sees(&sight, row)).ok_or_else(Refused::not_found)?;
    Ok((etag(row.version), Json(Shown::new(&state.gate).user(row).await?)))
}

/// Says where somebody gets in by asking, as what, and by which policies, by resource and role: about oneself, or to who sees them and administers the
/// policy or reads the audit log.
#[utoipa::path(get, path = "/users/{id}/ways-in", tag = "users", params(("id" = schema::PrincipalId, Path), WaysInQuery), responses((status = 200, body = Page<WayIn>)))]
async fn ways_in(
    State(state): State<ApiState>,
    Reads(caller): Reads,
    Id(id): Id<PrincipalId>,
    Asked(query): Asked<WaysInQuery>,
) -> Answer<Json<Page<WayIn>>> {
    let limit = limit(query.limit)? as usize;
    let after: Option<Selector> = query.cursor.as_deref().map(key_in).transpose()?;
    let sight = Sight::of(&state.gate, &caller).await?;
    let row = state.gate.store().person(id).await?.filter(|row| sees(&sight, row)).ok_or_else(Refused::not_found)?;
    let own = id == caller.who.id();
    if !own && !sight.audits() {
        state.gate.authorize(&caller, Act::Administer(Noun::Bundle), &Object::Nothing).await?;
    }
    let situation = if own { sight.situation } else { situation_of(&state.gate, &row.username).await? };
    let bundle = sight.bundle;
    // Policy is asked about every role of every resource: not on a thread that others wait for.
    let found = tokio::task::spawn_blocking(move || {
        let asker = bundle.asker(&situation);
        let resources = bundle.resources().filter(|resource| after.as_ref().is_none_or(|after| resource.name >= after.resource));
        let ways = resources.flat_map(|resource| {
            let way = |(role, verdict): (RoleOffer, Verdict)| {
                let policies = verdict.policies().to_vec();
                WayIn { resource: resource.name.clone(), tier: resource.tier.clone(), role, policies }
            };
            offers(&asker, resource).into_iter().map(way).collect::<Vec<_>>()
        });
        let behind =
            |way: &WayIn| after.as_ref().is_none_or(|after| (&way.resource, Some(&way.role.role)) > (&after.resource, after.role.as_ref()));
        ways.filter(behind).take(limit + 1).collect::<Vec<_>>()
    });
    let mut items = found.await.map_err(|_| Refused::from(access::reason::Reason::Internal))?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| cursor_of(format!("{}+{}", last.resource, last.role.role)));
    Ok(page(items, next))
}

/// Makes a person known and invites them. The code is shown once.
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser, responses((status = 201, body = Invited)))]
async fn create(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(new): Body<NewUser>) -> Answer<impl IntoResponse> {
    let invited = state.gate.invite(&caller, new.username, new.display_name).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(show_invited(&state.gate, invited).await?)))
}

/// Invites somebody anew who lost their invitation or their keys. The code is shown once.
#[utoipa::path(post, path = "/users/{id}/invite", tag = "users", params(("id" = schema::PrincipalId, Path)), responses((status = 201, body = Invited)))]
async fn invite(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<PrincipalId>) -> Answer<impl IntoResponse> {
    let invited = state.gate.invite_again(&caller, id).await?;
    Ok((StatusCode::CREATED, Extension(ShownOnce), Json(show_invited(&state.gate, invited).await?)))
}

async fn show_invited(gate: &Gate, invited: workflow::people::Invited) -> Answer<Invited> {
    let user = Shown::new(gate).user(invited.person).await?;
    Ok(Invited { user, code: invited.code.expose().clone(), expires_at: invited.expires_at })
}

/// Makes a machine known, with the human who answers for it.
#[utoipa::path(post, path = "/workloads", tag = "users", request_body = NewWorkload, responses((status = 201, body = User)))]
async fn create_workload(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Body(new): Body<NewWorkload>,
) -> Answer<impl IntoResponse> {
    let row = state.gate.add_workload(&caller, new.username, new.owner, new.display_name).await?;
    Ok((StatusCode::CREATED, Json(Shown::new(&state.gate).user(row).await?)))
}

/// Keeps somebody from signing in; all that is open of theirs, and of machines they answer for, is cut.
#[utoipa::path(post, path = "/users/{id}/disable", tag = "users", params(("id" = schema::PrincipalId, Path), schema::IfMatch), request_body = Because, responses((status = 200, body = DisabledUser)))]
async fn disable(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    Id(id): Id<PrincipalId>,
    seen: IfMatch,
    Body(why): Body<Because>,
) -> Answer<Json<DisabledUser>> {
    let (row, cut) = state.gate.disable(&caller, seen.of(id), why.reason).await?;
    Ok(Json(DisabledUser { user: Shown::new(&state.gate).user(row).await?, cut: shown::cut(cut) }))
}

/// Lets somebody sign in again. What was withdrawn stays withdrawn.
#[utoipa::path(post, path = "/users/{id}/enable", tag = "users", params(("id" = schema::PrincipalId, Path), schema::IfMatch), responses((status = 200, body = User)))]
async fn enable(State(state): State<ApiState>, SignedIn(caller): SignedIn, Id(id): Id<PrincipalId>, seen: IfMatch) -> Answer<Json<User>> {
    let row = state.gate.enable(&caller, seen.of(id)).await?;
    Ok(Json(Shown::new(&state.gate).user(row).await?))
}
