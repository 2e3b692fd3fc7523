//! Who outside is told of what happens, put together from the configuration.

use std::path::PathBuf;

use anyhow::Context as _;
use notify::http::Reach;
use notify::slack::client::SlackClient;
use notify::webhook::Endpoint;
use workflow::outbox::{Destinations, Slack, Webhook};

use crate::config::Config;

/// All of them. Whether they answer is found out when there is something to tell.
///
/// # Errors
/// If one can't be set up as it is configured.
pub(crate) fn destinations(config: &Config, portal: &str) -> anyhow::Result<Destinations> {
    let mut webhooks = Vec::with_capacity(config.webhooks.len());
    for one in &config.webhooks {
        let set_up = || format!("cannot set up the webhook `{}`", one.name);
        let reach = Reach { addresses: one.addresses.clone(), roots: roots(one.ca_file.as_ref()).with_context(set_up)? };
        let endpoint = Endpoint::new(&one.url, &reach).with_context(set_up)?;
        webhooks.push(Webhook {
            name: one.name.clone(),
            events: one.events.clone(),
            secret: one.secret.clone(),
            old_secret: one.old_secret.clone(),
            endpoint,
        });
    }
    let slack = match &config.slack {
        None => None,
        Some(one) => {
            let client = SlackClient::new(&one.settings, roots(one.ca_file.as_ref())?).context("cannot set up Slack")?;
            Some(Slack {
                settings: one.settings.clone(),
                client,
                bot_token: one.bot_token.clone(),
                signing_secret: one.signing_secret.clone(),
            })
        }
    };
    Ok(Destinations { webhooks, slack, portal: portal.to_owned() })
}

fn roots(file: Option<&PathBuf>) -> anyhow::Result<Option<Vec<u8>>> {
    file.map(|file| std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))).transpose()
}
