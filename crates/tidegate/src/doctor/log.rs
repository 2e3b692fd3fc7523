//! The audit log on disk against the store, and against what was published of it.

use credentials::keyring::Keyring;
use evidence::log::publication;
use evidence::log::tiles::LogDirectory;
use store::{Store, StoreOptions, StoreUrl};

use crate::config::Config;
use crate::node::first_verifier;
use crate::output::time::now;

use super::Finding;

const CHECK: &str = "audit log";
/// So long entries may wait for a signature while the gate runs: it signs every ten seconds.
const WAIT: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// Whether every entry of the store is under a signed checkpoint, and that one under what was published.
pub(super) async fn signed(config: &Config, keyring: Option<&Keyring>) -> Vec<Finding> {
    let dir = LogDirectory::new(config.data_dir.join("audit"));
    let there = match &config.store {
        StoreUrl::Sqlite(path) => path.exists(),
        StoreUrl::Postgres(_) => true,
    };
    if !there {
        return vec![Finding::ok(CHECK, "nothing is logged yet")];
    }
    // What keeps keys or store from opening has a line of its own.
    let Some(keyring) = keyring else { return Vec::new() };
    let Ok(first) = first_verifier(&format!("tidegate/{}", config.node), keyring) else { return Vec::new() };
    let Ok(store) = Store::open(&config.store, StoreOptions { connections: 2, ..StoreOptions::default() }).await else { return Vec::new() };
    let findings = compare(config, &dir, &first, &store).await;
    store.close().await;
    findings
}

async fn compare(config: &Config, dir: &LogDirectory, first: &evidence::log::CheckpointVerifier, store: &Store) -> Vec<Finding> {
    let (keys, broken) = dir.succession(first);
    if let Some(broken) = broken.first() {
        return vec![Finding::fail(CHECK, broken.to_string(), "restore `audit/` and `keys/` from the same moment")];
    }
    let local = match dir.newest_checkpoint(&keys) {
        Ok(local) => local,
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), "the gate does not start until it is restored")],
    };
    let size = local.as_ref().map_or(0, evidence::log::SignedCheckpoint::size);
    let mut findings = Vec::new();
    match store.sequenced().await {
        Ok(0) if local.is_none() => return vec![Finding::ok(CHECK, "nothing is logged yet")],
        Ok(count) if local.is_none() => {
            let says = format!("the store has {count} entries, and {} holds no log: it was lost or taken away", dir.path().display());
            findings.push(Finding::fail(CHECK, says, "restore `audit/` from a copy; the gate does not start without"));
        }
        Ok(count) if count < size => {
            let says = format!("the store has {count} entries and the log {size}: the store was rolled back");
            findings.push(Finding::fail(CHECK, says, "restore a newer copy of the store; the gate does not start on this one"));
        }
        Ok(count) => match store.entries_from(size, 1).await {
            Ok(waiting) => match waiting.first() {
                Some(oldest) if now().duration_since(oldest.entry.at) > WAIT => {
                    let says = format!("{} entries since {} are under no signed checkpoint", count - size, oldest.entry.at);
                    let advice = "if the gate runs, it cannot write `audit/`: make space, or correct its permissions; it goes on by itself. \
                                  If it does not run, the next start signs them";
                    findings.push(Finding::fail(CHECK, says, advice));
                }
                _ => findings.push(Finding::ok(CHECK, format!("{size} entries are under a signed checkpoint"))),
            },
            Err(error) => findings.push(Finding::fail(CHECK, error.to_string(), "look at the store first")),
        },
        Err(error) => findings.push(Finding::fail(CHECK, error.to_string(), "look at the store first")),
    }
    let shown = config.checkpoints.display();
    match publication::newest(&config.checkpoints, &keys) {
        Ok(Some(published)) if published.size() > size => {
            let says = format!("{shown} commits to {} entries, and the log has {size}: store and log were rolled back", published.size());
            findings.push(Finding::fail(CHECK, says, "restore newer copies of both; the gate does not start on these"));
        }
        Ok(Some(published)) if published.size() < size => {
            let behind = local.and_then(|local| local.at()).is_some_and(|at| now().duration_since(at) > WAIT);
            if behind {
                let says = format!("{shown} was last written at {} entries, and the log has {size}", published.size());
                findings.push(Finding::fail(CHECK, says, "make it writable again; until then a log that is cut short does not show"));
            }
        }
        Ok(Some(_)) => {}
        Ok(None) if size == 0 => {}
        Ok(None) => {
            let advice = "if it was taken away, put it back: without it a log that was rolled back does not show";
            findings.push(Finding::warn(CHECK, format!("{shown} holds no checkpoint, and the log has {size} entries"), advice));
        }
        Err(error) => {
            let advice = "put this log's file back, or name another `checkpoints` under `[audit]`; the gate does not start on this one";
            findings.push(Finding::fail(CHECK, format!("{shown} cannot be used: {error}"), advice));
        }
    }
    findings
}
