//! An identity provider as the configuration names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use access::names::{GroupName, SecretName};
use access::time::Span;

/// Where the secret is by which the gate proves itself to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSecret {
    /// In a file, read at each use.
    File(PathBuf),
    /// Sealed in the store: `tidegate secret set`.
    Sealed(SecretName),
    /// There is none: a public client, which PKCE alone protects.
    Public,
}

/// Where a provider says somebody's groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupsFrom {
    /// In the ID token.
    #[default]
    IdToken,
    /// At its UserInfo endpoint (OpenID Connect Core 1.0 §5.3): providers leave groups out of tokens that would grow too long, or out of all.
    UserInfo,
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name in URLs.
    pub name: String,
    /// What people read on the button.
    pub title: String,
    /// The issuer, exactly as its tokens and its metadata say it.
    pub issuer: String,
    /// Who the gate is there.
    pub client_id: String,
    /// How it proves that.
    pub client_secret: ClientSecret,
    /// Scopes asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// Where that claim is.
    pub groups_from: GroupsFrom,
    /// The provider's groups that mean something here. All others mean nothing.
    pub groups: BTreeMap<String, GroupName>,
    /// How long what the provider said of somebody's groups counts. After that they have to sign in again to have them.
    pub groups_last: Span,
    /// Whether somebody unknown is made known at their first sign-in.
    pub provision: bool,
}

impl Provider {
    /// The local groups that a list of the provider's means, each once, in order.
    #[must_use]
    pub fn local_groups(&self, theirs: &[String]) -> Vec<GroupName> {
        let found: BTreeSet<&GroupName> = theirs.iter().filter_map(|group| self.groups.get(group)).collect();
        found.into_iter().cloned().collect()
    }

    /// Whether a sign-in at this provider can give this group now.
    #[must_use]
    pub fn gives(&self, group: &GroupName) -> bool {
        self.groups.values().any(|given| given == group)
    }
}

/// Whether an address is one that tokens may travel to: HTTPS, or this machine itself.
#[must_use]
pub fn is_private_url(text: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(text) else { return false };
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    plain && url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && here))
}
