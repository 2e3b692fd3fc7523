//! `tidegate evidence`: what an auditor takes away. `verify` and `replay` work on the file alone.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use access::ids::SessionId;
use access::names::ResourceName;
use access::secret::Secret;
use anyhow::Context as _;
use api::types::evidence::{DestroyedRecording, Erasure, ExportFormat, ExportQuery};
use api::types::sessions::RecordingLine;
use clap::{Args, Subcommand};
use evidence::bundle::replay::Exported;
use evidence::log::CheckpointVerifier;
use evidence::recording::{KeyIdentity, asciicast};
use jiff::Timestamp;
use serde_json::Value;

use crate::client::Reply;
use crate::output::{Output, Tone, note};

use super::Context;
use super::audit::read_key;
use super::exit::Exit;
use super::playing::{Pace, Playing};
use super::session::{save, unfinished, written};
use super::user::find;

/// What to do with evidence.
#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Write one file with requests, approvals, grants, sessions, recordings, policy and proofs
    Export(Export),
    /// Destroy a session's recording: its keys go, nobody reads it any more, and that it was still verifies
    Destroy {
        /// Which session
        #[arg(value_name = "SESSION")]
        session: SessionId,
        /// Why; it stands in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Verify an export with the public key alone
    Verify {
        /// The export
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The public key, as `tidegate audit checkpoint --json` has it in `verifier`
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Play a session out of an export in this terminal, or save it; whether the file is sound, `verify` tells
    Replay(Replay),
}

/// Which session, and who opens its keys.
#[derive(Debug, Args)]
pub struct Replay {
    /// The export
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which of the sessions in it
    #[arg(value_name = "SESSION")]
    session: SessionId,
    /// The age identity that opens the keys, if they were wrapped to a recipient
    #[arg(long, value_name = "KEYFILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    pace: Pace,
    /// With what was typed, if that was exported
    #[arg(long)]
    input: bool,
}

/// What to export: one session, everything of one person, to one resource, or of a time.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Export {
    /// Where to write it; `-` is stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One session
    #[arg(long, value_name = "SESSION", group = "what")]
    session: Option<SessionId>,
    /// Of one person or machine: a user name or an id
    #[arg(long, value_name = "USER", group = "what")]
    person: Option<String>,
    /// To one resource
    #[arg(long, value_name = "NAME", group = "what")]
    resource: Option<ResourceName>,
    /// Everything from then on, as `2026-03-01T12:00:00Z`
    #[arg(long, value_name = "TIME", group = "what")]
    since: Option<Timestamp>,
    /// Everything before then
    #[arg(long, value_name = "TIME", requires = "since")]
    until: Option<Timestamp>,
    /// Wrap the keys of the recordings to this age recipient, instead of giving them openly
    #[arg(long, value_name = "AGE1…")]
    recipient: Option<String>,
    /// With what was typed; that takes a right of its own
    #[arg(long)]
    input: bool,
    /// Entries and activities as JSON lines instead, without proofs
    #[arg(long, conflicts_with_all = ["csv", "input", "recipient"])]
    jsonl: bool,
    /// Entries and activities as CSV (RFC 4180) instead, without proofs
    #[arg(long, conflicts_with_all = ["ocsf", "input", "recipient"])]
    csv: bool,
    /// Entries and activities as events of OCSF 1.4.0 instead, one JSON object to a line, without proofs
    #[arg(long, conflicts_with_all = ["jsonl", "input", "recipient"])]
    ocsf: bool,
}

impl EvidenceCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Export(export) => {
                let client = context.client()?;
                let person = match &export.person {
                    Some(who) => Some(find(&client, who).await?),
                    None => None,
                };
                let Export { session, resource, since, until, input, recipient, .. } = export;
                let format = match (export.jsonl, export.csv, export.ocsf) {
                    (true, ..) => ExportFormat::Jsonl,
                    (_, true, _) => ExportFormat::Csv,
                    (.., true) => ExportFormat::Ocsf,
                    _ => ExportFormat::Bundle,
                };
                let query = ExportQuery { session, person, resource, since, until, input, recipient, format };
                let response = client.download_with("/evidence/export", &query).await?;
                save(context, response, &export.file).await
            }
            Self::Destroy { session, reason } => {
                let path = format!("/sessions/{session}/recording/destroy");
                let reply: Reply<DestroyedRecording> = context.client()?.post(&path, &Erasure { reason }).await?;
                context.print(&reply, |output, destroyed| {
                    output.toned(format!("{} is destroyed: nobody reads it any more.", destroyed.recording), Tone::Good)?;
                    note("Exports that were taken before hold their own keys, and backups theirs.");
                    Ok(())
                })
            }
            Self::Verify { file, key } => {
                let key = read_key(&key)?;
                let bundle = File::open(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
                report(&context.output, BufReader::new(bundle), &key)
            }
            Self::Replay(replay) => replay.run(context).await,
        }
    }
}

impl Replay {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let identities = match &self.identity {
            None => Vec::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the identity `{}`", path.display()))?;
                KeyIdentity::parse_file(Secret::new(text).expose())
                    .with_context(|| format!("`{}` is no file of identities", path.display()))?
            }
        };
        let file = File::open(&self.file).with_context(|| format!("cannot read `{}`", self.file.display()))?;
        let mut reader = evidence::bundle::replay(file, &self.session.to_string(), &identities, self.input)?;
        if let Some(to) = &self.pace.asciicast {
            return self.cast(context, &mut reader, to);
        }
        let mut playing = Playing::new(&context.output, &self.pace);
        for frame in reader {
            if !playing.show(RecordingLine::from(frame)).await? {
                break;
            }
        }
        playing.close()
    }

    fn cast(&self, context: &Context, reader: &mut Exported<File>, to: &Path) -> anyhow::Result<Exit> {
        let channel = self.pace.channel.unwrap_or(0);
        if to == Path::new("-") {
            asciicast::export(reader, channel, self.input, &mut BufWriter::new(io::stdout().lock()))?;
            return Ok(Exit::Done);
        }
        let cannot = || format!("cannot write `{}`", to.display());
        let fresh = unfinished(to);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh).with_context(cannot)?;
        let mut out = BufWriter::new(file);
        asciicast::export(reader, channel, self.input, &mut out).with_context(cannot)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error).with_context(cannot)?;
        file.sync_all().with_context(cannot)?;
        let bytes = file.metadata().with_context(cannot)?.len();
        std::fs::rename(&fresh, to).with_context(cannot)?;
        written(context, to, bytes)
    }
}

/// Verifies an export and says what was found.
pub(crate) fn report(output: &Output, file: impl Read + Seek, key: &CheckpointVerifier) -> anyhow::Result<Exit> {
    let found = evidence::bundle::verify(file, key).context("cannot read the export")?;
    let exit = if found.is_sound() { Exit::Done } else { Exit::Failed };
    if output.is_json() {
        let mut json = serde_json::to_value(&found)?;
        if let Some(object) = json.as_object_mut() {
            object.insert("sound".to_owned(), Value::Bool(found.is_sound()));
        }
        output.json(&json)?;
        return Ok(exit);
    }
    let exported = found.exported.map(|at| format!(", exported {}", output.at(at))).unwrap_or_default();
    output.line(format!("{}: {}{exported}", found.origin, found.selection))?;
    if let [key] = &found.keys[..] {
        output.line(format!("Key: {key}, the one you gave"))?;
    } else if found.keys.len() > 1 {
        output.line(format!("Keys: {} signed one after another, the one you gave first", found.keys.len()))?;
    }
    if let Some((size, at)) = found.checkpoint {
        let at = at.map(|at| format!(", signed {}", output.at(at))).unwrap_or_default();
        output.line(format!("Entries: {} of the log's {size}{at}", found.entries))?;
    }
    output.line(format!("Texts: {} match, {} are not here", found.texts_matching, found.texts_absent))?;
    if found.signed_approvals > 0 {
        output.line(format!("Signed approvals: {}", found.signed_approvals))?;
    }
    for digest in &found.policies {
        output.line(format!("Policy: {digest}"))?;
    }
    for recording in &found.recordings {
        let closed = if recording.closed { "closed" } else { "not closed" };
        let readable = match recording.frames {
            Some(n) => format!("{n} frames readable"),
            None if recording.destroyed => "its keys were destroyed".to_owned(),
            None => "no key released".to_owned(),
        };
        output.line(format!(
            "Recording: {}, {} chunks, {closed}, in the log {} times{}, {readable}",
            recording.recording,
            recording.chunks,
            recording.anchors,
            if recording.end_unknown { " (not its end)" } else { "" }
        ))?;
    }
    for recording in &found.recordings_absent {
        output.line(format!("Recording: {recording} is not in this export"))?;
    }
    for finding in &found.findings {
        output.toned(format!("WRONG: {finding}"), Tone::Bad)?;
    }
    if found.is_sound() {
        output.toned("Sound: every byte is as it was exported, and every entry is in the signed log.", Tone::Good)?;
    }
    Ok(exit)
}
