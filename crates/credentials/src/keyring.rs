//! All keys of the gate, sealed in `<data>/keys/`, one file each, and opened together when the gate starts.
//!
//! Of each kind one key is current; those before it are retired and kept for what they signed or sealed. A kind that
//! was there once and is gone is an error and never quietly made anew: that would hide a loss.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use access::ids::KeyId;
use access::secret::Secret;
use access::time::micros;
use age::secrecy::ExposeSecret as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};

pub use crate::error::KeyringError;
use crate::files;
use crate::key_file::HeldKey;
use crate::sealing::{self, KEY_LENGTH, SealingKey, SealingSource};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Signs login certificates, which the gate trusts. Ed25519.
    LoginCa,
    /// Signs certificates for sessions, which targets trust. Ed25519.
    TargetCa,
    /// Signs the audit log's checkpoints. Ed25519.
    Audit,
    /// Is the gate's own SSH host key. Ed25519.
    SshHost,
    /// Opens what recordings keep of output, commands and files. X25519, in age's format.
    RecordingOutput,
    /// Opens what recordings keep of terminal input. X25519, in age's format.
    RecordingInput,
    /// Keys the digests that bind rows to the audit log. HMAC-SHA-256.
    RowDigest,
    /// Seals the secrets of targets. AES-256-GCM.
    Secrets,
}

impl KeyKind {
    /// Every one there is.
    pub const ALL: [Self; 8] = [
        Self::LoginCa,
        Self::TargetCa,
        Self::Audit,
        Self::SshHost,
        Self::RecordingOutput,
        Self::RecordingInput,
        Self::RowDigest,
        Self::Secrets,
    ];

    /// Its code in file names, the log and the command line.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::LoginCa => "login_ca",
            Self::TargetCa => "target_ca",
            Self::Audit => "audit",
            Self::SshHost => "ssh_host",
            Self::RecordingOutput => "recording_output",
            Self::RecordingInput => "recording_input",
            Self::RowDigest => "row_digest",
            Self::Secrets => "secrets",
        }
    }

    /// Whether a new key of this kind has to be learned by others (targets, people) before it is used.
    #[must_use]
    pub const fn is_announced_first(self) -> bool {
        matches!(self, Self::TargetCa | Self::SshHost)
    }

    /// Whether a retired key of this kind can be thrown away and nothing that is kept becomes unreadable or unprovable.
    pub(crate) const fn can_be_forgotten(self) -> bool {
        matches!(self, Self::LoginCa | Self::TargetCa | Self::SshHost)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl std::str::FromStr for KeyKind {
    type Err = KeyringError;
    fn from_str(text: &str) -> Result<Self, KeyringError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.code() == text)
            .ok_or_else(|| KeyringError::NoSuchKind(text.chars().take(64).flat_map(char::escape_default).collect()))
    }
}

/// A key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyDescription {
    /// Its kind's code.
    pub kind: &'static str,
    /// `key_…`.
    pub id: KeyId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is used; `None`: it is announced, so that others learn it before.
    pub activated_at: Option<Timestamp>,
    /// Since when another is used in its place.
    pub retired_at: Option<Timestamp>,
    /// Until when a retired target CA is still to be trusted by targets.
    pub trusted_until: Option<Timestamp>,
    /// The half that may be known: OpenSSH format, an age recipient, or hex of an Ed25519 key; `None` for symmetric keys.
    pub public: Option<String>,
}

/// Which key took the place of which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// Of this kind.
    pub kind: KeyKind,
    /// Retired.
    pub old: KeyId,
    /// Current.
    pub new: KeyId,
}

/// Which of a recording's two streams a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Output, commands, files.
    Output,
    /// Terminal input, which may hold passwords.
    Input,
}

impl Stream {
    const fn kind(self) -> KeyKind {
        match self {
            Self::Output => KeyKind::RecordingOutput,
            Self::Input => KeyKind::RecordingInput,
        }
    }
}

/// All keys, open.
#[derive(Debug)]
pub struct Keyring {
    pub(crate) dir: PathBuf,
    pub(crate) source: SealingSource,
    pub(crate) sealing: SealingKey,
    pub(crate) keys: Vec<HeldKey>,
}

/// Which kinds were complete once, so that a missing one is noticed.
#[derive(Serialize, Deserialize)]
struct Inventory {
    format: u32,
    kinds: BTreeSet<String>,
}

const INVENTORY: &str = "keyring.json";

impl Keyring {
    /// Opens the keys in a directory; makes what a first start needs, the sealing key's file included.
    ///
    /// Settles what a crash in [`Self::activate`] or [`Self::activate_sealing`] left half done. A key that was prepared and not
    /// activated stays as it is: whoever keeps the log knows whether its rotation was entered.
    ///
    /// # Errors
    /// When a file or the directory is open to others, altered, missing, or sealed by another sealing key.
    pub fn open_or_create(dir: &Path, source: &SealingSource, now: Timestamp) -> Result<Self, KeyringError> {
        files::own_directory(dir)?;
        let _lock = files::lock(dir)?;
        let paths = key_paths(dir, Leftovers::Remove)?;
        let inventory = read_inventory(dir)?;
        let sealing = match (source.load()?, source) {
            (Some(key), _) => key,
            (None, SealingSource::File(path)) if paths.is_empty() && inventory.kinds.is_empty() => {
                let key = SealingKey::generate()?;
                key.create_file(path)?;
                key
            }
            (None, _) => return Err(KeyringError::NoSealingKey(source.to_string(), dir.to_owned())),
        };
        let mut ring = Self { dir: dir.to_owned(), source: source.clone(), sealing, keys: Vec::with_capacity(paths.len()) };
        for path in paths {
            let read = HeldKey::read(&path, &ring.sealing)?;
            if read.has_other_copies {
                read.key.write(dir, &[&ring.sealing])?;
            }
            ring.keys.push(read.key);
        }
        ring.settle()?;
        ring.complete(&inventory, now)?;
        Ok(ring)
    }

    /// Opens the keys as they are, and changes nothing: for whoever only looks.
    ///
    /// # Errors
    /// As [`Self::open_or_create`], and when there are none.
    pub fn open(dir: &Path, source: &SealingSource) -> Result<Self, KeyringError> {
        let _lock = files::lock(dir)?;
        let paths = key_paths(dir, Leftovers::Keep)?;
        let sealing = source.load()?.ok_or_else(|| KeyringError::NoSealingKey(source.to_string(), dir.to_owned()))?;
        let keys = paths.iter().map(|path| Ok(HeldKey::read(path, &sealing)?.key)).collect::<Result<Vec<_>, KeyringError>>()?;
        let mut ring = Self { dir: dir.to_owned(), source: source.clone(), sealing, keys };
        ring.retire_all_but_newest();
        for kind in KeyKind::ALL {
            ring.current(kind)?;
        }
        Ok(ring)
    }

    /// Which keys a crash left in use beside a newer one: it came between making that and retiring these.
    fn retire_all_but_newest(&mut self) -> Vec<KeyId> {
        self.keys.sort_by_key(|key| (key.kind, key.created_at, key.id));
        let mut retired = Vec::new();
        for kind in KeyKind::ALL {
            let newest = self.keys.iter().rev().find(|k| k.kind == kind && k.is_current()).map(|k| (k.id, k.activated_at));
            let Some((newest, since)) = newest else { continue };
            for key in self.keys.iter_mut().filter(|k| k.kind == kind && k.is_current() && k.id != newest) {
                key.retired_at = since;
                retired.push(key.id);
            }
        }
        retired
    }

    /// Retires all but the newest of each kind.
    fn settle(&mut self) -> Result<(), KeyringError> {
        let retired = self.retire_all_but_newest();
        for key in self.keys.iter().filter(|key| retired.contains(&key.id)) {
            key.write(&self.dir, &[&self.sealing])?;
        }
        Ok(())
    }

    /// Makes the kinds that never were, and notes that they are there now.
    fn complete(&mut self, inventory: &Inventory, now: Timestamp) -> Result<(), KeyringError> {
        for kind in KeyKind::ALL {
            if self.current(kind).is_ok() {
                continue;
            }
            if inventory.kinds.contains(kind.code()) || self.all(kind).next().is_some() {
                return Err(KeyringError::Missing(kind, self.dir.clone()));
            }
            let key = make(kind, now)?;
            key.write(&self.dir, &[&self.sealing])?;
            self.keys.push(key);
        }
        let kinds: BTreeSet<String> = KeyKind::ALL.iter().map(|kind| kind.code().to_owned()).collect();
        if !kinds.is_subset(&inventory.kinds) {
            let text = serde_json::to_vec(&Inventory { format: 1, kinds }).map_err(|_| KeyringError::Crypto("describe the keys"))?;
            files::replace(&self.dir.join(INVENTORY), &text)?;
        }
        Ok(())
    }

    /// Which sealing key is in use: 16 hex digits that reveal nothing of it.
    #[must_use]
    pub fn sealing_id(&self) -> &str {
        self.sealing.id()
    }

    /// All keys without their secrets, by kind and age.
    #[must_use]
    pub fn describe(&self) -> Vec<KeyDescription> {
        let mut all: Vec<&HeldKey> = self.keys.iter().collect();
        all.sort_by_key(|key| (key.kind, key.created_at, key.id));
        all.into_iter().map(HeldKey::describe).collect()
    }

    /// The key of a kind that is in use.
    pub(crate) fn current(&self, kind: KeyKind) -> Result<&HeldKey, KeyringError> {
        self.all(kind).find(|key| key.is_current()).ok_or_else(|| KeyringError::Missing(kind, self.dir.clone()))
    }

    /// Every key of a kind, the announced and the retired ones included.
    pub(crate) fn all(&self, kind: KeyKind) -> impl Iterator<Item = &HeldKey> {
        self.keys.iter().filter(move |key| key.kind == kind)
    }

    fn ssh_private(&self, kind: KeyKind) -> Result<PrivateKey, KeyringError> {
        Ok(PrivateKey::from(Ed25519Keypair::from_seed(seed(self.current(kind)?)?.expose())))
    }

    /// The login CA's key in use, for `identity::login_ca::LoginCa::new`.
    ///
    /// # Errors
    /// When it is missing.
    pub fn login_ca(&self) -> Result<PrivateKey, KeyringError> {
        self.ssh_private(KeyKind::LoginCa)
    }

    /// Every login CA that was ever used, with the time it was retired, for `identity::login_ca::TrustedCa`.
    #[must_use]
    pub fn login_cas(&self) -> Vec<(PublicKey, Option<Timestamp>)> {
        self.all(KeyKind::LoginCa)
            .filter(|key| key.activated_at.is_some())
            .filter_map(|key| Some((PublicKey::from_openssh(key.public.as_deref()?).ok()?, key.retired_at)))
            .collect()
    }

    /// The target CA's key in use, for [`crate::target_ca::TargetCa::new`].
    ///
    /// # Errors
    /// When it is missing.
    pub fn target_ca(&self) -> Result<PrivateKey, KeyringError> {
        self.ssh_private(KeyKind::TargetCa)
    }

    /// Every target CA that targets have to trust at a time: the one in use first, then one that is announced, then those whose
    /// time is not over yet.
    #[must_use]
    pub fn target_cas(&self, now: Timestamp) -> Vec<KeyDescription> {
        let mut trusted: Vec<&HeldKey> = self
            .all(KeyKind::TargetCa)
            .filter(|key| key.retired_at.is_none() || key.trusted_until.is_some_and(|until| until > now))
            .collect();
        trusted.sort_by_key(|key| (key.retired_at.is_some(), key.activated_at.is_none(), key.created_at));
        trusted.into_iter().map(HeldKey::describe).collect()
    }

    /// The gate's own SSH host key.
    ///
    /// # Errors
    /// When it is missing.
    pub fn ssh_host(&self) -> Result<PrivateKey, KeyringError> {
        self.ssh_private(KeyKind::SshHost)
    }

    /// The gate's next SSH host key, if one is announced.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn announced_ssh_host(&self) -> Result<Option<PrivateKey>, KeyringError> {
        let next = self.all(KeyKind::SshHost).find(|key| key.activated_at.is_none());
        next.map(|key| Ok(PrivateKey::from(Ed25519Keypair::from_seed(seed(key)?.expose())))).transpose()
    }

    /// The Ed25519 seed (RFC 8032) that signs the audit log's checkpoints now.
    ///
    /// # Errors
    /// When it is missing.
    pub fn audit_seed(&self) -> Result<(KeyId, Secret<[u8; KEY_LENGTH]>), KeyringError> {
        let key = self.current(KeyKind::Audit)?;
        Ok((key.id, seed(key)?))
    }

    /// Every Ed25519 public key that has signed checkpoints, oldest first.
    #[must_use]
    pub fn audit_publics(&self) -> Vec<(KeyId, [u8; 32])> {
        let mut keys: Vec<&HeldKey> = self.all(KeyKind::Audit).filter(|key| key.activated_at.is_some()).collect();
        keys.sort_by_key(|key| (key.created_at, key.id));
        keys.into_iter()
            .filter_map(|key| {
                let mut bytes = [0u8; 32];
                hex::decode_to_slice(key.public.as_deref()?, &mut bytes).ok()?;
                Some((key.id, bytes))
            })
            .collect()
    }

    /// To whom new recordings' data keys are wrapped: an age recipient, `age1…`.
    ///
    /// # Errors
    /// When it is missing.
    pub fn recording_recipient(&self, stream: Stream) -> Result<(KeyId, String), KeyringError> {
        let key = self.current(stream.kind())?;
        let public = key.public.clone().ok_or_else(|| KeyringError::Missing(stream.kind(), self.dir.clone()))?;
        Ok((key.id, public))
    }

    /// What opens recordings' data keys, the present identity and those before it: `AGE-SECRET-KEY-1…`.
    #[must_use]
    pub fn recording_identities(&self, stream: Stream) -> Vec<(KeyId, Secret<String>)> {
        self.all(stream.kind())
            .filter_map(|key| Some((key.id, Secret::new(std::str::from_utf8(key.material.expose()).ok()?.to_owned()))))
            .collect()
    }
}

pub(crate) fn seed(key: &HeldKey) -> Result<Secret<[u8; KEY_LENGTH]>, KeyringError> {
    let bytes = key.material.expose().as_slice().try_into().map_err(|_| KeyringError::Crypto("read a key"))?;
    Ok(Secret::new(bytes))
}

/// Makes a key of a kind, in use at once.
pub(crate) fn make(kind: KeyKind, now: Timestamp) -> Result<HeldKey, KeyringError> {
    let (material, public) = match kind {
        KeyKind::LoginCa | KeyKind::TargetCa | KeyKind::SshHost => {
            let seed = sealing::random()?;
            let pair = Ed25519Keypair::from_seed(seed.expose());
            let public = PublicKey::from(pair.public).to_openssh().map_err(|_| KeyringError::Crypto("write a public key"))?;
            (seed.expose().to_vec(), Some(public))
        }
        KeyKind::Audit => {
            let seed = sealing::random()?;
            let pair = Ed25519Keypair::from_seed(seed.expose());
            (seed.expose().to_vec(), Some(hex::encode(pair.public.as_ref())))
        }
        KeyKind::RecordingOutput | KeyKind::RecordingInput => {
            let identity = age::x25519::Identity::generate();
            (identity.to_string().expose_secret().as_bytes().to_vec(), Some(identity.to_public().to_string()))
        }
        KeyKind::RowDigest | KeyKind::Secrets => (sealing::random()?.expose().to_vec(), None),
    };
    let now = micros(now);
    Ok(HeldKey {
        kind,
        id: KeyId::generate(now),
        created_at: now,
        activated_at: Some(now),
        retired_at: None,
        trusted_until: None,
        public,
        material: Secret::new(material),
    })
}

/// What is done with files that a crash left half written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leftovers {
    Keep,
    Remove,
}

/// The files of keys.
fn key_paths(dir: &Path, leftovers: Leftovers) -> Result<Vec<PathBuf>, KeyringError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(files::io_error("list", dir))? {
        let path = entry.map_err(files::io_error("list", dir))?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("key") if is_key_file(&path) => paths.push(path),
            Some("tmp") if leftovers == Leftovers::Remove => std::fs::remove_file(&path).map_err(files::io_error("remove", &path))?,
            _ => {}
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether a name is `<kind>-key_….key`; the sealing key may lie beside them under another.
fn is_key_file(path: &Path) -> bool {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(_, id)| id.parse::<KeyId>().is_ok())
}

fn read_inventory(dir: &Path) -> Result<Inventory, KeyringError> {
    let path = dir.join(INVENTORY);
    match files::read_private(&path)? {
        Some(text) => serde_json::from_slice(&text).map_err(|_| KeyringError::Malformed(path)),
        None => Ok(Inventory { format: 1, kinds: BTreeSet::new() }),
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
pub(crate) mod tests;
