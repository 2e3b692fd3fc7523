//! Break-glass: at once, short, reviewed, and blocked while a review is overdue.

use access::names::Username;
use access::reason::Reason;
use access::request::{Door, RequestState};
use access::review::{ReviewOutcome, ReviewState};
use access::time::Span;
use identity::scim::Directory;
use identity::scim::group::Group;
use identity::scim::user::{Profile, User};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::gate::{HERE, TestGate, ask};
use tidegate_workflow::Caller;

// covers: GRANT-9, BACK-1, C8 (api)
#[tokio::test]
async fn an_emergency_opens_at_once_and_owes_a_review() {
    let t = TestGate::start().await.unwrap();
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    // Ana is not on call: there is no emergency path for her.
    assert!(t.gate.submit(t.person("ana"), wish.clone()).await.is_err());
    let submitted = t.gate.submit(t.person("ben"), wish.clone()).await.unwrap();
    let grant = submitted.grant.expect("at once");
    assert_eq!(submitted.request.state, RequestState::Approved);
    assert!(grant.break_glass && grant.length.unwrap() <= Span::hours(1));
    let reviews = t.gate.store().open_reviews_about(t.person("ben").who.id()).await.unwrap();
    assert_eq!((reviews.len(), reviews[0].grant, reviews[0].reviewers.as_str()), (1, grant.id, "security"));
    let names = t.entries().await.unwrap();
    assert!(
        names.ends_with(&["request.submitted", "request.approved", "grant.created", "review.opened"].map(String::from)),
        "in one commit"
    );

    // While it is not overdue, a second emergency is possible; then it is not.
    t.gate.give_back(t.person("ben"), grant.id).await.unwrap();
    let second = t.gate.submit(t.person("ben"), wish.clone()).await.unwrap().grant.unwrap();
    t.gate.give_back(t.person("ben"), second.id).await.unwrap();
    t.pass(Duration::from_secs(25 * 3600)).await;
    let refusal = t.gate.submit(t.person("ben"), wish.clone()).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::BreakGlassBlocked);

    // Nobody reviews themselves, nor does anybody else than who owes it.
    for review in t.gate.store().open_reviews_about(t.person("ben").who.id()).await.unwrap() {
        let own = t.gate.complete_review(t.person("ben"), review.id, ReviewOutcome::Justified).await.unwrap_err();
        assert_eq!(own.reason, Reason::SelfApproval);
        let other = t.gate.complete_review(t.person("ana"), review.id, ReviewOutcome::Justified).await.unwrap_err();
        assert_eq!(other.reason, Reason::NotFound, "it is none of her business");
        let done = t.gate.complete_review(t.person("carla"), review.id, ReviewOutcome::Justified).await.unwrap();
        assert_eq!(done.state, ReviewState::Done);
    }
    t.gate.submit(t.person("ben"), wish).await.expect("nothing is overdue any more");
}

// covers: BACK-1 (api)
#[tokio::test]
async fn who_gave_somebody_their_sign_in_does_not_review_their_emergency() {
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    files.insert("people.toml".into(), people.replace("members = [\"carla\"]", "members = [\"carla\", \"dan\"]").into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let (ben, dan) = (t.person("ben"), t.person("dan"));
    let owed = async || {
        let mut wish = ask("db-1", "shell");
        wish.break_glass = true;
        let grant = t.gate.submit(ben, wish).await.unwrap().grant.unwrap();
        t.gate.give_back(ben, grant.id).await.unwrap();
        t.gate.store().open_reviews_about(ben.who.id()).await.unwrap().remove(0).id
    };
    t.gate.complete_review(dan, owed().await, ReviewOutcome::Justified).await.expect("he has nothing to do with Ben's sign-in");
    // He invites Ben anew: by that code he could be Ben himself.
    t.gate.invite_again(dan, ben.who.id()).await.unwrap();
    let review = owed().await;
    let refusal = t.gate.complete_review(dan, review, ReviewOutcome::Justified).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SelfApproval, "{refusal}");
    t.gate.complete_review(t.person("carla"), review, ReviewOutcome::Justified).await.unwrap();
}

// covers: GRANT-9 (api)
#[tokio::test]
async fn an_overdue_review_blocks_the_team_where_policy_says_so() {
    for blocks_team in [false, true] {
        let t = TestGate::start().await.unwrap();
        let mut files = t.gate.bundle().files().clone();
        let edit = |file: &str, from: &str, to: &str| {
            let text = String::from_utf8(files[file].clone()).unwrap();
            assert!(text.contains(from), "{from}");
            text.replace(from, to).into_bytes()
        };
        let owed = if blocks_team { "@breakglass(\"security, 24h, team\")" } else { "@breakglass(\"security, 23h\")" };
        let access = edit("access.cedar", "@breakglass(\"security, 24h\")", owed);
        // Both are on call; that they are in one team is what counts.
        let people = edit("people.toml", "people = [\"dan\"]", "people = [\"ana\"]");
        files.extend([("access.cedar".to_owned(), access), ("people.toml".to_owned(), people)]);
        t.gate.push_bundle(t.person("dan"), files).await.unwrap();
        let mut wish = ask("db-1", "shell");
        wish.break_glass = true;
        for name in ["ana", "ben"] {
            let grant = t.gate.submit(t.person(name), wish.clone()).await.unwrap().grant.expect("at once");
            t.gate.give_back(t.person(name), grant.id).await.unwrap();
            let review = t.gate.store().open_reviews_about(t.person(name).who.id()).await.unwrap().remove(0);
            if name == "ana" {
                t.gate.complete_review(t.person("carla"), review.id, ReviewOutcome::Justified).await.unwrap();
            }
        }
        t.pass(Duration::from_secs(25 * 3600)).await;
        assert_eq!(t.gate.submit(t.person("ben"), wish.clone()).await.unwrap_err().reason, Reason::BreakGlassBlocked);
        let again = t.gate.submit(t.person("ana"), wish.clone()).await;
        if !blocks_team {
            again.expect("Ana's own was looked at");
            continue;
        }
        let refusal = again.unwrap_err();
        assert_eq!(refusal.reason, Reason::BreakGlassBlocked);
        assert!(refusal.detail.as_deref().is_some_and(|why| why.contains("`ben`")), "{refusal}");
    }
}

/// Somebody whom a directory brings, signed in.
async fn brought(t: &TestGate, hr: &Caller, name: &str) -> Caller {
    let user = User { user_name: format!("{name}@example.com"), external_id: None, active: Some(true), profile: Profile::default() };
    t.gate.bring_user(hr, &user).await.unwrap();
    let row = t.gate.store().person_named(&name.parse().unwrap()).await.unwrap().unwrap();
    let invited = t.gate.invite_again(t.person("dan"), row.id).await.unwrap();
    let (who, _) = t.gate.accept_invitation(invited.code.expose(), HERE).await.unwrap();
    Caller { who, door: Door::Api }
}

// covers: GRANT-9 (api), WHO-3 (api)
#[tokio::test]
async fn an_overdue_review_blocks_a_team_that_a_directory_brought() {
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let mut access = String::from_utf8(files["access.cedar"].clone()).unwrap();
    access.push_str(
        "@id(\"team-in-an-emergency\")\n@breakglass(\"security, 24h, team\")\n@max_duration(\"30m\")\n\
         permit(principal in Tide::Team::\"payments\", action == Tide::Action::\"request\", resource == Tide::Access::\"db-1+debug\");\n",
    );
    files.insert("access.cedar".to_owned(), access.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let corp: Username = "corp".parse().unwrap();
    let groups = BTreeMap::from([("Payments".to_owned(), "payments".parse().unwrap())]);
    let directory = Directory { name: corp.clone(), signs_in: None, domains: vec!["example.com".into()], groups, brings_named: false };
    t.gate.serve_directories(vec![directory]);
    let token = t.gate.issue_directory_token(t.person("dan"), &corp, Span::hours(1), None).await.unwrap();
    let hr = Caller { who: t.gate.identify_token(token.token.expose(), HERE).await.unwrap(), door: Door::Api };
    let (zoe, yan) = (brought(&t, &hr, "zoe").await, brought(&t, &hr, "yan").await);
    let team = Group { display_name: "Payments".to_owned(), external_id: None, members: vec![zoe.who.id(), yan.who.id()] };
    t.gate.bring_group(&hr, &team).await.unwrap();

    let mut wish = ask("db-1", "debug");
    wish.break_glass = true;
    let grant = t.gate.submit(&zoe, wish.clone()).await.unwrap().grant.expect("at once");
    t.gate.give_back(&zoe, grant.id).await.unwrap();
    let owed = t.gate.store().open_reviews_about(zoe.who.id()).await.unwrap().remove(0).id;
    t.pass(Duration::from_secs(25 * 3600)).await;
    // Nobody looked at Zoe's: Yan is of her team, and so is Ana, whom `people.toml` names.
    for (who, name) in [(&yan, "yan"), (t.person("ana"), "ana")] {
        let refusal = t.gate.submit(who, wish.clone()).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::BreakGlassBlocked, "{name}");
        assert!(refusal.detail.as_deref().is_some_and(|why| why.contains("`zoe`, of your team `payments`")), "{name}: {refusal}");
    }
    t.gate.complete_review(t.person("carla"), owed, ReviewOutcome::Justified).await.unwrap();
    t.gate.submit(&yan, wish).await.unwrap().grant.expect("it was looked at");
}

// covers: GRANT-9 (api)
#[tokio::test]
async fn an_emergency_does_not_wait_behind_an_ordinary_question() {
    let t = TestGate::start().await.unwrap();
    let ordinary = t.gate.submit(t.person("ben"), ask("db-1", "shell")).await.unwrap();
    assert_eq!(ordinary.request.state, RequestState::Pending);
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    let emergency = t.gate.submit(t.person("ben"), wish).await.unwrap();
    assert!(emergency.grant.expect("at once").break_glass);
    let before = t.gate.store().request(ordinary.request.id).await.unwrap().unwrap();
    assert_eq!(before.state, RequestState::Cancelled);
}
