//! Accounts in a real MariaDB, or in MySQL's own server.

use testkit::mariadb::{ADMIN, Database, Proof, is_mysql};

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
    let sleeping = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}' AND state = 'User sleep'", account.name);
    while database.query(&sleeping).unwrap() != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.drop(&account.name).await.unwrap();
    let left = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}'", account.name);
    assert_eq!(database.query(&left).unwrap(), "0", "it waits until its sessions are gone");
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

// covers: D6 (mysql)
#[tokio::test]
async fn who_sees_nobodys_sessions_drops_no_account() {
    if !is_mysql() {
        return;
    }
    let (database, server) = shop().await;
    let maker = database.account("maker", "maker-password", Proof::Native).unwrap();
    let given = format!("GRANT CREATE USER, PROCESS, CONNECTION_ADMIN ON *.* TO {maker}; GRANT SELECT ON mysql.* TO {maker}");
    database.query(&given).unwrap();
    let dropping = Server { user: maker.clone(), password: Secret::new("maker-password".to_owned()), ..server.clone() };
    let account = account();
    server.make(&account, &rights(database.name())).await.unwrap();
    dropping.drop(&account.name).await.unwrap();
    server.make(&account, &rights(database.name())).await.unwrap();
    let mut sleeper =
        client(&database, &account).args(["-e", "SELECT SLEEP(600)"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let sleeping = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE user = '{}' AND state = 'User sleep'", account.name);
    while database.query(&sleeping).unwrap() != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    database.query(&format!("REVOKE PROCESS ON *.* FROM {maker}")).unwrap();
    let said = dropping.drop(&account.name).await.unwrap_err().to_string();
    assert!(said.contains("PROCESS"), "{said}");
    assert!(sleeper.try_wait().unwrap().is_none());
    let there = format!("SELECT COUNT(*) FROM mysql.user WHERE user = '{}'", account.name);
    assert_eq!(database.query(&there).unwrap(), "1");
    database.query(&given).unwrap();
    dropping.drop(&account.name).await.unwrap();
    assert!(!sleeper.wait().unwrap().success());
    assert_eq!(database.query(&there).unwrap(), "0");
}

// covers: D7 (mysql)
#[tokio::test]
async fn logins_that_end_what_others_run_are_told() {
    let (database, server) = shop().await;
    let [plain, killer, nested, old, wearer] =
        ["plain", "killer", "nested", "old", "wearer"].map(|what| format!("{what}_{}", database.name()));
    let right = if is_mysql() { "CONNECTION_ADMIN" } else { "CONNECTION ADMIN" };
    let drop = format!("DROP ROLE IF EXISTS {plain}, {killer}, {nested}; DROP USER IF EXISTS {old}@'%', {wearer}@'%'");
    let roles = format!(
        "CREATE ROLE {plain}; GRANT ALL ON {0}.* TO {plain}; CREATE ROLE {killer}; GRANT {right} ON *.* TO {killer}",
        database.name()
    );
    // Neither is anything by itself, and nothing of it is put on at sign-in.
    let given = format!("CREATE ROLE {nested}; GRANT {killer} TO {nested}; CREATE USER {wearer}@'%'; GRANT {nested} TO {wearer}@'%'");
    database.query(&format!("{drop}; {roles}; {given}; CREATE USER {old}@'%'; GRANT SUPER ON *.* TO {old}@'%'")).unwrap();
    let asked = [&plain, &killer, &old, &wearer].map(Clone::clone).into();
    let told = server.who_ends_others(&asked).await.unwrap();
    assert_eq!(told[..2], [(killer.clone(), format!("has {right}")), (old.clone(), "has SUPER".to_owned())]);
    assert!(told.len() == 3 && told[2].0 == wearer && told[2].1.starts_with(&format!("has {right} by the role `")), "{told:?}");
    database.query(&format!("REVOKE {killer} FROM {nested}")).unwrap();
    assert!(server.who_ends_others(&[wearer.clone()].into()).await.unwrap().is_empty());
    if is_mysql() {
        // What everybody has there counts as well.
        database.query(&format!("SET GLOBAL mandatory_roles = '`{killer}`@`%`'")).unwrap();
        let told = server.who_ends_others(&[wearer.clone()].into()).await;
        database.query("SET GLOBAL mandatory_roles = ''").unwrap();
        assert_eq!(told.unwrap(), [(wearer, format!("has {right} by the role `{killer}`"))]);
    }
    database.query(&drop).unwrap();
}

// covers: D7 (mysql), CRED-3 (mysql)
#[tokio::test]
async fn members_of_one_login_end_no_sessions_but_their_own() {
    let (database, server) = shop().await;
    let login = format!("owner_{}", database.name());
    database.query(&format!("DROP ROLE IF EXISTS {login}; CREATE ROLE {login}; GRANT ALL ON {}.* TO {login}", database.name())).unwrap();
    let anything = DatabaseRights { unrestricted: true, own_account: true, ..DatabaseRights::default() };
    let (anas, bens) = (account(), account());
    for account in [&anas, &bens] {
        server.make(&NewAccount { member_of: Some(login.clone()), ..account.clone() }, &anything).await.unwrap();
    }
    let sleeps = |account: &NewAccount| {
        let sleeper =
            client(&database, account).args(["-e", "SELECT SLEEP(600)"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let its = format!("SELECT id FROM information_schema.processlist WHERE user = '{}' AND state = 'User sleep'", account.name);
        let id = loop {
            let id = database.query(&its).unwrap();
            if !id.is_empty() {
                break id;
            }
        };
        (sleeper, id)
    };
    // A text that nobody can read before it is computed. With nothing else than the account put right, it ends.
    let computed = |id: &str| format!("SET @s = CONCAT('ki', 'll ', {id}); PREPARE s FROM @s; EXECUTE s");
    let (mut own, id) = sleeps(&bens);
    may(&database, &bens, &computed(&id));
    assert!(!own.wait().unwrap().success());
    let (mut sleeper, id) = sleeps(&anas);
    for sql in [computed(&id), format!("KILL QUERY {id}"), format!("KILL USER {}", anas.name)] {
        let out = client(&database, &bens).args(["-e", &sql]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("You are not owner of thread") || sql.contains("USER"), "{sql}: {said}");
    }
    assert!(sleeper.try_wait().unwrap().is_none());
    // What they may is what the login may.
    may(&database, &bens, "CREATE TABLE made (n int)");
    if !is_mysql() {
        may(&database, &bens, "CREATE DEFINER = CURRENT_ROLE VIEW seen AS SELECT * FROM made");
    }
    may_not(&database, &bens, "SELECT * FROM mysql.user");
    for account in [&anas, &bens] {
        server.drop(&account.name).await.unwrap();
    }
    assert!(!sleeper.wait().unwrap().success());
    let left = format!("SELECT COUNT(*) FROM mysql.user WHERE user IN ('{}', '{}')", anas.name, bens.name);
    assert_eq!(database.query(&left).unwrap(), "0");
    let lasts = if is_mysql() { "made" } else { "seen" };
    database.query(&format!("SELECT * FROM {lasts}; DROP ROLE {login}")).unwrap();
}

// covers: D6 (mysql)
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_still_being_made_is_not_taken_for_one_that_is_gone() {
    let (database, server) = shop().await;
    let name = account().name;
    let mut making = Command::new("mariadb")
        .args(["--no-defaults", "-n", "-N", "-B", "-h", "127.0.0.1", "-P", &database.port().to_string(), "-u", ADMIN.0])
        .arg(format!("-p{}", ADMIN.1))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = making.stdin.take().unwrap();
    let mut heard = BufReader::new(making.stdout.take().unwrap());
    writeln!(said, "SELECT GET_LOCK('{name}', 10);").unwrap();
    let mut line = String::new();
    heard.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "1");
    let dropping = tokio::spawn({
        let (server, name) = (server.clone(), name.clone());
        async move { server.drop(&name).await }
    });
    let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock' AND info LIKE '%GET_LOCK%'";
    while database.query(waiting).unwrap() == "0" {
        assert!(!dropping.is_finished(), "it was taken for gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writeln!(said, "CREATE USER '{name}'@'%'; SELECT 2;").unwrap();
    line.clear();
    heard.read_line(&mut line).unwrap();
    drop(said);
    dropping.await.unwrap().unwrap();
    making.wait().unwrap();
    assert_eq!(database.query(&format!("SELECT COUNT(*) FROM mysql.user WHERE user = '{name}'")).unwrap(), "0");
}
