//! A small shop, and the role of somebody who looks after its orders.

use access::rights::{Columns, DatabaseRights, TableRights};
use sql::{Catalog, Judge};

pub(crate) fn some(names: &[&str]) -> Columns {
    Columns::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Reads and changes orders, reads items, sees customers with their card masked and without their password, and calls one function.
pub(crate) fn clerk() -> DatabaseRights {
    let orders = TableRights {
        select: Columns::All,
        insert: Columns::All,
        update: some(&["status", "note"]),
        delete: true,
        ..TableRights::default()
    };
    let items = TableRights { select: Columns::All, ..TableRights::default() };
    let customers = TableRights {
        select: some(&["id", "name", "card", "born"]),
        update: some(&["card", "name"]),
        masked: ["card".to_owned(), "born".to_owned()].into(),
        ..TableRights::default()
    };
    DatabaseRights {
        tables: [("public.orders", orders), ("public.items", items), ("public.customers", customers)]
            .into_iter()
            .map(|(name, rights)| (name.parse().unwrap(), rights))
            .collect(),
        functions: ["public.ship".parse().unwrap()].into(),
        channels: ["orders".to_owned()].into(),
        copy_in: true,
        copy_out: true,
        ..DatabaseRights::default()
    }
}

/// What `people.sql` makes, as the catalog query tells it.
pub(crate) fn shop() -> Catalog {
    let column = |table: &'static str, oid: &'static str, columns: &[(&'static str, &'static str)]| -> Vec<[Option<&'static str>; 7]> {
        let numbers = ["1", "2", "3", "4", "5", "6"];
        numbers
            .iter()
            .zip(columns)
            .map(|(n, (name, kind))| [Some("column"), Some("public"), Some(table), Some(oid), Some(*n), Some(*name), Some(*kind)])
            .collect()
    };
    let mut rows = column("orders", "16001", &[("id", "23"), ("customer_id", "23"), ("status", "25"), ("note", "25"), ("total", "1700")]);
    rows.extend(column("items", "16002", &[("id", "23"), ("order_id", "23"), ("name", "25"), ("price", "1700")]));
    rows.extend(column("customers", "16003", &[("id", "23"), ("name", "25"), ("card", "25"), ("born", "1082"), ("password", "25")]));
    rows.extend(column("payments", "16004", &[("id", "23"), ("iban", "25")]));
    rows.extend(column("open_cards", "16005", &[("id", "23"), ("card", "25")]));
    rows.push([Some("reads"), Some("public"), Some("open_cards"), Some("public"), Some("customers"), Some("card"), Some("")]);
    for (name, shadows, compiled) in
        [("ship", "false", "false"), ("leak", "false", "false"), ("dblink", "false", "true"), ("query_to_xml", "true", "false")]
    {
        rows.push([Some("function"), Some("public"), Some(name), Some(shadows), Some(compiled), Some(""), Some("")]);
    }
    for (name, function) in [("who", "leak"), ("parcel", "ship")] {
        rows.push([Some("type"), Some("public"), Some(name), Some("public"), Some(function), Some(""), Some("")]);
    }
    rows.push([Some("operator"), Some("public"), Some("<~>"), Some(""), Some(""), Some(""), Some("")]);
    Catalog::from_rows(rows).unwrap()
}

pub(crate) fn judge() -> Judge {
    Judge::new(clerk(), shop())
}

#[track_caller]
pub(crate) fn allowed(sql: &str) {
    let verdict = judge().judge(sql);
    assert!(verdict.is_allowed(), "refused: {sql}\n  {}", verdict.refused().unwrap());
}

#[track_caller]
pub(crate) fn refused(sql: &str) {
    let verdict = judge().judge(sql);
    assert!(!verdict.is_allowed(), "allowed: {sql}");
}

/// Each pair: what is allowed, and the same with only the tested thing different, which is not.
#[track_caller]
pub(crate) fn pairs(pairs: &[(&str, &str)]) {
    for (plain, disguised) in pairs {
        allowed(plain);
        refused(disguised);
    }
}
