//! Connect tokens and client certificates: what signs somebody in at the doors of databases.

use std::net::IpAddr;
use std::time::Duration;

use access::identity::Via;
use access::ids::GrantId;
use access::lock::LockScope;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::secret::Secret;
use access::session::{ClosedSession, EndReason, Protocol, Standing};
use access::time::Span;
use identity::client_ca::{ClientCa, ClientCertificateProof};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use testkit::gate::{HERE, TestGate, ask};
use tidegate_workflow::Caller;
use tidegate_workflow::knock::Knocked;
use tidegate_workflow::open::Opened;
use tidegate_workflow::tokens::IssuedToken;

/// The example company with a database that nobody has to be asked for, and Ana's grant on it.
async fn shop() -> (TestGate, GrantId) {
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let mut add = |file: &str, text: &str| {
        let before = String::from_utf8(files[file].clone()).unwrap();
        files.insert(file.to_owned(), format!("{before}\n{text}").into_bytes());
    };
    for name in ["shelf-db", "other-db"] {
        add(
            "resources.toml",
            &format!(
                "[[resource]]\nname = \"{name}\"\nkind = \"postgres\"\naddress = \"10.0.0.9:5432\"\ntier = \"non-prod\"\n\
                 login = \"stock\"\ncredential = \"secret:shelf-db\"\ntls = \"verify-full\"\n"
            ),
        );
    }
    for role in ["keeper", "visitor"] {
        add(
            "roles.toml",
            &format!(
                "[[role]]\nname = \"{role}\"\ndescription = \"Work on it.\"\nkind = \"postgres\"\nlogin = \"stock\"\ndatabase = {{ unrestricted = true }}\n"
            ),
        );
    }
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    t.gate.set_secret(t.person("admin"), "shelf-db".parse().unwrap(), Secret::new("a password".to_owned())).await.unwrap();
    let grant = granted(&t, "ana", "shelf-db", "keeper").await;
    (t, grant)
}

async fn granted(t: &TestGate, who: &str, resource: &str, role: &str) -> GrantId {
    let grant = t.gate.submit(t.person(who), ask(resource, role)).await.unwrap().grant.unwrap();
    t.gate.activate(t.person(who), grant.id).await.unwrap().id
}

async fn minted(t: &TestGate, who: &str, grant: GrantId) -> Result<IssuedToken, Refusal> {
    t.gate.issue_connect_token(t.person(who), grant, None, Some("a pool".to_owned())).await
}

/// Somebody who presents this where a database's protocol asks for a password.
async fn presents(t: &TestGate, token: &IssuedToken) -> Result<Caller, Refusal> {
    let who = t.gate.identify_token_at(token.token.expose(), HERE, Door::Postgres).await?;
    Ok(Caller { who, door: Door::Postgres })
}

async fn knocks(t: &TestGate, caller: &Caller, to: &str) -> Result<Knocked, Refusal> {
    t.gate.knock(caller, &to.parse::<Selector>().unwrap(), Protocol::Postgres).await
}

/// Relays nothing, but leaves when it is told to, as a proxy would.
fn obey(t: &TestGate, mut opened: Opened) -> tokio::task::JoinHandle<EndReason> {
    let gate = t.gate.clone();
    tokio::spawn(async move {
        let standing = opened.standing.wait_for(|standing| matches!(standing, Standing::Cut(_))).await.unwrap().clone();
        let Standing::Cut(end) = standing else { panic!("not cut") };
        let session = opened.permit.facts().session;
        gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
        end
    })
}

fn why(refused: Result<Knocked, Refusal>) -> Reason {
    match refused {
        Err(refusal) => refusal.reason,
        Ok(other) => panic!("let through: {other:?}"),
    }
}

// covers: WHO-4 (postgres), A9 (postgres), GRANT-3 (postgres)
#[tokio::test]
async fn a_connect_token_opens_its_grant_as_often_as_one_likes_and_nothing_else() {
    let (t, grant) = shop().await;
    granted(&t, "ana", "shelf-db", "visitor").await;
    granted(&t, "ana", "other-db", "keeper").await;
    let token = minted(&t, "ana", grant).await.unwrap();
    let ana = presents(&t, &token).await.unwrap();
    assert_eq!(ana.who.via(), &Via::ConnectToken { token: token.row.id, grant });
    for to in ["shelf-db+keeper", "shelf-db", "shelf-db+keeper"] {
        let Knocked::Open(opened) = knocks(&t, &ana, to).await.unwrap() else { panic!("not open: {to}") };
        assert_eq!((opened.permit.facts().grant, opened.permit.facts().username.as_str()), (grant, "ana"));
    }
    // Her own sign-in opens the others; the token opens none of them.
    for to in ["shelf-db+visitor", "other-db+keeper"] {
        assert!(matches!(knocks(&t, t.person("ana"), to).await.unwrap(), Knocked::Open(_)), "{to}");
        assert_eq!(why(knocks(&t, &ana, to).await), Reason::NotAllowed, "{to}");
    }
    // Nor does it ask for anything, or do anything else.
    assert_eq!(t.gate.submit(&ana, ask("other-db", "visitor")).await.unwrap_err().reason, Reason::ScopeMissing);
    assert_eq!(t.gate.issue_connect_token(&ana, grant, None, None).await.unwrap_err().reason, Reason::ScopeMissing);
    assert_eq!(t.gate.identify_token(token.token.expose(), HERE).await.unwrap_err().reason, Reason::NotSignedIn);
    assert_eq!(t.gate.identify_token_at(token.token.expose(), HERE, Door::Ssh).await.unwrap_err().reason, Reason::NotSignedIn);
    let entries = t.entries().await.unwrap();
    assert!(entries.iter().any(|e| e == "token.issued") && entries.iter().any(|e| e == "session.refused"), "{entries:?}");
    assert!(t.gate.store().replay(|_, _| true).await.is_ok());
}

// covers: WHO-4 (postgres), B2, GRANT-3 (postgres)
#[tokio::test]
async fn only_the_holder_makes_one_and_only_for_a_grant_that_lasts() {
    let (t, grant) = shop().await;
    assert!(minted(&t, "ana", grant).await.is_ok());
    // Another's grant is as one that is not there.
    for other in ["ben", "dan", "carla"] {
        assert_eq!(minted(&t, other, grant).await.unwrap_err().reason, Reason::NotFound, "{other}");
        assert_eq!(t.gate.connect_tokens(t.person(other), grant).await.unwrap_err().reason, Reason::NotFound, "{other}");
    }
    let machine = granted(&t, "ana", "build-1", "shell").await;
    let refused = minted(&t, "ana", machine).await.unwrap_err();
    assert!(refused.to_string().contains("connect tokens are for databases"), "{refused}");
    let long = t.gate.issue_connect_token(t.person("ana"), grant, Some(Span::hours(24 * 400)), None).await.unwrap_err();
    assert_eq!(long.reason, Reason::Invalid);
    // A label is taken whole, or not at all.
    let called = async |label: String| t.gate.issue_connect_token(t.person("ana"), grant, None, Some(label)).await;
    assert_eq!(called("ü".repeat(200)).await.unwrap().row.label, Some("ü".repeat(200)));
    assert_eq!(called("ü".repeat(201)).await.unwrap_err().reason, Reason::Invalid);
    t.gate.give_back(t.person("ana"), grant).await.unwrap();
    assert_eq!(minted(&t, "ana", grant).await.unwrap_err().reason, Reason::GrantEnded);
}

// covers: GRANT-3 (postgres), GRANT-2 (postgres), D2 (postgres)
#[tokio::test]
async fn it_dies_with_its_grant_however_that_ends() {
    for end in ["revoked", "expired", "returned"] {
        let (t, grant) = shop().await;
        let token = minted(&t, "ana", grant).await.unwrap();
        let ana = presents(&t, &token).await.unwrap();
        let Knocked::Open(opened) = knocks(&t, &ana, "shelf-db+keeper").await.unwrap() else { panic!("not open") };
        let session = obey(&t, *opened);
        // Another grant that opens the same door keeps her in, and not the token.
        granted(&t, "ana", "shelf-db", "visitor").await;
        match end {
            "revoked" => drop(t.gate.revoke(t.person("dan"), grant, None).await.unwrap()),
            "expired" => t.pass(Duration::from_secs(2 * 3600 + 1)).await,
            _ => drop(t.gate.give_back(t.person("ana"), grant).await.unwrap()),
        }
        assert!(session.await.unwrap().is_cut());
        let ana = presents(&t, &token).await.unwrap();
        let reason = why(knocks(&t, &ana, "shelf-db+keeper").await);
        let expected = if end == "revoked" { Reason::GrantRevoked } else { Reason::GrantExpired };
        assert_eq!(reason, expected, "{end}");
    }
}

// covers: A9 (postgres), D2 (postgres)
#[tokio::test]
async fn a_revoked_connect_token_cuts_what_it_opened_and_opens_nothing_more() {
    let (t, grant) = shop().await;
    let (token, other) = (minted(&t, "ana", grant).await.unwrap(), minted(&t, "ana", grant).await.unwrap());
    let open = async |token| {
        let ana = presents(&t, token).await.unwrap();
        match knocks(&t, &ana, "shelf-db").await.unwrap() {
            Knocked::Open(opened) => (ana, *opened),
            other => panic!("not open: {other:?}"),
        }
    };
    let ((ana, first), (_, second)) = (open(&token).await, open(&other).await);
    let first = obey(&t, first);
    // Nobody but its owner, or who administers tokens, takes it away.
    assert_eq!(t.gate.revoke_token(t.person("ben"), token.row.id).await.unwrap_err().reason, Reason::NotFound);
    t.gate.revoke_token(t.person("ana"), token.row.id).await.unwrap();
    assert_eq!(first.await.unwrap(), EndReason::Revoked);
    assert!(matches!(*second.standing.borrow(), Standing::Open { .. }), "the other token's session goes on");
    assert_eq!(presents(&t, &token).await.unwrap_err().reason, Reason::NotSignedIn);
    // Who signed in with it before and waited until now is no further.
    assert_eq!(why(knocks(&t, &ana, "shelf-db").await), Reason::NotSignedIn);
    assert!(presents(&t, &other).await.is_ok());
    let kept = t.gate.connect_tokens(t.person("ana"), grant).await.unwrap();
    assert_eq!(kept.iter().filter(|token| token.revoked_at.is_some()).count(), 1);
    t.time.advance(Duration::from_secs(60));
    let short = t.gate.issue_connect_token(t.person("ana"), grant, Some(Span::minutes(5)), None).await.unwrap();
    assert!(presents(&t, &short).await.is_ok());
    t.time.advance(Duration::from_secs(5 * 60));
    assert_eq!(presents(&t, &short).await.unwrap_err().reason, Reason::NotSignedIn);
}

// covers: WHO-4 (postgres), GRANT-4 (postgres)
#[tokio::test]
async fn what_a_connect_token_opened_ends_with_its_grant_where_others_move_on() {
    let (t, grant) = shop().await;
    let token = minted(&t, "ana", grant).await.unwrap();
    let by_token = presents(&t, &token).await.unwrap();
    let opened = async |who: &Caller| match knocks(&t, who, "shelf-db+keeper").await.unwrap() {
        Knocked::Open(opened) => *opened,
        other => panic!("not open: {other:?}"),
    };
    let (bound, own) = (opened(&by_token).await, opened(t.person("ana")).await);
    let session = own.permit.facts().session;
    assert_eq!((bound.permit.facts().grant, own.permit.facts().grant), (grant, grant));
    granted(&t, "ana", "shelf-db", "keeper").await;
    let ended = obey(&t, bound);
    let (_, cut) = t.gate.give_back(t.person("ana"), grant).await.unwrap();
    assert_eq!(cut.rehomed, vec![session], "hers goes on");
    assert_eq!(ended.await.unwrap(), EndReason::Expired);
    assert!(matches!(*own.standing.borrow(), Standing::Open { .. }));
}

/// A gate that signs client certificates, and the same CA's key.
async fn certifying() -> TestGate {
    let (t, _) = shop().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(&key).unwrap().pem();
    t.gate.sign_client_certificates(ClientCa::new(&pem, &Secret::new(key.serialize_pem())).unwrap());
    t
}

// covers: WHO-5 (postgres), WHO-8 (postgres), A4 (postgres)
#[tokio::test]
async fn a_client_certificate_signs_in_until_it_is_taken_away_its_person_disabled_or_its_time_up() {
    let t = certifying().await;
    let here: IpAddr = HERE;
    let certify = async |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let (row, pem) = t.gate.issue_client_certificate(t.person(name), &key.public_key_pem(), None).await.unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        (row, ClientCertificateProof::signature_verified(der))
    };
    let shows = async |proof: &ClientCertificateProof| t.gate.identify_client_certificate(proof, here, Door::Postgres).await;
    let (row, proof) = certify("ana").await;
    let who = shows(&proof).await.unwrap();
    assert_eq!((who.username().as_str(), who.via()), ("ana", &Via::ClientCertificate(row.id)));
    let ana = Caller { who, door: Door::Postgres };
    assert!(matches!(knocks(&t, &ana, "shelf-db+keeper").await.unwrap(), Knocked::Open(_)));

    // A lock keeps her out though the certificate is good.
    let lock = t.gate.lock(t.person("carla"), LockScope::Person(ana.who.id()), None, None).await.unwrap();
    assert_eq!(why(knocks(&t, &ana, "shelf-db+keeper").await), Reason::Locked);
    assert_eq!(shows(&proof).await.unwrap_err().reason, Reason::Locked);
    t.gate.lift(t.person("carla"), lock.0.id).await.unwrap();

    // Taken away: it signs nobody in, and who came in with it goes no further.
    t.gate.remove_key(t.person("ana"), row.id).await.unwrap();
    assert!(!t.gate.knows_client_certificate(&proof).await);
    assert_eq!(shows(&proof).await.unwrap_err().reason, Reason::NotSignedIn);
    assert_eq!(why(knocks(&t, &ana, "shelf-db+keeper").await), Reason::NotSignedIn);

    let (_, proof) = certify("ben").await;
    assert!(shows(&proof).await.is_ok());
    t.gate.disable(t.person("dan"), t.person("ben").who.id(), None).await.unwrap();
    assert_eq!(shows(&proof).await.unwrap_err().reason, Reason::Disabled);

    let (_, proof) = certify("carla").await;
    assert!(shows(&proof).await.is_ok());
    t.time.advance(Duration::from_secs(8 * 3600));
    let late = shows(&proof).await.unwrap_err();
    assert!(late.to_string().contains("has run out"), "{late}");
}
