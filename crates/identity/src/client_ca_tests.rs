use access::identity::PersonState;
use access::identity::{PersonRow, Scope};

use super::*;
use crate::account::people::*;

fn ca() -> ClientCa {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "a gate's own CA");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let pem = params.self_signed(&key).unwrap().pem();
    ClientCa::new(&pem, &Secret::new(key.serialize_pem())).unwrap()
}

struct Signed {
    proof: ClientCertificateProof,
    row: KeyRow,
}

fn signed(ca: &ClientCa, person: &PersonRow, valid: Span) -> Signed {
    let key = KeyPair::generate().unwrap();
    let id = KeyId::generate(noon());
    let signed = ca.sign(person.id, id, &key.public_key_pem(), valid, noon()).unwrap();
    let der = CertificateDer::from_pem_slice(signed.pem.as_bytes()).unwrap();
    let row = KeyRow {
        id,
        person: person.id,
        kind: KeyKind::ClientCertificate,
        fingerprint: signed.fingerprint,
        public_key: signed.public_key,
        label: None,
        state: KeyState::Active,
        added_at: noon(),
        expires_at: Some(valid.after(noon())),
        claims: None,
        version: 1,
    };
    Signed { proof: ClientCertificateProof::signature_verified(der.to_vec()), row }
}

fn why(result: Result<VerifiedIdentity, Refusal>) -> String {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotSignedIn);
    refusal.detail.unwrap()
}

// covers: WHO-5, A4, WHO-4
#[test]
fn a_client_certificate_signs_its_person_in_until_it_runs_out_or_is_withdrawn() {
    let (ca, ana) = (ca(), person("ana"));
    let Signed { proof, row } = signed(&ca, &ana, Span::hours(8));
    let verify = |row: &KeyRow, at| ca.verify(&proof, row, Account::human(&ana), desk(), at);
    let who = verify(&row, noon()).unwrap();
    assert_eq!((who.id(), who.mfa(), who.via()), (ana.id, Mfa::None, &Via::ClientCertificate(row.id)));
    assert!(Scope::OF_PEOPLE.iter().all(|scope| who.may(*scope)));
    assert!(verify(&row, Span::hours(7).after(noon())).is_ok());

    assert!(why(verify(&row, Span::hours(8).after(noon()))).contains("has run out"));
    // The certificate itself says when it ends, too, whatever its row says.
    let longer = KeyRow { expires_at: Some(Span::hours(80).after(noon())), ..row.clone() };
    assert!(why(verify(&longer, Span::hours(9).after(noon()))).contains("not valid now"));
    assert!(why(verify(&KeyRow { state: KeyState::Removed, ..row.clone() }, noon())).contains("withdrawn"));
    assert!(why(verify(&KeyRow { kind: KeyKind::Registered, ..row.clone() }, noon())).contains("no client certificate"));
    let disabled = PersonRow { state: PersonState::Disabled, ..ana.clone() };
    assert_eq!(ca.verify(&proof, &row, Account::human(&disabled), desk(), noon()).unwrap_err().reason, Reason::Disabled);
    let ben = person("ben");
    assert!(why(ca.verify(&proof, &row, Account::human(&ben), desk(), noon())).contains("no client certificate"));
}

// covers: A4, A9
#[test]
fn another_cas_certificate_is_refused_also_under_a_row_of_this_gate() {
    let (ca, foreign, ana) = (ca(), ca(), person("ana"));
    let good = signed(&ca, &ana, Span::hours(1));
    let other = signed(&foreign, &ana, Span::hours(1));
    assert!(ca.verify(&good.proof, &good.row, Account::human(&ana), desk(), noon()).is_ok());
    assert!(why(ca.verify(&other.proof, &other.row, Account::human(&ana), desk(), noon())).contains("not signed by the CA"));
    assert!(why(ca.verify(&other.proof, &good.row, Account::human(&ana), desk(), noon())).contains("no client certificate"));
}

#[test]
fn what_is_signed_is_a_p256_key_for_a_short_time() {
    let (ca, ana) = (ca(), person("ana"));
    let sign = |pem: &str, valid| ca.sign(ana.id, KeyId::generate(noon()), pem, valid, noon());
    let good = KeyPair::generate().unwrap();
    let signed = sign(&good.public_key_pem(), LONGEST).unwrap();
    assert!(signed.public_key.starts_with("ecdsa-sha2-nistp256 "), "{}", signed.public_key);
    assert!(matches!(sign(&good.public_key_pem(), Span::hours(13)), Err(ClientCaProblem::Validity(_))));
    assert!(matches!(sign(&good.public_key_pem(), Span::default()), Err(ClientCaProblem::Validity(_))));
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert!(matches!(sign(&other.public_key_pem(), LONGEST), Err(ClientCaProblem::Key)));
    for nonsense in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", &good.serialize_pem()] {
        assert!(matches!(sign(nonsense, LONGEST), Err(ClientCaProblem::Key)), "{nonsense}");
    }
}
