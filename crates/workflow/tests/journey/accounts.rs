//! Accounts made in databases for grants: entered before they are made, dropped after the last session, found after a crash.

use access::account::login_of;
use access::ids::AccountId;
use access::inventory::{Issuance, SourceKind};
use access::reason::{Reason, Refusal};
use access::rights::Rights;
use access::secret::Secret;
use access::session::{ClosedSession, DatabaseCredential, Dial, EndReason, Protocol};
use access::time::Span;
use testkit::gate::{TestGate, ask};
use testkit::postgres::{Database, Proof};
use tidegate_workflow::inventory::{About, List};
use tidegate_workflow::open::Opened;
use tidegate_workflow::read::{Page, PathFilter};

/// The example company with a real PostgreSQL, and Ana's grant on it as somebody who reads orders.
async fn shop() -> (TestGate, Database) {
    let database = Database::fresh().await.unwrap();
    database.query("CREATE TABLE orders (id int); INSERT INTO orders VALUES (7); CREATE TABLE payments (id int)").unwrap();
    let maker = database.account("maker", "makers-password", Proof::Scram).unwrap();
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let mut add = |file: &str, text: String| {
        let before = String::from_utf8(files[file].clone()).unwrap();
        files.insert(file.to_owned(), format!("{before}\n{text}").into_bytes());
    };
    add(
        "resources.toml",
        format!(
            "[[resource]]\nname = \"sales-db\"\nkind = \"postgres\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{}\"\ntier = \"non-prod\"\n\
             credential = \"secret:sales-db\"\naccounts = {{ login = \"{maker}\", credential = \"secret:orders-maker\" }}\ntls_ca = \"\"\"{}\"\"\"\n",
            database.port(),
            database.name(),
            Database::authority().unwrap()
        ),
    );
    for (role, table) in [("reader", "orders"), ("dreamer", "gone")] {
        add(
            "roles.toml",
            format!(
                "[[role]]\nname = \"{role}\"\ndescription = \"Read {table}.\"\nkind = \"postgres\"\nlogin = \"nobody\"\n\
                 database = {{ tables = [{{ name = \"public.{table}\", select = true }}] }}\n"
            ),
        );
    }
    for (role, own) in [("keeper", true), ("sharer", false)] {
        add(
            "roles.toml",
            format!(
                "[[role]]\nname = \"{role}\"\ndescription = \"Keep the schema.\"\nkind = \"postgres\"\nlogin = \"{maker}\"\n\
                 database = {{ unrestricted = true, own_account = {own} }}\n"
            ),
        );
    }
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    let admin = t.person("admin");
    for (name, value) in [("orders-maker", "makers-password"), ("sales-db", "never used")] {
        t.gate.set_secret(admin, name.parse().unwrap(), Secret::new(value.to_owned())).await.unwrap();
    }
    for role in ["reader", "dreamer", "keeper", "sharer"] {
        let grant = t.gate.submit(t.person("ana"), ask("sales-db", role)).await.unwrap().grant.unwrap();
        t.gate.activate(t.person("ana"), grant.id).await.unwrap();
    }
    (t, database)
}

async fn open(t: &TestGate, role: &str) -> Result<Opened, Refusal> {
    t.gate.open(t.person("ana"), &"sales-db".parse().unwrap(), &role.parse().unwrap(), Protocol::Postgres).await
}

/// Ends a session as its proxy would; says which account it had.
async fn close(t: &TestGate, opened: Opened) -> String {
    let (facts, dial) = opened.permit.spend();
    assert!(matches!(&facts.rights, Rights::Database(_)));
    let closed =
        ClosedSession { session: facts.session, end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None };
    t.gate.close(closed).await;
    let Dial::Postgres(dial) = dial else { panic!("no PostgreSQL: {dial:?}") };
    let DatabaseCredential::Account { user, .. } = dial.credential;
    user
}

/// How many accounts the log says were made, and how many dropped.
async fn entered(t: &TestGate) -> (usize, usize) {
    let entries = t.entries().await.unwrap();
    let of = |name: &str| entries.iter().filter(|e| *e == name).count();
    (of("account.created"), of("account.dropped"))
}

fn is_there(database: &Database, account: &str) -> bool {
    database.query(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{account}'")).unwrap() == "1"
}

// covers: CRED-3 (postgres), D6 (postgres)
#[tokio::test]
async fn an_account_is_shared_by_its_grants_sessions_and_gone_after_the_last() {
    let (t, database) = shop().await;
    let first = open(&t, "reader").await.unwrap();
    let entries = t.entries().await.unwrap();
    let at = |name: &str| entries.iter().position(|e| e == name).unwrap();
    assert!(at("account.created") < at("session.opened"), "{entries:?}");
    let second = open(&t, "reader").await.unwrap();
    let account = close(&t, first).await;
    assert!(is_there(&database, &account));
    let may = |table: &str| database.query(&format!("SELECT has_table_privilege('{account}', '{table}', 'SELECT')")).unwrap();
    assert_eq!((may("orders"), may("payments")), ("t".to_owned(), "f".to_owned()));
    t.gate.drop_unused_accounts().await;
    assert!(is_there(&database, &account), "a session still uses it");
    assert_eq!(entered(&t).await, (1, 0));
    assert_eq!(close(&t, second).await, account);
    t.gate.drop_unused_accounts().await;
    assert!(!is_there(&database, &account));
    assert_eq!(entered(&t).await, (1, 1));
    assert!(t.gate.open_accounts().await.unwrap().is_empty());
    let other = close(&t, open(&t, "reader").await.unwrap()).await;
    assert_ne!(other, account, "no account comes back");
    t.gate.drop_unused_accounts().await;
    assert!(!is_there(&database, &other));
}

// covers: CRED-3 (postgres), D7 (postgres), WHO-4 (postgres)
#[tokio::test]
async fn a_grant_has_an_account_of_its_own_though_nothing_is_judged_if_its_role_says_so() {
    let (t, database) = shop().await;
    let login = t.gate.bundle().resource(&"sales-db".parse().unwrap()).unwrap().accounts.as_ref().unwrap().login.clone();
    assert_eq!(close(&t, open(&t, "sharer").await.unwrap()).await, login);
    assert_eq!(entered(&t).await, (0, 0));
    let account = close(&t, open(&t, "keeper").await.unwrap()).await;
    assert_ne!(account, login);
    let is = |what: &str| database.query(&format!("SELECT {what} FROM pg_roles WHERE rolname = '{account}'")).unwrap();
    assert_eq!(
        (is(&format!("pg_has_role(oid, '{login}', 'MEMBER')")), is("rolsuper"), is("rolconfig")),
        ("t".into(), "f".into(), format!("{{role={login}}}"))
    );
    assert_eq!(entered(&t).await, (1, 0));
    t.gate.drop_unused_accounts().await;
    assert!(!is_there(&database, &account));
    assert_eq!(entered(&t).await, (1, 1));
}

// covers: D6 (postgres)
#[tokio::test]
async fn what_could_not_be_made_was_entered_first_and_is_looked_after() {
    let (t, database) = shop().await;
    let refusal = open(&t, "dreamer").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TargetRefused);
    assert!(refusal.to_string().contains("relation \"public.gone\" does not exist"), "{refusal}");
    assert_eq!(entered(&t).await, (1, 0));
    t.gate.drop_unused_accounts().await;
    assert_eq!(entered(&t).await, (1, 1));
    assert_eq!(
        database.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()").unwrap(),
        "0"
    );
    let reader = close(&t, open(&t, "reader").await.unwrap()).await;
    assert!(is_there(&database, &reader));
}

// covers: D6 (postgres), CRED-3 (postgres)
#[tokio::test]
async fn what_a_crash_left_at_a_server_is_dropped_by_the_next_run() {
    let (t, database) = shop().await;
    let opened = open(&t, "reader").await.unwrap();
    let Dial::Postgres(dial) = opened.permit.spend().1 else { panic!("no PostgreSQL") };
    let DatabaseCredential::Account { user, .. } = dial.credential;
    assert!(is_there(&database, &user));
    let t = t.restart().await.unwrap();
    assert_eq!(t.gate.open_accounts().await.unwrap().len(), 1);
    t.gate.drop_unused_accounts().await;
    assert!(!is_there(&database, &user));
    assert_eq!(entered(&t).await, (1, 1));
    let again = close(&t, open(&t, "reader").await.unwrap()).await;
    assert!(again != user && is_there(&database, &again));
}

// covers: D6 (postgres), D2 (postgres)
#[tokio::test]
async fn an_account_is_dropped_though_its_resource_left_the_policy() {
    let (t, database) = shop().await;
    let account = close(&t, open(&t, "reader").await.unwrap()).await;
    let mut files = t.gate.bundle().files().clone();
    let text = String::from_utf8(files["resources.toml"].clone()).unwrap();
    let kept = text.split_once("[[resource]]\nname = \"sales-db\"").unwrap().0.to_owned();
    files.insert("resources.toml".into(), kept.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    assert!(is_there(&database, &account));
    t.gate.drop_unused_accounts().await;
    assert!(!is_there(&database, &account));
    assert_eq!(entered(&t).await, (1, 1));
}

// covers: CRED-3 (postgres)
#[tokio::test]
async fn an_account_opens_as_long_as_its_extended_grant() {
    let (t, database) = shop().await;
    let opened = open(&t, "reader").await.unwrap();
    let grant = opened.permit.facts().grant;
    let until = || {
        let its = "SELECT r.rolvaliduntil FROM pg_roles r, pg_class c, aclexplode(c.relacl) a \
                   WHERE c.relname = 'orders' AND a.grantee = r.oid AND r.rolname LIKE 'tg%'";
        database.query(its).unwrap()
    };
    let first = until();
    t.gate.drop_unused_accounts().await;
    assert_eq!(until(), first, "nothing to prolong");
    t.gate.extend(t.person("ana"), grant, Span::hours(9), Some("a long look".into())).await.unwrap();
    t.gate.drop_unused_accounts().await;
    assert!(first < until(), "{first} {}", until());
    let account = close(&t, opened).await;
    t.gate.drop_unused_accounts().await;
    assert!(!is_there(&database, &account));
}

// covers: BACK-4 (postgres), BACK-3 (api)
#[tokio::test]
async fn what_is_only_called_like_an_account_of_the_gate_s_is_found() {
    let (t, database) = shop().await;
    let (admin, sales) = (t.person("admin"), "sales-db".parse().unwrap());
    let maker = t.gate.bundle().resource(&sales).unwrap().accounts.as_ref().unwrap().login.clone();
    let account = close(&t, open(&t, "reader").await.unwrap()).await;
    let lookalike = login_of(AccountId::generate(t.gate.now()));
    let longer = format!("{maker}@x");
    database.admin(&format!("CREATE ROLE {lookalike} LOGIN SUPERUSER")).unwrap();
    database.admin(&format!("CREATE ROLE \"{longer}\" LOGIN")).unwrap();
    let looked = t.gate.look_for_drift(admin, &sales).await;
    database.admin(&format!("DROP ROLE {lookalike}")).unwrap();
    database.admin(&format!("DROP ROLE \"{longer}\"")).unwrap();
    let looked = looked.unwrap();
    let is_found = |who: &str| looked.findings.iter().any(|row| row.subject.as_deref() == Some(who));
    assert!(is_found(&lookalike) && is_found(&longer), "{:?}", looked.findings);
    assert!(!is_found(&account) && !is_found(&maker), "{:?}", looked.findings);

    // A list of its accounts is read the same way.
    let address = t.gate.bundle().resource(&sales).unwrap().address.to_string();
    let list = List {
        kind: SourceKind::PostgresRoles,
        source: Some("sales".parse().unwrap()),
        about: About { on: Some(address), ..About::default() },
        content: format!("rolname,rolcanlogin\n{account},t\n{lookalike},t\n").into_bytes(),
        file: None,
    };
    t.gate.import_inventory(admin, list).await.unwrap();
    let paths = t.gate.store().inventory_paths(&PathFilter::default(), &Page::first(100)).await.unwrap();
    let issued = |who: &str| paths.iter().find(|row| row.account.as_deref() == Some(who)).unwrap().issuance;
    assert_eq!((issued(&account), issued(&lookalike)), (Issuance::Gate, Issuance::Password));

    // The gate dropped its own; one that is called so afterwards is somebody else's.
    t.gate.drop_unused_accounts().await;
    database.admin(&format!("CREATE ROLE {account} LOGIN")).unwrap();
    let looked = t.gate.look_for_drift(admin, &sales).await;
    database.admin(&format!("DROP ROLE {account}")).unwrap();
    assert!(looked.unwrap().findings.iter().any(|row| row.subject.as_deref() == Some(account.as_str())));
}
