//! Databases: whether logins of roles may end there what others run.
//!
//! Restricted roles have accounts with their rights alone. Whoever may do anything there that a login may can compute a `KILL` that nobody
//! reads before it is run.

use std::collections::BTreeSet;

use access::names::ResourceName;
use access::rights::Rights;
use access::secret::Secret;
use access::vault::SecretSource;
use credentials::database::AccountError;
use credentials::keyring::Keyring;
use credentials::vault::Vaults;
use policy::{Bundle, Resource};
use workflow::outbox::KeptSecret;

use crate::config::Config;

use super::{Finding, mail};

const CHECK: &str = "databases";

/// Everything about those whose accounts the gate can look at.
pub(super) async fn databases(config: &Config, ring: Option<&Keyring>) -> Vec<Finding> {
    let Ok(bundle) = Bundle::load(&config.policy_dir) else { return Vec::new() };
    // What is wrong with them has a line of its own.
    let vaults = crate::vaults::vaults(config).unwrap_or_default();
    let (mut findings, mut asked) = (Vec::new(), Vec::new());
    for resource in bundle.resources() {
        let (Some(maker), logins) = (&resource.accounts, free_logins(&bundle, resource)) else { continue };
        if logins.is_empty() {
            continue;
        }
        let password = match password(config, &maker.secret, ring, &vaults).await {
            Ok(password) => password,
            Err(says) => {
                findings.push(unseen(&resource.name, &says));
                continue;
            }
        };
        if let Some(server) = workflow::accounts::server(resource, password) {
            // All at the same time: one that is away takes its time to say so.
            asked.push((resource.name.clone(), tokio::spawn(async move { server.who_ends_others(&logins).await })));
        }
    }
    for (name, answer) in asked {
        if let Ok(answer) = answer.await {
            findings.push(found(&name, answer));
        }
    }
    findings
}

/// What opens the account that makes others, as a gate that runs would have it; why not, if it would not.
async fn password(config: &Config, source: &SecretSource, ring: Option<&Keyring>, vaults: &Vaults) -> Result<Secret<String>, String> {
    match source {
        SecretSource::Sealed(name) => mail::kept(config, &KeptSecret::Sealed(name.clone()), ring).await,
        SecretSource::Fetched(secret) => vaults.fetch(secret).await.map_err(|error| error.to_string()),
    }
}

/// The logins whose sessions nobody judges there.
fn free_logins(bundle: &Bundle, resource: &Resource) -> BTreeSet<String> {
    let free = |rights: &Rights| matches!(rights, Rights::Database(rights) if !rights.is_restricted());
    let roles = bundle.roles_for(&resource.name).into_iter().filter(|role| free(&role.rights));
    roles.filter_map(|role| bundle.login(&role.name, &resource.name)).map(str::to_owned).collect()
}

fn unseen(resource: &ResourceName, says: &str) -> Finding {
    let advice = "look whether it runs and whether the secret of its `accounts` is set: without it no account is made there for a grant";
    Finding::warn(CHECK, format!("`{resource}` cannot be looked at: {says}"), advice)
}

fn found(resource: &ResourceName, answer: Result<Vec<(String, String)>, AccountError>) -> Finding {
    let mighty = match answer {
        Ok(mighty) => mighty,
        Err(error) => return unseen(resource, &error.to_string()),
    };
    if mighty.is_empty() {
        return Finding::ok(CHECK, format!("`{resource}`: no role's login may end what others run there"));
    }
    let named: Vec<String> = mighty.iter().map(|(login, by)| format!("`{login}` {by}")).collect();
    let says = format!("`{resource}`: whoever is in there by an unrestricted role may end what others run: {}", named.join(", "));
    Finding::warn(CHECK, says, "take that from the login, or name another `login` in the role; what may be done by it else stays as it is")
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    // covers: D7 (cli)
    #[test]
    fn who_may_end_what_others_run_is_named() {
        let resource: ResourceName = "orders-db".parse().unwrap();
        assert_eq!(found(&resource, Ok(Vec::new())).health, Health::Ok);
        let finding = found(&resource, Ok(vec![("owner".to_owned(), "is a superuser".to_owned())]));
        assert!(finding.health == Health::Warn && finding.says.contains("`orders-db`") && finding.says.ends_with("`owner` is a superuser"));
        let finding = found(&resource, Err(AccountError::Pinned));
        assert!(finding.health == Health::Warn && finding.says.contains("cannot be looked at"), "{}", finding.says);
    }
}
