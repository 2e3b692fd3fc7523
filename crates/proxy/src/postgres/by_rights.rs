//! The judge of a session by the rights of its role: crate `sql` knows what a statement does, this hands it over.

use access::reason::{Reason, Refusal};
use access::rights::DatabaseRights;
use access::session::SessionFacts;
use sql::Catalog;
use sql::catalog::WIDTH;

use super::judge::{Act, Judge, Judging, Row, Verdict};
use super::veil::Withheld;

/// Lets everything pass.
#[derive(Debug)]
struct Unrestricted {
    /// How many rows one statement may bring back.
    rows: Option<u64>,
}

impl Judge for Unrestricted {
    fn judge(&mut self, _: Act<'_>) -> Verdict {
        Verdict::Allow(Vec::new())
    }

    fn withheld(&self) -> Withheld {
        Withheld { rows: self.rows, ..Withheld::default() }
    }
}

/// Judges by what the role says and what the target's catalog says.
#[derive(Debug)]
struct Restricted {
    judge: sql::Judge,
    withheld: Withheld,
}

/// Judges by the role's rights: under an unrestricted role everything passes, under any other only what is understood and allowed.
#[must_use]
pub fn by_rights(_: &SessionFacts, rights: &DatabaseRights) -> Judging {
    if rights.unrestricted {
        return Judging::Now(Box::new(Unrestricted { rows: rights.row_limit }));
    }
    let rights = rights.clone();
    Judging::AfterReading { query: Catalog::query(&rights), then: Box::new(move |rows| Ok(Box::new(Restricted::new(rights, rows)?))) }
}

impl Restricted {
    fn new(rights: DatabaseRights, rows: &[Row]) -> Result<Self, Refusal> {
        let unreadable = |why: String| Refusal::because(Reason::TargetRefused, why);
        let mut shaped = Vec::with_capacity(rows.len());
        for row in rows {
            let row: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
            let row: [Option<&str>; WIDTH] =
                row.try_into().map_err(|_| unreadable("the target's catalog has another shape than it was asked for".to_owned()))?;
            shaped.push(row);
        }
        let catalog = Catalog::from_rows(shaped).map_err(|error| unreadable(error.to_string()))?;
        let shown = rights.has_masks().then(|| {
            let masked = catalog.masked_attributes(&rights);
            catalog.attributes().filter(|attribute| !masked.contains(attribute)).collect()
        });
        let withheld = Withheld { shown, details: true, rows: rights.row_limit };
        Ok(Self { judge: sql::Judge::new(rights, catalog), withheld })
    }
}

impl Judge for Restricted {
    fn judge(&mut self, act: Act<'_>) -> Verdict {
        let text = match act {
            Act::Query(text) | Act::Parse { text, .. } => text,
            // It was judged when it was prepared, and its values change nothing about that.
            Act::Bind { .. } => return Verdict::Allow(Vec::new()),
            Act::FunctionCall(_) => {
                return no("functions cannot be called by their number under a restricted role; use `SELECT`".to_owned());
            }
        };
        let Ok(text) = std::str::from_utf8(text) else {
            return no("the statement is no UTF-8, which is the encoding of every session under a restricted role".to_owned());
        };
        match self.judge.judge(text) {
            sql::Verdict::Allowed(all) if all.iter().all(|one| one.masked_outputs.is_empty()) => Verdict::Allow(Vec::new()),
            sql::Verdict::Allowed(all) => Verdict::Allow(all.into_iter().map(|one| one.masked_outputs).collect()),
            sql::Verdict::Refused(refused) => no(refused.to_string()),
        }
    }

    fn withheld(&self) -> Withheld {
        self.withheld.clone()
    }
}

fn no(why: String) -> Verdict {
    Verdict::Refuse(Refusal::because(Reason::NotInRole, why))
}
