//! What statements that were run need of a role: narrower rights, under which each of them may still be run.
//!
//! A record holds the texts of statements and nothing of the target's catalog, so the catalog is imagined: each table of the role
//! has every column whose name stands in the statement, and one more that no statement can name. Then each right is taken away by
//! itself, and the judge is asked again: what it refuses then was needed. What cannot be told so stays as it is:
//!
//! - a statement that the judge refuses under the role as it stands keeps whatever it names;
//! - a table of which all columns may be read is held to some of them only if no other reading of their names is possible, since a
//!   role that named a column which is not there could not be used at all;
//! - MariaDB's judge takes each name for a column that could be meant, so a table that was used and of which all may be read stays so;
//! - masks are kept even on tables that nobody read, as other tables may show the same rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use access::rights::{Columns, DatabaseRights, QualifiedName, TableRights, Verb};

use crate::catalog::Catalog;
use crate::mentioned::{Language, mentioned};
use crate::{mysql, postgres};

/// A column that stands for all those a statement does not name.
const ANY: &str = "\u{1}any";
/// Stands for a column, where a table is used as such and it does not matter which.
const SOME: &str = "\u{1}some";
/// How many texts are remembered, so that none of them is looked at twice.
const REMEMBERED: usize = 100_000;

/// Whether a statement is known to have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ran {
    /// The server said so.
    Done,
    /// Nobody knows, or only a part of it was.
    Unsure,
}

/// What is known of one use of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need {
    /// These columns; none: the table as such.
    Columns(BTreeSet<String>),
    /// Whatever the role has.
    Whole,
}

type Needs = BTreeMap<QualifiedName, BTreeMap<Verb, Need>>;

/// Takes statements, and says in the end what they need.
#[derive(Debug)]
pub struct Narrowing {
    language: Language,
    had: DatabaseRights,
    needs: Needs,
    /// Everything but tables.
    kept: DatabaseRights,
    everything: bool,
    /// What was looked at: texts are long, so two numbers stand for each that nobody can make alike from outside.
    seen: HashSet<([u64; 2], Ran)>,
    keys: [RandomState; 2],
    unclear: u64,
}

/// Narrower rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowed {
    /// The rights. INVARIANT: never wider than those that were had.
    pub rights: DatabaseRights,
    /// How many statements could not be judged without the target, so that whatever they name is kept.
    pub unclear: u64,
}

impl Narrowing {
    /// Begins with the rights of a role. Those that are unrestricted stay so: nothing says what of them a statement needs.
    #[must_use]
    pub fn new(language: Language, had: DatabaseRights) -> Self {
        let kept = DatabaseRights {
            statements: if had.only_statements { BTreeMap::new() } else { had.statements.clone() },
            only_statements: had.only_statements,
            search_path: had.search_path.clone(),
            row_limit: had.row_limit,
            statement_timeout: had.statement_timeout,
            ..DatabaseRights::default()
        };
        let everything = had.unrestricted;
        let keys = [RandomState::new(), RandomState::new()];
        Self { language, had, needs: Needs::new(), kept, everything, seen: HashSet::new(), keys, unclear: 0 }
    }

    /// A statement that went to the target, as it is recorded.
    pub fn take(&mut self, text: &str, ran: Ran) {
        if self.everything {
            return;
        }
        let digest = self.keys.each_ref().map(|key| key.hash_one(text));
        if self.seen.len() < REMEMBERED && !self.seen.insert((digest, ran)) {
            return;
        }
        let Some(names) = mentioned(self.language, text) else {
            self.unclear += 1;
            self.everything = true;
            return;
        };
        let statement = Statement { text, catalog: self.imagined(&names), names };
        let mut understood = false;
        for database in self.databases() {
            let database = database.as_deref();
            if !self.allows(&self.relaxed(), &statement.catalog, database, text) {
                continue;
            }
            understood = true;
            if ran == Ran::Unsure || self.allows(&self.so_far(), &statement.catalog, database, text) {
                continue;
            }
            self.look(&statement, database);
            if !self.allows(&self.so_far(), &statement.catalog, database, text) {
                // It needs one of several rights: all of them stay.
                self.keep_what_it_names(&statement);
            }
        }
        if !understood {
            self.unclear += 1;
        }
        if !understood || ran == Ran::Unsure {
            self.keep_what_it_names(&statement);
        }
        self.keep_namesakes(&statement);
    }

    /// Whether a text may run what the role has of its own: an error may come from inside that, when much was used already.
    #[must_use]
    pub fn runs_own(&self, text: &str) -> bool {
        let lower = text.to_lowercase();
        let calls = || lower.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| matches!(word, "call" | "do" | "execute"));
        self.had.functions.iter().any(|name| lower.contains(&name.name.to_lowercase())) || (!self.had.functions.is_empty() && calls())
    }

    /// A statement went to the target, and no record says which.
    pub fn take_unknown(&mut self) {
        self.unclear += 1;
        self.everything = true;
    }

    /// What all of them need.
    #[must_use]
    pub fn finish(self) -> Narrowed {
        let unclear = self.unclear;
        if self.everything {
            return Narrowed { rights: self.had, unclear };
        }
        let mut rights = DatabaseRights { tables: BTreeMap::new(), ..self.kept.clone() };
        for (table, verbs) in &self.needs {
            let Some(had) = self.had.tables.get(table) else { continue };
            let mut now = TableRights::default();
            for (verb, need) in verbs {
                set(&mut now, *verb, self.narrowed(&had.columns(*verb), need));
            }
            rights.tables.insert(table.clone(), now);
        }
        self.mask(&mut rights);
        Narrowed { rights, unclear }
    }

    fn narrowed(&self, had: &Columns, need: &Need) -> Columns {
        let Need::Columns(names) = need else { return had.clone() };
        let within: BTreeSet<String> = match had {
            Columns::Only(may) => may.iter().filter(|may| names.iter().any(|name| self.language.same(name, may))).cloned().collect(),
            Columns::All => names.clone(),
            Columns::None => return Columns::None,
        };
        if within.is_empty() { had.clone() } else { Columns::Only(within) }
    }

    /// Masks what was masked. A table that inherits shows the same rows, and so does a view: as long as anything else is there, what is
    /// masked stays named.
    fn mask(&self, rights: &mut DatabaseRights) {
        for (name, had) in self.had.tables.iter().filter(|(_, had)| !had.masked.is_empty()) {
            let others = rights.tables.keys().any(|other| other != name);
            if others {
                let now = rights.tables.entry(name.clone()).or_default();
                now.select = match std::mem::take(&mut now.select) {
                    Columns::All => Columns::All,
                    Columns::Only(names) => Columns::Only(names.union(&had.masked).cloned().collect()),
                    Columns::None => Columns::Only(had.masked.clone()),
                };
            }
            if let Some(now) = rights.tables.get_mut(name) {
                now.masked = had.masked.iter().filter(|column| now.select.allows(column)).cloned().collect();
            }
        }
    }

    /// The databases that a name without one could be in.
    fn databases(&self) -> BTreeSet<Option<String>> {
        match self.language {
            Language::Postgres => [None].into(),
            Language::Mysql => {
                let all = self.had.tables.keys().chain(&self.had.functions).map(|name| Some(name.schema.clone()));
                all.chain([None]).collect()
            }
        }
    }

    /// The target as a statement with these names lets it be imagined.
    fn imagined(&self, names: &BTreeSet<String>) -> Catalog {
        let column = |had: &TableRights, name: &str| match self.language {
            // What may be read counts: a name that is none of these was read elsewhere.
            Language::Postgres => had.select.allows(name),
            Language::Mysql => [Verb::Select, Verb::Insert, Verb::Update].iter().any(|verb| match had.columns(*verb) {
                Columns::Only(may) => may.iter().any(|may| self.language.same(may, name)),
                other => other.allows(name),
            }),
        };
        let tables = self.had.tables.iter().map(|(table, had)| {
            let columns = names.iter().filter(|name| column(had, name)).cloned().chain([ANY.to_owned()]);
            (table.clone(), columns.collect())
        });
        Catalog::imagined(tables, &self.had.functions)
    }

    /// The role as it stands, with no limit to columns and no masks: these are held against it in the end.
    fn relaxed(&self) -> DatabaseRights {
        let mut rights = self.had.clone();
        for table in rights.tables.values_mut() {
            for verb in [Verb::Select, Verb::Insert, Verb::Update] {
                if table.allows(verb) {
                    set(table, verb, Columns::All);
                }
            }
            table.masked.clear();
        }
        rights
    }

    /// What was needed so far, in the same manner.
    fn so_far(&self) -> DatabaseRights {
        let mut rights = self.kept.clone();
        for (table, verbs) in &self.needs {
            let now = rights.tables.entry(table.clone()).or_default();
            for (verb, need) in verbs {
                let columns = match need {
                    Need::Whole => Columns::All,
                    Need::Columns(names) => Columns::Only(names.iter().cloned().chain([SOME.to_owned()]).collect()),
                };
                set(now, *verb, columns);
            }
        }
        rights
    }

    fn allows(&self, rights: &DatabaseRights, catalog: &Catalog, database: Option<&str>, text: &str) -> bool {
        match self.language {
            Language::Postgres => postgres::judge(rights, catalog, text).is_allowed(),
            Language::Mysql => mysql::judge(rights, catalog, database, text).is_allowed(),
        }
    }

    /// Takes away each right by itself; what is refused then is needed.
    fn look(&mut self, statement: &Statement<'_>, database: Option<&str>) {
        let relaxed = self.relaxed();
        let refused_without = |change: &dyn Fn(&mut DatabaseRights)| {
            let mut rights = relaxed.clone();
            change(&mut rights);
            !self.allows(&rights, &statement.catalog, database, statement.text)
        };
        let mut kept = self.kept.clone();
        let named = |name: &QualifiedName| statement.mentions(self.language, name);
        for name in self.had.functions.iter().filter(|name| named(name)) {
            if refused_without(&|r| r.functions.retain(|other| other != name)) {
                kept.functions.insert(name.clone());
            }
        }
        for name in &self.had.channels {
            if refused_without(&|r| r.channels.retain(|other| other != name)) {
                kept.channels.insert(name.clone());
            }
        }
        kept.copy_in |= self.had.copy_in && refused_without(&|r| r.copy_in = false);
        kept.copy_out |= self.had.copy_out && refused_without(&|r| r.copy_out = false);
        if self.had.only_statements {
            let used = self.had.statements.iter().filter(|(name, _)| refused_without(&|r| r.statements.retain(|other, _| other != *name)));
            kept.statements.extend(used.map(|(name, text)| (name.clone(), text.clone())));
        }
        let mut found: Vec<(QualifiedName, Verb, Need)> = Vec::new();
        for (table, had) in self.had.tables.iter().filter(|(name, _)| named(name)) {
            let of_table = |verb: Verb, columns: &Columns| {
                refused_without(&|r| {
                    if let Some(table) = r.tables.get_mut(table) {
                        set(table, verb, columns.clone());
                    }
                })
            };
            for verb in Verb::ALL.iter().copied().filter(|verb| had.allows(*verb)) {
                if !of_table(verb, &Columns::None) {
                    continue;
                }
                if matches!(verb, Verb::Delete | Verb::Truncate) {
                    found.push((table.clone(), verb, Need::Columns(BTreeSet::new())));
                    continue;
                }
                let known = statement.catalog.relation(table).map(|relation| relation.columns.as_slice()).unwrap_or_default();
                let all: BTreeSet<String> = known.iter().map(|column| column.name.clone()).chain(statement.names.iter().cloned()).collect();
                let without = |one: &str| Columns::Only(all.iter().filter(|name| *name != one).cloned().collect());
                let need = if of_table(verb, &without(ANY)) {
                    Need::Whole
                } else {
                    Need::Columns(all.iter().filter(|name| of_table(verb, &without(name))).cloned().collect())
                };
                found.push((table.clone(), verb, need));
            }
        }
        for (table, verb, need) in &found {
            let sure = match need {
                Need::Columns(names) if self.had.tables.get(table).is_some_and(|had| had.columns(*verb) == Columns::All) => {
                    names.iter().all(|name| self.is_sure(statement, (table, *verb, name), &found, &relaxed))
                }
                _ => true,
            };
            let need = if sure { need.clone() } else { Need::Whole };
            add(&mut self.needs, table, *verb, need);
        }
        self.kept = kept;
    }

    /// Whether a name can be nothing but a column of this table.
    fn is_sure(
        &self,
        statement: &Statement<'_>,
        (table, verb, name): (&QualifiedName, Verb, &str),
        found: &[(QualifiedName, Verb, Need)],
        relaxed: &DatabaseRights,
    ) -> bool {
        if verb == Verb::Select {
            let without = statement.catalog.without_column(table, name);
            return self.language == Language::Postgres && !self.allows(relaxed, &without, None, statement.text);
        }
        let elsewhere = |(other, also, need): &(QualifiedName, Verb, Need)| {
            other != table && *also == verb && matches!(need, Need::Columns(names) if names.contains(name))
        };
        !found.iter().any(elsewhere)
    }

    /// Whatever the statement names stays as it is.
    fn keep_what_it_names(&mut self, statement: &Statement<'_>) {
        let lower = statement.text.to_lowercase();
        let numbers = ["nextval", "currval", "setval", "lastval"].iter().any(|function| lower.contains(function));
        for (table, had) in &self.had.tables {
            let named = statement.mentions(self.language, table);
            for verb in Verb::ALL.iter().copied().filter(|verb| had.allows(*verb)) {
                // Numbers come from sequences, whose tables are not known here.
                if named || (numbers && verb == Verb::Insert) {
                    add(&mut self.needs, table, verb, Need::Whole);
                }
            }
        }
        self.kept.functions.extend(self.had.functions.iter().filter(|name| statement.mentions(self.language, name)).cloned());
        self.kept.channels.extend(self.had.channels.iter().filter(|name| lower.contains(&name.to_lowercase())).cloned());
        self.kept.copy_in |= self.had.copy_in && (lower.contains("copy") || lower.contains("load"));
        self.kept.copy_out |= self.had.copy_out && lower.contains("copy");
        if self.had.only_statements {
            self.kept.statements.clone_from(&self.had.statements);
        }
    }

    /// Of tables with one name in several schemas that are looked through, nobody here can tell which is there.
    fn keep_namesakes(&mut self, statement: &Statement<'_>) {
        if self.language == Language::Mysql {
            return;
        }
        let path = self.had.schemas();
        let on_path: Vec<&QualifiedName> = self.had.tables.keys().filter(|name| path.contains(&name.schema.as_str())).collect();
        let twice = |name: &&&QualifiedName| on_path.iter().filter(|other| other.name == name.name).count() > 1;
        let all: Vec<QualifiedName> =
            on_path.iter().filter(twice).filter(|name| statement.mentions(self.language, name)).map(|name| (*name).clone()).collect();
        for table in all {
            let verbs =
                self.had.tables.get(&table).map(|had| Verb::ALL.iter().copied().filter(|verb| had.allows(*verb)).collect::<Vec<_>>());
            for verb in verbs.unwrap_or_default() {
                add(&mut self.needs, &table, verb, Need::Whole);
            }
        }
    }
}

/// A statement, and what stands in it.
struct Statement<'a> {
    text: &'a str,
    names: BTreeSet<String>,
    catalog: Catalog,
}

impl Statement<'_> {
    /// Whether the name of something stands in it, without its schema, in whatever case.
    fn mentions(&self, language: Language, name: &QualifiedName) -> bool {
        let inside = |text: &str| text.to_lowercase().contains(&name.name.to_lowercase());
        self.names.iter().any(|word| language.same(word, &name.name)) || inside(self.text)
    }
}

fn set(table: &mut TableRights, verb: Verb, columns: Columns) {
    match verb {
        Verb::Select => table.select = columns,
        Verb::Insert => table.insert = columns,
        Verb::Update => table.update = columns,
        Verb::Delete => table.delete = !columns.is_none(),
        Verb::Truncate => table.truncate = !columns.is_none(),
    }
}

fn add(needs: &mut Needs, table: &QualifiedName, verb: Verb, need: Need) {
    let verbs = needs.entry(table.clone()).or_default();
    match (verbs.get_mut(&verb), need) {
        (Some(Need::Whole), _) => {}
        (Some(Need::Columns(have)), Need::Columns(more)) => have.extend(more),
        (_, need) => {
            verbs.insert(verb, need);
        }
    }
}
