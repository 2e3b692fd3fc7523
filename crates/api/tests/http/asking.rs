//! Asking and deciding over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Served, read, wish};

// covers: ASK-1, ASK-4, OK-5 (api)
#[tokio::test]
async fn ana_asks_ben_finds_it_in_his_inbox_and_approves() {
    let served = Served::start().await;
    let (ana, ben) = (served.person("ana").await, served.person("ben").await);

    let (status, preview) = ana.post("/requests/preview", wish()).await;
    assert_eq!((status, &preview["answer"]), (StatusCode::OK, &json!("needs_approval")));
    let (status, asked) = ana.post("/requests", wish()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{asked}");
    assert_eq!((&asked["answer"], &asked["joined"], &asked["grant"]), (&json!("needs_approval"), &json!(false), &Value::Null));
    assert!(!asked["policies"].as_array().unwrap().is_empty() && !asked["why"].as_array().unwrap().is_empty());
    let id = asked["request"]["id"].as_str().unwrap();

    let inbox = |list: Value| list["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    assert_eq!(inbox(ben.get("/requests?of=inbox").await.1), [json!(id)]);
    assert!(inbox(ana.get("/requests?of=inbox").await.1).is_empty(), "nobody decides on their own request");
    let (_, detail) = ben.get(&format!("/requests/{id}")).await;
    assert_eq!((&detail["can_decide"], &detail["stages"][0]["missing"]), (&json!(true), &json!(1)));

    let (status, refused) = ana.post(&format!("/requests/{id}/approve"), json!({})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("self_approval")));
    let (status, voted) = ben.post(&format!("/requests/{id}/approve"), json!({ "note": "go ahead" })).await;
    assert_eq!((status, &voted["request"]["state"]), (StatusCode::OK, &json!("approved")), "{voted}");
    let grant = voted["grant"]["id"].as_str().unwrap();
    assert_eq!(voted["grant"]["kind"], "ssh", "{voted}");

    let (_, detail) = ana.get(&format!("/requests/{id}")).await;
    assert_eq!((&detail["votes"][0]["note"], &detail["grant"]["id"]), (&json!("go ahead"), &json!(grant)));
    let (status, active) = ana.post(&format!("/grants/{grant}/activate"), json!({})).await;
    assert_eq!((status, &active["state"]), (StatusCode::OK, &json!("active")), "{active}");
    assert_eq!(active["approvers"][0]["username"], "ben");
    let (status, ended) = ana.post(&format!("/grants/{grant}/return"), json!({})).await;
    assert_eq!((status, &ended["grant"]["end"]), (StatusCode::OK, &json!("returned")), "{ended}");
}

// covers: ASK-1, OK-1 (api)
#[tokio::test]
async fn low_risk_is_permitted_at_once_and_a_no_says_which_policies_said_it() {
    let served = Served::start().await;
    let (ana, frank) = (served.person("ana").await, served.person("frank").await);
    let (status, answer) =
        ana.post("/requests", json!({ "resource": "build-1", "role": "shell", "reason": "a build hangs", "activate": true })).await;
    assert_eq!(
        (status, &answer["answer"], &answer["grant"]["state"]),
        (StatusCode::CREATED, &json!("permit"), &json!("active")),
        "{answer}"
    );
    let (status, refused) = frank.post("/requests", wish()).await;
    assert_eq!((status, &refused["answer"]), (StatusCode::NOT_FOUND, &json!("deny")), "{refused}");
    let (status, refused) = ana.post("/requests", json!({ "resource": "db-1", "role": "debug", "reason": "x", "duration": "30d" })).await;
    assert_eq!((status, &refused["code"], &refused["answer"]), (StatusCode::FORBIDDEN, &json!("too_long"), &json!("deny")), "{refused}");
    assert!(!refused["policies"].as_array().unwrap().is_empty(), "{refused}");
}

// covers: OK-3 (api), C1
#[tokio::test]
async fn a_yes_from_whom_the_asker_invited_is_shown_as_that() {
    let served = Served::start().await;
    let (ana, ben, dan) = (served.person("ana").await, served.person("ben").await, served.person("dan").await);
    let mut files = served.test.gate.bundle().files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    files.insert(
        "people.toml".into(),
        people.replace("members = [\"ben\", \"dan\"]", "members = [\"ben\", \"dan\", \"gina\"]").into_bytes(),
    );
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    let (_, invited) = dan.post("/users", json!({ "username": "gina" })).await;
    let accept = served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": invited["code"] }));
    let (_, accepted) = read(accept.send().await.unwrap()).await;
    let gina = crate::Person { served: &served, token: accepted["token"]["secret"].as_str().unwrap().to_owned() };
    // Dan brought Gina here, and not Ana.
    for (asker, brought) in [(&ana, false), (&dan, true)] {
        let (_, asked) = asker.post("/requests", wish()).await;
        let id = asked["request"]["id"].as_str().unwrap();
        let (status, voted) = gina.post(&format!("/requests/{id}/approve"), json!({})).await;
        assert_eq!((status, &voted["request"]["state"]), (StatusCode::OK, &json!("approved")), "{voted}");
        assert_eq!(ben.get(&format!("/requests/{id}")).await.1["votes"][0]["invited_by_asker"], json!(brought));
        let voted =
            store::EntryFilter { name: Some("request.voted".into()), mentions: Some(id.to_owned()), ..store::EntryFilter::default() };
        let page = store::EntryPage { limit: 1, after: None, newest_first: true };
        let entry = served.test.gate.store().entries(&voted, page).await.unwrap().remove(0).entry;
        assert!(
            matches!(entry.event, access::event::Event::RequestVoted { invited_by_asker, .. } if invited_by_asker == brought),
            "{entry:?}"
        );
    }
    assert!(served.test.gate.replay().await.unwrap().differences.is_empty());
}

// covers: B2 (api)
#[tokio::test]
async fn what_is_not_for_one_is_as_what_does_not_exist() {
    let served = Served::start().await;
    let (ana, frank) = (served.person("ana").await, served.person("frank").await);
    let (_, asked) = ana.post("/requests", wish()).await;
    let id = asked["request"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ana.get(&format!("/requests/{id}")).await.0, StatusCode::OK);

    let without_id = |mut problem: Value| {
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    let none = "req_01234567890123456789012345";
    for path in ["", "/approve", "/deny", "/cancel"] {
        let method = if path.is_empty() { Method::GET } else { Method::POST };
        let ask = |id: String| read_later(frank.call(method.clone(), &format!("/requests/{id}{path}")));
        let (hidden, nowhere) = (ask(id.clone()).await, ask(none.to_owned()).await);
        assert_eq!(hidden.0, StatusCode::NOT_FOUND, "{path}: {}", hidden.1);
        let strip = |problem: Value, id: &str| without_id(problem).to_string().replace(id, "ID");
        assert_eq!(strip(hidden.1, &id), strip(nowhere.1, none), "{path}");
    }
}

// covers: B2 (api)
#[tokio::test]
async fn a_resource_that_no_path_leads_to_is_as_one_that_does_not_exist() {
    let served = Served::start().await;
    let (ana, carla, frank, dan) =
        (served.person("ana").await, served.person("carla").await, served.person("frank").await, served.person("dan").await);
    // Gina has just joined, and is in no group.
    let (_, invited) = dan.post("/users", json!({ "username": "gina" })).await;
    let accept = served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": invited["code"] }));
    let (_, accepted) = read(accept.send().await.unwrap()).await;
    let gina = crate::Person { served: &served, token: accepted["token"]["secret"].as_str().unwrap().to_owned() };

    // Everything that somebody is told who asks, previews, or wants it explained; with a right role, a wrong one and none.
    let told = async |who: &crate::Person<'_>, resource: &str| {
        let mut told = vec![read(who.call(Method::GET, &format!("/resources/{resource}")).send().await.unwrap()).await];
        for (role, break_glass) in [(Some("debug"), false), (Some("debug"), true), (Some("nope"), false), (None, false)] {
            let mut ask = json!({ "resource": resource, "reason": "a slow query", "break_glass": break_glass, "duration": "99d" });
            if let Some(role) = role {
                ask["role"] = json!(role);
            }
            told.push(who.post("/requests", ask.clone()).await);
            told.push(who.post("/requests/preview", ask.clone()).await);
            told.push(who.post("/policy/explain", json!({ "request": ask })).await);
        }
        let plain = |(status, mut answer): (StatusCode, Value)| {
            answer.as_object_mut().unwrap().remove("request_id");
            format!("{status} {answer}").replace(resource, "NAME")
        };
        told.into_iter().map(plain).collect::<Vec<_>>()
    };
    // Ana is told what there is …
    let known = told(&ana, "db-1").await;
    assert!(known[1].contains("too_long") && known[7].contains("it has `"), "{known:#?}");
    // … Gina and Frank are not: neither roles, nor policies, nor names like it.
    for who in [&gina, &frank] {
        let nowhere = told(who, "zz-9").await;
        assert_eq!(told(who, "db-1").await, nowhere);
        assert_eq!(told(who, "db-7").await, nowhere, "nobody is pointed to what they may not know of");
        assert!(nowhere[1..].iter().all(|told| told.contains("unknown_resource") && !told.contains("team-on-its-own")), "{nowhere:#?}");
        let (status, _) = carla.post("/locks", json!({ "scope": "resource:db-1", "duration": "1h" })).await;
        assert_eq!(status, StatusCode::CREATED);
        assert!(told(&ana, "db-1").await[1].contains("locked"));
        assert_eq!(told(who, "db-1").await, nowhere, "locked");
        assert_eq!(told(who, "zz-9").await, nowhere);
    }
    assert!(told(&frank, "biuld-1").await[1].contains("did you mean `build-1`?"));
    // Who keeps the policy sees every resource, and is told why no path leads there.
    let (status, explained) = dan.post("/policy/explain", json!({ "request": { "resource": "ledger-1", "role": "debug" } })).await;
    assert!(status == StatusCode::OK && explained["text"].as_str().unwrap().contains("payments-on-the-ledger"), "{explained}");
}

// covers: GRANT-9 (api), B2 (api)
#[tokio::test]
async fn a_path_for_emergencies_alone_is_found_by_whom_it_leads() {
    let served = Served::start().await;
    let dan = served.person("dan").await;
    // Gina has just joined, and is in no group.
    let (_, invited) = dan.post("/users", json!({ "username": "gina" })).await;
    let accept = served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": invited["code"] }));
    let (_, accepted) = read(accept.send().await.unwrap()).await;
    let gina = crate::Person { served: &served, token: accepted["token"]["secret"].as_str().unwrap().to_owned() };
    let hidden = async |name: &str| {
        let (status, mut answer) = gina.get(&format!("/resources/{name}")).await;
        answer.as_object_mut().unwrap().remove("request_id");
        (status, answer.to_string().replace(name, "NAME"))
    };
    let nowhere = hidden("zz-9").await;
    assert_eq!(nowhere.0, StatusCode::NOT_FOUND);
    assert_eq!(hidden("orders-db").await, nowhere);
    assert_eq!(gina.get("/resources").await.1["items"], json!([]));

    let mut files = served.test.gate.bundle().files().clone();
    let rule = r#"
@id("gina-in-emergencies")
@breakglass("security, 24h")
@max_duration("1h")
permit (principal == Tide::User::"gina", action == Tide::Action::"request", resource in Tide::Tier::"prod")
when { resource.role == Tide::Role::"readonly" };
"#;
    files.insert("gina.cedar".into(), rule.as_bytes().to_vec());
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    let (_, list) = gina.get("/resources").await;
    let roles = |resource: &Value| {
        let roles = resource["roles"].as_array().unwrap().iter();
        roles.map(|offer| (offer["role"].clone(), offer["emergency"].clone(), offer["answer"].clone())).collect::<Vec<_>>()
    };
    let alone = [(json!("readonly"), json!(true), json!("permit"))];
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!((&list["items"][0]["name"], roles(&list["items"][0])), (&json!("orders-db"), alone.to_vec()));
    let (status, shown) = gina.get("/resources/orders-db").await;
    assert_eq!((status, roles(&shown), shown["rights"].as_array().unwrap().len()), (StatusCode::OK, alone.to_vec(), 1), "{shown}");
    assert_eq!(hidden("db-1").await, nowhere, "no path leads there");

    let ask = |break_glass: bool| json!({ "resource": "orders-db", "role": "readonly", "reason": "checkout is down", "break_glass": break_glass });
    assert_eq!(gina.post("/requests/preview", ask(false)).await.1["answer"], "deny");
    assert_eq!(gina.post("/requests/preview", ask(true)).await.1["answer"], "permit");
    let (status, opened) = gina.post("/requests", ask(true)).await;
    assert_eq!((status, &opened["grant"]["kind"]), (StatusCode::CREATED, &json!("postgres")), "{opened}");
    // Who has an ordinary path besides is offered that.
    let (_, ben) = served.person("ben").await.get("/resources/db-1").await;
    let offers = roles(&ben);
    assert!(offers.contains(&(json!("shell"), json!(false), json!("needs_approval"))), "{offers:?}");
    assert!(offers.contains(&(json!("admin"), json!(true), json!("permit"))), "{offers:?}");
}

#[tokio::test]
async fn ways_in_come_by_name_and_a_part_at_a_time() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let path = format!("/users/{}/ways-in", served.test.person("ana").who.id());
    let (_, whole) = ana.get(&format!("{path}?limit=500")).await;
    let whole_items = whole["items"].as_array().unwrap().clone();
    assert!(whole_items.len() > 4 && whole["next_cursor"].is_null(), "{whole}");
    let name = |way: &Value| (way["resource"].as_str().unwrap().to_owned(), way["role"]["role"].as_str().unwrap().to_owned());
    assert!(whole_items.iter().map(name).is_sorted(), "{whole}");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, part) = ana.get(&format!("{path}?limit=2{cursor}")).await;
        let items = part["items"].as_array().unwrap();
        assert!((1..=2).contains(&items.len()), "{part}");
        seen.extend(items.clone());
        let Some(next) = part["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, whole_items);
}

// covers: B2 (api)
#[tokio::test]
async fn who_holds_a_role_sees_it_when_no_path_leads_there_any_more() {
    let served = Served::start().await;
    let dan = served.person("dan").await;
    // Gina has just joined, and is in no group.
    let (_, invited) = dan.post("/users", json!({ "username": "gina" })).await;
    let accept = served.call(Method::POST, "/api/v1/invitations/accept").json(&json!({ "code": invited["code"] }));
    let (_, accepted) = read(accept.send().await.unwrap()).await;
    let gina = crate::Person { served: &served, token: accepted["token"]["secret"].as_str().unwrap().to_owned() };
    let roles = async || {
        let (status, shown) = gina.get("/resources/db-1").await;
        let rights = shown["rights"].as_array().cloned().unwrap_or_default();
        (status, rights.iter().map(|right| right["role"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(roles().await.0, StatusCode::NOT_FOUND);

    // She takes Dan's duty, and something burns.
    let files = served.test.gate.bundle().files().clone();
    let mut on_duty = files.clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    on_duty.insert(
        "people.toml".into(),
        people.replace("name = \"platform\"\npeople = [\"dan\"]", "name = \"platform\"\npeople = [\"gina\"]").into_bytes(),
    );
    served.test.gate.push_bundle(served.test.person("dan"), on_duty).await.unwrap();
    assert!(roles().await.1.len() > 1);
    let ask = json!({ "resource": "db-1", "role": "shell", "reason": "checkout is down", "break_glass": true, "activate": true });
    let (status, opened) = gina.post("/requests", ask).await;
    assert_eq!(status, StatusCode::CREATED, "{opened}");

    // Off duty she keeps what she was given, and sees that of the resource and no more.
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    assert_eq!(roles().await, (StatusCode::OK, vec![json!("shell")]));
    assert_eq!(gina.get("/resources").await.1["items"], json!([]), "there is nothing she could ask for");
    let (status, _) = gina.post(&format!("/grants/{}/return", opened["grant"]["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((status, roles().await.0), (StatusCode::OK, StatusCode::NOT_FOUND));
}

// covers: ASK-6 (api)
#[tokio::test]
async fn whoever_decides_is_told_what_the_role_may_do_and_what_is_left_of_it() {
    let served = Served::start().await;
    let (ana, dan) = (served.person("ana").await, served.person("dan").await);
    let wish = |limits: Value| json!({ "resource": "orders-db", "role": "readwrite", "reason": "an order is stuck", "limits": limits });
    let (_, asked) = ana.post("/requests", wish(json!({}))).await;
    let path = format!("/requests/{}", asked["request"]["id"].as_str().unwrap());
    let (_, detail) = dan.get(&path).await;
    assert_eq!(detail["can_decide"], true, "{detail}");
    let all = detail["may"].as_array().unwrap().clone();
    for right in ["read `public.customers` with `email`, `phone` masked", "change `note`, `status` of `public.orders`"] {
        assert!(all.contains(&json!(right)), "{all:?}");
    }
    let fewer = json!({ "limits": { "read_only": true, "tables": ["public.orders"] } });
    let (status, changed) = read_later(ana.call(Method::PATCH, &path).json(&fewer)).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let (_, detail) = dan.get(&path).await;
    let left: Vec<&str> = detail["may"].as_array().unwrap().iter().map(|right| right.as_str().unwrap()).collect();
    assert_eq!(left, ["read `public.orders`", "run one statement for at most 30s"]);
    assert_eq!(detail["limits"]["tables"], json!(["public.orders"]));
}

async fn read_later(call: reqwest::RequestBuilder) -> (StatusCode, Value) {
    read(call.send().await.unwrap()).await
}

// covers: ASK-7 (api)
#[tokio::test]
async fn nobody_changes_what_they_have_not_seen() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    let asked = ana.call(Method::POST, "/requests").json(&wish()).send().await.unwrap();
    let tag = asked.headers()["etag"].to_str().unwrap().to_owned();
    let (_, asked) = read(asked).await;
    let path = format!("/requests/{}", asked["request"]["id"].as_str().unwrap());
    let edit = |tag: String, why: &str| ana.call(Method::PATCH, &path).header("if-match", tag).json(&json!({ "reason": why })).send();

    let changed = edit(tag.clone(), "two slow queries").await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    let newer = changed.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(newer, tag);
    let (status, refused) = read(edit(tag, "three").await.unwrap()).await;
    assert_eq!((status, &refused["code"]), (StatusCode::PRECONDITION_FAILED, &json!("stale")));
    let (_, now) = ana.get(&path).await;
    assert_eq!((&now["reason"], &now["revision"]), (&json!("two slow queries"), &json!(2)), "{now}");
    let (status, cancelled) = read(ana.call(Method::POST, &format!("{path}/cancel")).header("if-match", newer).send().await.unwrap()).await;
    assert_eq!((status, &cancelled["state"]), (StatusCode::OK, &json!("cancelled")), "{cancelled}");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let served = Served::start().await;
    let ana = served.person("ana").await;
    for role in ["debug", "logs"] {
        ana.post("/requests", json!({ "resource": "db-1", "role": role, "reason": "x" })).await;
    }
    ana.post("/requests", json!({ "resource": "build-1", "role": "shell", "reason": "x" })).await;
    let (_, first) = ana.get("/requests?limit=2").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let (_, second) = ana.get(&format!("/requests?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!((second["items"].as_array().unwrap().len(), second.get("next_cursor")), (1, None));
    let (status, wrong) = ana.get("/requests?cursor=abc").await;
    assert_eq!((status, &wrong["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")));
}

#[tokio::test]
async fn resources_say_what_each_role_would_take() {
    let served = Served::start().await;
    let (ana, frank, dan) = (served.person("ana").await, served.person("frank").await, served.person("dan").await);
    let names = |list: &Value| list["items"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let (_, all) = ana.get("/resources").await;
    assert!(names(&all).contains(&"db-1".to_owned()), "{all}");
    let (_, few) = frank.get("/resources").await;
    assert_eq!(names(&few), ["build-1"]);
    assert_eq!(frank.get("/resources/db-1").await.0, StatusCode::NOT_FOUND);
    let (_, shown) = ana.get("/resources/db-1").await;
    assert!(!shown["rights"].as_array().unwrap().is_empty());
    assert_eq!(shown["setup"], Value::Null);
    let (_, shown) = dan.get("/resources/db-1").await;
    assert_eq!(shown["setup"]["credential"]["kind"], "target_ca", "{shown}");
}
