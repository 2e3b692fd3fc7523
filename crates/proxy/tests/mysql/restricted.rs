//! A restricted role through the gate, at a server whose account may do everything: what holds here, the judge and the relay alone hold.

use access::rights::{Columns, DatabaseRights, QualifiedName, TableRights};
use access::time::Span;

use super::disguises::{found, role, shop, shop_with};
use super::gate::{Town, errors_of, out_of};

// covers: MAY-6 (mariadb), E4 (mariadb)
#[tokio::test]
async fn what_the_role_allows_works_and_nothing_else_does() {
    let town = shop().await;
    assert_eq!(out_of(&town.run("select id, status from orders order by id").await), "1\tnew\n2\tsent");
    assert_eq!(out_of(&town.run("update orders set status = 'paid' where id = 1; select status from orders where id = 1").await), "paid");
    let denied = town.run("select iban from payments").await;
    assert!(
        errors_of(&denied).contains("ERROR 1142 (42000)") && errors_of(&denied).contains("is not among the tables of this role"),
        "{}",
        errors_of(&denied)
    );
    // One statement of several that is not allowed: none of them goes.
    let batch = town
        .client(&["--delimiter=//", "-e", "update orders set status = 'gone' where id = 2; delete from orders"])
        .output()
        .await
        .unwrap();
    assert!(errors_of(&batch).contains("ERROR 1142"), "{}", errors_of(&batch));
    assert_eq!(town.target.query("select status from orders where id = 2").unwrap(), "sent");
    let refused = town.gate.of_kind("sql.refused");
    assert_eq!(refused.len(), 2);
    assert!(refused[0]["text"] == "select iban from payments" && refused[0]["why"].as_str().unwrap().contains("not among the tables"));
    let mut told = town.gate.refused.subscribe();
    let told = told.wait_for(|all| all.len() == 2).await.unwrap().clone();
    assert!(told[0].what == "statement" && told[0].detail.contains("payments"), "{told:?}");
    assert!(!town.gate.texts().iter().any(|text| text.contains("payments")));
}

// covers: MAY-6 (mysql), E6 (mysql), E7 (mysql)
#[tokio::test]
async fn many_rows_in_one_go_are_judged_aside_and_too_many_pieces_are_refused() {
    let town = shop().await;
    let said = town
        .python(
            r#"import pymysql
c = connect(autocommit=True); k = c.cursor()
def insert(first, count): return 'insert into orders (id, status) values ' + ','.join("(%d,'x')" % n for n in range(first, first + count))
print(k.execute(insert(1000, 5000)))
try: k.execute(insert(10000, 60000)); print('in')
except pymysql.Error as e: print(e.args[0], 'more than 250000 words' in e.args[1])
# Short and long ones take turns, and the session goes on.
print(k.execute(insert(7000, 3000)), k.execute('select id from orders where id >= 1000'))
try: k.execute('delete from orders /* ' + 'x' * 20000 + ' */'); print('gone')
except pymysql.Error as e: print(e.args[0])
import threading
def many(n, out):
    o = connect(autocommit=True).cursor()
    out.append(sum(o.execute(insert(n + 2000 * i, 2000)) for i in range(3)))
done = []
all = [threading.Thread(target=many, args=(100000 + 10000 * i, done)) for i in range(4)]
for t in all: t.start()
for t in all: t.join()
print(done)
"#,
        )
        .await;
    assert_eq!(said, "5000\n1142 True\n3000 8000\n1142\n[6000, 6000, 6000, 6000]");
}

// covers: D10 (mysql)
#[tokio::test]
async fn what_is_refused_takes_its_transaction_back_at_the_server() {
    let town = shop().await;
    let said = town
        .python(
            r"import pymysql
c = connect(); k = c.cursor()
k.execute('begin'); k.execute('update orders set status = %s where id = 1', ('half',))
try: k.execute('delete from orders')
except pymysql.Error as e: print(e.args[0], 'rolled back' in e.args[1])
k.execute('select status from orders where id = 1'); print(k.fetchone()); c.commit()
k.execute('begin'); k.execute('update orders set status = %s where id = 1', ('whole',)); c.commit()
",
        )
        .await;
    assert_eq!(said, "1142 True\n('new',)");
    assert_eq!(town.target.query("select status from orders where id = 1").unwrap(), "whole");
}

// covers: E5 (pymysql), E5 (mysql2)
#[tokio::test]
async fn masked_columns_come_as_asterisks_or_nothing_in_text_and_binary() {
    let town = shop().await;
    assert_eq!(out_of(&town.run("select * from customers order by id").await), "1\tKim\t****\tNULL\tNULL\n2\tLou\t****\tNULL\tNULL");
    assert_eq!(out_of(&town.run("select card as shown, name from customers c where id = 1").await), "****\tKim");
    let said = town
        .node(
            r"const c = await mysql.createConnection(options);
for (const how of ['query', 'execute', 'execute']) {
  const [rows] = await c[how]('select id, name, card, born, pin from customers order by id'); console.log(JSON.stringify(rows.map(Object.values)));
}
try { await c.execute('insert into customers values (?, ?, ?, ?, ?)', [9, 'x', 'zq7-4111-unique', null, null]) } catch (e) { console.log(e.errno, e.message) }
await c.end();
",
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    for line in &lines[..3] {
        assert_eq!(*line, r#"[[1,"Kim","****",null,null],[2,"Lou","****",null,null]]"#);
    }
    assert_eq!(lines[3], "1062 Duplicate entry '****'", "{said}");
    assert!(found(said.as_bytes(), b"zq7-4111-unique").is_empty());
    // Without masks the value comes.
    let plain = shop_with(|_| DatabaseRights { unrestricted: true, ..DatabaseRights::default() }).await;
    assert_eq!(out_of(&plain.run("select card, pin from customers where id = 1").await), "zq7-4111-unique\t735190417");
}

// covers: E5 (mysql2)
#[tokio::test]
async fn a_view_shows_nothing_that_its_table_masks() {
    let with_view = |database: &str| {
        let mut rights = role(database);
        let view = TableRights { select: Columns::All, ..TableRights::default() };
        rights.tables.insert(QualifiedName::new(database, "open_cards"), view);
        rights
    };
    let program = r"const c = await mysql.createConnection(options); c.on('error', () => {});
for (const how of ['query', 'execute']) for (const sql of ['select card from open_cards', 'select * from open_cards', 'select o.card from open_cards o',
    'select card from (select card from open_cards) x', 'with x as (select * from open_cards) select * from x', 'select lower(card) as id from open_cards']) {
  try { const [rows] = await c[how](sql); console.log(rows.map(row => Object.values(row).join(' ')).join(' ')); } catch (e) { console.log(e.errno, e.message.includes('is a view')) }
}
await c.end();
";
    let unmasked = |database: &str| {
        let mut rights = with_view(database);
        rights.tables.values_mut().for_each(|table| table.masked.clear());
        rights
    };
    let said = shop_with(unmasked).await.node(program).await;
    assert_eq!(said.matches("zq7-4111-unique").count(), 12, "{said}");
    let said = shop_with(with_view).await.node(program).await;
    assert_eq!(said.lines().collect::<Vec<_>>(), ["1142 true"; 12]);
}

/// The client library's own cursors, by the binary protocol: a statement is prepared, and run twice; its rows are fetched one at a time.
const CURSOR: &str = r#"
#include <mysql.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  MYSQL *c = mysql_init(0); mysql_ssl_set(c, 0, 0, argv[3], 0, 0);
  if (!mysql_real_connect(c, "127.0.0.1", "orders-db+readwrite", argv[2], argv[4], atoi(argv[1]), 0, 0)) { puts(mysql_error(c)); return 1; }
  MYSQL_STMT *s = mysql_stmt_init(c); unsigned long kind = CURSOR_TYPE_READ_ONLY; unsigned long ahead = 1;
  mysql_stmt_attr_set(s, STMT_ATTR_CURSOR_TYPE, &kind); mysql_stmt_attr_set(s, STMT_ATTR_PREFETCH_ROWS, &ahead);
  const char *q = "select name, card, id from customers order by id";
  if (mysql_stmt_prepare(s, q, strlen(q))) { puts(mysql_stmt_error(s)); return 1; }
  char name[50], card[50]; int id; MYSQL_BIND b[3]; memset(b, 0, sizeof b); unsigned long n[3];
  b[0].buffer_type = b[1].buffer_type = MYSQL_TYPE_STRING; b[2].buffer_type = MYSQL_TYPE_LONG;
  b[0].buffer = name; b[1].buffer = card; b[2].buffer = &id; b[0].buffer_length = b[1].buffer_length = 50;
  for (int i = 0; i < 3; i++) b[i].length = &n[i];
  for (int run = 0; run < 2; run++) {
    if (mysql_stmt_execute(s)) { puts(mysql_stmt_error(s)); return 1; }
    mysql_stmt_bind_result(s, b);
    while (!mysql_stmt_fetch(s)) printf("%.*s %.*s %d\n", (int)n[0], name, (int)n[1], card, id);
    if (mysql_stmt_errno(s)) { puts(mysql_stmt_error(s)); return 1; }
  }
  mysql_stmt_close(s); mysql_close(c); return 0;
}"#;

/// What comes of it.
async fn by_cursor(town: &Town) -> String {
    let (source, binary) = (town.dir.path().join("cursor.c"), town.dir.path().join("cursor"));
    std::fs::write(&source, CURSOR).unwrap();
    let built = std::process::Command::new("gcc")
        .args(["-I/usr/include/mariadb", "-o"])
        .arg(&binary)
        .arg(&source)
        .arg("-lmariadb")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", errors_of(&built));
    let mut run = tokio::process::Command::new(binary);
    run.args([&town.port.to_string(), super::gate::TOKEN, &town.dir.path().join("ca.pem").display().to_string(), town.target.name()]);
    out_of(&run.output().await.unwrap())
}

// covers: E5 (mysql)
#[tokio::test]
async fn rows_fetched_from_a_cursor_stay_masked() {
    let town = shop().await;
    assert_eq!(by_cursor(&town).await, "Kim **** 1\nLou **** 2\nKim **** 1\nLou **** 2");
    assert!(town.gate.texts().iter().any(|text| text.starts_with("FETCH: ")), "{:?}", town.gate.texts());
}

// covers: MAY-6 (mysql)
#[tokio::test]
async fn a_cursor_brings_back_no_more_rows_in_parts_than_at_once() {
    let at_most = |rows: u64| shop_with(move |database| DatabaseRights { row_limit: Some(rows), ..role(database) });
    // Each run counts anew.
    assert_eq!(by_cursor(&at_most(2).await).await, "Kim **** 1\nLou **** 2\nKim **** 1\nLou **** 2");
    let town = at_most(1).await;
    let said = by_cursor(&town).await;
    assert!(said.starts_with("Kim **** 1\n") && said.contains("may bring back 1 rows") && !said.contains("Lou"), "{said}");
    let unjudged = DatabaseRights { unrestricted: true, row_limit: Some(1), ..DatabaseRights::default() };
    town.allow(unjudged);
    assert!(by_cursor(&town).await.contains("may bring back 1 rows"));
}

// covers: MAY-6 (mysql)
#[tokio::test]
async fn a_run_that_fails_does_not_let_its_cursor_count_anew() {
    let program = r"import pymysql, struct
c = connect()
def answered():
    count = 0
    while not c._read_packet().is_eof_packet(): count += 1
    return count
c._execute_command(0x16, b'select id from orders order by id'); statement = c._read_packet().get_all_data()[1:5]; answered()
def execute(): c._execute_command(0x17, statement + struct.pack('<BI', 1, 1)); return answered()
def fetch(): c._execute_command(0x1c, statement + struct.pack('<I', 1)); return answered()
print(execute(), fetch())
# A part of a value that the statement does not take: the server says nothing now, and fails whatever runs after it.
c._execute_command(0x18, statement + struct.pack('<H', 0) + b'x')
try: print('ran', execute())
except pymysql.Error: print('failed')
try: print('more', fetch())
except pymysql.Error as e: print('may bring back 1 rows' in e.args[1])
";
    let at_most = |rows: u64| shop_with(move |database| DatabaseRights { row_limit: Some(rows), ..role(database) });
    assert_eq!(at_most(2).await.python(program).await, "2 1\nfailed\nmore 1");
    assert_eq!(at_most(1).await.python(program).await, "2 1\nfailed\nTrue");
}

// covers: MAY-6 (mysql)
#[tokio::test]
async fn more_rows_than_the_role_may_have_end_the_session() {
    let few = |database: &str| DatabaseRights { row_limit: Some(1), ..role(database) };
    let town = shop_with(few).await;
    assert_eq!(out_of(&town.run("select id from orders where id = 1").await), "1");
    let out = town.run("select id from orders").await;
    assert!(errors_of(&out).contains("may bring back 1 rows") && !out_of(&out).contains('2'), "{}", errors_of(&out));
    let unjudged = shop_with(|_| DatabaseRights { unrestricted: true, row_limit: Some(1), ..DatabaseRights::default() }).await;
    assert!(errors_of(&unjudged.run("select id from orders").await).contains("may bring back 1 rows"));
}

// covers: MAY-6 (mysql)
#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_and_a_reset_does_not_lift_that() {
    let short = |database: &str| DatabaseRights { statement_timeout: Some(Span::seconds(3)), ..role(database) };
    let town = shop_with(short).await;
    let said = town
        .python(
            r"import pymysql
c = connect(); k = c.cursor()
def slow():
    try: k.execute('select sleep(30)'); print('came back', k.fetchone())
    except pymysql.Error as e: print(e.args[0])
slow()
c._execute_command(0x1f, b''); c._read_ok_packet()
k.execute('select @@sql_mode'); print('ANSI' in k.fetchone()[0])
slow()
k.execute('select 1'); print(k.fetchone())
",
        )
        .await;
    assert_eq!(said, "1969\nFalse\n1969\n(1,)");
}

// covers: ASK-6 (mysql)
#[tokio::test]
async fn named_statements_alone() {
    let named = |database: &str| DatabaseRights {
        statements: [("order".to_owned(), "select status from orders where id = $1".to_owned())].into(),
        only_statements: true,
        ..role(database)
    };
    let town = shop_with(named).await;
    assert_eq!(out_of(&town.run("SELECT status FROM orders WHERE id = 2").await), "sent");
    for sql in [
        "select status from orders",
        "select status from orders where id = 1 or 1",
        "select status from orders where id = (select 1)",
        "select 1",
    ] {
        assert!(errors_of(&town.run(sql).await).contains("may run its named statements"), "{sql}");
    }
    let said = town
        .node("const c = await mysql.createConnection(options); const [r] = await c.execute('select status from orders where id = ?', [1]); console.log(r[0].status); await c.end();")
        .await;
    assert_eq!(said, "new");
}

// covers: MY-1 (mysql)
#[tokio::test]
async fn rows_are_loaded_from_a_file_where_the_role_says_so() {
    let town = shop().await;
    let file = town.dir.path().join("rows");
    std::fs::write(&file, "50,new,1\n51,new,2\n").unwrap();
    let load = format!("load data local infile '{}' into table orders fields terminated by ','", file.display());
    let out = town.client(&["--local-infile=1", "-e", &load]).output().await.unwrap();
    assert!(out.status.success(), "{}", errors_of(&out));
    assert_eq!(town.target.query("select count(*) from orders where id >= 50").unwrap(), "2");
    let without = shop_with(|database| DatabaseRights { copy_in: false, ..role(database) }).await;
    let out = without.client(&["--local-infile=1", "-e", &load]).output().await.unwrap();
    assert!(errors_of(&out).contains("may not load rows"), "{}", errors_of(&out));
}

// covers: E4 (mysql)
#[tokio::test]
async fn a_session_goes_only_into_databases_of_its_role() {
    let town = shop().await;
    let said = town
        .python(
            r"import pymysql
c = connect(); k = c.cursor()
for name in ('mysql', 'information_schema', database):
    try: c.select_db(name); print('in')
    except pymysql.Error as e: print(e.args[0])
k.execute('select id from orders where id = 1'); print(k.fetchone())
",
        )
        .await;
    assert_eq!(said, "1142\nin\nin\n(1,)");
}
