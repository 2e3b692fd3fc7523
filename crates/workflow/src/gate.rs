//! The gate: what every verb stands on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use access::event::{Actor, Entry, EntryDraft, Event};
use access::fold::FoldError;
use access::identity::VerifiedIdentity;
use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use access::request::Door;
use arc_swap::ArcSwap;
use credentials::keyring::Keyring;
use credentials::vault::Vaults;
use evidence::log::writer::LogWriter;
use evidence::recording::RecorderPool;
use identity::challenge::Challenges;
use identity::device::Devices;
use jiff::Timestamp;
use policy::{Bundle, Situation};
use store::{Change, CommitError, Committed, Store, StoreError};
use tokio::sync::{Notify, broadcast};

use crate::accounts::Accounts;
use crate::client_certificate::ClientCertificates;
use crate::clock::Clock;
use crate::close::Journal;
use crate::counts::Counts;
use crate::directory::Directories;
use crate::drift::Drift;
use crate::exchange::Issuers;
use crate::index::Indexed;
use crate::live::LiveSessions;
use crate::measure::Measured;
use crate::on_call::OnCall;
use crate::outbox::Outbox;
use crate::passkeys::Passkeys;
use crate::providers::Providers;
use crate::retain::Retention;
use crate::sequence::Sequencer;
use crate::signals::Signals;
use crate::streams::Streams;
use crate::tickets::Tickets;
use crate::timings::Timings;
use crate::watchdog::LastLook;

/// How many committed entries a slow listener may lag behind before it has to look at the state afresh.
const NEWS: usize = 4096;

/// Somebody who calls a verb: the proof of who they are, and the door they came through.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub who: VerifiedIdentity,
    /// Through which door.
    pub door: Door,
}

impl Caller {
    /// Who, for an entry.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Principal(self.who.id())
    }
    /// The caller's network address as text, for an entry.
    #[must_use]
    pub fn from(&self) -> Option<String> {
        self.who.from().map(|ip| ip.to_string())
    }
}

/// What a gate is told when it is put together.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this node.
    pub node: String,
    /// Where recordings, the audit log and keys live.
    pub data_dir: PathBuf,
    /// Where signed checkpoints are published besides the data directory.
    pub checkpoints: PathBuf,
    /// The gate's own addresses as targets see them; session certificates are valid from these alone. Empty: from anywhere.
    pub addresses: Vec<std::net::IpAddr>,
}

impl Settings {
    /// The name of this node's audit log, as its checkpoints say it.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("tidegate/{}", self.node)
    }
}

/// The gate.
pub struct Gate {
    pub(crate) store: Store,
    pub(crate) bundle: ArcSwap<Bundle>,
    pub(crate) clock: Clock,
    pub(crate) live: LiveSessions,
    pub(crate) accounts: Accounts,
    pub(crate) keyring: RwLock<Keyring>,
    /// Where secrets of targets are fetched from.
    pub(crate) vaults: OnceLock<Vaults>,
    pub(crate) recorder: RecorderPool,
    pub(crate) journal: Journal,
    pub(crate) challenges: Mutex<Challenges>,
    pub(crate) providers: Providers,
    pub(crate) directories: Directories,
    pub(crate) issuers: Issuers,
    pub(crate) signals: Signals,
    pub(crate) client_certificates: ClientCertificates,
    pub(crate) on_call: OnCall,
    pub(crate) drift: Drift,
    pub(crate) tickets: Tickets,
    pub(crate) devices: Mutex<Devices>,
    pub(crate) passkeys: Passkeys,
    pub(crate) sequencer: Sequencer,
    /// Set when grants could not be decided anew as they should have been; the sweep does it then.
    pub(crate) redecide_due: AtomicBool,
    /// The size of the newest published checkpoint.
    pub(crate) published: AtomicU64,
    pub(crate) settings: Settings,
    pub(crate) news: broadcast::Sender<Arc<Entry>>,
    pub(crate) counts: Counts,
    pub(crate) timings: Arc<Timings>,
    /// Wakes the sequencer.
    pub(crate) appended: Notify,
    /// Held shared by whoever signs with the audit key for longer than a moment, alone while keys of the gate are replaced.
    pub(crate) rotating: tokio::sync::RwLock<()>,
    /// Held shared while something is erased or destroyed, alone while a legal hold is set.
    pub(crate) keeping: tokio::sync::RwLock<()>,
    /// Who is being erased just now.
    pub(crate) erasing: Mutex<BTreeSet<PrincipalId>>,
    /// Why entries do not reach the signed log just now.
    pub(crate) log_trouble: Mutex<Option<String>>,
    /// Held while a bundle is activated or grants are decided anew, so that these never interleave.
    pub(crate) redeciding: tokio::sync::Mutex<()>,
    /// Shared by who keeps the newest time or enters an end, from reading the clock until it is written; held alone while the clock is turned
    /// back, so that no time from before comes after that.
    pub(crate) keeping_time: tokio::sync::RwLock<()>,
    /// When the ends of sessions were last looked at.
    pub(crate) last_look: LastLook,
    /// Who outside is told of what happens.
    pub(crate) outbox: Outbox,
    /// Where the log goes as it grows.
    pub(crate) streams: Streams,
    /// Where what was done is found again.
    pub(crate) indexed: Indexed,
    /// What was counted from the log so far.
    pub(crate) measured: tokio::sync::Mutex<Measured>,
    /// Held by who reads a list of ways beside the gate.
    pub(crate) importing: Arc<tokio::sync::Mutex<()>>,
    /// Which recordings go by age.
    pub(crate) retention: Retention,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("node", &self.settings.node).finish_non_exhaustive()
    }
}

/// The parts a gate is put together from.
#[derive(Debug)]
pub struct Parts {
    /// The state.
    pub store: Store,
    /// The policy in force.
    pub bundle: Bundle,
    /// The time.
    pub clock: Clock,
    /// The gate's keys.
    pub keyring: Keyring,
    /// Who writes recordings.
    pub recorder: RecorderPool,
    /// Who writes the audit log's tree.
    pub log: LogWriter,
    /// Everything else.
    pub settings: Settings,
}

impl Gate {
    /// Puts a gate together; [`Gate::start`] makes it ready to serve.
    ///
    /// # Errors
    /// If the journal of closings can't be opened.
    pub fn new(parts: Parts) -> std::io::Result<Arc<Self>> {
        let journal = Journal::open(&parts.settings.data_dir.join("journal.jsonl"))?;
        let timings = Arc::new(Timings::default());
        Ok(Arc::new(Self {
            store: parts.store,
            bundle: ArcSwap::from_pointee(parts.bundle),
            clock: parts.clock,
            live: LiveSessions::measured_by(Arc::clone(&timings)),
            accounts: Accounts::default(),
            keyring: RwLock::new(parts.keyring),
            vaults: OnceLock::new(),
            recorder: parts.recorder,
            journal,
            challenges: Mutex::default(),
            providers: Providers::default(),
            directories: Directories::default(),
            issuers: Issuers::default(),
            signals: Signals::default(),
            client_certificates: ClientCertificates::default(),
            on_call: OnCall::default(),
            drift: Drift::default(),
            tickets: Tickets::default(),
            devices: Mutex::default(),
            passkeys: Passkeys::default(),
            sequencer: Sequencer::new(parts.log),
            redecide_due: AtomicBool::new(false),
            published: AtomicU64::new(u64::MAX),
            settings: parts.settings,
            news: broadcast::channel(NEWS).0,
            counts: Counts::default(),
            timings,
            appended: Notify::new(),
            rotating: tokio::sync::RwLock::new(()),
            keeping: tokio::sync::RwLock::new(()),
            erasing: Mutex::default(),
            log_trouble: Mutex::new(None),
            redeciding: tokio::sync::Mutex::new(()),
            keeping_time: tokio::sync::RwLock::new(()),
            last_look: LastLook::default(),
            outbox: Outbox::default(),
            streams: Streams::default(),
            indexed: Indexed::default(),
            measured: tokio::sync::Mutex::default(),
            importing: Arc::default(),
            retention: Retention::default(),
        }))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Why nobody can sign in just now, whoever they are; `None`: they can.
    pub async fn trouble(&self) -> Option<Refusal> {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
        let answers = tokio::time::timeout(PATIENCE, self.store.is_empty()).await;
        (!matches!(answers, Ok(Ok(_)))).then(|| Refusal::of(Reason::StoreUnavailable))
    }

    /// Whether the wall clock is too far behind the log for anything to open.
    #[must_use]
    pub fn clock_is_behind(&self) -> bool {
        self.clock.behind().is_some()
    }

    /// The policy in force.
    #[must_use]
    pub fn bundle(&self) -> Arc<Bundle> {
        self.bundle.load_full()
    }

    /// The state, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The gate's keys. Not to be held across an await.
    pub fn keyring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live sessions of this node.
    #[must_use]
    pub fn live(&self) -> &LiveSessions {
        &self.live
    }

    /// What happened since this process began, in numbers.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What the gate was told when it was put together.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every entry as it is committed. Who lags behind looks at the state afresh.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.news.subscribe()
    }

    /// Commits a change and tells everybody who listens.
    pub(crate) async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        let change = self.outbox.tell(change);
        let tells = change.tells();
        let committed = self.store.commit(change).await?;
        self.timings.entered();
        self.appended.notify_one();
        if tells {
            self.outbox.wake();
        }
        for entry in &committed.entries {
            self.counts.count(&entry.event);
            // Nobody listening is no fault.
            let _ = self.news.send(Arc::new(entry.clone()));
        }
        Ok(committed)
    }

    /// How long things take here.
    #[must_use]
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// A draft of an entry by somebody, now.
    pub(crate) fn draft(&self, caller: &Caller, event: Event) -> EntryDraft {
        EntryDraft::new(self.now(), caller.actor(), caller.door, event)
    }

    /// A draft of an entry by the gate itself, now.
    pub(crate) fn own_draft(&self, event: Event) -> EntryDraft {
        EntryDraft::new(self.now(), Actor::Gate, Door::Gate, event)
    }

    /// What policy has to know of somebody, now: for the verbs, and for what lists show.
    ///
    /// # Errors
    /// If they, or the human who answers for them, are disabled, or the store can't be read.
    pub async fn situation(&self, who: &VerifiedIdentity) -> Result<Situation, Refusal> {
        let mut situation = self.circumstances(who).await?;
        // Where no policy asks, nobody has to look.
        if self.bundle.load().asks_for_risk() {
            self.look_for_risk(&mut situation).await?;
        }
        Ok(situation)
    }

    /// The same without what is unusual about them: for acts other than asking, of which no policy says that it matters.
    pub(crate) async fn circumstances(&self, who: &VerifiedIdentity) -> Result<Situation, Refusal> {
        let mut situation = self.situation_of(who.id()).await?;
        situation.mfa = who.mfa();
        situation.mfa_at = who.at();
        situation.network = who.from();
        if let Some(claims) = who.claims() {
            // A job is who it is for as long as `workloads.toml` says so, whatever it signed in with.
            let trusted = self.bundle.load().workloads().trust(who.username(), claims);
            trusted.map_err(|why| Refusal::because(Reason::NotSignedIn, why))?;
            situation.claims = Some(claims.clone());
        }
        Ok(situation)
    }

    /// What policy has to know of somebody who is not here.
    pub(crate) async fn situation_of(&self, id: PrincipalId) -> Result<Situation, Refusal> {
        let person = self.store.person(id).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::NotSignedIn))?;
        if person.state != access::identity::PersonState::Active {
            return Err(Refusal::of(Reason::Disabled));
        }
        let owner = match person.owner {
            None => None,
            Some(owner) => {
                let row = self.store.person(owner.into()).await.map_err(unavailable)?.ok_or_else(|| Refusal::of(Reason::Disabled))?;
                if row.state != access::identity::PersonState::Active {
                    return Err(Refusal::because(Reason::Disabled, format!("its owner `{}` is disabled", row.username)));
                }
                Some(row.username)
            }
        };
        let now = self.now();
        let store_groups = self.stored_groups(&person).await?;
        Ok(Situation {
            id,
            username: person.username,
            owner,
            claims: None,
            store_groups,
            mfa: access::identity::Mfa::None,
            mfa_at: now,
            network: None,
            now,
            on_call: None,
            roster: self.on_call.roster(),
            risk: None,
        })
    }

    /// How a person is called in messages; the id if they are unknown.
    pub async fn called(&self, id: PrincipalId) -> String {
        match self.store.person(id).await {
            Ok(Some(person)) => person.display_name.unwrap_or_else(|| person.username.to_string()),
            _ => id.to_string(),
        }
    }
}

/// The store can't be reached: nothing opens.
pub(crate) fn unavailable(error: StoreError) -> Refusal {
    tracing::error!(error = &error as &dyn std::error::Error, "the store did not answer");
    Refusal::of(Reason::StoreUnavailable)
}

/// A commit that did not go through, as its caller is told.
pub(crate) fn refused(error: CommitError) -> Refusal {
    match error {
        CommitError::Conflict { .. } | CommitError::Duplicate { .. } => Refusal::of(Reason::AlreadyDecided),
        CommitError::Illegal(FoldError::Illegal { from, .. }) => Refusal::because(Reason::AlreadyDecided, format!("it is {from}")),
        CommitError::Illegal(FoldError::Missing { .. } | FoldError::Exists { .. }) => Refusal::of(Reason::AlreadyDecided),
        CommitError::Unavailable(error @ store::StoreError::TooLong { .. }) => Refusal::because(Reason::Invalid, error.to_string()),
        CommitError::Unavailable(error) => {
            tracing::error!(error = %error, "the store did not take a change");
            Refusal::of(Reason::StoreUnavailable)
        }
    }
}
