//! Containing somebody, or something: what stands is taken away, what races it too, and it is lifted by its own name alone.

use access::approval::Decision::Approve;
use access::grant::{GrantEnd, GrantState};
use access::ids::PrincipalId;
use access::lock::LockScope;
use access::reason::Reason;
use access::request::RequestState;
use access::session::{ClosedSession, EndReason, Protocol, Standing};
use testkit::gate::{TestGate, ask};
use tidegate_workflow::open::Opened;

/// Leaves when it is told to, as a proxy would.
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

// covers: MAY-9 (api), GRANT-8 (api)
#[tokio::test]
async fn a_resource_is_contained_for_everybody_standing_grants_too() {
    let t = TestGate::start().await.unwrap();
    let (ana, admin) = (t.person("ana"), t.person("carla"));
    let standing = {
        let bot = t.person("ben");
        let grant = t.gate.submit(bot, ask("build-1", "shell")).await.unwrap().grant.unwrap();
        (bot, grant)
    };
    let pending = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    let grant = t.gate.submit(ana, ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let opened = t.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let ended = obey(&t, opened);
    let scope = LockScope::Resource("build-1".parse().unwrap());
    let done = t.gate.contain(admin, scope.clone(), "a miner runs on it").await.unwrap();
    assert_eq!(ended.await.unwrap(), EndReason::Locked);
    assert_eq!((done.cut.confirmed.len(), done.cut.unconfirmed.len(), done.already), (1, 0, false));
    let mut revoked = done.grants.clone();
    revoked.sort();
    let mut meant = vec![grant.id, standing.1.id];
    meant.sort();
    assert_eq!(revoked, meant, "everybody's, and nothing of another resource");
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().end, Some(GrantEnd::Revoked));
    assert_eq!(t.gate.store().request(pending.id).await.unwrap().unwrap().state, RequestState::Pending, "it is about another one");
    assert_eq!(t.gate.submit(standing.0, ask("build-1", "shell")).await.unwrap_err().reason, Reason::Locked);

    // Once more it is the same; a plain lift is none, and a lifted one is no longer there.
    let again = t.gate.contain(admin, scope, "again").await.unwrap();
    assert_eq!((again.lock.id, again.already, again.grants.len()), (done.lock.id, true, 0));
    assert_eq!(t.gate.lift(admin, done.lock.id).await.unwrap_err().reason, Reason::Invalid);
    assert_eq!(t.gate.release(ana, done.lock.id, "x").await.unwrap_err().reason, Reason::NotAllowed);
    assert_eq!(t.gate.release(admin, done.lock.id, "").await.unwrap_err().reason, Reason::ReasonRequired);
    t.gate.release(admin, done.lock.id, "it is clean").await.unwrap();
    assert!(t.gate.release(admin, done.lock.id, "it is clean").await.is_err());
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().state, GrantState::Ended, "nothing comes back");
    t.gate.submit(ana, ask("build-1", "shell")).await.unwrap();
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}

// covers: MAY-9 (api), WHO-4 (api)
#[tokio::test]
async fn whoever_answers_for_a_machine_is_contained_with_it() {
    let t = TestGate::start().await.unwrap();
    let (dan, carla) = (t.person("dan"), t.person("carla"));
    let PrincipalId::User(owner) = dan.who.id() else { panic!("dan is a person") };
    let bot = t.gate.add_workload(dan, "gate-bot".parse().unwrap(), owner, None).await.unwrap();
    let scope = LockScope::Person(dan.who.id());
    let done = t.gate.contain(carla, scope, "his key was found on a pastebin").await.unwrap();
    assert!(done.lock.contains);
    assert_eq!(t.gate.refuse_if_person_locked(bot.id).await.unwrap_err().reason, Reason::Locked);
    let mine = LockScope::Person(carla.who.id());
    let refusal = t.gate.contain(carla, mine, "me").await.unwrap_err();
    assert!(refusal.to_string().contains("nobody contains themselves"), "{refusal}");
    let role = LockScope::Role("shell".parse().unwrap());
    assert_eq!(t.gate.contain(carla, role, "no").await.unwrap_err().reason, Reason::Invalid);
}

// covers: MAY-9 (api), C5 (api)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_at_the_moment_of_a_containment_does_not_outlive_it() {
    let t = TestGate::start().await.unwrap();
    let carla = t.person("carla");
    for _ in 0..6 {
        let people = ["ana", "ben"].into_iter().cycle().take(6);
        let asking = people.map(|name| {
            let (gate, who) = (t.gate.clone(), t.person(name).clone());
            tokio::spawn(async move {
                let mut asked = 0;
                loop {
                    match gate.submit(&who, ask("build-1", "shell")).await {
                        Ok(_) => asked += 1,
                        Err(refusal) => return (asked, refusal.reason),
                    }
                }
            })
        });
        let asking: Vec<_> = asking.collect();
        while t.gate.store().open_grants().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let done = t.gate.contain(carla, LockScope::Resource("build-1".parse().unwrap()), "a miner runs on it").await.unwrap();
        let mut asked = 0;
        for one in asking {
            let (times, refused) = one.await.unwrap();
            asked += times;
            assert_eq!(refused, Reason::Locked);
        }
        assert!(asked > 0 && !done.grants.is_empty());
        t.gate.release(carla, done.lock.id, "it is clean").await.unwrap();
        let left = t.gate.store().open_grants().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}

// covers: MAY-9, C2 (api)
#[tokio::test]
async fn a_yes_that_races_a_containment_leaves_nothing_that_opens() {
    let t = TestGate::start().await.unwrap();
    let (ana, carla) = (t.person("ana"), t.person("carla"));
    for round in 0..12 {
        let request = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
        let vote = t.gate.vote(t.person("ben"), request.id, Approve, None);
        let contain = t.gate.contain(carla, LockScope::Person(ana.who.id()), "drill");
        let (voted, contained) = if round % 2 == 0 {
            tokio::join!(vote, contain)
        } else {
            let (contained, voted) = tokio::join!(contain, vote);
            (voted, contained)
        };
        let lock = contained.unwrap().lock.id;
        let open = t.gate.store().open_grants_of(ana.who.id()).await.unwrap();
        assert!(open.is_empty(), "round {round}: {voted:?} left {open:?}");
        t.gate.release(carla, lock, "over").await.unwrap();
    }
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}
