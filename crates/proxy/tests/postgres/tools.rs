//! What tools ask a database about itself, under a role that may little: it is answered, and what is in the tables stays there.

use super::gate::{Town, errors_of, out_of};
use super::masks::masked_shop;
use super::restricted::{clerk, shop};

/// What `psql` shows of its own commands, errors and all.
async fn psql(town: &Town, commands: &[&str]) -> (String, String) {
    let mut arguments = vec!["-v", "ON_ERROR_STOP=0"];
    arguments.extend(commands.iter().flat_map(|command| ["-c", command]));
    let out = town.psql(&town.conninfo(""), &arguments).output().await.unwrap();
    (out_of(&out), errors_of(&out))
}

// covers: PG-3 (psql), E4 (psql)
#[tokio::test]
async fn the_backslash_commands_of_psql_work_under_a_restricted_role() {
    let town = masked_shop().await;
    town.target.query("create index by_status on orders (status); create view totals as select sum(total) from orders").unwrap();
    let commands = [
        r"\d",
        r"\d orders",
        r"\d+ orders",
        r"\d customers",
        r"\d+ totals",
        r"\d by_status",
        r"\d orders_pkey",
        r"\dt",
        r"\dt+",
        r"\dt *.*",
        r"\l",
        r"\l+",
        r"\du",
        r"\du+",
        r"\dg",
        r"\df",
        r"\df+",
        r"\df total",
        r"\df pg_catalog.lower",
        r"\sf total",
        r"\sv totals",
        r"\dn",
        r"\dn+",
        r"\dv",
        r"\dv+",
        r"\di",
        r"\di+",
        r"\ds",
        r"\dm",
        r"\dE",
        r"\dP",
        r"\dT",
        r"\dT+",
        r"\dD",
        r"\dp",
        r"\z",
        r"\ddp",
        r"\db",
        r"\db+",
        r"\dx",
        r"\dx+",
        r"\dC",
        r"\do",
        r"\do <",
        r"\da",
        r"\dL",
        r"\dc",
        r"\dO",
        r"\dF",
        r"\dFd",
        r"\dFp",
        r"\dFt",
        r"\dA",
        r"\dAc",
        r"\dAf",
        r"\dAo",
        r"\dAp",
        r"\des",
        r"\det",
        r"\dew",
        r"\deu",
        r"\dRp",
        r"\dRs",
        r"\dX",
        r"\dy",
        r"\dd",
        r"\drds",
        r"\dl",
        r"\dconfig",
        r"\conninfo",
        r"\encoding",
    ];
    let mut wrong = Vec::new();
    for command in commands {
        let (_, errors) = psql(&town, &[command]).await;
        // What has options may hold somebody's password, and user mappings do: those two stay closed.
        let closed = matches!(command, r"\deu" | r"\dRs");
        if errors.contains("ERROR") != closed || errors.contains("server closed") {
            wrong.push(format!("{command}: {errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let (out, _) = psql(&town, &[r"\d orders", r"\dt", r"\df", r"\di"]).await;
    assert!(
        out.contains("status|text") && out.contains("by_status|index") && out.contains("customers|table") && out.contains("total|numeric"),
        "{out}"
    );
}

// covers: PG-3 (psql)
#[tokio::test]
async fn tab_completion_of_psql_works_under_a_restricted_role() {
    let town = shop(clerk()).await;
    // What psql 15 asks when tab is pressed: after `SELECT * FROM `, `\d `, `UPDATE o… SET `, `SET `, `SHOW `, `\df `, `\c `, `\du `, `COPY `.
    for sql in [
        "SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p') AND (c.relname) LIKE 'ord%' \
         AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog') \
         UNION ALL SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'ord%' AND n.nspname NOT LIKE E'pg\\\\_%' LIMIT 1000",
        "SELECT attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid AND a.attnum > 0 AND NOT a.attisdropped \
         AND (attname) LIKE '%' AND c.relname = 'orders' AND pg_catalog.pg_table_is_visible(c.oid) LIMIT 1000",
        "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings WHERE (context IN ('user', 'superuser') OR pg_catalog.has_parameter_privilege(name, 'SET')) \
         AND pg_catalog.lower(name) LIKE pg_catalog.lower('s%') LIMIT 1000",
        "SELECT p.proname, NULL::pg_catalog.text FROM pg_catalog.pg_proc p WHERE p.prokind = 'f' AND (p.proname) LIKE 't%' AND pg_catalog.pg_function_is_visible(p.oid) LIMIT 1000",
        "SELECT d.datname FROM pg_catalog.pg_database d WHERE d.datname LIKE '%' LIMIT 1000",
        "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname LIKE '%' LIMIT 1000",
        "SELECT name FROM pg_catalog.pg_available_extensions WHERE name LIKE '%' AND installed_version IS NULL LIMIT 1000",
        "SELECT pg_catalog.pg_encoding_to_char(conforencoding) FROM pg_catalog.pg_conversion LIMIT 1000",
        "SELECT name FROM pg_catalog.pg_timezone_names() LIMIT 1000",
        "SELECT name FROM pg_catalog.pg_prepared_statements UNION ALL SELECT name FROM pg_catalog.pg_cursors LIMIT 1000",
        "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname LIKE '%' LIMIT 1000",
        "SELECT e.enumlabel FROM pg_catalog.pg_enum e, pg_catalog.pg_type t WHERE t.oid = e.enumtypid AND t.typname = 'x' LIMIT 1000",
    ] {
        let out = town.run(sql).await;
        assert_eq!(errors_of(&out), "", "{sql}");
    }
}

// covers: PG-3 (sqlalchemy), PG-4 (sqlalchemy), PG-1 (sqlalchemy)
#[tokio::test]
async fn sqlalchemy_reflects_and_works_under_a_restricted_role() {
    let town = masked_shop().await;
    town.target
        .query(
            "create type mood as enum ('good', 'bad'); create table lines (id serial primary key, order_id int references orders, m mood, n numeric(5, 2) default 1, \
             unique (order_id, m), check (n > 0)); comment on table lines is 'lines of orders'; create index on lines (n desc)",
        )
        .unwrap();
    let said = town
        .python(
            r"
from sqlalchemy import create_engine, inspect, select, MetaData, Table, insert, text
import sqlalchemy.dialects.postgresql
import ssl
for driver, args in (('psycopg', {'sslmode': 'verify-full', 'sslrootcert': ca}), ('pg8000', {'ssl_context': ssl.create_default_context(cafile=ca)})):
    from sqlalchemy.engine import URL
    url = URL.create('postgresql+' + driver, user, token, 'localhost', port, database)
    e = create_engine(url, connect_args=args)
    i = inspect(e)
    print(sorted(i.get_table_names()), i.get_schema_names(), i.get_view_names())
    print([c['name'] for c in i.get_columns('lines')], i.get_pk_constraint('lines')['constrained_columns'])
    print([f['referred_table'] for f in i.get_foreign_keys('lines')], [u['column_names'] for u in i.get_unique_constraints('lines')])
    print(len(i.get_indexes('lines')), len(i.get_check_constraints('lines')), i.get_table_comment('lines')['text'], [x['name'] for x in i.get_enums()])
    print(i.get_sequence_names(), i.has_table('orders'), i.has_table('gone'), i.get_materialized_view_names())
    m = MetaData(); m.reflect(e)
    orders, customers = m.tables['orders'], m.tables['customers']
    with e.begin() as c:
        print(c.execute(select(orders.c.id, orders.c.status).where(orders.c.id < 3).order_by(orders.c.id)).all())
        print(c.execute(select(customers.c.name, customers.c.card).where(customers.c.id == 1)).all())
        t = c.begin_nested()
        c.execute(insert(orders), [{'id': 70, 'status': 'a', 'total': 1}, {'id': 71, 'status': 'b', 'total': 2}])
        t.rollback()
    e.dispose()
",
        )
        .await;
    let halves: Vec<&str> = said.lines().collect();
    let (one, two) = halves.split_at(halves.len() / 2);
    assert_eq!(one, two, "{said}");
    assert_eq!(
        one,
        [
            "['customers', 'lines', 'orders', 'payments'] ['information_schema', 'public'] []",
            "['id', 'order_id', 'm', 'n'] ['id']",
            "['orders'] [['order_id', 'm']]",
            "2 1 lines of orders ['mood']",
            "['lines_id_seq'] True False []",
            "[(1, 'new'), (2, 'sent')]",
            "[('Kim', '****')]",
        ]
    );
}

// covers: PG-3 (asyncpg), PG-3 (psycopg)
#[tokio::test]
async fn drivers_look_up_types_under_a_restricted_role() {
    let town = shop(clerk()).await;
    town.target.query("create type mood as enum ('good', 'bad'); create type pair as (a int, b mood); alter table orders add m mood, add p pair, add r int[]").unwrap();
    let said = town
        .python(
            r"import asyncio, asyncpg, ssl
async def main():
    tls = ssl.create_default_context(cafile=ca)
    c = await asyncpg.connect(host='localhost', port=port, user=user, password=token, database=database, ssl=tls)
    print(await c.fetchval('insert into orders (id, m, p, r) values ($1, $2, $3, $4) returning p', 80, 'good', (1, 'bad'), [1, 2]))
    await c.set_type_codec('mood', encoder=str, decoder=lambda v: v.upper(), schema='public')
    print(await c.fetchval('select m from orders where id = 80'))
    await c.reload_schema_state(); await c.reset()
    await c.close()
asyncio.run(main())
import psycopg
from psycopg.types import TypeInfo, enum, composite
with psycopg.connect(dsn) as c:
    print(TypeInfo.fetch(c, 'mood').name, *enum.EnumInfo.fetch(c, 'mood').labels, *composite.CompositeInfo.fetch(c, 'pair').field_names)
",
        )
        .await;
    assert_eq!(said, "<Record a=1 b='bad'>\nGOOD\nmood good bad a b");
}

/// What graphical tools and drivers ask, as they write it; under each the part that a tool stands or falls with.
const ASKED: &str = include_str!("tools.sql");

// covers: PG-3 (psql), E4 (psql)
#[tokio::test]
async fn what_graphical_tools_and_drivers_ask_is_answered_under_a_restricted_role() {
    let town = masked_shop().await;
    let mut wrong = Vec::new();
    for asked in ASKED.split("\n\n").filter(|asked| asked.lines().any(|line| !line.starts_with("--"))) {
        let out = town.run(asked).await;
        if !errors_of(&out).is_empty() {
            wrong.push(format!("{}\n    {asked}", errors_of(&out)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for closed in [
        "select * from pg_stats",
        "select * from pg_statistic",
        "select * from pg_authid",
        "select * from pg_shadow",
        "select pg_read_file('x')",
    ] {
        assert!(errors_of(&town.run(closed).await).contains("Your role does not include this"), "{closed}");
    }
}
