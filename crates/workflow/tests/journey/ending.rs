//! Ending: expiry, revocation, return, locks, leavers; what is counted and what is cut.

use access::approval::Decision::Approve;
use access::grant::{GrantEnd, GrantState};
use access::lock::LockScope;
use access::reason::Reason;
use access::session::{ClosedSession, EndReason, Protocol, Standing};
use access::time::Span;
use std::time::Duration;
use testkit::gate::{TestGate, ask};
use tidegate_workflow::open::Opened;

async fn shell(t: &TestGate, person: &str, resource: &str, role: &str) -> Opened {
    t.gate.open(t.person(person), &resource.parse().unwrap(), &role.parse().unwrap(), Protocol::Ssh).await.unwrap()
}

async fn close(t: &TestGate, opened: Opened, end: EndReason) {
    let session = opened.permit.facts().session;
    let closed = opened.recording.close(end.code(), 0).await.unwrap();
    let recording = Some((closed.chunks, hex_of(&closed.digest)));
    t.gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 1, bytes_down: 2, recording }).await;
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Relays nothing, but leaves when it is told to, as a proxy would.
fn obey(t: &TestGate, mut opened: Opened) -> tokio::task::JoinHandle<EndReason> {
    let gate = t.gate.clone();
    tokio::spawn(async move {
        loop {
            let standing = opened.standing.borrow_and_update().clone();
            if let Standing::Cut(end) = standing {
                let session = opened.permit.facts().session;
                gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
                return end;
            }
            opened.standing.changed().await.unwrap();
        }
    })
}

// covers: GRANT-2, D1 (api)
#[tokio::test]
async fn a_session_opened_a_second_before_the_end_ends_at_the_end() {
    let t = TestGate::start().await.unwrap();
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let active = t.gate.activate(t.person("ana"), grant.id).await.unwrap();
    let first = obey(&t, shell(&t, "ana", "build-1", "shell").await);
    t.pass(Duration::from_secs(2 * 3600 - 1)).await;
    let late = shell(&t, "ana", "build-1", "shell").await;
    assert_eq!(late.permit.facts().ends_at, active.ends_at, "the clock does not start again");
    let ended = obey(&t, late);
    t.pass(Duration::from_secs(1)).await;
    assert_eq!((first.await.unwrap(), ended.await.unwrap()), (EndReason::Expired, EndReason::Expired));
    let refusal = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NoPath);
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().end, Some(GrantEnd::Expired));
}

// covers: GRANT-2 (api)
#[tokio::test]
async fn one_is_warned_at_five_minutes_and_at_one() {
    let t = TestGate::start().await.unwrap();
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
    let mut opened = shell(&t, "ana", "build-1", "shell").await;
    t.pass(Duration::from_secs(2 * 3600 - 301)).await;
    assert!(matches!(*opened.standing.borrow_and_update(), Standing::Open { .. }));
    t.pass(Duration::from_secs(1)).await;
    assert!(matches!(*opened.standing.borrow_and_update(), Standing::Warned { left, .. } if left == Span::minutes(5)));
    t.pass(Duration::from_secs(60)).await;
    assert!(!opened.standing.has_changed().unwrap(), "once is enough");
    t.pass(Duration::from_secs(180)).await;
    assert!(matches!(*opened.standing.borrow_and_update(), Standing::Warned { left, .. } if left == Span::minutes(1)));
    close(&t, opened, EndReason::Client).await;
}

// covers: GRANT-3 (api)
#[tokio::test]
async fn a_revocation_cuts_and_says_so() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    let opened = shell(&t, "ana", "db-1", "debug").await;
    let session = opened.permit.facts().session;
    let ended = obey(&t, opened);
    let (row, cut) = t.gate.revoke(t.person("carla"), grant.id, Some("drill".into())).await.unwrap();
    assert_eq!((row.state, row.end), (GrantState::Ended, Some(GrantEnd::Revoked)));
    assert_eq!((cut.confirmed, cut.unconfirmed.len()), (vec![session], 0));
    assert_eq!(ended.await.unwrap(), EndReason::Revoked);
    let refusal = t.gate.revoke(t.person("frank"), grant.id, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotFound);
}

// covers: GRANT-4, D3 (api)
#[tokio::test]
async fn overlapping_grants_are_counted() {
    let t = TestGate::start().await.unwrap();
    let mut short = ask("build-1", "shell");
    short.asked = access::request::Asked::For(Span::minutes(30));
    let first = t.gate.submit(t.person("ana"), short).await.unwrap().grant.unwrap();
    t.gate.activate(t.person("ana"), first.id).await.unwrap();
    let opened = shell(&t, "ana", "build-1", "shell").await;
    let second = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    t.gate.activate(t.person("ana"), second.id).await.unwrap();
    let session = opened.permit.facts().session;
    t.pass(Duration::from_secs(31 * 60)).await;
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }), "the second grant still covers it");
    assert_eq!(t.gate.store().session(session).await.unwrap().unwrap().grant, second.id);
    // A revocation does not move the session to another grant: it cuts, and says what else still opens the door.
    let third = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let ended = obey(&t, opened);
    let (_, cut) = t.gate.revoke(t.person("carla"), second.id, None).await.unwrap();
    assert_eq!((cut.confirmed, cut.still_open), (vec![session], vec![third.id]));
    assert_eq!(ended.await.unwrap(), EndReason::Revoked);
}

// covers: GRANT-6 (api)
#[tokio::test]
async fn giving_back_is_one_act_and_ends_what_stood_on_it() {
    let t = TestGate::start().await.unwrap();
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let ended = obey(&t, shell(&t, "ana", "build-1", "shell").await);
    let refusal = t.gate.give_back(t.person("ben"), grant.id).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotFound, "only its holder gives it back");
    let (row, cut) = t.gate.give_back(t.person("ana"), grant.id).await.unwrap();
    assert_eq!((row.end, cut.confirmed.len()), (Some(GrantEnd::Returned), 1));
    assert_eq!(ended.await.unwrap(), EndReason::Expired);
}

// covers: WHO-8, GRANT-3, D2 (api)
#[tokio::test]
async fn a_lock_shuts_a_person_a_role_or_a_resource() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana").who.id();
    for scope in [LockScope::Person(ana), LockScope::Role("shell".parse().unwrap()), LockScope::Resource("build-1".parse().unwrap())] {
        t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
        let ended = obey(&t, shell(&t, "ana", "build-1", "shell").await);
        let (lock, cut) = t.gate.lock(t.person("carla"), scope.clone(), None, Some("drill".into())).await.unwrap();
        assert_eq!(cut.confirmed.len(), 1, "{scope}");
        assert_eq!(ended.await.unwrap(), EndReason::Locked, "{scope}");
        let refusal = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::Locked, "{scope}");
        assert!(t.gate.store().open_grants_of(ana).await.unwrap().is_empty(), "what was open is withdrawn");
        t.gate.lift(t.person("carla"), lock.id).await.unwrap();
    }
    let refusal = t.gate.lock(t.person("ana"), LockScope::Person(ana), None, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
}

// covers: GRANT-3, D2 (api)
#[tokio::test]
async fn a_leaver_s_sessions_end() {
    let t = TestGate::start().await.unwrap();
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
    let ended = obey(&t, shell(&t, "ana", "build-1", "shell").await);
    t.gate.disable(t.person("dan"), t.person("ana").who.id(), Some("left the company".into())).await.unwrap();
    assert_eq!(ended.await.unwrap(), EndReason::Locked);
    let refusal = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Disabled);
}

// covers: GRANT-5, B4 (api)
#[tokio::test]
async fn more_time_is_a_new_decision_and_drops_nothing() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    let opened = shell(&t, "ana", "db-1", "debug").await;
    let before = opened.permit.facts().ends_at.unwrap();
    t.pass(Duration::from_secs(30 * 60)).await;
    let asked = t.gate.extend(t.person("ana"), grant.id, Span::hours(2), Some("still looking".into())).await.unwrap();
    assert!(asked.grant.is_none(), "production asks people again");
    assert!(matches!(*opened.standing.borrow(), Standing::Open { ends_at } if ends_at == Some(before)));
    t.gate.vote(t.person("dan"), asked.request.id, Approve, None).await.unwrap();
    let after = t.gate.store().grant(grant.id).await.unwrap().unwrap().ends_at.unwrap();
    assert_eq!(after, Span::hours(2).after(t.gate.now()));
    assert!(matches!(*opened.standing.borrow(), Standing::Open { ends_at } if ends_at == Some(after)));
    let too_long = t.gate.extend(t.person("ana"), grant.id, Span::hours(5), Some("more".into())).await.unwrap_err();
    assert_eq!(too_long.reason, Reason::TooLong);
    close(&t, opened, EndReason::Client).await;
}

// covers: GRANT-5, C5 (api)
#[tokio::test]
async fn who_asks_for_more_time_while_that_is_being_decided_joins() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    let opened = shell(&t, "ana", "db-1", "debug").await;
    let more = |why: &'static str| t.gate.extend(t.person("ana"), grant.id, Span::hours(2), Some(why.into()));
    let (one, two) = tokio::join!(more("in one terminal"), more("in the other"));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.request.id, two.request.id);
    assert_eq!(one.verdict.is_some() as u8 + two.verdict.is_some() as u8, 1, "one asked, one joined");
    assert_eq!(more("again").await.unwrap().request.id, one.request.id);

    // Once it is decided, one may ask again.
    t.gate.vote(t.person("ben"), one.request.id, access::approval::Decision::Deny, None).await.unwrap();
    let later = more("still looking").await.unwrap();
    assert!(later.request.id != one.request.id && later.verdict.is_some());
    close(&t, opened, EndReason::Client).await;
}

// covers: C2, C5 (api)
#[tokio::test]
async fn what_was_seen_is_compared_when_the_change_is_made() {
    let t = TestGate::start().await.unwrap();
    let seen = |version: i64| tidegate_workflow::seen::Seen::one_of([version.to_string()]);
    for _ in 0..20 {
        let row = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
        // Ben decides on what he has seen, at the very moment at which Ana changes it.
        let edit = t.gate.edit(
            t.person("ana"),
            seen(row.version).of(row.id),
            access::request::AccessRequest { reason: Some("more".into()), ..ask("db-1", "debug") },
        );
        let vote = t.gate.vote(t.person("ben"), seen(row.version).of(row.id), Approve, None);
        let (edited, voted) = tokio::join!(edit, vote);
        let reason = match (&edited, &voted) {
            (Ok(_), Err(late)) | (Err(late), Ok(_)) => late.reason,
            both => panic!("not one winner: {both:?}"),
        };
        assert_eq!(reason, Reason::Stale);
        if let Ok(voted) = voted {
            t.gate.revoke(t.person("carla"), voted.grant.unwrap().id, None).await.unwrap();
        } else {
            t.gate.cancel(t.person("ana"), row.id).await.unwrap();
        }
    }
}

// covers: SES-1, B5 (api)
#[tokio::test]
async fn ending_a_session_by_hand_needs_a_right_of_its_own() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap();
    let opened = shell(&t, "ana", "db-1", "debug").await;
    let session = opened.permit.facts().session;
    // Eve, the auditor, may watch but not end.
    t.gate.watch(t.person("eve"), session).await.expect("she may watch");
    assert_eq!(t.gate.kill(t.person("eve"), session, None).await.unwrap_err().reason, Reason::NotAllowed);
    assert_eq!(t.gate.watch(t.person("frank"), session).await.unwrap_err().reason, Reason::NotFound);
    let ended = obey(&t, opened);
    t.gate.kill(t.person("carla"), session, Some("drill".into())).await.unwrap();
    assert_eq!(ended.await.unwrap(), EndReason::Killed);
}

// covers: WHO-8, WHO-7 (api)
#[tokio::test]
async fn a_lock_on_a_person_holds_for_their_machines() {
    let t = TestGate::start().await.unwrap();
    let access::ids::PrincipalId::User(dan) = t.person("dan").who.id() else { panic!("dan is a person") };
    let bot = t.gate.add_workload(t.person("admin"), "deploy-bot".parse().unwrap(), dan, None).await.unwrap();
    let scopes = access::identity::Scope::OF_PEOPLE.to_vec();
    let token = t.gate.issue_token(t.person("admin"), bot.id, scopes, Span::hours(1), None).await.unwrap();
    let who = t.gate.identify_token(token.token.expose(), testkit::gate::HERE).await.unwrap();
    let bot = tidegate_workflow::Caller { who, door: access::request::Door::Api };
    t.gate.submit(&bot, ask("build-1", "deploy")).await.unwrap();
    let opened = t.gate.open(&bot, &"build-1".parse().unwrap(), &"deploy".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let ended = obey(&t, opened);
    t.gate.lock(t.person("carla"), LockScope::Person(dan.into()), None, Some("laptop lost".into())).await.unwrap();
    assert_eq!(ended.await.unwrap(), EndReason::Locked);
    assert_eq!(t.gate.submit(&bot, ask("build-1", "deploy")).await.unwrap_err().reason, Reason::Locked);
}

// covers: GRANT-3 (api)
#[tokio::test]
async fn disabling_somebody_again_makes_sure_that_nothing_of_theirs_is_open() {
    let t = TestGate::start().await.unwrap();
    let ana = t.person("ana").who.id();
    t.gate.disable(t.person("dan"), ana, None).await.unwrap();
    let (row, cut) = t.gate.disable(t.person("dan"), ana, None).await.expect("asked twice, it looks again");
    assert_eq!((row.state, cut.unconfirmed.len()), (access::identity::PersonState::Disabled, 0));
}

// covers: WHO-8, GRANT-3, D2 (api)
#[tokio::test]
async fn a_lock_on_a_network_shuts_out_whoever_comes_from_there() {
    let t = TestGate::start().await.unwrap();
    let away: std::net::IpAddr = "192.0.2.77".parse().unwrap();
    let ana = t.person("ana").who.id();
    let invited = t.gate.invite_again(t.person("dan"), ana).await.unwrap();
    let (who, token) = t.gate.accept_invitation(invited.code.expose(), away).await.unwrap();
    let from_away = tidegate_workflow::Caller { who, door: access::request::Door::Api };
    t.gate.submit(&from_away, ask("build-1", "shell")).await.unwrap();
    let there = t.gate.open(&from_away, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let (there, here) = (obey(&t, there), shell(&t, "ana", "build-1", "shell").await);

    let scope: LockScope = "network:192.0.2.0/24".parse().unwrap();
    let (lock, cut) = t.gate.lock(t.person("carla"), scope, None, Some("scanned from there".into())).await.unwrap();
    assert_eq!(cut.confirmed.len(), 1, "the one from there");
    assert_eq!(there.await.unwrap(), EndReason::Locked);
    assert!(!matches!(*here.standing.borrow(), Standing::Cut(_)), "hers from elsewhere goes on, on the same grant");
    let again = t.gate.open(&from_away, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap_err();
    let asked = t.gate.submit(&from_away, ask("build-1", "shell")).await.unwrap_err();
    let signed_in = t.gate.identify_token(token.token.expose(), away).await.unwrap_err();
    for refusal in [again, asked, signed_in] {
        assert_eq!(refusal.reason, Reason::Locked, "{refusal}");
        assert!(refusal.to_string().contains("network:192.0.2.0/24"), "{refusal}");
    }
    t.gate.identify_token(token.token.expose(), testkit::gate::HERE).await.unwrap();
    // Who would lock themselves out is told so.
    let refusal = t.gate.lock(t.person("carla"), "network:127.0.0.0/8".parse().unwrap(), None, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Invalid);
    t.gate.lift(t.person("carla"), lock.id).await.unwrap();
    t.gate.open(&from_away, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    t.gate.identify_token(token.token.expose(), away).await.unwrap();
}

// covers: GRANT-7, D4 (cli)
#[tokio::test]
async fn a_clock_that_ran_ahead_is_accepted_and_lengthens_nothing() {
    let t = TestGate::start().await.unwrap();
    let right = t.gate.now();
    let peer = identity::local::verify_local_peer(0, 1000).unwrap();
    let none = t.gate.accept_clock(&peer).await.unwrap_err();
    assert_eq!(none.reason, Reason::Invalid, "there is nothing to accept while the clock is right");
    let long = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    t.gate.activate(t.person("ana"), long.id).await.unwrap();
    // Somebody sets the clock ahead, and the gate works by that for a while.
    t.time.step_wall(right + jiff::SignedDuration::from_mins(5));
    let opened = shell(&t, "ana", "build-1", "shell").await;
    let session = opened.permit.facts().session;
    let ended = obey(&t, opened);
    t.gate.sweep_store().await;
    t.time.step_wall(right);
    let refusal = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ClockBehind);
    assert!(refusal.to_string().contains("tidegate clock accept"), "{refusal}");

    let done = t.gate.accept_clock(&peer).await.unwrap();
    assert_eq!((done.sessions, done.grants, done.wall), (1, 1, right));
    assert_eq!(ended.await.unwrap(), EndReason::Revoked);
    assert!(done.mark >= right + jiff::SignedDuration::from_mins(5));
    assert!(t.gate.now() < right + jiff::SignedDuration::from_mins(1), "its time is the clock's again");
    let row = t.gate.store().grant(long.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.end), (GrantState::Ended, Some(GrantEnd::Revoked)), "nothing that was open lasts longer by it");
    let row = t.gate.store().session(session).await.unwrap().unwrap();
    assert_eq!(row.state, access::session::SessionState::Ended);
    // Who asks again works again, also after a restart.
    t.gate.sweep_store().await;
    let t = t.restart().await.unwrap();
    assert!(t.gate.now() < right + jiff::SignedDuration::from_mins(1));
    let again = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    t.gate.activate(t.person("ana"), again.id).await.unwrap();
    t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let filter = store::EntryFilter { name: Some("clock.accepted".into()), ..store::EntryFilter::default() };
    let page = store::EntryPage { limit: 10, after: None, newest_first: false };
    let said = t.gate.store().entries(&filter, page).await.unwrap();
    assert_eq!(said.len(), 1);
    assert!(said[0].entry.text("by").is_some());
    let replay = t.gate.replay().await.unwrap();
    assert!(replay.differences.is_empty(), "{:?}", replay.differences);
}
