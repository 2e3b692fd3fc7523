//! Messages to the outside: kept with their change, claimed by one, in order, and never lost.

use access::event::Event;
use access::ids::{DeliveryId, RequestId};
use access::outbox::OutboxState;
use access::time::Span;
use tidegate_store::{Attempted, Change, CommitError, OutboxFilter, OutboxRow, Page, Store, Telling};

use crate::story::*;

fn telling(destination: &str, lane: Option<&str>) -> Telling {
    Telling { id: DeliveryId::generate(at(10)), destination: destination.into(), task: "event".into(), lane: lane.map(str::to_owned) }
}

async fn claim(store: &Store, to: &str, by: &str, second: i64) -> Vec<OutboxRow> {
    store.claim_outbox(to, by, at(second), at(second + 60), 8).await.unwrap()
}

async fn tell(store: &Store, resource: &str, tellings: &[Telling]) {
    let change = Change::new(asks(somebody(), RequestId::generate(at(10)), resource, 10));
    let change = tellings.iter().fold(change, |change, telling| change.tell(0, telling.clone()));
    store.commit(change).await.unwrap();
}

on_both! {
    async fn a_message_is_kept_with_its_change_or_not_at_all(stage) {
        let store = &stage.store;
        let ana = somebody();
        let request = RequestId::generate(at(10));
        let first = telling("webhook:siem", None);
        let committed = store.commit(Change::new(asks(ana, request, "db-1", 10)).tell(0, first.clone())).await.unwrap();
        let row = store.outbox_message(first.id).await.unwrap().unwrap();
        assert_eq!((row.entry, row.event.as_str(), row.state), (committed.entries[0].id, "request.submitted", OutboxState::Waiting));
        assert_eq!((row.due_at, row.attempts), (at(10), 0));
        // The same asked again is refused by the database, and with it goes what would have been told of it.
        let second = telling("webhook:siem", None);
        let twice = store.commit(Change::new(asks(ana, RequestId::generate(at(11)), "db-1", 11)).tell(0, second.clone())).await;
        assert!(matches!(twice, Err(CommitError::Duplicate { .. })), "{twice:?}");
        assert_eq!(store.outbox_message(second.id).await.unwrap(), None);
        let none = Change::new(asks(ana, RequestId::generate(at(12)), "db-2", 12)).tell(7, telling("webhook:siem", None));
        store.commit(none).await.unwrap();
        assert_eq!(store.outbox(&OutboxFilter::default(), &Page::default()).await.unwrap().len(), 1, "there is no eighth entry");
    }

    async fn one_has_a_message_at_a_time_and_what_they_leave_is_taken_up(stage) {
        let store = &stage.store;
        tell(store, "db-1", &[telling("webhook:siem", None), telling("webhook:other", None)]).await;
        assert!(store.outbox_is_due("webhook:siem", at(10)).await.unwrap());
        assert!(!store.outbox_is_due("webhook:siem", at(9)).await.unwrap());
        let [mine] = claim(store, "webhook:siem", "one", 10).await.try_into().unwrap();
        assert_eq!((mine.attempts, mine.destination.as_str()), (1, "webhook:siem"));
        assert_eq!(claim(store, "webhook:siem", "two", 69).await, [], "it is somebody's");
        assert!(!store.outbox_is_due("webhook:siem", at(69)).await.unwrap());
        // Whoever had it is gone: another has it now, under the same id, and the first has no say any more.
        let [theirs] = claim(store, "webhook:siem", "two", 70).await.try_into().unwrap();
        assert_eq!((theirs.id, theirs.attempts), (mine.id, 2));
        assert!(!store.attempted(&mine, &Attempted::Dead("late".into()), at(71)).await.unwrap());
        assert!(store.attempted(&theirs, &Attempted::Again(at(80), "HTTP 500".into()), at(71)).await.unwrap());
        assert_eq!(claim(store, "webhook:siem", "three", 79).await, []);
        let [again] = claim(store, "webhook:siem", "three", 80).await.try_into().unwrap();
        assert_eq!((again.attempts, again.error.as_deref()), (3, Some("HTTP 500")));
        assert!(store.attempted(&again, &Attempted::Delivered, at(81)).await.unwrap());
        assert_eq!(claim(store, "webhook:siem", "four", 10_000).await, []);
        let row = store.outbox_message(mine.id).await.unwrap().unwrap();
        assert_eq!((row.state, row.done_at, row.error), (OutboxState::Delivered, Some(at(81)), None));
    }

    async fn two_who_claim_at_once_get_each_message_once(stage) {
        let store = &stage.store;
        for n in 0..20 {
            tell(store, &format!("db-{n}"), &[telling("webhook:siem", None)]).await;
        }
        let names: Vec<String> = (0..5).map(|n| format!("claimant {n}")).collect();
        let claims = futures::future::join_all(names.iter().map(|name| claim(store, "webhook:siem", name, 20))).await;
        let mut ids: Vec<_> = claims.iter().flatten().map(|row| row.id).collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all, "nothing twice");
        let rest = claim(store, "webhook:siem", "rest", 20).await.len() + claim(store, "webhook:siem", "more", 20).await.len();
        assert_eq!(all + rest, 20, "and nothing lost");
    }

    async fn a_lane_is_delivered_in_order(stage) {
        let store = &stage.store;
        let lane: Vec<_> = (0..3).map(|_| telling("slack", Some("req_1"))).collect();
        tell(store, "db-1", &lane[..2]).await;
        tell(store, "db-2", &[lane[2].clone(), telling("slack", Some("req_2"))]).await;
        let first = claim(store, "slack", "one", 10).await;
        assert_eq!(first.len(), 2, "the first of each lane");
        assert!(first.iter().any(|row| row.id == lane[0].id));
        assert_eq!(claim(store, "slack", "two", 10).await, []);
        let head = first.iter().find(|row| row.id == lane[0].id).unwrap();
        store.attempted(head, &Attempted::Again(at(30), "down".into()), at(11)).await.unwrap();
        assert_eq!(claim(store, "slack", "two", 20).await, [], "the second waits for the first");
        let [head] = claim(store, "slack", "two", 30).await.try_into().unwrap();
        assert_eq!(head.id, lane[0].id);
        let abandoned = Event::DeliveryAbandoned { delivery: head.id, destination: "slack".into() };
        let over = Change::new(by(somebody(), 31, abandoned)).end_message(&head, &Attempted::Dead("no such channel".into()), at(31));
        store.commit(over.clone()).await.unwrap();
        assert!(store.commit(over).await.is_err(), "it is over");
        let [next] = claim(store, "slack", "three", 32).await.try_into().unwrap();
        assert_eq!(next.id, lane[1].id, "what was given up holds nobody up");
    }

    async fn the_dead_are_counted_sent_again_and_forgotten(stage) {
        let store = &stage.store;
        let one = telling("webhook:siem", None);
        tell(store, "db-1", &[one.clone(), telling("webhook:other", None)]).await;
        let [row] = claim(store, "webhook:siem", "one", 10).await.try_into().unwrap();
        store.attempted(&row, &Attempted::Dead("gone".into()), at(11)).await.unwrap();
        let counts = store.outbox_counts().await.unwrap();
        let counts: Vec<_> = counts.iter().map(|c| (c.destination.as_str(), c.state, c.count, c.oldest)).collect();
        assert_eq!(counts, [("webhook:other", OutboxState::Waiting, 1, at(10)), ("webhook:siem", OutboxState::Dead, 1, at(10))]);
        let dead = OutboxFilter { state: Some(OutboxState::Dead), destination: None };
        assert_eq!(store.outbox(&dead, &Page::default()).await.unwrap().len(), 1);
        let replayed = || Event::DeliveryReplayed { delivery: one.id, destination: "webhook:siem".into() };
        store.commit(Change::new(by(somebody(), 500, replayed())).replay_message(one.id, at(500))).await.unwrap();
        let again = store.outbox_message(one.id).await.unwrap().unwrap();
        assert_eq!((again.state, again.attempts, again.since, again.created_at), (OutboxState::Waiting, 0, at(500), at(10)));
        let twice = store.commit(Change::new(by(somebody(), 501, replayed())).replay_message(one.id, at(501))).await;
        assert!(matches!(twice, Err(CommitError::Conflict { .. })), "it waits anyway");
        let [row] = claim(store, "webhook:siem", "two", 500).await.try_into().unwrap();
        store.attempted(&row, &Attempted::Delivered, at(501)).await.unwrap();
        store.forget_outbox(at(501), at(501)).await.unwrap();
        assert!(store.outbox_message(one.id).await.unwrap().is_some());
        store.forget_outbox(Span::seconds(1).after(at(501)), at(0)).await.unwrap();
        assert_eq!(store.outbox_message(one.id).await.unwrap(), None);
    }

    async fn where_a_message_stands_is_remembered(stage) {
        let store = &stage.store;
        assert_eq!(store.posted("slack.req_1").await.unwrap(), None);
        store.put_posted("slack.req_1", "C1 1.1", at(1)).await.unwrap();
        store.put_posted("slack.req_1", "C1 1.2", at(2)).await.unwrap();
        assert_eq!(store.posted("slack.req_1").await.unwrap().as_deref(), Some("C1 1.2"));
        store.forget_posted(at(3)).await.unwrap();
        assert_eq!(store.posted("slack.req_1").await.unwrap(), None);
    }
}
