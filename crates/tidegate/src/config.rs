//! `tidegate.toml`: where things are and where the gate listens. Nothing about who may do what.
//!
//! The file is read into a `RawConfig`, then checked into a [`Config`]; every mistake is reported at once. The
//! environment gives only paths and secrets ([`Environment`]). Paths in the file are relative to the file.

pub mod directories;
pub mod mail;
pub mod on_call;
pub mod outside;
mod parts;
pub mod providers;
mod raw;
pub mod signals;
pub mod streams;
pub mod teams;
pub mod trackers;
pub mod vaults;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use access::inert::inert;
use access::secret::Secret;
use credentials::sealing::SealingSource;
use policy::document::{At, Document};
use policy::problem::{Place, Problems, Sink, shown};
use store::StoreUrl;

use raw::{RawConfig, RawStore};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "tidegate.toml";
/// What mistakes are in, for messages.
const CONFIGURATION: &str = "the configuration";

/// What the environment may say: paths and secrets.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `TIDEGATE_CONFIG`: the configuration file.
    pub config: Option<PathBuf>,
    /// `TIDEGATE_DATA_DIR`: wins over `data_dir`.
    pub data_dir: Option<PathBuf>,
    /// `TIDEGATE_STORE_URL`: wins over `store`; may hold a password.
    pub store_url: Option<Secret<String>>,
    /// `TIDEGATE_SEALING_KEY_FILE`: wins over `sealing_key_file`; `fd:N` is an inherited descriptor.
    pub sealing_key_file: Option<String>,
}

impl Environment {
    /// What this process was given. An empty variable counts as none.
    #[must_use]
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        Self {
            config: path("TIDEGATE_CONFIG"),
            data_dir: path("TIDEGATE_DATA_DIR"),
            store_url: text("TIDEGATE_STORE_URL").map(Secret::new),
            sealing_key_file: text("TIDEGATE_SEALING_KEY_FILE"),
        }
    }
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where the gate keeps what it keeps: `store.db audit/ recordings/ index/ keys/`.
    pub data_dir: PathBuf,
    /// The policy directory.
    pub policy_dir: PathBuf,
    /// This node's name.
    pub node: String,
    /// Where the store is.
    pub store: StoreUrl,
    /// Where the key that wraps all others comes from.
    pub sealing: SealingSource,
    /// Where the gate listens.
    pub listen: Listen,
    /// What clients are told to use.
    pub public: Public,
    /// Where the API's certificate comes from.
    pub tls: Tls,
    /// The file that signed checkpoints are appended to.
    pub checkpoints: PathBuf,
    /// The gate's own addresses as targets see them; session certificates are valid from these alone. Empty: from anywhere.
    pub gate_addresses: Vec<IpAddr>,
    /// How often every target is looked at for what the gate did not put there; `None`: only when somebody asks.
    pub drift_every: Option<access::time::Span>,
    /// Where people sign in.
    pub identity_providers: Vec<providers::ProviderConfig>,
    /// What brings people and groups.
    pub directories: Vec<identity::scim::Directory>,
    /// Who says, unasked, that somebody is not to be let in any more.
    pub signals: Vec<signals::SignalsConfig>,
    /// Where secrets of targets are fetched from.
    pub vaults: Vec<vaults::VaultConfig>,
    /// Who is asked how a ticket is.
    pub trackers: Vec<trackers::TrackerConfig>,
    /// Where it is asked who is on call.
    pub on_call: Vec<on_call::OnCallConfig>,
    /// Endpoints that are told of events.
    pub webhooks: Vec<outside::WebhookConfig>,
    /// Where the log goes as it grows.
    pub streams: Vec<streams::StreamConfig>,
    /// The workspace of Slack where people ask and decide.
    pub slack: Option<outside::SlackConfig>,
    /// The tenant of Microsoft Teams where people decide.
    pub teams: Option<teams::TeamsConfig>,
    /// The server that mails are handed to.
    pub mail: Option<mail::MailConfig>,
}

/// Where the gate listens. Port 0 is any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// HTTPS: the API and the portal.
    pub api: SocketAddr,
    /// SSH.
    pub ssh: SocketAddr,
    /// PostgreSQL, over TLS; `None`: nowhere.
    pub postgres: Option<SocketAddr>,
    /// MySQL and MariaDB, over TLS; `None`: nowhere.
    pub mysql: Option<SocketAddr>,
    /// HTTP without TLS; loopback alone may have it.
    pub plain_http: bool,
}

/// What clients use, where that differs from where the gate listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Public {
    /// The API's URL, without a slash at its end.
    pub api_url: Option<String>,
    /// The host that `ssh` is pointed at.
    pub ssh_host: Option<String>,
    /// Its port.
    pub ssh_port: Option<u16>,
}

/// Where the API's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// PEM files.
    Files {
        /// The certificate and those above it.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// The gate's own CA, whose root is served at `/ca.pem`.
    Internal,
}

impl Config {
    /// Reads and checks the file named by `file`, the environment, or [`DEFAULT_FILE`] here.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Problems> {
        let file = file.or(environment.config.as_deref()).unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(file, &text, environment),
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::NotFound => "there is no such file; name one with `--config` or `TIDEGATE_CONFIG`".to_owned(),
                    std::io::ErrorKind::InvalidData => "the file is not UTF-8 text".to_owned(),
                    _ => format!("the file cannot be read: {error}"),
                };
                Err(Problems::one(CONFIGURATION, Place::file(&inert(&file.display().to_string())), why))
            }
        }
    }

    /// Checks the text of a configuration file; `file` is named in messages and anchors relative paths.
    ///
    /// # Errors
    /// Every mistake there is.
    pub fn parse(file: &Path, text: &str, environment: &Environment) -> Result<Self, Problems> {
        let mistakes = Sink::new(CONFIGURATION);
        let name = inert(&file.display().to_string());
        let config = Document::open(&name, text.as_bytes(), &mistakes)
            .and_then(|document| check(file, RawConfig::read(&document), &document, environment, &mistakes));
        mistakes.close()?;
        config.ok_or_else(|| Problems::one(CONFIGURATION, Place::file(&name), "something in it cannot be used; run `tidegate doctor`"))
    }

    /// The URL clients use for the API, given where it really listens.
    #[must_use]
    pub fn api_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.listen.plain_http { "http" } else { "https" };
        self.public.api_url.clone().unwrap_or_else(|| format!("{scheme}://{}", reachable(bound, &self.node)))
    }

    /// The host and port clients give to `ssh`, given where the gate really listens.
    #[must_use]
    pub fn ssh_address(&self, bound: SocketAddr) -> (String, u16) {
        let host = self.public.ssh_host.clone().unwrap_or_else(|| host_of(bound, &self.node));
        (host, self.public.ssh_port.unwrap_or(bound.port()))
    }
}

impl Config {
    /// The host and port clients of a database are pointed at, given where the gate really listens for them.
    #[must_use]
    pub fn database_address(&self, bound: SocketAddr) -> (String, u16) {
        let named = self.public.api_url.as_deref().and_then(|url| reqwest::Url::parse(url).ok());
        let host = named.and_then(|url| url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()));
        (host.unwrap_or_else(|| host_of(bound, &self.node)), bound.port())
    }
}

/// `host:port` to reach a listener by; the node's name where it listens on all addresses.
fn reachable(bound: SocketAddr, node: &str) -> String {
    if bound.ip().is_unspecified() { format!("{node}:{}", bound.port()) } else { bound.to_string() }
}

fn host_of(bound: SocketAddr, node: &str) -> String {
    if bound.ip().is_unspecified() { node.to_owned() } else { bound.ip().to_string() }
}

fn check(file: &Path, raw: RawConfig, document: &Document<'_>, environment: &Environment, mistakes: &Sink) -> Option<Config> {
    let base = std::path::absolute(file).ok().and_then(|f| f.parent().map(Path::to_path_buf)).unwrap_or_default();
    let below = |path: &At<String>| {
        if path.value.is_empty() {
            document.reject(path, "an empty path names nothing");
        }
        base.join(&path.value)
    };

    let named_dir = raw.data_dir.as_ref().map(&below);
    let data_dir = environment.data_dir.clone().or(named_dir);
    if data_dir.is_none() {
        document.root().missing("data_dir", "name a directory that only the gate may read, as in `data_dir = \"/var/lib/tidegate\"`");
    }
    let policy_dir = raw.policy_dir.as_ref().map(&below);
    if policy_dir.is_none() {
        document.root().missing("policy_dir", "name the policy directory, as in `policy_dir = \"/etc/tidegate/policy\"`");
    }

    let store = match (&environment.store_url, raw.store) {
        (Some(url), _) => match url.expose().parse() {
            Ok(url) => Some(url),
            Err(error) => {
                let error: store::StoreUrlError = error;
                mistakes.error(Place::file("TIDEGATE_STORE_URL"), error.to_string());
                None
            }
        },
        (None, Some(At { value: RawStore::Url(StoreUrl::Sqlite(path)), .. })) => Some(StoreUrl::Sqlite(base.join(path))),
        (None, Some(At { value: RawStore::Url(url), .. })) => Some(url),
        (None, Some(At { value: RawStore::Beside, .. }) | None) => data_dir.as_ref().map(|dir| StoreUrl::Sqlite(dir.join("store.db"))),
    };

    let sealing = match (&environment.sealing_key_file, &raw.sealing_key_file) {
        (Some(given), _) => sealing(given, Path::new("")).or_else(|| {
            mistakes.error(Place::file("TIDEGATE_SEALING_KEY_FILE"), "`fd:` wants the number of an inherited descriptor, from 3 on");
            None
        }),
        (None, Some(given)) => sealing(&given.value, &base).or_else(|| {
            document.reject(given, "`sealing_key_file`: `fd:` wants the number of an inherited descriptor, from 3 on");
            None
        }),
        (None, None) => data_dir.as_ref().map(|dir| SealingSource::File(dir.join("sealing.key"))),
    };

    let node = match raw.node {
        Some(node) if is_host(&node.value) => Some(node.value),
        Some(node) => {
            document.reject(&node, format!("`node`: `{}` is not a host name", shown(&node.value)));
            None
        }
        None => Some(host_name()),
    };

    let api = raw.api.as_ref().map_or(SocketAddr::from(([127, 0, 0, 1], 3143)), |a| a.value);
    let ssh = raw.ssh.as_ref().map_or(SocketAddr::from(([127, 0, 0, 1], 3122)), |a| a.value);
    if let Some(at) = &raw.ssh
        && api == ssh
        && ssh.port() != 0
    {
        document.reject(at, format!("`listen.ssh`: {ssh} is taken by `listen.api`"));
    }
    let postgres = raw.postgres.as_ref().map(|a| a.value);
    if let (Some(at), Some(address)) = (&raw.postgres, postgres)
        && address.port() != 0
        && (address == api || address == ssh)
    {
        let taken = if address == api { "listen.api" } else { "listen.ssh" };
        document.reject(at, format!("`listen.postgres`: {address} is taken by `{taken}`"));
    }
    let mysql = raw.mysql.as_ref().map(|a| a.value);
    let before = [("listen.api", Some(api)), ("listen.ssh", Some(ssh)), ("listen.postgres", postgres)];
    if let (Some(at), Some(address)) = (&raw.mysql, mysql.filter(|address| address.port() != 0))
        && let Some((taken, _)) = before.iter().find(|(_, other)| *other == Some(address))
    {
        document.reject(at, format!("`listen.mysql`: {address} is taken by `{taken}`"));
    }
    let plain_http = raw.plain_http.as_ref().is_some_and(|p| p.value);
    if let Some(at) = &raw.plain_http
        && plain_http
        && !api.ip().is_loopback()
    {
        document.reject(at, format!("`listen.plain_http`: only loopback may go without TLS, and `listen.api` is {api}"));
    }

    let api_url = raw.api_url.as_ref().and_then(|at| match public_url(&at.value) {
        Some(url) => Some(url),
        None => {
            document.reject(at, format!("`public.api_url`: `{}` is not a URL like `https://gate.example.com`", shown(&at.value)));
            None
        }
    });
    let ssh_host = raw.ssh_host.as_ref().and_then(|at| {
        let good = is_host(&at.value) || at.value.parse::<IpAddr>().is_ok();
        if !good {
            document.reject(at, format!("`public.ssh_host`: `{}` is neither a host name nor an address", shown(&at.value)));
        }
        good.then(|| at.value.clone())
    });

    let tls = match (&raw.certificate, &raw.key) {
        (Some(certificate), Some(key)) => Tls::Files { certificate: below(certificate), key: below(key) },
        _ => Tls::Internal,
    };
    let checkpoints = raw.checkpoints.as_ref().map(&below).or_else(|| data_dir.as_ref().map(|dir| dir.join("checkpoints.published")));

    let drift_every = raw.drift_every.as_ref().map(|at| at.value);
    if let Some(at) = raw.drift_every.as_ref().filter(|at| at.value < access::time::Span::minutes(5)) {
        document.reject(at, "`drift.every`: looking at every target costs each of them a connection; 5m is the least");
    }
    let identity_providers = providers::check(raw.identity_providers, document, &base);
    let directories = directories::check(raw.directories, document, &identity_providers);
    let signals = signals::check(raw.signals, document, &base, &identity_providers);
    let vaults = vaults::check(raw.vaults, document, &base);
    let on_call = on_call::check(raw.on_call, document, &base);
    let trackers = trackers::check(raw.trackers, document, &base);
    let webhooks = outside::check_webhooks(raw.webhooks, document, &base);
    let streams = streams::check(raw.streams, document, &base);
    let slack = outside::check_slack(raw.slack, document, &base);
    let teams = teams::check(raw.teams, document, &base);
    let mail = mail::check(raw.mail, document, &base);

    Some(Config {
        file: file.to_path_buf(),
        data_dir: data_dir?,
        policy_dir: policy_dir?,
        node: node?,
        store: store?,
        sealing: sealing?,
        listen: Listen { api, ssh, postgres, mysql, plain_http },
        public: Public { api_url, ssh_host, ssh_port: raw.ssh_port.map(|p| p.value) },
        tls,
        checkpoints: checkpoints?,
        gate_addresses: raw.addresses.into_iter().map(|a| a.value).collect(),
        drift_every,
        identity_providers,
        directories,
        signals,
        vaults,
        on_call,
        trackers,
        webhooks,
        streams,
        slack,
        teams,
        mail,
    })
}

fn sealing(given: &str, base: &Path) -> Option<SealingSource> {
    match given.strip_prefix("fd:") {
        Some(number) => number.parse().ok().filter(|n| *n >= 3).map(SealingSource::Descriptor),
        None => Some(SealingSource::File(base.join(given))),
    }
}

/// A base URL without query, fragment or a slash at its end.
fn public_url(text: &str) -> Option<String> {
    let url = reqwest::Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (web && bare).then(|| text.trim_end_matches('/').to_owned())
}

fn is_host(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

/// The machine's host name; `gate` if it has none that could be one.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if is_host(&name) { name } else { "gate".to_owned() }
}

#[cfg(test)]
mod tests;
