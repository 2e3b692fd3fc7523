//! What is unusual about somebody, where policies ask: what cannot be told is closed, and a grant stands as it was asked.

use std::collections::BTreeSet;

use access::reason::Reason;
use access::risk::{Known, Risk, Signal};
use access::verdict::Answer;
use tidegate_policy::{Ask, Bundle, Situation};

use crate::company::{ask, example, plus, who};

/// A path for somebody who has none, in which each signal is asked for in its way.
fn cautious() -> Bundle {
    plus(
        "access.cedar",
        "@id(\"when-calm\") permit(principal == Tide::User::\"eve\", action == Tide::Action::\"request\", resource in Tide::Tier::\"non-prod\") when { \
         context.risk.level == \"low\" && context.risk.signals.isEmpty() && !context.risk.new_network && !context.risk.unusual_hour && \
         !context.risk.first_use && context.risk.failed_sign_ins < 5 && context.risk.resources < 10 && !context.risk.large_results };\n\
         @id(\"not-under-fire\") forbid(principal == Tide::User::\"eve\", action == Tide::Action::\"request\", resource) when { \
         context.risk.signals.contains(\"failed_sign_ins\") };",
    )
}

fn with(set: &[Signal]) -> Option<Known> {
    Some(Known::Then(Risk::with(&set.iter().copied().collect::<BTreeSet<_>>())))
}

fn answer(bundle: &Bundle, who: &Situation, ask: &Ask) -> Result<(), Reason> {
    match bundle.decide(who, ask).answer() {
        Answer::Deny { reason, .. } => Err(*reason),
        _ => Ok(()),
    }
}

// covers: MAY-9 (api), MAY-3 (api)
#[test]
fn each_signal_shuts_a_path_that_asks_for_it_and_so_does_what_cannot_be_told() {
    let (bundle, build) = (cautious(), ask("build-1+shell"));
    assert!(bundle.asks_for_risk());
    let calm = Situation { risk: with(&[]), ..who(&bundle, "eve") };
    assert_eq!(answer(&bundle, &calm, &build), Ok(()));
    for signal in Signal::ALL {
        let unusual = Situation { risk: with(&[*signal]), ..calm.clone() };
        assert!(answer(&bundle, &unusual, &build).is_err(), "{signal}");
    }
    // Nobody looked, or it cannot be told: neither is a way around what forbids.
    for risk in [None, Some(Known::Then(Risk::unknown()))] {
        let unknown = Situation { risk, ..calm.clone() };
        assert!(answer(&bundle, &unknown, &build).is_err());
        let ben = Situation { risk: unknown.risk.clone(), ..who(&bundle, "ben") };
        assert_eq!(answer(&bundle, &ben, &build), Ok(()), "who has a path that does not ask for it");
    }
}

// covers: MAY-9 (api)
#[test]
fn a_word_that_is_none_is_refused_when_it_is_loaded() {
    let wrong = "@id(\"w\") permit(principal, action == Tide::Action::\"request\", resource) when { context.risk.score > 5 };";
    let mut files = example().files().clone();
    let mut access = files["access.cedar"].clone();
    access.extend_from_slice(wrong.as_bytes());
    files.insert("access.cedar".to_owned(), access);
    let problems = Bundle::from_files(files).unwrap_err().to_string();
    assert!(problems.contains("score"), "{problems}");
    let mut files = example().files().clone();
    let tiers = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    let tiers = tiers.replacen("name = \"prod\"\n", "name = \"prod\"\nwatch = [\"rows over 5: end\"]\n", 1);
    files.insert("tiers.toml".to_owned(), tiers.into_bytes());
    let problems = Bundle::from_files(files).unwrap_err().to_string();
    assert!(problems.contains("rows over 5: end") && problems.contains("results over 10x: end"), "{problems}");
}
