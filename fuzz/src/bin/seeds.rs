//! Writes the seeds that have to be made rather than typed: a recording, an export, checkpoints. `scripts/fuzz --seeds` runs it.

use std::fs;
use std::path::Path;

use access::event::{Actor, EntryDraft, Event};
use access::request::Door;
use evidence::bundle::{Export, RecordingPart, Release};
use evidence::log::tiles::LogDirectory;
use evidence::log::{CheckpointKey, Fsync, LogWriter, publication};
use evidence::recording::{
    About, Direction, Durability, Frame, FrameKind, KeyIdentity, KeyRecipients, PoolOptions, RecorderPool, RecordingReader,
};
use jiff::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus.join(target)).expect("the corpus can be made");
        fs::write(corpus.join(target).join(name), bytes).expect("a seed can be written");
    };
    let at = |second: i64| Timestamp::from_second(1_772_366_400 + second).expect("a time");
    let key = |seed: u8| CheckpointKey::from_seed("gate.example.com/audit", &[seed; 32]).expect("a name that fits");
    let dir = tempfile::tempdir().expect("a directory");

    let identity = KeyIdentity::generate();
    let to = KeyRecipients::parse(&[identity.recipient()]).expect("a recipient");
    let pool = RecorderPool::open(dir.path().join("recordings"), &PoolOptions::default()).expect("a pool");
    let about = About {
        recording: "rec_1".into(),
        session: "ses_1".into(),
        grant: "grt_1".into(),
        person: "usr_1".into(),
        resource: "db-1".into(),
        bundle: "00".repeat(32),
        started: at(0),
        levels: vec!["content".into()],
    };
    let handle = pool.start(&about, Durability::Sync, &to, &to).expect("a recording");
    for (direction, kind, text) in [
        (Direction::Output, FrameKind::Bytes, "$ "),
        (Direction::Input, FrameKind::Bytes, "uptime\r"),
        (Direction::Gate, FrameKind::Activity, r#"{"kind":"exec","command":"uptime"}"#),
    ] {
        handle.record(Frame { at_us: 1, channel: 0, direction, kind, bytes: text.into() }).await.expect("a frame");
    }
    handle.close("client", 9).await.expect("an end");
    let path = pool.path("rec_1").expect("a path");
    put("recording", "whole", &fs::read(&path).expect("the file"));

    let audit = dir.path().join("audit");
    let mut log = LogWriter::open(&audit, key(1), Fsync::Never).expect("a log");
    let leaf = |event: Event, second| EntryDraft::new(at(second), Actor::Gate, Door::Gate, event).seal().leaf().expect("a leaf");
    let public = Some(key(2).verifier().to_string());
    let rotated = Event::KeysRotated { key: "audit".into(), old: "key_1".into(), new: "key_2".into(), public, trusted_until: None };
    log.append(&[leaf(Event::LogStarted { node: "gate-1".into() }, 0), leaf(rotated, 1)]).expect("entries");
    let (last, first) = log.hand_over(key(2), 1, at(2)).expect("another key");
    for checkpoint in last.iter().chain([&first]) {
        publication::publish(&dir.path().join("published"), checkpoint).expect("a publication");
    }
    put("audit_log", "checkpoint", first.note());
    put("audit_log", "published", &fs::read(dir.path().join("published")).expect("the file"));
    put("audit_log", "succession", &fs::read(audit.join("succession.jsonl")).expect("the file"));
    put("audit_log", "entries", &fs::read(audit.join("tile/entries/000.p/2")).expect("the tile"));
    put("audit_log", "key", key(1).verifier().to_string().as_bytes());

    let keys = RecordingReader::open(fs::File::open(&path).expect("the file"), &identity).expect("a reader").released();
    let export = Export {
        selection: "everything".into(),
        entries: [0, 1].into(),
        recordings: vec![RecordingPart { recording: "rec_1".into(), path, release: Release::Keys(keys) }],
        ..Export::default()
    };
    let file = dir.path().join("proof.tar");
    export.write(&LogDirectory::new(&audit), &key(2), at(3), &file).expect("an export");
    put("bundle", "whole", &fs::read(file).expect("the export"));
}
