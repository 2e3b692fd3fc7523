//! What somebody with the database's password changed, the log tells.

use access::event::Event;
use access::ids::{GrantId, RequestId};
use tidegate_store::{Change, CommitError, Difference, EntryFilter, EntryPage, Store, StoreError, digestible};

use crate::committed::{
    activates, comes, host_key, invitation, invites, is_keyed, issues, keyed, learns, passkey, policy, seals, secret, token,
};
use crate::story::*;

async fn differences(store: &Store) -> Vec<Difference> {
    store.replay(is_keyed).await.unwrap().differences
}

on_both! {
    // covers: EV-1
    async fn an_untouched_store_replays_to_itself(stage) {
        let journey = journey(&stage.store).await;
        keep(&stage.store, ended(journey.session, 40)).await;
        keep(&stage.store, locks("db-1", 41)).await;
        let replay = stage.store.replay(is_keyed).await.unwrap();
        assert_eq!((replay.entries, &replay.differences), (10, &Vec::new()));
        assert_eq!(replay.tables.grants[&journey.grant.to_string()], stage.store.grant(journey.grant).await.unwrap().unwrap());
    }

    // covers: F7
    async fn a_longer_grant_is_named(stage) {
        let journey = journey(&stage.store).await;
        assert_eq!(differences(&stage.store).await, []);
        stage.behind.run(&format!("UPDATE grants SET ends_at = ends_at + 86400000000 WHERE id = '{}'", journey.grant)).await.unwrap();
        let [difference] = &differences(&stage.store).await[..] else { panic!("not one difference") };
        assert_eq!((difference.table, &difference.key, difference.column), ("grants", &journey.grant.to_string(), Some("ends_at")));
        assert_eq!((&*difference.log_says, &*difference.table_says), ("1800003621000000", "1800090021000000"));
    }

    // covers: F7
    async fn a_policy_rewritten_in_the_store_is_named_and_given_to_nobody(stage) {
        let files = policy();
        let digest = &files[0].digest;
        stage.store.commit(activates(&files, 1)).await.unwrap();
        assert_eq!(differences(&stage.store).await, []);
        assert_eq!(stage.store.bundle_files(digest).await.unwrap(), files);
        stage.behind.run("UPDATE bundle_files SET content = '# mine' WHERE path = 'access.cedar'").await.unwrap();
        let [difference] = &differences(&stage.store).await[..] else { panic!("not one difference") };
        assert_eq!((difference.table, &difference.key), ("bundle_files", digest));
        assert!(matches!(stage.store.bundle_files(digest).await, Err(StoreError::Altered { .. })));
        stage.behind.run("DELETE FROM bundle_files").await.unwrap();
        let [difference] = &differences(&stage.store).await[..] else { panic!("not one difference") };
        assert_eq!((difference.table, &*difference.table_says), ("bundle_files", "nothing"));
    }

    // covers: F7
    async fn a_deleted_entry_is_named(stage) {
        journey(&stage.store).await;
        stage.store.sequence(100).await.unwrap();
        assert_eq!(differences(&stage.store).await, []);
        stage.behind.unlock_log().await;
        assert_eq!(stage.behind.run("DELETE FROM entries WHERE name = 'grant.activated'").await.unwrap(), 1);
        let named = differences(&stage.store).await;
        assert!(named.iter().any(|d| d.table == "entries" && d.key == "leaf 6"), "{named:?}");
        assert!(named.iter().any(|d| d.table == "grants" && d.column == Some("state")), "{named:?}");
    }

    // covers: F7
    async fn an_added_row_and_a_missing_one_are_named(stage) {
        let journey = journey(&stage.store).await;
        let forged = GrantId::generate(at(99));
        let copy = "request, person, resource, role, limits, terms, length, break_glass, bundle, policy, approvers, frozen";
        stage.behind.run(&format!(
            "INSERT INTO grants (id, {copy}, state, created_at, activate_by, version) \
             SELECT '{forged}', {copy}, 'ready', created_at, activate_by, 1 FROM grants")).await.unwrap();
        stage.behind.run("DELETE FROM votes").await.unwrap();
        let named = differences(&stage.store).await;
        assert_eq!(named.len(), 2, "{named:?}");
        let sentences: Vec<_> = named.iter().map(ToString::to_string).collect();
        assert!(sentences.contains(&format!("grants `{forged}`: the log says nothing, the table says a row")), "{sentences:?}");
        assert!(sentences.iter().any(|s| s.starts_with("votes `vot_") && s.ends_with("the log says a row, the table says nothing")));
        assert!(stage.store.grant(journey.grant).await.unwrap().is_some());
    }

    // covers: F7
    async fn a_changed_entry_is_named(stage) {
        journey(&stage.store).await;
        stage.behind.unlock_log().await;
        stage.behind.run("UPDATE entries SET texts = replace(texts, 'orders are stuck', 'cats are hungry')").await.unwrap();
        let named = differences(&stage.store).await;
        assert!(named.iter().any(|d| d.table == "entries" && d.table_says.contains("`reason`")), "{named:?}");
    }

    // covers: F7
    async fn committed_rows_changed_behind_our_back_are_named(stage) {
        let (ana, ben) = (somebody(), somebody());
        stage.store.commit(invites(&invitation(ana, None))).await.unwrap();
        stage.store.commit(comes(&invitation(ana, Some(at(2))))).await.unwrap();
        stage.store.commit(invites(&invitation(ben, None))).await.unwrap();
        stage.store.commit(issues(&token(ana))).await.unwrap();
        stage.store.commit(seals(&secret("AAAA"))).await.unwrap();
        stage.store.commit(learns(&host_key())).await.unwrap();
        let hers = passkey(ana, "p");
        let added = Event::PasskeyAdded { passkey: hers.id, person: ana, public_key: "00".into(), row_digest: keyed(&digestible(&hers)) };
        stage.store.commit(Change::new(by(ana, 1, added)).put_passkey(&hers)).await.unwrap();
        assert_eq!(differences(&stage.store).await, []);
        for (sql, table) in [
            ("UPDATE tokens SET expires_at = expires_at + 1", "tokens"),
            ("UPDATE secrets SET sealed = 'BBBB'", "secrets"),
            ("UPDATE host_keys SET public_key = 'ssh-ed25519 AAAA'", "host_keys"),
            ("UPDATE invitations SET used_at = NULL", "invitations"),
            ("UPDATE passkeys SET public_key = 'BB'", "passkeys"),
        ] {
            let before = differences(&stage.store).await.len();
            stage.behind.run(sql).await.unwrap();
            let named = differences(&stage.store).await;
            assert_eq!(named.len(), before + 1, "{sql}: {named:?}");
            assert!(named.iter().any(|d| d.table == table), "{sql}: {named:?}");
        }
        stage.behind.run("DELETE FROM tokens").await.unwrap();
        assert!(differences(&stage.store).await.iter().any(|d| d.table == "tokens" && d.table_says == "nothing"));
        assert_ne!(keyed(&digestible(&secret("AAAA"))), keyed(&digestible(&secret("BBBB"))));
    }

    async fn an_erased_text_is_gone_from_log_and_row_and_no_difference(stage) {
        let journey = journey(&stage.store).await;
        let filter = EntryFilter { name: Some("request.submitted".into()), ..EntryFilter::default() };
        let logged = stage.store.entries(&filter, EntryPage { limit: 1, after: None, newest_first: false }).await.unwrap().remove(0);
        assert_eq!(logged.entry.text("reason"), Some("the orders are stuck"));
        stage.store.commit(Change::new(starts("gate-1", 90)).erase_texts(&logged, &["reason"])).await.unwrap();
        let left = stage.store.entry(logged.entry.id).await.unwrap().unwrap();
        assert_eq!((left.entry.text("reason"), &left.leaf), (None, &logged.leaf));
        assert_eq!(stage.store.request(journey.request).await.unwrap().unwrap().reason, None);
        assert_eq!(differences(&stage.store).await, []);
        assert_eq!(stage.behind.run("UPDATE entries SET texts = texts WHERE texts LIKE '%orders%'").await.unwrap(), 0);
        let again = stage.store.commit(Change::new(starts("gate-1", 91)).erase_texts(&logged, &["reason"])).await.unwrap_err();
        assert!(matches!(again, CommitError::Conflict { table: "entries", .. }), "{again}");
    }

    async fn a_text_that_was_replaced_before_is_erased_in_the_log_alone(stage) {
        let (ana, request) = (somebody(), RequestId::generate(at(1)));
        let first = keep(&stage.store, asks(ana, request, "db-1", 1)).await.entries[0].id;
        let Event::RequestSubmitted { asked, limits, mfa, terms, bundle, policy, expires_at, .. } = asks(ana, request, "db-1", 1).event else {
            panic!("not a request")
        };
        let edited = by(ana, 2, Event::RequestEdited { request, asked, limits, mfa, terms, bundle, policy, expires_at, risk: None });
        keep(&stage.store, edited.text("reason", Some("the orders are stuck"))).await;
        let logged = stage.store.entry(first).await.unwrap().unwrap();
        stage.store.commit(Change::new(starts("gate-1", 3)).erase_texts(&logged, &["reason"])).await.unwrap();
        assert_eq!(stage.store.request(request).await.unwrap().unwrap().reason.as_deref(), Some("the orders are stuck"));
        assert_eq!(differences(&stage.store).await, []);
    }
}
