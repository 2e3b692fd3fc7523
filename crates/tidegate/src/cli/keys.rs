//! `tidegate keys`: the gate's own keys.

use api::types::gate::GateFacts;
use api::types::secrets::{RotateKey, RotatedKey};
use clap::Subcommand;
use credentials::keyring::KeyKind;

use crate::client::Reply;
use crate::output::{Tone, note};

use super::Context;
use super::exit::Exit;

/// What to do with the gate's keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the public halves: host keys, the two CAs, what verifies the audit log
    List,
    /// Put a new key in the place of one; the old still verifies what it signed
    Rotate {
        /// Which: login_ca, target_ca, audit, ssh_host, recording_output, recording_input, row_digest, secrets
        #[arg(value_name = "KIND")]
        kind: KeyKind,
    },
}

impl KeysCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List => {
                let reply: Reply<GateFacts> = client.get("/gate", &()).await?;
                context.print(&reply, |output, facts| {
                    if let Some(ssh) = &facts.ssh {
                        for (key, fingerprint) in ssh.host_keys.iter().zip(&ssh.fingerprints) {
                            output.facts(&[("ssh host key", key.clone()), ("", fingerprint.clone())])?;
                        }
                    }
                    output.facts(&[
                        ("login CA", facts.login_ca.clone().unwrap_or_default()),
                        ("target CA", facts.target_ca.clone().unwrap_or_default()),
                        ("audit log", facts.checkpoint_verifier.clone().unwrap_or_default()),
                    ])
                })
            }
            Self::Rotate { kind } => {
                let reply: Reply<RotatedKey> = client.post("/keys/rotate", &RotateKey { kind: kind.to_string() }).await?;
                context.print(&reply, |output, rotated| {
                    output.toned(format!("{}: {} takes the place of {}.", rotated.kind, rotated.new, rotated.old), Tone::Good)?;
                    match kind {
                        KeyKind::TargetCa => note("Targets have to trust the new one: `tidegate resource show` prints the lines."),
                        KeyKind::SshHost => note("People have to know the new one: `tidegate ssh-config --write`."),
                        _ => {}
                    }
                    Ok(())
                })
            }
        }
    }
}
