//! The judge of one session: the rights, the catalog, and verdicts it remembers.

use std::collections::HashMap;

use access::rights::DatabaseRights;

use crate::catalog::Catalog;
use crate::concealed::Concealed;
use crate::postgres;
use crate::verdict::{Hidden, Verdict};

/// How many verdicts are remembered; then all are forgotten.
const REMEMBERED: usize = 256;
/// The longest text that is remembered, in bytes.
const LONGEST_REMEMBERED: usize = 4 * 1_024;

/// Judges the statements of one session.
#[derive(Debug)]
pub struct Judge {
    rights: DatabaseRights,
    catalog: Catalog,
    /// Verdicts on whole texts, to the letter.
    exact: HashMap<String, Verdict>,
    /// Verdicts on single plain statements without their constants.
    shapes: HashMap<String, Verdict>,
}

impl Judge {
    /// A judge for a session with these rights, at a target that looks like this.
    #[must_use]
    pub fn new(rights: DatabaseRights, catalog: Catalog) -> Self {
        let rights = catalog.with_inherited_masks(rights);
        Self { rights, catalog, exact: HashMap::new(), shapes: HashMap::new() }
    }

    /// The rights it judges by: what a table masks, those it inherits from and those that inherit from it mask too.
    #[must_use]
    pub fn rights(&self) -> &DatabaseRights {
        &self.rights
    }

    /// The target as it knows it.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What a record keeps of a text in the place of the whole, after [`Judge::judge`] has said this about it; `None`: all of it.
    #[must_use]
    pub fn conceal(&self, sql: &str, verdict: &Verdict) -> Option<Concealed> {
        postgres::conceal::conceal(&self.rights, &self.catalog, sql, verdict)
    }

    /// Judges everything in a text; see [`postgres::judge`].
    ///
    /// A text seen before is not read again. Nor is a plain `SELECT`, `INSERT`, `UPDATE` or `DELETE` that differs from one that was
    /// allowed in its constants only, if no constant in it changes what it does: an output's number in `ORDER BY 2`, the name in
    /// `set_config('role', …)`. Anything else is read each time.
    pub fn judge(&mut self, sql: &str) -> Verdict {
        if let Some(verdict) = self.exact.get(sql) {
            return verdict.clone();
        }
        let short = sql.len() <= LONGEST_REMEMBERED;
        let shape = if short { pg_query::normalize(sql).ok() } else { None };
        if let Some(verdict) = shape.as_ref().and_then(|shape| self.shapes.get(shape)) {
            return verdict.clone();
        }
        let looked = postgres::look(&self.rights, &self.catalog, sql);
        let is_shape = matches!(looked.as_deref(), Ok([one]) if !one.by_constants && one.allowed.hidden == Hidden::Nothing
            && matches!(one.allowed.kind, "select" | "insert" | "update" | "delete"));
        let verdict = match looked {
            Ok(looked) => Verdict::Allowed(looked.into_iter().map(|one| one.allowed).collect()),
            Err(refused) => Verdict::Refused(refused),
        };
        match shape {
            Some(shape) if is_shape => remember(&mut self.shapes, shape, &verdict),
            _ if short => remember(&mut self.exact, sql.to_owned(), &verdict),
            _ => {}
        }
        verdict
    }
}

fn remember(map: &mut HashMap<String, Verdict>, key: String, verdict: &Verdict) {
    if map.len() >= REMEMBERED {
        map.clear();
    }
    map.insert(key, verdict.clone());
}
