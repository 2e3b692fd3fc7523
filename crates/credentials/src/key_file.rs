//! One key on disk: JSON whose every field is bound to the sealed key by being its associated data.
//!
//! A file may hold the key sealed twice, under two sealing keys: that is how the sealing key is replaced without a
//! moment at which a crash would leave some files to one and some to the other.

use std::path::{Path, PathBuf};

use access::ids::KeyId;
use access::secret::Secret;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::keyring::{KeyDescription, KeyKind, KeyringError};
use crate::sealing::SealingKey;

const FORMAT: u32 = 1;

/// A key in memory.
#[derive(Debug)]
pub(crate) struct HeldKey {
    pub(crate) kind: KeyKind,
    pub(crate) id: KeyId,
    pub(crate) created_at: Timestamp,
    /// `None`: announced, not used yet.
    pub(crate) activated_at: Option<Timestamp>,
    pub(crate) retired_at: Option<Timestamp>,
    /// Until when others are to go on trusting it once it is retired.
    pub(crate) trusted_until: Option<Timestamp>,
    pub(crate) public: Option<String>,
    pub(crate) material: Secret<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: u32,
    kind: String,
    id: KeyId,
    created_at: Timestamp,
    activated_at: Option<Timestamp>,
    retired_at: Option<Timestamp>,
    trusted_until: Option<Timestamp>,
    public: Option<String>,
    sealed: Vec<SealedCopy>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedCopy {
    by: String,
    data: String,
}

/// What is read from a file: the key, and whether the file also holds copies under other sealing keys.
pub(crate) struct Read {
    pub(crate) key: HeldKey,
    pub(crate) has_other_copies: bool,
}

impl HeldKey {
    /// Where it is kept.
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}-{}.key", self.kind, self.id))
    }

    /// Whether it is the one in use.
    pub(crate) fn is_current(&self) -> bool {
        self.activated_at.is_some() && self.retired_at.is_none()
    }

    /// The key without its secret.
    pub(crate) fn describe(&self) -> KeyDescription {
        KeyDescription {
            kind: self.kind.code(),
            id: self.id,
            created_at: self.created_at,
            activated_at: self.activated_at,
            retired_at: self.retired_at,
            trusted_until: self.trusted_until,
            public: self.public.clone(),
        }
    }

    /// Everything about it that is no secret; sealing binds it to the key.
    fn label(&self) -> Result<Vec<u8>, KeyringError> {
        let times = (self.created_at, self.activated_at, self.retired_at, self.trusted_until);
        let label = ("tidegate key", FORMAT, self.kind.code(), self.id, times, &self.public);
        serde_json::to_vec(&label).map_err(|_| KeyringError::Crypto("describe a key"))
    }

    /// Writes it, sealed under each of the sealing keys.
    pub(crate) fn write(&self, dir: &Path, sealing: &[&SealingKey]) -> Result<(), KeyringError> {
        let label = self.label()?;
        let mut sealed = Vec::with_capacity(sealing.len());
        for key in sealing {
            let data = BASE64_STANDARD.encode(key.seal(&label, self.material.expose())?);
            sealed.push(SealedCopy { by: key.id().to_owned(), data });
        }
        let file = KeyFile {
            format: FORMAT,
            kind: self.kind.code().to_owned(),
            id: self.id,
            created_at: self.created_at,
            activated_at: self.activated_at,
            retired_at: self.retired_at,
            trusted_until: self.trusted_until,
            public: self.public.clone(),
            sealed,
        };
        let mut text = serde_json::to_vec_pretty(&file).map_err(|_| KeyringError::Crypto("describe a key"))?;
        text.push(b'\n');
        files::replace(&self.path(dir), &text)
    }

    /// Reads one.
    pub(crate) fn read(path: &Path, sealing: &SealingKey) -> Result<Read, KeyringError> {
        let malformed = || KeyringError::Malformed(path.to_owned());
        let text = files::read_private(path)?.ok_or_else(malformed)?;
        let file: KeyFile = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let kind: Option<KeyKind> = KeyKind::ALL.into_iter().find(|k| k.code() == file.kind);
        let Some(kind) = kind.filter(|_| file.format == FORMAT) else {
            return Err(KeyringError::Newer(path.to_owned()));
        };
        let Some(copy) = file.sealed.iter().find(|copy| copy.by == sealing.id()) else {
            let by = file.sealed.iter().map(|c| c.by.escape_default().to_string()).collect::<Vec<_>>().join(", ");
            return Err(KeyringError::OtherSealingKey { path: path.to_owned(), by, have: sealing.id().to_owned() });
        };
        let data = BASE64_STANDARD.decode(&copy.data).map_err(|_| malformed())?;
        let mut key = Self {
            kind,
            id: file.id,
            created_at: file.created_at,
            activated_at: file.activated_at,
            retired_at: file.retired_at,
            trusted_until: file.trusted_until,
            public: file.public,
            material: Secret::new(Vec::new()),
        };
        if key.path(Path::new("")).as_os_str() != path.file_name().unwrap_or_default() {
            return Err(malformed());
        }
        key.material = sealing.open(&key.label()?, &data).ok_or_else(|| KeyringError::Altered(path.to_owned()))?;
        Ok(Read { key, has_other_copies: file.sealed.len() > 1 })
    }
}
