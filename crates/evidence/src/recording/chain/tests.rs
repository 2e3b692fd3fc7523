//! A recording's chunks flipped, removed and reordered: each is named, without any key.

use super::*;
use crate::recording::keys::{self, KeyIdentity, KeyRecipients};
use crate::recording::reader::RecordingReader;
use crate::recording::sink::{Sink, Tools};

pub(crate) fn about(recording: &str) -> About {
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

struct Recorded {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    /// Where each chunk starts, and the end.
    starts: Vec<usize>,
    anchor: Anchor,
    identity: KeyIdentity,
}

/// Six chunks of output and input and the closing one.
fn record() -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let identity = KeyIdentity::generate();
    let to = KeyRecipients::parse(&[identity.recipient()]).unwrap();
    let mut sink = Sink::create(dir.path(), &about("rec_1"), &to, &to).unwrap();
    let mut tools = Tools::new().unwrap();
    let mut starts = vec![sink.standing().2 as usize];
    for i in 0..6u8 {
        let stream = if i % 3 == 2 { Stream::Input } else { Stream::Output };
        let mut raw = Vec::new();
        let piece = crate::recording::frame::Piece {
            at_us: u64::from(i),
            channel: 0,
            direction: crate::recording::Direction::Output,
            kind: crate::recording::FrameKind::Bytes,
            part: None,
            bytes: &[i; 50],
        };
        piece.encode(&mut raw);
        sink.write(&mut tools, stream, u64::from(i), 1, &raw).unwrap();
        starts.push(sink.standing().2 as usize);
    }
    sink.close(&mut tools, "client", 99).unwrap();
    let (chunks, digest, length) = sink.standing();
    starts.push(length as usize);
    let bytes = std::fs::read(dir.path().join("rec_1.tgr")).unwrap();
    Recorded { dir, bytes, starts, anchor: Anchor { chunks, digest }, identity }
}

impl Recorded {
    fn chunk(&self, i: usize) -> &[u8] {
        &self.bytes[self.starts[i]..self.starts[i + 1]]
    }

    /// The file with its chunks in this order.
    fn arranged(&self, order: &[usize]) -> Vec<u8> {
        let mut bytes = self.bytes[..self.starts[0]].to_vec();
        order.iter().for_each(|i| bytes.extend_from_slice(self.chunk(*i)));
        bytes
    }

    fn findings(&self, bytes: &[u8]) -> Vec<Finding> {
        match inspect(bytes, &[self.anchor]) {
            Ok(inspection) => inspection.findings,
            Err(e) => vec![Finding::RecordingHeader { recording: "rec_1".into(), reason: e.to_string() }],
        }
    }

    fn said(&self, bytes: &[u8]) -> Vec<String> {
        self.findings(bytes).iter().map(ToString::to_string).collect()
    }
}

// covers: EV-2 (recording), F3 (recording)
#[test]
fn every_flipped_byte_names_its_chunk_or_the_header() {
    let recorded = record();
    assert_eq!(recorded.said(&recorded.bytes), Vec::<String>::new());
    for byte in 0..recorded.bytes.len() {
        let mut bytes = recorded.bytes.clone();
        bytes[byte] ^= 1;
        let findings = recorded.findings(&bytes);
        let chunk = recorded.starts.iter().rposition(|start| *start <= byte);
        let named = findings.iter().any(|finding| match (finding, chunk) {
            (Finding::RecordingHeader { .. }, None) => true,
            (Finding::ChunkAltered { chunk: named, .. }, Some(chunk)) => *named == chunk as u64,
            _ => false,
        });
        assert!(named, "byte {byte} in {chunk:?}: {findings:?}");
    }
}

/// A file that can be read so far and no further: a disk that fails, no descriptor, no memory.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() { Err(std::io::ErrorKind::OutOfMemory.into()) } else { self.0.read(into) }
    }
}

#[test]
fn what_cannot_be_read_on_is_told_once_and_is_taken_for_no_end_and_no_damage() {
    let recorded = record();
    for at in [0, 10, 40, recorded.starts[0] - 1] {
        let error = header::read(&mut Failing(&recorded.bytes[..at])).err();
        assert!(matches!(error, Some(HeaderError::Io(_))), "{at}: {error:?}");
    }
    assert!(matches!(header::read(&mut &recorded.bytes[..10]), Err(HeaderError::NotOne)), "a file that ends there is no recording");
    let reader = RecordingReader::open(Failing(&recorded.bytes[..recorded.starts[3]]), &recorded.identity).unwrap();
    let told: Vec<_> = reader.collect();
    assert!(matches!(told.as_slice(), [.., Err(crate::recording::ReadError::Io(_))]), "{told:?}");
    assert_eq!(told.iter().filter(|frame| frame.is_err()).count(), 1);
}

// covers: EV-2 (recording), F3 (recording)
#[test]
fn every_removed_chunk_and_every_swapped_pair_is_named() {
    let recorded = record();
    let all: Vec<usize> = (0..7).collect();
    for i in 0..6 {
        let without: Vec<usize> = all.iter().copied().filter(|n| *n != i).collect();
        assert_eq!(recorded.said(&recorded.arranged(&without)), [format!("chunk {i} of recording `rec_1` is missing")]);
        for j in i + 1..7 {
            let mut swapped = all.clone();
            swapped.swap(i, j);
            let moved: Vec<(u64, u64)> = recorded
                .findings(&recorded.arranged(&swapped))
                .iter()
                .filter_map(|f| match f {
                    Finding::ChunkMoved { chunk, place, .. } => Some((*chunk, *place)),
                    _ => None,
                })
                .collect();
            assert_eq!(moved, [(j as u64, i as u64), (i as u64, j as u64)]);
        }
    }
    let said = recorded.said(&recorded.arranged(&[0, 1, 2, 3, 4, 5]));
    assert_eq!(said, ["recording `rec_1` is not the one that the log knows: the log knows 7 chunks and the file does not have them all"]);
}

// covers: EV-2 (recording), F3 (recording)
#[test]
fn every_repeated_and_every_forged_chunk_is_named() {
    let recorded = record();
    for chunk in 0..7 {
        for place in 0..8 {
            // The same chunk once more, and one that anybody can make: its digest is right, and nobody has the key of what is in it.
            for forged in [false, true] {
                let twin = if forged { forge(recorded.chunk(chunk)) } else { recorded.chunk(chunk).to_vec() };
                let at = recorded.starts[place];
                let bytes = [&recorded.bytes[..at], &twin, &recorded.bytes[at..]].concat();
                let findings = recorded.findings(&bytes);
                let named = findings.iter().any(|f| matches!(f, Finding::ChunkAltered { chunk: named, .. } if *named == chunk as u64));
                assert!(named, "{chunk} before {place}: {findings:?}");
                // With the key: what is repeated is said to be, and what is forged is not shown.
                let reader = RecordingReader::open(&bytes[..], &recorded.identity).unwrap();
                let wrong = reader.filter_map(Result::err).map(|e| e.to_string()).collect::<Vec<_>>();
                assert!(wrong.iter().any(|said| said.contains(&format!("chunk {chunk} "))), "{chunk} before {place}: {wrong:?}");
            }
        }
    }
}

/// A chunk with other sealed bytes and the digest that belongs to them.
fn forge(chunk: &[u8]) -> Vec<u8> {
    let (content, _) = chunk.split_last_chunk::<32>().unwrap();
    let mut content = content.to_vec();
    *content.last_mut().unwrap() ^= 1;
    let digest: [u8; 32] = sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), &content)).into();
    [content, digest.to_vec()].concat()
}

// covers: EV-2 (recording), F3 (recording)
#[test]
fn a_closing_chunk_counts_what_stands_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let identity = KeyIdentity::generate();
    let to = KeyRecipients::parse(&[identity.recipient()]).unwrap();
    let mut tools = Tools::new().unwrap();
    for (name, miscounts) in [("rec_a", false), ("rec_b", true)] {
        let mut sink = Sink::create(dir.path(), &about(name), &to, &to).unwrap();
        sink.write(&mut tools, Stream::Output, 0, 0, b"").unwrap();
        if miscounts {
            sink.miscount_for_test();
        }
        sink.close(&mut tools, "client", 9).unwrap();
        let found = inspect(std::fs::File::open(dir.path().join(format!("{name}.tgr"))).unwrap(), &[]).unwrap().findings;
        assert_eq!(found.iter().map(ToString::to_string).any(|said| said.contains("does not count what")), miscounts, "{found:?}");
    }
}

// covers: EV-4 (recording), F3 (recording)
#[test]
fn whoever_reads_is_told_of_what_is_missing_moved_or_exchanged() {
    let recorded = record();
    let read = |bytes: &[u8]| {
        let reader = RecordingReader::open(bytes, &recorded.identity).unwrap().ending_at(Some(recorded.anchor));
        let (frames, wrong): (Vec<_>, Vec<_>) = reader.partition(Result::is_ok);
        let shown = frames.into_iter().map(|frame| frame.unwrap().at_us).collect::<Vec<_>>();
        (shown, wrong.into_iter().map(|wrong| wrong.unwrap_err().to_string()).collect::<Vec<_>>())
    };
    assert_eq!(read(&recorded.bytes), ((0..6).collect(), Vec::new()));
    let (shown, wrong) = read(&recorded.arranged(&[0, 1, 4, 5, 6]));
    assert_eq!(shown, [0, 1, 4, 5], "and it goes on");
    assert_eq!(wrong, ["the chunks 2 to 3 are missing: the recording was altered there"]);
    let (shown, wrong) = read(&recorded.arranged(&[0, 2, 1, 3, 4, 5, 6]));
    assert_eq!(shown, [0, 2, 1, 3, 4, 5]);
    assert_eq!(wrong[..2], ["chunk 1 is missing: the recording was altered there", "chunk 1 does not stand in its place"]);
    // What the end took away, no chunk tells of; the log does.
    for (end, missing) in [(6, "chunk 6 is missing"), (3, "the chunks 3 to 6 are missing"), (0, "the chunks 0 to 6 are missing")] {
        let order: Vec<usize> = (0..end).collect();
        let (shown, wrong) = read(&recorded.arranged(&order));
        assert_eq!((shown.len(), wrong.len()), (end, 1), "{wrong:?}");
        assert!(wrong[0].starts_with(missing), "{wrong:?}");
    }
    // A byte that was flipped is named once.
    let mut bytes = recorded.bytes.clone();
    bytes[recorded.starts[2] + 70] ^= 1;
    let (shown, wrong) = read(&bytes);
    assert_eq!((shown, wrong.len()), (vec![0, 1, 3, 4, 5], 1), "{wrong:?}");
    // Another recording under the same keys, chained anew to its end, is not the one that the log knows.
    let other = Anchor { digest: [7; 32], ..recorded.anchor };
    let reader = RecordingReader::open(&recorded.bytes[..], &recorded.identity).unwrap().ending_at(Some(other));
    let wrong: Vec<String> = reader.filter_map(Result::err).map(|e| e.to_string()).collect();
    assert_eq!(wrong, ["the log has another digest for its first 7 chunks"]);
}

#[test]
fn a_file_that_was_never_closed_is_valid_to_its_last_whole_chunk() {
    let recorded = record();
    for cut in [1, 10, 66, 100] {
        let end = recorded.starts[3] + cut;
        let inspection = inspect(&recorded.bytes[..end], &[]).unwrap();
        assert_eq!((inspection.chunks, inspection.closing, inspection.torn), (3, None, cut as u64));
        assert_eq!(inspection.findings, []);
        let reader = RecordingReader::open(&recorded.bytes[..end], &recorded.identity).unwrap();
        assert_eq!(reader.map(Result::unwrap).count(), 3);
    }
}

#[test]
fn a_destroyed_key_closes_the_content_and_leaves_the_chain() {
    let recorded = record();
    let path = recorded.dir.path().join("rec_1.tgr");
    let read = |path: &std::path::Path| RecordingReader::open(std::fs::File::open(path).unwrap(), &recorded.identity).map(Iterator::count);
    assert_eq!(read(&path).unwrap(), 6);
    keys::destroy(&path).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(error.to_string(), "the recording's key was destroyed: it cannot be read any more");
    let inspection = inspect(std::fs::File::open(&path).unwrap(), &[recorded.anchor]).unwrap();
    assert_eq!((inspection.keys, inspection.findings), (KeyState::Destroyed, vec![]));
}

#[test]
fn no_file_makes_the_reader_stumble() {
    for bytes in [&b""[..], b"tidegate", b"tidegate recording 1\n\xff\xff\xff\xff", b"tidegate recording 1\n\0\0\0\x05{}"] {
        assert!(inspect(bytes, &[]).is_err());
    }
    assert_eq!(
        inspect(&b"tidegate recording 1\n\xff\xff\xff\xff"[..], &[]).unwrap_err().to_string(),
        "its header claims 4294967295 bytes; at most 262144 are read"
    );
}
