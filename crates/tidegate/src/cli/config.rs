//! `tidegate config`: works on the configuration file alone.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use policy::Problems;

use crate::config::{Config, Environment};
use crate::output::{Output, Tone, note};

use super::exit::Exit;

/// Which configuration.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigFile {
    /// The configuration file; without it TIDEGATE_CONFIG, then `tidegate.toml` here
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads and checks it.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn load(&self, environment: &Environment) -> Result<Config, Problems> {
        Config::load(self.config.as_deref(), environment)
    }
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Name every mistake in it, or none
    Check(ConfigFile),
}

impl ConfigCommand {
    /// Does it.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let Self::Check(file) = self;
        match file.load(&Environment::of_process()) {
            Ok(config) if output.is_json() => output.json(&serde_json::json!({ "file": config.file, "mistakes": [] }))?,
            Ok(config) => {
                let summary = format!(
                    "{}: sound. API on {}, SSH on {}, data in {}, store {}.",
                    config.file.display(),
                    config.listen.api,
                    config.listen.ssh,
                    config.data_dir.display(),
                    config.store,
                );
                output.toned(summary, Tone::Good)?;
            }
            Err(mistakes) => {
                if output.is_json() {
                    output.json(&serde_json::json!({ "mistakes": mistakes }))?;
                } else {
                    note(&mistakes);
                }
                return Ok(Exit::Failed);
            }
        }
        Ok(Exit::Done)
    }
}
