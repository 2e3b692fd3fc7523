//! Verifying a bundle offline: from its bytes and the public key alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read, Seek};

use access::event::{Entry, Event};
use access::ids::SessionId;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::file::Bundle;
use super::manifest::{Manifest, PartLine, ProofLine, VERSION, parts, policy_digest, signed_text};
use crate::approvals::Approvals;
use crate::finding::Finding;
use crate::log::alignment::{Alignment, Expected, Present};
use crate::log::checkpoint::{CheckpointVerifier, SignedCheckpoint};
use crate::log::leaves;
use crate::log::succession::{Handover, Succession};
use crate::log::texts::Side;
use crate::log::tree;
use crate::printable;
use crate::recording::{About, Anchor};

/// What verifying a bundle found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleReport {
    /// The log's name, from the key.
    pub origin: String,
    /// What was exported, in words.
    pub selection: String,
    /// When it was exported.
    pub exported: Option<Timestamp>,
    /// The keys that signed the log one after another, the given one first.
    pub keys: Vec<String>,
    /// How many entries the checkpoint commits to, and when it was signed.
    pub checkpoint: Option<(u64, Option<Timestamp>)>,
    /// How many entries the bundle has.
    pub entries: u64,
    /// Side texts that match what was logged.
    pub texts_matching: u64,
    /// Side texts that were logged and are not here.
    pub texts_absent: u64,
    /// Digests of the policy bundles whose files are here.
    pub policies: Vec<String>,
    /// Approvals that are signed with their approver's passkey over the request as it was asked.
    pub signed_approvals: u64,
    /// The recordings.
    pub recordings: Vec<RecordingSummary>,
    /// Recordings that entries here name and that are not here: of a session that was still live or was not asked for, or that was let go.
    pub recordings_absent: Vec<String>,
    /// Everything that is wrong; empty if the bundle is as it was exported.
    pub findings: Vec<Finding>,
}

/// One recording in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordingSummary {
    /// `rec_…`
    pub recording: String,
    /// How many whole chunks it has.
    pub chunks: u64,
    /// Whether it was closed.
    pub closed: bool,
    /// Whether its keys were destroyed, so that nobody reads it any more.
    pub destroyed: bool,
    /// In how many places the audit log has its digest.
    pub anchors: u64,
    /// Whether its session ended and the log has no digest of how the recording ended, as when its gate died.
    pub end_unknown: bool,
    /// How many frames the released keys open; `None` if none was released.
    pub frames: Option<u64>,
}

impl BundleReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Verifies a bundle.
///
/// # Errors
/// When it cannot be read. Everything that is wrong with what was read is in the report.
pub fn verify<F: Read + Seek>(file: F, key: &CheckpointVerifier) -> io::Result<BundleReport> {
    let mut bundle = Bundle::read(file)?;
    let report = BundleReport {
        origin: key.origin().into(),
        selection: String::new(),
        exported: None,
        keys: Vec::new(),
        checkpoint: None,
        entries: 0,
        texts_matching: 0,
        texts_absent: 0,
        policies: Vec::new(),
        signed_approvals: 0,
        recordings: Vec::new(),
        recordings_absent: Vec::new(),
        findings: Vec::new(),
    };
    let mut verification = Verification {
        report,
        keys: Succession::of(key.clone()),
        anchors: HashMap::new(),
        destroyed: HashSet::new(),
        expired: HashSet::new(),
        ended: HashMap::new(),
        end_unknown: HashSet::new(),
        recorded: HashMap::new(),
        opened: BTreeMap::new(),
        mentioned: String::new(),
        approvals: Approvals::default(),
    };
    verification.succession(&mut bundle, key)?;
    let manifest = verification.manifest(&mut bundle)?;
    verification.container(&bundle);
    if let Some(manifest) = manifest {
        verification.parts(&mut bundle, &manifest)?;
        let checkpoint = verification.checkpoint(&mut bundle)?;
        verification.continues(&mut bundle, checkpoint.as_ref())?;
        let leaves = verification.entries(&mut bundle, &manifest)?;
        verification.proofs(&mut bundle, &manifest, checkpoint.as_ref())?;
        verification.texts(&mut bundle, &leaves)?;
        verification.policies(&mut bundle)?;
        verification.recordings(&mut bundle, &manifest)?;
        verification.approvals();
    }
    Ok(verification.report)
}

struct Verification {
    report: BundleReport,
    keys: Succession,
    /// What the log says about recordings.
    anchors: HashMap<String, Vec<Anchor>>,
    /// Recordings of which the log says that their keys were destroyed.
    destroyed: HashSet<String>,
    /// Recordings of which the log says that they were kept for long enough.
    expired: HashSet<String>,
    /// Recordings whose session the log says has ended, and when: nothing of them may be missing.
    ended: HashMap<String, Timestamp>,
    /// Of these, those of whose end it has no digest.
    end_unknown: HashSet<String>,
    /// Which recording a session has.
    recorded: HashMap<SessionId, String>,
    /// What the log says of each recording's beginning.
    opened: BTreeMap<String, About>,
    /// All leaves one after another: where digests of policies are looked for.
    mentioned: String,
    /// What the log says of approvals.
    approvals: Approvals,
}

impl Verification {
    fn altered(&mut self, member: &str, reason: impl Into<String>) {
        self.report
            .findings
            .push(Finding::MemberAltered { member: printable::start_of(member), reason: printable::start_of(&reason.into()) });
    }

    /// From the key that was given to the one that signed last.
    fn succession<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>, key: &CheckpointVerifier) -> io::Result<()> {
        let lines = bundle.named(parts::SUCCESSION)?.unwrap_or_default();
        let (keys, broken) = Succession::follow(key, &lines);
        self.report.findings.extend(broken);
        self.report.keys = keys.keys().map(ToString::to_string).collect();
        self.keys = keys;
        Ok(())
    }

    /// Whether the checkpoint continues what each key before signed last.
    fn continues<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>, checkpoint: Option<&SignedCheckpoint>) -> io::Result<()> {
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        let content = bundle.named(parts::SUCCESSION)?.unwrap_or_default();
        let new = (checkpoint.size(), checkpoint.root());
        for handover in lines(&content).filter_map(|line| serde_json::from_slice::<Handover>(line).ok()) {
            let Some(last) = self.keys.last_checkpoints().find(|last| last.note() == handover.checkpoint.as_bytes()) else { continue };
            let proof = handover.consistency.unwrap_or_default();
            if !tree::proves_consistency(&proof, (last.size(), last.root()), new) {
                self.report.findings.push(Finding::Forked { source: format!("`{}`", parts::SUCCESSION), size: last.size() });
            }
        }
        Ok(())
    }

    /// The manifest, verified if that is possible; used even if not, to name what else is wrong.
    fn manifest<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>) -> io::Result<Option<Manifest>> {
        let Some(bytes) = bundle.named(parts::MANIFEST)? else {
            self.report.findings.push(Finding::MemberMissing { member: parts::MANIFEST.into() });
            return Ok(None);
        };
        match bundle.named(parts::SIGNATURE)? {
            None => self.report.findings.push(Finding::MemberMissing { member: parts::SIGNATURE.into() }),
            Some(note) => match self.keys.newest().text_of(&note) {
                Ok(text) if text == signed_text(&bytes).as_bytes() => {}
                Ok(_) => self.altered(parts::MANIFEST, "it is not the one that was signed"),
                Err(reason) => self.altered(parts::SIGNATURE, reason.to_string()),
            },
        }
        let manifest: Manifest = match serde_json::from_slice(&bytes) {
            Ok(manifest) => manifest,
            Err(e) => {
                self.altered(parts::MANIFEST, format!("it cannot be read: {e}"));
                return Ok(None);
            }
        };
        if manifest.version != VERSION {
            let version = manifest.version;
            self.altered(
                parts::MANIFEST,
                format!("it is of version {version}, and this release knows version {VERSION}; take a newer one"),
            );
        }
        if manifest.origin != self.keys.newest().origin() {
            self.altered(parts::MANIFEST, "it speaks of another log than the key");
        }
        self.report.selection = printable::start_of(&manifest.selection);
        self.report.exported = Some(manifest.exported);
        // A part whose header is damaged is known by its place; its length stands here.
        for (part, line) in bundle.parts.iter_mut().skip(2).zip(&manifest.parts) {
            if part.name.is_none() {
                part.name = Some(line.name.clone());
                part.bytes = part.bytes.min(line.bytes);
            }
        }
        Ok(Some(manifest))
    }

    fn container<F>(&mut self, bundle: &Bundle<F>) {
        for flaw in &bundle.flaws {
            let last = bundle.parts.len().saturating_sub(1);
            let name = bundle.parts.get(flaw.part.min(last)).and_then(|part| part.name.as_deref());
            self.report.findings.push(Finding::ContainerAltered {
                member: printable::start_of(name.unwrap_or("?")),
                offset: flaw.offset,
                reason: flaw.reason.into(),
            });
        }
    }

    /// Every part is there, in its place, with its digest, and nothing else is.
    fn parts<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>, manifest: &Manifest) -> io::Result<()> {
        let here: Vec<String> = bundle.parts.iter().skip(2).map(|p| p.name.clone().unwrap_or_default()).collect();
        let wanted: Vec<&PartLine> = manifest.parts.iter().collect();
        for name in here.iter().filter(|name| !wanted.iter().any(|line| line.name == **name)) {
            self.report.findings.push(Finding::MemberForeign { member: printable::start_of(name) });
        }
        for (place, line) in wanted.iter().enumerate() {
            let Some(mut content) = bundle.stream(&line.name)? else {
                self.report.findings.push(Finding::MemberMissing { member: printable::start_of(&line.name) });
                continue;
            };
            let mut digest = Sha256::new();
            let bytes = io::copy(&mut content, &mut digest)?;
            drop(content);
            let digest: [u8; 32] = digest.finalize().into();
            if digest != line.sha256 || bytes != line.bytes {
                self.altered(&line.name, "its content has another digest");
            } else if here.len() == wanted.len() && here[place] != line.name {
                self.altered(&line.name, "it stands at another place");
            }
        }
        let twice = here.iter().enumerate().find(|(i, name)| here[..*i].contains(name));
        if let Some((_, name)) = twice {
            self.altered(name, "it is there twice");
        }
        Ok(())
    }

    fn checkpoint<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>) -> io::Result<Option<SignedCheckpoint>> {
        let note = bundle.named(parts::CHECKPOINT)?.unwrap_or_default();
        match self.keys.verify(&note) {
            Ok(checkpoint) => {
                self.report.checkpoint = Some((checkpoint.size(), checkpoint.at()));
                Ok(Some(checkpoint))
            }
            Err(reason) => {
                self.report.findings.push(Finding::CheckpointUnusable { reason: reason.to_string() });
                Ok(None)
            }
        }
    }

    /// Compares the leaves with those that the manifest lists; the leaves by id.
    fn entries<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>, manifest: &Manifest) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let content = bundle.named(parts::ENTRIES)?.unwrap_or_default();
        let mut alignment = Alignment::default();
        for line in &manifest.entries {
            let id = Some(printable::name(&line.id));
            alignment.expect(Expected { index: line.index, hash: Some(line.leaf), id });
        }
        let mut by_id = BTreeMap::new();
        for leaf in lines(&content) {
            let id = leaves::entry_id(leaf);
            alignment.meet(Present { hash: Some(tree::leaf_hash(leaf)), id: id.clone() });
            self.note_anchors(leaf);
            self.mentioned.push_str(&String::from_utf8_lossy(leaf));
            self.mentioned.push('\n');
            by_id.insert(id.unwrap_or_default(), leaf.to_vec());
            self.report.entries += 1;
        }
        if !content.is_empty() && !content.ends_with(b"\n") {
            self.altered(parts::ENTRIES, "its last line does not end");
        }
        self.report.findings.extend(alignment.finish());
        Ok(by_id)
    }

    /// What an entry says about recordings.
    fn note_anchors(&mut self, leaf: &[u8]) {
        let Ok(entry) = Entry::from_leaf(leaf, BTreeMap::new()) else { return };
        self.approvals.hear(&entry, leaf);
        match entry.event {
            Event::RecordingProgress { recordings, .. } => {
                for progress in recordings {
                    self.anchor(progress.recording.to_string(), Some(progress.chunks), Some(&progress.digest));
                }
            }
            Event::SessionOpened { session, grant, person, resource, recording, recording_header, level, bundle, .. } => {
                let recording = recording.to_string();
                self.recorded.insert(session, recording.clone());
                // The header's digest is where the chain starts: after no chunk at all.
                self.anchor(recording.clone(), Some(0), recording_header.as_deref());
                let about = About {
                    recording: recording.clone(),
                    session: session.to_string(),
                    grant: grant.to_string(),
                    person: person.to_string(),
                    resource: resource.to_string(),
                    bundle,
                    started: entry.at,
                    levels: vec![level.to_string()],
                };
                self.opened.insert(recording, about);
            }
            Event::SessionEnded { session, recording_chunks, recording_digest, .. } => {
                let chunks = recording_chunks.and_then(|n| u64::try_from(n).ok());
                if let Some(recording) = self.recorded.get(&session).cloned() {
                    self.ended.insert(recording.clone(), entry.at);
                    if recording_digest.is_none() {
                        self.end_unknown.insert(recording.clone());
                    }
                    self.anchor(recording, chunks, recording_digest.as_deref());
                }
            }
            Event::RecordingDestroyed { recording, .. } => {
                self.destroyed.insert(recording.to_string());
            }
            Event::RecordingExpired { recording, .. } => {
                self.expired.insert(recording.to_string());
            }
            _ => {}
        }
    }

    fn anchor(&mut self, recording: String, chunks: Option<u64>, digest: Option<&str>) {
        if let (Some(chunks), Some(digest)) = (chunks, digest.and_then(crate::hexadecimal::decode)) {
            self.anchors.entry(recording).or_default().push(Anchor { chunks, digest });
        }
    }

    fn approvals(&mut self) {
        let (good, wrong) = std::mem::take(&mut self.approvals).finish();
        self.report.signed_approvals = good;
        self.report.findings.extend(wrong);
    }

    fn proofs<F: Read + Seek>(
        &mut self,
        bundle: &mut Bundle<F>,
        manifest: &Manifest,
        checkpoint: Option<&SignedCheckpoint>,
    ) -> io::Result<()> {
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        let content = bundle.named(parts::PROOFS)?.unwrap_or_default();
        let proofs: Vec<Option<ProofLine>> = lines(&content).map(|line| serde_json::from_slice(line).ok()).collect();
        for (place, line) in manifest.entries.iter().enumerate() {
            let holds = proofs.get(place).and_then(Option::as_ref).is_some_and(|proof| {
                let (size, root) = (checkpoint.size(), checkpoint.root());
                proof.index == line.index && tree::proves_inclusion(&proof.path, line.index, line.leaf, size, root)
            });
            if !holds {
                let id = Some(printable::name(&line.id));
                self.report.findings.push(Finding::ProofWrong { index: line.index, id });
            }
        }
        if proofs.len() > manifest.entries.len() {
            self.altered(parts::PROOFS, "it holds proofs of more entries than were exported");
        }
        Ok(())
    }

    fn texts<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>, leaves: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        let content = bundle.named(parts::TEXTS)?.unwrap_or_default();
        let mut side = Side::read(&content);
        for (id, leaf) in leaves {
            side.compare(id, leaf);
        }
        self.report.texts_matching = side.matching;
        let (absent, findings) = side.finish();
        self.report.texts_absent = absent;
        self.report.findings.extend(findings);
        Ok(())
    }

    /// The files of each policy bundle give its digest, and an entry names it.
    fn policies<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>) -> io::Result<()> {
        let mut policies: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        for i in 0..bundle.parts.len() {
            let name = bundle.parts[i].name.clone().unwrap_or_default();
            let Some((digest, path)) = name.strip_prefix("policy/").and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            let content = bundle.content(i)?;
            policies.entry(digest.into()).or_default().insert(path.into(), content);
        }
        for (digest, files) in policies {
            let member = format!("policy/{digest}");
            if policy_digest(&files) != digest {
                self.altered(&member, "its files do not give its digest");
            } else if !self.mentioned.contains(&digest) {
                self.altered(&member, "no entry here names it");
            }
            self.report.policies.push(printable::name(&digest));
        }
        Ok(())
    }
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.strip_suffix(b"\n").unwrap_or(content).split(|b| *b == b'\n').filter(move |_| !content.is_empty())
}

mod recordings;

#[cfg(test)]
mod tests;
