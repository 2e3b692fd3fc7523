//! A security key made of software: OpenSSH's middleware interface in a library that is compiled when a test first needs it.
//!
//! Stock `ssh-keygen -w LIBRARY` and `ssh -o SecurityKeyProvider=LIBRARY` use it as they would use a real key. Its PIN is [`PIN`].

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::preload;

/// What unlocks keys that verify who holds them.
pub const PIN: &str = "123456";
/// Set in the environment of a client, the key signs without being touched, whatever it was asked for.
pub const LAZY: &str = "TIDEGATE_TEST_LAZY_KEY";

/// The library, compiled into a directory.
#[derive(Debug, Clone)]
pub struct SecurityKey {
    library: PathBuf,
    askpass: PathBuf,
}

impl SecurityKey {
    /// Compiles it.
    ///
    /// # Errors
    /// If there is no C compiler or no libcrypto.
    pub fn build(dir: &Path) -> anyhow::Result<Self> {
        let library = preload::compile(dir, "security_key", include_str!("c/security_key.c"), &["-l:libcrypto.so.3"])?;
        let askpass = dir.join("askpass");
        fs::write(&askpass, format!("#!/bin/sh\necho {PIN}\n"))?;
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700))?;
        Ok(Self { library, askpass })
    }

    /// Makes a key "in the hardware"; gives the path of its handle, `.pub` stands beside it. `option`: as of `ssh-keygen -O`.
    ///
    /// # Errors
    /// What `ssh-keygen` said.
    pub fn enroll(&self, path: &Path, option: Option<&str>) -> anyhow::Result<()> {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519-sk", "-N", "", "-C", ""]).arg("-w").arg(&self.library).arg("-f").arg(path);
        if let Some(option) = option {
            keygen.args(["-O", option]);
        }
        self.unlock(&mut keygen);
        let made = keygen.stdin(Stdio::null()).output().context("cannot run ssh-keygen")?;
        ensure!(made.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    /// The library's path, for `SecurityKeyProvider`.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Lets a stock client answer for the PIN by itself.
    pub fn unlock(&self, client: &mut Command) {
        client.env("SSH_ASKPASS", &self.askpass).env("SSH_ASKPASS_REQUIRE", "force").env("SSH_SK_PROVIDER", &self.library);
    }
}
