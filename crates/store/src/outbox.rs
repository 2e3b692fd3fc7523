//! Messages that wait to be delivered. Ephemeral: no entry of the log speaks of a row, but each row speaks of an entry.
//!
//! A message is written in the transaction of the change it tells of ([`crate::Change::tell`]), so that a crash loses none. It
//! holds no text: what is sent is made from its entry when it is delivered, and what was erased there is not sent.

use access::ids::{DeliveryId, EntryId};
use access::outbox::OutboxState;
use access::row::{Column, ColumnError, Field, Row};
use jiff::Timestamp;

use crate::database::Sql;
use crate::error::StoreError;
use crate::select::{Page, Select};
use crate::store::Store;
use crate::table::names;

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// `dlv_…`: the same however often it is sent.
    pub id: DeliveryId,
    /// Where to: `webhook:NAME`, `slack`, `teams`, `mail`.
    pub destination: String,
    /// What is to be said there.
    pub task: String,
    /// Messages of one lane of a destination are delivered one after the other, in order.
    pub lane: String,
    /// The entry it tells of.
    pub entry: EntryId,
    /// That entry's event.
    pub event: String,
    /// How far it has come.
    pub state: OutboxState,
    /// How often it was tried.
    pub attempts: i64,
    /// When it is to be tried next.
    pub due_at: Timestamp,
    /// Since when it is tried: when it was made, or last sent again by hand.
    pub since: Timestamp,
    /// Who delivers it just now …
    pub claimed_by: Option<String>,
    /// … and until when nobody else does.
    pub claimed_until: Option<Timestamp>,
    /// Why it was not delivered the last time.
    pub error: Option<String>,
    /// Since when it waits.
    pub created_at: Timestamp,
    /// Since when it does not any more.
    pub done_at: Option<Timestamp>,
}

impl Row for OutboxRow {
    const TABLE: &'static str = "outbox";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "destination",
        "task",
        "lane",
        "entry",
        "event",
        "state",
        "attempts",
        "due_at",
        "since",
        "claimed_by",
        "claimed_until",
        "error",
        "created_at",
        "done_at",
    ];

    fn to_columns(&self) -> Vec<Column> {
        vec![
            self.id.to_column(),
            self.destination.to_column(),
            self.task.to_column(),
            self.lane.to_column(),
            self.entry.to_column(),
            self.event.to_column(),
            self.state.to_column(),
            self.attempts.to_column(),
            self.due_at.to_column(),
            self.since.to_column(),
            self.claimed_by.to_column(),
            self.claimed_until.to_column(),
            self.error.to_column(),
            self.created_at.to_column(),
            self.done_at.to_column(),
        ]
    }

    fn from_columns(columns: &[Column]) -> Result<Self, ColumnError> {
        Ok(Self {
            id: field(columns, 0)?,
            destination: field(columns, 1)?,
            task: field(columns, 2)?,
            lane: field(columns, 3)?,
            entry: field(columns, 4)?,
            event: field(columns, 5)?,
            state: field(columns, 6)?,
            attempts: field(columns, 7)?,
            due_at: field(columns, 8)?,
            since: field(columns, 9)?,
            claimed_by: field(columns, 10)?,
            claimed_until: field(columns, 11)?,
            error: field(columns, 12)?,
            created_at: field(columns, 13)?,
            done_at: field(columns, 14)?,
        })
    }
}

fn field<F: Field>(columns: &[Column], place: usize) -> Result<F, ColumnError> {
    let column = columns.get(place).unwrap_or(&Column::Null);
    F::from_column(column).ok_or_else(|| ColumnError {
        table: OutboxRow::TABLE,
        column: OutboxRow::COLUMNS.get(place).copied().unwrap_or_default(),
        found: column.to_string(),
        wanted: std::any::type_name::<F>(),
    })
}

/// What is to be told of an entry, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// Its id, however often it is sent.
    pub id: DeliveryId,
    /// Where to.
    pub destination: String,
    /// What is to be said there.
    pub task: String,
    /// In order with what else is said in this lane; `None`: it stands for itself.
    pub lane: Option<String>,
}

/// Which messages to list.
#[derive(Debug, Clone, Default)]
pub struct OutboxFilter {
    /// In this state.
    pub state: Option<OutboxState>,
    /// To this destination.
    pub destination: Option<String>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// It was taken.
    Delivered,
    /// It is to be tried again, then, because of this.
    Again(Timestamp, String),
    /// It never will be, because of this.
    Dead(String),
}

/// How many messages of a destination are in a state, and since when the oldest of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxCount {
    /// Which destination.
    pub destination: String,
    /// Which state.
    pub state: OutboxState,
    /// How many.
    pub count: u64,
    /// The oldest's time.
    pub oldest: Timestamp,
}

const CLAIM: &str = "\
UPDATE outbox SET claimed_by = $1, claimed_until = $2, attempts = attempts + 1 \
WHERE state = 'waiting' AND due_at <= $3 AND (claimed_until IS NULL OR claimed_until <= $3) AND id IN (\
SELECT n.id FROM outbox n WHERE n.destination = $4 AND n.state = 'waiting' AND n.due_at <= $3 \
AND (n.claimed_until IS NULL OR n.claimed_until <= $3) AND NOT EXISTS (\
SELECT 1 FROM outbox e WHERE e.destination = n.destination AND e.lane = n.lane \
AND e.state = 'waiting' AND e.seq < n.seq) \
ORDER BY n.due_at, n.seq LIMIT $5)";

/// What a new message starts as.
pub(crate) fn told(telling: &Telling, entry: EntryId, event: &str, at: Timestamp) -> OutboxRow {
    OutboxRow {
        id: telling.id,
        destination: telling.destination.clone(),
        task: telling.task.clone(),
        lane: telling.lane.clone().unwrap_or_else(|| telling.id.to_string()),
        entry,
        event: event.to_owned(),
        state: OutboxState::Waiting,
        attempts: 0,
        due_at: at,
        since: at,
        claimed_by: None,
        claimed_until: None,
        error: None,
        created_at: at,
        done_at: None,
    }
}

/// A finished message waits again, as if it were new.
pub(crate) const REPLAY: &str = "\
UPDATE outbox SET state = 'waiting', due_at = $2, since = $2, attempts = 0, claimed_by = NULL, claimed_until = NULL, done_at = NULL \
WHERE id = $1 AND state <> 'waiting'";

impl Store {
    /// Takes up to `limit` due messages of a destination, the first of each lane, for whoever calls itself `by` and nobody else until
    /// `until`.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn claim_outbox(
        &self,
        destination: &str,
        by: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let args = vec![
            Column::Text(by.to_owned()),
            until.to_column(),
            now.to_column(),
            Column::Text(destination.to_owned()),
            Column::Int(limit.into()),
        ];
        if self.ephemeral(vec![(CLAIM, args)]).await? == [0] {
            return Ok(Vec::new());
        }
        self.select(Select::all().is("claimed_by", &by.to_owned()).is("state", &OutboxState::Waiting).order("seq")).await
    }

    /// Adds messages that are there in no other way: each once, by its id, however often it is added.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn add_messages(&self, rows: &[OutboxRow]) -> Result<(), StoreError> {
        let sql = format!("{} ON CONFLICT (id) DO NOTHING", crate::table::insert_row::<OutboxRow>());
        let writes = rows.iter().map(|row| (sql.as_str(), row.to_columns())).collect::<Vec<_>>();
        if writes.is_empty() {
            return Ok(());
        }
        self.ephemeral(writes).await.map(drop)
    }

    /// The lanes of a destination that begin so, each once.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn outbox_lanes(&self, destination: &str, begin: &str) -> Result<Vec<String>, StoreError> {
        // `~` follows every character that a lane has.
        let sql: Sql = "SELECT DISTINCT lane FROM outbox WHERE destination = $1 AND lane >= $2 AND lane < $3 ORDER BY lane".into();
        let args = [destination, begin, &format!("{begin}~")].map(|text| Column::Text(text.to_owned()));
        Ok(self.query(&sql, &args).await?.into_iter().flatten().filter_map(|column| String::from_column(&column)).collect())
    }

    /// The newest message of a lane.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn newest_message(&self, destination: &str, lane: &str) -> Result<Option<OutboxRow>, StoreError> {
        self.first(Select::all().is("destination", &destination.to_owned()).is("lane", &lane.to_owned()).order("seq DESC")).await
    }

    /// Whether something of a destination is due.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn outbox_is_due(&self, destination: &str, now: Timestamp) -> Result<bool, StoreError> {
        let select = Select::all()
            .is("destination", &destination.to_owned())
            .is("state", &OutboxState::Waiting)
            .compare("due_at", "<=", &now)
            .that("(claimed_until IS NULL OR claimed_until <= ?)", &now);
        Ok(self.first::<OutboxRow>(select.order("seq")).await?.is_some())
    }

    /// Keeps what became of an attempt. Whether it was still this claimant's: if not, somebody else has it now.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn attempted(&self, row: &OutboxRow, what: &Attempted, now: Timestamp) -> Result<bool, StoreError> {
        let by = row.claimed_by.clone().unwrap_or_default();
        let (sql, args) = attempt(row.id, &by, what, now);
        Ok(self.ephemeral(vec![(sql, args)]).await? == [1])
    }

    /// One message.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn outbox_message(&self, id: DeliveryId) -> Result<Option<OutboxRow>, StoreError> {
        self.first(Select::all().is("id", &id)).await
    }

    /// Messages, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn outbox(&self, filter: &OutboxFilter, page: &Page) -> Result<Vec<OutboxRow>, StoreError> {
        let select = Select::all().maybe("state", filter.state.as_ref()).maybe("destination", filter.destination.as_ref());
        self.select(select.page("id", page)).await
    }

    /// How many messages wait and how many were given up, by destination.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn outbox_counts(&self) -> Result<Vec<OutboxCount>, StoreError> {
        let sql: Sql = "SELECT destination, state, COUNT(*), MIN(created_at) FROM outbox WHERE state <> 'delivered' \
                        GROUP BY destination, state ORDER BY destination, state"
            .into();
        let rows = self.query(&sql, &[]).await?;
        Ok(rows
            .iter()
            .filter_map(|row| match row.as_slice() {
                [Column::Text(destination), state, count, oldest] => Some(OutboxCount {
                    destination: destination.clone(),
                    state: OutboxState::from_column(state)?,
                    count: u64::from_column(count)?,
                    oldest: Timestamp::from_column(oldest)?,
                }),
                _ => None,
            })
            .collect())
    }

    /// Forgets what was delivered before one time and given up before another.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn forget_outbox(&self, delivered: Timestamp, dead: Timestamp) -> Result<(), StoreError> {
        let sql = "DELETE FROM outbox WHERE (state = 'delivered' AND done_at < $1) OR (state = 'dead' AND done_at < $2)";
        self.ephemeral(vec![(sql, vec![delivered.to_column(), dead.to_column()])]).await.map(drop)
    }

    /// Where a message about something stands at a chat service, as that calls it; `None`: it was not posted, or that is forgotten.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn posted(&self, subject: &str) -> Result<Option<String>, StoreError> {
        let sql = format!("SELECT {} FROM chat_messages WHERE subject = $1", names(&["place"]));
        let rows = self.query(&sql.into(), &[Column::Text(subject.to_owned())]).await?;
        Ok(rows.into_iter().flatten().next().and_then(|column| String::from_column(&column)))
    }

    /// Remembers where it stands.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn put_posted(&self, subject: &str, place: &str, at: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO chat_messages (subject, place, at) VALUES ($1, $2, $3) \
                   ON CONFLICT (subject) DO UPDATE SET place = excluded.place, at = excluded.at";
        let args = vec![Column::Text(subject.to_owned()), Column::Text(place.to_owned()), at.to_column()];
        self.ephemeral(vec![(sql, args)]).await.map(drop)
    }

    /// Forgets where messages posted before this time stand.
    ///
    /// # Errors
    /// If the store can't be written.
    pub async fn forget_posted(&self, before: Timestamp) -> Result<(), StoreError> {
        self.ephemeral(vec![("DELETE FROM chat_messages WHERE at < $1", vec![before.to_column()])]).await.map(drop)
    }
}

/// What an attempt writes, if the message still is this claimant's.
pub(crate) fn attempt(id: DeliveryId, by: &str, what: &Attempted, now: Timestamp) -> (&'static str, Vec<Column>) {
    let (id, by) = (id.to_column(), Column::Text(by.to_owned()));
    match what {
        Attempted::Delivered => (
            "UPDATE outbox SET state = 'delivered', done_at = $3, claimed_by = NULL, claimed_until = NULL, error = NULL \
             WHERE id = $1 AND claimed_by = $2 AND state = 'waiting'",
            vec![id, by, now.to_column()],
        ),
        Attempted::Again(due, why) => (
            "UPDATE outbox SET due_at = $3, error = $4, claimed_by = NULL, claimed_until = NULL \
             WHERE id = $1 AND claimed_by = $2 AND state = 'waiting'",
            vec![id, by, due.to_column(), Column::Text(why.clone())],
        ),
        Attempted::Dead(why) => (
            "UPDATE outbox SET state = 'dead', done_at = $3, error = $4, claimed_by = NULL, claimed_until = NULL \
             WHERE id = $1 AND claimed_by = $2 AND state = 'waiting'",
            vec![id, by, now.to_column(), Column::Text(why.clone())],
        ),
    }
}
