//! A node of the gate, put together from its configuration: store, keys, policy, recorder, workflow, listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access::session::{EndReason, Protocol};
use anyhow::{Context as _, bail};
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use credentials::keyring::Keyring;
use evidence::log::checkpoint::{CheckpointKey, CheckpointVerifier};
use evidence::log::writer::{Fsync, LogWriter};
use evidence::recording::{PoolOptions, RecorderPool};
use identity::oidc::{Provider, ProviderClient};
use proxy::mysql::MysqlDoor;
use proxy::postgres::PostgresDoor;
use proxy::postgres::by_rights::by_rights;
use proxy::ssh::{DoorLimits, SshDoor};
use proxy::threads::RelayThreads;
use store::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use workflow::Gate;
use workflow::clock::{Clock, TimeSource};
use workflow::gate::{Parts, Settings};
use workflow::signals::HeardTransmitter;
use workflow::start::Started;

use crate::config::Config;
use crate::config::providers::ProviderConfig;
use crate::config::signals::SignalsConfig;
use crate::consoles::Doors;
use crate::gatekeeper::Port;
use crate::local::{Joining, LocalSocket};
use crate::tls::InternalCa;
use crate::{leftovers, on_call, outside, policy_dir, streams, tls, vaults};

/// How long live sessions have to close when the node stops.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A running node.
pub struct Node {
    /// The gate.
    pub gate: Arc<Gate>,
    /// Where the API really listens.
    pub api: SocketAddr,
    /// Where SSH really listens.
    pub ssh: SocketAddr,
    /// Where PostgreSQL really listens, if it does.
    pub postgres: Option<SocketAddr>,
    /// Where MySQL really listens, if it does.
    pub mysql: Option<SocketAddr>,
    /// The API as clients reach it.
    pub api_url: String,
    /// The root that clients of the API have to trust; `None`: a public CA's, or none is needed.
    pub root: Option<String>,
    /// The key that verifies the audit log's checkpoints.
    pub checkpoint_verifier: String,
    /// What starting found.
    pub started: Started,
    serving: CancellationToken,
    working: CancellationToken,
    relays: RelayThreads,
    listeners: TaskTracker,
    workers: TaskTracker,
}

impl Node {
    /// Starts a node; `rebuild_log`: with a new log made of the store, should the log be gone.
    ///
    /// # Errors
    /// Says which part can't be started, and why.
    pub async fn start(config: &Config, time: Arc<dyn TimeSource>, rebuild_log: bool) -> anyhow::Result<Self> {
        make_private_dir(&config.data_dir)?;
        let store = Store::open(&config.store, StoreOptions::default()).await?;
        let mark = store.high_water().await?;
        if mark.is_some() && !crate::doctor::has_keys(config) {
            bail!(
                "the gate's keys are gone: `{}` holds none, and the store has entries; restore it from the backup of the same moment as the store. \
                 New keys would open nothing that these sealed",
                config.data_dir.join("keys").display()
            );
        }
        let clock = Clock::new(time, mark);
        let now = clock.now();
        let keyring =
            Keyring::open_or_create(&config.data_dir.join("keys"), &config.sealing, now).context("cannot open the gate's keys")?;
        let policy_dir::Start { bundle, passed_over } = policy_dir::bundle_to_start_with(&config.policy_dir, &store).await?;
        let recorder = RecorderPool::open(config.data_dir.join("recordings"), &PoolOptions::default())
            .with_context(|| no_recordings(&config.data_dir))?;
        probe_recordings(&config.data_dir)?;
        let settings = Settings {
            node: config.node.clone(),
            data_dir: config.data_dir.clone(),
            checkpoints: config.checkpoints.clone(),
            addresses: config.gate_addresses.clone(),
        };
        let checkpoint_key =
            CheckpointKey::from_seed(&settings.origin(), keyring.audit_seed()?.1.expose()).context("cannot use the audit log's key")?;
        let verifier = checkpoint_key.verifier().to_string();
        let first = first_verifier(&settings.origin(), &keyring)?;
        let writer =
            LogWriter::open_since(config.data_dir.join("audit"), &first, checkpoint_key, Fsync::AtCheckpoint).with_context(|| {
                let dir = config.data_dir.join("audit");
                format!(
                    "cannot take up the audit log; the gate's user has to be able to write `{}`, or, if it is damaged, restore it",
                    dir.display()
                )
            })?;
        keyring.ssh_host()?;
        let plain_everywhere = config.listen.plain_http && config.listen.postgres.is_none() && config.listen.mysql.is_none();
        let ca = InternalCa::open_or_make(config, &keyring)?;
        let certified = if plain_everywhere { None } else { Some(tls::certify(config, &ca)?) };

        let api_listener =
            TcpListener::bind(config.listen.api).await.with_context(|| format!("cannot listen on {} for the API", config.listen.api))?;
        let ssh_listener =
            TcpListener::bind(config.listen.ssh).await.with_context(|| format!("cannot listen on {} for SSH", config.listen.ssh))?;
        let (api, ssh) = (api_listener.local_addr()?, ssh_listener.local_addr()?);
        let postgres_listener = match config.listen.postgres {
            Some(address) => Some(TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for PostgreSQL"))?),
            None => None,
        };
        let postgres = postgres_listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let mysql_listener = match config.listen.mysql {
            Some(address) => Some(TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for MySQL"))?),
            None => None,
        };
        let mysql = mysql_listener.as_ref().map(TcpListener::local_addr).transpose()?;

        let local = LocalSocket::bind(&config.data_dir)?;
        let gate = Gate::new(Parts { store, bundle, clock, keyring, recorder, log: writer, settings })
            .context("cannot open the journal of closings")?;
        gate.serve_providers(clients(config)?);
        gate.serve_directories(config.directories.clone());
        gate.serve_signals(config.signals.iter().map(heard).collect::<anyhow::Result<_>>()?);
        gate.serve_vaults(vaults::vaults(config)?);
        gate.serve_on_call(on_call::sources(config)?);
        gate.serve_trackers(on_call::trackers(config)?);
        gate.serve_outbox(outside::destinations(config, &config.api_url(api))?);
        gate.serve_streams(streams::streams(config)?);
        gate.sign_client_certificates(ca.for_clients()?);
        if rebuild_log {
            gate.rebuild_log().await.context("cannot make a new log")?;
        }
        let started = gate.start(env!("CARGO_PKG_VERSION")).await.context("cannot settle what the last run left")?;

        let node = Self {
            api_url: config.api_url(api),
            root: certified.as_ref().filter(|_| !config.listen.plain_http).and_then(|c| c.root.clone()),
            gate,
            api,
            ssh,
            postgres,
            mysql,
            checkpoint_verifier: verifier,
            started,
            serving: CancellationToken::new(),
            working: CancellationToken::new(),
            relays: relays()?,
            listeners: TaskTracker::new(),
            workers: TaskTracker::new(),
        };
        node.workers.spawn(Arc::clone(&node.gate).sweep_forever(node.working.clone()));
        node.workers.spawn(Arc::clone(&node.gate).sequence_forever(node.working.clone()));
        node.workers.spawn(Arc::clone(&node.gate).follow_on_call(node.working.clone()));
        node.workers.spawn(Arc::clone(&node.gate).deliver_forever(node.working.clone()));
        node.workers.spawn(Arc::clone(&node.gate).stream_forever(node.working.clone()));
        node.workers.spawn(Arc::clone(&node.gate).index_forever(node.working.clone()));
        node.workers.spawn(policy_dir::watch(Arc::clone(&node.gate), config.policy_dir.clone(), passed_over, node.working.clone()));

        let door = SshDoor::new(Arc::new(node.port(Protocol::Ssh)), DoorLimits::default());
        node.workers.spawn(leftovers::go_after(Arc::clone(&node.gate), Arc::clone(&door), node.working.clone()));
        node.gate.serve_drift(Arc::new(crate::drift::Look(Arc::clone(&door))), config.drift_every);
        let mut consoles = Doors { ssh: Arc::clone(&door), postgres: None, mysql: None };
        node.listeners.spawn(door.serve(ssh_listener, node.serving.clone()));
        if let (Some(listener), Some(certified)) = (mysql_listener, &certified) {
            let port = Arc::new(node.port(Protocol::Mysql));
            let door = MysqlDoor::new(port, certified.databases.clone(), proxy::mysql::DoorLimits::default());
            consoles.mysql = Some(Arc::clone(&door));
            node.listeners.spawn(door.serve(listener, node.relays.clone(), node.serving.clone()));
        }
        if let (Some(listener), Some(certified)) = (postgres_listener, &certified) {
            let port = Arc::new(node.port(Protocol::Postgres));
            let limits = proxy::postgres::DoorLimits::default();
            let door = PostgresDoor::new(port, certified.databases.clone(), by_rights, limits);
            consoles.postgres = Some(Arc::clone(&door));
            node.listeners.spawn(door.serve(listener, node.relays.clone(), node.serving.clone()));
        }

        let ca_file = node.root.is_some().then(|| config.data_dir.join("ca.pem"));
        let joining = Joining { api: node.api_url.clone(), ca_file };
        node.listeners.spawn(local.serve(Arc::clone(&node.gate), joining, node.serving.clone()));

        let (ssh_host, ssh_port) = config.ssh_address(ssh);
        let facts = api::types::GateFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: node.api_url.clone(),
            ssh: Some(api::types::SshFacts { host: ssh_host, port: ssh_port, host_keys: Vec::new(), fingerprints: Vec::new() }),
            postgres: postgres.map(|bound| database(config, bound)),
            mysql: mysql.map(|bound| database(config, bound)),
            ca: certified.as_ref().and_then(|c| c.root.clone()),
            ..api::types::GateFacts::default()
        };
        let mut router = api::router(api::ApiState::new(Arc::clone(&node.gate), facts).with_consoles(Arc::new(consoles)));
        if let Some(root) = certified.as_ref().and_then(|c| c.root.clone()) {
            router = router.route("/ca.pem", get(move || async move { ([(CONTENT_TYPE, "application/x-pem-file")], root) }));
        }
        let server = certified.filter(|_| !config.listen.plain_http).map(|c| c.server);
        node.listeners.spawn(api::serve(api_listener, server, router, node.serving.clone()));
        Ok(node)
    }

    /// The port for the door where this is spoken.
    fn port(&self, protocol: Protocol) -> Port {
        Port::new(Arc::clone(&self.gate), self.api_url.clone(), protocol)
    }

    /// Stops in order: no new connections, sessions ended and entered, the log carried over and signed.
    pub async fn stop(self) {
        self.serving.cancel();
        let gone = self.gate.live().cut(EndReason::Node, |_| true);
        let closing = async {
            for (_, mut gone) in gone {
                let _ = gone.wait_for(Option::is_some).await;
            }
        };
        if tokio::time::timeout(CLOSE_WITHIN, closing).await.is_err() {
            tracing::warn!("some sessions did not close in time; the next start enters their end");
        }
        self.listeners.close();
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.listeners.wait()).await;
        self.gate.stopped().await;
        self.working.cancel();
        self.workers.close();
        self.workers.wait().await;
        self.gate.store().close().await;
    }
}

/// A thread for each processor, for what goes to databases.
fn relays() -> anyhow::Result<RelayThreads> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    RelayThreads::start(processors, crate::STACK).context("no threads can be started")
}

/// Where clients of a database are told to connect to.
fn database(config: &Config, bound: SocketAddr) -> api::types::DatabaseFacts {
    let (host, port) = config.database_address(bound);
    api::types::DatabaseFacts { host, port }
}

/// The identity providers, each with what talks to it. Whether they answer is found out when somebody signs in.
fn clients(config: &Config) -> anyhow::Result<Vec<(Provider, ProviderClient)>> {
    let client = |of: &ProviderConfig| -> anyhow::Result<(Provider, ProviderClient)> {
        let name = &of.provider.name;
        let client = provider_client(of.ca_file.as_deref(), name).with_context(|| format!("cannot set up sign-in at `{name}`"))?;
        Ok((of.provider.clone(), client))
    };
    config.identity_providers.iter().map(client).collect()
}

/// A transmitter of signals, with what talks to it.
///
/// # Errors
/// If what is trusted for it can't be read.
pub(crate) fn heard(of: &SignalsConfig) -> anyhow::Result<HeardTransmitter> {
    let name = &of.transmitter.name;
    let client = provider_client(of.ca_file.as_deref(), name.as_str()).with_context(|| format!("cannot set up the signals of `{name}`"))?;
    Ok(HeardTransmitter { transmitter: of.transmitter.clone(), client, authorization: of.authorization.clone() })
}

/// What talks to a provider or transmitter, trusting the PEM roots of a file alone, if one is named.
fn provider_client(ca_file: Option<&std::path::Path>, name: &str) -> anyhow::Result<ProviderClient> {
    let roots = match ca_file {
        Some(file) => Some(std::fs::read(file).with_context(|| format!("cannot read `{}` for `{name}`", file.display()))?),
        None => None,
    };
    Ok(ProviderClient::new(roots.as_deref())?)
}

fn no_recordings(data_dir: &std::path::Path) -> String {
    let dir = data_dir.join("recordings");
    format!(
        "recordings cannot be written to `{}`, so nothing that is to be recorded could open; it has to be a directory that the gate's \
         user can write, on a file system that is not mounted read-only",
        dir.display()
    )
}

/// Whether a recording could be begun. A disk that is full just now is no reason not to start: nothing opens until there is room.
fn probe_recordings(data_dir: &std::path::Path) -> anyhow::Result<()> {
    let probe = data_dir.join("recordings").join(".probe");
    let made = std::fs::write(&probe, b"");
    let _gone = std::fs::remove_file(&probe);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::StorageFull => Err(error).with_context(|| no_recordings(data_dir)),
        _ => Ok(()),
    }
}

/// The key that signed the log at its beginning: from it the succession leads to the one that signs now.
pub(crate) fn first_verifier(origin: &str, keyring: &Keyring) -> anyhow::Result<CheckpointVerifier> {
    let (_, public) = keyring.audit_publics().first().copied().context("the gate has no key for its audit log")?;
    CheckpointVerifier::from_public(origin, &public).context("cannot use the audit log's first key")
}

/// Makes a directory that only the gate's user can enter.
fn make_private_dir(path: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if !path.is_dir() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot make the data directory `{}`", path.display()))?;
    }
    Ok(())
}
