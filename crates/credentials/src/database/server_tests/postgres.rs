//! Accounts in a real PostgreSQL.

use super::super::dial::Way;
use super::super::{Act, postgres};
use sqlx::Row as _;
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
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.drop(&account.name).await.unwrap();
    assert!(!sleeper.wait().unwrap().success(), "its session ended with it");
    assert_eq!(database.query(&there).unwrap(), "0");
    let rights_left =
        "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE a.grantee <> 0 AND pg_get_userbyid(a.grantee) LIKE 'unknown%'";
    assert_eq!(database.query(rights_left).unwrap(), "0");
    assert_eq!(database.query("SELECT n FROM open.mine").unwrap(), "1", "what it wrote down is not lost");
    server.drop(&account.name).await.unwrap();
    assert!(matches!(server.drop("postgres").await, Err(AccountError::NotOurs(_))));
}

// covers: D6 (postgres), B1 (postgres)
#[tokio::test]
async fn what_an_account_leaves_behind_belongs_to_nobody_with_rights_and_runs_for_nobody() {
    let (database, server) = shop().await;
    database.query("INSERT INTO payments VALUES (7)").unwrap();
    let (maker, other) = (account(), account());
    server.make(&maker, &rights("public")).await.unwrap();
    server.make(&other, &rights("public")).await.unwrap();
    may(
        &database,
        &maker,
        "CREATE TABLE open.mine AS SELECT id, name FROM customers; GRANT ALL ON open.mine TO PUBLIC; GRANT SELECT (name) ON open.mine TO PUBLIC; \
         CREATE VIEW open.paid AS SELECT * FROM payments; GRANT SELECT ON open.paid TO PUBLIC; \
         CREATE FUNCTION open.count() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.payments'; \
         CREATE FUNCTION open.kept() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM public.payments'; \
         CREATE FUNCTION open.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; \
         CREATE TRIGGER fires BEFORE INSERT ON open.mine FOR EACH ROW EXECUTE FUNCTION open.fires(); \
         CREATE OPERATOR open.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    );
    // Somebody with rights uses one of its functions, so that it cannot be dropped.
    database.query("CREATE VIEW counted AS SELECT open.kept() AS n; GRANT SELECT ON counted TO PUBLIC").unwrap();
    assert_eq!(may(&database, &other, "SELECT name FROM open.mine"), "Kim");
    for act in ["SELECT * FROM open.paid", "SELECT open.count()", "SELECT open.kept()"] {
        may_not(&database, &other, act);
    }
    server.drop(&maker.name).await.unwrap();
    // Nothing of it does more than it did.
    for act in ["SELECT open.kept()", "SELECT * FROM open.mine", "SELECT name FROM open.mine"] {
        may_not(&database, &other, act);
    }
    for act in ["SELECT * FROM open.paid", "SELECT open.count()", "SELECT 1 OPERATOR(open.===) 1"] {
        let out = psql(&database, &other, act);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && said.contains("does not exist"), "{act}: {said}");
    }
    assert_eq!(database.query("SELECT name FROM open.mine").unwrap(), "Kim", "what it wrote down is not lost");
    assert_eq!(database.query("SELECT count(*) FROM pg_trigger WHERE tgname = 'fires'").unwrap(), "0");
    let owner = "SELECT DISTINCT pg_get_userbyid(o) FROM (SELECT relowner o FROM pg_class WHERE relname = 'mine' \
                 UNION ALL SELECT proowner FROM pg_proc WHERE proname = 'kept') x";
    assert_eq!(database.query(owner).unwrap(), "tg_leftovers");
    server.drop(&other.name).await.unwrap();
}

// covers: D6 (postgres)
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_still_being_made_is_not_taken_for_one_that_is_gone() {
    let (database, server) = shop().await;
    let name = account().name;
    // Who makes it is at its commit when the gate gives up waiting.
    let mut making = Command::new("psql")
        .args(["-X", "-q", "-h", "127.0.0.1", "-p", &database.port().to_string(), "-U", &server.user, "-d", database.name()])
        .env("PGPASSWORD", server.password.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = making.stdin.take().unwrap();
    writeln!(said, "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{name}', 0)); CREATE ROLE {name} LOGIN;").unwrap();
    let locks = |granted: bool| {
        let count = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = {granted} AND database = \
             (SELECT oid FROM pg_database WHERE datname = current_database())"
        );
        database.query(&count).unwrap()
    };
    while locks(true) != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let dropping = tokio::spawn({
        let (server, name) = (server.clone(), name.clone());
        async move { server.drop(&name).await }
    });
    while locks(false) != "1" {
        assert!(!dropping.is_finished(), "it was taken for gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writeln!(said, "COMMIT;").unwrap();
    dropping.await.unwrap().unwrap();
    drop(said);
    making.wait().unwrap();
    assert_eq!(database.query(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{name}'")).unwrap(), "0");
    // And who makes one holds the same lock to the end.
    let mut other = account();
    other.name.clone_from(&name);
    let mut holding = Command::new("psql")
        .args(["-X", "-q", "-h", "127.0.0.1", "-p", &database.port().to_string(), "-U", &server.user, "-d", database.name()])
        .env("PGPASSWORD", server.password.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = holding.stdin.take().unwrap();
    writeln!(said, "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{name}', 0));").unwrap();
    while locks(true) != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let making = tokio::spawn({
        let server = server.clone();
        async move { server.make(&other, &rights("public")).await }
    });
    while locks(false) != "1" {
        assert!(!making.is_finished(), "it did not wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(said);
    making.await.unwrap().unwrap();
    holding.wait().unwrap();
    server.drop(&name).await.unwrap();
}

// covers: B6 (postgres)
#[tokio::test]
async fn the_address_that_was_judged_is_the_one_that_is_dialled_and_the_name_is_still_proved() {
    let (database, server) = shop().await;
    // By now the name means nothing; what it meant when it was looked at is what counts.
    let elsewhere = Server { host: "orders.invalid".into(), tls: TargetTls::Plain, ..server.clone() };
    let address = [([127, 0, 0, 1], database.port()).into()];
    let judged = || Way::to(&address, database.port());
    let way = judged().await.unwrap();
    let mut db = postgres::connect_through(&way, &elsewhere, None, Act::Make, "x").await.unwrap();
    let found: i32 = sqlx::query("SELECT 41 + 1").fetch_one(&mut db).await.unwrap().get(0);
    assert_eq!(found, 42);
    let way = judged().await.unwrap();
    let unproved = Server { tls: server.tls.clone(), ..elsewhere.clone() };
    let refused = postgres::connect_through(&way, &unproved, None, Act::Make, "x").await.unwrap_err();
    assert!(format!("{refused:?}").contains("NotValidForName"), "{refused:?}");
    let way = judged().await.unwrap();
    postgres::connect_through(&way, &server, None, Act::Make, "x").await.unwrap();
    // A name that leads to the gate's own machine is refused for what it is to be done.
    let local = Server { host: "localhost".into(), guarded_allowed: false, ..server };
    assert!(matches!(local.drop(&account().name).await, Err(AccountError::Guarded(_))));
    let nowhere = Server { guarded_allowed: false, ..elsewhere }.drop(&account().name).await.unwrap_err();
    assert!(nowhere.to_string().contains("to drop the account"), "{nowhere}");
}

// covers: D7 (postgres)
#[tokio::test]
async fn logins_that_end_what_others_run_are_told() {
    let (database, server) = shop().await;
    let all = ["plain", "member", "mighty", "deep", "climber", "crafter", "runner"].map(|what| format!("{what}_{}", database.name()));
    let [plain, member, mighty, deep, climber, crafter, runner] = &all;
    database.admin(&format!("DROP ROLE IF EXISTS {}", all.join(", "))).unwrap();
    database
        .admin(&format!("CREATE ROLE {plain}; CREATE ROLE {member} IN ROLE pg_signal_backend; CREATE ROLE {mighty} SUPERUSER"))
        .unwrap();
    // None of these is anything by itself.
    database.admin(&format!("CREATE ROLE {deep} NOINHERIT IN ROLE {member}; CREATE ROLE {climber} NOINHERIT IN ROLE {mighty}")).unwrap();
    database.admin(&format!("CREATE ROLE {crafter} CREATEROLE; CREATE ROLE {runner} IN ROLE pg_execute_server_program")).unwrap();
    let told = server.who_ends_others(&all.clone().into()).await.unwrap();
    let expected = [
        (climber, format!("is a superuser by the role `{mighty}`")),
        (crafter, "makes roles, so that it gives itself pg_signal_backend".to_owned()),
        (deep, "is a member of pg_signal_backend".to_owned()),
        (member, "is a member of pg_signal_backend".to_owned()),
        (mighty, "is a superuser".to_owned()),
        (runner, "is a member of pg_execute_server_program".to_owned()),
    ];
    assert_eq!(told, expected.map(|(login, by)| (login.clone(), by)));
    database.admin(&format!("DROP ROLE {}", all.join(", "))).unwrap();
}

// covers: D7 (postgres), CRED-3 (postgres)
#[tokio::test]
async fn members_of_one_login_end_no_sessions_but_their_own() {
    let (database, server) = shop().await;
    let login = format!("owner_{}", database.name());
    database.admin(&format!("DROP ROLE IF EXISTS {login}; CREATE ROLE {login}; GRANT needs_scram TO {login}")).unwrap();
    database.query(&format!("GRANT ALL ON SCHEMA public TO {login}; ALTER TABLE orders OWNER TO {login}")).unwrap();
    let anything = DatabaseRights { unrestricted: true, own_account: true, ..DatabaseRights::default() };
    let (anas, bens) = (account(), account());
    for account in [&anas, &bens] {
        server.make(&NewAccount { member_of: Some(login.clone()), ..account.clone() }, &anything).await.unwrap();
    }
    let sleeps = |account: &NewAccount| {
        let sleeper = Command::new("psql")
            .args(["-X", "-h", "127.0.0.1", "-p", &database.port().to_string(), "-U", &account.name, "-d", database.name()])
            .args(["-c", "SELECT pg_sleep(600)"])
            .env("PGPASSWORD", account.password.expose())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let its = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{}' AND query LIKE '%pg_sleep%'", account.name);
        let pid = loop {
            let pid = database.query(&its).unwrap();
            if !pid.is_empty() {
                break pid;
            }
        };
        (sleeper, pid)
    };
    // With nothing else than the account put right, it ends.
    let (mut own, pid) = sleeps(&bens);
    assert_eq!(may(&database, &bens, &format!("SET ROLE NONE; SELECT pg_terminate_backend({pid})")), "t");
    assert!(!own.wait().unwrap().success());
    let (mut sleeper, pid) = sleeps(&anas);
    for role in ["", "SET ROLE NONE; ", &format!("SET ROLE {login}; ")] {
        for act in ["pg_terminate_backend", "pg_cancel_backend"] {
            let out = psql(&database, &bens, &format!("{role}SELECT {act}({pid})"));
            assert!(String::from_utf8_lossy(&out.stderr).contains("must be a member of the role whose"), "{out:?}");
        }
    }
    assert!(sleeper.try_wait().unwrap().is_none());
    // What they make is the login's, and what they may is what it may.
    may(&database, &bens, "CREATE TABLE made (n int); ALTER TABLE orders ADD COLUMN note text");
    assert_eq!(database.query("SELECT tableowner FROM pg_tables WHERE tablename = 'made'").unwrap(), login);
    may_not(&database, &bens, "SELECT * FROM payments");
    for account in [&anas, &bens] {
        server.drop(&account.name).await.unwrap();
    }
    assert!(!sleeper.wait().unwrap().success());
    let left = format!("SELECT count(*) FROM pg_roles WHERE rolname IN ('{}', '{}')", anas.name, bens.name);
    assert_eq!(database.query(&left).unwrap(), "0");
    database.query(&format!("SELECT * FROM made; DROP OWNED BY {login}")).unwrap();
    database.admin(&format!("DROP ROLE {login}")).unwrap();
}

#[tokio::test]
async fn an_account_that_has_run_out_opens_again_when_it_is_prolonged() {
    let (database, server) = shop().await;
    let until = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let account = NewAccount { until: Some(until("2020-01-01T00:00:00Z")), ..account() };
    server.make(&account, &rights("public")).await.unwrap();
    database.admin(&format!("GRANT needs_scram TO {}", account.name)).unwrap();
    assert!(!psql(&database, &account, "SELECT 1").status.success());
    server.prolong(&account.name, until("2999-01-01T00:00:00Z")).await.unwrap();
    may(&database, &account, "SELECT 1");
    assert!(matches!(server.prolong("postgres", until("2999-01-01T00:00:00Z")).await, Err(AccountError::NotOurs(_))));
    server.drop(&account.name).await.unwrap();
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
