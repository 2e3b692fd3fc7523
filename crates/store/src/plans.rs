//! What the databases do for a page of a list: found by the plan that they make at 50,000 rows, on both. For tests alone.

use std::cell::RefCell;

use access::event::Actor;
use access::row::Column;
use jiff::Timestamp;
use testkit::postgres::Database;

use crate::database::{Connection, Sql};
use crate::{EntryFilter, EntryPage, GrantFilter, Page, RequestFilter, SessionFilter, Store, StoreOptions, StoreUrl};

thread_local! {
    static ASKED: RefCell<Vec<(Sql, Vec<Column>)>> = const { RefCell::new(Vec::new()) };
}

/// Something was asked of the store.
pub(crate) fn note(sql: &Sql, args: &[Column]) {
    ASKED.with_borrow_mut(|asked| asked.push((sql.clone(), args.to_vec())));
}

const ROWS: u32 = 50_000;
const TABLES: [&str; 6] = ["people", "requests", "grants", "sessions", "entry_mentions", "entries"];

/// A column's value in the row `n`: ids that sort, a few resources and roles, states of which few are open.
fn value(table: &str, column: &str, n: u32) -> Column {
    let id = |prefix: &str, n: u32| Column::Text(format!("{prefix}_{n:026}"));
    let open = n.is_multiple_of(500);
    let text = |text: &str| Column::Text(text.to_owned());
    match (table, column) {
        ("people", "id") => id("usr", n),
        // What is open is open once for each.
        (_, "person") => id("usr", if open { n } else { n % 2_000 }),
        ("requests", "id") | (_, "request") => id("req", n),
        ("grants", "id") | (_, "grant") => id("grt", n),
        ("sessions", "id") => id("ses", n),
        ("entries", "id") => id("ent", n),
        (_, "recording") => id("rec", n),
        ("entry_mentions", "mention") => Column::Int(i64::from(n % 5_000)),
        ("entries" | "entry_mentions", "seq") | ("entries", "leaf_index") => Column::Int(i64::from(n)),
        ("requests", "ticket") => Column::Text(format!("INC-{}", n % 5_000)),
        (_, "username") => Column::Text(format!("somebody-{n}")),
        (_, "resource") => Column::Text(format!("db-{}", n % 400)),
        (_, "role") => text(if n.is_multiple_of(3) { "shell" } else { "debug" }),
        (_, "actor") => id("usr", n % 2_000),
        ("entries", "name") => {
            text(["session.opened", "session.ended", "grant.created", "recording.progress", "request.submitted"][n as usize % 5])
        }
        ("people", "state") => text("active"),
        ("requests", "state") => text(if open { "pending" } else { "approved" }),
        ("grants", "state") => text(if open { "active" } else { "ended" }),
        ("sessions", "state") => text(if open { "live" } else { "ended" }),
        (_, "submitted_at" | "opened_at" | "at" | "created_at" | "expires_at" | "activate_by") => Column::Int(i64::from(n) * 1_000_000),
        (_, "protocol") => text("ssh"),
        _ => Column::Null,
    }
}

/// The columns of a table that may not be empty and hold a number.
async fn shape(db: &mut Connection<'_>, table: &str) -> Vec<(String, bool, bool)> {
    let sql = if db.is_postgres() {
        "SELECT column_name::text, data_type::text, CASE is_nullable WHEN 'NO' THEN 1::bigint ELSE 0::bigint END FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position"
    } else {
        "SELECT name, type, \"notnull\" FROM pragma_table_info($1) ORDER BY cid"
    };
    let rows = db.fetch(&sql.into(), &[Column::Text(table.to_owned())]).await.unwrap();
    let read = |row: Vec<Column>| match row.as_slice() {
        [Column::Text(name), Column::Text(kind), Column::Int(must)] => {
            (name.clone(), kind.to_ascii_lowercase().contains("int"), *must == 1 || name == "seq")
        }
        other => panic!("{other:?}"),
    };
    rows.into_iter().map(read).collect()
}

/// Rows for every list, behind the gate's back: what they say need not be a story.
async fn fill(db: &mut Connection<'_>) {
    if !db.is_postgres() {
        let triggers = db.fetch(&"SELECT name FROM sqlite_master WHERE type = 'trigger'".into(), &[]).await.unwrap();
        for name in triggers.into_iter().flatten() {
            let Column::Text(name) = name else { panic!("{name:?}") };
            db.script(&format!("DROP TRIGGER {name}")).await.unwrap();
        }
    }
    for table in TABLES {
        let shape = shape(db, table).await;
        assert!(!shape.is_empty(), "{table}");
        if db.is_postgres() {
            db.script(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL")).await.unwrap();
        }
        let names: Vec<String> = shape.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
        for from in (0..ROWS).step_by(500) {
            let literal = |n: u32| {
                let values = shape.iter().map(|(name, number, must)| match value(table, name, n) {
                    Column::Int(number) => number.to_string(),
                    Column::Text(text) => format!("'{text}'"),
                    Column::Null if *must && *number => "0".to_owned(),
                    Column::Null if *must => "'{}'".to_owned(),
                    Column::Null => "NULL".to_owned(),
                });
                format!("({})", values.collect::<Vec<_>>().join(","))
            };
            let rows: Vec<String> = (from..from + 500).map(literal).collect();
            db.script(&format!("INSERT INTO {table} ({}) VALUES {}", names.join(","), rows.join(","))).await.unwrap();
        }
    }
    db.script("ANALYZE").await.unwrap();
}

/// Everything that a page of a list asks, in every way that its filters allow for.
async fn ask(store: &Store) {
    let page = Page::first(50);
    let later = |key: &str| page.clone().after(key);
    let person = "usr_00000000000000000000000007".parse().ok();
    let resource = "db-7".parse().ok();
    let at = Timestamp::from_second(49_990).ok();
    let filters = [
        SessionFilter::default(),
        SessionFilter { person, ..SessionFilter::default() },
        SessionFilter { resource, ..SessionFilter::default() },
        SessionFilter { state: "live".parse().ok(), ..SessionFilter::default() },
        SessionFilter { from: at, ..SessionFilter::default() },
        SessionFilter { grant: "grt_00000000000000000000000007".parse().ok(), ..SessionFilter::default() },
        SessionFilter { ticket: Some("INC-7".to_owned()), ..SessionFilter::default() },
        SessionFilter { person, state: "live".parse().ok(), ..SessionFilter::default() },
    ];
    for filter in &filters {
        // What the rows say is no session: only what was asked counts.
        let _ = store.sessions(filter, &page).await;
        let _ = store.sessions(filter, &later("ses_00000000000000000000040000")).await;
    }
    let _ = store.live_sessions().await;
    let _ = store.live_sessions_of_node("one").await;
    for filter in [
        RequestFilter::default(),
        RequestFilter { person, ..RequestFilter::default() },
        RequestFilter { state: "pending".parse().ok(), ..RequestFilter::default() },
        RequestFilter { resource: "db-7".parse().ok(), ..RequestFilter::default() },
    ] {
        let _ = store.requests(&filter, &page).await;
        let _ = store.requests(&filter, &later("req_00000000000000000000040000")).await;
    }
    let _ = store.pending_requests().await;
    for filter in [
        GrantFilter::default(),
        GrantFilter { person, ..GrantFilter::default() },
        GrantFilter { state: "active".parse().ok(), ..GrantFilter::default() },
        GrantFilter { person, state: "active".parse().ok(), ..GrantFilter::default() },
        GrantFilter { resource: "db-7".parse().ok(), ..GrantFilter::default() },
        GrantFilter { open: true, ..GrantFilter::default() },
    ] {
        let _ = store.grants(&filter, &page).await;
        let _ = store.grants(&filter, &later("grt_00000000000000000000040000")).await;
    }
    let _ = store.open_grants().await;
    let _ = store.people(None, &page).await;
    let _ = store.people(None, &later("usr_00000000000000000000040000")).await;
    for filter in [
        EntryFilter::default(),
        EntryFilter { actor: "usr_00000000000000000000000007".parse().ok(), ..EntryFilter::default() },
        EntryFilter { name: Some("grant.".to_owned()), ..EntryFilter::default() },
        EntryFilter { name: Some("session.opened".to_owned()), ..EntryFilter::default() },
        EntryFilter { from: at, ..EntryFilter::default() },
        EntryFilter { mentions: Some("ses_00000000000000000000000007".to_owned()), ..EntryFilter::default() },
        EntryFilter { mentions: Some("db-7".to_owned()), name: Some("session.".to_owned()), ..EntryFilter::default() },
        EntryFilter { mentions: Some("db-7".to_owned()), name: Some("lock.".to_owned()), ..EntryFilter::default() },
        EntryFilter { name: Some("session.opened,lock.,grant.".to_owned()), ..EntryFilter::default() },
        EntryFilter { mentions: Some("db-7".to_owned()), name: Some("session.,grant.".to_owned()), ..EntryFilter::default() },
        EntryFilter { mentions: Some("db-7".to_owned()), name: Some("lock.,review.".to_owned()), ..EntryFilter::default() },
        EntryFilter { mentions: Some("db-7".to_owned()), actor: Some(Actor::Gate), from: at, ..EntryFilter::default() },
    ] {
        for newest_first in [true, false] {
            let _ = store.entries(&filter, EntryPage { limit: 50, after: None, newest_first }).await;
            let _ = store.entries(&filter, EntryPage { limit: 50, after: Some(40_000), newest_first }).await;
        }
    }
    let _ = store.entries_about_any("session.ended", &["ses_00000000000000000000000007".to_owned()]).await;
    let _ = store.entries_from(40_000, 50).await;
    // What is asked about a person each time they do something.
    let since = at.unwrap_or_default();
    let person = person.unwrap();
    let _ = store.asked_since(person, since, 50).await;
    let _ = store.opened_since(person, since, 50).await;
    let _ = store.opened_between(person, (since, since), 50).await;
    let _ = store.large_sessions_since(person, since, 1, 50).await;
    let _ = store.taken_by(None, (&"db-7".parse().unwrap(), &"shell".parse().unwrap()), (since, since), 50).await;
    let _ = store.taken_by(Some(person), (&"db-7".parse().unwrap(), &"shell".parse().unwrap()), (since, since), 50).await;
    let _ = store.refused_sign_ins_since(since, 50).await;
}

/// Whether a plan puts all it found in order before it takes the newest of them, where an index has them in that order.
fn sorts(plan: &[String], sql: &str) -> Option<String> {
    let by_time = ["opened_at DESC", "ended_at DESC", "submitted_at DESC", " at DESC"].iter().any(|order| sql.contains(order));
    plan.iter().find(|line| by_time && (line.contains("TEMP B-TREE") || line.contains("USING INDEX entries_at"))).cloned()
}

/// The indexes that hold just the few rows that are open.
const OF_OPEN: [&str; 3] = ["sessions_live_in_order", "requests_to_decide", "grants_open_in_order"];

/// Why a plan reads a whole table, if it does. To go along an index in the order that is wanted, as far as the page goes, is none: but
/// only where every row is wanted, or the index holds no others.
fn whole(plan: &[String], filtered: bool) -> Option<String> {
    let reads_all = |line: &&String| {
        let scans = line.trim_start().strip_prefix("SCAN ").filter(|table| TABLES.iter().any(|known| table.starts_with(known)));
        let in_order = |table: &str| table.starts_with("entries") || table.contains(" USING ");
        let fine = |table: &str| if filtered { OF_OPEN.iter().any(|index| table.contains(index)) } else { in_order(table) };
        scans.is_some_and(|table| !fine(table)) || line.contains("Seq Scan")
    };
    plan.iter().find(reads_all).cloned()
}

async fn look(db: &mut Connection<'_>, store: &Store) {
    ASKED.take();
    ask(store).await;
    let asked = ASKED.take();
    assert!(asked.len() > 50, "{} questions were asked", asked.len());
    let postgres = db.is_postgres();
    let mut found = Vec::new();
    for (sql, args) in asked {
        let explain: Sql = format!("EXPLAIN {}{}", if postgres { "" } else { "QUERY PLAN " }, sql.text()).into();
        let rows = db.fetch(&explain, &args).await.unwrap();
        let lines = rows
            .into_iter()
            .filter_map(|row| row.into_iter().rev().find_map(|column| if let Column::Text(text) = column { Some(text) } else { None }));
        let plan: Vec<String> = lines.collect();
        assert!(!plan.is_empty());
        if let Some(line) = whole(&plan, sql.text().contains(" WHERE ")).or_else(|| sorts(&plan, sql.text())) {
            found.push(format!("{}\n    {line}", sql.text()));
        }
    }
    assert!(found.is_empty(), "whole tables are read, or put in order:\n{}", found.join("\n"));
}

#[tokio::test(flavor = "current_thread")]
async fn no_list_reads_a_whole_table_in_sqlite() {
    use sqlx::Connection as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("store.db");
    let store = Store::open(&StoreUrl::Sqlite(file.clone()), StoreOptions::default()).await.unwrap();
    let mut behind = sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let mut db = Connection::Sqlite(&mut behind);
    fill(&mut db).await;
    look(&mut db, &store).await;
}

#[tokio::test(flavor = "current_thread")]
async fn no_list_reads_a_whole_table_in_postgres() {
    use sqlx::Connection as _;
    let database = Database::fresh().await.unwrap();
    let store = Store::open(&database.url().parse::<StoreUrl>().unwrap(), StoreOptions::default()).await.unwrap();
    let mut behind = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let mut db = Connection::Postgres(&mut behind);
    fill(&mut db).await;
    look(&mut db, &store).await;
}
