//! A real OpenSSH server from Debian on a free loopback port, with keys and configuration of its own.
//!
//! It runs as whoever runs the tests, in a directory that goes with it, and is killed when dropped.

use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// How a server is to be set up. The default trusts nobody.
#[derive(Debug, Clone, Default)]
pub struct SshdOptions {
    /// A user CA that is trusted (`TrustedUserCAKeys`), one public key in OpenSSH's format.
    pub trusted_user_ca: Option<String>,
    /// Principals that a certificate may carry to log in (`AuthorizedPrincipalsFile`); empty: the login name itself.
    pub principals: Vec<String>,
    /// Public keys that may log in.
    pub authorized_keys: Vec<String>,
    /// The server's own host key; `None`: a new one. A path to a private key.
    pub host_key: Option<PathBuf>,
    /// Further lines of `sshd_config`. They stand first, so they win.
    pub extra: Vec<String>,
    /// The port to listen on; `None`: a free one.
    pub port: Option<u16>,
    /// A program, with arguments, that starts the server: `env NAME=value`, `unshare …`.
    pub through: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    dir: TempDir,
    port: u16,
    host_key: String,
}

impl Sshd {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// What it said, if it does not start.
    pub fn start(options: &SshdOptions) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sshd-").tempdir()?;
        let key = match &options.host_key {
            Some(path) => path.clone(),
            None => keypair(dir.path(), "host_ed25519")?,
        };
        let host_key = public_half(&key)?;
        // Where the privilege-separated child of a server run by root is confined.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd")?;
        }
        let mut last = String::new();
        for _ in 0..20 {
            let port = match options.port {
                Some(port) => port,
                None => crate::ports::free()?.port(),
            };
            let config = write_config(dir.path(), &key, port, options)?;
            let log = dir.path().join("log");
            let mut words = options.through.iter().map(String::as_str).chain(["/usr/sbin/sshd"]);
            let mut child = Command::new(words.next().unwrap_or_default())
                .args(words)
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::OpenOptions::new().create(true).append(true).open(&log)?)
                .process_group(0)
                .spawn()
                .context("cannot start /usr/sbin/sshd; install `openssh-server`")?;
            if answers(port, &mut child)? {
                return Ok(Self { child, dir, port, host_key });
            }
            let _ = child.kill();
            let _ = child.wait();
            last = fs::read_to_string(&log).unwrap_or_default();
        }
        bail!("sshd does not start:\n{last}")
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its public host key, OpenSSH format without comment.
    #[must_use]
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// Trusts these user CAs from now on, one public key to a line, if it was started with one.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn trust(&self, user_cas: &str) -> anyhow::Result<()> {
        fs::write(self.dir.path().join("user_ca.pub"), format!("{user_cas}\n")).context("cannot write the user CAs")
    }

    /// Its directory, for whatever a test wants to put beside it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Makes an Ed25519 key pair without passphrase; gives the private key's path, the public one stands beside it as `.pub`.
///
/// # Errors
/// If `ssh-keygen` fails.
pub fn keypair(dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = dir.join(name);
    let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path).status()?;
    if !status.success() {
        bail!("ssh-keygen failed for {}", path.display());
    }
    Ok(path)
}

/// The public half of a private key's file, OpenSSH format without comment.
///
/// # Errors
/// If there is none.
pub fn public_half(private: &Path) -> anyhow::Result<String> {
    let mut path = private.as_os_str().to_owned();
    path.push(".pub");
    let text = fs::read_to_string(&path).with_context(|| format!("no public key beside {}", private.display()))?;
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn write_config(dir: &Path, key: &Path, port: u16, options: &SshdOptions) -> anyhow::Result<PathBuf> {
    let file = |name: &str, lines: &[String]| -> anyhow::Result<PathBuf> {
        let path = dir.join(name);
        let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
        writeln!(file, "{}", lines.join("\n"))?;
        Ok(path)
    };
    let keys = file("authorized_keys", &options.authorized_keys)?;
    // A home of its own, so that nobody's shell start-up files matter here.
    let home = dir.join("home");
    fs::create_dir_all(&home)?;
    let mut lines = options.extra.clone();
    lines.extend([
        format!("ListenAddress 127.0.0.1:{port}"),
        format!("HostKey {}", key.display()),
        format!("AuthorizedKeysFile {}", keys.display()),
        "PidFile none".to_owned(),
        "StrictModes no".to_owned(),
        "UsePAM no".to_owned(),
        "PasswordAuthentication no".to_owned(),
        "KbdInteractiveAuthentication no".to_owned(),
        "PermitRootLogin yes".to_owned(),
        "PrintMotd no".to_owned(),
        "PrintLastLog no".to_owned(),
        "AcceptEnv *".to_owned(),
        format!("SetEnv HOME={}", home.display()),
        "AllowTcpForwarding yes".to_owned(),
        "AllowAgentForwarding yes".to_owned(),
        "AllowStreamLocalForwarding yes".to_owned(),
        "MaxSessions 200".to_owned(),
        "MaxStartups 500".to_owned(),
        "LogLevel VERBOSE".to_owned(),
        "Subsystem sftp internal-sftp".to_owned(),
    ]);
    if let Some(ca) = &options.trusted_user_ca {
        lines.push(format!("TrustedUserCAKeys {}", file("user_ca.pub", std::slice::from_ref(ca))?.display()));
    }
    if !options.principals.is_empty() {
        lines.push(format!("AuthorizedPrincipalsFile {}", file("principals", &options.principals)?.display()));
    }
    let config = file("sshd_config", &lines)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    Ok(config)
}

/// Waits until the server shows its version; `false` if it ended instead (its port was taken, most likely).
fn answers(port: u16, child: &mut Child) -> anyhow::Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            let mut start = [0; 4];
            if stream.read_exact(&mut start).is_ok() {
                // Another server may have taken the port; then ours ends.
                std::thread::sleep(Duration::from_millis(10));
                return Ok(&start == b"SSH-" && child.try_wait()?.is_none());
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(false)
}
