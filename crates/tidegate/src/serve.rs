//! `tidegate serve`: one node, until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use workflow::clock::SystemTime;

use crate::config::Config;
use crate::node::Node;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If the node can't start.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let node = Node::start(&config, Arc::new(SystemTime)).await?;
    if let Some(invited) = &node.started.first_administrator {
        let ca = if node.root.is_some() { format!(" --ca-file {}", config.data_dir.join("ca.pem").display()) } else { String::new() };
        eprintln!("This gate is new. Its first administrator signs in with this, once, until {}:\n", invited.expires_at);
        eprintln!("    tidegate join {}{ca} {}\n", node.api_url, invited.code.expose());
    }
    if node.started.closed_leftovers > 0 {
        eprintln!("{} sessions that the last run left open are entered as ended.", node.started.closed_leftovers);
    }
    eprintln!("API  {}\nSSH  {}\nThe gate serves. Ctrl-C stops it.", node.api_url, node.ssh);
    stop_asked_for().await?;
    eprintln!("Stopping: sessions are ended and entered.");
    node.stop().await;
    Ok(())
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
