//! The one writer of a SQLite store: takes work from a bounded queue and keeps as much as waits in one transaction.
//!
//! One `fsync` then serves many changes. A change that can't be kept leaves the others alone. What nobody waits for has none to itself
//! while somebody is about to wait for one.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::commit::{self, Failure};
use crate::database::Connection;
use crate::error::{CommitError, StoreError};
use crate::store::{Done, Work};

/// How long work stands at most that is in no hurry. Other work that comes takes it along at once.
const STANDS: Duration = Duration::from_millis(20);

/// Work and where its outcome goes. Who asked may have gone meanwhile; the work is done all the same.
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Result<Done, CommitError>>,
}

/// The writer's side of the file.
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    path: PathBuf,
    /// Which file it was when the store was opened: a file that was moved away is not written any more.
    inode: (u64, u64),
    connection: Option<SqliteConnection>,
    group: usize,
}

impl Writer {
    pub(crate) fn new(options: SqliteConnectOptions, connection: SqliteConnection, group: usize) -> Result<Self, StoreError> {
        let path = options.get_filename().to_owned();
        let inode = inode(&path)?;
        Ok(Self { options, path, inode, connection: Some(connection), group })
    }

    /// Works until every sender is gone or one asks for the end.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(self.group);
        while queue.recv_many(&mut jobs, self.group).await > 0 {
            let room = self.group - jobs.len();
            if room > 0 && jobs.iter().all(|job| job.work.may_stand()) {
                let _alone = timeout(STANDS, queue.recv_many(&mut jobs, room)).await;
            }
            let end = jobs.iter().any(|job| matches!(job.work, Work::Close));
            self.keep(std::mem::take(&mut jobs)).await;
            if end {
                break;
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store did not close in order; it recovers at the next start");
        }
    }

    async fn keep(&mut self, mut jobs: Vec<Job>) {
        let outcome = self.transaction(&jobs).await;
        match outcome {
            Ok(results) => {
                for (job, result) in jobs.into_iter().zip(results) {
                    // An error here is a caller that no longer waits.
                    let _gone = job.reply.send(result);
                }
            }
            // One of many may be what the database chokes on: each by itself, so that it fails alone.
            Err(_) if jobs.len() > 1 => {
                for job in jobs.drain(..) {
                    Box::pin(self.keep(vec![job])).await;
                }
            }
            Err(error) => {
                for job in jobs {
                    let _gone = job.reply.send(Err(error.clone().into()));
                }
            }
        }
    }

    /// Everything in one transaction. After an error nothing of it is kept.
    async fn transaction(&mut self, jobs: &[Job]) -> Result<Vec<Result<Done, CommitError>>, StoreError> {
        if inode(&self.path)? != self.inode {
            return Err(StoreError::said(commit::ACT, "the store's file was replaced under the gate; start the gate again"));
        }
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(|e| StoreError::from_sqlx("open the store", e))?,
        };
        let outcome = in_transaction(&mut connection, jobs).await;
        match outcome {
            Ok(results) => {
                self.connection = Some(connection);
                Ok(results)
            }
            Err(error) => {
                // Rolling back fails if SQLite already did; a connection that is not clean afterwards is not used again.
                let _already = Connection::Sqlite(&mut connection).script("ROLLBACK").await;
                let _closed = connection.close().await;
                Err(StoreError::from_sqlx(commit::ACT, error))
            }
        }
    }
}

async fn in_transaction(connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Vec<Result<Done, CommitError>>, sqlx::Error> {
    let mut db = Connection::Sqlite(connection);
    db.execute(&"BEGIN IMMEDIATE".into(), &[]).await?;
    let (mut results, mut lines) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
    for job in jobs {
        if job.work.reads_log() {
            commit::log_entries(&mut db, &std::mem::take(&mut lines)).await?;
        }
        match job.work.perform(&mut db).await {
            Ok(done) => {
                results.push(Ok(done));
                lines.extend(job.work.lines());
            }
            Err(Failure::Change(error)) => results.push(Err(error)),
            Err(Failure::Database(error)) => return Err(error),
        }
    }
    commit::log_entries(&mut db, &lines).await?;
    db.execute(&"COMMIT".into(), &[]).await?;
    Ok(results)
}

fn inode(path: &std::path::Path) -> Result<(u64, u64), StoreError> {
    match std::fs::metadata(path) {
        Ok(file) => Ok((file.dev(), file.ino())),
        Err(error) => {
            Err(StoreError::said(commit::ACT, format!("the store's file is gone ({error}); put it back and start the gate again")))
        }
    }
}
