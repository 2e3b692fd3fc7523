//! Who is on call: whether policy and configuration name the same, and whether each source answers.

use access::secret::Secret;
use credentials::keyring::Keyring;
use notify::oncall::{Source, TokenFrom};
use policy::Bundle;
use policy::problem::nearest;
use store::{Store, StoreOptions};

use crate::config::Config;
use crate::config::on_call::OnCallConfig;
use crate::output::time::now;

use super::Finding;

const CHECK: &str = "on call";

/// Everything about it.
pub(super) async fn on_call(config: &Config, ring: Option<&Keyring>) -> Vec<Finding> {
    let mut findings = agreement(config);
    for source in &config.on_call {
        findings.extend(asked(config, source, ring).await);
    }
    findings
}

/// Whether each schedule that policy keeps elsewhere is mapped by the configuration.
fn agreement(config: &Config) -> Vec<Finding> {
    let Ok(bundle) = Bundle::load(&config.policy_dir) else { return Vec::new() };
    let mut findings = Vec::new();
    if config.trackers.is_empty()
        && let Some(tier) = bundle.tiers().find(|tier| tier.ticket == access::verdict::TicketRule::Open)
    {
        let says = format!("the tier `{}` wants open tickets, and there is no `[[tracker]]` to ask", tier.name);
        findings.push(Finding::fail(
            "tickets",
            says,
            "name one in the configuration; until then nothing opens in that tier but emergencies",
        ));
    }
    for schedule in bundle.people().on_call.values() {
        let Some(at) = &schedule.elsewhere else { continue };
        let advice = "until it is corrected nobody counts as on call for it";
        let Some(found) = config.on_call.iter().find(|source| source.source.name == at.source) else {
            let names: Vec<&str> = config.on_call.iter().map(|source| source.source.name.as_str()).collect();
            let near =
                nearest(at.source.as_str(), names.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let says = format!("the schedule `{}` is kept at `{}`, and no `[[oncall]]` has that name{near}", schedule.name, at.source);
            findings.push(Finding::fail(CHECK, says, advice));
            continue;
        };
        let services = found.source.services();
        if !services.contains(&at.service) {
            let names: Vec<&str> = services.iter().map(|service| service.as_str()).collect();
            let near =
                nearest(at.service.as_str(), names.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let says = format!(
                "the schedule `{}` is the service `{}` of `{}`, which maps none of that name{near}",
                schedule.name, at.service, at.source
            );
            findings.push(Finding::fail(CHECK, says, advice));
        }
    }
    findings
}

/// Asks a source, and says how that went.
async fn asked(config: &Config, wanted: &OnCallConfig, ring: Option<&Keyring>) -> Vec<Finding> {
    let name = &wanted.source.name;
    let (source, client) = match crate::on_call::client(wanted) {
        Ok(made) => made,
        Err(error) => return vec![Finding::fail(CHECK, format!("{error:#}"), "the gate does not start like this")],
    };
    let token = match token(config, &source, ring).await {
        Ok(token) => token,
        Err(says) => {
            let advice = "set it: nobody counts as on call until the source answers";
            return vec![Finding::warn(CHECK, format!("`{name}` cannot be asked: {says}"), advice)];
        }
    };
    let mut findings = Vec::new();
    for (service, said) in client.look(&source, token.as_ref(), now()).await {
        findings.push(match said {
            Err(trouble) => {
                let advice = "who was on call counts until it is too old, then nobody does; `tidegate oncall show` says since when";
                Finding::fail(CHECK, format!("`{name}`, `{service}`: {trouble}"), advice)
            }
            Ok(shifts) => {
                let unmapped: Vec<String> = shifts
                    .iter()
                    .filter(|shift| source.known(&shift.who).is_none() && source.directory.is_none())
                    .map(|shift| shift.who.to_string())
                    .collect();
                if shifts.is_empty() {
                    let says = format!("`{name}`, `{service}`: nobody is on call");
                    Finding::warn(CHECK, says, "look at the schedule there, and at what `[[oncall.schedule]]` names")
                } else if unmapped.is_empty() {
                    Finding::ok(CHECK, format!("`{name}`, `{service}`: {} on call", shifts.len()))
                } else {
                    let says = format!("`{name}`, `{service}`: nobody here is mapped to {}", unmapped.join(", "));
                    Finding::warn(CHECK, says, "name them under `[oncall.people]`, or they do not count as on call")
                }
            }
        });
    }
    findings
}

async fn token(config: &Config, source: &Source, ring: Option<&Keyring>) -> Result<Option<Secret<String>>, String> {
    match &source.token {
        TokenFrom::Nowhere => Ok(None),
        TokenFrom::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
            Ok(Some(Secret::new(text.trim().to_owned())))
        }
        TokenFrom::Sealed(name) => {
            let ring = ring.ok_or("the gate's keys do not open")?;
            let options = StoreOptions { connections: 1, ..StoreOptions::default() };
            let store = Store::open(&config.store, options).await.map_err(|error| error.to_string())?;
            let row = store.secret(name).await.map_err(|error| error.to_string())?;
            store.close().await;
            let row = row.ok_or_else(|| format!("the secret `{name}` is not set"))?;
            let sealed = row.sealed.parse().map_err(|_| format!("the secret `{name}` cannot be read"))?;
            ring.open_secret(name, &sealed).map(Some).map_err(|error| error.to_string())
        }
    }
}
