//! `tidegate exec`: signs in as the CI job it runs in, asks, and runs a command with what it needs to connect; then everything is given
//! back. For people who are signed in it does the same.
//!
//! Nothing of it is stored: the key pair, the certificate and the token live in a directory of this run, readable by its user alone.

mod job;
mod tools;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use access::names::{RoleName, Selector};
use access::request::Asked;
use access::time::Span;
use anyhow::{Context as _, bail};
use api::types::gate::GateFacts;
use api::types::grants::{EndedGrant, Grant};
use api::types::resources::ResourceDetail;
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use crate::client::{Client, Reply};
use crate::output::note;

use super::Context;
use super::exit::Exit;
use super::way_in::{self, Said, Way};

pub(crate) use job::JobArgs;
pub(crate) use job::sign_in;

/// The status of a command that is not there, and of one that cannot be run (POSIX, "Exit Status for Commands").
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// Where to, and what is run.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: the command's own; 75 if somebody has to agree first and nobody did in time, 77 if it was refused.\n\n\
    The command finds `ssh`, `scp`, `sftp` (and with them `rsync`, `git` and Ansible), `psql` and `mysql` ready to connect; TIDEGATE_HOST is \
    where to, TIDEGATE_SSH_CONFIG the configuration of ssh."
)]
pub struct Exec {
    /// Where to: `NAME` or `NAME+ROLE`
    #[arg(long, value_name = "NAME")]
    resource: Selector,
    /// As what; without it the only role that is open to you there
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleName>,
    /// Why
    #[arg(long, value_name = "TEXT", env = "TIDEGATE_REASON", hide_env_values = true)]
    reason: Option<String>,
    /// For how long
    #[arg(long = "for", value_name = "TIME", env = "TIDEGATE_FOR", hide_env_values = true)]
    length: Option<Asked>,
    /// The change or incident it belongs to
    #[arg(long, value_name = "ID", env = "TIDEGATE_TICKET", hide_env_values = true)]
    ticket: Option<String>,
    /// How long to wait for people to agree; without it 75 says that they have to
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    #[command(flatten)]
    job: JobArgs,
    /// What to run, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Exec {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        // 1. Who is this?
        let me = sign_in(context, &self.job).await?;
        let ended = self.run_as(&me.client).await;
        // A job's token is worth nothing to anybody once the job is done.
        me.sign_out().await;
        ended
    }

    async fn run_as(&self, client: &Client) -> anyhow::Result<Exit> {
        // 2. May they?
        let to = Selector { role: self.role.clone().or_else(|| self.resource.role.clone()), resource: self.resource.resource.clone() };
        if let (Some(one), Some(other)) = (&self.role, &self.resource.role)
            && one != other
        {
            bail!("`--resource {}` names another role than `--role {one}`; name one of them", self.resource);
        }
        let Some((way, fresh)) = self.enter(client, &to).await? else { return Ok(Exit::Pending) };
        let grant = match way {
            Way::In(grant) => *grant,
            Way::Not(exit) => return Ok(exit),
        };
        // 3. Run it.
        let ended = self.run_with(client, &grant).await;
        // 4. What was asked for this is given back.
        if fresh {
            give_back(client, &grant).await;
        }
        ended
    }

    /// `None`: nobody agreed in time.
    async fn enter(&self, client: &Client, to: &Selector) -> anyhow::Result<Option<(Way, bool)>> {
        let said = Said::beforehand(self.reason.clone(), self.length, self.ticket.clone(), self.wait.is_some());
        let entering = way_in::enter_telling(client, to, &said);
        let Some(patience) = self.wait else { return entering.await.map(Some) };
        match tokio::time::timeout(patience.as_std(), entering).await {
            Ok(entered) => entered.map(Some),
            Err(_) => {
                note(format!("Nobody agreed within {patience}. The request stands: the same command joins it."));
                Ok(None)
            }
        }
    }

    async fn run_with(&self, client: &Client, grant: &Grant) -> anyhow::Result<Exit> {
        // Before there is anybody to hand them on to: a signal of that very moment would end this process and not the command.
        let signals = Signals::listen()?;
        let facts: Reply<GateFacts> = client.get("/gate", &()).await?;
        let resource: Reply<ResourceDetail> = client.get(&format!("/resources/{}", grant.resource), &()).await?;
        let tools = tools::lay_out(client, facts.value, &resource.value.resource.kind, grant).await?;
        let (Some(program), arguments) = (self.command.first(), self.command.get(1..).unwrap_or_default()) else { return Ok(Exit::Usage) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        // What signs in here is not the command's.
        for name in ["TIDEGATE_TOKEN", "TIDEGATE_WORKLOAD_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"] {
            command.env_remove(name);
        }
        if let Some(name) = &self.job.token_env {
            command.env_remove(name);
        }
        tools.apply(&mut command);
        let ended = match command.kill_on_drop(true).spawn() {
            Ok(child) => wait_for(child, signals).await,
            Err(error) => {
                note(format!("cannot run `{}`: {error}", program.to_string_lossy()));
                Ok(Exit::Of(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE }))
            }
        };
        tools.clear_away(client).await;
        ended
    }
}

/// What this process is told by signals.
struct Signals {
    int: Listener,
    term: Listener,
    hup: Listener,
    quit: Listener,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind: SignalKind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            int: listen(SignalKind::interrupt())?,
            term: listen(SignalKind::terminate())?,
            hup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
        })
    }
}

/// Waits for the command, and hands on to it what this process is told by signals.
async fn wait_for(mut child: Child, signals: Signals) -> anyhow::Result<Exit> {
    let Signals { mut int, mut term, mut hup, mut quit } = signals;
    // At a terminal Ctrl-C reaches the command by itself.
    let shared = io::stdin().is_terminal();
    let status = loop {
        let told = tokio::select! {
            status = child.wait() => break status.context("cannot wait for the command")?,
            _ = int.recv() => (!shared).then_some(Signal::INT),
            _ = quit.recv() => (!shared).then_some(Signal::QUIT),
            _ = term.recv() => Some(Signal::TERM),
            _ = hup.recv() => Some(Signal::HUP),
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let (Some(told), Some(pid)) = (told, pid) {
            // It may have ended just now.
            let _ = kill_process(pid, told);
        }
    };
    Ok(match (status.code(), status.signal()) {
        (Some(0), _) => Exit::Done,
        (Some(code), _) => Exit::Of(u8::try_from(code).unwrap_or(1)),
        // As a shell says it.
        (None, Some(signal)) => Exit::Of(u8::try_from(128 + signal).unwrap_or(1)),
        (None, None) => Exit::Failed,
    })
}

async fn give_back(client: &Client, grant: &Grant) {
    let returned: Result<Reply<EndedGrant>, _> = client.post(&format!("/grants/{}/return", grant.id), &json!({})).await;
    if let Err(error) = returned {
        // Ended already, by its time or by somebody, or its giver is away: it ends by itself.
        tracing::debug!(%error, grant = %grant.id, "the grant was not given back");
    }
}
