//! What the judge has to know of the target: tables, their columns, and functions that could stand before built-in ones.
//!
//! A relay runs [`Catalog::query`] at the target before the client's first statement, on the account of the session, and reads the
//! rows with [`Catalog::from_rows`]. Nothing in it is secret: every account may read it.

use std::collections::{BTreeMap, BTreeSet};

use access::rights::{DatabaseRights, QualifiedName};

/// Tables, views and functions of the target in the schemas a role can reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    relations: BTreeMap<QualifiedName, Relation>,
    functions: BTreeMap<String, Vec<Function>>,
    operators: BTreeSet<String>,
    /// Types that a function makes or checks values of, by their names, with these functions.
    types: BTreeMap<String, BTreeSet<QualifiedName>>,
    /// Which table inherits from which: child and parent.
    inherits: BTreeSet<(QualifiedName, QualifiedName)>,
    /// Sequences, each with the table that its numbers are for.
    sequences: BTreeMap<QualifiedName, QualifiedName>,
}

/// A table, view, or anything else with columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relation {
    /// Its object identifier, as a `RowDescription` names it.
    pub oid: u32,
    /// Its columns in their order, without dropped ones.
    pub columns: Vec<Column>,
    /// What a view reads: table and column.
    pub reads: BTreeSet<(QualifiedName, String)>,
    /// Whether it is a view of which nobody says what it reads (MySQL, MariaDB).
    pub opaque: bool,
    /// Whether PostgreSQL copies it by a query only: a view, a table of partitions, a foreign table. Known where a role copies and masks.
    pub by_query: bool,
    /// Columns that are computed from others, which `COPY` of the table leaves out. Known where a role copies and masks.
    pub generated: BTreeSet<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its attribute number, as a `RowDescription` names it.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// The object identifier of its type.
    pub type_oid: u32,
}

/// A function that is not built in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) schema: String,
    /// Whether a built-in one has the same name.
    pub(crate) shadows: bool,
    /// Whether it was written in a language that only an administrator installs (C), and runs as its caller.
    pub(crate) compiled: bool,
}

/// A row of the catalog query that does not look as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the target's catalog cannot be read: {0}; a restricted session cannot start without it")]
pub struct CatalogError(String);

/// How many columns the rows of [`Catalog::query`] have.
pub const WIDTH: usize = 7;

fn literal(text: &str) -> String {
    // Read with `standard_conforming_strings = on`, which a judged session is pinned to.
    format!("'{}'", text.replace('\'', "''"))
}

impl Catalog {
    /// The statement whose rows [`Catalog::from_rows`] reads: plain text columns, one result set.
    #[must_use]
    pub fn query(rights: &DatabaseRights) -> String {
        let mut schemas: BTreeSet<&str> = rights.schemas().into_iter().collect();
        schemas.extend(rights.tables.keys().chain(&rights.functions).map(|name| name.schema.as_str()));
        let list = schemas.into_iter().map(literal).collect::<Vec<_>>().join(", ");
        // A view that uses a whole row somewhere reads every column of its tables: what it depends on says nothing of that, its tree does.
        let whole = if rights.has_masks() { "pg_catalog.strpos(ev_action::text, ':varattno 0 ') > 0" } else { "false" };
        let rules = format!("SELECT oid, ev_class, {whole} AS whole FROM pg_catalog.pg_rewrite WHERE oid >= 16384 OFFSET 0");
        // What a cast or a domain runs, nobody writes.
        let cast =
            |side: &str| format!("SELECT {side} AS type, castfunc AS func FROM pg_catalog.pg_cast WHERE oid >= 16384 AND castfunc <> 0");
        let types = format!(
            "{} UNION ALL {} UNION ALL SELECT c.contypid, d.refobjid FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_depend d \
             ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid \
             AND d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass WHERE c.contypid <> 0",
            cast("castsource"),
            cast("casttarget")
        );
        // And whatever is made of such a type runs it too: arrays, domains over it, ranges, rows that have it.
        let made = "SELECT refobjid AS part, objid AS whole FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass \
             AND refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass UNION ALL SELECT a.atttypid, c.reltype FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_class c ON c.oid = a.attrelid WHERE a.atttypid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0";
        let types = format!(
            "WITH RECURSIVE runs AS (SELECT type, func FROM ({types}) first WHERE type >= 16384 \
             UNION SELECT made.whole, runs.func FROM runs JOIN ({made}) made ON made.part = runs.type) SELECT type, func FROM runs"
        );
        let copied = if rights.has_masks() && rights.copy_out {
            format!(
                "UNION ALL SELECT 'by query', n.nspname::text, c.relname::text, '', '', '', '' \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname IN ({list}) AND c.relkind IN ('v', 'm', 'f', 'p', 'S') \
                 UNION ALL SELECT 'generated', n.nspname::text, c.relname::text, a.attname::text, '', '', '' \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
                 WHERE n.nspname IN ({list}) AND a.attgenerated <> '' AND c.relkind IN ('r', 'v', 'm', 'f', 'p') "
            )
        } else {
            String::new()
        };
        format!(
            "SELECT 'column', n.nspname::text, c.relname::text, c.oid::text, a.attnum::text, a.attname::text, a.atttypid::text \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE n.nspname IN ({list}) AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S') \
             UNION ALL \
             SELECT DISTINCT 'reads', vn.nspname::text, v.relname::text, tn.nspname::text, t.relname::text, a.attname::text, '' \
             FROM pg_catalog.pg_depend d JOIN ({rules}) r ON r.oid = d.objid \
             JOIN pg_catalog.pg_class v ON v.oid = r.ev_class JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace \
             JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND (a.attnum = d.refobjsubid OR r.whole) \
             AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
             AND v.oid <> t.oid AND vn.nspname NOT IN ('pg_catalog', 'information_schema') \
             UNION ALL \
             SELECT 'inherits', cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, '', '' \
             FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
             JOIN pg_catalog.pg_class p ON p.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
             WHERE c.relkind IN ('r', 'f', 'p') \
             UNION ALL \
             SELECT DISTINCT 'sequence', sn.nspname::text, s.relname::text, tn.nspname::text, t.relname::text, '', '' \
             FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S' \
             JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace JOIN pg_catalog.pg_class t ON t.oid = d.refobjid \
             JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
             AND d.deptype IN ('a', 'i') AND tn.nspname IN ({list}) \
             UNION ALL \
             SELECT DISTINCT 'function', n.nspname::text, p.proname::text, \
             (EXISTS (SELECT FROM pg_catalog.pg_proc b WHERE b.proname = p.proname AND b.pronamespace = 'pg_catalog'::pg_catalog.regnamespace))::text, \
             (l.lanname IN ('c', 'internal') AND NOT p.prosecdef)::text, '', '' \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE n.nspname IN ({list}) \
             UNION ALL \
             SELECT DISTINCT 'operator', n.nspname::text, o.oprname::text, '', '', '', '' \
             FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace \
             JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             WHERE n.nspname IN ({list}) AND (l.lanname NOT IN ('c', 'internal') OR p.prosecdef) \
             UNION ALL \
             SELECT DISTINCT 'type', n.nspname::text, t.typname::text, fn.nspname::text, p.proname::text, '', '' \
             FROM ({types}) u JOIN pg_catalog.pg_type t ON t.oid = u.type JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
             JOIN pg_catalog.pg_proc p ON p.oid = u.func JOIN pg_catalog.pg_namespace fn ON fn.oid = p.pronamespace \
             JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND (l.lanname NOT IN ('c', 'internal') OR p.prosecdef) \
             {copied}ORDER BY 1, 2, 3, 5"
        )
    }

    /// The catalog as the query's rows tell it.
    ///
    /// # Errors
    /// If a row does not have the shape the query gives it.
    pub fn from_rows<'r>(rows: impl IntoIterator<Item = [Option<&'r str>; WIDTH]>) -> Result<Self, CatalogError> {
        let mut catalog = Self::default();
        for row in rows {
            catalog.take(row).ok_or_else(|| CatalogError(format!("a row has an unexpected shape, {row:?}")))?;
        }
        for relation in catalog.relations.values_mut() {
            relation.columns.sort_by_key(|column| column.number);
        }
        Ok(catalog)
    }

    fn take(&mut self, row: [Option<&str>; WIDTH]) -> Option<()> {
        let [kind, schema, name, a, b, c, d] = row;
        let (schema, name) = (schema?, name?);
        match kind? {
            "column" => {
                let relation = self.relations.entry(QualifiedName::new(schema, name)).or_default();
                relation.oid = a?.parse().ok()?;
                if let Some(number) = b {
                    relation.columns.push(Column { number: number.parse().ok()?, name: c?.to_owned(), type_oid: d?.parse().ok()? });
                }
            }
            "by query" => self.relations.entry(QualifiedName::new(schema, name)).or_default().by_query = true,
            "generated" => {
                self.relations.entry(QualifiedName::new(schema, name)).or_default().generated.insert(a?.to_owned());
            }
            "view" => self.relations.entry(QualifiedName::new(schema, name)).or_default().opaque = true,
            "reads" => {
                let relation = self.relations.entry(QualifiedName::new(schema, name)).or_default();
                relation.reads.insert((QualifiedName::new(a?, b?), c?.to_owned()));
            }
            "function" => self.functions.entry(name.to_owned()).or_default().push(Function {
                schema: schema.to_owned(),
                shadows: a? == "true",
                compiled: b? == "true",
            }),
            "inherits" => {
                self.inherits.insert((QualifiedName::new(schema, name), QualifiedName::new(a?, b?)));
            }
            "sequence" => {
                self.sequences.insert(QualifiedName::new(schema, name), QualifiedName::new(a?, b?));
            }
            "type" => {
                self.types.entry(name.to_owned()).or_default().insert(QualifiedName::new(a?, b?));
            }
            "operator" => {
                self.operators.insert(name.to_owned());
            }
            _ => return None,
        }
        Some(())
    }

    /// A catalog of plain tables, each with its columns in order; for tests and for looking at statements without a target.
    #[must_use]
    pub fn of_tables(tables: &[(&str, &[&str])]) -> Self {
        let mut catalog = Self::default();
        for (at, (table, columns)) in (16_384_u32..).zip(tables) {
            let Ok(name) = table.parse() else { continue };
            let columns = (1_i16..).zip(*columns).map(|(number, name)| Column { number, name: (*name).to_owned(), type_oid: 25 }).collect();
            catalog.relations.insert(name, Relation { oid: at, columns, ..Relation::default() });
        }
        catalog
    }

    /// A catalog of tables with columns in whatever order, and of functions, for looking at statements without a target.
    pub(crate) fn imagined(tables: impl Iterator<Item = (QualifiedName, Vec<String>)>, functions: &BTreeSet<QualifiedName>) -> Self {
        let mut catalog = Self::default();
        for (oid, (table, columns)) in (16_384_u32..).zip(tables) {
            let columns = (1_i16..).zip(columns).map(|(number, name)| Column { number, name, type_oid: 25 }).collect();
            catalog.relations.insert(table, Relation { oid, columns, ..Relation::default() });
        }
        for function in functions {
            let one = Function { schema: function.schema.clone(), shadows: false, compiled: false };
            catalog.functions.entry(function.name.clone()).or_default().push(one);
        }
        catalog
    }

    /// The same catalog but for one column.
    pub(crate) fn without_column(&self, table: &QualifiedName, column: &str) -> Self {
        let mut catalog = self.clone();
        if let Some(relation) = catalog.relations.get_mut(table) {
            relation.columns.retain(|one| one.name != column);
        }
        catalog
    }

    /// A table or view.
    #[must_use]
    pub fn relation(&self, name: &QualifiedName) -> Option<&Relation> {
        self.relations.get(name)
    }

    /// The columns that are masked, as a `RowDescription` names them: table object identifier and attribute number.
    #[must_use]
    pub fn masked_attributes(&self, rights: &DatabaseRights) -> BTreeSet<(u32, i16)> {
        let mut out = BTreeSet::new();
        for (name, table) in &rights.tables {
            let Some(relation) = self.relation(name) else { continue };
            out.extend(
                relation.columns.iter().filter(|column| table.masked.contains(&column.name)).map(|column| (relation.oid, column.number)),
            );
        }
        out
    }

    /// The rights with what is masked in a table masked in those it inherits from and those that inherit from it: they show the same rows.
    #[must_use]
    pub fn with_inherited_masks(&self, mut rights: DatabaseRights) -> DatabaseRights {
        if !rights.has_masks() {
            return rights;
        }
        let mut masked: BTreeMap<QualifiedName, BTreeSet<String>> =
            rights.tables.iter().map(|(name, table)| (name.clone(), table.masked.clone())).collect();
        loop {
            let before = masked.clone();
            for (one, other) in self.inherits.iter().flat_map(|(child, parent)| [(child, parent), (parent, child)]) {
                let more = masked.get(one).cloned().unwrap_or_default();
                masked.entry(other.clone()).or_default().extend(more);
            }
            if masked == before {
                break;
            }
        }
        for (name, table) in &mut rights.tables {
            table.masked = masked.remove(name).unwrap_or_default();
        }
        rights
    }

    /// A masked column that a view reads, itself or through other views.
    pub(crate) fn masked_below(&self, rights: &DatabaseRights, view: &QualifiedName) -> Option<(QualifiedName, String)> {
        let (mut open, mut seen) = (vec![view.clone()], BTreeSet::new());
        while let Some(name) = open.pop() {
            let Some(relation) = self.relation(&name) else { continue };
            for (table, column) in &relation.reads {
                if rights.tables.get(table).is_some_and(|rights| rights.masked.contains(column)) {
                    return Some((table.clone(), column.clone()));
                }
                if seen.insert(table.clone()) {
                    open.push(table.clone());
                }
            }
        }
        None
    }

    /// Names that stand for masked values: columns, their tables, and views that read them.
    pub(crate) fn touchy_names<'a>(&'a self, rights: &'a DatabaseRights) -> BTreeSet<&'a str> {
        let tables = rights.tables.iter().filter(|(_, table)| !table.masked.is_empty());
        let mut out: BTreeSet<&str> =
            tables.flat_map(|(name, table)| table.masked.iter().map(String::as_str).chain([name.name.as_str()])).collect();
        out.extend(self.relations.keys().filter(|view| self.masked_below(rights, view).is_some()).map(|view| view.name.as_str()));
        out
    }

    /// Whether something here goes by this name.
    pub(crate) fn knows_name(&self, name: &str) -> bool {
        self.functions.contains_key(name)
            || self.has_column_named(name)
            || self.relations.keys().any(|relation| relation.name == name || relation.schema == name)
    }

    /// The table that a sequence gives numbers for.
    pub(crate) fn table_of_sequence(&self, sequence: &QualifiedName) -> Option<&QualifiedName> {
        self.sequences.get(sequence)
    }

    /// Every column there is, as a `RowDescription` names it: table object identifier and attribute number.
    pub fn attributes(&self) -> impl Iterator<Item = (u32, i16)> + '_ {
        self.relations.values().flat_map(|relation| relation.columns.iter().map(|column| (relation.oid, column.number)))
    }

    /// Every column there is, by its table and its name.
    pub fn names(&self) -> impl Iterator<Item = (&QualifiedName, &str)> {
        self.relations.iter().flat_map(|(table, relation)| relation.columns.iter().map(move |column| (table, column.name.as_str())))
    }

    pub(crate) fn functions(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has_own_operator(&self, name: &str) -> bool {
        self.operators.contains(name)
    }

    /// The functions that run when a value becomes one of this type, or stops being one.
    pub(crate) fn run_by_type(&self, name: &str) -> impl Iterator<Item = &QualifiedName> {
        self.types.get(name).into_iter().flatten()
    }

    pub(crate) fn has_column_named(&self, name: &str) -> bool {
        self.relations.values().any(|relation| relation.columns.iter().any(|column| column.name == name))
    }
}
