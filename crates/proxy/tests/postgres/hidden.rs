//! Values that meet a masked column are in no record: neither as constants, nor bound, nor in what was refused.

use super::gate::{errors_of, out_of};
use super::masks::masked_shop;

/// What must be nowhere in the recording and the audit log.
const SECRET: &str = "4999-secret-card";

// covers: F5 (psql), F5 (psycopg), PG-2 (psycopg)
#[tokio::test]
async fn what_meets_a_masked_column_is_recorded_as_hidden() {
    let town = masked_shop().await;
    // What meets none is kept.
    assert_eq!(out_of(&town.run("select name from customers where name = 'Kim'").await), "Kim");
    assert_eq!(errors_of(&town.run(&format!("insert into customers (id, name, card) values (5, 'Ada', '{SECRET}')")).await), "");
    for refused in [
        format!("select id from customers where card = '{SECRET}'"),
        format!("select id from customers where card = \"{SECRET}\""),
        format!("select id from customers where card = '{SECRET}"),
        format!("select 1; select id from customers where pin > 4 and '{SECRET}' = card"),
        format!("do $$ begin perform '{SECRET}' from customers; end $$"),
    ] {
        let out = town.run(&refused).await;
        assert!(errors_of(&out).contains("ERROR:  Your role does not include this"), "{refused}: {}", errors_of(&out));
    }
    let said = town
        .python(&format!(
            r"import psycopg
secret = '{SECRET}'
with psycopg.connect(dsn, autocommit=True) as c:
    for binary in ('%b', '%s', '%t'):
        c.execute('insert into customers (id, name, card) values (%s, %s, ' + binary + ')', (6, 'Bo', secret))
    c.execute('insert into customers values (%s, %s, %s, %s, %s)', (7, 'Cy', secret, '1999-12-31', 424242), prepare=True)
    c.execute('insert into customers values (%s, %s, %s, %s, %s)', (8, 'Di', secret, '1999-12-31', 424242), prepare=True)
    c.execute('prepare p (int, text, text) as insert into customers (id, name, card) values ($1, $2, $3)')
    c.execute('execute p (9, \'Ed\', \'' + secret + '\')')
    r = c.pgconn.exec_prepared(b'p', [b'10', b'Flo', secret.encode()])
    print(r.command_tuples)
    c.pgconn.prepare(b'kept', b'insert into customers (id, name, card) values ($1, $2, \'' + secret.encode() + b'\')')
    print(c.pgconn.exec_prepared(b'kept', [b'12', b'Gil']).command_tuples)
    with c.pipeline() as p:
        try:
            c.execute('select id from customers where card = %s', (secret,))
            c.execute('select id from orders where status = %s', ('kept',))
            p.sync()
        except psycopg.Error as e: print(e.sqlstate)
    try: c.execute('insert into customers (id, name, card) values (%s, %s, %s)', (11, 'x' * 10 + 'y' * 3, secret)); print('in')
    except psycopg.Error as e: print(e.sqlstate)
    print(c.execute('select count(*) from customers where name = %s', ('Bo',)).fetchone()[0])
"
        ))
        .await;
    assert_eq!(said, "1\n1\n42501\nin\n3");
    assert_eq!(town.target.query(&format!("select count(*) from customers where card = '{SECRET}'")).unwrap(), "10");
    let statements = town.gate.of_kind("sql.statement");
    let all = serde_json::to_string(&(&statements, &town.gate.of_kind("sql.refused"))).unwrap();
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut entered = town.gate.refused.subscribe();
    entered.wait_for(|all| all.len() == 6).await.unwrap();
    let entered = format!("{:?}", town.gate.refused.borrow());
    for place in [&all, &entered] {
        assert!(!place.contains(SECRET) && !place.contains(&hex) && !place.contains("424242"), "{place}");
    }
    // The frame says so, and keeps what can be kept.
    let found = |text: &str, prepared: bool| {
        let is = |a: &&serde_json::Value| a["text"].as_str().unwrap().starts_with(text) && (a["via"] == "prepare") == prepared;
        statements.iter().find(is).unwrap().clone()
    };
    let of = |text: &str| found(text, false);
    assert_eq!(
        of("insert into customers (id, name, card) values (5")["text"],
        "insert into customers (id, name, card) values (5, 'Ada', '‹hidden›')"
    );
    assert_eq!(of("insert into customers (id, name, card) values (5")["hidden"], 1);
    let bound = of("insert into customers (id, name, card) values ($1");
    assert_eq!((bound["values"][1].as_str(), &bound["values"][2]["hidden"], &bound["hidden"]), (Some("Bo"), &true.into(), &1.into()));
    assert_eq!(of("insert into customers values ($1")["hidden"], 3);
    // It was recorded when it was prepared too; there it holds no value yet.
    let prepared = found("insert into customers values ($1", true);
    assert!(prepared["name"].is_string() && prepared["values"].is_null() && prepared["hidden"].is_null(), "{prepared}");
    // A constant in a text that is prepared meets a masked column as any other does.
    let prepared = found("insert into customers (id, name, card) values ($1, $2, '", true);
    assert_eq!((prepared["name"].as_str(), prepared["hidden"].as_u64()), (Some("kept"), Some(1)), "{prepared}");
    assert_eq!(prepared["text"], "insert into customers (id, name, card) values ($1, $2, '‹hidden›')");
    assert_eq!(of("insert into customers (id, name, card) values ($1, $2, '")["values"], serde_json::json!(["12", "Gil"]));
    assert_eq!(of("EXECUTE p")["hidden"], 3);
    assert!(all.contains("name = 'Kim'"));
}
