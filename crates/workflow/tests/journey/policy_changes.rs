//! A new policy: all or nothing, and what it withdraws is cut.

use std::sync::mpsc;
use std::time::Duration;

use access::approval::Decision::Approve;
use access::grant::GrantEnd;
use access::reason::Reason;
use access::request::Asked;
use access::session::{EndReason, Protocol, Standing};
use access::time::Span;
use testkit::gate::{TestGate, ask};
use tokio::runtime::Handle;

// covers: MAY-8, GRANT-3, D2 (api)
#[tokio::test]
async fn a_change_that_withdraws_a_right_closes_what_stood_on_it() {
    let t = TestGate::start().await.unwrap();
    let request = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let grant = t.gate.vote(t.person("ben"), request.id, Approve, None).await.unwrap().grant.unwrap();
    let opened = t.gate.open(t.person("ana"), &"db-1".parse().unwrap(), &"debug".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let kept = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();

    // First a change that takes nothing from her: nothing happens to her session.
    let mut files = t.gate.bundle().files().clone();
    let roles = String::from_utf8(files["roles.toml"].clone()).unwrap();
    files.insert("roles.toml".into(), format!("{roles}\n# nothing new\n").into_bytes());
    let activated = t.gate.push_bundle(t.person("dan"), files.clone()).await.unwrap();
    assert!(activated.changed && activated.withdrawn.is_empty());
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }));

    let access = String::from_utf8(files["access.cedar"].clone()).unwrap();
    let access = access.replace(
        "unless { resource.role == Tide::Role::\"admin\" };",
        "unless { resource.role == Tide::Role::\"admin\" || resource.role == Tide::Role::\"debug\" };",
    );
    files.insert("access.cedar".into(), access.into_bytes());
    let activated = t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    assert_eq!(activated.withdrawn, vec![grant.id]);
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Withdrawn)));
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().end, Some(GrantEnd::Withdrawn));
    assert!(t.gate.store().grant(kept.id).await.unwrap().unwrap().end.is_none());
}

// covers: MAY-8 (api)
#[tokio::test]
async fn a_broken_directory_leaves_the_old_policy_in_force_and_says_so() {
    let t = TestGate::start().await.unwrap();
    let before = t.gate.bundle().digest().to_owned();
    let mut files = t.gate.bundle().files().clone();
    files.insert("access.cedar".into(), b"permit(principal, action, resource".to_vec());
    files.insert("tiers.toml".into(), b"[[tier]]\nname = \"prod\"\nmaxx = \"4h\"\n".to_vec());
    let refusal = t.gate.push_bundle(t.person("dan"), files).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Invalid);
    let said = refusal.to_string();
    assert!(said.contains("access.cedar") && said.contains("tiers.toml") && said.contains("maxx"), "all mistakes at once: {said}");
    assert_eq!(t.gate.bundle().digest(), before);
    assert_eq!(t.entries().await.unwrap().last().map(String::as_str), Some("bundle.rejected"));
    assert_eq!(t.gate.push_bundle(t.person("ana"), t.gate.bundle().files().clone()).await.unwrap_err().reason, Reason::NotAllowed);
}

// covers: MAY-8, MAY-6 (api)
#[tokio::test]
async fn a_role_that_may_do_less_closes_sessions_that_may_do_more() {
    let t = TestGate::start().await.unwrap();
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
    let opened = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let roles = String::from_utf8(files["roles.toml"].clone()).unwrap();
    // More than before takes nothing away from anybody.
    let wider = roles.replace("exec = \"any\", sftp = \"write\", env", "exec = \"any\", sftp = \"write\", agent_forward = true, env");
    assert_ne!(roles, wider);
    files.insert("roles.toml".into(), wider.clone().into_bytes());
    t.gate.push_bundle(t.person("dan"), files.clone()).await.unwrap();
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }));
    let narrower = wider.replace("exec = \"any\", sftp = \"write\", agent_forward", "exec = \"any\", sftp = \"read\", agent_forward");
    files.insert("roles.toml".into(), narrower.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Withdrawn)));
}

// covers: MAY-8, GRANT-3, GRANT-5 (api)
#[tokio::test]
async fn what_was_added_to_a_grant_counts_when_a_new_policy_allows_less_time() {
    let t = TestGate::start().await.unwrap();
    let grant = t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap().grant.unwrap();
    let opened = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    t.gate.extend(t.person("ana"), grant.id, Span::hours(6), Some("a long build".into())).await.unwrap();
    let before = String::from_utf8(t.gate.bundle().files()["tiers.toml"].clone()).unwrap();
    let push = async |max: &str| {
        let mut files = t.gate.bundle().files().clone();
        let tiers = before.replacen("max = \"12h\"", &format!("max = \"{max}\""), 1);
        assert_ne!(tiers, before);
        files.insert("tiers.toml".into(), tiers.into_bytes());
        t.gate.push_bundle(t.person("dan"), files).await.unwrap().withdrawn
    };
    assert_eq!(push("7h").await, Vec::new(), "it ends sooner than that");
    assert!(matches!(*opened.standing.borrow(), Standing::Open { .. }));
    // The grant itself was for two hours; with what was added it lasts six.
    assert_eq!(push("3h").await, vec![grant.id]);
    assert!(matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Withdrawn)));
}

// covers: MAY-8, GRANT-3 (api)
#[tokio::test]
async fn all_that_a_change_withdraws_is_cut_and_entered_together() {
    let t = TestGate::start().await.unwrap();
    let (mut grants, mut sessions) = (Vec::new(), Vec::new());
    for name in ["ana", "ben", "dan"] {
        grants.push(t.gate.submit(t.person(name), ask("build-1", "shell")).await.unwrap().grant.unwrap().id);
        sessions.push(t.gate.open(t.person(name), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap());
    }
    let mut files = t.gate.bundle().files().clone();
    let access = String::from_utf8(files["access.cedar"].clone()).unwrap();
    let theirs = "principal in Tide::Group::\"engineers\",\n  action == Tide::Action::\"request\",\n  resource in Tide::Tier::\"non-prod\"";
    let narrower = access.replacen(theirs, &theirs.replace("engineers", "auditors"), 1);
    assert_ne!(narrower, access);
    files.insert("access.cedar".into(), narrower.into_bytes());
    let mut withdrawn = t.gate.push_bundle(t.person("dan"), files).await.unwrap().withdrawn;
    withdrawn.sort();
    grants.sort();
    assert_eq!(withdrawn, grants);
    assert!(sessions.iter().all(|opened| matches!(*opened.standing.borrow(), Standing::Cut(EndReason::Withdrawn))));
    for grant in grants {
        assert_eq!(t.gate.store().grant(grant).await.unwrap().unwrap().end, Some(GrantEnd::Withdrawn));
    }
    // One entry each, behind each other, and the log tells the same rows again.
    let entries = t.entries().await.unwrap();
    let first = entries.iter().position(|entry| entry == "grant.withdrawn").unwrap();
    assert!(entries[first..].iter().take(withdrawn.len()).all(|entry| entry == "grant.withdrawn"), "{entries:?}");
    assert_eq!(t.gate.replay().await.unwrap().differences, []);
}

/// Stands on the one thread for what is done off the runtime. Let through, it has done what was asked for before, and stands there again.
fn stand_in_the_way(runtime: &Handle, passes: mpsc::Receiver<()>, stands: mpsc::Sender<()>) {
    let next = runtime.clone();
    runtime.spawn_blocking(move || {
        // At the end nobody looks any more.
        let _unseen = stands.send(());
        if passes.recv().is_ok() {
            stand_in_the_way(&next, passes, stands);
        }
    });
}

// covers: MAY-8, GRANT-3, GRANT-4, C5 (api)
#[test]
fn what_moves_onto_a_grant_that_is_just_being_withdrawn_is_cut_with_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let ends = async { tokio::time::timeout(Duration::from_secs(120), Box::pin(moves_onto_what_is_withdrawn())).await };
    runtime.block_on(ends).expect("it does not end");
}

async fn moves_onto_what_is_withdrawn() {
    let t = TestGate::start().await.unwrap();
    let (build, shell) = ("build-1".parse().unwrap(), "shell".parse().unwrap());
    let granted = async |name: &str, hours: u64| {
        let mut wish = ask("build-1", "shell");
        wish.asked = Asked::For(Span::hours(hours));
        t.gate.submit(t.person(name), wish).await.unwrap().grant.unwrap().id
    };
    let open = async |name: &str| t.gate.open(t.person(name), &build, &shell, Protocol::Ssh).await.unwrap();
    // Ana works on the shorter of two grants, Ben on one as long as her other.
    let short = granted("ana", 1).await;
    let hers = open("ana").await;
    let long = granted("ana", 6).await;
    t.gate.activate(t.person("ana"), long).await.unwrap();
    let bens = granted("ben", 6).await;
    let his = open("ben").await;
    assert_eq!((hers.permit.facts().grant, his.permit.facts().grant), (short, bens));

    // Nothing may last longer than three hours any more. What is open is decided step by step, as far as Ben's cut.
    let mut files = t.gate.bundle().files().clone();
    let before = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let tiers = before.replacen("max = \"12h\"", "max = \"3h\"", 1);
    assert_ne!(tiers, before);
    files.insert("tiers.toml".into(), tiers.into_bytes());
    let (pass, passes) = mpsc::channel();
    let (stands, in_the_way) = mpsc::channel();
    stand_in_the_way(&Handle::current(), passes, stands);
    in_the_way.recv().unwrap();
    let (gate, dan) = (t.gate.clone(), t.person("dan").clone());
    let pushing = tokio::spawn(Box::pin(async move { gate.push_bundle(&dan, files).await }));
    loop {
        // Whoever has something to do on this thread comes to where they wait for the other.
        tokio::time::sleep(Duration::from_millis(1)).await;
        if matches!(*his.standing.borrow(), Standing::Cut(_)) {
            break;
        }
        pass.send(()).unwrap();
        in_the_way.recv().unwrap();
    }
    // Her longer grant is decided, and its end is not entered. Now she gives the shorter one back, and her session moves.
    assert!(t.gate.store().grant(long).await.unwrap().unwrap().end.is_none());
    let (_, cut) = t.gate.give_back(t.person("ana"), short).await.unwrap();
    assert_eq!(cut.rehomed, [hers.permit.facts().session]);
    assert!(matches!(*hers.standing.borrow(), Standing::Open { .. }));

    drop(pass);
    let mut withdrawn = pushing.await.unwrap().unwrap().withdrawn;
    withdrawn.sort();
    let mut both = vec![long, bens];
    both.sort();
    assert_eq!(withdrawn, both);
    assert!(matches!(*hers.standing.borrow(), Standing::Cut(EndReason::Withdrawn)), "{:?}", hers.standing.borrow());
}
