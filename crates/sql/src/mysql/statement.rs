//! What each kind of statement may do.

use std::collections::{BTreeMap, BTreeSet};

use access::rights::{QualifiedName, Verb};
use sqlparser::ast::{
    Expr, FromTable, ObjectName, OnInsert, Query, Select, SelectItem, SetExpr, ShowCreateObject, Statement, TableFactor, TableObject,
    TableWithJoins, Visit,
};

use super::fold::folded;
use super::lists::is_information;
use super::seen::{Seen, key, last, word};
use super::{Bare, Look, Step};
use crate::verdict::{Allowed, Refused, Use, shown};

impl Look<'_> {
    pub(super) fn statement(&self, statement: &Statement) -> Step<Allowed> {
        match statement {
            Statement::Query(query) => self.query(statement, query),
            Statement::Insert(insert) => {
                let TableObject::TableName(name) = &insert.table else {
                    return Err(Refused::not_understood("an insert into something that is no table"));
                };
                if insert.multi_table_insert_type.is_some()
                    || insert.output.is_some()
                    || insert.partitioned.is_some()
                    || insert.returning.is_some()
                {
                    return Err(Refused::not_understood("an insert with parts that are not known here"));
                }
                let target = self.table(name)?;
                self.may(&target, Verb::Insert)?;
                if insert.replace_into {
                    self.may(&target, Verb::Delete)?;
                }
                let mut written: Vec<String> = insert.columns.iter().filter_map(last).map(key).collect();
                if insert.columns.is_empty() && insert.assignments.is_empty() {
                    self.all_columns(&target, Verb::Insert)?;
                }
                for column in insert.columns.iter().filter_map(last) {
                    self.may_column(&target, Verb::Insert, &column.value)?;
                }
                written.extend(self.assigned(std::slice::from_ref(&target), &insert.assignments, Verb::Insert)?);
                match &insert.on {
                    None => {}
                    Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
                        written.extend(self.assigned(std::slice::from_ref(&target), assignments, Verb::Update)?);
                    }
                    Some(_) => return Err(Refused::not_understood("an insert with a conflict clause that is not MariaDB's")),
                }
                self.rest("insert", statement, &written, &[], Some(name))
            }
            Statement::Update(update) => {
                if update.from.is_some() || update.returning.is_some() || update.output.is_some() {
                    return Err(Refused::not_understood("an update with parts that are not known here"));
                }
                let targets = self.all_tables(std::slice::from_ref(&update.table))?;
                let written = self.assigned(&targets, &update.assignments, Verb::Update)?;
                self.rest("update", statement, &written, &[], single(&update.table))
            }
            Statement::Delete(delete) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
                if delete.returning.is_some() || delete.output.is_some() {
                    return Err(Refused::not_understood("a delete with parts that are not known here"));
                }
                // Of a delete from several tables each counts as one that rows go from.
                for table in self.all_tables(from)?.iter().chain(&self.all_tables(delete.using.as_deref().unwrap_or_default())?) {
                    self.may(table, Verb::Delete)?;
                }
                let only = if delete.tables.is_empty() && delete.using.is_none() && from.len() == 1 {
                    from.first().and_then(single)
                } else {
                    None
                };
                self.rest("delete", statement, &[], &[], only)
            }
            Statement::Explain { statement: inner, .. } => {
                let inner = self.statement(inner)?;
                Ok(Allowed { kind: "explain", masked_outputs: BTreeSet::new(), ..inner })
            }
            Statement::ExplainTable { table_name, .. } => self.table(table_name).map(|_| plain("explain")),
            Statement::Call(function) => {
                self.function(&function.name)?;
                self.rest("call", statement, &[], &[], None)
            }
            Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. } => Ok(plain("transaction")),
            Statement::Set(set) => {
                self.set(set)?;
                self.rest("set", statement, &[], &[], None)
            }
            Statement::ShowCreate { obj_type: ShowCreateObject::Table | ShowCreateObject::View, obj_name } => {
                self.table(obj_name).map(|_| plain("show"))
            }
            Statement::ShowVariables { .. }
            | Statement::ShowStatus { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowDatabases { .. }
            | Statement::ShowCollation { .. }
            | Statement::ShowCharset(_)
            // A condition in it may hold a whole query.
            | Statement::ShowProcessList { .. } => self.rest("show", statement, &[], &[], None),
            // Messages quote values.
            Statement::ShowVariable { variable } if self.rights.has_masks() && variable.iter().any(|one| matches!(word(one).as_str(), "warnings" | "errors")) => {
                Ok(Allowed { masked_outputs: BTreeSet::from([2]), ..plain("show") })
            }
            Statement::ShowVariable { variable }
                if variable.first().is_some_and(|one| {
                    matches!(word(one).as_str(), "warnings" | "errors" | "grants" | "index" | "indexes" | "keys" | "engines" | "plugins")
                }) =>
            {
                Ok(plain("show"))
            }
            _ => Err(Refused::not_in_role(
                "this role may not use a statement of this kind",
                "it may read and change the rows of its tables; ask for a role that may do more",
            )),
        }
    }

    fn query(&self, statement: &Statement, query: &Query) -> Step<Allowed> {
        // Outputs that stand alone: a masked column may be one of them.
        let mut bare: Vec<Bare> = Vec::new();
        if let (SetExpr::Select(select), None) = (&*query.body, &query.with) {
            for (at, item) in select.projection.iter().enumerate() {
                let (expr, alias) = match item {
                    SelectItem::UnnamedExpr(expr) => (expr, None),
                    SelectItem::ExprWithAlias { expr, alias } => (expr, Some(key(alias))),
                    _ => continue,
                };
                match expr {
                    Expr::Identifier(ident) => bare.push((at, key(ident), alias)),
                    Expr::CompoundIdentifier(parts) => bare.extend(parts.last().map(|ident| (at, key(ident), alias))),
                    _ => {}
                }
            }
        }
        let is_plain = matches!(&*query.body, SetExpr::Select(_)) && query.with.is_none();
        let mut allowed = self.rest(if is_plain { "select" } else { "query" }, statement, &[], &bare, None)?;
        allowed.kind = "select";
        if let (SetExpr::Select(select), true) = (&*query.body, is_plain) {
            allowed.masked_outputs.extend(self.stars(select)?);
        }
        Ok(allowed)
    }

    /// The places in the output of a plain `SELECT` at which a `*` puts masked columns. The server names them itself; this is the second
    /// time they are looked for.
    fn stars(&self, select: &Select) -> Step<BTreeSet<usize>> {
        let has_star = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        let factors: Vec<&TableFactor> =
            select.from.iter().flat_map(|one| std::iter::once(&one.relation).chain(one.joins.iter().map(|join| &join.relation))).collect();
        let mut tables = Vec::new();
        for factor in &factors {
            match factor {
                TableFactor::Table { name, .. } if !is_information(name)? => tables.push(self.table(name)?),
                // Behind it nobody knows the places; and inside it no masked column may stand.
                _ => return Ok(BTreeSet::new()),
            }
        }
        let masks = |table: &QualifiedName| self.rights.tables.get(table).is_some_and(|rights| !rights.masked.is_empty());
        if !has_star || !tables.iter().any(masks) {
            return Ok(BTreeSet::new());
        }
        if select.projection.len() > 1 || tables.len() > 1 {
            // The column definitions say it.
            return Ok(BTreeSet::new());
        }
        let table = &tables[0];
        let columns = self.catalog.relation(table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
        let masked = self.rights.tables.get(table).map(|rights| &rights.masked);
        Ok(columns
            .iter()
            .enumerate()
            .filter(|(_, c)| masked.is_some_and(|m| m.iter().any(|m| folded(m) == folded(&c.name))))
            .map(|(at, _)| at)
            .collect())
    }

    /// Everything that stands in a statement, less what it only gives values to.
    fn rest(
        &self,
        kind: &'static str,
        statement: &Statement,
        written: &[String],
        bare: &[Bare],
        target: Option<&ObjectName>,
    ) -> Step<Allowed> {
        let mut seen = Seen::default();
        let _always_to_the_end = statement.visit(&mut seen);
        if kind != "select" {
            // Where it goes on to somewhere else than the client, a `*` is as one further in.
            seen.inner_star |= std::mem::take(&mut seen.outer_star);
        }
        if let Some(what) = seen.unknown {
            return Err(Refused::not_understood(what));
        }
        for name in &seen.given {
            let hides = |table: &QualifiedName| Some(table.schema.as_str()) == self.database && folded(&table.name) == *name;
            if self.catalog.names().any(|(table, _)| hides(table)) {
                return Err(Refused::not_in_role(
                    format!("`WITH` gives the name of the table `{}` to something else", shown(name)),
                    "take another name",
                ));
            }
        }
        self.known_letters(&seen)?;
        for function in &seen.functions {
            self.function(function)?;
        }
        let mut used = BTreeSet::new();
        for relation in &seen.relations {
            let given = relation.0.len() == 1 && last(relation).is_some_and(|name| seen.given.contains(&key(name)));
            if given || is_information(relation)? {
                continue;
            }
            let table = self.table(relation)?;
            self.not_opaque(&table)?;
            if target != Some(relation) {
                self.may(&table, Verb::Select)?;
            }
            used.insert(table);
        }
        let mut masked_outputs = BTreeSet::new();
        for table in &used {
            masked_outputs.extend(self.columns(table, &seen, written, bare)?);
        }
        let uses = used.into_iter().map(|table| Use { table, verbs: BTreeMap::new() }).collect();
        Ok(Allowed { kind, uses, masked_outputs, ..Allowed::default() })
    }
}

fn single(table: &TableWithJoins) -> Option<&ObjectName> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => Some(name),
        _ => None,
    }
}

fn plain(kind: &'static str) -> Allowed {
    Allowed { kind, ..Allowed::default() }
}
