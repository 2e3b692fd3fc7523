//! Statements in disguise, each through the gate by a real client to the real server, as a role that may little. The account behind the
//! gate may do everything, so that what holds here the judge alone holds; the oracle is an account with just the role's rights.

use access::rights::{Columns, DatabaseRights, QualifiedName, TableRights};
use serde_json::Value;
use testkit::postgres::Database;

use super::gate::{Setup, Town};
use super::tap::{Tap, forms, found};

const CASES: &str = include_str!("disguises.txt");

/// What is in the database. The values of `card`, `born` and `pin`, of `iban` and `password` stand nowhere else.
const SHOP: &str = "
    create extension dblink; create extension hstore;
    create schema other; create table other.vault (iban text); insert into other.vault values ('zq8-IBAN-unique');
    create function other.now() returns text language sql as 'select iban from other.vault';
    create table orders (id serial primary key, status text, total numeric); insert into orders values (1, 'new', 5), (2, 'sent', 7);
    create table items (id serial primary key, name text); insert into items (name) values ('ink');
    create table customers (id int primary key, name text not null check (length(name) < 100), card text unique, born date, pin int);
    insert into customers values (1, 'Kim', 'zq7-4111-unique', '1971-03-29', 735190417), (2, 'Lou', 'taken', null, 5);
    create table customers_old () inherits (customers); insert into customers_old values (3, 'Old', 'zq7-4111-unique', null, 735190417);
    create function guard() returns trigger language plpgsql as $$ begin
        if new.name = 'raise' then raise exception 'no' using detail = old.card, hint = 'ask'; end if; return new; end $$;
    create trigger guard before update on customers for each row execute function guard();
    create view open_cards as select id, card from customers; create view open_cards_of_cards as select card from open_cards;
    create table payments (id serial primary key, iban text); insert into payments (iban) values ('zq8-IBAN-unique');
    create table staff (name text, password text); insert into staff values ('Ben', 'zq8-IBAN-unique');
    create function leak() returns text language sql security definer as 'select iban from payments limit 1';
    create function leak(text) returns text language sql security definer as 'select iban from payments limit 1';
    create function leak(record) returns text language plpgsql security definer as 'begin return leak(); end';
    create function total_of(orders) returns text language sql security definer as 'select iban from payments limit 1';
    create function tilde(text, text) returns text language sql as 'select leak()';
    create operator <~> (function = tilde, leftarg = text, rightarg = text);
    create function ship(int) returns int language sql as 'select $1 + 1';
    create procedure ship_all() language sql as 'delete from orders';
    select lo_from_bytea(4242, 'zq8-IBAN-unique'); analyze";

fn some(names: &[&str]) -> Columns {
    Columns::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

fn role() -> DatabaseRights {
    let public = |name: &str| QualifiedName::new("public", name);
    let orders = TableRights { select: Columns::All, insert: Columns::All, update: some(&["status"]), ..TableRights::default() };
    let items = TableRights { select: Columns::All, insert: Columns::All, ..TableRights::default() };
    let customers = TableRights {
        select: Columns::All,
        insert: Columns::All,
        update: some(&["name"]),
        masked: ["card", "born", "pin"].map(str::to_owned).into(),
        ..TableRights::default()
    };
    DatabaseRights {
        tables: [(public("orders"), orders), (public("items"), items), (public("customers"), customers)].into(),
        functions: [public("ship")].into(),
        copy_in: true,
        copy_out: true,
        channels: ["orders".to_owned()].into(),
        ..DatabaseRights::default()
    }
}

/// The same rights as an account's, by `GRANT` alone.
const GRANTS: &str = "grant usage on schema public to ROLE; grant select, insert, update (status) on orders to ROLE; \
    grant select, insert on items to ROLE; grant select, insert, update (name) on customers to ROLE; grant execute on function ship(int) to ROLE; \
    grant usage on sequence orders_id_seq, items_id_seq to ROLE";

/// Everything that a statement could have changed, in one text.
fn state(database: &Database) -> String {
    let rows = ["orders", "items", "customers", "customers_old", "payments", "staff", "other.vault"]
        .map(|table| format!("select '{table}', coalesce(string_agg(t::text, ' ' order by t::text), '') from {table} t"))
        .join(" union all ");
    let catalog = "select string_agg(x, ' ' order by x) from (select concat(relname, relkind, relacl, relnamespace) x from pg_class \
        union all select concat(proname, prosrc, proowner) from pg_proc union all select concat(rolname, rolsuper) from pg_roles where rolname in ('tide', 'x') \
        union all select setconfig::text from pg_db_role_setting union all select concat(lomowner, ' ', oid) from pg_largeobject_metadata \
        union all select concat(nspname, nspacl) from pg_namespace union all select tgname::text from pg_trigger \
        union all select extname::text from pg_extension union all select gid from pg_prepared_xacts union all select polname::text from pg_policy) x";
    let sequence = "select last_value, is_called from payments_id_seq";
    [rows.as_str(), catalog, sequence].map(|sql| database.query(sql).unwrap()).join("\n")
}

/// Runs every case on one connection for each protocol, and prints what came: for each step a SQLSTATE, or nothing if it went well.
const CLIENT: &str = r#"
import json, sys
from psycopg import pq
E = pq.ExecStatus
def connect():
    c = pq.PGconn.connect(conninfo.encode())
    assert c.status == pq.ConnStatus.OK, c.error_message
    c.notice_handler = lambda r: None
    return c
def finish(c, r):
    state = None
    while True:
        if r.status == E.COPY_OUT:
            while True:
                n, data = c.get_copy_data(0)
                if n == -1: break
                if n == -2: break
        elif r.status == E.COPY_IN:
            c.put_copy_data(b'999\tbad\tbad\tbad\tbad\n'); c.put_copy_end()
        elif r.status == E.FATAL_ERROR:
            state = state or (r.error_field(pq.DiagnosticField.SQLSTATE) or b'?????').decode()
        nxt = c.get_result()
        if nxt is None: return state
        r = nxt
def run(c, step, mode):
    step = step.encode()
    if mode == 'simple': c.send_query(step)
    elif mode == 'extended': c.send_query_params(step, [], result_format=1)
    else:
        c.send_prepare(b'', step)
        while True:
            s = finish(c, c.get_result())
            break
        if s: return s
        c.send_query_prepared(b'', [], result_format=1)
    return finish(c, c.get_result())
out = []
for mode in ('simple', 'extended', 'prepared'):
    c = connect()
    for case in cases:
        seen = []
        for step in case:
            s = run(c, step, mode)
            if s is not None and s.startswith('08'): raise SystemExit(repr((mode, case, c.error_message)))
            seen.append(s)
            if c.status != pq.ConnStatus.OK: c = connect()
        for step in ('rollback', 'discard all'): finish(c, c.exec_(step.encode()))
        out.append(seen)
    c.finish()
print('RESULT' + json.dumps(out))
"#;

async fn outcomes(town: &Town, conninfo: &str, cases: &[Vec<String>]) -> Vec<Vec<Option<String>>> {
    let program =
        format!("conninfo = {conninfo:?}\nimport json\ncases = json.loads({:?})\n{CLIENT}", serde_json::to_string(cases).unwrap());
    let said = town.python(&program).await;
    let (_, result) = said.split_once("RESULT").unwrap();
    let result: Vec<Vec<Option<String>>> = serde_json::from_value(serde_json::from_str::<Value>(result).unwrap()).unwrap();
    assert_eq!(result.len(), 3 * cases.len());
    result
}

// covers: E4 (psycopg), E5 (psycopg), PG-3 (psycopg), PG-4 (psycopg), MAY-6 (psycopg)
#[tokio::test(flavor = "multi_thread")]
async fn no_disguise_gets_through_the_gate_what_the_roles_own_account_is_denied() {
    let lines: Vec<(char, &str)> = CASES
        .lines()
        .filter(|line| line.starts_with(['-', '+', '~', '!']))
        .map(|line| (line.chars().next().unwrap(), line[1..].trim()))
        .collect();
    assert!(lines.len() >= 150 && lines.iter().filter(|(verdict, _)| *verdict == '-').count() >= 150);
    let cases: Vec<Vec<String>> = lines.iter().map(|(_, text)| text.split(" ;; ").map(|step| step.replace('␤', "\n")).collect()).collect();

    let town = Town::with(Setup { rights: role(), ..Setup::default() }).await;
    town.target.query(SHOP).unwrap();
    let (tap, port) = Tap::before(&town).await;
    let before = state(&town.target);
    let conninfo = town.conninfo("").replace(&format!("port={}", town.port), &format!("port={port}"));
    let gate = outcomes(&town, &conninfo, &cases).await;
    assert_eq!(state(&town.target), before);

    // The same statements on an account with just the role's rights, at a database of its own.
    let oracle = Database::fresh().await.unwrap();
    oracle.query(SHOP).unwrap();
    let account = format!("plain_{}", oracle.name());
    oracle.query(&format!("drop role if exists {account}; create role {account} login; {}", GRANTS.replace("ROLE", &account))).unwrap();
    let direct = format!("host=127.0.0.1 port={} user={account} dbname={} sslmode=disable", oracle.port(), oracle.name());
    let plain = outcomes(&town, &direct, &cases).await;
    oracle.query(&format!("drop owned by {account}; drop role {account}")).unwrap();

    let mut wrong = Vec::new();
    for (number, (gate, plain)) in gate.iter().zip(&plain).enumerate() {
        let (mode, (verdict, text)) = (["simple", "extended", "prepared"][number / lines.len()], lines[number % lines.len()]);
        let first = |seen: &[Option<String>], is: &dyn Fn(&str) -> bool| seen.iter().position(|state| state.as_deref().is_some_and(is));
        let refused = first(gate, &|state| matches!(state, "42501" | "0A000"));
        let failed = first(gate, &|_| true);
        // Several statements cannot be prepared at once; that the gate has no say in.
        let one = |seen: &[Option<String>]| !seen.iter().flatten().any(|state| state == "42601");
        let as_it_should = match verdict {
            '-' => refused.is_some(),
            '~' => (mode == "simple" && failed.is_none()) || (mode != "simple" && refused.is_some()),
            '+' => failed.is_none() || mode != "simple" && !one(gate),
            _ => failed.is_some() && refused.is_none(),
        };
        let denied = first(plain, &|state| state == "42501");
        let lets_through = denied.is_some_and(|denied| failed.is_none_or(|failed| failed > denied));
        if !as_it_should || lets_through {
            wrong.push(format!("{mode}: {verdict} {text}\n    gate {gate:?}, the plain account {plain:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));

    // Nothing of what is masked, and nothing of what is somebody else's, in any form.
    let bytes = tap.bytes();
    assert!(bytes.len() > 100_000, "{} bytes came through the tap", bytes.len());
    assert!(!found(&bytes, &forms("Kim", b"Kim")).is_empty(), "the tap hears nothing");
    let days = 365_i32 * (1971 - 2000) - 7 + 31 + 28 + 29 - 1;
    for (text, binary) in [
        ("zq7-4111-unique", b"zq7-4111-unique".to_vec()),
        ("735190417", 735_190_417_i32.to_be_bytes().to_vec()),
        ("1971-03-29", days.to_be_bytes().to_vec()),
        ("zq8-IBAN-unique", b"zq8-IBAN-unique".to_vec()),
    ] {
        assert_eq!(found(&bytes, &forms(text, &binary)), Vec::<String>::new(), "{text}");
    }
}
