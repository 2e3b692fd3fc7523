//! Places in the tree, the newest time, leases, and reading the log.

use std::collections::BTreeSet;

use access::event::{Actor, EntryDraft, Event};
use access::request::Door;
use tidegate_store::{Change, EntryFilter, EntryPage};

use crate::story::*;

on_both! {
    async fn every_entry_gets_one_place_whoever_asks(stage) {
        for n in 0..30 {
            keep(&stage.store, locks("db-1", n)).await;
        }
        let (one, other) = tokio::join!(stage.store.sequence(20), stage.store.sequence(20));
        let mut all: Vec<_> = one.unwrap().into_iter().chain(other.unwrap()).collect();
        all.sort_by_key(|s| s.index);
        assert_eq!(all.iter().map(|s| s.index).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
        assert_eq!(all.iter().map(|s| s.entry).collect::<BTreeSet<_>>().len(), 30);
        assert_eq!(stage.store.sequence(20).await.unwrap(), []);
        assert_eq!(stage.store.sequenced_from(25, 100).await.unwrap(), all[25..]);
        assert_eq!(stage.store.sequenced().await.unwrap(), 30);
        // Leaves are the entries' own, to the byte, and in the order in which they were written.
        let entries = stage.store.entries_from(0, 100).await.unwrap();
        assert!(entries.iter().zip(&all).all(|(e, s)| e.leaf == s.leaf && e.entry.leaf().unwrap() == s.leaf && e.entry.id == s.entry));
        assert!(entries.windows(2).all(|w| w[0].entry.at < w[1].entry.at));
    }

    // covers: GRANT-7
    async fn the_newest_time_survives_and_never_goes_back(stage) {
        assert_eq!(stage.store.high_water().await.unwrap(), None);
        stage.store.raise_high_water(at(500)).await.unwrap();
        stage.store.raise_high_water(at(400)).await.unwrap();
        keep(&stage.store, locks("db-1", 100)).await;
        assert_eq!(stage.store.high_water().await.unwrap(), Some(at(500)));
        keep(&stage.store, locks("db-1", 600)).await;
        keep(&stage.store, locks("db-1", 300)).await;
        assert_eq!(stage.again().await.high_water().await.unwrap(), Some(at(600)));
    }

    // covers: GRANT-7, D4
    async fn what_ran_ahead_counts_no_more_once_that_is_said(stage) {
        keep(&stage.store, locks("db-1", 900)).await;
        stage.store.raise_high_water(at(950)).await.unwrap();
        assert_eq!(stage.store.high_water().await.unwrap(), Some(at(950)));
        let accepted = Event::ClockAccepted { wall: at(100), mark: at(950) };
        let change = Change::new(EntryDraft::new(at(100), Actor::Gate, Door::Socket, accepted)).turn_back_time(at(100));
        stage.store.commit(change).await.unwrap();
        assert_eq!(stage.store.high_water().await.unwrap(), Some(at(100)));
        keep(&stage.store, locks("db-2", 200)).await;
        assert_eq!(stage.again().await.high_water().await.unwrap(), Some(at(200)));
    }

    async fn a_lease_has_one_holder_at_a_time(stage) {
        assert!(stage.store.take_lease("sequencer", "gate-1", at(0), at(10)).await.unwrap());
        assert!(!stage.store.take_lease("sequencer", "gate-2", at(9), at(19)).await.unwrap());
        assert!(stage.store.take_lease("sequencer", "gate-1", at(9), at(19)).await.unwrap());
        assert!(stage.store.take_lease("sequencer", "gate-2", at(19), at(29)).await.unwrap());
    }

    async fn the_log_is_read_by_id_actor_name_and_time(stage) {
        let journey = journey(&stage.store).await;
        let names = |filter: EntryFilter| {
            let store = stage.store.clone();
            async move {
                let page = EntryPage { limit: 100, after: None, newest_first: false };
                store.entries(&filter, page).await.unwrap().iter().map(|e| e.entry.event.name()).collect::<Vec<_>>()
            }
        };
        assert_eq!(names(EntryFilter { mentions: Some(journey.grant.to_string()), ..EntryFilter::default() }).await,
            ["grant.created", "grant.activated", "session.opened"]);
        let about = |text: &str| EntryFilter { mentions: Some(text.to_owned()), ..EntryFilter::default() };
        // By a name, and with what else is asked for; not by a part of it, nor by what is no name.
        assert_eq!(names(about("db-1")).await, ["request.submitted", "grant.created", "session.opened"]);
        assert_eq!(names(EntryFilter { name: Some("grant.".into()), ..about(&journey.grant.to_string()) }).await, ["grant.created", "grant.activated"]);
        assert_eq!(names(EntryFilter { actor: Some(Actor::Principal(journey.ben)), ..about(&journey.request.to_string()) }).await,
            ["request.voted", "request.approved"]);
        assert_eq!(names(EntryFilter { until: Some(at(21)), ..about(&journey.grant.to_string()) }).await, ["grant.created"]);
        for none in ["db", "db-", "session.opened", "\"", "%", &"%".repeat(64)] {
            assert_eq!(names(about(none)).await, [""; 0], "{none}");
        }
        assert_eq!(names(EntryFilter { actor: Some(Actor::Principal(journey.ben)), ..EntryFilter::default() }).await,
            ["request.voted", "request.approved"]);
        assert_eq!(names(EntryFilter { name: Some("request.".into()), until: Some(at(20)), ..EntryFilter::default() }).await, ["request.submitted"]);
        assert_eq!(names(EntryFilter { from: Some(at(21)), ..EntryFilter::default() }).await, ["grant.activated", "session.opened"]);
        // A pattern is no wildcard.
        assert_eq!(names(EntryFilter { name: Some("%".into()), ..EntryFilter::default() }).await, [""; 0]);
        // Several names, in whatever order, and twice the same: each entry once, as they were written.
        let several = EntryFilter { name: Some("session.opened,request.submitted, grant.act,grant.activated,".into()), ..EntryFilter::default() };
        assert_eq!(names(several).await, ["request.submitted", "grant.activated", "session.opened"]);
        let several = EntryFilter { name: Some("grant.activated,grant.created".into()), ..about(&journey.grant.to_string()) };
        assert_eq!(names(several).await, ["grant.created", "grant.activated"]);

        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = stage.store.entries(&EntryFilter::default(), EntryPage { limit: 3, after, newest_first: true }).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.seq);
            seen.extend(page.into_iter().map(|e| e.seq));
        }
        assert_eq!(seen.len(), 8);
        assert!(seen.windows(2).all(|w| w[0] > w[1]));
    }

    async fn what_is_said_of_something_is_found_by_a_name_that_is_rare_and_one_that_is_not(stage) {
        // More of one name than are gone through one by one.
        for n in 0..600 {
            keep(&stage.store, locks(if n % 4 == 0 { "db-1" } else { "db-2" }, n)).await;
        }
        journey(&stage.store).await;
        for newest_first in [false, true] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let filter = EntryFilter { mentions: Some("db-1".to_owned()), name: Some("lock.".to_owned()), ..EntryFilter::default() };
                let page = stage.store.entries(&filter, EntryPage { limit: 64, after, newest_first }).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.seq);
                seen.extend(page.into_iter().map(|one| (one.seq, one.entry.event.name())));
            }
            assert_eq!(seen.len(), 150);
            assert!(seen.iter().all(|(_, name)| *name == "lock.set"), "{seen:?}");
            assert!(seen.windows(2).all(|two| (two[0].0 > two[1].0) == newest_first));
            let filter = EntryFilter { mentions: Some("db-1".to_owned()), name: Some("session.".to_owned()), ..EntryFilter::default() };
            let rare = stage.store.entries(&filter, EntryPage { limit: 64, after: None, newest_first }).await.unwrap();
            assert_eq!(rare.iter().map(|one| one.entry.event.name()).collect::<Vec<_>>(), ["session.opened"]);
        }
    }

    // covers: F7
    async fn what_entries_speak_of_is_kept_as_the_log_is(stage) {
        journey(&stage.store).await;
        let any = |_: &[u8], _: &str| true;
        assert_eq!(stage.store.replay(any).await.unwrap().differences, []);
        for sql in ["DELETE FROM entry_mentions", "UPDATE entry_mentions SET seq = seq + 1"] {
            let error = stage.behind.run(sql).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{sql}: {error}");
        }
        // Who can take that down as well is seen.
        stage.behind.run("INSERT INTO entry_mentions (mention, seq) VALUES (7, 7)").await.unwrap();
        let found = stage.store.replay(any).await.unwrap().differences;
        assert_eq!(found.iter().map(|one| one.table).collect::<Vec<_>>(), ["entry_mentions"], "{found:?}");
    }

    async fn facts_are_kept_by_name(stage) {
        assert_eq!(stage.store.meta("log_id").await.unwrap(), None);
        stage.store.set_meta("log_id", "one").await.unwrap();
        stage.store.set_meta("log_id", "two").await.unwrap();
        assert_eq!(stage.again().await.meta("log_id").await.unwrap().as_deref(), Some("two"));
        stage.store.commit(Change::new(starts("gate-1", 1))).await.unwrap();
    }
}
