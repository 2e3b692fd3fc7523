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

    /// Whether a retired key of this kind can be thrown away and nothing that is kept becomes unreadable or unprovable.
    const fn can_be_forgotten(self) -> bool {
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
    /// Since when.
    pub created_at: Timestamp,
    /// Since when another is used in its place.
    pub retired_at: Option<Timestamp>,
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
    dir: PathBuf,
    sealing: SealingKey,
    keys: Vec<HeldKey>,
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
    /// Settles what a crash in [`Self::rotate`] or [`Self::rotate_sealing`] left half done.
    ///
    /// # Errors
    /// When a file or the directory is open to others, altered, missing, or sealed by another sealing key.
    pub fn open_or_create(dir: &Path, source: &SealingSource, now: Timestamp) -> Result<Self, KeyringError> {
        files::own_directory(dir)?;
        let _lock = files::lock(dir)?;
        let paths = key_paths(dir)?;
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
        let mut ring = Self { dir: dir.to_owned(), sealing, keys: Vec::with_capacity(paths.len()) };
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

    /// Retires all but the newest of each kind: a crash may have come between making the new key and retiring the old.
    fn settle(&mut self) -> Result<(), KeyringError> {
        self.keys.sort_by_key(|key| (key.kind, key.created_at, key.id));
        for kind in KeyKind::ALL {
            let newest = self.keys.iter().rev().find(|k| k.kind == kind && k.retired_at.is_none()).map(|k| (k.id, k.created_at));
            let Some((newest, since)) = newest else { continue };
            for key in self.keys.iter_mut().filter(|k| k.kind == kind && k.retired_at.is_none() && k.id != newest) {
                key.retired_at = Some(since);
                key.write(&self.dir, &[&self.sealing])?;
            }
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

    /// Puts a new key in the place of the current one of a kind. The old one is kept for what it signed or sealed.
    ///
    /// # Errors
    /// When the new key can't be made or written; then the old one stays.
    pub fn rotate(&mut self, kind: KeyKind, now: Timestamp) -> Result<Rotated, KeyringError> {
        let _lock = files::lock(&self.dir)?;
        let (dir, sealing) = (&self.dir, &self.sealing);
        let current = self.keys.iter_mut().find(|key| key.kind == kind && key.retired_at.is_none());
        let current = current.ok_or_else(|| KeyringError::Missing(kind, dir.clone()))?;
        let old = current.id;
        let key = make(kind, now)?;
        let new = key.id;
        // The new one first: a crash in between leaves two, and `settle` retires the older.
        key.write(dir, &[sealing])?;
        current.retired_at = Some(key.created_at);
        if let Err(error) = current.write(dir, &[sealing]) {
            current.retired_at = None;
            let path = key.path(dir);
            std::fs::remove_file(&path).map_err(files::io_error("remove", &path))?;
            return Err(error);
        }
        self.keys.push(key);
        Ok(Rotated { kind, old, new })
    }

    /// Throws a retired CA or host key away: what it signed is not trusted any more.
    ///
    /// # Errors
    /// When it is current, or of a kind that is needed to read or prove what is kept.
    pub fn forget(&mut self, id: KeyId) -> Result<(), KeyringError> {
        let at = self.keys.iter().position(|key| key.id == id).ok_or(KeyringError::NoSuchKey(id))?;
        if self.keys[at].retired_at.is_none() || !self.keys[at].kind.can_be_forgotten() {
            return Err(KeyringError::Needed(id));
        }
        let _lock = files::lock(&self.dir)?;
        let path = self.keys[at].path(&self.dir);
        std::fs::remove_file(&path).map_err(files::io_error("remove", &path))?;
        files::sync_parent(&path)?;
        self.keys.remove(at);
        Ok(())
    }

    /// Seals every key with another sealing key.
    ///
    /// First each file holds its key under both; then `hand_over` puts the new sealing key where the gate finds it at its
    /// next start (for a file: [`SealingKey::replace_file`]); then the copies under the old one go. Whenever it breaks off,
    /// whichever of the two is found opens everything.
    ///
    /// # Errors
    /// When a file can't be written, or what `hand_over` says.
    pub fn rotate_sealing(
        &mut self,
        new: SealingKey,
        hand_over: impl FnOnce(&SealingKey) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        let _lock = files::lock(&self.dir)?;
        for key in &self.keys {
            key.write(&self.dir, &[&self.sealing, &new])?;
        }
        hand_over(&new)?;
        self.sealing = new;
        for key in &self.keys {
            key.write(&self.dir, &[&self.sealing])?;
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
        all.into_iter()
            .map(|key| KeyDescription {
                kind: key.kind.code(),
                id: key.id,
                created_at: key.created_at,
                retired_at: key.retired_at,
                public: key.public.clone(),
            })
            .collect()
    }

    /// The key of a kind that is in use.
    pub(crate) fn current(&self, kind: KeyKind) -> Result<&HeldKey, KeyringError> {
        self.all(kind).find(|key| key.retired_at.is_none()).ok_or_else(|| KeyringError::Missing(kind, self.dir.clone()))
    }

    /// Every key of a kind, the retired ones included.
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

    /// Every login CA with the time it was retired, for `identity::login_ca::TrustedCa`.
    #[must_use]
    pub fn login_cas(&self) -> Vec<(PublicKey, Option<Timestamp>)> {
        self.publics(KeyKind::LoginCa)
    }

    /// The target CA's key in use, for [`crate::target_ca::TargetCa::new`].
    ///
    /// # Errors
    /// When it is missing.
    pub fn target_ca(&self) -> Result<PrivateKey, KeyringError> {
        self.ssh_private(KeyKind::TargetCa)
    }

    /// Every target CA with the time it was retired: targets trust all of them until everybody has the new one.
    #[must_use]
    pub fn target_cas(&self) -> Vec<(PublicKey, Option<Timestamp>)> {
        self.publics(KeyKind::TargetCa)
    }

    /// The gate's own SSH host key.
    ///
    /// # Errors
    /// When it is missing.
    pub fn ssh_host(&self) -> Result<PrivateKey, KeyringError> {
        self.ssh_private(KeyKind::SshHost)
    }

    fn publics(&self, kind: KeyKind) -> Vec<(PublicKey, Option<Timestamp>)> {
        self.all(kind).filter_map(|key| Some((PublicKey::from_openssh(key.public.as_deref()?).ok()?, key.retired_at))).collect()
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
        self.all(KeyKind::Audit)
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

fn seed(key: &HeldKey) -> Result<Secret<[u8; KEY_LENGTH]>, KeyringError> {
    let bytes = key.material.expose().as_slice().try_into().map_err(|_| KeyringError::Crypto("read a key"))?;
    Ok(Secret::new(bytes))
}

/// Makes a key of a kind.
fn make(kind: KeyKind, now: Timestamp) -> Result<HeldKey, KeyringError> {
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
    Ok(HeldKey { kind, id: KeyId::generate(now), created_at: micros(now), retired_at: None, public, material: Secret::new(material) })
}

/// The files of keys; what a crash left unfinished is removed.
fn key_paths(dir: &Path) -> Result<Vec<PathBuf>, KeyringError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(files::io_error("list", dir))? {
        let path = entry.map_err(files::io_error("list", dir))?.path();
        match path.extension().and_then(|e| e.to_str()) {
            Some("key") if is_key_file(&path) => paths.push(path),
            Some("tmp") => std::fs::remove_file(&path).map_err(files::io_error("remove", &path))?,
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
