//! What a command needs to connect by itself: configurations, certificates and programs that use them, in a directory of this run.
//!
//! Programs find their way by the environment where they look there (`PGHOST`, `GIT_SSH_COMMAND`, …). `ssh` and `mysql` do not: they,
//! and what comes with them, stand as scripts at the front of PATH that name the configuration and run the real program.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use access::ids::KeyId;
use access::secret::Secret;
use anyhow::{Context as _, bail};
use api::types::gate::{GateFacts, SshFacts};
use api::types::grants::Grant;
use api::types::keys::Key;
use tempfile::TempDir;
use tokio::process::Command;

use crate::cli::database::{self, Pass, Spoken};
use crate::cli::ssh_config;
use crate::client::settings::write_private;
use crate::client::{Client, Reply};
use crate::login::{self, SshFiles};

/// What the command gets, and where it lies.
pub(super) struct Tools {
    dir: TempDir,
    environment: Vec<(&'static str, OsString)>,
    secrets: Vec<(&'static str, Secret<String>)>,
    pass: Option<Pass>,
    keys: Vec<KeyId>,
}

/// Lays everything out for one grant.
///
/// # Errors
/// If the gate has no door for the resource, gives no certificate or token, or the files can't be written.
pub(super) async fn lay_out(client: &Client, facts: GateFacts, kind: &str, grant: &Grant) -> anyhow::Result<Tools> {
    // Made for its user alone (0700).
    let dir = tempfile::Builder::new().prefix("tidegate-").tempdir().context("cannot make a temporary directory")?;
    let mut tools = Tools { dir, environment: Vec::new(), secrets: Vec::new(), pass: None, keys: Vec::new() };
    tools.set("TIDEGATE_RESOURCE", grant.resource.as_str());
    tools.set("TIDEGATE_ROLE", grant.role.as_str());
    tools.set("TIDEGATE_GRANT", grant.id.to_string());
    match (Spoken::of(kind), kind) {
        (Some(_), _) => tools.for_database(client, facts, kind, grant).await?,
        (None, "ssh") => {
            let Some(ssh) = facts.ssh else { bail!("this gate has no SSH listener") };
            tools.for_ssh(client, &ssh, grant).await?;
        }
        (None, other) => bail!("`{}` speaks {other}, for which `tidegate exec` has no tools", grant.resource),
    }
    Ok(tools)
}

impl Tools {
    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// Gives it to a command.
    pub(super) fn apply(&self, command: &mut Command) {
        for name in ["SSH_AUTH_SOCK", "PGSERVICE", "PGHOSTADDR", "PGPASSFILE", "PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.envs(self.secrets.iter().map(|(name, value)| (name, value.expose())));
    }

    /// Takes the connect token back, and removes the files.
    pub(super) async fn clear_away(self, client: &Client) {
        if let Some(pass) = self.pass {
            pass.give_back(client).await;
        }
        for key in self.keys {
            // A job may not, and need not: its certificates end with its token, which is taken back too.
            let taken: Result<Reply<Key>, _> = client.delete(&format!("/keys/{key}")).await;
            if let Err(error) = taken {
                tracing::debug!(%error, %key, "a certificate stays until it runs out");
            }
        }
        if let Err(error) = self.dir.close() {
            crate::output::note(format!("cannot remove a temporary directory: {error}; what is in it is worth nothing any more"));
        }
    }

    async fn for_ssh(&mut self, client: &Client, ssh: &SshFacts, grant: &Grant) -> anyhow::Result<()> {
        let identity = self.dir.path().join("key");
        let issued = login::certify(client, &identity, None).await?.value;
        self.keys.push(issued.key.id);
        self.keys.extend(issued.client.map(|client| client.key.id));
        let (config, known_hosts) = (self.dir.path().join("ssh_config"), self.dir.path().join("known_hosts"));
        write_private(&known_hosts, ssh_config::known(ssh)?.as_bytes())?;
        write_private(&config, configuration(ssh, grant, &identity, &known_hosts)?.as_bytes())?;
        let named = format!("-F {}", word(&config)?);
        self.wrap(&["ssh", "scp", "sftp"], &named)?;
        self.set("TIDEGATE_HOST", grant.resource.as_str());
        self.set("TIDEGATE_SSH_CONFIG", &config);
        self.set("TIDEGATE_SSH_KEY", &identity);
        self.set("TIDEGATE_SSH_CERTIFICATE", SshFiles::certificate(&identity));
        self.set("GIT_SSH_COMMAND", format!("ssh {named}"));
        self.set("RSYNC_RSH", format!("ssh {named}"));
        // Ansible's own would begin with a shared connection that outlives the play.
        self.set("ANSIBLE_SSH_ARGS", format!("{named} -o ControlMaster=no"));
        Ok(())
    }

    async fn for_database(&mut self, client: &Client, facts: GateFacts, kind: &str, grant: &Grant) -> anyhow::Result<()> {
        let (spoken, pass) = database::pass_on(client, facts, kind, grant.clone()).await?;
        let ca = match &pass.ca {
            Some(pem) => {
                let file = self.dir.path().join("ca.pem");
                write_private(&file, pem.as_bytes())?;
                Some(file)
            }
            None => None,
        };
        let (host, port, user) = (pass.door.host.clone(), pass.door.port.to_string(), pass.user());
        self.set("TIDEGATE_HOST", host.clone());
        self.set("TIDEGATE_PORT", port.clone());
        match spoken {
            Spoken::Postgres => {
                self.set("PGHOST", host);
                self.set("PGPORT", port);
                self.set("PGUSER", user);
                self.secrets.push(("PGPASSWORD", Secret::new(pass.token.expose().clone())));
                self.set("PGSSLMODE", "verify-full");
                self.set("PGSSLROOTCERT", database::roots(ca.as_deref()));
            }
            Spoken::Mysql => {
                let options = self.dir.path().join("client.cnf");
                database::write_options(&pass, ca.as_deref(), &options).await?;
                self.wrap(MYSQL_PROGRAMS, &format!("--defaults-extra-file={}", word(&options)?))?;
                self.set("MYSQL_HOST", host);
                self.set("MYSQL_TCP_PORT", port);
                self.set("MYSQL_USER", user);
                self.secrets.push(("MYSQL_PWD", Secret::new(pass.token.expose().clone())));
                self.set("TIDEGATE_MYSQL_DEFAULTS", options);
                if let Some(ca) = ca {
                    self.set("MYSQL_SSL_CA", ca);
                }
            }
        }
        self.pass = Some(pass);
        Ok(())
    }

    /// Scripts at the front of PATH that run the real programs with an argument of ours first.
    fn wrap(&mut self, programs: &[&str], argument: &str) -> anyhow::Result<()> {
        let bin = self.dir.path().join("bin");
        let path = env::var_os("PATH").unwrap_or_default();
        for program in programs {
            let Some(real) = find(&path, program) else { continue };
            let file = bin.join(program);
            write_private(&file, format!("#!/bin/sh\nexec {} {argument} \"$@\"\n", word(&real)?).as_bytes())?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).context("cannot make a script that can be run")?;
        }
        let places = std::iter::once(bin).chain(env::split_paths(&path));
        let path = env::join_paths(places).context("PATH cannot be written")?;
        self.set("PATH", path);
        Ok(())
    }
}

/// What comes with MariaDB's and MySQL's client, and reads its options.
const MYSQL_PROGRAMS: &[&str] = &[
    "mysql",
    "mariadb",
    "mysqldump",
    "mariadb-dump",
    "mysqladmin",
    "mariadb-admin",
    "mysqlimport",
    "mariadb-import",
    "mysqlcheck",
    "mariadb-check",
];

/// The configuration for the one host there is, under its name with and without `.tide`.
fn configuration(ssh: &SshFacts, grant: &Grant, identity: &Path, known_hosts: &Path) -> anyhow::Result<String> {
    let (name, role) = (&grant.resource, &grant.role);
    let mut host = String::new();
    writeln!(host, "Host {name} {name}.tide {name}+{role} {name}+{role}.tide")?;
    for (key, value) in [
        ("User", format!("{name}+{role}")),
        ("IdentityAgent", "none".to_owned()),
        ("BatchMode", "yes".to_owned()),
        ("ControlMaster", "no".to_owned()),
        ("ControlPath", "none".to_owned()),
        ("LogLevel", "ERROR".to_owned()),
    ] {
        writeln!(host, "    {key} {value}")?;
    }
    let whole = ssh_config::config(ssh, &[], identity, known_hosts)?;
    Ok(whole.replacen("Host *.tide\n", &host, 1))
}

/// A program of PATH.
fn find(path: &OsString, program: &str) -> Option<PathBuf> {
    let runs = |file: &PathBuf| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    env::split_paths(path).map(|place| place.join(program)).find(runs)
}

/// A path as one word of a shell, of `GIT_SSH_COMMAND`, and of rsync and Ansible, which split at blanks alone.
fn word(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().context("the path is not UTF-8")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        bail!("`{text}` cannot be named to the command; set TMPDIR and PATH to directories of plain letters");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_a_shell_would_cut_up_is_refused() {
        assert_eq!(word(Path::new("/tmp/tidegate-aB1/ssh_config")).unwrap(), "/tmp/tidegate-aB1/ssh_config");
        for odd in ["/tmp/a b/x", "/tmp/$(id)/x", "/tmp/'x", ""] {
            assert!(word(Path::new(odd)).is_err(), "{odd}");
        }
    }
}
