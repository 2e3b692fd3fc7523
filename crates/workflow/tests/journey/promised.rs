//! What was promised outside the gate binds it: a store that was rolled back or exchanged does not start, and trouble with the
//! log is made up for, and said as long as it lasts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testkit::gate::{TestGate, ask};
use tokio_util::sync::CancellationToken;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Puts store and log, but not what was published, back to what they were.
fn roll_back(dir: &Path, kept: &Path) {
    for name in ["audit", "store.db", "store.db-wal", "store.db-shm"] {
        let (here, there) = (dir.join(name), kept.join(name));
        if here.is_dir() {
            std::fs::remove_dir_all(&here).unwrap();
        } else if here.exists() {
            std::fs::remove_file(&here).unwrap();
        }
        if there.is_dir() {
            copy(&there, &here);
        } else if there.exists() {
            std::fs::copy(there, here).unwrap();
        }
    }
}

async fn tell(t: &TestGate, resource: &str) {
    t.gate.submit(t.person("ana"), ask(resource, "logs")).await.unwrap();
    t.gate.checkpoint().await.unwrap();
}

// covers: F3, EV-2 (api)
#[tokio::test]
async fn a_store_behind_the_published_checkpoint_or_beside_it_does_not_start() {
    let t = TestGate::start().await.unwrap();
    tell(&t, "db-1").await;
    // Everything but the published file is kept, and later put back: the log's own directory knows of nothing.
    let t = t.restart().await.unwrap();
    let kept = tempfile::tempdir().unwrap();
    t.gate.store().close().await;
    copy(t.dir(), kept.path());
    let t = t.restart().await.expect("as it was, it starts");
    tell(&t, "web-1").await;
    let dir = t.dir().to_owned();
    let told = t.restart_after(|| roll_back(&dir, kept.path())).await.err().expect("it was rolled back").to_string();
    for word in ["the store has", "commits to", "rolled back", "restore a newer copy", "`checkpoints` under `[audit]`"] {
        assert!(told.contains(word), "{told}");
    }
}

// covers: F3, EV-2 (api)
#[tokio::test]
async fn a_store_with_another_history_does_not_start() {
    let t = TestGate::start().await.unwrap();
    tell(&t, "db-1").await;
    let kept = tempfile::tempdir().unwrap();
    let t = t.restart().await.unwrap();
    t.gate.store().close().await;
    copy(t.dir(), kept.path());
    let t = t.restart().await.unwrap();
    tell(&t, "web-1").await;
    let dir = t.dir().to_owned();
    // Rolled back, and grown again to as many entries with another story, while the published file was out of the way.
    let aside = dir.join("aside");
    let published = dir.join("outside/checkpoints");
    let t = t
        .restart_after(|| {
            roll_back(&dir, kept.path());
            std::fs::rename(&published, &aside).unwrap();
        })
        .await
        .expect("nothing tells it otherwise");
    for resource in ["db-1", "web-1", "build-1"] {
        tell(&t, resource).await;
    }
    let told = t.restart_after(|| std::fs::rename(&aside, &published).unwrap()).await.err().expect("it is another one").to_string();
    assert!(told.contains("are not those that the checkpoint published at") && told.contains("exchanged or rewritten"), "{told}");
}

// covers: F3 (api)
#[tokio::test]
async fn a_published_file_that_holds_no_checkpoint_of_this_log_is_refused() {
    let t = TestGate::start().await.unwrap();
    tell(&t, "db-1").await;
    let published = t.dir().join("outside/checkpoints");
    let told = t.restart_after(|| std::fs::write(&published, "nothing of the kind\n").unwrap()).await.err().unwrap().to_string();
    assert!(told.contains("cannot be used") && told.contains("name another `checkpoints`"), "{told}");
}

// covers: F3, EV-2 (api)
#[tokio::test]
async fn a_log_that_was_taken_away_is_not_signed_anew() {
    let t = TestGate::start().await.unwrap();
    tell(&t, "db-1").await;
    let t = t.restart().await.expect("as it was, it starts");
    let dir = t.dir().to_owned();
    let told = t
        .restart_after(|| {
            std::fs::remove_dir_all(dir.join("audit")).unwrap();
            std::fs::remove_dir_all(dir.join("outside")).unwrap();
        })
        .await
        .err()
        .expect("its log is gone")
        .to_string();
    assert!(told.contains("`audit/` holds no log") && told.contains("lost or taken away"), "{told}");
}

// covers: F1, EV-2 (api)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_with_the_log_is_said_and_made_up_for_when_it_is_over() {
    let t = TestGate::start().await.unwrap();
    tell(&t, "db-1").await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&t.gate).sequence_forever(stop.clone()));
    let settled = async |wanted: bool| {
        for _ in 0..1_200 {
            if t.gate.log_trouble().is_some() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("trouble: {:?}", t.gate.log_trouble());
    };
    settled(false).await;
    // A full tile cannot be written: something else stands where it belongs.
    let tile = t.dir().join("audit/tile/entries/000");
    std::fs::create_dir_all(&tile).unwrap();
    std::fs::write(tile.join("in the way"), "x").unwrap();
    for _ in 0..300 {
        t.gate.authorize(t.person("ana"), policy::Act::Administer(policy::Noun::Audit), &policy::Object::Nothing).await.unwrap_err();
    }
    settled(true).await;
    assert!(t.gate.log_trouble().unwrap().contains("cannot "), "{:?}", t.gate.log_trouble());
    // The gate goes on, and catches up by itself.
    std::fs::remove_dir_all(&tile).unwrap();
    settled(false).await;
    stop.cancel();
    running.await.unwrap();
    let signed = t.gate.checkpoint().await.unwrap();
    assert!(signed.size() > 300);
    let key = evidence::log::CheckpointVerifier::parse(&t.gate.public_keys().checkpoint_verifier.unwrap()).unwrap();
    let report = evidence::log::verify(&evidence::log::tiles::LogDirectory::new(t.dir().join("audit")), &key, &[]);
    assert_eq!((report.findings, report.size), (vec![], signed.size()));
}
