//! The gate, its target and Ana, with the stock clients that she has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use access::rights::SshRights;
use access::session::{SshCredential, SshDial};
use access::verdict::HostKeyRule;
use russh::keys::{PrivateKey, PublicKey};
use testkit::sshd::{self, Sshd, SshdOptions};
use tidegate_proxy::ssh::{HostKeys, SshDoor};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::gate::{Setup, TestGate};

/// The gate, its target and Ana's key, all in one directory.
pub(crate) struct Town {
    pub(crate) gate: Arc<TestGate>,
    pub(crate) port: u16,
    pub(crate) target: Sshd,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ana: PathBuf,
    pub(crate) stranger: PathBuf,
    stop: CancellationToken,
}

impl Town {
    pub(crate) async fn new(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ana = sshd::keypair(dir.path(), "ana").unwrap();
        let stranger = sshd::keypair(dir.path(), "stranger").unwrap();
        let gate_key = sshd::keypair(dir.path(), "gate").unwrap();
        let mut options = SshdOptions { extra: setup.sshd.clone(), ..SshdOptions::default() };
        let ca = sshd::keypair(dir.path(), "ca").unwrap();
        let certificate = if setup.certificate_only {
            options.trusted_user_ca = Some(sshd::public_half(&ca).unwrap());
            let signed = std::process::Command::new("ssh-keygen")
                .args(["-q", "-s"])
                .arg(&ca)
                .args(["-I", "session", "-n", &login(), "-V", "-1m:+5m"])
                .arg(dir.path().join("gate.pub"))
                .status()
                .unwrap();
            assert!(signed.success());
            Some(std::fs::read_to_string(dir.path().join("gate-cert.pub")).unwrap())
        } else {
            options.authorized_keys = vec![sshd::public_half(&gate_key).unwrap()];
            None
        };
        let target = Sshd::start(&options).unwrap();
        let (port, host_key) = (target.port(), target.host_key().to_owned());
        let private = std::fs::read_to_string(&gate_key).unwrap();
        let dial = move |setup: &Setup| SshDial {
            host: "127.0.0.1".into(),
            port: setup.instead.as_ref().map_or(port, |(port, _)| *port),
            login: login(),
            host_keys: match (&setup.host_keys, &setup.instead) {
                (Some(keys), _) => keys.clone(),
                (None, Some((_, key))) => vec![key.clone()],
                (None, None) => vec![host_key.clone()],
            },
            host_key_rule: HostKeyRule::Pinned,
            credential: match &certificate {
                Some(certificate) => SshCredential::Certificate { private_key: private.clone().into(), certificate: certificate.clone() },
                None => SshCredential::Key(private.clone().into()),
            },
            guarded_allowed: setup.guarded_allowed,
        };
        let limits = setup.door.clone();
        let known = PublicKey::from_openssh(&sshd::public_half(&ana).unwrap()).unwrap();
        let gate = TestGate::new(setup, dial, known, &dir.path().join("recordings"));
        let host = sshd::keypair(dir.path(), "gate_host").unwrap();
        let host = PrivateKey::read_openssh_file(&host).unwrap();
        *gate.host_keys.lock().unwrap() = Some(HostKeys::new(vec![host]));
        let door = SshDoor::new(gate.clone(), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        tokio::spawn(door.serve(listener, stop.clone()));
        Self { gate, port, target, dir, ana, stranger, stop }
    }

    pub(crate) async fn open(rights: SshRights) -> Self {
        Self::new(Setup { rights, ..Setup::default() }).await
    }

    pub(crate) fn options(&self) -> Vec<String> {
        let known_hosts = self.dir.path().join("known_hosts");
        [
            "-F/dev/null".into(),
            format!("-i{}", self.ana.display()),
            "-oIdentitiesOnly=yes".into(),
            "-oIdentityAgent=none".into(),
            "-oStrictHostKeyChecking=accept-new".into(),
            format!("-oUserKnownHostsFile={}", known_hosts.display()),
            "-oLogLevel=ERROR".into(),
            "-oBatchMode=yes".into(),
        ]
        .to_vec()
    }

    /// Ana's `ssh` to db-1 through the gate.
    pub(crate) fn ssh(&self, arguments: &[&str]) -> Command {
        self.tool("ssh", &[&["-p", &self.port.to_string()][..], &["db-1@127.0.0.1"], arguments].concat())
    }

    /// The same with options before the destination.
    pub(crate) fn ssh_with(&self, options: &[&str], arguments: &[&str]) -> Command {
        self.tool("ssh", &[&["-p", &self.port.to_string()][..], options, &["db-1@127.0.0.1"], arguments].concat())
    }

    pub(crate) fn tool(&self, tool: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool);
        command.args(self.options()).args(arguments).kill_on_drop(true).stdin(std::process::Stdio::null());
        command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.dir.path());
        command
    }

    /// `ssh` as other programs want it named.
    pub(crate) fn ssh_line(&self) -> String {
        format!("ssh {} -p {}", self.options().join(" "), self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn login() -> String {
    let out = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Writes `size` bytes that don't compress and differ by `seed`.
pub(crate) fn random_file(path: &Path, size: usize, seed: u64) {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn sha256(path: &Path) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(std::fs::read(path).unwrap());
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
