//! The command line: a noun, then a verb; a file per noun.
//!
//! Commands that speak to a gate get a [`Context`]; those that work on files alone say so where they stand.

pub mod audit;
pub mod backup;
pub mod break_glass;
pub mod chat;
pub mod clock;
pub mod complete;
pub mod compliance;
pub mod config;
pub mod connect;
pub mod contain;
pub mod database;
pub mod directory;
pub mod evidence;
pub mod exec;
pub mod exit;
pub mod grant;
pub mod hold;
pub mod inventory;
pub mod join;
pub(crate) mod kept;
pub mod key;
pub mod keys;
pub mod lock;
pub mod measures;
pub mod on_call;
pub mod outbox;
pub(crate) mod playing;
pub mod policy;
pub mod recover;
pub mod request;
pub mod resource;
pub mod review;
pub mod rollout;
pub mod secret;
pub mod session;
pub mod ssh_config;
pub mod statements;
pub(crate) mod step_up;
pub mod stream;
pub mod suggest;
pub mod token;
pub mod user;
mod way_in;
pub mod workload;

use std::io;
use std::path::PathBuf;

use access::secret::Secret;
use clap::{Args, Parser, Subcommand};

use crate::client::settings::{self, Given, Settings};
use crate::client::{Client, ClientError, Reply};
use crate::config::Environment;
use crate::output::Output;
use crate::{demo, doctor, login, serve};
use exit::Exit;

/// The gate that closes itself: ask, agree, connect, watch, revoke, and prove it afterwards.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 not understood, 75 waiting for somebody, 77 refused.")]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// Print JSON as the API answers it
    #[arg(long, global = true)]
    pub json: bool,
    /// The gate to speak to, instead of the one you joined
    #[arg(long, global = true, env = "TIDEGATE_URL", hide_env_values = true, value_name = "URL")]
    pub url: Option<String>,
    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, global = true, env = "TIDEGATE_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Every noun and every single verb.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for access, and decide on what others ask
    #[command(subcommand)]
    Request(request::RequestCommand),
    /// The bounded rights that came of requests
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    /// What is and was connected: watch, replay, end
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// What can be asked for
    #[command(subcommand)]
    Resource(resource::ResourceCommand),
    /// Emergency access: at once, for a short time, seen by everybody, reviewed afterwards
    BreakGlass(break_glass::BreakGlass),
    /// Look back: at emergencies, at sessions that were drawn, at rights without an end
    #[command(subcommand)]
    Review(review::ReviewCommand),

    /// People who can sign in
    #[command(subcommand)]
    User(user::UserCommand),
    /// What brings people and groups, and takes away who left
    #[command(subcommand)]
    Directory(directory::DirectoryCommand),
    /// Machines that can sign in
    #[command(subcommand)]
    Workload(workload::WorkloadCommand),
    /// SSH keys that sign you in
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// API tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Keep a person or machine, role, resource or network shut
    #[command(subcommand)]
    Lock(lock::LockCommand),
    /// Shut everything of a person, machine or resource in one go
    #[command(subcommand)]
    Contain(contain::ContainCommand),
    /// Who is on call, and how fresh that is
    #[command(subcommand, name = "oncall")]
    OnCall(on_call::OnCallCommand),
    /// Accounts where people chat, and whose they are
    #[command(subcommand)]
    Chat(chat::ChatCommand),
    /// Messages to the outside: what waits, what was given up, sending again
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Where the log goes as it grows: how far each collector came
    #[command(subcommand)]
    Stream(stream::StreamCommand),

    /// The audit log: read it, verify it, ask it
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Whether access is getting better, in numbers that follow from the log
    Measures(measures::MeasuresArgs),
    /// Controls of SOC 2 and ISO 27001, each with the live queries that show it
    Compliance(compliance::ComplianceArgs),
    /// Ways to production that do not pass the gate, and what targets hold that it did not put there
    #[command(subcommand)]
    Inventory(inventory::InventoryCommand),
    /// How far the gate has been taken up, phase by phase
    Rollout,
    /// Evidence for an auditor, verified offline
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// Legal holds: evidence that is kept whatever its age
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Who may do what
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Sealed secrets that open targets
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// The gate's own keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),

    /// Join a gate with the code you were invited by
    Join(login::Join),
    /// Get a fresh SSH certificate
    Login(login::Login),
    /// Connect `psql` to a PostgreSQL database
    Psql(database::Connection),
    /// Connect `mysql` to a MySQL or MariaDB database
    Mysql(database::Connection),
    /// Open a port on this machine for tools that know nothing of the gate
    Connect(connect::Connect),
    /// Run a command that connects, as a CI job or as yourself: ask, run, give back
    Exec(exec::Exec),
    /// Write a `Host NAME.tide` for each resource, for ssh and everything that uses it
    SshConfig(ssh_config::SshConfig),

    /// Run the gate
    Serve(serve::Serve),
    /// Run a gate with an example company and a real target on this machine
    Demo(demo::DemoArgs),
    /// Copy what the gate keeps, while it runs
    Backup(backup::Backup),
    /// Check this machine and the configuration, and say what to do
    Doctor(config::ConfigFile),
    /// Invite an administrator when none can sign in any more; at the gate's own machine
    Recover(recover::Recover),
    /// The gate's time; at its own machine
    #[command(subcommand)]
    Clock(clock::ClockCommand),
    /// The configuration file
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print completions for a shell
    Completion(complete::Completion),
    /// Write the manual pages
    Man(complete::Man),
}

/// What a command that speaks to a gate works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where results go.
    pub output: Output,
    global: Global,
}

impl Context {
    /// From what holds for every command.
    #[must_use]
    pub fn new(global: Global) -> Self {
        Self { output: Output::of_process(global.json), global }
    }

    /// What flags and environment say of the gate.
    #[must_use]
    pub fn given(&self) -> Given {
        let token = std::env::var("TIDEGATE_TOKEN").ok().filter(|t| !t.is_empty()).map(Secret::new);
        Given { url: self.global.url.clone(), token, ca_file: self.global.ca_file.clone() }
    }

    /// Which gate, and as whom.
    ///
    /// # Errors
    /// If no gate is named, or what is kept can't be used.
    pub fn settings(&self) -> Result<Settings, ClientError> {
        let given = self.given();
        // Who gives everything needs no home.
        let file = settings::default_file().ok();
        Ok(Settings::resolve(&given, file.as_deref())?)
    }

    /// Prints an answer: as JSON if that is wanted, else in words.
    ///
    /// # Errors
    /// If stdout is gone.
    pub fn print<T>(&self, reply: &Reply<T>, words: impl FnOnce(&Output, &T) -> io::Result<()>) -> anyhow::Result<Exit> {
        if self.output.is_json() {
            self.output.json(&reply.json)?;
        } else {
            words(&self.output, &reply.value)?;
        }
        Ok(Exit::Done)
    }

    /// A client of that gate.
    ///
    /// # Errors
    /// If no gate is named, or its certificates can't be used.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::new(&self.settings()?)
    }
}

/// Does what was asked.
///
/// # Errors
/// Why it could not; [`exit::report`] prints that.
pub async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let context = Context::new(cli.global);
    match cli.command {
        Command::Request(command) => command.run(&context).await,
        Command::Grant(command) => command.run(&context).await,
        Command::Session(command) => command.run(&context).await,
        Command::Resource(command) => command.run(&context).await,
        Command::BreakGlass(command) => command.run(&context).await,
        Command::Review(command) => command.run(&context).await,
        Command::User(command) => command.run(&context).await,
        Command::Directory(command) => command.run(&context).await,
        Command::Workload(command) => command.run(&context).await,
        Command::Key(command) => command.run(&context).await,
        Command::Token(command) => command.run(&context).await,
        Command::Lock(command) => command.run(&context).await,
        Command::Contain(command) => command.run(&context).await,
        Command::OnCall(command) => command.run(&context).await,
        Command::Chat(command) => command.run(&context).await,
        Command::Outbox(command) => command.run(&context).await,
        Command::Stream(command) => command.run(&context).await,
        Command::Audit(command) => command.run(&context).await,
        Command::Measures(command) => command.run(&context).await,
        Command::Compliance(command) => command.run(&context).await,
        Command::Inventory(command) => command.run(&context).await,
        Command::Rollout => rollout::run(&context).await,
        Command::Evidence(command) => command.run(&context).await,
        Command::Hold(command) => command.run(&context).await,
        Command::Policy(command) => command.run(&context).await,
        Command::Secret(command) => command.run(&context).await,
        Command::Keys(command) => command.run(&context).await,
        Command::Join(command) => command.run(&context).await,
        Command::Login(command) => command.run(&context).await,
        Command::Psql(connection) => database::run(connection, database::Spoken::Postgres, &context).await,
        Command::Mysql(connection) => database::run(connection, database::Spoken::Mysql, &context).await,
        Command::Connect(command) => command.run(&context).await,
        Command::Exec(command) => command.run(&context).await,
        Command::SshConfig(command) => command.run(&context).await,
        Command::Backup(command) => command.run(&context.output).await,
        Command::Serve(serve) => {
            let config = serve.file.load(&Environment::of_process())?;
            Box::pin(serve::run(config, serve.rebuild_log)).await?;
            Ok(Exit::Done)
        }
        Command::Demo(args) => {
            Box::pin(demo::run(args)).await?;
            Ok(Exit::Done)
        }
        Command::Doctor(file) => doctor::run(&file, &context.output).await,
        Command::Recover(command) => command.run(&context.output).await,
        Command::Clock(command) => command.run(&context.output).await,
        Command::Config(command) => command.run(&context.output),
        Command::Completion(command) => command.run(&context.output),
        Command::Man(command) => command.run(&context.output),
    }
}

/// How much of a list.
#[derive(Debug, Clone, Args)]
pub struct Shown {
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
}

/// Says on stderr that a list goes on.
pub(crate) fn note_more(more: bool) {
    if more {
        crate::output::note("There are more; name a greater `--limit`.");
    }
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_tree() {
        Cli::command().debug_assert();
        let mut tree = String::new();
        describe(&Cli::command(), 0, &mut tree);
        insta::assert_snapshot!("tree", tree);
    }

    #[test]
    fn the_first_help() {
        insta::assert_snapshot!("help", Cli::command().term_width(100).render_help());
    }

    fn describe(command: &clap::Command, depth: usize, tree: &mut String) {
        let mut words = vec![command.get_name().to_owned()];
        for argument in command.get_arguments().filter(|a| !a.is_global_set() && !a.is_hide_set()) {
            if matches!(argument.get_id().as_str(), "help" | "version") {
                continue;
            }
            let value = argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            let takes = argument.get_action().takes_values();
            let shown = match (argument.get_long(), value.filter(|_| takes)) {
                (Some(long), Some(value)) => format!("--{long} {value}"),
                (Some(long), None) => format!("--{long}"),
                (None, value) => value.unwrap_or_else(|| argument.get_id().to_string().to_uppercase()),
            };
            words.push(if argument.is_required_set() { shown } else { format!("[{shown}]") });
        }
        writeln!(tree, "{}{}", "  ".repeat(depth), words.join(" ")).unwrap();
        for below in command.get_subcommands() {
            describe(below, depth + 1, tree);
        }
    }
}
