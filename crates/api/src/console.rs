//! The port of consoles: what runs a terminal or a SQL prompt for somebody in a browser. Implemented by the binary over the doors.
//!
//! A console lasts as long as the stream of events it was opened with: one tab. What is typed comes in calls of its own, so that
//! everything that holds for calls (sign-in, own page, bounds, problems) holds for it too.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use access::identity::{VerifiedIdentity, Via};
use access::ids::{PrincipalId, SessionId};
use access::names::Selector;
use access::reason::{Reason, Refusal};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use workflow::Caller;

use crate::types::consoles::{SqlAnswer, SqlError};

/// Runs consoles as clients of the gate's own doors.
#[async_trait]
pub trait Consoles: std::fmt::Debug + Send + Sync + 'static {
    /// Runs a terminal until its end; the shell's exit status, if there was one.
    ///
    /// # Errors
    /// If the door does not take it.
    async fn terminal(&self, guest: Guest, io: TerminalIo) -> Result<Option<u32>, Refusal>;

    /// Runs a SQL prompt through this door until its end.
    ///
    /// # Errors
    /// Why it was not opened, or how the session ended if not by leaving.
    async fn sql(&self, door: SqlDoor, guest: Guest, before: Beforehand, io: SqlIo) -> Result<(), SqlError>;
}

/// Through which door a SQL prompt goes. Whoever opens it says so: what it would be told of a resource that it may not know of is then
/// the same whether there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlDoor {
    /// That of PostgreSQL.
    Postgres,
    /// That of MySQL and MariaDB.
    Mysql,
}

/// Who wants a console, from where, and of what.
#[derive(Debug)]
pub struct Guest {
    /// Who.
    pub who: VerifiedIdentity,
    /// From where.
    pub from: SocketAddr,
    /// Where to, and as what.
    pub to: Selector,
}

/// What is said before a SQL prompt opens.
#[derive(Debug)]
pub struct Beforehand {
    /// The database; `None`: the resource's.
    pub database: Option<String>,
    /// Why, for who has no grant yet.
    pub reason: Option<String>,
}

/// Both sides of a terminal.
#[derive(Debug)]
pub struct TerminalIo {
    /// What is typed; the sender gone: they left.
    pub typed: mpsc::Receiver<Bytes>,
    /// Columns and rows.
    pub size: watch::Receiver<(u32, u32)>,
    /// What is shown; the receiver gone: they left.
    pub shown: mpsc::Sender<Bytes>,
    /// The session to be joined, instead of a shell of its own.
    pub join: Option<SessionId>,
}

/// Both sides of a SQL prompt.
#[derive(Debug)]
pub struct SqlIo {
    /// Statements; the sender gone: they left.
    pub asked: mpsc::Receiver<SqlAsked>,
    /// What is said; the receiver gone: they left.
    pub said: mpsc::Sender<SqlSaid>,
}

/// A statement.
#[derive(Debug)]
pub struct SqlAsked {
    /// Its text.
    pub text: String,
    /// How many rows to show at most.
    pub rows: u32,
    /// Stops it, whether it runs or still waits its turn.
    pub stop: CancellationToken,
}

/// What a SQL prompt says.
#[derive(Debug)]
pub enum SqlSaid {
    /// The door is open.
    Open,
    /// A notice.
    Notice(String),
    /// What came of a statement.
    Answer(Box<SqlAnswer>),
}

/// The calls' side of a console.
#[derive(Debug)]
pub(crate) enum Hands {
    Terminal {
        typed: tokio::sync::Mutex<mpsc::Sender<Bytes>>,
        size: watch::Sender<(u32, u32)>,
    },
    /// `stop` is of every statement that was sent since one was stopped.
    Sql {
        asked: mpsc::Sender<SqlAsked>,
        stop: Mutex<CancellationToken>,
    },
}

#[derive(Debug)]
struct Console {
    person: PrincipalId,
    via: Via,
    hands: Arc<Hands>,
}

/// The consoles that are open.
#[derive(Debug, Default)]
pub(crate) struct OpenConsoles(Mutex<HashMap<String, Console>>);

/// One of them; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: String,
    all: Arc<OpenConsoles>,
}

impl OpenConsoles {
    pub(crate) fn open(self: &Arc<Self>, caller: &Caller, hands: Hands) -> Held {
        let id = format!("{:032x}", rand::random::<u128>());
        let console = Console { person: caller.who.id(), via: caller.who.via().clone(), hands: Arc::new(hands) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), console);
        Held { id, all: Arc::clone(self) }
    }

    /// The console of this id, if it was opened by this very sign-in. Another's is as one that does not exist.
    pub(crate) fn of(&self, caller: &Caller, id: &str) -> Result<Arc<Hands>, Refusal> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |console: &&Console| console.person == caller.who.id() && console.via == *caller.who.via();
        all.get(id).filter(own).map(|console| Arc::clone(&console.hands)).ok_or_else(|| Refusal::of(Reason::NotFound))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
