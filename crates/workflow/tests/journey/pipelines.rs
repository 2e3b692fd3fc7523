//! Jobs of a CI system: the token that it issues, once, for one of the gate's; and what one pipeline has is no other's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use access::approval::Decision::Approve;
use access::event::Event;
use access::grant::GrantEnd;
use access::identity::{Scope, Via};
use access::ids::PrincipalId;
use access::lock::LockScope;
use access::reason::{Reason, Refusal};
use access::request::{AccessRequest, Asked, Door, RequestState};
use access::session::{ClosedSession, EndReason, Protocol, Standing};
use access::time::Span;
use policy::Bundle;
use serde_json::{Value, json};
use testkit::gate::{HERE, TestGate, ask, example_policy, monday_noon};
use testkit::oidc::ci::{CiIssuer, SignedBy, github, gitlab};
use tidegate_workflow::Caller;
use tidegate_workflow::clock::ManualTime;
use tidegate_workflow::open::Opened;

const GATE: &str = "https://gate.example.com";
const SHOP: (&str, &str) = ("acme/shop", "4711");
const MAIN: &str = "refs/heads/main";

/// A CI system of its own for a test.
async fn system() -> CiIssuer {
    // Another test may have done so already.
    let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
    CiIssuer::start().await.unwrap()
}

/// A workload, releases of the shop from two branches, and whatever else is appended.
fn workloads(ci: &CiIssuer, more: &str) -> String {
    format!(
        "[[issuer]]\nname = \"ci\"\nkind = \"github\"\nurl = \"{}\"\naudience = \"{GATE}\"\nalgorithms = [\"RS256\"]\n\
         [[workload]]\nname = \"shop-release\"\nissuer = \"ci\"\nowner = \"dan\"\ngroups = [\"releases\"]\nmax_token = \"20m\"\n\
         [workload.claims]\nrepository_id = \"4711\"\nref = [\"refs/heads/main\", \"refs/heads/release/*\"]\n\
         environment = [\"production\", \"staging\"]\n{more}",
        ci.issuer
    )
}

/// Anybody of `releases` may ask for the logs of production; somebody has to agree.
const LOGS: &str = "\n@id(\"release-reads-logs\")\npermit(principal in Tide::Group::\"releases\", action == Tide::Action::\"request\", \
                    resource in Tide::Tier::\"prod\") when { resource.role == Tide::Role::\"logs\" };\n";

fn files(ci: &CiIssuer, more: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = Bundle::load(&example_policy()).unwrap().files().clone();
    files.insert("workloads.toml".into(), workloads(ci, more).into_bytes());
    files.remove("tests/workloads.toml");
    let access = String::from_utf8(files["access.cedar"].clone()).unwrap();
    files.insert("access.cedar".into(), format!("{access}{LOGS}").into_bytes());
    files
}

async fn start(ci: &CiIssuer, more: &str) -> TestGate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    let bundle = Bundle::from_files(files(ci, more)).unwrap_or_else(|problems| panic!("{problems}"));
    TestGate::start_in(dir, &url, bundle, ManualTime::new(monday_noon())).await.unwrap()
}

/// A token of the job, made now by the clock of the gate.
async fn token(t: &TestGate, ci: &CiIssuer, change: Value, by: SignedBy) -> String {
    let now = t.gate.now().as_second();
    let mut all = json!({ "iat": now, "nbf": now, "exp": now + 300 });
    all.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    ci.token(GATE, all, by).await.unwrap()
}

async fn exchange(t: &TestGate, token: &str) -> Result<Caller, Refusal> {
    let (_, issued) = Box::pin(t.gate.exchange(token, &[Scope::Read, Scope::Ask], HERE)).await?;
    let who = t.gate.identify_token(issued.token.expose(), HERE).await?;
    Ok(Caller { who, door: Door::Api })
}

/// Signs in as a job of the shop.
async fn job(t: &TestGate, ci: &CiIssuer, reference: &str, environment: &str) -> Caller {
    ci.runs(&github(SHOP, reference, Some(environment))).await.unwrap();
    exchange(t, &token(t, ci, json!({}), SignedBy::Issuer).await).await.unwrap()
}

/// What its relay does when it is cut.
async fn close(t: &TestGate, opened: &Opened, end: EndReason) {
    let session = opened.permit.facts().session;
    t.gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
}

async fn refused_sign_ins(t: &TestGate) -> usize {
    t.entries().await.unwrap().iter().filter(|name| *name == "signin.refused").count()
}

// covers: WHO-6, WHO-4, D8 (api)
#[tokio::test]
async fn a_job_exchanges_its_token_once_and_is_its_pipeline() {
    let ci = system().await;
    let t = start(&ci, "").await;
    ci.runs(&github(SHOP, MAIN, Some("production"))).await.unwrap();
    let shown = token(&t, &ci, json!({}), SignedBy::Issuer).await;
    let (caller, issued) = Box::pin(t.gate.exchange(&shown, &[Scope::Read, Scope::Ask], HERE)).await.unwrap();
    assert_eq!(caller.who.username().as_str(), "shop-release");
    assert_eq!(issued.row.expires_at, Span::minutes(20).after(t.gate.now()), "as long as `max_token` says");
    let who = t.gate.identify_token(issued.token.expose(), HERE).await.unwrap();
    let claims = who.claims().unwrap();
    assert_eq!((claims.get("repository_id"), claims.get("ref"), claims.get("actor")), (Some("4711"), Some(MAIN), None));

    // It became known by this, with the owner that policy names; and the log says by which claims.
    let row = t.gate.store().person(who.id()).await.unwrap().unwrap();
    assert!(matches!(row.id, PrincipalId::Workload(_)));
    assert_eq!(row.owner.map(PrincipalId::User), Some(t.person("dan").who.id()));
    let page = store::EntryPage { limit: 10, after: None, newest_first: true };
    let filter = store::EntryFilter { name: Some("workload.signed_in".into()), ..store::EntryFilter::default() };
    let entries = t.gate.store().entries(&filter, page).await.unwrap();
    let Event::WorkloadSignedIn { claims: logged, .. } = &entries[0].entry.event else { panic!("{entries:?}") };
    assert_eq!((&logged.issuer, logged.get("environment")), (&ci.issuer, Some("production")));
    assert!(entries[0].entry.text("run").unwrap().contains("actor ana"), "who set it off is a text, that can be erased");

    // The same token again, and one that two show at the same instant.
    let again = exchange(&t, &shown).await.unwrap_err();
    assert_eq!(again.reason, Reason::CodeInvalid);
    let fresh = token(&t, &ci, json!({}), SignedBy::Issuer).await;
    let (one, other) = tokio::join!(Box::pin(exchange(&t, &fresh)), Box::pin(exchange(&t, &fresh)));
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|ok| **ok).count(), 1);
    // One without an id is known by what was signed.
    let bare = token(&t, &ci, json!({ "jti": null }), SignedBy::Issuer).await;
    exchange(&t, &bare).await.unwrap();
    assert_eq!(exchange(&t, &bare).await.unwrap_err().reason, Reason::CodeInvalid);

    // A restart forgets none of it, and the log says all that is kept.
    let t = t.restart().await.unwrap();
    assert_eq!(exchange(&t, &shown).await.unwrap_err().reason, Reason::CodeInvalid);
    let replayed = t.gate.replay().await.unwrap();
    assert!(replayed.differences.is_empty(), "{:?}", replayed.differences);
}

// covers: WHO-6, A7 (api)
#[tokio::test]
async fn every_token_that_proves_something_else_is_refused_and_entered() {
    let ci = system().await;
    let other = system().await;
    let t = start(&ci, "").await;
    ci.runs(&github(SHOP, MAIN, Some("production"))).await.unwrap();
    exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.expect("with everything right");
    let now = t.gate.now().as_second();
    for (change, by, says) in [
        (json!({ "aud": "https://other.example.com" }), SignedBy::Issuer, "another audience"),
        (json!({ "aud": [GATE, "https://other.example.com"] }), SignedBy::Issuer, "another audience"),
        (json!({ "exp": now - 31 }), SignedBy::Issuer, "its time is up"),
        (json!({ "nbf": now + 31 }), SignedBy::Issuer, "not good yet"),
        (json!({ "iat": now + 31 }), SignedBy::Issuer, "not good yet"),
        (json!({ "exp": null }), SignedBy::Issuer, "until when"),
        (json!({}), SignedBy::Nobody, "algorithm"),
        (json!({}), SignedBy::PublicKey, "algorithm"),
        (json!({}), SignedBy::Stranger, "signature is wrong"),
        (json!({}), SignedBy::UnknownId, "none of its keys"),
        (json!({ "iss": other.issuer }), SignedBy::Issuer, "not one that"),
        // A job of this repository is told what is missing …
        (json!({ "ref": "refs/heads/try" }), SignedBy::Issuer, "wants `ref` to be"),
        (json!({ "environment": null }), SignedBy::Issuer, "does not say it"),
        // … and one of a fork only that it is nobody, whatever it calls itself.
        (json!({ "repository_id": "666" }), SignedBy::Issuer, "no workload here is a job with repository `acme/shop`"),
    ] {
        let before = refused_sign_ins(&t).await;
        let refusal = exchange(&t, &token(&t, &ci, change.clone(), by).await).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::NotSignedIn, "{change} {by:?}: {refusal}");
        assert!(refusal.to_string().contains(says), "{change} {by:?}: {refusal}");
        assert_eq!(refused_sign_ins(&t).await, before + 1, "{change} {by:?}");
    }
    // Another issuer that says the same of its own jobs.
    other.runs(&github(SHOP, MAIN, Some("production"))).await.unwrap();
    assert!(exchange(&t, &token(&t, &other, json!({}), SignedBy::Issuer).await).await.unwrap_err().to_string().contains("not one that"));
    assert_eq!(exchange(&t, "nonsense").await.unwrap_err().reason, Reason::NotSignedIn);
    exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.expect("and still with everything right");
}

// covers: WHO-6 (api)
#[tokio::test]
async fn new_keys_are_looked_for_seldom_and_an_issuer_that_is_away_lets_nobody_in() {
    let ci = system().await;
    let t = start(&ci, "").await;
    ci.runs(&github(SHOP, MAIN, Some("production"))).await.unwrap();
    exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.unwrap();
    assert_eq!(ci.asked_for_keys().await.unwrap(), 1);
    // Somebody who sends tokens of unknown keys makes the gate ask once, and not each time.
    t.time.advance(Duration::from_secs(11));
    for _ in 0..5 {
        let stray = token(&t, &ci, json!({}), SignedBy::UnknownId).await;
        assert_eq!(exchange(&t, &stray).await.unwrap_err().reason, Reason::NotSignedIn);
    }
    assert_eq!(ci.asked_for_keys().await.unwrap(), 2);
    // A new key is found by the first token of it, once it may be looked again.
    ci.rotate("two").await.unwrap();
    t.time.advance(Duration::from_secs(11));
    exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.unwrap();
    assert_eq!(ci.asked_for_keys().await.unwrap(), 3);
    // Away: what is known counts for a while, then nobody is let in, and the gate does not ask at each knock.
    ci.go_away(true).await.unwrap();
    exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.expect("its keys are fresh still");
    t.time.advance(Duration::from_secs(601));
    for _ in 0..3 {
        let good = token(&t, &ci, json!({}), SignedBy::Issuer).await;
        assert_eq!(exchange(&t, &good).await.unwrap_err().reason, Reason::IssuerUnreachable);
    }
    ci.go_away(false).await.unwrap();
    t.time.advance(Duration::from_secs(11));
    exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.expect("it is back");
}

// covers: WHO-6, WHO-7, GRANT-2 (api)
#[tokio::test]
async fn what_one_pipeline_has_no_other_of_the_same_workload_uses() {
    let ci = system().await;
    let t = start(&ci, "").await;
    let main = job(&t, &ci, MAIN, "production").await;
    let release = job(&t, &ci, "refs/heads/release/1.2", "staging").await;
    assert_eq!(main.who.id(), release.who.id(), "one workload");
    let (build, deploy) = ("build-1".parse().unwrap(), "deploy".parse().unwrap());

    // By branch and environment, in Cedar.
    let refusal = t.gate.submit(&release, ask("web-1", "deploy")).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NoPath, "{refusal}");
    let asked = t.gate.submit(&main, ask("web-1", "deploy")).await.unwrap();
    assert_eq!((asked.request.state, asked.request.policy.as_str()), (RequestState::Pending, "release-to-production"));
    assert_eq!(asked.request.claims.as_ref(), main.who.claims());
    let voted = t.gate.vote(t.person("ben"), asked.request.id, Approve, None).await.unwrap();
    let granted = voted.grant.expect("approved by the claims it was asked with");
    assert_eq!(granted.frozen.claims.as_ref(), main.who.claims());

    // A grant of one job is as none to another, and opens for the same pipeline's next run.
    let grant = t.gate.submit(&main, ask("build-1", "deploy")).await.unwrap().grant.unwrap();
    assert_eq!(Box::pin(t.gate.open(&release, &build, &deploy, Protocol::Ssh)).await.unwrap_err(), Refusal::of(Reason::NoPath));
    assert_eq!(t.gate.activate(&release, grant.id).await.unwrap_err().reason, Reason::NotFound);
    let next_run = job(&t, &ci, MAIN, "production").await;
    let opened = Box::pin(t.gate.open(&next_run, &build, &deploy, Protocol::Ssh)).await.unwrap();
    assert_eq!(opened.permit.facts().grant, grant.id);

    // Nobody waits for what people agree to for another job.
    let waiting = t.gate.submit(&main, ask("web-1", "logs")).await.unwrap().request;
    let refusal = t.gate.submit(&release, ask("web-1", "logs")).await.unwrap_err();
    assert_eq!((refusal.reason, refusal.request), (Reason::AlreadyAsked, Some(waiting.id)));
    assert!(refusal.to_string().contains(MAIN), "{refusal}");
    assert_eq!(t.gate.submit(&next_run, ask("web-1", "logs")).await.unwrap().request.id, waiting.id, "the same pipeline joins it");
    assert_eq!(t.gate.cancel(&release, waiting.id).await.unwrap_err().reason, Reason::NotFound);
}

// covers: WHO-6, D1, D3 (api)
#[tokio::test]
async fn a_job_s_session_does_not_move_onto_another_job_s_grant() {
    let ci = system().await;
    let t = start(&ci, "").await;
    let (build, deploy) = ("build-1".parse().unwrap(), "deploy".parse().unwrap());
    let main = job(&t, &ci, MAIN, "production").await;
    let release = job(&t, &ci, "refs/heads/release/1.2", "staging").await;
    let granted = async |who: &Caller, minutes: u64| {
        let asked = AccessRequest { asked: Asked::For(Span::minutes(minutes)), ..ask("build-1", "deploy") };
        let grant = t.gate.submit(who, asked).await.unwrap().grant.unwrap();
        t.gate.activate(who, grant.id).await.unwrap()
    };
    let stands_on = async |opened: &Opened| t.gate.store().session(opened.permit.facts().session).await.unwrap().unwrap().grant;

    // Its own next grant carries its session on, …
    let first = granted(&release, 5).await;
    let opened = Box::pin(t.gate.open(&release, &build, &deploy, Protocol::Ssh)).await.unwrap();
    assert_eq!(stands_on(&opened).await, first.id);
    let second = granted(&release, 10).await;
    let of_main = granted(&main, 30).await;
    t.pass(Duration::from_secs(5 * 60 + 1)).await;
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }));
    assert_eq!(stands_on(&opened).await, second.id);
    // … and another job's does not, when the time is up …
    t.pass(Duration::from_secs(5 * 60)).await;
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Expired)));
    assert_eq!(stands_on(&opened).await, second.id);
    close(&t, &opened, EndReason::Expired).await;

    // … nor when the job gives its grant back; nor is it told of another's.
    let (third, fourth) = (granted(&release, 5).await, granted(&release, 10).await);
    let opened = Box::pin(t.gate.open(&release, &build, &deploy, Protocol::Ssh)).await.unwrap();
    let (on, other) = if stands_on(&opened).await == third.id { (third.id, fourth.id) } else { (fourth.id, third.id) };
    let (_, cut) = t.gate.give_back(&release, on).await.unwrap();
    assert_eq!((cut.rehomed.as_slice(), cut.still_open), ([opened.permit.facts().session].as_slice(), vec![other]));
    let mut standing = opened.standing.clone();
    let given = async {
        let (_, cut) = t.gate.give_back(&release, other).await.unwrap();
        assert_eq!((cut.rehomed, cut.confirmed.len(), cut.still_open), (Vec::new(), 1, Vec::new()));
    };
    let ended = async {
        standing.wait_for(|standing| matches!(standing, Standing::Cut(EndReason::Expired))).await.unwrap();
        close(&t, &opened, EndReason::Expired).await;
    };
    tokio::join!(given, ended);
    assert_eq!(t.gate.store().grant(of_main.id).await.unwrap().unwrap().end, None, "the other job keeps its own");
}

// covers: WHO-6, WHO-7 (api)
#[tokio::test]
async fn a_job_neither_sees_nor_ends_what_another_job_of_its_workload_has() {
    let ci = system().await;
    let t = start(&ci, "").await;
    let (build, deploy) = ("build-1".parse().unwrap(), "deploy".parse().unwrap());
    let main = job(&t, &ci, MAIN, "production").await;
    let next_run = job(&t, &ci, MAIN, "production").await;
    let release = job(&t, &ci, "refs/heads/release/1.2", "staging").await;
    let waiting = t.gate.submit(&main, ask("web-1", "logs")).await.unwrap().request;
    let grant = t.gate.submit(&main, ask("build-1", "deploy")).await.unwrap().grant.unwrap();
    let opened = Box::pin(t.gate.open(&main, &build, &deploy, Protocol::Ssh)).await.unwrap();
    let session = opened.permit.facts().session;
    let row = t.gate.store().session(session).await.unwrap().unwrap();
    let sees = async |who: &Caller| {
        let seen = [
            t.gate.visible_request(who, Some(waiting.clone())).await.map(drop),
            t.gate.visible_grant(who, Some(grant.clone())).await.map(drop),
            t.gate.visible_session(who, Some(row.clone())).await.map(drop),
        ];
        let found = t.gate.search_sessions(who, &store::SessionFilter::default(), None, &store::Page::first(10)).await.unwrap();
        (seen.map(|seen| seen.err().map(|refusal| refusal.reason)), found.found.len())
    };
    let no = Some(Reason::NotFound);

    // The same pipeline's next run sees it, and who answers for it; the shipped policy lets everybody read what is their own.
    for who in [&next_run, t.person("dan")] {
        assert_eq!(sees(who).await, ([None; 3], 1), "{}", who.who.username());
    }
    t.gate.read_recording(&next_run, session, false).await.expect("its own");
    // Another job sees nothing of it.
    assert_eq!(sees(&release).await, ([no; 3], 0));
    assert_eq!(t.gate.read_recording(&release, session, false).await.map(drop).unwrap_err().reason, Reason::NotFound);
    let listed = [&main, &next_run, &release].map(|who| t.gate.is_own_session(who, &row));
    let [first, second, third] = listed;
    assert_eq!((first.await, second.await, third.await), (Ok(true), Ok(true), Ok(false)));

    // Nor does it end anything of it, though by policy it may end what its workload does.
    let mut changed = files(&ci, "");
    let ends =
        "\n@id(\"releases-end\")\npermit(principal in Tide::Group::\"releases\", action == Tide::Action::\"terminate\", resource);\n";
    changed.get_mut("oversight.cedar").unwrap().extend_from_slice(ends.as_bytes());
    t.gate.push_bundle(t.person("dan"), changed).await.unwrap();
    assert_eq!(sees(&release).await, ([no; 3], 0));
    assert_eq!(t.gate.kill(&release, session, None).await.unwrap_err().reason, Reason::NotFound);
    assert_eq!(t.gate.revoke(&release, grant.id, None).await.unwrap_err().reason, Reason::NotFound);
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }));
    let mut standing = opened.standing.clone();
    let killed = async { t.gate.kill(&next_run, session, None).await.unwrap() };
    let ended = async {
        standing.wait_for(|standing| matches!(standing, Standing::Cut(EndReason::Killed))).await.unwrap();
        close(&t, &opened, EndReason::Killed).await;
    };
    assert_eq!(tokio::join!(killed, ended).0.confirmed, [session], "the same job ends it");

    // Tokens and certificates are the job's as well.
    let signed_in_with = |who: &Caller| match who.who.via() {
        Via::Token(id) => *id,
        other => panic!("{other:?}"),
    };
    let third = job(&t, &ci, MAIN, "production").await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let (certificate, _) = t.gate.issue_certificate(&third, key, None).await.unwrap();
    assert_eq!(t.gate.remove_key(&release, certificate.id).await.unwrap_err().reason, Reason::NotFound);
    t.gate.remove_key(&next_run, certificate.id).await.expect("the same job's");
    assert_eq!(t.gate.revoke_token(&release, signed_in_with(&third)).await.unwrap_err().reason, Reason::NotFound);
    t.gate.revoke_token(&next_run, signed_in_with(&third)).await.expect("the same job's");
}

// covers: WHO-6, WHO-8 (api)
#[tokio::test]
async fn a_job_from_a_locked_network_gets_no_token() {
    let ci = system().await;
    let t = start(&ci, "").await;
    let away: std::net::IpAddr = "192.0.2.77".parse().unwrap();
    ci.runs(&github(SHOP, MAIN, Some("production"))).await.unwrap();
    let exchanged = async |from| {
        let shown = token(&t, &ci, json!({}), SignedBy::Issuer).await;
        Box::pin(t.gate.exchange(&shown, &[Scope::Read, Scope::Ask], from)).await.map(drop)
    };
    exchanged(away).await.expect("nothing is locked");
    let scope: LockScope = "network:192.0.2.0/24".parse().unwrap();
    let (lock, _) = t.gate.lock(t.person("carla"), scope, None, Some("scanned from there".into())).await.unwrap();
    let before = refused_sign_ins(&t).await;
    assert_eq!(exchanged(away).await.unwrap_err().reason, Reason::Locked);
    assert_eq!(refused_sign_ins(&t).await, before + 1);
    exchanged(HERE).await.expect("from elsewhere");
    t.gate.lift(t.person("carla"), lock.id).await.unwrap();
    exchanged(away).await.expect("and from there once it is lifted");
}

// covers: C1, OK-3, WHO-7 (api)
#[tokio::test]
async fn a_job_decides_nothing_makes_no_key_and_its_owner_does_not_decide_for_it() {
    let ci = system().await;
    let t = start(&ci, "").await;
    let release = job(&t, &ci, MAIN, "production").await;
    let request = t.gate.submit(&release, ask("web-1", "deploy")).await.unwrap().request;
    assert_eq!(t.gate.vote(t.person("dan"), request.id, Approve, None).await.unwrap_err().reason, Reason::SelfApproval);
    let anas = t.gate.submit(t.person("ana"), ask("web-1", "shell")).await.unwrap().request;
    assert_eq!(t.gate.vote(&release, anas.id, Approve, None).await.unwrap_err().reason, Reason::NotFound, "it does not even see it");
    assert_eq!(t.gate.vote(&release, request.id, Approve, None).await.unwrap_err().reason, Reason::ScopeMissing);
    let me = release.who.id();
    let token = t.gate.issue_token(&release, me, vec![Scope::Ask], Span::hours(1), None).await.unwrap_err();
    assert_eq!(token.reason, Reason::NotAllowed, "{token}");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    assert_eq!(t.gate.add_key(&release, me, key, None).await.unwrap_err().reason, Reason::NotAllowed);
    // A certificate it may have: it lasts no longer than its token, and is the same job's.
    let (row, _) = t.gate.issue_certificate(&release, key, None).await.unwrap();
    assert_eq!(row.claims.as_ref(), release.who.claims());
    assert!(row.expires_at.unwrap() <= Span::minutes(20).after(t.gate.now()));
    t.gate.vote(t.person("ben"), request.id, Approve, None).await.expect("somebody else may agree");
}

// covers: WHO-6, WHO-8, MAY-8 (api)
#[tokio::test]
async fn an_owner_who_is_gone_a_lock_and_another_policy_end_a_pipeline() {
    let ci = system().await;
    let t = start(&ci, "").await;
    let (build, deploy) = ("build-1".parse().unwrap(), "deploy".parse().unwrap());
    let main = job(&t, &ci, MAIN, "production").await;
    let grant = t.gate.submit(&main, ask("build-1", "deploy")).await.unwrap().grant.unwrap();

    // A lock on the workload, and on who answers for it.
    for locked in [main.who.id(), t.person("dan").who.id()] {
        let lock = t.gate.lock(t.person("carla"), LockScope::Person(locked), None, Some("looks odd".into())).await.unwrap();
        let fresh = token(&t, &ci, json!({}), SignedBy::Issuer).await;
        assert_eq!(exchange(&t, &fresh).await.unwrap_err().reason, Reason::Locked);
        assert_eq!(t.gate.submit(&main, ask("build-1", "deploy")).await.unwrap_err().reason, Reason::Locked);
        t.gate.lift(t.person("carla"), lock.0.id).await.unwrap();
    }

    // A policy that no longer takes this branch: the session is cut, the grant withdrawn, the token worth nothing.
    let main = job(&t, &ci, MAIN, "production").await;
    let kept = t.gate.submit(&main, ask("build-1", "deploy")).await.unwrap().grant.unwrap();
    let opened = Box::pin(t.gate.open(&main, &build, &deploy, Protocol::Ssh)).await.unwrap();
    let mut changed = files(&ci, "");
    let text = workloads(&ci, "").replace("\"refs/heads/main\", ", "");
    changed.insert("workloads.toml".into(), text.into_bytes());
    let activated = t.gate.push_bundle(t.person("dan"), changed).await.unwrap();
    assert!(activated.withdrawn.contains(&kept.id), "{:?}", activated.withdrawn);
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Withdrawn)));
    close(&t, &opened, EndReason::Withdrawn).await;
    assert_ne!(t.gate.store().grant(grant.id).await.unwrap().unwrap().end, None);
    assert_eq!(t.gate.store().grant(kept.id).await.unwrap().unwrap().end, Some(GrantEnd::Withdrawn));
    let refusal = t.gate.submit(&main, ask("build-1", "deploy")).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotSignedIn, "{refusal}");

    // Its owner leaves: it is cut, and signs in no more until policy names somebody else.
    t.gate.push_bundle(t.person("dan"), files(&ci, "")).await.unwrap();
    let main = job(&t, &ci, MAIN, "production").await;
    t.gate.submit(&main, ask("build-1", "deploy")).await.unwrap();
    let opened = Box::pin(t.gate.open(&main, &build, &deploy, Protocol::Ssh)).await.unwrap();
    let dan = t.person("dan").who.id();
    let mut watch = opened.standing.clone();
    let gate = Arc::clone(&t.gate);
    let admin = t.person("admin").clone();
    let disabling = tokio::spawn(async move { gate.disable(&admin, dan, None).await });
    tokio::time::timeout(Duration::from_secs(60), watch.wait_for(|standing| matches!(standing, Standing::Cut(EndReason::Locked))))
        .await
        .unwrap()
        .unwrap();
    close(&t, &opened, EndReason::Locked).await;
    disabling.await.unwrap().unwrap();
    let fresh = token(&t, &ci, json!({}), SignedBy::Issuer).await;
    let refusal = exchange(&t, &fresh).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Disabled, "{refusal}");
    let mut handed = files(&ci, "");
    handed.insert("workloads.toml".into(), workloads(&ci, "").replace("owner = \"dan\"", "owner = \"ben\"").into_bytes());
    t.gate.push_bundle(t.person("admin"), handed).await.unwrap();
    let main = exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.expect("ben answers for it now");
    let row = t.gate.store().person(main.who.id()).await.unwrap().unwrap();
    assert_eq!(row.owner.map(PrincipalId::User), Some(t.person("ben").who.id()));
    assert!(t.entries().await.unwrap().contains(&"workload.handed_over".to_owned()));
}

// covers: WHO-6 (api)
#[tokio::test]
async fn a_job_that_fits_two_workloads_is_neither_and_gitlab_s_are_known_by_their_project() {
    let ci = system().await;
    let twin = "[[workload]]\nname = \"shop-other\"\nissuer = \"ci\"\nowner = \"ana\"\nclaims = { repository_id = \"4711\", ref = \"refs/heads/main\" }\n";
    let t = start(&ci, twin).await;
    ci.runs(&github(SHOP, MAIN, Some("production"))).await.unwrap();
    let both = exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.unwrap_err();
    assert_eq!(both.reason, Reason::NotSignedIn);
    assert!(both.to_string().contains("`shop-other` and `shop-release`"), "{both}");
    let one = exchange(&t, &token(&t, &ci, json!({ "environment": null }), SignedBy::Issuer).await).await.unwrap();
    assert_eq!(one.who.username().as_str(), "shop-other");

    let text = workloads(&ci, "")
        .replace("kind = \"github\"", "kind = \"gitlab\"")
        .replace("repository_id = \"4711\"", "project_id = \"22\"")
        .replace("ref = [\"refs/heads/main\", \"refs/heads/release/*\"]", "ref_path = \"refs/heads/main\"");
    let mut changed = files(&ci, "");
    changed.insert("workloads.toml".into(), text.into_bytes());
    let access = String::from_utf8(changed["access.cedar"].clone()).unwrap();
    changed.insert(
        "access.cedar".into(),
        access
            .replace("principal.claims has ref && principal.claims.ref ==", "principal.claims has ref_path && principal.claims.ref_path ==")
            .into_bytes(),
    );
    t.gate.push_bundle(t.person("dan"), changed).await.unwrap();
    ci.runs(&gitlab(("acme/shop", "22"), "main", Some("production"))).await.unwrap();
    let gitlab = exchange(&t, &token(&t, &ci, json!({}), SignedBy::Issuer).await).await.unwrap();
    assert_eq!(gitlab.who.claims().unwrap().get("user_email"), None);
    assert_eq!(t.gate.submit(&gitlab, ask("web-1", "deploy")).await.unwrap().request.state, RequestState::Pending);
    let fork = token(&t, &ci, json!({ "project_id": "23" }), SignedBy::Issuer).await;
    assert_eq!(exchange(&t, &fork).await.unwrap_err().reason, Reason::NotSignedIn);
}
