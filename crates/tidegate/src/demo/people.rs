//! The people of the example: each invited, with a registered key, a login certificate and a token, as if they had done it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use access::identity::Scope;
use access::ids::PrincipalId;
use access::request::Door;
use access::time::Span;
use anyhow::{Context as _, bail};
use workflow::people::Invited;
use workflow::{Caller, Gate};

use super::DemoPerson;
use super::servers::Server;
use crate::node::Node;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PEOPLE: &[(&str, &str)] = &[
    ("ana", "Ana (payments)"),
    ("ben", "Ben (payments lead, on call)"),
    ("carla", "Carla (security)"),
    ("dan", "Dan (platform, on call, administrator)"),
    ("eve", "Eve (auditor)"),
    ("frank", "Frank (contractor)"),
];

/// Makes everybody, and writes what they hold to `people/NAME/`.
pub(super) async fn settle(node: &Node, dir: &Path, first: &Invited, servers: &[Server]) -> anyhow::Result<Vec<DemoPerson>> {
    let gate = &node.gate;
    let (who, _) = gate.accept_invitation(first.code.expose(), HERE).await?;
    let administrator = Caller { who, door: Door::Api };
    write_known_hosts(node, dir)?;
    for server in servers {
        gate.set_secret(&administrator, server.resource.parse()?, server.password.clone()).await?;
    }
    let mut people = Vec::new();
    let mut owner = None;
    for (username, name) in PEOPLE {
        let invited = gate.invite_example(username.parse()?, name).await?;
        let (who, _) = gate.accept_invitation(invited.code.expose(), HERE).await?;
        let caller = Caller { who, door: Door::Api };
        if let ("dan", PrincipalId::User(id)) = (*username, caller.who.id()) {
            owner = Some(id);
        }
        people.push(equip(node, dir, &caller, caller.who.id(), username, name).await?);
    }
    let owner = owner.context("the example has nobody to answer for its pipeline")?;
    let bot = gate.add_workload(&administrator, "deploy-bot".parse()?, owner, Some("deploy-bot (pipeline)".to_owned())).await?;
    people.push(equip(node, dir, &administrator, bot.id, "deploy-bot", "deploy-bot (pipeline)").await?);
    fs::write(dir.join("people").join("people.json"), serde_json::to_vec_pretty(&people)?)?;
    Ok(people)
}

/// Everybody, as an earlier run made them.
pub(super) fn settled(dir: &Path) -> anyhow::Result<Vec<DemoPerson>> {
    let file = dir.join("people").join("people.json");
    let text = fs::read(&file).with_context(|| format!("cannot read `{}`; is this a demo's directory?", file.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

async fn equip(node: &Node, dir: &Path, caller: &Caller, person: PrincipalId, username: &str, name: &str) -> anyhow::Result<DemoPerson> {
    let gate: &Gate = &node.gate;
    let home = dir.join("people").join(username);
    fs::create_dir_all(&home)?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    let key = key_pair(&home, "id_ed25519")?;
    gate.add_key(caller, person, &fs::read_to_string(key.with_extension("pub"))?, Some("demo key".to_owned())).await?;
    let token = gate.issue_token(caller, person, Scope::OF_PEOPLE.to_vec(), Span::hours(24 * 30), Some("demo".to_owned())).await?;
    let token = token.token.expose().clone();
    // A certificate is for whoever asks for it: a machine does so with its token.
    let machine;
    let holder = if person == caller.who.id() {
        caller
    } else {
        machine = Caller { who: gate.identify_token(&token, HERE).await?, door: Door::Api };
        &machine
    };
    let login = key_pair(&home, "login_ed25519")?;
    let (_, certified) = gate.issue_certificate(holder, &fs::read_to_string(login.with_extension("pub"))?, None).await?;
    let certificate = home.join("login_ed25519-cert.pub");
    fs::write(&certificate, format!("{certified}\n"))?;
    let ssh_config = home.join("ssh_config");
    fs::write(&ssh_config, ssh_config_of(node, dir, &key))?;
    write_wrappers(node, &home, &token)?;
    Ok(DemoPerson {
        username: username.to_owned(),
        name: name.to_owned(),
        id: person.to_string(),
        key,
        certificate: Some(certificate),
        token,
        ssh_config,
        databases: Vec::new(),
    })
}

fn key_pair(home: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = home.join(name);
    let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path).status();
    if !status.context("cannot run `ssh-keygen`; install `openssh-client`")?.success() {
        bail!("`ssh-keygen` could not make `{}`", path.display());
    }
    Ok(path)
}

/// An `ssh_config` with a host `NAME.tide` and any `NAME+ROLE.tide` for each resource.
fn ssh_config_of(node: &Node, dir: &Path, key: &Path) -> String {
    let bundle = node.gate.bundle();
    let mut text = String::new();
    for resource in bundle.resources() {
        let roles = bundle.roles_for(&resource.name);
        let selectors =
            std::iter::once(resource.name.to_string()).chain(roles.iter().map(|role| format!("{}+{}", resource.name, role.name)));
        for selector in selectors {
            text.push_str(&format!("Host {selector}.tide\n  User {selector}\n"));
        }
    }
    text.push_str(&format!(
        "Host *.tide\n  HostName {}\n  Port {}\n  HostKeyAlias tidegate-demo\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n  \
         IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  SendEnv TIDEGATE_REASON TIDEGATE_TICKET TIDEGATE_FOR TIDEGATE_WAIT TIDEGATE_LIMIT TIDEGATE_BREAK_GLASS\n",
        node.ssh.ip(),
        node.ssh.port(),
        dir.join("known_hosts").display(),
        key.display()
    ));
    text
}

/// `ssh` and `tidegate` as this person runs them.
fn write_wrappers(node: &Node, home: &Path, token: &str) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("the program does not know where it is")?;
    let wrappers = [
        ("ssh", format!("#!/bin/sh\nexec ssh -F '{}' \"$@\"\n", home.join("ssh_config").display())),
        ("tidegate", format!("#!/bin/sh\nTIDEGATE_URL='{}' TIDEGATE_TOKEN='{token}' exec '{}' \"$@\"\n", node.api_url, program.display())),
    ];
    for (name, text) in wrappers {
        let path = home.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn write_known_hosts(node: &Node, dir: &Path) -> anyhow::Result<()> {
    let key = node.gate.keyring().ssh_host()?.public_key().to_openssh()?;
    let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let (ip, port) = (node.ssh.ip(), node.ssh.port());
    fs::write(dir.join("known_hosts"), format!("tidegate-demo {key}\n[{ip}]:{port} {key}\n"))?;
    Ok(())
}
