//! The store as everybody holds it: opened once, cloned freely.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use access::row::{Column, Row};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{mpsc, oneshot};

use crate::change::{Change, Line, Prepared, Write};
use crate::commit::{self, Committed, Failure, log_entries, perform};
use crate::database::{Connection, Sql};
use crate::error::{CommitError, StoreError, is_transient};
use crate::log::{self, Sequenced};
use crate::schema;
use crate::select::Select;
use crate::url::StoreUrl;
use crate::writer::{Job, Writer};

/// How the store is run.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Connections to read with (and, on PostgreSQL, to write with).
    pub connections: u32,
    /// Changes that wait for the writer at most; then who commits waits before that. SQLite only.
    pub queue: usize,
    /// Changes that one transaction keeps at most. SQLite only.
    pub group: usize,
    /// How long to wait for a free connection or a locked file.
    pub patience: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { connections: 8, queue: 1024, group: 256, patience: Duration::from_secs(5) }
    }
}

/// The store. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    inner: Inner,
}

#[derive(Clone)]
enum Inner {
    Sqlite { readers: SqlitePool, writer: mpsc::Sender<Job> },
    Postgres { pool: PgPool },
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.inner {
            Inner::Sqlite { .. } => "Store(sqlite)",
            Inner::Postgres { .. } => "Store(postgres)",
        })
    }
}

/// Something to write in one transaction.
pub(crate) enum Work {
    /// A change with its entries.
    Change(Arc<Prepared>),
    /// Statements on ephemeral tables.
    Ephemeral(Arc<Vec<Write>>),
    /// Places in the tree for entries that have none yet, at most so many.
    Sequence(i64),
    /// The end of writing.
    Close,
}

/// What came of it.
pub(crate) enum Done {
    Change(Box<Committed>),
    /// Rows changed by each statement.
    Ephemeral(Vec<u64>),
    Sequence(Vec<Sequenced>),
    Closed,
}

impl Work {
    /// The entries that are to be written before the transaction commits, if the work was done.
    pub(crate) fn lines(&self) -> &[Line] {
        match self {
            Self::Change(change) => &change.lines,
            Self::Ephemeral(_) | Self::Sequence(_) | Self::Close => &[],
        }
    }

    /// Whether it looks at the log, which then has to hold what was done before.
    pub(crate) fn reads_log(&self) -> bool {
        match self {
            Self::Change(change) => !change.writes.is_empty(),
            Self::Sequence(_) => true,
            Self::Ephemeral(_) | Self::Close => false,
        }
    }

    /// Whether it may stand for a moment, until other work shares its wait for the disk.
    pub(crate) fn may_stand(&self) -> bool {
        match self {
            Self::Change(change) => change.in_no_hurry,
            Self::Sequence(_) => true,
            Self::Ephemeral(_) | Self::Close => false,
        }
    }

    /// Does all but write the entries.
    pub(crate) async fn perform(&self, db: &mut Connection<'_>) -> Result<Done, Failure> {
        match self {
            Self::Change(change) => Ok(Done::Change(Box::new(perform(db, change).await?))),
            Self::Ephemeral(writes) => {
                let mut changed = Vec::with_capacity(writes.len());
                for write in writes.iter() {
                    changed.push(db.execute(&write.sql, &write.args).await?);
                }
                Ok(Done::Ephemeral(changed))
            }
            Self::Sequence(limit) => log::sequence(db, *limit).await.map(Done::Sequence),
            Self::Close => Ok(Done::Closed),
        }
    }
}

const OPEN: &str = "open the store";
const READ: &str = "read the store";

impl Store {
    /// Opens the store, makes it if it is a file that isn't there, and brings its schema up to date.
    ///
    /// # Errors
    /// If it can't be reached or was written by a newer release.
    pub async fn open(url: &StoreUrl, options: StoreOptions) -> Result<Self, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => Self::open_sqlite(path, &options).await,
            StoreUrl::Postgres(server) => {
                let server = server.as_ref().clone().application_name("tidegate").disable_statement_logging();
                let failed = |error| StoreError::from_sqlx(OPEN, error);
                // By itself: a pool would go on trying, and then only say that it waited.
                let mut connection = server.connect().await.map_err(failed)?;
                let mut transaction = connection.begin().await.map_err(failed)?;
                schema::migrate(&mut Connection::Postgres(&mut transaction)).await?;
                transaction.commit().await.map_err(failed)?;
                connection.close().await.map_err(failed)?;
                let pool =
                    PgPoolOptions::new().max_connections(options.connections).acquire_timeout(options.patience).connect_lazy_with(server);
                Ok(Self { inner: Inner::Postgres { pool } })
            }
        }
    }

    async fn open_sqlite(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let failed = |error| StoreError::from_sqlx(OPEN, error);
        let file = SqliteConnectOptions::new()
            .filename(path)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(options.patience)
            .statement_cache_capacity(256)
            // Pages of 4 KiB: into the database after 16 MiB, and 32 MiB of them in memory, so that a large group need not
            // be spilled.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("cache_size", "-32768")
            // What is erased is overwritten, not only let go.
            .pragma("secure_delete", "on")
            .disable_statement_logging();
        private(path)?;
        let mut connection = file.connect().await.map_err(failed)?;
        {
            let mut db = Connection::Sqlite(&mut connection);
            db.execute(&"BEGIN IMMEDIATE".into(), &[]).await.map_err(failed)?;
            schema::migrate(&mut db).await?;
            db.execute(&"COMMIT".into(), &[]).await.map_err(failed)?;
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(options.connections)
            .acquire_timeout(options.patience)
            // A file of this machine does not hang up; to ask it first costs as much as to read.
            .test_before_acquire(false)
            .connect_with(file.clone().pragma("query_only", "on"))
            .await
            .map_err(failed)?;
        let (writer, queue) = mpsc::channel(options.queue.max(1));
        tokio::spawn(Writer::new(file, connection, options.group.max(1))?.run(queue));
        Ok(Self { inner: Inner::Sqlite { readers, writer } })
    }

    /// Keeps a change: its entries, the rows that follow from them, and what else it writes, in one transaction.
    ///
    /// What was begun is finished even if the caller stops waiting.
    ///
    /// # Errors
    /// If somebody was faster, a step doesn't exist, or the store can't be written. Then nothing is kept.
    pub async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        match self.work(Work::Change(Arc::new(change.prepare()?))).await? {
            Done::Change(committed) => Ok(*committed),
            _ => Err(StoreError::said(commit::ACT, "the writer answered something else").into()),
        }
    }

    /// Ends writing after what waits is kept, and closes every connection. All clones are closed with it.
    pub async fn close(&self) {
        match &self.inner {
            Inner::Sqlite { readers, writer } => {
                let (reply, closed) = oneshot::channel();
                readers.close().await;
                if writer.send(Job { work: Work::Close, reply }).await.is_ok() {
                    let _ended = closed.await;
                }
                writer.closed().await;
            }
            Inner::Postgres { pool } => pool.close().await,
        }
    }

    pub(crate) async fn work(&self, work: Work) -> Result<Done, CommitError> {
        match &self.inner {
            Inner::Sqlite { writer, .. } => {
                const ENDED: &str = "the store's writer has ended; start the gate again";
                let (reply, outcome) = oneshot::channel();
                writer.send(Job { work, reply }).await.map_err(|_| StoreError::said(commit::ACT, ENDED))?;
                outcome.await.map_err(|_| StoreError::said(commit::ACT, ENDED))?
            }
            Inner::Postgres { pool } => {
                let pool = pool.clone();
                let working = tokio::spawn(async move { on_postgres(&pool, &work).await });
                working.await.map_err(|_| StoreError::said(commit::ACT, "the writer ended in the middle; nothing was kept"))?
            }
        }
    }

    pub(crate) async fn ephemeral(&self, writes: Vec<(&str, Vec<Column>)>) -> Result<Vec<u64>, StoreError> {
        let writes = writes.into_iter().map(|(sql, args)| Write { sql: sql.into(), args, must: None }).collect();
        match self.work(Work::Ephemeral(Arc::new(writes))).await {
            Ok(Done::Ephemeral(changed)) => Ok(changed),
            Ok(_) => Err(StoreError::said(commit::ACT, "the writer answered something else")),
            Err(CommitError::Unavailable(error)) => Err(error),
            Err(other) => Err(StoreError::said(commit::ACT, other.to_string())),
        }
    }

    /// Whether it is a PostgreSQL server.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.inner, Inner::Postgres { .. })
    }

    /// Rows of an answer, as columns.
    pub(crate) async fn query(&self, sql: &Sql, args: &[Column]) -> Result<Vec<Vec<Column>>, StoreError> {
        #[cfg(test)]
        crate::plans::note(sql, args);
        let rows = match &self.inner {
            Inner::Sqlite { readers, .. } => match readers.acquire().await {
                Ok(mut reader) => Connection::Sqlite(&mut reader).fetch(sql, args).await,
                Err(error) => Err(error),
            },
            Inner::Postgres { pool } => match pool.acquire().await {
                Ok(mut connection) => Connection::Postgres(&mut connection).fetch(sql, args).await,
                Err(error) => Err(error),
            },
        };
        rows.map_err(|e| StoreError::from_sqlx(READ, e))
    }

    /// Rows of one kind.
    pub(crate) async fn select<R: Row>(&self, select: Select) -> Result<Vec<R>, StoreError> {
        let (sql, args) = select.sql::<R>();
        self.query(&sql, &args).await?.iter().map(|columns| Ok(R::from_columns(columns)?)).collect()
    }

    /// The first of them.
    pub(crate) async fn first<R: Row>(&self, select: Select) -> Result<Option<R>, StoreError> {
        Ok(self.select(select.limit(1)).await?.into_iter().next())
    }

    /// Does several reads on one unchanging view of the store.
    pub(crate) async fn snapshot<T>(&self, reads: impl AsyncFnOnce(&mut Connection<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let failed = |e| StoreError::from_sqlx(READ, e);
        match &self.inner {
            Inner::Sqlite { readers, .. } => {
                let mut transaction = readers.begin().await.map_err(failed)?;
                let out = reads(&mut Connection::Sqlite(&mut transaction)).await;
                transaction.rollback().await.map_err(failed)?;
                out
            }
            Inner::Postgres { pool } => {
                let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(failed)?;
                let out = reads(&mut Connection::Postgres(&mut transaction)).await;
                transaction.rollback().await.map_err(failed)?;
                out
            }
        }
    }
}

/// Makes the file if it isn't there, readable for its owner alone: it holds sealed secrets and what verifies tokens.
pub(crate) fn private(path: &Path) -> Result<(), StoreError> {
    match std::fs::File::options().create(true).truncate(false).write(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) => {
            let what = format!("`{}` can't be made or written ({error}); check that its directory exists and who owns it", path.display());
            Err(StoreError::said(OPEN, what))
        }
    }
}

/// One transaction for one piece of work; again, a few times, if the server asks for that.
async fn on_postgres(pool: &PgPool, work: &Work) -> Result<Done, CommitError> {
    const TRIES: u32 = 10;
    let failed = |error| CommitError::from(StoreError::from_sqlx(commit::ACT, error));
    let mut tries = 0;
    loop {
        tries += 1;
        let mut transaction = pool.begin().await.map_err(failed)?;
        let mut db = Connection::Postgres(&mut transaction);
        let mut outcome = work.perform(&mut db).await;
        if outcome.is_ok()
            && let Err(error) = log_entries(&mut db, &work.lines().iter().collect::<Vec<_>>()).await
        {
            outcome = Err(error.into());
        }
        let error = match outcome {
            Ok(done) => match transaction.commit().await {
                Ok(()) => return Ok(done),
                Err(error) if error.as_database_error().is_none() => {
                    return Err(StoreError::Unknown { source: Arc::new(error) }.into());
                }
                Err(error) => error,
            },
            Err(Failure::Change(error)) => return Err(error),
            Err(Failure::Database(error)) => error,
        };
        if tries == TRIES || !is_transient(&error) {
            return Err(failed(error));
        }
    }
}
