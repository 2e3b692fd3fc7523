//! Recording for real: files, threads, a full disk.

use super::*;
use crate::recording::asciicast;
use crate::recording::chain::{Anchor, inspect};
use crate::recording::frame::{Direction, Frame, FrameKind};
use crate::recording::keys::KeyIdentity;
use crate::recording::live::LiveEvent;
use crate::recording::reader::RecordingReader;
use bytes::Bytes;

fn about(recording: &str) -> About {
    About {
        recording: recording.into(),
        session: "ses_1".into(),
        grant: "grt_1".into(),
        person: "usr_ana".into(),
        resource: "db-1".into(),
        bundle: "00".repeat(32),
        started: "2026-03-01T12:00:00Z".parse().unwrap(),
        levels: vec!["output".into()],
    }
}

fn frame(at_us: u64, direction: Direction, bytes: impl Into<Bytes>) -> Frame {
    Frame { at_us, channel: 0, direction, kind: FrameKind::Bytes, bytes: bytes.into() }
}

struct Room {
    dir: tempfile::TempDir,
    pool: RecorderPool,
    output: KeyIdentity,
    input: KeyIdentity,
}

impl Room {
    fn new(options: &PoolOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pool = RecorderPool::open(dir.path(), options).unwrap();
        Self { dir, pool, output: KeyIdentity::generate(), input: KeyIdentity::generate() }
    }

    fn start(&self, recording: &str, durability: Durability) -> RecordingHandle {
        let to = |identity: &KeyIdentity| KeyRecipients::parse(&[identity.recipient()]).unwrap();
        self.pool.start(&about(recording), durability, &to(&self.output), &to(&self.input)).unwrap()
    }

    fn bytes(&self, recording: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(format!("{recording}.tgr"))).unwrap()
    }

    fn read(&self, recording: &str, identity: &KeyIdentity) -> Vec<Frame> {
        RecordingReader::open(&self.bytes(recording)[..], identity).unwrap().map(Result::unwrap).collect()
    }
}

// covers: EV-4
#[tokio::test]
async fn what_was_recorded_is_read_back_whole() {
    let room = Room::new(&PoolOptions::default());
    let recording = room.start("rec_1", Durability::Flush);
    let mut sent = Vec::new();
    for i in 0..500u64 {
        let frame = frame(i, Direction::Output, vec![i as u8; (i as usize * 37) % 5000]);
        recording.record(frame.clone()).await.unwrap();
        sent.push(frame);
    }
    let closed = recording.close("client", 501).await.unwrap();
    assert_eq!(recording.close("again", 502).await.unwrap(), closed);
    assert!(recording.record(frame(503, Direction::Output, "late")).await.is_err());

    let inspection = inspect(&room.bytes("rec_1")[..], &[Anchor { chunks: closed.chunks, digest: closed.digest }]).unwrap();
    assert_eq!(inspection.findings, []);
    let closing = inspection.closing.unwrap();
    assert_eq!((closing.reason.as_str(), closing.frames, closing.ended_at_us), ("client", 500, 501));
    assert_eq!(room.read("rec_1", &room.output), sent);
    assert_eq!(room.bytes("rec_1").len() as u64, closed.bytes);
    let whole = String::from_utf8_lossy(&room.bytes("rec_1")).into_owned();
    assert!(!whole.contains("\u{7}\u{7}\u{7}\u{7}"), "content stands in the file unsealed");
}

/// What cannot be made smaller is tried hastily; text that comes after it is compressed as well as ever.
#[tokio::test]
async fn an_archive_in_the_middle_costs_the_text_after_it_nothing() {
    let room = Room::new(&PoolOptions::default());
    let text: String = (0..16_384).map(|i| format!("{:08} it was a quiet night\n", i * 7_919 % 100_003)).collect();
    let mut archive = vec![0; 1024 * 1024];
    aws_lc_rs::rand::fill(&mut archive).unwrap();
    let mut lengths = Vec::new();
    for (name, parts) in [("rec_text", vec![text.as_bytes()]), ("rec_both", vec![&archive, text.as_bytes()])] {
        let recording = room.start(name, Durability::Flush);
        let mut sent = Vec::new();
        for piece in parts.iter().flat_map(|part| part.chunks(32 * 1024)) {
            recording.record(frame(1, Direction::Output, piece.to_vec())).await.unwrap();
            sent.extend_from_slice(piece);
        }
        lengths.push(recording.close("client", 2).await.unwrap().bytes);
        let read: Vec<u8> = room.read(name, &room.output).into_iter().flat_map(|frame| frame.bytes).collect();
        assert_eq!(read, sent);
    }
    let more = lengths[1] - lengths[0];
    assert!(more < archive.len() as u64 * 102 / 100 + 32 * 1024, "{more} bytes more for an archive of {}", archive.len());
}

// covers: F5 (input), F4 (input)
#[tokio::test]
async fn what_was_typed_is_not_read_with_the_key_of_the_output() {
    let room = Room::new(&PoolOptions::default());
    let recording = room.start("rec_1", Durability::Flush);
    recording.record(frame(1, Direction::Output, "Password: ")).await.unwrap();
    recording.record(frame(2, Direction::Input, "hunter2")).await.unwrap();
    recording.record(Frame::resize(3, 0, 120, 40)).await.unwrap();
    recording.close("client", 4).await.unwrap();

    let typed = room.read("rec_1", &room.input);
    assert_eq!(typed, [frame(2, Direction::Input, "hunter2")]);
    let shown = room.read("rec_1", &room.output);
    assert_eq!(shown, [frame(1, Direction::Output, "Password: "), Frame::resize(3, 0, 120, 40)]);
}

// covers: F2 (statement)
#[tokio::test]
async fn a_statement_of_ten_mebibytes_is_whole() {
    let room = Room::new(&PoolOptions { workers: 1, budget: 0 });
    let recording = room.start("rec_1", Durability::Flush);
    let text: String = (0..10 * 1024 * 1024 / 8).map(|i| format!("{i:08x}")).collect();
    let statement = serde_json::json!({"kind": "statement", "text": text}).to_string();
    let activity =
        |at_us, bytes: String| Frame { at_us, channel: 0, direction: Direction::Input, kind: FrameKind::Activity, bytes: bytes.into() };
    recording.record(activity(1, statement.clone())).await.unwrap();
    recording.record(activity(2, "{\"kind\":\"small\"}".into())).await.unwrap();
    recording.close("client", 3).await.unwrap();
    let frames = room.read("rec_1", &room.output);
    assert_eq!(frames.len(), 2);
    assert!(frames[0].bytes == statement);
}

// covers: F2 (events)
#[tokio::test]
async fn a_hundred_thousand_events_are_all_there_in_order() {
    let room = Room::new(&PoolOptions { workers: 1, budget: 0 });
    let recording = room.start("rec_1", Durability::Flush);
    for i in 0..100_000u64 {
        let bytes = format!(r#"{{"kind":"exec","n":{i}}}"#).into();
        let (direction, kind) = (Direction::Gate, FrameKind::Activity);
        recording.record(Frame { at_us: i, channel: 0, direction, kind, bytes }).await.unwrap();
    }
    recording.close("client", 100_000).await.unwrap();
    let numbers: Vec<u64> = room.read("rec_1", &room.output).iter().map(|frame| frame.at_us).collect();
    assert!(numbers.iter().copied().eq(0..100_000));
}

#[tokio::test]
async fn sync_is_written_when_record_returns() {
    let room = Room::new(&PoolOptions::default());
    let recording = std::sync::Arc::new(room.start("rec_1", Durability::Sync));
    let mut tasks = Vec::new();
    for i in 0..40 {
        let recording = std::sync::Arc::clone(&recording);
        tasks.push(tokio::spawn(async move { recording.record(frame(i, Direction::Output, "x")).await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(room.read("rec_1", &room.output).len(), 40, "before anything was closed");
}

#[tokio::test]
async fn a_recording_left_without_closing_is_reported_so() {
    let room = Room::new(&PoolOptions::default());
    let recording = room.start("rec_1", Durability::Flush);
    recording.record(frame(1, Direction::Output, "half a session")).await.unwrap();
    drop(recording);
    let Room { dir, pool, output, .. } = room;
    drop(pool);
    let bytes = std::fs::read(dir.path().join("rec_1.tgr")).unwrap();
    let inspection = inspect(&bytes[..], &[]).unwrap();
    assert_eq!((inspection.chunks, inspection.closing, inspection.findings), (1, None, vec![]));
    assert_eq!(RecordingReader::open(&bytes[..], &output).unwrap().count(), 1);
}

// covers: EV-4 (progress)
#[tokio::test]
async fn the_digests_are_told_while_the_recording_lives() {
    let room = Room::new(&PoolOptions::default());
    let recording = room.start("rec_1", Durability::Sync);
    let idle = room.start("rec_2", Durability::Sync);
    recording.record(frame(1, Direction::Output, "x")).await.unwrap();
    let told = room.pool.progress();
    assert_eq!(told.iter().map(|p| (p.recording.as_str(), p.chunks)).collect::<Vec<_>>(), [("rec_1", 1)]);
    assert_eq!(room.pool.progress(), []);
    recording.close("client", 2).await.unwrap();
    idle.close("client", 2).await.unwrap();
    let anchor = Anchor { chunks: told[0].chunks, digest: told[0].digest };
    assert_eq!(inspect(&room.bytes("rec_1")[..], &[anchor]).unwrap().findings, []);
    assert_eq!(inspect(&room.bytes("rec_2")[..], &[anchor]).unwrap().findings.len(), 1);
}

// covers: F4 (live)
#[tokio::test]
async fn a_watcher_sees_what_it_may_and_a_slow_one_is_dropped_with_a_notice() {
    let room = Room::new(&PoolOptions::default());
    let recording = room.start("rec_1", Durability::Flush);
    assert!(room.pool.watch("rec_9", Watched::Output).is_none());
    let mut plain = room.pool.watch("rec_1", Watched::Output).unwrap();
    let mut full = room.pool.watch("rec_1", Watched::WithInput).unwrap();
    recording.record(frame(1, Direction::Input, "secret")).await.unwrap();
    recording.record(frame(2, Direction::Output, "shown")).await.unwrap();
    assert_eq!(full.next().await, Some(LiveEvent::Frame(frame(1, Direction::Input, "secret"))));
    assert_eq!(plain.next().await, Some(LiveEvent::Frame(frame(2, Direction::Output, "shown"))));
    for i in 0..1000 {
        recording.record(frame(i, Direction::Output, "flood")).await.unwrap();
    }
    assert!(matches!(plain.next().await, Some(LiveEvent::FellBehind(_))));
    assert_eq!(plain.next().await, None);
    let mut third = room.pool.watch("rec_1", Watched::Output).unwrap();
    recording.close("client", 9).await.unwrap();
    assert_eq!(third.next().await, None);
    assert!(room.pool.watch("rec_1", Watched::Output).is_none());
}

// covers: F1 (recording)
#[tokio::test]
async fn a_recording_that_cannot_be_written_says_so_and_others_go_on() {
    let room = Room::new(&PoolOptions { workers: 1, budget: 0 });
    let broken = room.start("rec_1", Durability::Flush);
    let healthy = room.start("rec_2", Durability::Flush);
    broken.record(frame(1, Direction::Output, "fine")).await.unwrap();
    broken.break_for_test();
    let flood = async {
        loop {
            if let Err(failure) = broken.record(frame(2, Direction::Output, vec![7; 30_000])).await {
                return failure;
            }
        }
    };
    let failure = flood.await;
    assert_eq!(failure.to_string(), "cannot go on recording `rec_1`: the disk is full; free space in the recordings' directory");
    assert_eq!(broken.failed().await, failure);
    assert_eq!(broken.close("client", 3).await.unwrap_err(), failure);
    healthy.record(frame(1, Direction::Output, "fine")).await.unwrap();
    healthy.close("client", 2).await.unwrap();
    assert_eq!(room.read("rec_2", &room.output).len(), 1);
}

#[tokio::test]
async fn what_stood_for_a_second_is_in_the_file_without_anybody_asking() {
    let room = Room::new(&PoolOptions::default());
    let recording = room.start("rec_1", Durability::Flush);
    let start = std::time::Instant::now();
    recording.record(frame(1, Direction::Output, "one key")).await.unwrap();
    while room.read("rec_1", &room.output).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "never written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(recording);
}

#[tokio::test]
async fn a_pool_that_is_gone_leaves_nobody_waiting() {
    let Room { dir, pool, output, input } = Room::new(&PoolOptions::default());
    let room = Room { dir, pool, output, input };
    let recording = room.start("rec_1", Durability::Sync);
    recording.record(frame(1, Direction::Output, "x")).await.unwrap();
    let Room { pool, .. } = room;
    drop(pool);
    let failure = recording.record(frame(2, Direction::Output, "y")).await.unwrap_err();
    assert_eq!(failure.to_string(), "cannot go on recording `rec_1`: the recorder has stopped");
}

/// Not a bar, only figures: `cargo test -p tidegate-evidence -- --ignored --nocapture figures`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints measurements"]
async fn figures_of_recording() {
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
    let room = Room::new(&PoolOptions::default());
    let content: Bytes = (0..32 * 1024u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>().into();
    let recording = room.start("rec_0", Durability::Flush);
    let start = std::time::Instant::now();
    for i in 0..32 * 1024u64 {
        recording.record(frame(i, Direction::Output, content.clone())).await.unwrap();
    }
    recording.close("client", 1).await.unwrap();
    let rate = 1024.0 / start.elapsed().as_secs_f64();
    let before = resident();
    let mut idle = Vec::new();
    for i in 0..1000 {
        let recording = room.start(&format!("rec_idle{i}"), Durability::Sync);
        recording.record(frame(1, Direction::Output, "$ ")).await.unwrap();
        idle.push(recording);
    }
    let each = (resident() - before) / 1000;
    let said = format!("{rate:.0} MiB a second in one recording; {each} bytes for each of 1000 idle recordings\n");
    std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
}

#[tokio::test]
async fn refusals_are_sentences() {
    let room = Room::new(&PoolOptions::default());
    let to = KeyRecipients::parse(&[room.output.recipient()]).unwrap();
    let nobody = KeyRecipients::parse::<&str>(&[]).unwrap();
    let start = |recording: &str, input_to: &KeyRecipients| {
        let error = room.pool.start(&about(recording), Durability::Flush, &to, input_to).map(drop).err()?;
        std::error::Error::source(&error).map(ToString::to_string)
    };
    assert_eq!(start("rec_1", &to), None);
    assert!(start("rec_1", &to).unwrap().contains("exists"));
    assert_eq!(start("../x", &to).unwrap(), "`../x` cannot name a recording: ids are lower-case letters, digits and `_`");
    assert_eq!(start("rec_2", &nobody).unwrap(), "no recipient is configured for the input of recordings; name at least one");
}

#[tokio::test]
async fn an_asciicast_plays_what_the_terminal_showed() {
    let room = Room::new(&PoolOptions::default());
    let recording = room.start("rec_1", Durability::Flush);
    recording.record(Frame::resize(0, 0, 100, 30)).await.unwrap();
    recording.record(frame(1_500_000, Direction::Output, "\u{1b}[1mhi\u{1b}[0m\r\n")).await.unwrap();
    recording.record(frame(2_000_000, Direction::Input, "ls\r")).await.unwrap();
    recording.close("client", 3_000_000).await.unwrap();
    let mut reader = RecordingReader::open(std::io::Cursor::new(room.bytes("rec_1")), &room.output).unwrap();
    let mut out = Vec::new();
    asciicast::export(&mut reader, 0, true, &mut out).unwrap();
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
    {"version":2,"width":100,"height":30,"timestamp":1772366400,"title":"usr_ana on db-1 (ses_1)"}
    [0.0,"r","100x30"]
    [1.5,"o","\u001b[1mhi\u001b[0m\r\n"]
    "#);
}
