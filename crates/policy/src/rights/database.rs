//! Database rights as Cedar actions, and in words.

use std::collections::BTreeSet;

use access::rights::{Columns, DatabaseRights, TableRights, Verb};

use crate::facts::database::action_of;

/// Whether the table of rights contains an action.
///
/// An unrestricted role contains every one, so that a policy that forbids any of them takes the whole away: nobody can hold an
/// account that may do anything to less.
pub(super) fn has(rights: &DatabaseRights, action: &str) -> bool {
    if rights.unrestricted {
        return action.starts_with("database:");
    }
    match action {
        "database:function" => !rights.functions.is_empty(),
        "database:copy-in" => rights.copy_in,
        "database:copy-out" => rights.copy_out,
        "database:listen" => !rights.channels.is_empty(),
        _ => {
            Verb::ALL.iter().filter(|verb| action_of(**verb) == action).any(|verb| rights.tables.values().any(|table| table.allows(*verb)))
        }
    }
}

/// The same with everything gone whose action may not be done.
pub(super) fn only(rights: &DatabaseRights, may: &dyn Fn(&str) -> bool) -> DatabaseRights {
    if rights.unrestricted {
        let every = crate::words::IN_SESSION.iter().filter(|action| action.starts_with("database:")).all(|action| may(action));
        return if every { rights.clone() } else { DatabaseRights::default() };
    }
    let mut left = rights.clone();
    for table in left.tables.values_mut() {
        let columns = |verb: Verb| if may(action_of(verb)) { table.columns(verb) } else { Columns::None };
        *table = TableRights {
            select: columns(Verb::Select),
            insert: columns(Verb::Insert),
            update: columns(Verb::Update),
            delete: table.delete && may(action_of(Verb::Delete)),
            truncate: table.truncate && may(action_of(Verb::Truncate)),
            masked: table.masked.clone(),
        };
    }
    left.tables.retain(|_, table| Verb::ALL.iter().any(|verb| table.allows(*verb)));
    left.copy_in &= may("database:copy-in");
    left.copy_out &= may("database:copy-out");
    if !may("database:function") {
        left.functions.clear();
    }
    if !may("database:listen") {
        left.channels.clear();
    }
    left
}

fn columns_in_short(columns: &Columns) -> String {
    match columns {
        Columns::None => String::new(),
        Columns::All => "*".to_owned(),
        Columns::Only(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(","),
    }
}

/// In one line.
pub(super) fn in_short(rights: &DatabaseRights) -> String {
    let mut out = Vec::new();
    if rights.unrestricted {
        out.push("anything".to_owned());
    }
    if rights.own_account {
        out.push("own-account".to_owned());
    }
    for (name, table) in &rights.tables {
        for verb in Verb::ALL.iter().filter(|verb| table.allows(**verb)) {
            out.push(format!("{verb}:{name}({})", columns_in_short(&table.columns(*verb))));
        }
        if !table.masked.is_empty() {
            out.push(format!("mask:{name}({})", table.masked.iter().map(String::as_str).collect::<Vec<_>>().join(",")));
        }
    }
    let mut list = |word: &str, items: Vec<String>| {
        if !items.is_empty() {
            out.push(format!("{word}:{}", items.join(",")));
        }
    };
    list("function", rights.functions.iter().map(ToString::to_string).collect());
    list(if rights.only_statements { "only-statement" } else { "statement" }, rights.statements.keys().cloned().collect());
    list("listen", rights.channels.iter().cloned().collect());
    for (on, word) in [(rights.copy_in, "copy-in"), (rights.copy_out, "copy-out")] {
        if on {
            out.push(word.to_owned());
        }
    }
    out.extend(rights.row_limit.map(|n| format!("rows:{n}")));
    out.extend(rights.statement_timeout.map(|span| format!("time:{span}")));
    if out.is_empty() { "nothing".to_owned() } else { out.join(" ") }
}

/// What the second allows that the first doesn't.
pub(super) fn added(old: &DatabaseRights, new: &DatabaseRights) -> Vec<String> {
    let mut out = Vec::new();
    if new.unrestricted && !old.unrestricted {
        out.push("any statement".to_owned());
    }
    if old.own_account && !new.own_account && new.unrestricted {
        out.push("an account shared with others".to_owned());
    }
    if !new.unrestricted && !old.unrestricted {
        added_tables(old, new, &mut out);
        out.extend(new.functions.difference(&old.functions).map(|f| format!("the function `{f}`")));
        out.extend(new.channels.difference(&old.channels).map(|c| format!("the channel `{c}`")));
        if new.copy_in && !old.copy_in {
            out.push("loading rows with COPY".to_owned());
        }
        if new.copy_out && !old.copy_out {
            out.push("taking rows out with COPY".to_owned());
        }
        if old.only_statements {
            if !new.only_statements {
                out.push("statements of one's own".to_owned());
            }
            for (name, sql) in &new.statements {
                if old.statements.get(name) != Some(sql) {
                    out.push(format!("the statement `{name}`"));
                }
            }
        }
    }
    let wider = |old: Option<u64>, new: Option<u64>| old.is_some_and(|old| new.is_none_or(|new| new > old));
    if wider(old.row_limit, new.row_limit) {
        out.push(new.row_limit.map_or("any number of rows".to_owned(), |n| format!("{n} rows from one statement")));
    }
    if wider(old.statement_timeout.map(|s| s.as_seconds()), new.statement_timeout.map(|s| s.as_seconds())) {
        out.push(new.statement_timeout.map_or("statements of any length".to_owned(), |span| format!("statements that run for {span}")));
    }
    out
}

fn added_tables(old: &DatabaseRights, new: &DatabaseRights, out: &mut Vec<String>) {
    let nothing = TableRights::default();
    for (name, is) in &new.tables {
        let was = old.tables.get(name).unwrap_or(&nothing);
        for verb in Verb::ALL {
            let act = match verb {
                Verb::Select => "reading",
                Verb::Insert => "inserting into",
                Verb::Update => "changing",
                Verb::Delete => "deleting from",
                Verb::Truncate => "emptying",
            };
            match (was.columns(*verb), is.columns(*verb)) {
                (_, Columns::None) => {}
                (old, new) if new.within(&old) => {}
                (_, Columns::All) => out.push(format!("{act} `{name}`")),
                (old, Columns::Only(columns)) => {
                    out.extend(columns.iter().filter(|c| !old.allows(c)).map(|column| format!("{act} `{column}` of `{name}`")));
                }
            }
        }
        // A column that was masked and is still read is now read for what it is.
        let unmasked: BTreeSet<&String> = was.masked.difference(&is.masked).filter(|column| is.select.allows(column)).collect();
        out.extend(unmasked.into_iter().map(|column| format!("reading `{column}` of `{name}` unmasked")));
    }
}
