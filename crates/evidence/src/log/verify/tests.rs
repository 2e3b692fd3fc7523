//! Flip, delete, reorder, truncate, roll back, fork: each is named.

use super::*;
use crate::log::checkpoint::CheckpointKey;
use crate::log::texts::{SideRecord, SideText};
use crate::log::writer::{Fsync, LogWriter};
use std::fs;
use std::path::Path;

const SIZE: u64 = 600;

fn id(i: u64) -> String {
    format!("ent_{i:026}")
}

fn leaf(i: u64) -> Vec<u8> {
    format!(r#"{{"id":"{}","kind":"request.submitted"}}"#, id(i)).into_bytes()
}

fn at(minute: u64) -> Timestamp {
    format!("2026-03-01T12:{minute:02}:00Z").parse().unwrap()
}

/// A log of 600 entries in three bundles, as an auditor has it.
struct Copy {
    dir: tempfile::TempDir,
    secret: String,
}

impl Copy {
    fn new() -> Self {
        Self::of(SIZE, leaf)
    }

    fn of(size: u64, leaf: impl Fn(u64) -> Vec<u8>) -> Self {
        let secret = CheckpointKey::generate("gate.example.com/audit").unwrap().to_string();
        let copy = Self { dir: tempfile::tempdir().unwrap(), secret };
        copy.grow(0..size, leaf);
        copy
    }

    fn key(&self) -> CheckpointKey {
        CheckpointKey::parse(&self.secret).unwrap()
    }

    fn grow(&self, range: std::ops::Range<u64>, leaf: impl Fn(u64) -> Vec<u8>) -> SignedCheckpoint {
        let mut log = LogWriter::open(self.dir.path(), self.key(), Fsync::Never).unwrap();
        log.append(&range.map(leaf).collect::<Vec<_>>()).unwrap();
        log.checkpoint(at(log.size() % 60)).unwrap()
    }

    fn verify(&self, others: &[OtherCheckpoint]) -> LogReport {
        verify(&LogDirectory::new(self.dir.path()), self.key().verifier(), others)
    }

    fn sentences(&self) -> Vec<String> {
        self.verify(&[]).findings.iter().map(ToString::to_string).collect()
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join(file)
    }

    /// Changes a file, verifies, and puts it back.
    fn with(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> LogReport {
        let path = self.path(file);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let report = self.verify(&[]);
        fs::write(&path, good).unwrap();
        report
    }

    /// Writes all bundles anew from a list of leaves.
    fn rewrite(&self, leaves: &[Vec<u8>]) {
        let _ = fs::remove_dir_all(self.path("tile/entries"));
        for (number, group) in leaves.chunks(256).enumerate() {
            let mut bundle = Vec::new();
            for (i, leaf) in group.iter().enumerate() {
                leaves::push(&mut bundle, i as u64, leaf).unwrap();
            }
            let width = if group.len() == 256 { 0 } else { (SIZE % 256) as u16 };
            let path = self.dir.path().join(tile_path(TileKind::Entries, number as u64, width));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bundle).unwrap();
        }
    }
}

fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

// covers: EV-2 (log), F3 (log)
#[test]
fn a_flipped_byte_of_an_entry_names_the_entry() {
    let copy = Copy::new();
    assert!(copy.verify(&[]).is_sound());
    let framed = leaf(0).len() + 2;
    // Every byte of one entry in the middle, the first, the last, and those at the borders of bundles.
    for (file, in_file, index) in [
        ("tile/entries/000", 0, 0),
        ("tile/entries/000", 100, 100),
        ("tile/entries/000", 255, 255),
        ("tile/entries/001", 0, 256),
        ("tile/entries/002.p/88", 87, 599),
    ] {
        for byte in 0..framed {
            let report = copy.with(file, |bytes| bytes[in_file * framed + byte] ^= 1);
            let entries: Vec<u64> = report.findings.iter().flat_map(Finding::entries).collect();
            assert_eq!(entries.first(), Some(&index), "byte {byte}: {:?}", report.findings);
            if byte >= 2 {
                assert_eq!(report.findings.len(), 1, "byte {byte}: {:?}", report.findings);
            }
        }
    }
}

// covers: EV-2 (log)
#[test]
fn a_flipped_byte_anywhere_is_found_and_a_flipped_hash_is_not_blamed_on_an_entry() {
    let copy = Copy::new();
    let mut all = Vec::new();
    files(copy.dir.path(), &mut all);
    for path in all {
        let file = path.strip_prefix(copy.dir.path()).unwrap().display().to_string();
        let length = fs::read(&path).unwrap().len();
        for byte in (0..length).step_by(131).chain([length - 1]) {
            let report = copy.with(&file, |bytes| bytes[byte] ^= 0x20);
            assert!(!report.is_sound(), "byte {byte} of `{file}`");
            if file.starts_with("tile/0") || file.starts_with("tile/1") {
                let wanted = Finding::TileAltered {
                    file: file.clone(),
                    position: Some(byte as u64 / 32),
                    reason: "it is not what the entries below it add up to".into(),
                };
                assert_eq!(report.findings, [wanted]);
            }
        }
    }
}

// covers: EV-2 (log), F3 (log)
#[test]
fn a_deleted_entry_is_named() {
    let copy = Copy::new();
    for index in [0, 1, 100, 254, 255, 256, 511, 512, 598, 599] {
        let mut leaves: Vec<Vec<u8>> = (0..SIZE).map(leaf).collect();
        leaves.remove(index);
        copy.rewrite(&leaves);
        let said = copy.sentences();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(&format!("entry {index} is missing")), "{said:?}");
    }
    let framed = leaf(0).len() + 2;
    copy.rewrite(&(0..SIZE).map(leaf).collect::<Vec<_>>());
    for index in [0, 7, 253, 254, 255] {
        // Cut from one bundle only, the others as they were.
        let report = copy.with("tile/entries/000", |bytes| drop(bytes.drain(index * framed..(index + 1) * framed)));
        assert_eq!(report.findings.iter().flat_map(Finding::entries).collect::<Vec<_>>(), [index as u64]);
    }
}

// covers: EV-2 (log), F3 (log)
#[test]
fn swapped_entries_are_both_named() {
    let copy = Copy::new();
    for (a, b) in [(0u64, 1u64), (0, 599), (100, 400), (255, 256), (598, 599)] {
        let mut leaves: Vec<Vec<u8>> = (0..SIZE).map(leaf).collect();
        leaves.swap(a as usize, b as usize);
        copy.rewrite(&leaves);
        assert_eq!(copy.sentences(), [format!("entries {a} (`{}`) and {b} (`{}`) have changed places", id(a), id(b))]);
    }
}

#[test]
fn an_inserted_entry_a_missing_bundle_and_a_cut_one_are_named() {
    let copy = Copy::new();
    let mut leaves: Vec<Vec<u8>> = (0..SIZE).map(leaf).collect();
    leaves.insert(300, br#"{"id":"ent_forged"}"#.to_vec());
    copy.rewrite(&leaves);
    assert_eq!(copy.sentences()[0], "what stands at place 300 (`ent_forged`) was never logged");

    let copy = Copy::new();
    let report = copy.with("tile/entries/001", |bytes| bytes.truncate(bytes.len() - 1));
    assert_eq!(report.findings.iter().flat_map(Finding::entries).collect::<Vec<_>>(), [511]);
    fs::remove_file(copy.path("tile/entries/001")).unwrap();
    let entries: Vec<u64> = copy.verify(&[]).findings.iter().flat_map(Finding::entries).collect();
    assert_eq!(entries, (256..512).collect::<Vec<_>>());
}

// covers: EV-2 (log), F3 (log)
#[test]
fn truncation_rollback_and_fork_are_found_against_any_other_checkpoint() {
    let copy = Copy::of(100, leaf);
    let early = copy.key().verifier().clone();
    let note =
        |checkpoint: &SignedCheckpoint, source: &str| OtherCheckpoint { source: source.into(), notes: Ok(checkpoint.note().to_vec()) };
    let at_150 = copy.grow(100..150, leaf);
    // The same key signs the same first 100 entries, then others: a fork.
    let forked = Copy { dir: tempfile::tempdir().unwrap(), secret: copy.secret.clone() };
    forked.grow(0..100, leaf);
    forked.grow(100..150, |i| leaf(i + 1000));
    let rolled_back = Copy { dir: tempfile::tempdir().unwrap(), secret: copy.secret.clone() };
    rolled_back.grow(0..120, leaf);
    let grown = copy.grow(150..SIZE, leaf);

    let others = [note(&at_150, "the syslog of 1 March"), note(&grown, "the witness")];
    assert_eq!(early.origin(), "gate.example.com/audit");
    assert!(copy.verify(&others).is_sound());
    assert_eq!(copy.verify(&others).consulted.len(), 2);
    let said = |c: &Copy| c.verify(&others[..1]).findings.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        said(&forked),
        ["the checkpoint from the syslog of 1 March commits to another history of the first 150 entries: the log was forked or rewritten"]
    );
    assert_eq!(
        said(&rolled_back),
        ["the checkpoint from the syslog of 1 March commits to 150 entries and this copy has 120: the log was truncated or rolled back"]
    );
}

// covers: EV-2 (log)
#[test]
fn what_could_not_be_consulted_is_said() {
    let copy = Copy::new();
    let stranger = Copy::new();
    let elsewhere = CheckpointKey::parse(&CheckpointKey::generate("other.example.com/audit").unwrap()).unwrap();
    let note = |source: &str, notes: Result<Vec<u8>, &str>| OtherCheckpoint { source: source.into(), notes: notes.map_err(Into::into) };
    let report = copy.verify(&[
        note("a bucket", Err("no such key")),
        note("a file", Ok(b"nonsense".to_vec())),
        note("a neighbour", Ok(elsewhere.sign(1, [0; 32], at(1)).unwrap().note().to_vec())),
        note("a stranger", Ok(stranger.grow(SIZE..SIZE, leaf).note().to_vec())),
    ]);
    assert!(report.is_sound());
    let said: Vec<String> = report.not_consulted.iter().map(|n| format!("{}: {}", n.source, n.reason)).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    a bucket: it could not be read: no such key
    a file: it is no signed checkpoint: it is not a signed note
    a neighbour: it is signed for the log `other.example.com/audit`, not for `gate.example.com/audit`
    a stranger: its signature does not verify under the key of `gate.example.com/audit`: it was altered, or another key signed it
    ");
}

#[test]
fn a_lost_checkpoint_is_found_and_the_copy_is_held_against_another() {
    let copy = Copy::new();
    let published = copy.grow(SIZE..SIZE, leaf);
    fs::remove_file(copy.path("checkpoint")).unwrap();
    assert!(matches!(copy.verify(&[]).findings[..], [Finding::CheckpointUnusable { .. }]));
    let other = OtherCheckpoint { source: "the witness".into(), notes: Ok(published.note().to_vec()) };
    let report = copy.verify(&[other]);
    assert!(matches!(report.findings[..], [Finding::CheckpointUnusable { .. }]), "{report:?}");
    assert_eq!(report.size, SIZE);
}

// covers: EV-2 (texts)
#[test]
fn texts_match_are_erased_or_are_named() {
    let text = |i: u64| SideText { salt: [i as u8; 16], text: format!("reason {i}") };
    let copy = Copy::of(5, |i| {
        let digest = hex::encode(text(i).digest());
        // The last two say that somebody erased the texts of 1 and 2.
        let data = match i {
            3 | 4 => format!(r#"{{"entry":"{}","event":"text.erased","name":"reason"}}"#, id(i - 2)),
            _ => r#"{"event":"node.stopped"}"#.to_owned(),
        };
        format!(r#"{{"data":{data},"id":"{}","texts":{{"reason":"{digest}"}}}}"#, id(i)).into_bytes()
    });
    let line = |i: u64, text: &SideText| {
        let record = SideRecord { entry: id(i), texts: [("reason".to_owned(), text.clone())].into() };
        serde_json::to_string(&record).unwrap() + "\n"
    };
    let report = copy.verify(&[]);
    assert_eq!((report.texts_matching, report.texts_erased, report.is_sound()), (None, None, true), "they are no part of the copy");
    let whole = line(0, &text(0)) + &line(3, &text(3)) + &line(4, &text(4));
    fs::write(copy.path("texts.jsonl"), &whole).unwrap();
    let report = copy.verify(&[]);
    assert_eq!((report.texts_matching, report.texts_erased, report.is_sound()), (Some(3), Some(2), true));
    // Taken away, and nobody said so.
    fs::write(copy.path("texts.jsonl"), line(3, &text(3)) + &line(4, &text(4))).unwrap();
    assert_eq!(
        copy.sentences(),
        [format!("the text `reason` of entry `{}` is gone, and no entry here says that anybody erased it", id(0))]
    );
    fs::write(copy.path("texts.jsonl"), line(0, &text(1)) + &whole).unwrap();
    assert_eq!(
        copy.sentences(),
        [
            format!("there are texts for `{}` more than once", id(0)),
            format!("the text `reason` of entry `{}` is not the one that was logged", id(0)),
        ]
    );

    fs::write(copy.path("texts.jsonl"), line(0, &text(1)) + "{}\n" + &line(9, &text(9)) + &line(3, &text(3)) + &line(4, &text(4))).unwrap();
    assert_eq!(
        copy.sentences(),
        [
            "line 2 of the side records cannot be read".to_owned(),
            format!("the text `reason` of entry `{}` is not the one that was logged", id(0)),
            format!("there are texts for `{}`, but no such entry", id(9)),
        ]
    );
}
