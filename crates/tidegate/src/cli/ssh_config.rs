//! `tidegate ssh-config`: a `Host NAME.tide` for each resource and role, so that `ssh`, `scp`, `rsync`, `git` and Ansible
//! need to know nothing else.
//!
//! What the gate says ends up in a file that `ssh` obeys. So every name is one the grammar of names allows, the host is
//! checked letter by letter, and host keys are parsed and written anew: no line of it is the gate's own text.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use api::types::gate::{GateFacts, SshFacts};
use api::types::resources::Resource;
use clap::Args;
use serde_json::json;
use ssh_key::PublicKey;

use crate::client::Reply;
use crate::client::settings::write_private;
use crate::login::SshFiles;
use crate::output::note;

use super::Context;
use super::exit::Exit;

const FILE: &str = "tidegate_config";

/// How to write it.
#[derive(Debug, Args)]
pub struct SshConfig {
    /// Write it beside your `~/.ssh/config` and include it there; without it, it is printed
    #[arg(long)]
    write: bool,
    /// Sign in with this key instead of the one `tidegate login` keeps certified
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    files: SshFiles,
}

impl SshConfig {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        let facts: Reply<GateFacts> = client.get("/gate", &()).await?;
        let resources = client.list::<Resource>("/resources", &(), u32::MAX).await?;
        let Some(ssh) = facts.value.ssh else { bail!("this gate has no SSH listener") };
        let dir = self.files.dir()?;
        let identity = match self.identity {
            Some(path) => std::path::absolute(&path)?,
            None => self.files.key()?,
        };
        let known_hosts = dir.join("tidegate_known_hosts");
        let config = config(&ssh, &resources.value.items, &identity, &known_hosts)?;
        let keys = known(&ssh)?;
        if !self.write {
            if context.output.is_json() {
                context.output.json(&json!({ "config": config, "known_hosts": keys, "known_hosts_file": known_hosts }))?;
            } else {
                context.output.line(config.trim_end())?;
                note(format!("This expects {} to hold:\n{}", known_hosts.display(), keys.trim_end()));
                note("`tidegate ssh-config --write` writes both.");
            }
            return Ok(Exit::Done);
        }
        write_private(&known_hosts, keys.as_bytes())?;
        write_private(&dir.join(FILE), config.as_bytes())?;
        include(&dir.join("config"), &include_line(&dir)?)?;
        let count = resources.value.items.iter().filter(|r| r.kind == "ssh").count();
        let file = dir.join(FILE);
        if context.output.is_json() {
            context.output.json(&json!({ "file": file, "known_hosts_file": known_hosts, "resources": count }))?;
            return Ok(Exit::Done);
        }
        match count {
            0 => note(format!("{} is written, but no resource is open to you yet.", file.display())),
            n => note(format!("{} has {n} {}; `ssh NAME.tide` works now.", file.display(), if n == 1 { "resource" } else { "resources" })),
        }
        Ok(Exit::Done)
    }
}

/// The configuration for `ssh`.
pub(super) fn config(ssh: &SshFacts, resources: &[Resource], identity: &Path, known_hosts: &Path) -> anyhow::Result<String> {
    let host_is_plain = !ssh.host.is_empty()
        && !ssh.host.starts_with('-')
        && ssh.host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':'));
    if !host_is_plain {
        bail!("the gate calls its host `{}`, which is neither a name nor an address", ssh.host);
    }
    let mut text = String::from("# Written by `tidegate ssh-config`; run it again when resources change.\n");
    for resource in resources.iter().filter(|r| r.kind == "ssh") {
        let name = &resource.name;
        write!(text, "Host {name}.tide\n    User {name}\n")?;
        for offer in &resource.roles {
            write!(text, "Host {name}+{0}.tide\n    User {name}+{0}\n", offer.role)?;
        }
    }
    text.push_str("Host *.tide\n");
    for (key, value) in [
        ("HostName", ssh.host.clone()),
        ("Port", ssh.port.to_string()),
        ("IdentityFile", quoted(identity)?),
        ("CertificateFile", quoted(&SshFiles::certificate(identity))?),
        ("IdentitiesOnly", "yes".to_owned()),
        ("HostKeyAlias", alias(ssh)),
        ("UserKnownHostsFile", quoted(known_hosts)?),
        ("StrictHostKeyChecking", "yes".to_owned()),
        ("UpdateHostKeys", "yes".to_owned()),
        ("SendEnv", "TIDEGATE_REASON TIDEGATE_TICKET TIDEGATE_FOR TIDEGATE_WAIT TIDEGATE_LIMIT TIDEGATE_BREAK_GLASS".to_owned()),
    ] {
        writeln!(text, "    {key} {value}")?;
    }
    // What follows in the including file is for every host again.
    text.push_str("Match all\n");
    Ok(text)
}

fn alias(ssh: &SshFacts) -> String {
    format!("tidegate.{}.{}", ssh.host.replace(':', "_"), ssh.port)
}

/// The lines of the known hosts file.
pub(super) fn known(ssh: &SshFacts) -> anyhow::Result<String> {
    if ssh.host_keys.is_empty() {
        bail!("the gate names no host key, so nobody could tell it from another");
    }
    let mut text = String::new();
    for line in &ssh.host_keys {
        let mut key = PublicKey::from_openssh(line).context("the gate named a host key that is none")?;
        key.set_comment("");
        writeln!(text, "{} {}", alias(ssh), key.to_openssh()?.trim_end())?;
    }
    Ok(text)
}

/// A path as `ssh_config` reads it (ssh_config(5), tokens and quotes).
fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().context("the path is not UTF-8")?;
    if text.contains(['"', '\\']) || text.chars().any(char::is_control) {
        bail!("`{text}` cannot be written into a configuration of ssh; name another directory with `--ssh-dir`");
    }
    let escaped = text.replace('%', "%%");
    Ok(if escaped.contains(' ') { format!("\"{escaped}\"") } else { escaped })
}

/// How the person's own configuration names ours: `ssh` looks for a bare name in `~/.ssh` alone (ssh_config(5), `Include`).
fn include_line(dir: &Path) -> anyhow::Result<String> {
    let usual = std::env::var_os("HOME").is_some_and(|home| dir == Path::new(&home).join(".ssh"));
    // No token is expanded there.
    Ok(if usual { format!("Include {FILE}") } else { format!("Include {}", quoted(&dir.join(FILE))?.replace("%%", "%")) })
}

/// Includes our file from the person's own, at its top: an `Include` below a `Host` would hold for that host alone.
fn include(file: &Path, line: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot read `{}`", file.display());
    // Whoever keeps it elsewhere and links to it goes on doing so.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let before = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(cannot),
    };
    if before.lines().any(|there| there.trim().eq_ignore_ascii_case(line)) {
        return Ok(());
    }
    write_private(&file, format!("{line}\n{before}").as_bytes())?;
    note(format!("{} includes it now.", file.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::types::requests::AnswerCode;
    use api::types::resources::RoleOffer;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn facts(host: &str) -> SshFacts {
        SshFacts { host: host.into(), port: 3122, host_keys: vec![KEY.into()], fingerprints: vec![] }
    }

    fn resource() -> Resource {
        let offer = RoleOffer {
            role: "debug".parse().unwrap(),
            description: String::new(),
            default: true,
            emergency: false,
            answer: AnswerCode::Permit,
            takes: String::new(),
        };
        Resource {
            name: "web-1".parse().unwrap(),
            description: None,
            kind: "ssh".into(),
            tier: None,
            environment: None,
            tags: std::collections::BTreeSet::new(),
            owner: None,
            roles: vec![offer],
        }
    }

    #[test]
    fn every_resource_is_a_host() {
        let identity = Path::new("/home/ana maria/.ssh/tidegate");
        let text =
            config(&facts("gate.example.com"), &[resource()], identity, Path::new("/home/ana maria/.ssh/tidegate_known_hosts")).unwrap();
        insta::assert_snapshot!(format!("{text}---\n{}", known(&facts("gate.example.com")).unwrap()));
    }

    #[test]
    fn a_gate_cannot_write_lines_of_its_own() {
        for host in ["gate\nProxyCommand evil", "gate evil", "-oProxyCommand=evil", "", "gate\"x"] {
            assert!(config(&facts(host), &[], Path::new("/k"), Path::new("/h")).is_err(), "{host:?} was taken for a host");
        }
        for key in ["x", "ssh-ed25519", &format!("{KEY}\n* ssh-ed25519 AAAA")] {
            let facts = SshFacts { host_keys: vec![key.to_owned()], ..facts("gate") };
            let lines = known(&facts);
            assert!(lines.is_err() || lines.unwrap().lines().count() == 1, "{key:?} wrote more than its line");
        }
    }

    #[test]
    fn the_own_configuration_is_kept_and_included_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, "Host old\n    User me\n").unwrap();
        include(&file, "Include tidegate_config").unwrap();
        include(&file, "Include tidegate_config").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "Include tidegate_config\nHost old\n    User me\n");
    }
}
