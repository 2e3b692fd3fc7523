//! `tidegate demo`: the whole journey on one machine, in one command.
//!
//! It is a normal server: its configuration, policy and state stay in its directory, and `tidegate serve --config` runs it
//! as well. What the demo adds is a real OpenSSH server, PostgreSQL and MariaDB as targets, and people with keys, certificates and tokens.

mod people;
mod screen;
mod servers;
mod target;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use credentials::keyring::Keyring;
use serde::{Deserialize, Serialize};
use workflow::clock::{SystemTime, TimeSource as _};

use crate::client::settings::write_private;
use crate::config::{Config, Environment};
use crate::node::Node;
use crate::output::note;
use crate::serve::{harden, log_to_stderr, stop_asked_for};

/// The example company, as it stands in `examples/policy`.
const POLICY: &[(&str, &str)] = &[
    ("access.cedar", include_str!("../../../../examples/policy/access.cedar")),
    ("approvals.toml", include_str!("../../../../examples/policy/approvals.toml")),
    ("oversight.cedar", include_str!("../../../../examples/policy/oversight.cedar")),
    ("people.toml", include_str!("../../../../examples/policy/people.toml")),
    ("resources.toml", include_str!("../../../../examples/policy/resources.toml")),
    ("roles.toml", include_str!("../../../../examples/policy/roles.toml")),
    ("tests/access.toml", include_str!("../../../../examples/policy/tests/access.toml")),
    ("tests/oversight.toml", include_str!("../../../../examples/policy/tests/oversight.toml")),
    ("tests/workloads.toml", include_str!("../../../../examples/policy/tests/workloads.toml")),
    ("tiers.toml", include_str!("../../../../examples/policy/tiers.toml")),
    ("windows.toml", include_str!("../../../../examples/policy/windows.toml")),
    ("workloads.toml", include_str!("../../../../examples/policy/workloads.toml")),
];

/// How the demo is run.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Where it keeps everything; made if it is not there, taken up again if it is a demo's.
    #[arg(long, value_name = "DIR", default_value = "tidegate-demo")]
    pub dir: PathBuf,
    /// Write a JSON file here once everything answers: addresses, resources, and each person's key, certificate and token.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// What other tools need to use the demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// The API's URL.
    pub api: String,
    /// Where `ssh` connects to.
    pub ssh: SshAddress,
    /// Where PostgreSQL's clients connect to.
    #[serde(default)]
    pub postgres: Option<DatabaseAddress>,
    /// Where MySQL's and MariaDB's clients connect to.
    #[serde(default)]
    pub mysql: Option<DatabaseAddress>,
    /// What can be asked for.
    pub resources: Vec<DemoResource>,
    /// Who can ask.
    pub people: Vec<DemoPerson>,
    /// The directory of the demo.
    pub dir: PathBuf,
    /// The configuration file of the server.
    pub config: PathBuf,
    /// The key that verifies the audit log's checkpoints.
    pub checkpoint_verifier: PathBuf,
}

/// Where `ssh` connects to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SshAddress {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// A `known_hosts` file that holds the gate's host key.
    pub known_hosts: PathBuf,
}

/// Where clients of a database connect to, over TLS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseAddress {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The root that its certificate is under.
    pub ca_file: PathBuf,
}

/// One way for somebody to a database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoConnection {
    /// Where to.
    pub resource: String,
    /// As what.
    pub role: String,
    /// What it speaks.
    pub kind: String,
    /// The connection string, with their token as password.
    pub url: String,
}

/// A resource of the demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoResource {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its tier.
    pub tier: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
}

/// A person or workload of the demo.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DemoPerson {
    /// How they sign in.
    pub username: String,
    /// How they are called.
    pub name: String,
    /// `usr_…` or `wkl_…`.
    pub id: String,
    /// Their private SSH key, registered with the gate.
    pub key: PathBuf,
    /// A login certificate over another key of theirs; the private key is beside it, without `-cert.pub`.
    pub certificate: Option<PathBuf>,
    /// An API token.
    pub token: String,
    /// An `ssh_config` of theirs with a host `NAME.tide` for each resource.
    pub ssh_config: PathBuf,
    /// Their ways to the databases.
    #[serde(default)]
    pub databases: Vec<DemoConnection>,
}

/// Runs the demo until it is told to stop.
///
/// # Errors
/// If a part of it can't start.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    log_to_stderr();
    harden()?;
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot make `{}`", args.dir.display()))?;
    let dir = fs::canonicalize(&args.dir)?;
    let config_file = dir.join("tidegate.toml");
    let first_time = !config_file.exists();
    if first_time && fs::read_dir(&dir)?.next().is_some() {
        bail!("`{}` is not empty and holds no demo; name another directory with `--dir`", dir.display());
    }
    let environment = Environment { data_dir: None, store_url: None, sealing_key_file: None, config: None };
    let data_dir = dir.join("data");
    let target_port = if first_time { free_port()? } else { target::kept_port(&dir)? };
    if first_time {
        private_dir(&data_dir)?;
        private_dir(&data_dir.join("keys"))?;
        write_config(&dir, &config_file)?;
    }
    let config = Config::load(Some(&config_file), &environment).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    let target_ca = {
        let now = SystemTime.wall();
        let keyring = Keyring::open_or_create(&data_dir.join("keys"), &config.sealing, now)?;
        keyring.target_cas(now).into_iter().filter_map(|key| key.public).collect::<Vec<_>>()
    };
    let target = target::Target::start(&dir.join("target"), target_port, &target_ca)?;
    let servers = servers::start(&dir)?;
    if first_time {
        write_policy(&dir.join("policy"), &target, &servers)?;
    }
    let mut node = Node::start(&config, Arc::new(SystemTime), false).await?;
    let people = match node.started.first_administrator.take() {
        Some(invited) => people::settle(&node, &dir, &invited, &servers).await?,
        None => people::settled(&node, &dir).await?,
    };
    let ready = ready(&node, &dir, &config_file, people)?;
    if let Some(file) = &args.ready_file {
        // It holds everybody's tokens.
        write_private(file, &serde_json::to_vec_pretty(&ready)?)?;
    }
    screen::show(&ready);
    stop_asked_for().await?;
    note(format!("\nStopping the demo; everything it made stays in {}.", dir.display()));
    node.stop().await;
    drop((target, servers));
    Ok(())
}

fn ready(node: &Node, dir: &Path, config: &Path, people: Vec<DemoPerson>) -> anyhow::Result<Ready> {
    let bundle = node.gate.bundle();
    let resources = bundle
        .resources()
        .map(|resource| DemoResource {
            name: resource.name.to_string(),
            kind: resource.kind.to_string(),
            tier: resource.tier.as_ref().map(ToString::to_string),
            roles: bundle.roles_for(&resource.name).into_iter().map(|role| role.name.to_string()).collect(),
        })
        .collect();
    let ca_file = dir.join("data").join("ca.pem");
    let address =
        |bound: std::net::SocketAddr| DatabaseAddress { host: bound.ip().to_string(), port: bound.port(), ca_file: ca_file.clone() };
    let (postgres, mysql) = (node.postgres.map(address), node.mysql.map(address));
    let people = people
        .into_iter()
        .map(|person| DemoPerson { databases: connections(&bundle, &person, postgres.as_ref(), mysql.as_ref()), ..person })
        .collect();
    let verifier = dir.join("checkpoint.pub");
    fs::write(&verifier, format!("{}\n", node.checkpoint_verifier))?;
    Ok(Ready {
        api: node.api_url.clone(),
        ssh: SshAddress { host: node.ssh.ip().to_string(), port: node.ssh.port(), known_hosts: dir.join("known_hosts") },
        postgres,
        mysql,
        resources,
        people,
        dir: dir.to_owned(),
        config: config.to_owned(),
        checkpoint_verifier: verifier,
    })
}

/// Somebody's ways to every database, whether they have a grant or would be asked why.
fn connections(
    bundle: &policy::Bundle,
    person: &DemoPerson,
    postgres: Option<&DatabaseAddress>,
    mysql: Option<&DatabaseAddress>,
) -> Vec<DemoConnection> {
    let mut all = Vec::new();
    for resource in bundle.resources() {
        let (scheme, address) = match resource.kind {
            policy::Kind::Ssh => continue,
            policy::Kind::Postgres => ("postgresql", postgres),
            policy::Kind::Mysql => ("mysql", mysql),
        };
        let Some(address) = address else { continue };
        for role in bundle.roles_for(&resource.name) {
            let options = match resource.kind {
                policy::Kind::Postgres => format!("?sslmode=verify-full&sslrootcert={}", address.ca_file.display()),
                policy::Kind::Ssh | policy::Kind::Mysql => String::new(),
            };
            let (name, role, token) = (&resource.name, &role.name, &person.token);
            let database = resource.database.as_deref().unwrap_or_default();
            all.push(DemoConnection {
                resource: name.to_string(),
                role: role.to_string(),
                kind: resource.kind.to_string(),
                url: format!("{scheme}://{name}%2B{role}:{token}@{}:{}/{database}{options}", address.host, address.port),
            });
        }
    }
    all
}

/// The configuration of the demo's server: nothing special, on ports that are free now.
fn write_config(dir: &Path, file: &Path) -> anyhow::Result<()> {
    let (api, ssh, postgres, mysql) = (free_port()?, free_port()?, free_port()?, free_port()?);
    let text = format!(
        "# The configuration of a Tidegate demo. Run it again with `tidegate demo --dir {}`.\n\
         node = \"demo\"\n\
         data_dir = \"data\"\n\
         policy_dir = \"policy\"\n\n\
         [listen]\n\
         api = \"127.0.0.1:{api}\"\n\
         ssh = \"127.0.0.1:{ssh}\"\n\
         postgres = \"127.0.0.1:{postgres}\"\n\
         mysql = \"127.0.0.1:{mysql}\"\n\
         # Without TLS, which only loopback may be.\n\
         plain_http = true\n\n\
         [audit]\n\
         checkpoints = \"checkpoints.published\"\n",
        dir.display()
    );
    fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}

/// The example policy, with its machines standing where the demo's target is.
fn write_policy(dir: &Path, target: &target::Target, servers: &[servers::Server]) -> anyhow::Result<()> {
    for (path, content) in POLICY {
        let file = dir.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        let content = if *path == "resources.toml" { target.relocate(content, servers) } else { (*content).to_owned() };
        fs::write(&file, content).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(())
}

/// A port on loopback that nobody uses now; none twice, since each is used only later.
fn free_port() -> anyhow::Result<u16> {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if !given.contains(&port) {
            given.push(port);
            return Ok(port);
        }
    }
}

fn private_dir(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot make `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_carries_the_whole_example() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy");
        let mut found = Vec::new();
        let mut dirs = vec![root.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        let carried: Vec<&str> = POLICY.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, carried);
    }
}
