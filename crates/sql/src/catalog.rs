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
        format!(
            "SELECT 'column', n.nspname::text, c.relname::text, c.oid::text, a.attnum::text, a.attname::text, a.atttypid::text \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE n.nspname IN ({list}) AND c.relkind IN ('r', 'v', 'm', 'f', 'p', 'S') \
             UNION ALL \
             SELECT DISTINCT 'reads', vn.nspname::text, v.relname::text, tn.nspname::text, t.relname::text, a.attname::text, '' \
             FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid \
             JOIN pg_catalog.pg_class v ON v.oid = r.ev_class JOIN pg_catalog.pg_namespace vn ON vn.oid = v.relnamespace \
             JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid \
             WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
             AND v.oid <> t.oid AND d.refobjsubid > 0 AND vn.nspname IN ({list}) \
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
             ORDER BY 1, 2, 3, 5"
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
            "reads" => {
                let relation = self.relations.entry(QualifiedName::new(schema, name)).or_default();
                relation.reads.insert((QualifiedName::new(a?, b?), c?.to_owned()));
            }
            "function" => self.functions.entry(name.to_owned()).or_default().push(Function {
                schema: schema.to_owned(),
                shadows: a? == "true",
                compiled: b? == "true",
            }),
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
            catalog.relations.insert(name, Relation { oid: at, columns, reads: BTreeSet::new() });
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

    /// Every column there is, as a `RowDescription` names it: table object identifier and attribute number.
    pub fn attributes(&self) -> impl Iterator<Item = (u32, i16)> + '_ {
        self.relations.values().flat_map(|relation| relation.columns.iter().map(|column| (relation.oid, column.number)))
    }

    pub(crate) fn functions(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn has_own_operator(&self, name: &str) -> bool {
        self.operators.contains(name)
    }

    pub(crate) fn has_column_named(&self, name: &str) -> bool {
        self.relations.values().any(|relation| relation.columns.iter().any(|column| column.name == name))
    }
}
