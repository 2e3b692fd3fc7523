//! The index against the scan: on recordings as the gate writes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use access::ids::{RecordingId, SessionId};
use evidence::recording::{
    About, Direction, Durability, Frame, FrameKind, KeyIdentity, KeyRecipients, PoolOptions, RecorderPool, RecordingReader, keys,
};
use jiff::Timestamp;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{ActivityIndex, Made, Sealer};
use crate::passages;

/// Seals nothing: what is looked for here is what the index itself writes.
struct Plain;

impl Sealer for Plain {
    fn seal(&self, key: &[u8; 32]) -> Result<String, String> {
        Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
    }
    fn open(&self, sealed: &str) -> Option<Zeroizing<[u8; 32]>> {
        let mut key = Zeroizing::new([0; 32]);
        for (n, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(sealed.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(key)
    }
}

struct Stage {
    dir: tempfile::TempDir,
    pool: RecorderPool,
    identity: KeyIdentity,
    recordings: BTreeMap<String, PathBuf>,
    index: ActivityIndex,
    entries: u64,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn file(dir: &Path) -> PathBuf {
    dir.join("index").join("activity.db")
}

impl Stage {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pool = RecorderPool::open(dir.path().join("recordings"), &PoolOptions::default()).unwrap();
        let (index, made) = ActivityIndex::open(&file(dir.path()), "ent_1", 0, &Plain).await.unwrap();
        assert_eq!(made, Made::New);
        Self { dir, pool, identity: KeyIdentity::generate(), recordings: BTreeMap::new(), index, entries: 0 }
    }

    /// A session and its recording, closed.
    async fn recorded(&mut self, second: i64, frames: Vec<Frame>) -> String {
        let (session, recording) = (SessionId::generate(at(second)).to_string(), RecordingId::generate(at(second)).to_string());
        let about = About {
            recording: recording.clone(),
            session: session.clone(),
            grant: "grt".into(),
            person: "usr".into(),
            resource: "db-1".into(),
            bundle: "b".into(),
            started: at(second),
            levels: vec!["exec".into()],
        };
        let to = KeyRecipients::parse(&[self.identity.recipient()]).unwrap();
        let handle = self.pool.start(&about, Durability::Flush, &to, &to).unwrap();
        for frame in frames {
            handle.record(frame).await.unwrap();
        }
        handle.close("client", 1).await.unwrap();
        self.recordings.insert(session.clone(), self.pool.path(&recording).unwrap());
        session
    }

    fn reader(&self, session: &str) -> RecordingReader<File> {
        RecordingReader::open(File::open(&self.recordings[session]).unwrap(), &self.identity).unwrap()
    }

    /// Takes sessions in, in this order.
    async fn take(&mut self, sessions: &[String]) {
        let mut batch = self.index.begin().await.unwrap();
        for session in sessions {
            batch.opened(session).await.unwrap();
            assert!(batch.take(session, [self.reader(session), self.reader(session)]).await.unwrap());
        }
        self.entries += 2 * sessions.len() as u64;
        batch.commit(self.entries).await.unwrap();
    }

    /// Where a text stands, newest first: by reading everything.
    fn by_reading(&self, text: &str) -> Vec<String> {
        let holds = |session: &&String| !passages(self.reader(session), text).0.is_empty();
        self.recordings.keys().rev().filter(holds).cloned().collect()
    }

    /// The same by the index, which says where to read; and how many were read.
    async fn by_index(&self, text: &str) -> (Vec<String>, usize) {
        let needle = self.index.needle(text).unwrap();
        let (mut found, mut read) = (Vec::new(), 0);
        let mut from = "ses_~".to_owned();
        loop {
            let candidates = self.index.candidates(&needle, &from).await.unwrap();
            assert!(candidates.sessions.is_sorted_by(|a, b| a > b) && candidates.sessions.iter().all(|session| *session <= from));
            for session in &candidates.sessions {
                read += 1;
                if !passages(self.reader(session), text).0.is_empty() {
                    found.push(session.clone());
                }
            }
            let Some(floor) = candidates.floor else { return (found, read) };
            // Just below it.
            let (head, last) = floor.split_at(floor.len() - 1);
            from = format!("{head}{}", char::from(last.as_bytes()[0] - 1)) + "~";
        }
    }

    /// Whether some bytes stand in any file of the index.
    fn holds(&self, bytes: &[u8]) -> bool {
        let mut files = std::fs::read_dir(self.dir.path().join("index")).unwrap().flatten();
        files.any(|file| std::fs::read(file.path()).unwrap().windows(bytes.len()).any(|window| window == bytes))
    }
}

fn did(text: &str) -> Frame {
    let activity = serde_json::json!({ "kind": "sql.statement", "text": text, "tables": ["public.orders"], "rows": 7 });
    Frame { at_us: 1, channel: 0, direction: Direction::Gate, kind: FrameKind::Activity, bytes: activity.to_string().into() }
}

fn shown(text: &str) -> Frame {
    Frame { at_us: 2, channel: 0, direction: Direction::Output, kind: FrameKind::Bytes, bytes: text.as_bytes().to_vec().into() }
}

fn typed(text: &str) -> Frame {
    Frame { at_us: 3, channel: 0, direction: Direction::Input, kind: FrameKind::Bytes, bytes: text.as_bytes().to_vec().into() }
}

const WORDS: [&str; 12] = ["select", "Orders", "straße", "ΟΔΟΣ", "rm", "-rf", "/srv", "4711", "\x1b[1m", "\r\n", "\u{8}", "İstanbul"];

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![prop::sample::select(&WORDS[..]).prop_map(str::to_owned), "[a-c]{1,4}"];
    (prop::collection::vec(word, 1..12), prop_oneof![Just(" "), Just("")]).prop_map(|(words, between)| words.join(between))
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (words(), 0..4u8).prop_map(|(words, kind)| match kind {
        0 | 1 => did(&words),
        2 => shown(&words),
        _ => typed(&words),
    });
    prop::collection::vec(frame, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    // covers: EV-5
    #[test]
    fn the_index_finds_what_reading_everything_finds(
        sessions in prop::collection::vec((0i64..4, frames()), 1..8), needles in prop::collection::vec(words(), 1..6), turned: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let outcome: Result<(), TestCaseError> = runtime.block_on(async {
            let mut stage = Stage::new().await;
            let mut ids = Vec::new();
            for (second, frames) in sessions {
                ids.push(stage.recorded(second, frames).await);
            }
            // In whatever order they end.
            if turned {
                ids.reverse();
            }
            stage.take(&ids).await;
            for needle in needles.iter().map(|needle| needle.trim().to_lowercase()) {
                if stage.index.needle(&needle).is_some() {
                    prop_assert_eq!(stage.by_index(&needle).await.0, stage.by_reading(&needle), "{:?}", needle);
                }
            }
            Ok(())
        });
        outcome?;
    }
}

// covers: EV-5
#[tokio::test(flavor = "multi_thread")]
async fn of_many_sessions_only_those_are_read_that_hold_the_text() {
    let mut stage = Stage::new().await;
    let mut ids = Vec::new();
    for n in 0..300 {
        let long = "x".repeat(20_000) + &format!("needle-{n} ") + &"y".repeat(20_000);
        ids.push(stage.recorded(n, vec![did(&format!("select {n} from orders")), shown(&long)]).await);
    }
    stage.take(&ids).await;
    assert_eq!(stage.by_index("needle-217").await, (vec![ids[217].clone()], 1));
    assert_eq!(stage.by_index("nobody wrote this").await, (Vec::new(), 0));
    // More than one question brings: page by page, newest first.
    assert_eq!(stage.by_index("select").await.0.len(), 300);
    // One that lives is worth reading whatever is looked for.
    let lives = stage.recorded(400, vec![did("anything")]).await;
    let mut batch = stage.index.begin().await.unwrap();
    batch.opened(&lives).await.unwrap();
    batch.commit(1_000).await.unwrap();
    assert_eq!(stage.by_index("anything").await, (vec![lives], 1));
    assert_eq!(stage.index.counts().await.unwrap(), (301, 1));
    // What was dropped in the middle left nothing.
    let mut batch = stage.index.begin().await.unwrap();
    batch.forget(&ids[217]).await.unwrap();
    drop(batch);
    assert_eq!(stage.by_index("needle-217").await.1, 2, "its own and the one that lives");
}

/// The marks of a text that nobody else wrote, as they stand in the file.
fn marks_of(stage: &Stage, text: &str) -> Vec<Vec<u8>> {
    let needle = stage.index.needle(text).unwrap();
    needle.0.split(" AND ").map(|mark| mark.trim_matches('"').as_bytes().to_vec()).collect()
}

// covers: EV-7, EV-4
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_recorded_stands_in_the_file_and_marks_go_with_what_they_were_of() {
    let mut stage = Stage::new().await;
    let secret = "zebra-quagga-okapi";
    let mut ids = Vec::new();
    for n in 0..60 {
        let text = if n == 30 { secret.to_owned() } else { format!("select {n} from orders where id = {}", n * 7919) };
        ids.push(stage.recorded(n, vec![did(&text), shown("42 rows\r\n")]).await);
        // Several transactions make several segments.
        if n % 20 == 19 {
            stage.take(&ids[ids.len() - 20..]).await;
        }
    }
    assert_eq!(stage.by_index(secret).await.0, [ids[30].clone()]);
    for text in ["zebra", "quagga", "select", "orders", "rows"] {
        assert!(!stage.holds(text.as_bytes()), "`{text}` stands in the index");
    }
    // A term that follows another in a page is kept without what they begin with in common: of each the end is enough to tell.
    let ends: Vec<Vec<u8>> = marks_of(&stage, secret).into_iter().map(|mark| mark[2..].to_vec()).collect();
    assert!(ends.iter().filter(|end| stage.holds(end)).count() > ends.len() / 2, "the marks are not found where they should be");
    assert!(!stage.index.purge().await.unwrap(), "nothing was removed");

    // Its keys are destroyed, and the index forgets it.
    keys::destroy(&stage.recordings[&ids[30]]).unwrap();
    let mut batch = stage.index.begin().await.unwrap();
    batch.forget(&ids[30]).await.unwrap();
    batch.commit(1_000).await.unwrap();
    assert!(stage.index.purge().await.unwrap());
    assert!(!stage.index.purge().await.unwrap(), "that is done");
    let left: Vec<_> = ends.iter().filter(|end| stage.holds(end)).collect();
    // Six digits may stand somewhere by chance.
    assert!(left.len() <= 1, "{} of {} marks are left", left.len(), ends.len());
    let needle = stage.index.needle("from orders").unwrap();
    let candidates = stage.index.candidates(&needle, "ses_~").await.unwrap();
    assert_eq!(candidates.sessions.len(), 60, "the others are found as before, and that it cannot be read is for the reader to say");
}

// covers: EV-5
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_index_of_this_log_is_thrown_away() {
    let mut stage = Stage::new().await;
    let id = stage.recorded(1, vec![did("select 1")]).await;
    stage.take(std::slice::from_ref(&id)).await;
    let path = file(stage.dir.path());
    stage.index.close().await;
    let open = async |log: &str, placed: u64| {
        let (index, made) = ActivityIndex::open(&path, log, placed, &Plain).await.unwrap();
        let next = index.next();
        index.close().await;
        (made, next)
    };
    assert_eq!(open("ent_1", 2).await, (Made::TakenUp, 2));
    // The store was put back to before.
    assert!(matches!(open("ent_1", 1).await, (Made::Anew(why), 0) if why.contains("more of the log")));
    assert!(matches!(open("ent_2", 2).await, (Made::Anew(why), 0) if why.contains("another log")));
    // Damaged in the middle, cut short, something else altogether.
    let bytes = std::fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    damaged[4096..].iter_mut().for_each(|byte| *byte = 0xaa);
    for broken in [damaged, bytes[..bytes.len() / 2].to_vec(), b"not a database, and long enough to be one".repeat(200), Vec::new()] {
        std::fs::write(&path, broken).unwrap();
        assert!(matches!(open("ent_2", 2).await, (Made::Anew(_), 0)));
        assert_eq!(open("ent_2", 2).await, (Made::TakenUp, 0));
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(open("ent_2", 2).await, (Made::New, 0));
}
