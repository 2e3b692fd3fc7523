//! What a directory and an administrator say of the same people, at the same time or one after the other: nobody becomes somebody else, and
//! who is out stays out.

use access::reason::Reason;
use identity::scim::{Directory, Subject};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::gate::ask;
use workflow::Caller;
use workflow::read::{EntryFilter, EntryPage};

use crate::Served;
use crate::directory::{Hr, PATCH, named, signed_in, user};

// covers: WHO-3, A7, A10
#[tokio::test]
async fn nobody_comes_back_as_somebody_else() {
    let served = Served::start().await;
    let signs_in = Some(("https://login.example".to_owned(), Subject::UserName));
    served.test.gate.serve_directories(vec![Directory { signs_in, ..named("corp") }, named("partners")]);
    let hr = Hr::connected(&served, "corp").await;
    let store = served.test.gate.store();
    let called = |name: &str, external_id: &str| {
        let mut user = user(name);
        user["externalId"] = json!(external_id);
        user
    };
    // With the account they had they come back as who they were.
    let gina = hr.bring("gina").await;
    assert_eq!(hr.delete(&format!("/Users/{gina}")).await, StatusCode::NO_CONTENT);
    let (status, again) = hr.send(Method::POST, "/Users", user("gina")).await;
    assert_eq!((status, &again["id"]), (StatusCode::CREATED, &json!(gina)), "{again}");
    // With another they do not: whether the directory calls somebody else so now, or gave them what to be called just before.
    let hal = hr.bring("hal").await;
    let mut jo = user("jo");
    jo.as_object_mut().unwrap().remove("externalId");
    let jo = hr.send(Method::POST, "/Users", jo).await.1["id"].as_str().unwrap().to_owned();
    let (status, _) = hr.patch(&format!("/Users/{jo}"), json!([{ "op": "add", "path": "externalId", "value": "00u-jo" }])).await;
    assert_eq!(status, StatusCode::OK);
    for (id, name) in [(&hal, "hal"), (&jo, "jo")] {
        assert_eq!(hr.delete(&format!("/Users/{id}")).await, StatusCode::NO_CONTENT);
        let (status, error) = hr.send(Method::POST, "/Users", called("mallory", &format!("00u-{name}"))).await;
        assert_eq!((status, &error["scimType"]), (StatusCode::CONFLICT, &json!("uniqueness")), "{error}");
        let identities = store.identities_of(id.parse().unwrap()).await.unwrap();
        let subjects: Vec<_> = identities.iter().map(|row| row.subject.as_deref()).collect();
        assert_eq!(subjects, [Some(format!("{name}@example.com").as_str())], "no other account is theirs");
        let person = store.person(id.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(person.state, access::identity::PersonState::Disabled, "and they are out still");
        let (status, again) = hr.send(Method::POST, "/Users", called(name, &format!("00u-{name}"))).await;
        assert_eq!((status, &again["id"]), (StatusCode::CREATED, &json!(id)), "{again}");
    }
    // Nor under the name of somebody else, where nobody signs in at a provider.
    let partners = Hr::connected(&served, "partners").await;
    for (name, status) in [("kim.new", StatusCode::CREATED), ("ana", StatusCode::CONFLICT)] {
        let external_id = format!("00p-{name}");
        let (_, kim) = partners.send(Method::POST, "/Users", called(&name.replace("ana", "lea").replace(".new", ""), &external_id)).await;
        assert_eq!(partners.delete(&format!("/Users/{}", kim["id"].as_str().unwrap())).await, StatusCode::NO_CONTENT);
        let (said, answer) = partners.send(Method::POST, "/Users", called(name, &external_id)).await;
        assert_eq!(said, status, "{name}: {answer}");
    }
    assert!(served.test.gate.replay().await.unwrap().differences.is_empty());
}

// covers: WHO-3, GRANT-3 (api)
#[tokio::test]
async fn who_is_out_by_two_words_is_in_only_by_two() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let (gate, dan) = (&served.test.gate, served.test.person("dan"));
    let (gina, hal) = (hr.bring("gina").await, hr.bring("hal").await);
    hr.group("Platform Team", &[&gina, &hal]).await;
    let says = async |id: &str, active: bool| {
        let change = json!([{ "op": "replace", "path": "active", "value": active }]);
        hr.patch(&format!("/Users/{id}"), change).await.1["active"].as_bool().unwrap()
    };
    let groups = async |id: &str| {
        let person = gate.store().person(id.parse().unwrap()).await.unwrap().unwrap();
        gate.stored_groups(&person).await.unwrap()
    };
    let who = signed_in(&served, &gina).await;
    let may_ask = async |who: &Caller| gate.submit(who, ask("build-1", "shell")).await.map(|_| ()).map_err(|refusal| refusal.reason);

    // The administrator's word alone: taken back by the administrator.
    gate.disable(dan, who.who.id(), None).await.unwrap();
    assert_eq!(may_ask(&who).await, Err(Reason::Disabled));
    gate.enable(dan, who.who.id()).await.unwrap();
    assert_eq!(may_ask(&who).await, Ok(()));
    // The directory's besides: taken back by both.
    gate.disable(dan, who.who.id(), None).await.unwrap();
    assert!(!says(&gina, false).await);
    let refusal = gate.enable(dan, who.who.id()).await.unwrap_err();
    assert!(refusal.to_string().contains("the directory `corp` says"), "{refusal}");
    assert_eq!((may_ask(&who).await, groups(&gina).await), (Err(Reason::Disabled), Vec::new()));
    assert!(!says(&gina, true).await, "the administrator's word stands still");
    gate.enable(dan, who.who.id()).await.unwrap();
    assert_eq!((may_ask(&who).await, groups(&gina).await), (Ok(()), vec!["engineers".parse().unwrap()]));
    // Just so if the directory has them no more.
    gate.disable(dan, who.who.id(), None).await.unwrap();
    assert_eq!(hr.delete(&format!("/Users/{gina}")).await, StatusCode::NO_CONTENT);
    let refusal = gate.enable(dan, who.who.id()).await.unwrap_err();
    assert!(refusal.to_string().contains("the directory `corp` says"), "{refusal}");

    // The directory's word alone: taken back by the directory.
    let who = signed_in(&served, &hal).await;
    assert!(!says(&hal, false).await);
    assert!(says(&hal, true).await);
    assert_eq!(may_ask(&who).await, Ok(()));
    // The administrator's besides, whoever spoke first: once it is entered, the directory lets nobody in alone.
    assert!(!says(&hal, false).await);
    for _ in 0..2 {
        gate.disable(dan, who.who.id(), Some("for good".into())).await.unwrap();
    }
    let held = served.test.entries().await.unwrap().into_iter().filter(|name| name == "directory.user_held").count();
    assert_eq!(held, 1, "said once, however often");
    assert!(!says(&hal, true).await, "the administrator was told that they are out");
    assert_eq!(may_ask(&who).await, Err(Reason::Disabled));
    gate.enable(dan, who.who.id()).await.unwrap();
    assert_eq!(may_ask(&who).await, Ok(()));
    assert!(gate.replay().await.unwrap().differences.is_empty());
}

// covers: WHO-3, GRANT-3 (api)
#[tokio::test]
async fn a_group_keeps_its_new_name_whoever_comes_meanwhile() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let mut people = Vec::new();
    for n in 0..8 {
        people.push(hr.bring(&format!("p{n}")).await);
    }
    let team = hr.group("Platform Team", &[]).await;
    let at = format!("/Groups/{team}");
    let body = |operations: Value| json!({ "schemas": [PATCH], "Operations": operations }).to_string();
    let send = |operations: Value| {
        tokio::spawn(hr.call(Method::PATCH, &at).header("content-type", "application/scim+json").body(body(operations)).send())
    };
    for round in 0..6 {
        let (op, name) = (if round % 2 == 0 { "add" } else { "remove" }, format!("Old Team {round}"));
        let mut sent: Vec<_> = Vec::new();
        for (n, id) in people.iter().enumerate() {
            if n == people.len() / 2 {
                sent.push(send(json!([{ "op": "replace", "path": "displayName", "value": name }])));
            }
            sent.push(send(json!([{ "op": op, "path": "members", "value": [{ "value": id }] }])));
        }
        for answer in sent {
            assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::NO_CONTENT);
        }
        let (_, shown) = hr.get(&at).await;
        let members = shown["members"].as_array().map_or(0, Vec::len);
        assert_eq!((&shown["displayName"], members), (&json!(name), if op == "add" { 8 } else { 0 }));
    }
    // Whoever comes or goes brings no name along; whoever renames does.
    let names = async || {
        let filter = EntryFilter { name: Some("directory.group_changed".into()), ..EntryFilter::default() };
        let page = EntryPage { limit: 1, after: None, newest_first: true };
        let entry = served.test.gate.store().entries(&filter, page).await.unwrap().remove(0).entry;
        entry.text("display_name").map(str::to_owned)
    };
    let (status, _) = hr.patch(&at, json!([{ "op": "replace", "path": "displayName", "value": "Team" }])).await;
    assert_eq!((status, names().await), (StatusCode::NO_CONTENT, Some("Team".to_owned())));
    hr.patch(&at, json!([{ "op": "add", "path": "members", "value": [{ "value": people[0] }] }])).await;
    assert_eq!(names().await, None);
    assert_eq!(hr.get(&at).await.1["displayName"], "Team");
    assert!(served.test.gate.replay().await.unwrap().differences.is_empty());
}

/// Erases a text of the newest entry of an event.
async fn erase(served: &Served, event: &str, text: &str) {
    let filter = EntryFilter { name: Some(event.into()), ..EntryFilter::default() };
    let page = EntryPage { limit: 20, after: None, newest_first: true };
    let entries = served.test.gate.store().entries(&filter, page).await.unwrap();
    let entry = entries.iter().find(|logged| logged.entry.text(text).is_some()).unwrap().entry.id;
    served.test.gate.erase_text(served.test.person("carla"), entry, text, "they asked").await.unwrap();
}

// covers: WHO-3, GRANT-3 (api), EV-7
#[tokio::test]
async fn whose_texts_were_erased_can_leave_all_the_same() {
    for subject in [Subject::UserName, Subject::ExternalId] {
        let served = Served::start().await;
        let signs_in = Some(("https://login.example".to_owned(), subject));
        served.test.gate.serve_directories(vec![Directory { signs_in, ..named("corp") }]);
        let hr = Hr::connected(&served, "corp").await;
        let store = served.test.gate.store();
        let gina = hr.bring("gina").await;
        let team = hr.group("Platform Team", &[]).await;
        let (at, id) = (format!("/Users/{gina}"), gina.parse().unwrap());
        let active = |active: bool| json!([{ "op": "replace", "path": "active", "value": active }]);
        for on in [false, true] {
            assert_eq!(hr.patch(&at, active(on)).await.0, StatusCode::OK);
        }
        let before = store.directory_user(id).await.unwrap().unwrap();
        // Nothing of what she is called there is left, and she is found by it as before.
        erase(&served, "directory.user_changed", "user_name").await;
        erase(&served, "directory.user_changed", "external_id").await;
        let (status, shown) = hr.patch(&at, active(false)).await;
        assert_eq!((status, &shown["active"]), (StatusCode::OK, &json!(false)), "{shown}");
        let after = store.directory_user(id).await.unwrap().unwrap();
        assert_eq!((after.user_name.as_deref(), after.external_id.as_deref()), (None, None));
        assert_eq!((&after.user_name_key, &after.external_id_key), (&before.user_name_key, &before.external_id_key));
        // What was erased leaves no gap for another account.
        let (path, other) = match subject {
            Subject::UserName => ("userName", "mallory@example.com"),
            Subject::ExternalId => ("externalId", "00u-mallory"),
        };
        let (status, error) = hr.patch(&at, json!([{ "op": "replace", "path": path, "value": other }])).await;
        assert_eq!((status, &error["scimType"]), (StatusCode::BAD_REQUEST, &json!("mutability")), "{error}");
        // Said anew, it is who it was.
        let (status, shown) = hr.send(Method::PUT, &at, user("gina")).await;
        assert_eq!((status, &shown["userName"], &shown["externalId"]), (StatusCode::OK, &json!("gina@example.com"), &json!("00u-gina")));
        // A group's name is gone too, though somebody came later; and it stays what it is.
        hr.patch(&format!("/Groups/{team}"), json!([{ "op": "add", "path": "members", "value": [{ "value": gina }] }])).await;
        erase(&served, "directory.group_added", "display_name").await;
        let group = store.directory_group(team.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(group.display_name, None);
        let (status, _) = hr.patch(&format!("/Groups/{team}"), json!([{ "op": "remove", "path": "members" }])).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let left = store.directory_group(team.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((left.display_name, left.name_key), (None, group.name_key));
        assert!(served.test.gate.replay().await.unwrap().differences.is_empty());
    }
}

// covers: WHO-3, OK-3 (api)
#[tokio::test]
async fn whoever_made_a_directorys_token_and_whom_it_brought_do_not_agree_to_each_others_requests() {
    let served = Served::start().await;
    let groups = std::collections::BTreeMap::from([("Leads".to_owned(), "leads".parse().unwrap())]);
    let directory = |name: &str| Directory { groups: groups.clone(), ..named(name) };
    served.test.gate.serve_directories(vec![directory("corp"), directory("partners")]);
    let gate = &served.test.gate;
    let (corp, partners) = (Hr::connected_by(&served, "corp", "dan").await, Hr::connected_by(&served, "partners", "admin").await);
    let (gina, kim) = (corp.bring("gina").await, partners.bring("kim").await);
    corp.group("Leads", &[&gina]).await;
    partners.group("Leads", &[&kim]).await;
    let of_ana = gate.submit(served.test.person("ana"), ask("db-1", "debug")).await.unwrap().request;
    let of_dan = gate.submit(served.test.person("dan"), ask("db-1", "debug")).await.unwrap().request;

    // Leads decide; Gina not on what Dan asks, who made the token that brought her.
    let (gina, kim_here) = (signed_in(&served, &gina).await, signed_in(&served, &kim).await);
    for (who, request, can) in [(&gina, &of_ana, true), (&gina, &of_dan, false), (&kim_here, &of_ana, true), (&kim_here, &of_dan, true)] {
        assert_eq!(gate.can_decide(who, request).await.unwrap(), can, "{} on what {} asks", who.who.username(), request.person);
    }
    let refusal = gate.vote(&gina, of_dan.id, access::approval::Decision::Approve, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SelfApproval, "{refusal}");
    // Nor Kim, from when a token of Dan's says more of her than that she is there.
    let by_dan = Hr::connected_by(&served, "partners", "dan").await;
    assert_eq!(by_dan.get(&format!("/Users/{kim}")).await.0, StatusCode::OK);
    assert!(gate.can_decide(&kim_here, &of_dan).await.unwrap());
    by_dan.group("Others", &[&kim]).await;
    assert!(!gate.can_decide(&kim_here, &of_dan).await.unwrap());
    assert!(gate.can_decide(&kim_here, &of_ana).await.unwrap());
    // What was said by which token stands in the log.
    let filter = EntryFilter { name: Some("directory.group_added".into()), ..EntryFilter::default() };
    let page = EntryPage { limit: 3, after: None, newest_first: false };
    let said = gate.store().entries(&filter, page).await.unwrap();
    let tokens: std::collections::BTreeSet<_> = said.iter().map(|logged| logged.entry.text("token").unwrap()).collect();
    assert_eq!((said.len(), tokens.len()), (3, 3));
    assert!(gate.replay().await.unwrap().differences.is_empty());
}
