//! Change and entry in one transaction; of two at the same moment, one.

use access::approval::Decision;
use access::claims::JobClaims;
use access::grant::GrantState;
use access::ids::{GrantId, RequestId, SessionId};
use access::request::{RequestRow, RequestState};
use tidegate_store::{Change, CommitError, Unique};

use crate::story::*;

on_both! {
    // covers: EV-1
    async fn a_journey_leaves_rows_and_entries_together(stage) {
        let journey = journey(&stage.store).await;
        let request = stage.store.request(journey.request).await.unwrap().unwrap();
        assert_eq!((request.state, request.reason.as_deref()), (RequestState::Approved, Some("the orders are stuck")));
        let grant = stage.store.grant(journey.grant).await.unwrap().unwrap();
        assert_eq!((grant.state, grant.ends_at, grant.version), (GrantState::Active, Some(at(3621)), 2));
        assert_eq!(stage.store.votes(journey.request).await.unwrap().len(), 1);
        assert_eq!(stage.store.live_sessions().await.unwrap().len(), 1);
        assert_eq!(stage.behind.count("entries").await, 8);

        let kept = stage.store.commit(Change::new(ended(journey.session, 40))).await.unwrap();
        assert_eq!(kept.rows.sessions[&journey.session.to_string()].bytes_down, 3_000);
        assert_eq!(kept.rows.sessions[&journey.session.to_string()], stage.store.session(journey.session).await.unwrap().unwrap());
        let logged = stage.store.entry(kept.entries[0].id).await.unwrap().unwrap();
        assert_eq!(logged.entry, kept.entries[0]);
    }

    // covers: EV-1
    async fn a_change_that_fails_at_its_end_leaves_neither_row_nor_entry(stage) {
        let journey = journey(&stage.store).await;
        let (entries, locked) = (stage.behind.count("entries").await, stage.behind.count("locks").await);
        // The same change without its last part is kept, below.
        let wrong = Change::new(locks("db-1", 50)).and(locks("db-2", 50)).and(joins(somebody(), "ana", 50));
        let error = stage.store.commit(wrong).await.unwrap_err();
        assert!(matches!(error, CommitError::Duplicate { what: Unique::Username }), "{error}");
        let illegal = Change::new(locks("db-1", 50)).and(approved(journey.ben, journey.request, 50));
        let error = stage.store.commit(illegal).await.unwrap_err();
        assert!(matches!(error, CommitError::Illegal(_)), "{error}");
        assert_eq!((stage.behind.count("entries").await, stage.behind.count("locks").await), (entries, locked));

        stage.store.commit(Change::new(locks("db-1", 50)).and(locks("db-2", 50))).await.unwrap();
        assert_eq!((stage.behind.count("entries").await, stage.behind.count("locks").await), (entries + 2, locked + 2));
    }

    // covers: OK-8, C5
    async fn approve_races_deny_and_one_result_stands(stage) {
        for round in 0..20 {
            let (ana, ben, cleo) = (somebody(), somebody(), somebody());
            let request = RequestId::generate(at(round));
            keep(&stage.store, asks(ana, request, "db-1", round)).await;
            let row = stage.store.request(request).await.unwrap().unwrap();
            let grant = GrantId::generate(at(round));
            let yes = Change::new(votes(ben, request, Decision::Approve, round))
                .and(approved(ben, request, round))
                .and(created(grant, &row, round))
                .expect(&row);
            let no = Change::new(votes(cleo, request, Decision::Deny, round)).and(denied(cleo, request, round)).expect(&row);
            let (yes, no) = tokio::join!(
                tokio::spawn({ let store = stage.store.clone(); async move { store.commit(yes).await } }),
                tokio::spawn({ let store = stage.store.clone(); async move { store.commit(no).await } }),
            );
            let (yes, no) = (yes.unwrap(), no.unwrap());
            let stands = stage.store.request(request).await.unwrap().unwrap().state;
            let granted = stage.store.grant(grant).await.unwrap().is_some();
            match (yes, no) {
                (Ok(_), Err(lost)) => {
                    assert!(matches!(lost, CommitError::Conflict { table: "requests", .. }), "{lost}");
                    assert_eq!((stands, granted), (RequestState::Approved, true));
                }
                (Err(lost), Ok(_)) => {
                    assert!(matches!(lost, CommitError::Conflict { table: "requests", .. }), "{lost}");
                    assert_eq!((stands, granted), (RequestState::Denied, false));
                }
                (yes, no) => panic!("not one winner: {yes:?} {no:?}"),
            }
            assert_eq!(stage.store.votes(request).await.unwrap().len(), 1);
        }
    }

    // covers: C5
    async fn a_row_that_changed_since_it_was_read_is_not_changed_again(stage) {
        let journey = journey(&stage.store).await;
        let read = stage.store.grant(journey.grant).await.unwrap().unwrap();
        let opening = |session, second| {
            let store = stage.store.clone();
            let (read, request) = (read.clone(), journey.request);
            async move {
                let request = store.request(request).await.unwrap().unwrap();
                store.commit(Change::new(opened(session, read.id, &request, second)).expect(&read)).await
            }
        };
        opening(SessionId::generate(at(60)), 60).await.unwrap();
        let revoked = access::event::Event::GrantRevoked { grant: read.id, still_open: Vec::new() };
        keep(&stage.store, by(journey.ben, 61, revoked)).await;
        let error = opening(SessionId::generate(at(62)), 62).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { table: "grants", .. }), "{error}");
        assert_eq!(stage.store.live_sessions_on(read.id).await.unwrap().len(), 2);
    }

    // covers: ASK-4, C5
    async fn a_request_is_made_beside_no_grant_that_was_not_known(stage) {
        let journey = journey(&stage.store).await;
        let read = stage.store.request(journey.request).await.unwrap().unwrap();
        let asking = |known: &[GrantId]| {
            let row = RequestRow { id: RequestId::generate(at(50)), ..read.clone() };
            Change::new(asks(journey.ana, row.id, "db-1", 50)).only_beside(&row, known)
        };
        let entries = stage.behind.count("entries").await;
        let other = [GrantId::generate(at(1))];
        for known in [&other[..0], &other[..]] {
            let error = stage.store.commit(asking(known)).await.unwrap_err();
            assert!(matches!(error, CommitError::Conflict { table: "grants", .. }), "{error}");
        }
        assert_eq!(stage.behind.count("entries").await, entries);
        assert_eq!(stage.store.pending_requests().await.unwrap(), []);
        stage.store.commit(asking(&[journey.grant, other[0]])).await.unwrap();
    }

    async fn what_another_job_was_given_keeps_no_request_from_being_made(stage) {
        let journey = journey(&stage.store).await;
        let read = stage.store.request(journey.request).await.unwrap().unwrap();
        let asking = |claims| {
            let row = RequestRow { id: RequestId::generate(at(50)), claims, ..read.clone() };
            Change::new(asks(journey.ana, row.id, "db-1", 50)).only_beside(&row, &[])
        };
        // The open grant is of the same: it has to be looked at first.
        let error = stage.store.commit(asking(read.claims.clone())).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { table: "grants", .. }), "{error}");
        let other = JobClaims { issuer: "https://ci.example".into(), claims: [("ref".into(), "refs/heads/main".into())].into() };
        assert_ne!(read.claims.as_ref(), Some(&other));
        stage.store.commit(asking(Some(other))).await.unwrap();
    }

    // covers: ASK-4, C5
    async fn asking_races_a_yes_to_the_same_and_no_second_request_is_made(stage) {
        for round in 0..20 {
            let (ana, ben) = (somebody(), somebody());
            let request = RequestId::generate(at(round));
            keep(&stage.store, asks(ana, request, "db-1", round)).await;
            let row = stage.store.request(request).await.unwrap().unwrap();
            let yes = Change::new(votes(ben, request, Decision::Approve, round))
                .and(approved(ben, request, round))
                .and(created(GrantId::generate(at(round)), &row, round))
                .expect(&row);
            let second = RequestRow { id: RequestId::generate(at(round)), ..row };
            let again = Change::new(asks(ana, second.id, "db-1", round)).only_beside(&second, &[]);
            let (yes, again) = tokio::join!(
                tokio::spawn({ let store = stage.store.clone(); async move { store.commit(yes).await } }),
                tokio::spawn({ let store = stage.store.clone(); async move { store.commit(again).await } }),
            );
            yes.unwrap().unwrap();
            // Before the yes one waits, after it there is a grant.
            let lost = again.unwrap().unwrap_err();
            let told =
                matches!(lost, CommitError::Duplicate { what: Unique::PendingRequest } | CommitError::Conflict { table: "grants", .. });
            assert!(told, "{lost}");
        }
    }

    async fn there_is_one_pending_request_one_vote_one_name(stage) {
        let (ana, ben) = (somebody(), somebody());
        keep(&stage.store, joins(ana, "ana", 1)).await;
        let request = RequestId::generate(at(1));
        keep(&stage.store, asks(ana, request, "db-1", 1)).await;
        keep(&stage.store, asks(ana, RequestId::generate(at(2)), "db-2", 2)).await;
        keep(&stage.store, votes(ben, request, Decision::Approve, 3)).await;

        let twice = |draft| { let store = stage.store.clone(); async move { store.commit(Change::new(draft)).await.unwrap_err() } };
        let error = twice(asks(ana, RequestId::generate(at(4)), "db-1", 4)).await;
        assert!(matches!(error, CommitError::Duplicate { what: Unique::PendingRequest }), "{error}");
        let error = twice(votes(ben, request, Decision::Deny, 5)).await;
        assert!(matches!(error, CommitError::Duplicate { what: Unique::Vote }), "{error}");
        let error = twice(joins(somebody(), "ana", 6)).await;
        assert!(matches!(error, CommitError::Duplicate { what: Unique::Username }), "{error}");

        keep(&stage.store, denied(ben, request, 7)).await;
        keep(&stage.store, asks(ana, RequestId::generate(at(8)), "db-1", 8)).await;
    }

    // covers: C5
    async fn there_is_one_pending_extension_of_a_grant(stage) {
        let journey = journey(&stage.store).await;
        let first = RequestId::generate(at(50));
        // An ordinary question for the same, and one about another grant, stand beside it.
        keep(&stage.store, asks(journey.ana, RequestId::generate(at(50)), "db-1", 50)).await;
        keep(&stage.store, asks_for_more(journey.ana, first, journey.grant, 50)).await;
        keep(&stage.store, asks_for_more(journey.ana, RequestId::generate(at(50)), GrantId::generate(at(50)), 50)).await;
        let again = Change::new(asks_for_more(journey.ana, RequestId::generate(at(51)), journey.grant, 51));
        let error = stage.store.commit(again.clone()).await.unwrap_err();
        assert!(matches!(error, CommitError::Duplicate { what: Unique::PendingExtension }), "{error}");
        assert_eq!(stage.store.pending_extension(journey.grant).await.unwrap().map(|row| row.id), Some(first));
        assert_ne!(stage.store.pending_request(journey.ana, &"db-1".parse().unwrap(), &"debug".parse().unwrap()).await.unwrap().unwrap().id, first);

        keep(&stage.store, denied(journey.ben, first, 52)).await;
        assert_eq!(stage.store.pending_extension(journey.grant).await.unwrap(), None);
        stage.store.commit(again).await.unwrap();
    }

    // covers: C5
    async fn of_fifty_who_make_the_same_request_one_makes_it(stage) {
        let ana = somebody();
        let asking = (0..50).map(|n| {
            let store = stage.store.clone();
            tokio::spawn(async move { store.commit(Change::new(asks(ana, RequestId::generate(at(n)), "db-1", n))).await })
        });
        let mut made = 0;
        for asked in asking.collect::<Vec<_>>() {
            match asked.await.unwrap() {
                Ok(_) => made += 1,
                Err(error) => assert!(matches!(error, CommitError::Duplicate { what: Unique::PendingRequest }), "{error}"),
            }
        }
        assert_eq!((made, stage.behind.count("requests").await, stage.behind.count("entries").await), (1, 1, 1));
    }
}
