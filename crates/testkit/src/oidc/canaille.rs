//! Canaille from PyPI, an OpenID provider of another make, on a free port of loopback: people sign in there by its own forms.
//!
//! `scripts/packages` installs it under `.cache/canaille`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::{Arrived, Browser, CLIENT};

/// What everybody's password is there.
const PASSWORD: &str = "correct horse battery staple";

/// One that runs until this value is dropped. `ana` and `ben` have accounts there; she is in the group `platform`.
#[derive(Debug)]
pub struct Canaille {
    /// Its issuer.
    pub issuer: String,
    _open: ChildStdin,
    _child: Child,
}

impl Canaille {
    /// Starts one where the gate at `gate` is registered as a client, its provider called `name` there.
    ///
    /// # Errors
    /// If it is not installed, or does not start.
    pub async fn start(gate: &str, name: &str) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = root.join(".cache/canaille/bin/python");
        ensure!(python.is_file(), "Canaille is not here; run `scripts/packages`");
        let mut child = Command::new(python)
            .arg(root.join("crates/testkit/src/oidc/another.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run Canaille")?;
        let settings = json!({
            "client_id": CLIENT.0, "client_secret": CLIENT.1, "redirect_uri": format!("{gate}/api/v1/sign-in/oidc/{name}/callback"),
            "password": PASSWORD,
        });
        let mut open = child.stdin.take().context("no standard input")?;
        open.write_all(format!("{settings}\n").as_bytes()).await?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let issuer = tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await.context("Canaille does not start")??;
        Ok(Self { issuer: issuer.context("Canaille ended at once")?, _open: open, _child: child })
    }

    /// Somebody signs in at its page, where a browser was led to; the browser follows until it would go to an address that `stop` is
    /// part of.
    ///
    /// # Errors
    /// If the page is another.
    pub async fn sign_in(&self, browser: &mut Browser, page: &Arrived, who: &str, stop: &str) -> Result<Arrived> {
        let password = browser.fill(page, &[("login", who)], Some(stop)).await?;
        browser.fill(&password, &[("password", PASSWORD)], Some(stop)).await
    }

    /// Somebody tries with a password that is not theirs.
    ///
    /// # Errors
    /// If the page is another.
    pub async fn fail(&self, browser: &mut Browser, page: &Arrived, who: &str, stop: &str) -> Result<Arrived> {
        let password = browser.fill(page, &[("login", who)], Some(stop)).await?;
        browser.fill(&password, &[("password", "guessed")], Some(stop)).await
    }
}
