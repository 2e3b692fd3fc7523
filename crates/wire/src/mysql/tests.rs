use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use proptest::prelude::*;

use super::answer::{Answers, Awaited, Done, Step, error, write_error, write_ok, write_rows};
use super::capability::Capabilities;
use super::command::{Command, binds};
use super::handshake::{Greeting, Login, NONCE, Reply, lenenc, tls_request};
use super::row::{Column, Instead, Value, read_text_row, text_column, text_row, veil_binary_row, veil_text_row};
use super::{auth, packet};
use crate::{Malformed, Reader};

const BOTH: [Capabilities; 2] = [Capabilities::RELAYED, Capabilities(Capabilities::RELAYED.0 & !Capabilities::DEPRECATE_EOF.0)];

// covers: E1 (mysql)
#[test]
fn absurd_lengths_are_refused_before_anything_is_taken() {
    assert_eq!(packet::message(b"\x01\0\0\0x", 10).unwrap().unwrap(), (b"x".as_slice().into(), 0, 5));
    assert_eq!(packet::message(b"\x0b\0\0\0", 10), Err(Malformed("it is longer than such a message may be")));
    assert_eq!(packet::message(b"\xff\xff\xff\0", 10), Err(Malformed("it is longer than such a message may be")));
    assert_eq!(packet::message(b"\0\0\0\0", 10).unwrap().unwrap(), (b"".as_slice().into(), 0, 4), "an empty one is one");
    // Lengths inside a message: more than is there, and so much that adding to it would wrap.
    for length in [1u64, 0xffff, 1 << 31, u64::from(u32::MAX), u64::MAX] {
        let mut bytes = Vec::new();
        lenenc(&mut bytes, length);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.lenenc(), Ok(length));
        assert!(Reader::new(&bytes).lenenc_bytes().is_err(), "{length}");
    }
    let mut long = Vec::new();
    lenenc(&mut long, u64::MAX);
    let mut answers = Answers::new(Capabilities::RELAYED);
    answers.sent(Awaited::Results { binary: false }).unwrap();
    assert!(answers.received(&long, long.len()).is_err());
    // Values announced in the billions, in a message of a few bytes.
    assert!(binds(&[0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], usize::from(u16::MAX), |_| false, &mut Vec::new()).is_err());
}

#[test]
fn messages_of_sixteen_mebibytes_and_more_go_in_several_packets() {
    for length in [0, 1, packet::FULL - 1, packet::FULL, packet::FULL + 1, 2 * packet::FULL] {
        let whole = vec![7u8; length];
        let mut bytes = Vec::new();
        let next = packet::write(&mut bytes, 250, &whole);
        let (read, last, took) = packet::message(&bytes, usize::MAX >> 1).unwrap().unwrap();
        assert!(read == whole && took == bytes.len(), "{length}");
        assert_eq!(next, last.wrapping_add(1));
        assert_eq!(packet::message(&bytes[..bytes.len() - 1], usize::MAX >> 1), Ok(None), "{length}");
    }
    let mut out_of_order = Vec::new();
    packet::write(&mut out_of_order, 0, &vec![7u8; packet::FULL]);
    let last = out_of_order.len() - 1;
    out_of_order[last] = 9;
    assert!(packet::message(&out_of_order, usize::MAX >> 1).is_err());
}

#[test]
fn each_way_of_signing_in_proves_the_password() {
    let nonce = [9; NONCE];
    let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
    let stored = sha1(&sha1(b"secret"));
    let unmasked: Vec<u8> = auth::native(b"secret", &nonce).iter().zip(sha1(&[&nonce[..], &stored].concat())).map(|(a, b)| a ^ b).collect();
    assert_eq!(sha1(&unmasked), stored);

    let sha256 = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
    let stored = sha256(&sha256(b"secret"));
    let unmasked: Vec<u8> =
        auth::caching_sha2(b"secret", &nonce).iter().zip(sha256(&[&stored[..], &nonce].concat())).map(|(a, b)| a ^ b).collect();
    assert_eq!(sha256(&unmasked), stored);
    assert!(auth::native(b"", &nonce).is_empty() && auth::caching_sha2(b"", &nonce).is_empty());

    // What MariaDB stores for `secret`, from its documentation.
    let public = base64::engine::general_purpose::STANDARD_NO_PAD.decode("ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY").unwrap();
    let public = ed25519_dalek::VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
    let signature = ed25519_dalek::Signature::from_slice(&auth::ed25519(b"secret", &nonce)).unwrap();
    public.verify_strict(&nonce, &signature).unwrap();
    assert!(public.verify_strict(&[8; NONCE], &signature).is_err());

    assert_eq!(auth::read_clear(&auth::clear(b"secret")), b"secret");
    assert!(auth::under_rsa_key(b"secret", &nonce, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_err());
}

#[test]
fn a_greeting_and_a_sign_in_survive_the_way() {
    let greeting = Greeting {
        version: "10.11.6-MariaDB".into(),
        connection: 77,
        nonce: *b"abcdefghijklmnopqrst",
        capabilities: Capabilities::RELAYED,
        charset: 45,
        status: 2,
        plugin: auth::CACHING_SHA2.into(),
    };
    assert_eq!(Greeting::read(&greeting.write()), Ok(greeting.clone()));
    let login = Login {
        capabilities: Capabilities::RELAYED,
        max_packet: 1 << 24,
        charset: 45,
        user: "orders-db+readonly".into(),
        answer: vec![1, 2, 3],
        database: Some("orders".into()),
        plugin: auth::CACHING_SHA2.into(),
        attributes: vec![("tide_reason".into(), "a customer called".into())],
    };
    assert_eq!(Reply::read(&login.write()), Ok(Reply::Login(login.clone())));
    assert_eq!(login.attribute("tide_reason"), Some("a customer called"));
    let request = tls_request(Capabilities::RELAYED, 1 << 24, 45);
    assert!(matches!(Reply::read(&request), Ok(Reply::Tls(_))));
    for cut in 0..request.len() {
        assert!(Reply::read(&request[..cut]).is_err(), "{cut}");
    }
    assert!(Reply::read(&[0; 32]).is_err(), "from before 4.1");
    assert!(!format!("{login:?}").contains("[1, 2, 3]"), "an answer is a secret");
}

// covers: MY-1 (mysql), E6 (mysql)
#[test]
fn what_mariadb_says_beyond_mysql_is_neither_offered_nor_asked_for() {
    // Its servers and clients leave `LONG_PASSWORD` out, and say in four bytes that are zero elsewhere what else they can do: metadata that is
    // kept or longer, execution in bulk.
    let capabilities = Capabilities::RELAYED.without(Capabilities::LONG_PASSWORD);
    let (version, nonce) = ("11.8.2-MariaDB".to_owned(), *b"abcdefghijklmnopqrst");
    let servers = Greeting { version, connection: 7, nonce, capabilities, charset: 45, status: 2, plugin: auth::NATIVE.into() };
    let beyond = 1 + servers.version.len() + 1 + 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 6;
    let mut bytes = servers.write();
    bytes[beyond..beyond + 4].fill(0xff);
    assert_eq!(Greeting::read(&bytes), Ok(servers.clone()));
    // The gate's own greeting is MySQL's: who reads it does not look there.
    let gates = Greeting { capabilities: Capabilities::RELAYED, ..servers };
    assert!(gates.capabilities.has(Capabilities::LONG_PASSWORD) && gates.write()[beyond - 6..beyond + 4] == [0; 10]);
    // Neither are MySQL's own asked for that are not spoken: compression, optional metadata, query attributes, further factors.
    for bit in [5, 25, 26, 27, 28, 29] {
        assert!(!Capabilities::RELAYED.has(Capabilities(1 << bit)), "{bit}");
    }
    let (plugin, user, capabilities) = (auth::NATIVE.to_owned(), "app".to_owned(), capabilities.without(Capabilities::CONNECT_WITH_DB));
    let login = Login { capabilities, max_packet: 1, charset: 45, user, answer: vec![1], database: None, plugin, attributes: Vec::new() };
    let mut bytes = login.write();
    assert_eq!(bytes[9..32], [0; 23]);
    // Who asks all the same gets what was offered.
    bytes[28..32].fill(0xff);
    assert_eq!(Reply::read(&bytes), Ok(Reply::Login(login)));
    // A server that leaves metadata out, or says whether it follows, is not understood.
    for capabilities in BOTH {
        let mut answers = Answers::new(capabilities);
        answers.sent(Awaited::Results { binary: true }).unwrap();
        assert!(answers.received(&[1, 0], 2).is_err());
    }
}

#[test]
fn a_server_asks_for_more_or_for_another_way() {
    assert_eq!(auth::Next::read(&auth::more(auth::FULL)), Ok(auth::Next::More(auth::FULL)));
    assert_eq!(auth::Next::read(&auth::switch(auth::NATIVE, b"nonce")), Ok(auth::Next::Switch { plugin: auth::NATIVE, data: b"nonce" }));
    assert!(auth::Next::read(&[0xfe]).is_err(), "the way from before 4.1 is refused");
    assert!(auth::Next::read(&[]).is_err() && auth::Next::read(&[0x55]).is_err());
}

#[test]
fn commands_are_told_apart() {
    assert_eq!(Command::read(b"\x03SELECT 1"), Ok(Command::Query(b"SELECT 1")));
    assert_eq!(Command::read(b"\x0c\x05\0\0\0"), Ok(Command::Kill(5)));
    assert_eq!(Command::read(b"\x17\x05\0\0\0\x01\x01\0\0\0"), Ok(Command::Execute { statement: 5, cursor: true }));
    assert_eq!(Command::read(b"\x12"), Ok(Command::Other(0x12)), "a dump of the replication log");
    assert!(Command::read(b"").is_err() && Command::read(b"\x0c\x05").is_err() && Command::read(b"\x1b\x07\0").is_err());
}

#[test]
fn values_of_an_execution_are_read_with_types_new_and_remembered() {
    let mut known = Vec::new();
    let head = [0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0];
    // NULL, 7 as a signed LONG, "ab", one sent before.
    let first = [&head[..], &[0b0001, 1, 0x03, 0, 0x03, 0, 0xfd, 0, 0xfc, 0, 7, 0, 0, 0, 2, b'a', b'b']].concat();
    let values = binds(&first, 4, |at| at == 3, &mut known).unwrap();
    assert_eq!(values, [Value::Null, Value::Signed(7), Value::Bytes(b"ab"), Value::Long]);
    let second = [&head[..], &[0b1001, 0, 0xff, 0xff, 0xff, 0xff, 0]].concat();
    let values = binds(&second, 4, |_| false, &mut known).unwrap();
    assert_eq!(values, [Value::Null, Value::Signed(-1), Value::Bytes(b""), Value::Null]);
    assert!(binds(&second, 4, |_| false, &mut Vec::new()).is_err(), "types never announced");
    assert_eq!(binds(&[&second[..], b"x"].concat(), 4, |_| false, &mut known).unwrap().len(), 4, "what stands behind is not looked at");
}

#[test]
fn values_are_shown_as_sql_shows_them() {
    let shown = |kind: u8, bytes: &[u8]| super::row::binary_value(&mut Reader::new(bytes), kind, false).unwrap().to_string();
    assert_eq!(shown(0x0c, &[11, 0xea, 7, 11, 21, 15, 4, 5, 1, 0, 0, 0]), "2026-11-21 15:04:05.000001");
    assert_eq!(shown(0x0a, &[4, 0xea, 7, 11, 21]), "2026-11-21");
    assert_eq!(shown(0x0b, &[8, 1, 2, 0, 0, 0, 3, 4, 5]), "-51:04:05");
    assert_eq!(shown(0xfc, &[2, 0, 0xff]), "0x00ff");
    assert_eq!(shown(0x05, &1.5f64.to_le_bytes()), "1.5");
    assert!(super::row::binary_value(&mut Reader::new(&[9]), 0x0c, false).is_err());
}

fn follow(capabilities: Capabilities, awaited: Awaited, messages: &[Vec<u8>]) -> Vec<String> {
    let mut answers = Answers::new(capabilities);
    answers.sent(awaited).unwrap();
    let mut steps = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let step = answers.received(message, message.len()).unwrap();
        steps.push(format!("{step:?}").split([' ', '(']).next().unwrap().to_owned());
        assert_eq!(answers.waiting() == 0, at + 1 == messages.len(), "it ends with its last packet, not before: {step:?}");
    }
    steps
}

#[test]
fn an_answer_is_followed_to_its_end() {
    for capabilities in BOTH {
        let rows = write_rows(capabilities, &["id", "name"], &[vec!["1", "Ana"], vec!["2", "Ben"]], 2);
        let steps = follow(capabilities, Awaited::Results { binary: false }, &rows);
        let between: &[&str] = if capabilities.has(Capabilities::DEPRECATE_EOF) { &[] } else { &["Between"] };
        let expected = [&["Count", "Column", "Column"], between, &["Row", "Row", "Done"]].concat();
        assert_eq!(steps, expected);
        let nothing = write_rows(capabilities, &["id"], &[], 2);
        assert_eq!(follow(capabilities, Awaited::Results { binary: false }, &nothing).last().unwrap(), "Done");
        assert_eq!(follow(capabilities, Awaited::Simple, &[write_ok(capabilities, 2, "")]), ["Done"]);
        assert_eq!(follow(capabilities, Awaited::Results { binary: true }, &[write_error(1064, "42000", "no")]), ["Failed"]);
        // Several results: all but the last say that more follow.
        let mut several = write_rows(capabilities, &["a"], &[vec!["1"]], 2 | 8);
        several.push(write_ok(capabilities, 2, ""));
        assert_eq!(follow(capabilities, Awaited::Results { binary: false }, &several).last().unwrap(), "Done");
        // A file of the client's, then the end.
        let file = vec![b"\xfb/etc/passwd".to_vec(), write_ok(capabilities, 2, "")];
        assert_eq!(follow(capabilities, Awaited::Results { binary: false }, &file), ["File", "Done"]);
    }
}

#[test]
fn a_preparation_is_followed_to_its_end() {
    let eof = vec![0xfe, 0, 0, 2, 0];
    let head = |columns: u8, parameters: u8| vec![0, 7, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0];
    let column = || text_column("x");
    let [bare, with_eof] = BOTH;
    assert_eq!(follow(bare, Awaited::Prepared, &[head(0, 0)]), ["Prepared"]);
    assert_eq!(follow(bare, Awaited::Prepared, &[head(1, 1), column(), column()]), ["Prepared", "Parameter", "Described"]);
    assert_eq!(follow(bare, Awaited::Prepared, &[head(0, 1), column()]), ["Prepared", "Described"]);
    assert_eq!(
        follow(with_eof, Awaited::Prepared, &[head(1, 1), column(), eof.clone(), column(), eof.clone()]),
        ["Prepared", "Parameter", "Between", "Column", "Described"]
    );
    assert_eq!(follow(with_eof, Awaited::Prepared, &[head(0, 1), column(), eof.clone()]), ["Prepared", "Parameter", "Described"]);
}

#[test]
fn a_cursor_ends_an_execution_before_its_rows() {
    let [bare, with_eof] = BOTH;
    let cursor = 0x40 | 2;
    let columns = vec![vec![1], text_column("x"), vec![0xfe, 0, 0, cursor, 0]];
    assert_eq!(follow(with_eof, Awaited::Cursor, &columns), ["Count", "Column", "Done"]);
    let columns = vec![vec![1], text_column("x"), vec![0xfe, 0, 0, cursor, 0, 0, 0]];
    assert_eq!(follow(bare, Awaited::Cursor, &columns), ["Count", "Column", "Done"]);
    assert_eq!(follow(with_eof, Awaited::Rows, &[vec![0, 0, 1, b'x'], vec![0xfe, 0, 0, 0x82, 0]]), ["Row", "Done"]);
}

#[test]
fn a_cursor_of_a_procedures_own_ends_nothing() {
    let [_, with_eof] = BOTH;
    let cursor = 0x40 | 2;
    let answer = vec![vec![1], text_column("x"), vec![0xfe, 0, 0, cursor, 0], vec![1, b'2'], vec![0xfe, 0, 0, cursor, 0]];
    assert_eq!(follow(with_eof, Awaited::Results { binary: false }, &answer), ["Count", "Column", "Between", "Row", "Done"]);
    assert_eq!(follow(with_eof, Awaited::Results { binary: true }, &answer), ["Count", "Column", "Between", "Row", "Done"]);
}

// covers: E6 (mysql)
#[test]
fn a_hostile_server_is_told_from_an_honest_one() {
    let mut answers = Answers::new(Capabilities::RELAYED);
    assert!(answers.received(&write_ok(Capabilities::RELAYED, 2, ""), 7).is_err(), "nobody asked");
    answers.sent(Awaited::Simple).unwrap();
    assert!(answers.received(&[], 0).is_err());
    assert!(answers.received(&[0x03], 1).is_err(), "columns where an OK belongs");
    assert!(answers.received(&[0x00], 1).is_err(), "an OK without its fields");
    assert!(answers.received(&write_ok(Capabilities::RELAYED, 2, ""), 7).is_ok());
    for _ in 0..1024 {
        answers.sent(Awaited::Simple).unwrap();
    }
    assert!(answers.sent(Awaited::Simple).is_err());
    assert!(read_text_row(&text_row(&[Some(b"a")]), 2).is_err(), "a short row");
    assert!(read_text_row(&text_row(&[Some(b"a"), None]), 1).is_err(), "a long row");
    assert!(Column::read(&text_column("x")[..5]).is_err());
    assert!(Greeting::read(&[10, b'8', 0, 1, 2]).is_err());
    assert!(Greeting::read(&[9, b'8', 0]).is_err());
}

#[test]
fn a_hidden_value_becomes_null_and_the_others_stay() {
    // 7 (LONG), "ab", NULL, 9 (TINY).
    let row = [0, 0b0001_0000, 7, 0, 0, 0, 2, b'a', b'b', 9];
    let kinds = [0x03, 0xfd, 0x03, 0x01];
    let hidden = veil_binary_row(&row, &kinds, |at| if at == 1 { Instead::Null } else { Instead::Nothing }).unwrap();
    assert_eq!(hidden, [0, 0b0001_1000, 7, 0, 0, 0, 9]);
    let veiled =
        veil_binary_row(&row, &[0x03, 0xfd, 0xfd, 0x01], |at| if at == 1 || at == 2 { Instead::Text(b"****") } else { Instead::Nothing });
    assert_eq!(veiled.unwrap(), [&[0, 0, 7, 0, 0, 0, 4][..], b"****", &[4], b"****", &[9]].concat());
    assert_eq!(veil_binary_row(&row, &kinds, |_| Instead::Nothing).unwrap(), row);
    assert!(veil_binary_row(&row[..6], &kinds, |_| Instead::Nothing).is_err());
    let row = text_row(&[Some(b"secret"), None, Some(b"7")]);
    let veiled = veil_text_row(&row, &[Instead::Text(b"****"), Instead::Text(b"****"), Instead::Null]).unwrap();
    assert_eq!(read_text_row(&veiled, 3).unwrap(), [Some(&b"****"[..]), Some(&b"****"[..]), None]);
    assert!(veil_text_row(&row, &[Instead::Nothing; 2]).is_err());
}

#[test]
fn an_error_is_cut_at_a_letter() {
    let long = "ü".repeat(600);
    let message = write_error(1045, "28000", &long);
    let read = error(&message).unwrap();
    assert_eq!((read.code, read.sqlstate), (1045, b"28000".as_slice()));
    assert_eq!(std::str::from_utf8(read.message).unwrap().len(), 510);
    assert_eq!(error(b"\xff\x10\x04oops").unwrap().sqlstate, b"HY000");
    let done = Done { affected: 0, status: 2, warnings: 0 };
    assert_eq!(super::answer::ok(&write_ok(Capabilities::RELAYED, 2, "")), Ok(done));
}

proptest! {
    #[test]
    fn nothing_that_is_read_panics(bytes: Vec<u8>, columns in 0usize..70, kinds: Vec<u8>, no_eof: bool) {
        let _ = packet::message(&bytes, 1 << 16);
        let _ = Greeting::read(&bytes);
        let _ = Reply::read(&bytes);
        let _ = auth::Next::read(&bytes);
        let _ = Command::read(&bytes);
        let _ = Column::read(&bytes);
        let _ = read_text_row(&bytes, columns);
        let _ = veil_binary_row(&bytes, &kinds, |at| if at % 2 == 0 { Instead::Null } else { Instead::Text(b"****") });
        let _ = binds(&bytes, columns, |at| at % 3 == 0, &mut kinds.iter().map(|k| (*k, k % 2 == 0)).collect());
        for awaited in [Awaited::Simple, Awaited::Statistics, Awaited::Results { binary: true }, Awaited::Cursor, Awaited::Prepared, Awaited::Rows, Awaited::Columns] {
            let mut answers = Answers::new(BOTH[usize::from(no_eof)]);
            answers.sent(awaited).unwrap();
            for part in bytes.chunks(5) {
                let _: Result<Step<'_>, _> = answers.received(part, part.len());
            }
        }
    }

    #[test]
    fn numbers_survive_the_way(number: u64) {
        let mut bytes = Vec::new();
        lenenc(&mut bytes, number);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.lenenc(), Ok(number));
        prop_assert!(reader.is_empty());
    }
}
