//! `tidegate keys`: the gate's own keys.

use access::time::Span;
use api::types::gate::{GateFacts, TargetCaState};
use api::types::secrets::{ActivateKey, RotateKey, RotatedKey};
use clap::Subcommand;
use credentials::keyring::KeyKind;
use workflow::keys::GateKey;

use crate::client::{Client, Reply};
use crate::output::{Output, Tone, note};

use super::Context;
use super::exit::Exit;

/// What to do with the gate's keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the public halves: host keys, the two CAs, what verifies the audit log
    List,
    /// Put a new key in the place of one; the old still verifies what it signed. A target CA or host key is only announced by this
    Rotate {
        /// Which: login_ca, target_ca, audit, ssh_host, recording_output, recording_input, row_digest, secrets, sealing
        #[arg(value_name = "KIND")]
        kind: GateKey,
    },
    /// Use the target CA or the SSH host key that was announced, once targets or people know it
    Activate {
        /// Which: target_ca, ssh_host
        #[arg(value_name = "KIND")]
        kind: KeyKind,
        /// How long targets go on trusting the old target CA
        #[arg(long, value_name = "TIME", default_value = "7d")]
        keep: Span,
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
                    output.facts(&[("login CA", facts.login_ca.clone().unwrap_or_default())])?;
                    target_cas(output, facts)?;
                    output.facts(&[("audit log", facts.checkpoint_verifier.clone().unwrap_or_default())])
                })
            }
            Self::Rotate { kind } => {
                let reply: Reply<RotatedKey> = client.post("/keys/rotate", &RotateKey { kind: kind.to_string() }).await?;
                let facts = if kind == GateKey::Of(KeyKind::TargetCa) { Some(facts(&client).await?) } else { None };
                context.print(&reply, |output, rotated| {
                    let RotatedKey { kind: name, old, new, .. } = rotated;
                    if let Some(facts) = &facts {
                        output.toned(format!("A new {name} is announced: {new}. Sessions are still opened with {old}."), Tone::Good)?;
                        output.line("1. Put all of these lines into the file of `TrustedUserCAKeys` on every target:")?;
                        for ca in &facts.target_cas {
                            output.line(format!("   {}", ca.public_key))?;
                        }
                        return output.line("2. When every target has them: `tidegate keys activate target_ca`.");
                    }
                    if kind == GateKey::Of(KeyKind::SshHost) {
                        output.toned(format!("A new {name} is announced: {new}. The gate still shows {old}."), Tone::Good)?;
                        output
                            .line("1. Whoever connects with OpenSSH learns it by that; everybody else by `tidegate ssh-config --write`.")?;
                        return output.line("2. When people have it: `tidegate keys activate ssh_host`.");
                    }
                    output.toned(format!("{name}: {new} takes the place of {old}."), Tone::Good)?;
                    match kind {
                        GateKey::Of(KeyKind::Audit) => {
                            note("Whoever holds an earlier public key follows from it to the new one; nobody has to be given anything.")
                        }
                        GateKey::Sealing => note("Keep a copy of the new sealing key where you kept the old one, and destroy that."),
                        GateKey::Of(_) => {}
                    }
                    Ok(())
                })
            }
            Self::Activate { kind, keep } => {
                let body = ActivateKey { kind: kind.to_string(), keep: Some(keep) };
                let reply: Reply<RotatedKey> = client.post("/keys/activate", &body).await?;
                context.print(&reply, |output, rotated| {
                    let used = if kind == KeyKind::SshHost { "Connections are met with" } else { "Sessions are opened with" };
                    output.toned(format!("{used} {} from now on.", rotated.new), Tone::Good)?;
                    match rotated.trusted_until {
                        Some(until) => output.line(format!(
                            "Take the line of {} out of every target after {}; until then it does no harm.",
                            rotated.old,
                            output.at(until)
                        )),
                        None => Ok(()),
                    }
                })
            }
        }
    }
}

async fn facts(client: &Client) -> anyhow::Result<GateFacts> {
    let reply: Reply<GateFacts> = client.get("/gate", &()).await?;
    Ok(reply.value)
}

fn target_cas(output: &Output, facts: &GateFacts) -> std::io::Result<()> {
    for ca in &facts.target_cas {
        let state = match (ca.state, ca.trusted_until) {
            (TargetCaState::InUse, _) => "in use".to_owned(),
            (TargetCaState::Announced, _) => "announced; `tidegate keys activate target_ca` puts it in use".to_owned(),
            (TargetCaState::Replaced, Some(until)) => format!("replaced; targets trust it until {}", output.at(until)),
            (TargetCaState::Replaced, None) => "replaced".to_owned(),
        };
        output.facts(&[("target CA", ca.public_key.clone()), ("", format!("{}, {state}", ca.id))])?;
    }
    Ok(())
}
