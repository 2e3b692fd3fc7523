use super::*;
use crate::keyring::tests::{Home, later, rotate};
use proptest::prelude::*;

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

// covers: CRED-1 (ssh), G1
#[test]
fn a_sealed_secret_opens_under_its_own_name_alone() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    let password = Secret::new("correct horse battery staple".to_owned());
    let sealed = ring.seal_secret(&name("db-1"), &password).unwrap();
    let text = sealed.to_string();
    let open = |ring: &Keyring, at: &str, text: &str| ring.open_secret(&name(at), &text.parse()?);
    assert_eq!(open(&ring, "db-1", &text).unwrap(), password);
    assert_ne!(ring.seal_secret(&name("db-1"), &password).unwrap(), sealed, "never the same twice");
    assert_eq!(open(&ring, "db-2", &text).unwrap_err(), SecretError::Altered(name("db-2")));
    for shown in [text.clone(), format!("{sealed:?}"), format!("{password:?}"), format!("{:?}", open(&ring, "db-1", &text))] {
        assert!(!shown.contains("horse"), "{shown}");
    }

    for kind in KeyKind::ALL {
        rotate(&mut ring, kind, later(1));
    }
    let ring = home.open().unwrap();
    assert_eq!(open(&ring, "db-1", &text).unwrap(), password, "keys were rotated");
    assert_ne!(ring.seal_secret(&name("db-1"), &password).unwrap().key(), sealed.key());
    let elsewhere = Home::new().open().unwrap();
    assert!(matches!(open(&elsewhere, "db-1", &text), Err(SecretError::NoKey { .. })));
}

#[test]
fn any_change_to_a_sealed_secret_is_noticed() {
    let ring = Home::new().open().unwrap();
    let sealed = ring.seal_secret(&name("db-1"), &Secret::new("p".to_owned())).unwrap();
    for at in 0..sealed.sealed.len() {
        let mut bad = sealed.clone();
        bad.sealed[at] ^= 0x10;
        assert_eq!(ring.open_secret(&name("db-1"), &bad).unwrap_err(), SecretError::Altered(name("db-1")), "byte {at}");
        bad.sealed.truncate(at);
        assert!(ring.open_secret(&name("db-1"), &bad).is_err());
    }
    for text in ["", ".", "key_.AAAA", &sealed.to_string().replace('.', ":"), &format!("{sealed}!")] {
        assert_eq!(text.parse::<SealedSecret>().unwrap_err(), SecretError::Malformed);
    }
    assert_eq!(ring.seal_secret(&name("a"), &Secret::new(String::new())).unwrap_err(), SecretError::Empty);
    let huge = Secret::new("x".repeat(LONGEST + 1));
    assert_eq!(ring.seal_secret(&name("a"), &huge).unwrap_err(), SecretError::TooLong(LONGEST + 1));
}

#[test]
fn row_digests_are_keyed_and_survive_rotation() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    let logged = ring.row_digest(b"row").unwrap();
    assert_eq!(ring.row_digest(b"row").unwrap(), logged);
    assert_eq!(logged.split_once('.').unwrap().1.len(), 64);
    assert_ne!(Home::new().open().unwrap().row_digest(b"row").unwrap(), logged, "nobody computes it without the key");
    rotate(&mut ring, KeyKind::RowDigest, later(1));
    assert_ne!(ring.row_digest(b"row").unwrap(), logged);
    assert!(ring.is_row_digest(b"row", &logged) && ring.is_row_digest(b"row", &ring.row_digest(b"row").unwrap()));
    let other_key = ring.row_digest(b"row").unwrap().replace(logged.split_once('.').unwrap().1, "");
    let under_another = format!("{}{}", other_key.split_once('.').unwrap().0, &logged[logged.find('.').unwrap()..]);
    for wrong in ["", "zz", &logged[..62], &"0".repeat(64), &under_another] {
        assert!(!ring.is_row_digest(b"row", wrong));
    }
    assert!(!ring.is_row_digest(b"Row", &logged));
}

#[test]
fn a_private_key_is_told_from_a_password() {
    assert!(matches!(ssh_credential(Secret::new("\n-----BEGIN OPENSSH PRIVATE KEY-----\n…".into())), SshCredential::Key(_)));
    assert!(matches!(ssh_credential(Secret::new("hunter2 -----BEGIN".into())), SshCredential::Password(_)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_secret_comes_back_as_it_was(text in "(?s).{1,400}") {
        let ring = Home::new().open().unwrap();
        let sealed = ring.seal_secret(&name("db-1"), &Secret::new(text.clone())).unwrap();
        let read: SealedSecret = sealed.to_string().parse().unwrap();
        let opened = ring.open_secret(&name("db-1"), &read).unwrap();
        prop_assert_eq!(opened.expose(), &text);
    }
}
