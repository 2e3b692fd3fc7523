//! Transmitters of signals: whether what their signals are verified with can be read. Until it can, no signal shuts anybody out.

use credentials::keyring::Keyring;

use crate::config::Config;

use super::Finding;
use super::mail::kept;

const CHECK: &str = "signals";

/// Everything about them.
pub(super) async fn signals(config: &Config, ring: Option<&Keyring>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in &config.signals {
        let name = &one.transmitter.name;
        let heard = match crate::node::heard(one) {
            Ok(heard) => heard,
            Err(error) => {
                findings.push(Finding::fail(CHECK, format!("`{name}`: {error:#}"), "the gate does not start like this"));
                continue;
            }
        };
        if let Some(secret) = &one.authorization
            && let Err(says) = kept(config, secret, ring).await
        {
            let advice = "set it: until then no signal of this transmitter is believed";
            findings.push(Finding::fail(CHECK, format!("what `{name}` shows cannot be compared: {says}"), advice));
        }
        findings.push(match heard.client.transmitter_keys(&one.transmitter).await {
            Ok(_) => Finding::ok(CHECK, format!("the keys of `{name}` can be read")),
            Err(error) => {
                let advice = "until they can, its signals are answered with 503, so that it sends them again, and lock nobody";
                Finding::fail(CHECK, format!("the keys of `{name}`: {error}"), advice)
            }
        });
    }
    findings
}
