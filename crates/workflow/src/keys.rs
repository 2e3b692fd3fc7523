//! The gate's own keys are replaced.
//!
//! *Takes* which key and the proof of who asks. *Proves* that they may. *Hands to* everybody the new key, after its entry.
//!
//! A new key is made, then entered, then put in use. A crash before its entry leaves a key that nobody ever used, which is
//! taken away at the next start; a crash after it is brought to its end there. The target CA and the SSH host key have a step
//! more: they are announced, so that targets, or people, learn them, and put in use when somebody says that they have.

use std::sync::{PoisonError, RwLockWriteGuard};

use access::event::{Entry, Event};
use access::ids::EntryId;
use access::reason::{Reason, Refusal};
use access::time::Span;
use credentials::keyring::{KeyDescription, KeyKind, Keyring, KeyringError};
use evidence::log::publication;
use evidence::log::{CheckpointKey, CheckpointVerifier};
use jiff::Timestamp;
use policy::{Act, Noun, Object};
use store::{Change, EntryFilter, EntryPage};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::secrets::key_trouble;

/// For so long targets go on trusting a target CA that was replaced, if nothing else is said.
pub const OLD_CA_FOR: Span = Span::hours(7 * 24);
/// The longest they may be told to.
pub const OLD_CA_AT_MOST: Span = Span::hours(366 * 24);

/// Which of the gate's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKey {
    /// One in the keyring.
    Of(KeyKind),
    /// The key that seals all others.
    Sealing,
}

impl std::fmt::Display for GateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Of(kind) => kind.fmt(f),
            Self::Sealing => f.pad(SEALING),
        }
    }
}

impl std::str::FromStr for GateKey {
    type Err = KeyringError;
    fn from_str(text: &str) -> Result<Self, KeyringError> {
        if text == SEALING { Ok(Self::Sealing) } else { text.parse().map(Self::Of) }
    }
}

const SEALING: &str = "sealing";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Which key.
    pub key: GateKey,
    /// The id of the one before.
    pub old: String,
    /// The id of the new one.
    pub new: String,
    /// The half of the new one that may be known.
    pub public: Option<String>,
    /// Whether the new one is used from now on; else it is announced.
    pub in_use: bool,
    /// Until when targets are to go on trusting the old one.
    pub trusted_until: Option<Timestamp>,
}

/// The halves of the gate's keys that everybody may know, as they are at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys {
    /// Signs login certificates; OpenSSH format.
    pub login_ca: Option<String>,
    /// Every target CA that targets have to trust, the one in use first.
    pub target_cas: Vec<KeyDescription>,
    /// The gate's SSH host key, then one that is announced; OpenSSH format, and the fingerprint.
    pub ssh_host: Vec<(String, String)>,
    /// Verifies the audit log's checkpoints.
    pub checkpoint_verifier: Option<String>,
}

impl Gate {
    /// Puts a new key in the place of one of the gate's; the old one still verifies what it signed. A target CA or a host key is only
    /// announced by this: [`Gate::activate_key`] puts it in use.
    ///
    /// # Errors
    /// If the caller may not, one is announced already, or the new key can't be written.
    pub async fn rotate_key(&self, caller: &Caller, key: GateKey) -> Result<Replaced, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Keys), &Object::Nothing).await?;
        let _alone = self.rotating.write().await;
        self.settle_keys_alone().await?;
        match key {
            GateKey::Sealing => {
                let prepared = self.keyring_mut().prepare_sealing().map_err(key_refusal)?;
                let event = Event::KeysRotated {
                    key: SEALING.to_owned(),
                    old: prepared.old.clone(),
                    new: prepared.new.clone(),
                    public: None,
                    trusted_until: None,
                };
                self.commit(Change::new(self.draft(caller, event))).await.map_err(refused)?;
                self.keyring_mut().activate_sealing().map_err(key_refusal)?;
                Ok(Replaced { key, old: prepared.old, new: prepared.new, public: None, in_use: true, trusted_until: None })
            }
            GateKey::Of(kind) => {
                let old = self.key_in_use(kind)?;
                let prepared = self.keyring_mut().prepare(kind, self.now()).map_err(key_refusal)?;
                let public = self.public_half(kind, &prepared)?;
                let in_use = !kind.is_announced_first();
                let (name, new) = (kind.to_string(), prepared.id.to_string());
                let event = if in_use {
                    Event::KeysRotated { key: name, old: old.clone(), new: new.clone(), public: public.clone(), trusted_until: None }
                } else {
                    Event::KeysAnnounced { key: name, old: old.clone(), new: new.clone(), public: public.clone() }
                };
                let committed = self.commit(Change::new(self.draft(caller, event))).await.map_err(refused)?;
                if in_use && let Some(entry) = committed.entries.first() {
                    self.put_in_use(kind, entry.id, None).await?;
                }
                Ok(Replaced { key, old, new, public, in_use, trusted_until: None })
            }
        }
    }

    /// Puts the announced key in use. A target CA's targets are to go on trusting the old one for `keep`; a host key is shown to
    /// whoever connects from now on.
    ///
    /// # Errors
    /// If the caller may not, none is announced, or it can't be written.
    pub async fn activate_key(&self, caller: &Caller, kind: KeyKind, keep: Option<Span>) -> Result<Replaced, Refusal> {
        self.authorize(caller, Act::Administer(Noun::Keys), &Object::Nothing).await?;
        if !kind.is_announced_first() {
            let why = format!("`{kind}` is used from its rotation on; only `target_ca` and `ssh_host` are announced first");
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let keep = keep.unwrap_or(OLD_CA_FOR);
        if keep > OLD_CA_AT_MOST {
            let why = format!("an old target CA is trusted for at most {OLD_CA_AT_MOST} after it was replaced");
            return Err(Refusal::because(Reason::Invalid, why));
        }
        let _alone = self.rotating.write().await;
        self.settle_keys_alone().await?;
        let announced = self.keyring().announced(kind).ok_or_else(|| key_refusal(KeyringError::NotAnnounced(kind)))?;
        let old = self.key_in_use(kind)?;
        let trusted_until = (kind == KeyKind::TargetCa).then(|| access::time::micros(keep.after(self.now())));
        let (new, public) = (announced.id.to_string(), announced.public);
        let event = Event::KeysRotated { key: kind.to_string(), old: old.clone(), new: new.clone(), public: public.clone(), trusted_until };
        let committed = self.commit(Change::new(self.draft(caller, event))).await.map_err(refused)?;
        if let Some(entry) = committed.entries.first() {
            self.put_in_use(kind, entry.id, trusted_until).await?;
        }
        Ok(Replaced { key: GateKey::Of(kind), old, new, public, in_use: true, trusted_until })
    }

    /// Brings every replacement of a key that was entered to its end, and takes away new keys that never were.
    ///
    /// # Errors
    /// If the store can't be read, or a key can't be written.
    pub(crate) async fn settle_keys(&self) -> Result<(), Refusal> {
        let _alone = self.rotating.write().await;
        self.settle_keys_alone().await
    }

    async fn settle_keys_alone(&self) -> Result<(), Refusal> {
        for kind in KeyKind::ALL {
            let Some(announced) = self.keyring().announced(kind) else { continue };
            let entries = self.entries_about_key(&announced.id.to_string()).await?;
            let rotated = entries.iter().find_map(|entry| match &entry.event {
                Event::KeysRotated { trusted_until, .. } => Some((entry.id, *trusted_until)),
                _ => None,
            });
            match rotated {
                Some((entry, trusted_until)) => self.put_in_use(kind, entry, trusted_until).await?,
                None if entries.is_empty() => self.keyring_mut().withdraw(announced.id).map_err(key_trouble)?,
                // Announced, and waiting to be activated.
                None => {}
            }
        }
        let staged = match self.keyring().announced_sealing() {
            Ok(staged) => staged,
            // Half a file: it was never entered, since that comes after it is whole.
            Err(KeyringError::SealingKey(_)) => Some(String::new()),
            Err(error) => return Err(key_trouble(error)),
        };
        if let Some(id) = staged {
            let entered = !id.is_empty() && !self.entries_about_key(&id).await?.is_empty();
            let mut keyring = self.keyring_mut();
            if entered { keyring.activate_sealing().map(drop) } else { keyring.withdraw_sealing() }.map_err(key_trouble)?;
        }
        Ok(())
    }

    /// The entry stands; now the key is used.
    async fn put_in_use(&self, kind: KeyKind, entry: EntryId, trusted_until: Option<Timestamp>) -> Result<(), Refusal> {
        let now = self.now();
        if kind == KeyKind::Audit {
            self.hand_over_log(entry).await?;
        }
        self.keyring_mut().activate(kind, now, trusted_until).map_err(key_trouble)?;
        Ok(())
    }

    /// The old key signs once more, over the entry that names the new one; from then on the new key signs.
    async fn hand_over_log(&self, entry: EntryId) -> Result<(), Refusal> {
        self.sequence().await?;
        let logged = self.store.entry(entry).await.map_err(unavailable)?;
        let index = logged.and_then(|logged| logged.index).ok_or_else(|| Refusal::of(Reason::StoreUnavailable))?;
        let seed = self.keyring().announced_audit_seed().map_err(key_trouble)?;
        let key = CheckpointKey::from_seed(&self.settings.origin(), seed.expose()).map_err(key_trouble)?;
        let now = self.now();
        let (last, first) =
            self.sequencer.with(move |writer| writer.hand_over(key, index, now)).await?.map_err(crate::sequence::log_trouble)?;
        // Both go where checkpoints are kept. If that fails, the next one that is published says the same and more.
        let path = self.settings.checkpoints.clone();
        let published = tokio::task::spawn_blocking(move || {
            last.iter().chain([&first]).try_for_each(|checkpoint| publication::publish(&path, checkpoint))
        });
        if let Ok(Err(error)) = published.await {
            tracing::error!(%error, "the checkpoints of the old and the new audit key cannot be published; the next one follows");
        }
        Ok(())
    }

    /// The entries that speak of a key by its id.
    async fn entries_about_key(&self, id: &str) -> Result<Vec<Entry>, Refusal> {
        let filter = EntryFilter { mentions: Some(id.to_owned()), name: Some("keys.".to_owned()), ..EntryFilter::default() };
        let page = EntryPage { limit: 10, after: None, newest_first: true };
        let found = self.store.entries(&filter, page).await.map_err(unavailable)?;
        let of_new = |entry: &Entry| match &entry.event {
            Event::KeysAnnounced { new, .. } | Event::KeysRotated { new, .. } => new == id,
            _ => false,
        };
        Ok(found.into_iter().map(|logged| logged.entry).filter(of_new).collect())
    }

    fn key_in_use(&self, kind: KeyKind) -> Result<String, Refusal> {
        let in_use = self
            .keyring()
            .describe()
            .into_iter()
            .find(|key| key.kind == kind.code() && key.activated_at.is_some() && key.retired_at.is_none());
        in_use.map(|key| key.id.to_string()).ok_or_else(|| Refusal::because(Reason::Internal, format!("there is no {kind} key in use")))
    }

    /// What others learn of a new key; of the audit key what `audit verify` reads.
    fn public_half(&self, kind: KeyKind, key: &KeyDescription) -> Result<Option<String>, Refusal> {
        if kind != KeyKind::Audit {
            return Ok(key.public.clone());
        }
        let seed = self.keyring().announced_audit_seed().map_err(key_trouble)?;
        let key = CheckpointKey::from_seed(&self.settings.origin(), seed.expose()).map_err(key_trouble)?;
        Ok(Some(key.verifier().to_string()))
    }

    /// The halves that everybody may know, as they are now.
    #[must_use]
    pub fn public_keys(&self) -> PublicKeys {
        let now = self.now();
        let keyring = self.keyring();
        let audit = keyring.audit_publics().pop();
        let verifier = audit.and_then(|(_, public)| CheckpointVerifier::from_public(&self.settings.origin(), &public).ok());
        let plain = |key: &ssh_key::PublicKey| key.to_openssh().ok().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
        PublicKeys {
            login_ca: keyring.login_ca().ok().and_then(|key| plain(key.public_key())),
            target_cas: keyring.target_cas(now),
            ssh_host: [keyring.ssh_host().ok(), keyring.announced_ssh_host().ok().flatten()]
                .into_iter()
                .flatten()
                .filter_map(|key| Some((plain(key.public_key())?, key.fingerprint(ssh_key::HashAlg::Sha256).to_string())))
                .collect(),
            checkpoint_verifier: verifier.map(|verifier| verifier.to_string()),
        }
    }

    /// The gate's SSH host key as it is now, and one that is announced.
    ///
    /// # Errors
    /// If it can't be used.
    pub fn ssh_host_keys(&self) -> Result<(ssh_key::PrivateKey, Option<ssh_key::PrivateKey>), Refusal> {
        let keyring = self.keyring();
        let shown = keyring.ssh_host().map_err(key_trouble)?;
        Ok((shown, keyring.announced_ssh_host().map_err(key_trouble)?))
    }

    fn keyring_mut(&self) -> RwLockWriteGuard<'_, Keyring> {
        self.keyring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key can't be replaced for a reason that whoever asked can do something about.
fn key_refusal(error: KeyringError) -> Refusal {
    match error {
        KeyringError::Announced(..) | KeyringError::NotAnnounced(_) | KeyringError::NotInAFile(_) => {
            Refusal::because(Reason::Invalid, error.to_string())
        }
        other => key_trouble(other),
    }
}
