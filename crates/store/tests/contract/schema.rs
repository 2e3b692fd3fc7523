//! The database's walls: its columns, its steps, its append-only log.

use std::collections::BTreeSet;

use access::fold::Tables;
use access::row::Row;
use tidegate_store::{BundleFile, HostKeyRow, InvitationRow, PasskeyRow, SecretRow, Store, StoreError, StoreOptions, TokenRow};

use crate::story::*;

/// The log, and how it is found in: replay reads them, and what they say is compared.
const THE_LOG: &[&str] = &["entries", "entry_mentions"];

/// What replay does not compare, and why nobody gains anything who changes it.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("schema_version", "which shape the tables have"),
    ("transitions", "what `access` says, put right at each start"),
    ("meta", "how far the gate came: measured against the log at each start"),
    ("projections", "numbers that are counted anew from the log"),
    ("idempotency_keys", "answers of the last day"),
    ("web_sessions", "browsers that are signed in, each by a secret that is kept as a digest"),
    ("provider_sessions", "where providers' sign-outs find them"),
    ("saved_searches", "filters that people keep"),
    ("pins", "what people keep first"),
    ("streams", "how far collectors came"),
    ("outbox", "messages to the outside"),
    ("chat_messages", "where a message stands that will be changed"),
    ("chat_links", "whom an account at a chat is about to be"),
    ("once", "what was taken once"),
    ("leases", "which node does what there is one of"),
];

on_both! {
    // covers: F7
    async fn every_table_and_column_is_one_that_replay_knows(stage) {
        let mut shapes = Tables::SHAPES.to_vec();
        shapes.extend([
            (TokenRow::TABLE, TokenRow::COLUMNS),
            (PasskeyRow::TABLE, PasskeyRow::COLUMNS),
            (InvitationRow::TABLE, InvitationRow::COLUMNS),
            (SecretRow::TABLE, SecretRow::COLUMNS),
            (HostKeyRow::TABLE, HostKeyRow::COLUMNS),
            (BundleFile::TABLE, BundleFile::COLUMNS),
        ]);
        for (table, columns) in &shapes {
            assert_eq!(stage.behind.columns(table).await, *columns, "{table}");
        }
        // A table that nobody thought of is seen.
        let compared = shapes.iter().map(|(table, _)| *table);
        let known: BTreeSet<&str> = compared.chain(THE_LOG.iter().copied()).chain(NOT_COMPARED.iter().map(|(table, _)| *table)).collect();
        let tables = stage.behind.tables().await;
        assert_eq!(tables.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
        // The comparison sees a column too many.
        stage.behind.run("ALTER TABLE grants ADD COLUMN extra_time BIGINT").await.unwrap();
        assert_eq!(stage.behind.columns("grants").await.last().unwrap(), "extra_time");
    }

    // covers: C5
    async fn the_database_refuses_a_step_that_does_not_exist(stage) {
        let journey = journey(&stage.store).await;
        let set = |table: &str, state: &str| format!("UPDATE {table} SET state = '{state}'");
        for (table, illegal) in [("requests", "pending"), ("grants", "ready"), ("grants", "anything"), ("sessions", "opened")] {
            let error = stage.behind.run(&set(table, illegal)).await.unwrap_err();
            assert!(error.to_string().contains("this step does not exist"), "{error}");
        }
        stage.behind.run(&set("grants", "ended")).await.unwrap();
        let error = stage.behind.run(&set("grants", "active")).await.unwrap_err();
        assert!(error.to_string().contains("this step does not exist"), "{error}");
        let born = stage.behind.run(&format!(
            "INSERT INTO locks (id, scope, state, set_at, version) VALUES ('lck_x', 'person:{}', 'lifted', 1, 1)", journey.ana)).await;
        assert!(born.unwrap_err().to_string().contains("this step does not exist"));
    }

    // covers: F7
    async fn the_log_only_grows(stage) {
        journey(&stage.store).await;
        stage.store.sequence(3).await.unwrap();
        for sql in [
            "DELETE FROM entries",
            "UPDATE entries SET leaf = '{}'",
            "UPDATE entries SET at = at + 1",
            "UPDATE entries SET leaf_index = leaf_index + 100 WHERE leaf_index IS NOT NULL",
            "UPDATE entries SET leaf_index = NULL WHERE leaf_index IS NOT NULL",
        ] {
            let error = stage.behind.run(sql).await.unwrap_err();
            assert!(error.to_string().contains("append-only"), "{sql}: {error}");
        }
        // Texts can be erased, and entries without a place get one.
        stage.behind.run("UPDATE entries SET texts = '{}'").await.unwrap();
        assert_eq!(stage.store.sequence(100).await.unwrap().len(), 5);
    }

    async fn a_store_of_a_newer_release_is_left_alone(stage) {
        journey(&stage.store).await;
        stage.again().await.close().await;
        stage.behind.run("UPDATE schema_version SET version = 99").await.unwrap();
        let error = Store::open(&stage.url, StoreOptions::default()).await.unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
        assert_eq!(error.to_string(), "the store has schema 99, and this release knows 1; run the release that wrote it, or a newer one");
    }
}
