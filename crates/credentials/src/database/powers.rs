//! Who may end what others run at a server.
//!
//! A server lets whoever is nobody special end the sessions of their own account alone. Those here are special: whoever is in as one of them
//! ends anybody's, and what a statement computes before it is run nobody can judge. What a login was given by way of a role counts like its
//! own, whether it has to be put on first or not.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::{AccountError, Act, Engine, Server, mariadb, postgres};

/// Logins that may in PostgreSQL, and by what: themselves, or by a role that they are a member of, however many roles lie between. Before 16
/// whoever makes roles may make themselves a member of any that is no superuser. Whoever runs programs as the server ends what it runs.
const ON_POSTGRES: &str = "SELECT DISTINCT ON (l.rolname) l.rolname::text, \
     CASE WHEN r.rolsuper THEN 'is a superuser' \
         WHEN r.rolname IN ('pg_signal_backend', 'pg_execute_server_program') THEN 'is a member of ' || r.rolname::text \
         ELSE 'makes roles, so that it gives itself pg_signal_backend' END || \
     CASE WHEN r.oid = l.oid OR r.rolname IN ('pg_signal_backend', 'pg_execute_server_program') THEN '' ELSE ' by the role `' || r.rolname::text || '`' END \
     FROM pg_roles l JOIN pg_roles r ON pg_has_role(l.oid, r.oid, 'MEMBER') WHERE l.rolname::text = ANY($1) \
     AND (r.rolsuper OR r.rolname IN ('pg_signal_backend', 'pg_execute_server_program') OR r.rolcreaterole AND current_setting('server_version_num')::int < 160000) \
     ORDER BY l.rolname, r.rolsuper DESC, r.oid = l.oid DESC, r.rolname = 'pg_signal_backend' DESC, \
     r.rolname = 'pg_execute_server_program' DESC, r.rolname";

/// What lets an account do so in MariaDB or MySQL, given on everything.
const ON_MARIADB: [&str; 4] = ["ALL PRIVILEGES", "SUPER", "CONNECTION ADMIN", "CONNECTION_ADMIN"];

/// Accounts and roles of MariaDB, which is which, and which of them were given which role.
const OF_MARIADB: (&str, &str) = (
    "SELECT CAST(User AS CHAR), CAST(Host AS CHAR), CAST(is_role AS CHAR) FROM mysql.user ORDER BY 1, 2",
    "SELECT CAST(User AS CHAR), CAST(Host AS CHAR), CAST(Role AS CHAR), CAST('' AS CHAR) FROM mysql.roles_mapping ORDER BY 3",
);
/// The same of MySQL, where a role is an account like any other.
const OF_MYSQL: (&str, &str) = (
    "SELECT CAST(User AS CHAR), CAST(Host AS CHAR), CAST('N' AS CHAR) FROM mysql.user ORDER BY 1, 2",
    "SELECT CAST(TO_USER AS CHAR), CAST(TO_HOST AS CHAR), CAST(FROM_USER AS CHAR), CAST(FROM_HOST AS CHAR) FROM mysql.role_edges ORDER BY 3, 4",
);
/// The role that everybody has in MariaDB, once it was given anything.
const EVERYBODY: &str = "PUBLIC";
/// The roles that everybody has in MySQL.
const MANDATORY: &str = "SELECT CAST(COALESCE(@@GLOBAL.mandatory_roles, '') AS CHAR)";

/// An account or a role: its name, and its host.
type Named = (String, String);

impl Server {
    /// Which of these logins may end the sessions of others, and what lets them: `is a superuser`, ``has SUPER by the role `dba` ``.
    ///
    /// # Errors
    /// If the server can't be reached or refuses.
    pub async fn who_ends_others(&self, logins: &BTreeSet<String>) -> Result<Vec<(String, String)>, AccountError> {
        let looking = async {
            match self.engine {
                Engine::Postgres => on_postgres(self, logins).await,
                Engine::MariaDb => on_mariadb(self, logins).await,
            }
        };
        self.in_time(Act::Survey, &self.user, looking).await
    }
}

async fn on_postgres(server: &Server, logins: &BTreeSet<String>) -> Result<Vec<(String, String)>, AccountError> {
    let failed = server.failed(Act::Survey, &server.user);
    let mut db = postgres::connect(server, None, Act::Survey, &server.user).await?;
    let asked: Vec<String> = logins.iter().cloned().collect();
    let rows = sqlx::query(ON_POSTGRES).bind(asked).fetch_all(&mut db).await.map_err(&failed)?;
    let _said_goodbye = db.close().await;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn on_mariadb(server: &Server, logins: &BTreeSet<String>) -> Result<Vec<(String, String)>, AccountError> {
    let failed = server.failed(Act::Survey, &server.user);
    let mut db = mariadb::connect(server, Act::Survey, &server.user).await?;
    let looked = ends_others(&mut db, logins).await.map_err(&failed)?;
    let _said_goodbye = db.close().await;
    Ok(looked)
}

async fn ends_others(db: &mut MySqlConnection, logins: &BTreeSet<String>) -> Result<Vec<(String, String)>, sqlx::Error> {
    let mysql = mariadb::is_mysql(db).await?;
    let (who, given) = if mysql { OF_MYSQL } else { OF_MARIADB };
    let rows = sqlx::query(who).fetch_all(&mut *db).await?;
    let known: BTreeMap<Named, bool> = rows.iter().map(|row| ((row.get(0), row.get(1)), row.get::<String, _>(2) == "Y")).collect();
    let rows = sqlx::query(given).fetch_all(&mut *db).await?;
    let mut given: Vec<(Named, Named)> = rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect();
    let everybodys = if mysql {
        listed(&sqlx::query(MANDATORY).fetch_one(&mut *db).await?.get::<String, _>(0))
    } else {
        vec![(EVERYBODY.to_owned(), String::new())]
    };
    // In MariaDB an account may be called like that, too; in MySQL every role is an account.
    for role in everybodys.iter().filter(|role| known.get(role) == Some(&!mysql)) {
        given.extend(known.keys().map(|one| (one.clone(), role.clone())));
    }
    let mut found = Vec::new();
    for login in known.keys().filter(|(name, _)| logins.contains(name)) {
        for by in with_roles(login, &given) {
            let Some(is_role) = known.get(by) else { continue };
            let Some(right) = right_of(db, by, *is_role).await? else { continue };
            let way = if by == login { String::new() } else { format!(" by the role `{}`", by.0) };
            found.push((login.0.clone(), format!("has {right}{way}")));
            break;
        }
    }
    found.dedup();
    Ok(found)
}

/// The roles in a list as MySQL keeps it, quoted or not, from any host if none is named.
fn listed(text: &str) -> Vec<Named> {
    let (mut all, mut one, mut at_host, mut quoted_by) = (Vec::new(), Named::default(), false, None::<char>);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let part = if at_host { &mut one.1 } else { &mut one.0 };
        match (quoted_by, letter) {
            (Some(mark), _) if mark != letter || letters.next_if_eq(&mark).is_some() => part.push(letter),
            (Some(_), _) => quoted_by = None,
            (None, '`' | '\'' | '"') => quoted_by = Some(letter),
            (None, '@') => at_host = true,
            (None, ',') => {
                all.push(std::mem::take(&mut one));
                at_host = false;
            }
            (None, blank) if blank.is_whitespace() => {}
            (None, _) => part.push(letter),
        }
    }
    all.push(one);
    let any = |host: String| if host.is_empty() { "%".to_owned() } else { host.to_ascii_lowercase() };
    all.into_iter().filter(|(name, _)| !name.is_empty()).map(|(name, host)| (name, any(host))).collect()
}

/// An account, the roles that it was given, and those that these were given, the nearest first.
fn with_roles<'a>(account: &'a Named, given: &'a [(Named, Named)]) -> Vec<&'a Named> {
    let mut all = vec![account];
    let mut next = 0;
    while let Some(one) = all.get(next).copied() {
        next += 1;
        for (_, role) in given.iter().filter(|(to, _)| to == one) {
            if !all.contains(&role) {
                all.push(role);
            }
        }
    }
    all
}

/// What lets an account, or a role by itself, end others' sessions.
async fn right_of(db: &mut MySqlConnection, (user, host): &Named, is_role: bool) -> Result<Option<&'static str>, sqlx::Error> {
    let whose = match (user.as_str(), is_role) {
        (EVERYBODY, true) => EVERYBODY.to_owned(),
        (_, true) => mariadb::name(user),
        (_, false) => format!("{}@{}", mariadb::name(user), mariadb::name(host)),
    };
    let shown = sqlx::raw_sql(AssertSqlSafe(format!("SHOW GRANTS FOR {whose}"))).fetch_all(&mut *db).await?;
    Ok(shown.iter().find_map(|row| lets_end_others(&row.get::<String, _>(0))))
}

/// What a line of `SHOW GRANTS` gives that lets its account end others' sessions.
fn lets_end_others(line: &str) -> Option<&'static str> {
    let (given, _) = line.strip_prefix("GRANT ")?.split_once(" ON *.* TO ")?;
    ON_MARIADB.into_iter().find(|right| given.split(',').any(|given| given.trim() == *right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_on_everything_counts() {
        assert_eq!(lets_end_others("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"), Some("ALL PRIVILEGES"));
        assert_eq!(lets_end_others("GRANT SELECT, PROCESS, CONNECTION ADMIN ON *.* TO `app`@`%`"), Some("CONNECTION ADMIN"));
        assert_eq!(lets_end_others("GRANT SUPER ON *.* TO `old`@`%`"), Some("SUPER"));
        let dynamic = "GRANT BACKUP_ADMIN,CONNECTION_ADMIN,ROLE_ADMIN ON *.* TO `app`@`%`";
        assert_eq!(lets_end_others(dynamic), Some("CONNECTION_ADMIN"), "as MySQL writes it");
        for line in [
            "GRANT ALL PRIVILEGES ON `shop`.* TO `app`@`%`",
            "GRANT SELECT ON *.* TO `SUPER`@`%`",
            "GRANT `SUPER` TO `app`@`%`",
            "GRANT REPLICATION SLAVE ADMIN ON *.* TO `app`@`%`",
            "",
        ] {
            assert_eq!(lets_end_others(line), None, "{line}");
        }
    }

    #[test]
    fn lists_of_roles_are_read_as_mysql_keeps_them() {
        let named = |name: &str, host: &str| (name.to_owned(), host.to_owned());
        assert_eq!(listed("ops, `d,b``a`@`%`,'x y'@Example.org"), [named("ops", "%"), named("d,b`a", "%"), named("x y", "example.org")]);
        assert_eq!((listed(""), listed(" , ")), (Vec::new(), Vec::new()));
    }

    #[test]
    fn roles_of_roles_count_and_circles_end() {
        let named = |name: &str| (name.to_owned(), String::new());
        let given = [("app", "reader"), ("app", "ops"), ("ops", "dba"), ("dba", "ops"), ("other", "root")];
        let given: Vec<_> = given.iter().map(|(to, role)| (named(to), named(role))).collect();
        let app = named("app");
        let all: Vec<&str> = with_roles(&app, &given).into_iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(all, ["app", "reader", "ops", "dba"]);
    }
}
