//! Asking: what is answered, joined, limited, refused.

use access::grant::GrantState;
use access::reason::Reason;
use access::request::{Asked, RequestState};
use access::time::Span;
use access::verdict::Answer;
use testkit::gate::{TestGate, ask};

// covers: ASK-1, OK-1, GRANT-1 (api)
#[tokio::test]
async fn low_risk_opens_at_once_and_the_grant_says_everything() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let submitted = t.gate.submit(ana, ask("build-1", "shell")).await.unwrap();
    assert_eq!(submitted.request.state, RequestState::Approved);
    let grant = submitted.grant.expect("a grant at once");
    assert_eq!((grant.person, grant.state, grant.length), (ana.who.id(), GrantState::Ready, Some(Span::hours(2))));
    assert_eq!(grant.policy, "engineers-on-build");
    assert_eq!(grant.bundle, t.gate.bundle().digest());
    assert_eq!((grant.starts_at, grant.ends_at), (None, None), "its clock has not started");
    let active = t.gate.activate(ana, grant.id).await.unwrap();
    assert_eq!(active.ends_at, Some(Span::hours(2).after(t.gate.now())));
    assert!(matches!(submitted.verdict.unwrap().answer(), Answer::Permit { .. }));
}

// covers: ASK-2, MAY-4 (api)
#[tokio::test]
async fn more_than_the_longest_time_is_refused_with_the_longest_time() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("db-1", "debug");
    wish.asked = Asked::For(Span::hours(4));
    t.gate.submit(t.person("ana"), wish.clone()).await.expect("four hours are the most");
    wish.asked = Asked::For(Span::hours(5));
    let refusal = t.gate.submit(t.person("ana"), wish).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TooLong);
    assert!(refusal.to_string().contains("4h"), "{refusal}");
    assert!(t.entries().await.unwrap().contains(&"request.refused".to_owned()));
}

// covers: MAY-1, ASK-8 (api)
#[tokio::test]
async fn a_contractor_reaches_what_is_named_and_nothing_else() {
    let t = TestGate::start().await.unwrap();
    let frank = t.person("frank");
    let granted = t.gate.submit(frank, ask("build-1", "shell")).await.unwrap().grant.expect("named in the contract");
    assert!(granted.terms.max <= Span::hours(8));
    for elsewhere in ["db-1", "web-1", "ledger-1"] {
        assert!(t.gate.submit(frank, ask(elsewhere, "shell")).await.is_err(), "{elsewhere}");
    }
    t.pass(std::time::Duration::from_secs(1_500 * 86_400)).await;
    let refusal = t.gate.submit(frank, ask("build-1", "shell")).await.unwrap_err();
    assert!(refusal.to_string().contains("frank") || refusal.to_string().contains("contract"), "{refusal}");
}

// covers: ASK-4 (api)
#[tokio::test]
async fn asking_twice_joins_the_one_pending_request() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let first = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    let second = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    assert_eq!(first.id, second.id);
    let other_role = t.gate.submit(ana, ask("db-1", "logs")).await.unwrap().request;
    assert_ne!(first.id, other_role.id);
}

// covers: ASK-7 (api)
#[tokio::test]
async fn a_pending_request_ages_out() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana");
    let request = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    t.pass(request.terms.pending_for.as_std() - std::time::Duration::from_secs(1)).await;
    assert_eq!(t.gate.store().request(request.id).await.unwrap().unwrap().state, RequestState::Pending);
    t.pass(std::time::Duration::from_secs(2)).await;
    assert_eq!(t.gate.store().request(request.id).await.unwrap().unwrap().state, RequestState::Expired);
}

// covers: B2, B8 (api)
#[tokio::test]
async fn what_one_may_not_see_is_as_if_it_did_not_exist() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let row = t.gate.store().request(request.id).await.unwrap();
    t.gate.visible_request(t.person("ana"), row.clone()).await.expect("her own");
    t.gate.visible_request(t.person("ben"), row.clone()).await.expect("he is asked");
    let unseen = t.gate.visible_request(t.person("frank"), row).await.unwrap_err();
    let absent = t.gate.visible_request(t.person("frank"), None).await.unwrap_err();
    assert_eq!(unseen, absent);
    assert_eq!(t.gate.cancel(t.person("frank"), request.id).await.unwrap_err().reason, Reason::NotFound);
}
