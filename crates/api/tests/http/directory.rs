//! A directory speaks SCIM: who is brought can work, who left is cut, and nobody else is touched.

use std::collections::BTreeMap;

use access::identity::Scope;
use access::ids::PrincipalId;
use access::reason::Reason;
use access::request::Door;
use access::session::{ClosedSession, EndReason, Protocol, Standing};
use access::time::Span;
use identity::scim::{Directory, Subject};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::gate::{HERE, ask};
use tokio::task::JoinHandle;
use workflow::Caller;

use crate::{Served, read};

pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub(crate) const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
pub(crate) const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
pub(crate) const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

pub(crate) fn named(name: &str) -> Directory {
    Directory {
        name: name.parse().unwrap(),
        signs_in: None,
        domains: vec!["example.com".into()],
        groups: BTreeMap::from([("Platform Team".to_owned(), "engineers".parse().unwrap())]),
        brings_named: false,
    }
}

/// A directory that is connected.
pub(crate) struct Hr<'s> {
    served: &'s Served,
    token: String,
}

impl<'s> Hr<'s> {
    pub(crate) async fn start(served: &'s Served) -> Self {
        served.test.gate.serve_directories(vec![named("corp"), named("partners")]);
        Self::connected(served, "corp").await
    }

    pub(crate) async fn connected(served: &'s Served, name: &str) -> Self {
        Self::connected_by(served, name, "dan").await
    }

    /// The directory with a token that somebody made.
    pub(crate) async fn connected_by(served: &'s Served, name: &str, maker: &str) -> Self {
        let (status, made) =
            served.person(maker).await.post(&format!("/directories/{name}/tokens"), json!({ "duration": "30d", "label": "HR" })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        Self { served, token: made["secret"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.served.call(method, &format!("/scim/v2{path}")).bearer_auth(&self.token)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.call(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let call = self.call(method, path).header("content-type", "application/scim+json").body(body.to_string());
        read(call.send().await.unwrap()).await
    }

    pub(crate) async fn patch(&self, path: &str, operations: Value) -> (StatusCode, Value) {
        self.send(Method::PATCH, path, json!({ "schemas": [PATCH], "Operations": operations })).await
    }

    pub(crate) async fn delete(&self, path: &str) -> StatusCode {
        self.call(Method::DELETE, path).send().await.unwrap().status()
    }

    /// Somebody new; gives their id.
    pub(crate) async fn bring(&self, name: &str) -> String {
        let (status, user) = self.send(Method::POST, "/Users", user(name)).await;
        assert_eq!(status, StatusCode::CREATED, "{user}");
        user["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let (status, group) =
            self.send(Method::POST, "/Groups", json!({ "schemas": [GROUP], "displayName": name, "members": members })).await;
        assert_eq!(status, StatusCode::CREATED, "{group}");
        group["id"].as_str().unwrap().to_owned()
    }
}

/// As Okta sends somebody.
pub(crate) fn user(name: &str) -> Value {
    json!({
        "schemas": [USER],
        "userName": format!("{name}@example.com"),
        "name": { "givenName": name, "familyName": "Silva" },
        "emails": [{ "primary": true, "value": format!("{name}@example.com"), "type": "work" }],
        "displayName": format!("{name} Silva"),
        "locale": "en-US",
        "externalId": format!("00u-{name}"),
        "groups": [],
        "password": "1mz050nq",
        "active": true
    })
}

pub(crate) async fn signed_in(served: &Served, id: &str) -> Caller {
    let id: PrincipalId = id.parse().unwrap();
    let invited = served.test.gate.invite_again(served.test.person("dan"), id).await.unwrap();
    let (who, _) = served.test.gate.accept_invitation(invited.code.expose(), HERE).await.unwrap();
    Caller { who, door: Door::Api }
}

/// A session on the build machine that leaves when it is told to, as a relay does; resolves to why.
async fn works(served: &Served, who: &Caller) -> JoinHandle<EndReason> {
    let gate = served.test.gate.clone();
    let grant = gate.submit(who, ask("build-1", "shell")).await.unwrap().grant.unwrap();
    gate.activate(who, grant.id).await.unwrap();
    let mut opened = gate.open(who, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    tokio::spawn(async move {
        loop {
            let standing = opened.standing.borrow_and_update().clone();
            if let Standing::Cut(end) = standing {
                let session = opened.permit.facts().session;
                gate.close(ClosedSession { session, end, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None }).await;
                return end;
            }
            opened.standing.changed().await.unwrap();
        }
    })
}

async fn may_work(served: &Served, who: &Caller) -> Result<(), Reason> {
    let opened = served.test.gate.open(who, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await;
    opened.map(|_| ()).map_err(|refusal| refusal.reason)
}

// covers: WHO-3 (api), WHO-8 (api), GRANT-3 (api), A11
#[tokio::test]
async fn who_left_is_cut_however_the_directory_says_it_and_gets_nothing_back() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let put = |name: &str| json!({ "schemas": [USER], "userName": format!("{name}@example.com"), "externalId": format!("00u-{name}"), "active": false });
    let ways: [(&str, Method, Option<Value>); 6] = [
        ("okta", Method::PATCH, Some(json!([{ "op": "replace", "value": { "active": false } }]))),
        ("entra", Method::PATCH, Some(json!([{ "op": "Replace", "path": "active", "value": "False" }]))),
        ("entra-rfc", Method::PATCH, Some(json!([{ "op": "replace", "path": "active", "value": false }]))),
        ("entra-add", Method::PATCH, Some(json!([{ "op": "Add", "value": { "active": "false" } }]))),
        ("put", Method::PUT, None),
        ("delete", Method::DELETE, None),
    ];
    let team = hr.group("Platform Team", &[]).await;
    for (name, method, operations) in ways {
        // 1. They are brought, are in a group, and work.
        let id = hr.bring(name).await;
        let (status, _) =
            hr.patch(&format!("/Groups/{team}"), json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }])).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let who = signed_in(&served, &id).await;
        let session = works(&served, &who).await;
        assert_eq!(may_work(&served, &who).await, Ok(()), "{name}");
        // 2. They leave: cut, and nothing opens.
        let at = format!("/Users/{id}");
        let status = match (method.clone(), operations) {
            (Method::DELETE, _) => hr.delete(&at).await,
            (Method::PUT, _) => hr.send(Method::PUT, &at, put(name)).await.0,
            (_, operations) => hr.patch(&at, operations.unwrap()).await.0,
        };
        assert!(status.is_success(), "{name}: {status}");
        assert_eq!(session.await.unwrap(), EndReason::Locked, "{name}");
        assert_eq!(may_work(&served, &who).await, Err(Reason::NoPath), "{name}: the grant is gone");
        assert!(served.test.gate.store().open_grants_of(who.who.id()).await.unwrap().is_empty());
        assert_eq!(served.test.gate.submit(&who, ask("build-1", "shell")).await.unwrap_err().reason, Reason::Disabled, "{name}");
        // 3. Let in again, they have no grant, and ask as everybody does.
        let again = if method == Method::DELETE {
            assert_eq!(hr.get(&at).await.0, StatusCode::NOT_FOUND);
            let (status, user) = hr.send(Method::POST, "/Users", user(name)).await;
            assert_eq!((status, &user["id"]), (StatusCode::CREATED, &json!(id)), "known by what the directory itself calls them");
            assert!(user.get("groups").is_none(), "in no group any more: {user}");
            status
        } else {
            hr.patch(&at, json!([{ "op": "replace", "path": "active", "value": true }])).await.0
        };
        assert!(again.is_success());
        assert_eq!(may_work(&served, &who).await, Err(Reason::NoPath), "{name}: nothing comes back");
    }
    // Whoever did it stands in the log.
    let entries = served.test.entries().await.unwrap();
    for event in
        ["directory.user_added", "directory.user_changed", "directory.user_removed", "person.disabled", "person.enabled", "grant.withdrawn"]
    {
        assert!(entries.iter().any(|entry| entry == event), "{event}");
    }
    assert!(served.test.gate.replay().await.unwrap().differences.is_empty());
}

// covers: WHO-3 (api), GRANT-3 (api), A11
#[tokio::test]
async fn who_loses_the_last_group_loses_the_last_right() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    for way in ["okta", "entra", "put", "all", "rename", "delete", "where"] {
        let name = format!("gina-{way}");
        let id = hr.bring(&name).await;
        let team = hr.group("Platform Team", &[&id]).await;
        let who = signed_in(&served, &id).await;
        let session = works(&served, &who).await;
        let at = format!("/Groups/{team}");
        let status = match way {
            "okta" => hr.patch(&at, json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }])).await.0,
            "entra" => hr.patch(&at, json!([{ "op": "Remove", "path": "members", "value": [{ "value": id }] }])).await.0,
            "put" => hr.send(Method::PUT, &at, json!({ "schemas": [GROUP], "displayName": "Platform Team", "members": [] })).await.0,
            "all" => hr.patch(&at, json!([{ "op": "remove", "path": "members" }])).await.0,
            "where" => hr.patch(&at, json!([{ "op": "remove", "path": "members[type eq \"User\" and value sw \"usr_\"]" }])).await.0,
            "rename" => hr.patch(&at, json!([{ "op": "replace", "path": "displayName", "value": "Old Team" }])).await.0,
            _ => hr.delete(&at).await,
        };
        assert!(status.is_success(), "{way}: {status}");
        assert_eq!(session.await.unwrap(), EndReason::Withdrawn, "{way}");
        assert!(may_work(&served, &who).await.is_err(), "{way}");
        assert!(served.test.gate.submit(&who, ask("build-1", "shell")).await.is_err(), "{way}");
        if way != "delete" {
            assert_eq!(hr.delete(&at).await, StatusCode::NO_CONTENT);
        }
        assert_eq!(hr.get(&at).await.0, StatusCode::NOT_FOUND);
    }
    assert!(served.test.gate.replay().await.unwrap().differences.is_empty());
}

// covers: WHO-3, A7, G1
#[tokio::test]
async fn a_directory_touches_nobody_whom_it_did_not_bring() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let partners = Hr::connected(&served, "partners").await;
    let gina = hr.bring("gina").await;
    let team = hr.group("Platform Team", &[&gina]).await;
    let ana = served.test.person("ana").who.id().to_string();

    // Somebody's name that is here already, or that the policy keeps for somebody.
    let (status, error) = hr.send(Method::POST, "/Users", user("ana")).await;
    assert_eq!((status, &error["scimType"]), (StatusCode::CONFLICT, &json!("uniqueness")), "{error}");
    assert!(error["detail"].as_str().unwrap().contains("did not bring"), "{error}");
    let (status, error) = hr.send(Method::POST, "/Users", user("deploy-bot")).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{error}");
    assert!(error["detail"].as_str().unwrap().contains("the policy names `deploy-bot`"), "{error}");

    // Local people and those of another directory are not there, whatever is tried.
    for (who, at) in [(&hr, format!("/Users/{ana}")), (&partners, format!("/Users/{gina}")), (&partners, format!("/Groups/{team}"))] {
        assert_eq!(who.get(&at).await.0, StatusCode::NOT_FOUND, "{at}");
        assert_eq!(who.delete(&at).await, StatusCode::NOT_FOUND, "{at}");
        let shut = json!([{ "op": "replace", "path": "externalId", "value": "x" }]);
        assert_eq!(who.patch(&at, shut).await.0, StatusCode::NOT_FOUND, "{at}");
    }
    assert_eq!(partners.get("/Users").await.1["totalResults"], 0);
    for member in [&ana, "usr_00000000000000000000000001", "nobody"] {
        let (status, error) =
            hr.send(Method::POST, "/Groups", json!({ "schemas": [GROUP], "displayName": "Ours", "members": [{ "value": member }] })).await;
        assert_eq!((status, &error["scimType"]), (StatusCode::BAD_REQUEST, &json!("invalidValue")), "{error}");
    }
    let (status, _) = partners
        .send(Method::POST, "/Groups", json!({ "schemas": [GROUP], "displayName": "Theirs", "members": [{ "value": gina }] }))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(hr.get("/Groups?filter=displayName%20eq%20%22Ours%22").await.1["totalResults"], 0, "nothing half-written");

    // A group means what the configuration says, and not what it is called.
    hr.group("administrators", &[&gina]).await;
    let person = served.test.gate.store().person(gina.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(served.test.gate.stored_groups(&person).await.unwrap(), ["engineers".parse().unwrap()]);
    let who = signed_in(&served, &gina).await;
    assert_eq!(served.test.gate.invite(&who, "hal".parse().unwrap(), None).await.unwrap_err().reason, Reason::NotAllowed);

    // Whom an administrator disabled, a directory does not let in again; whom it shut out, no administrator lets in.
    let dan = served.test.person("dan");
    served.test.gate.disable(dan, who.who.id(), None).await.unwrap();
    for active in [true, false, true] {
        let (status, shown) = hr.patch(&format!("/Users/{gina}"), json!([{ "op": "replace", "path": "active", "value": active }])).await;
        assert_eq!((status, &shown["active"]), (StatusCode::OK, &json!(false)), "{shown}");
    }
    served.test.gate.enable(dan, who.who.id()).await.unwrap();
    assert_eq!(hr.get(&format!("/Users/{gina}")).await.1["active"], true);
    hr.patch(&format!("/Users/{gina}"), json!([{ "op": "replace", "path": "active", "value": false }])).await;
    let refusal = served.test.gate.enable(dan, who.who.id()).await.unwrap_err();
    assert!(refusal.to_string().contains("the directory `corp` says"), "{refusal}");
}

// covers: WHO-3, A7, A10
#[tokio::test]
async fn nobody_becomes_somebody_else() {
    let served = Served::start().await;
    let signs_in = Some(("https://login.example".to_owned(), Subject::ExternalId));
    served.test.gate.serve_directories(vec![Directory { signs_in, ..named("corp") }]);
    let hr = Hr::connected(&served, "corp").await;
    let (gina, hal) = (hr.bring("gina").await, hr.bring("hal").await);
    let at = format!("/Users/{gina}");
    // What may change: how she is called there; here her name stays.
    let (status, shown) =
        hr.patch(&at, json!([{ "op": "replace", "value": { "userName": "gina.costa@example.com", "displayName": "Gina Costa" } }])).await;
    assert_eq!((status, &shown["userName"]), (StatusCode::OK, &json!("gina.costa@example.com")), "{shown}");
    let person = served.test.gate.store().person(gina.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((person.username.as_str(), person.display_name.as_deref()), ("gina", Some("Gina Costa")));
    for (operations, status, kind) in [
        (json!([{ "op": "replace", "path": "userName", "value": "HAL@example.com" }]), 409, "uniqueness"),
        (json!([{ "op": "replace", "path": "userName", "value": "ana@example.com" }]), 409, "uniqueness"),
        (json!([{ "op": "replace", "path": "externalId", "value": "00u-hal" }]), 409, "uniqueness"),
        (json!([{ "op": "replace", "path": "externalId", "value": "00u-new" }]), 400, "mutability"),
        (json!([{ "op": "remove", "path": "externalId" }]), 400, "mutability"),
        (json!([{ "op": "replace", "path": "id", "value": hal }]), 400, "mutability"),
    ] {
        let (said, error) = hr.patch(&at, operations.clone()).await;
        assert_eq!((said.as_u16(), &error["scimType"]), (status, &json!(kind)), "{operations}: {error}");
    }
    // Nobody is brought by half, when nobody could know by which account they sign in.
    let mut half = user("ivan");
    half.as_object_mut().unwrap().remove("externalId");
    let (status, error) = hr.send(Method::POST, "/Users", half).await;
    assert_eq!((status, &error["scimType"]), (StatusCode::BAD_REQUEST, &json!("invalidValue")), "{error}");
    assert!(served.test.gate.store().person_named(&"ivan".parse().unwrap()).await.unwrap().is_none());
    // A name that somebody had is nobody else's, ever.
    assert_eq!(hr.delete(&format!("/Users/{hal}")).await, StatusCode::NO_CONTENT);
    let mut other = user("hal");
    other["externalId"] = json!("00u-other");
    assert_eq!(hr.send(Method::POST, "/Users", other).await.0, StatusCode::CONFLICT);
    let identities = served.test.gate.store().identities_of(gina.parse().unwrap()).await.unwrap();
    assert_eq!(identities.iter().map(|row| row.subject.as_deref()).collect::<Vec<_>>(), [Some("00u-gina")]);
}

// covers: G2, C1 (api)
#[tokio::test]
async fn who_connects_a_directory_has_nothing_from_its_groups() {
    let served = Served::start().await;
    let directory = Directory {
        groups: BTreeMap::from([
            ("Platform Team".to_owned(), "engineers".parse().unwrap()),
            ("Gate Admins".to_owned(), "administrators".parse().unwrap()),
        ]),
        ..named("corp")
    };
    served.test.gate.serve_directories(vec![directory]);
    let hr = Hr::connected(&served, "corp").await;
    let (gina, hal) = (hr.bring("gina").await, hr.bring("hal").await);
    hr.group("Platform Team", &[&gina, &hal]).await;
    hr.group("Gate Admins", &[&gina]).await;
    let (as_gina, as_hal) = (signed_in(&served, &gina).await, signed_in(&served, &hal).await);
    for who in [&as_gina, &as_hal] {
        let grant = served.test.gate.submit(who, ask("build-1", "shell")).await.unwrap().grant.unwrap();
        served.test.gate.activate(who, grant.id).await.unwrap();
        may_work(&served, who).await.expect("as an engineer");
    }
    // The right is one of its own: hal has none to make a token, gina has by her group, until she uses it.
    let made = async |who: &Caller| {
        served.test.gate.issue_directory_token(who, &"corp".parse().unwrap(), Span::hours(1), None).await.map_err(|no| no.reason)
    };
    made(&as_hal).await.unwrap_err();
    let token = made(&as_gina).await.unwrap();
    served.test.gate.redecide_all().await;
    assert!(may_work(&served, &as_gina).await.is_err(), "what she could bring herself counts for nothing");
    made(&as_gina).await.unwrap_err();
    may_work(&served, &as_hal).await.expect("of others it is believed");
    // Nor once it is taken away: what was brought by it stays.
    served.test.gate.revoke_token(served.test.person("dan"), token.row.id).await.unwrap();
    made(&as_gina).await.unwrap_err();
}

// covers: WHO-3 (api), WHO-8 (api), A11
#[tokio::test]
async fn who_was_taken_out_and_comes_back_signs_in_anew() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let gina = hr.bring("gina").await;
    hr.group("Platform Team", &[&gina]).await;
    let who = signed_in(&served, &gina).await;
    let token = served.test.gate.issue_token(&who, who.who.id(), vec![Scope::Read], Span::hours(24 * 300), None).await.unwrap();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let key = served.test.gate.add_key(&who, who.who.id(), key, None).await.unwrap();
    served.test.gate.identify_token(token.token.expose(), HERE).await.expect("good while she is there");
    // Shut out and let in again, she goes on as before; taken out and brought again, she begins anew.
    let at = format!("/Users/{gina}");
    for active in [false, true] {
        assert_eq!(hr.patch(&at, json!([{ "op": "replace", "path": "active", "value": active }])).await.0, StatusCode::OK);
    }
    served.test.gate.identify_token(token.token.expose(), HERE).await.expect("a leave of absence");
    assert_eq!(hr.delete(&at).await, StatusCode::NO_CONTENT);
    assert_eq!(hr.bring("gina").await, gina, "she is who she was");
    assert_eq!(served.test.gate.identify_token(token.token.expose(), HERE).await.unwrap_err().reason, Reason::NotSignedIn);
    let key = served.test.gate.store().key(key.id).await.unwrap().unwrap();
    assert_eq!(key.state, access::identity::KeyState::Removed);
    let replay = served.test.gate.replay().await.unwrap();
    assert!(replay.differences.is_empty(), "{:?}", replay.differences);
}

// covers: G1, A9
#[tokio::test]
async fn a_directorys_token_is_good_for_that_and_nothing_else() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    assert_eq!(hr.get("/Users").await.0, StatusCode::OK);
    // Nowhere else.
    for (method, path) in
        [(Method::GET, "/me"), (Method::GET, "/requests"), (Method::POST, "/requests"), (Method::POST, "/tokens"), (Method::POST, "/locks")]
    {
        let call = served.call(method, &format!("/api/v1{path}")).bearer_auth(&hr.token).json(&json!({}));
        let (status, problem) = read(call.send().await.unwrap()).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("scope_missing")), "{path}: {problem}");
    }
    let who = served.test.gate.identify_token_at(&hr.token, HERE, Door::Postgres).await.unwrap();
    let caller = Caller { who, door: Door::Postgres };
    assert_eq!(may_work(&served, &caller).await, Err(Reason::ScopeMissing));
    // Nobody else's is good here, and nobody gives themselves one.
    let eve = served.person("dan").await;
    let refused = read(served.call(Method::GET, "/scim/v2/Users").bearer_auth(&eve.token).send().await.unwrap()).await;
    assert_eq!(
        (refused.0, &refused.1["schemas"][0]),
        (StatusCode::FORBIDDEN, &json!("urn:ietf:params:scim:api:messages:2.0:Error")),
        "{}",
        refused.1
    );
    let none = served.call(Method::GET, "/scim/v2/Users").send().await.unwrap();
    assert_eq!(none.headers()["content-type"], "application/scim+json");
    assert_eq!(read(none).await.0, StatusCode::UNAUTHORIZED);
    let (status, _) = eve.post("/tokens", json!({ "scopes": ["directory"], "duration": "1h" })).await;
    assert!(status.is_client_error(), "{status}");
    let dan = served.test.person("dan");
    let machine = served.test.gate.store().person_named(&"corp".parse().unwrap()).await.unwrap().unwrap();
    let refusal = served.test.gate.issue_token(dan, machine.id, vec![Scope::Directory], Span::hours(1), None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::Invalid);
    let (status, _) = served.person("ana").await.post("/directories/corp/tokens", json!({ "duration": "1h" })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = eve.post("/directories/nosuch/tokens", json!({ "duration": "1h" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, status) = eve.get("/directories").await;
    assert_eq!(
        (&status["items"][0]["name"], &status["items"][0]["tokens"][0]["scopes"]),
        (&json!("corp"), &json!(["directory"])),
        "{status}"
    );
    // Whoever answers for it may leave; it goes on. Taken away, or run out, it does not.
    let other = Hr::connected(&served, "corp").await;
    served.test.gate.disable(served.test.person("admin"), dan.who.id(), None).await.unwrap();
    assert_eq!(hr.get("/Users").await.0, StatusCode::OK);
    let tokens = served.test.gate.store().tokens_of(machine.id).await.unwrap();
    let of = |hr: &Hr<'_>| {
        let presented = identity::token::PresentedToken::parse(&hr.token).unwrap();
        tokens.iter().find(|row| row.verifier == presented.verifier().as_str()).unwrap().id
    };
    served.test.gate.revoke_token(served.test.person("admin"), of(&hr)).await.unwrap();
    assert_eq!(hr.get("/Users").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(other.get("/Users").await.0, StatusCode::OK);
    served.test.time.advance(std::time::Duration::from_secs(31 * 86_400));
    assert_eq!(other.get("/Users").await.0, StatusCode::UNAUTHORIZED);
}
