//! `tidegate audit`: read the log, verify it, ask it. `verify` works on files alone.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use access::event::Actor;
use access::ids::EntryId;
use access::names::ResourceName;
use anyhow::{Context as _, bail};
use api::types::audit::{
    AuditEntry, AuditExportQuery, AuditQuery, Checkpoint, Could, Did, LinesFormat, ReachBy, Replayed, WhoCouldQuery, WhoDidQuery,
};
use api::types::evidence::TextErasure;
use clap::{Args, Subcommand};
use evidence::log::tiles::LogDirectory;
use evidence::log::{CheckpointVerifier, LogReport, OtherCheckpoint, verify};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::{Client, Reply};
use crate::output::{Output, Tone, note};

use super::exit::Exit;
use super::user::find;
use super::{Context, Shown, evidence as bundle, note_more};

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List entries, newest first
    List(List),
    /// Print the newest signed checkpoint; keep it elsewhere
    Checkpoint,
    /// Replay the log against the store and name every row that differs
    Replay,
    /// Verify a copy of the log, or an export, with the public key alone
    Verify(Verify),
    /// Who could reach a resource, now or at a time
    WhoCould {
        /// Where to
        #[arg(value_name = "RESOURCE")]
        resource: ResourceName,
        /// When, as `2026-03-01T12:00:00Z`; without it now
        #[arg(long, value_name = "TIME")]
        at: Option<Timestamp>,
    },
    /// Who did reach a resource
    WhoDid {
        /// Where to
        #[arg(value_name = "RESOURCE")]
        resource: ResourceName,
        /// From when
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Until when
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
    },
    /// Print entries as JSON lines or CSV, oldest first
    Export(Export),
    /// Erase a text of an entry for good; its digest stays, and the log verifies
    Erase {
        /// Which entry
        #[arg(value_name = "ENTRY")]
        entry: EntryId,
        /// Which of its texts: `reason`, `note`, `from`, …
        #[arg(value_name = "TEXT")]
        text: String,
        /// Why; it stands in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Which entries.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Only by this one: a user name, an id, `gate` or `unknown`
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// Only these events: `session`, or `session.opened`; several with commas between
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only entries that mention this id or name
    #[arg(long, value_name = "ID")]
    about: Option<String>,
    /// From when, as `2026-03-01T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Until when
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

/// Which entries, and how many.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    shown: Shown,
}

/// Which entries, and in which form.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("form").required(true))]
pub struct Export {
    /// JSON lines
    #[arg(long, group = "form")]
    jsonl: bool,
    /// CSV (RFC 4180)
    #[arg(long, group = "form")]
    csv: bool,
    #[command(flatten)]
    which: Which,
}

/// What to verify, and with what.
#[derive(Debug, Args)]
pub struct Verify {
    /// The log's directory, or an export
    #[arg(value_name = "DIR_OR_EXPORT")]
    path: PathBuf,
    /// The public key, as `tidegate audit checkpoint --json` has it in `verifier`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A checkpoint kept elsewhere, or a file of them; any number
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
}

impl AuditCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        if let Self::Verify(verify) = self {
            return verify.run(&context.output);
        }
        let client = context.client()?;
        match self {
            Self::Verify(verify) => verify.run(&context.output),
            Self::List(list) => {
                let query = list.which.query(&client).await?;
                let reply = client.list::<AuditEntry>("/audit/entries", &query, list.shown.limit).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|entry| {
                        vec![
                            entry.id.into(),
                            output.at(entry.at).into(),
                            entry.actor.into(),
                            entry.data.name().into(),
                            about(&entry.data, &entry.texts).into(),
                        ]
                    });
                    output.table(&["entry", "when", "by", "event", "about"], rows.collect(), "No entries.")?;
                    note_more(page.next_cursor.is_some());
                    Ok(())
                })
            }
            Self::Checkpoint => {
                let reply: Reply<Checkpoint> = client.get("/audit/checkpoint", &()).await?;
                context.print(&reply, |output, checkpoint| {
                    note(format!("Verified with {}", checkpoint.verifier));
                    output.raw(checkpoint.note.as_bytes())
                })
            }
            Self::Replay => {
                let reply: Reply<Replayed> = client.post("/audit/replay", &json!({})).await?;
                context.print(&reply, |output, replayed| {
                    if replayed.differences.is_empty() {
                        return output.toned(format!("Every row is as {} entries say.", replayed.entries), Tone::Good);
                    }
                    replayed.differences.iter().try_for_each(|d| output.toned(format!("{} {}: {}", d.table, d.key, d.says), Tone::Bad))
                })?;
                Ok(if reply.value.differences.is_empty() { Exit::Done } else { Exit::Failed })
            }
            Self::WhoCould { resource, at } => {
                let query = WhoCouldQuery { resource, at, limit: None, cursor: None };
                // All of them: half an answer would pass for a whole one.
                let reply = client.list::<Could>("/audit/who-could", &query, u32::MAX).await?;
                context.print(&reply, |output, answers| {
                    let rows = answers.items.iter().map(|could| {
                        let by = match could.by {
                            ReachBy::Grant { grant } => format!("held {grant}"),
                            ReachBy::Ready { grant } => format!("could activate {grant}"),
                            ReachBy::AtOnce => "policy, at once".to_owned(),
                            ReachBy::Emergency => "policy, in an emergency".to_owned(),
                            ReachBy::Approval { people: 1 } => "policy, when one person agreed".to_owned(),
                            ReachBy::Approval { people } => format!("policy, when {people} people agreed"),
                        };
                        vec![could.person.to_string().into(), could.person.id.into(), could.role.to_string().into(), by.into()]
                    });
                    output.table(&["who", "id", "role", "by"], rows.collect(), "Nobody could.")
                })
            }
            Self::WhoDid { resource, since, until } => {
                let query = WhoDidQuery { resource, since, until, limit: None, cursor: None };
                let reply = client.list::<Did>("/audit/who-did", &query, u32::MAX).await?;
                context.print(&reply, |output, answers| {
                    let rows = answers.items.iter().map(|did| {
                        let until = did.until.map_or_else(|| "still there".to_owned(), |at| output.at(at));
                        vec![
                            did.person.to_string().into(),
                            did.person.id.into(),
                            did.role.to_string().into(),
                            output.at(did.from).into(),
                            until.into(),
                            did.session.into(),
                        ]
                    });
                    output.table(&["who", "id", "role", "from", "until", "session"], rows.collect(), "Nobody did.")
                })
            }
            Self::Export(export) => export.run(context, &client).await,
            Self::Erase { entry, text, reason } => {
                let body = TextErasure { text: text.clone(), reason };
                let reply: Reply<Value> = client.post(&format!("/audit/entries/{entry}/erase"), &body).await?;
                context.print(&reply, |output, _| output.toned(format!("The text `{text}` of {entry} is erased."), Tone::Good))
            }
        }
    }
}

impl Which {
    async fn query(&self, client: &Client) -> anyhow::Result<AuditQuery> {
        let actor = match self.actor.as_deref() {
            None => None,
            Some("gate") => Some(Actor::Gate),
            Some("unknown") => Some(Actor::Unknown),
            Some(who) => Some(Actor::Principal(find(client, who).await?)),
        };
        let Self { event, about, since, until, .. } = self.clone();
        Ok(AuditQuery { actor, event, about, since, until, ..AuditQuery::default() })
    }
}

impl Export {
    async fn run(self, context: &Context, client: &Client) -> anyhow::Result<Exit> {
        let AuditQuery { actor, event, about, since, until, .. } = self.which.query(client).await?;
        let format = if self.csv { LinesFormat::Csv } else { LinesFormat::Jsonl };
        let query = AuditExportQuery { format, actor, event, about, since, until };
        let mut response = client.download("/audit/export", &query).await?;
        // As it comes, so that a log of any length needs little memory; one that breaks off is an error.
        while let Some(piece) = response.chunk().await.context("the export broke off; what was printed is not all of it")? {
            context.output.raw(&piece)?;
        }
        Ok(Exit::Done)
    }
}

/// What an entry is about, on one line.
fn about(event: &access::event::Event, texts: &std::collections::BTreeMap<String, String>) -> String {
    let Ok(Value::Object(data)) = serde_json::to_value(event) else { return String::new() };
    let fields = data.iter().filter(|(name, value)| *name != "event" && !value.is_null()).map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    fields.chain(texts.iter().map(|(name, text)| format!("{name}: {text}"))).collect::<Vec<_>>().join(" ")
}

/// Reads the public key.
pub(crate) fn read_key(path: &Path) -> anyhow::Result<CheckpointVerifier> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the key `{}`", path.display()))?;
    CheckpointVerifier::parse(&text).with_context(|| format!("`{}` is not the public key of a log", path.display()))
}

impl Verify {
    fn run(self, output: &Output) -> anyhow::Result<Exit> {
        let key = read_key(&self.key)?;
        let kind = std::fs::metadata(&self.path).with_context(|| format!("cannot read `{}`", self.path.display()))?;
        if !kind.is_dir() {
            if !self.checkpoints.is_empty() {
                bail!("checkpoints are compared with the log's directory; an export has only a part of the log");
            }
            let file = File::open(&self.path).with_context(|| format!("cannot read `{}`", self.path.display()))?;
            return bundle::report(output, BufReader::new(file), &key);
        }
        let others: Vec<OtherCheckpoint> = self
            .checkpoints
            .iter()
            .map(|path| OtherCheckpoint { source: path.display().to_string(), notes: std::fs::read(path).map_err(|e| e.to_string()) })
            .collect();
        let found = verify(&LogDirectory::new(&self.path), &key, &others);
        if output.is_json() {
            let mut json = serde_json::to_value(&found)?;
            if let Some(object) = json.as_object_mut() {
                object.insert("sound".to_owned(), Value::Bool(found.is_sound()));
            }
            output.json(&json)?;
        } else {
            print(output, &found)?;
        }
        Ok(if found.is_sound() { Exit::Done } else { Exit::Failed })
    }
}

fn print(output: &Output, found: &LogReport) -> io::Result<()> {
    let signed = found.signed.map(|at| format!(", signed {}", output.at(at))).unwrap_or_default();
    output.line(format!("{}: {} entries{signed}", found.origin, found.size))?;
    if let [key] = &found.keys[..] {
        output.line(format!("Key: {key}, the one you gave"))?;
    } else if found.keys.len() > 1 {
        output.line(format!(
            "Keys: {} signed one after another, the one you gave first; the newest is {}",
            found.keys.len(),
            found.keys[found.keys.len() - 1]
        ))?;
    }
    output.line(match (found.texts_matching, found.texts_erased) {
        (Some(matching), Some(erased)) => format!("Texts: {matching} match, {erased} erased"),
        _ => "Texts: no part of this copy; an export carries them".to_owned(),
    })?;
    for other in &found.consulted {
        let at = other.at.map(|at| format!(", signed {}", output.at(at))).unwrap_or_default();
        output.line(format!("Compared with {} ({} entries{at})", other.source, other.size))?;
    }
    for other in &found.not_consulted {
        output.toned(format!("Not compared with {}: {}", other.source, other.reason), Tone::Waiting)?;
    }
    if found.consulted.is_empty() {
        note(
            "No checkpoint from elsewhere was compared, so a log cut short or replaced as a whole would not show; give some with `--checkpoint`.",
        );
    }
    for finding in &found.findings {
        output.toned(format!("WRONG: {finding}"), Tone::Bad)?;
    }
    if found.is_sound() { output.toned("Sound: every entry is as it was signed.", Tone::Good) } else { Ok(()) }
}
