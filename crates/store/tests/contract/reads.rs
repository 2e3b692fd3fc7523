//! Each noun is found by what people look for.

use access::event::Event;
use access::identity::KeyKind;
use access::ids::{KeyId, RequestId, ReviewId};
use access::request::RequestState;
use access::review::ReviewKind;
use tidegate_store::{Change, CommitError, GrantFilter, Page, RequestFilter, SessionFilter, Unique};

use crate::story::*;

on_both! {
    async fn requests_grants_and_sessions_are_found(stage) {
        let journey = journey(&stage.store).await;
        let store = &stage.store;
        let (db, role) = ("db-1".parse().unwrap(), "debug".parse().unwrap());
        assert_eq!(store.pending_request(journey.ana, &db, &role).await.unwrap(), None);
        let more: Vec<_> = (0..5).map(|n| RequestId::generate(at(100 + n))).collect();
        for (n, id) in (0..).zip(&more) {
            keep(store, asks(journey.ana, *id, &format!("db-{}", n + 1), 100 + n)).await;
        }
        assert_eq!(store.pending_request(journey.ana, &db, &role).await.unwrap().unwrap().id, more[0]);
        assert_eq!(store.pending_requests().await.unwrap().len(), 5);
        assert_eq!(store.overdue_requests(at(86_502), 100).await.unwrap().len(), 3);
        let of_ana = RequestFilter { person: Some(journey.ana), ..RequestFilter::default() };
        let first = store.requests(&of_ana, &Page::first(4)).await.unwrap();
        let rest = store.requests(&of_ana, &Page::first(4).after(first[3].id)).await.unwrap();
        let ids: Vec<_> = first.iter().chain(&rest).map(|r| r.id).collect();
        assert_eq!(ids, more.iter().rev().copied().chain([journey.request]).collect::<Vec<_>>());
        let approved = RequestFilter { state: Some(RequestState::Approved), resource: Some(db.clone()), ..RequestFilter::default() };
        assert_eq!(store.requests(&approved, &Page::default()).await.unwrap().len(), 1);

        assert_eq!(store.open_grants_for(journey.ana, &db, &role).await.unwrap().len(), 1);
        assert_eq!(store.open_grants_of(journey.ben).await.unwrap(), []);
        assert_eq!(store.grant_of(journey.request).await.unwrap().unwrap().id, journey.grant);
        assert_eq!(store.due_grants(at(3620), 10).await.unwrap(), []);
        assert_eq!(store.due_grants(at(3621), 10).await.unwrap().len(), 1);
        assert_eq!(store.grants(&GrantFilter { open: true, ..GrantFilter::default() }, &Page::default()).await.unwrap().len(), 1);

        assert_eq!(store.live_sessions_on(journey.grant).await.unwrap().len(), 1);
        assert_eq!(store.live_sessions_of_node("gate-2").await.unwrap(), []);
        let session = store.session(journey.session).await.unwrap().unwrap();
        assert_eq!(store.session_of_recording(session.recording).await.unwrap().unwrap(), session);
        keep(store, ended(journey.session, 200)).await;
        assert_eq!(store.live_sessions().await.unwrap(), []);
        let here = SessionFilter { resource: Some(db), from: Some(at(30)), until: Some(at(31)), ..SessionFilter::default() };
        assert_eq!(store.sessions(&here, &Page::default()).await.unwrap().len(), 1);
        keep(store, by(journey.ben, 3700, Event::GrantExpired { grant: journey.grant })).await;
        assert_eq!(store.open_grants().await.unwrap(), []);
    }

    async fn people_keys_locks_and_reviews_are_found(stage) {
        let store = &stage.store;
        assert!(store.is_empty().await.unwrap());
        let journey = journey(store).await;
        assert!(!store.is_empty().await.unwrap());
        assert_eq!(store.person_named(&"ana".parse().unwrap()).await.unwrap().unwrap().id, journey.ana);
        assert_eq!(store.people(None, &Page::default()).await.unwrap().len(), 2);

        let key = KeyId::generate(at(50));
        let added = |key, person| Event::KeyAdded {
            key, person, kind: KeyKind::Registered, fingerprint: "SHA256:a".into(), public_key: "ssh-ed25519 A".into(), expires_at: None,
            with: None, claims: None,
        };
        keep(store, by(journey.ana, 50, added(key, journey.ana))).await;
        let error = store.commit(Change::new(by(journey.ben, 51, added(KeyId::generate(at(51)), journey.ben)))).await.unwrap_err();
        assert!(matches!(error, CommitError::Duplicate { what: Unique::Fingerprint }), "{error}");
        assert_eq!(store.active_key("SHA256:a").await.unwrap().unwrap().person, journey.ana);
        keep(store, by(journey.ana, 52, Event::KeyRemoved { key })).await;
        assert_eq!(store.active_key("SHA256:a").await.unwrap(), None);
        assert_eq!(store.keys_of(journey.ana).await.unwrap().len(), 1);

        let locked = keep(store, locks("db-1", 60)).await;
        let lock = locked.rows.locks.values().next().unwrap().clone();
        assert_eq!(store.holding_locks(at(61)).await.unwrap(), std::slice::from_ref(&lock));
        keep(store, by(journey.ben, 62, Event::LockLifted { lock: lock.id })).await;
        assert_eq!(store.holding_locks(at(63)).await.unwrap(), []);

        let opened = Event::ReviewOpened {
            review: ReviewId::generate(at(70)), kind: ReviewKind::BreakGlass, grant: journey.grant, session: None, person: journey.ana,
            reviewers: "security".parse().unwrap(), due_at: at(100),
        };
        keep(store, by(journey.ana, 70, opened)).await;
        assert_eq!(store.open_reviews_about(journey.ana).await.unwrap().len(), 1);
        assert_eq!(store.overdue_reviews(at(99)).await.unwrap().len(), 0);
        assert_eq!(store.overdue_reviews(at(100)).await.unwrap().len(), 1);
    }
}
