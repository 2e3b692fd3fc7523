//! A MySQL server's answers as the relay follows them, with what is masked taken out of their rows, and the values that a client runs a
//! statement with. The first byte says what was asked and how, the second what is masked; of each message the first byte goes to whoever asks
//! whether it is a row.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::mysql::answer::{Answers, Awaited, Step};
use wire::mysql::capability::Capabilities;
use wire::mysql::command::{Types, binds};
use wire::mysql::packet;
use wire::mysql::row::{Instead, Value, read_text_row, veil_binary_row, veil_text_row};

const LARGEST: usize = 1 << 20;

const ASKED: [Awaited; 8] = [
    Awaited::Simple,
    Awaited::Statistics,
    Awaited::Results { binary: false },
    Awaited::Results { binary: true },
    Awaited::Cursor,
    Awaited::Prepared,
    Awaited::Rows,
    Awaited::Columns,
];

/// The types of the columns, and whether text can stand in the place of their values.
const KINDS: [(u8, bool); 8] =
    [(0x03, false), (0xfd, true), (0x0c, false), (0xfc, true), (0x0b, false), (0x05, false), (0x08, false), (0xfe, true)];

/// What stands in the place of a column's value.
fn instead(masked: u8, at: usize) -> Instead {
    match KINDS[at] {
        _ if masked & (1 << at) == 0 => Instead::Nothing,
        (_, true) => Instead::Text(b"****"),
        (_, false) => Instead::Null,
    }
}

fn text(message: &[u8], all: &[Instead]) {
    let Ok(veiled) = veil_text_row(message, all) else { return };
    let (before, after) = (read_text_row(message, all.len()).unwrap(), read_text_row(&veiled, all.len()).unwrap());
    for ((before, after), instead) in before.iter().zip(&after).zip(all) {
        match instead {
            Instead::Nothing => assert_eq!(before, after, "what is not masked stays"),
            Instead::Null => assert_eq!(*after, None),
            Instead::Text(text) => assert_eq!(*after, Some(*text)),
        }
    }
}

fn binary(message: &[u8], masked: u8) {
    let kinds = KINDS.map(|(kind, _)| kind);
    let Ok(veiled) = veil_binary_row(message, &kinds, |at| instead(masked, at)) else { return };
    assert_eq!(veil_binary_row(&veiled, &kinds, |at| instead(masked, at)).as_ref(), Ok(&veiled), "it is a row, and nothing more is taken out");
    assert_eq!(veil_binary_row(message, &kinds, |_| Instead::Nothing).as_deref(), Ok(message), "nothing is taken out that is not masked");
}

fuzz_target!(|bytes: &[u8]| {
    let Some(([how, masked], mut rest)) = bytes.split_first_chunk::<2>() else { return };
    let capabilities = if how & 1 == 0 { Capabilities::default() } else { Capabilities::DEPRECATE_EOF };
    let mut answers = Answers::new(capabilities);
    let all: Vec<Instead> = (0..KINDS.len()).map(|at| instead(*masked, at)).collect();
    let mut types = Types::new();
    while let Ok(Some((message, _, length))) = packet::message(rest, LARGEST) {
        let message: &[u8] = &message;
        rest = &rest[length..];
        let count = usize::from(how >> 4);
        if let Ok(values) = binds(message, count, |at| at % 5 == 4, &mut types) {
            assert_eq!(values.len(), count);
            let held: usize = values.iter().map(|value| if let Value::Bytes(bytes) = value { bytes.len() } else { 0 }).sum();
            assert!(held <= message.len(), "no value comes from outside the message");
            let _ = values.iter().map(ToString::to_string).collect::<String>();
        }
        if answers.waiting() == 0 {
            let _ = answers.sent(ASKED[usize::from(how >> 1) % ASKED.len()]);
        }
        let Some(first) = message.first() else { continue };
        let row = answers.is_row(*first, message.len());
        match answers.received(message, message.len()) {
            Ok(Step::Row { binary: false }) if row => text(message, &all),
            Ok(Step::Row { binary: true }) if row => binary(message, *masked),
            Ok(step) => assert!(!row && !matches!(step, Step::Row { .. }), "who asks beforehand is told the same: {step:?}"),
            Err(_) => assert!(!row, "a row is taken by its beginning"),
        }
    }
});
