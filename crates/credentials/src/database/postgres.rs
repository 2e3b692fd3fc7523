//! Accounts in PostgreSQL.

use access::rights::{Columns, DatabaseRights, QualifiedName, Verb};
use access::session::TargetTls;
use jiff::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::dial::Way;
use super::leftovers::{self, run};
use super::{AccountError, Act, NewAccount, Server, verifier};

/// Waits for whoever makes or drops the account at this moment, and keeps others waiting until the transaction ends. One that is being
/// made is not taken for one that is not there, even if whoever makes it gave up waiting for the server.
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";

fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn table(name_: &QualifiedName) -> String {
    format!("{}.{}", name(&name_.schema), name(&name_.name))
}

pub(super) async fn connect(server: &Server, database: Option<&str>, act: Act, account: &str) -> Result<PgConnection, AccountError> {
    let way = server.dial(act, account).await?;
    connect_through(&way, server, database, act, account).await
}

pub(super) async fn connect_through(
    way: &Way,
    server: &Server,
    database: Option<&str>,
    act: Act,
    account: &str,
) -> Result<PgConnection, AccountError> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .socket(way.dir())
        .username(&server.user)
        .password(server.password.expose())
        .application_name("tidegate accounts")
        .database(database.or(server.database.as_deref()).unwrap_or("postgres"));
    let options = match &server.tls {
        TargetTls::Plain => options.ssl_mode(PgSslMode::Disable),
        TargetTls::Public => options.ssl_mode(PgSslMode::VerifyFull),
        TargetTls::Authority(pem) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(pem.clone().into_bytes()),
        TargetTls::Pinned(_) => return Err(AccountError::Pinned),
    };
    let options = options.options([("standard_conforming_strings", "on"), ("search_path", "pg_catalog")]).disable_statement_logging();
    PgConnection::connect_with(&options).await.map_err(server.failed(act, account))
}

/// The `GRANT`s that make just these rights of an account; its name stands quoted already.
fn grants(account: &str, rights: &DatabaseRights) -> Vec<String> {
    let mut out = Vec::new();
    let mut schemas: Vec<&str> = rights.tables.keys().chain(&rights.functions).map(|n| n.schema.as_str()).collect();
    schemas.sort_unstable();
    schemas.dedup();
    out.extend(schemas.into_iter().map(|schema| format!("GRANT USAGE ON SCHEMA {} TO {account}", name(schema))));
    for (on, what) in &rights.tables {
        for verb in Verb::ALL {
            let verb_word = verb.code().to_ascii_uppercase();
            match what.columns(*verb) {
                Columns::None => {}
                Columns::All => out.push(format!("GRANT {verb_word} ON {} TO {account}", table(on))),
                Columns::Only(columns) => {
                    let list = columns.iter().map(|c| name(c)).collect::<Vec<_>>().join(", ");
                    out.push(format!("GRANT {verb_word} ({list}) ON {} TO {account}", table(on)));
                }
            }
        }
    }
    out
}

pub(super) async fn make(server: &Server, account: &NewAccount, rights: &DatabaseRights) -> Result<(), AccountError> {
    let failed = server.failed(Act::Make, &account.name);
    let mut db = connect(server, None, Act::Make, &account.name).await?;
    let role = name(&account.name);
    let until = account.until.map_or_else(|| "infinity".to_owned(), |until| until.to_string());
    let mut work = db.begin().await.map_err(&failed)?;
    sqlx::query(ALONE).bind(&account.name).execute(&mut *work).await.map_err(&failed)?;
    let mut statements = vec![format!(
        "CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {} VALID UNTIL {} CONNECTION LIMIT {}",
        literal(&verifier::scram_sha_256(&account.password)?),
        literal(&until),
        account.connections,
    )];
    if rights.is_restricted() {
        // What the judge pins, the account starts with; and what it can be wrong about is bounded here.
        statements.push(format!("ALTER ROLE {role} SET search_path = {}", rights.pinned_search_path()));
        statements.push(format!("ALTER ROLE {role} SET standard_conforming_strings = 'on'"));
    }
    if let Some(group) = &account.member_of {
        // What it makes belongs to that role, and outlives it.
        statements.push(format!("GRANT {} TO {role}", name(group)));
        statements.push(format!("ALTER ROLE {role} SET role = {}", literal(group)));
    }
    if let Some(limit) = rights.statement_timeout {
        statements.push(format!("ALTER ROLE {role} SET statement_timeout = '{}s'", limit.as_seconds()));
    }
    let database: String = sqlx::query("SELECT current_database()::text").fetch_one(&mut *work).await.map_err(&failed)?.get(0);
    statements.push(format!("GRANT CONNECT ON DATABASE {} TO {role}", name(&database)));
    statements.extend(grants(&role, rights));
    for function in &rights.functions {
        let found = sqlx::query(
            "SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || p.oid::regprocedure::text \
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = $2",
        )
        .bind(&function.schema)
        .bind(&function.name)
        .fetch_all(&mut *work)
        .await
        .map_err(&failed)?;
        if found.is_empty() {
            return Err(AccountError::NoSuchThing(format!("the function `{function}`")));
        }
        statements.extend(found.into_iter().map(|row| format!("GRANT EXECUTE ON {} TO {role}", row.get::<String, _>(0))));
    }
    for on in rights.tables.iter().filter(|(_, what)| what.allows(Verb::Insert)).map(|(on, _)| on) {
        // A column with a sequence behind it is given its next number by whoever inserts.
        let sequences = sqlx::query(
            "SELECT DISTINCT quote_ident(sn.nspname) || '.' || quote_ident(s.relname) FROM pg_depend d \
             JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace \
             JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace tn ON tn.oid = t.relnamespace \
             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') \
             AND tn.nspname = $1 AND t.relname = $2",
        )
        .bind(&on.schema)
        .bind(&on.name)
        .fetch_all(&mut *work)
        .await
        .map_err(&failed)?;
        statements.extend(sequences.into_iter().map(|row| format!("GRANT USAGE ON SEQUENCE {} TO {role}", row.get::<String, _>(0))));
    }
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *work).await.map_err(&failed)?;
    }
    work.commit().await.map_err(&failed)?;
    let _said_goodbye = db.close().await;
    Ok(())
}

/// The account opens until then, and no longer.
pub(super) async fn prolong(server: &Server, account: &str, until: Timestamp) -> Result<(), AccountError> {
    let failed = server.failed(Act::Prolong, account);
    let mut db = connect(server, None, Act::Prolong, account).await?;
    run(&mut db, format!("ALTER ROLE {} VALID UNTIL {}", name(account), literal(&until.to_string())), &failed).await?;
    let _said_goodbye = db.close().await;
    Ok(())
}

pub(super) async fn drop(server: &Server, account: &str) -> Result<(), AccountError> {
    let failed = server.failed(Act::Drop, account);
    let mut db = connect(server, None, Act::Drop, account).await?;
    let role = name(account);
    sqlx::query(ALONE).bind(account).execute(&mut db).await.map_err(&failed)?;
    let there = sqlx::query("SELECT 1 FROM pg_roles WHERE rolname = $1").bind(account).fetch_optional(&mut db).await.map_err(&failed)?;
    if there.is_none() {
        return Ok(());
    }
    run(&mut db, format!("ALTER ROLE {role} NOLOGIN"), &failed).await?;
    // Who ends its sessions and takes what it owns has to be a member.
    run(&mut db, leftovers::join(&role), &failed).await?;
    // Waits up to five seconds for each to be gone.
    sqlx::query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1")
        .bind(account)
        .fetch_all(&mut db)
        .await
        .map_err(&failed)?;
    let alive =
        sqlx::query("SELECT 1 FROM pg_stat_activity WHERE usename = $1").bind(account).fetch_optional(&mut db).await.map_err(&failed)?;
    if alive.is_some() {
        let message = "its sessions do not end".to_owned();
        return Err(AccountError::Refused { act: Act::Drop, name: account.to_owned(), message });
    }
    let elsewhere = sqlx::query(
        "SELECT DISTINCT d.datname::text FROM pg_shdepend s JOIN pg_database d ON d.oid = s.dbid \
         WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1) \
         AND d.datname <> current_database()",
    )
    .bind(account)
    .fetch_all(&mut db)
    .await
    .map_err(&failed)?;
    for database in elsewhere.into_iter().map(|row| row.get::<String, _>(0)) {
        let mut other = connect(server, Some(&database), Act::Drop, account).await?;
        leftovers::clear(&mut other, account, &role, &failed).await?;
        let _said_goodbye = other.close().await;
    }
    leftovers::clear(&mut db, account, &role, &failed).await?;
    run(&mut db, format!("DROP ROLE IF EXISTS {role}"), &failed).await?;
    let _said_goodbye = db.close().await;
    Ok(())
}
