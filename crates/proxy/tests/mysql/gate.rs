//! The gate and its target: policy is what the test says; everything else is real.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use access::rights::DatabaseRights;
use access::session::{Protocol, TargetTls};
use access::time::Span;
use access::verdict::RecordLevel;
use testkit::mariadb::{Database, Proof as Proves};
use tidegate_proxy::mysql::{DoorLimits, MysqlDoor};
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
    pub(crate) door: DoorLimits,
    /// Instead of the real server.
    pub(crate) port: Option<u16>,
    /// The account there, instead of one that may do everything in its database.
    pub(crate) user: Option<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: Policy::Open,
            rights: DatabaseRights { unrestricted: true, ..DatabaseRights::default() },
            level: RecordLevel::Content,
            idle: None,
            patience: Duration::from_secs(60),
            proof: Proves::Native,
            tls: None,
            password: "right",
            host: "127.0.0.1",
            guarded_allowed: true,
            one_database: true,
            door: DoorLimits::default(),
            port: None,
            user: None,
        }
    }
}

impl TestGate {
    /// Whatever is recorded, in one piece.
    pub(crate) fn everything(&self) -> Vec<u8> {
        self.frames.lock().unwrap().iter().flat_map(|frame| frame.bytes.to_vec()).collect()
    }

    /// What is recorded next, once, is answered by a panic.
    pub(crate) fn recorder_fails_over_once(&self) {
        self.recorder_faulty.store(true, Ordering::Release);
    }
}

/// The gate and its target.
pub(crate) struct Town {
    pub(crate) gate: Arc<TestGate>,
    pub(crate) port: u16,
    pub(crate) target: Database,
    pub(crate) dir: tempfile::TempDir,
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
        let user = setup.user.map_or(user, str::to_owned);
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
            protocol: Protocol::Mysql,
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
        tokio::spawn(MysqlDoor::new(gate.clone(), tls, setup.door).serve(listener, threads, stop.clone()));
        Self { gate, port, target, dir, stop }
    }

    /// From now on the role has these rights.
    pub(crate) fn allow(&self, rights: DatabaseRights) {
        self.gate.terms.lock().unwrap().rights = rights;
    }

    /// `mariadb` and its kin, signing in as Ana; further arguments after that.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> Command {
        let mut tool = Command::new(program);
        tool.args(["--no-defaults", "-h", "127.0.0.1", "-P", &self.port.to_string(), "-u", "orders-db+readwrite"])
            .arg(format!("-p{TOKEN}"))
            .arg("--ssl")
            .arg(format!("--ssl-ca={}", self.dir.path().join("ca.pem").display()))
            .args(arguments)
            .kill_on_drop(true)
            .stdin(std::process::Stdio::null());
        tool
    }

    /// The command-line client, printing bare rows; further arguments after that.
    pub(crate) fn client(&self, arguments: &[&str]) -> Command {
        let mut all = vec!["-N", "-B"];
        all.extend(arguments);
        self.tool("mariadb", &all)
    }

    /// The same program as the administrator, past the gate.
    pub(crate) fn direct(&self, program: &str, arguments: &[&str]) -> Command {
        let (user, password) = testkit::mariadb::ADMIN;
        let mut tool = Command::new(program);
        tool.args(["--no-defaults", "-h", "127.0.0.1", "-P", &self.target.port().to_string(), "-u", user]).arg(format!("-p{password}"));
        tool.args(arguments).kill_on_drop(true).stdin(std::process::Stdio::null());
        tool
    }

    /// What a program for Node prints that has `mysql` (mysql2) and `options` set.
    pub(crate) async fn node(&self, program: &str) -> String {
        let head = format!(
            "const mysql = require('mysql2/promise'); const fs = require('fs');\n\
             const options = {{host: 'localhost', port: {}, user: 'orders-db+readwrite', password: {TOKEN:?}, database: {:?}, \
             ssl: {{ca: fs.readFileSync({:?})}}}};\n(async () => {{\n",
            self.port,
            self.target.name(),
            self.dir.path().join("ca.pem")
        );
        let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/mysql2/node_modules");
        let mut node = Command::new("node");
        node.env("NODE_PATH", modules).arg("-e").arg(format!("{head}{program}\n}})()")).kill_on_drop(true);
        let out = tokio::time::timeout(Duration::from_secs(240), node.output()).await.expect("the program ends").unwrap();
        assert!(out.status.success(), "{}\n{}", out_of(&out), errors_of(&out));
        out_of(&out)
    }

    /// What statements through the gate give.
    pub(crate) async fn run(&self, sql: &str) -> std::process::Output {
        self.client(&["-e", sql]).output().await.unwrap()
    }

    fn interpreter(&self, program: &str) -> Command {
        let mut python = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/venv/bin/python"));
        python.arg("-c").arg(program).kill_on_drop(true);
        python
    }

    fn head(&self) -> String {
        format!(
            "host='localhost'; port={}; ca={:?}; token={TOKEN:?}; database={:?}; user='orders-db+readwrite'\n\
             def connect(**more):\n    import pymysql\n    \
             return pymysql.connect(**{{**dict(host=host, port=port, user=user, password=token, database=database, ssl={{'ca': ca}}), **more}})\n",
            self.port,
            self.dir.path().join("ca.pem"),
            self.target.name()
        )
    }

    /// The same, with something that is done once it has printed its first line; then it gets a line to read.
    pub(crate) async fn python_beside(&self, program: &str, doing: impl Future<Output = ()>) -> String {
        use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
        let running = async {
            let mut command = self.interpreter(&(self.head() + program));
            let piped = std::process::Stdio::piped;
            let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
            let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
            let mut said = String::new();
            out.read_line(&mut said).await.unwrap();
            doing.await;
            let _ = child.stdin.take().unwrap().write_all(b"\n").await;
            out.read_to_string(&mut said).await.unwrap();
            let mut errors = String::new();
            child.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
            assert!(child.wait().await.unwrap().success(), "{said}\n{errors}");
            said
        };
        tokio::time::timeout(Duration::from_secs(240), running).await.expect("the program ends")
    }

    /// What a Python program prints that has `host`, `port`, `ca`, `token`, `database`, `user` set, and `connect()` for PyMySQL.
    pub(crate) async fn python(&self, program: &str) -> String {
        let running = self.interpreter(&(self.head() + program)).output();
        let out = tokio::time::timeout(Duration::from_secs(240), running).await.expect("the program ends").unwrap();
        assert!(out.status.success(), "{}\n{}", out_of(&out), errors_of(&out));
        out_of(&out)
    }
}
