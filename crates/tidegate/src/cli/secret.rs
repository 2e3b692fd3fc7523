//! `tidegate secret`: sealed secrets that open targets. A value comes from stdin or a prompt, never from the command line.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};

use access::names::SecretName;
use access::secret::Secret;
use anyhow::{Context as _, bail};
use api::types::secrets::{SealedSecret, SecretValue};
use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::client::Reply;
use crate::output::Tone;

use super::exit::Exit;
use super::{Context, Shown, note_more};

/// The longest secret, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Seal a password or private key; it is read from stdin, or asked for without echo
    Set {
        /// How `resources.toml` names it
        #[arg(value_name = "NAME")]
        name: SecretName,
    },
    /// List the names of sealed secrets; nothing reads their values
    List(List),
    /// Destroy a secret
    Remove {
        /// Which
        #[arg(value_name = "NAME")]
        name: SecretName,
    },
}

/// How many secrets.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    shown: Shown,
}

impl SecretCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::Set { name } => {
                let value = value(&name).await?;
                if value.expose().is_empty() {
                    bail!("an empty secret opens nothing; give the value on stdin or at the prompt");
                }
                let body = SecretValue { value: value.expose().clone() };
                let reply: Reply<serde_json::Value> = client.put(&format!("/secrets/{name}"), &body).await?;
                context.print(&reply, |output, _| output.toned(format!("`{name}` is sealed."), Tone::Good))
            }
            Self::List(list) => {
                let reply = client.list::<SealedSecret>("/secrets", &(), list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page
                        .items
                        .iter()
                        .map(|secret| vec![secret.name.to_string().into(), output.at(secret.set_at).into(), secret.key_id.clone().into()]);
                    output.table(&["secret", "set", "sealed by"], rows.collect(), "No secrets.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Remove { name } => {
                let reply: Reply<serde_json::Value> = client.delete(&format!("/secrets/{name}")).await?;
                context.print(&reply, |output, _| output.line(format!("`{name}` is destroyed.")))
            }
        }
    }
}

async fn value(name: &SecretName) -> anyhow::Result<Secret<String>> {
    if !io::stdin().is_terminal() {
        let mut text = String::new();
        io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text).context("cannot read the value from stdin")?;
        if text.len() as u64 > LONGEST {
            bail!("the value is longer than {LONGEST} bytes, so it is no password or key");
        }
        // A password piped with `echo` has a line's end that is no part of it; a key ends with one that is.
        if text.matches('\n').count() == 1 && text.ends_with('\n') {
            text.pop();
        }
        return Ok(Secret::new(text));
    }
    let prompt = format!("Value of `{name}` (not shown): ");
    // A thread of its own: whoever gives up with Ctrl-C does not wait for it.
    let (answer, answered) = tokio::sync::oneshot::channel();
    let quiet = Quiet::begin().context("cannot switch off the terminal's echo")?;
    std::thread::spawn(move || {
        // Nobody waits any more if sending fails.
        let _ = answer.send(ask(&prompt));
    });
    let text = tokio::select! {
        text = answered => text.context("the prompt ended")?.context("cannot read from the terminal")?,
        _ = tokio::signal::ctrl_c() => bail!("nothing was sealed"),
    };
    drop(quiet);
    crate::output::note("");
    Ok(Secret::new(text))
}

fn ask(prompt: &str) -> io::Result<String> {
    let tty = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    (&tty).write_all(prompt.as_bytes())?;
    let mut line = String::new();
    BufReader::new((&tty).take(LONGEST)).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal without echo; as it was when dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nobody to tell if the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
