//! Who outside is told of what happens, put together from the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use notify::http::Reach;
use notify::mail::client::MailClient;
use notify::slack::client::SlackClient;
use notify::teams::client::TeamsClient;
use notify::webhook::Endpoint;
use workflow::outbox::{Destinations, Mail, Slack, Teams, Webhook};

use crate::config::Config;
use crate::config::mail::MailConfig;
use crate::config::teams::TeamsConfig;

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
    let teams = match &config.teams {
        None => None,
        Some(one) => {
            let client = teams_client(one)?;
            Some(Teams { settings: one.settings.clone(), client: Arc::new(client), app_password: one.app_password.clone() })
        }
    };
    let mail = match &config.mail {
        None => None,
        Some(one) => Some(Mail { settings: one.settings.clone(), client: mail_client(one)?, password: one.password.clone() }),
    };
    Ok(Destinations { webhooks, slack, teams, mail, portal: portal.to_owned() })
}

/// What speaks to the mail server.
///
/// # Errors
/// If it can't be set up as it is configured.
pub(crate) fn mail_client(one: &MailConfig) -> anyhow::Result<MailClient> {
    MailClient::new(&one.settings, roots(one.ca_file.as_ref())?).context("cannot set up mail")
}

/// What speaks to Microsoft Teams.
///
/// # Errors
/// If it can't be set up as it is configured.
pub(crate) fn teams_client(one: &TeamsConfig) -> anyhow::Result<TeamsClient> {
    TeamsClient::new(&one.settings, roots(one.ca_file.as_ref())?).context("cannot set up Microsoft Teams")
}

fn roots(file: Option<&PathBuf>) -> anyhow::Result<Option<Vec<u8>>> {
    file.map(|file| std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))).transpose()
}
