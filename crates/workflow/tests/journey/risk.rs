//! What is unusual: told, frozen with the request, used by policy, and watched while a session lives.

use std::collections::BTreeMap;
use std::net::IpAddr;

use access::approval::Decision::Approve;
use access::event::{Actor, EntryDraft, Event};
use access::identity::Scope;
use access::reason::Reason;
use access::request::{AccessRequest, Asked, Door, RequestState};
use access::risk::{Finding, Level, Signal};
use access::session::{ClosedSession, EndReason, Onward, Protocol, Standing};
use access::threshold::{Consequence, Watched};
use access::time::Span;
use std::time::Duration;
use store::{Change, EntryFilter, EntryPage};
use testkit::gate::{TestGate, ask};
use tidegate_workflow::Caller;
use tidegate_workflow::knock::Knocked;
use tidegate_workflow::open::Opened;

/// Somebody with a token of theirs, from an address.
async fn at(t: &TestGate, name: &str, address: &str) -> Caller {
    let person = t.person(name);
    let token = t.gate.issue_token(person, person.who.id(), vec![Scope::Read, Scope::Ask], Span::hours(60 * 24), None).await.unwrap();
    let from: IpAddr = address.parse().unwrap();
    Caller { who: t.gate.identify_token(token.token.expose(), from).await.unwrap(), door: Door::Api }
}

/// Puts a policy in force that differs from the example in these texts.
async fn push(t: &TestGate, changes: &[(&str, &str, &str)]) {
    let mut files: BTreeMap<String, Vec<u8>> = t.gate.bundle().files().clone();
    for (file, from, to) in changes {
        let text = String::from_utf8(files[*file].clone()).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        files.insert((*file).to_owned(), text.replacen(from, to, 1).into_bytes());
    }
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
}

async fn open(t: &TestGate, caller: &Caller, resource: &str, role: &str) -> Opened {
    t.gate.open(caller, &resource.parse().unwrap(), &role.parse().unwrap(), Protocol::Ssh).await.unwrap()
}

async fn close(t: &TestGate, opened: Opened, end: EndReason, bytes_down: u64) {
    let session = opened.permit.facts().session;
    t.gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down, recording: None }).await;
}

/// Works on a resource on thirty mornings, from one address.
async fn thirty_mornings(t: &TestGate, caller: &Caller, resource: &str, bytes: u64) {
    for _ in 0..30 {
        t.gate.submit(caller, ask(resource, "shell")).await.unwrap();
        let opened = open(t, caller, resource, "shell").await;
        let grant = opened.permit.facts().grant;
        close(t, opened, EndReason::Client, bytes).await;
        t.gate.give_back(caller, grant).await.unwrap();
        t.pass(Duration::from_secs(24 * 3600)).await;
    }
}

fn watched(opened: &Opened) -> Option<EndReason> {
    match *opened.standing.borrow() {
        Standing::Cut(end) => Some(end),
        _ => None,
    }
}

/// On machines that are not in production nobody has to agree, but from a new network somebody looks first.
async fn look_at_new_networks(t: &TestGate) {
    push(
        t,
        &[(
            "access.cedar",
            "permit(\n  principal in Tide::Group::\"engineers\",\n  action == Tide::Action::\"request\",\n  resource in Tide::Tier::\"non-prod\"\n);",
            "permit(\n  principal in Tide::Group::\"engineers\",\n  action == Tide::Action::\"request\",\n  resource in Tide::Tier::\"non-prod\"\n)\n\
             when { !context.risk.new_network };\n\n@id(\"engineers-on-build-looked-at\")\n@approval(\"on-call-or-lead\")\npermit(\n  \
             principal in Tide::Group::\"engineers\",\n  action == Tide::Action::\"request\",\n  resource in Tide::Tier::\"non-prod\"\n)\n\
             when { context.risk.new_network };",
        )],
    )
    .await;
}

// covers: MAY-9 (api), EV-1 (api)
#[tokio::test]
async fn who_decides_sees_what_is_unusual_and_it_stays_with_the_request() {
    let t = TestGate::start().await.unwrap();
    let home = at(&t, "ana", "203.0.113.7").await;
    let shown = t.gate.risk(&home, &"db-1".parse().unwrap()).await.unwrap();
    let request = t.gate.submit(&home, ask("db-1", "debug")).await.unwrap().request;
    let risk = request.risk.clone().unwrap();
    assert_eq!((&risk, request.risk_says.as_deref().unwrap()), (&shown.risk, shown.says.join("\n").as_str()));
    assert_eq!(risk.level, Level::High, "nobody knows her here yet");
    let says = request.risk_says.as_deref().unwrap();
    assert!(
        says.contains("No session of theirs from 203.0.113.0/24 in 90 days") && says.contains("No session of theirs on db-1"),
        "{says}"
    );
    assert_eq!(risk.sign(Signal::UnusualHour).found, Finding::Unknown);
    // What happens later changes nothing of it, nor in the grant that comes of it.
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    assert_eq!(grant.frozen.risk.as_ref(), Some(&risk));
    let opened = open(&t, &home, "db-1", "debug").await;
    let now = t.gate.risk(&home, &"db-1".parse().unwrap()).await.unwrap();
    assert!(
        !now.risk.is_set(Signal::FirstUse) && now.risk.is_set(Signal::NewNetwork),
        "from where she comes is known a day later: {now:?}"
    );
    let kept = t.gate.store().request(request.id).await.unwrap().unwrap();
    assert_eq!((kept.risk, kept.state), (Some(risk), RequestState::Approved));
    close(&t, opened, EndReason::Client, 1).await;
    assert!(t.gate.replay().await.unwrap().differences.is_empty(), "told again, the log says the same");
}

// covers: MAY-9 (api, ssh), MAY-3 (api)
#[tokio::test]
async fn a_path_that_opens_at_once_is_shut_from_a_new_network_and_asks_people_there() {
    let t = TestGate::start().await.unwrap();
    look_at_new_networks(&t).await;
    // The first time from anywhere is new: a person looks, and what they agreed to opens from there as often as one likes.
    let home = at(&t, "ana", "203.0.113.7").await;
    let first = t.gate.submit(&home, ask("build-1", "shell")).await.unwrap();
    assert_eq!((first.request.state, first.request.policy.as_str()), (RequestState::Pending, "engineers-on-build-looked-at"));
    let grant = t.gate.vote(t.person("ben"), first.request.id, Approve, None).await.unwrap().grant.unwrap();
    for _ in 0..2 {
        close(&t, open(&t, &home, "build-1", "shell").await, EndReason::Client, 1).await;
    }
    t.gate.give_back(&home, grant.id).await.unwrap();
    // A day later it is known.
    t.pass(Duration::from_secs(24 * 3600 + 1)).await;
    let cheap = t.gate.submit(&home, ask("build-1", "shell")).await.unwrap().grant.unwrap();
    close(&t, open(&t, &home, "build-1", "shell").await, EndReason::Client, 1).await;

    // The same grant from elsewhere opens nothing there: one is asked as if there was none. At home it stays as it is.
    let elsewhere = at(&t, "ana", "198.51.100.9").await;
    let refusal = t.gate.open(&elsewhere, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NoPath);
    assert!(t.entries().await.unwrap().contains(&"session.refused".to_owned()));
    let asked = t.gate.submit(&elsewhere, ask("build-1", "shell")).await.unwrap();
    assert_eq!(asked.request.state, RequestState::Pending);
    let opened = open(&t, &home, "build-1", "shell").await;
    assert_eq!(opened.permit.facts().grant, cheap.id);
    // Decided anew it counts as it was when it was asked, and nobody is cut for being unusual later.
    assert!(t.gate.redecide_all().await.is_empty());
    assert_eq!(watched(&opened), None);
    close(&t, opened, EndReason::Client, 1).await;
}

// covers: MAY-9 (api)
#[tokio::test]
async fn failed_sign_ins_from_where_one_comes_from_are_counted() {
    let t = TestGate::start().await.unwrap();
    let (home, other) = (at(&t, "ana", "203.0.113.7").await, at(&t, "ana", "203.0.113.8").await);
    for _ in 0..5 {
        t.gate.identify_token("tg_pat_00000000000000000000000000000000", "203.0.113.7".parse().unwrap()).await.unwrap_err();
    }
    let risk = |caller: Caller| {
        let gate = t.gate.clone();
        async move { gate.risk(&caller, &"build-1".parse().unwrap()).await.unwrap().risk.sign(Signal::FailedSignIns) }
    };
    assert_eq!((risk(home.clone()).await.found, risk(home.clone()).await.value), (Finding::Yes, 5));
    assert_eq!(risk(other).await.found, Finding::No, "from next door none failed");
    t.pass(Duration::from_secs(3601)).await;
    assert_eq!(risk(home).await.found, Finding::No, "an hour later it is forgotten");
}

// covers: MAY-9 (api)
#[tokio::test]
async fn many_large_results_hide_no_larger_one() {
    let t = TestGate::start().await.unwrap();
    let home = at(&t, "ana", "203.0.113.7").await;
    thirty_mornings(&t, &home, "build-1", 60 << 20).await;
    t.gate.submit(&home, ask("build-1", "shell")).await.unwrap();
    let sign = async || t.gate.risk(&home, &"build-1".parse().unwrap()).await.unwrap().risk.sign(Signal::LargeResults);
    for _ in 0..19 {
        close(&t, open(&t, &home, "build-1", "shell").await, EndReason::Client, 65 << 20).await;
    }
    assert_eq!(sign().await.found, Finding::No, "a little more than usual, and all of them were looked at");
    close(&t, open(&t, &home, "build-1", "shell").await, EndReason::Client, 65 << 20).await;
    assert_eq!(sign().await.found, Finding::Unknown);
    close(&t, open(&t, &home, "build-1", "shell").await, EndReason::Client, 601 << 20).await;
    assert_eq!(sign().await.found, Finding::Yes, "what is seen counts");
}

// covers: MAY-9 (api)
#[tokio::test]
async fn whoever_fills_the_look_with_refusals_of_their_own_hides_nobodys() {
    let t = TestGate::start().await.unwrap();
    let home = at(&t, "ana", "203.0.113.7").await;
    let sign = async || t.gate.risk(&home, &"build-1".parse().unwrap()).await.unwrap().risk.sign(Signal::FailedSignIns);
    let flood = async |count: usize| {
        let refused = || {
            let event = Event::SigninRefused { door: Door::Chat, reason: Reason::NotSignedIn };
            EntryDraft::new(t.gate.now(), Actor::Unknown, Door::Chat, event)
        };
        let change = (1..count).fold(Change::new(refused()), |change, _| change.and(refused()));
        t.gate.store().commit(change).await.unwrap();
    };
    flood(1_999).await;
    assert_eq!(sign().await.found, Finding::No, "all of them were looked at");
    flood(1).await;
    assert_eq!(sign().await.found, Finding::Unknown);
    t.pass(Duration::from_secs(1)).await;
    for _ in 0..5 {
        t.gate.identify_token("tg_pat_00000000000000000000000000000000", "203.0.113.7".parse().unwrap()).await.unwrap_err();
    }
    assert_eq!(sign().await.found, Finding::Yes, "what is seen counts");
}

// covers: MAY-9 (api, ssh)
#[tokio::test]
async fn who_asks_or_knocks_again_from_a_new_network_is_asked_again() {
    let t = TestGate::start().await.unwrap();
    look_at_new_networks(&t).await;
    let (home, elsewhere) = (at(&t, "ana", "203.0.113.7").await, at(&t, "ana", "198.51.100.9").await);
    let first = t.gate.submit(&home, ask("build-1", "shell")).await.unwrap();
    let grant = t.gate.vote(t.person("ben"), first.request.id, Approve, None).await.unwrap().grant.unwrap();
    close(&t, open(&t, &home, "build-1", "shell").await, EndReason::Client, 1).await;
    t.gate.give_back(&home, grant.id).await.unwrap();
    t.pass(Duration::from_secs(24 * 3600 + 1)).await;

    // At home nobody has to agree. Elsewhere a grant of home opens at no knock, and each question is put to people.
    let to = "build-1+shell".parse().unwrap();
    let cheap = t.gate.submit(&home, ask("build-1", "shell")).await.unwrap().grant.unwrap();
    // However often it is looked at in one knock, it is entered once that it is shut.
    let shut = async || {
        let filter = EntryFilter { name: Some("session.refused".into()), ..EntryFilter::default() };
        let refused = t.gate.store().entries(&filter, EntryPage { limit: 100, after: None, newest_first: true }).await.unwrap();
        refused.iter().filter(|logged| matches!(logged.entry.event, Event::SessionRefused { reason: Reason::Forbidden, .. })).count()
    };
    let before = shut().await;
    let knocked = t.gate.knock(&elsewhere, &to, Protocol::Ssh).await.unwrap();
    assert!(matches!(knocked, Knocked::Ask(_)), "{knocked:?}");
    assert_eq!(shut().await, before + 1);
    for _ in 0..3 {
        // The first is asked why; who has just taken a question back is told so.
        let knocked = t.gate.knock(&elsewhere, &to, Protocol::Ssh).await;
        assert!(!matches!(knocked, Ok(Knocked::Open(_))), "{knocked:?}");
        let asked = t.gate.submit(&elsewhere, ask("build-1", "shell")).await.unwrap();
        assert_eq!((asked.request.state, asked.grant.is_none()), (RequestState::Pending, true));
        let knocked = t.gate.knock(&elsewhere, &to, Protocol::Ssh).await.unwrap();
        assert!(matches!(knocked, Knocked::Waiting(request) if request == asked.request.id), "{knocked:?}");
        let longer = AccessRequest { asked: Asked::For(Span::minutes(7)), ..ask("build-1", "shell") };
        t.gate.edit(&elsewhere, asked.request.id, longer).await.expect("changed, it still waits for people");
        t.gate.cancel(&elsewhere, asked.request.id).await.unwrap();
    }
    let Knocked::Open(opened) = t.gate.knock(&home, &to, Protocol::Ssh).await.unwrap() else { panic!("shut at home") };
    assert_eq!(opened.permit.facts().grant, cheap.id);
    close(&t, *opened, EndReason::Client, 1).await;

    // People agree: it opens there, and that teaches for tomorrow.
    let asked = t.gate.submit(&elsewhere, ask("build-1", "shell")).await.unwrap();
    t.gate.vote(t.person("ben"), asked.request.id, Approve, None).await.unwrap();
    for _ in 0..2 {
        let Knocked::Open(opened) = t.gate.knock(&elsewhere, &to, Protocol::Ssh).await.unwrap() else { panic!("it was paid for") };
        close(&t, *opened, EndReason::Client, 1).await;
    }
    t.pass(Duration::from_secs(24 * 3600 + 1)).await;
    assert!(t.gate.submit(&elsewhere, ask("build-1", "shell")).await.unwrap().grant.is_some());
}

// covers: MAY-9 (ssh, postgres, mysql)
#[tokio::test]
async fn sessions_are_watched_and_alerted_or_ended_as_their_tier_says() {
    let t = TestGate::start().await.unwrap();
    push(
        &t,
        &[(
            "tiers.toml",
            "name = \"non-prod\"\n",
            "name = \"non-prod\"\nwatch = [\"results over 10x: alert\", \"results over 1GiB: end\", \"network: alert\", \
             \"steps over 1: end\", \"resources over 1: alert\"]\n",
        )],
    )
    .await;
    let home = at(&t, "ana", "203.0.113.7").await;
    thirty_mornings(&t, &home, "build-1", 10 << 20).await;
    t.gate.submit(&home, ask("build-1", "shell")).await.unwrap();
    let opened = open(&t, &home, "build-1", "shell").await;
    let session = opened.permit.facts().session;
    let alerts = async || t.gate.store().session(session).await.unwrap().unwrap().alerts.0;

    // Ten times what she usually takes is 100 MiB.
    opened.traffic.moved_down(100 << 20);
    t.gate.watch_results().await;
    assert!(alerts().await.is_empty());
    opened.traffic.moved_down(1);
    t.gate.watch_results().await;
    t.gate.watch_results().await;
    let told = alerts().await;
    assert_eq!((told.len(), told[0].what, told[0].bound, told[0].then), (1, Watched::Results, 100 << 20, Consequence::Alert));
    assert_eq!(watched(&opened), None);

    // She comes from another network, by another session.
    let elsewhere = at(&t, "ana", "198.51.100.9").await;
    let second = open(&t, &elsewhere, "build-1", "shell").await;
    assert_eq!(alerts().await.last().map(|alert| alert.what), Some(Watched::Network));
    close(&t, second, EndReason::Client, 1).await;

    // She goes on from there: the same place twice is one step; two are too many.
    for to in ["10.9.0.1:22", "10.9.0.1:22"] {
        t.gate.onward(session, Onward::Forward, to).await;
    }
    assert_eq!((t.gate.store().session(session).await.unwrap().unwrap().steps, watched(&opened)), (1, None));
    t.gate.onward(session, Onward::Agent, "").await;
    assert_eq!(watched(&opened), Some(EndReason::Threshold));
    assert_eq!(opened.told.borrow().as_deref(), Some("2 steps were made onward from its target, more than 1."));
    let row = t.gate.store().session(session).await.unwrap().unwrap();
    assert_eq!((row.steps, row.alerts.0.last().map(|alert| alert.then)), (2, Some(Consequence::End)));
    close(&t, opened, EndReason::Threshold, 1).await;
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}

// covers: MAY-9 (ssh)
#[tokio::test]
async fn steps_count_beyond_those_that_are_entered() {
    let t = TestGate::start().await.unwrap();
    push(&t, &[("tiers.toml", "name = \"non-prod\"\n", "name = \"non-prod\"\nwatch = [\"steps over 120: end\"]\n")]).await;
    let home = at(&t, "ana", "203.0.113.7").await;
    t.gate.submit(&home, ask("build-1", "shell")).await.unwrap();
    let opened = open(&t, &home, "build-1", "shell").await;
    let session = opened.permit.facts().session;
    for n in 0..110 {
        t.gate.onward(session, Onward::Forward, &format!("10.9.0.{n}:22")).await;
    }
    // Where it is known that a place is none that is new, it stays none.
    for _ in 0..20 {
        t.gate.onward(session, Onward::Forward, "10.9.0.0:22").await;
    }
    for _ in 0..10 {
        t.gate.onward(session, Onward::Agent, "").await;
    }
    let row = t.gate.store().session(session).await.unwrap().unwrap();
    assert_eq!((row.steps, watched(&opened)), (100, None), "as many are entered");
    t.gate.onward(session, Onward::Forward, "10.9.1.1:22").await;
    assert_eq!(watched(&opened), Some(EndReason::Threshold));
    let alert = t.gate.store().session(session).await.unwrap().unwrap().alerts.0.remove(0);
    assert_eq!((alert.what, alert.value, alert.bound), (Watched::Steps, 121, 120));
    close(&t, opened, EndReason::Threshold, 1).await;
}

// covers: MAY-9 (api, ssh)
#[tokio::test]
async fn a_session_is_ended_when_its_person_comes_from_elsewhere_whatever_they_are_answered() {
    let t = TestGate::start().await.unwrap();
    push(&t, &[("tiers.toml", "name = \"non-prod\"\n", "name = \"non-prod\"\nwatch = [\"network: end\"]\n")]).await;
    let (home, elsewhere) = (at(&t, "ana", "203.0.113.7").await, at(&t, "ana", "198.51.100.9").await);
    let grant = t.gate.submit(&home, ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let pending = t.gate.submit(&home, ask("db-1", "debug")).await.unwrap().request;
    for way in ["asks", "asks for what is refused", "edits", "asks for more time", "knocks in vain", "gives an id that is none"] {
        let opened = open(&t, &home, "build-1", "shell").await;
        // From home all of it leaves the session alone.
        for (caller, end) in [(&home, None), (&elsewhere, Some(EndReason::Threshold))] {
            match way {
                "asks" => drop(t.gate.submit(caller, ask("db-1", "debug")).await.unwrap()),
                "asks for what is refused" => drop(t.gate.submit(caller, ask("nowhere-1", "shell")).await.unwrap_err()),
                "edits" => {
                    let more = AccessRequest { asked: Asked::For(Span::minutes(20)), ..ask("db-1", "debug") };
                    drop(t.gate.edit(caller, pending.id, more).await.unwrap());
                }
                "asks for more time" => drop(t.gate.extend(caller, grant.id, Span::hours(1), None).await.unwrap()),
                "knocks in vain" => {
                    let (db, role) = ("db-1".parse().unwrap(), "debug".parse().unwrap());
                    drop(t.gate.open(caller, &db, &role, Protocol::Ssh).await.unwrap_err());
                }
                _ => drop(t.gate.edit(caller, access::ids::RequestId::generate(t.gate.now()), ask("db-1", "debug")).await.unwrap_err()),
            }
            assert_eq!(watched(&opened), end, "{way}");
        }
        close(&t, opened, EndReason::Threshold, 1).await;
    }
}
