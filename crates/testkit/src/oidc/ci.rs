//! A CI system: an OpenID provider whose keys sign what a test says a job is, with the claims that GitHub and GitLab document.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::node::Node;

/// What a job of GitHub's shows to get its token, in `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
pub const REQUEST_TOKEN: &str = "the job may ask";

/// A CI system that runs until this value is dropped.
#[derive(Debug)]
pub struct CiIssuer {
    /// Its issuer.
    pub issuer: String,
    node: Node,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    /// By the issuer's own key.
    Issuer,
    /// By a key that nobody published, under the id of one that somebody did.
    Stranger,
    /// Not at all, as `alg: none`.
    Nobody,
    /// As HS256, with the public key for a secret.
    PublicKey,
    /// By the issuer's own key, under an id that it never published.
    UnknownId,
}

impl CiIssuer {
    /// Starts one.
    ///
    /// # Errors
    /// If Node or the package is not installed, or it does not start.
    pub async fn start() -> Result<Self> {
        let node = Node::start("ci.mjs", None).await?;
        Ok(Self { issuer: node.issuer.clone(), node })
    }

    /// Where a job of GitHub's asks for its token: `ACTIONS_ID_TOKEN_REQUEST_URL`.
    #[must_use]
    pub fn request_url(&self) -> String {
        format!("{}/actions/idtoken?api-version=2.0", self.issuer)
    }

    /// From now on jobs are this: [`github`], [`gitlab`], or what else.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn runs(&self, job: &Value) -> Result<()> {
        self.node.tell("/test/job", job).await.map(drop)
    }

    /// A token of the job for an audience, with other claims where `change` names them (`null`: without).
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn token(&self, audience: &str, change: Value, by: SignedBy) -> Result<String> {
        let how = match by {
            SignedBy::Issuer => json!({}),
            SignedBy::Stranger => json!({ "by": "stranger" }),
            SignedBy::Nobody => json!({ "by": "none" }),
            SignedBy::PublicKey => json!({ "by": "public" }),
            SignedBy::UnknownId => json!({ "header": { "kid": "nobody-published-this" } }),
        };
        let issued = self.node.tell("/test/token", &json!({ "audience": audience, "change": change, "how": how })).await?;
        issued["value"].as_str().map(str::to_owned).context("no token")
    }

    /// It signs with a new key from now on, and publishes that alone.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn rotate(&self, kid: &str) -> Result<()> {
        self.node.tell("/test/keys", &json!({ "rotate": kid })).await.map(drop)
    }

    /// Nobody can ask it for its keys from now on, or everybody again.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn go_away(&self, gone: bool) -> Result<()> {
        self.node.tell("/test/keys", &json!({ "gone": gone })).await.map(drop)
    }

    /// How often it was asked for its keys.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn asked_for_keys(&self) -> Result<u64> {
        self.node.tell("/test/keys", &json!({})).await?["jwks"].as_u64().context("no count")
    }
}

/// What GitHub says of a job ("OpenID Connect reference", "OIDC token claims"): of `acme/shop`, or of whose id this is.
#[must_use]
pub fn github(repository: (&str, &str), reference: &str, environment: Option<&str>) -> Value {
    let (name, id) = repository;
    let owner = name.split('/').next().unwrap_or_default();
    let context = environment.map_or_else(|| format!("ref:{reference}"), |name| format!("environment:{name}"));
    json!({
        "sub": format!("repo:{name}:{context}"),
        "environment": environment,
        "ref": reference,
        "ref_type": "branch",
        "ref_protected": if reference == "refs/heads/main" { "true" } else { "false" },
        "sha": "d6fd9b6a6e5e6a0b1f3b7f4f2f4b2b8f5d3c1a90",
        "repository": name,
        "repository_id": id,
        "repository_owner": owner,
        "repository_owner_id": "65",
        "repository_visibility": "private",
        "run_id": "30433642", "run_number": "10", "run_attempt": "1",
        "actor": "ana", "actor_id": "12",
        "workflow": "release",
        "workflow_ref": format!("{name}/.github/workflows/release.yml@{reference}"),
        "job_workflow_ref": format!("{name}/.github/workflows/release.yml@{reference}"),
        "head_ref": "", "base_ref": "",
        "event_name": "push",
        "runner_environment": "github-hosted",
    })
}

/// What GitLab says of a job ("OpenID Connect (OIDC) authentication using ID tokens", "Token payload").
#[must_use]
pub fn gitlab(project: (&str, &str), branch: &str, environment: Option<&str>) -> Value {
    let (path, id) = project;
    json!({
        "sub": format!("project_path:{path}:ref_type:branch:ref:{branch}"),
        "namespace_id": "72", "namespace_path": path.split('/').next().unwrap_or_default(),
        "project_id": id, "project_path": path, "project_visibility": "private",
        "user_id": "1", "user_login": "ana", "user_email": "ana@example.com", "user_access_level": "developer",
        "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
        "ref": branch, "ref_type": "branch", "ref_path": format!("refs/heads/{branch}"), "ref_protected": "true",
        "environment": environment, "environment_protected": environment.map(|_| "true"),
        "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "ci_config_ref_uri": format!("gitlab.example.com/{path}//.gitlab-ci.yml@refs/heads/{branch}"),
    })
}
