//! Vaults: secrets of targets that are kept elsewhere and fetched anew for each session.
//!
//! Nothing that was fetched is kept. HashiCorp's Vault and OpenBao speak alike; what is kept of them is the token of a login, until it is
//! refused. AWS Secrets Manager is asked by Amazon's own library; see ADR 23. No error, no log line and no `Debug` shows a secret, a token,
//! or what the gate signs in with.

mod aws;
mod hashicorp;
#[cfg(test)]
mod server_tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use access::names::VaultName;
use access::secret::Secret;
use access::vault::VaultSecret;
use reqwest::Url;
use serde_json::{Map, Value};

use self::aws::Aws;
use self::hashicorp::Hashicorp;
use crate::secrets::LONGEST;

/// How long all of a fetch may take, sign-in included: somebody waits for it.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A vault, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSettings {
    /// How policy names it.
    pub name: VaultName,
    /// What it is.
    pub kind: VaultKind,
}

/// What a vault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultKind {
    /// HashiCorp's Vault, or OpenBao.
    Hashicorp(HashicorpSettings),
    /// AWS Secrets Manager.
    Aws(AwsSettings),
}

/// A Vault or OpenBao.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashicorpSettings {
    /// Where its API is, without `/v1`.
    pub address: Url,
    /// The namespace that everything is asked for in.
    pub namespace: Option<String>,
    /// How the gate signs in.
    pub sign_in: SignIn,
}

/// How the gate signs in to a Vault. Files are read anew each time: whoever rotates what is in them restarts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// By a token that stands in a file, which somebody else keeps fresh.
    TokenFile(PathBuf),
    /// By AppRole.
    AppRole {
        /// Who the gate is.
        role_id: String,
        /// The file with the secret id.
        secret_id_file: PathBuf,
        /// Where the method is mounted.
        mount: String,
    },
    /// By a token that somebody else signed: the methods `jwt` and `kubernetes`.
    Jwt {
        /// The role to sign in as.
        role: String,
        /// The file with the token.
        jwt_file: PathBuf,
        /// Where the method is mounted.
        mount: String,
    },
}

/// AWS Secrets Manager in a region. Who the gate is, Amazon's default chain finds out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region.
    pub region: String,
    /// Another address than the region's own.
    pub endpoint: Option<Url>,
}

/// A secret was not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the vault `{vault}` {trouble}")]
pub struct VaultError {
    /// From which vault.
    pub vault: VaultName,
    /// Why.
    pub trouble: Trouble,
}

/// Why a vault gives no secret. Says what is wrong and what to do; never what is in a secret, a token or an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody said where it is.
    #[error("is not configured; name it under `[[vault]]` in `tidegate.toml`, or correct its name in `resources.toml`")]
    NotConfigured,
    /// Nobody is there.
    #[error("cannot be reached ({0}); look whether it runs, and whether its address in `tidegate.toml` is right")]
    Unreachable(String),
    /// Somebody else may be there.
    #[error(
        "shows a certificate that is not trusted ({0}); name the PEM file of the authority that signed it as `ca_file` in `tidegate.toml`"
    )]
    Untrusted(String),
    /// It takes too long.
    #[error("did not answer within {} seconds; look whether it is overloaded, or something in between drops connections", PATIENCE.as_secs())]
    Slow,
    /// It was started and not unsealed.
    #[error("is sealed; whoever holds its unseal keys has to unseal it")]
    Sealed,
    /// It was never set up.
    #[error("is not initialised; it has to be set up before it can hold anything")]
    NotInitialised,
    /// Another node answers.
    #[error(
        "answers as a standby that passes nothing on; give the address of the active node, or of what stands before all nodes, as `address`"
    )]
    Standby,
    /// The gate has nothing to sign in with.
    #[error("cannot be signed in to: `{file}` {why}")]
    NoProof {
        /// The file that holds it.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// It does not believe the gate.
    #[error("did not let the gate sign in ({said}); {advice}")]
    NotSignedIn {
        /// The status or code it answered with.
        said: String,
        /// What to look at.
        advice: &'static str,
    },
    /// A Vault's policy does not allow it.
    #[error(
        "does not let the gate read `{0}`; its policy must allow `read` on that very path (in KV version 2 with `data/` behind the mount), and the gate's token must still be good"
    )]
    Denied(String),
    /// An IAM policy does not allow it.
    #[error(
        "does not let the gate read `{0}`; the gate's IAM policy must allow `secretsmanager:GetSecretValue` on it, and `kms:Decrypt` if it has a key of its own"
    )]
    DeniedByIam(String),
    /// There is none.
    #[error(
        "has no secret at `{0}`, or its newest version was deleted; write the path as `vault read` takes it, in KV version 2 with `data/` behind the mount"
    )]
    NoSecret(String),
    /// There is none.
    #[error("has no secret `{0}` in this region; correct the name in `resources.toml` or the region in `tidegate.toml`")]
    NoSuchSecret(String),
    /// Somebody deletes it.
    #[error("does not give `{0}`: it is marked for deletion or not usable as it is; restore it there, or name another in `resources.toml`")]
    MarkedForDeletion(String),
    /// Its key does not decrypt it.
    #[error("cannot decrypt `{0}`; look whether its KMS key is enabled")]
    Undecryptable(String),
    /// Nobody said which field.
    #[error("was asked for `{0}` without a field; write `#FIELD` behind the path in `resources.toml`")]
    FieldNeeded(String),
    /// It has no such field.
    #[error("has no field `{field}` in `{path}`; correct the field in `resources.toml`, or set it there")]
    NoField {
        /// Which secret.
        path: String,
        /// Which field of it.
        field: String,
    },
    /// It has no fields at all.
    #[error("has a plain text as `{0}` and no fields; leave `#FIELD` out in `resources.toml`")]
    NoFields(String),
    /// It is something else than text.
    #[error("has something at `{0}` that is no text; set it there as a text in quotes")]
    NoText(String),
    /// Nothing in it.
    #[error("has an empty secret at `{0}`; set it there")]
    Empty(String),
    /// More than opens anything.
    #[error("has a secret of {length} bytes at `{path}`, at most {LONGEST} are used; look whether it is the right one")]
    TooLong {
        /// Which.
        path: String,
        /// How long.
        length: usize,
    },
    /// Something else answers there.
    #[error("answered with what is no answer of a vault ({0}); look whether its address in `tidegate.toml` is right")]
    NotUnderstood(&'static str),
    /// It failed.
    #[error("answered {0}; look at its own log")]
    Failing(String),
    /// No credentials for Amazon.
    #[error(
        "cannot be asked: the gate finds no AWS credentials (environment, web identity, container, instance profile); give its machine a role, or its user credentials"
    )]
    NoCredentials,
}

/// A vault can't be set up as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS for the vault `{vault}`; look at its `ca_file`")]
pub struct SetUpError {
    /// Which.
    pub vault: VaultName,
    source: reqwest::Error,
}

/// The vaults of a gate.
#[derive(Default)]
pub struct Vaults {
    all: BTreeMap<VaultName, Vault>,
}

enum Vault {
    Hashicorp(Box<Hashicorp>),
    Aws(Box<Aws>),
}

impl fmt::Debug for Vaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.keys()).finish()
    }
}

impl Vaults {
    /// Sets up what asks them, each with the PEM roots that alone are trusted for it; `None`: the machine's. Nothing is asked yet.
    ///
    /// # Errors
    /// If roots can't be used.
    pub fn new(all: impl IntoIterator<Item = (VaultSettings, Option<Vec<u8>>)>) -> Result<Self, SetUpError> {
        let mut vaults = BTreeMap::new();
        for (VaultSettings { name, kind }, roots) in all {
            let vault = match kind {
                VaultKind::Hashicorp(settings) => {
                    let made = Hashicorp::new(settings, roots.as_deref());
                    Vault::Hashicorp(Box::new(made.map_err(|source| SetUpError { vault: name.clone(), source })?))
                }
                VaultKind::Aws(settings) => Vault::Aws(Box::new(Aws::new(settings))),
            };
            vaults.insert(name, vault);
        }
        Ok(Self { all: vaults })
    }

    /// Fetches a secret as it is now.
    ///
    /// # Errors
    /// Why it can't be had, and what to do about that.
    pub async fn fetch(&self, secret: &VaultSecret) -> Result<Secret<String>, VaultError> {
        let failed = |trouble| VaultError { vault: secret.vault().clone(), trouble };
        let asked = async {
            let value = match self.all.get(secret.vault()).ok_or(Trouble::NotConfigured)? {
                Vault::Hashicorp(vault) => vault.read(secret).await?,
                Vault::Aws(vault) => vault.read(secret).await?,
            };
            match value.expose().len() {
                0 => Err(Trouble::Empty(secret.path().to_owned())),
                length if length > LONGEST => Err(Trouble::TooLong { path: secret.path().to_owned(), length }),
                _ => Ok(value),
            }
        };
        within_patience(asked).await.map_err(failed)
    }

    /// Whether a vault answers and lets the gate in.
    ///
    /// # Errors
    /// Why it doesn't, and what to do about that.
    pub async fn look(&self, name: &VaultName) -> Result<(), VaultError> {
        let asked = async {
            match self.all.get(name).ok_or(Trouble::NotConfigured)? {
                Vault::Hashicorp(vault) => vault.look().await,
                Vault::Aws(vault) => vault.look().await,
            }
        };
        within_patience(asked).await.map_err(|trouble| VaultError { vault: name.clone(), trouble })
    }
}

/// INVARIANT: nobody waits longer for a vault, whatever it does. Boxed: whoever opens a session carries this along.
async fn within_patience<T>(asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    tokio::time::timeout(PATIENCE, Box::pin(asked)).await.unwrap_or(Err(Trouble::Slow))
}

/// A field of what a secret is made of.
fn field_of(mut fields: Map<String, Value>, path: &str, field: &str) -> Result<Secret<String>, Trouble> {
    match fields.remove(field) {
        Some(Value::String(text)) => Ok(Secret::new(text)),
        Some(_) => Err(Trouble::NoText(format!("{path}#{field}"))),
        None => Err(Trouble::NoField { path: path.to_owned(), field: field.to_owned() }),
    }
}

/// What went wrong on the way to a vault: the innermost cause, which names no URL.
fn on_the_way(error: &(dyn std::error::Error + 'static)) -> Trouble {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    let why: String = access::inert::inert(&innermost.to_string()).chars().take(200).collect();
    if why.contains("certificate") { Trouble::Untrusted(why) } else { Trouble::Unreachable(why) }
}
