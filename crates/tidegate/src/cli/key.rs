//! `tidegate key`: SSH keys that sign you in.

use std::path::PathBuf;

use access::ids::KeyId;
use anyhow::Context as _;
use api::types::keys::{Key, NewKey};
use clap::{Args, Subcommand};

use crate::client::Reply;
use crate::output::{Field, Tone};

use super::exit::Exit;
use super::{Context, Shown, note_more};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List your keys and certificates
    List(List),
    /// Register a public key of yours
    Add {
        /// Its `.pub` file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What you call it
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// Let a key sign you in no longer
    Remove {
        /// Which
        #[arg(value_name = "KEY")]
        id: KeyId,
    },
}

/// How many keys.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    shown: Shown,
}

impl KeyCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => {
                let reply = client.list::<Key>("/me/keys", &(), list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|key| {
                        vec![
                            key.id.into(),
                            Field::state(key.state),
                            key.kind.into(),
                            key.fingerprint.clone().into(),
                            output.at(key.added_at).into(),
                            output.maybe_at(key.expires_at).into(),
                            key.label.clone().unwrap_or_default().into(),
                        ]
                    });
                    output.table(&["key", "state", "kind", "fingerprint", "added", "expires", "label"], rows.collect(), "No keys.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Add { file, label } => {
                let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
                if text.contains("PRIVATE KEY") {
                    anyhow::bail!("`{0}` is a private key, which stays with you; name `{0}.pub`", file.display());
                }
                let reply: Reply<Key> = client.post("/me/keys", &NewKey { public_key: text.trim().to_owned(), label }).await?;
                context.print(&reply, |output, key| output.toned(format!("{} ({}) signs you in now.", key.id, key.fingerprint), Tone::Good))
            }
            Self::Remove { id } => {
                let reply: Reply<Key> = client.delete(&format!("/keys/{id}")).await?;
                context.print(&reply, |output, _| output.line(format!("{id} signs nobody in any more.")))
            }
        }
    }
}
