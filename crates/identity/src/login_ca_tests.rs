use super::*;
use crate::account::people::*;
use crate::ssh_key::tests::{TOUCHED, UNTOUCHED, VERIFIED, plain, row, touchable};
use access::identity::{Mfa, PersonRow, PersonState};
use proptest::prelude::*;
use ssh_key::encoding::{Decode as _, Encode as _};
use ssh_key::private::Ed25519Keypair;
use std::process::Command;

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn ca(seed: u8) -> LoginCa {
    LoginCa::new(private(seed)).unwrap()
}

fn trusted(seed: u8) -> Vec<TrustedCa> {
    vec![TrustedCa { key: ca(seed).public().clone(), retired_at: None }]
}

fn later(span: Span) -> Timestamp {
    span.after(noon())
}

/// Ana, the row of her certificate, and the key it is over.
struct Ana {
    person: PersonRow,
    key: KeyRow,
    subject: PublicKey,
}

impl Ana {
    fn with(subject: PublicKey) -> Self {
        let person = person("ana");
        let key = row(&person, &subject, KeyKind::Certificate);
        Self { person, key, subject }
    }

    fn issued(&self, addresses: &[IpAddr]) -> Certificate {
        issue(&ca(9), self.person.id, self.key.id, &self.subject, Span::hours(8), addresses, noon()).unwrap()
    }

    /// A certificate of the login CA with one thing different from what it would ever sign.
    fn forged(&self, change: impl FnOnce(&mut Builder)) -> Certificate {
        let mut builder = self.builder(noon().as_second().unsigned_abs(), later(Span::hours(8)).as_second().unsigned_abs());
        change(&mut builder);
        builder.sign(&private(9)).unwrap()
    }

    fn builder(&self, start: u64, end: u64) -> Builder {
        let mut builder = Builder::new(vec![7; 32], self.subject.key_data().clone(), start, end).unwrap();
        builder.key_id(key_id(self.person.id, self.key.id)).unwrap();
        builder
    }

    fn try_with(&self, certificate: Certificate, at: Timestamp) -> Result<VerifiedIdentity, Refusal> {
        self.try_as(certificate, Presence::Unknown, &trusted(9), &self.key, at)
    }

    fn try_as(
        &self,
        certificate: Certificate,
        presence: Presence,
        trusted: &[TrustedCa],
        key: &KeyRow,
        at: Timestamp,
    ) -> Result<VerifiedIdentity, Refusal> {
        let proof = CertificateProof::signature_verified(certificate, presence);
        verify_certificate(&proof, trusted, key, Account::human(&self.person), desk(), at)
    }
}

fn detail(result: Result<VerifiedIdentity, Refusal>) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotSignedIn);
    refusal.detail.unwrap()
}

// covers: WHO-5 (ssh)
#[test]
fn a_login_certificate_signs_its_person_in_until_it_runs_out() {
    let ana = Ana::with(plain(1));
    let certificate = ana.issued(&[]);
    assert_eq!(claims(&certificate), Some((ana.person.id, ana.key.id)));
    let who = ana.try_with(certificate.clone(), noon()).unwrap();
    assert_eq!((who.id(), who.mfa(), who.via()), (ana.person.id, Mfa::None, &Via::LoginCertificate(ana.key.id)));
    let read_back = Certificate::from_openssh(&certificate.to_openssh().unwrap()).unwrap();
    assert!(ana.try_with(read_back, later(Span::seconds(8 * 3600 - 1))).is_ok());
    assert!(detail(ana.try_with(certificate, later(Span::hours(8)))).contains("run out"));
}

#[test]
fn openssh_reads_what_the_login_ca_signs() {
    let ana = Ana::with(plain(1));
    let certificate = ana.issued(&[desk()]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key-cert.pub");
    std::fs::write(&path, certificate.to_openssh().unwrap()).unwrap();
    let listed = Command::new("ssh-keygen").env("TZ", "UTC").arg("-Lf").arg(&path).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for line in [
        "Type: ssh-ed25519-cert-v01@openssh.com user certificate".to_owned(),
        format!("Signing CA: ED25519 {} (using ssh-ed25519)", ca(9).public().fingerprint(HashAlg::Sha256)),
        format!("Key ID: \"{}/{}\"", ana.person.id, ana.key.id),
        "Valid: from 2026-03-02T11:59:00 to 2026-03-02T20:00:00".to_owned(),
        format!("Principals: \n                {}\n", ana.person.id),
        "Critical Options: \n                source-address 192.0.2.10\n".to_owned(),
        "Extensions: (none)".to_owned(),
    ] {
        assert!(listed.contains(&line), "{line:?} is not in\n{listed}");
    }
}

#[test]
fn the_login_ca_signs_no_long_and_no_strange_certificates() {
    let ana = Ana::with(plain(1));
    let (person, id) = (ana.person.id, ana.key.id);
    let sign = |subject: &PublicKey, span, at| issue(&ca(9), person, id, subject, span, &[], at).map(|_| ());
    assert_eq!(sign(&plain(1), LONGEST, noon()), Ok(()));
    assert_eq!(sign(&plain(1), Span::seconds(12 * 3600 + 1), noon()), Err(IssueProblem::Validity(Span::seconds(12 * 3600 + 1))));
    assert_eq!(sign(&plain(1), Span::seconds(0), noon()), Err(IssueProblem::Validity(Span::seconds(0))));
    assert!(matches!(sign(&plain(1), LONGEST, Timestamp::from_second(-5).unwrap()), Err(IssueProblem::Clock(_))));
    let nested = PublicKey::new(KeyData::from(ana.issued(&[])), "");
    assert_eq!(sign(&nested, LONGEST, noon()), Err(IssueProblem::Key(KeyProblem::Certificate)));
}

const HOSTILE: &[&str] = &["", "*", "root", "ana", "ana,root", "ana root", "ana\0", "ana\n", "аna", "usr_", "usr_*", "@all"];

// covers: A3 (ssh)
#[test]
fn principals_are_ids_and_nothing_else() {
    let ana = Ana::with(plain(1));
    let exact = ana.person.id.to_string();
    assert!(ana.try_with(ana.forged(|b| drop(b.valid_principal(exact.clone()))), noon()).is_ok());

    let mut hostile: Vec<String> = HOSTILE.iter().map(|&s| s.to_owned()).collect();
    for tail in [",root", " ", "\0", "\n", "*", "\u{200b}"] {
        hostile.push(format!("{exact}{tail}"));
    }
    // Look-alikes of letters and digits that stand in ids.
    hostile.extend([exact.to_uppercase(), exact.replace('u', "υ"), exact.replace('s', "ѕ"), exact.replacen('_', "＿", 1)]);
    for principal in hostile {
        assert!(principal.parse::<PrincipalId>().is_err(), "{principal:?} is refused before the CA is asked");
        let forged = ana.forged(|b| drop(b.valid_principal(principal.clone())));
        assert!(detail(ana.try_with(forged, noon())).contains("made out"), "{principal:?}");
    }
    let everybody = ana.forged(|b| drop(b.all_principals_valid()));
    assert!(detail(ana.try_with(everybody, noon())).contains("made out"));
    let also_root = ana.forged(|b| {
        b.valid_principal(exact.clone()).unwrap().valid_principal("root").unwrap();
    });
    assert!(detail(ana.try_with(also_root, noon())).contains("made out"));
}

proptest! {
    // covers: A3 (ssh)
    #[test]
    fn only_the_canonical_id_is_a_principal(text in "\\PC{0,40}|usr_[0-9a-zA-Z ,*\n\0]{26}") {
        if let Ok(id) = text.parse::<PrincipalId>() {
            prop_assert_eq!(id.to_string(), text.clone());
            prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_closes_the_door() {
    let ana = Ana::with(plain(1));
    let good = ana.issued(&[]).to_bytes().unwrap();
    assert!(ana.try_with(Certificate::from_bytes(&good).unwrap(), noon()).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        if let Ok(certificate) = Certificate::from_bytes(&bytes) {
            assert!(ana.try_with(certificate, noon()).is_err(), "byte {at}");
        }
    }
}

// covers: A4 (ssh)
#[test]
fn another_person_key_type_or_time_is_denied() {
    let ana = Ana::with(plain(1));
    let good = || ana.issued(&[]);
    assert!(ana.try_with(good(), noon()).is_ok());

    let exact = ana.person.id.to_string();
    let host = ana.forged(|b| {
        b.cert_type(CertType::Host).unwrap().valid_principal(exact.clone()).unwrap();
    });
    assert!(detail(ana.try_with(host, noon())).contains("host certificate"));
    let early = Timestamp::from_second(noon().as_second() - 61).unwrap();
    assert!(detail(ana.try_with(good(), early)).contains("not valid yet"));
    assert!(detail(ana.try_with(good(), later(Span::hours(8)))).contains("run out"));

    let start = noon().as_second().unsigned_abs();
    for end in [start + 13 * 3600, u64::MAX] {
        let mut builder = ana.builder(start, end);
        builder.valid_principal(exact.clone()).unwrap();
        let forever = builder.sign(&private(9)).unwrap();
        assert!(detail(ana.try_with(forever, noon())).contains("longer than"));
    }
    let other = ana.forged(|b| drop(b.valid_principal(person("ben").id.to_string())));
    assert!(detail(ana.try_with(other, noon())).contains("made out"));
    let mut builder = Builder::new(vec![7; 32], ana.subject.key_data().clone(), start, start + 60).unwrap();
    builder.key_id(key_id(ana.person.id, KeyId::generate(noon()))).unwrap().valid_principal(exact).unwrap();
    assert!(detail(ana.try_with(builder.sign(&private(9)).unwrap(), noon())).contains("made out"));
}

// covers: A4 (ssh)
#[test]
fn untrusted_retired_and_nested_cas_are_denied() {
    let ana = Ana::with(plain(1));
    let verify = |certificate, trusted: &[TrustedCa], at| ana.try_as(certificate, Presence::Unknown, trusted, &ana.key, at);
    assert!(verify(ana.issued(&[]), &trusted(9), noon()).is_ok());
    assert!(detail(verify(ana.issued(&[]), &trusted(8), noon())).contains("not trusted"));
    assert!(detail(verify(ana.issued(&[]), &[], noon())).contains("not trusted"), "a revoked CA is in no list");

    let retired = |at| vec![TrustedCa { retired_at: Some(at), ..trusted(9).remove(0) }];
    assert!(verify(ana.issued(&[]), &retired(later(Span::minutes(5))), later(Span::minutes(10))).is_ok());
    let before = Timestamp::from_second(noon().as_second() - 3600).unwrap();
    assert!(detail(verify(ana.issued(&[]), &retired(before), noon())).contains("retired"));

    // Ana's own key, certified by the CA, is no CA itself.
    let exact = ana.person.id.to_string();
    let start = noon().as_second().unsigned_abs();
    let mut builder = ana.builder(start, start + 60);
    builder.valid_principal(exact).unwrap();
    let by_ana = builder.sign(&private(1)).unwrap();
    assert!(detail(verify(by_ana, &trusted(9), noon())).contains("not trusted"));

    // The CA's key, but in the form of a certificate over it.
    let nested = nested_in(&ana.issued(&[]), &private(9));
    assert!(nested.signature_key().is_certificate());
    assert!(detail(verify(nested, &trusted(9), noon())).contains("not trusted"));
}

/// The same certificate with a certificate over the CA's key where the CA's key stood, signed by the CA.
fn nested_in(certificate: &Certificate, ca: &PrivateKey) -> Certificate {
    let over_ca = {
        let mut builder = Builder::new(vec![1; 32], ca.public_key().key_data().clone(), 0, u64::MAX).unwrap();
        builder.all_principals_valid().unwrap();
        builder.sign(ca).unwrap().to_bytes().unwrap()
    };
    let whole = certificate.to_bytes().unwrap();
    let tail = certificate.signature_key().encoded_len_prefixed().unwrap() + certificate.signature().encoded_len_prefixed().unwrap();
    let mut bytes = whole[..whole.len() - tail].to_vec();
    over_ca.encode(&mut bytes).unwrap();
    let signature: ssh_key::Signature = ssh_key::SigningKey::public_key(ca).is_ed25519().then(|| signed(ca, &bytes)).unwrap();
    signature.encode_prefixed(&mut bytes).unwrap();
    Certificate::decode(&mut bytes.as_slice()).unwrap()
}

fn signed<S: ssh_key::SigningKey>(key: &S, bytes: &[u8]) -> ssh_key::Signature {
    key.try_sign(bytes).unwrap()
}

// covers: A2 (ssh), A4 (ssh)
#[test]
fn a_restriction_is_held_or_the_door_stays_shut() {
    let ana = Ana::with(plain(1));
    let with = |name: &str, value: &str| {
        let exact = ana.person.id.to_string();
        ana.forged(|b| {
            b.valid_principal(exact).unwrap().critical_option(name, value).unwrap();
        })
    };
    assert!(ana.try_with(ana.issued(&[desk()]), noon()).is_ok());
    for good in ["192.0.2.10", "192.0.2.0/24", "2001:db8::/32,192.0.2.10/32", "0.0.0.0/0"] {
        assert!(ana.try_with(with("source-address", good), noon()).is_ok(), "{good}");
    }
    for wrong in [
        "192.0.2.11",
        "192.0.3.0/24",
        "2001:db8::/32",
        "::/0",
        "",
        "192.0.2.10/33",
        "192.0.2.10,ana.example",
        "192.0.2.*",
        "!192.0.2.1,0.0.0.0/0",
        "0.0.0.0/+0",
    ] {
        assert!(detail(ana.try_with(with("source-address", wrong), noon())).contains("not good from this address"), "{wrong}");
    }
    for unknown in ["force-command", "Source-Address", "permit-everything@example.com", ""] {
        assert!(detail(ana.try_with(with(unknown, "id"), noon())).contains("cannot enforce"), "{unknown}");
    }
    assert!(detail(ana.try_with(with("verify-required", ""), noon())).contains("checks PIN"));
    let touchy = Ana::with(touchable(1));
    let exact = touchy.person.id.to_string();
    let demanding = touchy.forged(|b| {
        b.valid_principal(exact).unwrap().critical_option("verify-required", "").unwrap();
    });
    assert!(touchy.try_as(demanding.clone(), VERIFIED, &trusted(9), &touchy.key, noon()).is_ok());
    assert!(touchy.try_as(demanding, TOUCHED, &trusted(9), &touchy.key, noon()).is_err());
}

// covers: A5 (ssh)
#[test]
fn a_certified_security_key_must_be_touched_all_the_same() {
    let ana = Ana::with(touchable(1));
    let verify = |presence| ana.try_as(ana.issued(&[]), presence, &trusted(9), &ana.key, noon());
    assert_eq!(verify(TOUCHED).unwrap().mfa(), Mfa::KeyWithTouch);
    assert_eq!(verify(VERIFIED).unwrap().mfa(), Mfa::Verified);
    assert_eq!(verify(UNTOUCHED).unwrap_err().reason, Reason::NotSignedIn);
    assert_eq!(verify(Presence::Unknown).unwrap_err().reason, Reason::NotSignedIn);
    let exact = ana.person.id.to_string();
    let waived = ana.forged(|b| {
        b.valid_principal(exact).unwrap().extension("no-touch-required", "").unwrap();
    });
    assert!(ana.try_as(waived.clone(), TOUCHED, &trusted(9), &ana.key, noon()).is_ok());
    assert!(ana.try_as(waived, UNTOUCHED, &trusted(9), &ana.key, noon()).is_err());
}

#[test]
fn the_row_ends_a_certificate_early() {
    let ana = Ana::with(plain(1));
    let verify = |key: &KeyRow| ana.try_as(ana.issued(&[]), Presence::Unknown, &trusted(9), key, noon());
    assert!(verify(&ana.key).is_ok());
    for key in [
        KeyRow { state: KeyState::Removed, ..ana.key.clone() },
        KeyRow { kind: KeyKind::Registered, ..ana.key.clone() },
        KeyRow { expires_at: Some(noon()), ..ana.key.clone() },
        KeyRow { expires_at: None, ..ana.key.clone() },
        KeyRow { person: person("ben").id, ..ana.key.clone() },
        KeyRow { id: ana.key.id, ..row(&ana.person, &plain(2), KeyKind::Certificate) },
    ] {
        assert!(detail(verify(&key)).contains("withdrawn"), "{key:?}");
    }
    let disabled = PersonRow { state: PersonState::Disabled, ..ana.person.clone() };
    let proof = CertificateProof::signature_verified(ana.issued(&[]), Presence::Unknown);
    let refused = verify_certificate(&proof, &trusted(9), &ana.key, Account::human(&disabled), desk(), noon()).unwrap_err();
    assert_eq!(refused.reason, Reason::Disabled);
}

// covers: G1
#[test]
fn the_ca_shows_only_its_fingerprint() {
    let shown = format!("{:?}", ca(9));
    assert_eq!(shown, format!("LoginCa({})", private(9).fingerprint(HashAlg::Sha256)));
}
