//! A tier that is only observed: what no path allows is let through for a while, and what is forbidden never is.

use access::reason::Reason;
use access::request::Asked;
use access::time::Span;
use access::verdict::Answer;
use tidegate_policy::Bundle;

use crate::company::*;

/// The example with `prod` observed for November.
fn observing() -> Bundle {
    with("tiers.toml", "break_glass = true\n", "break_glass = true\nobserve = { from = \"2026-11-01\", until = \"2026-12-01\" }\n")
}

// covers: RUN-8
#[test]
fn what_no_path_allows_is_let_through_until_the_day() {
    let (usual, observed) = (example(), observing());
    // Eve has no path to the database machine, and Ana needs somebody to agree.
    for name in ["eve", "ana"] {
        let before = usual.decide(&who(&usual, name), &ask("db-1+shell"));
        assert!(!matches!(before.answer(), Answer::Permit { .. }), "{name}: {before:?}");
        let someone = who(&observed, name);
        let verdict = observed.decide(&someone, &ask("db-1+shell"));
        let Answer::Permit { terms } = verdict.answer() else { panic!("{name}: {verdict:?}") };
        assert_eq!((terms.observed_until, terms.approvals.len()), (Some(at("2026-12-01T00:00:00Z")), 0));
        assert_eq!(verdict.policies(), ["tier:prod"]);
        assert!(observed.leads_to(&someone, &"db-1".parse().unwrap()));
        let said = observed.explain(&someone, &ask("db-1+shell")).to_string();
        assert!(said.contains("`prod` is only observed until 2026-12-01T00:00:00Z") && said.contains("counted as standing"), "{said}");
    }
    // The moment it is over it blocks as usual, and before it begins too.
    for moment in ["2026-12-01T00:00:00Z", "2026-10-31T23:59:59Z"] {
        let eve = tidegate_policy::Situation { now: at(moment), ..who(&observed, "eve") };
        let verdict = observed.decide(&eve, &ask("db-1+shell"));
        assert!(matches!(verdict.answer(), Answer::Deny { reason: Reason::NoPath, .. }), "{moment}: {verdict:?}");
    }
    // Other tiers are not observed.
    let eve = who(&observed, "eve");
    assert!(matches!(observed.decide(&eve, &ask("ledger-1+debug")).answer(), Answer::Deny { .. }));
}

// covers: RUN-8
#[test]
fn the_floor_holds_and_what_is_forbidden_stays_shut() {
    let observed = observing();
    let eve = who(&observed, "eve");
    let answer = |bundle: &Bundle, ask: &tidegate_policy::Ask| bundle.decide(&eve, ask).answer().clone();
    assert!(matches!(answer(&observed, &ask("db-1+shell")), Answer::Permit { .. }));
    // Longer than the tier allows, without an end, without a reason, as an emergency: as ever.
    let mut long = ask("db-1+shell");
    long.asked = Asked::For(Span::hours(5));
    assert!(!matches!(answer(&observed, &long), Answer::Permit { .. }));
    let mut standing = ask("db-1+shell");
    standing.asked = Asked::Standing;
    assert!(!matches!(answer(&observed, &standing), Answer::Permit { .. }));
    let mut silent = ask("db-1+shell");
    silent.reason_given = false;
    assert!(matches!(answer(&observed, &silent), Answer::Deny { reason: Reason::ReasonRequired, .. }));
    let mut emergency = ask("db-1+shell");
    emergency.break_glass = true;
    assert!(matches!(answer(&observed, &emergency), Answer::Deny { .. }));
    // A policy that forbids, though no path leads her there.
    let mut files = observed.files().clone();
    files.insert(
        "no.cedar".into(),
        b"@id(\"not-eve\")\nforbid(principal == Tide::User::\"eve\", action == Tide::Action::\"request\", resource);\n".to_vec(),
    );
    let shut = Bundle::from_files(files).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(matches!(answer(&shut, &ask("db-1+shell")), Answer::Deny { .. }));
    assert!(!shut.leads_to(&eve, &"db-1".parse().unwrap()));
    // The second factor of the tier is asked for.
    let mut files = observed.files().clone();
    let tiers = String::from_utf8(files["tiers.toml"].clone()).unwrap();
    files.insert("tiers.toml".into(), tiers.replacen("break_glass = true\n", "break_glass = true\nmfa = \"verified\"\n", 1).into_bytes());
    let strict = Bundle::from_files(files).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(matches!(answer(&strict, &ask("db-1+shell")), Answer::StepUp { .. }), "{:?}", answer(&strict, &ask("db-1+shell")));
}

// covers: RUN-8
#[test]
fn a_tier_is_not_observed_without_a_day_or_for_too_long() {
    let load = |observe: &str| {
        let mut files = files();
        let tiers = String::from_utf8(files["tiers.toml"].clone()).unwrap();
        files.insert(
            "tiers.toml".into(),
            tiers.replacen("break_glass = true\n", &format!("break_glass = true\n{observe}\n"), 1).into_bytes(),
        );
        Bundle::from_files(files).map(drop).map_err(|problems| problems.to_string())
    };
    load("observe = { from = 2026-11-01, until = 2026-12-31 }").unwrap();
    for (wrong, says) in [
        ("observe = { from = \"2026-11-01\" }", "`observe.until` is missing"),
        ("observe = { until = \"2026-11-01\" }", "`observe.from` is missing"),
        ("observe = { from = \"2026-11-01\", until = \"2027-03-01\" }", "at most 92 days"),
        ("observe = { from = \"2026-11-01\", until = \"2026-11-01\" }", "until a day after"),
        ("observe = { from = \"soon\", until = \"2026-11-01\" }", "`soon` is no day"),
        ("observe = { from = \"2026-11-01\", until = \"2026-11-02\", foo = 1 }", "foo"),
        ("observe = true", "observe"),
    ] {
        let error = load(wrong).expect_err(wrong);
        assert!(error.contains(says), "{wrong}: {error}");
    }
}
