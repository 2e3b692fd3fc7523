//! Stock clients, unmodified, and what is recorded of them.

use access::verdict::RecordLevel;
use serde_json::{Value, json};

use super::gate::{Setup, Town, errors_of, out_of};

// covers: PG-2 (psql), EV-5 (psql)
#[tokio::test]
async fn each_statement_is_recorded_with_what_came_of_it() {
    let town = Town::open().await;
    let out = town.psql(
        &town.conninfo(""),
        &["-c", "create table t (n int)", "-c", "insert into t select generate_series(1, 5)", "-c", "select * from t", "-c", "select 1/0"],
    );
    let out = { out }.output().await.unwrap();
    assert!(errors_of(&out).contains("division by zero"), "{}", errors_of(&out));
    assert_eq!(
        town.gate.texts(),
        ["create table t (n int)", "insert into t select generate_series(1, 5)", "select * from t", "select 1/0"]
    );
    let outcomes = town.gate.of_kind("sql.outcome");
    let seen: Vec<_> = outcomes.iter().map(|o| (o["n"].clone(), o["tag"].clone(), o["sqlstate"].clone(), o["rows"].clone())).collect();
    let null = serde_json::Value::Null;
    assert_eq!(
        seen,
        [
            (json!(1), json!("CREATE TABLE"), null.clone(), json!(0)),
            (json!(2), json!("INSERT 0 5"), null.clone(), json!(0)),
            (json!(3), json!("SELECT 5"), null.clone(), json!(5)),
            (json!(4), null, json!("22012"), json!(0)),
        ]
    );
    assert!(outcomes[2]["bytes"].as_u64().unwrap() > 0 && outcomes[2]["micros"].as_u64().unwrap() > 0);
    let ended = &town.gate.ended(1).await[0];
    assert_eq!((ended.end.code(), ended.confirmed), ("client", true));
    assert!(ended.bytes_up > 0 && ended.bytes_down > 0);
}

// covers: PG-1 (psql)
#[tokio::test]
async fn the_session_is_named_at_the_server() {
    let town = Town::open().await;
    let name = out_of(&town.run("show application_name").await);
    assert!(name.starts_with("psql ses_") && name.len() == 35, "{name}");
}

// covers: PG-1 (psycopg), PG-2 (psycopg)
#[tokio::test]
async fn psycopg_prepares_pipelines_copies_and_listens() {
    let town = Town::open().await;
    let said = town
        .python(
            r#"import psycopg
with psycopg.connect(dsn, autocommit=True) as c:
    c.execute('create table t (n int, s text)')
    with c.cursor() as cur:
        cur.executemany('insert into t values (%s, %s)', [(i, 'v%d' % i) for i in range(100)])
        with cur.copy('copy t from stdin') as copy:
            for i in range(100, 20000): copy.write_row((i, 'x' * 100))
        total = 0
        with cur.copy('copy t to stdout') as copy:
            for data in copy: total += len(data)
        print(total)
    with c.pipeline():
        rs = [c.execute('select %s::int + 1', (i,)) for i in range(50)]
        print(sum(r.fetchone()[0] for r in rs))
    try:
        with c.pipeline():
            c.execute('select 1/0'); c.execute('select 2')
    except psycopg.errors.DivisionByZero as e: print('division')
    with c.transaction():
        cur = c.cursor(name='far', binary=True); cur.itersize = 1000
        print(sum(1 for _ in cur.execute('select n from t')))
    c.execute('listen news'); c.execute("notify news, 'hello'")
    print(next(c.notifies(timeout=60)).payload)
    with c.transaction():
        oid = c.execute("select lo_from_bytea(0, 'abc')").fetchone()[0]
        print(c.execute('select lo_get(%s)', (oid,)).fetchone()[0])
    for _ in range(8): c.execute('select %s::text', ('prepared',), prepare=True)
    print(c.execute('select count(*) from t').fetchone()[0], c.info.backend_pid > 0)
"#,
        )
        .await;
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), ["1275", "division", "20000", "hello", "b'abc'", "20000 True"], "{said}");
    assert!(said.lines().next().unwrap().parse::<u64>().unwrap() > 2_000_000);
    let runs: Vec<_> =
        town.gate.of_kind("sql.statement").into_iter().filter(|a| a["text"] == "select $1::text" && a["via"] == "extended").collect();
    assert_eq!((runs.len(), &runs[7]["values"]), (8, &json!(["prepared"])));
    let outcomes = town.gate.of_kind("sql.outcome");
    let copied = outcomes.iter().find(|o| o["copy"] == "copy_in").unwrap();
    assert_eq!((copied["tag"].clone(), copied["copied_in"].as_u64().unwrap() > 2_000_000), (json!("COPY 19900"), true));
    assert!(outcomes.iter().any(|o| o["copy"] == "copy_out" && o["bytes"].as_u64().unwrap() > 2_000_000));
    // Every statement has one outcome, but those that a pipeline's error skipped.
    let (asked, answered) = (town.gate.of_kind("sql.statement").len(), outcomes.len());
    assert!(asked >= answered && asked - answered <= 2, "{asked} asked, {answered} answered");
}

// covers: PG-1 (psycopg)
#[tokio::test]
async fn what_others_notify_comes_to_who_does_nothing_but_listen() {
    let town = Town::open().await;
    let direct = format!("host=127.0.0.1 port={} user=tide dbname={}", town.target.port(), town.target.name());
    let said = town
        .python(&format!(
            r#"import psycopg
with psycopg.connect('{direct}', autocommit=True) as other, psycopg.connect(dsn, autocommit=True) as c:
    c.execute('listen news')
    for n in range(3):
        other.execute("select pg_notify('news', %s)", ('%d ' % n + 'x' * 7000,))
        heard = next(c.notifies(timeout=60))
        print(heard.payload[:2].strip(), len(heard.payload), heard.pid == other.info.backend_pid)
    c.execute('unlisten *')
    other.execute("notify news, 'nobody'")
    print(c.execute('select 1').fetchone()[0], list(c.notifies(timeout=0.1)))
"#
        ))
        .await;
    assert_eq!(said, "0 7002 True\n1 7002 True\n2 7002 True\n1 []");
}

// covers: PG-1 (psql), PG-2 (psql)
#[tokio::test]
async fn large_objects_go_both_ways_by_function_calls() {
    let town = Town::open().await;
    let path = |name: &str| town.dir.path().join(name).display().to_string();
    let (there, back) = (path("there"), path("back"));
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    std::fs::write(&there, &content).unwrap();
    std::fs::write(path("script"), format!("\\lo_import {there}\n\\lo_export :LASTOID {back}\n\\lo_unlink :LASTOID\n")).unwrap();
    let out = town.psql(&town.conninfo(""), &["-f", &path("script")]).output().await.unwrap();
    assert_eq!(errors_of(&out), "");
    assert!(std::fs::read(&back).unwrap() == content);
    assert_eq!(town.target.query("select count(*) from pg_largeobject_metadata").unwrap(), "0");
    let calls: Vec<Value> = town.gate.of_kind("sql.statement").into_iter().filter(|a| a["via"] == "function").collect();
    // What was written is in the record, as values; each call has its outcome.
    let written: usize =
        calls.iter().filter_map(|call| call["values"][1]["hex"].as_str()).map(|hex| hex.len() / 2).filter(|n| *n > 4).sum();
    assert!(calls.len() > 2 * content.len() / 16_384 && written == content.len(), "{} calls, {written} bytes", calls.len());
    let answered = town.gate.of_kind("sql.outcome").len();
    assert_eq!(answered, town.gate.of_kind("sql.statement").len());
}

// covers: PG-1 (psycopg)
#[tokio::test]
async fn psycopg_async_cancels_its_own_statement() {
    let town = Town::open().await;
    let said = town
        .python(
            r#"import psycopg, asyncio
async def main():
    async with await psycopg.AsyncConnection.connect(dsn) as c, await psycopg.AsyncConnection.connect(dsn) as other:
        sleeping = asyncio.create_task(other.execute('select pg_sleep(3), 5'))
        running = asyncio.create_task(c.execute('select pg_sleep(60)'))
        await asyncio.sleep(0.5)
        while not running.done():
            await c.cancel_safe()
            await asyncio.sleep(0.5)
        try: await running
        except psycopg.errors.QueryCanceled: print('cancelled')
        print((await (await sleeping).fetchone())[1])
asyncio.run(main())
"#,
        )
        .await;
    assert_eq!(said, "cancelled\n5");
}

// covers: PG-1 (asyncpg), PG-1 (pg8000)
#[tokio::test]
async fn asyncpg_and_pg8000_work() {
    let town = Town::open().await;
    let said = town
        .python(
            r#"import asyncpg, asyncio, ssl
x = ssl.create_default_context(cafile=ca)
async def main():
    c = await asyncpg.connect(host='localhost', port=port, user=user, password=token, database=database, ssl=x)
    await c.execute('create table t (n int, s text)')
    await c.copy_records_to_table('t', records=[(i, 'v') for i in range(5000)])
    print(await c.fetchval('select sum(n) from t where n < $1', 100))
    async with c.transaction():
        print(sum([r['n'] async for r in c.cursor('select n from t where n < 10')]))
    try: await c.fetchval('select 1/0')
    except asyncpg.DivisionByZeroError: print('division')
    await c.close()
asyncio.run(main())
import pg8000.native
c = pg8000.native.Connection(user, host='localhost', port=port, password=token, database=database, ssl_context=x)
print(c.run('select count(*) from t where s = :s', s='v'))
c.close()
"#,
        )
        .await;
    assert_eq!(said, "4950\n45\ndivision\n[[5000]]");
    assert!(town.gate.of_kind("sql.statement").iter().any(|a| a["values"] == json!([{"hex": "00000064"}])));
}

// covers: PG-1 (pgbench)
#[tokio::test]
async fn pgbench_runs_in_each_mode() {
    let town = Town::open().await;
    let pgbench = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("/usr/lib/postgresql/15/bin/pgbench");
        command.args(arguments).arg(town.conninfo("")).kill_on_drop(true).output()
    };
    let made = pgbench(&["-i", "-q", "-s", "1"]).await.unwrap();
    assert!(made.status.success(), "{}", errors_of(&made));
    for mode in ["simple", "extended", "prepared"] {
        let ran = pgbench(&["-n", "-S", "-c", "4", "-j", "2", "-t", "50", "-M", mode]).await.unwrap();
        assert!(
            ran.status.success() && out_of(&ran).contains("number of transactions actually processed: 200/200"),
            "{mode}: {}",
            errors_of(&ran)
        );
    }
}

// covers: PG-1 (pg_dump)
#[tokio::test]
async fn a_dump_taken_through_the_gate_is_put_back_through_it() {
    let town = Town::open().await;
    assert_eq!(
        errors_of(&town.run("create table a as select generate_series(1, 1000) n; create table b as select md5(n::text) s from a").await),
        ""
    );
    let dump = town.dir.path().join("dump");
    let tool = |name: &str, arguments: &[&str]| {
        let mut command = tokio::process::Command::new(format!("/usr/lib/postgresql/15/bin/{name}"));
        command.args(arguments).arg("-d").arg(town.conninfo("")).kill_on_drop(true).output()
    };
    let dumped = tool("pg_dump", &["-F", "d", "-j", "3", "-f", dump.to_str().unwrap()]).await.unwrap();
    assert!(dumped.status.success(), "{}", errors_of(&dumped));
    let before = out_of(&town.run("select count(*), max(s) from b").await);
    town.run("drop table a, b").await;
    let restored = tool("pg_restore", &["-j", "3", dump.to_str().unwrap()]).await.unwrap();
    assert!(restored.status.success(), "{}", errors_of(&restored));
    assert_eq!(out_of(&town.run("select count(*), max(s) from b").await), before);
}

// covers: F2 (psql)
#[tokio::test]
async fn a_large_statement_is_recorded_whole() {
    let town = Town::open().await;
    let said = town
        .python(
            r#"import psycopg
with psycopg.connect(dsn, autocommit=True) as c:
    print(c.execute("select length('" + 'x' * 10485760 + "')").fetchone()[0])
    print(c.execute('select length(%s)', ('y' * 10485760,)).fetchone()[0])
"#,
        )
        .await;
    assert_eq!(said, "10485760\n10485760");
    let statements = town.gate.of_kind("sql.statement");
    assert_eq!(statements[0]["text"].as_str().unwrap().len(), 10_485_760 + 17);
    assert_eq!(statements[1]["values"][0].as_str().unwrap().len(), 10_485_760);
}

// covers: PG-2 (psql)
#[tokio::test]
async fn rows_are_kept_only_where_the_tier_says_so() {
    for (level, kept) in [(RecordLevel::Content, false), (RecordLevel::Results, true)] {
        let town = Town::with(Setup { level, ..Setup::default() }).await;
        assert_eq!(out_of(&town.run("select 'a-' || 'secret-row'").await), "a-secret-row");
        let bytes = town.gate.bytes();
        assert_eq!(bytes.windows(12).any(|w| w == b"a-secret-row"), kept, "{level:?}");
    }
}
