//! Who may end what others run at a server.
//!
//! A server lets whoever is nobody special end the sessions of their own account alone. Those here are special: whoever is in as one of them
//! ends anybody's, and what a statement computes before it is run nobody can judge.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::{AccountError, Act, Engine, Server, mariadb, postgres};

/// Logins that may in PostgreSQL, and by what.
const ON_POSTGRES: &str = "SELECT rolname::text, CASE WHEN rolsuper THEN 'is a superuser' ELSE 'is a member of pg_signal_backend' END::text \
     FROM pg_roles WHERE rolname::text = ANY($1) AND (rolsuper OR pg_has_role(oid, 'pg_signal_backend', 'MEMBER')) ORDER BY 1";

/// What lets an account do so in MariaDB, given on everything.
const ON_MARIADB: [&str; 3] = ["ALL PRIVILEGES", "SUPER", "CONNECTION ADMIN"];

impl Server {
    /// Which of these logins may end the sessions of others, and what lets them: `is a superuser`, `has SUPER`.
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
    let known = "SELECT CAST(User AS CHAR), CAST(Host AS CHAR), CAST(is_role AS CHAR) FROM mysql.user ORDER BY 1, 2";
    let known = sqlx::query(known).fetch_all(&mut db).await.map_err(&failed)?;
    let known: Vec<(String, String, String)> = known.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let mut found = Vec::new();
    for (user, host, is_role) in known {
        if !logins.contains(&user) {
            continue;
        }
        let user_ = mariadb::name(&user);
        let whose = if is_role == "Y" { user_ } else { format!("{user_}@{}", mariadb::name(&host)) };
        let shown = sqlx::raw_sql(AssertSqlSafe(format!("SHOW GRANTS FOR {whose}"))).fetch_all(&mut db).await.map_err(&failed)?;
        let by = shown.iter().find_map(|row| lets_end_others(&row.get::<String, _>(0)));
        found.extend(by.map(|by| (user, format!("has {by}"))));
    }
    let _said_goodbye = db.close().await;
    Ok(found)
}

/// What a line of `SHOW GRANTS` gives that lets its account end others' sessions.
fn lets_end_others(line: &str) -> Option<&'static str> {
    let (given, _) = line.strip_prefix("GRANT ")?.split_once(" ON *.* TO ")?;
    ON_MARIADB.into_iter().find(|right| given.split(", ").any(|given| given == *right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_on_everything_counts() {
        assert_eq!(lets_end_others("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"), Some("ALL PRIVILEGES"));
        assert_eq!(lets_end_others("GRANT SELECT, PROCESS, CONNECTION ADMIN ON *.* TO `app`@`%`"), Some("CONNECTION ADMIN"));
        assert_eq!(lets_end_others("GRANT SUPER ON *.* TO `old`@`%`"), Some("SUPER"));
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
}
