//! `tidegate doctor`: looks at the configuration, this machine and what the gate keeps, and says what to do.
//!
//! It works on files and needs no running gate. It changes nothing that a start of the gate would not.

mod certificates;
mod databases;
mod kept;
mod log;
mod machine;
mod mail;
mod on_call;
mod signals;
mod state;
mod streams;
mod told;
mod vaults;

pub(crate) use state::has_keys;

use serde::Serialize;
use serde_json::json;

use crate::cli::config::ConfigFile;
use crate::cli::exit::Exit;
use crate::config::Environment;
use crate::output::{Output, Tone};

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// As it should be.
    Ok,
    /// It works, and should be looked at.
    Warn,
    /// The gate does not start, or not safely.
    Fail,
}

impl Health {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    check: &'static str,
    /// How it is.
    health: Health,
    /// What was found, as a sentence.
    says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, says: says.into(), advice: None }
    }
    pub(crate) fn warn(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, health: Health::Warn, says: says.into(), advice: Some(advice.into()) }
    }
    pub(crate) fn fail(check: &'static str, says: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, health: Health::Fail, says: says.into(), advice: Some(advice.into()) }
    }
}

/// Looks at everything and prints a line for each thing.
///
/// # Errors
/// If stdout is gone.
pub async fn run(file: &ConfigFile, output: &Output) -> anyhow::Result<Exit> {
    let findings = examine(file, &Environment::of_process()).await;
    let worst = findings.iter().map(|f| f.health).max().unwrap_or(Health::Ok);
    if output.is_json() {
        output.json(&json!({ "health": worst, "findings": findings }))?;
    } else {
        for finding in &findings {
            let word = finding.health.word();
            output.toned(format!("{word:4}  {}: {}", finding.check, finding.says), Tone::of(word))?;
            if let Some(advice) = &finding.advice {
                output.line(format!("      {advice}"))?;
            }
        }
    }
    Ok(if worst == Health::Fail { Exit::Failed } else { Exit::Done })
}

async fn examine(file: &ConfigFile, environment: &Environment) -> Vec<Finding> {
    let config = match file.load(environment) {
        Ok(config) => config,
        Err(mistakes) => {
            let advice = "correct the configuration; what depends on it was not looked at";
            return mistakes.iter().map(|mistake| Finding::fail("configuration", mistake.to_string(), advice)).collect();
        }
    };
    let mut findings = vec![Finding::ok("configuration", format!("{} is sound", config.file.display()))];
    findings.push(machine::data_dir(&config));
    findings.extend(machine::disk(&config));
    findings.extend(state::sealing_key(&config));
    // Opened once: a sealing key that is handed over on a descriptor can be read once.
    let (ring, found) = state::keys(&config);
    findings.push(found);
    let bundle = state::policy(&config, &mut findings);
    findings.extend(state::committed(&config).await);
    findings.extend(state::store(&config, bundle.as_deref()).await);
    findings.push(machine::recordings(&config));
    findings.extend(kept::recordings(&config).await);
    findings.push(machine::checkpoints(&config));
    findings.extend(log::signed(&config, ring.as_ref()).await);
    findings.extend(machine::tls(&config));
    findings.extend(signals::signals(&config, ring.as_ref()).await);
    findings.extend(on_call::on_call(&config, ring.as_ref()).await);
    findings.extend(streams::streams(&config).await);
    findings.extend(mail::mail(&config, ring.as_ref()).await);
    findings.extend(mail::teams(&config, ring.as_ref()).await);
    findings.extend(told::emergencies(&config));
    findings.extend(Box::pin(vaults::vaults(&config)).await);
    findings.extend(certificates::addresses(&config));
    findings.extend(Box::pin(databases::databases(&config, ring.as_ref())).await);
    findings.push(machine::listener("API listener", config.listen.api));
    findings.push(machine::listener("SSH listener", config.listen.ssh));
    findings
}

#[cfg(test)]
mod tests;
