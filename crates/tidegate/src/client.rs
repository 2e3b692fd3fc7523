//! The one client of the gate's HTTP API: typed requests, problems (RFC 9457) as errors, pages, and streams.

pub mod lines;
pub mod settings;
pub mod sse;

use std::error::Error;
use std::time::Duration;

use access::secret::Secret;
use api::types::list::Page;
use api::types::problem::Problem;
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use settings::Settings;
use sse::EventStream;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the gate may be silent in the middle of an answer; it sends keep-alives on streams.
const SILENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether a connection on which nothing comes still stands.
const STANDS: Duration = Duration::from_secs(15);
/// How many items one page may have.
const PAGE: u32 = 500;

/// Why a call to the gate came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The gate said no, and why.
    #[error("{}", refused(.0))]
    Refused(Box<Problem>),
    /// Nobody answered.
    #[error("cannot reach the gate at {url}; check the address, or that it runs")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Its certificate is nobody's that is trusted here.
    #[error(
        "the certificate of {url} is not one this machine trusts ({why}); if the gate has its own CA, take its `ca.pem` from whoever runs it and \
         name it with `--ca-file`"
    )]
    Untrusted {
        /// Where.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The answer ended before it was whole.
    #[error("the gate at {url} broke off its answer; try again")]
    BrokenOff {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Something answered, but not as a gate does.
    #[error("what answers at {url} with status {status} does not speak as this release does: {why}")]
    NotUnderstood {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What was wrong with it.
        why: String,
    },
    /// The client itself cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] reqwest::Error),
    /// What the command line knows of the gate is not enough.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
}

fn refused(problem: &Problem) -> String {
    let mut text = problem.refusal().to_string();
    if problem.code == access::reason::Reason::Internal {
        text.push_str(&format!(" [{}]", problem.request_id));
    }
    text
}

/// An answer: as a value, and as the gate wrote it.
#[derive(Debug, Clone)]
pub struct Reply<T> {
    /// What it says.
    pub value: T,
    /// The JSON it came as; `null` if there was none.
    pub json: Value,
    /// Its version, for a change that must not meet another one.
    pub etag: Option<String>,
}

/// The API's client.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// The certificates it trusts, PEM; `None`: the system's.
    certificates: Option<Vec<u8>>,
    base: Url,
    token: Option<Secret<String>>,
}

impl Client {
    /// A client of the gate that the settings name.
    ///
    /// # Errors
    /// If the certificates to trust can't be read or used.
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        Self::with_silence(settings, SILENCE)
    }

    fn with_silence(settings: &Settings, silence: Duration) -> Result<Self, ClientError> {
        let certificates = settings.certificates()?;
        let http = http(certificates.as_deref(), Some(silence))?;
        Ok(Self { http, certificates, base: settings.url.clone(), token: settings.token.clone() })
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(mut self, token: Secret<String>) -> Self {
        self.token = Some(token);
        self
    }

    /// Where the gate is.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Reads something.
    ///
    /// # Errors
    /// If the gate refuses, can't be reached or isn't understood; so for every call below.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<Reply<T>, ClientError> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    /// Does something.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Reply<T>, ClientError> {
        self.answer(self.request(Method::POST, path).header("Idempotency-Key", fresh_key()).json(body)).await
    }

    /// Does something that may take hours: as long as the connection stands, its answer is waited for.
    pub async fn post_at_length<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Reply<T>, ClientError> {
        let patient = Self { http: http(self.certificates.as_deref(), None)?, ..self.clone() };
        patient.post(path, body).await
    }

    /// Does something that is asked for by a form, as OAuth 2.0 has it (RFC 6749, appendix B).
    pub async fn post_form<T: DeserializeOwned>(&self, path: &str, form: &[(&str, &str)]) -> Result<Reply<T>, ClientError> {
        // A URL is what writes forms here; this one is never gone to.
        let mut written = self.base.clone();
        written.set_query(None);
        written.query_pairs_mut().extend_pairs(form);
        let body = Secret::new(written.query().unwrap_or_default().to_owned());
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.answer(request.body(body.expose().clone())).await
    }

    /// Sets something.
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Reply<T>, ClientError> {
        self.answer(self.request(Method::PUT, path).json(body)).await
    }

    /// Changes something that nobody has changed since it was read.
    pub async fn patch<T: DeserializeOwned>(&self, path: &str, etag: &str, body: &impl Serialize) -> Result<Reply<T>, ClientError> {
        self.answer(self.request(Method::PATCH, path).header(IF_MATCH, etag).json(body)).await
    }

    /// Takes something away.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Reply<T>, ClientError> {
        self.answer(self.request(Method::DELETE, path)).await
    }

    /// Reads a list page by page, `limit` items at most.
    pub async fn list<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize, limit: u32) -> Result<Reply<Page<T>>, ClientError> {
        let mut all: Reply<Page<T>> = Reply { value: Page { items: Vec::new(), next_cursor: None }, json: Value::Null, etag: None };
        let mut json: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let left = limit.saturating_sub(u32::try_from(all.value.items.len()).unwrap_or(u32::MAX));
            let place = [("limit", Some(left.clamp(1, PAGE).to_string())), ("cursor", cursor.clone())];
            let request = self.request(Method::GET, path).query(query).query(&place);
            let mut page: Reply<Page<T>> = self.answer(request).await?;
            let got = page.value.items.len();
            all.value.items.append(&mut page.value.items);
            if let Some(items) = page.json.get_mut("items").and_then(Value::as_array_mut) {
                json.append(items);
            }
            cursor = page.value.next_cursor;
            if cursor.is_none() || got == 0 || all.value.items.len() >= limit as usize {
                break;
            }
        }
        all.json = serde_json::json!({ "items": json });
        if let (Some(cursor), Some(object)) = (&cursor, all.json.as_object_mut()) {
            object.insert("next_cursor".to_owned(), Value::String(cursor.clone()));
        }
        all.value.next_cursor = cursor;
        Ok(all)
    }

    /// Reads a body piece by piece.
    pub async fn download(&self, path: &str, query: &impl Serialize) -> Result<Response, ClientError> {
        self.send(self.request(Method::GET, path).query(query)).await
    }

    /// Asks for a body that is read piece by piece.
    pub async fn download_with(&self, path: &str, body: &impl Serialize) -> Result<Response, ClientError> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Listens to server-sent events.
    pub async fn events(&self, path: &str, query: &impl Serialize) -> Result<EventStream, ClientError> {
        let request = self.request(Method::GET, path).query(query).header(ACCEPT, "text/event-stream");
        self.send(request).await.map(EventStream::new)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|source| self.broken_off(source))?;
        Err(match serde_json::from_slice(&body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => self.not_understood(status, "its refusal is not in a form that a gate uses"),
        })
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Reply<T>, ClientError> {
        let response = self.send(request).await?;
        let status = response.status();
        let etag = response.headers().get(ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = response.bytes().await.map_err(|source| self.broken_off(source))?;
        let json: Value = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).map_err(|e| self.not_understood(status, e))?,
        };
        let value = T::deserialize(&json).map_err(|e| self.not_understood(status, e))?;
        Ok(Reply { value, json, etag })
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        if let Some(why) = untrusted(&source) {
            return ClientError::Untrusted { url: self.base.to_string(), why };
        }
        ClientError::Unreachable { url: self.base.to_string(), source: source.without_url() }
    }

    fn broken_off(&self, source: reqwest::Error) -> ClientError {
        ClientError::BrokenOff { url: self.base.to_string(), source: source.without_url() }
    }

    fn not_understood(&self, status: StatusCode, why: impl std::fmt::Display) -> ClientError {
        ClientError::NotUnderstood { url: self.base.to_string(), status: status.as_u16(), why: why.to_string() }
    }
}

/// What calls the gate; `silence` is how long that may keep it waiting in the middle of an answer.
fn http(certificates: Option<&[u8]>, silence: Option<Duration>) -> Result<reqwest::Client, ClientError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .tcp_keepalive(STANDS);
    if let Some(silence) = silence {
        builder = builder.read_timeout(silence);
    }
    if let Some(pem) = certificates {
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(ClientError::Setup)?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(ClientError::Setup)
}

/// What is wrong with the certificate, if that is why nothing came of a call.
fn untrusted(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
        return Some(why.to_string());
    }
    // The `source` of an error of input and output leaves out what it wraps, and these wrap each other.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match wrapped {
        Some(inner) => untrusted(inner),
        None => error.source().and_then(untrusted),
    }
}

/// A key under which one call counts once, however often it arrives.
fn fresh_key() -> String {
    let random: u128 = rand::random();
    format!("{random:032x}")
}

#[cfg(test)]
mod tests;
