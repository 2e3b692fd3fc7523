//! The recordings of the sessions that ended against the files that there are.

use std::collections::HashSet;
use std::fs;

use access::event::Event;
use access::ids::RecordingId;
use access::session::SessionState;
use store::{EntryFilter, EntryPage, Page, SessionFilter, Store, StoreError, StoreOptions, StoreUrl};

use crate::config::Config;

use super::Finding;

const CHECK: &str = "recordings";
const BATCH: u32 = 1_000;
/// So many are named.
const NAMED: usize = 5;

/// Whether every session that ended has its recording, but those that were kept for long enough or destroyed by somebody.
pub(super) async fn recordings(config: &Config) -> Option<Finding> {
    if let StoreUrl::Sqlite(path) = &config.store
        && !path.exists()
    {
        return None;
    }
    // What keeps the store from opening has a line of its own.
    let store = Store::open(&config.store, StoreOptions { connections: 2, ..StoreOptions::default() }).await.ok()?;
    let gone = gone(config, &store).await;
    store.close().await;
    match gone {
        Ok(gone) if gone.is_empty() => None,
        Ok(gone) => {
            let named = gone.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let more = if gone.len() > NAMED { format!(" and {} more", gone.len() - NAMED) } else { String::new() };
            let says = format!("no file is there of {named}{more}: the session ended, and no entry says that anybody let the recording go");
            let advice = "somebody took it away, or a disk was lost: bring it back from a backup, or find out who could write there";
            Some(Finding::warn(CHECK, says, advice))
        }
        Err(error) => Some(Finding::fail(CHECK, error.to_string(), "look at the store first")),
    }
}

async fn gone(config: &Config, store: &Store) -> Result<Vec<RecordingId>, StoreError> {
    let dir = config.data_dir.join("recordings");
    let files: HashSet<String> =
        fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|file| file.file_name().into_string().ok()).collect();
    let mut gone = Vec::new();
    let mut page = Page::first(BATCH);
    loop {
        let rows = store.sessions(&SessionFilter::default(), &page).await?;
        let Some(last) = rows.last() else { break };
        page = page.after(last.id);
        let ended = rows.iter().filter(|row| row.state == SessionState::Ended);
        gone.extend(ended.map(|row| row.recording).filter(|recording| !files.contains(&format!("{recording}.tgr"))));
    }
    if gone.is_empty() {
        return Ok(gone);
    }
    let mut let_go = HashSet::new();
    for name in ["recording.expired", "recording.destroyed"] {
        let filter = EntryFilter { name: Some(name.to_owned()), ..EntryFilter::default() };
        let mut page = EntryPage { limit: BATCH, after: None, newest_first: false };
        loop {
            let entries = store.entries(&filter, page).await?;
            let Some(last) = entries.last() else { break };
            page.after = Some(last.seq);
            let_go.extend(entries.iter().filter_map(|logged| match logged.entry.event {
                Event::RecordingExpired { recording, .. } | Event::RecordingDestroyed { recording, .. } => Some(recording),
                _ => None,
            }));
        }
    }
    gone.retain(|recording| !let_go.contains(recording));
    Ok(gone)
}
