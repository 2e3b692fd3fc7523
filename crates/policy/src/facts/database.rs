//! `database = { … }` of a role: what it may do in a database.

use std::collections::{BTreeMap, BTreeSet};

use access::rights::{Columns, DatabaseRights, QualifiedName, TableRights, Verb};
use access::time::Span;

use crate::document::{At, Table};
use crate::problem::shown;

/// The name of a column, schema, channel or statement, as the database spells it.
struct Name(String);

impl std::str::FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if (1..=64).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is no name a database knows; one has 1 to 64 bytes and no control characters", shown(text)))
        }
    }
}

fn names(table: &Table<'_>, key: &'static str) -> Vec<At<Name>> {
    table.read_list::<Name>(key)
}

fn set(names: Vec<At<Name>>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.value.0).collect()
}

/// Reads the table; every mistake in it is reported.
pub(super) fn read(table: &Table<'_>) -> DatabaseRights {
    let rights = DatabaseRights {
        unrestricted: table.flag_or("unrestricted", false),
        own_account: table.flag_or("own_account", false),
        tables: read_tables(table),
        functions: table.read_list::<QualifiedName>("functions").into_iter().map(|f| f.value).collect(),
        statements: read_statements(table),
        only_statements: table.flag_or("only_statements", false),
        copy_in: table.flag_or("copy_in", false),
        copy_out: table.flag_or("copy_out", false),
        channels: set(names(table, "channels")),
        search_path: names(table, "search_path").into_iter().map(|name| name.value.0).collect(),
        row_limit: table.number("row_limit", 0, u32::MAX).map(|n| n.value.into()),
        statement_timeout: table.read::<Span>("statement_timeout").map(|s| s.value),
    };
    let error = |says: &str| table.sink().error(table.place(), says);
    if rights.unrestricted {
        let held = DatabaseRights {
            row_limit: rights.row_limit,
            statement_timeout: rights.statement_timeout,
            unrestricted: true,
            own_account: rights.own_account,
            ..DatabaseRights::default()
        };
        if rights != held {
            error(
                "`unrestricted` means that no statement is judged; only `own_account`, `row_limit` and `statement_timeout` can stand beside it",
            );
        }
    } else if rights.tables.is_empty() && rights.functions.is_empty() {
        error(
            "the role may do nothing; name `tables`, as in `tables = [{ name = \"public.orders\", select = true }]`, or write `unrestricted = true`",
        );
    }
    if rights.own_account && !rights.unrestricted {
        error("a restricted role has an account for each grant anyway; leave `own_account` out");
    }
    if rights.only_statements && rights.statements.is_empty() {
        error("`only_statements` without any `statements` leaves nothing to run");
    }
    if rights.search_path.iter().any(|schema| schema.starts_with("pg_") || schema.starts_with('$')) {
        error("`search_path` names plain schemas; `pg_catalog` is always looked through first, and temporary tables never");
    }
    if rights.row_limit == Some(0) {
        error("`row_limit` of 0 would let nothing through; leave it out for no limit");
    }
    rights
}

fn read_tables(table: &Table<'_>) -> BTreeMap<QualifiedName, TableRights> {
    let mut tables = BTreeMap::new();
    for entry in table.tables("tables") {
        let name: Option<At<QualifiedName>> = entry.required("name");
        let rights = read_table(&entry);
        if let Some(name) = name {
            if rights == TableRights::default() {
                let says = format!("nothing may be done with `{}`; say what, as in `select = true` or `select = [\"id\"]`", name.value);
                entry.sink().error(name.place.clone(), says);
            }
            if is_system(&name.value.schema) {
                let says = format!("`{}` belongs to the database itself; what clients need of it may be read anyway", name.value);
                entry.sink().error(name.place.clone(), says);
            }
            if tables.insert(name.value.clone(), rights).is_some() {
                entry.sink().error(name.place, format!("`{}` stands here twice", name.value));
            }
        }
        entry.finish();
    }
    tables
}

fn is_system(schema: &str) -> bool {
    schema.starts_with("pg_") || matches!(schema, "information_schema" | "mysql" | "performance_schema" | "sys")
}

fn read_table(entry: &Table<'_>) -> TableRights {
    let masked = names(entry, "mask");
    let select = read_columns(entry, "select");
    for column in masked.iter().filter(|column| !select.allows(&column.value.0)) {
        let known: Vec<&str> = match &select {
            Columns::Only(names) => names.iter().map(String::as_str).collect(),
            Columns::None | Columns::All => Vec::new(),
        };
        entry.sink().unknown(column.place.clone(), "column under `select` here called", &column.value.0, known);
    }
    TableRights {
        select,
        insert: read_columns(entry, "insert"),
        update: read_columns(entry, "update"),
        delete: entry.flag_or("delete", false),
        truncate: entry.flag_or("truncate", false),
        masked: set(masked),
    }
}

/// `true` for all columns, or a list of them.
fn read_columns(entry: &Table<'_>, key: &'static str) -> Columns {
    if entry.is_list(key) {
        let columns = set(names(entry, key));
        if columns.is_empty() {
            entry.sink().error(entry.place(), format!("`{key}` names no column; leave it out, or write `true` for all"));
        }
        return Columns::Only(columns);
    }
    if entry.flag_or(key, false) { Columns::All } else { Columns::None }
}

fn read_statements(table: &Table<'_>) -> BTreeMap<String, String> {
    let mut statements = BTreeMap::new();
    for entry in table.tables("statements") {
        let name: Option<At<Name>> = entry.required("name");
        let sql: Option<At<String>> = entry.required("sql");
        if let (Some(name), Some(sql)) = (name, sql) {
            if sql.value.trim().is_empty() {
                entry.sink().error(sql.place, "a statement without a word in it");
            }
            if statements.insert(name.value.0.clone(), sql.value).is_some() {
                entry.sink().error(name.place, format!("`{}` stands here twice", shown(&name.value.0)));
            }
        }
        entry.finish();
    }
    statements
}

/// Which Cedar action stands for a verb.
pub(crate) fn action_of(verb: Verb) -> &'static str {
    match verb {
        Verb::Select => "database:select",
        Verb::Insert => "database:insert",
        Verb::Update => "database:update",
        Verb::Delete => "database:delete",
        Verb::Truncate => "database:truncate",
    }
}
