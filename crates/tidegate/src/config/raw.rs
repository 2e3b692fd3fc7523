//! What stands in `tidegate.toml`, key by key, before anything is decided about it.

use std::net::{IpAddr, SocketAddr};

use access::time::Span;
use policy::document::{At, Document};
use store::StoreUrl;

use super::directories::RawDirectory;
use super::mail::RawMail;
use super::on_call::RawOnCall;
use super::outside::{RawSlack, RawWebhook};
use super::providers::RawProvider;
use super::signals::RawSignals;
use super::streams::RawStream;
use super::teams::RawTeams;
use super::trackers::RawTracker;
use super::vaults::RawVault;

const ADDRESS: &str = "an address and port like `127.0.0.1:3143`";

/// The file as it stands. A key that isn't there is `None`.
#[derive(Debug, Default)]
pub(crate) struct RawConfig {
    pub(crate) data_dir: Option<At<String>>,
    pub(crate) policy_dir: Option<At<String>>,
    pub(crate) node: Option<At<String>>,
    pub(crate) store: Option<At<RawStore>>,
    pub(crate) sealing_key_file: Option<At<String>>,
    pub(crate) api: Option<At<SocketAddr>>,
    pub(crate) ssh: Option<At<SocketAddr>>,
    pub(crate) postgres: Option<At<SocketAddr>>,
    pub(crate) mysql: Option<At<SocketAddr>>,
    pub(crate) plain_http: Option<At<bool>>,
    pub(crate) api_url: Option<At<String>>,
    pub(crate) ssh_host: Option<At<String>>,
    pub(crate) ssh_port: Option<At<u16>>,
    pub(crate) certificate: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    pub(crate) checkpoints: Option<At<String>>,
    pub(crate) addresses: Vec<At<IpAddr>>,
    pub(crate) drift_every: Option<At<Span>>,
    pub(crate) identity_providers: Vec<RawProvider>,
    pub(crate) directories: Vec<RawDirectory>,
    pub(crate) signals: Vec<RawSignals>,
    pub(crate) vaults: Vec<RawVault>,
    pub(crate) on_call: Vec<RawOnCall>,
    pub(crate) trackers: Vec<RawTracker>,
    pub(crate) webhooks: Vec<RawWebhook>,
    pub(crate) streams: Vec<RawStream>,
    pub(crate) slack: Option<RawSlack>,
    pub(crate) teams: Option<RawTeams>,
    pub(crate) mail: Option<RawMail>,
}

/// `sqlite`, or a URL.
#[derive(Debug)]
pub(crate) enum RawStore {
    Beside,
    Url(StoreUrl),
}

impl std::str::FromStr for RawStore {
    type Err = store::StoreUrlError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "sqlite" { Ok(Self::Beside) } else { text.parse().map(Self::Url) }
    }
}

impl RawConfig {
    /// Reads every key; mistakes go to the document's collection.
    pub(crate) fn read(document: &Document<'_>) -> Self {
        let root = document.root();
        let mut raw = Self {
            data_dir: root.text("data_dir"),
            policy_dir: root.text("policy_dir"),
            node: root.text("node"),
            store: root.read("store"),
            sealing_key_file: root.text("sealing_key_file"),
            ..Self::default()
        };

        let listen = root.table("listen");
        raw.api = listen.parse("api", ADDRESS);
        raw.ssh = listen.parse("ssh", ADDRESS);
        raw.postgres = listen.parse("postgres", ADDRESS);
        raw.mysql = listen.parse("mysql", ADDRESS);
        raw.plain_http = listen.flag("plain_http");
        listen.finish();

        let public = root.table("public");
        raw.api_url = public.text("api_url");
        raw.ssh_host = public.text("ssh_host");
        raw.ssh_port = public.port("ssh_port");
        public.finish();

        let tls = root.table("tls");
        raw.certificate = tls.text("certificate");
        raw.key = tls.text("key");
        if tls.is_there() {
            if raw.certificate.is_none() {
                tls.missing("certificate", "name the PEM file with the certificate chain, or leave `[tls]` out to use the gate's own CA");
            }
            if raw.key.is_none() {
                tls.missing("key", "name the PEM file with the private key, or leave `[tls]` out to use the gate's own CA");
            }
        }
        tls.finish();

        let audit = root.table("audit");
        raw.checkpoints = audit.text("checkpoints");
        audit.finish();

        let gate = root.table("gate");
        raw.addresses = gate.list("addresses", "an IP address");
        gate.finish();

        let drift = root.table("drift");
        raw.drift_every = drift.read("every");
        drift.finish();

        raw.identity_providers = root.tables("identity_provider").into_iter().map(RawProvider::read).collect();
        raw.directories = root.tables("directory").into_iter().map(RawDirectory::read).collect();
        raw.signals = root.tables("signals").into_iter().map(RawSignals::read).collect();
        raw.vaults = root.tables("vault").into_iter().map(RawVault::read).collect();
        raw.on_call = root.tables("oncall").into_iter().map(RawOnCall::read).collect();
        raw.trackers = root.tables("tracker").into_iter().map(RawTracker::read).collect();
        raw.webhooks = root.tables("webhook").into_iter().map(RawWebhook::read).collect();
        raw.streams = root.tables("stream").into_iter().map(RawStream::read).collect();
        raw.slack = RawSlack::read(root.table("slack"));
        raw.teams = RawTeams::read(root.table("teams"));
        raw.mail = RawMail::read(root.table("mail"));

        root.finish();
        raw
    }
}
