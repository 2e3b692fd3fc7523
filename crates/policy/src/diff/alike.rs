//! Who and what two bundles treat alike, so that one of them is asked about for all.
//!
//! To policy a person is their groups, teams, schedules and contract, and a resource is its facts, until something speaks of one by name. So
//! people (or resources) with the same of these under both bundles, whom nothing names, get the same answers. Where a policy reads names as
//! such, nobody is like anybody.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use access::names::ResourceName;
use jiff::Timestamp;

use super::Whom;
use crate::Bundle;
use crate::facts::resources::Resource;

/// What of one's own is compared with nobody else's but the asker's, so that it says nothing of who the asker is.
const OWN: [&str; 2] = ["resource.person==principal.name", "principal.name==resource.person"];

/// The names that something speaks of; `None` if all may be meant.
pub(super) struct Named(Option<HashSet<String>>);

impl Named {
    pub(super) fn by(bundles: [&Bundle; 2]) -> Self {
        let mut words = HashSet::new();
        for (path, content) in bundles.into_iter().flat_map(Bundle::files) {
            // What these say comes with the person or the resource; cases decide nothing.
            if path == "people.toml" || path.starts_with("resources") || path.starts_with("tests/") {
                continue;
            }
            let text = String::from_utf8_lossy(content);
            if path.ends_with(".cedar") && reads_names(&text) {
                return Self(None);
            }
            words.extend(text.split(|c: char| !c.is_alphanumeric() && !"._-@".contains(c)).map(ToOwned::to_owned));
        }
        Self(Some(words))
    }

    fn is(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|words| words.contains(name))
    }
}

fn reads_names(policies: &str) -> bool {
    let dense: String = policies.split_whitespace().collect();
    let rest = OWN.iter().fold(dense, |text, own| text.replace(own, ""));
    rest.contains(".name") || rest.contains("[\"name\"]")
}

/// The people, those alike together.
pub(super) fn people<'w>(bundles: [&Bundle; 2], named: &Named, everybody: &'w BTreeSet<Whom>, moments: &[Timestamp]) -> Vec<Vec<&'w Whom>> {
    let mut alike: BTreeMap<String, Vec<&Whom>> = BTreeMap::new();
    for whom in everybody {
        let name = whom.username.as_str();
        let machine =
            |bundle: &Bundle| bundle.people().workloads.contains(&whom.username) || bundle.workloads().all.contains_key(&whom.username);
        let key = if named.is(name) || bundles.iter().any(|bundle| machine(bundle)) {
            format!("`{name}`")
        } else {
            let seen = |bundle: &Bundle| {
                let moments = moments.iter().map(|now| {
                    let who = whom.seen_by(bundle, *now)?;
                    let groups: BTreeSet<_> = bundle.groups_of(&who).into_iter().collect();
                    Some((groups, bundle.on_call_of(&who), bundle.contract(&who).cloned()))
                });
                format!("{:?}", moments.collect::<Vec<_>>())
            };
            bundles.map(seen).concat()
        };
        alike.entry(key).or_default().push(whom);
    }
    alike.into_values().collect()
}

/// The resources of either bundle, those alike together.
pub(super) fn resources(bundles: [&Bundle; 2], named: &Named) -> Vec<Vec<ResourceName>> {
    let all: BTreeSet<&ResourceName> = bundles.into_iter().flat_map(Bundle::resources).map(|resource| &resource.name).collect();
    let mut alike: BTreeMap<String, Vec<ResourceName>> = BTreeMap::new();
    for name in all {
        let key = if named.is(name.as_str()) { format!("`{name}`") } else { bundles.map(|bundle| facts(bundle, name)).concat() };
        alike.entry(key).or_default().push(name.clone());
    }
    alike.into_values().collect()
}

/// What policy knows of a resource beside its name and where it is. Contracts name resources too.
fn facts(bundle: &Bundle, name: &ResourceName) -> String {
    let Some(resource) = bundle.resource(name) else { return "none".to_owned() };
    let Resource { name: _, description: _, address: _, host_keys: _, kind, tier, environment, tags, owner, on_call, credential, .. } =
        resource;
    let Resource { default_role, login, principal, look_as, accounts, database, tls, .. } = resource;
    let contracts: Vec<_> = bundle.people().contractors.values().filter(|c| c.resources.contains(name)).map(|c| &c.name).collect();
    let to_cedar = (kind, tier, environment, tags, owner, on_call);
    let beside = (credential, default_role, login, principal, look_as, accounts, database, tls);
    format!("{to_cedar:?} {beside:?} {contracts:?}")
}
