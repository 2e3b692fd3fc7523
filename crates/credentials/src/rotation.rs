//! Putting another key in the place of one, so that a crash between any two steps leaves a keyring that opens.
//!
//! In three steps, between which whoever keeps the log enters what happens: [`Keyring::prepare`] makes the new key, which
//! nothing uses yet; [`Keyring::activate`] puts it in use and retires the old one; or [`Keyring::withdraw`] takes it away
//! again. The sealing key is replaced in the same steps. A retired key is kept for what it signed or sealed.

use std::path::PathBuf;

use access::ids::KeyId;
use access::time::micros;
use jiff::Timestamp;

use crate::files;
use crate::keyring::{KeyDescription, KeyKind, Keyring, KeyringError, Rotated, make};
use crate::sealing::{SealingKey, SealingSource};

/// Which sealing key took the place of which: 16 hex digits each that reveal nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// The one before.
    pub old: String,
    /// The one that seals everything now, or will.
    pub new: String,
}

impl Keyring {
    /// Makes the key that is to take the place of the current one of a kind. Nothing uses it before [`Self::activate`].
    ///
    /// # Errors
    /// When one is announced already, or it can't be made or written.
    pub fn prepare(&mut self, kind: KeyKind, now: Timestamp) -> Result<KeyDescription, KeyringError> {
        if let Some(key) = self.announced(kind) {
            return Err(KeyringError::Announced(kind, key.id));
        }
        self.current(kind)?;
        let _lock = files::lock(&self.dir)?;
        // Later than every key of its kind, so that their order is their history even if the clock stands still.
        let latest = self.all(kind).map(|key| key.created_at).max();
        let after = latest.and_then(|latest| latest.checked_add(jiff::SignedDuration::from_micros(1)).ok());
        let mut key = make(kind, after.map_or(now, |after| after.max(now)))?;
        key.activated_at = None;
        key.write(&self.dir, &[&self.sealing])?;
        let description = key.describe();
        self.keys.push(key);
        Ok(description)
    }

    /// The key of a kind that is announced and not used yet.
    #[must_use]
    pub fn announced(&self, kind: KeyKind) -> Option<KeyDescription> {
        self.all(kind).find(|key| key.activated_at.is_none()).map(crate::key_file::HeldKey::describe)
    }

    /// The Ed25519 seed (RFC 8032) of the audit key that is announced.
    ///
    /// # Errors
    /// When none is.
    pub fn announced_audit_seed(&self) -> Result<access::secret::Secret<[u8; 32]>, KeyringError> {
        let key = self.all(KeyKind::Audit).find(|key| key.activated_at.is_none());
        crate::keyring::seed(key.ok_or(KeyringError::NotAnnounced(KeyKind::Audit))?)
    }

    /// Puts the announced key of a kind in use and retires the current one. A target CA that is retired is still to be trusted
    /// by targets until `trusted_until`.
    ///
    /// # Errors
    /// When none is announced, or a file can't be written; a crash or an error leaves the old key in use or the new one.
    pub fn activate(&mut self, kind: KeyKind, now: Timestamp, trusted_until: Option<Timestamp>) -> Result<Rotated, KeyringError> {
        let _lock = files::lock(&self.dir)?;
        let (dir, sealing) = (self.dir.clone(), self.sealing.clone());
        let place = |keys: &[crate::key_file::HeldKey], current: bool| {
            keys.iter().position(|key| key.kind == kind && if current { key.is_current() } else { key.activated_at.is_none() })
        };
        let new = place(&self.keys, false).ok_or(KeyringError::NotAnnounced(kind))?;
        let old = place(&self.keys, true).ok_or_else(|| KeyringError::Missing(kind, dir.clone()))?;
        let now = micros(now);
        // Said of the old one first, while it is harmless: a crash after the next step retires it with what its file says.
        if trusted_until.is_some() {
            self.keys[old].trusted_until = trusted_until;
            self.keys[old].write(&dir, &[&sealing])?;
        }
        self.keys[new].activated_at = Some(now);
        if let Err(error) = self.keys[new].write(&dir, &[&sealing]) {
            self.keys[new].activated_at = None;
            return Err(error);
        }
        // From here on the new one is in use, whatever comes: the next start retires the old one if this does not.
        self.keys[old].retired_at = Some(now);
        self.keys[old].write(&dir, &[&sealing])?;
        Ok(Rotated { kind, old: self.keys[old].id, new: self.keys[new].id })
    }

    /// Takes an announced key away again.
    ///
    /// # Errors
    /// When it is in use or was, or its file can't be removed.
    pub fn withdraw(&mut self, id: KeyId) -> Result<(), KeyringError> {
        let at = self.keys.iter().position(|key| key.id == id).ok_or(KeyringError::NoSuchKey(id))?;
        if self.keys[at].activated_at.is_some() {
            return Err(KeyringError::Needed(id));
        }
        self.remove(at)
    }

    /// Throws a retired CA or host key away: what it signed is not trusted any more.
    ///
    /// # Errors
    /// When it is not retired, or of a kind that is needed to read or prove what is kept.
    pub fn forget(&mut self, id: KeyId) -> Result<(), KeyringError> {
        let at = self.keys.iter().position(|key| key.id == id).ok_or(KeyringError::NoSuchKey(id))?;
        if self.keys[at].retired_at.is_none() || !self.keys[at].kind.can_be_forgotten() {
            return Err(KeyringError::Needed(id));
        }
        self.remove(at)
    }

    fn remove(&mut self, at: usize) -> Result<(), KeyringError> {
        let _lock = files::lock(&self.dir)?;
        files::remove(&self.keys[at].path(&self.dir))?;
        self.keys.remove(at);
        Ok(())
    }

    /// Makes the sealing key that is to take the place of the present one, beside its file. Nothing uses it before
    /// [`Self::activate_sealing`].
    ///
    /// # Errors
    /// When the sealing key does not come from a file, or the new one can't be written there.
    pub fn prepare_sealing(&mut self) -> Result<Resealed, KeyringError> {
        let next = self.next_sealing_file()?;
        let _lock = files::lock(&self.dir)?;
        files::remove(&next)?;
        let key = SealingKey::generate()?;
        key.create_file(&next)?;
        Ok(Resealed { old: self.sealing.id().to_owned(), new: key.id().to_owned() })
    }

    /// Which sealing key was prepared and is not in use yet.
    ///
    /// # Errors
    /// When its file can't be read.
    pub fn announced_sealing(&self) -> Result<Option<String>, KeyringError> {
        let Ok(next) = self.next_sealing_file() else { return Ok(None) };
        Ok(SealingSource::File(next).load()?.map(|key| key.id().to_owned()))
    }

    /// Seals every key with the sealing key that was prepared, and puts that in the place of the present one.
    ///
    /// First each file holds its key under both; then the new sealing key's file takes the old one's place; then the copies
    /// under the old one go. Whenever it breaks off, whichever of the two is found opens everything.
    ///
    /// # Errors
    /// When none was prepared, or a file can't be written.
    pub fn activate_sealing(&mut self) -> Result<Resealed, KeyringError> {
        let next = self.next_sealing_file()?;
        let none = || KeyringError::SealingKey(next.display().to_string());
        let new = SealingSource::File(next.clone()).load()?.ok_or_else(none)?;
        let SealingSource::File(path) = self.source.clone() else { return Err(none()) };
        let old = self.sealing.id().to_owned();
        let _lock = files::lock(&self.dir)?;
        for key in &self.keys {
            key.write(&self.dir, &[&self.sealing, &new])?;
        }
        if let Err(error) = files::put_in_place(&next, &path) {
            // What is there now decides: a name that was changed may still have failed to be synced.
            let there = self.source.load()?;
            if there.is_none_or(|there| there.id() != new.id()) {
                return Err(error);
            }
        }
        self.sealing = new;
        for key in &self.keys {
            key.write(&self.dir, &[&self.sealing])?;
        }
        Ok(Resealed { old, new: self.sealing.id().to_owned() })
    }

    /// Takes a sealing key that was prepared away again.
    ///
    /// # Errors
    /// When its file can't be removed.
    pub fn withdraw_sealing(&mut self) -> Result<(), KeyringError> {
        files::remove(&self.next_sealing_file()?)
    }

    fn next_sealing_file(&self) -> Result<PathBuf, KeyringError> {
        match &self.source {
            SealingSource::File(path) => {
                let mut next = path.clone().into_os_string();
                next.push(".next");
                Ok(next.into())
            }
            SealingSource::Descriptor(_) => Err(KeyringError::NotInAFile(self.source.to_string())),
        }
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
