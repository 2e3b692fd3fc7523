//! `tidegate psql` and `tidegate mysql`: the stock clients, connected through the gate.
//!
//! The client gets a connect token of the grant, by its environment or a file that only its user can read, and never as an argument; it
//! is taken back when the client ends.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use access::ids::{GrantId, TokenId};
use access::names::Selector;
use access::secret::Secret;
use anyhow::{Context as _, bail};
use api::types::gate::{DatabaseFacts, GateFacts};
use api::types::grants::Grant;
use api::types::resources::ResourceDetail;
use api::types::tokens::Token;
use clap::Args;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::settings::write_private;
use crate::client::{Client, Reply};
use crate::output::note;

use super::Context;
use super::exit::Exit;
use super::grant::connect_token;
use super::way_in::{self, Said, Way};

/// The roots this machine trusts, where Debian and its kin keep them.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where to, and what the client is started with.
#[derive(Debug, Args)]
pub struct Connection {
    /// Where to: `RESOURCE` or `RESOURCE+ROLE`
    #[arg(value_name = "RESOURCE")]
    to: Selector,
    #[command(flatten)]
    said: Said,
    /// Arguments for the client itself, after `--`
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// What a database speaks, by its resource's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Postgres,
    Mysql,
}

impl Spoken {
    pub(crate) fn of(kind: &str) -> Option<Self> {
        match kind {
            "postgres" => Some(Self::Postgres),
            "mysql" => Some(Self::Mysql),
            _ => None,
        }
    }

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

/// A grant, and what connects on it until this is over.
pub(crate) struct Pass {
    pub(crate) grant: Grant,
    pub(crate) door: DatabaseFacts,
    /// The root that the door's certificate is under, PEM; `None`: one that this machine trusts.
    pub(crate) ca: Option<String>,
    pub(crate) token: Secret<String>,
    id: TokenId,
}

impl Pass {
    /// The user name that says where to and as what.
    pub(crate) fn user(&self) -> String {
        format!("{}+{}", self.grant.resource, self.grant.role)
    }

    /// Takes the token back.
    pub(crate) async fn give_back(self, client: &Client) {
        let taken: Result<Reply<Token>, _> = client.delete(&format!("/tokens/{}", self.id)).await;
        // With its grant gone it is worth nothing anyway.
        if let Err(error) = taken {
            tracing::debug!(%error, "the connect token stays until its grant ends");
        }
    }
}

/// A pass for a database: the grant is asked for if there is none.
pub(crate) async fn pass(
    client: &Client,
    to: &Selector,
    said: &Said,
    spoken: Option<Spoken>,
) -> anyhow::Result<Result<(Spoken, Pass), Exit>> {
    let facts: Reply<GateFacts> = client.get("/gate", &()).await?;
    let resource: Reply<ResourceDetail> = client.get(&format!("/resources/{}", to.resource), &()).await?;
    let kind = &resource.value.resource.kind;
    let speaks = match (Spoken::of(kind), spoken) {
        (Some(one), None) => one,
        (Some(one), Some(other)) if one == other => one,
        (Some(one), Some(_)) => bail!("`{}` speaks {kind}; connect with `tidegate {}`", to.resource, program(one)),
        (None, _) => bail!("`{}` is no database, it speaks {kind}; connect with `ssh {}.tide`", to.resource, to.resource),
    };
    // Before anybody is asked.
    door(&facts.value, speaks)?;
    let grant = match way_in::enter(client, to, said).await? {
        Way::In(grant) => *grant,
        Way::Not(exit) => return Ok(Err(exit)),
    };
    pass_on(client, facts.value, kind, grant).await.map(Ok)
}

/// A pass for a database that one has a grant for.
pub(crate) async fn pass_on(client: &Client, facts: GateFacts, kind: &str, grant: Grant) -> anyhow::Result<(Spoken, Pass)> {
    let speaks = Spoken::of(kind).with_context(|| format!("`{}` is no database, it speaks {kind}", grant.resource))?;
    let door = door(&facts, speaks)?;
    let (id, token) = token(client, grant.id).await?;
    Ok((speaks, Pass { grant, door, ca: facts.ca, token, id }))
}

fn door(facts: &GateFacts, speaks: Spoken) -> anyhow::Result<DatabaseFacts> {
    let door = match speaks {
        Spoken::Postgres => &facts.postgres,
        Spoken::Mysql => &facts.mysql,
    };
    let kind = speaks.kind();
    door.clone().with_context(|| format!("this gate has no listener for {kind}; its administrator sets `listen.{kind}`"))
}

async fn token(client: &Client, grant: GrantId) -> anyhow::Result<(TokenId, Secret<String>)> {
    let issued = connect_token(client, grant, None, Some("tidegate on a command line".to_owned())).await?;
    Ok((issued.value.token.id, Secret::new(issued.value.secret)))
}

fn program(spoken: Spoken) -> &'static str {
    match spoken {
        Spoken::Postgres => "psql",
        Spoken::Mysql => "mysql",
    }
}

/// Runs the stock client.
pub(crate) async fn run(connection: Connection, spoken: Spoken, context: &Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let pass = match pass(&client, &connection.to, &connection.said, Some(spoken)).await? {
        Ok((_, pass)) => pass,
        Err(exit) => return Ok(exit),
    };
    let dir = tempfile::Builder::new().prefix("tidegate-").tempdir().context("cannot make a temporary directory")?;
    let ended = start(&connection, spoken, &pass, &dir).await;
    drop(dir);
    pass.give_back(&client).await;
    ended
}

async fn start(connection: &Connection, spoken: Spoken, pass: &Pass, dir: &TempDir) -> anyhow::Result<Exit> {
    let ca = match &pass.ca {
        Some(pem) => {
            let file = dir.path().join("ca.pem");
            write_private(&file, pem.as_bytes())?;
            Some(file)
        }
        None => None,
    };
    let mut command = match spoken {
        Spoken::Postgres => psql(pass, ca.as_deref()),
        Spoken::Mysql => mysql(pass, ca.as_deref(), dir.path()).await?,
    };
    command.args(&connection.arguments).stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    // Ctrl-C is the client's: it cancels a statement there.
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let name = program(spoken);
    let mut child = command.kill_on_drop(true).spawn().with_context(|| match spoken {
        Spoken::Postgres => format!("cannot run `{name}`; install PostgreSQL's client (Debian: `postgresql-client`)"),
        Spoken::Mysql => format!("cannot run `{name}`; install MariaDB's or MySQL's client (Debian: `mariadb-client`)"),
    })?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.with_context(|| format!("cannot wait for `{name}`"))?,
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {
                child.kill().await.with_context(|| format!("cannot end `{name}`"))?;
            }
        }
    };
    Ok(match status.code() {
        Some(0) => Exit::Done,
        Some(code) => Exit::Of(u8::try_from(code).unwrap_or(1)),
        None => {
            note(format!("`{name}` was ended by a signal."));
            Exit::Failed
        }
    })
}

fn psql(pass: &Pass, ca: Option<&Path>) -> Command {
    let mut psql = Command::new("psql");
    for name in ["PGSERVICE", "PGHOSTADDR", "PGPASSFILE", "PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
        psql.env_remove(name);
    }
    psql.env("PGHOST", &pass.door.host)
        .env("PGPORT", pass.door.port.to_string())
        .env("PGUSER", pass.user())
        .env("PGPASSWORD", pass.token.expose());
    psql.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", roots(ca));
    psql
}

/// `PGSSLROOTCERT` for a door whose certificate is under this root, or under one that this machine trusts.
pub(crate) fn roots(ca: Option<&Path>) -> OsString {
    match ca {
        Some(file) => file.into(),
        None if Path::new(SYSTEM_ROOTS).exists() => SYSTEM_ROOTS.into(),
        // Understood from version 16 on.
        None => "system".into(),
    }
}

async fn mysql(pass: &Pass, ca: Option<&Path>, dir: &Path) -> anyhow::Result<Command> {
    let file = dir.join("client.cnf");
    write_options(pass, ca, &file).await?;
    let mut defaults = OsString::from("--defaults-extra-file=");
    defaults.push(&file);
    let mut mysql = Command::new("mysql");
    mysql.arg(defaults).env_remove("MYSQL_PWD").env_remove("MYSQL_HOST");
    Ok(mysql)
}

/// The options by which MySQL's and MariaDB's programs connect, in a file that its user alone reads.
pub(crate) async fn write_options(pass: &Pass, ca: Option<&Path>, file: &Path) -> anyhow::Result<()> {
    let mut options = String::from("[client]\n");
    let token = pass.token.expose();
    writeln!(options, "host={}\nport={}\nuser={}\npassword={token}\nprotocol=tcp", pass.door.host, pass.door.port, pass.user())?;
    // MySQL and MariaDB call it differently, and neither knows the other's word.
    let version = Command::new("mysql").arg("--version").stdin(Stdio::null()).output().await;
    let is_mariadb = version.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("MariaDB"));
    options.push_str(if is_mariadb { "ssl\nssl-verify-server-cert\n" } else { "ssl-mode=VERIFY_IDENTITY\n" });
    if let Some(ca) = ca {
        writeln!(options, "ssl-ca={}", ca.display())?;
    }
    write_private(file, Secret::new(options).expose().as_bytes())?;
    Ok(())
}
