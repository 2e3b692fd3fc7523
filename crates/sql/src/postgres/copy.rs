//! `COPY`: what may be copied; and, where the role masks anything, which query the relay runs in its place and how it writes the rows.
//!
//! A server says of no column that `COPY` brings which table it comes from; of a query's it does. So under a role that masks anything a
//! `COPY … TO STDOUT` runs as the query that it copies, its rows are masked as those of any query are, and the relay writes them as `COPY`
//! would have. Where that cannot be, it is refused if something of it is masked, and runs as it is if nothing is.

use std::collections::BTreeSet;

use access::rights::{QualifiedName, Verb};
use pg_query::NodeEnum as N;
use pg_query::protobuf::{CopyStmt, Node, Token};

use super::names::texts;
use super::scope::{Item, Outputs};
use super::statement::{plain, with_rows};
use super::{Place, Step, Walk, bounds, no_outputs};
use crate::verdict::{Allowed, Outcome, Refused, shown};

/// A `COPY … TO STDOUT` under a role that masks anything: whoever relays it runs this query in its place and writes the rows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The query whose rows are copied.
    pub query: String,
    /// How they are written.
    pub form: Form,
    /// Whether something of it is masked, as far as the judge sees: then it may run in no other way.
    pub masked: bool,
    /// Whether a table is copied: then no word of the query stands in what was sent.
    pub of_table: bool,
}

/// How `COPY` writes rows (PostgreSQL documentation, `COPY`, "File Formats").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// A line each.
    Lines(Lines),
    /// Lengths and bytes.
    Binary,
}

/// How rows are written as lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// What stands between two values.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the names of the columns come first.
    pub header: bool,
    /// How values are put in quotes; `None`: they never are, and have backslashes.
    pub quotes: Option<Quotes>,
}

/// How values are put in quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotes {
    /// What stands around a value.
    pub quote: u8,
    /// What stands before a quote inside.
    pub escape: u8,
    /// Of which columns all values but NULL are put in quotes.
    pub forced: Forced,
}

/// Columns by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forced {
    /// Every one.
    All,
    /// The first of each of these names.
    Named(BTreeSet<String>),
}

impl Walk<'_> {
    pub(super) fn copy(&mut self, copy: &CopyStmt) -> Step<Allowed> {
        if copy.is_program || !copy.filename.is_empty() {
            return Err(Refused::not_in_role(
                "`COPY` with a file or program runs on the server's machine",
                "use `STDIN` or `STDOUT`, in psql `\\copy`",
            ));
        }
        for option in &copy.options {
            let Some(N::DefElem(option)) = option.node.as_ref() else {
                return Err(Refused::not_understood("an option of an unknown kind"));
            };
            let known = [
                "format",
                "header",
                "delimiter",
                "null",
                "default",
                "quote",
                "escape",
                "force_quote",
                "force_not_null",
                "force_null",
                "encoding",
                "on_error",
                "log_verbosity",
                "reject_limit",
            ];
            if !known.contains(&option.defname.as_str()) {
                return Err(Refused::not_understood(format!("the option `{}` of `COPY`", shown(&option.defname))));
            }
        }
        if copy.is_from && !self.rights.copy_in {
            return Err(Refused::not_in_role("this role may not load rows with `COPY`", "use `INSERT`"));
        }
        if !copy.is_from && !self.rights.copy_out {
            return Err(Refused::not_in_role("this role may not take rows out with `COPY`", "use `SELECT`"));
        }
        if let Some(node) = copy.query.as_deref()
            && let Some(query) = node.node.as_ref()
        {
            let outputs = self.rows(query, Place::Copied)?;
            // A server copies nothing that brings no rows, and does not run it then.
            let brings_rows = matches!(query, N::SelectStmt(_)) || !outputs.columns.is_empty();
            return self.out(copy, &outputs, |sql| query_inside(sql, node).filter(|_| brings_rows));
        }
        let verb = if copy.is_from { Verb::Insert } else { Verb::Select };
        let table = self.target(copy.relation.as_ref(), verb)?;
        if copy.attlist.is_empty() && !copy.is_from {
            self.masks_are_known(&table)?;
        }
        let columns = self.copied(copy, &table)?;
        let mut outputs = no_outputs();
        for column in &columns {
            self.may_column(&table, verb, column)?;
            outputs.push(column.as_str(), self.is_masked(&table, column));
        }
        if self.has_masks && !copy.is_from {
            self.columns_are_known(&table, &columns)?;
        }
        if let Some(condition) = copy.where_clause.as_deref() {
            let item: Item = self.item_of(&table, None)?;
            self.scopes.push(vec![item]);
            self.expression(condition)?;
            self.scopes.pop();
        }
        if copy.is_from {
            return Ok(Allowed { outcome: Outcome::CopyIn, ..plain("copy") });
        }
        let query = self.query_of(&table, &columns);
        self.out(copy, &outputs, |_| query)
    }

    fn copied(&self, copy: &CopyStmt, table: &QualifiedName) -> Step<Vec<String>> {
        if !copy.attlist.is_empty() {
            return Ok(texts(&copy.attlist)?.into_iter().map(str::to_owned).collect());
        }
        let Some(relation) = self.catalog.relation(table) else { return Ok(Vec::new()) };
        let left_out = |name: &str| !copy.is_from && relation.generated.contains(name);
        Ok(relation.columns.iter().filter(|column| !left_out(&column.name)).map(|column| column.name.clone()).collect())
    }

    /// A column that was not there when the session began is none here, as in any query: nobody knows what it holds.
    fn columns_are_known(&self, table: &QualifiedName, columns: &[String]) -> Step {
        let Some(relation) = self.catalog.relation(table) else { return Ok(()) };
        let unknown = columns.iter().find(|name| !relation.columns.iter().any(|column| column.name == **name));
        unknown.map_or(Ok(()), |name| {
            Err(Refused::not_in_role(
                format!("there is no column `{}` in `{table}` that this role could mean", shown(name)),
                "look at the name; if the column is new, begin another session",
            ))
        })
    }

    /// Rows with these columns go to the client; where the role masks anything, by another query, which `query` finds in the whole text: what
    /// a column's name stands for may have changed since the session began.
    fn out(&self, copy: &CopyStmt, outputs: &Outputs, query: impl FnOnce(&str) -> Option<String>) -> Step<Allowed> {
        let copied = Allowed { outcome: Outcome::CopyOut, ..with_rows("copy", outputs) };
        if !self.has_masks {
            return Ok(copied);
        }
        let masked = outputs.columns.iter().find(|output| output.masked);
        let refused = |hint: &str| {
            let Some(masked) = masked else { return Ok(copied.clone()) };
            let why = format!("`{}` is masked for this role and cannot be copied like this", shown(&masked.name));
            Err(Refused::not_in_role(why, hint))
        };
        let Some(alone) = self.alone else { return refused("send the `COPY` alone, or leave that column out") };
        let Some(form) = form(copy, outputs) else {
            return refused(
                "`FORMAT`, `HEADER`, `DELIMITER`, `NULL`, `QUOTE`, `ESCAPE` and `FORCE_QUOTE` may be given, as PostgreSQL takes them",
            );
        };
        let Some(query) = query(alone) else {
            return refused("write `COPY (SELECT …) TO STDOUT` with the columns you need, or leave that column out");
        };
        Ok(Allowed { copied: Some(Copied { query, form, masked: masked.is_some(), of_table: copy.relation.is_some() }), ..copied })
    }

    /// The query that `COPY` of a table stands for; `None` where it stands for none. It copies a table's own rows only.
    fn query_of(&self, table: &QualifiedName, columns: &[String]) -> Option<String> {
        let relation = self.catalog.relation(table)?;
        // What is no column could be something else in a query: the whole row, a system column.
        let is_column = |name: &String| relation.columns.iter().any(|column| column.name == *name) && !relation.generated.contains(name);
        if relation.by_query || !columns.iter().all(is_column) || columns.iter().collect::<BTreeSet<_>>().len() < columns.len() {
            return None;
        }
        let columns = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        // A name that is no column's any more is nothing's: under this alias none means the whole row.
        Some(format!("SELECT {columns} FROM ONLY {}.{} AS \"tidegate: copied\"", quoted(&table.schema), quoted(&table.name)))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The text of the query inside a `COPY (…)`, with blanks before it so that an error's position is one in what was sent; `None` unless the
/// parser reads it, standing alone, to the letter as it read it there. So what runs is what was judged.
fn query_inside(sql: &str, query: &Node) -> Option<String> {
    let tokens = bounds::tokens(sql)?;
    let mut words = tokens.iter().filter(|token| !matches!(token.token(), Token::SqlComment | Token::CComment));
    words.next().filter(|token| token.token() == Token::Copy)?;
    let open = words.next().filter(|token| token.token() == Token::Ascii40)?;
    let mut depth = 1;
    let close = words.find(|token| {
        match token.token() {
            Token::Ascii40 => depth += 1,
            Token::Ascii41 => depth -= 1,
            _ => {}
        }
        depth == 0
    })?;
    let (start, end) = (usize::try_from(open.end).ok()?, usize::try_from(close.start).ok()?);
    let (before, text) = (sql.get(..start)?, sql.get(start..end)?);
    let alone = pg_query::parse(&format!("{}{text}", " ".repeat(start)), 0).ok()?;
    let [one] = alone.protobuf.stmts.as_slice() else { return None };
    (one.stmt.as_deref() == Some(query)).then(|| format!("{}{text}", " ".repeat(before.chars().count())))
}

/// How rows are to be written; `None` if the options say that in a way that PostgreSQL or nobody here takes.
fn form(copy: &CopyStmt, outputs: &Outputs) -> Option<Form> {
    let mut seen = BTreeSet::new();
    let (mut format, mut header, mut forced) = ("text", false, None);
    let (mut delimiter, mut null, mut quote, mut escape) = (None, None, None, None);
    for option in &copy.options {
        let Some(N::DefElem(option)) = option.node.as_ref() else { return None };
        if !seen.insert(option.defname.as_str()) {
            return None;
        }
        let value = option.arg.as_deref().and_then(|arg| arg.node.as_ref());
        match option.defname.as_str() {
            "format" => format = word(value)?,
            "header" => header = truth(value)?,
            "delimiter" => delimiter = Some(sign(value)?),
            "null" => null = Some(word(value)?),
            "quote" => quote = Some(sign(value)?),
            "escape" => escape = Some(sign(value)?),
            "force_quote" => forced = Some(columns(value, outputs)?),
            // The session's own.
            "encoding" if word(value).is_some_and(is_utf8) => {}
            _ => return None,
        }
    }
    let quotes = match format {
        "binary" => return seen.iter().all(|name| matches!(*name, "format" | "encoding")).then_some(Form::Binary),
        "csv" => {
            let quote = quote.unwrap_or(b'"');
            let forced = forced.unwrap_or_else(|| Forced::Named(BTreeSet::new()));
            Some(Quotes { quote, escape: escape.unwrap_or(quote), forced })
        }
        "text" if quote.is_none() && escape.is_none() && forced.is_none() => None,
        _ => return None,
    };
    let delimiter = delimiter.unwrap_or(if quotes.is_some() { b',' } else { b'\t' });
    let null = null.unwrap_or(if quotes.is_some() { "" } else { "\\N" });
    let clash = match &quotes {
        Some(quotes) => quotes.quote == delimiter || null.as_bytes().contains(&quotes.quote),
        None => delimiter == b'\\' || delimiter == b'.' || delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit(),
    };
    if clash || matches!(delimiter, b'\n' | b'\r') || null.bytes().any(|byte| byte == delimiter || matches!(byte, b'\n' | b'\r')) {
        return None;
    }
    Some(Form::Lines(Lines { delimiter, null: null.to_owned(), header, quotes }))
}

fn word(value: Option<&N>) -> Option<&str> {
    match value? {
        N::String(text) => Some(&text.sval),
        _ => None,
    }
}

fn is_utf8(encoding: &str) -> bool {
    ["utf8", "utf-8", "unicode"].iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

/// One byte.
fn sign(value: Option<&N>) -> Option<u8> {
    match word(value)?.as_bytes() {
        [one] => Some(*one),
        _ => None,
    }
}

fn truth(value: Option<&N>) -> Option<bool> {
    match value {
        None => Some(true),
        Some(N::Boolean(truth)) => Some(truth.boolval),
        Some(N::Integer(number)) if matches!(number.ival, 0 | 1) => Some(number.ival == 1),
        Some(N::String(word)) => {
            let is = |wanted: &[&str]| wanted.iter().any(|one| word.sval.eq_ignore_ascii_case(one));
            is(&["true", "on"]).then_some(true).or_else(|| is(&["false", "off"]).then_some(false))
        }
        Some(_) => None,
    }
}

fn columns(value: Option<&N>, outputs: &Outputs) -> Option<Forced> {
    match value? {
        N::AStar(_) => Some(Forced::All),
        N::List(list) => {
            let names = texts(&list.items).ok()?;
            let named: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let known = |name: &String| outputs.columns.iter().any(|output| output.name == *name);
            (named.len() == names.len() && named.iter().all(known)).then_some(Forced::Named(named))
        }
        _ => None,
    }
}
