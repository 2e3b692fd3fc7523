//! Drivers of Rust's and Node's, and what libpq of its newest version speaks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection as _, Row as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::gate::{TOKEN, Town, errors_of, out_of};
use super::restricted::{clerk, shop};

// covers: PG-1 (sqlx), PG-2 (sqlx), PG-3 (sqlx)
#[tokio::test]
async fn sqlx_works_and_is_recorded() {
    let town = shop(clerk()).await;
    let options = PgConnectOptions::new_without_pgpass()
        .host("localhost")
        .port(town.port)
        .username("orders-db+readwrite")
        .password(TOKEN)
        .database(town.target.name())
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(town.dir.path().join("ca.pem"));
    let pool = PgPoolOptions::new().max_connections(3).connect_with(options.clone()).await.unwrap();
    let rows = sqlx::query("select id, status from orders where id < $1 order by id").bind(3).fetch_all(&pool).await.unwrap();
    assert_eq!(rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(i32, String)>>(), [(1, "new".into()), (2, "sent".into())]);
    let mut work = pool.begin().await.unwrap();
    sqlx::query("insert into orders values ($1, $2, 1)").bind(50).bind("sqlx").execute(&mut *work).await.unwrap();
    let refused = sqlx::query("select id from payments where id = $1").bind(1).fetch_all(&mut *work).await.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"));
    work.rollback().await.unwrap();
    let mut one = sqlx::PgConnection::connect_with(&options).await.unwrap();
    let count: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&mut one).await.unwrap();
    assert_eq!(count, 2);
    one.close().await.unwrap();
    pool.close().await;
    assert!(
        town.gate.of_kind("sql.statement").iter().any(|a| a["values"][1] == json!({"hex": "73716c78"}) || a["values"][1] == json!("sqlx"))
    );
}

/// TLS for tokio-postgres.
#[derive(Clone)]
struct Tls(TlsConnector);

struct Named(TlsConnector, ServerName<'static>);

struct Encrypted<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Named {
    type Stream = Encrypted<S>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Encrypted<S>>> + Send>>;
    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(self.0.connect(self.1, stream).await?)) })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Encrypted<S>;
    type TlsConnect = Named;
    type Error = std::io::Error;
    fn make_tls_connect(&mut self, host: &str) -> std::io::Result<Named> {
        Ok(Named(self.0.clone(), ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?))
    }
}

/// A value of a type that was made at the target.
#[derive(Debug)]
struct Mood;

impl ToSql for Mood {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(b"bad");
        Ok(IsNull::No)
    }
    fn accepts(ty: &Type) -> bool {
        ty.name() == "mood"
    }
    to_sql_checked!();
}

fn tls(town: &Town) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&std::fs::read(town.dir.path().join("ca.pem")).unwrap()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    Tls(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

// covers: PG-1 (tokio-postgres), PG-2 (tokio-postgres), PG-3 (tokio-postgres)
#[tokio::test]
async fn tokio_postgres_works_and_is_recorded() {
    let town = shop(clerk()).await;
    town.target.query("create type mood as enum ('good', 'bad'); alter table orders add m mood").unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").port(town.port).user("orders-db+readwrite").password(TOKEN).dbname(town.target.name());
    let (mut client, connection) = config.ssl_mode(tokio_postgres::config::SslMode::Require).connect(tls(&town)).await.unwrap();
    let running = tokio::spawn(connection);
    // A type that it does not know makes it ask the catalog.
    let one = client.query_one("select m is null from orders where id = $1 and $2::mood is distinct from 'good'", &[&1, &Mood]).await;
    assert!(one.unwrap().get::<_, bool>(0));
    let rows = client.query("select status from orders order by id", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>(), ["new", "sent"]);
    // Three at once.
    let (one, two, three) =
        tokio::join!(client.query("select 1", &[]), client.query("select id from payments", &[]), client.query("select 3", &[]));
    assert!(one.is_ok() && three.is_ok());
    assert_eq!(two.unwrap_err().code().map(tokio_postgres::error::SqlState::code), Some("42501"));
    let work = client.transaction().await.unwrap();
    work.execute("insert into orders (id, status) values ($1, $2)", &[&60, &"tokio"]).await.unwrap();
    let portal = work.bind("select id from orders order by id", &[]).await.unwrap();
    assert_eq!((work.query_portal(&portal, 2).await.unwrap().len(), work.query_portal(&portal, 9).await.unwrap().len()), (2, 1));
    work.rollback().await.unwrap();
    assert_eq!(client.simple_query("select 1; select 2").await.unwrap().len(), 6);
    drop(client);
    running.await.unwrap().unwrap();
    assert!(
        town.gate
            .of_kind("sql.statement")
            .iter()
            .any(|a| a["text"] == "insert into orders (id, status) values ($1, $2)" && a["values"].is_array())
    );
}

// covers: PG-1 (node-postgres), PG-2 (node-postgres), PG-3 (node-postgres)
#[tokio::test]
async fn node_pg_works_and_is_recorded() {
    let town = shop(clerk()).await;
    let program = format!(
        "const fs = require('fs'); const {{ Client, Pool }} = require('pg');
const options = {{ host: 'localhost', port: {}, user: 'orders-db+readwrite', password: '{TOKEN}', database: '{}', ssl: {{ ca: fs.readFileSync('{}') }} }};
(async () => {{
  const pool = new Pool({{ ...options, max: 3 }});
  console.log(JSON.stringify((await pool.query('select id, status from orders where id < $1 order by id', [3])).rows));
  await pool.query({{ name: 'one', text: 'select id from orders where id = $1', values: [1] }});
  console.log((await pool.query({{ name: 'one', text: 'select id from orders where id = $1', values: [2] }})).rows[0].id);
  try {{ await pool.query('select * from payments'); }} catch (e) {{ console.log(e.code); }}
  const all = await Promise.all([1, 2, 1].map(n => pool.query('select $1::int as n', [n])));
  console.log(all.map(r => r.rows[0].n).join());
  await pool.end();
  const c = new Client(options); await c.connect();
  c.on('error', () => {{}});
  console.log((await c.query('select 1 as a; select 2 as a')).map(r => r.rows[0].a).join(), c.processID > 0);
  await c.query('begin'); await c.query('insert into orders values ($1, $2, 1)', [61, 'node']);
  try {{ await c.query('delete from orders'); }} catch (e) {{ console.log(e.code); }}
  console.log((await c.query('commit')).command);
  await c.end();
}})();",
        town.port,
        town.target.name(),
        town.dir.path().join("ca.pem").display()
    );
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/node-pg/node_modules");
    let running = tokio::process::Command::new("node").env("NODE_PATH", modules).arg("-e").arg(program).kill_on_drop(true).output();
    let out = tokio::time::timeout(std::time::Duration::from_secs(240), running).await.expect("it ends").unwrap();
    let shown = r#"[{"id":1,"status":"new"},{"id":2,"status":"sent"}]"#.to_owned() + "\n2\n42501\n1,2,1\n1,2 true\n42501\nROLLBACK";
    assert_eq!(out_of(&out), shown, "{}", errors_of(&out));
    assert!(town.gate.of_kind("sql.statement").iter().any(|a| a["values"] == json!(["61", "node"])));
    assert_eq!(town.target.query("select count(*) from orders").unwrap(), "2");
}

// covers: PG-1 (libpq 18)
#[tokio::test]
async fn the_newest_libpq_speaks_its_newest_protocol_over_direct_tls() {
    let town = Town::open().await;
    let said = town
        .python(
            r"import psycopg
from psycopg import pq
assert pq.version() >= 180000
def version(more):
    with psycopg.connect(dsn + more) as c:
        return c.info.full_protocol_version if hasattr(c.info, 'full_protocol_version') else c.pgconn.full_protocol_version
print([version(''), version(' max_protocol_version=3.2'), version(' max_protocol_version=latest sslnegotiation=direct'), version(' min_protocol_version=3.2 max_protocol_version=3.2')])
# Its cancel key is longer, and cancels.
import threading
with psycopg.connect(dsn + ' max_protocol_version=3.2 sslnegotiation=direct', autocommit=True) as c:
    done = threading.Event()
    def cancel():
        while not done.wait(0.5): c.cancel_safe()
    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    try: c.execute('select pg_sleep(60)')
    except psycopg.errors.QueryCanceled: print('cancelled')
    done.set(); cancelling.join()
    with c.cursor() as k:
        k.execute('create table t (n int)')
        with k.copy('copy t from stdin (format binary)') as copy:
            copy.set_types(['int4'])
            for n in range(1000): copy.write_row((n,))
        with k.copy('copy t to stdout (format binary)') as copy:
            copy.set_types(['int4'])
            print(sum(row[0] for row in copy.rows()))
",
        )
        .await;
    assert_eq!(said, "[30000, 30002, 30002, 30002]\ncancelled\n499500");
}
