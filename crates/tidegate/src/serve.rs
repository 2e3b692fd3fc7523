//! `tidegate serve`: one node, until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use workflow::clock::SystemTime;

use crate::cli::config::ConfigFile;
use crate::config::Config;
use crate::node::Node;
use crate::output::note;

/// How to serve.
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    /// Make a new audit log of what the store says, if `audit/` is lost and there is no copy; an entry says so
    #[arg(long)]
    pub(crate) rebuild_log: bool,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If the node can't start.
pub async fn run(config: Config, rebuild_log: bool) -> anyhow::Result<()> {
    log_to_stderr();
    harden()?;
    let node = Node::start(&config, Arc::new(SystemTime), rebuild_log).await?;
    if let Some(invited) = &node.started.first_administrator {
        let ca = if node.root.is_some() { format!(" --ca-file {}", config.data_dir.join("ca.pem").display()) } else { String::new() };
        note(format!("This gate is new. Its first administrator signs in with this, once, until {}:\n", invited.expires_at));
        note(format!("    tidegate join {}{ca} {}\n", node.api_url, invited.code.expose()));
        note(format!("or in a browser:\n\n    {}/join#{}\n", node.api_url, invited.code.expose()));
    }
    if node.started.closed_leftovers > 0 {
        note(format!("{} sessions that the last run left open are entered as ended.", node.started.closed_leftovers));
    }
    if node.gate.clock_is_behind() {
        note(
            "This machine's clock is behind the gate's own log, so nothing opens until it is right (`timedatectl`); \
             `tidegate doctor` says by how much.",
        );
    }
    note(format!("API  {}\nSSH  {}\nThe gate serves. Ctrl-C stops it.", node.api_url, node.ssh));
    stop_asked_for().await?;
    note("Stopping: sessions are ended and entered.");
    node.stop().await;
    Ok(())
}

/// Keeps the process's memory out of core files and debuggers of its own user, and lets it open as many files as it may.
///
/// # Errors
/// If the system refuses the first; secrets must not end in a core file.
pub fn harden() -> anyhow::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("cannot forbid core files")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot keep the process's memory to itself")?;
    let files = getrlimit(Resource::Nofile);
    // As many as the hard limit allows; with fewer it still runs, and `accept` says when it runs out.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    Ok(())
}

/// Sends what the gate has to say about itself to stderr; `TIDEGATE_LOG` says how much (`info`, `tidegate_proxy=debug`).
///
/// Session activity never goes this way: that is what the audit log and recordings are for.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // Fails only where a subscriber is set already, as in tests.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}

/// Resolves at SIGTERM or SIGINT.
///
/// # Errors
/// If signals can't be listened for.
pub async fn stop_asked_for() -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
