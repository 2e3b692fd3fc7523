//! What reads and writes tables: `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `MERGE`.

use access::rights::{QualifiedName, Verb};
use pg_query::NodeEnum as N;
use pg_query::protobuf::{
    CmdType, DeleteStmt, InsertStmt, MergeStmt, Node, OnConflictClause, RangeVar, ResTarget, ReturningClause, SelectStmt, SetOperation,
    UpdateStmt,
};

use super::bounds::HELD;
use super::expression::constant_number;
use super::names::{Table, text, texts};
use super::scope::{Item, Outputs, Source};
use super::{Place, Step, Walk, no_outputs};
use crate::verdict::{Hidden, Refused, shown};

impl Walk<'_> {
    /// Anything that brings rows.
    pub(super) fn rows(&mut self, node: &N, place: Place) -> Step<Outputs> {
        match node {
            N::SelectStmt(select) => self.select(select, place),
            N::InsertStmt(insert) => self.insert(insert, place),
            N::UpdateStmt(update) => self.update(update, place),
            N::DeleteStmt(delete) => self.delete(delete, place),
            N::MergeStmt(merge) => self.merge(merge, place),
            _ => Err(Refused::not_understood("a query of a kind that is not known here")),
        }
    }

    pub(super) fn select(&mut self, select: &SelectStmt, place: Place) -> Step<Outputs> {
        if select.into_clause.is_some() {
            return Err(Refused::not_in_role("`SELECT INTO` makes a table, which a restricted role may not", "leave out `INTO`"));
        }
        self.with(select.with_clause.as_ref())?;
        self.scopes.push(Vec::new());
        let merged = std::mem::replace(&mut self.merged, false);
        let outputs = if matches!(select.op(), SetOperation::SetopNone | SetOperation::Undefined) {
            if select.values_lists.is_empty() { self.plain(select, place)? } else { self.values(select)? }
        } else {
            self.set_operation(select)?
        };
        self.maybe(select.limit_count.as_deref())?;
        self.maybe(select.limit_offset.as_deref())?;
        self.locks |= !select.locking_clause.is_empty();
        self.merged = merged;
        self.scopes.pop();
        self.ctes.pop();
        Ok(outputs)
    }

    fn plain(&mut self, select: &SelectStmt, place: Place) -> Step<Outputs> {
        select.from_clause.iter().try_for_each(|node| self.from(node))?;
        let outputs = self.targets(&select.target_list, place)?;
        self.maybe(select.where_clause.as_deref())?;
        self.maybe(select.having_clause.as_deref())?;
        for window in &select.window_clause {
            match window.node.as_ref() {
                Some(N::WindowDef(window)) => self.window(window)?,
                _ => return Err(Refused::not_understood("a window of an unknown kind")),
            }
        }
        select.group_clause.iter().try_for_each(|key| self.key(key, &outputs, true))?;
        match select.distinct_clause.as_slice() {
            [] => {}
            [one] if one.node.is_none() && outputs.any_masked() => return Err(compared(&outputs)),
            keys => keys.iter().try_for_each(|key| self.key(key, &outputs, false))?,
        }
        select.sort_clause.iter().try_for_each(|key| self.key(key, &outputs, false))?;
        Ok(outputs)
    }

    fn values(&mut self, select: &SelectStmt) -> Step<Outputs> {
        let mut outputs = no_outputs();
        for row in &select.values_lists {
            let Some(N::List(list)) = row.node.as_ref() else { return Err(Refused::not_understood("`VALUES` of an unknown kind")) };
            super::bounds::few_outputs(list.items.len())?;
            self.expressions(&list.items)?;
            for at in outputs.columns.len()..list.items.len() {
                outputs.push(format!("column{}", at + 1), false);
            }
        }
        select.sort_clause.iter().try_for_each(|key| self.key(key, &outputs, false))?;
        Ok(outputs)
    }

    fn set_operation(&mut self, select: &SelectStmt) -> Step<Outputs> {
        let (Some(left), Some(right)) = (&select.larg, &select.rarg) else { return Err(Refused::not_understood("half a set operation")) };
        let outputs = self.select(left, Place::Inside)?;
        self.select(right, Place::Inside)?;
        select.sort_clause.iter().try_for_each(|key| self.key(key, &outputs, false))?;
        Ok(outputs)
    }

    /// A list of outputs: of `SELECT` or `RETURNING`.
    fn targets(&mut self, list: &[Node], place: Place) -> Step<Outputs> {
        let mut outputs = no_outputs();
        let bare = place != Place::Inside;
        for node in list {
            let Some(N::ResTarget(target)) = node.node.as_ref() else {
                return Err(Refused::not_understood("an output of an unknown kind"));
            };
            let Some(value) = target.val.as_deref() else { return Err(Refused::not_understood("an output without a value")) };
            match value.node.as_ref() {
                Some(N::ColumnRef(column)) => match column.fields.split_last() {
                    Some((Node { node: Some(N::AStar(_)) }, qualifier)) => self.star(qualifier, place, &mut outputs)?,
                    Some((last, _)) => {
                        let masked = self.column(column, bare)?;
                        let own = text(last).unwrap_or_default();
                        outputs.push(if target.name.is_empty() { own } else { &target.name }, masked);
                    }
                    None => return Err(Refused::not_understood("a column without a name")),
                },
                _ => {
                    self.expression(value)?;
                    if let Some(N::AIndirection(indirection)) = value.node.as_ref() {
                        outputs.unknown |= indirection.indirection.iter().any(|step| matches!(step.node, Some(N::AStar(_))));
                    }
                    outputs.push(if target.name.is_empty() { usual_name(value) } else { target.name.clone() }, false);
                }
            }
            super::bounds::few_outputs(outputs.columns.len())?;
        }
        Ok(outputs)
    }

    fn star(&mut self, qualifier: &[Node], place: Place, outputs: &mut Outputs) -> Step {
        self.within(|walk, scopes| {
            let items = if qualifier.is_empty() {
                outputs.unknown |= walk.merged;
                scopes.last().into_iter().flatten().collect()
            } else {
                let found = walk.named(scopes, &texts(qualifier)?)?;
                // Several levels may have it; which one is meant, nobody here can tell.
                outputs.unknown |= found.len() > 1;
                found
            };
            items.into_iter().try_for_each(|item| walk.star_of(item, place, outputs))
        })
    }

    fn star_of(&mut self, item: &Item, place: Place, outputs: &mut Outputs) -> Step {
        outputs.unknown |= !item.is_known();
        if matches!(place, Place::Inside | Place::Copied) {
            self.masks_of_item_are_known(item)?;
        }
        for field in &item.columns {
            super::bounds::few_outputs(outputs.columns.len() + 1)?;
            self.work.spend(HELD)?;
            let masked = match &field.base {
                Some((table, column)) => {
                    self.may_column(table, Verb::Select, column)?;
                    let masked = self.is_masked(table, column);
                    if masked && place == Place::Inside {
                        return Err(Refused::not_in_role(
                            format!("`*` stands for `{column}` of `{table}` too, which is masked for this role"),
                            "inside another query, name the columns you need",
                        ));
                    }
                    masked
                }
                None => false,
            };
            outputs.push(field.name.clone(), masked);
        }
        Ok(())
    }

    /// What is grouped, ordered or made distinct by: an expression, or an output by its number or name.
    fn key(&mut self, node: &Node, outputs: &Outputs, group: bool) -> Step {
        let inner = match node.node.as_ref() {
            Some(N::SortBy(sort)) => {
                self.operator(&sort.use_op)?;
                sort.node.as_deref().ok_or_else(|| Refused::not_understood("an order by nothing"))?
            }
            Some(N::GroupingSet(set)) => return set.content.iter().try_for_each(|node| self.key(node, outputs, group)),
            Some(N::RowExpr(row)) if group => return row.args.iter().try_for_each(|node| self.key(node, outputs, group)),
            Some(N::List(list)) if group => return list.items.iter().try_for_each(|node| self.key(node, outputs, group)),
            _ => node,
        };
        // The same text with a number in the place of the parameter is another question.
        if matches!(inner.node.as_ref(), Some(N::ParamRef(_))) {
            self.by_constants = true;
        }
        if let Some(number) = constant_number(inner) {
            self.by_constants = true;
            let at = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
            let masked = at.and_then(|at| outputs.columns.get(at)).is_some_and(|output| output.masked);
            return if masked || (outputs.unknown && outputs.any_masked()) { Err(compared(outputs)) } else { Ok(()) };
        }
        self.work.spend(outputs.columns.len())?;
        if let Some(N::ColumnRef(column)) = inner.node.as_ref()
            && let [one] = column.fields.as_slice()
            && let Some(name) = text(one)
            && outputs.columns.iter().any(|output| output.name == name)
        {
            if outputs.columns.iter().any(|output| output.name == name && output.masked) {
                return Err(compared(outputs));
            }
            // An order means the output; a group means a column of that name first.
            if !group {
                return Ok(());
            }
            let items = self.scopes.last().map(Vec::as_slice).unwrap_or_default();
            self.work.spend(items.iter().map(|item| item.columns.len()).sum())?;
            let is_input = items.iter().any(|item| item.columns.iter().any(|field| field.name == name));
            return if is_input { self.column(column, false).map(|_| ()) } else { Ok(()) };
        }
        self.expression(inner)
    }

    /// Columns that are compared with each other.
    pub(super) fn may_compare(&mut self, bases: &[(QualifiedName, String)]) -> Step {
        self.work.spend(bases.len() * HELD)?;
        for (table, column) in bases {
            self.may_column(table, Verb::Select, column)?;
            if self.is_masked(table, column) {
                return Err(Refused::not_in_role(
                    format!("`{column}` of `{table}` is masked for this role and cannot be compared"),
                    "join by another column",
                ));
            }
        }
        Ok(())
    }

    /// The table that a statement changes.
    pub(super) fn target(&mut self, range: Option<&RangeVar>, verb: Verb) -> Step<QualifiedName> {
        let range = range.ok_or_else(|| Refused::not_understood("a change of nothing"))?;
        match self.table(range, false)? {
            Table::Listed(table) => {
                self.may(&table, verb)?;
                self.view_is_open(&table)?;
                Ok(table)
            }
            Table::Catalog(name) => Err(Refused::not_in_role(
                format!("`{}` belongs to the database itself and can only be read", shown(&name)),
                "leave it alone",
            )),
            Table::Given(_) => Err(Refused::not_understood("a change of something that is no table")),
        }
    }

    fn target_item(&self, table: &QualifiedName, range: Option<&RangeVar>) -> Step<Item> {
        let alias = range.and_then(|range| range.alias.as_ref());
        let names = super::from::column_names(alias)?;
        Ok(self.item_of(table, alias.map(|alias| alias.aliasname.as_str()))?.renamed(&names))
    }

    fn insert(&mut self, insert: &InsertStmt, place: Place) -> Step<Outputs> {
        self.with(insert.with_clause.as_ref())?;
        let table = self.target(insert.relation.as_ref(), Verb::Insert)?;
        if insert.cols.is_empty() && insert.select_stmt.is_some() {
            self.every_column(&table, Verb::Insert)?;
        }
        self.given_columns(&table, Verb::Insert, &insert.cols)?;
        if let Some(source) = insert.select_stmt.as_deref().and_then(|node| node.node.as_ref()) {
            self.rows(source, Place::Inside)?;
            self.conceal_rows(&table, &insert.cols, source)?;
        }
        let item = self.target_item(&table, insert.relation.as_ref())?;
        self.scopes.push(vec![item]);
        if let Some(conflict) = insert.on_conflict_clause.as_deref() {
            self.conflict(conflict, &table)?;
        }
        let outputs = self.returning(insert.returning_clause.as_ref(), place)?;
        self.scopes.pop();
        self.ctes.pop();
        Ok(outputs)
    }

    pub(super) fn every_column(&mut self, table: &QualifiedName, verb: Verb) -> Step {
        let columns: Vec<String> =
            self.catalog.relation(table).map(|r| r.columns.iter().map(|c| c.name.clone()).collect()).unwrap_or_default();
        columns.iter().try_for_each(|column| self.may_column(table, verb, column))
    }

    /// Columns that get a value.
    fn given_columns(&mut self, table: &QualifiedName, verb: Verb, targets: &[Node]) -> Step {
        for node in targets {
            let Some(N::ResTarget(target)) = node.node.as_ref() else { return Err(Refused::not_understood("a column of an unknown kind")) };
            self.given_column(table, verb, target)?;
        }
        Ok(())
    }

    fn given_column(&mut self, table: &QualifiedName, verb: Verb, target: &ResTarget) -> Step {
        self.may_column(table, verb, &target.name)?;
        for step in &target.indirection {
            match step.node.as_ref() {
                Some(N::AIndices(index)) => {
                    self.maybe(index.lidx.as_deref())?;
                    self.maybe(index.uidx.as_deref())?;
                }
                Some(N::String(_)) => {}
                _ => return Err(Refused::not_understood("a part of a column of an unknown kind")),
            }
        }
        Ok(())
    }

    /// `column = value` pairs.
    fn assignments(&mut self, table: &QualifiedName, targets: &[Node]) -> Step {
        self.given_columns(table, Verb::Update, targets)?;
        for node in targets {
            let Some(N::ResTarget(target)) = node.node.as_ref() else { continue };
            let masked = self.is_masked(table, &target.name);
            match target.val.as_deref().and_then(|value| value.node.as_ref()) {
                Some(N::MultiAssignRef(many)) => {
                    self.maybe(many.source.as_deref())?;
                    let at = usize::try_from(many.colno).ok().and_then(|number| number.checked_sub(1));
                    match many.source.as_deref().and_then(|source| source.node.as_ref()) {
                        _ if !masked => {}
                        Some(N::RowExpr(row)) => self.conceal(at.and_then(|at| row.args.get(at)))?,
                        _ => self.hidden = Hidden::Everything,
                    }
                }
                _ if masked => self.conceal(target.val.as_deref())?,
                _ => self.maybe(target.val.as_deref())?,
            }
        }
        Ok(())
    }

    fn conflict(&mut self, conflict: &OnConflictClause, table: &QualifiedName) -> Step {
        if let Some(infer) = conflict.infer.as_deref() {
            for element in &infer.index_elems {
                let Some(N::IndexElem(element)) = element.node.as_ref() else {
                    return Err(Refused::not_understood("a conflict of an unknown kind"));
                };
                if !element.name.is_empty() {
                    self.may_compare(&[(table.clone(), element.name.clone())])?;
                }
                self.maybe(element.expr.as_deref())?;
            }
            self.maybe(infer.where_clause.as_deref())?;
            if !infer.conname.is_empty() {
                let item = self.item_of(table, None)?;
                self.whole_row(&item)?;
            }
        }
        // What was to be inserted is the client's own.
        let mut excluded = self.item_of(table, Some("excluded"))?;
        excluded.source = Source::Derived;
        excluded.columns.iter_mut().for_each(|field| field.base = None);
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(excluded);
        }
        self.assignments(table, &conflict.target_list)?;
        self.maybe(conflict.where_clause.as_deref())?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.pop();
        }
        Ok(())
    }

    fn update(&mut self, update: &UpdateStmt, place: Place) -> Step<Outputs> {
        self.with(update.with_clause.as_ref())?;
        let table = self.target(update.relation.as_ref(), Verb::Update)?;
        let item = self.target_item(&table, update.relation.as_ref())?;
        let merged = std::mem::replace(&mut self.merged, false);
        self.scopes.push(vec![item]);
        update.from_clause.iter().try_for_each(|node| self.from(node))?;
        self.assignments(&table, &update.target_list)?;
        self.condition(&table, update.where_clause.as_deref())?;
        let outputs = self.returning(update.returning_clause.as_ref(), place)?;
        self.scopes.pop();
        self.merged = merged;
        self.ctes.pop();
        Ok(outputs)
    }

    fn delete(&mut self, delete: &DeleteStmt, place: Place) -> Step<Outputs> {
        self.with(delete.with_clause.as_ref())?;
        let table = self.target(delete.relation.as_ref(), Verb::Delete)?;
        let item = self.target_item(&table, delete.relation.as_ref())?;
        let merged = std::mem::replace(&mut self.merged, false);
        self.scopes.push(vec![item]);
        delete.using_clause.iter().try_for_each(|node| self.from(node))?;
        self.condition(&table, delete.where_clause.as_deref())?;
        let outputs = self.returning(delete.returning_clause.as_ref(), place)?;
        self.scopes.pop();
        self.merged = merged;
        self.ctes.pop();
        Ok(outputs)
    }

    /// Which rows: an expression, or the row a cursor stands on.
    fn condition(&mut self, table: &QualifiedName, condition: Option<&Node>) -> Step {
        if condition.is_some_and(|node| matches!(node.node, Some(N::CurrentOfExpr(_)))) {
            return self.may(table, Verb::Select);
        }
        self.maybe(condition)
    }

    fn merge(&mut self, merge: &MergeStmt, place: Place) -> Step<Outputs> {
        self.with(merge.with_clause.as_ref())?;
        let range = merge.relation.as_ref().ok_or_else(|| Refused::not_understood("a merge into nothing"))?;
        let Table::Listed(table) = self.table(range, false)? else {
            return Err(Refused::not_understood("a merge into something that is no table"));
        };
        self.may(&table, Verb::Select)?;
        self.view_is_open(&table)?;
        let item = self.target_item(&table, Some(range))?;
        let merged = std::mem::replace(&mut self.merged, false);
        self.scopes.push(vec![item]);
        if let Some(source) = merge.source_relation.as_deref() {
            self.from(source)?;
        }
        self.maybe(merge.join_condition.as_deref())?;
        for node in &merge.merge_when_clauses {
            let Some(N::MergeWhenClause(when)) = node.node.as_ref() else {
                return Err(Refused::not_understood("a merge of an unknown kind"));
            };
            self.maybe(when.condition.as_deref())?;
            match when.command_type() {
                CmdType::CmdInsert => {
                    self.may(&table, Verb::Insert)?;
                    if when.target_list.is_empty() && !when.values.is_empty() {
                        self.every_column(&table, Verb::Insert)?;
                    }
                    self.given_columns(&table, Verb::Insert, &when.target_list)?;
                    self.expressions(&when.values)?;
                    self.conceal_values(&table, &when.target_list, &when.values)?;
                }
                CmdType::CmdUpdate => {
                    self.may(&table, Verb::Update)?;
                    self.assignments(&table, &when.target_list)?;
                }
                CmdType::CmdDelete => self.may(&table, Verb::Delete)?,
                CmdType::CmdNothing => {}
                _ => return Err(Refused::not_understood("a merge that does something unknown")),
            }
        }
        let outputs = self.returning(merge.returning_clause.as_ref(), place)?;
        self.scopes.pop();
        self.merged = merged;
        self.ctes.pop();
        Ok(outputs)
    }

    fn returning(&mut self, clause: Option<&ReturningClause>, place: Place) -> Step<Outputs> {
        let Some(clause) = clause else { return Ok(no_outputs()) };
        if !clause.options.is_empty() {
            return Err(Refused::not_understood("`RETURNING WITH`"));
        }
        self.targets(&clause.exprs, place)
    }
}

fn compared(outputs: &Outputs) -> Refused {
    let names: Vec<String> =
        outputs.columns.iter().filter(|output| output.masked).map(|output| format!("`{}`", shown(&output.name))).collect();
    Refused::not_in_role(
        format!("rows cannot be ordered, grouped or made distinct by {}, which is masked for this role", names.join(", ")),
        "use another column, or leave the masked one out of the output",
    )
}

/// The name PostgreSQL gives an output that has none.
fn usual_name(node: &Node) -> String {
    let name = match node.node.as_ref() {
        Some(N::ColumnRef(column)) => column.fields.last().and_then(text),
        Some(N::FuncCall(call)) => call.funcname.last().and_then(text),
        Some(N::AIndirection(indirection)) => match indirection.indirection.iter().rev().find_map(text) {
            Some(name) => Some(name),
            None => return indirection.arg.as_deref().map(usual_name).unwrap_or_default(),
        },
        Some(N::TypeCast(cast)) => {
            let inner = cast.arg.as_deref().map(usual_name).filter(|name| name != "?column?");
            return inner
                .or_else(|| cast.type_name.as_ref().and_then(|t| t.names.last()).and_then(text).map(str::to_owned))
                .unwrap_or_else(|| "?column?".to_owned());
        }
        Some(N::CollateClause(collate)) => return collate.arg.as_deref().map(usual_name).unwrap_or_default(),
        Some(N::CaseExpr(case)) => {
            return case.defresult.as_deref().map(usual_name).filter(|name| name != "?column?").unwrap_or_else(|| "case".to_owned());
        }
        Some(N::CoalesceExpr(_)) => Some("coalesce"),
        Some(N::AArrayExpr(_)) => Some("array"),
        Some(N::RowExpr(_)) => Some("row"),
        Some(N::SubLink(link)) => match link.subselect.as_deref().and_then(|select| select.node.as_ref()) {
            _ if link.sub_link_type() == pg_query::protobuf::SubLinkType::ExistsSublink => Some("exists"),
            _ if link.sub_link_type() == pg_query::protobuf::SubLinkType::ArraySublink => Some("array"),
            Some(N::SelectStmt(select)) => match select.target_list.first().and_then(|target| target.node.as_ref()) {
                Some(N::ResTarget(target)) if !target.name.is_empty() => Some(target.name.as_str()),
                Some(N::ResTarget(target)) => return target.val.as_deref().map(usual_name).unwrap_or_default(),
                _ => None,
            },
            _ => None,
        },
        Some(N::AExpr(e)) if e.kind() == pg_query::protobuf::AExprKind::AexprNullif => Some("nullif"),
        Some(N::MinMaxExpr(e)) => Some(if e.op() == pg_query::protobuf::MinMaxOp::IsGreatest { "greatest" } else { "least" }),
        _ => None,
    };
    name.unwrap_or("?column?").to_owned()
}
