//! What a database server lets in, and what that may do: its accounts and their rights, read by the administrative account.
//!
//! Accounts of the gate's own, for grants, are left out, and so are roles that come with the server and that nobody signs in as.

use sqlx::Row as _;

use super::leftovers::LEFTOVERS;
use super::{AccountError, Act, Engine, Server, is_ours, mariadb, postgres};

/// The most rights that are read of one server.
const MOST: usize = 5_000;

/// An account, or a right of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// Whose: the account, or `PUBLIC` for everybody.
    pub account: String,
    /// On what, if it is a right; absent: the account itself.
    pub on: Option<String>,
    /// What it may do.
    pub may: String,
}

impl Server {
    /// Reads every account that can sign in, and every right that somebody was given in the resource's database.
    ///
    /// # Errors
    /// If the server can't be reached or refuses.
    pub async fn survey(&self) -> Result<Vec<Held>, AccountError> {
        let looking = async {
            match self.engine {
                Engine::Postgres => on_postgres(self).await,
                Engine::MariaDb => on_mariadb(self).await,
            }
        };
        let mut held = self.in_time(Act::Survey, &self.user, looking).await?;
        held.retain(|held| !is_ours(name_of(&held.account)) && held.account != LEFTOVERS);
        held.sort();
        held.dedup();
        held.truncate(MOST);
        Ok(held)
    }
}

/// The name in `'name'@'host'`, or the whole.
fn name_of(account: &str) -> &str {
    account.split('@').next().unwrap_or_default().trim_matches('\'')
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

async fn on_postgres(server: &Server) -> Result<Vec<Held>, AccountError> {
    let failed = server.failed(Act::Survey, &server.user);
    let mut db = postgres::connect(server, None, Act::Survey, &server.user).await?;
    let roles = sqlx::query(ROLES).fetch_all(&mut db).await.map_err(&failed)?;
    let rights = sqlx::query(RIGHTS).fetch_all(&mut db).await.map_err(&failed)?;
    let mut held: Vec<Held> = roles.iter().map(|row| Held { account: row.get(0), on: None, may: row.get(1) }).collect();
    held.extend(rights.iter().map(|row| Held { account: row.get(0), on: Some(row.get(1)), may: row.get(2) }));
    let _said_goodbye = sqlx::Connection::close(db).await;
    Ok(held)
}

/// Accounts, without roles and those that come with the server and are shut.
const USERS: &str = "SELECT CAST(CONCAT('''', User, '''@''', Host, '''') AS CHAR), CAST(CONCAT_WS(', ', IF(plugin = '', NULL, CONCAT('by ', plugin)), \
     IF(Super_priv = 'Y', 'SUPER', NULL), IF(Create_user_priv = 'Y', 'makes accounts', NULL), IF(Grant_priv = 'Y', 'gives on what it has', NULL)) AS CHAR) \
     FROM mysql.user WHERE is_role = 'N' AND User NOT IN ('mariadb.sys', 'mysql.sys', 'mysql.session', 'mysql.infoschema')";

/// Whose rights, on what, and which.
const PRIVILEGES: &str = "SELECT CAST(grantee AS CHAR), CAST('everything' AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.user_privileges WHERE privilege_type <> 'USAGE' GROUP BY grantee \
     UNION ALL SELECT CAST(grantee AS CHAR), CAST(CONCAT('database ', table_schema) AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.schema_privileges GROUP BY grantee, table_schema \
     UNION ALL SELECT CAST(grantee AS CHAR), CAST(CONCAT('table ', table_schema, '.', table_name) AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.table_privileges GROUP BY grantee, table_schema, table_name \
     UNION ALL SELECT CAST(grantee AS CHAR), CAST(CONCAT('columns of ', table_schema, '.', table_name) AS CHAR), CAST(GROUP_CONCAT(DISTINCT privilege_type ORDER BY privilege_type SEPARATOR ', ') AS CHAR) \
     FROM information_schema.column_privileges GROUP BY grantee, table_schema, table_name LIMIT 5000";

async fn on_mariadb(server: &Server) -> Result<Vec<Held>, AccountError> {
    let failed = server.failed(Act::Survey, &server.user);
    let mut db = mariadb::connect(server, Act::Survey, &server.user).await?;
    let users = sqlx::query(USERS).fetch_all(&mut db).await.map_err(&failed)?;
    let rights = sqlx::query(PRIVILEGES).fetch_all(&mut db).await.map_err(&failed)?;
    let mut held: Vec<Held> = users.iter().map(|row| Held { account: row.get(0), on: None, may: row.get(1) }).collect();
    held.extend(rights.iter().map(|row| Held { account: row.get(0), on: Some(row.get(1)), may: row.get(2) }));
    let _said_goodbye = sqlx::Connection::close(db).await;
    // `''@'%'` and the like: rights of a role that is none of the accounts.
    let accounts: Vec<String> = held.iter().filter(|held| held.on.is_none()).map(|held| held.account.clone()).collect();
    held.retain(|held| held.on.is_none() || accounts.contains(&held.account));
    Ok(held)
}
