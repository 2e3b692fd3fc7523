//! The policy directory a node watches: taken at start, at SIGHUP, and when it changed and then stayed as it is for a while.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use policy::Bundle;
use store::{Page, Store};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use workflow::Gate;

/// How often the directory is looked at; a change counts once two looks in a row saw the same.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The bundle to start with: the directory's; if that is broken, the one that was in force.
///
/// # Errors
/// If the directory is broken and none was in force.
pub async fn bundle_to_start_with(dir: &Path, store: &Store) -> anyhow::Result<Bundle> {
    let loaded = Bundle::load(dir);
    let Some(in_force) = store.newest_bundle().await? else {
        return loaded.map_err(|problems| {
            anyhow::anyhow!("cannot use the policy directory `{}`, and no earlier policy is in force:\n{problems}", dir.display())
        });
    };
    match loaded {
        Ok(bundle) if bundle.digest() == in_force.digest => return Ok(bundle),
        Ok(_) if !equals_head(dir).await => {
            tracing::error!("the policy directory `{}` is not what its Git HEAD says; the policy in force stays in force", dir.display());
        }
        Ok(bundle) if was_replaced(store, bundle.digest()).await? => {
            tracing::error!(
                "the policy directory `{}` holds a policy that was replaced by a later one; that one stays in force until the directory changes",
                dir.display()
            );
        }
        Ok(bundle) => return Ok(bundle),
        Err(problems) => {
            tracing::error!("the policy directory `{}` has mistakes; the policy in force stays in force:\n{problems}", dir.display());
        }
    }
    let files = store.bundle_files(&in_force.digest).await?;
    let files = files.into_iter().map(|file| (file.path, file.content.into_bytes())).collect();
    match Bundle::from_files(files) {
        Ok(bundle) => Ok(bundle),
        Err(problems) => bail!("neither the policy directory nor the kept bundle {} can be used:\n{problems}", in_force.digest),
    }
}

/// Whether a bundle was in force once and then another came.
async fn was_replaced(store: &Store, digest: &str) -> anyhow::Result<bool> {
    let mut page = Page::first(500);
    loop {
        let activations = store.bundles(&page).await?;
        let Some(last) = activations.last() else { return Ok(false) };
        page = page.after(last.id);
        if activations.iter().any(|row| row.digest == digest) {
            return Ok(true);
        }
    }
}

/// Takes the directory whenever it changed, until told to stop.
pub async fn watch(gate: Arc<Gate>, dir: PathBuf, stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return tracing::error!("SIGHUP cannot be listened for; restart to take a changed policy directory");
    };
    let mut taken = Some(gate.bundle().digest().to_owned());
    let mut seen: Option<String> = None;
    loop {
        let told = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let mark = mark(&dir).await;
        let stable = seen == mark;
        seen.clone_from(&mark);
        if !told && (!stable || mark == taken || mark.is_none() || !equals_head(&dir).await) {
            continue;
        }
        taken = mark;
        match gate.reload_bundle(&dir).await {
            Ok(activated) if activated.changed => {
                tracing::info!(digest = activated.digest, withdrawn = activated.withdrawn.len(), "a new policy is in force")
            }
            Ok(_) => {}
            Err(refusal) => tracing::error!("the policy directory is not taken; the policy before stays in force: {refusal}"),
        }
    }
}

/// What tells two states of the directory apart: the bundle's digest, or for a broken one its mistakes.
async fn mark(dir: &Path) -> Option<String> {
    let dir = dir.to_owned();
    let loaded = tokio::task::spawn_blocking(move || Bundle::load(&dir)).await.ok()?;
    Some(match loaded {
        Ok(bundle) => bundle.digest().to_owned(),
        Err(problems) => problems.to_string(),
    })
}

/// Whether the directory is no Git work tree, or is exactly what its HEAD says.
async fn equals_head(dir: &Path) -> bool {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(dir).args(args).stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    // Git that is missing, or refuses to look, is no yes.
    if !dir.ancestors().any(|above| above.join(".git").exists()) {
        return true;
    }
    matches!(git(&["status", "--porcelain", "--", "."]).output().await, Ok(status) if status.status.success() && status.stdout.is_empty())
}
