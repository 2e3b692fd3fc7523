//! Whether a policy directory is what its Git says.

use std::path::Path;
use std::process::{Output, Stdio};

use access::inert::inert;
use policy::Bundle;
use tokio::process::Command;

/// How a directory stands to the HEAD of its Git work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// It is exactly what HEAD says, or in no work tree.
    Equal,
    /// It is not; this is one of the files.
    Differs(String),
    /// Git is missing or refuses to look, in its words.
    Untold(String),
}

impl Head {
    /// As a sentence, with what to do.
    pub fn says(&self, dir: &Path) -> String {
        let dir = dir.display();
        match self {
            Self::Equal => format!("the policy directory `{dir}` is what its Git HEAD says"),
            Self::Differs(file) => {
                format!(
                    "the policy directory `{dir}` is not what its Git HEAD says: `{file}` is not committed; commit it, or put it elsewhere"
                )
            }
            Self::Untold(words) => format!(
                "Git does not tell whether the policy directory `{dir}` is what its HEAD says, so nothing new in it is taken: {words}; install \
                 Git, let the user that the gate runs as own the work tree, or run `git config --system --add safe.directory WORK-TREE`"
            ),
        }
    }
}

/// How a directory stands to Git.
pub async fn head(dir: &Path) -> Head {
    if !dir.ancestors().any(|above| above.join(".git").exists()) {
        return Head::Equal;
    }
    // INVARIANT: Git that is missing, or refuses to look, is no yes.
    match differs(dir).await {
        Ok(None) => Head::Equal,
        Ok(Some(file)) => Head::Differs(inert(&file)),
        Err(words) => Head::Untold(inert(&words)),
    }
}

/// The first file that is not as HEAD has it; of what Git ignores, only parts of the policy count.
async fn differs(dir: &Path) -> Result<Option<String>, String> {
    let changed = git(dir, &["status", "--porcelain", "-z", "--", "."]).await?;
    if let Some(first) = changed.first() {
        return Ok(Some(first.get(3..).unwrap_or(first).to_owned()));
    }
    let ignored = git(dir, &["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", "."]).await?;
    let Some(first) = ignored.into_iter().find(|path| Bundle::reads(path)) else { return Ok(None) };
    // A directory that is ignored whole, of which Git keeps nothing, is none of its own.
    let kept = git(dir, &["ls-files", "-z", "--", "."]).await?;
    Ok((!kept.is_empty()).then_some(first))
}

/// What Git lists, or why it does not.
async fn git(dir: &Path, args: &[&str]) -> Result<Vec<String>, String> {
    let mut command = Command::new("git");
    // Somebody may commit there at this moment: what only looks takes no lock.
    command.args(["--no-optional-locks", "-C"]).arg(dir).args(args).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().await.map_err(|error| format!("`git` cannot be run: {error}"))?;
    if !status.success() {
        let words = String::from_utf8_lossy(&stderr).lines().next().unwrap_or_default().trim().to_owned();
        return Err(if words.is_empty() { format!("`git` ended with {status}") } else { words });
    }
    Ok(stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(|line| String::from_utf8_lossy(line).into_owned()).collect())
}
