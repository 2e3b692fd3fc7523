//! What is kept from the client of a server's answers: values of masked columns, values quoted in errors, rows past a limit.
//!
//! Which column of an answer is which, its definition says: the server itself names database, table and column there as they are,
//! whatever the statement calls them. A column that was not there when the session began is masked too: nobody knows what it holds.

use std::collections::BTreeSet;

use wire::Malformed;
use wire::mysql::answer::{Failed, write_error};
use wire::mysql::row::{Column, Instead};

/// What stands in the place of a masked text. Any other type is NULL then.
const MASK: &[u8] = b"****";
/// VARCHAR, the BLOBs and TEXTs, VAR_STRING, STRING.
const TEXTS: [u8; 7] = [0x0f, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe];
/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// What MySQL shows variables and status from.
const VARIABLES: [&str; 4] = ["global_status", "global_variables", "session_status", "session_variables"];

/// The columns of a database that are shown as they are, besides computed ones and the server's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    /// They, by database, table and name.
    pub(crate) columns: BTreeSet<(String, String, String)>,
    /// The tables of which only they are shown, by database and name, and any other table whole; `None`: of every table.
    pub(crate) among: Option<BTreeSet<(String, String)>>,
}

impl Shown {
    fn covers(&self, schema: &str, table: &str, column: &str) -> bool {
        let (schema, table) = (schema.to_owned(), table.to_owned());
        let elsewhere = |among: &BTreeSet<(String, String)>| {
            // Some servers compare these names in any case.
            !among.iter().any(|(s, t)| s.eq_ignore_ascii_case(&schema) && t.eq_ignore_ascii_case(&table))
        };
        self.among.as_ref().is_some_and(elsewhere) || self.columns.contains(&(schema, table, column.to_lowercase()))
    }
}

/// How one column of an answer is handed on.
pub(crate) fn veil(column: &Column<'_>, at: usize, shown: &Shown, places: &BTreeSet<usize>) -> Instead {
    let open = column.table.is_empty()
        || column.schema.is_empty()
        || column.schema.eq_ignore_ascii_case(b"information_schema")
        || match (std::str::from_utf8(column.schema), std::str::from_utf8(column.table), std::str::from_utf8(column.column)) {
            (Ok("performance_schema"), Ok(table), _) if VARIABLES.contains(&table) => true,
            (Ok(schema), Ok(table), Ok(name)) => shown.covers(schema, table, name),
            _ => false,
        };
    match (open && !places.contains(&at), TEXTS.contains(&column.kind) && column.charset != BINARY) {
        (true, _) => Instead::Nothing,
        (false, true) => Instead::Text(MASK),
        (false, false) => Instead::Null,
    }
}

/// Errors that quote the statement or names, and never a value of a row.
const QUOTE_NO_VALUES: &[u16] = &[
    1044, 1045, 1046, 1049, 1050, 1051, 1052, 1054, 1064, 1066, 1093, 1109, 1111, 1140, 1142, 1143, 1146, 1149, 1176, 1205, 1213, 1222,
    1235, 1241, 1242, 1248, 1305, 1317, 1318, 1370, 1449, 1927, 1969, 3024,
];

/// An error in which whatever stands in quotes, and could be a value, is left out. `of_the_statement`: also one of the statement's own.
pub(crate) fn without_values(failed: &Failed<'_>, of_the_statement: bool) -> Result<Option<Vec<u8>>, Malformed> {
    if QUOTE_NO_VALUES.contains(&failed.code) && !of_the_statement {
        return Ok(None);
    }
    let state = std::str::from_utf8(failed.sqlstate).map_err(|_| Malformed("an SQLSTATE is no text"))?;
    let text = String::from_utf8_lossy(failed.message);
    let (mut out, mut quoted) = (String::with_capacity(text.len()), None);
    // From the first quote to the last: a value may hold quotes itself, so what stands between two of them may be one.
    if let (Some(first), Some(last)) = (text.find(['\'', '"']), text.rfind(['\'', '"'])) {
        quoted = Some((first, last));
    }
    match quoted {
        Some((first, last)) => {
            out.push_str(&text[..first]);
            out.push_str("'****'");
            out.push_str(text.get(last + 1..).unwrap_or_default());
        }
        None => out.push_str(&text),
    }
    Ok(Some(write_error(failed.code, state, &out)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column<'a>(schema: &'a str, table: &'a str, name: &'a str, kind: u8) -> Column<'a> {
        Column { schema: schema.as_bytes(), table: table.as_bytes(), column: name.as_bytes(), name: b"x", charset: 45, kind, flags: 0 }
    }

    // covers: E5 (mysql)
    #[test]
    fn only_columns_known_to_be_open_are_shown() {
        let columns: BTreeSet<_> = [("shop".to_owned(), "customers".to_owned(), "name".to_owned())].into();
        let mut shown = Shown { columns, among: None };
        let places = BTreeSet::from([9]);
        let one = |column: Column<'_>, at| veil(&column, at, &shown, &places);
        assert_eq!(one(column("performance_schema", "session_variables", "VARIABLE_VALUE", 0xfd), 0), Instead::Nothing);
        assert_eq!(one(column("performance_schema", "events_statements_history", "SQL_TEXT", 0xfd), 0), Instead::Text(MASK));
        assert_eq!(one(column("shop", "customers", "Name", 0xfd), 0), Instead::Nothing);
        assert_eq!(one(column("shop", "customers", "name", 0xfd), 9), Instead::Text(MASK));
        assert_eq!(one(column("shop", "customers", "card", 0xfd), 0), Instead::Text(MASK));
        assert_eq!(one(column("shop", "customers", "born", 0x0a), 0), Instead::Null);
        assert_eq!(one(Column { charset: BINARY, ..column("shop", "customers", "key", 0xfc) }, 0), Instead::Null);
        assert_eq!(one(column("other", "customers", "name", 0xfd), 0), Instead::Text(MASK));
        assert_eq!(one(column("", "", "", 0x08), 0), Instead::Nothing);
        assert_eq!(one(column("information_schema", "TABLES", "TABLE_NAME", 0xfd), 0), Instead::Nothing);
        // Where nothing is masked, a list of columns says nothing about other tables.
        shown.among = Some([("shop".to_owned(), "customers".to_owned())].into());
        let one = |column: Column<'_>, at| veil(&column, at, &shown, &places);
        assert_eq!(one(column("shop", "notes", "text", 0xfd), 0), Instead::Nothing);
        assert_eq!(one(column("Shop", "Customers", "card", 0xfd), 0), Instead::Text(MASK));
        assert_eq!(one(column("shop", "customers", "name", 0xfd), 0), Instead::Nothing);
    }

    #[test]
    fn an_error_loses_what_it_quotes() {
        let read = |code, message: &str| {
            let failed = Failed { code, sqlstate: b"23000", message: message.as_bytes() };
            without_values(&failed, false).unwrap().map(|m| String::from_utf8_lossy(&m[9..]).into_owned())
        };
        assert_eq!(read(1062, "Duplicate entry '4111-it's' for key 'card'").as_deref(), Some("Duplicate entry '****'"));
        assert_eq!(read(1054, "Unknown column 'x' in 'field list'"), None);
        assert_eq!(read(1105, "no").as_deref(), Some("no"));
        let quotes = Failed { code: 1064, sqlstate: b"42000", message: b"an error near ''4111' nonsense'" };
        assert!(without_values(&quotes, false).unwrap().is_none());
        assert!(without_values(&quotes, true).unwrap().unwrap().ends_with(b"an error near '****'"));
    }
}
