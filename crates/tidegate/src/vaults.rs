//! What fetches secrets of targets, made from the configuration.

use anyhow::Context as _;
use credentials::vault::Vaults;

use crate::config::Config;

/// Every vault. Whether they answer is found out when something is fetched.
///
/// # Errors
/// If the roots that are trusted for one can't be read or used.
pub(crate) fn vaults(config: &Config) -> anyhow::Result<Vaults> {
    let mut all = Vec::with_capacity(config.vaults.len());
    for one in &config.vaults {
        let roots = match &one.ca_file {
            Some(file) => {
                let said = || format!("cannot read `{}` for the vault `{}`", file.display(), one.settings.name);
                Some(std::fs::read(file).with_context(said)?)
            }
            None => None,
        };
        all.push((one.settings.clone(), roots));
    }
    Ok(Vaults::new(all)?)
}
