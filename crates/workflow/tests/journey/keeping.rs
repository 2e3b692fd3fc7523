//! What is kept for how long: tiers say it, legal holds beat it, and what goes leaves a proof that it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use access::approval::Decision;
use access::event::{Actor, EntryDraft, Event};
use access::hold::{HoldScope, HoldState};
use access::ids::{EntryId, FindingId, SessionId};
use access::inventory::{Attribution, FindingKind, Issuance, Reach};
use access::lock::LockScope;
use access::reason::Reason;
use access::request::Door;
use access::review::ReviewOutcome;
use access::session::{ClosedSession, EndReason, Protocol};
use evidence::bundle;
use evidence::log::CheckpointVerifier;
use evidence::log::tiles::LogDirectory;
use policy::Bundle;
use store::{Change, EntryFilter, EntryPage};
use testkit::gate::{TestGate, ask, example_policy, monday_noon};
use tidegate_workflow::clock::ManualTime;
use tidegate_workflow::export::{Along, Selection};
use tidegate_workflow::inventory::NewPath;
use tidegate_workflow::review::Finding;

const DAY: u64 = 24 * 60 * 60;

/// The example with build machines' recordings kept for so long.
fn kept(keep: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = Bundle::load(&example_policy()).unwrap().files().clone();
    let tiers = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let tiers = tiers.replace("name = \"non-prod\"\n", &format!("name = \"non-prod\"\nkeep = \"{keep}\"\n"));
    files.insert("tiers.toml".into(), tiers.into_bytes());
    files
}

/// A gate whose build machines' recordings are kept for thirty days.
async fn keeping() -> TestGate {
    let bundle = Bundle::from_files(kept("30d")).unwrap_or_else(|problems| panic!("{problems}"));
    let dir = Arc::new(tempfile::Builder::new().prefix("gate-").tempdir().unwrap());
    let url = format!("sqlite:{}", dir.path().join("store.db").display());
    TestGate::start_in(dir, &url, bundle, ManualTime::new(monday_noon())).await.unwrap()
}

async fn session(t: &TestGate) -> SessionId {
    let ana = t.person("ana");
    t.gate.submit(ana, ask("build-1", "shell")).await.unwrap();
    let opened = t.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let closed = opened.recording.close("client", 1).await.unwrap();
    let recording = Some((closed.chunks, closed.digest.iter().map(|byte| format!("{byte:02x}")).collect()));
    t.gate.close(ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording }).await;
    session
}

async fn is_there(t: &TestGate, session: SessionId) -> bool {
    let row = t.gate.store().session(session).await.unwrap().unwrap();
    t.gate.recording_path(row.recording).exists()
}

/// The newest entries of an event.
async fn entries(t: &TestGate, event: &str) -> Vec<access::entry::Entry> {
    let filter = EntryFilter { name: Some(event.into()), ..EntryFilter::default() };
    let page = EntryPage { limit: 100, after: None, newest_first: true };
    t.gate.store().entries(&filter, page).await.unwrap().into_iter().map(|logged| logged.entry).collect()
}

async fn newest(t: &TestGate, event: &str) -> access::entry::Entry {
    entries(t, event).await.remove(0)
}

fn verifier(t: &TestGate) -> CheckpointVerifier {
    CheckpointVerifier::parse(&t.gate.public_keys().checkpoint_verifier.unwrap()).unwrap()
}

fn days(n: u64) -> Duration {
    Duration::from_secs(n * DAY)
}

// covers: EV-7 (retention)
#[tokio::test]
async fn a_recording_goes_when_its_tier_says_so_and_leaves_a_proof() {
    let t = keeping().await;
    let old = session(&t).await;
    t.time.advance(days(29));
    let young = session(&t).await;
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 0, "not a day too early");
    t.time.advance(days(1) + Duration::from_secs(1));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
    assert!(!is_there(&t, old).await && is_there(&t, young).await);
    let row = t.gate.store().session(old).await.unwrap().unwrap();
    let entry = newest(&t, "recording.expired").await;
    let Event::RecordingExpired { recording, session, tier, digest, chunks, .. } = entry.event else { panic!("{entry:?}") };
    assert_eq!(
        (recording, session, tier.as_str(), digest, chunks),
        (row.recording, old, "non-prod", row.recording_digest, row.recording_chunks)
    );
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 0, "once");
    let refusal = t.gate.read_recording(t.person("carla"), old, false).await.err().unwrap();
    assert_eq!(refusal.reason, Reason::NotFound);

    // The log verifies, the replay stands, and an export says that it was.
    t.gate.checkpoint().await.unwrap();
    assert_eq!(evidence::log::verify(&LogDirectory::new(t.dir().join("audit")), &verifier(&t), &[]).findings, []);
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
    let to = t.dir().join("proof.tar");
    t.gate.export(t.person("eve"), Selection::Session(old), Along { input: false, wrapped_to: None }, to.clone()).await.unwrap();
    let report = bundle::verify(std::fs::File::open(&to).unwrap(), &verifier(&t)).unwrap();
    assert_eq!((report.findings, report.recordings_absent), (Vec::new(), vec![recording.to_string()]));
}

// covers: EV-7 (retention)
#[tokio::test]
async fn a_recording_that_is_entered_as_gone_is_gone_after_a_crash() {
    let t = keeping().await;
    let old = session(&t).await;
    let path = t.gate.recording_path(t.gate.store().session(old).await.unwrap().unwrap().recording);
    let whole = std::fs::read(&path).unwrap();
    t.time.advance(days(31));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
    // As if the gate had died between the entry and the act.
    std::fs::write(&path, whole).unwrap();
    let t = t.restart().await.unwrap();
    assert!(!is_there(&t, old).await);
}

// covers: EV-7 (retention, hold)
#[tokio::test]
async fn a_recording_that_could_not_be_removed_is_entered_once_and_a_hold_keeps_it_even_then() {
    let t = keeping().await;
    let (stuck, held) = (session(&t).await, session(&t).await);
    let path = async |session| t.gate.recording_path(t.gate.store().session(session).await.unwrap().unwrap().recording);
    let (stuck_at, held_at) = (path(stuck).await, path(held).await);
    let (stuck_file, held_file) = (std::fs::read(&stuck_at).unwrap(), std::fs::read(&held_at).unwrap());
    t.time.advance(days(31));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 2);
    assert_eq!(entries(&t, "recording.expired").await.len(), 2);

    // As if the disk had refused it.
    std::fs::write(&stuck_at, stuck_file).unwrap();
    std::fs::write(&held_at, &held_file).unwrap();
    let hold = t.gate.set_hold(t.person("carla"), HoldScope::Session(held), "litigation").await.unwrap();
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
    assert!(!is_there(&t, stuck).await && is_there(&t, held).await);
    let t = t.restart().await.unwrap();
    assert_eq!(std::fs::read(&held_at).unwrap(), held_file, "its keys are there too");
    t.gate.lift_hold(t.person("carla"), hold.id, "settled").await.unwrap();
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
    assert!(!is_there(&t, held).await);
    assert_eq!(entries(&t, "recording.expired").await.len(), 2, "each once");
}

// covers: EV-7 (retention)
#[tokio::test]
async fn a_shorter_time_takes_nothing_for_three_days_so_that_a_mistake_can_be_put_right() {
    let t = keeping().await;
    let admin = t.person("admin");
    let old = session(&t).await;
    t.time.advance(days(10));
    let activated = t.gate.push_bundle(admin, kept("4d")).await.unwrap();
    let diff = &activated.diff;
    assert!(diff.contains("recordings at `build-1`") && diff.contains("are kept 4d, were kept 30d; what is older goes for good"), "{diff}");
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 0);
    t.time.advance(days(2));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 0);
    // It was `400d` that was meant.
    t.gate.push_bundle(admin, kept("400d")).await.unwrap();
    t.time.advance(days(5));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 0);
    assert!(is_there(&t, old).await);

    // What is meant takes effect when it has stood for three days, a restart or not.
    t.gate.push_bundle(admin, kept("4d")).await.unwrap();
    t.time.advance(days(3) - Duration::from_secs(1));
    let t = t.restart().await.unwrap();
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 0);
    t.time.advance(Duration::from_secs(1));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
    assert!(!is_there(&t, old).await);

    let refusal = t.gate.push_bundle(t.person("admin"), kept("23h")).await.unwrap_err();
    assert!(refusal.to_string().contains("kept for 1d at least"), "{refusal}");
}

// covers: EV-7 (retention), D4
#[tokio::test]
async fn a_clock_that_was_set_forward_makes_no_recording_old() {
    let t = keeping().await;
    let right = monday_noon();
    let young = session(&t).await;
    t.time.step_wall(right + jiff::SignedDuration::from_hours(24 * 500));
    let refusal = t.gate.let_go_of_recordings().await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ClockBehind);
    assert!(refusal.to_string().contains("clock accept"), "{refusal}");
    // Put right again: the log's time stays ahead.
    t.time.step_wall(right);
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap_err().reason, Reason::ClockBehind);
    assert!(is_there(&t, young).await);
    // Once, for whoever is told of entries.
    assert_eq!(entries(&t, "retention.stopped").await.len(), 1);
    assert!(newest(&t, "retention.stopped").await.text("why").is_some_and(|why| why.contains("clock accept")));
    assert!(t.gate.retention_is_stopped());
    let root = identity::local::verify_local_peer(0, 1000).unwrap();
    t.gate.accept_clock(&root).await.unwrap();
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 0, "it is young");
    assert!(!t.gate.retention_is_stopped());
    t.time.advance(days(31));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
}

// covers: EV-7 (hold), G2 (holds)
#[tokio::test]
async fn a_hold_beats_age_and_erasure_until_it_is_lifted() {
    let t = keeping().await;
    let (security, eve) = (t.person("carla"), t.person("eve"));
    let (held, free) = (session(&t).await, session(&t).await);
    let refusal = t.gate.set_hold(eve, HoldScope::Session(held), "litigation").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    assert_eq!(t.gate.set_hold(security, HoldScope::Session(held), " ").await.unwrap_err().reason, Reason::Invalid);
    let hold = t.gate.set_hold(security, HoldScope::Session(held), "litigation").await.unwrap();
    t.time.advance(days(31));
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
    assert!(is_there(&t, held).await && !is_there(&t, free).await);
    let refusal = t.gate.destroy_recording(security, held, "nobody may keep it").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::OnHold);
    assert!(refusal.to_string().contains("litigation"), "{refusal}");

    let lifted = t.gate.lift_hold(security, hold.id, "settled").await.unwrap();
    assert_eq!(lifted.state, HoldState::Lifted);
    assert_eq!(t.gate.lift_hold(security, hold.id, "again").await.unwrap_err().reason, Reason::AlreadyDecided);
    assert_eq!(t.gate.let_go_of_recordings().await.unwrap(), 1);
    assert!(!is_there(&t, held).await);
    assert_eq!(newest(&t, "hold.lifted").await.text("note"), Some("settled"));
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
}

async fn entry_of_request(t: &TestGate) -> EntryId {
    newest(t, "request.submitted").await.id
}

// covers: EV-7 (hold)
#[tokio::test]
async fn a_hold_on_a_person_or_a_resource_keeps_what_was_said() {
    let t = keeping().await;
    let security = t.person("carla");
    let ana = t.person("ana").who.id();
    for scope in [HoldScope::Person(ana), HoldScope::Resource("db-1".parse().unwrap())] {
        let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
        let entry = entry_of_request(&t).await;
        let hold = t.gate.set_hold(security, scope.clone(), "an investigation").await.unwrap();
        let refusal = t.gate.erase_text(security, entry, "reason", "she asked").await.unwrap_err();
        assert_eq!(refusal.reason, Reason::OnHold, "{scope}");
        t.gate.lift_hold(security, hold.id, "it is over").await.unwrap();
        t.gate.erase_text(security, entry, "reason", "she asked").await.unwrap();
        t.gate.cancel(t.person("ana"), request.id).await.unwrap();
    }
    let nobody = t.gate.set_hold(security, HoldScope::Resource("nowhere".parse().unwrap()), "x").await.unwrap_err();
    assert_eq!(nobody.reason, Reason::NotFound);
}

async fn refuses(t: &TestGate, event: &str, text: &str) -> EntryId {
    let entry = newest(t, event).await.id;
    let refusal = t.gate.erase_text(t.person("carla"), entry, text, "they asked").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::OnHold, "{event}");
    entry
}

// covers: EV-7 (hold)
#[tokio::test]
async fn a_hold_keeps_what_is_said_of_somebody_by_way_of_a_lock_or_the_hold_itself() {
    let t = keeping().await;
    let security = t.person("carla");
    let ana = t.person("ana").who.id();
    let (lock, _) = t.gate.lock(security, LockScope::Person(ana), None, Some("copied data".into())).await.unwrap();
    let hold = t.gate.set_hold(security, HoldScope::Person(ana), "an investigation").await.unwrap();
    let kept = [refuses(&t, "lock.set", "reason").await, refuses(&t, "hold.set", "reason").await];
    t.gate.lift(security, lock.id).await.unwrap();

    // Another one's hold keeps none of it, but what cannot be told.
    t.gate.lift_hold(security, hold.id, "it is over").await.unwrap();
    let other = t.gate.set_hold(security, HoldScope::Person(t.person("ben").who.id()), "something else").await.unwrap();
    for entry in kept {
        t.gate.erase_text(security, entry, "reason", "she asked").await.unwrap();
    }
    refuses(&t, "text.erased", "reason").await;
    t.gate.lift_hold(security, other.id, "it is over").await.unwrap();
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
}

// covers: EV-7 (hold)
#[tokio::test]
async fn a_hold_on_a_session_keeps_what_was_asked_for_it() {
    let t = keeping().await;
    let security = t.person("carla");
    let held = session(&t).await;
    let hold = t.gate.set_hold(security, HoldScope::Session(held), "litigation").await.unwrap();
    let entry = refuses(&t, "request.submitted", "reason").await;
    // What the same person asked elsewhere is another matter.
    t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap();
    let elsewhere = newest(&t, "request.submitted").await.id;
    t.gate.erase_text(security, elsewhere, "reason", "she asked").await.unwrap();
    t.gate.lift_hold(security, hold.id, "settled").await.unwrap();
    t.gate.erase_text(security, entry, "reason", "she asked").await.unwrap();
}

// covers: EV-7 (hold)
#[tokio::test]
async fn a_hold_keeps_what_is_said_in_votes_reviews_ways_and_findings() {
    let t = keeping().await;
    let (security, admin) = (t.person("carla"), t.person("admin"));
    let (ana, ben, dan) = (t.person("ana").who.id(), t.person("ben").who.id(), t.person("dan").who.id());
    let db: access::names::ResourceName = "db-1".parse().unwrap();

    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    t.gate.vote(t.person("ben"), request.id, Decision::Deny, Some("she copied data last week".into())).await.unwrap();
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    t.gate.submit(t.person("ben"), wish).await.unwrap();
    let review = t.gate.store().open_reviews_about(ben).await.unwrap().remove(0);
    let said = Finding { outcome: ReviewOutcome::Justified, note: Some("he was alone".into()), follow_ups: Vec::new() };
    t.gate.complete_review(security, review.id, said).await.unwrap();
    let way = NewPath {
        reach: Reach::Ssh,
        target: "old-1:22".into(),
        account: Some("root".into()),
        holder: Some("ana".into()),
        issuance: Issuance::Key,
        attribution: Attribution::Person,
        note: None,
    };
    let way = t.gate.add_path(admin, way).await.unwrap();
    assert_eq!(way.person, Some(ana));
    let until = t.gate.now().checked_add(jiff::SignedDuration::from_hours(24)).unwrap();
    t.gate.accept_path(admin, way.id, until, "she still needs it").await.unwrap();
    // As a look at the target finds it.
    let finding = FindingId::generate(t.gate.now());
    let found = Event::FindingOpened { finding, resource: db.clone(), kind: FindingKind::LocalAccount, key: "k".into() };
    t.gate.store().commit(Change::new(EntryDraft::new(t.gate.now(), Actor::Gate, Door::Gate, found))).await.unwrap();
    t.gate.accept_finding(admin, finding, None, "the vendor's").await.unwrap();

    let person = HoldScope::Person;
    for (event, text, holds, not) in [
        ("request.voted", "note", vec![person(ana), person(ben), HoldScope::Resource(db.clone())], person(dan)),
        ("review.completed", "note", vec![person(ben), HoldScope::Resource(db.clone())], person(ana)),
        ("path.accepted", "reason", vec![person(ana)], person(ben)),
        // Who may use what was found, nobody can say.
        ("finding.accepted", "reason", vec![HoldScope::Resource(db.clone()), person(ana)], HoldScope::Resource("build-1".parse().unwrap())),
    ] {
        for scope in holds {
            let hold = t.gate.set_hold(security, scope.clone(), "an investigation").await.unwrap();
            refuses(&t, event, text).await;
            t.gate.lift_hold(security, hold.id, "it is over").await.unwrap();
        }
        let hold = t.gate.set_hold(security, not, "something else").await.unwrap();
        let entry = newest(&t, event).await.id;
        t.gate.erase_text(security, entry, text, "they asked").await.unwrap_or_else(|refusal| panic!("{event}: {refusal}"));
        t.gate.lift_hold(security, hold.id, "it is over").await.unwrap();
    }
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
}
