//! A tier that is only observed: who no path leads gets in, it is said and counted, and on the day it is over.

use access::approval::Decision::Approve;
use access::reason::Reason;
use access::session::{Protocol, Standing};
use access::time::Span;
use jiff::ToSpan as _;
use std::time::Duration;
use testkit::gate::{TestGate, ask};
use tidegate_workflow::compliance::Query;
use tidegate_workflow::rollout::Progress;

/// A gate whose production is only observed, until a day from now.
async fn observing() -> TestGate {
    let t = TestGate::start().await.unwrap();
    observe(&t).await;
    t
}

async fn observe(t: &TestGate) {
    let mut files = t.gate.bundle().files().clone();
    let text = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let (from, until) = (t.gate.now(), t.gate.now().checked_add(24.hours()).unwrap());
    let observed =
        text.replacen("break_glass = true\n", &format!("break_glass = true\nobserve = {{ from = \"{from}\", until = \"{until}\" }}\n"), 1);
    files.insert("tiers.toml".into(), observed.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
}

// covers: RUN-8 (ssh)
#[tokio::test]
async fn who_no_path_leads_gets_in_for_the_time_and_it_is_said_and_counted() {
    let t = observing().await;
    let (eve, db, shell) = (t.person("eve"), "db-1".parse().unwrap(), "shell".parse().unwrap());
    // An hour before it is over, for the usual hour; the clock starts later.
    t.pass(Duration::from_secs(23 * 3600)).await;
    let grant = t.gate.submit(eve, ask("db-1", "shell")).await.unwrap().grant.unwrap();
    t.pass(Duration::from_secs(1800)).await;
    let opened = t.gate.open(eve, &db, &shell, Protocol::Ssh).await.unwrap();
    let over = grant.terms.observed_until.unwrap();
    assert_eq!(opened.permit.facts().ends_at, Some(over), "no moment longer than the tier is observed");
    assert_eq!(grant.policy, "tier:prod");
    assert!(t.entries().await.unwrap().contains(&"session.observed".to_owned()));
    let rollout = t.gate.rollout(t.person("admin")).await.unwrap();
    assert_eq!((rollout.observed_sessions, rollout.observed[0].now, rollout.standing), (1, true, 1));
    let answers = t.gate.compliance(eve).await.unwrap().answers;
    let says = |query: Query| (answers[&query].says.clone(), answers[&query].attention);
    let (resources, looked_at) = says(Query::Resources);
    assert!(looked_at && resources.contains("1 tier is only observed"), "{resources}");
    let (grants, _) = says(Query::Grants);
    assert!(grants.starts_with("1 right is open, 1 of them standing"), "{grants}");
    let policy = rollout.phases.iter().find(|phase| phase.name == "policy").unwrap();
    assert_eq!(policy.progress(), Progress::UnderWay);
    assert_eq!(policy.steps.iter().map(|step| (step.done, step.of)).collect::<Vec<_>>()[1..], [(2, 3), (0, 1)]);
    // The day has come.
    t.pass(Duration::from_secs(1801)).await;
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(_)), "the session is cut");
    let refused = t.gate.submit(eve, ask("db-1", "shell")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::UnknownResource, "she may not know of it any more");
}

// covers: RUN-8 (ssh)
#[tokio::test]
async fn who_is_locked_gets_in_nowhere_and_a_tier_that_blocks_early_takes_back_what_it_let_through() {
    let t = observing().await;
    let (eve, db, shell) = (t.person("eve"), "db-1".parse().unwrap(), "shell".parse().unwrap());
    let scope = access::lock::LockScope::Person(eve.who.id());
    let (lock, _) = t.gate.lock(t.person("carla"), scope, None, Some("a stolen laptop".into())).await.unwrap();
    assert_eq!(t.gate.submit(eve, ask("db-1", "shell")).await.unwrap_err().reason, Reason::Locked);
    t.gate.lift(t.person("carla"), lock.id).await.unwrap();
    t.gate.submit(eve, ask("db-1", "shell")).await.unwrap();
    let opened = t.gate.open(eve, &db, &shell, Protocol::Ssh).await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let text = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let blocking: String = text.lines().filter(|line| !line.starts_with("observe")).map(|line| format!("{line}\n")).collect();
    files.insert("tiers.toml".into(), blocking.into_bytes());
    let activated = t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    assert_eq!(activated.withdrawn.len(), 1);
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(_)));
}

// covers: RUN-8 (ssh)
#[tokio::test]
async fn a_session_that_goes_on_by_what_a_tier_lets_through_is_said_to() {
    let t = TestGate::start().await.unwrap();
    let (ana, db, debug) = (t.person("ana"), "db-1".parse().unwrap(), "debug".parse().unwrap());
    let request = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().request;
    let agreed = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    let opened = t.gate.open(ana, &db, &debug, Protocol::Ssh).await.unwrap();
    observe(&t).await;
    let through = t.gate.submit(ana, ask("db-1", "debug")).await.unwrap().grant.unwrap();
    let through = t.gate.activate(ana, through.id).await.unwrap();
    assert!(through.terms.observed_until.is_some() && through.id != agreed.id);
    let said = async || t.entries().await.unwrap().iter().filter(|name| *name == "session.observed").count();
    assert_eq!(said().await, 0, "it stands on what Ben agreed to");
    t.gate.give_back(ana, agreed.id).await.unwrap();
    assert!(!matches!(*opened.standing.borrow(), Standing::Cut(_)), "it goes on by the other");
    assert_eq!(t.gate.store().session(opened.permit.facts().session).await.unwrap().unwrap().grant, through.id);
    assert_eq!(said().await, 1);
}

// covers: RUN-8 (api)
#[tokio::test]
async fn what_one_observed_tier_let_through_does_not_stand_in_another() {
    let t = observing().await;
    let (eve, db, shell) = (t.person("eve"), "db-1".parse().unwrap(), "shell".parse().unwrap());
    t.gate.submit(eve, ask("db-1", "shell")).await.unwrap();
    let opened = t.gate.open(eve, &db, &shell, Protocol::Ssh).await.unwrap();
    // A push that changes nothing for it takes nothing.
    let push = async |from: &str, to: &str| {
        let mut files = t.gate.bundle().files().clone();
        for file in ["tiers.toml", "resources.toml"] {
            let text = String::from_utf8(files[file].clone()).unwrap();
            files.insert(file.into(), text.replace(from, to).into_bytes());
        }
        t.gate.push_bundle(t.person("dan"), files).await.unwrap().withdrawn.len()
    };
    assert_eq!(push("The shop's database machine.", "The shop's database.").await, 0);
    // Everything of production is in a tier by another name now, observed as well.
    let mut files = t.gate.bundle().files().clone();
    let text = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let prod = text.split("[[tier]]").find(|part| part.contains("name = \"prod\"")).unwrap();
    let other = format!("{text}\n[[tier]]{}", prod.replace("name = \"prod\"", "name = \"live\""));
    files.insert("tiers.toml".into(), other.into_bytes());
    let resources = String::from_utf8(files["resources.toml"].clone()).unwrap();
    files.insert("resources.toml".into(), resources.replace("tier = \"prod\"", "tier = \"live\"").into_bytes());
    assert_eq!(t.gate.push_bundle(t.person("dan"), files).await.unwrap().withdrawn.len(), 1);
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(_)));
}

// covers: RUN-8 (api), GRANT-5
#[tokio::test]
async fn more_time_on_what_people_agreed_to_is_theirs_to_give_though_the_tier_is_observed() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let agreed = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    let agreed = t.gate.activate(t.person("ana"), agreed.id).await.unwrap();
    observe(&t).await;
    let asked = t.gate.extend(t.person("ana"), agreed.id, Span::hours(2), Some("still looking".into())).await.unwrap();
    assert!(asked.grant.is_none(), "nobody agreed to it");
    assert_eq!(t.gate.store().grant(agreed.id).await.unwrap().unwrap().ends_at, agreed.ends_at);
    // They agree: then it is as long as they agreed to, and counted as that.
    t.gate.vote(t.person("dan"), asked.request.id, Approve, None).await.unwrap();
    let longer = t.gate.store().grant(agreed.id).await.unwrap().unwrap();
    assert_eq!((longer.ends_at, longer.terms.observed_until), (Some(Span::hours(2).after(t.gate.now())), None));
}

// covers: RUN-8 (api)
#[tokio::test]
async fn more_time_on_what_was_let_through_ends_on_the_last_day() {
    let t = observing().await;
    let eve = t.person("eve");
    t.pass(Duration::from_secs(23 * 3600 + 1800)).await;
    let grant = t.gate.submit(eve, ask("db-1", "shell")).await.unwrap().grant.unwrap();
    let grant = t.gate.activate(eve, grant.id).await.unwrap();
    let until = grant.terms.observed_until;
    assert!(until.is_some());
    t.pass(Duration::from_secs(600)).await;
    let longer = t.gate.extend(eve, grant.id, Span::hours(1), Some("still looking".into())).await.unwrap().grant.unwrap();
    assert_eq!(longer.ends_at, until, "to the second");
}
