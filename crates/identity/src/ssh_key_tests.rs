use super::*;
use crate::account::people::*;
use access::identity::{PersonRow, PersonState, Scope};
use access::ids::KeyId;
use access::time::Span;
use proptest::prelude::*;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::{EcdsaPublicKey, SkEcdsaSha2NistP256, SkEd25519};
use std::process::Command;

/// A key pair that Debian's `ssh-keygen` makes: the private file and the public line.
pub(crate) fn keygen(arguments: &[&str]) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-C", "ana@laptop", "-f"]).arg(&path).args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (std::fs::read_to_string(&path).unwrap(), std::fs::read_to_string(path.with_extension("pub")).unwrap())
}

/// An ordinary key.
pub(crate) fn plain(seed: u8) -> PublicKey {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    PublicKey::new(KeyData::Ed25519(pair.public), "ana@laptop")
}

/// The same key, inside a security key.
pub(crate) fn touchable(seed: u8) -> PublicKey {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    PublicKey::new(KeyData::SkEd25519(SkEd25519::new(pair.public, "ssh:")), "ana@laptop")
}

pub(crate) const TOUCHED: Presence = Presence::SecurityKey { touched: true, verified: false };
pub(crate) const VERIFIED: Presence = Presence::SecurityKey { touched: true, verified: true };
pub(crate) const UNTOUCHED: Presence = Presence::SecurityKey { touched: false, verified: false };

pub(crate) fn row(person: &PersonRow, key: &PublicKey, kind: KeyKind) -> KeyRow {
    let parsed = accept(key.key_data()).unwrap();
    KeyRow {
        id: KeyId::generate(noon()),
        person: person.id,
        kind,
        fingerprint: parsed.fingerprint,
        public_key: parsed.openssh,
        label: None,
        state: KeyState::Active,
        added_at: noon(),
        expires_at: (kind == KeyKind::Certificate).then(|| Span::hours(8).after(noon())),
        claims: None,
        version: 1,
    }
}

#[test]
fn every_kind_openssh_makes_is_accepted_or_refused_by_name() {
    for arguments in [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "3072"],
    ] {
        let (_, line) = keygen(arguments);
        let parsed = register(&line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(parsed.openssh, words[..2].join(" "), "{arguments:?}: canonical, without the comment");
        assert_eq!(parsed.algorithm, words[0]);
        assert!(!parsed.security_key);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pub");
        std::fs::write(&path, &parsed.openssh).unwrap();
        let listed = Command::new("ssh-keygen").arg("-lf").arg(&path).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&parsed.fingerprint), "{listed} lacks {}", parsed.fingerprint);
    }
    let (_, short) = keygen(&["-t", "rsa", "-b", "2048"]);
    assert_eq!(register(&short).unwrap_err(), KeyProblem::RsaSize(2048));
    let (_, dsa) = keygen(&["-t", "dsa"]);
    assert_eq!(register(&dsa).unwrap_err(), KeyProblem::Algorithm("ssh-dss".into()));
}

#[test]
fn both_kinds_of_security_key_are_accepted() {
    let parsed = register(&touchable(1).to_openssh().unwrap()).unwrap();
    assert_eq!((parsed.algorithm.as_str(), parsed.security_key), ("sk-ssh-ed25519@openssh.com", true));
    let (_, line) = keygen(&["-t", "ecdsa", "-b", "256"]);
    let key = PublicKey::from_openssh(&line).unwrap();
    let Some(EcdsaPublicKey::NistP256(point)) = key.key_data().ecdsa() else { panic!("not on P-256") };
    let sk = PublicKey::from(SkEcdsaSha2NistP256::new(*point, "ssh:"));
    let parsed = register(&sk.to_openssh().unwrap()).unwrap();
    assert_eq!((parsed.algorithm.as_str(), parsed.security_key), ("sk-ecdsa-sha2-nistp256@openssh.com", true));
}

#[test]
fn what_is_no_public_key_is_refused_with_advice_and_never_repeated() {
    let (private, line) = keygen(&["-t", "ed25519"]);
    assert!(register(&line).is_ok());
    let body = private.lines().nth(1).unwrap();
    let told = register(&private).unwrap_err();
    assert_eq!(told, KeyProblem::Private);
    assert!(!told.to_string().contains(body));
    assert_eq!(register("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none").unwrap_err(), KeyProblem::Private);

    assert!(matches!(register(&format!("{line}{}", " ".repeat(LONGEST_LINE))).unwrap_err(), KeyProblem::TooLarge(_)));
    let (algorithm, data) = line.split_once(' ').unwrap();
    for wrong in [
        "",
        " ",
        "ssh-ed25519",
        "hello there",
        &format!("{line}{line}"),
        &format!("command=\"id\" {line}"),
        &format!("{algorithm} {}", data.get(..40).unwrap()),
        &format!("ssh-rsa {data}"),
        &format!("{algorithm} AAAA{data}"),
        &format!("{algorithm}\0 {data}"),
        &format!("{algorithm}\u{a0}{data}"),
    ] {
        assert_eq!(register(wrong).unwrap_err(), KeyProblem::Malformed, "{wrong:?}");
    }
    let tabbed = line.replace(' ', "\t ");
    assert_eq!(register(&tabbed).unwrap(), register(&line).unwrap());
}

#[test]
fn an_rsa_key_whose_signatures_mean_nothing_is_refused() {
    use ssh_key::Mpint;
    use ssh_key::public::RsaPublicKey;
    let (_, line) = keygen(&["-t", "rsa", "-b", "3072"]);
    let good = PublicKey::from_openssh(&line).unwrap();
    let modulus = good.key_data().rsa().unwrap().n().clone();
    assert!(accept(good.key_data()).is_ok());
    for exponent in [&[1u8][..], &[2], &[1, 0, 0]] {
        let key = KeyData::Rsa(RsaPublicKey::new(Mpint::from_positive_bytes(exponent), modulus.clone()).unwrap());
        assert_eq!(accept(&key).unwrap_err(), KeyProblem::RsaExponent, "{exponent:?}");
    }
    let huge = KeyData::Rsa(RsaPublicKey::new(Mpint::from_positive_bytes(&[1, 0, 1]), Mpint::from_positive_bytes(&[0xff; 2049])).unwrap());
    assert_eq!(accept(&huge).unwrap_err(), KeyProblem::RsaSize(16_392));
}

proptest! {
    #[test]
    fn no_text_makes_it_fall_over(text in "(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|\\PC*) [A-Za-z0-9+/=]{0,200}( \\PC{0,20})?") {
        let _ = register(&text);
    }

    #[test]
    fn a_key_has_one_canonical_form(seed: u8, comment in "[ -~]{0,40}") {
        let mut key = plain(seed);
        key.set_comment(comment);
        let parsed = register(&key.to_openssh().unwrap()).unwrap();
        prop_assert_eq!(register(&parsed.openssh).unwrap(), parsed);
    }
}

#[test]
fn the_registered_key_signs_in_and_no_other() {
    let (ana, ben) = (person("ana"), person("ben"));
    let key = row(&ana, &plain(1), KeyKind::Registered);
    let account = Account::human(&ana);
    let proof = KeyProof::signature_verified(plain(1), Presence::Unknown);
    let verify = |proof: &KeyProof, key: &KeyRow, account: Account<'_>| verify_key(proof, key, account, desk(), noon());

    let who = verify(&proof, &key, account).unwrap();
    assert_eq!((who.id(), who.mfa(), who.via(), who.from()), (ana.id, Mfa::None, &Via::SshKey(key.id), Some(desk())));
    assert!(Scope::OF_PEOPLE.iter().all(|scope| who.may(*scope)));
    assert_eq!(proof.fingerprint(), key.fingerprint);

    let refused = |proof: &KeyProof, key: &KeyRow, account: Account<'_>| verify(proof, key, account).unwrap_err().reason;
    let others = KeyProof::signature_verified(plain(2), Presence::Unknown);
    assert_eq!(refused(&others, &key, account), Reason::NotSignedIn);
    let collided = KeyRow { fingerprint: others.fingerprint(), ..key.clone() };
    assert_eq!(refused(&others, &collided, account), Reason::NotSignedIn, "the hash alone does not count");
    assert_eq!(refused(&proof, &key, Account::human(&ben)), Reason::NotSignedIn);
    assert_eq!(refused(&proof, &KeyRow { state: KeyState::Removed, ..key.clone() }, account), Reason::NotSignedIn);
    assert_eq!(refused(&proof, &KeyRow { kind: KeyKind::Certificate, ..key.clone() }, account), Reason::NotSignedIn);
    assert_eq!(refused(&proof, &KeyRow { expires_at: Some(noon()), ..key.clone() }, account), Reason::NotSignedIn);
    let disabled = PersonRow { state: PersonState::Disabled, ..ana.clone() };
    assert_eq!(refused(&proof, &key, Account::human(&disabled)), Reason::Disabled);
}

// covers: WHO-4 (ssh)
#[test]
fn a_workloads_key_counts_only_while_its_owner_does() {
    let ana = person("ana");
    let build = workload("build", &ana);
    let key = row(&build, &plain(1), KeyKind::Registered);
    let proof = KeyProof::signature_verified(plain(1), Presence::Unknown);
    assert!(verify_key(&proof, &key, Account::workload(&build, &ana), desk(), noon()).is_ok());
    let gone = PersonRow { state: PersonState::Disabled, ..ana.clone() };
    let refused = verify_key(&proof, &key, Account::workload(&build, &gone), desk(), noon()).unwrap_err();
    assert_eq!(refused.reason, Reason::Disabled);
}

// covers: A5 (ssh)
#[test]
fn a_security_key_counts_as_touched_or_verified_and_untouched_not_at_all() {
    let ana = person("ana");
    let key = row(&ana, &touchable(1), KeyKind::Registered);
    let verify = |presence| {
        let proof = KeyProof::signature_verified(touchable(1), presence);
        verify_key(&proof, &key, Account::human(&ana), desk(), noon())
    };
    assert_eq!(verify(TOUCHED).unwrap().mfa(), Mfa::KeyWithTouch);
    assert_eq!(verify(VERIFIED).unwrap().mfa(), Mfa::Verified);
    assert_eq!(verify(UNTOUCHED).unwrap_err().reason, Reason::NotSignedIn);
    let pin_without_touch = Presence::SecurityKey { touched: false, verified: true };
    assert_eq!(verify(pin_without_touch).unwrap_err().reason, Reason::NotSignedIn);
    assert_eq!(verify(Presence::Unknown).unwrap_err().reason, Reason::NotSignedIn);

    let ordinary = row(&ana, &plain(1), KeyKind::Registered);
    let claims = KeyProof::signature_verified(plain(1), VERIFIED);
    let who = verify_key(&claims, &ordinary, Account::human(&ana), desk(), noon()).unwrap();
    assert_eq!(who.mfa(), Mfa::None, "an ordinary key proves no touch, whatever is said of it");
    let as_plain = KeyProof::signature_verified(plain(1), VERIFIED);
    assert!(verify_key(&as_plain, &key, Account::human(&ana), desk(), noon()).is_err(), "the same point, but not inside the security key");
}
