//! Many at once: nothing dropped, and fast enough.

use std::collections::BTreeSet;
use std::time::Instant;

use tidegate_store::{Change, Store};

use crate::story::*;

/// Many callers, one entry each at a time; the ids of what was kept.
async fn crowd(store: &Store, callers: i64, each: i64) -> BTreeSet<String> {
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for n in 0..each {
                    let committed = store.commit(Change::new(locks("db-1", caller * each + n))).await.unwrap();
                    kept.push(committed.entries[0].id.to_string());
                }
                kept
            })
        })
        .collect();
    let mut kept = BTreeSet::new();
    for task in tasks {
        kept.extend(task.await.unwrap());
    }
    kept
}

on_both! {
    // covers: F2
    async fn ten_thousand_entries_and_nothing_is_dropped(stage) {
        let kept = crowd(&stage.store, 100, 100).await;
        assert_eq!(kept.len(), 10_000);
        let mut placed = BTreeSet::new();
        loop {
            let batch = stage.store.sequence(3_000).await.unwrap();
            if batch.is_empty() {
                break;
            }
            placed.extend(batch.into_iter().map(|s| s.entry.to_string()));
        }
        assert_eq!(placed, kept);
        assert_eq!(stage.store.sequenced().await.unwrap(), 10_000);
        let replay = stage.store.replay(|_, _| false).await.unwrap();
        assert_eq!((replay.entries, replay.differences), (10_000, Vec::new()));
    }

    // covers: F2
    async fn what_nobody_waits_for_is_kept_alone_and_beside_others(stage) {
        let change = |n| Change::new(locks("db-1", n));
        let alone = stage.store.commit(change(0).in_no_hurry()).await.unwrap();
        let (one, hurried, other) = tokio::join!(
            stage.store.commit(change(1).in_no_hurry()),
            stage.store.commit(change(2)),
            stage.store.commit(change(3).in_no_hurry()),
        );
        let kept = [alone, one.unwrap(), hurried.unwrap(), other.unwrap()];
        let kept: BTreeSet<_> = kept.iter().map(|committed| committed.entries[0].id.to_string()).collect();
        let placed: BTreeSet<_> = stage.store.sequence(10).await.unwrap().into_iter().map(|s| s.entry.to_string()).collect();
        assert_eq!(placed, kept);
        let replay = stage.store.replay(|_, _| false).await.unwrap();
        assert_eq!((replay.entries, replay.differences), (4, Vec::new()));
    }

    #[ignore = "a measurement: cargo test --release -p tidegate-store -- --ignored --nocapture --test-threads=1"]
    async fn commits_per_second(stage) {
        for callers in [1, 16, 128, 512] {
            let each = 40_000 / callers / (if callers == 1 { 20 } else { 1 });
            let start = Instant::now();
            let kept = crowd(&stage.store, callers, each).await.len();
            let seconds = start.elapsed().as_secs_f64();
            #[expect(clippy::print_stderr, reason = "a measurement is there to be read")]
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            {
                eprintln!("{:?}: {callers} callers, {kept} commits, {:.0} per second", stage.store, kept as f64 / seconds);
            }
        }
    }
}
