//! What real servers let in, as the administrative account sees it.

use access::secret::Secret;
use access::session::TargetTls;

use super::{Engine, Held, Server};

fn says(held: &[Held], account: &str, on: Option<&str>) -> Option<String> {
    held.iter().find(|held| held.account == account && held.on.as_deref() == on).map(|held| held.may.clone())
}

// covers: BACK-4 (postgres)
#[tokio::test]
async fn accounts_and_rights_of_postgresql_are_seen_whatever_they_are_called() {
    use testkit::postgres::{Database, Proof};
    let database = Database::fresh().await.unwrap();
    database.query("CREATE TABLE orders (id int, total int); CREATE SCHEMA shop; CREATE TABLE shop.cards (id int)").unwrap();
    let maker = database.account("maker", "maker-password", Proof::Scram).unwrap();
    let server = Server {
        engine: Engine::Postgres,
        host: "127.0.0.1".into(),
        port: database.port(),
        database: Some(database.name().to_owned()),
        tls: TargetTls::Authority(Database::authority().unwrap()),
        guarded_allowed: true,
        user: maker,
        password: Secret::new("maker-password".to_owned()),
    };
    let plain = database.account("plain", "p", Proof::Scram).unwrap();
    let own = access::account::login_of(access::ids::AccountId::generate(jiff::Timestamp::UNIX_EPOCH));
    database.admin(&format!("DROP ROLE IF EXISTS {own}")).unwrap();
    database.admin(&format!("CREATE ROLE {own} LOGIN SUPERUSER")).unwrap();
    database
        .query(&format!(
            "GRANT SELECT, UPDATE ON orders TO {plain}; GRANT SELECT (id) ON shop.cards TO {plain}; GRANT INSERT ON orders TO PUBLIC"
        ))
        .unwrap();
    let held = server.survey().await.unwrap().held;
    database.admin(&format!("DROP ROLE {own}")).unwrap();
    assert!(says(&held, &plain, None).is_some(), "{held:?}");
    assert!(says(&held, &plain, Some("schema public")).unwrap().contains("tables: SELECT, tables: UPDATE"));
    assert_eq!(says(&held, &plain, Some("schema shop")).as_deref(), Some("columns: SELECT"));
    assert_eq!(says(&held, "PUBLIC", Some("schema public")).as_deref(), Some("tables: INSERT"));
    assert_eq!(says(&held, &own, None).as_deref(), Some("superuser"), "a name proves nothing");
    assert!(!held.iter().any(|held| held.account.starts_with("pg_")));
}

// covers: BACK-4 (mysql)
#[tokio::test]
async fn accounts_and_rights_of_mariadb_are_seen() {
    use testkit::mariadb::{Database, Proof};
    let database = Database::fresh().await.unwrap();
    let maker = database.account("maker", "maker-password", Proof::Native).unwrap();
    let server = Server {
        engine: Engine::MariaDb,
        host: "127.0.0.1".into(),
        port: database.port(),
        database: None,
        tls: TargetTls::Authority(Database::authority().unwrap()),
        guarded_allowed: true,
        user: maker.clone(),
        password: Secret::new("maker-password".to_owned()),
    };
    // What the account that makes others is given: `docs/mysql.md`.
    database.query(&format!("GRANT SELECT ON mysql.* TO {maker}")).unwrap();
    let other = database.account("other", "o", Proof::Native).unwrap();
    // Locked and without a password, as a role of MySQL's is, and yet an account: whoever unlocks it is in.
    let (shut, role) = (format!("shut_{}", database.name()), format!("role_{}", database.name()));
    let gone = format!("DROP ROLE IF EXISTS {role}; DROP USER IF EXISTS {shut}");
    database.query(&format!("{gone}; CREATE ROLE {role}; CREATE USER {shut} ACCOUNT LOCK")).unwrap();
    let held = server.survey().await.unwrap().held;
    database.query(&gone).unwrap();
    let of = |name: &str| held.iter().filter(|held| held.account.starts_with(&format!("'{name}'@"))).collect::<Vec<_>>();
    assert!(of(&other).iter().any(|held| held.on.is_none()), "{held:?}");
    assert!(!of(&shut).is_empty() && of(&role).is_empty(), "{held:?}");
    assert!(of(&other).iter().any(|held| held.on.is_some()), "what it may do is seen too: {held:?}");
    assert!(of(&maker).iter().all(|held| held.looked && held.host.as_deref() == Some("%")), "it looked itself: {held:?}");
    assert!(!of(&maker).is_empty() && of(&other).iter().all(|held| !held.looked && held.user.as_deref() == Some(other.as_str())));
}
