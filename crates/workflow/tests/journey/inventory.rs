//! Ways beside the gate: found, taken in, closed, accepted, gone, and back; what targets hold that the gate did not put there.

use access::inventory::{Attribution, FindingKind, FindingState, Issuance, PathState, Reach, SourceKind};
use access::reason::Reason;
use access::secret::Secret;
use jiff::ToSpan as _;
use std::time::Duration;
use testkit::gate::TestGate;
use testkit::postgres::{Database, Proof};
use tidegate_workflow::inventory::{About, Imported, List, NewPath};
use tidegate_workflow::read::{FindingFilter, Page, PathFilter};

fn list(kind: SourceKind, text: &str) -> List {
    List {
        kind,
        source: None,
        about: About { of: Some("ana".into()), ..About::default() },
        content: text.into(),
        file: Some("config".into()),
    }
}

/// The administrator imports an ssh configuration of Ana's.
async fn import(t: &TestGate, text: &str) -> Imported {
    t.gate.import_inventory(t.person("admin"), list(SourceKind::SshConfig, text)).await.unwrap()
}

async fn in_state(t: &TestGate, state: PathState) -> Vec<access::inventory::PathRow> {
    let filter = PathFilter { state: Some(state), ..PathFilter::default() };
    t.gate.store().inventory_paths(&filter, &Page::first(100)).await.unwrap()
}

const LAPTOP: &str =
    "Host web-1\n  HostName 10.20.0.11\n  User root\nHost old\n  HostName 10.9.9.9\n  User ana\nHost jump\n  HostName 10.9.9.8\n";

// covers: BACK-3 (api)
#[tokio::test]
async fn a_list_is_a_backlog_that_shrinks() {
    let t = TestGate::start().await.unwrap();
    let done = import(&t, LAPTOP).await;
    assert_eq!((done.paths, done.found, done.taken_in, done.source.as_str()), (3, 3, 1, "ssh-config.ana"));
    // `web-1` of the policy is where the first one leads.
    let taken = in_state(&t, PathState::TakenIn).await;
    assert_eq!(taken[0].resource.as_ref().unwrap().as_str(), "web-1");
    assert_eq!((taken[0].attribution, taken[0].issuance), (Attribution::Shared, Issuance::Key));
    let open = in_state(&t, PathState::Open).await;
    let old = open.iter().find(|row| row.target.as_deref() == Some("10.9.9.9:22")).unwrap();
    assert_eq!((old.person, old.attribution), (Some(t.person("ana").who.id()), Attribution::Person));

    // The same again changes nothing, and leaves no entry.
    let before = t.entries().await.unwrap().len();
    assert!(import(&t, LAPTOP).await.same);
    assert_eq!(t.entries().await.unwrap().len(), before);

    // It is closed by somebody, for a reason; another is accepted until a day.
    let admin = t.person("admin");
    let jump = open.iter().find(|row| row.target.as_deref() == Some("10.9.9.8:22")).unwrap().id;
    let refused = t.gate.close_path(admin, jump, "  ").await.unwrap_err();
    assert_eq!(refused.reason, Reason::Invalid);
    let closed = t.gate.close_path(admin, jump, "the key was removed").await.unwrap();
    assert_eq!(
        (closed.state, closed.reason.as_deref(), closed.decided_by),
        (PathState::Closed, Some("the key was removed"), Some(admin.who.id()))
    );
    let far = t.gate.now().checked_add((24 * 400).hours()).unwrap();
    assert_eq!(t.gate.accept_path(admin, old.id, far, "later").await.unwrap_err().reason, Reason::Invalid);
    let until = t.gate.now().checked_add(48.hours()).unwrap();
    assert_eq!(t.gate.accept_path(admin, old.id, until, "a vendor needs it").await.unwrap().state, PathState::Accepted);
    let backlog = t.gate.backlog(admin, 4).await.unwrap();
    assert_eq!((backlog.now.get(&PathState::Open), backlog.weeks.len()), (None, 4));
    assert_eq!(backlog.weeks[0].counts.len(), 0, "weeks ago nothing was known");

    // Another list from the same laptop: what was closed is still there, what was old is gone.
    let done = import(&t, "Host web-1\n  HostName 10.20.0.11\n  User root\nHost jump\n  HostName 10.9.9.8\n").await;
    assert_eq!((done.found, done.back, done.gone), (0, 1, 1));
    assert_eq!(in_state(&t, PathState::Gone).await[0].id, old.id);
    assert_eq!(in_state(&t, PathState::Open).await[0].id, jump);
    let replay = t.gate.store().replay(|_, _| true).await.unwrap();
    assert_eq!(replay.differences, [], "the log says the same of every way");
}

// covers: BACK-3 (api)
#[tokio::test]
async fn what_the_policy_names_is_inside_and_what_it_drops_is_outside_again() {
    let t = TestGate::start().await.unwrap();
    import(&t, LAPTOP).await;
    let push = async |t: &TestGate, from: &str, to: &str| {
        let mut files = t.gate.bundle().files().clone();
        let text = String::from_utf8(files["resources.toml"].clone()).unwrap();
        assert!(text.contains(from));
        files.insert("resources.toml".into(), text.replacen(from, to, 1).into_bytes());
        t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    };
    push(&t, "10.20.0.11:22", "10.9.9.9:22").await;
    let taken = in_state(&t, PathState::TakenIn).await;
    assert_eq!(taken.iter().map(|row| row.target.as_deref().unwrap()).collect::<Vec<_>>(), ["10.9.9.9:22"]);
    assert_eq!(in_state(&t, PathState::Open).await.len(), 2);
    // What was accepted opens again when its day has come.
    let (admin, path) = (t.person("admin"), in_state(&t, PathState::Open).await[0].id);
    let until = t.gate.now().checked_add(2.hours()).unwrap();
    t.gate.accept_path(admin, path, until, "until the move").await.unwrap();
    t.pass(Duration::from_secs(3 * 3600)).await;
    t.gate.look_after_inventory().await;
    assert!(in_state(&t, PathState::Open).await.iter().any(|row| row.id == path));
}

// covers: BACK-3 (api)
#[tokio::test]
async fn nothing_is_taken_of_a_list_with_a_mistake_and_only_who_keeps_the_inventory_brings_one() {
    let t = TestGate::start().await.unwrap();
    let admin = t.person("admin");
    let good = "reach,target,account\nssh,db-9,root\npostgres,db-9,app\n";
    let wrong = t.gate.import_inventory(admin, list(SourceKind::Csv, &good.replace("postgres", "fax"))).await.unwrap_err();
    assert!(wrong.detail.as_deref().unwrap().contains("line 3"), "{wrong:?}");
    assert!(in_state(&t, PathState::Open).await.is_empty());
    let refused = t.gate.import_inventory(t.person("ana"), list(SourceKind::Csv, good)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotAllowed);
    assert_eq!(t.gate.import_inventory(admin, list(SourceKind::Csv, good)).await.unwrap().found, 2);
    assert_eq!(t.gate.may_see_inventory(t.person("ana")).await.unwrap_err().reason, Reason::NotAllowed);
    t.gate.may_see_inventory(t.person("eve")).await.unwrap();
    // By hand, once.
    let by_hand = NewPath {
        reach: Reach::Web,
        target: "Wiki.internal".into(),
        account: None,
        holder: Some("everybody".into()),
        issuance: Issuance::Password,
        attribution: Attribution::Shared,
        note: None,
    };
    let added = t.gate.add_path(admin, by_hand.clone()).await.unwrap();
    assert_eq!((added.target.as_deref(), added.source.as_str()), (Some("wiki.internal:443"), "entered"));
    assert_eq!(t.gate.add_path(admin, by_hand).await.unwrap_err().reason, Reason::AlreadyAsked);
}

/// A gate with a real PostgreSQL that it makes accounts in.
async fn shop() -> (TestGate, Database) {
    shop_of(Database::fresh().await.unwrap(), None).await
}

/// The same with one account that every role signs in to.
async fn shop_of(database: Database, login: Option<&str>) -> (TestGate, Database) {
    database.query("CREATE TABLE orders (id int)").unwrap();
    let maker = database.account("maker", "makers-password", Proof::Scram).unwrap();
    let t = TestGate::start().await.unwrap();
    let mut files = t.gate.bundle().files().clone();
    let before = String::from_utf8(files["resources.toml"].clone()).unwrap();
    let sales = format!(
        "{before}\n[[resource]]\nname = \"sales-db\"\n{}kind = \"postgres\"\naddress = \"127.0.0.1:{}\"\ndatabase = \"{}\"\ntier = \"non-prod\"\n\
         credential = \"secret:sales-db\"\naccounts = {{ login = \"{maker}\", credential = \"secret:sales-db\" }}\ntls_ca = \"\"\"{}\"\"\"\n",
        login.map(|login| format!("login = \"{login}\"\ntags = [\"orders\"]\n")).unwrap_or_default(),
        database.port(),
        database.name(),
        Database::authority().unwrap()
    );
    files.insert("resources.toml".into(), sales.into_bytes());
    t.gate.push_bundle(t.person("dan"), files).await.unwrap();
    (t, database)
}

// covers: BACK-4 (postgres)
#[tokio::test]
async fn an_account_that_roles_sign_in_to_is_known_and_what_was_given_it_beside_the_gate_is_not() {
    let database = Database::fresh().await.unwrap();
    let app = database.account("app", "x-password", Proof::Scram).unwrap();
    database.admin(&format!("ALTER ROLE {app} NOSUPERUSER")).unwrap();
    let (t, database) = shop_of(database, Some(&app)).await;
    let (admin, sales) = (t.person("admin"), "sales-db".parse().unwrap());
    t.gate.set_secret(admin, "sales-db".parse().unwrap(), Secret::new("makers-password".to_owned())).await.unwrap();
    let about = async || {
        let looked = t.gate.look_for_drift(admin, &sales).await.unwrap();
        let of_app = |text: &str| text.split(' ').next() == Some(app.as_str());
        let found = looked.findings.into_iter().filter(|row| row.subject.as_deref().is_some_and(of_app));
        let mut found: Vec<_> = found.map(|row| (row.kind, row.detail.unwrap_or_default())).collect();
        found.sort_by(|one, other| one.1.cmp(&other.1));
        found
    };
    assert_eq!(about().await, [], "it is told of");
    database.admin(&format!("ALTER ROLE {app} CREATEROLE")).unwrap();
    database.admin(&format!("GRANT pg_execute_server_program TO {app}")).unwrap();
    let grant = FindingKind::DatabaseGrant;
    assert_eq!(about().await, [(grant, "is a member of pg_execute_server_program".to_owned()), (grant, "makes roles".to_owned())]);
    database.admin(&format!("REVOKE pg_execute_server_program FROM {app}")).unwrap();
    database.admin(&format!("ALTER ROLE {app} NOCREATEROLE SUPERUSER")).unwrap();
    assert_eq!(about().await, [(grant, "superuser".to_owned())]);
    database.admin(&format!("ALTER ROLE {app} NOSUPERUSER")).unwrap();
    assert_eq!(about().await, []);
}

// covers: BACK-4 (postgres)
#[tokio::test]
async fn what_does_not_fit_into_a_look_is_not_gone_and_a_locked_target_is_not_entered() {
    let (t, database) = shop().await;
    let (admin, sales) = (t.person("admin"), "sales-db".parse().unwrap());
    t.gate.set_secret(admin, "sales-db".parse().unwrap(), Secret::new("makers-password".to_owned())).await.unwrap();
    // Names in capitals come first: whoever is called `zz…` is the last that a look lists.
    let intruder = database.account("zz_intruder", "x-password", Proof::Scram).unwrap();
    let looked = t.gate.look_for_drift(admin, &sales).await.unwrap();
    let found = looked.findings.iter().find(|row| row.subject.as_deref() == Some(&intruder)).unwrap().id;
    let state = async || t.gate.store().finding(found).await.unwrap().unwrap().state;
    let flood = "DO $$ BEGIN FOR n IN 1..2100 LOOP EXECUTE format('CREATE SCHEMA s%s', n); \
        EXECUTE format('GRANT CREATE ON SCHEMA s%s TO PUBLIC', n); END LOOP; END $$";
    database.query(flood).unwrap();
    let looked = t.gate.look_for_drift(admin, &sales).await.unwrap();
    assert!(looked.findings.iter().any(|row| row.kind == FindingKind::Unseen && row.subject.as_deref() == Some("the rest")));
    assert_eq!((looked.mended, state().await), (0, FindingState::Open), "it merely was not seen");

    // Each look is entered before it begins. What is locked, the gate does not enter either.
    let begun = async || t.entries().await.unwrap().into_iter().filter(|name| name.starts_with("drift.")).collect::<Vec<_>>();
    assert_eq!(begun().await, ["drift.begun", "drift.looked", "drift.begun", "drift.looked"]);
    let scope = access::lock::LockScope::Resource("sales-db".parse().unwrap());
    let (lock, _) = t.gate.lock(t.person("carla"), scope, None, Some("being looked into".into())).await.unwrap();
    assert_eq!(t.gate.look_for_drift(admin, &sales).await.unwrap_err().reason, Reason::Locked);
    assert_eq!(begun().await[4..], ["drift.failed"], "and it did not begin");
    t.gate.lift(t.person("carla"), lock.id).await.unwrap();
    t.gate.look_for_drift(admin, &sales).await.unwrap();
    assert_eq!(begun().await[5..], ["drift.begun", "drift.looked"]);
}

// covers: BACK-4 (postgres)
#[tokio::test]
async fn an_account_that_somebody_made_is_found_until_it_is_dropped() {
    let (t, database) = shop().await;
    let (admin, sales) = (t.person("admin"), "sales-db".parse().unwrap());
    // A target that can't be looked at is no clean one.
    assert_eq!(t.gate.look_for_drift(admin, &sales).await.unwrap_err().reason, Reason::SecretUnavailable);
    assert!(t.gate.store().drift_look(&sales).await.unwrap().unwrap().failed);
    t.gate.set_secret(admin, "sales-db".parse().unwrap(), Secret::new("makers-password".to_owned())).await.unwrap();
    t.gate.look_for_drift(admin, &sales).await.unwrap();

    let intruder = database.account("intruder", "x-password", Proof::Scram).unwrap();
    let looked = t.gate.look_for_drift(admin, &sales).await.unwrap();
    let account = looked.findings.iter().find(|row| row.subject.as_deref() == Some(&intruder)).unwrap();
    assert_eq!((account.kind, account.state), (FindingKind::DatabaseAccount, FindingState::Open));
    let maker = t.gate.bundle().resource(&sales).unwrap().accounts.clone().unwrap().login;
    assert!(!looked.findings.iter().any(|row| row.subject.as_deref() == Some(maker.as_str())), "the maker is told of");

    // Accepted, it is no longer open; dropped, it is mended; made again, it is open again.
    let accepted = t.gate.accept_finding(admin, account.id, None, "the reporting tool's").await.unwrap();
    assert_eq!((accepted.state, accepted.decided_by), (FindingState::Accepted, Some(admin.who.id())));
    database.query(&format!("DROP OWNED BY {intruder}")).unwrap();
    database.admin(&format!("DROP ROLE {intruder}")).unwrap();
    assert!(t.gate.look_for_drift(admin, &sales).await.unwrap().mended >= 1);
    assert_eq!(t.gate.store().finding(account.id).await.unwrap().unwrap().state, FindingState::Mended);
    assert_eq!(database.account("intruder", "x-password", Proof::Scram).unwrap(), intruder);
    t.gate.look_for_drift(admin, &sales).await.unwrap();
    let open = FindingFilter { state: Some(FindingState::Open), ..FindingFilter::default() };
    let open = t.gate.store().findings(&open, &Page::first(500)).await.unwrap();
    assert!(open.iter().any(|row| row.id == account.id));
    let replay = t.gate.store().replay(|_, _| true).await.unwrap();
    assert_eq!(replay.differences, []);
    assert_eq!(t.gate.look_for_drift(t.person("ana"), &sales).await.unwrap_err().reason, Reason::NotAllowed);
}
