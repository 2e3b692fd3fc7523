//! HashiCorp's Vault and OpenBao, by the HTTP API that both have (<https://developer.hashicorp.com/vault/api-docs>,
//! <https://openbao.org/api-docs/>): a login, and a read.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use access::secret::Secret;
use access::vault::VaultSecret;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url, redirect};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use super::{HashicorpSettings, SignIn, Trouble, field_of, on_the_way};

/// The largest answer that is read.
const LARGEST: usize = 1024 * 1024;

/// What asks one of them.
pub(super) struct Hashicorp {
    http: Client,
    settings: HashicorpSettings,
    /// The token of the newest login. Whoever comes while somebody signs in waits for that one.
    login: Mutex<Arc<OnceCell<Secret<String>>>>,
}

/// What is read of the answer to a login.
#[derive(Deserialize)]
struct Login {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
}

/// What is read of the answer to a read.
#[derive(Deserialize)]
struct Read {
    data: Option<Map<String, Value>>,
}

impl Hashicorp {
    pub(super) fn new(settings: HashicorpSettings, roots: Option<&[u8]>) -> Result<Self, reqwest::Error> {
        // Somebody in this process may have done so already.
        let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder =
            Client::builder().redirect(redirect::Policy::none()).no_proxy().user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = roots {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        Ok(Self { http: builder.build()?, settings, login: Mutex::default() })
    }

    /// A field of a secret as it is now.
    pub(super) async fn read(&self, secret: &VaultSecret) -> Result<Secret<String>, Trouble> {
        let Some(field) = secret.field() else { return Err(Trouble::FieldNeeded(secret.path().to_owned())) };
        let login = self.login();
        let token = self.token(&login).await?;
        match self.ask(secret.path(), field, &token).await {
            // Tokens end. Who signs in by a role gets another one, once.
            Err(Trouble::Denied(_)) if !matches!(self.settings.sign_in, SignIn::TokenFile(_)) => {
                self.forget(&login);
                let token = self.token(&self.login()).await?;
                self.ask(secret.path(), field, &token).await
            }
            other => other,
        }
    }

    /// Whether it answers and lets the gate in.
    pub(super) async fn look(&self) -> Result<(), Trouble> {
        let token = self.token(&self.login()).await?;
        let SignIn::TokenFile(_) = &self.settings.sign_in else { return Ok(()) };
        // Nobody has looked at it yet.
        let (status, body) = self.send(self.request(Method::GET, "auth/token/lookup-self")?.with(&token)?).await?;
        match status {
            200 => Ok(()),
            403 => {
                Err(Trouble::NotSignedIn { said: "HTTP 403".to_owned(), advice: "the token in `token_file` has ended or is not its own" })
            }
            _ => Err(failing(status, &body)),
        }
    }

    fn login(&self) -> Arc<OnceCell<Secret<String>>> {
        Arc::clone(&self.login.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A login is refused; if nobody has begun another one, the next who needs one does.
    fn forget(&self, refused: &Arc<OnceCell<Secret<String>>>) {
        let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&login, refused) {
            *login = Arc::default();
        }
    }

    async fn token(&self, login: &OnceCell<Secret<String>>) -> Result<Secret<String>, Trouble> {
        match &self.settings.sign_in {
            SignIn::TokenFile(file) => proof(file).await,
            SignIn::AppRole { role_id, secret_id_file, mount } => {
                let advice =
                    "look whether its role id and the secret id in `secret_id_file` still stand, and whether it may be used from here";
                let enter = async {
                    let secret_id = proof(secret_id_file).await?;
                    self.sign_in(mount, &json!({ "role_id": role_id, "secret_id": secret_id.expose() }), advice).await
                };
                login.get_or_try_init(|| enter).await.cloned()
            }
            SignIn::Jwt { role, jwt_file, mount } => {
                let advice = "look whether its role takes the token in `jwt_file`: its issuer, its audience, its account, its end";
                let enter = async {
                    let jwt = proof(jwt_file).await?;
                    self.sign_in(mount, &json!({ "role": role, "jwt": jwt.expose() }), advice).await
                };
                login.get_or_try_init(|| enter).await.cloned()
            }
        }
    }

    async fn sign_in(&self, mount: &str, with: &Value, advice: &'static str) -> Result<Secret<String>, Trouble> {
        let request = self.request(Method::POST, &format!("auth/{mount}/login"))?.0;
        let (status, body) = self.send(request.header(CONTENT_TYPE, "application/json").body(with.to_string())).await?;
        match status {
            200 => {}
            // What it says besides may repeat what it was given.
            400 | 401 | 403 | 404 => return Err(Trouble::NotSignedIn { said: format!("HTTP {status}"), advice }),
            _ => return Err(failing(status, &body)),
        }
        let login: Login = serde_json::from_slice(&body).map_err(|_| Trouble::NotUnderstood("its login cannot be read"))?;
        let token = login.auth.map(|auth| Secret::new(auth.client_token)).filter(|token| !token.expose().is_empty());
        token.ok_or(Trouble::NotSignedIn { said: "without a token".to_owned(), advice: "its role may ask for no second factor" })
    }

    async fn ask(&self, path: &str, field: &str, token: &Secret<String>) -> Result<Secret<String>, Trouble> {
        let (status, body) = self.send(self.request(Method::GET, path)?.with(token)?).await?;
        match status {
            200 => taken(&body, path, field),
            403 => Err(Trouble::Denied(path.to_owned())),
            404 => Err(Trouble::NoSecret(path.to_owned())),
            _ => Err(failing(status, &body)),
        }
    }

    fn request(&self, method: Method, path: &str) -> Result<Asked, Trouble> {
        let url = url(&self.settings.address, path).ok_or(Trouble::NotUnderstood("its address is no URL that has paths"))?;
        let request = self.http.request(method, url).header("X-Vault-Request", "true");
        Ok(Asked(match &self.settings.namespace {
            Some(namespace) => request.header("X-Vault-Namespace", namespace),
            None => request,
        }))
    }

    async fn send(&self, request: RequestBuilder) -> Result<(u16, Zeroizing<Vec<u8>>), Trouble> {
        let mut response = request.send().await.map_err(|error| on_the_way(&error))?;
        let status = response.status().as_u16();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(piece) = response.chunk().await.map_err(|error| on_the_way(&error))? {
            if body.len() + piece.len() > LARGEST {
                return Err(Trouble::NotUnderstood("more than a mebibyte"));
            }
            body.extend_from_slice(&piece);
        }
        Ok((status, body))
    }
}

/// A request without who asks.
struct Asked(RequestBuilder);

impl Asked {
    fn with(self, token: &Secret<String>) -> Result<RequestBuilder, Trouble> {
        let mut value = HeaderValue::from_str(token.expose())
            .map_err(|_| Trouble::NotSignedIn { said: "with no token".to_owned(), advice: NO_TOKEN })?;
        value.set_sensitive(true);
        Ok(self.0.header("X-Vault-Token", value))
    }
}

const NO_TOKEN: &str = "what the gate has as its token holds characters that no token has";

/// `ADDRESS/v1/PATH`, whatever stands in the path: each part is written so that it is that part and nothing else.
fn url(address: &Url, path: &str) -> Option<Url> {
    let mut url = address.clone();
    url.path_segments_mut().ok()?.pop_if_empty().push("v1").extend(path.split('/'));
    Some(url)
}

/// What the gate signs in with, from a file.
async fn proof(file: &Path) -> Result<Secret<String>, Trouble> {
    let no = |why: String| Trouble::NoProof { file: file.display().to_string(), why };
    let text = tokio::fs::read_to_string(file).await.map(Zeroizing::new).map_err(|error| no(format!("cannot be read: {error}")))?;
    match text.trim() {
        "" => Err(no("is empty".to_owned())),
        proof => Ok(Secret::new(proof.to_owned())),
    }
}

/// What is meant by a status that is neither a yes nor a no.
fn failing(status: u16, body: &[u8]) -> Trouble {
    let says_sealed = || String::from_utf8_lossy(body).contains("sealed");
    match status {
        501 => Trouble::NotInitialised,
        300..=399 | 472 | 473 => Trouble::Standby,
        503 if says_sealed() => Trouble::Sealed,
        _ => Trouble::Failing(format!("HTTP {status}")),
    }
}

/// The field of a secret, out of the answer to a read. KV version 2 wraps what version 1 answers, and adds what it knows of the version.
fn taken(body: &[u8], path: &str, field: &str) -> Result<Secret<String>, Trouble> {
    let read: Read = serde_json::from_slice(body).map_err(|_| Trouble::NotUnderstood("it cannot be read"))?;
    let none = || Trouble::NoSecret(path.to_owned());
    let mut data = read.data.ok_or_else(none)?;
    let versioned = data.len() == 2
        && data.get("metadata").is_some_and(Value::is_object)
        && data.get("data").is_some_and(|data| data.is_object() || data.is_null());
    if versioned {
        let Some(Value::Object(inside)) = data.remove("data") else { return Err(none()) };
        data = inside;
    }
    field_of(data, path, field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &Value) -> Result<String, Trouble> {
        taken(answer.to_string().as_bytes(), "kv/x", "password").map(|secret| secret.expose().clone())
    }

    #[test]
    fn both_versions_of_kv_are_told_apart_by_what_they_answer() {
        let metadata = json!({ "created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": false, "version": 3 });
        assert_eq!(of(&json!({ "data": { "password": "one" } })), Ok("one".to_owned()));
        assert_eq!(of(&json!({ "data": { "data": { "password": "two" }, "metadata": metadata } })), Ok("two".to_owned()));
        // A version 1 secret whose fields are called like that.
        assert_eq!(of(&json!({ "data": { "data": "x", "metadata": "y", "password": "one" } })), Ok("one".to_owned()));
        assert_eq!(of(&json!({ "data": { "data": null, "metadata": metadata } })), Err(Trouble::NoSecret("kv/x".to_owned())));
        assert_eq!(of(&json!({ "data": null })), Err(Trouble::NoSecret("kv/x".to_owned())));
        let missing = Trouble::NoField { path: "kv/x".to_owned(), field: "password".to_owned() };
        assert_eq!(of(&json!({ "data": { "user": "one" } })), Err(missing.clone()));
        // What is in a version is not looked for beside it.
        assert_eq!(of(&json!({ "data": { "data": { "user": "x" }, "metadata": { "password": "no" } } })), Err(missing));
        assert_eq!(of(&json!({ "data": { "password": 7 } })), Err(Trouble::NoText("kv/x#password".to_owned())));
        for odd in ["", "<html>", "[]", "7", "{\"data\": 7}"] {
            assert!(matches!(taken(odd.as_bytes(), "kv/x", "password"), Err(Trouble::NotUnderstood(_))), "{odd}");
        }
    }

    #[test]
    fn what_is_no_answer_to_the_question_says_what_to_do() {
        let sealed = br#"{"errors":["Vault is sealed"]}"#;
        assert_eq!(failing(503, sealed), Trouble::Sealed);
        assert_eq!(failing(503, b"no backend"), Trouble::Failing("HTTP 503".to_owned()));
        assert_eq!(failing(501, b""), Trouble::NotInitialised);
        for standby in [307, 472, 473] {
            assert_eq!(failing(standby, b""), Trouble::Standby);
        }
        for other in [429, 500, 502] {
            assert_eq!(failing(other, b""), Trouble::Failing(format!("HTTP {other}")));
        }
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        let at = |address: &str, path: &str| url(&Url::parse(address).unwrap(), path).unwrap().to_string();
        assert_eq!(at("https://vault.example:8200", "kv/data/x"), "https://vault.example:8200/v1/kv/data/x");
        assert_eq!(at("https://vault.example/of/it/", "kv/x"), "https://vault.example/of/it/v1/kv/x");
        assert_eq!(at("https://vault.example", "kv/a b#c%2e%2e"), "https://vault.example/v1/kv/a%20b%23c%252e%252e");
    }
}
