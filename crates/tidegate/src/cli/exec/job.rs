//! Who a CI job is: the OIDC token that its system issues, exchanged for one of the gate's.

use std::path::PathBuf;
use std::time::Duration;

use access::ids::TokenId;
use access::secret::Secret;
use anyhow::{Context as _, bail};
use api::types::oauth::{Exchanged, JWT, TOKEN_EXCHANGE};
use api::types::tokens::Token;
use clap::Args;
use reqwest::Url;
use serde::Deserialize;

use crate::cli::Context;
use crate::client::{Client, Reply};
use crate::output::note;

/// Where a CI system that knows nothing of Tidegate puts the token, if it is told so (GitLab: `id_tokens:`).
const VARIABLE: &str = "TIDEGATE_WORKLOAD_TOKEN";
/// How long a CI system may take to issue one.
const PATIENCE: Duration = Duration::from_secs(30);
/// No token is longer.
const LONGEST: u64 = 64 * 1024;

/// How a job signs in.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "In a CI job")]
pub(crate) struct JobArgs {
    /// The OIDC token of the job is in this file
    #[arg(long, value_name = "FILE", env = "TIDEGATE_WORKLOAD_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
    /// The OIDC token of the job is in this environment variable [default: TIDEGATE_WORKLOAD_TOKEN]
    #[arg(long, value_name = "VARIABLE", conflicts_with = "token_file")]
    pub(super) token_env: Option<String>,
    /// What the token is asked for, if it is not the gate's address
    #[arg(long, value_name = "AUDIENCE", env = "TIDEGATE_AUDIENCE", hide_env_values = true)]
    audience: Option<String>,
}

/// Somebody who signed in.
pub(crate) struct SignedIn {
    pub(crate) client: Client,
    /// What a job got for its token.
    pub(crate) exchanged: Option<Exchanged>,
}

impl SignedIn {
    /// Takes a job's token back; a person's stays theirs.
    pub(crate) async fn sign_out(self) {
        let Some(exchanged) = self.exchanged else { return };
        let id: TokenId = exchanged.token_id;
        let taken: Result<Reply<Token>, _> = self.client.delete(&format!("/tokens/{id}")).await;
        if let Err(error) = taken {
            tracing::debug!(%error, "the job's token stays until it runs out");
        }
    }
}

/// Signs in: with TIDEGATE_TOKEN, as the job of a CI system, or as whoever joined the gate on this machine.
///
/// # Errors
/// If this is a job and it can't get a token, or the gate does not take it; if no gate is known.
pub(crate) async fn sign_in(context: &Context, args: &JobArgs) -> anyhow::Result<SignedIn> {
    let client = context.client()?;
    if context.given().token.is_some() && args.token_file.is_none() && args.token_env.is_none() {
        return Ok(SignedIn { client, exchanged: None });
    }
    let audience = args.audience.clone().unwrap_or_else(|| client.base().as_str().trim_end_matches('/').to_owned());
    let Some(token) = args.token(&audience).await? else { return Ok(SignedIn { client, exchanged: None }) };
    let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token_type", JWT), ("subject_token", token.expose().as_str())];
    let exchanged: Reply<Exchanged> = client.post_form("/oauth/token", &form).await?;
    let client = client.with_token(Secret::new(exchanged.value.access_token.clone()));
    Ok(SignedIn { client, exchanged: Some(exchanged.value) })
}

impl JobArgs {
    /// The job's own token; `None` where there is no job.
    async fn token(&self, audience: &str) -> anyhow::Result<Option<Secret<String>>> {
        if let Some(file) = &self.token_file {
            let cannot = || format!("cannot read the job's token in `{}`", file.display());
            let size = tokio::fs::metadata(file).await.with_context(cannot)?.len();
            if size > LONGEST {
                bail!("`{}` has {size} bytes; a token is not that long", file.display());
            }
            let text = Secret::new(tokio::fs::read_to_string(file).await.with_context(cannot)?);
            return Ok(Some(Secret::new(text.expose().trim().to_owned())));
        }
        let variable = self.token_env.as_deref().unwrap_or(VARIABLE);
        let value = std::env::var(variable).ok().filter(|value| !value.trim().is_empty());
        match value {
            Some(value) => return Ok(Some(Secret::new(value.trim().to_owned()))),
            None if self.token_env.is_some() => {
                bail!("`{variable}` holds no token; in GitLab name it under `id_tokens:` with `aud: {audience}`")
            }
            None => {}
        }
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (var("ACTIONS_ID_TOKEN_REQUEST_URL"), var("ACTIONS_ID_TOKEN_REQUEST_TOKEN")) {
            (Some(url), Some(token)) => from_github(&url, &Secret::new(token), audience).await.map(Some),
            _ if var("GITHUB_ACTIONS").is_some_and(|value| value == "true") => {
                bail!("this job may not ask for an ID token; give it `permissions: id-token: write` in its workflow")
            }
            _ if var("GITLAB_CI").is_some_and(|value| value == "true") => {
                note(format!("This job has no `{VARIABLE}`; name it under `id_tokens:` with `aud: {audience}`."));
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

#[derive(Deserialize)]
struct Issued {
    value: String,
}

/// GitHub's runner issues a token to whoever has the job's request token ("OpenID Connect reference", "Methods for requesting the
/// OIDC token").
async fn from_github(url: &str, bearer: &Secret<String>, audience: &str) -> anyhow::Result<Secret<String>> {
    let mut url = Url::parse(url).context("ACTIONS_ID_TOKEN_REQUEST_URL is no address")?;
    url.query_pairs_mut().append_pair("audience", audience);
    let http =
        reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build().context("cannot set up TLS")?;
    let request = http.get(url).header("accept", "application/json").bearer_auth(bearer.expose());
    let response = request.send().await.map_err(reqwest::Error::without_url).context("GitHub did not issue an ID token to this job")?;
    let status = response.status();
    if !status.is_success() {
        bail!("GitHub did not issue an ID token to this job: it answered {status}");
    }
    let issued: Issued = response.json().await.map_err(reqwest::Error::without_url).context("GitHub's answer holds no ID token")?;
    Ok(Secret::new(issued.value))
}
