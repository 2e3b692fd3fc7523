//! Debian's MariaDB on loopback, one server for all tests that run at the same time, one database for each; kept and ended as
//! [`crate::postgres`] says. Or a MySQL, if `TIDEGATE_TESTS_MYSQL` names the folder of one that `scripts/mysql-server` runs.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::postgres::{lock_file, supervise};

/// The account that may do everything, and its password.
pub const ADMIN: (&str, &str) = ("tide", "tide-test-password");

/// Names the folder of a MySQL that runs already.
const MYSQL: &str = "TIDEGATE_TESTS_MYSQL";

/// Whether it is MySQL that the tests run at.
#[must_use]
pub fn is_mysql() -> bool {
    std::env::var_os(MYSQL).is_some()
}

/// A fresh, empty database. Dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    port: u16,
}

/// How an account proves itself to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By a hash of SHA-1 (`mysql_native_password`).
    Native,
    /// By a signature (MariaDB's `ed25519`).
    Ed25519,
}

impl Database {
    /// Makes one, and starts the server if no test has yet.
    ///
    /// # Errors
    /// If Debian's `mariadb-server` is not installed or does not start.
    pub async fn fresh() -> Result<Self> {
        tokio::task::spawn_blocking(Self::make).await?
    }

    fn make() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let port = server()?;
        let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let database = Self { name, port };
        database.run("mysql", &format!("DROP DATABASE IF EXISTS {0}; CREATE DATABASE {0}", database.name))?;
        Ok(database)
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
        fs::read_to_string(home().join("ca.pem")).context("the server has no authority")
    }

    /// Makes an account that may do everything in this database, with this password.
    ///
    /// # Errors
    /// If the server refuses it.
    pub fn account(&self, name: &str, password: &str, proof: Proof) -> Result<String> {
        let user = format!("{name}_{}", self.name);
        let how = match proof {
            // There is no other way at a MySQL of today.
            _ if is_mysql() => format!("WITH caching_sha2_password BY '{password}'"),
            Proof::Native => format!("VIA mysql_native_password USING PASSWORD('{password}')"),
            Proof::Ed25519 => format!("VIA ed25519 USING PASSWORD('{password}')"),
        };
        let make = format!("DROP USER IF EXISTS {user}; CREATE USER {user} IDENTIFIED {how}; GRANT ALL ON {}.* TO {user}", self.name);
        self.run("mysql", &make)?;
        Ok(user)
    }

    /// What statements give, run by the administrator in this database: one line a row, columns apart by tabs.
    ///
    /// # Errors
    /// If the server refuses one.
    pub fn query(&self, sql: &str) -> Result<String> {
        self.run(&self.name, sql)
    }

    fn run(&self, database: &str, sql: &str) -> Result<String> {
        let out = Command::new("mariadb")
            .args(["--no-defaults", "-h", "127.0.0.1", "-P", &self.port.to_string(), "-u", ADMIN.0])
            .args([&format!("-p{}", ADMIN.1), "-N", "-B", database, "-e", sql])
            .stdin(Stdio::null())
            .output()
            .context("cannot run mariadb")?;
        ensure!(out.status.success(), "`{sql}` failed: {}", String::from_utf8_lossy(&out.stderr));
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What stays behind goes with the server.
        let accounts = format!("SELECT user FROM mysql.user WHERE user LIKE '%\\_{}'", self.name);
        for user in self.run("mysql", &accounts).unwrap_or_default().lines() {
            let _left_behind = self.run("mysql", &format!("DROP USER IF EXISTS {user}"));
        }
        let _left_behind = self.run("mysql", &format!("DROP DATABASE IF EXISTS {}", self.name));
    }
}

/// The server's port; this process holds the server until it ends.
fn server() -> Result<u16> {
    static SERVER: OnceLock<std::result::Result<(File, u16), String>> = OnceLock::new();
    match SERVER.get_or_init(|| join().map_err(|error| format!("{error:#}"))) {
        Ok((_, port)) => Ok(*port),
        Err(error) => bail!("cannot start MariaDB for the tests (install Debian's `mariadb-server`): {error}"),
    }
}

fn home() -> PathBuf {
    if let Some(mysql) = std::env::var_os(MYSQL) {
        return mysql.into();
    }
    std::env::temp_dir().join(format!("tidegate-tests-mariadb-{}", rustix::process::getuid().as_raw()))
}

fn join() -> Result<(File, u16)> {
    let home = home();
    fs::create_dir_all(&home)?;
    let starting = lock_file(&home.join("starting"))?;
    starting.lock()?;
    let users = lock_file(&home.join("users"))?;
    users.lock_shared()?;
    let running = fs::read_to_string(home.join("port")).ok().and_then(|port| port.trim().parse().ok()).filter(|port| ready(*port));
    let port = match running {
        Some(port) => port,
        None if is_mysql() => bail!("no MySQL answers at the port in {}", home.display()),
        None => start(&home)?,
    };
    Ok((users, port))
}

fn ready(port: u16) -> bool {
    Command::new("mariadb-admin")
        .args([
            "--no-defaults",
            "-h",
            "127.0.0.1",
            "-P",
            &port.to_string(),
            "-u",
            ADMIN.0,
            &format!("-p{}", ADMIN.1),
            "--connect-timeout=20",
            "ping",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A certificate for the server, and the authority that signed it.
fn certify(home: &Path) -> Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::<String>::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::from_params(&ca, &ca_key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    fs::write(home.join("ca.pem"), ca_pem)?;
    fs::write(home.join("server.crt"), certificate.pem())?;
    fs::write(home.join("server.key"), key.serialize_pem())?;
    Ok(())
}

fn start(home: &Path) -> Result<u16> {
    let data = home.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let root = rustix::process::getuid().is_root();
    let user: &[&str] = if root { &["--user=root"] } else { &[] };
    let made = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
        .args(user)
        .arg(format!("--datadir={}", data.display()))
        .stdin(Stdio::null())
        .output()
        .context("cannot run mariadb-install-db")?;
    ensure!(made.status.success(), "mariadb-install-db failed: {}", String::from_utf8_lossy(&made.stderr));
    certify(home)?;
    let init = home.join("init.sql");
    fs::write(
        &init,
        format!(
            "CREATE USER '{0}'@'%' IDENTIFIED BY '{1}';\nGRANT ALL ON *.* TO '{0}'@'%' WITH GRANT OPTION;\nDROP USER IF EXISTS ''@localhost;\n",
            ADMIN.0, ADMIN.1
        ),
    )?;
    let log = home.join("log");
    for _ in 0..5 {
        let port = crate::ports::free()?.port();
        let output = File::create(&log)?;
        let mut child = Command::new("/usr/sbin/mariadbd")
            .args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--max-connections=300",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .args(["--innodb-buffer-pool-size=64M", "--local-infile=1", "--plugin-load-add=auth_ed25519"])
            .args(user)
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", home.join("socket").display()))
            .arg(format!("--pid-file={}", home.join("pid").display()))
            .arg(format!("--init-file={}", init.display()))
            .arg(format!("--ssl-ca={}", home.join("ca.pem").display()))
            .arg(format!("--ssl-cert={}", home.join("server.crt").display()))
            .arg(format!("--ssl-key={}", home.join("server.key").display()))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        while child.try_wait()?.is_none() {
            if ready(port) {
                fs::write(home.join("port"), port.to_string())?;
                supervise(home, child.id())?;
                return Ok(port);
            }
            // Starting is the one thing that can only be asked about again.
            let _early = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(50));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    bail!("the server does not start: {}", fs::read_to_string(&log).unwrap_or_default())
}
