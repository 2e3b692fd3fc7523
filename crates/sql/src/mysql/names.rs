//! Tables, columns, functions and settings that a statement names, held against the role.

use std::collections::BTreeSet;

use access::rights::{Columns, QualifiedName, Verb};
use sqlparser::ast::{Assignment, AssignmentTarget, ContextModifier, Ident, ObjectName, Set, TableFactor, TableWithJoins};

use super::fold::{folded, is_plain, same};
use super::lists::{FUNCTIONS, SETTINGS};
use super::seen::{Seen, key, last, word};
use super::{Bare, Look, Step};
use crate::verdict::{Refused, shown};

impl Look<'_> {
    /// Each column of a table whose name stands in the statement. Says which outputs are masked.
    pub(super) fn columns(&self, table: &QualifiedName, seen: &Seen, written: &[String], bare: &[Bare]) -> Step<BTreeSet<usize>> {
        let rights = self.rights.tables.get(table).cloned().unwrap_or_default();
        let closed = !rights.masked.is_empty() || rights.select != Columns::All;
        if closed && self.natural {
            return Err(Refused::not_in_role(
                format!("a natural join compares columns of `{table}` that this role may not see"),
                "join with `ON`",
            ));
        }
        if seen.outer_star || seen.inner_star {
            self.star(table)?;
        }
        let star_masked = seen.outer_star && !rights.masked.is_empty();
        if seen.inner_star && !rights.masked.is_empty() {
            return Err(Refused::not_in_role(
                format!("`*` stands for masked columns of `{table}`"),
                "inside another query, name the columns you need",
            ));
        }
        let mut masked_outputs = BTreeSet::new();
        let columns = self.catalog.relation(table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
        for column in columns {
            let name = folded(&column.name);
            let stands = seen.names.get(&name).copied().unwrap_or(0);
            let only_written = written.iter().filter(|w| **w == name).count();
            if stands <= only_written {
                continue;
            }
            self.may_column(table, Verb::Select, &column.name)?;
            if !rights.masked.iter().any(|masked| folded(masked) == name) {
                continue;
            }
            let alone: Vec<_> = bare.iter().filter(|(_, bare, _)| *bare == name).collect();
            if let Some(alias) = alone.iter().filter_map(|(_, _, alias)| alias.as_ref()).find(|alias| !is_plain(alias)) {
                return Err(Refused::not_in_role(
                    format!("`{}` of `{table}` is masked for this role, and may not be called `{}`", column.name, shown(alias)),
                    "give it a name of at most 64 plain letters, digits and blanks, without a blank at either end",
                ));
            }
            let named_again = alone
                .iter()
                .filter_map(|(_, _, alias)| alias.as_ref())
                .any(|alias| *alias != name && seen.names.get(alias).copied().unwrap_or(0) > 1);
            if stands > only_written + alone.len() || named_again {
                return Err(Refused::not_in_role(
                    format!(
                        "`{}` of `{table}` is masked for this role: it may stand alone as an output column, and nowhere else",
                        column.name
                    ),
                    "leave it out of conditions, computations, sub-selects and ordering",
                ));
            }
            masked_outputs.extend(alone.into_iter().map(|(at, ..)| *at));
        }
        if (star_masked || !masked_outputs.is_empty()) && (seen.by_number || seen.distinct) {
            return Err(Refused::not_in_role(
                "rows cannot be ordered, grouped or made distinct by number beside a masked output",
                "name the columns",
            ));
        }
        Ok(if star_masked { BTreeSet::new() } else { masked_outputs })
    }

    /// Whether the role may read whatever `*` stands for.
    fn star(&self, table: &QualifiedName) -> Step {
        let Some(Columns::Only(may)) = self.rights.tables.get(table).map(|rights| &rights.select) else { return Ok(()) };
        let columns = self.catalog.relation(table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
        let may_read = |name: &str| may.iter().any(|one| same(one, name));
        // An account sees its own columns alone: a gap in their numbers is one of somebody else's.
        let without_gaps = (1_i16..).zip(columns).all(|(number, column)| column.number == number);
        if !columns.is_empty() && without_gaps && columns.iter().all(|column| may_read(&column.name)) {
            return Ok(());
        }
        let readable: Vec<String> =
            columns.iter().filter(|column| may_read(&column.name)).map(|column| format!("`{}`", shown(&column.name))).collect();
        Err(Refused::not_in_role(
            format!("`*` stands for columns of `{table}` that this role may not read"),
            if readable.is_empty() {
                "name the columns you need".to_owned()
            } else {
                format!("write {} in its place", readable.join(", "))
            },
        ))
    }

    pub(super) fn table(&self, name: &ObjectName) -> Step<QualifiedName> {
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let found = match (parts.as_slice(), self.database) {
            ([table], Some(database)) if name.0.len() == 1 => QualifiedName::new(database, &table.value),
            ([schema, table], _) if name.0.len() == 2 => QualifiedName::new(&schema.value, &table.value),
            _ => {
                return Err(Refused::not_in_role(format!("`{}` is no table here", shown(&name.to_string())), "write it with its database"));
            }
        };
        if self.rights.tables.contains_key(&found) && self.catalog.relation(&found).is_some() {
            return Ok(found);
        }
        let all: Vec<String> = self.rights.tables.keys().map(|name| format!("`{name}`")).collect();
        Err(Refused::not_in_role(format!("`{found}` is not among the tables of this role"), format!("it has {}", all.join(", "))))
    }

    /// Of a view the server does not say what it reads, so where something is masked it is closed, and for writing too: what it was given
    /// could be a value of a masked column.
    pub(super) fn not_opaque(&self, table: &QualifiedName) -> Step {
        let opaque = self.catalog.relation(table).is_some_and(|relation| relation.opaque);
        if !opaque || !self.rights.has_masks() {
            return Ok(());
        }
        Err(Refused::not_in_role(
            format!("`{table}` is a view, and nobody here can tell whether it shows columns that are masked for this role"),
            "use the tables that it reads, or ask for a role without masks that has the view",
        ))
    }

    pub(super) fn all_tables(&self, from: &[TableWithJoins]) -> Step<Vec<QualifiedName>> {
        let factors = from.iter().flat_map(|one| std::iter::once(&one.relation).chain(one.joins.iter().map(|join| &join.relation)));
        factors
            .map(|factor| match factor {
                TableFactor::Table { name, .. } => self.table(name),
                _ => Err(Refused::not_understood("a change of something that is no table")),
            })
            .collect()
    }

    pub(super) fn may(&self, table: &QualifiedName, verb: Verb) -> Step {
        if self.rights.tables.get(table).is_some_and(|rights| rights.allows(verb)) {
            return Ok(());
        }
        Err(Refused::not_in_role(format!("this role may not {verb} in `{table}`"), "ask for a role that may"))
    }

    pub(super) fn may_column(&self, table: &QualifiedName, verb: Verb, column: &str) -> Step {
        let columns = self.rights.tables.get(table).map(|rights| rights.columns(verb)).unwrap_or_default();
        let allowed = match &columns {
            Columns::None => false,
            Columns::All => true,
            // Names of columns are the same in capitals.
            Columns::Only(names) => self.meant(table, column).iter().all(|column| names.iter().any(|name| same(name, column))),
        };
        if allowed {
            return Ok(());
        }
        Err(Refused::not_in_role(
            format!("this role may not {verb} the column `{}` of `{table}`", shown(column)),
            "ask for a role that may",
        ))
    }

    pub(super) fn all_columns(&self, table: &QualifiedName, verb: Verb) -> Step {
        let columns = self.catalog.relation(table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
        columns.iter().try_for_each(|column| self.may_column(table, verb, &column.name))
    }

    /// Columns that get a value; each table that has one of that name counts.
    pub(super) fn assigned(&self, tables: &[QualifiedName], assignments: &[Assignment], verb: Verb) -> Step<Vec<String>> {
        let mut written = Vec::new();
        for assignment in assignments {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                return Err(Refused::not_understood("an assignment of an unknown kind"));
            };
            let Some(column) = last(target) else { return Err(Refused::not_understood("an assignment to nothing")) };
            let mut found = false;
            for table in tables {
                let has = self.catalog.relation(table).is_some_and(|r| r.columns.iter().any(|c| folded(&c.name) == key(column)));
                if has {
                    found = true;
                    self.may_column(table, verb, &column.value)?;
                }
            }
            if !found {
                return Err(Refused::not_in_role(format!("there is no column `{}` here", shown(&column.value)), "look at the name"));
            }
            written.push(key(column));
        }
        Ok(written)
    }

    pub(super) fn function(&self, name: &ObjectName) -> Step {
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let own = |schema: &str, name: &str| self.rights.functions.contains(&QualifiedName::new(schema, name));
        let allowed = match (parts.as_slice(), self.database) {
            ([one], database) => {
                let word = word(one);
                FUNCTIONS.split_ascii_whitespace().any(|known| known == word) || database.is_some_and(|database| own(database, &one.value))
            }
            ([schema, one], _) => own(&schema.value, &one.value),
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        Err(Refused::not_in_role(
            format!("this role may not call the function `{}`", shown(&name.to_string())),
            "built-in functions that only compute are allowed",
        ))
    }

    pub(super) fn set(&self, set: &Set) -> Step {
        let refused = |name: &str| {
            Err(Refused::not_in_role(
                format!("this role may not change the setting `{}`", shown(name)),
                "what decides how a statement is read is pinned under a restricted role",
            ))
        };
        match set {
            Set::SingleAssignment { scope, variable, .. } => self.variable(scope.as_ref(), variable),
            Set::MultipleAssignments { assignments } => assignments.iter().try_for_each(|one| self.variable(one.scope.as_ref(), &one.name)),
            Set::SetNames { charset_name, .. } if matches!(word(charset_name).as_str(), "utf8" | "utf8mb4") => Ok(()),
            Set::SetTimeZone { .. } | Set::SetTransaction { snapshot: None, .. } => Ok(()),
            // Its name, and not what it was to become.
            other => refused(other.to_string().split(['=', '\'', '"']).next().unwrap_or_default().trim_end()),
        }
    }

    pub(super) fn variable(&self, scope: Option<&ContextModifier>, name: &ObjectName) -> Step {
        let text = name.to_string().to_ascii_lowercase().replace('`', "");
        let plain = text.trim_start_matches("@@").trim_start_matches("session.").trim_start_matches("local.");
        let own = text.starts_with('@') && !text.starts_with("@@");
        let global = matches!(scope, Some(ContextModifier::Global)) || plain.starts_with("global.");
        if !global && (own || SETTINGS.split_ascii_whitespace().any(|known| known == plain)) {
            return Ok(());
        }
        Err(Refused::not_in_role(
            format!("this role may not change the setting `{}`", shown(&text)),
            "what decides how a statement is read is pinned under a restricted role",
        ))
    }
}
