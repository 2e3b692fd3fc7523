//! Under strain: memory stays flat, and nobody else notices.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::gate::{Setup, Town};

/// Resident memory of this process, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// covers: SSH-3 (ssh)
#[tokio::test]
async fn memory_stays_flat_when_one_side_reads_nothing() {
    let town = Town::new(Setup { keep_frames: false, ..Setup::default() }).await;
    assert!(town.ssh(&["head -c 10000000 /dev/zero"]).output().await.unwrap().status.success());
    let before = memory();
    // Towards a target that reads nothing …
    let mut up = town.ssh(&["exec sleep 1000"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = up.stdin.take().unwrap();
    let pushing = tokio::spawn(async move {
        let block = vec![0u8; 1 << 16];
        let mut pushed = 0usize;
        while input.write_all(&block).await.is_ok() {
            pushed += block.len();
            if pushed > 1 << 30 {
                break;
            }
        }
        pushed
    });
    // … and towards a client that reads nothing.
    let down = town.ssh(&["exec cat /dev/zero"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut most = 0;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(memory());
    }
    assert!(!pushing.is_finished(), "the client is held back");
    let grown = most.saturating_sub(before);
    assert!(grown < 40 * 1024, "memory grew by {grown} KiB");
    // Somebody else works on meanwhile.
    let out = tokio::time::timeout(Duration::from_secs(5), town.ssh(&["echo in"]).output()).await.unwrap().unwrap();
    assert_eq!(out.stdout, b"in\n");
    drop((up, down));
}
