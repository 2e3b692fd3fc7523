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
use identity::token::PresentedToken;
use jiff::Timestamp;
use ssh_key::Certificate;
use workflow::people::Invited;
use workflow::{Caller, Gate};

use super::servers::Server;
use super::{DemoPerson, private_dir};
use crate::client::settings::write_private;
use crate::node::Node;
use crate::output::note;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Less than this, and a certificate or a token is made anew at the start.
const AN_HOUR: Span = Span::hours(1);
const A_DAY: Span = Span::hours(24);
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
    private_dir(&dir.join("people"))?;
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
    write_down(dir, &people)?;
    Ok(people)
}

/// Everybody, as an earlier run made them; what they sign in with is made anew where it is nearly over.
pub(super) async fn settled(node: &Node, dir: &Path) -> anyhow::Result<Vec<DemoPerson>> {
    private_dir(&dir.join("people"))?;
    let file = dir.join("people").join("people.json");
    let text = fs::read(&file).with_context(|| format!("cannot read `{}`; is this a demo's directory?", file.display()))?;
    let mut people: Vec<DemoPerson> = serde_json::from_slice(&text)?;
    for person in &mut people {
        // Somebody may have disabled them since; the others are there all the same.
        if let Err(error) = renew(node, person).await {
            note(format!("What {} signs in with was not made anew: {error:#}", person.username));
        }
    }
    write_down(dir, &people)?;
    Ok(people)
}

fn write_down(dir: &Path, people: &[DemoPerson]) -> anyhow::Result<()> {
    Ok(write_private(&dir.join("people").join("people.json"), &serde_json::to_vec_pretty(people)?)?)
}

async fn equip(node: &Node, dir: &Path, caller: &Caller, person: PrincipalId, username: &str, name: &str) -> anyhow::Result<DemoPerson> {
    let gate: &Gate = &node.gate;
    let home = dir.join("people").join(username);
    private_dir(&home)?;
    let key = key_pair(&home, "id_ed25519")?;
    gate.add_key(caller, person, &fs::read_to_string(key.with_extension("pub"))?, Some("demo key".to_owned())).await?;
    let token = issue_token(gate, caller, person).await?;
    let login = key_pair(&home, "login_ed25519")?;
    let certificate = certify(gate, caller, person, &token, &login).await?;
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

async fn issue_token(gate: &Gate, caller: &Caller, person: PrincipalId) -> anyhow::Result<String> {
    let token = gate.issue_token(caller, person, Scope::OF_PEOPLE.to_vec(), Span::hours(24 * 30), Some("demo".to_owned())).await?;
    Ok(token.token.expose().clone())
}

/// A login certificate over a key of theirs, beside it.
async fn certify(gate: &Gate, caller: &Caller, person: PrincipalId, token: &str, login: &Path) -> anyhow::Result<PathBuf> {
    // A certificate is for whoever asks for it: a machine does so with its token.
    let machine;
    let holder = if person == caller.who.id() {
        caller
    } else {
        machine = Caller { who: gate.identify_token(token, HERE).await?, door: Door::Api };
        &machine
    };
    let (_, certified) = gate.issue_certificate(holder, &fs::read_to_string(login.with_extension("pub"))?, None).await?;
    let certificate = login.with_file_name("login_ed25519-cert.pub");
    fs::write(&certificate, format!("{certified}\n"))?;
    Ok(certificate)
}

/// Somebody's token and certificate anew, as they do it themselves, if one of them is nearly over.
async fn renew(node: &Node, person: &mut DemoPerson) -> anyhow::Result<()> {
    let gate: &Gate = &node.gate;
    let (id, now) = (person.id.parse()?, gate.now());
    let token_lasts = token_ends(gate, &person.token).await?.is_some_and(|end| end > A_DAY.after(now));
    let certified_until = person.certificate.as_deref().and_then(certificate_ends);
    if token_lasts && certified_until.is_some_and(|end| end > AN_HOUR.after(now)) {
        return Ok(());
    }
    // Who answers for a machine does it for it.
    let owner = gate.store().person(id).await?.and_then(|row| row.owner);
    let invited = gate.invite_example_again(owner.map_or(id, PrincipalId::User)).await?;
    let (who, _) = gate.accept_invitation(invited.code.expose(), HERE).await?;
    let caller = Caller { who, door: Door::Api };
    let home = person.ssh_config.parent().context("the file has no directory")?;
    if !token_lasts {
        person.token = issue_token(gate, &caller, id).await?;
        write_wrappers(node, home, &person.token)?;
    }
    person.certificate = Some(certify(gate, &caller, id, &person.token, &home.join("login_ed25519")).await?);
    Ok(())
}

/// When a token ends, or ended; `None` if it was taken away. Not by trying it: what is refused is held against its address.
async fn token_ends(gate: &Gate, token: &str) -> anyhow::Result<Option<Timestamp>> {
    let presented = PresentedToken::parse(token)?;
    let row = gate.store().token_by_verifier(presented.verifier().as_str()).await?;
    Ok(row.filter(|row| row.revoked_at.is_none()).map(|row| row.expires_at))
}

fn certificate_ends(file: &Path) -> Option<Timestamp> {
    let certificate = Certificate::from_openssh(fs::read_to_string(file).ok()?.trim()).ok()?;
    Timestamp::from_second(i64::try_from(certificate.valid_before()).ok()?).ok()
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
