//! Whether what opens targets opens them for the gate alone.

use policy::{Bundle, Credential};

use crate::config::Config;

use super::Finding;

/// From where session certificates are good, if any target takes them.
pub(super) fn addresses(config: &Config) -> Option<Finding> {
    const CHECK: &str = "session certificates";
    let bundle = Bundle::load(&config.policy_dir).ok()?;
    let certified = bundle.resources().filter(|resource| resource.credential == Credential::TargetCa).count();
    if certified == 0 {
        return None;
    }
    if config.gate_addresses.is_empty() {
        let says = format!("whoever had one could use it from anywhere for its five minutes; resources that take them: {certified}");
        let advice = "write the addresses that targets see the gate come from as `addresses` under `[gate]`";
        return Some(Finding::warn(CHECK, says, advice));
    }
    let addresses: Vec<String> = config.gate_addresses.iter().map(ToString::to_string).collect();
    Some(Finding::ok(CHECK, format!("good from {} alone", addresses.join(", "))))
}
