//! What an account leaves behind in PostgreSQL.
//!
//! A restricted account owns nothing if its server lets nobody make things; where `PUBLIC` may make things in a schema, or a listed
//! procedure makes a table, it can. Its views and its `SECURITY DEFINER` functions run with the rights of their owner. So they must
//! never belong to anybody with more rights than the account had, or its end would be its way up.
//!
//! What runs is dropped; tables keep their rows and nobody's grants. They, and what others depend on, go to [`LEFTOVERS`], a role
//! without any right that nobody signs in as.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{AccountError, Act};

/// Who owns what accounts left behind.
pub(super) const LEFTOVERS: &str = "tg_leftovers";

/// Drops what can be dropped of what runs: first what runs by itself on the account's tables, then everything that is no data, until
/// nothing more goes. What others depend on stays. Grants on what stays are revoked. `ACCOUNT` is replaced by a literal.
const DROP_WHAT_RUNS: &str = r"DO $tidegate$
DECLARE
    account oid := (SELECT oid FROM pg_roles WHERE rolname = ACCOUNT);
    thing record;
    gone int;
BEGIN
    FOR thing IN
        SELECT format('DROP TRIGGER %I ON %s', t.tgname, c.oid::regclass) AS act
            FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relowner = account AND NOT t.tgisinternal
        UNION ALL SELECT format('DROP RULE %I ON %s', r.rulename, c.oid::regclass)
            FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relowner = account AND r.rulename <> '_RETURN'
        UNION ALL SELECT format('DROP POLICY %I ON %s', p.polname, c.oid::regclass)
            FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relowner = account
        UNION ALL SELECT format('REVOKE ALL ON TABLE %s FROM %s CASCADE', c.oid::regclass,
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
            FROM pg_class c, LATERAL (
                SELECT grantee FROM aclexplode(c.relacl)
                UNION SELECT e.grantee FROM pg_attribute t, LATERAL aclexplode(t.attacl) e WHERE t.attrelid = c.oid) a
            WHERE c.relowner = account AND c.relkind IN ('r', 'p', 'S') AND a.grantee <> account
        UNION ALL SELECT format('REVOKE ALL ON SCHEMA %I FROM %s CASCADE', n.nspname,
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
            FROM pg_namespace n, LATERAL aclexplode(n.nspacl) a WHERE n.nspowner = account AND a.grantee <> account
    LOOP
        BEGIN EXECUTE thing.act; EXCEPTION WHEN OTHERS THEN NULL; END;
    END LOOP;
    LOOP
        gone := 0;
        FOR thing IN
            SELECT format('DROP %s %s', i.type, i.identity) AS act
                FROM pg_shdepend s, LATERAL pg_identify_object(s.classid, s.objid, s.objsubid) i
                WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.deptype = 'o'
                AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = account
                AND i.type NOT IN ('table', 'sequence', 'schema', 'large object')
        LOOP
            BEGIN EXECUTE thing.act; gone := gone + 1; EXCEPTION WHEN OTHERS THEN NULL; END;
        END LOOP;
        EXIT WHEN gone = 0;
    END LOOP;
END $tidegate$";

/// Makes the role that owns what is left, unless it is there.
const MAKE_LEFTOVERS: &str = "DO $tidegate$ BEGIN \
     CREATE ROLE tg_leftovers NOLOGIN NOSUPERUSER NOINHERIT NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS; \
     EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $tidegate$";

/// Whether the role that owns what is left has come to rights.
const HAS_RIGHTS: &str = "SELECT rolsuper OR rolcanlogin OR rolbypassrls OR rolcreaterole OR \
     EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid) FROM pg_roles r WHERE rolname = $1";

/// Only members may hand things to a role. A superuser is everything already.
pub(super) fn join(role: &str) -> String {
    format!(
        "DO $tidegate$ BEGIN IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN GRANT {role} TO CURRENT_USER; END IF; END $tidegate$"
    )
}

/// Clears one database of what `account` owns and was granted there. `role` is its name, quoted.
pub(super) async fn clear(
    db: &mut PgConnection,
    account: &str,
    role: &str,
    failed: &impl Fn(sqlx::Error) -> AccountError,
) -> Result<(), AccountError> {
    const OWNS: &str = "SELECT EXISTS (SELECT FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid WHERE r.rolname = $1 \
         AND s.refclassid = 'pg_authid'::regclass AND s.deptype = 'o' \
         AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))";
    if asks(db, OWNS, account, failed).await? {
        run(db, DROP_WHAT_RUNS.replace("ACCOUNT", &format!("'{account}'")), failed).await?;
        run(db, MAKE_LEFTOVERS.to_owned(), failed).await?;
        if asks(db, HAS_RIGHTS, LEFTOVERS, failed).await? {
            let message = format!("`{LEFTOVERS}` was given rights, and what accounts leave behind would run with them; take them away");
            return Err(AccountError::Refused { act: Act::Drop, name: account.to_owned(), message });
        }
        run(db, join(LEFTOVERS), failed).await?;
        run(db, format!("REASSIGN OWNED BY {role} TO {LEFTOVERS}"), failed).await?;
    }
    run(db, format!("DROP OWNED BY {role}"), failed).await
}

async fn asks(
    db: &mut PgConnection,
    sql: &'static str,
    name: &str,
    failed: &impl Fn(sqlx::Error) -> AccountError,
) -> Result<bool, AccountError> {
    sqlx::query(sql).bind(name).fetch_one(db).await.map(|row| row.get(0)).map_err(failed)
}

pub(super) async fn run(db: &mut PgConnection, sql: String, failed: &impl Fn(sqlx::Error) -> AccountError) -> Result<(), AccountError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await.map(|_| ()).map_err(failed)
}
