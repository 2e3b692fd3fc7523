//! A Vault with TLS of its own CA: `python/vault.py`, which refuses what the original refuses. PyPI's `hvac` speaks to it as to the original.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::collectors::Scripted;

/// A Vault that runs until this value is dropped. Its role `tidegate` may read `kv/data/network/*` and `kv/data/databases/*` (version 2) and
/// `old/network/*` (version 1).
#[derive(Debug)]
pub struct VaultServer {
    process: Mutex<Scripted>,
    dir: TempDir,
    /// Where it is.
    pub url: String,
    /// Who the gate is there, by AppRole.
    pub role_id: String,
    /// What proves it.
    pub secret_id: String,
    /// What proves it at the method that is mounted at `kubernetes`, for the role `tidegate`.
    pub jwt: String,
    /// The token that may do everything.
    pub root: String,
}

impl VaultServer {
    /// Starts one without a secret in it.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("vault-").tempdir()?;
        certify(dir.path())?;
        let process = Scripted::start("vault.py", Some(dir.path()))?;
        let said = |key: &str| process.ready[key].as_str().map(str::to_owned).with_context(|| format!("it does not say its {key}"));
        let (url, role_id, secret_id) = (said("url")?, said("role_id")?, said("secret_id")?);
        let (jwt, root) = (said("jwt")?, said("root")?);
        Ok(Self { process: Mutex::new(process), dir, url, role_id, secret_id, jwt, root })
    }

    /// The PEM file of the authority that signed its certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Writes a secret, or a new version of it; the path is that of the API.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn put(&self, path: &str, data: &Value) -> anyhow::Result<()> {
        self.tell(&json!({ "do": "put", "path": path, "data": data })).map(drop)
    }

    /// Deletes the newest version of a secret.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.tell(&json!({ "do": "delete", "path": path })).map(drop)
    }

    /// Sets what it is like: `initialized`, `sealed`, `standby`, `slow` (seconds), `ttl` of tokens, `odd` (a text instead of answers).
    ///
    /// # Errors
    /// If the server is gone.
    pub fn set(&self, what: &str, value: impl Into<Value>) -> anyhow::Result<()> {
        let mut command = json!({ "do": "set" });
        command[what] = value.into();
        self.tell(&command).map(drop)
    }

    /// Ends every token but root's.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn end_tokens(&self) -> anyhow::Result<()> {
        self.tell(&json!({ "do": "end-tokens" })).map(drop)
    }

    /// From now on only this proves who the gate is.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn replace_secret_id(&self, secret_id: &str) -> anyhow::Result<()> {
        self.tell(&json!({ "do": "secret-id", "is": secret_id })).map(drop)
    }

    /// A token of the role, as an agent would hand it over.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn token(&self) -> anyhow::Result<String> {
        let issued = self.tell(&json!({ "do": "token" }))?;
        issued["token"].as_str().map(str::to_owned).context("no token was issued")
    }

    /// How many logins there were, and how many secrets were asked for with a token that was good for them.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn counts(&self) -> anyhow::Result<(u64, u64)> {
        Ok((self.count("logins")?, self.count("reads")?))
    }

    /// How many calls it thinks about just now, being slow.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn waiting(&self) -> anyhow::Result<u64> {
        self.count("waiting")
    }

    fn count(&self, key: &str) -> anyhow::Result<u64> {
        self.tell(&json!({ "do": "counts" }))?[key].as_u64().with_context(|| format!("it does not count {key}"))
    }

    fn tell(&self, what: &Value) -> anyhow::Result<Value> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).ask(&what.to_string())
    }
}

/// A CA, and a certificate of its for loopback.
fn certify(dir: &Path) -> anyhow::Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A certificate whose issuer is called like its holder is self-signed for OpenSSL.
    ca.distinguished_name.push(DnType::CommonName, "CA of a vault");
    fs::write(dir.join("ca.pem"), ca.self_signed(&ca_key)?.pem())?;
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    fs::write(dir.join("server.pem"), params.signed_by(&key, &issuer)?.pem())?;
    fs::write(dir.join("server.key"), key.serialize_pem())?;
    Ok(())
}
