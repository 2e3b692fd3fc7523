//! Values that meet a masked column are in no record: neither as constants, nor bound, nor in parts, nor in what was refused.

use access::rights::{Columns, DatabaseRights};
use access::verdict::RecordLevel;

use super::disguises::{SHOP, found, role};
use super::gate::{Setup, Town, errors_of, out_of};

/// What must be nowhere in the recording and the audit log.
const SECRET: &str = "4999-secret-card";

/// A shop before which rows are kept too, and where the role may change cards that it does not see.
async fn shop() -> Town {
    let town = Town::with(Setup { level: RecordLevel::Results, ..Setup::default() }).await;
    let mut rights: DatabaseRights = role(town.target.name());
    for table in rights.tables.values_mut().filter(|table| !table.masked.is_empty()) {
        table.update = Columns::All;
    }
    town.allow(rights);
    town.target.query(SHOP).unwrap();
    town
}

// covers: F5 (mariadb), F5 (pymysql), F5 (mysql2)
#[tokio::test(flavor = "multi_thread")]
async fn what_meets_a_masked_column_is_recorded_as_hidden() {
    let town = shop().await;
    // What meets none is kept.
    assert_eq!(out_of(&town.run("select name from customers where name = 'Kim'").await), "Kim");
    for allowed in [
        format!("insert into customers (id, name, card) values (5, 'Ada', '{SECRET}')"),
        format!("update customers set name = 'Ada', card = concat('{SECRET}', '-6') where id = 5"),
        format!("replace into customers set id = 5, name = 'Ada', card = '{SECRET}'"),
        format!("insert into customers (id, name, card) values (5, 'Ada', 'x') on duplicate key update card = '{SECRET}'"),
        format!("set @card = '{SECRET}'"),
        format!("explain update customers set card = '{SECRET}' where id = 5"),
    ] {
        let rights = allowed.starts_with("replace");
        let out = town.run(&allowed).await;
        // The role may not take rows away, so it may not replace them either.
        assert_eq!(errors_of(&out).contains("may not delete"), rights, "{allowed}: {}", errors_of(&out));
        assert!(rights || errors_of(&out).is_empty(), "{allowed}: {}", errors_of(&out));
    }
    assert_eq!(town.target.query(&format!("select count(*) from customers where card = '{SECRET}'")).unwrap(), "1");
    // The server stumbles over it, and quotes it.
    let twice = town.run(&format!("insert into customers (id, name, card) values (6, 'Bo', '{SECRET}')")).await;
    assert!(errors_of(&twice).contains("Duplicate entry '****'"), "{}", errors_of(&twice));
    let unreadable = town.run(&format!("update customers set name = 'x'::text, card = '{SECRET}'")).await;
    assert!(
        errors_of(&unreadable).contains("ERROR 1064") && errors_of(&unreadable).contains("near '****' at line 1"),
        "{}",
        errors_of(&unreadable)
    );
    for refused in [
        format!("select id from customers where card = '{SECRET}'"),
        format!("select id from customers where card = \"{SECRET}\""),
        format!("select id from customers where card = `{SECRET}`"),
        format!("select id from open_cards where '{SECRET}' = card"),
        format!("select id from customers where card = '{SECRET}' # {SECRET}"),
        format!("select id from customers where card = '{SECRET}' and nonsense nonsense '{SECRET}'"),
        format!("select id from customers where pin > 4 and '{SECRET}' = card"),
        format!("execute immediate concat('select id from customers where c', 'ard = \"{SECRET}\"')"),
        format!("set password = '{SECRET}'"),
        format!("select /*! '{SECRET}' */ 1"),
        format!("select '{SECRET}' from customers; kill 5"),
        format!("create table {SECRET}"),
    ] {
        let out = town.client(&["--delimiter=//", "-e", &refused]).output().await.unwrap();
        assert!(errors_of(&out).contains("Your role does not include this"), "{refused}: {}", errors_of(&out));
    }
    let said = town
        .python(&format!(
            r"import pymysql, struct
secret = '{SECRET}'
c = connect(autocommit=True); k = c.cursor()
k.execute('update customers set card = %s where id = 5', (secret + '-1',))
k.executemany('insert into customers (id, name, card) values (%s, %s, %s)', [(91, 'Cy', secret + '-2'), (92, 'Di', secret + '-3')])
def prepare(sql):
    c._execute_command(0x16, sql); data = c._read_packet()._data
    number, _, parameters = struct.unpack('<IHH', data[1:9])
    for _ in range(parameters + 1): c._read_packet()
    return number
# In parts, and a second time by the types announced before.
n = prepare('insert into customers (id, name, card) values (?, ?, ?)')
for at, id in enumerate((93, 94)):
    for part in (secret, '-', str(4 + at)): c._execute_command(0x18, struct.pack('<IH', n, 2) + part.encode())
    types = b'\1\3\0\xfd\0\xfd\0' if at == 0 else b'\0'
    c._execute_command(0x17, struct.pack('<IBI', n, 0, 1) + b'\0' + types + struct.pack('<I', id) + b'\2Ed')
    print(c._read_ok_packet().affected_rows)
# To a statement that nobody prepared.
c._execute_command(0x18, struct.pack('<IH', 4711, 0) + secret.encode())
try: prepare('select id from customers where card = concat(?, \'' + secret + '\')')
except pymysql.Error as e: print(e.args[0])
try: prepare('insert into customers (id, name, card) values (?, nonsense(), \'' + secret + '\')')
except pymysql.Error as e: print(e.args[0])
k.execute('select count(*) from customers where name = %s', ('Ed',)); print(k.fetchone()[0])
"
        ))
        .await;
    assert_eq!(said, "1\n1\n1142\n1142\n2");
    let said = town
        .node(&format!(
            "const c = await mysql.createConnection(options); const secret = '{SECRET}';\n\
             for (const id of [95, 96]) {{ const [r] = await c.execute('insert into customers values (?, ?, ?, ?, ?)', [id, 'Flo', secret + id, '1999-12-31', 424242]); console.log(r.affectedRows); }}\n\
             try {{ await c.execute('insert into customers values (?, ?, ?, ?, ?)', [97, 'Flo', secret + 96, null, null]) }} catch (e) {{ console.log(e.message) }}\n\
             await c.end();"
        ))
        .await;
    assert_eq!(said, "1\n1\nDuplicate entry '****'");
    assert_eq!(town.target.query(&format!("select count(*) from customers where card like '{SECRET}%'")).unwrap(), "7");

    let mut entered = town.gate.refused.subscribe();
    entered.wait_for(|all| all.len() == 15).await.unwrap();
    let entered = format!("{:?}", town.gate.refused.borrow());
    let frames = town.gate.everything();
    for place in [frames.as_slice(), entered.as_bytes()] {
        for value in [SECRET.as_bytes(), b"424242", &424_242_i32.to_le_bytes(), b"1999-12-31"] {
            assert_eq!(found(place, value), Vec::<String>::new(), "{}", String::from_utf8_lossy(place));
        }
    }
    // The frame says so, and keeps what can be kept.
    assert!(!found(&frames, b"name = 'Kim'").is_empty());
    let statements = town.gate.of_kind("sql.statement");
    let of = |text: &str| statements.iter().find(|a| a["text"].as_str().unwrap().starts_with(text)).unwrap().clone();
    let inserted = of("insert into customers (id, name, card) values (5, 'Ada'");
    assert_eq!(inserted["text"], "insert into customers (id, name, card) values (5, 'Ada', '‹hidden›')");
    assert_eq!(inserted["hidden"], 1);
    let bound = of("insert into customers (id, name, card) values (?");
    assert_eq!(
        (&bound["values"][0], bound["values"][1].as_str(), &bound["values"][2]["hidden"], &bound["hidden"]),
        (&"93".into(), Some("Ed"), &true.into(), &1.into())
    );
    assert_eq!(of("insert into customers values (?")["hidden"], 3);
    let parts = town.gate.of_kind("sql.part");
    assert!(parts.len() == 7 && parts.iter().all(|part| part["hidden"] == 1 && part["text"].is_null()), "{parts:?}");
    assert_eq!(parts[0]["bytes"], SECRET.len());
}

// covers: MAY-6 (mysql)
#[tokio::test]
async fn a_star_under_a_list_of_columns_shows_these_and_none_that_comes_later() {
    let town = shop().await;
    let mut rights: DatabaseRights = role(town.target.name());
    for (table, columns) in [("orders", &["id", "status", "total"][..]), ("items", &["id"])] {
        let only = Columns::Only(columns.iter().map(|column| (*column).to_owned()).collect());
        rights.tables.get_mut(&access::rights::QualifiedName::new(town.target.name(), table)).unwrap().select = only;
    }
    town.allow(rights);
    assert_eq!(out_of(&town.run("select * from orders where id = 1").await), "1\tnew\t5");
    let refused = town.run("select * from items").await;
    assert!(errors_of(&refused).contains("write `id` in its place"), "{}", errors_of(&refused));
    assert_eq!(out_of(&town.run("select `id` from items").await), "1");
    let grown = async {
        town.target.query("alter table orders add column margin varchar(20) default 'zq9-margin'").unwrap();
    };
    let said = town
        .python_beside(
            "import sys\nc = connect(autocommit=True); k = c.cursor(); k.execute('select * from orders where id = 1'); print(k.fetchall(), flush=True)\nsys.stdin.readline()\nk.execute('select * from orders where id = 1'); print(k.fetchall())\n",
            grown,
        )
        .await;
    assert_eq!(said.trim(), "((1, 'new', 5),)\n((1, 'new', 5, '****'),)");
}
