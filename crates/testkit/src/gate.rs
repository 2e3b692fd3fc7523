//! A gate in this process on the example company: real store, keys, recorder and log, and a clock that tests move by hand.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::limits::Limits;
use access::reason::Refusal;
use access::request::{AccessRequest, Asked, Door};
use anyhow::Context as _;
use credentials::keyring::Keyring;
use credentials::sealing::SealingSource;
use evidence::log::checkpoint::{CheckpointKey, CheckpointVerifier};
use evidence::log::writer::{Fsync, LogWriter};
use evidence::recording::{PoolOptions, RecorderPool};
use jiff::Timestamp;
use policy::Bundle;
use store::{Store, StoreOptions, StoreUrl};
use tempfile::TempDir;
use workflow::clock::{Clock, ManualTime};
use workflow::gate::{Parts, Settings};
use workflow::{Caller, Gate};

/// Where everybody in tests sits.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The example company's people.
pub const PEOPLE: &[&str] = &["ana", "ben", "carla", "dan", "eve", "frank"];

/// A gate and its people.
pub struct TestGate {
    /// The gate.
    pub gate: Arc<Gate>,
    /// Its clock.
    pub time: Arc<ManualTime>,
    dir: Arc<TempDir>,
    people: BTreeMap<String, Caller>,
}

/// The policy of the example company.
#[must_use]
pub fn example_policy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy")
}

/// Monday noon UTC, in working hours.
///
/// # Panics
/// Never: the text is a time.
#[must_use]
pub fn monday_noon() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

impl TestGate {
    /// A gate on SQLite with the example policy and everybody signed in.
    ///
    /// # Errors
    /// If a part of it can't be made.
    pub async fn start() -> anyhow::Result<Self> {
        let dir = Arc::new(tempfile::Builder::new().prefix("gate-").tempdir()?);
        let url = format!("sqlite:{}", dir.path().join("store.db").display());
        Self::start_in(dir, &url, Bundle::load(&example_policy()).map_err(|p| anyhow::anyhow!("{p}"))?, ManualTime::new(monday_noon()))
            .await
    }

    /// A gate in a directory, on a store; what is there already is taken up.
    ///
    /// # Errors
    /// If a part of it can't be made.
    pub async fn start_in(dir: Arc<TempDir>, store: &str, bundle: Bundle, time: Arc<ManualTime>) -> anyhow::Result<Self> {
        // What starting holds is much; those who wait for it need not hold it on their stacks.
        Box::pin(Self::open_in(dir, store, bundle, time)).await
    }

    async fn open_in(dir: Arc<TempDir>, store: &str, bundle: Bundle, time: Arc<ManualTime>) -> anyhow::Result<Self> {
        let store = Store::open(&store.parse::<StoreUrl>()?, StoreOptions::default()).await?;
        let clock = Clock::new(time.clone(), store.high_water().await?);
        let data = dir.path().to_owned();
        let sealing = SealingSource::File(data.join("sealing.key"));
        let keyring = Keyring::open_or_create(&data.join("keys"), &sealing, clock.now())?;
        let settings = Settings {
            node: "test".into(),
            data_dir: data.clone(),
            checkpoints: data.join("outside").join("checkpoints"),
            addresses: Vec::new(),
        };
        std::fs::create_dir_all(data.join("outside"))?;
        let key = CheckpointKey::from_seed(&settings.origin(), keyring.audit_seed()?.1.expose())?;
        let (_, first) = keyring.audit_publics().first().copied().context("no audit key")?;
        let first = CheckpointVerifier::from_public(&settings.origin(), &first)?;
        let log = LogWriter::open_since(data.join("audit"), &first, key, Fsync::Never)?;
        let recorder = RecorderPool::open(data.join("recordings"), &PoolOptions::default())?;
        let gate = Gate::new(Parts { store, bundle, clock, keyring, recorder, log, settings })?;
        let mut started = gate.start("test").await?;
        let mut people = BTreeMap::new();
        if let Some(invited) = started.first_administrator.take() {
            people.insert("admin".to_owned(), accept(&gate, invited.code.expose()).await?);
            for name in PEOPLE {
                let invited = gate.invite_example(name.parse()?, name).await?;
                people.insert((*name).to_owned(), accept(&gate, invited.code.expose()).await?);
            }
        }
        Ok(Self { gate, time, dir, people })
    }

    /// Ends this gate's process, so to speak, and starts another on what it left. People stay signed in.
    ///
    /// # Errors
    /// If it can't be started again.
    pub async fn restart(self) -> anyhow::Result<Self> {
        self.restart_after(|| ()).await
    }

    /// As [`Self::restart`], and between the two something happens to what the first left.
    ///
    /// # Errors
    /// If it can't be started again.
    pub async fn restart_after(self, meanwhile: impl FnOnce()) -> anyhow::Result<Self> {
        let Self { gate, time, dir, people } = self;
        gate.store().close().await;
        let bundle = Bundle::from_files(gate.bundle().files().clone()).map_err(|p| anyhow::anyhow!("{p}"))?;
        drop(gate);
        meanwhile();
        let url = format!("sqlite:{}", dir.path().join("store.db").display());
        let again = Self::start_in(dir, &url, bundle, time).await?;
        Ok(Self { people, ..again })
    }

    /// One of the people, signed in.
    ///
    /// # Panics
    /// If there is nobody by that name.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test that names nobody is wrong")]
    pub fn person(&self, name: &str) -> &Caller {
        self.people.get(name).expect("one of the example company's people")
    }

    /// The gate's data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Time passes, and the gate does what time does by itself.
    pub async fn pass(&self, time: Duration) {
        self.time.advance(time);
        self.gate.sweep_sessions().await;
        self.gate.sweep_store().await;
    }

    /// The names of all entries so far, in order.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn entries(&self) -> anyhow::Result<Vec<String>> {
        let page = store::EntryPage { limit: 10_000, after: None, newest_first: false };
        let entries = self.gate.store().entries(&store::EntryFilter::default(), page).await?;
        Ok(entries.into_iter().map(|e| e.entry.event.name().to_owned()).collect())
    }
}

async fn accept(gate: &Gate, code: &str) -> Result<Caller, Refusal> {
    let (who, _) = gate.accept_invitation(code, HERE).await?;
    Ok(Caller { who, door: Door::Api })
}

/// A request for a role on a resource with a reason: `ask("db-1", "debug")`.
///
/// # Panics
/// If the names are none.
#[must_use]
#[expect(clippy::expect_used, reason = "a test that gives no names is wrong")]
pub fn ask(resource: &str, role: &str) -> AccessRequest {
    AccessRequest {
        resource: resource.parse().expect("a resource's name"),
        role: role.parse().expect("a role's name"),
        asked: Asked::Default,
        reason: Some("checking a slow query".into()),
        ticket: None,
        limits: Limits::default(),
        break_glass: false,
        door: Door::Api,
    }
}

/// The value, or what went wrong with its chain.
///
/// # Errors
/// As given.
pub fn said<T>(result: Result<T, Refusal>, act: &str) -> anyhow::Result<T> {
    result.with_context(|| act.to_owned())
}
