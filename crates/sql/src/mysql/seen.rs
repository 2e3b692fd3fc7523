//! What stands anywhere in a statement.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, UnaryOperator,
    Value, Visitor,
};

use super::fold::folded;

/// What stands anywhere in a statement.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) relations: Vec<ObjectName>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) given: BTreeSet<String>,
    /// Names with letters outside ASCII as they are written, and what else is given a name here.
    pub(super) foreign: BTreeSet<String>,
    pub(super) other_names: BTreeSet<String>,
    pub(super) functions: Vec<ObjectName>,
    /// Whether a `*` stands in the outermost output, and whether one stands further in.
    pub(super) outer_star: bool,
    pub(super) inner_star: bool,
    pub(super) depth: usize,
    pub(super) selects: usize,
    /// Whether rows are ordered or grouped by an output's number.
    pub(super) by_number: bool,
    pub(super) distinct: bool,
    pub(super) unknown: Option<&'static str>,
}

/// A name as it is looked for where it may have been meant.
pub(super) fn key(ident: &Ident) -> String {
    folded(&ident.value)
}

/// A name as it is looked for where only what is known may pass.
pub(super) fn word(ident: &Ident) -> String {
    ident.value.to_ascii_lowercase()
}

pub(super) fn last(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(|part| part.as_ident())
}

/// Whether a query is made of parts whose tables and columns are seen. `TABLE t` names its table as a mere text.
fn is_known(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => true,
        SetExpr::SetOperation { left, right, .. } => is_known(left) && is_known(right),
        _ => false,
    }
}

/// Whether servers take it for the number of an output: they look through brackets and a plus sign.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => is_number(inner),
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        _ => false,
    }
}

impl Seen {
    fn is_called<'a>(&mut self, names: impl IntoIterator<Item = &'a TableAlias>) {
        for alias in names {
            self.other_names.insert(alias.name.value.clone());
            self.other_names.extend(alias.columns.iter().map(|column| column.name.value.clone()));
        }
    }
}

impl Visitor for Seen {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        if let Some(with) = &query.with {
            self.is_called(with.cte_tables.iter().map(|cte| &cte.alias));
            self.given.extend(with.cte_tables.iter().map(|cte| key(&cte.alias.name)));
        }
        if !is_known(&query.body) {
            self.unknown = Some("a query that is not made of `SELECT` and `VALUES`");
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
        self.other_names.extend(select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        }));
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
        if let TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } = factor {
            self.is_called(alias);
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
        // A variable is no column, whatever it is called.
        let is_variable = ident.quote_style.is_none() && ident.value.starts_with('@');
        if !ident.value.is_ascii() && !is_variable {
            self.foreign.insert(ident.value.clone());
        }
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
