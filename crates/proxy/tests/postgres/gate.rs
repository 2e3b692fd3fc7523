//! The gate and its target: policy is what the test says; everything else is real.

use std::sync::Arc;
use std::time::Duration;

use access::rights::DatabaseRights;
use access::session::{Protocol, TargetTls};
use access::time::Span;
use access::verdict::RecordLevel;
use rustls::ServerConfig;
use testkit::postgres::{Database, Proof as Proves};
use tidegate_proxy::postgres::by_rights::by_rights;
use tidegate_proxy::postgres::judge::MakeJudge;
use tidegate_proxy::postgres::{DoorLimits, PostgresDoor};
use tidegate_proxy::threads::RelayThreads;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

pub(crate) use super::databases::{TOKEN, TestGate, errors_of, out_of};
use super::databases::{Terms, Way, door_tls};

/// What the door does with Ana.
pub(crate) enum Policy {
    /// Lets her in.
    Open,
    /// Asks her; lets her in when Ben approves.
    NeedsBen,
    /// Lets her in if she declares an emergency.
    OnlyEmergency,
    /// Asks her, or lets her in if she declares an emergency.
    NeedsBenOrEmergency,
}

pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) rights: DatabaseRights,
    pub(crate) level: RecordLevel,
    pub(crate) idle: Option<Span>,
    pub(crate) patience: Duration,
    pub(crate) proof: Proves,
    /// How the server is verified; `None`: under the authority that signed it.
    pub(crate) tls: Option<TargetTls>,
    /// The password that the gate has.
    pub(crate) password: &'static str,
    pub(crate) host: &'static str,
    pub(crate) guarded_allowed: bool,
    /// Whether the resource is one database.
    pub(crate) one_database: bool,
    pub(crate) judge: MakeJudge,
    pub(crate) door: DoorLimits,
    /// Instead of the real server.
    pub(crate) port: Option<u16>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: Policy::Open,
            rights: DatabaseRights { unrestricted: true, ..DatabaseRights::default() },
            level: RecordLevel::Content,
            idle: None,
            patience: Duration::from_secs(60),
            proof: Proves::Scram,
            tls: None,
            password: "right",
            host: "127.0.0.1",
            guarded_allowed: true,
            one_database: true,
            judge: by_rights,
            door: DoorLimits::default(),
            port: None,
        }
    }
}

/// The gate and its target.
pub(crate) struct Town {
    pub(crate) gate: Arc<TestGate>,
    pub(crate) port: u16,
    pub(crate) target: Database,
    pub(crate) dir: tempfile::TempDir,
    /// How it shows itself to clients.
    pub(crate) tls: ServerConfig,
    stop: CancellationToken,
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Town {
    pub(crate) async fn open() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let target = Database::fresh().await.unwrap();
        let user = target.account("app", "right", setup.proof).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let tls = door_tls(dir.path());
        let way = match setup.policy {
            Policy::Open => Way::default(),
            Policy::NeedsBen => Way { needs_ben: true, ..Way::default() },
            Policy::OnlyEmergency => Way { refused: true, emergency: true, ..Way::default() },
            Policy::NeedsBenOrEmergency => Way { needs_ben: true, emergency: true, ..Way::default() },
        };
        let gate = TestGate::new(Terms {
            way,
            protocol: Protocol::Postgres,
            rights: setup.rights,
            level: setup.level,
            idle: setup.idle,
            patience: setup.patience,
            host: setup.host,
            port: setup.port.unwrap_or_else(|| target.port()),
            database: setup.one_database.then(|| target.name().to_owned()),
            tls: setup.tls.unwrap_or_else(|| TargetTls::Authority(Database::authority().unwrap())),
            user,
            password: setup.password,
            guarded_allowed: setup.guarded_allowed,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let threads = RelayThreads::start(2, 16 * 1024 * 1024).unwrap();
        tokio::spawn(PostgresDoor::new(gate.clone(), tls.clone(), setup.judge, setup.door).serve(listener, threads, stop.clone()));
        Self { gate, port, target, dir, tls, stop }
    }

    /// A connection string for libpq; `more` after it.
    pub(crate) fn conninfo(&self, more: &str) -> String {
        let (ca, database) = (self.dir.path().join("ca.pem"), self.target.name());
        format!(
            "host=localhost port={} user=orders-db+readwrite dbname={database} password={TOKEN} sslmode=verify-full sslrootcert={} \
             connect_timeout=20 {more}",
            self.port,
            ca.display()
        )
    }

    /// `psql` with a connection string and further arguments.
    pub(crate) fn psql(&self, conninfo: &str, arguments: &[&str]) -> Command {
        let mut psql = Command::new("/usr/lib/postgresql/15/bin/psql");
        psql.args(["-X", "-A", "-t", "-d", conninfo]).args(arguments).kill_on_drop(true);
        psql.env("PGPASSFILE", "/dev/null").stdin(std::process::Stdio::null());
        psql
    }

    /// What statements through the gate give.
    pub(crate) async fn run(&self, sql: &str) -> std::process::Output {
        self.psql(&self.conninfo(""), &["-c", sql]).output().await.unwrap()
    }

    /// What a Python program prints that has `dsn`, `port`, `ca`, `token`, `database` and `user` set.
    pub(crate) async fn python(&self, program: &str) -> String {
        let head = format!(
            "dsn={:?}; port={}; ca={:?}; token={TOKEN:?}; database={:?}; user='orders-db+readwrite'\n",
            self.conninfo(""),
            self.port,
            self.dir.path().join("ca.pem"),
            self.target.name()
        );
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python");
        let running = Command::new(python).arg("-c").arg(head + program).kill_on_drop(true).output();
        let out = tokio::time::timeout(Duration::from_secs(240), running).await.expect("the program ends").unwrap();
        assert!(out.status.success(), "{}\n{}", out_of(&out), errors_of(&out));
        out_of(&out)
    }
}
