//! Statements for PostgreSQL, judged under a role with a masked column: nothing makes the judge fall over, a verdict does not change by
//! being asked for again, and no record keeps the constant that was given to a masked column.
#![no_main]

use std::sync::LazyLock;

use access::rights::{Columns, DatabaseRights, TableRights};
use libfuzzer_sys::fuzz_target;
use sql::{Catalog, Hidden, Judge, Verdict};

static RIGHTS: LazyLock<DatabaseRights> = LazyLock::new(|| {
    let all = TableRights { select: Columns::All, insert: Columns::All, update: Columns::All, ..TableRights::default() };
    let masked = TableRights { masked: ["card".to_owned()].into(), ..all.clone() };
    DatabaseRights {
        tables: [("public.orders", all), ("public.customers", masked)].into_iter().map(|(name, rights)| (name.parse().unwrap(), rights)).collect(),
        copy_out: true,
        ..DatabaseRights::default()
    }
});

fuzz_target!(|text: &str| {
    let catalog = Catalog::of_tables(&[("public.orders", &["id", "status"]), ("public.customers", &["id", "name", "card"]), ("public.payments", &["id"])]);
    let mut judge = Judge::new(RIGHTS.clone(), catalog.clone());
    let verdict = judge.judge(text);
    assert_eq!(judge.judge(text), verdict, "a verdict that was remembered is the one that was given");
    assert_eq!(Judge::new(RIGHTS.clone(), catalog).judge(text), verdict, "a verdict does not hang on what was judged before");
    let concealed = judge.conceal(text, &verdict);
    if let Verdict::Allowed(all) = &verdict {
        let some = all.iter().any(|one| one.hidden != Hidden::Nothing);
        assert!(concealed.is_none() || some, "nothing is taken out where nothing is hidden");
        // `payments` is not in the role: it may be spoken of, as a name that is given, but never be used.
        assert!(all.iter().flat_map(|one| &one.uses).all(|used| used.table.name != "payments"));
    }
    let _ = sql::postgres::namings(text.as_bytes(), true);
});
