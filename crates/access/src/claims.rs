//! What a CI system says of a job: the claims of the OIDC token it issues, by which a pipeline is known here.
//!
//! Kept are the claims that say which pipeline it is (repository, branch, environment, workflow), and not those of one run or of
//! the person who set it off: two runs of one pipeline are the same to policy, and nothing personal enters the log.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

codes! {
    /// What a trusted issuer may sign with (RFC 7518 §3.1, RFC 8037 §3.1). Neither `none` nor a shared secret is among them.
    SignatureAlgorithm("signature algorithm") {
        /// RSA PKCS #1 v1.5 with SHA-256.
        Rs256 = "RS256",
        /// RSA PKCS #1 v1.5 with SHA-384.
        Rs384 = "RS384",
        /// RSA PKCS #1 v1.5 with SHA-512.
        Rs512 = "RS512",
        /// RSA PSS with SHA-256.
        Ps256 = "PS256",
        /// RSA PSS with SHA-384.
        Ps384 = "PS384",
        /// RSA PSS with SHA-512.
        Ps512 = "PS512",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384.
        Es384 = "ES384",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

/// The claims of GitHub Actions that say which pipeline a job belongs to ("OpenID Connect reference" of its documentation).
pub const GITHUB: &[&str] = &[
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "repository_visibility",
    "ref",
    "ref_type",
    "ref_protected",
    "base_ref",
    "head_ref",
    "environment",
    "environment_node_id",
    "event_name",
    "workflow",
    "workflow_ref",
    "job_workflow_ref",
    "runner_environment",
    "enterprise",
    "enterprise_id",
];

/// The claims of GitLab that say which pipeline a job belongs to ("OpenID Connect (OIDC) authentication using ID tokens" of its
/// documentation).
pub const GITLAB: &[&str] = &[
    "sub",
    "namespace_id",
    "namespace_path",
    "project_id",
    "project_path",
    "project_visibility",
    "ref",
    "ref_type",
    "ref_path",
    "ref_protected",
    "environment",
    "environment_protected",
    "deployment_tier",
    "environment_action",
    "pipeline_source",
    "runner_environment",
    "ci_config_ref_uri",
];

/// Whether policies can speak of a claim by this name.
#[must_use]
pub fn is_known(name: &str) -> bool {
    GITHUB.contains(&name) || GITLAB.contains(&name)
}

/// Which pipeline a job belongs to, as its issuer signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobClaims {
    /// The issuer's URL.
    pub issuer: String,
    /// The claims, by name; numbers and truth values as text.
    pub claims: BTreeMap<String, String>,
}
json_fields!(JobClaims);

impl JobClaims {
    /// One claim.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.claims.get(name).map(String::as_str)
    }
}

/// The few claims by which people know a pipeline.
impl fmt::Display for JobClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told: Vec<String> = ["repository", "project_path", "ref", "environment"]
            .iter()
            .filter_map(|name| self.get(name).map(|value| format!("{name} `{value}`")))
            .collect();
        if told.is_empty() {
            write!(f, "subject `{}` of {}", self.get("sub").unwrap_or_default(), self.issuer)
        } else {
            write!(f, "{} of {}", told.join(", "), self.issuer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_told_by_what_people_call_it() {
        let of = |claims: &[(&str, &str)]| JobClaims {
            issuer: "https://ci.example".into(),
            claims: claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        let job = of(&[("repository", "acme/shop"), ("ref", "refs/heads/main"), ("sub", "repo:acme/shop:ref:refs/heads/main")]);
        assert_eq!(job.to_string(), "repository `acme/shop`, ref `refs/heads/main` of https://ci.example");
        assert_eq!(of(&[("sub", "job-7")]).to_string(), "subject `job-7` of https://ci.example");
    }
}
