//! Appending, crashing and taking up again.

use super::*;
use crate::log::verify::verify;

fn key() -> CheckpointKey {
    CheckpointKey::parse(&CheckpointKey::generate("gate.example.com/audit").unwrap()).unwrap()
}

fn leaf(i: u64) -> Vec<u8> {
    format!(r#"{{"event":"request.submitted","id":"ent_{i:026}"}}"#).into_bytes()
}

fn leaves(range: Range<u64>) -> Vec<Vec<u8>> {
    range.map(leaf).collect()
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn reopen(dir: &Path, secret: &str) -> LogWriter {
    LogWriter::open(dir, CheckpointKey::parse(secret).unwrap(), Fsync::Never).unwrap()
}

#[test]
fn a_log_grows_is_closed_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let secret = CheckpointKey::generate("gate.example.com/audit").unwrap();
    let verifier = CheckpointKey::parse(&secret).unwrap().verifier().clone();
    let mut size = 0;
    for batch in [1, 3, 252, 1, 255, 256, 700] {
        let mut log = reopen(dir.path(), &secret);
        assert_eq!(log.size(), size);
        assert_eq!(log.append(&leaves(size..size + batch)).unwrap(), size..size + batch);
        size += batch;
        log.checkpoint(now()).unwrap();
        let report = verify(&LogDirectory::new(dir.path()), &verifier, &[]);
        assert!(report.is_sound(), "at {size}: {report:?}");
        assert_eq!(report.size, size);
        let read: Vec<(u64, Vec<u8>)> = LogDirectory::new(dir.path()).leaves(size).map(Result::unwrap).collect();
        assert_eq!(read, (0..size).map(|i| (i, leaf(i))).collect::<Vec<_>>());
    }
}

#[test]
fn what_lies_beyond_the_last_checkpoint_is_never_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let secret = CheckpointKey::generate("gate.example.com/audit").unwrap();
    let mut log = reopen(dir.path(), &secret);
    log.append(&leaves(0..300)).unwrap();
    let before = log.checkpoint(now()).unwrap();
    // Crashes: these fill tiles on disk, but no checkpoint says so.
    log.append(&leaves(300..66_000)).unwrap();
    drop(log);
    fs::write(dir.path().join("tile/0/002"), b"half a ti").unwrap();

    let mut log = reopen(dir.path(), &secret);
    assert_eq!((log.size(), log.root()), (300, before.root()));
    assert!(!dir.path().join("tile/0/002").exists());
    assert_eq!(log.missing(66_000).unwrap(), 300..66_000);
    // The store says something else this time; nothing had been promised about it.
    log.append(&leaves(1000..2000)).unwrap();
    log.checkpoint(now()).unwrap();
    let report = verify(&LogDirectory::new(dir.path()), log.key().verifier(), &[]);
    assert!(report.is_sound(), "{report:?}");
}

#[test]
fn what_was_said_can_be_said_again_but_not_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), key(), Fsync::Never).unwrap();
    log.append(&leaves(0..600)).unwrap();
    assert_eq!(log.append_at(10, &leaves(10..610)).unwrap(), 600..610);
    assert_eq!(log.append_at(609, &leaves(609..610)).unwrap(), 610..610);

    let wrong = [leaf(254), leaf(255), leaf(7), leaf(257)];
    let error = log.append_at(254, &wrong).unwrap_err();
    assert!(matches!(&error, LogError::LeafDiffers { index: 256, id: Some(_) }), "{error}");
    insta::assert_snapshot!(error, @"entry 256 (ent_00000000000000000000000007) differs from what the log has there: one of the two was changed; run `tidegate audit verify` and `tidegate audit replay`");
    let error = log.append_at(700, &leaves(700..701)).unwrap_err();
    insta::assert_snapshot!(error, @"entry 700 cannot be appended: the log has 610; hand over the entries from 610 on");
    assert!(matches!(log.missing(5), Err(LogError::StoreBehind { store: 5, log: 610 })));
    let long = log.append(&[leaf(610), vec![b'x'; 70_000]]).unwrap_err();
    assert!(matches!(long, LogError::TooLong(leaves::LeafTooLong { index: 611, length: 70_000 })));
    assert_eq!(log.append(&leaves(610..611)).unwrap(), 610..611, "a refused batch leaves nothing behind");
}

#[test]
fn a_second_writer_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let first = LogWriter::open(dir.path(), key(), Fsync::Never).unwrap();
    assert!(matches!(LogWriter::open(dir.path(), key(), Fsync::Never), Err(LogError::Locked(_))));
    drop(first);
    assert!(LogWriter::open(dir.path(), key(), Fsync::Never).is_ok());
}

#[test]
fn a_damaged_edge_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let secret = CheckpointKey::generate("gate.example.com/audit").unwrap();
    let mut log = reopen(dir.path(), &secret);
    log.append(&leaves(0..300)).unwrap();
    log.checkpoint(now()).unwrap();
    drop(log);
    let sound = |dir: &Path| LogWriter::open(dir, CheckpointKey::parse(&secret).unwrap(), Fsync::Never).map(drop);
    sound(dir.path()).unwrap();
    for file in ["checkpoint", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
        let path = dir.path().join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[20] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(matches!(sound(dir.path()), Err(LogError::Damaged { .. })), "{file}");
        fs::write(&path, good).unwrap();
    }
    sound(dir.path()).unwrap();
}

#[test]
fn proofs_come_from_memory_and_disk_alike() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), key(), Fsync::AtCheckpoint).unwrap();
    log.append(&leaves(0..1000)).unwrap();
    log.checkpoint(now()).unwrap();
    log.append(&leaves(1000..1030)).unwrap();
    for (index, size) in [(0, 1), (0, 1030), (255, 1000), (256, 999), (1029, 1030), (511, 512), (1000, 1001)] {
        let proof = log.inclusion_proof(index, size).unwrap();
        let root = log.root_at(size).unwrap();
        assert!(tree::proves_inclusion(&proof, index, tree::leaf_hash(&leaf(index)), size, root), "{index} in {size}");
        let proof = log.consistency_proof(index + 1, size).unwrap();
        let old = (index + 1, log.root_at(index + 1).unwrap());
        assert!(tree::proves_consistency(&proof, old, (size, root)), "{index} in {size}");
    }
    assert!(log.inclusion_proof(1030, 1030).is_err());
    assert!(log.inclusion_proof(5, 2000).is_err());
    assert!(log.root_at(1031).is_err());
}

/// Not a bar, only a figure: `cargo test --release -p tidegate-evidence -- --ignored --nocapture speed`.
#[test]
#[ignore = "prints a measurement"]
fn speed_of_appending() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogWriter::open(dir.path(), key(), Fsync::AtCheckpoint).unwrap();
    let body = "x".repeat(450);
    let batch: Vec<Vec<u8>> = (0..1000).map(|i| format!(r#"{{"id":"{i}","x":"{body}"}}"#).into_bytes()).collect();
    let start = std::time::Instant::now();
    for _ in 0..200 {
        log.append(&batch).unwrap();
    }
    log.checkpoint(now()).unwrap();
    let rate = 200_000.0 / start.elapsed().as_secs_f64();
    assert!(rate > 0.0, "{rate}");
    std::io::Write::write_all(&mut io::stderr(), format!("{rate:.0} leaves a second\n").as_bytes()).unwrap();
}
