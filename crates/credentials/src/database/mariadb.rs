//! Accounts in MariaDB and MySQL.
//!
//! They know no time after which an account ends by itself: the sweep drops it. `%` stands for any host, since the gate may reach the
//! server from several.

use std::time::Duration;

use access::rights::{Columns, DatabaseRights, QualifiedName, Verb};
use access::session::TargetTls;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::{AccountError, Act, NewAccount, Server, verifier};

/// How long the sessions of an account that is dropped may take to end.
const SESSIONS_END: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

fn table(name_: &QualifiedName) -> String {
    format!("{}.{}", name(&name_.schema), name(&name_.name))
}

pub(super) async fn connect(server: &Server, act: Act, account: &str) -> Result<MySqlConnection, AccountError> {
    let way = server.dial(act, account).await?;
    let options = MySqlConnectOptions::new()
        .host(&server.host)
        .port(server.port)
        .socket(way.socket())
        .username(&server.user)
        .password(server.password.expose());
    let options = match &server.tls {
        TargetTls::Plain => options.ssl_mode(MySqlSslMode::Disabled),
        TargetTls::Public => options.ssl_mode(MySqlSslMode::VerifyIdentity),
        TargetTls::Authority(pem) => options.ssl_mode(MySqlSslMode::VerifyIdentity).ssl_ca_from_pem(pem.clone().into_bytes()),
        TargetTls::Pinned(_) => return Err(AccountError::Pinned),
    };
    let mut db = MySqlConnection::connect_with(&options.disable_statement_logging()).await.map_err(server.failed(act, account))?;
    alone(&mut db, act, account).await.map_err(server.failed(act, account))?;
    Ok(db)
}

/// Waits for whoever makes or drops the account at this moment, and keeps others waiting until this connection ends. One that is being
/// made is not taken for one that is not there, even if whoever makes it gave up waiting for the server.
async fn alone(db: &mut MySqlConnection, act: Act, account: &str) -> Result<(), sqlx::Error> {
    let row = sqlx::query("SELECT GET_LOCK(?, 15)").bind(account).fetch_one(db).await?;
    match row.get::<Option<i64>, _>(0) {
        Some(1) => Ok(()),
        _ => Err(sqlx::Error::Protocol(format!("somebody else is at work on the account, so it is not the time to {act} it"))),
    }
}

/// The `GRANT`s that make just these rights of an account; its name stands quoted already.
fn grants(account: &str, rights: &DatabaseRights) -> Vec<String> {
    let mut out = Vec::new();
    for (on, what) in &rights.tables {
        for verb in Verb::ALL {
            // Emptying a table needs the right to drop it, which no role has; the judge refuses it too.
            let word = match verb {
                Verb::Truncate => continue,
                other => other.code().to_ascii_uppercase(),
            };
            match what.columns(*verb) {
                Columns::None => {}
                Columns::All => out.push(format!("GRANT {word} ON {} TO {account}", table(on))),
                Columns::Only(columns) => {
                    let list = columns.iter().map(|c| name(c)).collect::<Vec<_>>().join(", ");
                    out.push(format!("GRANT {word} ({list}) ON {} TO {account}", table(on)));
                }
            }
        }
    }
    out
}

/// Whether it is MySQL's own server, which makes and ends some things otherwise than MariaDB.
pub(super) async fn is_mysql(db: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("SELECT CAST(VERSION() AS CHAR)").fetch_one(db).await?;
    Ok(!row.get::<String, _>(0).contains("MariaDB"))
}

pub(super) async fn make(server: &Server, account: &NewAccount, rights: &DatabaseRights) -> Result<(), AccountError> {
    let failed = server.failed(Act::Make, &account.name);
    let mut db = connect(server, Act::Make, &account.name).await?;
    let mysql = is_mysql(&mut db).await.map_err(&failed)?;
    let user = format!("{}@'%'", name(&account.name));
    let mut statements = Vec::new();
    for function in &rights.functions {
        let found =
            sqlx::query("SELECT CAST(routine_type AS CHAR) FROM information_schema.routines WHERE routine_schema = ? AND routine_name = ?")
                .bind(&function.schema)
                .bind(&function.name)
                .fetch_all(&mut db)
                .await
                .map_err(&failed)?;
        if found.is_empty() {
            return Err(AccountError::NoSuchThing(format!("the function `{function}`")));
        }
        statements
            .extend(found.into_iter().map(|row| format!("GRANT EXECUTE ON {} {} TO {user}", row.get::<String, _>(0), table(function))));
    }
    statements.extend(grants(&user, rights));
    if let Some(role) = account.member_of.as_deref().map(name) {
        statements.push(format!("GRANT {role} TO {user}"));
        statements.push(format!("SET DEFAULT ROLE {role} {} {user}", if mysql { "TO" } else { "FOR" }));
    }
    run(&mut db, create(&user, account, rights, mysql)?, &failed).await?;
    for statement in statements {
        // There are no transactions around accounts here: what was begun is taken back.
        if let Err(error) = run(&mut db, statement, &failed).await {
            let _taken_back = run(&mut db, format!("DROP USER IF EXISTS {user}"), &failed).await;
            return Err(error);
        }
    }
    let _said_goodbye = db.close().await;
    Ok(())
}

/// Makes the account itself, which may do nothing yet. What proves its password is what the server knows best: today's MySQL does not know
/// what every MariaDB does, nor the other way round. Nor does it know accounts whose statements end after some time: each session is told,
/// and then just a `SELECT` that only reads ends.
fn create(user: &str, account: &NewAccount, rights: &DatabaseRights, mysql: bool) -> Result<String, AccountError> {
    let connections = account.connections;
    if mysql {
        let proof = verifier::caching_sha2(&account.password)?;
        return Ok(format!(
            "CREATE USER {user} IDENTIFIED WITH caching_sha2_password AS '{proof}' WITH MAX_USER_CONNECTIONS {connections}"
        ));
    }
    let proof = verifier::native_password(&account.password);
    let limit = rights.statement_timeout.map(|span| format!(" MAX_STATEMENT_TIME {}", span.as_seconds())).unwrap_or_default();
    Ok(format!("CREATE USER {user} IDENTIFIED VIA mysql_native_password USING '{proof}' WITH MAX_USER_CONNECTIONS {connections}{limit}"))
}

pub(super) async fn drop(server: &Server, account: &str) -> Result<(), AccountError> {
    let failed = server.failed(Act::Drop, account);
    let mut db = connect(server, Act::Drop, account).await?;
    let user = format!("{}@'%'", name(account));
    let there = sqlx::query("SELECT 1 FROM mysql.user WHERE user = ?").bind(account).fetch_optional(&mut db).await.map_err(&failed)?;
    if there.is_none() {
        return Ok(());
    }
    run(&mut db, format!("ALTER USER {user} ACCOUNT LOCK"), &failed).await?;
    let mysql = is_mysql(&mut db).await.map_err(&failed)?;
    match tokio::time::timeout(SESSIONS_END, end_sessions(&mut db, account, &user, mysql)).await {
        Ok(ended) => ended.map_err(&failed)?,
        Err(_) => {
            let message = "its sessions do not end".to_owned();
            return Err(AccountError::Refused { act: Act::Drop, name: account.to_owned(), message });
        }
    }
    run(&mut db, format!("DROP USER IF EXISTS {user}"), &failed).await?;
    let _said_goodbye = db.close().await;
    Ok(())
}

/// Ends the account's sessions and waits until the server has none of them any more: what is killed still runs until it looks up.
async fn end_sessions(db: &mut MySqlConnection, account: &str, user: &str, mysql: bool) -> Result<(), sqlx::Error> {
    if mysql {
        // INVARIANT: who finds no sessions of others would have seen them. This table, too, MySQL shows to nobody without `PROCESS`, but
        // says so, where the list of sessions is just short.
        let _may_see = sqlx::query("SELECT 1 FROM information_schema.innodb_trx LIMIT 1").fetch_optional(&mut *db).await?;
    }
    loop {
        if !mysql {
            sqlx::raw_sql(AssertSqlSafe(format!("KILL USER {user}"))).execute(&mut *db).await?;
        }
        let alive = sqlx::query("SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE user = ?").bind(account);
        let alive = alive.fetch_all(&mut *db).await?;
        if alive.is_empty() {
            return Ok(());
        }
        for session in alive.iter().filter(|_| mysql) {
            // One that has gone by itself meanwhile is none that has to be ended; whatever else is wrong, it is still there the next time.
            let _gone = sqlx::raw_sql(AssertSqlSafe(format!("KILL {}", session.get::<String, _>(0)))).execute(&mut *db).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn run(db: &mut MySqlConnection, sql: String, failed: &impl Fn(sqlx::Error) -> AccountError) -> Result<(), AccountError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await.map(|_| ()).map_err(failed)
}
