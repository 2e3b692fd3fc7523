//! The policy directory a node watches: taken at start, at SIGHUP, and when it changed and then stayed as it is for a while.

mod git;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::event::Event;
use access::reason::Reason;
use access::request::Door;
use anyhow::bail;
use policy::{Bundle, Problems};
use store::{EntryFilter, EntryPage, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use workflow::Gate;

pub use git::{Head, head};

/// How often the directory is looked at; a change counts once two looks in a row saw the same.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a node starts with.
#[derive(Debug)]
pub struct Start {
    /// The policy.
    pub bundle: Bundle,
    /// The digest of what the directory holds, where that is passed over because it was put out of force: it waits until the directory changes.
    pub passed_over: Option<String>,
}

impl From<Bundle> for Start {
    fn from(bundle: Bundle) -> Self {
        Self { bundle, passed_over: None }
    }
}

/// The bundle to start with: the directory's; if that is broken, not committed or was put out of force, the one that was in force.
///
/// # Errors
/// If the directory is broken and none was in force.
pub async fn bundle_to_start_with(dir: &Path, store: &Store) -> anyhow::Result<Start> {
    let loaded = Bundle::load(dir);
    let Some(in_force) = store.newest_bundle().await? else {
        return loaded.map(Start::from).map_err(|problems| {
            anyhow::anyhow!("cannot use the policy directory `{}`, and no earlier policy is in force:\n{problems}", dir.display())
        });
    };
    let mut passed_over = None;
    match loaded {
        Ok(bundle) if bundle.digest() == in_force.digest => return Ok(bundle.into()),
        Ok(bundle) if was_put_out_of_force(store, bundle.digest()).await? => {
            tracing::error!(
                "the policy directory `{}` holds a policy that somebody replaced by a push or a rollback; that one stays in force until the \
                 directory changes",
                dir.display()
            );
            passed_over = Some(bundle.digest().to_owned());
        }
        Ok(bundle) => match head(dir).await {
            Head::Equal => return Ok(bundle.into()),
            other => tracing::error!("{}; the policy in force stays in force", other.says(dir)),
        },
        Err(problems) => {
            tracing::error!("the policy directory `{}` has mistakes; the policy in force stays in force:\n{problems}", dir.display());
        }
    }
    let files = store.bundle_files(&in_force.digest).await?;
    let files = files.into_iter().map(|file| (file.path, file.content.into_bytes())).collect();
    match Bundle::from_files(files) {
        Ok(bundle) => Ok(Start { bundle, passed_over }),
        Err(problems) => bail!("neither the policy directory nor the kept bundle {} can be used:\n{problems}", in_force.digest),
    }
}

/// Whether a bundle was in force, and then somebody pushed another or put one back. What the directory itself replaced, it may bring back.
pub(crate) async fn was_put_out_of_force(store: &Store, digest: &str) -> anyhow::Result<bool> {
    let filter = EntryFilter { name: Some("bundle.activated".to_owned()), ..EntryFilter::default() };
    let mut page = EntryPage { limit: 500, after: None, newest_first: true };
    loop {
        let entries = store.entries(&filter, page).await?;
        let Some(last) = entries.last() else { return Ok(false) };
        page.after = Some(last.seq);
        for logged in &entries {
            if let Event::BundleActivated { previous: Some(previous), .. } = &logged.entry.event
                && previous == digest
            {
                return Ok(logged.entry.door != Door::Gate);
            }
        }
    }
}

/// Takes the directory whenever it changed, until told to stop. `passed_over`: what it held at the start and is not to be taken.
pub async fn watch(gate: Arc<Gate>, dir: PathBuf, passed_over: Option<String>, stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return tracing::error!("SIGHUP cannot be listened for; restart to take a changed policy directory");
    };
    let mut taken = Some(passed_over.unwrap_or_else(|| gate.bundle().digest().to_owned()));
    let mut seen: Option<String> = None;
    // What was said last, so that it is said once.
    let (mut of_git, mut left_out, mut of_trying) = (Head::Equal, Vec::new(), String::new());
    let mut told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => told = true,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let Some(look) = Look::at(&dir).await else { continue };
        let stable = seen.as_ref() == Some(&look.mark);
        seen = Some(look.mark.clone());
        if let Ok(bundle) = &look.loaded
            && bundle.left_out() != left_out
        {
            left_out = bundle.left_out().to_vec();
            left_out.iter().for_each(|problem| tracing::warn!("the policy directory: {problem}"));
        }
        if !told {
            if taken.as_ref() == Some(&look.mark) {
                of_git = Head::Equal;
                continue;
            }
            if !stable {
                continue;
            }
            let head = head(&dir).await;
            if head != of_git && head != Head::Equal {
                tracing::error!("{}; the policy in force stays in force", head.says(&dir));
            }
            of_git = head;
            if of_git != Head::Equal {
                continue;
            }
        }
        // What was looked at is what is taken, whatever stands there by now.
        let Look { mark, loaded } = look;
        match gate.take_directory(loaded).await {
            Ok(activated) if activated.changed => {
                tracing::info!(digest = activated.digest, withdrawn = activated.withdrawn.len(), "a new policy is in force");
            }
            Ok(_) => {}
            Err(refusal) if refusal.reason == Reason::Invalid => {
                tracing::error!("the policy directory is not taken; the policy before stays in force: {refusal}");
            }
            // INVARIANT: what could not even be tried is tried again, as it was asked for.
            Err(refusal) => {
                let says = refusal.to_string();
                if says != of_trying {
                    tracing::error!("the policy directory could not be taken yet, and is tried again until it is: {says}");
                }
                of_trying = says;
                continue;
            }
        }
        of_trying.clear();
        (taken, told) = (Some(mark), false);
    }
}

/// The directory as it was at one moment.
struct Look {
    /// What tells two states of it apart: the bundle's digest, or its mistakes.
    mark: String,
    loaded: Result<Bundle, Problems>,
}

impl Look {
    async fn at(dir: &Path) -> Option<Self> {
        let dir = dir.to_owned();
        let loaded = tokio::task::spawn_blocking(move || Bundle::load(&dir)).await.ok()?;
        let mark = match &loaded {
            Ok(bundle) => bundle.digest().to_owned(),
            Err(problems) => problems.to_string(),
        };
        Some(Self { mark, loaded })
    }
}
