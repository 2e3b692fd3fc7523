//! PostgreSQL's messages as clients and servers send them. The first byte says whose: a first packet, a client's stream, a server's, or
//! what is said at sign-in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::postgres::auth::end_point;
use wire::postgres::scram::{Binding, Started};
use wire::postgres::startup::{First, first, options};
use wire::postgres::{Side, back, front, head};

/// The largest message that is looked into.
const LARGEST: usize = 1 << 20;

/// Every whole message of a stream.
fn stream(mut bytes: &[u8], side: Side, mut each: impl FnMut(u8, &[u8])) {
    while let Ok(Some(head)) = head(bytes, side) {
        assert!(head.total >= 5, "a message has a letter and a length");
        if head.total > LARGEST || head.total > bytes.len() {
            return;
        }
        each(head.kind, &bytes[5..head.total]);
        bytes = &bytes[head.total..];
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 4 {
        0 => {
            if let Ok(Some((found, length))) = first(rest) {
                assert!(length <= rest.len(), "no packet is longer than what there is");
                if let First::Startup(startup) = found {
                    let _ = (startup.negotiate(), startup.spoken(), startup.get("user"));
                }
            }
        }
        1 => stream(rest, Side::Front, |kind, body| match kind {
            b'Q' => drop(front::query(body)),
            b'P' => drop(front::parse(body)),
            b'B' => {
                if let Ok(bind) = front::bind(body) {
                    let held: usize = bind.values.iter().filter_map(|(value, _)| value.map(<[u8]>::len)).sum();
                    assert!(held <= body.len(), "no value comes from outside the message");
                }
            }
            b'E' => drop(front::execute(body)),
            b'D' | b'C' => drop(front::named(body)),
            b'F' => drop(front::function_call(body)),
            b'p' => drop(front::password(body)),
            _ => {}
        }),
        2 => {
            let mut columns = 0;
            stream(rest, Side::Back, |kind, body| match kind {
                b'R' => drop(back::authentication(body)),
                b'K' => drop(back::key_data(body)),
                b'S' => drop(back::parameter(body)),
                b'C' => drop(back::command_complete(body).map(back::rows_of)),
                b'Z' => drop(back::ready(body)),
                b'E' | b'N' => drop(back::error_field(body, b'C')),
                b'T' => columns = back::row_description(body).map_or(0, |columns| columns.len()),
                b'D' => {
                    if let Ok(values) = back::data_row(body, columns) {
                        assert_eq!(values.len(), columns);
                    }
                }
                b'G' | b'H' | b'W' => drop(back::copy_response(body)),
                _ => {}
            });
        }
        _ => {
            let _ = end_point(rest);
            let text = String::from_utf8_lossy(rest);
            if let Ok(settings) = options(&text) {
                assert!(settings.iter().all(|(name, _)| !name.is_empty()));
            }
            // A server may ask for many rounds, up to a bound; that is not what is tested here.
            if !text.split("i=").skip(1).any(|n| n.bytes().take_while(u8::is_ascii_digit).count() > 4) {
                if let Ok(challenged) = Started::new(Binding::None, "nonce".to_owned()).challenged(rest) {
                    let keys = challenged.keys("password");
                    let _ = challenged.answer(&keys);
                }
            }
        }
    }
});
