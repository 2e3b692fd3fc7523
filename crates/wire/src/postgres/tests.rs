use proptest::prelude::*;

use super::startup::{CancelKey, First, VERSION_3_0, VERSION_3_2, first, options, ssl_request, startup_packet};
use super::{Head, LARGEST, Side, auth, back, front, head};
use crate::Malformed;

// covers: E1 (psql)
#[test]
fn absurd_lengths_are_refused_before_anything_is_taken() {
    assert_eq!(head(b"Q\0\0\0\x05", Side::Front), Ok(Some(Head { kind: b'Q', total: 6 })));
    for side in [Side::Front, Side::Back] {
        for kind in 0..=u8::MAX {
            for length in [0u32, 1, 2, 3, LARGEST + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let mut bytes = vec![kind];
                bytes.extend_from_slice(&length.to_be_bytes());
                assert!(head(&bytes, side).is_err(), "{} with {length}", char::from(kind));
            }
        }
    }
    for length in [0u32, 1, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&VERSION_3_0.to_be_bytes());
        assert!(first(&bytes).is_err(), "{length}");
    }
    // Small messages stay small: a `Sync` of a gigabyte is none.
    assert!(head(b"S\0\0\0\x05", Side::Front).is_err());
    assert!(head(b"Z\0\0\0\x06", Side::Back).is_err());
}

#[test]
fn more_bytes_needed_is_not_wrong() {
    assert_eq!(head(b"", Side::Front), Ok(None));
    assert_eq!(head(b"Q\0\0", Side::Front), Ok(None));
    assert_eq!(first(b"\0\0"), Ok(None));
    assert_eq!(first(&ssl_request()[..7]), Ok(None));
    assert_eq!(head(b"!", Side::Front), Err(Malformed("no message begins with this letter")));
}

#[test]
fn first_packets_are_told_apart() {
    assert_eq!(first(&ssl_request()), Ok(Some((First::Ssl, 8))));
    assert_eq!(first(&[0, 0, 0, 8, 4, 210, 22, 48]), Ok(Some((First::Gss, 8))));
    let packet = startup_packet([("user", "orders-db+readonly"), ("database", "orders")]);
    let Ok(Some((First::Startup(startup), total))) = first(&packet) else { panic!("no start-up") };
    assert_eq!((total, startup.get("user"), startup.get("database")), (packet.len(), Some("orders-db+readonly"), Some("orders")));
    assert_eq!(startup.negotiate(), None);
    for secret in [vec![1; 4], vec![2; 32], vec![3; 256]] {
        let key = CancelKey::new(7, &secret).unwrap();
        assert_eq!(first(&key.request()), Ok(Some((First::Cancel(key.clone()), 12 + secret.len()))));
    }
    assert!(CancelKey::new(7, &[1; 3]).is_err() && CancelKey::new(7, &[1; 257]).is_err());
    assert_eq!(first(&[0, 0, 0, 9, 0, 2, 0, 0, 0]), Ok(Some((First::OtherVersion(0x2_0000), 9))));
}

// covers: E3 (psql)
#[test]
fn a_parameter_given_twice_is_refused() {
    assert!(first(&startup_packet([("user", "a"), ("user", "b")])).is_err());
    assert!(first(&startup_packet([("user", "a"), ("database", "b")])).is_ok());
}

#[test]
fn newer_clients_are_told_what_is_spoken() {
    let packet = |version: u32, name: &str| {
        let mut packet = startup_packet([("user", "a"), (name, "1")]);
        packet[4..8].copy_from_slice(&version.to_be_bytes());
        match first(&packet) {
            Ok(Some((First::Startup(startup), _))) => startup,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(packet(VERSION_3_2, "database").negotiate(), None);
    assert_eq!(packet(VERSION_3_2, "_pq_.future").negotiate(), Some((VERSION_3_2, vec!["_pq_.future"])));
    assert_eq!(packet(VERSION_3_2 + 7, "database").negotiate(), Some((VERSION_3_2, vec![])));
    assert_eq!(packet(VERSION_3_0 + 1, "database").negotiate(), Some((VERSION_3_0, vec![])));
}

#[test]
fn options_are_settings_and_nothing_else() {
    let read = |text: &str| options(text).map(|all| all.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>());
    assert_eq!(
        read(r"-c tide.reason=disk\ full --search-path=a -cgeqo=off"),
        Ok(vec!["tide.reason=disk full".into(), "search_path=a".into(), "geqo=off".into()])
    );
    assert_eq!(read("  "), Ok(vec![]));
    for wrong in ["-c", "-c x", "-d 5", "--x", "x=1", "-c a=b\\", "-c =x", "--=x"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn md5_is_as_the_server_computes_it() {
    assert_eq!(auth::md5("md5_user", "password", [0x2a, 0x3d, 0x8f, 0xe0]), "md562af4dd09bbb41884907a838a3233294");
}

// covers: E6 (psql)
#[test]
fn rows_that_are_shorter_than_announced_are_refused() {
    let row = [0, 2, 0, 0, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff];
    assert_eq!(back::data_row(&row, 2), Ok(vec![Some(&b"a"[..]), None]));
    assert!(back::data_row(&row, 3).is_err() && back::data_row(&row, 1).is_err());
    assert!(back::data_row(&row[..10], 2).is_err());
    assert!(back::data_row(&[0, 1, 0x7f, 0xff, 0xff, 0xff], 1).is_err());
    assert!(back::data_row(&[0, 1, 0xff, 0xff, 0xff, 0xfe], 1).is_err());
    assert!(back::row_description(&[0x7f, 0xff]).is_err() && back::row_description(&[0xff, 0xff]).is_err());
    assert!(back::error_field(b"SERROR\0", b'C').is_err());
    assert_eq!(back::error_field(b"SERROR\0C42501\0\0", b'C'), Ok(Some(&b"42501"[..])));
    assert_eq!(back::error_field(b"SERROR\0\0", b'C'), Ok(None));
    assert!(back::key_data(&[0, 0, 0, 1, 2]).is_err());
    assert!(back::authentication(&[0, 0, 0, 5, 1, 2]).is_err());
}

#[test]
fn what_the_gate_says_can_be_read_back() {
    let mut writer = back::Writer::default();
    writer.say(back::Severity::Fatal, "57P01", "Your grant's time is up.", Some("Ask\0 again."));
    let bytes = writer.into_bytes();
    let head = head(&bytes, Side::Back).unwrap().unwrap();
    assert_eq!((head.kind, head.total), (b'E', bytes.len()));
    assert_eq!(back::error_field(&bytes[5..], b'C'), Ok(Some(&b"57P01"[..])));
    assert_eq!(back::error_field(&bytes[5..], b'H'), Ok(Some(&b"Ask again."[..])));
    assert_eq!(back::rows_of(b"INSERT 0 5"), Some(5));
    assert_eq!(back::rows_of(b"CREATE TABLE"), None);
}

fn any_value() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..20))
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_stumble(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (first(&bytes), head(&bytes, Side::Front), head(&bytes, Side::Back));
        let _ = (front::query(&bytes), front::parse(&bytes), front::bind(&bytes), front::execute(&bytes), front::named(&bytes));
        let _ = (front::function_call(&bytes), front::password(&bytes));
        let _ = (back::authentication(&bytes), back::key_data(&bytes), back::parameter(&bytes), back::command_complete(&bytes));
        let _ = (back::ready(&bytes), back::error_field(&bytes, b'C'), back::row_description(&bytes), back::copy_response(&bytes));
        let _ = (back::data_row(&bytes, 3), auth::end_point(&bytes));
    }

    #[test]
    fn no_text_makes_the_reader_of_options_stumble(text in "\\PC{0,60}") {
        let _ = options(&text);
    }

    #[test]
    fn values_survive_being_bound(values in prop::collection::vec((any_value(), any::<bool>()), 0..9)) {
        let mut body = b"portal\0name\0".to_vec();
        body.extend_from_slice(&(values.len() as u16).to_be_bytes());
        for (_, binary) in &values {
            body.extend_from_slice(&u16::from(*binary).to_be_bytes());
        }
        body.extend_from_slice(&(values.len() as u16).to_be_bytes());
        for (value, _) in &values {
            match value {
                None => body.extend_from_slice(&(-1i32).to_be_bytes()),
                Some(value) => {
                    body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                    body.extend_from_slice(value);
                }
            }
        }
        body.extend_from_slice(&[0, 1, 0, 1]);
        let bind = front::bind(&body).unwrap();
        let wanted: Vec<(Option<&[u8]>, bool)> = values.iter().map(|(v, b)| (v.as_deref(), *b)).collect();
        prop_assert_eq!((bind.portal, bind.statement, bind.values, bind.results), (&b"portal"[..], &b"name"[..], wanted, vec![true]));
        for end in 0..body.len() {
            prop_assert!(front::bind(&body[..end]).is_err());
        }
    }

    #[test]
    fn a_start_up_survives_being_written_and_read(value in "[ -~]{0,40}") {
        let packet = startup_packet([("user", value.as_str()), ("database", "d")]);
        let Ok(Some((First::Startup(startup), total))) = first(&packet) else { panic!("no start-up") };
        prop_assert_eq!((startup.get("user"), total), (Some(value.as_str()), packet.len()));
        for end in 0..packet.len() {
            prop_assert_eq!(first(&packet[..end]), Ok(None));
        }
    }
}
