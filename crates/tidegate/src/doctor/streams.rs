//! Streams of the log: whether each can be set up, and how far it came.

use access::time::Span;
use store::{Store, StoreOptions};

use crate::config::Config;
use crate::output::time::now;

use super::Finding;

const CHECK: &str = "stream";
/// Behind by more than this is worth a word.
const BEHIND: Span = Span::minutes(10);

/// Everything about them.
pub(super) async fn streams(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stream in &config.streams {
        if let Err(error) = crate::streams::stream(stream) {
            findings.push(Finding::fail(CHECK, format!("`{}`: {error:#}", stream.name), "the gate does not start like this"));
        }
    }
    if config.streams.is_empty() {
        return findings;
    }
    let options = StoreOptions { connections: 1, ..StoreOptions::default() };
    // That the store does not answer is said elsewhere.
    let Ok(store) = Store::open(&config.store, options).await else { return findings };
    let (rows, placed) = (store.streams().await.unwrap_or_default(), store.sequenced().await.unwrap_or_default());
    for stream in &config.streams {
        let row = rows.iter().find(|row| row.name == stream.name);
        let waiting = placed.saturating_sub(row.map_or(0, |row| row.next));
        let oldest = store.entries_from(row.map_or(0, |row| row.next), 1).await.unwrap_or_default();
        let behind = oldest.first().map_or(Span::default(), |logged| Span::between(logged.entry.at, now()));
        findings.push(match row.and_then(|row| Some((row.failing_since?, row.error.clone().unwrap_or_default()))) {
            Some((since, why)) => {
                let says = format!("`{}` is not taken since {since}: {why}; {waiting} entries wait", stream.name);
                Finding::fail(CHECK, says, "nothing is lost: it is tried again, and gets everything once its collector answers")
            }
            None if behind > BEHIND => {
                let says = format!("`{}` is {behind} behind: {waiting} entries wait", stream.name);
                Finding::warn(CHECK, says, "see whether the gate runs, and `tidegate stream list` whether it goes on")
            }
            None => Finding::ok(CHECK, format!("`{}` has all but {waiting} entries", stream.name)),
        });
    }
    store.close().await;
    findings
}
