//! What a name means: a table, a column, a function, an operator. Under doubt it means all of them.

use std::collections::BTreeSet;

use access::rights::{QualifiedName, Verb};
use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node, RangeVar};

use super::bounds::HELD;
use super::scope::{self, Field, Item, Scopes, Source};
use super::{Step, Walk, builtin};
use crate::verdict::{Hidden, Refused, shown};

/// Columns that every table has besides its own.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// What the name of a table stands for.
pub(super) enum Table {
    /// A table or view of the target, listed in the role.
    Listed(QualifiedName),
    /// A catalog that may be read.
    Catalog(String),
    /// A name that `WITH` gave.
    Given(Item),
}

/// The text of a name's part.
pub(super) fn text(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(string) => Some(&string.sval),
        _ => None,
    }
}

pub(super) fn texts(nodes: &[Node]) -> Step<Vec<&str>> {
    nodes.iter().map(|node| text(node).ok_or_else(|| Refused::not_understood("a name in the statement is no name"))).collect()
}

impl Walk<'_> {
    /// Finds what a table's name stands for. Nothing is said yet about what may be done with it.
    pub(super) fn table(&self, range: &RangeVar, may_be_given: bool) -> Step<Table> {
        if !range.catalogname.is_empty() {
            return Err(Refused::not_in_role(
                format!("`{}.{}.{}` names a database", shown(&range.catalogname), shown(&range.schemaname), shown(&range.relname)),
                "leave the database out of the name",
            ));
        }
        let name = range.relname.as_str();
        match range.schemaname.as_str() {
            "" => {}
            "pg_catalog" if builtin::is_readable_catalog(name) => return Ok(Table::Catalog(name.to_owned())),
            "information_schema" if builtin::is_readable_information(name) => return Ok(Table::Catalog(name.to_owned())),
            schema => return self.listed(&QualifiedName::new(schema, name)),
        }
        if may_be_given && let Some(given) = self.ctes.iter().rev().flat_map(|frame| frame.iter().rev()).find(|cte| cte.alias == name) {
            self.work.spend(given.columns.len())?;
            return Ok(Table::Given(given.clone()));
        }
        if name.starts_with("pg_") {
            // `pg_catalog` is looked through first.
            if builtin::is_readable_catalog(name) {
                return Ok(Table::Catalog(name.to_owned()));
            }
            return self.listed(&QualifiedName::new("pg_catalog", name));
        }
        let places = self.rights.schemas().into_iter().map(|schema| QualifiedName::new(schema, name));
        match places.into_iter().find(|place| self.catalog.relation(place).is_some()) {
            Some(found) => self.listed(&found),
            None => Err(Refused::not_in_role(format!("`{}` is not among the tables of this role", shown(name)), self.tables_hint(name))),
        }
    }

    fn listed(&self, name: &QualifiedName) -> Step<Table> {
        if self.rights.tables.contains_key(name) && self.catalog.relation(name).is_some() {
            return Ok(Table::Listed(name.clone()));
        }
        Err(Refused::not_in_role(format!("`{name}` is not among the tables of this role"), self.tables_hint(&name.name)))
    }

    fn tables_hint(&self, wanted: &str) -> String {
        let all: Vec<String> = self.rights.tables.keys().map(|name| format!("`{name}`")).collect();
        if let Some(same) = self.rights.tables.keys().find(|name| name.name == wanted) {
            return format!("did you mean `{same}`?");
        }
        match all.len() {
            0 => "this role names no table; ask for one that does".to_owned(),
            1..=8 => format!("it has {}; ask for a role with what you need", all.join(", ")),
            more => format!("it has {} and {} more; ask for a role with what you need", all[..8].join(", "), more - 8),
        }
    }

    /// Something is done with a table as such.
    pub(super) fn may(&mut self, table: &QualifiedName, verb: Verb) -> Step {
        if self.rights.tables.get(table).is_some_and(|rights| rights.allows(verb)) {
            self.used(table, verb, None);
            return Ok(());
        }
        Err(Refused::not_in_role(format!("this role may not {verb} {} `{table}`", preposition(verb)), "ask for a role that may"))
    }

    /// Something is done with one column.
    pub(super) fn may_column(&mut self, table: &QualifiedName, verb: Verb, column: &str) -> Step {
        self.may(table, verb)?;
        if self.rights.tables.get(table).is_some_and(|rights| rights.columns(verb).allows(column)) {
            self.used(table, verb, Some(column));
            return Ok(());
        }
        let columns = self.rights.tables.get(table).map(|rights| rights.columns(verb));
        let hint = match columns {
            Some(access::rights::Columns::Only(names)) => {
                format!("it may {verb} {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
            }
            _ => "ask for a role that may".to_owned(),
        };
        Err(Refused::not_in_role(format!("this role may not {verb} the column `{}` of `{table}`", shown(column)), hint))
    }

    pub(super) fn is_masked(&self, table: &QualifiedName, column: &str) -> bool {
        self.rights.tables.get(table).is_some_and(|rights| rights.masked.contains(column))
    }

    /// A table as something to select from.
    pub(super) fn item_of(&self, table: &QualifiedName, alias: Option<&str>) -> Step<Item> {
        let relation = self
            .catalog
            .relation(table)
            .ok_or_else(|| Refused::not_in_role(format!("there is no `{table}` at the target"), "look at the name"))?;
        self.work.spend(relation.columns.len())?;
        let columns =
            relation.columns.iter().map(|c| Field { name: c.name.clone(), base: Some((table.clone(), c.name.clone())) }).collect();
        Ok(Item {
            alias: alias.unwrap_or(&table.name).to_owned(),
            table: alias.is_none().then(|| table.clone()),
            columns,
            source: Source::Table,
            settings: false,
        })
    }

    /// A view must not show what is masked or left out elsewhere: what it reads of listed tables has to be readable as it is.
    pub(super) fn view_is_open(&self, table: &QualifiedName) -> Step {
        match self.catalog.masked_below(self.rights, table) {
            None => Ok(()),
            Some((read, column)) => Err(Refused::not_in_role(
                format!("the view `{table}` reads `{column}` of `{read}`, which is masked for this role"),
                format!("read `{read}` itself"),
            )),
        }
    }

    /// A column is mentioned. Says whether it is masked, which only a bare output may be.
    pub(super) fn column(&mut self, reference: &ColumnRef, bare: bool) -> Step<bool> {
        if reference.fields.iter().any(|field| matches!(field.node, Some(NodeEnum::AStar(_)))) {
            // A star where no output list is: the whole row as a value.
            let names = texts(&reference.fields[..reference.fields.len() - 1])?;
            return self.whole_rows(&names).map(|()| false);
        }
        let names = texts(&reference.fields)?;
        match names.as_slice() {
            [column] => self.plain_column(column, bare),
            [.., column] => self.column_of(&names[..names.len() - 1], column, bare),
            [] => Err(Refused::not_understood("a column without a name")),
        }
    }

    /// Does something with what is visible, which stays as it is meanwhile.
    pub(super) fn within<T>(&mut self, look: impl FnOnce(&mut Self, &Scopes) -> Step<T>) -> Step<T> {
        let scopes = std::mem::take(&mut self.scopes);
        let looked = look(self, &scopes);
        self.scopes = scopes;
        looked
    }

    /// Everything a plain name could stand for, at every level.
    fn plain_column(&mut self, name: &str, bare: bool) -> Step<bool> {
        self.within(|walk, scopes| {
            let (mut bases, mut rows, mut found) = (Vec::new(), Vec::new(), false);
            for item in scopes.iter().flatten() {
                walk.work.spend(1 + item.columns.len())?;
                for field in item.columns.iter().filter(|field| field.name == name) {
                    found = true;
                    bases.extend(field.base.as_ref());
                }
                let is_row = item.alias == name || (item.source == Source::Table && SYSTEM_COLUMNS.contains(&name));
                rows.extend(is_row.then_some(item));
                found |= is_row || !item.is_known();
            }
            if !found {
                return Err(Refused::not_in_role(
                    format!("there is no column `{}` here that this role could mean", shown(name)),
                    "look at the name, or write it with its table",
                ));
            }
            rows.into_iter().try_for_each(|item| walk.whole_row(item))?;
            walk.bases(&bases, bare)
        })
    }

    /// Everything that a name with a table before it could stand for, at every level.
    fn column_of(&mut self, qualifier: &[&str], name: &str, bare: bool) -> Step<bool> {
        self.within(|walk, scopes| {
            let (mut bases, mut rows, mut found) = (Vec::new(), Vec::new(), false);
            for item in walk.named(scopes, qualifier)? {
                walk.work.spend(item.columns.len())?;
                let mut hits = item.columns.iter().filter(|field| field.name == name).peekable();
                if hits.peek().is_some() {
                    found = true;
                    bases.extend(hits.filter_map(|field| field.base.as_ref()));
                    continue;
                }
                match item.source {
                    Source::Table if SYSTEM_COLUMNS.contains(&name) => {
                        found = true;
                        rows.push(item);
                    }
                    // `row.name` with no such column is `name(row)`.
                    Source::Catalog | Source::Unknown => {
                        walk.field(name, true)?;
                        found = true;
                    }
                    Source::Function if item.alias == name => found = true,
                    Source::Function => {
                        walk.field(name, false)?;
                        found = true;
                    }
                    Source::Table | Source::Derived => {}
                }
            }
            if !found {
                let whole = qualifier.iter().chain([&name]).map(|part| shown(part)).collect::<Vec<_>>().join(".");
                return Err(Refused::not_in_role(
                    format!("there is no column `{whole}` here that this role could mean"),
                    "look at the name",
                ));
            }
            rows.into_iter().try_for_each(|item| walk.whole_row(item))?;
            walk.bases(&bases, bare)
        })
    }

    fn bases(&mut self, bases: &[&(QualifiedName, String)], bare: bool) -> Step<bool> {
        self.work.spend(bases.len() * HELD)?;
        let mut masked = false;
        for (table, column) in bases {
            self.may_column(table, Verb::Select, column)?;
            if self.is_masked(table, column) {
                masked = true;
                if !bare {
                    return Err(Refused::not_in_role(
                        format!(
                            "`{column}` of `{table}` is masked for this role: it may stand alone as an output column, and nowhere else"
                        ),
                        format!("leave `{column}` out of conditions, computations, sub-selects and ordering"),
                    ));
                }
            }
        }
        Ok(masked)
    }

    /// The items among these that go by a name: `alias`, or `schema.table`.
    pub(super) fn named<'s>(&self, scopes: &'s Scopes, qualifier: &[&str]) -> Step<Vec<&'s Item>> {
        self.work.spend(scopes.iter().map(Vec::len).sum())?;
        let found = scope::named(scopes, qualifier)
            .ok_or_else(|| Refused::not_in_role("a name with a database in it", "leave the database out of the name"))?;
        if found.is_empty() {
            let shown: Vec<String> = qualifier.iter().map(|part| shown(part)).collect();
            return Err(Refused::not_in_role(
                format!("there is no table `{}` in this statement that this role could mean", shown.join(".")),
                "look at the name",
            ));
        }
        Ok(found)
    }

    fn whole_rows(&mut self, qualifier: &[&str]) -> Step {
        if qualifier.is_empty() {
            return Err(Refused::not_understood("a star where no column can stand"));
        }
        self.within(|walk, scopes| walk.named(scopes, qualifier)?.into_iter().try_for_each(|item| walk.whole_row(item)))
    }

    /// Nothing but named columns is read of a table of which a masked column is not there: it may have been made since.
    pub(super) fn masks_are_known(&self, table: &QualifiedName) -> Step {
        let (Some(rights), Some(relation)) = (self.rights.tables.get(table), self.catalog.relation(table)) else { return Ok(()) };
        let missing = rights.masked.iter().find(|masked| !relation.columns.iter().any(|column| column.name == **masked));
        missing.map_or(Ok(()), |masked| {
            Err(Refused::not_in_role(
                format!("`{}` of `{table}` is masked for this role and was not there when this session began", shown(masked)),
                "name the columns you need, or begin another session",
            ))
        })
    }

    /// The same of every table that an item has columns of, be it behind the alias of a join.
    pub(super) fn masks_of_item_are_known(&self, item: &Item) -> Step {
        let tables: BTreeSet<&QualifiedName> =
            item.columns.iter().filter_map(|field| field.base.as_ref()).map(|(table, _)| table).collect();
        tables.into_iter().try_for_each(|table| self.masks_are_known(table))
    }

    /// A row as a value holds each of its columns.
    pub(super) fn whole_row(&mut self, item: &Item) -> Step {
        self.work.spend(item.columns.len() * HELD)?;
        self.masks_of_item_are_known(item)?;
        for field in &item.columns {
            if let Some((table, column)) = &field.base {
                self.may_column(table, Verb::Select, column)?;
                if self.is_masked(table, column) {
                    return Err(Refused::not_in_role(
                        format!("a whole row of `{table}` holds `{column}`, which is masked for this role"),
                        "name the columns you need",
                    ));
                }
            }
        }
        if let Some((table, _)) = item.columns.iter().find_map(|field| field.base.as_ref()) {
            let all = self.rights.tables.get(table).is_some_and(|rights| rights.select == access::rights::Columns::All);
            if item.source == Source::Table && !all {
                return Err(Refused::not_in_role(
                    format!("this role may read only some columns of `{table}`"),
                    "name the columns you need",
                ));
            }
        }
        Ok(())
    }

    /// A field of a value: `(value).name` may be the call of a function, so it is held to what a call is.
    pub(super) fn field(&self, name: &str, of_row: bool) -> Step {
        let own = self
            .catalog
            .functions(name)
            .iter()
            .any(|function| !self.rights.functions.contains(&QualifiedName::new(&function.schema, name)));
        let known = of_row
            || builtin::is_known_field(name)
            || builtin::is_harmless(name)
            || (self.catalog.has_column_named(name) && !name.starts_with("pg_"));
        if known && !own {
            return Ok(());
        }
        Err(Refused::not_in_role(
            format!("`{}` behind a value could be the call of a function that this role may not call", shown(name)),
            "give the value's columns names of their own, as in `AS t(a, b)`",
        ))
    }

    /// A function is called.
    pub(super) fn function(&mut self, names: &[&str]) -> Step {
        if self.has_masks && !names.last().is_some_and(|name| builtin::is_harmless(name)) {
            // What it does with its arguments, nobody here can tell.
            self.hidden = Hidden::Everything;
        }
        let refused = |name: &str| {
            let hint = match self.rights.functions.len() {
                0 => "built-in functions that only compute are allowed".to_owned(),
                _ => format!(
                    "besides built-in functions that only compute there is {}",
                    self.rights.functions.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(", ")
                ),
            };
            Err(Refused::not_in_role(format!("this role may not call the function `{}`", shown(name)), hint))
        };
        match names {
            ["pg_catalog", name] if builtin::is_harmless(name) => Ok(()),
            // What JDBC's driver asks for keys with.
            [
                "information_schema",
                "_pg_expandarray"
                | "_pg_char_max_length"
                | "_pg_numeric_precision"
                | "_pg_numeric_scale"
                | "_pg_truetypid"
                | "_pg_truetypmod"
                | "_pg_datetime_precision",
            ] => Ok(()),
            [schema, name] if self.rights.functions.contains(&QualifiedName::new(*schema, *name)) => Ok(()),
            [name] => self.plain_function(name).then_some(()).map_or_else(|| refused(name), Ok),
            other => refused(&other.join(".")),
        }
    }

    /// A function's name without its schema may stand for several functions; each has to be allowed.
    fn plain_function(&self, name: &str) -> bool {
        let path = self.rights.schemas();
        let own: Vec<_> = self.catalog.functions(name).iter().filter(|function| path.contains(&function.schema.as_str())).collect();
        let listed = |schema: &str| self.rights.functions.contains(&QualifiedName::new(schema, name));
        if builtin::is_harmless(name) {
            return own.iter().all(|function| function.compiled || listed(&function.schema));
        }
        !own.is_empty() && own.iter().all(|function| listed(&function.schema) && !function.shadows)
    }

    /// A built-in operator is used without being written.
    pub(super) fn unwritten_operator(&self, name: &str) -> Step {
        if !self.catalog.has_own_operator(name) {
            return Ok(());
        }
        Err(Refused::not_in_role(
            format!("`{name}` stands behind this, and could be an operator that was made here and runs a function"),
            format!("compare with `OPERATOR(pg_catalog.{name})`"),
        ))
    }

    /// An operator is used.
    pub(super) fn operator(&self, names: &[Node]) -> Step {
        match texts(names)?.as_slice() {
            ["pg_catalog", _] | [] => Ok(()),
            [name] if !self.catalog.has_own_operator(name) => Ok(()),
            [name] => Err(Refused::not_in_role(
                format!("`{}` could be an operator that was made here and runs a function", shown(name)),
                format!("write `OPERATOR(pg_catalog.{})` for the built-in one", shown(name)),
            )),
            other => Err(Refused::not_in_role(
                format!("this role may not use the operator `{}`", shown(&other.join("."))),
                "built-in operators are allowed",
            )),
        }
    }
}

fn preposition(verb: Verb) -> &'static str {
    match verb {
        Verb::Insert => "into",
        Verb::Delete | Verb::Select => "from",
        Verb::Update | Verb::Truncate => "the table",
    }
}
