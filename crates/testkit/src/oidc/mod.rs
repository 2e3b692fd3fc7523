//! npm's `oidc-provider`, a certified OpenID provider, on a free port of loopback; and a browser that goes there and comes back.
//!
//! `scripts/packages` installs it under `.cache/oidc-provider`.

pub mod ci;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Who the gate is there.
pub const CLIENT: (&str, &str) = ("tidegate", "a secret of thirty-two characters");

/// A provider that runs until this value is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    /// Its issuer.
    pub issuer: String,
    http: reqwest::Client,
    _open: ChildStdin,
    _child: Child,
}

impl OidcProvider {
    /// Starts one where the gate at `gate` is registered as a client, its provider called `name` there. Whoever comes is signed in as
    /// `ana-1`.
    ///
    /// # Errors
    /// If Node or the package is not installed, or it does not start.
    pub async fn start(gate: &str, name: &str) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let home = root.join(".cache/oidc-provider");
        ensure!(home.join("node_modules/oidc-provider").is_dir(), "npm's `oidc-provider` is not here; run `scripts/packages`");
        let mut child = Command::new("node")
            .arg(root.join("crates/testkit/src/oidc/provider.mjs"))
            .arg(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run `node`")?;
        let base = format!("{gate}/api/v1/sign-in/oidc/{name}");
        let settings = json!({
            "current": "ana-1",
            "accounts": { "ana-1": { "name": "Ana", "preferred_username": "ana", "email": "ben@example.com", "groups": ["Platform Team"] } },
            "client": {
                "client_id": CLIENT.0, "client_secret": CLIENT.1,
                "redirect_uris": [format!("{base}/callback")],
                "backchannel_logout_uri": format!("{base}/logout"), "backchannel_logout_session_required": true,
            },
        });
        let mut open = child.stdin.take().context("no standard input")?;
        open.write_all(format!("{settings}\n").as_bytes()).await?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let issuer =
            tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await.context("`oidc-provider` does not start")??;
        let issuer = issuer.context("`oidc-provider` ended at once")?;
        Ok(Self { issuer, http: reqwest::Client::new(), _open: open, _child: child })
    }

    /// From now on whoever comes is signed in as this, with these claims if any are given. `nobody`: they are turned away.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub async fn sign_in_as(&self, id: &str, claims: Option<Value>) -> Result<()> {
        self.tell("/test/become", json!({ "id": id, "claims": claims })).await
    }

    /// Signs somebody out, and tells the gate so.
    ///
    /// # Errors
    /// If the provider does not answer, or the gate does not take it.
    pub async fn log_out(&self, subject: &str, sid: &str) -> Result<()> {
        self.tell("/test/log-out", json!({ "sub": subject, "sid": sid })).await
    }

    async fn tell(&self, path: &str, what: Value) -> Result<()> {
        let answer = self.http.post(format!("{}{path}", self.issuer)).body(what.to_string()).send().await?;
        let (good, text) = (answer.status().is_success(), answer.text().await?);
        ensure!(good, "{path}: {text}");
        Ok(())
    }
}

/// As much of a browser as a sign-in needs: it follows, and keeps cookies by host and port.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// Where a browser has come to.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The address.
    pub url: String,
    /// The status.
    pub status: u16,
    /// The page.
    pub text: String,
}

impl Browser {
    /// A new one, without a cookie.
    ///
    /// # Errors
    /// If it can't be set up.
    pub fn new() -> Result<Self> {
        Ok(Self { http: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?, cookies: BTreeMap::new() })
    }

    /// The value of a cookie of a server's.
    #[must_use]
    pub fn cookie(&self, server: &str, name: &str) -> Option<&str> {
        let url = reqwest::Url::parse(server).ok()?;
        self.cookies.get(&place(&url))?.get(name).map(String::as_str)
    }

    /// Goes to an address and follows from there, until a page, or until it would go to an address that `stop` is part of.
    ///
    /// # Errors
    /// If a server does not answer, or leads around in circles.
    pub async fn go(&mut self, url: &str, stop: Option<&str>) -> Result<Arrived> {
        let mut url = reqwest::Url::parse(url)?;
        for _ in 0..20 {
            let known = self.cookies.entry(place(&url)).or_default();
            let cookies: Vec<String> = known.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut request = self.http.get(url.clone()).header("accept", "text/html");
            if !cookies.is_empty() {
                request = request.header(COOKIE, cookies.join("; "));
            }
            let response = request.send().await?;
            let known = self.cookies.entry(place(&url)).or_default();
            for set in response.headers().get_all(SET_COOKIE) {
                let text = set.to_str()?;
                let Some((name, rest)) = text.split_once('=') else { continue };
                known.insert(name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned());
            }
            let status = response.status();
            let Some(next) = response.headers().get(LOCATION).filter(|_| status.is_redirection()) else {
                return Ok(Arrived { url: url.into(), status: status.as_u16(), text: response.text().await? });
            };
            url = url.join(next.to_str()?)?;
            if stop.is_some_and(|stop| url.as_str().contains(stop)) {
                return Ok(Arrived { url: url.into(), status: status.as_u16(), text: String::new() });
            }
        }
        bail!("led around in circles, at last to {url}")
    }
}

fn place(url: &reqwest::Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
