//! The demo's target: Debian's OpenSSH server on loopback, with keys of its own, trusting the gate's target CA.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::servers::{Server, end_left_behind};

const SSHD: &str = "/usr/sbin/sshd";

/// A running target; killed when dropped.
#[derive(Debug)]
pub(super) struct Target {
    child: Child,
    port: u16,
    host_key: String,
    user: String,
}

impl Target {
    /// Starts the server in its directory and waits until it answers.
    ///
    /// # Errors
    /// If OpenSSH's server is not installed, or says why it does not start.
    pub(super) fn start(dir: &Path, port: u16, user_cas: &[String]) -> anyhow::Result<Self> {
        if !Path::new(SSHD).exists() {
            bail!("the demo's target is OpenSSH's server, which is not installed; `apt-get install openssh-server` brings it");
        }
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        let key = dir.join("host_ed25519");
        if !key.exists() {
            let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "demo target", "-f"]).arg(&key).status();
            if !status.context("cannot run `ssh-keygen`; install `openssh-client`")?.success() {
                bail!("`ssh-keygen` could not make the target's host key");
            }
        }
        let public = fs::read_to_string(dir.join("host_ed25519.pub"))?;
        let host_key = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        // A home of its own, so that nobody's shell start-up files matter here.
        fs::create_dir_all(dir.join("home"))?;
        fs::write(dir.join("user_ca.pub"), format!("{}\n", user_cas.join("\n")))?;
        let config = write_config(dir, &key, port)?;
        if rustix::process::geteuid().is_root() {
            // Where the privilege-separated child of a server run by root is confined.
            fs::create_dir_all("/run/sshd")?;
        }
        end_left_behind(&dir.join("pid"), dir);
        let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start OpenSSH's server")?;
        let mut target = Self { child, port, host_key, user: user_name()? };
        target.wait_until_it_answers(dir)?;
        Ok(target)
    }

    fn wait_until_it_answers(&mut self, dir: &Path) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            // Whoever else answers there, it is not this one.
            if self.child.try_wait()?.is_some() {
                break;
            }
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                let mut greeting = [0; 4];
                if stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-" {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the demo's target does not start:\n{}", fs::read_to_string(dir.join("log")).unwrap_or_default())
    }

    /// The example's `resources.toml`, with every machine standing here, and each database where its server is.
    pub(super) fn relocate(&self, resources: &str, servers: &[Server]) -> String {
        let mut out = String::from(
            "# The example's machines. In the demo all of them are one OpenSSH server on loopback; the databases are servers of their own.\n",
        );
        let mut name = "";
        let mut is_machine = true;
        for line in resources.lines() {
            if let Some(named) = line.strip_prefix("name = ") {
                name = named.trim_matches('"');
            }
            if let Some(kind) = line.strip_prefix("kind = ") {
                is_machine = kind == "\"ssh\"";
            }
            if line.starts_with("address = ") && !is_machine {
                match servers.iter().find(|server| server.resource == name) {
                    Some(server) => {
                        out.push_str(&format!("address = \"127.0.0.1:{}\"\ntls_ca = \"\"\"\n{}\"\"\"\n", server.port, server.authority));
                    }
                    None => out.push_str(&format!("{line}\n")),
                }
            } else if line.starts_with("address = ") {
                out.push_str(&format!("address = \"127.0.0.1:{0}\"\nlogin = \"{1}\"\nlook_as = \"{1}\"\n", self.port, self.user));
            } else if line.starts_with("host_keys = ") {
                out.push_str(&format!("host_keys = [\"{}\"]\n", self.host_key));
            } else {
                out.push_str(line);
                out.push('\n');
            }
        }
        out
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// The port on which the policy of an earlier run expects the target.
///
/// # Errors
/// If there was none.
pub(super) fn kept_port(dir: &Path) -> anyhow::Result<u16> {
    let config = dir.join("target").join("sshd_config");
    let text = fs::read_to_string(&config).with_context(|| format!("cannot read `{}`; is this a demo's directory?", config.display()))?;
    let port = text.lines().find_map(|line| line.strip_prefix("Port ")).and_then(|port| port.parse().ok());
    port.with_context(|| format!("`{}` names no port", config.display()))
}

fn write_config(dir: &Path, key: &Path, port: u16) -> anyhow::Result<PathBuf> {
    let path = dir.join("sshd_config");
    let text = format!(
        "Port {port}\n\
         ListenAddress 127.0.0.1\n\
         HostKey {}\n\
         PidFile {}\n\
         TrustedUserCAKeys {}\n\
         AuthorizedKeysFile none\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin yes\n\
         UsePAM no\n\
         StrictModes no\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         AcceptEnv LANG LC_*\n\
         SetEnv HOME={}\n\
         AllowAgentForwarding yes\n\
         AllowTcpForwarding yes\n\
         MaxStartups 200:30:400\n\
         MaxSessions 100\n\
         Subsystem sftp internal-sftp\n",
        key.display(),
        dir.join("pid").display(),
        dir.join("user_ca.pub").display(),
        dir.join("home").display()
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// The account that runs the demo: the only one its target can log in.
fn user_name() -> anyhow::Result<String> {
    let output = Command::new("id").arg("-un").output().context("cannot run `id`")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
