//! A server of this folder that runs in Node: started, told things over HTTP, and ended with the value that holds it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// It runs until this value is dropped.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it is: its issuer.
    pub(super) issuer: String,
    http: reqwest::Client,
    _open: ChildStdin,
    _child: Child,
}

impl Node {
    /// Starts a script, with its settings as the first line that it reads if it has any.
    ///
    /// # Errors
    /// If Node or the package is not installed, or it does not start.
    pub(super) async fn start(script: &str, settings: Option<&Value>) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let home = root.join(".cache/oidc-provider");
        ensure!(home.join("node_modules/oidc-provider").is_dir(), "npm's `oidc-provider` is not here; run `scripts/packages`");
        let mut child = Command::new("node")
            .arg(root.join("crates/testkit/src/oidc").join(script))
            .arg(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run `node`")?;
        let mut open = child.stdin.take().context("no standard input")?;
        if let Some(settings) = settings {
            open.write_all(format!("{settings}\n").as_bytes()).await?;
        }
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let said = tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await;
        let issuer = said.with_context(|| format!("`{script}` does not start"))??.with_context(|| format!("`{script}` ended at once"))?;
        Ok(Self { issuer, http: reqwest::Client::new(), _open: open, _child: child })
    }

    /// Tells it something; what it answers, if that is JSON.
    ///
    /// # Errors
    /// If it does not answer, or does not take it.
    pub(super) async fn tell(&self, path: &str, what: &Value) -> Result<Value> {
        let answer = self.http.post(format!("{}{path}", self.issuer)).body(what.to_string()).send().await?;
        let (good, text) = (answer.status().is_success(), answer.text().await?);
        ensure!(good, "{path}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}
