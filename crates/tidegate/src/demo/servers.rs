//! The demo's databases: Debian's PostgreSQL and MariaDB on loopback, with a small shop in them.
//!
//! Each has its own directory, port, certificate and password, made once and kept. They are ended with the demo. PostgreSQL refuses
//! to run as root, so root runs it as its own user, who keeps just the right to get into the demo's directory.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use access::secret::Secret;
use anyhow::{Context as _, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::client::settings::write_private;
use crate::output::note;

/// The account by which the gate makes others; `resources.toml` names it.
const MAKER: &str = "tide_maker";
const POSTGRES: &str = "/usr/lib/postgresql/15/bin";
const MARIADB: &str = "/usr/sbin/mariadbd";
const ORDERS: &str = include_str!("data/orders.sql");
const STOCK: &str = include_str!("data/stock.sql");
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running database server; ended when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// The resource it is.
    pub(super) resource: &'static str,
    pub(super) port: u16,
    /// The authority that signed its certificate, PEM.
    pub(super) authority: String,
    /// What the maker signs in with.
    pub(super) password: Secret<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // A clean end that waits for no client is SIGINT for the one, SIGTERM for the other.
        let signal = if self.resource == "orders-db" { rustix::process::Signal::INT } else { rustix::process::Signal::TERM };
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
        let _ = self.child.wait();
    }
}

/// Starts what is installed of the two; says what is not.
///
/// # Errors
/// If one that is installed does not start.
pub(super) fn start(dir: &Path) -> anyhow::Result<Vec<Server>> {
    let (has_postgres, has_mariadb) = (Path::new(POSTGRES).join("postgres").exists(), Path::new(MARIADB).exists());
    if !has_postgres {
        note("PostgreSQL is not installed, so `orders-db` does not answer; `apt-get install postgresql-15` brings it.");
    }
    if !has_mariadb {
        note("MariaDB is not installed, so `warehouse-db` does not answer; `apt-get install mariadb-server` brings it.");
    }
    std::thread::scope(|scope| {
        let first = has_postgres.then(|| scope.spawn(|| postgres(&dir.join("postgres")).context("cannot start the demo's PostgreSQL")));
        let second = has_mariadb.then(|| scope.spawn(|| mariadb(&dir.join("mariadb")).context("cannot start the demo's MariaDB")));
        let starting = first.into_iter().chain(second);
        starting.map(|server| server.join().unwrap_or_else(|_| bail!("a server's start came to a sudden end"))).collect()
    })
}

/// What a server keeps between two runs of the demo.
struct Kept {
    port: u16,
    authority: String,
    password: Secret<String>,
    /// Whether this is its first run.
    fresh: bool,
}

impl Kept {
    /// Made at the first run, read at the next.
    fn in_dir(dir: &Path) -> anyhow::Result<Self> {
        let (port, authority, password) = (dir.join("port"), dir.join("ca.pem"), dir.join("password"));
        if port.exists() {
            let text = fs::read_to_string(&port)?;
            return Ok(Self {
                port: text.trim().parse().with_context(|| format!("`{}` names no port", port.display()))?,
                authority: fs::read_to_string(&authority).with_context(|| format!("cannot read `{}`", authority.display()))?,
                password: Secret::new(fs::read_to_string(&password).with_context(|| format!("cannot read `{}`", password.display()))?),
                fresh: false,
            });
        }
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        let (first, second): (u128, u128) = (rand::random(), rand::random());
        let secret = Secret::new(format!("{first:032x}{second:032x}"));
        write_private(&password, secret.expose().as_bytes())?;
        let authority_pem = certify(dir)?;
        fs::write(&authority, &authority_pem)?;
        let number = super::free_port()?;
        Ok(Self { port: number, authority: authority_pem, password: secret, fresh: true })
    }

    /// Everything is there: the next run takes it up.
    fn keep(&self, dir: &Path) -> anyhow::Result<()> {
        fs::write(dir.join("port"), self.port.to_string()).with_context(|| format!("cannot write to `{}`", dir.display()))
    }
}

/// A certificate for 127.0.0.1, and the authority that signed it.
fn certify(dir: &Path) -> anyhow::Result<String> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::<String>::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::from_params(&ca, &ca_key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    fs::write(dir.join("server.crt"), certificate.pem())?;
    write_private(&dir.join("server.key"), Secret::new(key.serialize_pem()).expose().as_bytes())?;
    Ok(pem)
}

/// Who runs PostgreSQL: whoever runs the demo, unless that is root.
struct Owner(Option<(u32, u32)>);

impl Owner {
    fn find() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let passwd = fs::read_to_string("/etc/passwd")?;
        let line = passwd.lines().find(|line| line.starts_with("postgres:"));
        let line =
            line.context("PostgreSQL does not run as root, and there is no user `postgres` for it; install Debian's `postgresql-15`")?;
        let mut fields = line.split(':').skip(2);
        let mut next = || fields.next().and_then(|n| n.parse().ok()).context("the user `postgres` has no ids");
        Ok(Self(Some((next()?, next()?))))
    }

    /// A program as this user. What root keeps to itself (the demo's directory may lie anywhere) can be passed through.
    fn command(&self, program: &str) -> Command {
        let Some((uid, gid)) = self.0 else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()]);
        command.args(["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--bounding-set=-all,+dac_override", program]);
        command
    }

    fn owns(&self, path: &Path) -> anyhow::Result<()> {
        match self.0 {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot give `{}` away", path.display())),
            None => Ok(()),
        }
    }
}

/// Ends a server that an earlier run of the demo left behind, since it was killed itself. Its pid stands in the file's first line.
pub(super) fn end_left_behind(pid_file: &Path, data: &Path) {
    let Ok(text) = fs::read_to_string(pid_file) else { return };
    let Some(pid) = text.lines().next().and_then(|pid| pid.trim().parse().ok()).and_then(rustix::process::Pid::from_raw) else { return };
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    let is_it =
        || fs::read(format!("{process}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*data.to_string_lossy()));
    let deadline = Instant::now() + PATIENCE;
    while is_it() && Instant::now() < deadline {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        std::thread::sleep(Duration::from_millis(50));
    }
    // A new server takes a dead one for alive until somebody has collected it.
    let is_dead = || fs::read_to_string(format!("{process}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    while is_dead() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn postgres(dir: &Path) -> anyhow::Result<Server> {
    let owner = Owner::find()?;
    let kept = Kept::in_dir(dir)?;
    let data = dir.join("data");
    end_left_behind(&data.join("postmaster.pid"), &data);
    if kept.fresh {
        if data.exists() {
            // Of a run that did not get this far.
            fs::remove_dir_all(&data)?;
        }
        owner.owns(dir)?;
        let made = owner
            .command(&format!("{POSTGRES}/initdb"))
            .args(["-A", "scram-sha-256", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--pwfile"])
            .arg(dir.join("password"))
            .arg("-D")
            .arg(&data)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .context("cannot run `initdb`")?;
        ensure!(made.status.success(), "`initdb` failed: {}", String::from_utf8_lossy(&made.stderr));
        for name in ["server.crt", "server.key"] {
            fs::copy(dir.join(name), data.join(name))?;
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600))?;
            owner.owns(&data.join(name))?;
        }
        fs::write(data.join("pg_hba.conf"), "# Over TLS and with a password alone.\nhostssl all all 127.0.0.1/32 scram-sha-256\n")?;
        let maker = format!(
            "CREATE ROLE {MAKER} LOGIN SUPERUSER PASSWORD '{}';\n\nCREATE DATABASE orders OWNER {MAKER};\n\n",
            kept.password.expose()
        );
        alone(&owner, &data, "postgres", &maker)?;
        let schema: String = ORDERS.split_inclusive(";\n").map(|statement| format!("{statement}\n")).collect();
        alone(&owner, &data, "orders", &format!("SET SESSION AUTHORIZATION {MAKER};\n\n{schema}"))?;
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    let port = kept.port.to_string();
    let child = owner
        .command(&format!("{POSTGRES}/postgres"))
        .arg("-D")
        .arg(&data)
        .args(["-h", "127.0.0.1", "-p", &port, "-c", "ssl=on", "-c", "unix_socket_directories=", "-c", "max_connections=100"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot run `postgres`")?;
    let mut server =
        Server { child, resource: "orders-db", port: kept.port, authority: kept.authority.clone(), password: kept.password.clone() };
    let ready = || {
        let asked =
            Command::new(format!("{POSTGRES}/pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port]).stdin(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    server.wait_for(ready, dir)?;
    kept.keep(dir)?;
    Ok(server)
}

/// Runs statements in a server that serves nobody else (PostgreSQL documentation, "postgres", single-user mode).
fn alone(owner: &Owner, data: &Path, database: &str, sql: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut child = owner
        .command(&format!("{POSTGRES}/postgres"))
        .args(["--single", "-j", "-D"])
        .arg(data)
        .args(["-c", "exit_on_error=true", database])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `postgres`")?;
    child.stdin.take().context("`postgres` takes no statements")?.write_all(sql.as_bytes())?;
    let out = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && !said.contains("ERROR:"), "`{database}` could not be filled: {said}");
    Ok(())
}

fn mariadb(dir: &Path) -> anyhow::Result<Server> {
    let kept = Kept::in_dir(dir)?;
    let data = dir.join("data");
    end_left_behind(&dir.join("pid"), &data);
    let root = rustix::process::geteuid().is_root();
    let user: &[&str] = if root { &["--user=root"] } else { &[] };
    let init = dir.join("first.sql");
    if kept.fresh {
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .args(user)
            .arg(format!("--datadir={}", data.display()))
            // Others on this machine may be making one of their own at the same moment.
            .env("TMPDIR", dir)
            .arg(format!("--tmpdir={}", dir.display()))
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .context("cannot run `mariadb-install-db`")?;
        ensure!(made.status.success(), "`mariadb-install-db` failed: {}", String::from_utf8_lossy(&made.stderr));
        write_private(&init, first_statements(&kept.password).expose().as_bytes())?;
    }
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    let at = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
    let mut command = Command::new(MARIADB);
    command
        .arg("--no-defaults")
        .args(user)
        .arg(at("datadir", data))
        .arg(at("tmpdir", dir.to_owned()))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"]);
    command.args([format!("--port={}", kept.port), at("ssl-cert", dir.join("server.crt")), at("ssl-key", dir.join("server.key"))]);
    // No path of a socket is longer than 107 bytes, and this one nobody needs.
    command.args(["--socket=".to_owned() + &socket(kept.port), at("pid-file", dir.join("pid"))]);
    if kept.fresh {
        command.arg(at("init-file", init.clone()));
    }
    let child = command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).spawn();
    let child = child.with_context(|| format!("cannot run `{MARIADB}`"))?;
    let mut server =
        Server { child, resource: "warehouse-db", port: kept.port, authority: kept.authority.clone(), password: kept.password.clone() };
    let config = dir.join("ping.cnf");
    write_private(&config, format!("[client]\nuser={MAKER}\npassword={}\n", kept.password.expose()).as_bytes())?;
    let port = kept.port.to_string();
    let ready = || {
        // Its statements have run once the maker can sign in.
        let asked = Command::new("mariadb-admin")
            .arg(format!("--defaults-file={}", config.display()))
            .args(["--protocol=tcp", "-h", "127.0.0.1", "-P", &port, "--connect-timeout=1", "ping"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success())
    };
    server.wait_for(ready, dir)?;
    let _gone = (fs::remove_file(&init), fs::remove_file(&config));
    kept.keep(dir)?;
    Ok(server)
}

fn socket(port: u16) -> String {
    std::env::temp_dir().join(format!("tidegate-demo-{port}.sock")).display().to_string()
}

/// What the server runs at its first start, one statement a line: nobody has an account without a password, and the maker comes last.
fn first_statements(password: &Secret<String>) -> Secret<String> {
    Secret::new(format!(
        "DELETE FROM mysql.global_priv WHERE user IN ('', 'root');\nFLUSH PRIVILEGES;\nCREATE DATABASE stock CHARACTER SET utf8mb4;\nUSE stock;\n{STOCK}\
         CREATE USER '{MAKER}'@'%' IDENTIFIED BY '{}';\nGRANT ALL ON *.* TO '{MAKER}'@'%' WITH GRANT OPTION;\n",
        password.expose()
    ))
}

impl Server {
    fn wait_for(&mut self, ready: impl Fn() -> bool, dir: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() && ready() {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        bail!("it does not answer on port {}:\n{}", self.port, last.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}
