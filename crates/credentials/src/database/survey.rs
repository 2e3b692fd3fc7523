//! What a database server lets in, and what that may do: its accounts and their rights, read by the administrative account.
//!
//! Which of them are the gate's own is for others to say: a name proves nothing. Roles that come with the server and that nobody signs in as
//! are left out.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Row as _};

use super::leftovers::LEFTOVERS;
use super::{AccountError, Act, Engine, Server, mariadb, postgres};

/// The most rights that are read of one server.
const MOST: usize = 5_000;

/// An account, or a right of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Whose, as people write it: the account, in MariaDB `'name'@'host'`, or `PUBLIC` for everybody.
    pub account: String,
    /// The name of the account, whole and as the server has it; absent: it cannot be told apart from another's.
    pub user: Option<String>,
    /// From where it is used, as the server has it; absent in PostgreSQL, which does not tell accounts apart by it.
    pub host: Option<String>,
    /// Whether it is the account that looked.
    pub looked: bool,
    /// On what, if it is a right; absent: the account itself.
    pub on: Option<String>,
    /// What it may do.
    pub may: String,
}

/// What a server holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its accounts and their rights.
    pub held: Vec<Held>,
    /// Whether there is more than that.
    pub cut: bool,
}

impl Server {
    /// Reads every account that can sign in, and every right that somebody was given in the resource's database.
    ///
    /// # Errors
    /// If the server can't be reached or refuses.
    pub async fn survey(&self) -> Result<Survey, AccountError> {
        let looking = async {
            match self.engine {
                Engine::Postgres => on_postgres(self).await,
                Engine::MariaDb => on_mariadb(self).await,
            }
        };
        let Survey { mut held, mut cut } = self.in_time(Act::Survey, &self.user, looking).await?;
        // Tables that accounts of the gate's left behind belong to it; that it signs in, or may do more, is worth knowing.
        held.retain(|held| held.host.is_some() || held.account != LEFTOVERS || held.may != "owns tables");
        held.sort();
        held.dedup();
        cut |= held.len() > MOST;
        held.truncate(MOST);
        Ok(Survey { held, cut })
    }
}

/// Login roles with what they are beyond that.
const ROLES: &str = "SELECT rolname::text, concat_ws(', ', \
     CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolcreaterole THEN 'makes roles' END, \
     CASE WHEN rolcreatedb THEN 'makes databases' END, CASE WHEN rolreplication THEN 'replicates' END, \
     CASE WHEN rolbypassrls THEN 'passes row security' END) \
     FROM pg_roles WHERE rolcanlogin AND left(rolname, 3) <> 'pg_'";

/// Whose rights these are, on what, and which, of this database: memberships, ownership, tables, columns, functions, schemas, the database.
const RIGHTS: &str = "WITH named AS (SELECT oid, rolname::text AS name FROM pg_roles UNION ALL SELECT 0, 'PUBLIC'), \
     shown AS (SELECT oid, nspname::text AS name, nspowner, nspacl FROM pg_namespace \
         WHERE nspname <> 'information_schema' AND left(nspname, 3) <> 'pg_'), \
     given AS ( \
         SELECT member AS who, 'member of ' || g.name AS on_what, CASE WHEN admin_option THEN 'and gives it on' ELSE 'inherits its rights' END AS may \
             FROM pg_auth_members m JOIN named g ON g.oid = m.roleid \
         UNION ALL SELECT c.relowner, 'schema ' || s.name, 'owns tables' FROM pg_class c JOIN shown s ON s.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
         UNION ALL SELECT a.grantee, 'schema ' || s.name, 'tables: ' || a.privilege_type FROM pg_class c JOIN shown s ON s.oid = c.relnamespace, \
             LATERAL aclexplode(c.relacl) a WHERE a.grantee <> c.relowner \
         UNION ALL SELECT a.grantee, 'schema ' || s.name, 'columns: ' || a.privilege_type FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid \
             JOIN shown s ON s.oid = c.relnamespace, LATERAL aclexplode(t.attacl) a WHERE a.grantee <> c.relowner \
         UNION ALL SELECT a.grantee, 'schema ' || s.name, 'functions: ' || a.privilege_type FROM pg_proc p JOIN shown s ON s.oid = p.pronamespace, \
             LATERAL aclexplode(p.proacl) a WHERE a.grantee <> p.proowner AND a.grantee <> 0 \
         UNION ALL SELECT a.grantee, 'schema ' || s.name, a.privilege_type FROM shown s, LATERAL aclexplode(s.nspacl) a \
             WHERE a.grantee <> s.nspowner AND (a.grantee <> 0 OR a.privilege_type <> 'USAGE') \
         UNION ALL SELECT a.grantee, 'this database', a.privilege_type FROM pg_database d, LATERAL aclexplode(d.datacl) a \
             WHERE d.datname = current_database() AND a.grantee <> d.datdba AND a.grantee <> 0) \
     SELECT n.name, given.on_what, string_agg(DISTINCT given.may, ', ' ORDER BY given.may) \
     FROM given JOIN named n ON n.oid = given.who WHERE left(n.name, 3) <> 'pg_' GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 5000";

async fn on_postgres(server: &Server) -> Result<Survey, AccountError> {
    let failed = server.failed(Act::Survey, &server.user);
    let mut db = postgres::connect(server, None, Act::Survey, &server.user).await?;
    let roles = sqlx::query(ROLES).fetch_all(&mut db).await.map_err(&failed)?;
    let rights = sqlx::query(RIGHTS).fetch_all(&mut db).await.map_err(&failed)?;
    let of = |account: String, on: Option<String>, may: String| {
        let looked = account == server.user;
        Held { user: Some(account.clone()), account, host: None, looked, on, may }
    };
    let mut held: Vec<Held> = roles.iter().map(|row| of(row.get(0), None, row.get(1))).collect();
    held.extend(rights.iter().map(|row| of(row.get(0), Some(row.get(1)), row.get(2))));
    let _said_goodbye = sqlx::Connection::close(db).await;
    Ok(Survey { held, cut: rights.len() >= MOST })
}

/// Accounts, without roles and those that come with the server and are shut.
const USERS: &str = "SELECT CAST(CONCAT('''', User, '''@''', Host, '''') AS CHAR), CAST(CONCAT_WS(', ', IF(plugin = '', NULL, CONCAT('by ', plugin)), \
     IF(Super_priv = 'Y', 'SUPER', NULL), IF(Create_user_priv = 'Y', 'makes accounts', NULL), IF(Grant_priv = 'Y', 'gives on what it has', NULL)) AS CHAR), CAST(User AS CHAR), CAST(Host AS CHAR), CAST(CURRENT_USER() AS CHAR) \
     FROM mysql.user WHERE User NOT IN ('mariadb.sys', 'mysql.sys', 'mysql.session', 'mysql.infoschema') AND ";
/// Which of them are accounts. In MySQL a role is an account like any other, made locked, without a password and expired.
const NO_ROLE: &str = "is_role = 'N'";
const NO_ROLE_OF_MYSQL: &str = "NOT (account_locked = 'Y' AND authentication_string = '' AND password_expired = 'Y')";

/// Whose rights, on what, and which.
const PRIVILEGES: &str = "SELECT CAST(grantee AS CHAR), CAST('everything' AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.user_privileges WHERE privilege_type <> 'USAGE' GROUP BY grantee \
     UNION ALL SELECT CAST(grantee AS CHAR), CAST(CONCAT('database ', table_schema) AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.schema_privileges GROUP BY grantee, table_schema \
     UNION ALL SELECT CAST(grantee AS CHAR), CAST(CONCAT('table ', table_schema, '.', table_name) AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.table_privileges GROUP BY grantee, table_schema, table_name \
     UNION ALL SELECT CAST(grantee AS CHAR), CAST(CONCAT('columns of ', table_schema, '.', table_name) AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.column_privileges GROUP BY grantee, table_schema, table_name LIMIT 5000";

async fn on_mariadb(server: &Server) -> Result<Survey, AccountError> {
    let failed = server.failed(Act::Survey, &server.user);
    let mut db = mariadb::connect(server, Act::Survey, &server.user).await?;
    let no_role = if mariadb::is_mysql(&mut db).await.map_err(&failed)? { NO_ROLE_OF_MYSQL } else { NO_ROLE };
    let users = sqlx::query(AssertSqlSafe(format!("{USERS}{no_role}"))).fetch_all(&mut db).await.map_err(&failed)?;
    // The names of all rights that MySQL knows are longer than what it puts together by itself.
    sqlx::query("SET SESSION group_concat_max_len = 65536").execute(&mut db).await.map_err(&failed)?;
    let rights = sqlx::query(PRIVILEGES).fetch_all(&mut db).await.map_err(&failed)?;
    let _said_goodbye = sqlx::Connection::close(db).await;
    let mut accounts: BTreeMap<String, Held> = BTreeMap::new();
    for row in &users {
        let (user, host): (String, String) = (row.get(2), row.get(3));
        let looked = format!("{user}@{host}") == row.get::<String, _>(4);
        let one = Held { account: row.get(0), user: Some(user), host: Some(host), looked, on: None, may: row.get(1) };
        // Quotes in names make two accounts look the same: then it is neither's.
        accounts.entry(one.account.clone()).and_modify(|same| (same.user, same.looked) = (None, false)).or_insert(one);
    }
    // `''@'%'` and the like: rights of a role that is none of the accounts.
    let cut = rights.len() >= MOST;
    let rights = rights.iter().filter_map(|row| {
        let account = accounts.get(&row.get::<String, _>(0))?;
        Some(Held { on: Some(row.get(1)), may: row.get(2), ..account.clone() })
    });
    let rights: Vec<Held> = rights.collect();
    Ok(Survey { held: accounts.into_values().chain(rights).collect(), cut })
}
