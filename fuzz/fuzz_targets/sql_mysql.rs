//! Statements for MariaDB, judged under a role with a masked column: nothing makes the judge fall over, nothing outside the role is used, and
//! nothing is taken out of a record where nothing is hidden. Where nothing is masked a verdict holds for whatever has the same shape.
#![no_main]

use std::sync::LazyLock;

use access::rights::{Columns, DatabaseRights, TableRights};
use libfuzzer_sys::fuzz_target;
use sql::{Catalog, Hidden, Verdict};

static RIGHTS: LazyLock<DatabaseRights> = LazyLock::new(|| {
    let all = TableRights { select: Columns::All, insert: Columns::All, update: Columns::All, ..TableRights::default() };
    let masked = TableRights { masked: ["card".to_owned()].into(), ..all.clone() };
    DatabaseRights {
        tables: [("shop.orders", all), ("shop.customers", masked)].into_iter().map(|(name, rights)| (name.parse().unwrap(), rights)).collect(),
        search_path: vec!["shop".to_owned()],
        copy_in: true,
        ..DatabaseRights::default()
    }
});

/// The same without masks.
static OPEN: LazyLock<DatabaseRights> = LazyLock::new(|| {
    let mut rights = RIGHTS.clone();
    for table in rights.tables.values_mut() {
        table.masked.clear();
    }
    rights
});

/// The text with each digit of its numbers another.
fn with_other_numbers(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_digit() { '7' } else { letter }).collect()
}

fuzz_target!(|text: &str| {
    let catalog = Catalog::of_tables(&[("shop.orders", &["id", "status"]), ("shop.customers", &["id", "name", "card"]), ("shop.payments", &["id"])]);
    let judge = |rights: &DatabaseRights, text: &str| sql::mysql::judge(rights, &catalog, Some("shop"), text);
    let verdict = judge(&RIGHTS, text);
    let concealed = sql::mysql::conceal(&RIGHTS, &catalog, text, &verdict);
    if let Verdict::Allowed(all) = &verdict {
        assert!(all.iter().flat_map(|one| &one.uses).all(|used| used.table.name != "payments"));
        let some = all.iter().any(|one| one.hidden != Hidden::Nothing);
        assert!(concealed.is_none() || some, "nothing is taken out where nothing is hidden");
    }
    let other = with_other_numbers(text);
    if let Some(shape) = sql::mysql::shape(text.as_bytes())
        && sql::mysql::shape(other.as_bytes()) == Some(shape)
    {
        assert_eq!(judge(&OPEN, text).is_allowed(), judge(&OPEN, &other).is_allowed(), "{text:?} and {other:?} have one shape");
    }
});
