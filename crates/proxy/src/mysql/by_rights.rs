//! The judge of a session by the rights of its role: crate `sql` knows what a statement does, this hands it over.

use std::collections::{BTreeSet, HashMap};

use access::ids::PrincipalId;
use access::reason::{Reason, Refusal};
use access::rights::{Columns, DatabaseRights, QualifiedName};
use sql::Catalog;
use sql::catalog::WIDTH;

use super::upstream::Row;
use super::veil::Shown;
use crate::database::statement::{HiddenValues, Instead, Recorded};
use crate::database::thinking::aside;

/// How many verdicts are remembered; then all are forgotten.
const REMEMBERED: usize = 256;
/// The longest text that is remembered, in bytes.
const LONGEST_REMEMBERED: usize = 4 * 1024;

/// For each statement of a text the places in its output, from 0 on, whose values are masked; those left out have none.
pub(crate) type Places = Vec<BTreeSet<usize>>;

/// Something that may be done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed {
    /// The places of its output that are masked.
    pub(crate) masked: Places,
    /// What is recorded in the place of its text; `None`: the text.
    pub(crate) instead: Option<Instead>,
    /// Which of its values no record keeps.
    pub(crate) hidden: HiddenValues,
}

/// Something that may not be done.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// Why, for the client.
    pub(crate) why: Refusal,
    /// What is recorded in the place of its text and of the reason; `None`: these.
    pub(crate) instead: Option<(Instead, Refusal)>,
}

impl Refused {
    /// The text and the reason as they are recorded.
    pub(crate) fn recorded(&self, text: &[u8]) -> (Recorded, Refusal) {
        match &self.instead {
            Some((instead, why)) => (Recorded::of(text, Some(instead.clone())), why.clone()),
            None => (Recorded::of(text, None), self.why.clone()),
        }
    }
}

/// Judges the statements of one session.
#[derive(Debug)]
pub(crate) enum Judge {
    /// Lets everything pass.
    Unrestricted,
    /// By what the role says.
    Restricted(Box<Restricted>),
    /// It failed at a long text, or is reading one: nothing passes.
    Lost,
}

/// What the role says, and what the target's catalog says.
#[derive(Debug)]
pub(crate) struct Restricted {
    rights: DatabaseRights,
    catalog: Catalog,
    /// The database the session is in.
    database: Option<String>,
    remembered: HashMap<Box<[u8]>, Result<Allowed, Refused>>,
    /// What is allowed whatever its values are, by its shape.
    shapes: HashMap<Box<[u8]>, Allowed>,
}

impl Judge {
    /// What has to be read at the target before such a session can be judged; `None`: nothing is judged.
    pub(crate) fn question(rights: &DatabaseRights) -> Option<String> {
        rights.is_restricted().then(|| sql::mysql::catalog_query(rights))
    }

    /// Lets everything pass.
    pub(crate) fn unrestricted() -> Self {
        Self::Unrestricted
    }

    /// Judges by what the role says and what the target's catalog says.
    pub(crate) fn restricted(rights: &DatabaseRights, database: Option<String>, rows: &[Row]) -> Result<Self, Refusal> {
        let unreadable = |why: String| Refusal::because(Reason::TargetRefused, why);
        let mut shaped = Vec::with_capacity(rows.len());
        for row in rows {
            let row: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
            let row: [Option<&str>; WIDTH] =
                row.try_into().map_err(|_| unreadable("the target's catalog has another shape than it was asked for".to_owned()))?;
            shaped.push(row);
        }
        let catalog = Catalog::from_rows(shaped).map_err(|error| unreadable(error.to_string()))?;
        let judge = Restricted { rights: rights.clone(), catalog, database: None, remembered: HashMap::new(), shapes: HashMap::new() };
        if let Some(database) = &database {
            judge.may_enter(database)?;
        }
        Ok(Self::Restricted(Box::new(Restricted { database, ..judge })))
    }

    /// Whether statements are judged at all.
    pub(crate) fn is_restricted(&self) -> bool {
        !matches!(self, Self::Unrestricted)
    }

    /// Whether everything in a text may be done, what is masked of its answers, and what of it no record keeps.
    pub(crate) fn judge(&mut self, text: &[u8]) -> Result<Allowed, Refused> {
        match self {
            Self::Unrestricted => Ok(Allowed::default()),
            Self::Restricted(restricted) => restricted.judge(text),
            Self::Lost => Err(self.refused(text, lost())),
        }
    }

    /// The same of a text of any length: a long one is read aside, in this person's turn.
    pub(crate) async fn judge_aside(&mut self, person: PrincipalId, text: &[u8]) -> Result<Allowed, Refused> {
        if text.len() <= sql::mysql::SHORT {
            return self.judge(text);
        }
        match std::mem::replace(self, Self::Lost) {
            Self::Restricted(mut restricted) => {
                let text: Box<[u8]> = text.into();
                let judging = aside(person, move || {
                    let judged = restricted.judge(&text);
                    (restricted, judged)
                });
                if let Some((restricted, judged)) = judging.await {
                    *self = Self::Restricted(restricted);
                    return judged;
                }
            }
            other => *self = other,
        }
        self.judge(text)
    }

    /// A text that the relay itself refuses.
    pub(crate) fn refused(&self, text: &[u8], why: Refusal) -> Refused {
        let instead = match (self, std::str::from_utf8(text)) {
            (Self::Unrestricted, _) => None,
            (Self::Restricted(restricted), _) if !restricted.rights.has_masks() => None,
            (Self::Restricted(restricted), Ok(sql)) if sql.len() <= sql::mysql::SHORT => {
                let concealed = sql::mysql::without_values(&restricted.catalog, sql, None);
                Some((Instead { text: concealed.text, hidden: concealed.count }, why.clone()))
            }
            _ => Some((Instead { text: sql::mysql::nothing_of(text), hidden: 1 }, why.clone())),
        };
        Refused { why, instead }
    }

    /// Whether no record keeps this value of a statement that nobody here knows.
    pub(crate) fn hides_unknown(&self) -> bool {
        match self {
            Self::Unrestricted => false,
            Self::Restricted(restricted) => restricted.rights.has_masks(),
            Self::Lost => true,
        }
    }

    /// Whether the session may go into a database.
    pub(crate) fn may_enter(&self, database: &[u8]) -> Result<(), Refusal> {
        match self {
            Self::Unrestricted => Ok(()),
            Self::Restricted(restricted) => restricted.may_enter(&String::from_utf8_lossy(database)),
            Self::Lost => Err(lost()),
        }
    }

    /// The session is in this database now.
    pub(crate) fn entered(&mut self, database: &[u8]) {
        if let Self::Restricted(restricted) = self {
            restricted.database = Some(String::from_utf8_lossy(database).into_owned());
            restricted.remembered.clear();
            restricted.shapes.clear();
        }
    }

    /// Whether a table's columns may be listed.
    pub(crate) fn may_list(&self, table: &[u8]) -> Result<(), Refusal> {
        let restricted = match self {
            Self::Unrestricted => return Ok(()),
            Self::Restricted(restricted) => restricted,
            Self::Lost => return Err(lost()),
        };
        let table = String::from_utf8_lossy(table);
        let known = restricted
            .database
            .as_ref()
            .is_some_and(|database| restricted.rights.tables.contains_key(&QualifiedName::new(database, &*table)));
        if known { Ok(()) } else { Err(Refusal::because(Reason::NotInRole, "that table is not among those of the role")) }
    }

    /// The columns that are shown as they are; `None`: all. A list of columns does not grow when its table does. Where something is
    /// masked, so is whatever is not known: another table may hold the same values.
    pub(crate) fn shown(&self) -> Option<Shown> {
        let Self::Restricted(restricted) = self else { return None };
        let lists = restricted.rights.tables.values().any(|table| matches!(table.select, Columns::Only(_)));
        if !lists && !restricted.rights.has_masks() {
            return None;
        }
        let is_masked = |table: &QualifiedName, column: &str| {
            let rights = restricted.rights.tables.get(table);
            rights.is_some_and(|rights| rights.masked.iter().any(|masked| sql::mysql::folded(masked) == sql::mysql::folded(column)))
        };
        let is_opaque = |table: &QualifiedName| {
            restricted.rights.has_masks() && restricted.catalog.relation(table).is_some_and(|relation| relation.opaque)
        };
        let columns = restricted.catalog.names().filter(|(table, column)| !is_masked(table, column) && !is_opaque(table));
        let known = restricted.rights.tables.keys().map(|table| (table.schema.clone(), table.name.clone()));
        Some(Shown {
            columns: columns.map(|(table, column)| (table.schema.clone(), table.name.clone(), column.to_lowercase())).collect(),
            among: (!restricted.rights.has_masks()).then(|| known.collect()),
        })
    }
}

impl Restricted {
    fn may_enter(&self, database: &str) -> Result<(), Refusal> {
        let known = database.eq_ignore_ascii_case("information_schema")
            || self.rights.tables.keys().chain(&self.rights.functions).any(|name| name.schema == database);
        if known {
            return Ok(());
        }
        let all: BTreeSet<&str> = self.rights.tables.keys().map(|name| name.schema.as_str()).collect();
        let all: Vec<&str> = all.into_iter().collect();
        Err(Refusal::because(Reason::NotInRole, format!("this role has nothing in that database; it has {}", all.join(", "))))
    }

    fn judge(&mut self, text: &[u8]) -> Result<Allowed, Refused> {
        if let Some(verdict) = self.remembered.get(text) {
            return verdict.clone();
        }
        // Where nothing is masked, a verdict holds for whatever has the same shape.
        let shape = if self.rights.has_masks() || text.len() > LONGEST_REMEMBERED { None } else { sql::mysql::shape(text) };
        if let Some(allowed) = shape.as_ref().and_then(|shape| self.shapes.get(&shape[..])) {
            return Ok(allowed.clone());
        }
        let verdict = match std::str::from_utf8(text) {
            Err(_) => {
                let why = no("the statement is no UTF-8, which is the encoding of every session under a restricted role");
                let instead = self.rights.has_masks().then(|| (Instead { text: sql::mysql::nothing_of(text), hidden: 1 }, why.clone()));
                Err(Refused { why, instead })
            }
            Ok(sql) => self.judge_text(sql),
        };
        if let (Some(shape), Ok(allowed)) = (shape, &verdict) {
            if self.shapes.len() >= REMEMBERED {
                self.shapes.clear();
            }
            self.shapes.insert(shape.into(), allowed.clone());
        } else if text.len() <= LONGEST_REMEMBERED {
            if self.remembered.len() >= REMEMBERED {
                self.remembered.clear();
            }
            self.remembered.insert(text.into(), verdict.clone());
        }
        verdict
    }

    fn judge_text(&self, sql: &str) -> Result<Allowed, Refused> {
        let verdict = sql::mysql::judge(&self.rights, &self.catalog, self.database.as_deref(), sql);
        let concealed = sql::mysql::conceal(&self.rights, &self.catalog, sql, &verdict);
        match verdict {
            sql::Verdict::Allowed(all) => Ok(Allowed {
                // Only what stands alone can be prepared.
                hidden: all.first().map_or(HiddenValues::None, |one| HiddenValues::of(&one.hidden)),
                masked: all.into_iter().map(|one| one.masked_outputs).collect(),
                instead: concealed.map(|concealed| Instead { text: concealed.text, hidden: concealed.count }),
            }),
            sql::Verdict::Refused(refused) => Err(Refused {
                why: no(refused.to_string()),
                instead: concealed
                    .map(|concealed| (Instead { text: concealed.text, hidden: concealed.count }, no(concealed.why.unwrap_or_default()))),
            }),
        }
    }
}

fn lost() -> Refusal {
    Refusal::because(Reason::Internal, "the statement could not be judged; open another session")
}

fn no(why: impl Into<String>) -> Refusal {
    Refusal::because(Reason::NotInRole, why)
}
