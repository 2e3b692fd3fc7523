//! Answers and the questions they are taken for.

use super::*;

fn execute(ledger: &mut Ledger, at: Instant) {
    let number = ledger.number();
    ledger.execute(Running::new(number, at));
}

fn parse(ledger: &mut Ledger) {
    let text = Recorded::of(b"select", None);
    let (hidden, naming, masked) = (crate::postgres::judge::HiddenValues::None, Naming::None, Arc::default());
    ledger.parse(b"", Prepared { text, hidden, naming, recorded: None, masked }, 6);
}

fn bind(ledger: &mut Ledger) {
    let values = statement::list_without(&[], &crate::postgres::judge::HiddenValues::None);
    let (text, number) = (Recorded::of(b"select", None), ledger.number());
    let portal = Portal { text, values, naming: Naming::None, number, has_run: false, first: number, masked: Arc::default() };
    ledger.bind(b"", portal);
}

fn ready(ledger: &mut Ledger, at: Instant) {
    ledger.ready(Status::Idle, at).unwrap();
}

fn numbers(ledger: &mut Ledger) -> Vec<(u64, String)> {
    ledger
        .due
        .drain(..)
        .map(|said| serde_json::from_str::<serde_json::Value>(&said).unwrap())
        .map(|v| (v["n"].as_u64().unwrap(), v["tag"].as_str().or(v["sqlstate"].as_str()).unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn what_is_sent_between_an_error_and_its_sync_is_answered_by_nothing() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    parse(&mut ledger);
    ledger.failed(Some(b"42601"), at).unwrap();
    // The server reads none of this: neither a `Query` nor what comes behind it.
    let number = ledger.number();
    ledger.query(Running::new(number, at));
    bind(&mut ledger);
    ledger.push(Asked::OwnDescribe(Arc::default()));
    execute(&mut ledger, at);
    assert!(ledger.is_quiet());
    ledger.push(Asked::Sync);
    ready(&mut ledger, at);
    assert!(ledger.is_quiet());
    // Afterwards every answer meets its own question again.
    ledger.push(Asked::OwnDescribe(Arc::default()));
    execute(&mut ledger, at);
    ledger.push(Asked::Sync);
    assert!(ledger.describes_for_the_gate().is_some() && ledger.runs().is_some());
}

#[test]
fn answers_find_their_questions_in_a_pipeline_with_an_error() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    for _ in 0..3 {
        parse(&mut ledger);
        bind(&mut ledger);
        execute(&mut ledger, at);
    }
    ledger.push(Asked::Sync);
    execute(&mut ledger, at);
    ledger.push(Asked::Sync);
    for answer in [b'1', b'2'] {
        ledger.small(answer);
    }
    assert_eq!(ledger.row(10, true), 1);
    ledger.complete(Some(b"SELECT 1"), false, at);
    for answer in [b'1', b'2'] {
        ledger.small(answer);
    }
    assert_eq!(ledger.failed(Some(b"23505"), at), Ok(Failing::Genuine));
    ready(&mut ledger, at);
    ledger.complete(Some(b"SELECT 4"), false, at);
    ready(&mut ledger, at);
    assert!(ledger.is_quiet());
    assert_eq!(numbers(&mut ledger), [(2, "SELECT 1".into()), (4, "23505".into()), (7, "SELECT 4".into())]);
}

#[test]
fn a_batch_of_statements_is_one_question_with_several_answers() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    let number = ledger.number();
    ledger.query(Running::new(number, at));
    ledger.complete(Some(b"INSERT 0 1"), false, at);
    ledger.failed(Some(b"42601"), at).unwrap();
    assert!(!ledger.is_quiet());
    ready(&mut ledger, at);
    assert!(ledger.is_quiet());
    assert_eq!(numbers(&mut ledger), [(1, "INSERT 0 1".into()), (1, "42601".into())]);
}

#[test]
fn a_sync_sent_into_a_copy_is_not_waited_for() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    execute(&mut ledger, at);
    ledger.push(Asked::Sync);
    ledger.copies("copy_in");
    ledger.copied_in(100);
    ledger.push(Asked::CopyEnd);
    ledger.push(Asked::Sync);
    ledger.complete(Some(b"COPY 5"), false, at);
    ready(&mut ledger, at);
    assert!(ledger.is_quiet());
}

// covers: D10 (psql)
#[test]
fn what_was_refused_is_answered_in_its_place() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    ledger.refuse(b"no".to_vec(), false);
    bind(&mut ledger);
    execute(&mut ledger, at);
    ledger.push(Asked::Sync);
    ledger.refuse(b"no again".to_vec(), true);
    assert_eq!(ledger.failed(Some(b"42601"), at), Ok(Failing::Provoked(b"no".to_vec())));
    ready(&mut ledger, at);
    assert_eq!(ledger.failed(Some(b"42601"), at), Ok(Failing::Provoked(b"no again".to_vec())));
    ready(&mut ledger, at);
    assert!(ledger.is_quiet() && ledger.due.is_empty());
}

#[test]
fn a_sync_that_a_failed_copy_may_have_swallowed_moves_no_answer() {
    for swallowed in [true, false] {
        let (mut ledger, at) = (Ledger::default(), Instant::now());
        execute(&mut ledger, at);
        ledger.push(Asked::Sync);
        ledger.copies("copy_in");
        ledger.failed(Some(b"22P02"), at).unwrap();
        // What it still copies says nothing about what was swallowed.
        ledger.copied_in(100);
        if !swallowed {
            ready(&mut ledger, at);
        }
        ledger.push(Asked::CopyEnd);
        ledger.push(Asked::Sync);
        ready(&mut ledger, at);
        assert!(ledger.is_quiet(), "{swallowed}");
        parse(&mut ledger);
        bind(&mut ledger);
        execute(&mut ledger, at);
        ledger.push(Asked::Sync);
        ledger.small(b'1');
        ledger.small(b'2');
        assert_eq!(ledger.row(10, true), 1);
        ledger.complete(Some(b"SELECT 1"), false, at);
        ready(&mut ledger, at);
        assert_eq!(numbers(&mut ledger).len(), 2);
    }
}

fn copying(ledger: &mut Ledger, at: Instant, sent_into_it: &[fn(&mut Ledger)]) {
    execute(ledger, at);
    ledger.push(Asked::Sync);
    ledger.copies("copy_in");
    sent_into_it.iter().for_each(|send| send(ledger));
}

// covers: D10 (postgres), PG-2 (postgres)
#[test]
fn nothing_is_taken_for_read_behind_a_failed_copy_until_the_server_is_ready() {
    let at = Instant::now();
    let sync: fn(&mut Ledger) = |ledger| ledger.push(Asked::Sync);
    let ends: fn(&mut Ledger) = |ledger| ledger.push(Asked::CopyEnd);
    let asks: fn(&mut Ledger) = parse;
    let failed = |sent: &[fn(&mut Ledger)]| {
        let mut ledger = Ledger::default();
        copying(&mut ledger, at, sent);
        let failed = ledger.failed(Some(b"22P02"), at);
        (failed.map(|_| ledger.is_unclear()), ledger)
    };
    // All that was sent may be swallowed, or some is certain to be answered.
    for sent in [&[][..], &[sync, sync], &[ends]] {
        assert_eq!(failed(sent).0, Ok(true), "{}", sent.len());
    }
    for sent in [&[ends, sync][..], &[sync, ends, sync, asks]] {
        assert_eq!(failed(sent).0, Ok(false), "{}", sent.len());
    }
    // It becomes clear with the next `Sync`, or when the server is ready.
    for clears in [sync, |ledger: &mut Ledger| ledger.ready(Status::Idle, Instant::now()).unwrap()] {
        let (_, mut ledger) = failed(&[]);
        ends(&mut ledger);
        assert!(ledger.is_unclear());
        clears(&mut ledger);
        assert!(!ledger.is_unclear());
    }
    // What stands where the server may read on or skip is read or not: nobody can tell.
    for sent in [&[asks][..], &[sync, asks, sync], &[ends, asks, sync]] {
        assert_eq!(failed(sent).0, Err(OutOfStep));
    }
}

#[test]
fn a_copy_that_fails_at_once_is_answered_as_often_as_it_was_asked() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    copying(&mut ledger, at, &[|ledger| ledger.push(Asked::CopyEnd), |ledger| ledger.push(Asked::Sync), parse]);
    ledger.push(Asked::Sync);
    assert_eq!(ledger.failed(Some(b"42809"), at), Ok(Failing::Genuine));
    ready(&mut ledger, at);
    ready(&mut ledger, at);
    assert!(!ledger.is_quiet() && ledger.is_unsure(Kind::Statement, b""));
    ledger.small(b'1');
    assert!(!ledger.is_unsure(Kind::Statement, b""));
    ready(&mut ledger, at);
    assert!(ledger.is_quiet());
    assert_eq!(ledger.ready(Status::Idle, at), Err(OutOfStep));
}

#[test]
fn however_many_syncs_stand_behind_a_failed_copy_each_answer_leaves_those_that_may_have_none() {
    let at = Instant::now();
    // Sent before it failed and after, and after the first answer; so many of them the server answers.
    for (before, after, later, answers) in [(1, 1, 1, 2), (1, 1, 1, 3), (2, 0, 1, 2), (2, 2, 0, 2), (2, 2, 2, 4), (2, 2, 2, 6)] {
        let mut ledger = Ledger::default();
        execute(&mut ledger, at);
        (0..before).for_each(|_| ledger.push(Asked::Sync));
        ledger.copies("copy_in");
        ledger.failed(Some(b"22P02"), at).unwrap();
        (0..after).for_each(|_| ledger.push(Asked::Sync));
        ready(&mut ledger, at);
        (0..later).for_each(|_| ledger.push(Asked::Sync));
        (1..answers).for_each(|_| ready(&mut ledger, at));
        assert!(ledger.is_quiet(), "{before} {after} {later} {answers}");
        // What is asked then is answered by itself.
        parse(&mut ledger);
        ledger.push(Asked::Sync);
        ledger.small(b'1');
        assert!(!ledger.is_unsure(Kind::Statement, b""), "{before} {after} {later} {answers}");
        ready(&mut ledger, at);
        assert!(ledger.is_quiet());
        assert_eq!(ledger.ready(Status::Idle, at), Err(OutOfStep));
    }
}

#[test]
fn a_call_of_a_function_is_not_answered_by_what_answers_a_swallowed_sync() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    copying(&mut ledger, at, &[|ledger| ledger.push(Asked::CopyEnd), |ledger| ledger.push(Asked::Sync)]);
    ledger.failed(Some(b"22P02"), at).unwrap();
    // The first was swallowed.
    ready(&mut ledger, at);
    let number = ledger.number();
    ledger.push(Asked::Function(Running::new(number, at)));
    ledger.small(b'V');
    ready(&mut ledger, at);
    assert!(ledger.is_quiet());
    assert_eq!(ledger.ready(Status::Idle, at), Err(OutOfStep));
}

#[test]
fn a_server_that_is_ready_too_soon_is_out_of_step() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    assert_eq!(ledger.ready(Status::Idle, at), Err(OutOfStep));
    execute(&mut ledger, at);
    ledger.push(Asked::Sync);
    assert_eq!(ledger.ready(Status::Idle, at), Err(OutOfStep));
    ledger.complete(Some(b"SELECT 1"), false, at);
    ready(&mut ledger, at);
}

#[test]
fn what_runs_is_owed_and_what_waits_for_the_client_is_not() {
    let (mut ledger, at) = (Ledger::default(), Instant::now());
    let query = |ledger: &mut Ledger| {
        let number = ledger.number();
        ledger.query(Running::new(number, at));
    };
    assert!(!ledger.is_owed());
    query(&mut ledger);
    assert!(ledger.is_owed());
    // A copy waits for the client's rows; when they are all there, the server has the turn again.
    ledger.copies("copy_in");
    assert!(!ledger.is_owed());
    ledger.push(Asked::CopyEnd);
    assert!(ledger.is_owed());
    ledger.complete(Some(b"COPY 1"), false, at);
    ready(&mut ledger, at);
    assert!(!ledger.is_owed());
    // Without a `Sync` or a `Flush` the client waits for nothing.
    bind(&mut ledger);
    execute(&mut ledger, at);
    assert!(!ledger.is_owed());
    ledger.flushes();
    assert!(ledger.is_owed());
    ledger.push(Asked::Describe);
    assert!(!ledger.is_owed());
    ledger.push(Asked::Sync);
    assert!(ledger.is_owed());
}
