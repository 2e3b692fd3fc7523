//! The store gone, full or killed: a sentence, and never half a change.

use std::process::{Command, Stdio};
use std::time::Duration;

use access::ids::RequestId;
use tidegate_store::{Change, CommitError, Store, StoreOptions, StoreUrl};

use crate::stage::Place;
use crate::story::*;

on_both! {
    // covers: F1
    async fn a_store_that_goes_away_says_so_and_keeps_nothing_half(stage) {
        journey(&stage.store).await;
        match &stage.place {
            Place::File(directory) => std::fs::rename(directory.path().join("store.db"), directory.path().join("away")).unwrap(),
            Place::Server(database) => {
                let name = database.name();
                database.admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).unwrap();
                database.admin(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).unwrap();
            }
        }
        let error = stage.store.commit(Change::new(locks("db-1", 50))).await.unwrap_err();
        assert!(matches!(error, CommitError::Unavailable(_)), "{error}");
        assert!(error.to_string().starts_with("cannot keep the change: "), "{error}");

        match &stage.place {
            Place::File(directory) => std::fs::rename(directory.path().join("away"), directory.path().join("store.db")).unwrap(),
            Place::Server(database) => database.admin(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database.name())).unwrap(),
        }
        keep(&stage.store, locks("db-1", 51)).await;
        let replay = stage.store.replay(|_, _| false).await.unwrap();
        assert_eq!((replay.entries, replay.differences), (9, Vec::new()));
    }

    // covers: GRANT-7
    async fn a_gate_killed_in_the_middle_leaves_no_half_change(stage) {
        journey(&stage.store).await;
        let url = match &stage.place {
            Place::File(directory) => format!("sqlite:{}", directory.path().join("store.db").display()),
            Place::Server(database) => database.url(),
        };
        for round in 0..3 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "failure::a_gate_that_writes_until_it_is_killed"])
                .env("TIDEGATE_TEST_STORE", &url)
                .env("TIDEGATE_TEST_ROUND", round.to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let before = stage.behind.count("entries").await;
            while stage.behind.count("entries").await < before + 100 {
                assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let store = stage.again().await;
        let replay = store.replay(|_, _| false).await.unwrap();
        assert_eq!(replay.differences, []);
        // Each change made two locks and two entries.
        assert_eq!(replay.tables.locks.len() % 2, 0);
        assert!(replay.tables.locks.len() >= 300);
    }

    async fn a_closed_store_says_so(stage) {
        keep(&stage.store, locks("db-1", 1)).await;
        stage.store.close().await;
        let error = stage.store.commit(Change::new(locks("db-1", 2))).await.unwrap_err();
        assert!(matches!(error, CommitError::Unavailable(_)), "{error}");
        assert_eq!(stage.again().await.holding_locks(at(3)).await.unwrap().len(), 1);
    }
}

/// Not a test by itself: what the test above starts as a process of its own, and kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test"]
async fn a_gate_that_writes_until_it_is_killed() {
    let Ok(url) = std::env::var("TIDEGATE_TEST_STORE") else { return };
    let round: i64 = std::env::var("TIDEGATE_TEST_ROUND").unwrap().parse().unwrap();
    let store = Store::open(&url.parse::<StoreUrl>().unwrap(), StoreOptions::default()).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { while store.commit(Change::new(locks("db-1", round)).and(locks("db-2", round))).await.is_ok() {} })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// A small disk of its own.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(directory.path()).status().unwrap();
        assert!(mounted.success(), "this test mounts a small tmpfs and so has to run as root");
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

// covers: F1
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_the_store_works_again_when_there_is_space() {
    let disk = SmallDisk::new();
    let store = Store::open(&StoreUrl::Sqlite(disk.0.path().join("store.db")), StoreOptions::default()).await.unwrap();
    let big = |n: i64| asks(somebody(), RequestId::generate(at(n)), "db-1", n).text("reason", Some("x".repeat(50_000)));
    keep(&store, big(1)).await;
    let ballast = disk.0.path().join("ballast");
    let space = rest(&disk).saturating_sub(150_000);
    std::fs::write(&ballast, vec![0; space]).unwrap();
    let error = store.commit(Change::new(big(2)).and(big(3)).and(big(4))).await.unwrap_err();
    assert!(error.to_string().contains("the disk that holds the store is full; free some space"), "{error}");
    std::fs::remove_file(&ballast).unwrap();
    keep(&store, big(5)).await;
    let replay = store.replay(|_, _| false).await.unwrap();
    assert_eq!((replay.entries, replay.differences), (2, Vec::new()));
}

/// Bytes that are free.
fn rest(disk: &SmallDisk) -> usize {
    let out = Command::new("df").args(["-B1", "--output=avail"]).arg(disk.0.path()).output().unwrap();
    String::from_utf8(out.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let open = async |url: &str| Store::open(&url.parse().unwrap(), StoreOptions::default()).await.unwrap_err().to_string();
    let nowhere = open(&format!("sqlite:{}/nowhere/store.db", directory.path().display())).await;
    assert!(nowhere.contains("cannot open the store") && nowhere.contains("its directory exists"), "{nowhere}");
    let file = directory.path().join("store.db");
    std::fs::write(&file, "this is no database, it is a letter to somebody, and long enough for a header of one hundred bytes").unwrap();
    let letter = open(&format!("sqlite:{}", file.display())).await;
    assert!(letter.contains("damaged"), "{letter}");
    let fresh = directory.path().join("fresh.db");
    drop(Store::open(&StoreUrl::Sqlite(fresh.clone()), StoreOptions::default()).await.unwrap());
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&fresh).unwrap().permissions()) & 0o777, 0o600);
    let silent = open("postgres://tide@127.0.0.1:1/tide").await;
    assert!(silent.contains("does not answer"), "{silent}");
}
