//! A terminal and a SQL prompt in the browser.

use access::ids::SessionId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// Which kind of console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleKind {
    /// A shell, through the door of SSH.
    Terminal,
    /// A prompt, through the door of PostgreSQL.
    Sql,
    /// A prompt, through the door of MySQL and MariaDB.
    Mysql,
}

/// A console to be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConsole {
    /// Which kind.
    pub kind: ConsoleKind,
    /// Where to and as what: `resource[+role]`.
    #[schema(max_length = 127)]
    pub to: String,
    /// Of a terminal: columns, 80 if none are named.
    #[schema(minimum = 2, maximum = 500)]
    pub cols: Option<u32>,
    /// Of a terminal: rows, 24 if none are named.
    #[schema(minimum = 2, maximum = 300)]
    pub rows: Option<u32>,
    /// Of a terminal: the live session to be joined, to the same resource as the same role; without it a shell of one's own.
    #[schema(value_type = Option<schema::SessionId>)]
    pub join: Option<SessionId>,
    /// Of a SQL prompt: the database; the resource's if none is named.
    #[schema(max_length = 63)]
    pub database: Option<String>,
    /// Of a SQL prompt: why, for who has no grant yet. A terminal asks for it by itself.
    #[schema(max_length = 4000)]
    pub reason: Option<String>,
}

/// One event of a console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum ConsoleEvent {
    /// It stands; a terminal asks and shows from now on, a SQL prompt may still wait for its door.
    Opened {
        /// Under which id what is typed is sent.
        id: String,
    },
    /// A terminal shows something.
    Output {
        /// Bytes, base64.
        data: String,
    },
    /// A SQL prompt takes statements.
    Ready,
    /// A SQL prompt is told something.
    Notice {
        /// What.
        text: String,
    },
    /// What came of a statement.
    Answer {
        /// That.
        answer: SqlAnswer,
    },
    /// It is over.
    Ended {
        /// The exit status of a shell.
        exit_status: Option<u32>,
        /// What ended it, if it did not end by itself.
        error: Option<SqlError>,
    },
}

/// What is typed into a terminal, or its new size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleInput {
    /// Bytes, base64.
    #[schema(max_length = 90000)]
    pub data: Option<String>,
    /// Columns.
    #[schema(minimum = 2, maximum = 500)]
    pub cols: Option<u32>,
    /// Rows.
    #[schema(minimum = 2, maximum = 300)]
    pub rows: Option<u32>,
}

/// A statement for a SQL prompt. Its answer is an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStatement {
    /// One statement.
    #[schema(max_length = 500000)]
    pub text: String,
    /// How many rows to show at most; 500 if none are named.
    #[schema(minimum = 1, maximum = 5000)]
    pub rows: Option<u32>,
}

/// What came of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SqlAnswer {
    /// The columns' names; empty if it has no rows.
    pub columns: Vec<String>,
    /// Values as text, `null` for NULL. Text of others: whoever shows it escapes it.
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether there are more rows than are shown, or something was too large to be shown whole.
    pub more: bool,
    /// What was done, as in `UPDATE 3` or `3 rows affected`.
    pub done: Option<String>,
    /// What went wrong.
    pub error: Option<SqlError>,
    /// Whether a transaction is open now.
    pub transaction: SqlTransaction,
}

/// Whether a transaction is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SqlTransaction {
    /// None.
    #[default]
    None,
    /// One is.
    Open,
    /// One is, and failed: nothing but its end is taken.
    Failed,
}

/// An error, of the server's or the gate's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SqlError {
    /// Its code.
    pub sqlstate: String,
    /// The error.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
}
