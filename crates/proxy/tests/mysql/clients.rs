//! Stock clients, unmodified, and what is recorded of them.

use access::verdict::RecordLevel;
use serde_json::{Value, json};

use super::gate::{Setup, TOKEN, Town, errors_of, out_of};

/// What came of each statement: number, errno, rows, changed rows.
fn outcomes(town: &Town) -> Vec<(u64, Value, Value, Value)> {
    let all = town.gate.of_kind("sql.outcome");
    all.iter().map(|o| (o["n"].as_u64().unwrap(), o["errno"].clone(), o["rows"].clone(), o["affected"].clone())).collect()
}

// covers: MY-1 (mariadb), EV-5 (mysql)
#[tokio::test]
async fn each_statement_is_recorded_with_what_came_of_it() {
    let town = Town::open().await;
    let sql = "create table t (n int primary key); insert into t values (1), (2), (3); select n from t; select nonsense";
    let out = town.run(sql).await;
    assert_eq!(out_of(&out), "1\n2\n3");
    assert!(errors_of(&out).contains("ERROR 1054 (42S22) at line 1: Unknown column 'nonsense'"), "{}", errors_of(&out));
    let texts = town.gate.texts();
    assert_eq!(
        texts.iter().rev().take(4).rev().map(|t| t.trim()).collect::<Vec<_>>(),
        ["create table t (n int primary key)", "insert into t values (1), (2), (3)", "select n from t", "select nonsense"]
    );
    let outcomes = outcomes(&town);
    let last: Vec<_> =
        outcomes.iter().rev().take(4).rev().map(|(_, errno, rows, affected)| (errno.clone(), rows.clone(), affected.clone())).collect();
    assert_eq!(
        last,
        [
            (Value::Null, json!(0), json!(0)),
            (Value::Null, json!(0), json!(3)),
            (Value::Null, json!(3), Value::Null),
            (json!(1054), json!(0), Value::Null),
        ]
    );
    assert_eq!(town.gate.of_kind("sql.outcome").last().unwrap()["sqlstate"], "42S22");
    let ended = &town.gate.ended(1).await[0];
    assert_eq!((ended.end.code(), ended.confirmed), ("client", true));
    assert!(ended.bytes_up > 0 && ended.bytes_down > 0);
}

// covers: MY-1 (pymysql)
#[tokio::test]
async fn pymysql_works_in_text_with_batches_procedures_and_files() {
    let town = Town::open().await;
    let said = town
        .python(
            r#"import pymysql, tempfile
from pymysql.constants import CLIENT
c = connect(autocommit=False, local_infile=True, client_flag=CLIENT.MULTI_STATEMENTS)
k = c.cursor()
k.execute('create table t (n int primary key, s text)')
k.executemany('insert into t values (%s, %s)', [(i, 'v%d' % i) for i in range(1000)])
c.commit()
k.execute('select 1; select 2, 3; update t set s = "x" where n < 3')
first = k.fetchall(); k.nextset(); second = k.fetchall(); k.nextset()
print(first, second, k.rowcount)
k.execute('create procedure twice(in a int, out b int) begin select a; set b = 2 * a; end')
k.callproc('twice', (21, 0)); print(k.fetchall()); k.nextset()
k.execute('select @_twice_1'); print(k.fetchall())
with tempfile.NamedTemporaryFile('w', suffix='.csv') as f:
    f.write(''.join('%d,w%d\n' % (i, i) for i in range(1000, 50000))); f.flush()
    k.execute("load data local infile '%s' into table t fields terminated by ','" % f.name); c.commit()
k.execute('select count(*) from t'); print(k.fetchone())
s = c.cursor(pymysql.cursors.SSCursor); s.execute('select n, s from t'); print(sum(1 for _ in s)); s.close()
k.execute('insert into t values (-1, "gone")'); c.rollback()
k.execute('select count(*) from t where n = -1'); print(k.fetchone())
try: k.execute('insert into t values (1, "again")')
except pymysql.err.IntegrityError as e: print(e.args[0])
c.ping(); c.select_db(database); print(c.get_server_info())
c.close()
"#,
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..7], ["((1,),) ((2, 3),) 3", "((21,),)", "((42,),)", "(50000,)", "50000", "(0,)", "1062"], "{said}");
    assert!(lines[7].contains("MariaDB"), "{said}");
    let copied = town.gate.of_kind("sql.outcome").into_iter().find(|o| o["copy"] == "copy_in").unwrap();
    assert!(copied["copied_in"].as_u64().unwrap() > 400_000 && copied["affected"] == 49_000, "{copied}");
    let all = town.gate.of_kind("sql.statement").len();
    let answered: std::collections::BTreeSet<u64> = town.gate.of_kind("sql.outcome").iter().map(|o| o["n"].as_u64().unwrap()).collect();
    assert_eq!(answered.len(), all, "each statement has its outcome");
}

// covers: MY-1 (pymysql)
#[tokio::test]
async fn rows_come_while_a_procedure_has_a_cursor_of_its_own() {
    let town = Town::open().await;
    let said = town
        .python(
            r"c = connect(); k = c.cursor()
k.execute('create procedure walks() begin declare c cursor for select 1; open c; select 2; close c; select 3; end')
k.execute('call walks()'); print(k.fetchall()); k.nextset(); print(k.fetchall()); k.nextset()
k.execute('begin not atomic declare c cursor for select 1; open c; select 4; end'); print(k.fetchall()); k.nextset()
k.execute('select 5'); print(k.fetchall())
",
        )
        .await;
    assert_eq!(said, "((2,),)\n((3,),)\n((4,),)\n((5,),)");
}

// covers: MY-1 (pymysql)
#[tokio::test]
async fn a_session_stays_its_persons_and_leaves_the_server_alone() {
    let town = Town::open().await;
    let said = town
        .python(
            r"import pymysql
c = connect(); k = c.cursor()
for code, rest in [(0x0e, b''), (0x11, b'root\0\0mysql\0'), (0x12, b'\4\0\0\0\0\0\1\0\0\0'), (0x15, b'\1\0\0\0\0\0\0'), (0x08, b'\0')]:
    try: c._execute_command(code, rest); c._read_ok_packet(); print('done')
    except pymysql.Error as e: print(*e.args)
k.execute('select current_user()'); print(k.fetchone()[0].split('@')[0])
",
        )
        .await;
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[0], "done", "a ping is");
    for (line, why) in said[1..].iter().zip(["instead of changing its user", "binary log", "replicas", "shut down"]) {
        assert!(line.starts_with("1142 ") && line.contains(why), "{line}");
    }
    assert_eq!(said[5..], [format!("app_{}", town.target.name())]);
    assert_eq!(town.gate.of_kind("sql.refused").len(), 4);
}

// covers: MY-1 (mysql2)
#[tokio::test]
async fn mysql2_prepares_and_sends_values_in_binary() {
    let town = Town::open().await;
    let said = town
        .node(
            r"const c = await mysql.createConnection({...options, connectAttributes: {program_name: 'shop'}});
await c.query('create table t (n int, s text, d datetime(3), b blob, f double)');
for (let i = 0; i < 3; i++)
  await c.execute('insert into t values (?, ?, ?, ?, ?)', [i, 'café', new Date(Date.UTC(2026, 10, 21, 12, 2, 3, 4)), Buffer.from([0, 255]), 1.5]);
const [rows] = await c.execute('select n, s, f, b from t where n = ?', [1]);
console.log(rows[0].n, rows[0].s, rows[0].f, rows[0].b.toString('hex'));
const [many] = await c.query('select n from t order by n'); console.log(many.map(r => r.n).join());
try { await c.execute('select nonsense from t') } catch (e) { console.log(e.errno, e.sqlState) }
await c.changeUser({user: 'x'}).catch(e => console.log(e.errno, e.message));
const p = mysql.createPool({...options, connectionLimit: 3});
const all = await Promise.all([...Array(20).keys()].map(i => p.execute('select ? + 1 as x', [i])));
console.log(all.reduce((a, [r]) => a + Number(r[0].x), 0));
await p.end(); await c.end();
",
        )
        .await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["1 café 1.5 00ff", "0,1,2", "1054 42S22"], "{said}");
    assert!(lines[3].starts_with("1142 ") && lines[3].contains("open another connection"), "{said}");
    assert_eq!(lines[4], "210", "{said}");
    let values: Vec<Value> = town
        .gate
        .of_kind("sql.statement")
        .into_iter()
        .filter(|a| a["text"].as_str().unwrap().starts_with("insert"))
        .map(|a| a["values"].clone())
        .collect();
    assert_eq!(values.len(), 3);
    assert_eq!((values[1][1].clone(), values[1][3].clone()), (json!("café"), json!({"hex": "00ff"})), "{values:?}");
    assert!(values[1][2].as_str().unwrap().starts_with("2026-11-21"), "{values:?}");
}

// covers: MY-1 (mysqlclient), MY-1 (aiomysql)
#[tokio::test]
async fn mysqlclient_and_aiomysql_work() {
    let town = Town::open().await;
    let said = town
        .python(
            r#"import MySQLdb, aiomysql, asyncio, ssl
c = MySQLdb.connect(host='127.0.0.1', port=port, user=user, password=token, database=database, ssl={'ca': ca})
k = c.cursor(); k.execute('create table t (n int)'); k.executemany('insert into t values (%s)', [(i,) for i in range(10)]); c.commit()
k.execute('select sum(n) from t'); print(k.fetchone()[0]); c.close()
async def main():
    tls = ssl.create_default_context(cafile=ca)
    async with aiomysql.create_pool(host=host, port=port, user=user, password=token, db=database, ssl=tls, maxsize=4) as pool:
        async def one(n):
            async with pool.acquire() as c, c.cursor() as k:
                await k.execute('select sum(n) + %s from t', (n,)); return (await k.fetchone())[0]
        print(sum(await asyncio.gather(*[one(n) for n in range(10)])))
asyncio.run(main())
"#,
        )
        .await;
    assert_eq!(said, "45\n495");
    assert!(town.gate.texts().iter().any(|text| text == "select sum(n) + 7 from t"));
}

// covers: MY-1 (mariadb-dump)
#[tokio::test]
async fn a_dump_through_the_gate_is_the_dump_taken_directly() {
    let town = Town::open().await;
    let fill = "create table t (n int primary key, s varchar(40), b varbinary(40)); insert into t select seq, repeat(char(65 + seq % 26), 30), unhex(sha1(seq)) from seq_1_to_20000";
    town.target.query(fill).unwrap();
    let arguments = ["--skip-dump-date", "--hex-blob", "--single-transaction", "--no-tablespaces", town.target.name()];
    let through = town.tool("mariadb-dump", &arguments).output().await.unwrap();
    assert!(through.status.success(), "{}", errors_of(&through));
    let direct = town.direct("mariadb-dump", &arguments).output().await.unwrap();
    let plain = |out: &[u8]| {
        String::from_utf8_lossy(out)
            .lines()
            .filter(|l| !l.starts_with("-- Host") && !l.starts_with("-- Server"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(through.stdout.len() > 1_000_000 && plain(&through.stdout) == plain(&direct.stdout));
    // And back in.
    let file = town.dir.path().join("dump.sql");
    std::fs::write(&file, &through.stdout).unwrap();
    let mut again = town.tool("mariadb", &[town.target.name()]);
    let back = again.stdin(std::fs::File::open(&file).unwrap()).output().await.unwrap();
    assert!(back.status.success(), "{}", errors_of(&back));
    assert_eq!(town.target.query("select count(*), md5(group_concat(md5(b) order by n)) is not null from t").unwrap(), "20000\t1");
}

// covers: MY-1 (mysql), F2 (mysql)
#[tokio::test]
async fn packets_over_sixteen_mebibytes_pass_both_ways_and_are_recorded_whole() {
    let town = Town::open().await;
    town.target.query("set global max_allowed_packet = 1073741824").unwrap();
    let said = town
        .python(
            r#"c = connect(max_allowed_packet=1 << 30, write_timeout=60, read_timeout=60)
k = c.cursor()
for size in ((1 << 24) - 1, (1 << 24), 20_000_000):
    k.execute('select length(%s), %s', ('x' * size, 'y' * size))
    n, text = k.fetchone(); print(n == size, text == 'y' * size)
k.execute('select 1'); print(k.fetchone())
"#,
        )
        .await;
    assert_eq!(said, "True True\nTrue True\nTrue True\n(1,)");
    let longest = town.gate.texts().iter().map(String::len).max().unwrap();
    assert!(longest > 40_000_000, "{longest}");
    assert_eq!(town.gate.of_kind("sql.outcome").iter().filter(|o| o["bytes"].as_u64().unwrap() > 16_000_000).count(), 3);
}

// covers: MY-1 (mariadb)
#[tokio::test]
async fn rows_are_kept_where_the_tier_says_so() {
    let town = Town::with(Setup { level: RecordLevel::Results, ..Setup::default() }).await;
    assert_eq!(out_of(&town.run("select 'visible result'").await), "visible result");
    assert!(String::from_utf8_lossy(&town.gate.bytes()).contains("visible result"));
    let town = Town::open().await;
    assert_eq!(out_of(&town.run("select 'visible result'").await), "visible result");
    assert!(town.gate.bytes().is_empty());
}

// covers: MY-1 (sysbench)
#[tokio::test(flavor = "multi_thread")]
async fn sysbench_reads_and_writes_prepared_and_not() {
    let town = Town::open().await;
    // It wants these names in its working directory.
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap().self_signed(&key).unwrap();
    std::fs::copy(town.dir.path().join("ca.pem"), town.dir.path().join("cacert.pem")).unwrap();
    std::fs::write(town.dir.path().join("client-cert.pem"), own.pem()).unwrap();
    std::fs::write(town.dir.path().join("client-key.pem"), key.serialize_pem()).unwrap();
    let bench = async |what: &str, more: &[&str]| {
        let mut sysbench = tokio::process::Command::new("sysbench");
        sysbench.current_dir(town.dir.path()).args([
            "oltp_read_write",
            "--db-driver=mysql",
            "--mysql-ssl=on",
            "--mysql-host=127.0.0.1",
            "--tables=1",
            "--table-size=500",
        ]);
        sysbench
            .arg(format!("--mysql-port={}", town.port))
            .arg("--mysql-user=orders-db+readwrite")
            .arg(format!("--mysql-password={TOKEN}"));
        let out = sysbench.arg(format!("--mysql-db={}", town.target.name())).args(more).arg(what).output().await.unwrap();
        assert!(out.status.success(), "{what}: {}{}", out_of(&out), errors_of(&out));
        out_of(&out)
    };
    bench("prepare", &[]).await;
    for mode in ["auto", "disable"] {
        let said = bench("run", &["--threads=2", "--events=40", "--time=60", &format!("--db-ps-mode={mode}")]).await;
        assert!(said.contains("transactions:") && said.contains("40     "), "{said}");
    }
    let prepared = town.gate.of_kind("sql.statement").iter().filter(|s| s["via"] == "extended" && s["values"].is_array()).count();
    assert!(prepared > 400, "{prepared}");
}
