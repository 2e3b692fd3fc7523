//! The mail server and Microsoft Teams: whether they can be reached over TLS that verifies, and let the gate in.

use access::secret::Secret;
use credentials::keyring::Keyring;
use store::{Store, StoreOptions};
use workflow::outbox::KeptSecret;

use crate::config::Config;
use crate::output::time::now;

use super::Finding;

const CHECK: &str = "mail";

/// Asks it, if there is one.
pub(super) async fn mail(config: &Config, ring: Option<&Keyring>) -> Option<Finding> {
    let mail = config.mail.as_ref()?;
    let client = match crate::outside::mail_client(mail) {
        Ok(client) => client,
        Err(error) => return Some(Finding::fail(CHECK, format!("{error:#}"), "the gate does not start like this")),
    };
    let password = match &mail.password {
        None => None,
        Some(secret) => match kept(config, secret, ring).await {
            Ok(password) => Some(password),
            Err(says) => {
                let advice = "set it: until then mails wait, and nothing else waits for them";
                return Some(Finding::warn(CHECK, format!("the mail server cannot be asked: {says}"), advice));
            }
        },
    };
    let (host, port) = (&mail.settings.host, mail.settings.port);
    Some(match client.look(password.as_ref()).await {
        Ok(()) => Finding::ok(CHECK, format!("`{host}:{port}` takes mails from {}", mail.settings.from)),
        Err(says) => {
            let advice = "mails wait until it does, and nothing else waits for them; `tidegate outbox list --to mail` shows them";
            Finding::fail(CHECK, format!("`{host}:{port}`: {says}"), advice)
        }
    })
}

/// Asks Microsoft, if the gate is a bot in Teams: for its own token, and for the keys of whoever calls it.
pub(super) async fn teams(config: &Config, ring: Option<&Keyring>) -> Option<Finding> {
    const CHECK: &str = "Teams";
    let teams = config.teams.as_ref()?;
    let client = match crate::outside::teams_client(teams) {
        Ok(client) => client,
        Err(error) => return Some(Finding::fail(CHECK, format!("{error:#}"), "the gate does not start like this")),
    };
    let password = match kept(config, &teams.app_password, ring).await {
        Ok(password) => password,
        Err(says) => {
            let advice = "set it: until then cards wait, and nothing else waits for them";
            return Some(Finding::warn(CHECK, format!("Microsoft cannot be asked: {says}"), advice));
        }
    };
    Some(match client.look(&password, now()).await {
        Ok(()) => Finding::ok(CHECK, format!("Microsoft lets the bot `{}` in, and its keys can be read", teams.settings.app)),
        Err(says) => {
            let advice = "cards wait until it does, and buttons do not count; `tidegate outbox list --to teams` shows what waits";
            Finding::fail(CHECK, says, advice)
        }
    })
}

/// A secret, as a gate that runs would have it; why not, if it would not.
pub(super) async fn kept(config: &Config, secret: &KeptSecret, ring: Option<&Keyring>) -> Result<Secret<String>, String> {
    match secret {
        KeptSecret::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
            Ok(Secret::new(text.trim().to_owned()))
        }
        KeptSecret::Sealed(name) => {
            let ring = ring.ok_or("the gate's keys do not open")?;
            let options = StoreOptions { connections: 1, ..StoreOptions::default() };
            let store = Store::open(&config.store, options).await.map_err(|error| error.to_string())?;
            let row = store.secret(name).await.map_err(|error| error.to_string())?;
            store.close().await;
            let row = row.ok_or_else(|| format!("the secret `{name}` is not set"))?;
            let sealed = row.sealed.parse().map_err(|_| format!("the secret `{name}` cannot be read"))?;
            ring.open_secret(name, &sealed).map_err(|error| error.to_string())
        }
    }
}
