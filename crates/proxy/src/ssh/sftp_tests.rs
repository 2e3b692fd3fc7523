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

/// An observer of two sides that have agreed on the version.
fn greeted(writable: bool) -> Observer {
    let mut observer = Observer::new(writable);
    observer.up(packet(INIT, &[&3u32.to_be_bytes()]).into()).unwrap();
    observer.down(packet(VERSION, &[&3u32.to_be_bytes()]).into()).unwrap();
    observer
}

/// The same with a file open for writing, anew, under the handle `h`.
fn writing(path: &[u8]) -> Observer {
    let mut observer = greeted(true);
    observer.up(packet(OPEN, &[&id(1), &string(path), &0x1au32.to_be_bytes(), &0u32.to_be_bytes()]).into()).unwrap();
    observer.down(packet(HANDLE, &[&id(1), &string(b"h")]).into()).unwrap();
    observer
}

fn write(n: u32, handle: &[u8], offset: u64, content: &[u8]) -> Bytes {
    packet(WRITE, &[&id(n), &string(handle), &offset.to_be_bytes(), &string(content)]).into()
}

fn answered(n: u32, code: u32) -> Bytes {
    packet(STATUS, &[&id(n), &code.to_be_bytes(), &string(b""), &string(b"")]).into()
}

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
            json!({"kind": "sftp", "act": "open for writing", "path": "/tmp/a", "outcome": "asked"}),
            json!({"kind": "sftp", "act": "file", "path": "/tmp/a", "outcome": "ok", "written": {"bytes": 11, "sha256": digest(b"hello world")}}),
            json!({"kind": "sftp", "act": "remove", "path": "/tmp/b", "outcome": "asked"}),
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
        &mut greeted(false),
        &[open.clone(), read(2, 0), read(3, 5), close.clone()].concat(),
        &[handle.clone(), data.clone(), eof, closed.clone()].concat(),
        3,
    );
    assert_eq!(
        operations[1..],
        [json!({"kind": "sftp", "act": "file", "path": "f", "outcome": "ok", "read": {"bytes": 5, "sha256": digest(b"hello")}})]
    );
    let (_, _, operations) = play(&mut greeted(false), &[open, read(2, 100), close].concat(), &[handle, data, closed].concat(), 3);
    assert_eq!(operations[1]["read"]["partial"], true);
    assert_eq!(operations[1]["read"]["ranges"], json!([[100, 105]]));
}

// covers: E1 (ssh)
#[test]
fn absurd_lengths_are_refused_before_memory_is_taken() {
    for length in [0u32, 0x8000_0000, 0xffff_ffff, 400_000] {
        let mut observer = greeted(true);
        let bytes = Bytes::from([&length.to_be_bytes()[..], &[OPEN, 0, 0]].concat());
        assert!(observer.up(bytes).is_err(), "{length}");
    }
    let mut observer = greeted(true);
    let handle_beyond_packet = packet(WRITE, &[&id(1), &u32::MAX.to_be_bytes(), &[0; 20]]);
    assert!(observer.up(handle_beyond_packet.into()).is_err());
}

#[test]
fn a_reply_of_our_own_waits_for_the_end_of_a_packet() {
    let mut observer = greeted(false);
    observer.up(packet(OPEN, &[&id(1), &string(b"f"), &1u32.to_be_bytes(), &0u32.to_be_bytes()]).into()).unwrap();
    observer.down(packet(HANDLE, &[&id(1), &string(b"h")]).into()).unwrap();
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
        let up = [
            packet(OPEN, &[&id(1), &string(b"/tmp/b"), &0x1au32.to_be_bytes(), &0u32.to_be_bytes()]),
            write(2, b"h", 0, b"hello ").to_vec(),
            write(3, b"h", 6, b"world").to_vec(),
            packet(CLOSE, &[&id(4), &string(b"h")]),
            packet(REMOVE, &[&id(5), &string(b"/tmp/b")]),
        ].concat();
        let mut observer = writing(b"/tmp/a");
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
        for mut observer in [writing(b"f"), greeted(false), Observer::new(true)] {
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
    let remove = |id_of: u32, path: &[u8]| Bytes::from(packet(REMOVE, &[&id(id_of), &string(path)]));
    // In order, first.
    let mut observer = greeted(true);
    observer.up(remove(7, b"/important")).unwrap();
    let done = observer.down(packet(STATUS, &[&id(7), &OK, &string(b""), &string(b"")]).into()).unwrap();
    assert_eq!(done.operations, [json!({"kind": "sftp", "act": "remove", "path": "/important", "outcome": "ok"})]);
    // The same id twice would let the second stand for the first.
    observer.up(remove(7, b"/important")).unwrap();
    assert_eq!(observer.up(remove(7, b"/tmp/x")), Err(Nonsense::IdInUse(7)));
    // An answer to looking is not an answer to anything else.
    let mut observer = greeted(true);
    observer.up(packet(17, &[&id(9), &string(b"/nonexistent")]).into()).unwrap();
    assert_eq!(observer.down(packet(HANDLE, &[&id(9), &string(b"h0")]).into()), Err(Nonsense::Unasked(9)));
    let mut observer = greeted(true);
    assert_eq!(observer.down(packet(STATUS, &[&id(8), &OK, &string(b""), &string(b"")]).into()), Err(Nonsense::Unasked(8)));
    // What was asked and never seen answered is said when the channel closes.
    let mut observer = greeted(true);
    observer.up(remove(1, b"/gone")).unwrap();
    assert_eq!(observer.finish(), [json!({"kind": "sftp", "act": "remove", "path": "/gone", "outcome": "unanswered"})]);
    // Other versions are not read, so they do not pass.
    let mut observer = Observer::new(false);
    observer.up(packet(INIT, &[&6u32.to_be_bytes()]).into()).unwrap();
    assert_eq!(observer.down(packet(2, &[&6u32.to_be_bytes()]).into()), Err(Nonsense::Version(6)));
}

// covers: E1, F6 (ssh)
#[test]
fn content_is_as_long_as_its_packet_says() {
    // As it should be, first.
    let mut observer = writing(b"/tmp/a");
    observer.up(write(2, b"h", 0, b"hello")).unwrap();
    observer.down(answered(2, 0)).unwrap();
    observer.up(packet(CLOSE, &[&id(3), &string(b"h")]).into()).unwrap();
    let closed = observer.down(answered(3, 0)).unwrap();
    assert_eq!(closed.operations[0]["written"], json!({"bytes": 5, "sha256": digest(b"hello")}));
    // A length that is too short would leave bytes in the digest that the target never writes; one that is too long lends the next packet.
    for said in [0u32, 4, 6, 0x7fff_ffff, u32::MAX] {
        let lying = packet(WRITE, &[&id(2), &string(b"h"), &0u64.to_be_bytes(), &said.to_be_bytes(), b"hello"]);
        for piece in [1, 7, 1000] {
            let mut observer = writing(b"/tmp/a");
            let told = lying.chunks(piece).find_map(|bytes| observer.up(Bytes::copy_from_slice(bytes)).err());
            assert_eq!(told, Some(Nonsense::Content { said: said as usize, there: 5 }));
        }
    }
    // A packet that ends before its content begins.
    let cut = packet(WRITE, &[&id(2), &string(b"h"), &0u64.to_be_bytes()]);
    assert_eq!(writing(b"/tmp/a").up(cut.into()), Err(Nonsense::Short));
    // The same from a target, and more than was asked for.
    let reading = || {
        let mut observer = writing(b"/tmp/a");
        observer.up(packet(READ, &[&id(2), &string(b"h"), &0u64.to_be_bytes(), &5u32.to_be_bytes()]).into()).unwrap();
        observer
    };
    assert!(reading().down(packet(DATA, &[&id(2), &string(b"hello")]).into()).is_ok());
    let lying = packet(DATA, &[&id(2), &4u32.to_be_bytes(), b"hello"]);
    assert_eq!(reading().down(lying.into()), Err(Nonsense::Content { said: 4, there: 5 }));
    assert_eq!(reading().down(packet(DATA, &[&id(2), &string(b"hello!")]).into()), Err(Nonsense::Unasked(2)));
    assert_eq!(reading().down(packet(DATA, &[&id(2)]).into()), Err(Nonsense::Short));
}

// covers: E1 (ssh)
#[test]
fn every_string_is_within_its_packet() {
    let beyond = [&5u32.to_be_bytes()[..], b"abcd"].concat();
    let zero = 0u32.to_be_bytes();
    for kind in
        [OPEN, CLOSE, READ, LSTAT, FSTAT, SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, READLINK, EXTENDED]
    {
        assert_eq!(writing(b"f").up(packet(kind, &[&id(9), &beyond]).into()), Err(Nonsense::Short), "{kind}");
    }
    for kind in [RENAME, SYMLINK] {
        assert_eq!(writing(b"f").up(packet(kind, &[&id(9), &string(b"a"), &beyond]).into()), Err(Nonsense::Short), "{kind}");
    }
    let attributes = [&0x8000_0000u32.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
    assert_eq!(writing(b"f").up(packet(MKDIR, &[&id(9), &string(b"a"), &attributes]).into()), Err(Nonsense::Short));
    // Handles are short, or a few thousand requests would hold gigabytes.
    for kind in [CLOSE, READ, FSTAT, READDIR, WRITE] {
        let long = packet(kind, &[&id(9), &string(&[7; 257]), &[0; 16]]);
        assert_eq!(writing(b"f").up(long.into()), Err(Nonsense::Handle(257)), "{kind}");
    }
    let mut observer = greeted(true);
    observer.up(packet(STAT, &[&id(9), &string(b"a")]).into()).unwrap();
    assert_eq!(observer.down(packet(NAME, &[&id(9), &1u32.to_be_bytes(), &string(b"a"), &beyond, &zero]).into()), Err(Nonsense::Short));
    // What is no packet of this version does not pass, whatever the role allows.
    for writable in [true, false] {
        assert_eq!(greeted(writable).up(packet(22, &[&id(9), &string(b"a")]).into()), Err(Nonsense::Kind(22)));
    }
}

// covers: F6 (ssh)
#[test]
fn what_is_kept_for_requests_is_bounded() {
    let mut observer = greeted(true);
    let path = string(&[b'a'; 4000]);
    let refused = (0..8192).find_map(|n| observer.up(packet(REMOVE, &[&id(n), &path]).into()).err());
    assert_eq!(refused, Some(Nonsense::TooMany));
    assert!(observer.held < 2 * HELD);
}

// covers: F6 (ssh)
#[test]
fn content_belongs_to_a_file_that_was_seen_to_be_open() {
    let close = |n| Bytes::from(packet(CLOSE, &[&id(n), &string(b"h")]));
    // A handle that is only guessed: the target would take it, and nothing here would know whose content it is.
    let mut observer = greeted(true);
    observer.up(packet(OPEN, &[&id(1), &string(b"f"), &0x1au32.to_be_bytes(), &0u32.to_be_bytes()]).into()).unwrap();
    let early = observer.up(write(2, b"h", 0, b"hello")).unwrap();
    assert!(early.on.is_empty() && early.back.len() == 1, "{early:?}");
    observer.down(packet(HANDLE, &[&id(1), &string(b"h")]).into()).unwrap();
    assert_eq!(observer.up(write(2, b"h", 0, b"hello")).unwrap().on.len(), 1);
    observer.down(answered(2, 0)).unwrap();
    // Content after the closing would be in the digest and not in the file.
    observer.up(close(3)).unwrap();
    assert!(observer.up(write(4, b"h", 5, b" world")).unwrap().on.is_empty());
    let closed = observer.down(answered(3, 0)).unwrap();
    assert_eq!(closed.operations[0]["written"], json!({"bytes": 5, "sha256": digest(b"hello")}));
    // A handle given out twice.
    let mut observer = writing(b"f");
    observer.up(packet(OPEN, &[&id(2), &string(b"g"), &1u32.to_be_bytes(), &0u32.to_be_bytes()]).into()).unwrap();
    assert_eq!(observer.down(packet(HANDLE, &[&id(2), &string(b"h")]).into()), Err(Nonsense::HandleInUse));
}

// covers: SSH-2 (ssh), SES-3 (ssh), F6 (ssh)
#[test]
fn what_opens_or_changes_something_is_told_before_it_is_forwarded() {
    let flags = |n: u32| [&n.to_be_bytes()[..], &0u32.to_be_bytes()].concat();
    let size = [&1u32.to_be_bytes()[..], &7u64.to_be_bytes()].concat();
    let (a, b) = (string(b"/a"), string(b"/b"));
    for (request, told) in [
        (packet(OPEN, &[&id(9), &a, &flags(0x1a)]), json!({"act": "open for writing", "path": "/a"})),
        (packet(OPEN, &[&id(9), &a, &flags(0x01)]), json!({"act": "open for reading", "path": "/a"})),
        (packet(REMOVE, &[&id(9), &a]), json!({"act": "remove", "path": "/a"})),
        (packet(RENAME, &[&id(9), &a, &b]), json!({"act": "rename", "path": "/a", "to": "/b"})),
        (packet(MKDIR, &[&id(9), &a, &OK]), json!({"act": "mkdir", "path": "/a"})),
        (packet(RMDIR, &[&id(9), &a]), json!({"act": "rmdir", "path": "/a"})),
        (packet(SYMLINK, &[&id(9), &a, &b]), json!({"act": "symlink", "path": "/a", "to": "/b"})),
        (packet(SETSTAT, &[&id(9), &a, &OK]), json!({"act": "setstat", "path": "/a"})),
        (packet(FSETSTAT, &[&id(9), &string(b"h"), &size]), json!({"act": "setstat", "path": "/f", "size": 7})),
        (packet(EXTENDED, &[&id(9), &string(b"hardlink@openssh.com"), &a, &b]), json!({"act": "hardlink", "path": "/a", "to": "/b"})),
        (packet(STAT, &[&id(9), &a]), Value::Null),
        (packet(OPENDIR, &[&id(9), &a]), Value::Null),
        (packet(READ, &[&id(9), &string(b"h"), &[0; 12]]), Value::Null),
        (write(9, b"h", 0, b"hello").to_vec(), Value::Null),
        (packet(CLOSE, &[&id(9), &string(b"h")]), Value::Null),
    ] {
        let seen = writing(b"/f").up(request.clone().into()).unwrap();
        assert_eq!(seen.on.concat(), request);
        let told = told.as_object().cloned().map(|mut told| {
            told.extend([("kind".to_owned(), "sftp".into()), ("outcome".to_owned(), "asked".into())]);
            Value::from(told)
        });
        assert_eq!(seen.operations, told.into_iter().collect::<Vec<_>>());
    }
}

// covers: SSH-2 (ssh), F6 (ssh)
#[test]
fn a_transfer_that_goes_on_is_told_of_now_and_then() {
    let under_way =
        |bytes: u64| [json!({"kind": "sftp", "act": "file", "path": "/f", "outcome": "under way", "written": {"bytes": bytes}})];
    let mut observer = writing(b"/f");
    let (mut offset, mut n) = (0, 2);
    let mut pass = |observer: &mut Observer, length: usize| {
        observer.up(write(n, b"h", offset, &vec![7; length])).unwrap();
        observer.down(answered(n, 0)).unwrap();
        (offset, n) = (offset + length as u64, n + 1);
    };
    pass(&mut observer, 5);
    assert!(observer.under_way(SELDOM - 1).is_empty(), "most are over before that");
    assert_eq!(observer.under_way(SELDOM), under_way(5));
    assert!(observer.under_way(2 * SELDOM).is_empty(), "nothing passed since");
    for _ in 0..OFTEN / (128 << 10) {
        assert!(observer.under_way(2 * SELDOM + 1).is_empty());
        pass(&mut observer, 128 << 10);
    }
    assert_eq!(observer.under_way(2 * SELDOM + 1), under_way(OFTEN + 5));
    // No time passes while nothing is open.
    let mut observer = greeted(true);
    assert!(observer.under_way(5 * SELDOM).is_empty());
    observer.up(packet(OPEN, &[&id(1), &string(b"/f"), &0x1au32.to_be_bytes(), &0u32.to_be_bytes()]).into()).unwrap();
    observer.down(packet(HANDLE, &[&id(1), &string(b"h")]).into()).unwrap();
    observer.up(write(2, b"h", 0, b"hello")).unwrap();
    assert!(observer.under_way(5 * SELDOM + 1).is_empty());
}

// covers: SSH-2 (ssh)
#[test]
fn a_digest_is_only_given_for_what_the_file_holds() {
    let size = |n: u64| [&1u32.to_be_bytes()[..], &n.to_be_bytes()].concat();
    let written = |flags: u32, disturbing: &[Vec<u8>]| {
        let mut observer = greeted(true);
        observer.up(packet(OPEN, &[&id(1), &string(b"f"), &flags.to_be_bytes(), &0u32.to_be_bytes()]).into()).unwrap();
        observer.down(packet(HANDLE, &[&id(1), &string(b"h")]).into()).unwrap();
        observer.up(write(2, b"h", 0, b"hello")).unwrap();
        observer.down(answered(2, 0)).unwrap();
        for request in disturbing {
            assert_eq!(observer.up(request.clone().into()).unwrap().on.len(), 1);
            observer.down(answered(3, 0)).unwrap();
        }
        observer.up(packet(CLOSE, &[&id(4), &string(b"h")]).into()).unwrap();
        observer.down(answered(4, 0)).unwrap().operations[0]["written"].clone()
    };
    assert_eq!(written(0x1a, &[])["sha256"], digest(b"hello"));
    assert_eq!(written(0x2a, &[])["sha256"], digest(b"hello"));
    assert_eq!(written(0x0a, &[])["partial"], true, "what was there before may be there still");
    assert_eq!(
        written(0x1a, &[packet(FSETSTAT, &[&id(3), &string(b"h"), &4u32.to_be_bytes(), &0o600u32.to_be_bytes()])])["sha256"],
        digest(b"hello")
    );
    assert_eq!(written(0x1a, &[packet(FSETSTAT, &[&id(3), &string(b"h"), &size(2)])])["partial"], true);
    // As `scp` does it: over what is there, and what is left of that is cut off.
    assert_eq!(written(0x0a, &[packet(FSETSTAT, &[&id(3), &string(b"h"), &size(5)])])["sha256"], digest(b"hello"));
    assert_eq!(written(0x0a, &[packet(FSETSTAT, &[&id(3), &string(b"h"), &size(6)])])["partial"], true);
    assert_eq!(written(0x1a, &[packet(SETSTAT, &[&id(3), &string(b"./f"), &size(2)])])["partial"], true);
    let copy = [&string(b"copy-data")[..], &string(b"h"), &[0; 16], &string(b"h"), &[0; 8]].concat();
    assert_eq!(written(0x1a, &[packet(EXTENDED, &[&id(3), &copy])])["partial"], true);
}

// covers: B1 (ssh)
#[test]
fn nothing_passes_before_the_version_is_agreed_on() {
    let open = || Bytes::from(packet(OPEN, &[&id(1), &string(b"f"), &1u32.to_be_bytes(), &0u32.to_be_bytes()]));
    assert!(greeted(false).up(open()).is_ok());
    // A request of version 6 reads differently in version 3: opening with truncation looks like opening for reading.
    let mut observer = Observer::new(false);
    observer.up(packet(INIT, &[&6u32.to_be_bytes()]).into()).unwrap();
    assert_eq!(observer.up(open()), Err(Nonsense::Order));
    assert_eq!(Observer::new(false).up(open()), Err(Nonsense::Order));
    assert_eq!(greeted(false).up(packet(INIT, &[&6u32.to_be_bytes()]).into()), Err(Nonsense::Order));
    assert_eq!(greeted(false).down(packet(VERSION, &[&3u32.to_be_bytes()]).into()), Err(Nonsense::Order));
}
