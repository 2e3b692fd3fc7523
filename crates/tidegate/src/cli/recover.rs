//! `tidegate recover`: back in when no administrator can sign in, at the gate's own machine.

use access::names::Username;
use clap::Args;

use crate::config::Environment;
use crate::local::{Question, Recovered, ask};
use crate::output::{Output, note};

use super::config::ConfigFile;
use super::exit::Exit;

/// Whom to invite.
#[derive(Debug, Args)]
#[command(after_help = "It speaks to the running gate through the socket in its data directory, which root and the gate's own user alone \
                        may use, and leaves an entry in the audit log: `administrator.recovered`. What the administrator may do is for \
                        the policy to say; `tidegate policy rollback` puts an earlier one back.")]
pub struct Recover {
    /// The administrator's name: of one who is known, or a new one
    #[arg(value_name = "USER", default_value = "admin")]
    username: Username,
    #[command(flatten)]
    file: ConfigFile,
}

impl Recover {
    /// Does it.
    ///
    /// # Errors
    /// If no gate runs on that configuration, or it refuses.
    pub async fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let config = self.file.load(&Environment::of_process())?;
        let recovered: Recovered = ask(&config.data_dir, &Question::Recover { username: self.username }).await?;
        if output.is_json() {
            output.json(&recovered)?;
            return Ok(Exit::Done);
        }
        let Recovered { username, code, expires_at, api, ca_file } = recovered;
        note(format!("{username} is invited as an administrator and joins with this, once, until {}:", output.at(expires_at)));
        let ca = ca_file.map_or_else(String::new, |file| format!(" --ca-file {}", file.display()));
        output.line(format!("tidegate join {api}{ca} {code}"))?;
        note("This is entered in the audit log as `administrator.recovered`.");
        Ok(Exit::Done)
    }
}
