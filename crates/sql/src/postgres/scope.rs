//! Which names are visible at a place in a statement, and which columns they stand for.

use access::rights::QualifiedName;

/// What stands in a `FROM` clause under one name.
#[derive(Debug, Clone, Default)]
pub(super) struct Item {
    /// The name it goes by.
    pub(super) alias: String,
    /// The table it is, unless it was given an alias.
    pub(super) table: Option<QualifiedName>,
    /// Its columns as far as they are known.
    pub(super) columns: Vec<Field>,
    /// What it is made of.
    pub(super) source: Source,
    /// Whether it is `pg_settings`, its columns under their own names.
    pub(super) settings: bool,
}

/// What an item is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Source {
    /// A table or view of the target; its columns are all known.
    Table,
    /// A sub-select, CTE or join; everything inside it has been judged, and its columns are all known.
    #[default]
    Derived,
    /// The same with columns that are not known.
    Unknown,
    /// A catalog of PostgreSQL's own, which may be read; its columns are not known.
    Catalog,
    /// What functions bring back. A field of it may be the call of another function in disguise.
    Function,
}

/// A column of an item.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    /// The column of a table that it is; `None` if it was computed from what has been judged already.
    pub(super) base: Option<(QualifiedName, String)>,
}

impl Item {
    /// Whether its columns are all known.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.source, Source::Table | Source::Derived)
    }

    /// Whether it is this table under its own name.
    pub(super) fn is_table(&self, schema: &str, name: &str) -> bool {
        self.table.as_ref().is_some_and(|table| table.schema == schema && table.name == name)
    }

    /// The columns renamed as an alias says, `AS t(a, b)`.
    pub(super) fn renamed(mut self, names: &[String]) -> Self {
        for (field, name) in self.columns.iter_mut().zip(names) {
            field.name.clone_from(name);
        }
        let known = self.columns.len();
        if !self.is_known() {
            self.columns.extend(names.iter().skip(known).map(|name| Field { name: name.clone(), base: None }));
        }
        self
    }
}

/// What is visible at a place, level by level.
pub(super) type Scopes = [Vec<Item>];

/// The items that go by a name: `alias`, or `schema.table`. `None`: no name has so many parts.
pub(super) fn named<'s>(scopes: &'s Scopes, qualifier: &[&str]) -> Option<Vec<&'s Item>> {
    let all = scopes.iter().flatten();
    match qualifier {
        [alias] => Some(all.filter(|item| item.alias == *alias).collect()),
        [schema, table] => {
            let of_server = matches!(*schema, "pg_catalog" | "information_schema");
            let is = |item: &&Item| item.is_table(schema, table) || (item.source == Source::Catalog && item.alias == *table && of_server);
            Some(all.filter(is).collect())
        }
        _ => None,
    }
}

/// A column of a statement's output.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) masked: bool,
}

/// What a statement brings back.
#[derive(Debug, Clone, Default)]
pub(super) struct Outputs {
    pub(super) columns: Vec<Output>,
    /// Whether these are all, each at its place.
    pub(super) unknown: bool,
}

impl Outputs {
    pub(super) fn push(&mut self, name: impl Into<String>, masked: bool) {
        self.columns.push(Output { name: name.into(), masked });
    }

    pub(super) fn any_masked(&self) -> bool {
        self.columns.iter().any(|output| output.masked)
    }

    /// As something to select from. INVARIANT: none of it is masked.
    pub(super) fn into_item(self, alias: String) -> Item {
        let source = if self.unknown { Source::Unknown } else { Source::Derived };
        let columns = self.columns.into_iter().map(|output| Field { name: output.name, base: None }).collect();
        Item { alias, columns, source, ..Item::default() }
    }
}
