//! PostgreSQL's statements, read by PostgreSQL's own parser.
//!
//! [`statement`] says which kinds of statement there are, [`query`] walks what reads and writes tables, [`expression`] what stands
//! inside, [`copy`] what is copied, [`names`] finds out what a name means, and [`builtin`] lists what comes with the database and does no
//! harm.

pub mod bounds;
mod builtin;
pub(crate) mod conceal;
mod copy;
mod expression;
mod from;
mod names;
mod naming;
mod query;
mod scope;
mod statement;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use access::rights::{DatabaseRights, QualifiedName, Verb};

use crate::catalog::Catalog;
use crate::verdict::{Allowed, Hidden, Refused, Use, Verdict};
pub use bounds::LONGEST;
pub use copy::{Copied, Forced, Form, Lines, Quotes};
pub use naming::{Naming, may_name, namings};
use scope::{Item, Outputs};

/// How much stack there has to be for reading a statement, and how much is taken if there is less, in bytes.
const STACK_LEFT: usize = 8 * 1024 * 1024;
const STACK_NEW: usize = 16 * 1024 * 1024;

/// Judges everything in a text: one statement, or several with `;` between.
///
/// The session has to be pinned: `search_path` to [`DatabaseRights::pinned_search_path`], `standard_conforming_strings` to `on`,
/// `client_encoding` to `UTF8`. What comes by the function-call message is no text and has to be refused by the relay.
pub fn judge(rights: &DatabaseRights, catalog: &Catalog, sql: &str) -> Verdict {
    match look(rights, catalog, sql) {
        Ok(looked) => Verdict::Allowed(looked.into_iter().map(|one| one.allowed).collect()),
        Err(refused) => Verdict::Refused(refused),
    }
}

/// A statement that is allowed, and whether that hangs on the constants in it.
pub(crate) struct Looked {
    pub(crate) allowed: Allowed,
    pub(crate) by_constants: bool,
}

pub(crate) fn look(rights: &DatabaseRights, catalog: &Catalog, sql: &str) -> Result<Vec<Looked>, Refused> {
    bounds::check(sql)?;
    if rights.unrestricted {
        return Ok(Vec::new());
    }
    // The parser answers with a tree that may be a hundred levels deep, and reading it takes a few MiB of stack.
    stacker::maybe_grow(STACK_LEFT, STACK_NEW, || look_deep(rights, catalog, sql))
}

fn look_deep(rights: &DatabaseRights, catalog: &Catalog, sql: &str) -> Result<Vec<Looked>, Refused> {
    let parsed = pg_query::parse(sql, 0).map_err(|error| match error {
        // The parser quotes what it stumbled over, which may be a value that nobody may keep.
        pg_query::Error::Parse(why) if rights.has_masks() => {
            let why = why.split('"').next().unwrap_or_default().trim_end().trim_end_matches(" at or near");
            Refused::not_understood(format!("the statement cannot be read: {}", crate::verdict::shown(why)))
        }
        pg_query::Error::Parse(why) => Refused::not_understood(format!("the statement cannot be read: {}", crate::verdict::shown(&why))),
        _ => Refused::not_understood("the statement is nested too deeply to be looked at"),
    })?;
    let mut out = Vec::new();
    // Of the whole text: many small statements take as much as a large one.
    let work = bounds::Work::new();
    for raw in &parsed.protobuf.stmts {
        let node = raw.stmt.as_ref().and_then(|stmt| stmt.node.as_ref()).ok_or_else(|| Refused::not_understood("a statement is empty"))?;
        if rights.only_statements && !statement::is_control(node) {
            template::require(rights, sql, raw.stmt_location, raw.stmt_len)?;
        }
        let mut walk = Walk {
            rights,
            catalog,
            alone: (parsed.protobuf.stmts.len() == 1).then_some(sql),
            uses: BTreeMap::new(),
            ctes: Vec::new(),
            scopes: Vec::new(),
            locks: false,
            merged: false,
            by_constants: rights.only_statements,
            has_masks: rights.has_masks(),
            hidden: Hidden::Nothing,
            concealing: false,
            items: 0,
            work: &work,
        };
        let mut allowed = walk.statement(node)?;
        walk.locks_are_allowed()?;
        allowed.uses = walk.uses.into_iter().map(|(table, verbs)| Use { table, verbs }).collect();
        allowed.hidden = walk.hidden;
        out.push(Looked { allowed, by_constants: walk.by_constants });
    }
    Ok(out)
}

/// One walk through one statement.
struct Walk<'a> {
    rights: &'a DatabaseRights,
    catalog: &'a Catalog,
    /// The whole text, if there is nothing else in it than this statement.
    alone: Option<&'a str>,
    uses: BTreeMap<QualifiedName, BTreeMap<Verb, BTreeSet<String>>>,
    /// Names that `WITH` gave, innermost last.
    ctes: Vec<Vec<Item>>,
    /// What is visible, innermost last. It may hold more than is: whatever a name could mean has to be allowed.
    scopes: Vec<Vec<Item>>,
    /// Whether rows are locked, `FOR UPDATE` and the like.
    locks: bool,
    /// Whether a join of the query at hand merges columns, so that `*` has another order than its tables.
    merged: bool,
    /// Whether the verdict hangs on constants in the text.
    by_constants: bool,
    /// Whether the role masks anything.
    has_masks: bool,
    /// Which values meet a masked column.
    hidden: Hidden,
    /// Whether what is walked through now becomes the value of a masked column.
    concealing: bool,
    /// How many things it has looked at that names are looked up in.
    items: usize,
    /// What it may still look at for that.
    work: &'a bounds::Work,
}

type Step<T = ()> = Result<T, Refused>;

/// Where a query stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its rows go to the client: masked columns may be among them.
    Outermost,
    /// Its rows are copied to the client: so they may here, if each of its columns is known.
    Copied,
    /// Its rows go anywhere else.
    Inside,
}

impl Walk<'_> {
    fn used(&mut self, table: &QualifiedName, verb: Verb, column: Option<&str>) {
        if !self.uses.contains_key(table) {
            self.uses.insert(table.clone(), BTreeMap::new());
        }
        let Some(verbs) = self.uses.get_mut(table) else { return };
        let columns = verbs.entry(verb).or_default();
        if let Some(column) = column
            && !columns.contains(column)
        {
            columns.insert(column.to_owned());
        }
    }

    /// Rows that are locked have to be ones that may be changed.
    fn locks_are_allowed(&self) -> Step {
        if !self.locks {
            return Ok(());
        }
        let read = self.uses.iter().filter(|(_, verbs)| verbs.contains_key(&Verb::Select)).map(|(table, _)| table);
        for table in read {
            if !self.rights.tables.get(table).is_some_and(|rights| rights.allows(Verb::Update)) {
                return Err(Refused::not_in_role(
                    format!("this role may not lock rows of `{table}`, since it may not change them"),
                    "leave out `FOR UPDATE` and `FOR SHARE`",
                ));
            }
        }
        Ok(())
    }
}

fn no_outputs() -> Outputs {
    Outputs::default()
}
