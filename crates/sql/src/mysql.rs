//! MySQL's and MariaDB's statements, read by `sqlparser`.
//!
//! That parser is not the server's own, so less is asked of it: which tables stand anywhere in the statement, and which names. A name
//! that is a column of any of these tables counts as that column, wherever it stands, unless it was only given a value or stands
//! alone in the outermost output. It refuses more than it would have to; what the server alone understands it never sees, since what
//! does not parse is refused, and so are comments that the server would run as code.
//!
//! The session has to be pinned: `sql_mode` without `ANSI_QUOTES` and `NO_BACKSLASH_ESCAPES`, the character set of the connection to
//! `utf8mb4`, and the database it began with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use access::rights::{Columns, DatabaseRights, QualifiedName, Verb};
use sqlparser::ast::{
    Assignment, AssignmentTarget, ContextModifier, Expr, FromTable, GroupByExpr, Ident, ObjectName, OnInsert, OrderBy, OrderByKind, Query,
    Select, SelectItem, Set, SetExpr, Statement, TableFactor, TableObject, TableWithJoins, Value, Visit, Visitor,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::catalog::Catalog;
use crate::verdict::{Allowed, Refused, Use, Verdict, shown};

/// The longest text that is looked at, in bytes.
pub const LONGEST: usize = 1024 * 1024;

/// How many brackets may stand open at once: the parser tries several readings at each, so that its time doubles with every one.
const DEEPEST: usize = 12;
/// How many words may stand in a row without a comma between: each may be one level of the tree, and a tree that is too deep for the
/// stack ends the whole gate.
const LONGEST_ROW: usize = 1_000;

fn not_too_deep(tokens: &[Token]) -> Step {
    let mut rows = vec![0_usize];
    for token in tokens {
        match token {
            Token::Whitespace(_) => continue,
            Token::LParen | Token::LBracket | Token::LBrace => rows.push(0),
            Token::RParen | Token::RBracket | Token::RBrace if rows.len() > 1 => {
                rows.pop();
            }
            Token::Comma | Token::SemiColon => {
                rows.pop();
                rows.push(0);
            }
            _ => {}
        }
        if let Some(row) = rows.last_mut() {
            *row += 1;
        }
        if rows.len() > DEEPEST {
            return Err(Refused::not_understood(format!("more than {DEEPEST} brackets inside each other")));
        }
        if rows.iter().sum::<usize>() > LONGEST_ROW {
            return Err(Refused::not_understood(format!("more than {LONGEST_ROW} words without a comma")));
        }
    }
    Ok(())
}

/// The statement whose rows [`Catalog::from_rows`] reads, at MySQL or MariaDB. It has no object identifiers: columns of results are
/// known there by database, table and name.
#[must_use]
pub fn catalog_query(rights: &DatabaseRights) -> String {
    let schemas: BTreeSet<&str> =
        rights.tables.keys().map(|name| name.schema.as_str()).chain(rights.search_path.iter().map(String::as_str)).collect();
    let list = schemas.into_iter().map(|s| format!("'{}'", s.replace('\\', "\\\\").replace('\'', "''"))).collect::<Vec<_>>().join(", ");
    let list = if list.is_empty() { "NULL".to_owned() } else { list };
    format!(
        "SELECT 'column', table_schema, table_name, '0', CAST(ordinal_position AS CHAR), column_name, '0' FROM information_schema.columns WHERE table_schema IN ({list})"
    )
}

type Step<T = ()> = Result<T, Refused>;

/// Judges everything in a text. `database` is the one the session is in.
pub fn judge(rights: &DatabaseRights, catalog: &Catalog, database: Option<&str>, sql: &str) -> Verdict {
    if rights.unrestricted {
        return Verdict::Allowed(Vec::new());
    }
    if sql.len() > LONGEST || sql.contains('\0') {
        return Verdict::Refused(Refused::not_understood("a statement that is too long, or holds a zero byte"));
    }
    match stacker::maybe_grow(8 * 1024 * 1024, 16 * 1024 * 1024, || look(rights, catalog, database, sql)) {
        Ok(allowed) => Verdict::Allowed(allowed),
        Err(refused) => Verdict::Refused(refused),
    }
}

fn look(rights: &DatabaseRights, catalog: &Catalog, database: Option<&str>, sql: &str) -> Step<Vec<Allowed>> {
    let lower = sql.to_ascii_lowercase();
    if lower.contains("/*!") || lower.contains("/*m!") || lower.contains("/*+") {
        return Err(Refused::not_in_role(
            "the statement holds a comment that the server could run as code",
            "write it as plain SQL, without `/*!`, `/*M!` and `/*+`",
        ));
    }
    let unreadable = |why: String| Refused::not_understood(format!("the statement cannot be read: {}", shown(&why)));
    let tokens = Tokenizer::new(&MySqlDialect {}, sql).tokenize().map_err(|error| unreadable(error.to_string()))?;
    not_too_deep(&tokens)?;
    let natural = tokens.iter().any(|token| matches!(token, Token::Word(word) if word.keyword == Keyword::NATURAL));
    let parsed = Parser::new(&MySqlDialect {}).with_recursion_limit(60).try_with_sql(sql).and_then(|mut parser| parser.parse_statements());
    let statements = parsed.map_err(|error| unreadable(error.to_string()))?;
    if rights.only_statements {
        return Err(Refused::not_in_role(
            "this role may run its named statements only, and the gate knows none for MariaDB yet",
            "ask for a role with tables",
        ));
    }
    statements.iter().map(|statement| Look { rights, catalog, database, natural }.statement(statement)).collect()
}

struct Look<'a> {
    rights: &'a DatabaseRights,
    catalog: &'a Catalog,
    database: Option<&'a str>,
    natural: bool,
}

/// What stands anywhere in a statement.
#[derive(Default)]
struct Seen {
    relations: Vec<ObjectName>,
    names: BTreeMap<String, usize>,
    given: BTreeSet<String>,
    functions: Vec<ObjectName>,
    /// Whether a `*` stands in the outermost output, and whether one stands further in.
    outer_star: bool,
    inner_star: bool,
    depth: usize,
    selects: usize,
    /// Whether rows are ordered or grouped by an output's number.
    by_number: bool,
    distinct: bool,
    unknown: Option<&'static str>,
}

fn key(ident: &Ident) -> String {
    ident.value.to_lowercase()
}

fn last(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}

fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        if let Some(with) = &query.with {
            self.given.extend(with.cte_tables.iter().map(|cte| key(&cte.alias.name)));
        }
        if !query.locks.is_empty() {
            self.unknown = Some("rows that are locked; leave out `FOR UPDATE` and `LOCK IN SHARE MODE`");
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.selects += 1;
        if select.into.is_some() {
            self.unknown = Some("`SELECT … INTO`");
        }
        self.distinct |= select.distinct.is_some();
        let star = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
        if star && self.depth <= 1 && self.selects == 1 {
            self.outer_star = true;
        } else if star {
            self.inner_star = true;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relations.push(relation.clone());
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if !matches!(factor, TableFactor::Table { args: None, .. } | TableFactor::Derived { .. } | TableFactor::NestedJoin { .. }) {
            self.unknown = Some("`FROM` with something that is neither a table nor a sub-select");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.functions.push(function.name.clone());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_ident(&mut self, ident: &Ident) -> ControlFlow<()> {
        *self.names.entry(key(ident)).or_default() += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_order_by(&mut self, order: &OrderBy) -> ControlFlow<()> {
        if let OrderByKind::Expressions(all) = &order.kind {
            self.by_number |= all.iter().any(|one| is_number(&one.expr));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_group_by(&mut self, group: &GroupByExpr) -> ControlFlow<()> {
        if let GroupByExpr::Expressions(all, _) = group {
            self.by_number |= all.iter().any(is_number);
        }
        ControlFlow::Continue(())
    }
}

impl Look<'_> {
    fn statement(&self, statement: &Statement) -> Step<Allowed> {
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
            Statement::ShowVariables { .. }
            | Statement::ShowStatus { .. }
            | Statement::ShowTables { .. }
            | Statement::ShowColumns { .. }
            | Statement::ShowDatabases { .. }
            | Statement::ShowCollation { .. }
            | Statement::ShowCharset(_)
            | Statement::ShowCreate { .. }
            | Statement::ShowProcessList { .. } => Ok(plain("show")),
            Statement::ShowVariable { variable }
                if variable.first().is_some_and(|word| {
                    matches!(key(word).as_str(), "warnings" | "errors" | "grants" | "index" | "indexes" | "keys" | "engines" | "plugins")
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
        let mut bare: Vec<(usize, String, Option<String>)> = Vec::new();
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
        self.rest("select", statement, &[], &bare, None)
    }

    /// Everything that stands in a statement, less what it only gives values to.
    fn rest(
        &self,
        kind: &'static str,
        statement: &Statement,
        written: &[String],
        bare: &[(usize, String, Option<String>)],
        target: Option<&ObjectName>,
    ) -> Step<Allowed> {
        let mut seen = Seen::default();
        let _always_to_the_end = statement.visit(&mut seen);
        if let Some(what) = seen.unknown {
            return Err(Refused::not_understood(what));
        }
        for name in &seen.given {
            let hides = self.database.is_some_and(|database| self.catalog.relation(&QualifiedName::new(database, name)).is_some());
            if hides {
                return Err(Refused::not_in_role(
                    format!("`WITH` gives the name of the table `{}` to something else", shown(name)),
                    "take another name",
                ));
            }
        }
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

    /// Each column of a table whose name stands in the statement. Says which outputs are masked.
    fn columns(
        &self,
        table: &QualifiedName,
        seen: &Seen,
        written: &[String],
        bare: &[(usize, String, Option<String>)],
    ) -> Step<BTreeSet<usize>> {
        let rights = self.rights.tables.get(table).cloned().unwrap_or_default();
        let closed = !rights.masked.is_empty() || rights.select != Columns::All;
        if closed && self.natural {
            return Err(Refused::not_in_role(
                format!("a natural join compares columns of `{table}` that this role may not see"),
                "join with `ON`",
            ));
        }
        if (seen.outer_star || seen.inner_star) && rights.select != Columns::All && rights.select != Columns::None {
            return Err(Refused::not_in_role(
                format!("`*` stands for columns of `{table}` that this role may not read"),
                "name the columns you need",
            ));
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
            let name = column.name.to_lowercase();
            let stands = seen.names.get(&name).copied().unwrap_or(0);
            let only_written = written.iter().filter(|w| **w == name).count();
            if stands <= only_written {
                continue;
            }
            self.may_column(table, Verb::Select, &column.name)?;
            if !rights.masked.contains(&column.name) {
                continue;
            }
            let alone: Vec<_> = bare.iter().filter(|(_, bare, _)| *bare == name).collect();
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

    fn table(&self, name: &ObjectName) -> Step<QualifiedName> {
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

    fn all_tables(&self, from: &[TableWithJoins]) -> Step<Vec<QualifiedName>> {
        let factors = from.iter().flat_map(|one| std::iter::once(&one.relation).chain(one.joins.iter().map(|join| &join.relation)));
        factors
            .map(|factor| match factor {
                TableFactor::Table { name, .. } => self.table(name),
                _ => Err(Refused::not_understood("a change of something that is no table")),
            })
            .collect()
    }

    fn may(&self, table: &QualifiedName, verb: Verb) -> Step {
        if self.rights.tables.get(table).is_some_and(|rights| rights.allows(verb)) {
            return Ok(());
        }
        Err(Refused::not_in_role(format!("this role may not {verb} in `{table}`"), "ask for a role that may"))
    }

    fn may_column(&self, table: &QualifiedName, verb: Verb, column: &str) -> Step {
        let columns = self.rights.tables.get(table).map(|rights| rights.columns(verb)).unwrap_or_default();
        let allowed = match &columns {
            Columns::None => false,
            Columns::All => true,
            // Names of columns are the same in capitals.
            Columns::Only(names) => names.iter().any(|name| name.to_lowercase() == column.to_lowercase()),
        };
        if allowed {
            return Ok(());
        }
        Err(Refused::not_in_role(
            format!("this role may not {verb} the column `{}` of `{table}`", shown(column)),
            "ask for a role that may",
        ))
    }

    fn all_columns(&self, table: &QualifiedName, verb: Verb) -> Step {
        let columns = self.catalog.relation(table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
        columns.iter().try_for_each(|column| self.may_column(table, verb, &column.name))
    }

    /// Columns that get a value; each table that has one of that name counts.
    fn assigned(&self, tables: &[QualifiedName], assignments: &[Assignment], verb: Verb) -> Step<Vec<String>> {
        let mut written = Vec::new();
        for assignment in assignments {
            let AssignmentTarget::ColumnName(target) = &assignment.target else {
                return Err(Refused::not_understood("an assignment of an unknown kind"));
            };
            let Some(column) = last(target) else { return Err(Refused::not_understood("an assignment to nothing")) };
            let mut found = false;
            for table in tables {
                let has = self.catalog.relation(table).is_some_and(|r| r.columns.iter().any(|c| c.name.to_lowercase() == key(column)));
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

    fn function(&self, name: &ObjectName) -> Step {
        let parts: Vec<&Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
        let own = |schema: &str, name: &str| self.rights.functions.contains(&QualifiedName::new(schema, name));
        let allowed = match (parts.as_slice(), self.database) {
            ([one], database) => {
                let word = key(one);
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

    fn set(&self, set: &Set) -> Step {
        let refused = |name: &str| {
            Err(Refused::not_in_role(
                format!("this role may not change the setting `{}`", shown(name)),
                "what decides how a statement is read is pinned under a restricted role",
            ))
        };
        match set {
            Set::SingleAssignment { scope, variable, .. } => self.variable(scope.as_ref(), variable),
            Set::MultipleAssignments { assignments } => assignments.iter().try_for_each(|one| self.variable(one.scope.as_ref(), &one.name)),
            Set::SetNames { charset_name, .. } if matches!(key(charset_name).as_str(), "utf8" | "utf8mb4") => Ok(()),
            Set::SetTimeZone { .. } | Set::SetTransaction { snapshot: None, .. } => Ok(()),
            other => refused(&other.to_string()),
        }
    }

    fn variable(&self, scope: Option<&ContextModifier>, name: &ObjectName) -> Step {
        let text = name.to_string().to_lowercase().replace('`', "");
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

fn single(table: &TableWithJoins) -> Option<&ObjectName> {
    match &table.relation {
        TableFactor::Table { name, .. } if table.joins.is_empty() => Some(name),
        _ => None,
    }
}

/// What the server says of itself may be read, without what it knows of values.
fn is_information(relation: &ObjectName) -> Step<bool> {
    let parts: Vec<String> = relation.0.iter().filter_map(|part| part.as_ident()).map(key).collect();
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["information_schema", "column_statistics" | "optimizer_trace" | "innodb_buffer_page" | "innodb_buffer_page_lru"] => {
            Err(Refused::not_in_role("this part of `information_schema` knows values", "leave it alone"))
        }
        ["information_schema", _] => Ok(true),
        _ => Ok(false),
    }
}

fn plain(kind: &'static str) -> Allowed {
    Allowed { kind, ..Allowed::default() }
}

/// Functions that read only their arguments.
const FUNCTIONS: &str = "abs acos adddate addtime ascii asin atan atan2 avg bin bit_and bit_count bit_length bit_or bit_xor cast ceil ceiling char char_length \
character_length charset coalesce coercibility collation concat concat_ws connection_id conv convert convert_tz cos cot count crc32 cume_dist curdate current_date \
current_role current_time current_timestamp current_user curtime database date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear degrees \
dense_rank elt exp export_set extract field find_in_set first_value floor format found_rows from_base64 from_days from_unixtime greatest group_concat hex hour if ifnull inet6_aton \
inet6_ntoa inet_aton inet_ntoa insert instr is_ipv4 is_ipv6 json_array json_arrayagg json_contains json_contains_path json_depth json_exists json_extract json_insert json_keys \
json_length json_merge json_merge_patch json_merge_preserve json_object json_objectagg json_pretty json_query json_quote json_remove json_replace json_search json_set json_type \
json_unquote json_valid json_value lag last_day last_insert_id last_value lcase lead least left length ln localtime localtimestamp locate log log10 log2 lower lpad ltrim \
makedate maketime max md5 microsecond mid min minute mod month monthname now nth_value ntile nullif oct octet_length ord percent_rank period_add period_diff pi position pow power \
quarter quote radians rand rank regexp_instr regexp_replace regexp_substr repeat replace reverse right round row_count row_number rpad rtrim schema sec_to_time second session_user sha \
sha1 sha2 sign sin sleep soundex space sqrt std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index subtime sum sysdate system_user tan time \
time_format time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_days to_seconds trim truncate ucase unhex unix_timestamp upper user utc_date utc_time \
utc_timestamp uuid uuid_short value values var_pop var_samp variance version week weekday weekofyear weight_string year yearweek";

/// Settings that change how something looks or how long it may take, and not what is meant.
const SETTINGS: &str = "autocommit time_zone wait_timeout interactive_timeout net_read_timeout net_write_timeout sql_safe_updates sql_auto_is_null tx_isolation transaction_isolation \
tx_read_only transaction_read_only group_concat_max_len lock_wait_timeout innodb_lock_wait_timeout lc_time_names timestamp sql_select_limit character_set_results profiling";
