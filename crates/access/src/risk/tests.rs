use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

/// Ana at work: a session on `db-1` from the office at ten each morning of twenty-five days.
fn office() -> History {
    let mornings = (0..25).map(|day| at("2026-10-20T09:00:00Z") + jiff::SignedDuration::from_hours(24 * day));
    let acts = mornings.map(|at| Act { at, from: Some("203.0.113.7".parse().unwrap()), resource: name("db-1"), session: true }).collect();
    History { acts, results: Vec::new(), failed: Some(0) }
}

fn look(history: &History, from: &str, now: &str, resource: &str) -> Assessment {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    Facts::of(history, Some(from.parse().unwrap()), at(now), &zone).on(&name(resource))
}

// covers: MAY-9 (api)
#[test]
fn who_comes_as_always_is_nothing_unusual() {
    let found = look(&office(), "203.0.113.9", "2026-11-20T09:20:00Z", "db-1");
    assert_eq!((found.risk.level, found.says.len()), (Level::Low, 0), "{found:?}");
    assert_eq!(found.risk.signs.iter().map(|sign| sign.signal).collect::<Vec<_>>(), Signal::ALL);
}

// covers: MAY-9 (api)
#[test]
fn each_signal_is_set_by_what_it_means_and_says_the_numbers() {
    let only = |found: &Assessment| found.risk.set().collect::<Vec<_>>();
    let usual = office();

    let found = look(&usual, "198.51.100.4", "2026-11-20T09:20:00Z", "db-1");
    assert_eq!(only(&found), [Signal::NewNetwork]);
    assert_eq!(
        found.says,
        ["No session of theirs from 198.51.100.0/24 in 90 days, the last 24 hours aside; usual are 203.0.113.0/24 (25 times)."]
    );

    let found = look(&usual, "203.0.113.9", "2026-11-20T02:20:00Z", "db-1");
    assert_eq!(only(&found), [Signal::UnusualHour]);
    assert_eq!(found.says, ["It is past 03:00 there; 0 of 25 sessions began within an hour of that time of day."]);

    let found = look(&usual, "203.0.113.9", "2026-11-20T09:20:00Z", "db-2");
    assert_eq!((only(&found), found.says), (vec![Signal::FirstUse], vec!["No session of theirs on db-2 in 90 days.".to_owned()]));

    let shut = History { failed: Some(5), ..usual.clone() };
    let found = look(&shut, "203.0.113.9", "2026-11-20T09:20:00Z", "db-1");
    assert_eq!(only(&found), [Signal::FailedSignIns]);
    assert_eq!(found.says, ["5 sign-ins from 203.0.113.9 were refused within an hour; 5 are many."]);
    let fewer = History { failed: Some(4), ..usual.clone() };
    assert!(only(&look(&fewer, "203.0.113.9", "2026-11-20T09:20:00Z", "db-1")).is_empty());

    let mut busy = usual.clone();
    busy.acts.extend((0..9).map(|n| Act {
        at: at("2026-11-20T09:00:00Z"),
        from: Some("203.0.113.7".parse().unwrap()),
        resource: name(&format!("web-{n}")),
        session: false,
    }));
    let found = look(&busy, "203.0.113.9", "2026-11-20T09:20:00Z", "db-1");
    assert_eq!(only(&found), [Signal::ManyResources]);
    assert_eq!(found.says, ["10 resources within an hour, this one among them; 10 are many."]);
    assert!(only(&look(&busy, "203.0.113.9", "2026-11-20T10:00:01Z", "db-1")).is_empty(), "an hour later it is one again");

    let took = Taken { resource: name("db-1"), bytes: 900 << 20, usual: Some(12 << 20) };
    let large = History { results: vec![took.clone()], ..usual.clone() };
    let found = look(&large, "203.0.113.9", "2026-11-20T09:20:00Z", "db-1");
    assert_eq!(only(&found), [Signal::LargeResults]);
    assert_eq!(found.says, ["A session on db-1 took 900 MiB within the last day; usual are 12 MiB."]);
    let as_ever = History { results: vec![Taken { usual: Some(100 << 20), ..took }], ..usual };
    assert!(only(&look(&as_ever, "203.0.113.9", "2026-11-20T09:20:00Z", "db-1")).is_empty());
}

// covers: MAY-9 (api)
#[test]
fn a_question_never_teaches_nor_does_a_session_of_the_last_day() {
    let (there, now) = ("198.51.100.4", "2026-11-20T02:20:00Z");
    let with = |at: &str, session: bool| {
        let mut history = office();
        let act = Act { at: at.parse().unwrap(), from: Some(there.parse().unwrap()), resource: name("db-1"), session };
        history.acts.extend(vec![act; 40]);
        let risk = look(&history, there, now, "db-1").risk;
        [Signal::NewNetwork, Signal::UnusualHour].map(|signal| risk.is_set(signal))
    };
    assert_eq!(with("2026-11-19T02:19:59Z", true), [false, false], "opened more than a day ago");
    assert_eq!(with("2026-11-19T02:20:00Z", true), [true, true], "not more than a day ago");
    assert_eq!(with("2026-11-20T02:00:00Z", true), [true, true], "just now");
    assert_eq!(with("2026-11-10T02:20:00Z", false), [true, true], "asked, and never opened");
    assert_eq!(with("2026-08-20T02:20:00Z", true), [true, true], "too long ago");
}

// covers: MAY-9 (api)
#[test]
fn what_cannot_be_told_counts_as_set() {
    let zone = TimeZone::UTC;
    let nobody = Facts::of(&History::default(), None, at("2026-11-20T09:00:00Z"), &zone).on(&name("db-1"));
    assert_eq!(nobody.risk.level, Level::High);
    for signal in [Signal::NewNetwork, Signal::UnusualHour, Signal::FailedSignIns] {
        assert_eq!((nobody.risk.sign(signal).found, nobody.risk.is_set(signal)), (Finding::Unknown, true), "{signal}");
    }
    assert_eq!(nobody.risk.counts(Signal::FailedSignIns), u64::MAX);

    let took = Taken { resource: name("db-1"), bytes: NEVER_LARGE + 1, usual: None };
    let unheard_of = look(&History { results: vec![took], ..office() }, "203.0.113.9", "2026-11-20T09:20:00Z", "db-1");
    assert_eq!(unheard_of.risk.sign(Signal::LargeResults).found, Finding::Unknown);
    assert_eq!(Risk::unknown().level, Level::High);
    let elsewhere: Risk = serde_json::from_str(r#"{"level":"low","signs":[]}"#).unwrap();
    assert!(elsewhere.is_set(Signal::FirstUse), "a signal that another release did not know");
}

#[test]
fn what_is_too_old_or_later_than_now_is_not_learnt_from() {
    let found = look(&office(), "203.0.113.9", "2027-03-01T09:20:00Z", "db-1");
    assert!(found.risk.is_set(Signal::NewNetwork) && found.risk.is_set(Signal::FirstUse), "{found:?}");
    let before = look(&office(), "203.0.113.9", "2026-10-19T09:20:00Z", "db-1");
    assert!(before.risk.is_set(Signal::NewNetwork), "a later look at an earlier moment sees what was known then");
}

#[test]
fn the_usual_is_a_median_of_enough() {
    assert_eq!(usual(vec![1, 2, 3, 4], 5), None);
    assert_eq!(usual(vec![9, 1, 5, 3, 1_000_000], 5), Some(5));
    assert_eq!(large_from(Some(1), 10), NEVER_LARGE);
    assert_eq!(large_from(Some(10 << 20), 10), 100 << 20);
    assert_eq!([bytes(17), bytes(1536), bytes(64 << 20), bytes(3 << 40)], ["17 bytes", "1.5 KiB", "64 MiB", "3 TiB"]);
}
