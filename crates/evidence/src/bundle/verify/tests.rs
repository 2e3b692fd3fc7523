//! A small export, and everything that can be done to it: each byte flipped, each entry removed, each pair swapped.

use super::*;
use crate::bundle::export::{Export, PolicyText, RecordingPart, Release};
use crate::bundle::manifest::recording_part;
use crate::bundle::tar::{self, Part};
use crate::log::checkpoint::CheckpointKey;
use crate::log::texts::SideRecord;
use crate::log::tiles::LogDirectory;
use crate::log::writer::{Fsync, LogWriter};
use crate::recording::{Direction, Durability, Frame, FrameKind, KeyIdentity, KeyRecipients, PoolOptions, RecorderPool, RecordingReader};
use access::event::{Actor, EntryDraft, Progress};
use access::ids::{GrantId, PrincipalId, RecordingId, UserId};
use access::request::Door;
use access::session::{EndReason, Protocol};
use access::verdict::RecordLevel;
use std::fs;
use std::io::Cursor;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_772_366_400 + second).unwrap()
}

/// What an auditor is given, and what it was made from.
struct Exported {
    dir: tempfile::TempDir,
    key: CheckpointKey,
    bytes: Vec<u8>,
    manifest: Manifest,
    recording: RecordingId,
    policy: String,
}

/// Ana's session on db-1 with its recording, exported after Ben revoked it.
async fn export() -> Exported {
    export_about(|_| {}).await
}

/// The same, with a recording whose header speaks of something else.
async fn export_about(change: impl FnOnce(&mut About)) -> Exported {
    export_after(Taken::Nothing, change).await
}

/// What was taken away before the export: Ana's address from the log's texts, and the recording's keys.
#[derive(PartialEq)]
enum Taken {
    Nothing,
    /// With entries that say so.
    Openly,
    /// By somebody at the machine.
    Silently,
}

async fn export_after(taken: Taken, change: impl FnOnce(&mut About)) -> Exported {
    let dir = tempfile::tempdir().unwrap();
    let key = || CheckpointKey::generate("gate.example.com/audit").unwrap();
    let secret = key();
    let key = CheckpointKey::parse(&secret).unwrap();
    let (ana, ben) = (UserId::generate(at(0)), UserId::generate(at(0)));
    let (session, grant, recording) = (SessionId::generate(at(1)), GrantId::generate(at(1)), RecordingId::generate(at(1)));
    let files: BTreeMap<String, Vec<u8>> =
        [("db.cedar".into(), b"permit(principal, action, resource);".to_vec()), ("tiers.toml".into(), vec![])].into();
    let policy = policy_digest(&files);

    let identity = KeyIdentity::generate();
    let to = KeyRecipients::parse(&[identity.recipient()]).unwrap();
    let pool = RecorderPool::open(dir.path().join("recordings"), &PoolOptions::default()).unwrap();
    let mut about = About {
        recording: recording.to_string(),
        session: session.to_string(),
        grant: grant.to_string(),
        person: ana.to_string(),
        resource: "db-1".into(),
        bundle: policy.clone(),
        started: at(1),
        levels: vec!["content".into()],
    };
    change(&mut about);
    let handle = pool.start(&about, Durability::Sync, &to, &to).unwrap();
    for (direction, text) in [(Direction::Output, "$ "), (Direction::Input, "uptime\r")] {
        let (kind, bytes) = (FrameKind::Bytes, text.into());
        handle.record(Frame { at_us: 1, channel: 0, direction, kind, bytes }).await.unwrap();
    }
    let progress = pool.progress().remove(0);
    let closed = handle.close("revoked", 9).await.unwrap();

    let actor = |who: UserId| Actor::Principal(PrincipalId::User(who));
    let draft = |second, who, event| EntryDraft::new(at(second), who, Door::Ssh, event);
    let opened = Event::SessionOpened {
        session,
        grant,
        person: ana.into(),
        resource: "db-1".parse().unwrap(),
        role: "shell".parse().unwrap(),
        protocol: Protocol::Ssh,
        recording,
        recording_header: Some(hex::encode(handle.header_digest())),
        level: RecordLevel::Content,
        node: "gate-1".into(),
        bundle: policy.clone(),
        ends_at: None,
    };
    let progress = Event::RecordingProgress {
        node: "gate-1".into(),
        recordings: vec![Progress { recording, chunks: progress.chunks, digest: hex::encode(progress.digest) }],
    };
    let ended = Event::SessionEnded {
        session,
        reason: EndReason::Revoked,
        confirmed: true,
        bytes_up: 7,
        bytes_down: 2,
        recording_chunks: i64::try_from(closed.chunks).ok(),
        recording_digest: Some(hex::encode(closed.digest)),
    };
    let entries = [
        draft(0, Actor::Gate, Event::LogStarted { node: "gate-1".into() }),
        draft(1, actor(ana), opened).text("from", Some("192.0.2.7")),
        draft(2, actor(ben), Event::SessionWatched { session }),
        draft(3, Actor::Gate, progress),
        draft(4, Actor::Gate, Event::NodeStopped { node: "gate-2".into() }),
        draft(5, actor(ben), Event::SessionKilled { session }).text("reason", Some("that was the wrong host")),
        draft(6, Actor::Gate, ended),
    ];
    let mut entries: Vec<Entry> = entries.into_iter().map(EntryDraft::seal).collect();
    if taken == Taken::Openly {
        let erased = Event::TextErased { entry: entries[1].id, name: "from".into() };
        let destroyed = Event::RecordingDestroyed { recording, session };
        entries.extend([erased, destroyed].map(|event| draft(7, actor(ben), event).seal()));
    }
    let mut log = LogWriter::open(dir.path().join("audit"), CheckpointKey::parse(&secret).unwrap(), Fsync::Never).unwrap();
    log.append(&entries.iter().map(|e| e.leaf().unwrap()).collect::<Vec<_>>()).unwrap();
    log.checkpoint(at(60)).unwrap();

    let path = pool.path(&recording.to_string()).unwrap();
    let keys = RecordingReader::open(fs::File::open(&path).unwrap(), &identity).unwrap().released();
    let release = if taken == Taken::Nothing { Release::Keys(keys) } else { Release::Withheld };
    if taken != Taken::Nothing {
        crate::recording::keys::destroy(&path).unwrap();
        entries[1].texts.clear();
    }
    let request = Export {
        selection: format!("session {session}"),
        entries: [1, 2, 3].into_iter().chain(5..entries.len() as u64).collect(),
        texts: [1, 5].iter().filter_map(|i| SideRecord::of(&entries[*i])).collect(),
        policies: vec![PolicyText { digest: policy.clone(), files }],
        recordings: vec![RecordingPart { recording: recording.to_string(), path, release }],
    };
    let file = dir.path().join("evidence.tar");
    let written = request.write(&LogDirectory::new(dir.path().join("audit")), &key, at(90), &file).unwrap();
    let bytes = fs::read(file).unwrap();
    assert_eq!((written.bytes, written.sha256), (bytes.len() as u64, Sha256::digest(&bytes).into()));
    let mut bundle = Bundle::read(Cursor::new(&bytes)).unwrap();
    let manifest = serde_json::from_slice(&bundle.named(parts::MANIFEST).unwrap().unwrap()).unwrap();
    Exported { dir, key, bytes, manifest, recording, policy }
}

impl Exported {
    fn verify(&self, bytes: &[u8]) -> BundleReport {
        verify(Cursor::new(bytes), self.key.verifier()).unwrap()
    }

    fn parts(&self, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let (parts, _) = tar::scan(&mut Cursor::new(bytes)).unwrap();
        let content = |p: &Part| bytes[p.offset as usize..(p.offset + p.bytes) as usize].to_vec();
        parts.iter().map(|p| (p.name.clone().unwrap(), content(p))).collect()
    }

    fn pack(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut writer = tar::Writer::new(Vec::new());
        for (name, content) in parts {
            writer.part(name, content.len() as u64, &content[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    /// The bundle with the lines of one part changed, in a container that is well-formed again.
    fn with_lines(&self, part: &str, change: impl FnOnce(&mut Vec<String>)) -> BundleReport {
        let mut parts = self.parts(&self.bytes);
        let content = &mut parts.iter_mut().find(|(name, _)| name == part).unwrap().1;
        let mut lines: Vec<String> = String::from_utf8_lossy(content).lines().map(str::to_owned).collect();
        change(&mut lines);
        *content = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
        self.verify(&Self::pack(&parts))
    }

    /// Whether one of the findings names what stands at this byte: the part, and the entry or chunk in it.
    fn is_named(&self, byte: usize, parts: &[Part], findings: &[Finding]) -> bool {
        let inside = parts.iter().find(|p| (p.offset..p.offset + p.bytes).contains(&(byte as u64)));
        let Some(part) = inside else {
            return findings.iter().any(|f| matches!(f, Finding::ContainerAltered { offset, .. } if offset.abs_diff(byte as u64) < 1024));
        };
        let name = part.name.as_deref().unwrap();
        let member = findings.iter().any(|f| matches!(f, Finding::MemberAltered { member, .. } if member == name));
        let before = &self.bytes[part.offset as usize..byte];
        let line = before.iter().filter(|b| **b == b'\n').count();
        match name {
            parts::ENTRIES => {
                let entry = &self.manifest.entries[line];
                let at_border = self.bytes[byte] == b'\n';
                member && findings.iter().any(|f| f.entries().contains(&entry.index) || (at_border && f.ids().contains(&&*entry.id)))
            }
            parts::PROOFS => member && findings.iter().any(|f| f.entries().contains(&self.manifest.entries[line].index)),
            parts::CHECKPOINT => findings.iter().any(|f| matches!(f, Finding::CheckpointUnusable { .. })),
            name if name.starts_with("recordings/") => findings.iter().any(|f| {
                matches!(f, Finding::ChunkAltered { recording, .. } | Finding::RecordingHeader { recording, .. }
                    if *recording == self.recording.to_string() || byte < 600 + part.offset as usize)
            }),
            _ => member,
        }
    }
}

// covers: EV-3
#[tokio::test]
async fn a_bundle_verifies_with_the_public_key_alone() {
    let exported = export().await;
    let public = CheckpointVerifier::parse(&exported.key.verifier().to_string()).unwrap();
    let bytes = exported.bytes.clone();
    // Nothing it was made from is left.
    drop(exported.dir);
    let report = verify(Cursor::new(&bytes), &public).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.entries, report.texts_matching, report.texts_absent), (5, 2, 0));
    assert_eq!(report.policies, [exported.policy]);
    let recording = &report.recordings[0];
    assert_eq!((recording.chunks, recording.closed, recording.anchors, recording.frames), (3, true, 3, Some(2)));
    let stranger = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
    let report = verify(Cursor::new(&bytes), stranger.verifier()).unwrap();
    let said: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|s| s.starts_with("`manifest.note` is not the one that was exported: its signature")), "{said:?}");
}

// covers: EV-2, EV-3, F3
#[tokio::test]
async fn every_flipped_byte_is_found_and_named() {
    let exported = export().await;
    let (parts, flaws) = tar::scan(&mut Cursor::new(&exported.bytes)).unwrap();
    assert_eq!((flaws, exported.verify(&exported.bytes).findings), (vec![], vec![]));
    let exported = std::sync::Arc::new(exported);
    let parts = std::sync::Arc::new(parts);
    let threads: Vec<_> = (0..2)
        .map(|half| {
            let (exported, parts) = (std::sync::Arc::clone(&exported), std::sync::Arc::clone(&parts));
            std::thread::spawn(move || {
                let mut bytes = exported.bytes.clone();
                for byte in (half..bytes.len()).step_by(2) {
                    // The case of a letter, the lowest bit of anything else: what a lenient reader would let pass.
                    let bit = if bytes[byte].is_ascii_alphabetic() { 0x20 } else { 0x01 };
                    bytes[byte] ^= bit;
                    let findings = exported.verify(&bytes).findings;
                    assert!(exported.is_named(byte, &parts, &findings), "byte {byte} flipped by {bit}: {findings:?}");
                    bytes[byte] ^= bit;
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

// covers: EV-2, EV-3, F3
#[tokio::test]
async fn every_removed_entry_and_every_swapped_pair_is_named() {
    let exported = export().await;
    let entries = &exported.manifest.entries;
    for i in 0..entries.len() {
        let report = exported.with_lines(parts::ENTRIES, |lines| drop(lines.remove(i)));
        let named = |f: &Finding| matches!(f, Finding::EntryMissing { index, id: Some(id), .. } if *index == entries[i].index && *id == entries[i].id);
        assert!(report.findings.iter().any(named), "{:?}", report.findings);
        for j in i + 1..entries.len() {
            let report = exported.with_lines(parts::ENTRIES, |lines| lines.swap(i, j));
            let wanted = Finding::EntriesSwapped {
                first: (entries[i].index, Some(entries[i].id.clone())),
                second: (entries[j].index, Some(entries[j].id.clone())),
            };
            assert!(report.findings.contains(&wanted), "{:?}", report.findings);
        }
    }
}

// covers: EV-3, EV-7, F3
#[tokio::test]
async fn what_was_taken_away_is_wrong_unless_an_entry_says_who_took_it() {
    let openly = export_after(Taken::Openly, |_| {}).await;
    let report = openly.verify(&openly.bytes);
    assert_eq!((report.texts_matching, report.texts_absent, report.recordings[0].destroyed), (1, 1, true));
    assert_eq!(report.findings, []);
    let silently = export_after(Taken::Silently, |_| {}).await;
    let entry = &silently.manifest.entries[0].id;
    assert_eq!(
        silently.verify_itself(),
        [
            format!("the text `from` of entry `{entry}` is gone, and no entry here says that anybody erased it"),
            format!(
                "recording `{}` is not the one that the log knows: its keys are gone, and no entry here says that anybody destroyed them",
                silently.recording
            ),
        ]
    );
}

// covers: EV-3, F3
#[tokio::test]
async fn a_chunk_that_was_repeated_before_the_export_is_named_though_the_gate_signed_it() {
    let exported = export().await;
    let name = recording_part(&exported.recording.to_string());
    let mut parts = exported.parts(&exported.bytes);
    assert_eq!(exported.sentences(&exported.signed(parts.clone(), |_| {})), Vec::<String>::new());
    let content = &mut parts.iter_mut().find(|(n, _)| *n == name).unwrap().1;
    let starts: Vec<usize> = content.windows(4).enumerate().filter(|(_, bytes)| bytes == b"TGc1").map(|(at, _)| at).collect();
    let twin = content[starts[0]..starts[1]].to_vec();
    content.splice(starts[1]..starts[1], twin);
    let said = exported.sentences(&exported.signed(parts, |_| {}));
    assert!(said.iter().any(|s| s.contains("a chunk of this number stands there more than once")), "{said:?}");
}

// covers: EV-3
#[tokio::test]
async fn an_export_of_another_version_is_not_verified_by_these_rules() {
    let exported = export().await;
    let parts = exported.parts(&exported.bytes);
    let said = exported.sentences(&exported.signed(parts, |manifest| manifest.version = 2));
    assert!(said.iter().any(|s| s.contains("it is of version 2")), "{said:?}");
}

// covers: EV-3
#[tokio::test]
async fn a_forged_manifest_a_removed_part_and_a_moved_one_are_named() {
    let exported = export().await;
    let parts = exported.parts(&exported.bytes);
    for i in 0..parts.len() {
        let mut without = parts.clone();
        let (name, _) = without.remove(i);
        let findings = exported.verify(&Exported::pack(&without)).findings;
        let named = |f: &Finding| matches!(f, Finding::MemberMissing { member } if *member == name);
        assert!(findings.iter().any(named), "{name}: {findings:?}");
        for j in (i + 1).max(3)..parts.len() {
            let mut swapped = parts.clone();
            swapped.swap(i, j);
            let findings = exported.verify(&Exported::pack(&swapped)).findings;
            assert!(!findings.is_empty(), "{} and {}", parts[i].0, parts[j].0);
        }
    }
    // Somebody takes out an entry everywhere and makes the manifest fit again, but cannot sign it.
    let mut forged = parts.clone();
    let cut = |content: &[u8]| content.split_inclusive(|b| *b == b'\n').skip(1).collect::<Vec<_>>().concat();
    let mut manifest = exported.manifest.clone();
    manifest.entries.remove(0);
    for (name, content) in &mut forged {
        if name == parts::ENTRIES || name == parts::PROOFS {
            *content = cut(content);
            let line = manifest.parts.iter_mut().find(|line| line.name == *name).unwrap();
            (line.bytes, line.sha256) = (content.len() as u64, Sha256::digest(&content).into());
        }
    }
    forged[0].1 = serde_json::to_vec(&manifest).unwrap();
    let said: Vec<String> = exported.verify(&Exported::pack(&forged)).findings.iter().map(ToString::to_string).collect();
    assert!(said.contains(&"`manifest.json` is not the one that was exported: it is not the one that was signed".to_owned()), "{said:?}");
}

#[tokio::test]
async fn what_is_not_under_a_checkpoint_yet_is_not_exported() {
    let exported = export().await;
    let log = LogDirectory::new(exported.dir.path().join("audit"));
    let to = exported.dir.path().join("more.tar");
    let export = |index: u64| {
        let export = Export { entries: [index].into(), ..Export::default() };
        export.write(&log, &exported.key, at(99), &to).map_err(|e| e.to_string())
    };
    export(6).unwrap();
    assert_eq!(export(7).unwrap_err(), "entry 7 is newer than the newest checkpoint, of 7 entries; wait a minute and export again");
}

#[test]
fn no_file_makes_the_verifier_stumble() {
    let key = CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap();
    for bytes in [vec![], vec![0; 1024], vec![7; 5000], Exported::pack(&[("manifest.json".into(), b"{}".to_vec())])] {
        assert!(!verify(Cursor::new(bytes), key.verifier()).unwrap().is_sound());
    }
}

// covers: EV-3, EV-4
#[tokio::test]
async fn a_recording_of_something_else_than_the_log_says_is_named() {
    assert_eq!(export().await.verify_itself(), Vec::<String>::new());
    type Change = fn(&mut About);
    let changes: [(&str, Change); 5] = [
        ("session", |about| about.session = SessionId::generate(at(7)).to_string()),
        ("grant", |about| about.grant = GrantId::generate(at(7)).to_string()),
        ("person", |about| about.person = UserId::generate(at(7)).to_string()),
        ("resource", |about| about.resource = "db-2".into()),
        ("bundle", |about| about.bundle = "00".repeat(32)),
    ];
    for (field, change) in changes {
        let said = export_about(change).await.verify_itself();
        assert_eq!(said.len(), 1, "{field}: {said:?}");
        assert!(said[0].contains(&format!("it speaks of {field} `")), "{said:?}");
    }
    let said = export_about(|about| about.levels = vec!["events".into()]).await.verify_itself();
    assert!(said[0].ends_with("it keeps another level than the log says"), "{said:?}");
}

// covers: EV-3, EV-4
#[tokio::test]
async fn to_whom_a_recording_was_wrapped_stands_under_the_log() {
    let exported = export().await;
    let mut parts = exported.parts(&exported.bytes);
    let name = recording_part(&exported.recording.to_string());
    let content = &mut parts.iter_mut().find(|(n, _)| *n == name).unwrap().1;
    let text = content.windows(5).position(|w| w == b"age1q").or_else(|| content.windows(4).position(|w| w == b"age1")).unwrap();
    // Another recipient, as long as the first, everywhere the manifest would notice too: signed anew by the gate itself.
    let other = KeyIdentity::generate().recipient();
    content[text..text + other.len()].copy_from_slice(other.as_bytes());
    let said = exported.sentences(&exported.signed(parts, |_| {}));
    assert!(said.iter().any(|s| s.contains("the log has another digest for its first 0 chunks")), "{said:?}");
}

// covers: EV-3
#[tokio::test]
async fn recordings_and_keys_that_are_not_listed_or_not_there_are_named() {
    let exported = export().await;
    let name = recording_part(&exported.recording.to_string());
    let parts = exported.parts(&exported.bytes);

    // The list of recordings names it, the list of parts and the file do not.
    let without: Vec<_> = parts.iter().filter(|(n, _)| *n != name).cloned().collect();
    let said = exported.sentences(&exported.signed(without, |manifest| manifest.parts.retain(|line| line.name != name)));
    assert!(said.contains(&format!("`{name}` is missing")), "{said:?}");

    // The list of parts has it, the list of recordings does not.
    let said = exported.sentences(&exported.signed(parts, |manifest| manifest.recordings.clear()));
    assert!(said.contains(&format!("`{name}` was not exported")), "{said:?}");
    assert!(said.iter().any(|s| s.starts_with("`keys.json` is not the one that was exported: it holds keys of")), "{said:?}");

    // Taken out of everything, though its session ended, and put back.
    assert_eq!(exported.verify_itself(), Vec::<String>::new());
    let said = exported.sentences(&exported.without_recording(&exported.manifest.selection));
    let gone = format!(
        "recording `{}` is not the one that the log knows: its session ended and it is not here, \
         and no entry here says that anybody let it go",
        exported.recording
    );
    assert_eq!(said, [gone]);
    // Nothing is wrong where its session is told of and was not asked for; it is said that it is not here.
    for others in ["person usr_1", "resource db-2", "session ses_1", "period 2026-03-02T00:00:00Z to 2026-03-03T00:00:00Z"] {
        let report = exported.verify(&exported.without_recording(others));
        assert_eq!((report.findings, report.recordings_absent), (vec![], vec![exported.recording.to_string()]), "{others}");
    }
    for asked in ["resource db-1", "period 2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z"] {
        assert!(!exported.verify(&exported.without_recording(asked)).is_sound(), "{asked}");
    }
    // Nor where an entry says that it was let go.
    let openly = export_after(Taken::Openly, |_| {}).await;
    assert_eq!(openly.verify(&openly.without_recording(&openly.manifest.selection)).findings, []);
}

// covers: CRED-6, EV-3
#[tokio::test]
async fn an_export_after_the_key_was_replaced_verifies_with_the_first_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = |seed: u8| CheckpointKey::from_seed("gate.example.com/audit", &[seed; 32]).unwrap();
    let audit = dir.path().join("audit");
    let mut log = LogWriter::open(&audit, key(1), Fsync::Never).unwrap();
    let leaf = |event, second| EntryDraft::new(at(second), Actor::Gate, Door::Gate, event).seal().leaf().unwrap();
    let public = Some(key(2).verifier().to_string());
    let rotated = Event::KeysRotated { key: "audit".into(), old: "key_1".into(), new: "key_2".into(), public, trusted_until: None };
    log.append(&[leaf(Event::LogStarted { node: "gate-1".into() }, 0), leaf(rotated, 1)]).unwrap();
    log.hand_over(key(2), 1, at(2)).unwrap();
    log.append(&[leaf(Event::NodeStopped { node: "gate-1".into() }, 3)]).unwrap();
    log.checkpoint(at(4)).unwrap();
    let to = dir.path().join("proof.tar");
    let export = Export { selection: "everything".into(), entries: [0, 2].into(), ..Export::default() };
    export.write(&LogDirectory::new(&audit), &key(2), at(5), &to).unwrap();
    let bytes = fs::read(&to).unwrap();
    let check = |bytes: &[u8], seed: u8| verify(Cursor::new(bytes), key(seed).verifier()).unwrap();
    let report = check(&bytes, 1);
    assert_eq!((report.findings, report.keys.len()), (vec![], 2));
    assert_eq!(check(&bytes, 2).findings, []);
    assert!(!check(&bytes, 3).is_sound());

    let (parts, _) = tar::scan(&mut Cursor::new(&bytes)).unwrap();
    let parts: Vec<(String, Vec<u8>)> =
        parts.iter().map(|p| (p.name.clone().unwrap(), bytes[p.offset as usize..(p.offset + p.bytes) as usize].to_vec())).collect();
    let without: Vec<_> = parts.iter().filter(|(name, _)| name != parts::SUCCESSION).cloned().collect();
    assert!(!check(&Exported::pack(&without), 1).is_sound(), "without it nobody follows");
    // Somebody with the second key goes on from another history than the first key signed last.
    let mut forked = parts;
    let line = &mut forked.iter_mut().find(|(name, _)| name == parts::SUCCESSION).unwrap().1;
    let mut handover: Handover = serde_json::from_slice(line.trim_ascii()).unwrap();
    handover.consistency = Some(vec![[9; 32]]);
    *line = serde_json::to_vec(&handover).unwrap();
    let said: Vec<String> = check(&Exported::pack(&forked), 1).findings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|s| s.contains("another history of the first 2 entries")), "{said:?}");
}

impl Exported {
    fn sentences(&self, bytes: &[u8]) -> Vec<String> {
        self.verify(bytes).findings.iter().map(ToString::to_string).collect()
    }

    fn verify_itself(&self) -> Vec<String> {
        self.sentences(&self.bytes)
    }

    /// The export of a gate that has no file of the recording, asked for so.
    fn without_recording(&self, selection: &str) -> Vec<u8> {
        let name = recording_part(&self.recording.to_string());
        let parts = self.parts(&self.bytes).into_iter().filter(|(n, _)| *n != name && n != parts::KEYS).collect();
        self.signed(parts, |manifest| {
            manifest.recordings.clear();
            manifest.selection = selection.to_owned();
            manifest.parts.retain(|line| line.name != name && line.name != parts::KEYS);
        })
    }

    /// The parts with a manifest that fits them again and that the gate's own key signed: a gate that lies.
    fn signed(&self, mut parts: Vec<(String, Vec<u8>)>, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
        let mut manifest = self.manifest.clone();
        for line in &mut manifest.parts {
            if let Some((_, content)) = parts.iter().find(|(name, _)| *name == line.name) {
                (line.bytes, line.sha256) = (content.len() as u64, Sha256::digest(content).into());
            }
        }
        change(&mut manifest);
        let manifest = serde_json::to_vec(&manifest).unwrap();
        parts[1].1 = self.key.sign_text(signed_text(&manifest).as_bytes()).unwrap();
        parts[0].1 = manifest;
        Self::pack(&parts)
    }
}
