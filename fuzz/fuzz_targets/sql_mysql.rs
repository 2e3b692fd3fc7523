//! Statements for MariaDB, judged under a role with a masked column: nothing makes the judge fall over, and nothing outside the role is used.
#![no_main]

use std::sync::LazyLock;

use access::rights::{Columns, DatabaseRights, TableRights};
use libfuzzer_sys::fuzz_target;
use sql::{Catalog, Verdict};

static RIGHTS: LazyLock<DatabaseRights> = LazyLock::new(|| {
    let all = TableRights { select: Columns::All, insert: Columns::All, update: Columns::All, ..TableRights::default() };
    let masked = TableRights { masked: ["card".to_owned()].into(), ..all.clone() };
    DatabaseRights {
        tables: [("shop.orders", all), ("shop.customers", masked)].into_iter().map(|(name, rights)| (name.parse().unwrap(), rights)).collect(),
        search_path: vec!["shop".to_owned()],
        ..DatabaseRights::default()
    }
});

fuzz_target!(|text: &str| {
    let catalog = Catalog::of_tables(&[("shop.orders", &["id", "status"]), ("shop.customers", &["id", "name", "card"]), ("shop.payments", &["id"])]);
    if let Verdict::Allowed(all) = sql::mysql::judge(&RIGHTS, &catalog, Some("shop"), text) {
        assert!(all.iter().flat_map(|one| &one.uses).all(|used| used.table.name != "payments"));
    }
});
