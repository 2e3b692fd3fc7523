//! `roles.toml` with less in one role. What does not change keeps its place, its spelling and its comments.

use std::collections::BTreeSet;

use access::names::RoleName;
use access::rights::{Columns, DatabaseRights, ExecRights, QualifiedName, Rights, SftpRights, SshRights, TableRights};
use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike, Value};

/// A line that is longer is broken up.
const LINE: usize = 110;

type Step<T = ()> = Result<T, String>;

pub(super) fn narrow(text: &str, role: &RoleName, had: &Rights, now: &Rights) -> Step<String> {
    let mut document: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    let roles = document.get_mut("role").and_then(Item::as_array_of_tables_mut).ok_or("it has no `[[role]]`")?;
    let table = roles
        .iter_mut()
        .find(|table| table.get("name").and_then(Item::as_str) == Some(role.as_str()))
        .ok_or_else(|| format!("no `[[role]]` in it is called `{role}`"))?;
    match (had, now) {
        (Rights::Ssh(had), Rights::Ssh(now)) => edit(table.get_mut("ssh"), |rights| ssh(rights, had, now))?,
        (Rights::Database(had), Rights::Database(now)) => edit(table.get_mut("database"), |rights| database(rights, had, now))?,
        _ => return Err("it would become a role of another kind".to_owned()),
    }
    Ok(document.to_string())
}

fn edit(item: Option<&mut Item>, change: impl FnOnce(&mut dyn TableLike) -> Step) -> Step {
    let item = item.ok_or("the table of its rights is missing")?;
    if let Some(inline) = item.as_inline_table_mut() {
        return edit_inline(inline, change);
    }
    change(item.as_table_like_mut().ok_or("its rights are no table")?)
}

/// A table on one line is set out anew if something of it goes, so that no gap stays.
fn edit_inline(inline: &mut InlineTable, change: impl FnOnce(&mut dyn TableLike) -> Step) -> Step {
    let before = inline.len();
    change(inline)?;
    if inline.len() != before {
        inline.fmt();
    }
    Ok(())
}

fn ssh(table: &mut dyn TableLike, had: &SshRights, now: &SshRights) -> Step {
    let flags = [("shell", had.shell, now.shell), ("pty", had.pty, now.pty), ("agent_forward", had.agent_forward, now.agent_forward)];
    flags.into_iter().for_each(|(key, had, now)| flag(table, key, had, now));
    match (&had.exec, &now.exec) {
        (had, now) if had == now => {}
        (_, ExecRights::None) => drop(table.remove("exec")),
        (_, ExecRights::Only(commands)) => list(table, "exec", commands),
        (_, ExecRights::Any) => return Err("`exec` would become wider".to_owned()),
    }
    match now.sftp {
        same if same == had.sftp => {}
        SftpRights::None => drop(table.remove("sftp")),
        less => put(table, "sftp", Value::from(less.to_string())),
    }
    let lists = [
        ("local_forward", words(&had.local_forward), words(&now.local_forward)),
        ("remote_forward", words(&had.remote_forward), words(&now.remote_forward)),
        ("local_socket", words(&had.local_socket), words(&now.local_socket)),
        ("remote_socket", words(&had.remote_socket), words(&now.remote_socket)),
        ("env", had.env.clone(), now.env.clone()),
        ("subsystems", had.subsystems.clone(), now.subsystems.clone()),
    ];
    for (key, had, now) in lists {
        if had != now {
            list(table, key, &now);
        }
    }
    Ok(())
}

fn database(table: &mut dyn TableLike, had: &DatabaseRights, now: &DatabaseRights) -> Step {
    flag(table, "copy_in", had.copy_in, now.copy_in);
    flag(table, "copy_out", had.copy_out, now.copy_out);
    if had.functions != now.functions {
        list(table, "functions", &words(now.functions.iter()));
    }
    if had.channels != now.channels {
        list(table, "channels", &words(now.channels.iter()));
    }
    if had.statements != now.statements {
        let kept = |name: &str| now.statements.contains_key(name);
        each(table, "statements", "name", |name, _| Ok(kept(name)))?;
    }
    each(table, "tables", "name", |name, entry| {
        let name: QualifiedName = name.parse().map_err(|error| format!("{error}"))?;
        let (Some(had), Some(now)) = (had.tables.get(&name), now.tables.get(&name)) else { return Ok(false) };
        if had != now {
            rights_of_table(entry, had, now);
        }
        Ok(true)
    })
}

fn rights_of_table(entry: &mut dyn TableLike, had: &TableRights, now: &TableRights) {
    for (key, had, now) in
        [("select", &had.select, &now.select), ("insert", &had.insert, &now.insert), ("update", &had.update, &now.update)]
    {
        match now {
            now if now == had => {}
            Columns::Only(names) => list(entry, key, &words(names.iter())),
            Columns::None | Columns::All => drop(entry.remove(key)),
        }
    }
    flag(entry, "delete", had.delete, now.delete);
    flag(entry, "truncate", had.truncate, now.truncate);
    if had.masked != now.masked {
        list(entry, "mask", &words(now.masked.iter()));
    }
}

fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

fn flag(table: &mut dyn TableLike, key: &str, had: bool, now: bool) {
    if had && !now {
        table.remove(key);
    }
}

/// Puts a value in the place of another, which keeps what stands around it.
fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key) {
        Some(item) => {
            if let Some(old) = item.as_value() {
                *value.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(value);
        }
        None => drop(table.insert(key, Item::Value(value))),
    }
}

/// A list on one line is set out anew, so that no gap stays where something went.
fn close_gaps(array: &mut Array) {
    if !array.to_string().contains(['\n', '#']) {
        array.fmt();
    }
}

/// Leaves just these texts in a list; what of them stands there keeps its place.
fn list(table: &mut dyn TableLike, key: &str, now: &[String]) {
    if now.is_empty() {
        table.remove(key);
        return;
    }
    if let Some(array) = table.get_mut(key).and_then(Item::as_array_mut) {
        array.retain(|value| value.as_str().is_some_and(|text| now.iter().any(|now| now == text)));
        close_gaps(array);
        let there: BTreeSet<&str> = array.iter().filter_map(Value::as_str).collect();
        if now.iter().all(|now| there.contains(now.as_str())) {
            return;
        }
    }
    let mut array: Array = now.iter().map(String::as_str).collect();
    if array.to_string().len() > LINE {
        array.iter_mut().for_each(|value| value.decor_mut().set_prefix("\n  "));
        array.set_trailing_comma(true);
        array.set_trailing("\n");
    }
    put(table, key, Value::Array(array));
}

/// Looks at each entry of a list of tables; one that is not wanted goes.
fn each(table: &mut dyn TableLike, key: &str, name: &str, mut wanted: impl FnMut(&str, &mut dyn TableLike) -> Step<bool>) -> Step {
    let Some(item) = table.get_mut(key) else { return Ok(()) };
    let mut gone = Vec::new();
    if let Some(tables) = item.as_array_of_tables_mut() {
        for (at, entry) in tables.iter_mut().enumerate() {
            let called = entry.get(name).and_then(Item::as_str).unwrap_or_default().to_owned();
            if !wanted(&called, entry)? {
                gone.push(at);
            }
        }
        gone.into_iter().rev().for_each(|at| drop(tables.remove(at)));
    } else if let Some(array) = item.as_array_mut() {
        for (at, entry) in array.iter_mut().enumerate() {
            let entry = entry.as_inline_table_mut().ok_or_else(|| format!("an entry of `{key}` is no table"))?;
            let called = entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut keep = true;
            edit_inline(entry, |entry| {
                keep = wanted(&called, entry)?;
                Ok(())
            })?;
            if !keep {
                gone.push(at);
            }
        }
        gone.into_iter().rev().for_each(|at| drop(array.remove(at)));
        close_gaps(array);
    } else {
        return Err(format!("`{key}` is no list"));
    }
    let empty = item.as_array().is_some_and(Array::is_empty) || item.as_array_of_tables().is_some_and(toml_edit::ArrayOfTables::is_empty);
    if empty {
        table.remove(key);
    }
    Ok(())
}
