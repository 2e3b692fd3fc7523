//! Reviews besides emergencies: sessions that are drawn, rights without an end, reminders, escalation; and policies that decide nothing.

use access::approval::Decision::{Approve, Deny};
use access::event::Event;
use access::grant::{GrantEnd, GrantRow, GrantState};
use access::identity::Scope;
use access::ids::PrincipalId;
use access::reason::Reason;
use access::request::{Asked, Door};
use access::review::{ReviewKind, ReviewOutcome, ReviewRow, ReviewState, is_sampled};
use access::session::{ClosedSession, EndReason, Protocol, Standing};
use access::time::Span;
use std::time::Duration;
use testkit::gate::{HERE, TestGate, ask};
use tidegate_workflow::Caller;
use tidegate_workflow::noise::Noise;
use tidegate_workflow::read::{EntryFilter, EntryPage, Page};
use tidegate_workflow::review::Finding;

/// The pipeline, which Dan answers for.
pub(crate) async fn bot(t: &TestGate) -> Caller {
    let PrincipalId::User(dan) = t.person("dan").who.id() else { panic!("dan is a person") };
    let bot = t.gate.add_workload(t.person("admin"), "deploy-bot".parse().unwrap(), dan, None).await.unwrap();
    let token = t.gate.issue_token(t.person("admin"), bot.id, Scope::OF_PEOPLE.to_vec(), Span::hours(8760), None).await.unwrap();
    Caller { who: t.gate.identify_token(token.token.expose(), HERE).await.unwrap(), door: Door::Api }
}

/// A gate on the example policy with one text of it replaced.
async fn with(file: &str, from: &str, to: &str) -> TestGate {
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(from), "{from}");
    files.insert(file.into(), text.replacen(from, to, 1).into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    t
}

async fn open_of(t: &TestGate, kind: ReviewKind) -> Vec<ReviewRow> {
    t.gate.store().reviews(Some(ReviewState::Open), Some(kind), &Page::first(500)).await.unwrap()
}

/// A session on the build machine that is over, with the digest that closes its recording.
async fn visit(t: &TestGate, recorded: bool) -> (access::ids::SessionId, Option<String>) {
    let opened = t.gate.open(t.person("ana"), &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let session = opened.permit.facts().session;
    let closed = opened.recording.close("client", 0).await.unwrap();
    let digest: String = closed.digest.iter().map(|b| format!("{b:02x}")).collect();
    let recording = recorded.then(|| (closed.chunks, digest.clone()));
    t.gate.close(ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording }).await;
    (session, recorded.then_some(digest))
}

// covers: BACK-1 (ssh)
#[tokio::test]
async fn sessions_are_drawn_by_their_tier_and_anybody_can_say_which() {
    let t = with("tiers.toml", "production = false\n", "production = false\nsample = \"40%, security, 3d\"\n").await;
    t.gate.submit(t.person("ana"), ask("build-1", "shell")).await.unwrap();
    let mut drawn = Vec::new();
    for n in 0..24 {
        let (session, digest) = visit(&t, n != 0).await;
        if is_sampled(40, session, digest.as_deref()) {
            drawn.push(session);
        }
    }
    let mut reviews = open_of(&t, ReviewKind::Sampled).await;
    reviews.sort_by_key(|review| review.session);
    drawn.sort();
    assert_eq!(reviews.iter().filter_map(|review| review.session).collect::<Vec<_>>(), drawn);
    assert!((1..24).contains(&drawn.len()), "{} of 24, and the one without a recording among them", drawn.len());
    let first = &reviews[0];
    assert_eq!((first.person, first.reviewers.as_str()), (t.person("ana").who.id(), "security"));
    assert_eq!(first.due_at, Span::hours(72).after(first.opened_at));

    // It keeps nobody from an emergency, and its answer names what is to be done.
    let own = t.gate.complete_review(t.person("ana"), first.id, ReviewOutcome::Justified).await.unwrap_err();
    assert_eq!(own.reason, Reason::SelfApproval);
    let wrong = t.gate.complete_review(t.person("carla"), first.id, ReviewOutcome::Kept).await.unwrap_err();
    assert_eq!(wrong.reason, Reason::Invalid);
    let silent = t.gate.complete_review(t.person("carla"), first.id, ReviewOutcome::NotJustified).await.unwrap_err();
    assert_eq!(silent.reason, Reason::ReasonRequired);
    let follow_ups = vec!["rotate the\n deploy key".to_owned(), "  ".to_owned(), "talk to Ana".to_owned()];
    let finding = Finding { outcome: ReviewOutcome::NotJustified, note: None, follow_ups };
    let done = t.gate.complete_review(t.person("carla"), first.id, finding).await.unwrap();
    assert_eq!((done.state, done.follow_ups.as_deref()), (ReviewState::Done, Some("rotate the deploy key\ntalk to Ana")));
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}

// covers: BACK-1 (api)
#[tokio::test]
async fn whoever_owes_a_review_is_reminded_once_and_others_join_when_it_is_overdue() {
    let t = with("tiers.toml", "break_glass = true\n", "break_glass = true\nescalate_to = \"leads\"\n").await;
    let mut wish = ask("db-1", "shell");
    wish.break_glass = true;
    t.gate.submit(t.person("ben"), wish).await.unwrap();
    let now = async || t.gate.store().open_reviews_about(t.person("ben").who.id()).await.unwrap().remove(0);
    t.pass(Duration::from_secs(17 * 3600)).await;
    assert_eq!(now().await.reminded_at, None, "there is time");
    t.pass(Duration::from_secs(3600)).await;
    let reminded = now().await.reminded_at.expect("a quarter of its day is left");
    let early = t.gate.complete_review(t.person("dan"), now().await.id, ReviewOutcome::Justified).await.unwrap_err();
    assert_eq!(early.reason, Reason::NotFound, "a lead is not asked yet");
    t.pass(Duration::from_secs(7 * 3600)).await;
    let review = now().await;
    assert_eq!((review.reminded_at, review.escalated_to.as_ref().map(|group| group.as_str())), (Some(reminded), Some("leads")));
    t.pass(Duration::from_secs(3600)).await;
    assert_eq!(now().await.version, review.version, "once is enough");
    // Ben is a lead, and it is about him.
    let own = t.gate.complete_review(t.person("ben"), review.id, ReviewOutcome::Justified).await.unwrap_err();
    assert_eq!(own.reason, Reason::SelfApproval);
    t.gate.complete_review(t.person("dan"), review.id, ReviewOutcome::Justified).await.expect("now he is");
    let entries = t.entries().await.unwrap();
    for name in ["review.reminded", "review.escalated"] {
        assert_eq!(entries.iter().filter(|entry| *entry == name).count(), 1, "{name}");
    }
}

/// A right without an end that the pipeline has on the build machine, which `platform` owns.
async fn standing(t: &TestGate, bot: &Caller) -> GrantRow {
    let mut wish = ask("build-1", "deploy");
    wish.asked = Asked::Standing;
    let grant = t.gate.submit(bot, wish).await.unwrap().grant.unwrap();
    t.gate.activate(bot, grant.id).await.unwrap()
}

// covers: BACK-2 (api)
#[tokio::test]
async fn a_right_that_nobody_keeps_is_taken_away_and_its_session_cut() {
    let t = with(
        "people.toml",
        "name = \"platform\"\ndescription = \"Runs the machines, and this gate.\"\nmembers = [\"dan\"]",
        "name = \"platform\"\nmembers = [\"dan\", \"ben\"]",
    )
    .await;
    let bot = bot(&t).await;
    let grant = standing(&t, &bot).await;
    let refused = t.gate.start_campaign(t.person("ana"), Span::hours(24), None).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotAllowed);
    assert_eq!(t.gate.start_campaign(t.person("carla"), Span::default(), None).await.unwrap_err().reason, Reason::Invalid);
    let none = t.gate.start_campaign(t.person("carla"), Span::hours(24), Some("prod".parse().unwrap())).await.unwrap();
    assert_eq!((none.opened.len(), none.open_already), (0, 0), "nothing stands there");
    let asked = t.gate.start_campaign(t.person("carla"), Span::hours(24), None).await.unwrap();
    assert_eq!(asked.opened.iter().map(|r| (r.grant, r.reviewers.as_str())).collect::<Vec<_>>(), [(grant.id, "platform")]);
    let again = t.gate.start_campaign(t.person("carla"), Span::hours(48), None).await.unwrap();
    assert_eq!((again.opened.len(), again.open_already), (0, 1), "once at a time");

    // Kept, it stays; by somebody who owns the machine and does not answer for the pipeline.
    let kept = t.gate.complete_review(t.person("ben"), asked.opened[0].id, ReviewOutcome::Kept).await.unwrap();
    assert_eq!((kept.state, kept.outcome), (ReviewState::Done, Some(ReviewOutcome::Kept)));
    t.pass(Duration::from_secs(25 * 3600)).await;
    assert_eq!(t.gate.store().grant(grant.id).await.unwrap().unwrap().state, GrantState::Active);

    // Asked again, nobody answers.
    let asked = t.gate.start_campaign(t.person("carla"), Span::hours(24), None).await.unwrap();
    let mut opened = t.gate.open(&bot, &"build-1".parse().unwrap(), &"deploy".parse().unwrap(), Protocol::Ssh).await.unwrap();
    t.pass(Duration::from_secs(23 * 3600)).await;
    assert!(matches!(*opened.standing.borrow_and_update(), Standing::Open { .. }));
    t.pass(Duration::from_secs(3600)).await;
    assert_eq!(*opened.standing.borrow_and_update(), Standing::Cut(EndReason::Revoked));
    let ended = t.gate.store().grant(grant.id).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.end), (GrantState::Ended, Some(GrantEnd::Revoked)));
    let review = t.gate.store().review(asked.opened[0].id).await.unwrap().unwrap();
    assert_eq!((review.outcome, review.done_by), (Some(ReviewOutcome::Removed), None));
    assert!(t.gate.replay().await.unwrap().differences.is_empty());
}

// covers: BACK-2 (api)
#[tokio::test]
async fn an_owner_who_says_remove_takes_the_right_away_at_once() {
    let t = with(
        "people.toml",
        "name = \"platform\"\ndescription = \"Runs the machines, and this gate.\"\nmembers = [\"dan\"]",
        "name = \"platform\"\nmembers = [\"dan\", \"ben\"]",
    )
    .await;
    let bot = bot(&t).await;
    let grant = standing(&t, &bot).await;
    let asked = t.gate.start_campaign(t.person("carla"), Span::hours(24), None).await.unwrap();
    // Dan owns the machine, and answers for the pipeline that it is about.
    let own = t.gate.complete_review(t.person("dan"), asked.opened[0].id, ReviewOutcome::Kept).await.unwrap_err();
    assert_eq!(own.reason, Reason::SelfApproval, "{own}");
    t.gate.complete_review(t.person("ben"), asked.opened[0].id, ReviewOutcome::Removed).await.unwrap();
    let ended = t.gate.store().grant(grant.id).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.end), (GrantState::Ended, Some(GrantEnd::Revoked)));
    let filter = EntryFilter { name: Some("grant.revoked".into()), ..EntryFilter::default() };
    let page = EntryPage { limit: 2, after: None, newest_first: true };
    let entries = t.gate.store().entries(&filter, page).await.unwrap();
    assert!(matches!(entries.as_slice(), [one] if matches!(one.entry.event, Event::GrantRevoked { .. })
        && one.entry.actor == access::event::Actor::Principal(t.person("ben").who.id())));
}

// covers: BACK-6 (api)
#[tokio::test]
async fn policies_that_decide_nothing_are_named_with_what_could_be_done() {
    let t = with("access.cedar", "@id(\"platform-looks\")\n", "@id(\"platform-looks\")\n@approval(\"security\")\n").await;
    t.pass(Duration::from_secs(3600)).await;
    for n in 0..20 {
        // Ana asks by `team-on-its-own`, whose tier asks; Dan by `platform-looks`, which asks by itself.
        let hers = t.gate.submit(t.person("ana"), ask("db-1", "debug")).await.unwrap().request;
        t.gate.vote(t.person("ben"), hers.id, if n == 0 { Deny } else { Approve }, None).await.unwrap();
        let his = t.gate.submit(t.person("dan"), ask("db-1", "logs")).await.unwrap().request;
        t.gate.vote(t.person("ben"), his.id, Approve, None).await.unwrap();
        t.gate.vote(t.person("carla"), his.id, Approve, None).await.unwrap();
        t.pass(Duration::from_secs(2 * 3600)).await;
    }
    t.gate.checkpoint().await.unwrap();
    assert_eq!(t.gate.noisy_policies(t.person("ana"), Span::hours(40)).await.unwrap_err().reason, Reason::NotAllowed);
    let found = t.gate.noisy_policies(t.person("dan"), Span::hours(40)).await.unwrap();
    let of = |policy: &str| found.noisy.iter().find(|noisy| noisy.path.policy == policy);
    let hers = of("team-on-its-own").unwrap();
    assert_eq!((hers.noise, hers.counted.approved, hers.counted.denied, hers.change.is_none()), (Noise::Approved, 19, 1, true));
    let his = of("platform-looks").unwrap();
    let change = his.change.as_ref().unwrap();
    assert_eq!((his.noise, change.file.as_str()), (Noise::Approved, "access.cedar"));
    assert_eq!(change.after, change.before.replace("@id(\"platform-looks\")\n@approval(\"security\")\n", "@id(\"platform-looks\")\n"));
    let unused = of("payments-on-the-ledger").unwrap();
    assert!(unused.noise == Noise::Unused && !unused.change.as_ref().unwrap().after.contains("payments-on-the-ledger"));
    assert!(of("emergency").is_none(), "that nobody had one is no fault");
    // What is proposed can be put in force.
    let mut files = t.gate.bundle().files().clone();
    files.insert(change.file.clone(), change.after.clone().into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    // Longer ago than the policy stands, nothing is called unused.
    let early = t.gate.noisy_policies(t.person("dan"), Span::hours(8760)).await.unwrap();
    assert!(early.noisy.iter().all(|noisy| noisy.noise != Noise::Unused));
}

// covers: BACK-2 (api)
#[tokio::test]
async fn a_campaign_goes_by_where_things_are_today() {
    let t = TestGate::start().await.unwrap();
    let bot = bot(&t).await;
    let grant = standing(&t, &bot).await;
    let lab = "lab".parse::<access::names::TierName>().unwrap();
    let unknown = t.gate.start_campaign(t.person("carla"), Span::hours(24), Some(lab.clone())).await.unwrap_err();
    assert_eq!(unknown.reason, Reason::NotFound);
    // The machine moves into another tier; what the grant was given under stays in the grant.
    let files = t.gate.bundle().files().clone();
    let moved =
        files.into_iter().map(|(path, content)| (path, String::from_utf8(content).unwrap().replace("non-prod", "lab").into_bytes()));
    t.gate.push_bundle(t.person("dan"), moved.collect::<std::collections::BTreeMap<_, _>>()).await.unwrap();
    assert_eq!(grant.terms.tier.as_str(), "non-prod");
    let asked = t.gate.start_campaign(t.person("carla"), Span::hours(24), Some(lab)).await.unwrap();
    assert_eq!(asked.opened.iter().map(|review| review.grant).collect::<Vec<_>>(), [grant.id]);
}
