//! Vaults: whether each answers and lets the gate in, and whether what policy says is kept there is there. What it is, nobody is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::names::{ResourceName, VaultName};
use access::vault::{SecretSource, VaultSecret};
use credentials::vault::VaultError;
use policy::problem::nearest;
use policy::{Bundle, Credential, Resource};

use crate::config::Config;

use super::Finding;

const CHECK: &str = "vaults";

/// Everything about them.
pub(super) async fn vaults(config: &Config) -> Vec<Finding> {
    let vaults = match crate::vaults::vaults(config) {
        Ok(vaults) => Arc::new(vaults),
        Err(error) => return vec![Finding::fail(CHECK, format!("{error:#}"), "the gate does not start like this")],
    };
    let wanted = Bundle::load(&config.policy_dir).map(|bundle| wanted(&bundle)).unwrap_or_default();
    // All at the same time: one that is away takes its time to say so.
    let looks = config.vaults.iter().map(|one| {
        let (name, vaults) = (one.settings.name.clone(), Arc::clone(&vaults));
        (name.clone(), tokio::spawn(async move { vaults.look(&name).await }))
    });
    let looks: Vec<_> = looks.collect();
    let (mut findings, mut open) = (Vec::new(), Vec::new());
    for (name, look) in looks {
        let Ok(look) = look.await else { continue };
        let of_it = wanted.values().filter(|(secret, _)| *secret.vault() == name).count();
        if look.is_ok() {
            open.push(name.clone());
        }
        findings.push(looked(&name, look, of_it));
    }
    let known: Vec<&VaultName> = config.vaults.iter().map(|one| &one.settings.name).collect();
    let mut reads = Vec::new();
    for (secret, resources) in wanted.into_values() {
        if !known.contains(&secret.vault()) {
            findings.push(unknown(&secret, &resources, &known));
        } else if open.contains(secret.vault()) {
            let (asked, vaults) = (secret.clone(), Arc::clone(&vaults));
            reads.push((secret, resources, tokio::spawn(async move { vaults.fetch(&asked).await.map(drop) })));
        }
    }
    for (secret, resources, read) in reads {
        if let Ok(read) = read.await {
            findings.push(fetched(&secret, &resources, read));
        }
    }
    findings
}

/// What policy says is kept in vaults, each with what it opens.
fn wanted(bundle: &Bundle) -> BTreeMap<String, (VaultSecret, Vec<ResourceName>)> {
    let mut wanted = BTreeMap::new();
    for resource in bundle.resources() {
        for secret in fetched_for(resource) {
            let (_, resources) = wanted.entry(secret.to_string()).or_insert_with(|| (secret.clone(), Vec::new()));
            if !resources.contains(&resource.name) {
                resources.push(resource.name.clone());
            }
        }
    }
    wanted
}

fn fetched_for(resource: &Resource) -> impl Iterator<Item = &VaultSecret> {
    let of_it = match &resource.credential {
        Credential::Secret(source) => Some(source),
        Credential::TargetCa => None,
    };
    let sources = of_it.into_iter().chain(resource.accounts.as_ref().map(|maker| &maker.secret));
    sources.filter_map(|source| match source {
        SecretSource::Fetched(secret) => Some(secret),
        SecretSource::Sealed(_) => None,
    })
}

fn looked(name: &VaultName, look: Result<(), VaultError>, wanted: usize) -> Finding {
    match look {
        Ok(()) => Finding::ok(CHECK, format!("`{name}` answers and lets the gate in")),
        Err(error) => {
            let advice = match wanted {
                0 => "nothing in the policy needs it just now".to_owned(),
                _ => format!("until then nothing opens by the {wanted} of its secrets that the policy names"),
            };
            Finding::fail(CHECK, error.to_string(), advice)
        }
    }
}

fn unknown(secret: &VaultSecret, resources: &[ResourceName], known: &[&VaultName]) -> Finding {
    let near = nearest(secret.vault().as_str(), known.iter().map(|name| name.as_str()));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let says = format!("{} opened by `vault:{secret}`, and no `[[vault]]` has that name{near}", are(resources));
    Finding::fail(CHECK, says, "name it in the configuration; until then nothing opens there")
}

fn fetched(secret: &VaultSecret, resources: &[ResourceName], read: Result<(), VaultError>) -> Finding {
    match read {
        Ok(()) => Finding::ok(CHECK, format!("`vault:{secret}` is there; {} opened by it", are(resources))),
        Err(error) => {
            Finding::fail(CHECK, error.to_string(), format!("until then nothing opens where it is needed: {} opened by it", are(resources)))
        }
    }
}

fn are(resources: &[ResourceName]) -> String {
    let named: Vec<String> = resources.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", named.join(", "), if named.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use credentials::vault::Trouble;

    use super::super::Health;
    use super::*;

    // covers: CRED-1 (cli)
    #[test]
    fn a_vault_and_what_is_in_it_have_a_line_each() {
        let corp: VaultName = "corp".parse().unwrap();
        let secret: VaultSecret = "crop/kv/data/router-1#password".parse().unwrap();
        let routers: Vec<ResourceName> = vec!["router-1".parse().unwrap(), "router-2".parse().unwrap()];
        let sealed = || VaultError { vault: corp.clone(), trouble: Trouble::Sealed };
        assert_eq!(looked(&corp, Ok(()), 1).health, Health::Ok);
        let finding = looked(&corp, Err(sealed()), 2);
        assert!(finding.health == Health::Fail && finding.says.contains("`corp` is sealed"), "{finding:?}");
        assert!(finding.advice.unwrap().contains("the 2 of its secrets"));
        let finding = unknown(&secret, &routers, &[&corp]);
        assert!(
            finding.says.starts_with("`router-1`, `router-2` are opened by") && finding.says.ends_with("did you mean `corp`?"),
            "{finding:?}"
        );
        assert_eq!(fetched(&secret, &routers, Ok(())).health, Health::Ok);
        assert_eq!(fetched(&secret, &routers, Err(sealed())).health, Health::Fail);
    }
}
