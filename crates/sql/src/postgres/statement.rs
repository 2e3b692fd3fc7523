//! Which kinds of statement there are. What is missing here a restricted role may not do.

use access::rights::{Columns, Verb};
use pg_query::NodeEnum as N;
use pg_query::protobuf::{
    DropBehavior, ExplainStmt, LockStmt, Node, TransactionStmtKind, TruncateStmt, VariableSetKind, VariableSetStmt, a_const,
};

use super::names::Table;
use super::scope::Outputs;
use super::{Place, Step, Walk, builtin};
use crate::verdict::{Allowed, Hidden, Refused, shown};

/// Statements that neither read nor write tables: they may stand beside named ones.
pub(super) fn is_control(node: &N) -> bool {
    matches!(
        node,
        N::TransactionStmt(_)
            | N::VariableSetStmt(_)
            | N::VariableShowStmt(_)
            | N::DiscardStmt(_)
            | N::DeallocateStmt(_)
            | N::ClosePortalStmt(_)
            | N::UnlistenStmt(_)
    )
}

pub(super) fn plain(kind: &'static str) -> Allowed {
    Allowed { kind, ..Allowed::default() }
}

pub(super) fn with_rows(kind: &'static str, outputs: &Outputs) -> Allowed {
    let masked = if outputs.unknown {
        // Places are not known; the relay masks by table and attribute number.
        std::collections::BTreeSet::new()
    } else {
        outputs.columns.iter().enumerate().filter(|(_, output)| output.masked).map(|(at, _)| at).collect()
    };
    Allowed { kind, masked_outputs: masked, ..Allowed::default() }
}

impl Walk<'_> {
    pub(super) fn statement(&mut self, node: &N) -> Step<Allowed> {
        match node {
            N::SelectStmt(_) => self.rows(node, Place::Outermost).map(|outputs| with_rows("select", &outputs)),
            N::InsertStmt(_) => self.rows(node, Place::Outermost).map(|outputs| with_rows("insert", &outputs)),
            N::UpdateStmt(_) => self.rows(node, Place::Outermost).map(|outputs| with_rows("update", &outputs)),
            N::DeleteStmt(_) => self.rows(node, Place::Outermost).map(|outputs| with_rows("delete", &outputs)),
            N::MergeStmt(_) => self.rows(node, Place::Outermost).map(|outputs| with_rows("merge", &outputs)),
            N::TruncateStmt(truncate) => self.truncate(truncate),
            N::CopyStmt(copy) => self.copy(copy),
            N::ExplainStmt(explain) => self.explain(explain),
            N::PrepareStmt(prepare) => {
                prepare.argtypes.iter().try_for_each(|node| match &node.node {
                    Some(N::TypeName(name)) => self.type_name(Some(name)),
                    _ => Err(Refused::not_understood("an argument of an unknown type")),
                })?;
                self.inner(prepare.query.as_deref().and_then(|query| query.node.as_ref()), "prepare")
            }
            N::ExecuteStmt(execute) => self.execute(&execute.params).map(|()| plain("execute")),
            N::DeclareCursorStmt(declare) => self.inner(declare.query.as_deref().and_then(|query| query.node.as_ref()), "declare"),
            N::FetchStmt(_) => Ok(plain("fetch")),
            N::ClosePortalStmt(_) => Ok(plain("close")),
            N::DeallocateStmt(_) => Ok(plain("deallocate")),
            N::TransactionStmt(transaction) => match transaction.kind() {
                TransactionStmtKind::TransStmtPrepare
                | TransactionStmtKind::TransStmtCommitPrepared
                | TransactionStmtKind::TransStmtRollbackPrepared => {
                    Err(Refused::not_in_role("this role may not keep a transaction past its session", "use plain `COMMIT`"))
                }
                _ => Ok(plain("transaction")),
            },
            N::ConstraintsSetStmt(_) => Ok(plain("set constraints")),
            N::VariableSetStmt(set) => self.set(set),
            N::VariableShowStmt(show) => self.readable_setting(&show.name).map(|()| plain("show")),
            N::DiscardStmt(_) => Ok(plain("discard")),
            N::ListenStmt(listen) => self.channel(&listen.conditionname).map(|()| plain("listen")),
            N::NotifyStmt(notify) => self.channel(&notify.conditionname).map(|()| plain("notify")),
            N::UnlistenStmt(_) => Ok(plain("unlisten")),
            N::LockStmt(lock) => self.lock(lock),
            N::CallStmt(call) => {
                let call = call.funccall.as_deref().ok_or_else(|| Refused::not_understood("a call of nothing"))?;
                self.call(call).map(|()| plain("call"))
            }
            N::DoStmt(_) => Err(Refused::not_in_role("`DO` runs code that nobody can judge beforehand", "run its statements one by one")),
            other => Err(Refused::not_in_role(
                format!("this role may not use `{}`", words_of(other)),
                "it may read and change the rows of its tables; ask for a role that may do more",
            )),
        }
    }

    /// What was prepared gets values; where they go, its text says, which is not at hand.
    fn execute(&mut self, values: &[Node]) -> Step {
        if self.has_masks && !values.is_empty() {
            self.hidden = Hidden::Everything;
        }
        self.expressions(values)
    }

    /// A query inside another statement; which of its rows reach the client is known when they come.
    fn inner(&mut self, query: Option<&N>, kind: &'static str) -> Step<Allowed> {
        let query = query.ok_or_else(|| Refused::not_understood("a statement without a query"))?;
        self.rows(query, Place::Outermost).map(|_| plain(kind))
    }

    fn explain(&mut self, explain: &ExplainStmt) -> Step<Allowed> {
        for option in &explain.options {
            let Some(N::DefElem(option)) = option.node.as_ref() else {
                return Err(Refused::not_understood("an option of an unknown kind"));
            };
            let known = [
                "analyze",
                "verbose",
                "costs",
                "settings",
                "generic_plan",
                "buffers",
                "wal",
                "timing",
                "summary",
                "format",
                "memory",
                "serialize",
            ];
            if !known.contains(&option.defname.as_str()) {
                return Err(Refused::not_understood(format!("the option `{}` of `EXPLAIN`", shown(&option.defname))));
            }
        }
        match explain.query.as_deref().and_then(|query| query.node.as_ref()) {
            Some(N::ExecuteStmt(execute)) => self.execute(&execute.params).map(|()| plain("explain")),
            Some(N::DeclareCursorStmt(declare)) => self.inner(declare.query.as_deref().and_then(|query| query.node.as_ref()), "explain"),
            query => self.inner(query, "explain"),
        }
    }

    fn truncate(&mut self, truncate: &TruncateStmt) -> Step<Allowed> {
        if truncate.behavior() == DropBehavior::DropCascade || truncate.restart_seqs {
            return Err(Refused::not_in_role(
                "`TRUNCATE` with `CASCADE` or `RESTART IDENTITY` reaches further than the tables it names",
                "leave that out",
            ));
        }
        for node in &truncate.relations {
            let Some(N::RangeVar(range)) = node.node.as_ref() else { return Err(Refused::not_understood("a table of an unknown kind")) };
            self.target(Some(range), Verb::Truncate)?;
        }
        Ok(plain("truncate"))
    }

    fn lock(&mut self, lock: &LockStmt) -> Step<Allowed> {
        // The weakest lock is what reading takes anyway; any other keeps writers or readers away. A right to some columns is not enough
        // for PostgreSQL, nor is it here.
        let weak = lock.mode == pg_query::LockMode::AccessShareLock as i32;
        let verbs: &[Verb] = if weak { &[Verb::Select] } else { &[Verb::Update, Verb::Delete, Verb::Truncate] };
        for node in &lock.relations {
            let Some(N::RangeVar(range)) = node.node.as_ref() else { return Err(Refused::not_understood("a table of an unknown kind")) };
            let Table::Listed(table) = self.table(range, false)? else {
                return Err(Refused::not_in_role("a lock on what belongs to the database itself", "leave it alone"));
            };
            let whole = |verb: &&Verb| self.rights.tables.get(&table).is_some_and(|rights| rights.columns(**verb) == Columns::All);
            let Some(verb) = verbs.iter().find(whole) else {
                let need = if weak { "read all of it" } else { "change, delete or empty all of it" };
                return Err(Refused::not_in_role(
                    format!("this role may not lock `{table}` so, since it may not {need}"),
                    "work without the lock",
                ));
            };
            self.target(Some(range), *verb)?;
        }
        Ok(plain("lock"))
    }

    fn set(&self, set: &VariableSetStmt) -> Step<Allowed> {
        let name = set.name.to_ascii_lowercase();
        match set.kind() {
            VariableSetKind::VarResetAll => {}
            // What the session is pinned to is what these lead back to.
            VariableSetKind::VarReset | VariableSetKind::VarSetDefault if is_pinned(&name) || builtin::is_harmless_setting(&name) => {}
            VariableSetKind::VarSetMulti if matches!(name.as_str(), "transaction" | "session characteristics") => {}
            VariableSetKind::VarSetValue => {
                let mut values = Vec::new();
                for arg in &set.args {
                    values.push(match arg.node.as_ref() {
                        Some(N::AConst(constant)) => match constant.val.as_ref() {
                            Some(a_const::Val::Sval(text)) => text.sval.clone(),
                            Some(a_const::Val::Ival(number)) => number.ival.to_string(),
                            Some(a_const::Val::Fval(number)) => number.fval.clone(),
                            _ => String::new(),
                        },
                        // `SET TIME ZONE INTERVAL '…'`
                        Some(N::TypeCast(_)) if name == "timezone" => String::new(),
                        _ => return Err(Refused::not_understood("a setting with a value of an unknown kind")),
                    });
                }
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                self.setting(&name, &values)?;
            }
            _ => return Err(not_settable(&name)),
        }
        Ok(plain("set"))
    }

    /// A setting gets a value.
    pub(super) fn setting(&self, name: &str, values: &[&str]) -> Step {
        let name = name.to_ascii_lowercase();
        let is = |wanted: &[&str]| matches!(values, [one] if wanted.iter().any(|w| one.eq_ignore_ascii_case(w)));
        match name.as_str() {
            "client_encoding" if is(&["utf8", "utf-8", "unicode"]) => Ok(()),
            "standard_conforming_strings" if is(&["on", "true", "1", "yes"]) => Ok(()),
            "search_path" if self.is_own_path(values) => Ok(()),
            "statement_timeout" if self.rights.statement_timeout.is_some() => {
                Err(Refused::not_in_role("how long a statement may run is fixed by this role", "leave `statement_timeout` as it is"))
            }
            _ if is_pinned(&name) => Err(Refused::not_in_role(
                format!("`{name}` is pinned under a restricted role, so that a statement means what it was judged for"),
                match name.as_str() {
                    "search_path" => "write names with their schema",
                    _ => "leave it as it is",
                },
            )),
            // An index that holds a masked column gives its rows in the order of that.
            _ if self.has_masks && builtin::is_planners_setting(&name) => Err(Refused::not_in_role(
                format!("`{name}` may make rows come in the order of a column that is masked for this role"),
                "leave it to the planner",
            )),
            _ if builtin::is_harmless_setting(&name) => Ok(()),
            _ => Err(not_settable(&name)),
        }
    }

    /// A setting is read: some say where the server keeps what it has, and only its owner may see them.
    pub(super) fn readable_setting(&self, name: &str) -> Step {
        if builtin::is_owners_setting(&name.to_ascii_lowercase()) {
            return Err(Refused::not_in_role(
                format!("this role may not look at the setting `{}`", shown(name)),
                "ask who runs the server",
            ));
        }
        Ok(())
    }

    /// Whether a search path is the one the session is pinned to. Temporary tables may be named last, where they hide nothing.
    fn is_own_path(&self, values: &[&str]) -> bool {
        let mut parts: Vec<String> = values.iter().flat_map(|v| v.split(',')).map(|v| v.trim().trim_matches('"').to_owned()).collect();
        if parts.last().is_some_and(|last| last == "pg_temp") {
            parts.pop();
        }
        // Without it they would come first; there are none to come, and a restricted role cannot make any.
        parts == self.rights.schemas()
    }
}

fn is_pinned(name: &str) -> bool {
    matches!(name, "search_path" | "client_encoding" | "standard_conforming_strings")
}

fn not_settable(name: &str) -> Refused {
    Refused::not_in_role(
        format!("this role may not change the setting `{}`", shown(name)),
        "settings that change how results look may be changed",
    )
}

/// A statement's kind in the words of SQL, for messages: `CreateTableAsStmt` is `CREATE TABLE AS`.
fn words_of(node: &N) -> String {
    let debug = format!("{node:?}");
    let kind = debug.split(['(', ' ', '{']).next().unwrap_or_default().trim_end_matches("Stmt");
    let mut words = String::new();
    for c in kind.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_uppercase());
    }
    words
}
