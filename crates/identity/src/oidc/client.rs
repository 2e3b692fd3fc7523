//! The calls the gate makes to a provider: its metadata, its keys, and the code for a token. Bounded in time and size, and nothing
//! is followed elsewhere.

use std::time::Duration;

use access::secret::Secret;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use super::jws::Keys;
use super::provider::{Provider, is_private_url};
use super::security_event::Transmitter;
use super::{OidcError, printable};

/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const LARGEST: usize = 1024 * 1024;

/// What a provider publishes of itself (OpenID Connect Discovery 1.0 §3), as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// Who it is; the same as configured.
    pub issuer: String,
    /// Where browsers are sent.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where it says more of whoever signed in.
    pub userinfo_endpoint: Option<String>,
    /// Whether each answer to a browser names the issuer (RFC 9207 §3).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// How clients prove themselves; `client_secret_basic` if it does not say.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Refuses what came back to a browser from another issuer than the one it was sent to (RFC 9207 §2.4).
    ///
    /// # Errors
    /// [`OidcError::Answer`].
    pub fn refuse_other_issuer(&self, iss: Option<&str>) -> Result<(), OidcError> {
        match iss {
            Some(iss) if iss == self.issuer => Ok(()),
            None if !self.authorization_response_iss_parameter_supported => Ok(()),
            Some(_) => Err(OidcError::Answer("another issuer answered than the one that was asked".into())),
            None => Err(OidcError::Answer("it does not name its issuer, though it says that it always does".into())),
        }
    }
}

/// Talks to one provider.
#[derive(Debug, Clone)]
pub struct ProviderClient {
    http: reqwest::Client,
}

/// As much of an issuer's metadata as verifying its tokens takes.
#[derive(Deserialize)]
struct IssuerMetadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
}

/// What a code was redeemed for.
#[derive(Debug)]
pub struct Redeemed {
    /// The ID token, still to be verified.
    pub id_token: String,
    /// What opens the provider's UserInfo endpoint, if it gave it.
    pub access_token: Option<Secret<String>>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

impl ProviderClient {
    /// A client that trusts the machine's roots, or only the PEM certificates given.
    ///
    /// # Errors
    /// If the certificates can't be read or TLS can't be set up.
    pub fn new(roots: Option<&[u8]>) -> Result<Self, OidcError> {
        let set_up = |error: reqwest::Error| OidcError::Unreachable(format!("TLS cannot be set up: {error}"));
        // Somebody in this process may have done so already.
        let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = roots {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).map_err(set_up)?);
        }
        Ok(Self { http: builder.build().map_err(set_up)? })
    }

    /// Asks a provider what it is.
    ///
    /// # Errors
    /// If it does not answer, or answers as another issuer or with addresses that a token must not travel to.
    pub async fn metadata(&self, issuer: &str) -> Result<Metadata, OidcError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let text = self.fetch(self.http.get(url).header(ACCEPT, "application/json")).await?.1;
        let metadata: Metadata =
            serde_json::from_str(&text).map_err(|error| OidcError::Answer(format!("its metadata cannot be read: {error}")))?;
        if metadata.issuer != issuer {
            return Err(OidcError::Answer(format!(
                "it calls itself `{}`, and `tidegate.toml` calls it `{issuer}`; they have to be the same",
                printable(&metadata.issuer)
            )));
        }
        for url in [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri] {
            if !is_private_url(url) {
                return Err(OidcError::Answer(format!("`{}` is no address that a token may travel to", printable(url))));
            }
        }
        Ok(metadata)
    }

    /// Fetches the keys of an issuer that signs nobody in here by a browser, as a CI system: of its metadata only they matter.
    ///
    /// # Errors
    /// If it does not answer, answers as another issuer, or not with keys.
    pub async fn issuer_keys(&self, issuer: &str) -> Result<Keys, OidcError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        self.published_keys(&url, issuer, "workloads.toml").await
    }

    /// Fetches the keys of a transmitter of signals: from where the configuration says, or else from where its own metadata does (SSF 1.0 §7.2).
    ///
    /// # Errors
    /// If it does not answer, answers as another issuer, or not with keys.
    pub async fn transmitter_keys(&self, of: &Transmitter) -> Result<Keys, OidcError> {
        match &of.jwks_uri {
            Some(url) => Keys::parse(&self.fetch(self.http.get(url).header(ACCEPT, "application/json")).await?.1),
            None => self.published_keys(&of.metadata_url()?, &of.issuer, "tidegate.toml").await,
        }
    }

    /// The keys that an issuer's metadata at this address leads to; `file` is where it is named.
    async fn published_keys(&self, url: &str, issuer: &str, file: &str) -> Result<Keys, OidcError> {
        let text = self.fetch(self.http.get(url).header(ACCEPT, "application/json")).await?.1;
        let metadata: IssuerMetadata =
            serde_json::from_str(&text).map_err(|error| OidcError::Answer(format!("its metadata cannot be read: {error}")))?;
        if metadata.issuer != issuer {
            let (theirs, ours) = (printable(&metadata.issuer), issuer);
            return Err(OidcError::Answer(format!("it calls itself `{theirs}`, and `{file}` calls it `{ours}`")));
        }
        if !is_private_url(&metadata.jwks_uri) {
            return Err(OidcError::Answer(format!("`{}` is no address that keys may come from", printable(&metadata.jwks_uri))));
        }
        Keys::parse(&self.fetch(self.http.get(&metadata.jwks_uri).header(ACCEPT, "application/json")).await?.1)
    }

    /// Fetches a provider's keys.
    ///
    /// # Errors
    /// If it does not answer, or not with keys.
    pub async fn keys(&self, metadata: &Metadata) -> Result<Keys, OidcError> {
        Keys::parse(&self.fetch(self.http.get(&metadata.jwks_uri).header(ACCEPT, "application/json")).await?.1)
    }

    /// Redeems a code for an ID token (OpenID Connect Core 1.0 §3.1.3), still to be verified.
    ///
    /// # Errors
    /// [`OidcError::Code`] when the provider does not take it.
    pub async fn redeem(
        &self,
        provider: &Provider,
        metadata: &Metadata,
        secret: Option<&Secret<String>>,
        code: &str,
        pkce: &Secret<String>,
        redirect: &str,
    ) -> Result<Redeemed, OidcError> {
        let mut form =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect), ("code_verifier", pkce.expose())];
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let takes = |name: &str| methods.is_some_and(|all| all.iter().any(|method| method == name));
        let mut request = self.http.post(&metadata.token_endpoint).header(ACCEPT, "application/json");
        match secret {
            Some(secret) if methods.is_some() && !takes("client_secret_basic") && takes("client_secret_post") => {
                form.extend([("client_id", provider.client_id.as_str()), ("client_secret", secret.expose())]);
            }
            // RFC 6749 §2.3.1: both are form-encoded before they are joined.
            Some(secret) => request = request.basic_auth(encoded(&provider.client_id), Some(encoded(secret.expose()))),
            None => form.push(("client_id", &provider.client_id)),
        }
        let mut body = reqwest::Url::parse("form:").map_err(|_| OidcError::Answer("a form cannot be written".into()))?;
        body.query_pairs_mut().extend_pairs(form);
        let body = body.query().unwrap_or_default().to_owned();
        let (good, text) = self.answered(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)).await?;
        if !good {
            let said = serde_json::from_str::<Denied>(&text).map_or_else(|_| "it does not say why".to_owned(), |no| printable(&no.error));
            return Err(OidcError::Code(said));
        }
        let tokens: Tokens = serde_json::from_str(&text).map_err(|_| OidcError::Answer("its tokens cannot be read".into()))?;
        let id_token = tokens
            .id_token
            .ok_or_else(|| OidcError::Answer("there is no ID token in it; the client there has to allow `openid`".into()))?;
        Ok(Redeemed { id_token, access_token: tokens.access_token.map(Secret::new) })
    }

    /// Asks a provider what else it says of whoever its ID token spoke of (OpenID Connect Core 1.0 §5.3). The answer counts for what came over TLS from the
    /// provider itself, as the token did; one that is signed instead is not read.
    ///
    /// # Errors
    /// If it has no such endpoint, does not answer, or speaks of somebody else.
    pub async fn user_info(
        &self,
        metadata: &Metadata,
        access_token: Option<&Secret<String>>,
        subject: &str,
    ) -> Result<serde_json::Map<String, serde_json::Value>, OidcError> {
        let no = |why: &str| OidcError::Answer(why.to_owned());
        let url = metadata.userinfo_endpoint.as_deref().ok_or_else(|| no("it has no UserInfo endpoint; leave `groups_from` out"))?;
        if !is_private_url(url) {
            return Err(OidcError::Answer(format!("`{}` is no address that a token may travel to", printable(url))));
        }
        let token = access_token.ok_or_else(|| no("it gave no access token, which its UserInfo endpoint wants"))?;
        let request = self.http.get(url).header(ACCEPT, "application/json").bearer_auth(token.expose());
        let text = self.fetch(request).await?.1;
        let said: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
            .map_err(|_| no("what its UserInfo endpoint says cannot be read; it has to be plain JSON, not a signed token"))?;
        // §5.3.2: without this anybody's claims could be put in the place of another's.
        if said.get("sub").and_then(serde_json::Value::as_str) != Some(subject) {
            return Err(no("its UserInfo endpoint speaks of somebody else than its token"));
        }
        Ok(said)
    }

    async fn fetch(&self, request: reqwest::RequestBuilder) -> Result<(bool, String), OidcError> {
        match self.answered(request).await? {
            (true, text) => Ok((true, text)),
            (false, _) => Err(OidcError::Unreachable("it answered with an error".into())),
        }
    }

    async fn answered(&self, request: reqwest::RequestBuilder) -> Result<(bool, String), OidcError> {
        let away = |error: reqwest::Error| OidcError::Unreachable(printable(&error.without_url().to_string()));
        let mut response = request.send().await.map_err(away)?;
        let good = response.status().is_success();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(OidcError::Answer("it is too large".into()));
            }
            body.extend_from_slice(&chunk);
        }
        String::from_utf8(body).map(|text| (good, text)).map_err(|_| OidcError::Answer("it is no text".into()))
    }
}

/// `application/x-www-form-urlencoded`, of one value.
fn encoded(text: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse("form:") else { return String::new() };
    url.query_pairs_mut().append_pair("", text);
    url.query().unwrap_or_default().trim_start_matches('=').to_owned()
}
