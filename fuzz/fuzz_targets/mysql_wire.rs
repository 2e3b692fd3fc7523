//! MySQL's packets as servers and clients send them: joined to messages, and each message read as whatever it could be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::mysql::{answer, auth, command, handshake, packet, row};

const LARGEST: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((columns, mut rest)) = bytes.split_first() else { return };
    while let Ok(Some((message, _, length))) = packet::message(rest, LARGEST) {
        assert!(length <= rest.len() && message.len() <= length, "no message is larger than its packets");
        let message: &[u8] = &message;
        if let Ok(greeting) = handshake::Greeting::read(message) {
            let _ = greeting.write();
        }
        let _ = handshake::Reply::read(message);
        let _ = (answer::ok(message), answer::error(message));
        let _ = (auth::Next::read(message), command::Command::read(message));
        let _ = row::Column::read(message);
        if let Ok(values) = row::read_text_row(message, usize::from(*columns)) {
            assert_eq!(values.len(), usize::from(*columns));
        }
        rest = &rest[length..];
    }
});
