//! Evidence leaves the gate: one file that proves a session, or everything of a person, resource or period.
//!
//! *Takes* a selection and the proof of who asks. *Proves* that they may take it away. *Hands to* them a file that verifies without the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use access::event::{Entry, Event};
use access::ids::{EntryId, PrincipalId, RecordingId, SessionId};
use access::names::ResourceName;
use access::reason::{Reason, Refusal};
use access::session::{SessionRow, SessionState};
use evidence::bundle::export::{Export, PolicyText, RecordingPart, Release, Written};
use evidence::lines::{Form, LineWriter};
use evidence::log::checkpoint::CheckpointKey;
use evidence::log::texts::{SideRecord, bound_texts};
use evidence::log::tiles::LogDirectory;
use evidence::ocsf::Known;
use evidence::recording::{KeyRecipients, RecordingReader};
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use sha2::{Digest as _, Sha256};
use store::{Change, EntryFilter, EntryPage, LoggedEntry, Page, SessionFilter};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::watch::{DESTROYED, end_of};

/// How many sessions one file holds at most.
pub const MOST_SESSIONS: usize = 1_000;
const BATCH: u32 = 1_000;

/// What is to be proved.
#[derive(Debug, Clone)]
pub enum Selection {
    /// One session and all that led to it.
    Session(SessionId),
    /// Everything of a person.
    Person(PrincipalId),
    /// Everything at a resource.
    Resource(ResourceName),
    /// Everything there was from one time to another.
    Period {
        /// Not before.
        from: Timestamp,
        /// Before.
        until: Timestamp,
    },
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session {id}"),
            Self::Person(id) => write!(f, "person {id}"),
            Self::Resource(name) => write!(f, "resource {name}"),
            Self::Period { from, until } => write!(f, "period {from} to {until}"),
        }
    }
}

/// What is given along with the recordings.
#[derive(Debug, Clone)]
pub struct Along {
    /// Also what was typed; a right of its own.
    pub input: bool,
    /// Wrap the data keys to this age recipient instead of giving them openly.
    pub wrapped_to: Option<String>,
}

impl Gate {
    /// Writes the file to `to`.
    ///
    /// # Errors
    /// If the caller may not, the selection is empty or too large, or the file can't be written.
    pub async fn export(&self, caller: &Caller, selection: Selection, along: Along, to: PathBuf) -> Result<Written, Refusal> {
        let mut sessions = self.selected(caller, &selection, along.input).await?;
        let chosen: Vec<SessionId> = sessions.iter().map(|s| s.id).collect();
        // Everything up to now gets its place and a signature, so that nothing is too new to be proved.
        self.checkpoint().await?;
        let entries = self.entries_of(&selection, &sessions).await?;
        if entries.is_empty() {
            return Err(Refusal::because(Reason::NotFound, format!("nothing is logged about {selection}")));
        }
        // INVARIANT: a session whose end is among the entries comes with its recording, also if it ended just now.
        for session in &mut sessions {
            if let Some(newest) = self.store.session(session.id).await.map_err(unavailable)? {
                *session = newest;
            }
        }
        let export = self.assemble(&selection, &entries, &sessions, &along).await?;
        // The key that signed the newest checkpoint signs the file too.
        let signing = self.rotating.read().await;
        self.checkpoint().await?;
        let key = self.checkpoint_key()?;
        let audit = self.settings.data_dir.join("audit");
        let now = self.now();
        let written = tokio::task::spawn_blocking(move || export.write(&LogDirectory::new(audit), &key, now, &to))
            .await
            .map_err(|_| Refusal::of(Reason::Internal))?
            .map_err(|error| Refusal::because(Reason::Internal, error.to_string()))?;
        drop(signing);
        let event = Event::EvidenceExported { sessions: chosen.into_iter().take(500).collect(), digest: hex::encode(written.sha256) };
        self.commit(Change::new(self.draft(caller, event).text("selection", Some(selection.to_string())))).await.map_err(refused)?;
        Ok(written)
    }

    /// Writes entries and what was done in the sessions to `to`, a line each: for a table or a log collector, not as proof.
    ///
    /// # Errors
    /// If the caller may not, the selection is empty or too large, or the file can't be written.
    pub async fn export_lines(&self, caller: &Caller, selection: Selection, form: Form, to: PathBuf) -> Result<(), Refusal> {
        let sessions = self.selected(caller, &selection, false).await?;
        self.sequence().await?;
        let entries = self.entries_of(&selection, &sessions).await?;
        if entries.is_empty() {
            return Err(Refusal::because(Reason::NotFound, format!("nothing is logged about {selection}")));
        }
        let mut readable = Vec::with_capacity(sessions.len());
        for session in &sessions {
            let keys = match session.state {
                SessionState::Live => Err("the session is live; its recording is exported when it has ended".to_owned()),
                _ => self.released_keys(session.recording, false).map_err(|why| why.detail.unwrap_or_else(|| "it cannot be read".into())),
            };
            let (path, end) = (self.recording_path(session.recording), end_of(session));
            readable.push((session.id, session.person, session.opened_at, path, end, keys));
        }
        let mut known = Known::default();
        for logged in entries.values().filter(|_| form == Form::Ocsf) {
            self.learn(&mut known, &logged.entry).await?;
        }
        let digest = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
            let mut out = LineWriter::new(form, BufWriter::new(private_file(&to)?))?.knowing(known);
            for logged in entries.values() {
                out.entry_at(&logged.entry, logged.index)?;
            }
            for (session, person, at, path, end, keys) in readable {
                let opened = keys.and_then(|keys| {
                    let file = std::fs::File::open(&path).map_err(|error| format!("its file cannot be read: {error}"))?;
                    RecordingReader::with_keys(std::io::BufReader::new(file), keys).map_err(|error| error.to_string())
                });
                match opened {
                    Ok(reader) => out.recording(&mut reader.ending_at(end))?,
                    Err(why) => out.absent(&session.to_string(), &person.to_string(), at, &why)?,
                }
            }
            out.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
            let mut digest = Sha256::new();
            std::io::copy(&mut std::fs::File::open(&to)?, &mut digest)?;
            Ok(hex::encode(digest.finalize()))
        })
        .await
        .map_err(|_| Refusal::of(Reason::Internal))?
        .map_err(|error| Refusal::because(Reason::Internal, format!("the export cannot be written: {error}")))?;
        let chosen: Vec<SessionId> = sessions.iter().map(|s| s.id).take(500).collect();
        let event = Event::EvidenceExported { sessions: chosen, digest };
        self.commit(Change::new(self.draft(caller, event).text("selection", Some(selection.to_string())))).await.map_err(refused)?;
        Ok(())
    }

    /// The key that signs checkpoints and exports now.
    ///
    /// # Errors
    /// If it can't be used.
    pub fn checkpoint_key(&self) -> Result<CheckpointKey, Refusal> {
        let (_, seed) = self.keyring().audit_seed().map_err(crate::secrets::key_trouble)?;
        CheckpointKey::from_seed(&self.settings.origin(), seed.expose()).map_err(crate::secrets::key_trouble)
    }

    async fn selected(&self, caller: &Caller, selection: &Selection, input: bool) -> Result<Vec<SessionRow>, Refusal> {
        if let Selection::Session(id) = selection {
            let row = self.store.session(*id).await.map_err(unavailable)?;
            let row = self.visible_session(caller, row).await?;
            let on = Object::Recording(self.about_session(&row).await?);
            self.authorize(caller, Act::Export, &on).await?;
            if input {
                self.authorize(caller, Act::ReadInput, &on).await?;
            }
            return Ok(vec![row]);
        }
        self.authorize(caller, Act::Administer(Noun::Evidence), &Object::Nothing).await?;
        let filter = match selection {
            Selection::Person(person) => SessionFilter { person: Some(*person), ..SessionFilter::default() },
            Selection::Resource(resource) => SessionFilter { resource: Some(resource.clone()), ..SessionFilter::default() },
            Selection::Session(_) | Selection::Period { .. } => SessionFilter::default(),
        };
        let mut chosen = Vec::new();
        let mut page = Page::first(BATCH);
        loop {
            let rows = self.store.sessions(&filter, &page).await.map_err(unavailable)?;
            let Some(last) = rows.last() else { break };
            page = page.after(last.id);
            let (done, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| match selection {
                Selection::Period { from, until } => row.opened_at >= *until || row.ended_at.is_some_and(|end| end < *from),
                _ => false,
            });
            drop(done);
            chosen.extend(rows);
            if chosen.len() > MOST_SESSIONS {
                return Err(Refusal::because(
                    Reason::Invalid,
                    format!("that is more than {MOST_SESSIONS} sessions; export a shorter period"),
                ));
            }
        }
        for row in &chosen {
            let on = Object::Recording(self.about_session(row).await?);
            self.authorize(caller, Act::Export, &on).await?;
            if input {
                self.authorize(caller, Act::ReadInput, &on).await?;
            }
        }
        Ok(chosen)
    }

    /// The entries that a selection is about: those that name it, and for each session those of its grant, request and bundle.
    pub(crate) async fn entries_of(&self, selection: &Selection, sessions: &[SessionRow]) -> Result<BTreeMap<i64, LoggedEntry>, Refusal> {
        let mut found = BTreeMap::new();
        match selection {
            Selection::Session(_) => {}
            Selection::Person(person) => self.gather(&mut found, mentioning(person.to_string())).await?,
            Selection::Resource(resource) => self.gather(&mut found, mentioning(resource.to_string())).await?,
            Selection::Period { from, until } => {
                self.gather(&mut found, EntryFilter { from: Some(*from), until: Some(*until), ..EntryFilter::default() }).await?;
            }
        }
        let mut told = BTreeSet::new();
        let mut bundles = BTreeSet::new();
        for session in sessions {
            self.gather(&mut found, mentioning(session.id.to_string())).await?;
            self.gather(&mut found, mentioning(session.recording.to_string())).await?;
            self.gather(&mut found, mentioning(session.grant.to_string())).await?;
            if let Some(grant) = self.store.grant(session.grant).await.map_err(unavailable)? {
                self.gather(&mut found, mentioning(grant.request.to_string())).await?;
                bundles.insert(grant.bundle);
            }
            self.gather(&mut found, EntryFilter { name: Some("person.created".into()), ..mentioning(session.person.to_string()) }).await?;
        }
        // A period has its bounds; of all else what is told of to its end.
        if !matches!(selection, Selection::Period { .. }) {
            self.gather_to_the_end(&mut found, &mut told).await?;
        }
        let mut passkeys = BTreeSet::new();
        for logged in found.values() {
            bundles.extend(bundles_of(&logged.entry));
            if let Event::RequestVoted { signature: Some(signature), request, .. } = &logged.entry.event {
                passkeys.insert((signature.passkey, *request));
            }
        }
        // What a signed approval is verified by: whose passkey it is, and the request as it was asked.
        for (passkey, request) in passkeys {
            self.gather(&mut found, EntryFilter { name: Some("passkey.added".into()), ..mentioning(passkey.to_string()) }).await?;
            self.gather(&mut found, EntryFilter { name: Some("request.".into()), ..mentioning(request.to_string()) }).await?;
        }
        for digest in bundles {
            self.gather(&mut found, EntryFilter { name: Some("bundle.activated".into()), ..mentioning(digest) }).await?;
        }
        // Who erased what is no longer here; what they said of it may have been erased as well.
        let mut asked = BTreeSet::new();
        loop {
            let lacking = found.values().filter(|logged| bound_texts(&logged.leaf).len() > logged.entry.texts.len());
            let lacking: Vec<EntryId> = lacking.map(|logged| logged.entry.id).filter(|id| asked.insert(*id)).collect();
            if lacking.is_empty() {
                return Ok(found);
            }
            for entry in lacking {
                self.gather(&mut found, EntryFilter { name: Some("text.erased".into()), ..mentioning(entry.to_string()) }).await?;
            }
        }
    }

    /// Of every request, right, review, lock, hold, way and finding that the entries name, what became of it, until nothing new is named.
    async fn gather_to_the_end(&self, found: &mut BTreeMap<i64, LoggedEntry>, told: &mut BTreeSet<String>) -> Result<(), Refusal> {
        loop {
            let new: Vec<(String, &[&str])> =
                found.values().flat_map(|logged| nouns_in(&logged.leaf)).filter(|(id, _)| told.insert(id.clone())).collect();
            if new.is_empty() {
                return Ok(());
            }
            for (id, families) in new {
                for family in families {
                    self.gather(found, EntryFilter { name: Some((*family).to_owned()), ..mentioning(id.clone()) }).await?;
                }
            }
        }
    }

    async fn gather(&self, found: &mut BTreeMap<i64, LoggedEntry>, filter: EntryFilter) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            let page = EntryPage { limit: BATCH, after, newest_first: false };
            let entries = self.store.entries(&filter, page).await.map_err(unavailable)?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = Some(last.seq);
            // What was logged since the checkpoint, as this export itself, is not part of it.
            found.extend(entries.into_iter().filter(|e| e.index.is_some()).map(|e| (e.seq, e)));
        }
    }

    async fn assemble(
        &self,
        selection: &Selection,
        entries: &BTreeMap<i64, LoggedEntry>,
        sessions: &[SessionRow],
        along: &Along,
    ) -> Result<Export, Refusal> {
        let mut export = Export { selection: selection.to_string(), ..Export::default() };
        let mut digests = BTreeSet::new();
        for logged in entries.values() {
            export.entries.extend(logged.index);
            export.texts.extend(side_record(&logged.entry));
            digests.extend(bundles_of(&logged.entry));
        }
        for digest in digests {
            let files = self.store.bundle_files(&digest).await.map_err(unavailable)?;
            if files.is_empty() {
                continue;
            }
            let files = files.into_iter().map(|file| (file.path, file.content.into_bytes())).collect();
            export.policies.push(PolicyText { digest, files });
        }
        let wrapped_to = match &along.wrapped_to {
            Some(recipient) => Some(KeyRecipients::parse(&[recipient]).map_err(|e| Refusal::because(Reason::Invalid, e.to_string()))?),
            None => None,
        };
        for session in sessions {
            export.recordings.extend(self.recording_part(session, along.input, wrapped_to.as_ref())?);
        }
        Ok(export)
    }

    fn recording_part(
        &self,
        session: &SessionRow,
        input: bool,
        wrapped_to: Option<&KeyRecipients>,
    ) -> Result<Option<RecordingPart>, Refusal> {
        let path = self.recording_path(session.recording);
        if session.state == SessionState::Live || !Path::new(&path).exists() {
            return Ok(None);
        }
        let release = match (self.released_keys(session.recording, input), wrapped_to) {
            (Ok(keys), Some(recipients)) => Release::WrappedTo(recipients.clone(), keys),
            (Ok(keys), None) => Release::Keys(keys),
            // Its keys are destroyed: that it was recorded, and that it is whole, is still proved.
            (Err(why), _) if why.detail.as_deref() == Some(DESTROYED) => Release::Withheld,
            (Err(why), _) => return Err(why),
        };
        Ok(Some(RecordingPart { recording: RecordingId::to_string(&session.recording), path, release }))
    }
}

/// What an export's file in the data directory is called until it is sent.
pub const EXPORT_PREFIX: &str = "export-";

/// Removes what a crash left of exports that were being made; they may hold keys of recordings.
pub(crate) fn discard_unfinished(data_dir: &Path) {
    let Ok(entries) = std::fs::read_dir(data_dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(EXPORT_PREFIX)) {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "an export that was never sent cannot be removed; remove it by hand");
        }
    }
}

/// A new file that its owner alone may read.
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// What is told of to its end, by how its id begins, and in which entries. Sessions are not: an export is of those it was asked for.
const TOLD_TO_THE_END: &[(&str, &[&str])] = &[
    ("req_", &["request.", "grant."]),
    ("grt_", &["grant.", "review."]),
    ("rvw_", &["review."]),
    ("lck_", &["lock.", "containment."]),
    ("hld_", &["hold."]),
    ("pth_", &["path."]),
    ("fnd_", &["finding."]),
];

/// The ids in a leaf of what is told of to its end.
fn nouns_in(leaf: &[u8]) -> Vec<(String, &'static [&'static str])> {
    let words = leaf.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').filter_map(|word| std::str::from_utf8(word).ok());
    let known = words.filter(|word| access::ids::made_at(word).is_some());
    known
        .filter_map(|word| {
            TOLD_TO_THE_END.iter().find(|(begin, _)| word.starts_with(begin)).map(|(_, families)| (word.to_owned(), *families))
        })
        .collect()
}

fn mentioning(id: String) -> EntryFilter {
    EntryFilter { mentions: Some(id), ..EntryFilter::default() }
}

/// The policy bundles that an entry's decision rests on.
fn bundles_of(entry: &Entry) -> Vec<String> {
    match &entry.event {
        Event::RequestSubmitted { bundle, .. }
        | Event::RequestEdited { bundle, .. }
        | Event::RequestRefused { bundle, .. }
        | Event::GrantCreated { bundle, .. }
        | Event::GrantWithdrawn { bundle, .. }
        | Event::SessionOpened { bundle, .. } => vec![bundle.clone()],
        Event::RequestDenied { bundle, .. }
        | Event::VoteRefused { bundle, .. }
        | Event::SessionRefused { bundle, .. }
        | Event::ActionRefused { bundle, .. } => bundle.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

fn side_record(entry: &Entry) -> Option<SideRecord> {
    if entry.texts.is_empty() {
        return None;
    }
    // The two crates describe the same JSON; going through it keeps each free of the other's types.
    serde_json::from_value(serde_json::json!({ "entry": entry.id, "texts": entry.texts })).ok()
}
