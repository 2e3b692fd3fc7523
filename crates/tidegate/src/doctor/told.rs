//! Whether anybody would be told of an emergency.

use policy::Bundle;

use crate::config::Config;

use super::Finding;

/// Events of an emergency, any of which tells of it.
const EVENTS: [&str; 3] = ["request.submitted", "grant.created", "review.opened"];

/// Who is told, if the policy has emergencies at all.
pub(super) fn emergencies(config: &Config) -> Option<Finding> {
    const CHECK: &str = "break-glass";
    let bundle = Bundle::load(&config.policy_dir).ok()?;
    bundle.reviewers().next()?;
    let alerts = config.mail.iter().flat_map(|mail| &mail.settings.alerts).map(|address| format!("`{address}`"));
    let slack = config.slack.iter().map(|slack| format!("the channel `{}` of Slack", slack.settings.channel));
    let teams = config.teams.iter().map(|_| "the channel of Teams".to_owned());
    let webhooks = config.webhooks.iter().filter(|one| EVENTS.iter().any(|event| one.events.iter().any(|pattern| pattern.covers(event))));
    let webhooks = webhooks.map(|one| format!("the webhook `{}`", one.name));
    let told: Vec<String> = alerts.chain(slack).chain(teams).chain(webhooks).collect();
    if !told.is_empty() {
        return Some(Finding::ok(CHECK, format!("of an emergency are told: {}", told.join(", "))));
    }
    let says = match config.mail {
        Some(_) => "of an emergency only those are told who owe its review, and of them only who named a mailbox",
        None => "nobody would be told of an emergency: its review waits in the portal until somebody looks",
    };
    let advice = "name `alerts` under `[mail]`, set up `[slack]` or `[teams]`, or a `[[webhook]]` that takes `review.*`";
    Some(Finding::warn(CHECK, says, advice))
}
