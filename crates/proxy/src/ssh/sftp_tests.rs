use proptest::prelude::*;
use serde_json::json;

use super::*;

fn packet(kind: u8, fields: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> = fields.concat();
    let mut packet = u32::try_from(body.len() + 1).unwrap().to_be_bytes().to_vec();
    packet.push(kind);
    packet.extend(body);
    packet
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn id(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

const OK: [u8; 4] = [0; 4];

/// A client that writes `hello world` in two pieces, and the target's answers.
fn an_upload() -> (Vec<u8>, Vec<u8>) {
    let up = [
        packet(INIT, &[&3u32.to_be_bytes()]),
        packet(OPEN, &[&id(1), &string(b"/tmp/a"), &0x1au32.to_be_bytes(), &0u32.to_be_bytes()]),
        packet(WRITE, &[&id(2), &string(b"h0"), &0u64.to_be_bytes(), &string(b"hello ")]),
        packet(WRITE, &[&id(3), &string(b"h0"), &6u64.to_be_bytes(), &string(b"world")]),
        packet(CLOSE, &[&id(4), &string(b"h0")]),
        packet(REMOVE, &[&id(5), &string(b"/tmp/b")]),
    ]
    .concat();
    let down = [
        packet(2, &[&3u32.to_be_bytes()]),
        packet(HANDLE, &[&id(1), &string(b"h0")]),
        packet(STATUS, &[&id(2), &OK, &string(b""), &string(b"")]),
        packet(STATUS, &[&id(3), &OK, &string(b""), &string(b"")]),
        packet(STATUS, &[&id(4), &OK, &string(b""), &string(b"")]),
        packet(STATUS, &[&id(5), &2u32.to_be_bytes(), &string(b""), &string(b"")]),
    ]
    .concat();
    (up, down)
}

/// Feeds the packets of both directions in turn, each packet cut at the given lengths.
fn play(observer: &mut Observer, up: &[u8], down: &[u8], piece: usize) -> (Vec<u8>, Vec<u8>, Vec<Value>) {
    let (mut sent_up, mut sent_down, mut operations) = (Vec::new(), Vec::new(), Vec::new());
    let (mut up, mut down) = (up, down);
    while !up.is_empty() || !down.is_empty() {
        for (rest, is_up) in [(&mut up, true), (&mut down, false)] {
            if rest.is_empty() {
                continue;
            }
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize + 4;
            let (one, after) = rest.split_at(length);
            *rest = after;
            for bytes in one.chunks(piece) {
                let bytes = Bytes::copy_from_slice(bytes);
                let seen = if is_up { observer.up(bytes) } else { observer.down(bytes) }.unwrap();
                if is_up { &mut sent_up } else { &mut sent_down }.extend(seen.on.concat());
                for reply in seen.back {
                    sent_down.extend(observer.inject(reply).concat());
                }
                operations.extend(seen.operations);
            }
        }
    }
    (sent_up, sent_down, operations)
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    crate::hex(&sha2::Sha256::digest(bytes))
}

// covers: SSH-2 (ssh)
#[test]
fn a_written_file_has_path_size_and_digest() {
    let (up, down) = an_upload();
    let (sent_up, sent_down, operations) = play(&mut Observer::new(true), &up, &down, 7);
    assert_eq!((sent_up, sent_down), (up, down));
    assert_eq!(
        operations,
        [
            json!({"kind": "sftp", "act": "file", "path": "/tmp/a", "outcome": "ok", "written": {"bytes": 11, "sha256": digest(b"hello world")}}),
            json!({"kind": "sftp", "act": "remove", "path": "/tmp/b", "outcome": "no such file"}),
        ]
    );
}

// covers: B1 (ssh)
#[test]
fn where_only_reading_is_allowed_writing_is_answered_with_no() {
    let (up, down) = an_upload();
    let (_, _, allowed) = play(&mut Observer::new(true), &up, &down, 4096);
    assert!(allowed.iter().all(|o| o["kind"] == "sftp"));
    let mut observer = Observer::new(false);
    let (sent_up, sent_down, operations) = play(&mut observer, &up, &packet(2, &[&3u32.to_be_bytes()]), 5);
    assert_eq!(sent_up, [packet(INIT, &[&3u32.to_be_bytes()]), packet(CLOSE, &[&id(4), &string(b"h0")])].concat());
    let refused: Vec<_> = operations.iter().map(|o| (o["kind"].as_str().unwrap(), o["act"].as_str().unwrap())).collect();
    assert_eq!(
        refused,
        [("sftp.refused", "open for writing"), ("sftp.refused", "write"), ("sftp.refused", "write"), ("sftp.refused", "remove")]
    );
    let denied = String::from_utf8_lossy(&sent_down).matches("your role may only read").count();
    assert_eq!(denied, 4, "each refusal is answered");
}

#[test]
fn a_file_read_to_its_end_has_a_digest_and_one_read_in_part_has_ranges() {
    let open = packet(OPEN, &[&id(1), &string(b"f"), &1u32.to_be_bytes(), &0u32.to_be_bytes()]);
    let read = |n, offset: u64| packet(READ, &[&id(n), &string(b"h"), &offset.to_be_bytes(), &32768u32.to_be_bytes()]);
    let handle = packet(HANDLE, &[&id(1), &string(b"h")]);
    let data = packet(DATA, &[&id(2), &string(b"hello")]);
    let eof = packet(STATUS, &[&id(3), &1u32.to_be_bytes(), &string(b""), &string(b"")]);
    let close = packet(CLOSE, &[&id(4), &string(b"h")]);
    let closed = packet(STATUS, &[&id(4), &OK, &string(b""), &string(b"")]);
    let (_, _, operations) = play(
        &mut Observer::new(false),
        &[open.clone(), read(2, 0), read(3, 5), close.clone()].concat(),
        &[handle.clone(), data.clone(), eof, closed.clone()].concat(),
        3,
    );
    assert_eq!(
        operations,
        [json!({"kind": "sftp", "act": "file", "path": "f", "outcome": "ok", "read": {"bytes": 5, "sha256": digest(b"hello")}})]
    );
    let (_, _, operations) = play(&mut Observer::new(false), &[open, read(2, 100), close].concat(), &[handle, data, closed].concat(), 3);
    assert_eq!(operations[0]["read"]["partial"], true);
    assert_eq!(operations[0]["read"]["ranges"], json!([[100, 105]]));
}

// covers: E1 (ssh)
#[test]
fn absurd_lengths_are_refused_before_memory_is_taken() {
    for length in [0u32, 0x8000_0000, 0xffff_ffff, 400_000] {
        let mut observer = Observer::new(true);
        let bytes = Bytes::from([&length.to_be_bytes()[..], &[OPEN, 0, 0]].concat());
        assert!(observer.up(bytes).is_err(), "{length}");
    }
    let mut observer = Observer::new(true);
    let handle_beyond_packet = packet(WRITE, &[&id(1), &u32::MAX.to_be_bytes(), &[0; 20]]);
    assert!(observer.up(handle_beyond_packet.into()).is_err());
}

#[test]
fn a_reply_of_our_own_waits_for_the_end_of_a_packet() {
    let mut observer = Observer::new(false);
    observer.up(packet(READ, &[&id(9), &string(b"h"), &0u64.to_be_bytes(), &5u32.to_be_bytes()]).into()).unwrap();
    let data = packet(DATA, &[&id(9), &string(b"hello")]);
    let (first, second) = data.split_at(15);
    assert_eq!(observer.down(Bytes::copy_from_slice(first)).unwrap().on.concat(), first);
    let reply = Bytes::from_static(b"reply");
    assert!(observer.inject(reply.clone()).is_empty());
    assert_eq!(observer.down(Bytes::copy_from_slice(second)).unwrap().on.concat(), [second, &reply].concat());
}

proptest! {
    #[test]
    fn what_is_allowed_passes_unchanged_however_it_is_cut(pieces in prop::collection::vec(1usize..40, 1..60)) {
        let (up, _) = an_upload();
        let mut observer = Observer::new(true);
        let (mut rest, mut sent) = (&up[..], Vec::new());
        for piece in pieces.iter().cycle() {
            if rest.is_empty() { break; }
            let (now, after) = rest.split_at((*piece).min(rest.len()));
            rest = after;
            sent.extend(observer.up(Bytes::copy_from_slice(now)).unwrap().on.concat());
        }
        prop_assert_eq!(sent, up);
    }

    #[test]
    fn no_bytes_make_it_panic_or_pass_more_than_came(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
        for writable in [true, false] {
            let mut observer = Observer::new(writable);
            let mut passed = 0;
            for chunk in bytes.chunks(piece) {
                match observer.up(Bytes::copy_from_slice(chunk)) {
                    Ok(seen) => passed += seen.on.iter().map(Bytes::len).sum::<usize>(),
                    Err(_) => break,
                }
                if observer.down(Bytes::copy_from_slice(chunk)).is_err() { break; }
            }
            prop_assert!(passed <= bytes.len());
        }
    }
}

// covers: F6, E1 (ssh)
#[test]
fn a_request_id_is_answered_once_and_for_what_it_asked() {
    let start = |observer: &mut Observer| {
        observer.up(packet(INIT, &[&3u32.to_be_bytes()]).into()).unwrap();
        observer.down(packet(2, &[&3u32.to_be_bytes()]).into()).unwrap();
    };
    let remove = |id_of: u32, path: &[u8]| Bytes::from(packet(REMOVE, &[&id(id_of), &string(path)]));
    // In order, first.
    let mut observer = Observer::new(true);
    start(&mut observer);
    observer.up(remove(7, b"/important")).unwrap();
    let done = observer.down(packet(STATUS, &[&id(7), &OK, &string(b""), &string(b"")]).into()).unwrap();
    assert_eq!(done.operations, [json!({"kind": "sftp", "act": "remove", "path": "/important", "outcome": "ok"})]);
    // The same id twice would let the second stand for the first.
    observer.up(remove(7, b"/important")).unwrap();
    assert_eq!(observer.up(remove(7, b"/tmp/x")), Err(Nonsense::IdInUse(7)));
    // An answer to looking is not an answer to anything else.
    let mut observer = Observer::new(true);
    start(&mut observer);
    observer.up(packet(17, &[&id(9), &string(b"/nonexistent")]).into()).unwrap();
    assert_eq!(observer.down(packet(HANDLE, &[&id(9), &string(b"h0")]).into()), Err(Nonsense::Unasked(9)));
    let mut observer = Observer::new(true);
    start(&mut observer);
    assert_eq!(observer.down(packet(STATUS, &[&id(8), &OK, &string(b""), &string(b"")]).into()), Err(Nonsense::Unasked(8)));
    // What was asked and never seen answered is said when the channel closes.
    let mut observer = Observer::new(true);
    start(&mut observer);
    observer.up(remove(1, b"/gone")).unwrap();
    assert_eq!(observer.finish(), [json!({"kind": "sftp", "act": "remove", "path": "/gone", "outcome": "unanswered"})]);
    // Other versions are not read, so they do not pass.
    let mut observer = Observer::new(false);
    observer.up(packet(INIT, &[&6u32.to_be_bytes()]).into()).unwrap();
    assert_eq!(observer.down(packet(2, &[&6u32.to_be_bytes()]).into()), Err(Nonsense::Version(6)));
}
