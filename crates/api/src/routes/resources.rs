//! `/resources`: what one can ask for, and what it would take.

use std::collections::BTreeSet;

use access::names::{ResourceName, RoleName};
use access::vault::SecretSource;
use access::verdict::{Answer as Said, Terms, Verdict};
use axum::Json;
use axum::extract::State;
use policy::Credential;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use workflow::Gate;

use crate::caller::Reads;
use crate::extract::{Asked, Id};
use crate::listing::{cursor_of, key_in, limit, page};
use crate::problem::{Answer, Refused};
use crate::shown;
use crate::sight::Sight;
use crate::state::ApiState;
use crate::types::list::Page;
use crate::types::requests::AnswerCode;
use crate::types::resources::{Resource, ResourceDetail, ResourcesQuery, RoleDetail, RoleOffer, Setup, SetupFile, TargetCredential};
use crate::types::schema;
use crate::worded::in_words;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show))
}

/// Lists the resources on which a role is open to the caller, in an emergency at least, by name.
#[utoipa::path(get, path = "/resources", tag = "resources", params(ResourcesQuery), responses((status = 200, body = Page<Resource>)))]
async fn list(State(state): State<ApiState>, Reads(caller): Reads, Asked(query): Asked<ResourcesQuery>) -> Answer<Json<Page<Resource>>> {
    let limit = limit(query.limit)? as usize;
    let after: Option<ResourceName> = query.cursor.as_deref().map(key_in).transpose()?;
    let sight = Sight::of(&state.gate, &caller).await?;
    let all = query.all && administers_some(&sight);
    // Policy is asked about every role of every resource on the way: not on a thread that others wait for.
    let (bundle, situation) = (sight.bundle, sight.situation);
    let found = tokio::task::spawn_blocking(move || {
        let mut names: Vec<&policy::Resource> = bundle.resources().filter(|r| after.as_ref().is_none_or(|after| r.name > *after)).collect();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let asker = bundle.asker(&situation);
        let offered = names.into_iter().filter_map(|resource| {
            let roles: Vec<RoleOffer> = offers(&asker, resource).into_iter().map(|(offer, _)| offer).collect();
            (all || !roles.is_empty()).then(|| outline(resource, roles))
        });
        offered.take(limit + 1).collect::<Vec<_>>()
    });
    let mut items = found.await.map_err(|_| Refused::from(access::reason::Reason::Internal))?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| cursor_of(&last.name));
    Ok(page(items, next))
}

/// Shows a resource: its roles, what each may do and would take, and, to who administers it, how to set it up.
#[utoipa::path(get, path = "/resources/{name}", tag = "resources", params(("name" = schema::ResourceName, Path)), responses((status = 200, body = ResourceDetail)))]
async fn show(State(state): State<ApiState>, Reads(caller): Reads, Id(name): Id<ResourceName>) -> Answer<Json<ResourceDetail>> {
    // 1. Is there one for the caller: does a path lead there, or do they hold a grant?
    let sight = Sight::of(&state.gate, &caller).await?;
    let (bundle, situation) = (&sight.bundle, &sight.situation);
    let asker = bundle.asker(situation);
    let resource = bundle.resource(&name).ok_or_else(Refused::not_found)?;
    let held = state.gate.roles_held(&caller, &name).await?;
    let administers = administers_some(&sight);
    if !administers && held.is_empty() && !asker.leads_to(&name) {
        return Err(Refused::not_found());
    }
    // 2. What its roles may do.
    let mut rights = Vec::new();
    for role in bundle.roles_for(&name) {
        if !administers && !held.contains(&role.name) && !asker.leads_to_role(&name, &role.name) {
            continue;
        }
        let (verdict, _) = asker.offered(&name, &role.name);
        rights.push(RoleDetail {
            role: role.name.clone(),
            login: bundle.login(&role.name, &name).unwrap_or(&role.login).to_owned(),
            may: in_words(&bundle.rights(situation, &role.name, &name).unwrap_or_else(|| role.rights.clone())),
            verdict: shown::verdict(&verdict, name.clone(), role.name.clone()),
        });
    }
    // 3. How it is set up.
    let setup = if administers { Some(setup(&state.gate, &state, resource).await?) } else { None };
    let roles = offers(&asker, resource).into_iter().map(|(offer, _)| offer).collect();
    Ok(Json(ResourceDetail { resource: outline(resource, roles), rights, setup }))
}

/// Whether somebody sees resources on which nothing is open to them.
fn administers_some(sight: &Sight) -> bool {
    workflow::decide::sees_all_resources(&sight.bundle, &sight.situation)
}

/// The roles on a resource that are open to somebody, in an emergency at least, and what policy said to each.
pub(super) fn offers(asker: &policy::Asker<'_>, resource: &policy::Resource) -> Vec<(RoleOffer, Verdict)> {
    let mut offers = Vec::new();
    for role in asker.bundle().roles_for(&resource.name) {
        let (verdict, emergency) = asker.offered(&resource.name, &role.name);
        let answer = shown::answer_code(verdict.answer());
        if answer == AnswerCode::Deny {
            continue;
        }
        let offer = RoleOffer {
            role: role.name.clone(),
            description: role.description.clone(),
            default: is_default(resource, &role.name),
            emergency,
            answer,
            takes: if emergency { format!("in an emergency alone; {}", takes(verdict.answer())) } else { takes(verdict.answer()) },
        };
        offers.push((offer, verdict));
    }
    offers
}

fn is_default(resource: &policy::Resource, role: &RoleName) -> bool {
    resource.default_role.as_ref() == Some(role)
}

fn outline(resource: &policy::Resource, roles: Vec<RoleOffer>) -> Resource {
    Resource {
        name: resource.name.clone(),
        description: resource.description.clone(),
        kind: resource.kind.to_string(),
        tier: resource.tier.clone(),
        environment: resource.environment.clone(),
        tags: resource.tags.clone(),
        owner: resource.owner.clone(),
        roles,
    }
}

/// What an ordinary request would take, as a sentence without a full stop.
fn takes(said: &Said) -> String {
    let cost = |terms: &Terms| {
        let people: Vec<String> = terms
            .approvals
            .iter()
            .flat_map(|plan| &plan.stages)
            .map(|stage| {
                let seats: Vec<String> = stage.seats.iter().map(ToString::to_string).collect();
                format!("{} of {}", stage.count, seats.join(" or "))
            })
            .collect();
        let who = if people.is_empty() { "nobody has to agree".to_owned() } else { format!("{} must agree", people.join(" and ")) };
        format!("{who}; {} by default, at most {}", terms.default, terms.max)
    };
    match said {
        Said::Permit { terms } | Said::NeedsApproval { terms } => cost(terms),
        Said::StepUp { needs, terms } => {
            let mut first = Vec::new();
            first.extend(needs.mfa.map(|kind| format!("a fresh proof of kind `{kind}`")));
            first.extend(needs.ticket.then(|| "a ticket".to_owned()));
            format!("first {}; then {}", first.join(" and "), cost(terms))
        }
        Said::Deny { detail, .. } => detail.clone(),
    }
}

const CA_FILE: &str = "/etc/ssh/tidegate_target_ca.pub";
const PRINCIPALS: &str = "/etc/ssh/tidegate_principals";

/// Whom each account of a machine lets in, where it wants others than those of its name.
fn principals(bundle: &policy::Bundle, resource: &policy::Resource) -> Vec<SetupFile> {
    if resource.principal.is_none() {
        return Vec::new();
    }
    let roles = bundle.roles().filter_map(|role| bundle.login(&role.name, &resource.name));
    let logins: BTreeSet<&str> = roles.chain(resource.look_as.as_deref()).collect();
    logins.into_iter().map(|login| SetupFile { path: format!("{PRINCIPALS}/{login}"), lines: vec![resource.principal(login)] }).collect()
}

async fn setup(gate: &Gate, state: &ApiState, resource: &policy::Resource) -> Answer<Setup> {
    let (credential, files) = match &resource.credential {
        Credential::TargetCa => {
            // While one CA takes the place of another, targets trust both.
            let lines = state.facts_now().target_cas.into_iter().map(|ca| ca.public_key).collect();
            let mut settings = vec![format!("TrustedUserCAKeys {CA_FILE}")];
            let principals = principals(&gate.bundle(), resource);
            if !principals.is_empty() {
                settings.push(format!("AuthorizedPrincipalsFile {PRINCIPALS}/%u"));
            }
            let mut files = vec![
                SetupFile { path: CA_FILE.to_owned(), lines },
                SetupFile { path: "/etc/ssh/sshd_config.d/tidegate.conf".to_owned(), lines: settings },
            ];
            files.extend(principals);
            (TargetCredential::TargetCa, files)
        }
        Credential::Secret(SecretSource::Sealed(name)) => {
            let set = gate.store().secret(name).await?.is_some();
            (TargetCredential::Secret { name: name.clone(), set }, Vec::new())
        }
        Credential::Secret(SecretSource::Fetched(secret)) => (TargetCredential::Vault { secret: secret.to_string() }, Vec::new()),
    };
    Ok(Setup { address: resource.address.to_string(), host_keys: resource.host_keys.clone(), credential, files })
}
