//! For how long recordings were kept by the policies that were in force lately.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::names::ResourceName;
use access::reason::Refusal;
use access::session::SessionRow;
use access::time::Span;
use jiff::Timestamp;
use policy::{Bundle, NOTICE};
use store::Page;

use crate::gate::{Gate, unavailable};

/// Activations that are read at once.
const PAGE: u32 = 100;

/// For how long recordings are kept by one policy, by resource. What is not named is kept until somebody destroys it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept(BTreeMap<ResourceName, Span>);

impl Kept {
    fn by(bundle: &Bundle) -> Self {
        Self(bundle.resources().filter_map(|resource| Some((resource.name.clone(), bundle.kept(&resource.name)?.1))).collect())
    }

    /// Whether a session's recording was kept long enough.
    pub(super) fn is_over(&self, row: &SessionRow, now: Timestamp) -> bool {
        let (Some(ended), Some(kept)) = (row.ended_at, self.0.get(&row.resource)) else { return false };
        kept.after(ended) <= now
    }
}

impl Gate {
    /// What every policy says that was in force at some moment of the last [`NOTICE`], besides the one that is now.
    pub(super) async fn kept_lately(&self, now: Timestamp) -> Result<Vec<Arc<Kept>>, Refusal> {
        let since = now.checked_sub(NOTICE.as_std()).unwrap_or(Timestamp::MIN);
        let in_force = self.bundle.load().digest().to_owned();
        let mut digests = Vec::new();
        let mut page = Page::first(PAGE);
        'all: loop {
            let rows = self.store.bundles(&page).await.map_err(unavailable)?;
            let Some(last) = rows.last() else { break };
            page = page.after(last.id);
            for row in rows {
                if row.digest != in_force && !digests.contains(&row.digest) {
                    digests.push(row.digest);
                }
                // What came before it was over by then.
                if row.activated_at <= since {
                    break 'all;
                }
            }
        }
        let mut known = self.retention.kept.lock().await;
        known.retain(|digest, _| digests.contains(digest));
        for digest in &digests {
            if !known.contains_key(digest) {
                let kept = Arc::new(self.kept_by(digest).await?);
                known.insert(digest.clone(), kept);
            }
        }
        Ok(known.values().cloned().collect())
    }

    /// By a policy that was in force once. One that cannot be read any more lets nothing go.
    async fn kept_by(&self, digest: &str) -> Result<Kept, Refusal> {
        let files = self.store.bundle_files(digest).await.map_err(unavailable)?;
        let files = files.into_iter().map(|file| (file.path, file.content.into_bytes())).collect();
        let read = tokio::task::spawn_blocking(move || Bundle::from_files(files).map(|bundle| Kept::by(&bundle))).await;
        match read {
            Ok(Ok(kept)) => Ok(kept),
            _ => {
                tracing::warn!(digest, "a policy of the last days cannot be read any more, so no recording goes until it is {NOTICE} old");
                Ok(Kept::default())
            }
        }
    }
}
