//! What a record keeps of a statement under a role with masks: everything but the values that meet a masked column.
//!
//! The values of a statement that is allowed meet a masked column only where it is given one, in `INSERT`, `UPDATE` and `MERGE`: anywhere
//! else a masked column may not stand. What is refused may have compared it with anything, so all its constants go.

use access::rights::{DatabaseRights, QualifiedName, Verb};
use pg_query::NodeEnum as N;
use pg_query::protobuf::{AConst, ColumnRef, FuncCall, Node, Token};

use super::expression::constant_text;
use super::names::texts;
use super::{Step, Walk, bounds};
use crate::catalog::Catalog;
use crate::concealed::{COMMENT, CONSTANT, Concealed, of_allowed};
use crate::verdict::{Hidden, Refused, Verdict, shown};

/// What stands in the place of a name in double quotes that nothing here has: often somebody's value in the wrong quotes.
const NAME_IN_PLACE: &str = "\"‹hidden›\"";
/// What is recorded of a text; `None`: all of it.
pub(crate) fn conceal(rights: &DatabaseRights, catalog: &Catalog, sql: &str, verdict: &Verdict) -> Option<Concealed> {
    match verdict {
        Verdict::Allowed(all) => of_allowed(all, |starts| without(sql, starts), || without_values(catalog, sql, None)),
        Verdict::Refused(refused) => {
            if !rights.has_masks() {
                return None;
            }
            let lower = sql.to_lowercase();
            // What is prepared already is run under a name of its own, and escapes may spell any name.
            let touches = lower.contains("execute")
                || lower.contains("u&")
                || catalog.touchy_names(rights).into_iter().any(|name| lower.contains(&name.to_lowercase()));
            touches.then(|| without_values(catalog, sql, Some(&refused.to_string())))
        }
    }
}

/// The text without the constants that begin at these places, and without comments, which may say the same; `None` if one is not found.
fn without(sql: &str, starts: &std::collections::BTreeSet<i32>) -> Option<Concealed> {
    let tokens = super::bounds::tokens(sql)?;
    let (mut text, mut from, mut count) = (String::with_capacity(sql.len()), 0, 0);
    let mut starts = starts.iter().peekable();
    for token in &tokens {
        let instead = match token.token() {
            Token::SqlComment | Token::CComment => COMMENT,
            // A negative number begins with its sign.
            kind if is_constant(kind) && starts.peek().is_some_and(|start| **start <= token.start) => {
                while starts.peek().is_some_and(|start| **start <= token.start) {
                    starts.next();
                }
                CONSTANT
            }
            _ => continue,
        };
        let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
        text.push_str(sql.get(from..start)?);
        text.push_str(instead);
        from = end;
        count += 1;
    }
    text.push_str(sql.get(from..)?);
    starts.next().is_none().then_some(Concealed { text, count, why: None })
}

fn is_constant(token: Token) -> bool {
    matches!(
        token,
        Token::Sconst | Token::Usconst | Token::Iconst | Token::Fconst | Token::Bconst | Token::Xconst | Token::TrueP | Token::FalseP
    )
}

/// The text without any constant, comment, or name that nothing here has; without anything if it cannot be read.
fn without_values(catalog: &Catalog, sql: &str, why: Option<&str>) -> Concealed {
    let mut why = why.map(str::to_owned);
    let nothing = |why| Concealed { text: format!("‹hidden: {} bytes›", sql.len()), count: 1, why };
    if bounds::check(sql).is_err() {
        return nothing(why);
    }
    let Some(tokens) = super::bounds::tokens(sql) else { return nothing(why) };
    let (mut text, mut from, mut count) = (String::with_capacity(sql.len()), 0, 0);
    for token in &tokens {
        let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end)) else { return nothing(why) };
        let Some(said) = sql.get(start..end) else { return nothing(why) };
        let instead = match token.token() {
            Token::SqlComment | Token::CComment => COMMENT,
            kind if is_constant(kind) => CONSTANT,
            Token::Ident | Token::Uident if said.contains('"') && !catalog.knows_name(inside(said)) => {
                why = why.map(|why| why.replace(inside(said), "‹hidden›"));
                NAME_IN_PLACE
            }
            _ => continue,
        };
        let Some(before) = sql.get(from..start) else { return nothing(why) };
        text.push_str(before);
        text.push_str(instead);
        from = end;
        count += 1;
    }
    text.push_str(sql.get(from..).unwrap_or_default());
    Concealed { text, count, why }
}

fn inside(quoted: &str) -> &str {
    quoted.split_once('"').map_or(quoted, |(_, rest)| rest.strip_suffix('"').unwrap_or(rest))
}

impl Walk<'_> {
    /// Walks through what becomes the value of a masked column.
    pub(super) fn conceal(&mut self, value: Option<&Node>) -> Step {
        let before = std::mem::replace(&mut self.concealing, true);
        let walked = self.maybe(value);
        self.concealing = before;
        walked
    }

    /// Something that only a walk through other rows could tell the value of.
    pub(super) fn conceal_all(&mut self) {
        if self.concealing {
            self.hidden = Hidden::Everything;
        }
    }

    pub(super) fn conceal_constant(&mut self, constant: &AConst) {
        if self.concealing && !constant.isnull {
            self.hide(|_, constants| constants.insert(constant.location));
        }
    }

    pub(super) fn conceal_parameter(&mut self, number: i32) {
        if self.concealing {
            self.hide(|parameters, _| parameters.insert(number));
        }
    }

    /// A column whose value becomes that of a masked one. `excluded.card` is what was to be inserted into `card`, which is hidden there.
    pub(super) fn conceal_column(&mut self, column: &ColumnRef) {
        let of_excluded = matches!(texts(&column.fields).as_deref(), Ok(["excluded", name])
            if self.rights.tables.values().any(|table| table.masked.contains(*name)));
        if !of_excluded {
            self.conceal_all();
        }
    }

    fn hide(&mut self, add: impl FnOnce(&mut std::collections::BTreeSet<i32>, &mut std::collections::BTreeSet<i32>) -> bool) {
        if self.hidden == Hidden::Nothing {
            self.hidden = Hidden::Some { parameters: Default::default(), constants: Default::default() };
        }
        if let Hidden::Some { parameters, constants } = &mut self.hidden {
            add(parameters, constants);
        }
    }

    /// The columns that values are given to, in their order.
    fn columns_given(&self, table: &QualifiedName, targets: &[Node]) -> Vec<String> {
        if targets.is_empty() {
            return self.catalog.relation(table).map(|r| r.columns.iter().map(|c| c.name.clone()).collect()).unwrap_or_default();
        }
        let name = |node: &Node| match node.node.as_ref() {
            Some(N::ResTarget(target)) => target.name.clone(),
            _ => String::new(),
        };
        targets.iter().map(name).collect()
    }

    /// One row of values for these columns.
    pub(super) fn conceal_values(&mut self, table: &QualifiedName, targets: &[Node], values: &[Node]) -> Step {
        if !self.has_masks {
            return Ok(());
        }
        let columns = self.columns_given(table, targets);
        for (column, value) in columns.iter().zip(values) {
            if self.is_masked(table, column) {
                self.conceal(Some(value))?;
            }
        }
        Ok(())
    }

    /// The rows that are inserted: value by value if they stand there, all of it if they come from elsewhere.
    pub(super) fn conceal_rows(&mut self, table: &QualifiedName, targets: &[Node], source: &N) -> Step {
        if !self.has_masks || !self.columns_given(table, targets).iter().any(|column| self.is_masked(table, column)) {
            return Ok(());
        }
        match source {
            N::SelectStmt(select) if !select.values_lists.is_empty() => {
                for row in &select.values_lists {
                    match row.node.as_ref() {
                        Some(N::List(list)) => self.conceal_values(table, targets, &list.items)?,
                        _ => self.hidden = Hidden::Everything,
                    }
                }
            }
            _ => self.hidden = Hidden::Everything,
        }
        Ok(())
    }

    /// `nextval` and `currval`: of sequences that number rows which the role may add.
    pub(super) fn sequence(&mut self, call: &FuncCall) -> Step {
        self.by_constants = true;
        let refused = |what: &str| {
            Err(Refused::not_in_role(
                format!("this role may not take numbers from {what}"),
                "name a sequence of a table that it may insert into, as plain text",
            ))
        };
        let Some(text) = call.args.first().and_then(constant_text) else { return refused("a sequence that is no plain text") };
        let part = |part: &str| match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => part.to_ascii_lowercase(),
        };
        let parts: Vec<String> = text.trim().split('.').map(part).collect();
        let candidates = match parts.as_slice() {
            [name] => self.rights.schemas().into_iter().map(|schema| QualifiedName::new(schema, name)).collect(),
            [schema, name] => vec![QualifiedName::new(schema, name)],
            _ => Vec::new(),
        };
        let found = candidates.iter().find(|name| self.catalog.relation(name).is_some());
        match found.and_then(|name| self.catalog.table_of_sequence(name)) {
            Some(table) if self.rights.tables.get(table).is_some_and(|rights| rights.allows(Verb::Insert)) => Ok(()),
            _ => refused(&format!("`{}`", shown(text))),
        }
    }
}
