//! A store of each kind, and a way into its database behind its back.

use sqlx::{AssertSqlSafe, Executor, PgPool, Row, SqlitePool};
use tempfile::TempDir;
use testkit::postgres::Database;
use tidegate_store::{Store, StoreOptions, StoreUrl};

/// A store and what it stands on.
pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) url: StoreUrl,
    /// The database, without the gate.
    pub(crate) behind: Behind,
    pub(crate) place: Place,
}

pub(crate) enum Place {
    File(TempDir),
    Server(Database),
}

pub(crate) enum Behind {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Behind {
    pub(crate) async fn run(&self, sql: &str) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(db) => db.execute(AssertSqlSafe(sql)).await.map(|r| r.rows_affected()),
            Self::Postgres(db) => db.execute(AssertSqlSafe(sql)).await.map(|r| r.rows_affected()),
        }
    }

    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        match self {
            Self::Sqlite(db) => db.fetch_one(AssertSqlSafe(sql)).await.unwrap().get(0),
            Self::Postgres(db) => db.fetch_one(AssertSqlSafe(sql)).await.unwrap().get(0),
        }
    }

    /// Every table there is.
    pub(crate) async fn tables(&self) -> Vec<String> {
        match self {
            Self::Sqlite(db) => {
                let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
                sqlx::query_scalar(sql).fetch_all(db).await.unwrap()
            }
            Self::Postgres(db) => {
                let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
                sqlx::query_scalar(sql).fetch_all(db).await.unwrap()
            }
        }
    }

    /// A table's columns, in order.
    pub(crate) async fn columns(&self, table: &str) -> Vec<String> {
        match self {
            Self::Sqlite(db) => {
                let sql = "SELECT name FROM pragma_table_info($1) ORDER BY cid";
                sqlx::query_scalar(sql).bind(table).fetch_all(db).await.unwrap()
            }
            Self::Postgres(db) => {
                let sql = "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position";
                sqlx::query_scalar(sql).bind(table).fetch_all(db).await.unwrap()
            }
        }
    }

    /// Takes the walls down that keep the log as it is, as somebody with the database's password could.
    pub(crate) async fn unlock_log(&self) {
        let sql = match self {
            Self::Sqlite(_) => "DROP TRIGGER entries_never_emptied; DROP TRIGGER entries_append_only",
            Self::Postgres(_) => "ALTER TABLE entries DISABLE TRIGGER ALL",
        };
        self.run(sql).await.unwrap();
    }
}

impl Stage {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store.db");
        let url = StoreUrl::Sqlite(file.clone());
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let behind = SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
        Self { store, url, behind: Behind::Sqlite(behind), place: Place::File(directory) }
    }

    pub(crate) async fn postgres() -> Self {
        let database = Database::fresh().await.unwrap();
        let url: StoreUrl = database.url().parse().unwrap();
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let behind = PgPool::connect(&database.url()).await.unwrap();
        Self { store, url, behind: Behind::Postgres(behind), place: Place::Server(database) }
    }

    /// The same store, opened once more as another process would.
    pub(crate) async fn again(&self) -> Store {
        Store::open(&self.url, StoreOptions::default()).await.unwrap()
    }
}

/// The same test on both databases.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($stage:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every test needs all that its file imports")]
            use super::*;
            use $crate::stage::Stage;

            async fn contract($stage: Stage) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                contract(Stage::sqlite().await).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                contract(Stage::postgres().await).await;
            }
        }
    )*};
}
