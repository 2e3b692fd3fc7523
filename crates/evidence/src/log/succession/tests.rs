use super::*;
use crate::log::checkpoint::CheckpointKey;
use crate::log::publication;
use crate::log::verify::{OtherCheckpoint, verify};
use crate::log::writer::{Fsync, LogError, LogWriter};
use access::event::{Actor, EntryDraft};
use access::request::Door;
use jiff::Timestamp;
use std::fs;
use std::path::Path;

const ORIGIN: &str = "gate.example.com/audit";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_772_366_400 + second).unwrap()
}

fn key(seed: u8) -> CheckpointKey {
    CheckpointKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
}

fn leaf(event: Event, second: i64) -> Vec<u8> {
    EntryDraft::new(at(second), Actor::Gate, Door::Gate, event).seal().leaf().unwrap()
}

fn started(second: i64) -> Vec<u8> {
    leaf(Event::NodeStarted { node: "gate-1".into(), version: "1".into() }, second)
}

fn names(new: &CheckpointKey, second: i64) -> Vec<u8> {
    let public = Some(new.verifier().to_string());
    leaf(Event::KeysRotated { key: "audit".into(), old: "key_1".into(), new: "key_2".into(), public, trusted_until: None }, second)
}

/// A log whose key was replaced twice, and the file its checkpoints were published to.
struct Log {
    dir: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let log = Self { dir: tempfile::tempdir().unwrap() };
        let mut writer = LogWriter::open(log.audit(), key(1), Fsync::Never).unwrap();
        let publish = |checkpoint: &SignedCheckpoint| publication::publish(&log.published(), checkpoint).unwrap();
        writer.append(&(0..300).map(started).collect::<Vec<_>>()).unwrap();
        publish(&writer.checkpoint(at(1)).unwrap());
        for (number, size) in [(2u8, 300), (3, 302)] {
            writer.append(&[names(&key(number), 400), started(401)]).unwrap();
            let (last, first) = writer.hand_over(key(number), size, at(500)).unwrap();
            publish(&last.unwrap());
            publish(&first);
        }
        writer.append(&[started(600)]).unwrap();
        publish(&writer.checkpoint(at(700)).unwrap());
        log
    }

    fn audit(&self) -> std::path::PathBuf {
        self.dir.path().join("audit")
    }

    fn published(&self) -> std::path::PathBuf {
        self.dir.path().join("published")
    }

    fn verify(&self, trusted: &CheckpointKey) -> crate::log::LogReport {
        let others = [OtherCheckpoint { source: "elsewhere".into(), notes: Ok(fs::read(self.published()).unwrap()) }];
        verify(&LogDirectory::new(self.audit()), trusted.verifier(), &others)
    }
}

fn said(report: &crate::log::LogReport) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

// covers: CRED-6, EV-2 (cli)
#[test]
fn who_holds_the_first_key_follows_to_the_last() {
    let log = Log::new();
    let report = log.verify(&key(1));
    assert_eq!(said(&report), Vec::<String>::new());
    assert_eq!((report.size, report.keys.len()), (305, 3));
    assert_eq!(report.keys[2], key(3).verifier().to_string());
    assert_eq!(report.consulted.len(), 6, "{:?}", report.consulted);
    // Who was given the second key, or the third, verifies from there on; what was signed before is not theirs to judge.
    for (given, consulted) in [(2, 4), (3, 2)] {
        let report = log.verify(&key(given));
        assert_eq!((said(&report), report.consulted.len()), (Vec::new(), consulted), "{:?}", report.not_consulted);
    }
    // A stranger's key leads nowhere.
    assert!(!log.verify(&key(9)).is_sound());
}

// covers: CRED-6, EV-2, F3 (cli)
#[test]
fn a_succession_that_was_altered_is_named() {
    let log = Log::new();
    let path = log.audit().join(FILE);
    let good = fs::read(&path).unwrap();
    for byte in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[byte] ^= if bad[byte].is_ascii_alphabetic() { 0x20 } else { 1 };
        fs::write(&path, &bad).unwrap();
        let report = log.verify(&key(1));
        let line = good[..byte].iter().filter(|b| **b == b'\n').count() as u64 + 1;
        let named =
            |f: &Finding| matches!(f, Finding::SuccessionBroken { line: l, .. } if *l == line || (good[byte] == b'\n' && *l <= line + 1));
        // A line that names another signer altogether is of somebody else's key; then nothing leads to the checkpoint.
        let unusable = matches!(report.findings[..], [Finding::CheckpointUnusable { .. }]);
        assert!(unusable || report.findings.iter().any(named), "byte {byte}: {:?}", said(&report));
    }
    // Taken away: what the later keys signed is nobody's.
    fs::remove_file(&path).unwrap();
    assert!(said(&log.verify(&key(1))).iter().any(|s| s.starts_with("the checkpoint cannot be used")));
    // A key that nobody named.
    let lines: Vec<&[u8]> = good.split_inclusive(|b| *b == b'\n').collect();
    let mut forged: Handover = serde_json::from_slice(lines[1].trim_ascii()).unwrap();
    forged.leaf = String::from_utf8(names(&key(9), 1)).unwrap();
    fs::write(&path, [lines[0], &serde_json::to_vec(&forged).unwrap()].concat()).unwrap();
    let report = log.verify(&key(1));
    assert!(said(&report).iter().any(|s| s.contains("its entry is not under its checkpoint")), "{:?}", said(&report));
}

// covers: CRED-6, EV-2, F3 (cli)
#[test]
fn a_key_counts_for_nothing_outside_its_span() {
    let log = Log::new();
    let (keys, broken) = LogDirectory::new(log.audit()).succession(key(1).verifier());
    assert_eq!(broken, []);
    let root = [7; 32];
    let sign = |number: u8, size| key(number).sign(size, root, at(0)).unwrap();
    // Ben took the first key with him when it was replaced at 302 entries.
    for (number, size, holds) in
        [(1, 302, true), (1, 303, false), (2, 301, false), (2, 302, true), (2, 304, true), (2, 305, false), (3, 304, true)]
    {
        let verified = keys.verify(sign(number, size).note());
        assert_eq!(verified.is_ok(), holds, "key {number} for {size} entries: {verified:?}");
    }
    let told = keys.verify(sign(1, 400).note()).unwrap_err().to_string();
    insta::assert_snapshot!(told, @"it commits to 400 entries and is signed by the key that signed from 0 to 302 on: whoever holds a key that was replaced signed it, or the succession of keys was altered");
}

// covers: CRED-6
#[test]
fn a_hand_over_that_broke_off_is_brought_to_its_end_and_the_old_key_signs_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let open = |with: &CheckpointKey, number: u8| {
        LogWriter::open_since(dir.path(), key(1).verifier(), key(number), Fsync::Never)
            .inspect(|w| assert_eq!(w.key().verifier(), with.verifier()))
    };
    let mut writer = open(&key(1), 1).unwrap();
    writer.append(&[started(0), names(&key(2), 1)]).unwrap();
    assert!(matches!(writer.hand_over(key(3), 1, at(2)), Err(LogError::NotNamed(1))), "nobody could follow to it");
    assert!(writer.checkpoint(at(2)).is_ok(), "so the old one goes on");
    writer.hand_over(key(2), 1, at(3)).unwrap();
    drop(writer);

    // The gate died before it noted that the new key is in use: it comes back with the old one.
    let mut writer = open(&key(1), 1).unwrap();
    writer.append_at(2, &[started(4)]).unwrap();
    assert!(matches!(writer.checkpoint(at(5)), Err(LogError::OtherKeys { .. })), "its time is over");
    let (last, first) = writer.hand_over(key(2), 1, at(6)).unwrap();
    assert!(last.is_none());
    assert_eq!(first.size(), 3);
    drop(writer);
    let mut writer = open(&key(2), 2).unwrap();
    writer.append(&[started(7)]).unwrap();
    writer.checkpoint(at(8)).unwrap();
    assert!(verify(&LogDirectory::new(dir.path()), key(1).verifier(), &[]).is_sound());
    drop(writer);
    assert!(matches!(open_as(dir.path(), 9), Err(LogError::OtherKeys { .. })));
}

fn open_as(dir: &Path, number: u8) -> Result<LogWriter, LogError> {
    let secret = key(number);
    let lines = fs::read(dir.join(FILE)).unwrap();
    assert!(!lines.is_empty());
    LogWriter::open_since(dir, key(1).verifier(), secret, Fsync::Never)
}

#[test]
fn no_line_makes_the_reader_stumble() {
    for lines in ["", "\n\n", "{}", "nonsense\n{\"index\":1}", "[1,2,3]\n"] {
        let (keys, findings) = Succession::follow(key(1).verifier(), lines.as_bytes());
        assert_eq!(keys.newest(), key(1).verifier());
        assert_eq!(findings.is_empty(), lines.trim().is_empty(), "{lines}");
    }
}
