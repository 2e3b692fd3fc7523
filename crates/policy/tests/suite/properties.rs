//! Properties: a forbid never opens anything, a stricter tier never makes anything cheaper, order of files means nothing.

use std::collections::BTreeMap;

use access::identity::Mfa;
use access::request::Asked;
use access::time::Span;
use access::verdict::{Answer, Terms};
use jiff::Timestamp;
use proptest::prelude::*;
use tidegate_policy::{Ask, Bundle, Situation};

use crate::company::{ask, files, user};

fn policy() -> impl Strategy<Value = String> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal is Tide::User",
        "principal == Tide::User::\"ana\"",
        "principal in Tide::Group::\"engineers\"",
        "principal in Tide::Team::\"payments\"",
        "principal in Tide::OnCall::\"platform\"",
        "principal is Tide::Workload in Tide::Group::\"pipelines\"",
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource in Tide::Tier::\"prod\"",
        "resource in Tide::Resource::\"web-1\"",
        "resource in Tide::Role::\"deploy\"",
        "resource == Tide::Access::\"build-1+shell\"",
        "resource in Tide::Environment::\"production\"",
    ]);
    let condition = prop::sample::select(vec![
        "",
        "when { context.mfa.level >= 2 }",
        "when { context.ticket }",
        "unless { context.ticket && context.mfa.age < 60 }",
        "when { context.hour < 12 }",
        "when { resource has owner && principal in resource.owner }",
        "when { context.windows.contains(\"maintenance\") }",
    ]);
    let cost = prop::sample::select(vec![
        "",
        "@max_duration(\"1h\")",
        "@approval(\"security\")",
        "@mfa(\"verified\")",
        "@standing",
        "@breakglass(\"security, 1h\")",
    ]);
    (principal, resource, condition, cost).prop_map(|(principal, resource, condition, cost)| {
        format!("{cost} permit({principal}, action == Tide::Action::\"request\", {resource}) {condition};\n")
    })
}

fn forbid() -> impl Strategy<Value = String> {
    policy().prop_map(|p| format!("forbid{}", p.split_once("permit").unwrap().1))
}

fn questions(bundle: &Bundle) -> Vec<(Situation, Ask)> {
    let mut out = Vec::new();
    for (index, name) in ["ana", "dan", "deploy-bot", "eve"].into_iter().enumerate() {
        for (turn, selector) in ["web-1+shell", "web-1+deploy", "build-1+shell", "ledger-1+deploy"].into_iter().enumerate() {
            let now: Timestamp = if (index + turn) % 2 == 0 { "2026-11-23T09:00:00Z" } else { "2026-11-21T20:00:00Z" }.parse().unwrap();
            let who = bundle.imagine(&user(name), now).unwrap();
            let strong = Situation { mfa: Mfa::Verified, ..who.clone() };
            out.push((who.clone(), ask(selector)));
            out.push((strong, Ask { ticket: Some("T-1".into()), asked: Asked::For(Span::minutes(30)), ..ask(selector) }));
            out.push((who.clone(), Ask { break_glass: true, ..ask(selector) }));
            out.push((who, Ask { asked: Asked::Standing, ..ask(selector) }));
        }
    }
    out
}

fn load(changes: &[(&str, String)], replace: &[(&str, &str, String)]) -> Bundle {
    let mut files: BTreeMap<String, Vec<u8>> = files();
    for (file, more) in changes {
        files.entry((*file).to_owned()).or_default().extend_from_slice(more.as_bytes());
    }
    for (file, from, to) in replace {
        let text = String::from_utf8(files[*file].clone()).unwrap();
        files.insert((*file).to_owned(), text.replacen(from, to, 1).into_bytes());
    }
    Bundle::from_files(files).unwrap_or_else(|problems| panic!("{problems}"))
}

/// How open an answer is: no, after a step, with people, at once.
fn openness(answer: &Answer) -> (u8, Option<&Terms>) {
    match answer {
        Answer::Deny { .. } => (0, None),
        Answer::StepUp { terms, .. } => (1, Some(terms)),
        Answer::NeedsApproval { terms } => (2, Some(terms)),
        Answer::Permit { terms } => (3, Some(terms)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    // covers: MAY-1
    #[test]
    fn a_forbid_never_opens_anything(permits in prop::collection::vec(policy(), 0..4), forbids in prop::collection::vec(forbid(), 1..3)) {
        let before = load(&[("more.cedar", permits.concat())], &[]);
        let after = load(&[("more.cedar", permits.concat()), ("closing.cedar", forbids.concat())], &[]);
        for (who, ask) in questions(&before) {
            let (was, is) = (before.decide(&who, &ask), after.decide(&who, &ask));
            let ((was_open, was_terms), (is_open, is_terms)) = (openness(was.answer()), openness(is.answer()));
            prop_assert!(is_open == 0 || was_open > 0, "{} on {}: {:?} became {:?}", who.username, ask.resource, was.answer(), is.answer());
            // The best path of fewer paths is no better: people first, then a step.
            if let (Some(was), Some(is)) = (was_terms, is_terms) {
                prop_assert!(is.people() >= was.people());
            }
        }
    }

    // covers: MAY-4
    #[test]
    fn a_stricter_tier_never_makes_anything_cheaper(permits in prop::collection::vec(policy(), 0..4), hours in 1u64..4) {
        let before = load(&[("more.cedar", permits.concat())], &[]);
        let after = load(&[("more.cedar", permits.concat())], &[
            ("tiers.toml", "max = \"4h\"", format!("max = \"{hours}h\"")),
            ("tiers.toml", "approvals = [\"on-call-or-lead\"]", "approvals = [\"on-call-or-lead\", \"security\"]".to_owned()),
        ]);
        for (who, ask) in questions(&before) {
            let (was, is) = (before.decide(&who, &ask), after.decide(&who, &ask));
            let ((was_open, was_terms), (is_open, is_terms)) = (openness(was.answer()), openness(is.answer()));
            let (Some(was), Some(is)) = (was_terms, is_terms) else {
                prop_assert!(was_open > 0 || is_open == 0);
                continue;
            };
            // By the order of paths: people, then a step, then time. Another path may win, never a better one.
            let order = |terms: &Terms, open: u8| (terms.people(), open == 1, std::cmp::Reverse(terms.max));
            prop_assert!(order(is, is_open) >= order(was, was_open), "{} {ask:?}: {was:?} became {is:?}", who.username);
            let floor = after.tier(&is.tier).unwrap();
            let named = |plan| is.approvals.iter().any(|p| p.name == plan);
            prop_assert!(is.max <= floor.max && (ask.break_glass || floor.approvals.iter().all(|p| named(p.clone()))));
        }
    }

    // covers: MAY-1
    #[test]
    fn a_further_path_never_closes_one_and_files_have_no_order(permits in prop::collection::vec(policy(), 1..5)) {
        let none = load(&[], &[]);
        let one = load(&[("more.cedar", permits.iter().enumerate().map(|(n, p)| format!("@id(\"x{n}\") {p}")).collect())], &[]);
        let many = load(&permits.iter().enumerate().map(|(n, p)| (["z.cedar", "a.cedar", "m.cedar", "b.cedar", "y.cedar"][n], format!("@id(\"x{n}\") {p}"))).collect::<Vec<_>>(), &[]);
        for (who, ask) in questions(&none) {
            let (was, is, other) = (none.decide(&who, &ask), one.decide(&who, &ask), many.decide(&who, &ask));
            prop_assert!(openness(is.answer()).0 > 0 || openness(was.answer()).0 == 0);
            prop_assert_eq!(is.answer(), other.answer());
            prop_assert_eq!(is.policies(), other.policies());
        }
    }
}
