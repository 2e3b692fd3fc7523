//! What stands in `FROM`, and what `WITH` gives names to.

use access::rights::Verb;
use pg_query::NodeEnum as N;
use pg_query::protobuf::{Alias, CommonTableExpr, JoinExpr, Node, RangeFunction, RangeVar, WithClause};

use super::bounds::HELD;
use super::names::{Table, text, texts};
use super::scope::{Field, Item, Source};
use super::{Place, Step, Walk};
use crate::verdict::Refused;

pub(super) fn column_names(alias: Option<&Alias>) -> Step<Vec<String>> {
    alias.map_or(Ok(Vec::new()), |alias| Ok(texts(&alias.colnames)?.into_iter().map(str::to_owned).collect()))
}

fn name_of(alias: Option<&Alias>) -> Option<&str> {
    alias.map(|alias| alias.aliasname.as_str()).filter(|name| !name.is_empty())
}

impl Walk<'_> {
    /// Makes the names of a `WITH` clause visible; the caller takes them away again.
    pub(super) fn with(&mut self, with: Option<&WithClause>) -> Step {
        self.ctes.push(Vec::new());
        let Some(with) = with else { return Ok(()) };
        let mut expressions: Vec<&CommonTableExpr> = Vec::new();
        for node in &with.ctes {
            match node.node.as_ref() {
                Some(N::CommonTableExpr(cte)) => expressions.push(cte),
                _ => return Err(Refused::not_understood("a `WITH` clause of an unknown kind")),
            }
        }
        if with.recursive {
            // Each may speak of each: their names stand before their columns are known.
            let items = expressions.iter().map(|cte| Item { alias: cte.ctename.clone(), source: Source::Unknown, ..Item::default() });
            self.given().extend(items);
        }
        for cte in expressions {
            let item = self.common_table(cte)?;
            if with.recursive {
                self.given().retain(|given| given.alias != item.alias);
            }
            self.given().push(item);
        }
        Ok(())
    }

    fn given(&mut self) -> &mut Vec<Item> {
        if self.ctes.is_empty() {
            self.ctes.push(Vec::new());
        }
        let last = self.ctes.len() - 1;
        &mut self.ctes[last]
    }

    fn common_table(&mut self, cte: &CommonTableExpr) -> Step<Item> {
        super::bounds::one_item_more(&mut self.items)?;
        let query = cte.ctequery.as_deref().and_then(|query| query.node.as_ref());
        let outputs = match query {
            Some(query) => self.rows(query, Place::Inside)?,
            None => return Err(Refused::not_understood("a `WITH` clause without a query")),
        };
        let mut item =
            outputs.into_item(cte.ctename.clone()).renamed(&texts(&cte.aliascolnames)?.into_iter().map(str::to_owned).collect::<Vec<_>>());
        if cte.search_clause.is_some() || cte.cycle_clause.is_some() {
            item.source = Source::Unknown;
        }
        Ok(item)
    }

    fn visible(&mut self) -> &mut Vec<Item> {
        if self.scopes.is_empty() {
            self.scopes.push(Vec::new());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// Adds what stands in `FROM` to what is visible. Items on the left are visible to those on the right, as `LATERAL` would have it.
    pub(super) fn from(&mut self, node: &Node) -> Step {
        super::bounds::one_item_more(&mut self.items)?;
        match node.node.as_ref() {
            Some(N::RangeVar(range)) => {
                let item = self.range(range)?;
                self.visible().push(item);
                Ok(())
            }
            Some(N::JoinExpr(join)) => self.join(join),
            Some(N::RangeSubselect(sub)) => {
                let query = sub.subquery.as_ref().and_then(|query| query.node.as_ref());
                let Some(N::SelectStmt(select)) = query else { return Err(Refused::not_understood("a sub-select of an unknown kind")) };
                let outputs = self.select(select, Place::Inside)?;
                let item = outputs
                    .into_item(name_of(sub.alias.as_ref()).unwrap_or_default().to_owned())
                    .renamed(&column_names(sub.alias.as_ref())?);
                self.visible().push(item);
                Ok(())
            }
            Some(N::RangeFunction(function)) => self.range_function(function),
            Some(N::RangeTableSample(sample)) => {
                if !matches!(texts(&sample.method)?.as_slice(), ["system" | "bernoulli"] | ["pg_catalog", "system" | "bernoulli"]) {
                    return Err(Refused::not_understood("a sampling method that is not built in"));
                }
                self.expressions(&sample.args)?;
                self.maybe(sample.repeatable.as_deref())?;
                sample.relation.as_ref().map_or_else(|| Err(Refused::not_understood("a sample of nothing")), |relation| self.from(relation))
            }
            _ => Err(Refused::not_understood("`FROM` holds something of a kind that is not known here")),
        }
    }

    /// A table that is read.
    fn range(&mut self, range: &RangeVar) -> Step<Item> {
        let alias = name_of(range.alias.as_ref());
        let names = column_names(range.alias.as_ref())?;
        match self.table(range, true)? {
            Table::Listed(table) => {
                self.may(&table, Verb::Select)?;
                self.view_is_open(&table)?;
                Ok(self.item_of(&table, alias)?.renamed(&names))
            }
            Table::Catalog(name) => {
                let settings = name == "pg_settings" && names.is_empty();
                let item = Item { alias: alias.map_or(name, str::to_owned), source: Source::Catalog, settings, ..Item::default() };
                Ok(item.renamed(&names))
            }
            Table::Given(item) => {
                Ok(Item { alias: alias.map_or(item.alias.clone(), str::to_owned), table: None, settings: false, ..item }.renamed(&names))
            }
        }
    }

    fn range_function(&mut self, function: &RangeFunction) -> Step {
        let mut name = String::new();
        for list in &function.functions {
            // Each is a pair: the call, and the columns it is said to bring.
            let Some(N::List(pair)) = list.node.as_ref() else { return Err(Refused::not_understood("`ROWS FROM` of an unknown kind")) };
            if let Some(call) = pair.items.first() {
                self.expression(call)?;
                if let Some(N::FuncCall(call)) = call.node.as_ref() {
                    name = call.funcname.last().and_then(text).unwrap_or_default().to_owned();
                }
            }
            for definition in pair.items.iter().skip(1) {
                self.definition(definition)?;
            }
        }
        let mut columns: Vec<Field> = Vec::new();
        for definition in &function.coldeflist {
            self.definition(definition)?;
            if let Some(N::ColumnDef(column)) = definition.node.as_ref() {
                columns.push(Field { name: column.colname.clone(), base: None });
            }
        }
        let alias = name_of(function.alias.as_ref()).map_or(name, str::to_owned);
        let item = Item { alias, columns, source: Source::Function, ..Item::default() }.renamed(&column_names(function.alias.as_ref())?);
        self.visible().push(item);
        Ok(())
    }

    /// Columns that a function is said to bring: names and types, and nothing that computes.
    fn definition(&mut self, node: &Node) -> Step {
        match node.node.as_ref() {
            None => Ok(()),
            Some(N::List(list)) => list.items.iter().try_for_each(|node| self.definition(node)),
            Some(N::ColumnDef(column)) if column.raw_default.is_none() && column.constraints.is_empty() => {
                self.type_name(column.type_name.as_ref())
            }
            _ => Err(Refused::not_understood("a column definition of an unknown kind")),
        }
    }

    fn join(&mut self, join: &JoinExpr) -> Step {
        let start = self.visible().len();
        for side in [&join.larg, &join.rarg] {
            let middle = self.visible().len();
            let node = side.as_ref().ok_or_else(|| Refused::not_understood("a join with one side"))?;
            self.from(node)?;
            if middle > start && join.is_natural {
                self.natural(start, middle)?;
            }
        }
        let merged = texts(&join.using_clause)?;
        for column in &merged {
            self.work.spend(self.visible_columns(start))?;
            let bases: Vec<_> = self.visible()[start..]
                .iter()
                .flat_map(|item| &item.columns)
                .filter(|field| field.name == *column)
                .filter_map(|field| field.base.clone())
                .collect();
            self.may_compare(&bases)?;
        }
        self.maybe(join.quals.as_deref())?;
        if let Some(alias) = name_of(join.join_using_alias.as_ref()) {
            self.work.spend(self.visible_columns(start) * merged.len())?;
            let columns = self.visible()[start..]
                .iter()
                .flat_map(|item| &item.columns)
                .filter(|field| merged.contains(&field.name.as_str()))
                .cloned()
                .collect();
            let item = Item { alias: alias.to_owned(), columns, source: Source::Derived, ..Item::default() };
            self.merged = true;
            self.visible().push(item);
        }
        if join.is_natural || !merged.is_empty() {
            self.unwritten_operator("=")?;
            self.merged = true;
        }
        if let Some(alias) = name_of(join.alias.as_ref()) {
            let names = column_names(join.alias.as_ref())?;
            let inside: Vec<Item> = self.visible().drain(start..).collect();
            let known = inside.iter().all(Item::is_known) && (!self.merged || names.is_empty());
            if self.merged && !names.is_empty() {
                return Err(Refused::not_understood("a join with merged columns that are named anew"));
            }
            let columns = inside.into_iter().flat_map(|item| item.columns).collect();
            let source = if known { Source::Derived } else { Source::Unknown };
            if source == Source::Unknown && !names.is_empty() {
                return Err(Refused::not_understood("a join whose columns are not known, named anew"));
            }
            let item = Item { alias: alias.to_owned(), columns, source, ..Item::default() }.renamed(&names);
            self.visible().push(item);
        }
        Ok(())
    }

    /// How many columns the items have that are visible from this one on.
    fn visible_columns(&self, start: usize) -> usize {
        let items = self.scopes.last().and_then(|items| items.get(start..)).unwrap_or_default();
        items.iter().map(|item| item.columns.len()).sum()
    }

    /// `NATURAL` compares every pair of columns of one name.
    fn natural(&mut self, start: usize, middle: usize) -> Step {
        self.work.spend(self.visible_columns(start) * HELD)?;
        let items = self.visible()[start..].to_vec();
        if !items.iter().all(Item::is_known) {
            return Err(Refused::not_understood("a natural join with something whose columns are not known"));
        }
        let (left, right) = items.split_at(middle - start);
        let names = |side: &[Item]| {
            side.iter().flat_map(|item| item.columns.iter().map(|field| field.name.clone())).collect::<std::collections::BTreeSet<_>>()
        };
        let common: std::collections::BTreeSet<String> = names(left).intersection(&names(right)).cloned().collect();
        let bases: Vec<_> = items
            .iter()
            .flat_map(|item| &item.columns)
            .filter(|field| common.contains(&field.name))
            .filter_map(|field| field.base.clone())
            .collect();
        self.may_compare(&bases)
    }
}
