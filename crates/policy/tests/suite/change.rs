//! What a change of policy does: to grants that are open, and in words.

use access::grant::{Approvers, GrantRow, GrantState};
use access::identity::Mfa;
use access::ids::{GrantId, PrincipalId, RequestId};
use access::names::GroupName;
use access::reason::Reason;
use access::time::Span;
use access::verdict::{Answer, Terms};
use tidegate_policy::diff::{Declaration, Whom, diff};
use tidegate_policy::{Ask, Bundle, Situation};

use crate::company::{ask, at, example, monday, plus, user, who, with};

/// A grant as it comes out of a question that was agreed to.
fn grant(bundle: &Bundle, who: &Situation, ask: &Ask, length: Option<Span>) -> GrantRow {
    let verdict = bundle.decide(who, ask);
    let terms: Terms = match verdict.answer() {
        Answer::Permit { terms } | Answer::NeedsApproval { terms } => terms.clone(),
        other => panic!("{other:?}"),
    };
    GrantRow {
        id: GrantId::generate(who.now),
        request: RequestId::generate(who.now),
        person: who.id,
        resource: ask.resource.clone(),
        role: ask.role.clone(),
        limits: ask.limits.clone(),
        length,
        break_glass: ask.break_glass,
        bundle: verdict.bundle().to_owned(),
        policy: verdict.policies()[0].clone(),
        approvers: Approvers::default(),
        frozen: bundle.freeze(who, ask),
        state: GrantState::Active,
        created_at: who.now,
        activate_by: terms.activate_within.after(who.now),
        starts_at: Some(who.now),
        ends_at: length.map(|l| l.after(who.now)),
        ended_at: None,
        end: None,
        version: 1,
        terms,
    }
}

fn withdrawn(bundle: &Bundle, who: &Situation, grant: &GrantRow) -> String {
    let refusal = bundle.redecide(who, grant).unwrap_err();
    assert_eq!((refusal.reason, refusal.request), (Reason::GrantWithdrawn, Some(grant.request)));
    refusal.detail.unwrap()
}

// covers: MAY-8
#[test]
fn a_grant_stands_while_a_paid_path_is_left() {
    let bundle = example();
    let ana = who(&bundle, "ana");
    let grant = grant(&bundle, &ana, &ask("web-1+shell"), Some(Span::hours(2)));
    let later = Situation { now: at("2026-11-23T10:30:00Z"), ..ana };
    bundle.redecide(&later, &grant).unwrap();

    // A further path changes nothing; a shorter idle time neither.
    bundle_stays(
        &plus("access.cedar", "@id(\"x\") @approval(\"security\") permit(principal, action == Tide::Action::\"request\", resource);"),
        &later,
        &grant,
    );
    bundle_stays(&with("tiers.toml", "idle = \"15m\"", "idle = \"5m\""), &later, &grant);
    // Another path that is already paid for carries it.
    let moved = with("access.cedar", "@id(\"team-on-its-own\")", "@id(\"teams\")");
    bundle_stays(&moved, &later, &grant);

    let left = with("people.toml", "members = [\"ana\", \"ben\"]", "members = [\"ben\"]");
    assert_eq!(
        withdrawn(&left, &later, &grant),
        "no path leads `ana` to `shell` on `web-1`: the conditions of `emergency`, `team-on-its-own` are not met"
    );
    let gone = with("resources.toml", "name = \"web-1\"", "name = \"web-2\"");
    assert_eq!(withdrawn(&gone, &later, &grant), "`web-1`; did you mean `web-2`?");
    let shorter = with("tiers.toml", "max = \"4h\"", "max = \"1h\"");
    assert_eq!(withdrawn(&shorter, &later, &grant), "at most 1h, and 2h was asked for");
    let dearer = with("tiers.toml", "approvals = [\"on-call-or-lead\"]", "approvals = [\"on-call-or-lead\", \"security\"]");
    assert_eq!(withdrawn(&dearer, &later, &grant), "`team-on-its-own` needs the agreement of `on-call-or-lead`, `security`");
    let narrower = with("approvals.toml", "seats = [\"on-call:payments\", \"on-call:platform\", \"leads\"]", "seats = [\"leads\"]");
    assert!(withdrawn(&narrower, &later, &grant).contains("needs the agreement"));
    let closer = with("tiers.toml", "record = \"content\"\nidle = \"15m\"", "record = \"results\"\nidle = \"15m\"");
    assert!(withdrawn(&closer, &later, &grant).contains("has to be recorded more closely"));
    let shut =
        plus("access.cedar", "@id(\"shut\") @reason(\"incident\") forbid(principal, action, resource in Tide::Resource::\"web-1\");");
    assert_eq!(withdrawn(&shut, &later, &grant), "`shut`: incident");
}

fn bundle_stays(bundle: &Bundle, who: &Situation, grant: &GrantRow) {
    bundle.redecide(who, grant).unwrap_or_else(|refusal| panic!("{refusal}"));
}

// covers: MAY-8
#[test]
fn what_was_frozen_is_not_asked_again() {
    let bundle = with("windows.toml", "days = [\"sat\"]", "days = [\"sat\", \"mon\"]");
    let begun = at("2026-11-23T20:00:00Z");
    let dan = Situation { mfa: Mfa::Verified, mfa_at: begun, ..bundle.imagine(&user("dan"), begun).unwrap() };
    let held = grant(&bundle, &dan, &ask("web-1+admin"), Some(Span::hours(4)));
    // Four hours later the window is shut and the proof is old; the grant runs on.
    let later = Situation { mfa: Mfa::None, now: at("2026-11-24T01:30:00Z"), ..dan.clone() };
    bundle_stays(&bundle, &later, &held);
    let stronger = with("access.cedar", "@mfa(\"verified, 15m\")", "@mfa(\"verified, 15m\") @ticket(\"named\")");
    let mut always = stronger.files().clone();
    always.insert("windows.toml".into(), bundle.files()["windows.toml"].clone());
    assert!(withdrawn(&Bundle::from_files(always).unwrap(), &later, &held).contains("needs a ticket"));

    // On-call duty counts as it was, too.
    let bundle = example();
    let christmas = at("2028-12-25T03:00:00Z");
    let ana = bundle.imagine(&user("ana"), christmas).unwrap();
    let emergency = Ask { break_glass: true, ..ask("web-1+shell") };
    let held = grant(&bundle, &ana, &emergency, Some(Span::hours(1)));
    assert_eq!(held.frozen.on_call, ["payments".parse::<GroupName>().unwrap()]);
    let no_shift = with("people.toml", "person = \"ana\"", "person = \"ben\"");
    bundle_stays(&no_shift, &Situation { now: at("2028-12-25T03:30:00Z"), ..ana.clone() }, &held);
    // But a contract ends by today's clock.
    let contract = plus("people.toml", "\n[[contractor]]\nname = \"ana\"\nuntil = 2028-12-25T03:10:00Z\nresources = [\"web-1\"]\n");
    bundle_stays(&contract, &Situation { now: at("2028-12-25T03:05:00Z"), ..ana.clone() }, &held);
    assert!(withdrawn(&contract, &Situation { now: at("2028-12-25T03:10:00Z"), ..ana }, &held).contains("the contract of `ana` ended"));
}

// covers: GRANT-8, MAY-8
#[test]
fn standing_access_ends_when_policy_no_longer_says_so() {
    let bundle = example();
    let bot = Situation { owner: Some(user("dan")), ..who(&bundle, "deploy-bot") };
    let standing = Ask { asked: access::request::Asked::Standing, ..ask("build-1+deploy") };
    let held = grant(&bundle, &bot, &standing, None);
    bundle_stays(&bundle, &bot, &held);
    let named = with("access.cedar", "@standing\n", "");
    assert!(withdrawn(&named, &bot, &held).contains("cannot be held without an end"));
    let floor = with("tiers.toml", "standing = true\n", "");
    assert!(withdrawn(&floor, &bot, &held).contains("cannot be held without an end"));
}

// covers: MAY-5
#[test]
fn a_diff_says_in_words_who_gains_and_who_loses() {
    let old = example();
    let mut files = old.files().clone();
    let mut edit = |file: &str, from: &str, to: &str| {
        let text = String::from_utf8(files[file].clone()).unwrap();
        assert!(text.contains(from), "{from}");
        files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
    };
    edit("people.toml", "members = [\"eve\"]", "members = [\"eve\", \"ana\"]");
    edit("people.toml", "name = \"security\"\nmembers = [\"carla\"]", "name = \"security\"\nmembers = []");
    edit("access.cedar", "@max_duration(\"30m\")\n@ticket(\"named\")", "@max_duration(\"1h\")");
    edit("access.cedar", "@max_duration(\"8h\")", "@max_duration(\"4h\")");
    edit("roles.toml", "sftp = \"read\"", "sftp = \"write\"");
    let new = Bundle::from_files(files).unwrap();
    let found = diff(&old, &new, &[], monday());
    insta::assert_snapshot!("diff", found.to_string());

    assert_eq!(diff(&old, &example(), &[], monday()).to_string(), "nobody gains or loses anything");
    let declared = |texts: &[&str]| texts.iter().map(|t| t.parse::<Declaration>().unwrap()).collect::<Vec<_>>();
    assert!(!found.undeclared_grants(&[]).is_empty());
    let most = declared(&["ana *", "deploy-bot *", "* inside:*"]);
    assert!(found.undeclared_grants(&most).is_empty(), "{:?}", found.undeclared_grants(&most));
    let few = declared(&["deploy-bot web-1+deploy", "* inside:*", "ana *"]);
    assert_eq!(found.undeclared_grants(&few).iter().map(|c| c.what.as_str()).collect::<Vec<_>>(), ["db-1+deploy"]);
    assert!("ana".parse::<Declaration>().is_err());
}

// covers: MAY-5
#[test]
fn a_diff_sees_paths_that_only_open_in_a_window() {
    let old = example();
    let new = with("access.cedar", "@window(\"maintenance\")\n", "");
    let found = diff(&old, &new, &[user("dan").into()], monday());
    let gained: Vec<&str> = found.changes.iter().filter(|c| c.grants()).map(|c| c.what.as_str()).collect();
    assert_eq!(gained, ["db-1+admin", "web-1+admin"]);
    let back = diff(&new, &old, &[user("dan").into()], monday());
    assert!(back.changes.iter().all(|c| !c.grants()) && back.changes.len() == 2, "{back}");
    let later = with("access.cedar", "@approval(\"security\")\n@mfa", "@mfa");
    let found = diff(&old, &later, &[user("dan").into()], monday());
    assert!(found.to_string().contains("(from 2026-11-28 20:00)"), "{found}");
    assert!(found.changes.iter().all(tidegate_policy::diff::Change::grants));
}

// covers: MAY-2
#[test]
fn an_explanation_reads_from_question_to_answer() {
    let bundle = example();
    let open = bundle.explain(&who(&bundle, "ana"), &ask("web-1+shell"));
    let shut = bundle.explain(&who(&bundle, "dan"), &ask("web-1+admin"));
    insta::assert_snapshot!("explained", format!("{open}\n----\n{shut}"));
    assert!(matches!(who(&bundle, "deploy-bot").id, PrincipalId::Workload(_)));
}

// covers: MAY-5
#[test]
fn a_diff_sees_groups_that_only_the_store_knows() {
    let old = example();
    let new = with("access.cedar", "principal in Tide::Group::\"engineers\"", "principal in Tide::Group::\"auditors\"");
    let gil = |groups: &[&str]| Whom { groups: groups.iter().map(|g| g.parse().unwrap()).collect(), ..Whom::from(user("gil")) };
    assert!(diff(&old, &new, &[gil(&[])], monday()).changes.is_empty());
    let found = diff(&old, &new, &[gil(&["auditors"])], monday());
    assert!(!found.changes.is_empty() && found.changes.iter().all(|c| c.grants() && c.who == Some(user("gil"))), "{found}");
    let back = diff(&old, &new, &[gil(&["engineers"])], monday());
    assert!(!back.changes.is_empty() && back.changes.iter().all(|c| !c.grants()), "{back}");
}

// covers: MAY-5
#[test]
fn what_a_diff_cannot_go_through_has_to_be_declared_too() {
    let some = ["ana", "eve"].map(|name| Whom::from(user(name)));
    let path = |when: &str| {
        let scope = "permit(principal is Tide::User, action == Tide::Action::\"request\", resource in Tide::Tier::\"prod\")";
        plus("access.cedar", &format!("\n@id(\"x\") @approval(\"security\") {scope} when {{ {when} }};\n"))
    };
    let gains = |old: &Bundle, new: &Bundle| {
        let found = diff(old, new, &some, monday());
        found.changes.iter().filter(|change| change.grants()).map(|change| format!("{} {}", change.whom(), change.what)).collect::<Vec<_>>()
    };
    for (when, read) in [
        ("context has network", "`network`"),
        ("context.hour < 6", "`hour`"),
        ("context.read_only", "`read_only`"),
        ("context has command", "`command`"),
        ("context.risk.level == \"high\"", "`risk`"),
        ("context.seconds < 600", "`seconds`"),
        ("context.mfa.kind == \"key_with_touch\"", "`mfa`"),
        ("context.hour < 6 && context has network", "`hour`, `network`"),
    ] {
        let with = path(when);
        let found = diff(&example(), &with, &some, monday());
        let line = found.changes.iter().find(|change| change.who.is_none()).unwrap_or_else(|| panic!("{when}: {found}"));
        assert!(
            line.grants() && line.what == "policy:x" && line.says.contains(&format!("depending on {read}, which")),
            "{when}: {}",
            line.says
        );
        assert!(!found.undeclared_grants(&["* web-1+*".parse().unwrap()]).is_empty(), "{when}");
        assert!(found.to_string().contains("+ the policy `x` is new and permits"), "{found}");
        // Taken away again it gives nobody anything, and it is said.
        assert_eq!(gains(&with, &example()), Vec::<String>::new(), "{when}");
        assert!(diff(&with, &example(), &some, monday()).to_string().contains("permits no longer"));
    }
    // What a window opens, and what is asked for without an end, is gone through.
    let found = diff(&example(), &path("context.windows.contains(\"maintenance\") && !context.standing"), &some, monday());
    assert!(!found.changes.is_empty() && found.changes.iter().all(|change| change.who.is_some()), "{found}");

    // A `forbid` is the other way round.
    let night = "\n@id(\"nights\") forbid(principal, action == Tide::Action::\"request\", resource) when { context.hour == 3 };\n";
    assert_eq!(gains(&plus("access.cedar", night), &example()), ["* policy:nights"]);
    assert_eq!(gains(&example(), &plus("access.cedar", night)), Vec::<String>::new());
    let less = plus("access.cedar", &night.replace("== 3", "== 4"));
    assert_eq!(gains(&plus("access.cedar", night), &less), ["* policy:nights"]);
    let other = plus("access.cedar", &night.replace("context.hour == 3", "resource.tags.contains(\"nothing\")"));
    assert_eq!(gains(&plus("access.cedar", night), &other), ["* policy:nights"], "it says nothing of the hour any more");
    let declared = diff(&plus("access.cedar", night), &less, &some, monday());
    assert!(declared.undeclared_grants(&["* policy:nights".parse().unwrap()]).is_empty());

    // Another name or place is no change.
    let moved = plus("oversight.cedar", &night.replace("nights", "by-night"));
    assert_eq!(diff(&plus("access.cedar", night), &moved, &some, monday()).to_string(), "nobody gains or loses anything");

    // Whoever comes to those it is for gains by it, without a line of it having changed.
    let scoped = "\n@id(\"x\") permit(principal in Tide::Group::\"auditors\", action == Tide::Action::\"request\", resource in Tide::Tier::\"prod\") \
                  when { context has network };\n";
    let before = plus("access.cedar", scoped);
    let mut files = before.files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    let name = people.find("name = \"auditors\"").unwrap();
    let members = name + people[name..].find("members = [").unwrap() + "members = [".len();
    let more = format!("{}\"ana\", {}", &people[..members], &people[members..]);
    files.insert("people.toml".into(), more.into_bytes());
    let after = Bundle::from_files(files).unwrap();
    assert!(gains(&before, &after).contains(&"ana policy:x".to_owned()), "{:?}", gains(&before, &after));
    assert!(!gains(&after, &before).contains(&"ana policy:x".to_owned()));
}

// covers: MAY-5
#[test]
fn a_tier_that_looks_less_closely_has_to_be_declared() {
    let watched = example();
    let watch = "watch = [\"results over 10x: alert\", \"results over 2GiB: end\", \"steps over 0: alert\", \"network: alert\"]\n";
    let eases = |old: &Bundle, new: &Bundle| !diff(old, new, &[], monday()).undeclared_grants(&[]).is_empty();
    for less in ["", "watch = [\"results over 10x: alert\", \"results over 3GiB: end\", \"steps over 0: alert\", \"network: alert\"]\n"] {
        let new = with("tiers.toml", watch, less);
        assert!(eases(&watched, &new), "{less}");
        assert!(!eases(&new, &watched), "{less}");
    }
    let closer = with("tiers.toml", "results over 2GiB: end", "results over 1GiB: end");
    assert!(!eases(&watched, &closer) && eases(&closer, &watched));
    let sampled = |sample: &str| with("tiers.toml", "break_glass = true\n", &format!("break_glass = true\n{sample}\n"));
    let half = sampled("sample = \"50%, security, 7d\"");
    for less in ["", "sample = \"40%, security, 7d\"", "sample = \"50%, security, 8d\"", "sample = \"50%, leads, 7d\""] {
        assert!(eases(&half, &sampled(less)), "{less}");
    }
    assert!(!eases(&sampled(""), &half) && !eases(&half, &sampled("sample = \"60%, security, 6d\"")));
    assert!(eases(&watched, &sampled("production = false")) && !eases(&sampled("production = false"), &watched));
}
