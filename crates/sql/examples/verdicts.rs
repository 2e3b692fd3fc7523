//! What it costs to judge a statement, stage by stage. Prints medians in microseconds as JSON.
//!
//! `cargo run --release -p tidegate-sql --example verdicts`

use std::hint::black_box;
use std::time::{Duration, Instant};

use access::rights::{Columns, DatabaseRights, TableRights};
use sql::{Catalog, Judge, Verdict, mysql, postgres};

const ROUNDS: u32 = 20_000;
/// Statements as `pgbench`, `sysbench` and people write them; `{n}` is another number each time.
const STATEMENTS: [(&str, &str); 4] = [
    ("point", "SELECT abalance FROM accounts WHERE aid = {n}"),
    ("update", "UPDATE accounts SET abalance = abalance + {n} WHERE aid = {n}"),
    ("insert", "INSERT INTO history (tid, aid, delta) VALUES ({n}, {n}, {n})"),
    (
        "join",
        "SELECT b.bid, count(*), sum(a.abalance) FROM accounts a JOIN branches b ON b.bid = a.bid WHERE a.aid BETWEEN {n} AND {n} AND b.bbalance > 0 \
         GROUP BY b.bid ORDER BY b.bid",
    ),
];

fn bank(schema: &str) -> (DatabaseRights, Catalog) {
    let all = || TableRights { select: Columns::All, insert: Columns::All, update: Columns::All, delete: true, ..TableRights::default() };
    let names: Vec<String> = ["accounts", "branches", "history"].iter().map(|table| format!("{schema}.{table}")).collect();
    let columns: [&[&str]; 3] = [&["aid", "bid", "abalance", "filler"], &["bid", "bbalance", "filler"], &["tid", "bid", "aid", "delta"]];
    let tables: Vec<(&str, &[&str])> = names.iter().map(String::as_str).zip(columns).collect();
    let rights =
        DatabaseRights { tables: names.iter().filter_map(|name| Some((name.parse().ok()?, all()))).collect(), ..DatabaseRights::default() };
    (rights, Catalog::of_tables(&tables))
}

/// The median time of one call, in microseconds.
fn median(statement: &str, mut call: impl FnMut(&str)) -> f64 {
    let mut taken: Vec<Duration> = (0..ROUNDS)
        .map(|n| {
            let text = statement.replace("{n}", &(100_000 + n).to_string());
            let begun = Instant::now();
            call(&text);
            begun.elapsed()
        })
        .collect();
    taken.sort();
    taken.get(taken.len() / 2).map_or(0.0, |middle| middle.as_secs_f64() * 1e6)
}

fn allowed(verdict: &Verdict) {
    assert!(verdict.is_allowed(), "{verdict:?}");
    black_box(verdict);
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() {
    let mut rows = Vec::new();
    for (name, statement) in STATEMENTS {
        let (rights, catalog) = bank("public");
        let mut judge = Judge::new(rights.clone(), catalog.clone());
        let normalised = median(statement, |text| drop(black_box(pg_query::normalize(text))));
        let parsed = median(statement, |text| drop(black_box(pg_query::parse(text, 0))));
        let uncached = median(statement, |text| allowed(&postgres::judge(&rights, &catalog, text)));
        let cached = median(statement, |text| allowed(&judge.judge(text)));
        let (rights, catalog) = bank("shop");
        let shaped = median(statement, |text| drop(black_box(mysql::shape(text.as_bytes()))));
        let by_rights = median(statement, |text| allowed(&mysql::judge(&rights, &catalog, Some("shop"), text)));
        rows.push(format!(
            "\"{name}\": {{\"postgres\": {{\"normalise\": {normalised:.1}, \"parse\": {parsed:.1}, \"uncached\": {uncached:.1}, \"cached\": {cached:.1}}}, \
             \"mysql\": {{\"shape\": {shaped:.1}, \"uncached\": {by_rights:.1}}}}}"
        ));
    }
    println!("{{{}}}", rows.join(", "));
}
