//! Accounts on real servers: they may do what the role says and nothing else, and afterwards nothing of them is left.

use std::process::{Command, Output, Stdio};

use access::rights::{Columns, DatabaseRights, TableRights};
use access::secret::Secret;
use access::session::TargetTls;

use super::{AccountError, Engine, NewAccount, Server, random_password};

fn some(names: &[&str]) -> Columns {
    Columns::Only(names.iter().map(|name| (*name).to_owned()).collect())
}

fn rights(schema: &str) -> DatabaseRights {
    let orders = TableRights { select: Columns::All, insert: Columns::All, update: some(&["status"]), ..TableRights::default() };
    let customers = TableRights { select: some(&["id", "name"]), ..TableRights::default() };
    let tables = [("orders", orders), ("customers", customers)];
    DatabaseRights {
        tables: tables.into_iter().map(|(name, rights)| (format!("{schema}.{name}").parse().unwrap(), rights)).collect(),
        functions: [format!("{schema}.ship").parse().unwrap()].into(),
        ..DatabaseRights::default()
    }
}

fn account() -> NewAccount {
    #[expect(clippy::disallowed_methods, reason = "names must differ on a server that outlives the test, and nothing else is read from it")]
    let now = jiff::Timestamp::now();
    NewAccount {
        name: access::account::login_of(access::ids::AccountId::generate(now)),
        password: random_password().unwrap(),
        until: None,
        connections: 4,
    }
}

mod postgres {
    use testkit::postgres::{Database, Proof};

    use super::*;

    async fn shop() -> (Database, Server) {
        let database = Database::fresh().await.unwrap();
        database
            .query(
                "CREATE TABLE orders (id serial PRIMARY KEY, status text, total numeric); CREATE TABLE customers (id int, name text, card text); \
                 CREATE TABLE payments (id int); INSERT INTO customers VALUES (1, 'Kim', '4111'); \
                 CREATE FUNCTION ship(int) RETURNS int LANGUAGE sql AS 'SELECT $1'; REVOKE ALL ON FUNCTION ship FROM PUBLIC; \
                 CREATE FUNCTION hidden() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION hidden FROM PUBLIC; \
                 CREATE SCHEMA open; GRANT ALL ON SCHEMA open TO PUBLIC",
            )
            .unwrap();
        let user = database.account("maker", "maker-password", Proof::Scram).unwrap();
        let server = Server {
            engine: Engine::Postgres,
            host: "127.0.0.1".into(),
            port: database.port(),
            database: Some(database.name().to_owned()),
            tls: TargetTls::Authority(Database::authority().unwrap()),
            guarded_allowed: true,
            user,
            password: Secret::new("maker-password".to_owned()),
        };
        (database, server)
    }

    fn psql(database: &Database, account: &NewAccount, sql: &str) -> Output {
        Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &database.port().to_string()])
            .args(["-U", &account.name, "-d", database.name(), "-c", sql])
            .env("PGPASSWORD", account.password.expose())
            .env("PGSSLMODE", "require")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn may(database: &Database, account: &NewAccount, sql: &str) -> String {
        let out = psql(database, account, sql);
        assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    #[track_caller]
    fn may_not(database: &Database, account: &NewAccount, sql: &str) {
        let out = psql(database, account, sql);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains("permission denied"), "{sql}: {said}");
    }

    // covers: CRED-3 (postgres)
    #[tokio::test]
    async fn an_account_may_do_what_the_role_says_and_nothing_else() {
        let (database, server) = shop().await;
        let account = account();
        server.make(&account, &rights("public")).await.unwrap();
        database.admin(&format!("GRANT needs_scram TO {}", account.name)).unwrap();
        may(&database, &account, "INSERT INTO orders (status) VALUES ('new')");
        assert_eq!(may(&database, &account, "SELECT id, status FROM orders"), "1|new");
        may(&database, &account, "UPDATE orders SET status = 'sent'");
        assert_eq!(may(&database, &account, "SELECT name FROM customers"), "Kim");
        assert_eq!(may(&database, &account, "SELECT ship(3)"), "3");
        assert_eq!(may(&database, &account, "SHOW search_path"), "public, pg_temp");
        may_not(&database, &account, "UPDATE orders SET total = 0");
        may_not(&database, &account, "DELETE FROM orders");
        may_not(&database, &account, "SELECT card FROM customers");
        may_not(&database, &account, "SELECT * FROM customers");
        may_not(&database, &account, "SELECT * FROM payments");
        may_not(&database, &account, "SELECT hidden()");
        may_not(&database, &account, "CREATE TABLE x (id int)");
        let wrong = NewAccount { password: Secret::new("wrong".to_owned()), ..account.clone() };
        assert!(!psql(&database, &wrong, "SELECT 1").status.success());
        server.drop(&account.name).await.unwrap();
        assert!(!psql(&database, &account, "SELECT 1").status.success());
    }

    // covers: D6 (postgres), CRED-3 (postgres)
    #[tokio::test]
    async fn nothing_is_left_of_an_account_that_owned_things_and_had_live_sessions() {
        let (database, server) = shop().await;
        let account = account();
        // Other tests have accounts of their own at the same server.
        let there = format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", account.name);
        assert_eq!(database.query(&there).unwrap(), "0");
        server.make(&account, &rights("public")).await.unwrap();
        assert_eq!(database.query(&there).unwrap(), "1");
        may(&database, &account, "CREATE TABLE open.mine AS SELECT 1 AS n");
        let mut sleeper = Command::new("psql")
            .args(["-X", "-h", "127.0.0.1", "-p", &database.port().to_string(), "-U", &account.name, "-d", database.name()])
            .args(["-c", "BEGIN", "-c", "LOCK TABLE open.mine", "-c", "SELECT pg_sleep(600)"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sleeping = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND wait_event = 'PgSleep'", account.name);
        while database.query(&sleeping).unwrap() != "1" {
            tokio::task::yield_now().await;
        }
        server.drop(&account.name).await.unwrap();
        assert!(!sleeper.wait().unwrap().success(), "its session ended with it");
        assert_eq!(database.query(&there).unwrap(), "0");
        let rights_left =
            "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee <> 0 AND pg_get_userbyid(a.grantee) LIKE 'unknown%'";
        assert_eq!(database.query(rights_left).unwrap(), "0");
        assert_eq!(database.query("SELECT n FROM open.mine").unwrap(), "1", "what it made is not lost");
        server.drop(&account.name).await.unwrap();
        assert!(matches!(server.drop("postgres").await, Err(AccountError::NotOurs(_))));
    }

    #[tokio::test]
    async fn what_fails_leaves_nothing_behind_and_says_why() {
        let (database, server) = shop().await;
        let mut wrong = rights("public");
        wrong.tables.insert("public.gone".parse().unwrap(), TableRights { select: Columns::All, ..TableRights::default() });
        let account = account();
        let error = server.make(&account, &wrong).await.unwrap_err().to_string();
        assert!(error.contains("relation \"public.gone\" does not exist"), "{error}");
        assert_eq!(database.query(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{}'", account.name)).unwrap(), "0");
        let mut wrong = rights("public");
        wrong.functions.insert("public.gone".parse().unwrap());
        assert!(matches!(server.make(&account, &wrong).await, Err(AccountError::NoSuchThing(_))));
        let elsewhere = Server { guarded_allowed: false, ..server.clone() };
        assert!(matches!(elsewhere.make(&account, &rights("public")).await, Err(AccountError::Guarded(_))));
        let untrusted = Server { tls: TargetTls::Public, ..server };
        assert!(matches!(untrusted.make(&account, &rights("public")).await, Err(AccountError::Unreachable { .. })));
    }
}

mod mariadb {
    use testkit::mariadb::{ADMIN, Database};

    use super::*;

    async fn shop() -> (Database, Server) {
        let database = Database::fresh().await.unwrap();
        database
            .query(
                "CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, status text, total int); CREATE TABLE customers (id int, name text, card text); \
                 CREATE TABLE payments (id int); INSERT INTO customers VALUES (1, 'Kim', '4111'); \
                 CREATE FUNCTION ship(n int) RETURNS int DETERMINISTIC RETURN n",
            )
            .unwrap();
        let server = Server {
            engine: Engine::MariaDb,
            host: "127.0.0.1".into(),
            port: database.port(),
            database: None,
            tls: TargetTls::Authority(Database::authority().unwrap()),
            guarded_allowed: true,
            user: ADMIN.0.into(),
            password: Secret::new(ADMIN.1.to_owned()),
        };
        (database, server)
    }

    fn client(database: &Database, account: &NewAccount) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-h", "127.0.0.1", "-P", &database.port().to_string(), "-u", &account.name]);
        command.args([&format!("-p{}", account.password.expose()), "-N", "-B", database.name()]).stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn may(database: &Database, account: &NewAccount, sql: &str) -> String {
        let out = client(database, account).args(["-e", sql]).output().unwrap();
        assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    #[track_caller]
    fn may_not(database: &Database, account: &NewAccount, sql: &str) {
        let out = client(database, account).args(["-e", sql]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains("denied"), "{sql}: {said}");
    }

    // covers: CRED-3 (mysql)
    #[tokio::test]
    async fn an_account_may_do_what_the_role_says_and_nothing_else() {
        let (database, server) = shop().await;
        let account = account();
        server.make(&account, &rights(database.name())).await.unwrap();
        may(&database, &account, "INSERT INTO orders (status) VALUES ('new')");
        assert_eq!(may(&database, &account, "SELECT id, status FROM orders"), "1\tnew");
        may(&database, &account, "UPDATE orders SET status = 'sent'");
        assert_eq!(may(&database, &account, "SELECT name FROM customers"), "Kim");
        assert_eq!(may(&database, &account, "SELECT ship(3)"), "3");
        may_not(&database, &account, "UPDATE orders SET total = 0");
        may_not(&database, &account, "DELETE FROM orders");
        may_not(&database, &account, "SELECT card FROM customers");
        may_not(&database, &account, "SELECT * FROM customers");
        may_not(&database, &account, "SELECT * FROM payments");
        may_not(&database, &account, "CREATE TABLE x (id int)");
        server.drop(&account.name).await.unwrap();
        assert!(!client(&database, &account).args(["-e", "SELECT 1"]).output().unwrap().status.success());
    }

    // covers: D6 (mysql), CRED-3 (mysql)
    #[tokio::test]
    async fn nothing_is_left_of_an_account_that_had_live_sessions() {
        let (database, server) = shop().await;
        let account = account();
        server.make(&account, &rights(database.name())).await.unwrap();
        let mut sleeper =
            client(&database, &account).args(["-e", "SELECT SLEEP(600)"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let sleeping =
            format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}' AND state = 'User sleep'", account.name);
        while database.query(&sleeping).unwrap() != "1" {
            tokio::task::yield_now().await;
        }
        server.drop(&account.name).await.unwrap();
        assert!(!sleeper.wait().unwrap().success(), "its session ended with it");
        assert_eq!(database.query(&format!("SELECT COUNT(*) FROM mysql.user WHERE user = '{}'", account.name)).unwrap(), "0");
        server.drop(&account.name).await.unwrap();
        let mut wrong = rights(database.name());
        wrong
            .tables
            .insert(format!("{}.gone", database.name()).parse().unwrap(), TableRights { select: Columns::All, ..TableRights::default() });
        assert!(server.make(&account, &wrong).await.is_err());
        assert_eq!(database.query(&format!("SELECT COUNT(*) FROM mysql.user WHERE user = '{}'", account.name)).unwrap(), "0");
    }
}
