//! The port of consoles, over the doors of this node. Nothing is decided here.

use std::pin::Pin;
use std::sync::Arc;

use access::reason::{Reason, Refusal};
use api::console::{Beforehand, Consoles, Guest, SqlAsked, SqlDoor, SqlIo, SqlSaid, TerminalIo};
use api::types::consoles::{SqlAnswer, SqlError, SqlTransaction};
use async_trait::async_trait;
use proxy::console::sql::{self, Answer, Failed, Prompt, Said, Statement, Transaction};
use proxy::console::terminal::{self, Terminal};
use proxy::console::{Known, mysql};
use proxy::mysql::MysqlDoor;
use proxy::postgres::PostgresDoor;
use proxy::ssh::SshDoor;
use tokio::sync::{mpsc, oneshot};

/// The doors that consoles go through.
pub struct Doors {
    /// That of SSH.
    pub ssh: Arc<SshDoor>,
    /// That of PostgreSQL, if the node has one.
    pub postgres: Option<Arc<PostgresDoor>>,
    /// That of MySQL, if the node has one.
    pub mysql: Option<Arc<MysqlDoor>>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

#[async_trait]
impl Consoles for Doors {
    async fn terminal(&self, guest: Guest, io: TerminalIo) -> Result<Option<u32>, Refusal> {
        let terminal = Terminal { typed: io.typed, size: io.size, shown: io.shown, join: io.join };
        terminal::run(&self.ssh, Known { who: guest.who, from: guest.from }, &guest.to, terminal).await
    }

    async fn sql(&self, door: SqlDoor, guest: Guest, before: Beforehand, io: SqlIo) -> Result<(), SqlError> {
        let SqlIo { asked: mut texts, said } = io;
        let (ask, asked) = mpsc::channel(1);
        let (say, mut says) = mpsc::channel(1);
        let before = sql::Beforehand { database: before.database, reason: before.reason };
        let (known, prompt) = (Known { who: guest.who, from: guest.from }, Prompt { asked, said: say });
        let run: Pin<Box<dyn Future<Output = Result<(), Failed>> + Send + '_>> = match (door, &self.postgres, &self.mysql) {
            (SqlDoor::Postgres, Some(door), _) => Box::pin(sql::run(door, known, &guest.to, before, prompt)),
            (SqlDoor::Mysql, _, Some(door)) => Box::pin(mysql::run(door, known, &guest.to, before, prompt)),
            (SqlDoor::Postgres, None, _) => return Err(nowhere("PostgreSQL")),
            (SqlDoor::Mysql, _, None) => return Err(nowhere("MySQL")),
        };
        let answers = said.clone();
        let asking = async move {
            while let Some(SqlAsked { text, rows, stop }) = texts.recv().await {
                let (answer, answered) = oneshot::channel();
                if ask.send(Statement { text, rows, stop, answer }).await.is_err() {
                    return;
                }
                let Ok(answer) = answered.await else { return };
                if answers.send(SqlSaid::Answer(Box::new(shown(answer)))).await.is_err() {
                    return;
                }
            }
        };
        let running = async move {
            tokio::select! {
                ended = run => ended,
                // Nobody asks any more: it ends by itself.
                never = async { asking.await; std::future::pending().await } => never,
            }
        };
        // When nobody listens any more this is over, and its channel tells what runs.
        let telling = async move {
            loop {
                let what = tokio::select! {
                    what = says.recv() => what,
                    () = said.closed() => None,
                };
                let what = match what {
                    Some(Said::Open) => SqlSaid::Open,
                    Some(Said::Notice(text)) => SqlSaid::Notice(text),
                    None => return,
                };
                let _ = said.send(what).await;
            }
        };
        let (ended, ()) = tokio::join!(running, telling);
        ended.map_err(failed)
    }
}

/// There is no such door here.
fn nowhere(what: &str) -> SqlError {
    let refusal = Refusal::because(Reason::NotFound, format!("this gate does not listen for {what}"));
    SqlError { sqlstate: refusal.reason.sqlstate().to_owned(), message: refusal.to_string(), ..SqlError::default() }
}

fn shown(answer: Answer) -> SqlAnswer {
    let Answer { columns, rows, more, done, error, transaction } = answer;
    let transaction = match transaction {
        Transaction::None => SqlTransaction::None,
        Transaction::Open => SqlTransaction::Open,
        Transaction::Failed => SqlTransaction::Failed,
    };
    SqlAnswer { columns, rows, more, done, error: error.map(failed), transaction }
}

fn failed(error: Failed) -> SqlError {
    let Failed { sqlstate, message, detail, hint, position } = error;
    SqlError { sqlstate, message, detail, hint, position }
}
