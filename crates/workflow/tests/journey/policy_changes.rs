//! A new policy: all or nothing, and what it withdraws is cut.

use access::approval::Decision::Approve;
use access::grant::GrantEnd;
use access::reason::Reason;
use access::session::{EndReason, Protocol, Standing};
use access::time::Span;
use testkit::gate::{TestGate, ask};

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
