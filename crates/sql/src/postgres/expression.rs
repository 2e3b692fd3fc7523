//! Expressions: each kind that is known, and what stands inside it. A kind that is not known is refused.

use pg_query::NodeEnum as N;
use pg_query::protobuf::{AExprKind, FuncCall, Node, SortBy, SubLink, TypeName, WindowDef, a_const};

use super::names::texts;
use super::{Place, Step, Walk};
use crate::verdict::{Hidden, Refused, shown};

/// A text constant.
pub(super) fn constant_text(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        N::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Sval(text) => Some(&text.sval),
            _ => None,
        },
        N::TypeCast(cast) => constant_text(cast.arg.as_deref()?),
        _ => None,
    }
}

/// A whole-number constant.
pub(super) fn constant_number(node: &Node) -> Option<i32> {
    match node.node.as_ref()? {
        N::AConst(constant) => match constant.val.as_ref()? {
            a_const::Val::Ival(number) => Some(number.ival),
            _ => None,
        },
        _ => None,
    }
}

impl Walk<'_> {
    pub(super) fn expressions(&mut self, nodes: &[Node]) -> Step {
        nodes.iter().try_for_each(|node| self.expression(node))
    }

    pub(super) fn maybe(&mut self, node: Option<&Node>) -> Step {
        node.map_or(Ok(()), |node| self.expression(node))
    }

    pub(super) fn expression(&mut self, node: &Node) -> Step {
        let Some(inner) = node.node.as_ref() else { return Ok(()) };
        match inner {
            N::ColumnRef(column) => {
                self.conceal_column(column);
                self.column(column, false).map(|_| ())
            }
            N::AConst(constant) => {
                self.conceal_constant(constant);
                Ok(())
            }
            N::ParamRef(parameter) => {
                self.conceal_parameter(parameter.number);
                Ok(())
            }
            N::SetToDefault(_) | N::SqlvalueFunction(_) | N::Integer(_) | N::Float(_) | N::String(_) => Ok(()),
            N::AExpr(e) => {
                match e.kind() {
                    AExprKind::AexprBetween | AExprKind::AexprBetweenSym => {
                        [">=", "<="].iter().try_for_each(|o| self.unwritten_operator(o))?
                    }
                    AExprKind::AexprNotBetween | AExprKind::AexprNotBetweenSym => {
                        ["<", ">"].iter().try_for_each(|o| self.unwritten_operator(o))?
                    }
                    _ => self.operator(&e.name)?,
                }
                self.maybe(e.lexpr.as_deref())?;
                self.maybe(e.rexpr.as_deref())
            }
            N::BoolExpr(e) => self.expressions(&e.args),
            N::NullTest(e) => self.maybe(e.arg.as_deref()),
            N::BooleanTest(e) => self.maybe(e.arg.as_deref()),
            N::CaseExpr(e) => {
                if e.arg.is_some() {
                    self.unwritten_operator("=")?;
                }
                self.maybe(e.arg.as_deref())?;
                self.expressions(&e.args)?;
                self.maybe(e.defresult.as_deref())
            }
            N::CaseWhen(e) => {
                self.maybe(e.expr.as_deref())?;
                self.maybe(e.result.as_deref())
            }
            N::CoalesceExpr(e) => self.expressions(&e.args),
            N::MinMaxExpr(e) => self.expressions(&e.args),
            N::RowExpr(e) => self.expressions(&e.args),
            N::AArrayExpr(e) => self.expressions(&e.elements),
            N::List(e) => self.expressions(&e.items),
            N::TypeCast(e) => {
                self.type_name(e.type_name.as_ref())?;
                self.maybe(e.arg.as_deref())
            }
            N::CollateClause(e) => self.maybe(e.arg.as_deref()),
            N::AIndirection(e) => {
                self.maybe(e.arg.as_deref())?;
                e.indirection.iter().try_for_each(|step| self.step(step))
            }
            N::SubLink(e) => self.sub_link(e),
            N::FuncCall(e) => self.call(e),
            N::NamedArgExpr(e) => self.maybe(e.arg.as_deref()),
            N::GroupingFunc(e) => self.expressions(&e.args),
            N::CurrentOfExpr(_) => Ok(()),
            N::SortBy(e) => self.sort_by(e),
            other => self.rarer(other),
        }
    }

    /// XML and JSON in the standard's own syntax.
    fn rarer(&mut self, node: &N) -> Step {
        match node {
            N::XmlExpr(e) => {
                self.expressions(&e.args)?;
                e.named_args.iter().try_for_each(|arg| match &arg.node {
                    Some(N::ResTarget(target)) => self.maybe(target.val.as_deref()),
                    _ => Err(Refused::not_understood("an XML expression with an unknown part")),
                })
            }
            N::XmlSerialize(e) => {
                self.type_name(e.type_name.as_ref())?;
                self.maybe(e.expr.as_deref())
            }
            N::JsonIsPredicate(e) => self.maybe(e.expr.as_deref()),
            N::JsonObjectConstructor(e) => self.expressions(&e.exprs),
            N::JsonArrayConstructor(e) => self.expressions(&e.exprs),
            N::JsonKeyValue(e) => {
                self.maybe(e.key.as_deref())?;
                self.maybe(e.value.as_ref().and_then(|value| value.raw_expr.as_deref()))
            }
            N::JsonValueExpr(e) => self.maybe(e.raw_expr.as_deref()),
            _ => Err(Refused::not_understood("the statement holds an expression of a kind that is not known here")),
        }
    }

    /// `.field`, `[index]` or `.*` behind a value.
    fn step(&mut self, step: &Node) -> Step {
        match step.node.as_ref() {
            Some(N::String(name)) => self.field(&name.sval, false),
            Some(N::AIndices(index)) => {
                self.maybe(index.lidx.as_deref())?;
                self.maybe(index.uidx.as_deref())
            }
            Some(N::AStar(_)) => Ok(()),
            _ => Err(Refused::not_understood("something unknown behind a value")),
        }
    }

    fn sub_link(&mut self, link: &SubLink) -> Step {
        self.conceal_all();
        self.maybe(link.testexpr.as_deref())?;
        self.operator(&link.oper_name)?;
        if link.testexpr.is_some() && link.oper_name.is_empty() {
            self.unwritten_operator("=")?;
        }
        match link.subselect.as_ref().and_then(|select| select.node.as_ref()) {
            Some(N::SelectStmt(select)) => self.select(select, Place::Inside).map(|_| ()),
            _ => Err(Refused::not_understood("a sub-select of an unknown kind")),
        }
    }

    pub(super) fn call(&mut self, call: &FuncCall) -> Step {
        let names = texts(&call.funcname)?;
        match names.as_slice() {
            ["set_config"] | ["pg_catalog", "set_config"] => self.set_config(call)?,
            ["current_setting"] | ["pg_catalog", "current_setting"] => self.current_setting(call)?,
            ["pg_notify"] | ["pg_catalog", "pg_notify"] => self.pg_notify(call)?,
            ["nextval" | "currval"] | ["pg_catalog", "nextval" | "currval"] => self.sequence(call)?,
            names => self.function(names)?,
        }
        self.expressions(&call.args)?;
        self.expressions(&call.agg_order)?;
        self.maybe(call.agg_filter.as_deref())?;
        call.over.as_deref().map_or(Ok(()), |over| self.window(over))
    }

    /// `set_config('name', 'value', …)` is `SET name = 'value'`.
    fn set_config(&mut self, call: &FuncCall) -> Step {
        self.by_constants = true;
        match call.args.as_slice() {
            [name, value, _] => match (constant_text(name), constant_text(value)) {
                (Some(name), Some(value)) => self.setting(name, &[value]),
                // A setting that may have any value may have one that is computed, as drivers put back what they changed.
                (Some(name), None) => self.setting(name, &[]),
                (None, _) => Err(Refused::not_in_role("`set_config` of anything but a plain text", "write `SET name = value`")),
            },
            _ => Err(Refused::not_understood("`set_config` takes three arguments")),
        }
    }

    /// `current_setting('name', …)` is `SHOW name`.
    fn current_setting(&mut self, call: &FuncCall) -> Step {
        match call.args.first().and_then(constant_text) {
            Some(name) => {
                self.by_constants = true;
                self.readable_setting(name)
            }
            // What the catalog names, it shows the value of too.
            None if call.args.first().is_some_and(|name| self.is_name_of_setting(name)) => Ok(()),
            None => {
                Err(Refused::not_in_role("`current_setting` of anything but a plain text", "write the setting's name out, or `SHOW name`"))
            }
        }
    }

    /// `s.name` where `s` is `pg_settings`.
    fn is_name_of_setting(&self, node: &Node) -> bool {
        let Some(N::ColumnRef(column)) = node.node.as_ref() else { return false };
        match texts(&column.fields).as_deref() {
            Ok([alias, "name"]) => self.named(&self.scopes, &[*alias]).is_ok_and(|items| items.iter().all(|item| item.settings)),
            _ => false,
        }
    }

    /// `pg_notify('channel', …)` is `NOTIFY channel`.
    fn pg_notify(&mut self, call: &FuncCall) -> Step {
        self.by_constants = true;
        match call.args.first().and_then(constant_text) {
            Some(channel) => self.channel(channel),
            None => Err(Refused::not_in_role("`pg_notify` on a channel that is no plain text", "write the channel out")),
        }
    }

    pub(super) fn channel(&self, channel: &str) -> Step {
        if self.rights.channels.contains(channel) {
            return Ok(());
        }
        Err(Refused::not_in_role(format!("this role may not use the channel `{}`", shown(channel)), "ask for a role that may"))
    }

    pub(super) fn window(&mut self, window: &WindowDef) -> Step {
        self.expressions(&window.partition_clause)?;
        self.expressions(&window.order_clause)?;
        self.maybe(window.start_offset.as_deref())?;
        self.maybe(window.end_offset.as_deref())
    }

    fn sort_by(&mut self, sort: &SortBy) -> Step {
        self.operator(&sort.use_op)?;
        self.maybe(sort.node.as_deref())
    }

    /// A type by name; `table.column%TYPE` and sets of a type are for functions alone.
    pub(super) fn type_name(&mut self, name: Option<&TypeName>) -> Step {
        let Some(name) = name else { return Ok(()) };
        if name.pct_type || name.setof {
            return Err(Refused::not_understood("a type taken from a column"));
        }
        self.runs_of_type(&texts(&name.names)?)?;
        let concealing = std::mem::take(&mut self.concealing);
        let walked = self.expressions(&name.typmods);
        self.concealing = concealing;
        walked
    }

    /// A cast may run a function that is not written: it has to be one of the role's.
    fn runs_of_type(&mut self, names: &[&str]) -> Step {
        let catalog = self.catalog;
        let [.., name] = names else { return Ok(()) };
        if names.first() == Some(&"pg_catalog") {
            return Ok(());
        }
        for function in catalog.run_by_type(name) {
            if !self.rights.functions.contains(function) {
                return Err(Refused::not_in_role(
                    format!("a cast to or from `{}` runs the function `{function}`, which this role may not call", shown(name)),
                    "ask for a role that may call it",
                ));
            }
            if self.has_masks {
                // What it does with the value, nobody here can tell.
                self.hidden = Hidden::Everything;
            }
        }
        Ok(())
    }
}
