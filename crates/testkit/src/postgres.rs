//! Debian's PostgreSQL on loopback, one server for all tests that run at the same time, one database for each.
//!
//! Tests may each be a process of their own, so the server belongs to none of them: every process holds a shared lock on a
//! file, and a small supervisor ends the server when the last one has let go, however that process ended.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const ROLE: &str = "tide";

/// A fresh, empty database. Dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    port: u16,
}

impl Database {
    /// Makes one, and starts the server if no test has yet.
    ///
    /// # Errors
    /// If Debian's `postgresql-15` is not installed or does not start.
    pub async fn fresh() -> Result<Self> {
        tokio::task::spawn_blocking(Self::make).await?
    }

    fn make() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let port = server()?;
        let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Self { name, port };
        database.admin(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", database.name))?;
        database.admin(&format!("CREATE DATABASE {}", database.name))?;
        Ok(database)
    }

    /// `postgres://…` of the database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port its server listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed the server's certificate, PEM.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn authority() -> Result<String> {
        fs::read_to_string(home(&Owner::find()?).join("ca.pem")).context("the server has no authority")
    }

    /// Makes an account that may do everything here and proves itself in this way; it goes with the database.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn account(&self, name: &str, password: &str, proof: Proof) -> Result<String> {
        let user = format!("{name}_{}", self.name);
        let encryption = if proof == Proof::Md5 { "md5" } else { "scram-sha-256" };
        self.admin(&format!("DROP ROLE IF EXISTS {user}"))?;
        self.admin(&format!("SET password_encryption = '{encryption}'; CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{password}'"))?;
        if let Some(group) = proof.group() {
            self.admin(&format!("GRANT {group} TO {user}"))?;
        }
        Ok(user)
    }

    /// What one statement gives, one line a row, columns apart by `|`.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn query(&self, sql: &str) -> Result<String> {
        let out = Command::new(format!("{BIN}/psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", ROLE, "-d", &self.name, "-c", sql])
            .stdin(Stdio::null())
            .output()
            .context("cannot run psql")?;
        ensure!(out.status.success(), "`{sql}` failed: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    /// Runs SQL as the server's owner, from outside this database: to lock it, to end its connections.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn admin(&self, sql: &str) -> Result<()> {
        let out = Command::new(format!("{BIN}/psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", ROLE, "-d", "postgres", "-c", sql])
            .stdin(Stdio::null())
            .output()
            .context("cannot run psql")?;
        ensure!(out.status.success(), "`{sql}` failed: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    }
}

/// How an account proves itself to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    Trust,
    /// By SCRAM-SHA-256, with or without channel binding.
    Scram,
    /// By an MD5 hash.
    Md5,
    /// By the password as it is.
    Password,
}

impl Proof {
    fn group(self) -> Option<&'static str> {
        match self {
            Self::Trust => None,
            Self::Scram => Some("needs_scram"),
            Self::Md5 => Some("needs_md5"),
            Self::Password => Some("needs_password"),
        }
    }
}

/// Accounts that have to prove themselves are members of a group. Superusers are no members of what they were not granted.
const HBA: &str =
    "host all +needs_scram all scram-sha-256\nhost all +needs_md5 all md5\nhost all +needs_password all password\nhost all all all trust\n";

impl Drop for Database {
    fn drop(&mut self) {
        // What stays behind goes with the server.
        let _left_behind = self.admin(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// The server's port; this process holds the server until it ends.
fn server() -> Result<u16> {
    static SERVER: OnceLock<std::result::Result<(File, u16), String>> = OnceLock::new();
    match SERVER.get_or_init(|| join().map_err(|error| format!("{error:#}"))) {
        Ok((_, port)) => Ok(*port),
        Err(error) => bail!("cannot start PostgreSQL for the tests (install Debian's `postgresql-15`): {error}"),
    }
}

/// Who the server runs as: it refuses root.
struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    fn find() -> Result<Self> {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        if uid != 0 {
            return Ok(Self { uid, gid });
        }
        let passwd = fs::read_to_string("/etc/passwd")?;
        let line = passwd.lines().find(|l| l.starts_with("postgres:")).context("there is no user `postgres`")?;
        let mut fields = line.split(':').skip(2);
        let mut next = || fields.next().and_then(|n| n.parse().ok()).context("the user `postgres` has no ids");
        Ok(Self { uid: next()?, gid: next()? })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null());
        if rustix::process::getuid().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

/// Joins the running server or starts it. The file is the shared lock that keeps it.
fn join() -> Result<(File, u16)> {
    let owner = Owner::find()?;
    let home = home(&owner);
    if fs::create_dir(&home).is_ok() {
        chown(&home, Some(owner.uid), Some(owner.gid))?;
    }
    let starting = lock_file(&home.join("starting"))?;
    starting.lock()?;
    let users = lock_file(&home.join("users"))?;
    // The supervisor holds this alone while it ends a server that nobody used any more.
    users.lock_shared()?;
    let port = match running(&home) {
        Some(port) => port,
        None => start(&home, &owner)?,
    };
    Ok((users, port))
}

fn home(owner: &Owner) -> PathBuf {
    std::env::temp_dir().join(format!("tidegate-tests-postgres-tls-{}", owner.uid))
}

/// A certificate for the server, and the authority that signed it.
fn certify(home: &Path, data: &Path, owner: &Owner) -> Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::<String>::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::from_params(&ca, &ca_key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    fs::write(home.join("ca.pem"), ca_pem)?;
    fs::write(data.join("server.crt"), certificate.pem())?;
    fs::write(data.join("server.key"), key.serialize_pem())?;
    fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600))?;
    fs::write(data.join("pg_hba.conf"), HBA)?;
    for file in ["server.crt", "server.key", "pg_hba.conf"] {
        chown(data.join(file), Some(owner.uid), Some(owner.gid))?;
    }
    Ok(())
}

pub(crate) fn lock_file(path: &Path) -> Result<File> {
    File::options().create(true).truncate(false).write(true).open(path).with_context(|| format!("cannot open {}", path.display()))
}

fn running(home: &Path) -> Option<u16> {
    let port = fs::read_to_string(home.join("port")).ok()?.trim().parse().ok()?;
    ready(port).then_some(port)
}

fn ready(port: u16) -> bool {
    Command::new(format!("{BIN}/pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .status()
        .is_ok_and(|status| status.success())
}

fn start(home: &Path, owner: &Owner) -> Result<u16> {
    let data = home.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let made = owner
        .command(&format!("{BIN}/initdb"))
        .args(["-A", "trust", "-U", ROLE, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
        .arg(&data)
        .output()
        .context("cannot run initdb")?;
    ensure!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
    certify(home, &data, owner)?;
    let log = home.join("log");
    for _ in 0..5 {
        let port = crate::ports::free()?.port();
        let mut server = owner.command(&format!("{BIN}/postgres"));
        server.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F", "-N", "300"]);
        server.args(["-c", "ssl=on"]);
        server.args(["-c", "unix_socket_directories=", "-c", "autovacuum=off", "-c", "max_wal_size=256MB"]);
        let output = File::create(&log)?;
        let mut child = server.stdout(output.try_clone()?).stderr(output).process_group(0).spawn()?;
        while child.try_wait()?.is_none() {
            if ready(port) {
                fs::write(home.join("port"), port.to_string())?;
                for group in ["needs_scram", "needs_md5", "needs_password"] {
                    let made = Command::new(format!("{BIN}/createuser"))
                        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", ROLE, "--no-login", group])
                        .output()?;
                    ensure!(made.status.success(), "createuser failed: {}", String::from_utf8_lossy(&made.stderr));
                }
                supervise(home, child.id())?;
                return Ok(port);
            }
            // Starting is the one thing that can only be asked about again.
            let _early = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(50));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    bail!("the server does not start: {}", fs::read_to_string(&log).unwrap_or_default())
}

/// Ends the server when nobody holds the lock any more, and holds the lock alone until it is gone: who comes next makes its directory anew.
pub(crate) fn supervise(home: &Path, server: u32) -> Result<()> {
    let lives = format!("grep -qs '^State:[[:space:]]*[^Z[:space:]]' /proc/{server}/status");
    let status = Command::new("setsid")
        .args(["--fork", "flock", "-x"])
        .arg(home.join("users"))
        .args(["sh", "-c", &format!("kill -QUIT {server}; n=0; while [ $n -lt 600 ] && {lives}; do n=$((n+1)); sleep 0.1; done")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .status()
        .context("cannot run setsid")?;
    ensure!(status.success(), "the supervisor of the test server does not start");
    Ok(())
}
