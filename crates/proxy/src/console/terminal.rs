//! A terminal: a client of the SSH door that asks for a shell.

use std::sync::Arc;

use access::ids::SessionId;
use access::names::Selector;
use access::reason::{Reason, Refusal};
use bytes::Bytes;
use russh::client;
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelMsg, Disconnect, SshId};
use tokio::sync::{mpsc, watch};

use super::Known;
use crate::ssh::SshDoor;

/// How the console calls itself at the door, and so in the log.
const VERSION: &str = "SSH-2.0-Tidegate-Console";
/// What programs at the target are told the terminal can do.
const KIND: &str = "xterm-256color";

/// Both sides of somebody's terminal.
#[derive(Debug)]
pub struct Terminal {
    /// What they type; its sender gone: they left.
    pub typed: mpsc::Receiver<Bytes>,
    /// Columns and rows.
    pub size: watch::Receiver<(u32, u32)>,
    /// What they see; its receiver gone: they left.
    pub shown: mpsc::Sender<Bytes>,
    /// Whose terminal they want to join, instead of one of their own.
    pub join: Option<SessionId>,
}

/// Runs a terminal until its end; gives the shell's exit status, if there was one.
///
/// # Errors
/// If the door does not take it. What it is refused for afterwards stands in what is shown.
pub async fn run(door: &Arc<SshDoor>, known: Known, to: &Selector, terminal: Terminal) -> Result<Option<u32>, Refusal> {
    let stream = door.receive_known(known).await?;
    let config = client::Config { client_id: SshId::Standard(VERSION.into()), nodelay: true, ..client::Config::default() };
    let mut client = client::connect_stream(Arc::new(config), stream, AtOurDoor).await.map_err(broken)?;
    if !client.authenticate_none(to.to_string()).await.map_err(broken)?.success() {
        return Err(Refusal::because(Reason::Internal, "the door did not take a console"));
    }
    let Terminal { mut typed, mut size, shown, join } = terminal;
    let (cols, rows) = *size.borrow_and_update();
    let channel = client.channel_open_session().await.map_err(broken)?;
    channel.request_pty(false, KIND, cols, rows, 0, 0, &[]).await.map_err(broken)?;
    match join {
        Some(session) => channel.request_subsystem(false, format!("join {session}")).await.map_err(broken)?,
        None => channel.request_shell(false).await.map_err(broken)?,
    }
    let (mut from_door, to_door) = channel.split();
    let up = async {
        loop {
            let sent = tokio::select! {
                bytes = typed.recv() => match bytes {
                    Some(bytes) => to_door.data_bytes(bytes).await,
                    None => return,
                },
                Ok(()) = size.changed() => {
                    let (cols, rows) = *size.borrow_and_update();
                    to_door.window_change(cols, rows, 0, 0).await
                }
            };
            if sent.is_err() {
                // Its end says why.
                std::future::pending::<()>().await;
            }
        }
    };
    let down = async {
        let mut status = None;
        while let Some(message) = from_door.wait().await {
            match message {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => {
                    let taken = shown.send(data).await;
                    if taken.is_err() {
                        return status;
                    }
                }
                ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
                _ => {}
            }
        }
        status
    };
    let status = tokio::select! {
        status = down => status,
        () = up => None,
        () = shown.closed() => None,
    };
    let _ = client.disconnect(Disconnect::ByApplication, "", "en").await;
    Ok(status)
}

fn broken(error: russh::Error) -> Refusal {
    tracing::warn!(%error, "a console could not speak to its own door");
    Refusal::because(Reason::Internal, "the console could not speak to the door")
}

/// The server is this process: the stream has been in nobody else's hands, so there is no key to compare.
struct AtOurDoor;

impl client::Handler for AtOurDoor {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}
