//! The judge of a session by the rights of its role: crate `sql` knows what a statement does, this hands it over.

use access::reason::{Reason, Refusal};
use access::rights::DatabaseRights;
use access::session::SessionFacts;
use sql::Catalog;
use sql::catalog::WIDTH;

use super::judge::{Act, Allowed, HiddenValues, Instead, Judge, Judging, Refused, Row, Verdict};
use super::veil::Withheld;

/// Lets everything pass.
#[derive(Debug)]
struct Unrestricted {
    /// How many rows one statement may bring back.
    rows: Option<u64>,
}

impl Judge for Unrestricted {
    fn judge(&mut self, _: Act<'_>) -> Verdict {
        Verdict::Allow(Allowed::default())
    }

    fn reads(&self) -> bool {
        false
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
        let rights = catalog.with_inherited_masks(rights);
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
            // It was judged when it was prepared, and its values change nothing about that. What was prepared by `PREPARE` has a text
            // that is not at hand: nobody can tell where its values go.
            Act::Bind { text: None, .. } if self.judge.rights().has_masks() => {
                return Verdict::Allow(Allowed { hidden: HiddenValues::All, ..Allowed::default() });
            }
            Act::Bind { .. } => return Verdict::Allow(Allowed::default()),
            Act::FunctionCall(_) => {
                return not_understood("functions cannot be called by their number under a restricted role; use `SELECT`", None);
            }
        };
        let Ok(text) = std::str::from_utf8(text) else {
            let instead =
                self.judge.rights().has_masks().then(|| Instead { text: format!("‹hidden: {} bytes›", text.len()), hidden: 1 });
            return not_understood("the statement is no UTF-8, which is the encoding of every session under a restricted role", instead);
        };
        let verdict = self.judge.judge(text);
        let concealed = self.judge.conceal(text, &verdict);
        match verdict {
            sql::Verdict::Allowed(all) => Verdict::Allow(Allowed {
                copied: all.first().and_then(|one| one.copied.clone()),
                hidden: all.first().map_or(HiddenValues::None, |one| HiddenValues::of(&one.hidden)),
                masked: if all.iter().all(|one| one.masked_outputs.is_empty()) {
                    Vec::new()
                } else {
                    all.into_iter().map(|one| one.masked_outputs).collect()
                },
                instead: concealed.map(|concealed| Instead { text: concealed.text, hidden: concealed.count }),
            }),
            sql::Verdict::Refused(refused) => {
                let why = Refusal::because(Reason::NotInRole, refused.to_string());
                let instead = concealed.map(|concealed| {
                    let why = Refusal::because(Reason::NotInRole, concealed.why.unwrap_or_default());
                    (Instead { text: concealed.text, hidden: concealed.count }, why)
                });
                Verdict::Refuse(Refused { why, sqlstate: refused.cause.sqlstate(), instead })
            }
        }
    }

    fn withheld(&self) -> Withheld {
        self.withheld.clone()
    }
}

fn not_understood(why: &str, instead: Option<Instead>) -> Verdict {
    let why = Refusal::because(Reason::NotInRole, why);
    let instead = instead.map(|instead| (instead, why.clone()));
    Verdict::Refuse(Refused { why, sqlstate: "0A000", instead })
}
