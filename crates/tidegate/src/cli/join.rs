//! `tidegate session join`: runs `ssh` with a configuration of its own, which is gone when it ends.

use std::path::PathBuf;

use access::ids::SessionId;
use access::session::{Protocol, SessionState};
use anyhow::{Context as _, bail};
use api::types::gate::GateFacts;
use api::types::resources::Resource;
use api::types::sessions::Session;
use clap::Args;

use crate::client::settings::write_private;
use crate::client::{Client, Reply};
use crate::login::SshFiles;

use super::exit::Exit;
use super::{Context, ssh_config};

/// Whose terminal.
#[derive(Debug, Args)]
#[command(
    after_help = "You need the right to watch the session, and a grant of your own for the same resource and role; without one you are asked \
                        why you need it. Its user is told that you came. What you type stands in both recordings, as yours. Leave with Enter ~ . (tilde, dot)."
)]
pub struct Join {
    /// Which
    #[arg(value_name = "SESSION")]
    id: SessionId,
    /// Sign in with this key instead of the one `tidegate login` keeps certified
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    files: SshFiles,
}

impl Join {
    /// Does it.
    pub async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        if context.output.is_json() {
            bail!("joining shows a terminal; there is no JSON of it");
        }
        let session: Reply<Session> = client.get(&format!("/sessions/{}", self.id), &()).await?;
        let session = session.value;
        if session.state == SessionState::Ended {
            bail!("that session is over; `tidegate session replay {}` plays it", self.id);
        }
        if session.protocol != Protocol::Ssh {
            bail!("that session has no terminal; `tidegate session watch {}` shows it", self.id);
        }
        let facts: Reply<GateFacts> = client.get("/gate", &()).await?;
        let Some(ssh) = facts.value.ssh else { bail!("this gate has no SSH listener") };
        let resource: Reply<Resource> = client.get(&format!("/resources/{}", session.resource), &()).await?;
        let identity = match self.identity {
            Some(path) => std::path::absolute(&path)?,
            None => self.files.key()?,
        };
        let dir = tempfile::tempdir().context("no temporary directory can be made for the configuration of ssh")?;
        let (config, known_hosts) = (dir.path().join("config"), dir.path().join("known_hosts"));
        write_private(&known_hosts, ssh_config::known(&ssh)?.as_bytes())?;
        write_private(&config, ssh_config::config(&ssh, &[resource.value], &identity, &known_hosts)?.as_bytes())?;
        let status = tokio::process::Command::new("ssh")
            .arg("-F")
            .arg(&config)
            .args(["-tt", "-s", &format!("{}+{}.tide", session.resource, session.role), &format!("join {}", self.id)])
            .status()
            .await
            .context("`ssh` cannot be run; is OpenSSH's client installed?")?;
        Ok(Exit::Of(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255)))
    }
}
