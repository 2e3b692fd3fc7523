//! What an export of a person or a resource holds: of each thing that it tells of, the end too.

use access::approval::Decision::{Approve, Deny};
use access::lock::LockScope;
use access::review::ReviewOutcome;
use access::session::{ClosedSession, EndReason, Protocol};
use evidence::lines::Form;
use serde_json::Value;
use testkit::gate::{TestGate, ask};
use tidegate_workflow::export::Selection;

/// The lines of an export, by Eve who audits.
async fn exported(t: &TestGate, selection: Selection) -> Vec<Value> {
    let to = t.dir().join("lines.jsonl");
    t.gate.export_lines(t.person("eve"), selection, Form::JsonLines, to.clone()).await.unwrap();
    let lines = std::fs::read_to_string(&to).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names of the entries that speak of something.
fn about(lines: &[Value], id: impl ToString) -> Vec<String> {
    let id = id.to_string();
    let of = lines.iter().filter(|line| line["data"].to_string().contains(&id));
    of.map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

// covers: EV-3 (api)
#[tokio::test]
async fn what_was_decided_on_rights_that_nobody_used_is_in_it() {
    let t = TestGate::start().await.unwrap();
    let (ana, ben) = (t.person("ana"), t.person("ben"));
    let denied = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    t.gate.vote(ben, denied.id, Deny, Some("not today".into())).await.unwrap();
    let request = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    let ready = t.gate.vote(ben, request.id, Approve, None).await.unwrap().grant.unwrap();
    t.gate.revoke(t.person("carla"), ready.id, Some("not needed".into())).await.unwrap();
    let (lock, _) = t.gate.lock(t.person("carla"), LockScope::Person(ana.who.id()), None, None).await.unwrap();
    t.gate.lift(t.person("carla"), lock.id).await.unwrap();
    // Somebody else's, on another machine.
    let other = t.gate.submit(ben, ask("build-1", "shell")).await.unwrap().request;
    for selection in [Selection::Person(ana.who.id()), Selection::Resource("db-1".parse().unwrap())] {
        let of_person = matches!(selection, Selection::Person(_));
        let lines = exported(&t, selection).await;
        assert_eq!(about(&lines, denied.id), ["request.submitted", "request.voted", "request.denied"]);
        assert_eq!(about(&lines, ready.id), ["grant.created", "grant.revoked"]);
        assert!(about(&lines, request.id).contains(&"request.voted".to_owned()));
        assert_eq!(about(&lines, lock.id), if of_person { vec!["lock.set", "lock.lifted"] } else { vec![] });
        assert_eq!(about(&lines, other.id), Vec::<String>::new(), "and nothing else");
    }
}

// covers: EV-3 (api), BACK-1 (api)
#[tokio::test]
async fn what_a_review_of_an_emergency_found_is_in_the_evidence_of_its_session() {
    let t = TestGate::start().await.unwrap();
    let ben = t.person("ben");
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    t.gate.submit(ben, wish).await.unwrap();
    let opened = t.gate.open(ben, &"db-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let closed = opened.recording.close("client", 0).await.unwrap();
    let recording = Some((closed.chunks, closed.digest.iter().map(|byte| format!("{byte:02x}")).collect()));
    t.gate.close(ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording }).await;
    let review = t.gate.store().open_reviews_about(ben.who.id()).await.unwrap().remove(0);
    t.gate.complete_review(t.person("carla"), review.id, ReviewOutcome::Justified).await.unwrap();
    let lines = exported(&t, Selection::Session(session)).await;
    assert_eq!(about(&lines, review.id), ["review.opened", "review.completed"]);
}
