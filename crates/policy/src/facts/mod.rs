//! The facts and floors that stand in TOML, one file of the directory per module.

pub(crate) mod approvals;
pub(crate) mod database;
pub(crate) mod people;
pub(crate) mod resources;
pub(crate) mod roles;
pub(crate) mod tiers;
pub(crate) mod windows;
pub(crate) mod workloads;

use std::collections::BTreeMap;

use crate::document::{At, Document, Table};
use crate::problem::{Place, Sink};

/// Reads every `[[key]]` of some files, reports names that are used twice, and keeps where each stood.
pub(crate) fn named<N: Ord + Clone + std::fmt::Display, T>(
    files: &[(&str, &[u8])],
    key: &'static str,
    sink: &Sink,
    read: impl Fn(&Table<'_>) -> Option<(At<N>, T)>,
) -> BTreeMap<N, (T, Place)> {
    let mut out: BTreeMap<N, (T, Place)> = BTreeMap::new();
    for (file, bytes) in files {
        let Some(doc) = Document::open(file, bytes, sink) else { continue };
        let root = doc.root();
        collect(&root, key, &mut out, &read);
        root.finish();
    }
    out
}

/// Reads every `[[key]]` of one table into `out`.
pub(crate) fn collect<N: Ord + Clone + std::fmt::Display, T>(
    root: &Table<'_>,
    key: &'static str,
    out: &mut BTreeMap<N, (T, Place)>,
    read: impl Fn(&Table<'_>) -> Option<(At<N>, T)>,
) {
    for table in root.tables(key) {
        let found = read(&table);
        let sink = table.sink();
        table.finish();
        let Some((name, item)) = found else { continue };
        match out.get(&name.value) {
            Some((_, first)) => sink.error(name.place, format!("the {key} `{}` already stands in {first}", name.value)),
            None => {
                out.insert(name.value, (item, name.place));
            }
        }
    }
}
