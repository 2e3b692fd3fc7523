//! The gate's local socket: what root, or the gate's own user, may do at the machine itself when nobody can do it through the API.
//!
//! Three acts are served here and nothing else: putting an earlier policy back, inviting an administrator, and taking the clock for
//! right that the log has run ahead of. The socket stands in the
//! data directory, for its owner alone (0600), and the kernel says who is at the other end. One line of JSON asks, one answers.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::ids::BundleId;
use access::names::Username;
use access::reason::{Reason, Refusal};
use anyhow::Context as _;
use api::types::policy::Activated;
use api::types::problem::Problem;
use identity::local::verify_local_peer;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use workflow::Gate;

use crate::client::ClientError;

/// Its name in the data directory.
const NAME: &str = "control.sock";
/// The longest question, in bytes.
const LONGEST: u64 = 4096;
/// How many are answered at once; others wait.
const AT_ONCE: usize = 4;
/// How long somebody may take to say what they want.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Puts a policy back that was in force once.
    RollBackPolicy {
        /// That of this activation; absent: the one before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<BundleId>,
    },
    /// Takes the clock for right that the log has run ahead of.
    AcceptClock,
    /// Invites an administrator.
    Recover {
        /// Under which name.
        username: Username,
    },
}

/// What accepting the clock did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptedClock {
    /// The time from now on.
    pub wall: Timestamp,
    /// The time that the log had reached.
    pub mark: Timestamp,
    /// How many sessions were cut.
    pub sessions: usize,
    /// How many grants were ended.
    pub grants: usize,
    /// How many requests were.
    pub requests: usize,
}

/// An invitation for an administrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recovered {
    /// Under which name.
    pub username: Username,
    /// The single-use code to join with.
    pub code: String,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Where to join.
    pub api: String,
    /// The root that clients of the API have to trust, if it is the gate's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply<T> {
    Done(T),
    Refused(Box<Problem>),
}

/// How an administrator who was invited here joins.
#[derive(Debug, Clone)]
pub struct Joining {
    /// The API as clients reach it.
    pub api: String,
    /// The root that they have to trust, if it is the gate's own.
    pub ca_file: Option<PathBuf>,
}

/// The socket, before it serves.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Takes the place of a socket that an earlier process left.
    ///
    /// # Errors
    /// If something else stands there, or the directory can't be written.
    pub fn bind(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(NAME);
        let bound = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(&path),
            Ok(_) => Err(io::Error::other("something that is no socket stands there")),
            Err(_) => Ok(()),
        };
        let listener = bound.and_then(|()| UnixListener::bind(&path));
        let listener = listener.with_context(|| format!("cannot make the local socket `{}`", path.display()))?;
        // Who got in before this is still asked who they are.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until told to stop.
    pub async fn serve(self, gate: Arc<Gate>, joining: Joining, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
            let stream = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "somebody at the local socket could not be heard");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let (gate, joining) = (Arc::clone(&gate), joining.clone());
            tokio::spawn(async move {
                let _held = place;
                if let Err(error) = heard(stream, &gate, &joining).await {
                    tracing::warn!(%error, "somebody at the local socket went away");
                }
            });
        }
        let _gone = std::fs::remove_file(&self.path);
    }
}

async fn heard(mut stream: UnixStream, gate: &Gate, joining: &Joining) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    let mut line = Vec::new();
    let asked = {
        let mut reader = BufReader::new((&mut stream).take(LONGEST));
        tokio::time::timeout(PATIENCE, reader.read_until(b'\n', &mut line)).await
    };
    let answer = match asked {
        Ok(read) => {
            read?;
            match serde_json::from_slice(&line) {
                Ok(question) => done(gate, joining, peer, question).await,
                Err(error) => Err(Refusal::because(Reason::Invalid, error.to_string())),
            }
        }
        Err(_) => Err(Refusal::because(Reason::Invalid, "nothing was asked in time")),
    };
    let reply = match answer {
        Ok(done) => Reply::Done(done),
        Err(refusal) => Reply::Refused(Box::new(Problem::new(&refusal, "local"))),
    };
    let mut text = serde_json::to_vec(&reply).unwrap_or_default();
    text.push(b'\n');
    stream.write_all(&text).await?;
    stream.shutdown().await
}

async fn done(gate: &Gate, joining: &Joining, peer: u32, question: Question) -> Result<serde_json::Value, Refusal> {
    let peer = verify_local_peer(peer, rustix::process::geteuid().as_raw())?;
    let json = |value: Result<serde_json::Value, serde_json::Error>| value.map_err(|_| Refusal::of(Reason::Internal));
    match question {
        Question::RollBackPolicy { to } => {
            let workflow::reload::Activated { digest, changed, diff, withdrawn } = gate.roll_back_bundle(&peer, to).await?;
            json(serde_json::to_value(Activated { digest, changed, diff, withdrawn }))
        }
        Question::AcceptClock => {
            let workflow::accept_clock::AcceptedClock { wall, mark, sessions, grants, requests } = gate.accept_clock(&peer).await?;
            json(serde_json::to_value(AcceptedClock { wall, mark, sessions, grants, requests }))
        }
        Question::Recover { username } => {
            let invited = gate.recover(&peer, username).await?;
            let Joining { api, ca_file } = joining.clone();
            let code = invited.code.expose().clone();
            json(serde_json::to_value(Recovered { username: invited.person.username, code, expires_at: invited.expires_at, api, ca_file }))
        }
    }
}

/// Asks the gate that runs on this data directory.
///
/// # Errors
/// If none runs, this user may not, or it refuses.
pub async fn ask<T: for<'de> Deserialize<'de>>(data_dir: &Path, question: &Question) -> anyhow::Result<T> {
    let path = data_dir.join(NAME);
    let mut stream = UnixStream::connect(&path).await.map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "no gate serves there; start it with `tidegate serve` first",
            io::ErrorKind::PermissionDenied => "it is for root and for the user that the gate runs as",
            _ => "it does not answer",
        };
        anyhow::Error::new(error).context(format!("cannot speak to the gate through `{}`: {what}", path.display()))
    })?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    let mut text = Vec::new();
    let answered = async {
        stream.write_all(&line).await?;
        stream.read_to_end(&mut text).await
    };
    answered.await.context("the gate broke off its answer")?;
    match serde_json::from_slice(&text).context("what answers at the local socket does not speak as this release does")? {
        Reply::Done(done) => Ok(done),
        Reply::Refused(problem) => Err(ClientError::Refused(problem).into()),
    }
}
