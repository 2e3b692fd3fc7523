//! What a role may do in a database: which tables and columns, which functions, which named statements.
//!
//! One table for three readers: the account that is made at the target for each grant, the judge of statements, and whoever
//! reads the policy. Nothing is granted by being left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// What may be done in a database. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseRights {
    /// Whatever the account at the target may do: statements are recorded, and none is judged.
    pub unrestricted: bool,
    /// Whether each grant has an account of its own at the target though nothing is judged: a member of the role's login, with what that
    /// may do. Where it is not, all sessions are on that login.
    pub own_account: bool,
    /// The tables and views, and what may be done with each. A column is read only if it is named here.
    pub tables: BTreeMap<QualifiedName, TableRights>,
    /// Functions and procedures that may be called besides the built-in ones known to be harmless.
    pub functions: BTreeSet<QualifiedName>,
    /// Statements by name, with `$1`, `$2` … where values go.
    pub statements: BTreeMap<String, String>,
    /// Whether these statements are all that may be run; else they are examples.
    pub only_statements: bool,
    /// Whether rows may be loaded with `COPY … FROM STDIN` (MariaDB: `LOAD DATA LOCAL`).
    pub copy_in: bool,
    /// Whether rows may be taken out with `COPY … TO STDOUT`.
    pub copy_out: bool,
    /// Channels for `LISTEN` and `NOTIFY`.
    pub channels: BTreeSet<String>,
    /// The schemas in which names without a schema are looked for, in this order; empty: `public`.
    pub search_path: Vec<String>,
    /// How many rows one statement may bring back; `None`: any number.
    pub row_limit: Option<u64>,
    /// How long one statement may run; `None`: as the server has it. MySQL's own server ends by it only a `SELECT` that only reads.
    pub statement_timeout: Option<Span>,
}

impl DatabaseRights {
    /// Whether each statement has to be judged.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        !self.unrestricted
    }

    /// Whether a session runs on an account that is made for its grant.
    #[must_use]
    pub fn has_own_account(&self) -> bool {
        self.own_account || self.is_restricted()
    }

    /// Whether nothing at all may be done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        !self.unrestricted && self.tables.is_empty() && self.functions.is_empty() && self.channels.is_empty()
    }

    /// Whether any column is masked.
    #[must_use]
    pub fn has_masks(&self) -> bool {
        self.tables.values().any(|table| !table.masked.is_empty())
    }

    /// The schemas that names without a schema are looked for in.
    #[must_use]
    pub fn schemas(&self) -> Vec<&str> {
        if self.search_path.is_empty() { vec!["public"] } else { self.search_path.iter().map(String::as_str).collect() }
    }

    /// The value of PostgreSQL's `search_path` that a judged session is pinned to. Temporary tables come last, so that none of
    /// them stands before a table of the same name.
    #[must_use]
    pub fn pinned_search_path(&self) -> String {
        let quoted = self.schemas().into_iter().map(|s| format!("\"{}\"", s.replace('"', "\"\"")));
        quoted.chain(["pg_temp".to_owned()]).collect::<Vec<_>>().join(", ")
    }

    /// Just these of the tables. INVARIANT: what comes out is never wider.
    #[must_use]
    pub fn only_tables(mut self, names: &BTreeSet<QualifiedName>) -> Self {
        // An account that may do anything cannot be held to a few tables: nothing is left of it.
        if self.unrestricted {
            return Self::default();
        }
        self.tables.retain(|name, _| names.contains(name));
        self
    }

    /// Just these of the named statements, and nothing else. INVARIANT: what comes out is never wider.
    #[must_use]
    pub fn only_statements(mut self, names: &BTreeSet<String>) -> Self {
        if self.unrestricted {
            return Self::default();
        }
        self.statements.retain(|name, _| names.contains(name));
        self.only_statements = true;
        self
    }

    /// Nothing that writes. INVARIANT: what comes out is never wider.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        if self.unrestricted {
            return Self::default();
        }
        for table in self.tables.values_mut() {
            *table = TableRights {
                select: std::mem::take(&mut table.select),
                masked: std::mem::take(&mut table.masked),
                ..TableRights::default()
            };
        }
        self.tables.retain(|_, table| !table.select.is_none());
        // A function may write; nobody here can tell.
        Self { functions: BTreeSet::new(), channels: BTreeSet::new(), copy_in: false, ..self }
    }
}

/// What may be done with one table or view.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableRights {
    /// Columns that may be read.
    pub select: Columns,
    /// Columns that may be given a value in a new row.
    pub insert: Columns,
    /// Columns that may be changed.
    pub update: Columns,
    /// Whether rows may be deleted.
    pub delete: bool,
    /// Whether it may be emptied.
    pub truncate: bool,
    /// Columns whose values never leave: they may be named as output, and nowhere else.
    pub masked: BTreeSet<String>,
}

impl TableRights {
    /// The columns for one kind of access.
    #[must_use]
    pub fn columns(&self, verb: Verb) -> Columns {
        let all_if = |yes: bool| if yes { Columns::All } else { Columns::None };
        match verb {
            Verb::Select => self.select.clone(),
            Verb::Insert => self.insert.clone(),
            Verb::Update => self.update.clone(),
            Verb::Delete => all_if(self.delete),
            Verb::Truncate => all_if(self.truncate),
        }
    }

    /// Whether it may be done at all, to any column.
    #[must_use]
    pub fn allows(&self, verb: Verb) -> bool {
        !self.columns(verb).is_none()
    }
}

codes! {
    /// What one does with a table.
    Verb("verb") {
        /// Read it.
        Select = "select",
        /// Add rows.
        Insert = "insert",
        /// Change rows.
        Update = "update",
        /// Delete rows.
        Delete = "delete",
        /// Empty it.
        Truncate = "truncate",
    }
}

/// Some columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Columns {
    /// None.
    #[default]
    None,
    /// Just these.
    Only(BTreeSet<String>),
    /// All, also those added later.
    All,
}

impl Columns {
    /// Whether this one is among them.
    #[must_use]
    pub fn allows(&self, column: &str) -> bool {
        match self {
            Self::None => false,
            Self::Only(names) => names.contains(column),
            Self::All => true,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Only(names) => names.is_empty(),
            Self::All => false,
        }
    }

    /// Whether every one of these is among `other` too.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, _) | (_, Self::All) => true,
            (Self::All, _) => false,
            (Self::Only(names), other) => names.iter().all(|name| other.allows(name)),
        }
    }
}

/// A name with its schema (MariaDB: its database), exactly as the catalog spells it: `public.orders`, `"Odd.Schema".t`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QualifiedName {
    /// The schema.
    pub schema: String,
    /// The name in it.
    pub name: String,
}

impl QualifiedName {
    /// A name in a schema.
    #[must_use]
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

/// Why a text is no name with a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name with its schema; write it like `public.orders`, exactly as the database spells it")]
pub struct QualifiedNameError(String);

/// The longest name PostgreSQL (63 bytes) and MariaDB (64 characters) know.
const LONGEST_NAME: usize = 64;

impl std::str::FromStr for QualifiedName {
    type Err = QualifiedNameError;
    fn from_str(text: &str) -> Result<Self, QualifiedNameError> {
        let bad = || QualifiedNameError(text.chars().take(80).flat_map(char::escape_default).collect());
        let (schema, rest) = segment(text).ok_or_else(bad)?;
        let (name, rest) = rest.strip_prefix('.').and_then(segment).ok_or_else(bad)?;
        let fits = |part: &str| !part.is_empty() && part.len() <= LONGEST_NAME && !part.chars().any(char::is_control);
        if rest.is_empty() && fits(&schema) && fits(&name) { Ok(Self { schema, name }) } else { Err(bad()) }
    }
}

/// One part of a name, in double quotes or plain, and what stands after it.
fn segment(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (part, rest) = text.split_at(end);
        return (!part.contains(['"', ' ', '*'])).then(|| (part.to_owned(), rest));
    };
    let mut part = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        if c != '"' {
            part.push(c);
        } else if letters.next_if(|(_, next)| *next == '"').is_some() {
            part.push('"');
        } else {
            return Some((part, &quoted[at + 1..]));
        }
    }
    None
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &str| {
            if text.contains(['.', '"', ' ', '*']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
        };
        write!(f, "{}.{}", part(&self.schema), part(&self.name))
    }
}

impl Serialize for QualifiedName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for QualifiedName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> QualifiedName {
        text.parse().unwrap()
    }

    fn clerk() -> DatabaseRights {
        let orders = TableRights { select: Columns::All, update: Columns::Only(["status".to_owned()].into()), ..TableRights::default() };
        let customers = TableRights {
            select: Columns::Only(["id".to_owned(), "email".to_owned()].into()),
            masked: ["email".to_owned()].into(),
            ..TableRights::default()
        };
        DatabaseRights {
            tables: [(name("public.orders"), orders), (name("public.customers"), customers)].into(),
            functions: [name("app.ship")].into(),
            statements: [("order".to_owned(), "select * from public.orders where id = $1".to_owned())].into(),
            ..DatabaseRights::default()
        }
    }

    #[test]
    fn a_name_has_one_spelling_and_comes_back_the_same() {
        for text in ["public.orders", "\"Odd.Schema\".t", "a.\"b\"\"c\"", "Public.Orders"] {
            assert_eq!(name(text).to_string(), text);
            let json = serde_json::to_string(&name(text)).unwrap();
            assert_eq!(serde_json::from_str::<QualifiedName>(&json).unwrap(), name(text));
        }
        for wrong in ["orders", "a.b.c", ".b", "a.", "\"a.b", "a b.c", "public.*", "a.b\"", "a.b\n"] {
            assert!(wrong.parse::<QualifiedName>().is_err(), "{wrong:?} was taken for a name");
        }
    }

    #[test]
    fn rights_come_back_from_json_the_same() {
        let json = serde_json::to_string(&clerk()).unwrap();
        assert_eq!(serde_json::from_str::<DatabaseRights>(&json).unwrap(), clerk());
    }

    // covers: ASK-6 (postgres)
    #[test]
    fn narrowing_never_widens() {
        let all: BTreeSet<_> = [name("public.orders"), name("public.payments")].into();
        let few = clerk().only_tables(&all);
        assert_eq!(few.tables.keys().map(ToString::to_string).collect::<Vec<_>>(), ["public.orders"]);
        let named = clerk().only_statements(&["order".to_owned(), "other".to_owned()].into());
        assert!(named.only_statements && named.statements.len() == 1 && named.tables == clerk().tables);
        let reading = clerk().read_only();
        assert!(reading.functions.is_empty() && reading.tables.values().all(|t| t.update.is_none()));
        assert_eq!(reading.tables[&name("public.customers")].masked, ["email".to_owned()].into());
        let anything = DatabaseRights { unrestricted: true, ..DatabaseRights::default() };
        assert!(anything.clone().only_tables(&all).is_nothing());
        assert!(anything.clone().only_statements(&BTreeSet::new()).is_nothing());
        assert!(anything.read_only().is_nothing());
    }
}
