//! `/policy`: what is in force, what would change, and why it says what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use access::event::Event;
use access::ids::BundleId;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::AccessRequest;
use access::time::Span;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use policy::{Act, Ask, Noun, Object, Situation};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::noise::Noise as Found;
use workflow::read::{EntryFilter, EntryPage};
use workflow::{Caller, Gate};

use crate::caller::{Reads, SignedIn};
use crate::extract::{Asked, Body, Id};
use crate::listing::{Listing, listed, page};
use crate::problem::{Answer, Refused};
use crate::routes::requests::meant;
use crate::shown;
use crate::sight::Sight;
use crate::state::ApiState;
use crate::types::list::{Page, PageQuery};
use crate::types::policy::{
    Activated, Activation, ActivationDetail, ChangedFile, Explain, Explained, Noise, NoisyPolicies, NoisyPolicy, NoisyQuery, Policy,
    PolicyDiff, PolicyFiles,
};
use crate::types::requests::NewRequest;
use crate::types::schema;
use crate::version::{IfMatch, etag};

/// How long two policies are compared at most before what was found is told.
const COMPARES_FOR: Duration = Duration::from_secs(30);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(history))
        .routes(routes!(activation))
        .routes(routes!(push))
        .routes(routes!(diff))
        .routes(routes!(explain))
        .routes(routes!(noisy))
        .routes(routes!(playbook))
}

/// Says which policy is in force.
#[utoipa::path(get, path = "/policy", tag = "policy", responses((status = 200, body = Policy)))]
async fn show(State(state): State<ApiState>, Reads(_caller): Reads) -> Answer<impl IntoResponse> {
    let digest = state.gate.bundle().digest().to_owned();
    let newest = state.gate.store().newest_bundle().await?;
    let activated_at = newest.filter(|row| row.digest == digest).map(|row| row.activated_at);
    Ok((etag(&digest), Json(Policy { digest, activated_at })))
}

/// Lists paths in that decide nothing: approved nearly always, denied nearly always, or never used; each with what could be done.
#[utoipa::path(get, path = "/policy/noisy", tag = "policy", params(NoisyQuery), responses((status = 200, body = NoisyPolicies)))]
async fn noisy(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<NoisyQuery>) -> Answer<Json<NoisyPolicies>> {
    let found = state.gate.noisy_policies(&caller, query.time.unwrap_or(Span::hours(90 * 24))).await?;
    let items = found.noisy.into_iter().map(|noisy| NoisyPolicy {
        policy: noisy.path.policy,
        place: noisy.path.place,
        noise: match noisy.noise {
            Found::Approved => Noise::Approved,
            Found::Denied => Noise::Denied,
            Found::Unused => Noise::Unused,
        },
        asked: noisy.counted.asked,
        approved: noisy.counted.approved,
        denied: noisy.counted.denied,
        expired: noisy.counted.expired,
        proposal: noisy.proposal,
        change: noisy.change.map(|change| ChangedFile { path: change.file, before: Some(change.before), after: Some(change.after) }),
    });
    Ok(Json(NoisyPolicies { since: found.since, bundle: found.bundle, items: items.collect() }))
}

/// Writes what to do in an emergency out of the policy in force: who may declare one where, how, and what follows. Markdown.
#[utoipa::path(get, path = "/policy/playbook", tag = "policy", responses((status = 200, body = String, content_type = "text/markdown")))]
async fn playbook(State(state): State<ApiState>, Reads(caller): Reads) -> Answer<impl IntoResponse> {
    let gate = &state.gate;
    let acts = [Noun::Bundle, Noun::Audit, Noun::Review].map(Act::Administer);
    let mut may = false;
    for act in acts {
        may = may || gate.allowed(&caller, act, &Object::Nothing).await.is_ok();
    }
    if !may {
        gate.authorize(&caller, Act::Administer(Noun::Bundle), &Object::Nothing).await?;
    }
    let (bundle, now) = (gate.bundle(), gate.now());
    // Policy is asked about everybody: not on a thread that others wait for.
    let written = tokio::task::spawn_blocking(move || policy::playbook::write(&bundle, now));
    let text = written.await.map_err(|_| Refused::from(Reason::Internal))?;
    Ok(([(axum::http::header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text))
}

/// Lists activations, newest first.
#[utoipa::path(get, path = "/policy/history", tag = "policy", params(PageQuery), responses((status = 200, body = Page<Activation>)))]
async fn history(State(state): State<ApiState>, Reads(_caller): Reads, Asked(query): Asked<PageQuery>) -> Answer<Json<Page<Activation>>> {
    let mut listing = Listing::new::<BundleId>(query.limit, query.cursor.as_deref())?;
    listed!(listing, |page| state.gate.store().bundles(&page), |row| Some(row));
    let (rows, next) = listing.done();
    let shown = |row: access::bundle::BundleRow| Activation {
        id: row.id,
        digest: row.digest,
        previous: row.previous,
        activated_at: row.activated_at,
    };
    Ok(page(rows.into_iter().map(shown).collect(), next))
}

/// Shows an activation and what it changed: to who administers the policy or reads the audit log.
#[utoipa::path(get, path = "/policy/history/{id}", tag = "policy", params(("id" = schema::BundleId, Path)), responses((status = 200, body = ActivationDetail)))]
async fn activation(State(state): State<ApiState>, Reads(caller): Reads, Id(id): Id<BundleId>) -> Answer<Json<ActivationDetail>> {
    // 1. May they? Files of a policy name machines and people.
    let sight = Sight::of(&state.gate, &caller).await?;
    if !sight.audits() {
        state.gate.authorize(&caller, Act::Administer(Noun::Bundle), &Object::Nothing).await?;
    }
    // 2. What the log says of it.
    let filter = EntryFilter { mentions: Some(id.to_string()), name: Some("bundle.activated".to_owned()), ..EntryFilter::default() };
    let found = state.gate.store().entries(&filter, EntryPage { limit: 1, after: None, newest_first: true }).await?;
    let entry = found.into_iter().next().ok_or_else(Refused::not_found)?.entry;
    let Event::BundleActivated { bundle, digest, previous } = entry.event else { return Err(Refused::not_found()) };
    // 3. The files that differ.
    let after = contents(&state.gate, &digest).await?;
    let before = match &previous {
        Some(previous) => contents(&state.gate, previous).await?,
        None => BTreeMap::new(),
    };
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    let files = changed.map(|path| ChangedFile { path: path.clone(), before: before.get(path).cloned(), after: after.get(path).cloned() });
    let files = files.collect();
    let diff = entry.texts.get("diff").map(|text| text.text.clone());
    let activation = Activation { id: bundle, digest, previous, activated_at: entry.at };
    Ok(Json(ActivationDetail { activation, by: entry.actor, diff, files }))
}

async fn contents(gate: &Gate, digest: &str) -> Answer<BTreeMap<String, String>> {
    let files = gate.store().bundle_files(digest).await?;
    Ok(files.into_iter().map(|file| (file.path, file.content)).collect())
}

/// Puts a policy directory in force, whole or not at all; what no path covers any more is withdrawn and cut.
#[utoipa::path(post, path = "/policy/push", tag = "policy", params(schema::IfMatch), request_body = PolicyFiles, responses((status = 200, body = Activated)))]
async fn push(
    State(state): State<ApiState>,
    SignedIn(caller): SignedIn,
    seen: IfMatch,
    Body(sent): Body<PolicyFiles>,
) -> Answer<Json<Activated>> {
    let activated = state.gate.push_bundle(&caller, seen.of(files(sent)?)).await?;
    Ok(Json(Activated { digest: activated.digest, changed: activated.changed, diff: activated.diff, withdrawn: activated.withdrawn }))
}

/// Says who would gain and who would lose which access, against the policy in force.
#[utoipa::path(post, path = "/policy/diff", tag = "policy", request_body = PolicyFiles, responses((status = 200, body = PolicyDiff)))]
async fn diff(State(state): State<ApiState>, SignedIn(caller): SignedIn, Body(sent): Body<PolicyFiles>) -> Answer<Json<PolicyDiff>> {
    state.gate.authorize(&caller, Act::Administer(Noun::Bundle), &Object::Nothing).await?;
    let files = files(sent)?;
    let mut everybody = state.gate.everybody().await?;
    let (in_force, now) = (state.gate.bundle(), state.gate.now());
    let compared = tokio::task::spawn_blocking(move || {
        let next = policy::Bundle::from_files(files).map_err(|problems| Refusal::because(Reason::Invalid, problems.to_string()))?;
        everybody.extend(policy::diff::Whom::on_call([&*in_force, &next]));
        let since = Instant::now();
        let diff = policy::diff::diff_while(&in_force, &next, &everybody, now, || since.elapsed() < COMPARES_FOR).to_string();
        Ok::<_, Refusal>(PolicyDiff { digest: next.digest().to_owned(), diff })
    });
    Ok(Json(compared.await.map_err(|_| Refused::from(Reason::Internal))??))
}

fn files(sent: PolicyFiles) -> Answer<BTreeMap<String, Vec<u8>>> {
    let decoded = sent.files.into_iter().map(|(path, text)| match BASE64_STANDARD.decode(&text) {
        Ok(bytes) => Ok((path, bytes)),
        Err(_) => Err(Refused::invalid(format!("the file `{}` is not base64", path.escape_default()))),
    });
    decoded.collect()
}

/// Says step by step why policy says what it says: to the caller about themselves, to who administers the policy about anybody.
#[utoipa::path(post, path = "/policy/explain", tag = "policy", request_body = Explain, responses((status = 200, body = Explained)))]
async fn explain(State(state): State<ApiState>, Reads(caller): Reads, Body(question): Body<Explain>) -> Answer<Json<Explained>> {
    let explanation = match question.who {
        Some(who) if who != *caller.who.username() => {
            state.gate.authorize(&caller, Act::Administer(Noun::Bundle), &Object::Nothing).await?;
            let mut situation = situation_of(&state.gate, &who).await?;
            situation.on_call = question.on_call;
            let ask = meant_for(&state.gate, &caller, &situation, question.request)?;
            let explanation = state.gate.bundle().explain(&situation, &Ask::from(&ask));
            (ask, explanation)
        }
        _ => {
            let ask = meant(&state.gate, &caller, question.request).await?;
            let explanation = state.gate.explain(&caller, &ask).await?;
            (ask, explanation)
        }
    };
    let (ask, explanation) = explanation;
    let text = explanation.to_string();
    Ok(Json(Explained { verdict: shown::verdict(&explanation.verdict, ask.resource, ask.role), text }))
}

/// Somebody else, as if they asked now without any proof.
pub(super) async fn situation_of(gate: &Gate, who: &access::names::Username) -> Answer<Situation> {
    let row = gate.store().person_named(who).await?;
    let row = row.ok_or_else(|| Refused::from(Refusal::because(Reason::NotFound, format!("nobody is called `{who}`"))))?;
    let owner = match row.owner {
        Some(owner) => gate.store().person(owner.into()).await?.map(|owner| owner.username),
        None => None,
    };
    let groups = gate.stored_groups(&row).await?;
    let mut situation = Situation::new(row.id, row.username, gate.now());
    situation.owner = owner;
    situation.roster = gate.roster();
    situation.store_groups = groups;
    Ok(situation)
}

/// What somebody else would mean: the role has to be named unless only one is open to them.
fn meant_for(gate: &Gate, caller: &Caller, who: &Situation, new: NewRequest) -> Answer<AccessRequest> {
    let NewRequest { resource, role, duration, reason, ticket, limits, break_glass, activate: _ } = new;
    let role = match role {
        Some(role) => role,
        None => match gate.bundle().open_roles(who, &resource).as_slice() {
            [one] => one.clone(),
            several => {
                let names: Vec<String> =
                    several.iter().map(|role| Selector { resource: resource.clone(), role: Some(role.clone()) }.to_string()).collect();
                return Err(Refusal::because(Reason::RoleRequired, names.join(", ")).into());
            }
        },
    };
    let asked = duration.unwrap_or_default();
    Ok(AccessRequest { resource, role, asked, reason, ticket, limits: limits.into(), break_glass, door: caller.door })
}
