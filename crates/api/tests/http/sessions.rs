//! Sessions over HTTP: listed, watched, ended, read, and taken away as evidence.

use std::time::Duration;

use access::session::{ClosedSession, EndReason, Protocol, Standing};
use evidence::recording::{Direction, Frame, FrameKind};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use workflow::open::Opened;

use crate::{Served, read};

/// Ana on the build machine.
pub(crate) async fn open(served: &Served) -> Opened {
    let ana = served.test.person("ana");
    served.test.gate.submit(ana, testkit::gate::ask("build-1", "shell")).await.unwrap();
    served.test.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap()
}

fn shown(text: &'static str) -> Frame {
    Frame { at_us: 1, channel: 0, direction: Direction::Output, kind: FrameKind::Bytes, bytes: text.into() }
}

// covers: SES-1, B5, EV-3, F4 (api)
#[tokio::test]
async fn carla_watches_ends_reads_and_exports_a_session_and_frank_learns_nothing() {
    let served = Served::start().await;
    let (ana, carla, frank) = (served.person("ana").await, served.person("carla").await, served.person("frank").await);
    let opened = open(&served).await;
    let session = opened.permit.facts().session;

    // It is listed to who may see it.
    let listed = |list: Value| list["items"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(listed(ana.get("/sessions?state=live").await.1), [session.to_string()]);
    assert_eq!(listed(carla.get("/sessions?all=true").await.1), [session.to_string()]);
    assert!(listed(frank.get("/sessions?all=true").await.1).is_empty());

    // Carla watches; Frank does not even learn that it exists.
    let mut view = carla.call(Method::GET, &format!("/sessions/{session}/watch")).send().await.unwrap();
    assert_eq!(view.status(), StatusCode::OK);
    for path in ["", "/watch", "/recording"] {
        assert_eq!(frank.get(&format!("/sessions/{session}{path}")).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    opened.recording.record(shown("hello\r\n")).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("aGVsbG8NCg==") {
        let chunk = tokio::time::timeout(Duration::from_secs(60), view.chunk()).await.expect("the frame comes").unwrap();
        seen.push_str(&String::from_utf8_lossy(&chunk.expect("the stream goes on")));
    }
    assert!(seen.contains("event: frame\n"), "{seen}");

    // She ends it; its relay sees the cut and confirms.
    let gate = served.test.gate.clone();
    let relay = tokio::spawn(async move {
        let Opened { mut standing, recording, .. } = opened;
        standing.wait_for(|now| matches!(now, Standing::Cut(_))).await.unwrap();
        let closed = recording.close("killed", 2).await.unwrap();
        let digest = closed.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let recording = Some((closed.chunks, digest));
        gate.close(ClosedSession { session, end: EndReason::Killed, confirmed: true, bytes_up: 0, bytes_down: 7, recording }).await;
    });
    let (status, cut) = carla.post(&format!("/sessions/{session}/kill"), json!({ "reason": "enough" })).await;
    assert_eq!((status, &cut["confirmed"]), (StatusCode::OK, &json!([session.to_string()])), "{cut}");
    relay.await.unwrap();
    let (_, ended) = ana.get(&format!("/sessions/{session}")).await;
    assert_eq!((&ended["state"], &ended["end"]), (&json!("ended"), &json!("killed")));

    // What passed is read back, and shown as a terminal would.
    let recording = carla.call(Method::GET, &format!("/sessions/{session}/recording")).send().await.unwrap();
    assert_eq!(recording.headers()["content-type"], "application/x-ndjson");
    let text = recording.text().await.unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["direction"], &first["data"]), (&json!("output"), &json!("aGVsbG8NCg==")));
    let cast =
        carla.call(Method::GET, &format!("/sessions/{session}/recording?format=asciicast")).send().await.unwrap().text().await.unwrap();
    assert!(cast.starts_with("{\"version\"") && cast.contains("hello"), "{cast}");

    // And taken away.
    let export = carla.call(Method::POST, "/evidence/export").json(&json!({ "session": session })).send().await.unwrap();
    assert_eq!((export.status(), export.headers()["content-type"].as_bytes()), (StatusCode::OK, &b"application/octet-stream"[..]));
    assert!(export.bytes().await.unwrap().len() > 1000);
    let left = std::fs::read_dir(served.test.dir()).unwrap().filter_map(Result::ok);
    assert!(!left.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("export-")), "nothing is left behind");
    let refused = ana.call(Method::POST, "/evidence/export").json(&json!({ "session": session })).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let (status, unclear) = read(carla.call(Method::POST, "/evidence/export").json(&json!({})).send().await.unwrap()).await;
    assert_eq!((status, &unclear["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")));
}

fn done(activity: Value) -> Frame {
    Frame { at_us: 1, channel: 0, direction: Direction::Gate, kind: FrameKind::Activity, bytes: activity.to_string().into() }
}

// covers: B2, G2, F4 (api)
#[tokio::test]
async fn what_one_may_not_see_answers_like_what_does_not_exist() {
    use access::identity::Scope;
    let served = Served::start().await;
    let opened = open(&served).await;
    let session = opened.permit.facts().session.to_string();
    let ana = served.person("ana").await;
    let (_, asked) = ana.post("/requests", crate::wish()).await;
    let request = asked["request"]["id"].as_str().unwrap().to_owned();
    let grant = ana.get("/grants").await.1["items"][0]["id"].as_str().unwrap().to_owned();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    let (_, key) = ana.post("/me/keys", json!({ "public_key": key })).await;
    let key = key["id"].as_str().unwrap().to_owned();
    // The same id but for its end is nobody's.
    let nobody = |id: &str| {
        let (head, tail) = id.split_at(id.len() - 6);
        format!("{head}{}", tail.chars().rev().map(|c| if c == '0' { '1' } else { '0' }).collect::<String>())
    };
    let routes = [
        ("GET", "/sessions/ID", &session, json!({})),
        ("GET", "/sessions/ID/watch", &session, json!({})),
        ("GET", "/sessions/ID/recording", &session, json!({})),
        ("GET", "/sessions/ID/recording?input=true", &session, json!({})),
        ("POST", "/sessions/ID/kill", &session, json!({})),
        ("GET", "/requests/ID", &request, json!({})),
        ("PATCH", "/requests/ID", &request, json!({ "reason": "mine now" })),
        ("POST", "/requests/ID/approve", &request, json!({})),
        ("POST", "/requests/ID/deny", &request, json!({})),
        ("POST", "/requests/ID/cancel", &request, json!({})),
        ("GET", "/grants/ID", &grant, json!({})),
        ("POST", "/grants/ID/activate", &grant, json!({})),
        ("POST", "/grants/ID/extend", &grant, json!({ "duration": "1h" })),
        ("POST", "/grants/ID/return", &grant, json!({})),
        ("POST", "/grants/ID/revoke", &grant, json!({})),
        ("DELETE", "/keys/ID", &key, json!({})),
    ];
    let frank = served.person("frank").await;
    let frank_may_read = crate::Person { served: &served, token: served.token("frank", &[Scope::Read]).await };
    let carla = served.test.person("carla");
    for locked in [false, true] {
        if locked {
            let scope = access::lock::LockScope::Person(served.test.person("frank").who.id());
            served.test.gate.lock(carla, scope, None, Some("drill".into())).await.unwrap();
        }
        for who in [&frank, &frank_may_read] {
            for (method, path, id, body) in &routes {
                let mut answers = Vec::new();
                for id in [(*id).clone(), nobody(id)] {
                    let call = who.call(method.parse().unwrap(), &path.replace("ID", &id)).json(body);
                    let (status, mut problem) = read(call.send().await.unwrap()).await;
                    assert!(status.is_client_error(), "{method} {path}: {status} {problem}");
                    problem["request_id"].take();
                    answers.push(problem.to_string().replace(&id, "ID"));
                }
                assert_eq!(answers[0], answers[1], "{method} {path}, locked: {locked}");
            }
        }
    }
}

// covers: EV-5, F4, B2 (api)
#[tokio::test]
async fn a_search_finds_what_one_may_see_and_looks_only_into_what_one_may_read() {
    let served = Served::start().await;
    let (ana, carla, frank) = (served.person("ana").await, served.person("carla").await, served.person("frank").await);
    let opened = open(&served).await;
    let session = opened.permit.facts().session;
    opened.recording.record(done(json!({"kind": "exec", "command": "pg_dump Orders > /tmp/out"}))).await.unwrap();
    opened.recording.record(done(json!({"kind": "sftp", "act": "file", "path": "/srv/invoices/march.csv"}))).await.unwrap();
    opened.recording.record(shown("orders: 17 rows\r\n")).await.unwrap();
    opened.recording.close("client", 2).await.unwrap();
    let closed = ClosedSession { session, end: EndReason::Client, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None };
    served.test.gate.close(closed).await;
    let search = async |who: &crate::Person<'_>, query: &str| {
        let (status, found) = who.get(&format!("/sessions/search?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {found}");
        found["items"].as_array().unwrap().clone()
    };

    // By what stands in its row.
    let ana_id = served.test.person("ana").who.id();
    for hit in [
        "",
        "resource=build-1",
        "role=shell&end=client",
        "protocol=ssh&state=ended",
        "since=2020-01-01T00:00:00Z",
        &format!("person={ana_id}"),
    ] {
        let found = search(&carla, hit).await;
        assert_eq!((found.len(), &found[0]["session"]["id"], &found[0]["whole"]), (1, &json!(session.to_string()), &json!(true)), "{hit}");
    }
    let carla_id = served.test.person("carla").who.id();
    for miss in ["resource=db-1", "role=debug", "end=killed", "state=live", "until=2020-01-01T00:00:00Z", &format!("person={carla_id}")] {
        assert!(search(&carla, miss).await.is_empty(), "{miss}");
    }
    // And by the ticket that it was asked for with.
    let mut ask = testkit::gate::ask("build-1", "shell");
    ask.ticket = Some("INC-77".to_owned());
    let grants = served.test.gate.store().open_grants_of(ana_id).await.unwrap();
    for grant in grants {
        served.test.gate.give_back(served.test.person("ana"), grant.id).await.unwrap();
    }
    served.test.gate.submit(served.test.person("ana"), ask).await.unwrap();
    let (resource, role) = ("build-1".parse().unwrap(), "shell".parse().unwrap());
    let other = served.test.gate.open(served.test.person("ana"), &resource, &role, Protocol::Ssh).await.unwrap();
    let other = other.permit.facts().session;
    let found = search(&carla, "ticket=INC-77").await;
    assert_eq!((found.len(), &found[0]["session"]["id"]), (1, &json!(other.to_string())));
    assert!(search(&carla, "ticket=INC-7").await.is_empty() && search(&frank, "ticket=INC-77").await.is_empty());
    served
        .test
        .gate
        .close(ClosedSession { session: other, end: EndReason::Killed, confirmed: true, bytes_up: 0, bytes_down: 0, recording: None })
        .await;
    assert!(search(&frank, "").await.is_empty(), "what he may not see is not found");
    assert_eq!(search(&ana, "").await.len(), 2, "her own are hers to see");

    // By what was done, and by what a terminal showed.
    let found = search(&carla, "text=ORDERS").await;
    assert_eq!(found[0]["passages"][0]["activity"]["command"], "pg_dump Orders > /tmp/out", "{found:?}");
    assert_eq!(found[0]["passages"].as_array().unwrap().len(), 2);
    assert_eq!(found[0]["passages"][1]["activity"], json!({"kind": "shown", "line": "orders: 17 rows"}));
    assert_eq!(search(&carla, "text=invoices/march").await.len(), 1);
    assert!(search(&carla, "text=18%20rows").await.is_empty());
    assert_eq!(search(&ana, "text=orders").await.len(), 1, "the example lets her read her own");
    assert!(search(&frank, "text=orders").await.is_empty());
    let (status, problem) = carla.get("/sessions/search?text=").await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")));

    // What was looked for, and what was found, is entered.
    let (_, log) = served.person("eve").await.get("/audit/entries?event=recordings.searched").await;
    let log = log["items"].as_array().unwrap();
    assert_eq!(log.len(), 4, "one for each search that looked into a recording");
    assert_eq!(log.iter().filter(|entry| entry["actor"] == json!(carla_id.to_string())).count(), 3);
    assert!(
        log.iter().any(|entry| entry["data"]["found"] == json!([session.to_string()]) && entry["texts"]["text"] == json!("orders")),
        "{log:?}"
    );

    // To see a session is not to read its recording.
    let mut files = served.test.gate.bundle().files().clone();
    let rule = "@id(\"ana-reads-nothing\")\n@reason(\"a drill\")\nforbid (principal == Tide::User::\"ana\", action == Tide::Action::\"read\", resource);\n";
    files.insert("drill.cedar".into(), rule.as_bytes().to_vec());
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    assert_eq!(search(&ana, "").await.len(), 2);
    assert!(search(&ana, "text=orders").await.is_empty());
}

/// What is heard until the view is over, which may not take long.
async fn rest(mut view: reqwest::Response) -> String {
    let mut seen = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(chunk) = view.chunk().await.unwrap() {
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    });
    assert!(ended.await.is_ok(), "the watcher still watches");
    seen
}

// covers: B5, D2, F4, WHO-7 (api)
#[tokio::test]
async fn a_view_ends_when_its_watcher_is_locked_or_disabled_or_their_token_is_revoked() {
    let served = Served::start().await;
    let opened = open(&served).await;
    let session = opened.permit.facts().session;
    let watch = async |who: &crate::Person<'_>| {
        let view = who.call(Method::GET, &format!("/sessions/{session}/watch")).send().await.unwrap();
        assert_eq!(view.status(), StatusCode::OK);
        view
    };
    let carla = served.person("carla").await;
    let carla_id = served.test.person("carla").who.id();
    let dan = served.person("dan").await;

    // Somebody else's end is nothing to her.
    let mut view = watch(&carla).await;
    served.test.gate.disable(served.test.person("dan"), served.test.person("frank").who.id(), None).await.unwrap();
    opened.recording.record(shown("hello\r\n")).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("event: frame\n") {
        let chunk = tokio::time::timeout(Duration::from_secs(60), view.chunk()).await.expect("the frame comes").unwrap();
        heard.push_str(&String::from_utf8_lossy(&chunk.expect("the view goes on")));
    }
    assert!(!heard.contains("withdrawn"), "{heard}");

    // Her token is revoked; with another she watches again.
    let who = served.test.gate.identify_token(&carla.token, testkit::gate::HERE).await.unwrap();
    let access::identity::Via::Token(token) = who.via() else { panic!("signed in with a token") };
    served.test.gate.revoke_token(served.test.person("carla"), *token).await.unwrap();
    assert!(rest(view).await.contains("event: withdrawn\n"));

    // She is locked; once it is lifted she watches again.
    let carla = served.person("carla").await;
    let (view, mut events) = (watch(&carla).await, carla.call(Method::GET, "/events").send().await.unwrap());
    assert_eq!(events.status(), StatusCode::OK);
    let scope = access::lock::LockScope::Person(carla_id);
    let (lock, _) = served.test.gate.lock(served.test.person("dan"), scope, None, Some("laptop lost".into())).await.unwrap();
    assert!(rest(view).await.contains("event: withdrawn\n"));
    let over = tokio::time::timeout(Duration::from_secs(60), async { while events.chunk().await.unwrap().is_some() {} });
    assert!(over.await.is_ok(), "she still hears what happens");
    assert_eq!(carla.get(&format!("/sessions/{session}/watch")).await.0, StatusCode::FORBIDDEN);
    served.test.gate.lift(served.test.person("dan"), lock.id).await.unwrap();

    // She is disabled.
    let view = watch(&carla).await;
    let (status, _) = dan.post(&format!("/users/{carla_id}/disable"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert!(rest(view).await.contains("event: withdrawn\n"));
}

// covers: EV-9 (api)
#[tokio::test]
async fn who_did_has_no_end_that_is_not_said() {
    let served = Served::start().await;
    let (ana, eve) = (served.test.person("ana"), served.person("eve").await);
    let mut opened = vec![open(&served).await.permit.facts().session.to_string()];
    for _ in 0..4 {
        served.test.time.advance(Duration::from_secs(1));
        let next = served.test.gate.open(ana, &"build-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
        opened.push(next.permit.facts().session.to_string());
    }
    served.test.time.advance(Duration::from_secs(1));
    let (mut seen, mut cursor, mut parts) = (Vec::new(), String::new(), 0);
    loop {
        let (status, part) = eve.get(&format!("/audit/who-did?resource=build-1&limit=2{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{part}");
        parts += 1;
        seen.extend(part["items"].as_array().unwrap().iter().map(|one| one["session"].as_str().unwrap().to_owned()));
        let Some(next) = part["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((parts, seen), (3, opened), "oldest first, each once");
}

// covers: B5 (api)
#[tokio::test]
async fn who_may_watch_emergencies_alone_goes_on_watching_one() {
    let served = Served::start().await;
    let mut files = served.test.gate.bundle().files().clone();
    let rule = r#"
@id("ana-watches-emergencies")
permit (principal == Tide::User::"ana", action == Tide::Action::"watch", resource)
when { resource.break_glass };
"#;
    files.insert("ana.cedar".into(), rule.as_bytes().to_vec());
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    let ben = served.test.person("ben");
    let emergency = access::request::AccessRequest { break_glass: true, ..testkit::gate::ask("db-1", "shell") };
    served.test.gate.submit(ben, emergency).await.unwrap().grant.expect("opens at once");
    let opened = served.test.gate.open(ben, &"db-1".parse().unwrap(), &"shell".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let ana = served.person("ana").await;
    let mut view = ana.call(Method::GET, &format!("/sessions/{}/watch", opened.permit.facts().session)).send().await.unwrap();
    assert_eq!(view.status(), StatusCode::OK);
    // She is looked at anew, and may go on.
    let other = served.test.person("frank").who.id();
    served.test.gate.disable(served.test.person("dan"), other, None).await.unwrap();
    opened.recording.record(shown("hello\r\n")).await.unwrap();
    let mut heard = String::new();
    while !heard.contains("event: frame\n") {
        let chunk = tokio::time::timeout(Duration::from_secs(60), view.chunk()).await.expect("the frame comes").unwrap();
        heard.push_str(&String::from_utf8_lossy(&chunk.expect("the view goes on")));
    }
    assert!(!heard.contains("withdrawn"), "{heard}");
}

// covers: MAY-1 (api), B5 (api), EV-1 (api)
#[tokio::test]
async fn whom_a_policy_keeps_from_watching_is_told_which_and_why() {
    let served = Served::start().await;
    let gate = &served.test.gate;
    let ana = served.test.person("ana");
    let wish = access::request::AccessRequest { ticket: Some("INC-1".into()), ..testkit::gate::ask("ledger-1", "debug") };
    let request = gate.submit(ana, wish).await.unwrap().request;
    for who in ["ben", "carla"] {
        gate.vote(served.test.person(who), request.id, access::approval::Decision::Approve, None).await.unwrap();
    }
    let opened = gate.open(ana, &"ledger-1".parse().unwrap(), &"debug".parse().unwrap(), Protocol::Ssh).await.unwrap();
    let watched = format!("/sessions/{}/watch", opened.permit.facts().session);
    let (ben, eve) = (served.person("ben").await, served.person("eve").await);
    // Without the policy that closes it, ben leads who is watched and watches.
    let whole = gate.bundle().files().clone();
    let mut without = whole.clone();
    let oversight = String::from_utf8(whole["oversight.cedar"].clone()).unwrap();
    let (rest, _) = oversight.split_once("// A live view of the ledger shows card data.").unwrap();
    without.insert("oversight.cedar".into(), rest.as_bytes().to_vec());
    gate.push_bundle(served.test.person("dan"), without).await.unwrap();
    assert_eq!(ben.call(Method::GET, &watched).send().await.unwrap().status(), StatusCode::OK);
    gate.push_bundle(served.test.person("dan"), whole).await.unwrap();
    let (status, problem) = ben.get(&watched).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")), "{problem}");
    let why = "`ledger-is-watched-by-security-alone`: a live view of the ledger shows card data; only security watches";
    assert_eq!((&problem["detail"], &problem["policies"]), (&json!(why), &json!(["ledger-is-watched-by-security-alone"])), "{problem}");
    // The log says the same.
    let entry = eve.get("/audit/entries?event=action.refused&limit=1").await.1["items"][0].clone();
    assert_eq!((&entry["data"]["reason"], &entry["texts"]["detail"]), (&json!("forbidden"), &json!(why)), "{entry}");
    assert_eq!((&entry["data"]["policies"], &entry["data"]["bundle"]), (&problem["policies"], &json!(gate.bundle().digest())), "{entry}");
}

// covers: B5, D2 (api)
#[tokio::test]
async fn a_watcher_who_loses_the_right_sees_nothing_more() {
    let served = Served::start().await;
    let carla = served.person("carla").await;
    let opened = open(&served).await;
    let session = opened.permit.facts().session;
    let mut view = carla.call(Method::GET, &format!("/sessions/{session}/watch")).send().await.unwrap();
    assert_eq!(view.status(), StatusCode::OK);

    let mut files = served.test.gate.bundle().files().clone();
    let people = String::from_utf8(files["people.toml"].clone()).unwrap();
    files.insert("people.toml".into(), people.replace("members = [\"carla\"]", "members = [\"eve\"]").into_bytes());
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    let mut seen = String::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(chunk) = view.chunk().await.unwrap() {
            seen.push_str(&String::from_utf8_lossy(&chunk));
        }
    });
    assert!(ended.await.is_ok(), "the watcher still watches");
    assert!(seen.contains("event: withdrawn\n"), "{seen}");
}

// covers: G2 (api)
#[tokio::test]
async fn a_token_that_only_reads_ends_no_session() {
    let served = Served::start().await;
    let opened = open(&served).await;
    let session = opened.permit.facts().session;
    let with = async |scope| crate::Person { served: &served, token: served.token("ana", &[scope]).await };
    let (reads, asks) = (with(access::identity::Scope::Read).await, with(access::identity::Scope::Ask).await);
    let kill = format!("/sessions/{session}/kill");
    let (status, refused) = reads.post(&kill, json!({})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("scope_missing")), "{refused}");
    assert_eq!(*opened.standing.borrow(), Standing::Open { ends_at: opened.permit.facts().ends_at });
    served.test.gate.live().remove(session, true);
    assert_eq!(asks.post(&kill, json!({})).await.0, StatusCode::OK, "as with giving a grant back");
}

// covers: EV-3, F4 (api)
#[tokio::test]
async fn what_was_typed_is_read_with_what_was_shown_and_never_instead() {
    let served = Served::start().await;
    let opened = open(&served).await;
    let session = opened.permit.facts().session;
    opened.recording.close("client", 0).await.unwrap();
    let carla = served.person("carla").await;
    let read = async |query: &str| carla.get(&format!("/sessions/{session}/recording{query}")).await.0;
    assert_eq!((read("").await, read("?input=true").await), (StatusCode::OK, StatusCode::OK));
    // Security may still see what was typed, and read nothing else.
    let mut files = served.test.gate.bundle().files().clone();
    let oversight = String::from_utf8(files["oversight.cedar"].clone()).unwrap();
    let without = oversight.replace("    Tide::Action::\"read\",\n    Tide::Action::\"read-input\",", "    Tide::Action::\"read-input\",");
    assert_ne!(without, oversight);
    files.insert("oversight.cedar".into(), without.into_bytes());
    served.test.gate.push_bundle(served.test.person("dan"), files).await.unwrap();
    assert_eq!((read("").await, read("?input=true").await), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
}

// covers: EV-5 (api)
#[tokio::test]
async fn filters_are_kept_for_whoever_keeps_them_and_nobody_else() {
    let served = Served::start().await;
    let (carla, eve) = (served.person("carla").await, served.person("eve").await);
    let ana = served.test.person("ana").who.id();
    let wish =
        json!({ "name": " nights ", "filters": { "text": "pg_dump", "person": ana, "end": "client", "since": "2026-01-01T00:00:00Z" } });
    let (status, kept) = carla.post("/me/searches", wish.clone()).await;
    assert_eq!((status, &kept["name"]), (StatusCode::CREATED, &json!("nights")), "{kept}");
    assert_eq!(kept["filters"], wish["filters"]);
    // The same name is the same one, with other filters.
    let (status, again) = carla.post("/me/searches", json!({ "name": "nights", "filters": { "resource": "db-1" } })).await;
    assert_eq!((status, &again["id"]), (StatusCode::CREATED, &kept["id"]), "{again}");
    carla.post("/me/searches", json!({ "name": "alive", "filters": { "state": "live" } })).await;
    let remove =
        async |who: &crate::Person<'_>, path: &str| crate::read(who.call(reqwest::Method::DELETE, path).send().await.unwrap()).await;
    let names = |list: &serde_json::Value| list["items"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    let (_, list) = carla.get("/me/searches").await;
    assert_eq!(names(&list), [json!("alive"), json!("nights")]);
    assert_eq!(list["items"][1]["filters"], json!({ "resource": "db-1" }));
    // They are hers.
    assert_eq!(eve.get("/me/searches").await.1["items"], json!([]));
    let path = format!("/me/searches/{}", kept["id"].as_str().unwrap());
    assert_eq!(remove(&eve, &path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(names(&carla.get("/me/searches").await.1).len(), 2);
    assert_eq!(remove(&carla, &path).await.0, StatusCode::OK);
    assert_eq!(remove(&carla, &path).await.0, StatusCode::NOT_FOUND);
    assert_eq!(names(&carla.get("/me/searches").await.1), [json!("alive")]);
    // What no search takes is not kept.
    for wrong in [
        json!({ "name": "", "filters": {} }),
        json!({ "name": "two\nlines", "filters": {} }),
        json!({ "name": "x".repeat(61), "filters": {} }),
        json!({ "name": "x", "filters": { "who": "ana" } }),
        json!({ "name": "x", "filters": { "person": "ana" } }),
        json!({ "name": "x", "filters": { "text": "x".repeat(201) } }),
    ] {
        let (status, problem) = carla.post("/me/searches", wrong.clone()).await;
        assert!(status == StatusCode::BAD_REQUEST || status == StatusCode::UNPROCESSABLE_ENTITY, "{wrong}: {status} {problem}");
    }
    assert_eq!(carla.post("/me/searches", json!({ "name": "x".repeat(60), "filters": {} })).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn pins_are_kept_for_whoever_pins_and_say_nothing_of_what_there_is() {
    let served = Served::start().await;
    let (ana, ben) = (served.person("ana").await, served.person("ben").await);
    let pins = async |who: &crate::Person<'_>| who.get("/me").await.1["pins"].clone();
    let does = async |who: &crate::Person<'_>, method: Method, name: &str| {
        let answer = who.call(method, &format!("/me/pins/{name}")).send().await.unwrap();
        crate::read(answer).await.0
    };
    assert_eq!(pins(&ana).await, json!([]));
    // Pinned twice is pinned once.
    for name in ["web-1", "db-1", "web-1"] {
        assert_eq!(does(&ana, Method::PUT, name).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(pins(&ana).await, json!(["db-1", "web-1"]));
    assert_eq!(pins(&ben).await, json!([]), "they are hers");
    // What there is not, or not for her, is pinned the same.
    assert_eq!(does(&ana, Method::PUT, "no-such-place").await, StatusCode::NO_CONTENT);
    assert_eq!(does(&ana, Method::PUT, "NO NAME").await, StatusCode::BAD_REQUEST);
    for name in ["no-such-place", "web-1", "web-1"] {
        assert_eq!(does(&ana, Method::DELETE, name).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(pins(&ana).await, json!(["db-1"]));
    // No more than anybody has use for; what is pinned already may be pinned again.
    for count in 1..200 {
        assert_eq!(does(&ana, Method::PUT, &format!("shelf-{count}")).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(does(&ana, Method::PUT, "one-more").await, StatusCode::BAD_REQUEST);
    assert_eq!(does(&ana, Method::PUT, "db-1").await, StatusCode::NO_CONTENT);
}

// covers: EV-9 (api)
#[tokio::test]
async fn who_could_comes_a_part_at_a_time_and_all_of_it_as_of_one_moment() {
    let served = Served::start().await;
    served.test.time.advance(Duration::from_secs(1));
    let eve = served.person("eve").await;
    let (_, whole) = eve.get("/audit/who-could?resource=db-1&limit=500").await;
    let ways = whole["items"].as_array().unwrap();
    assert!(ways.len() > 3 && whole.get("next_cursor").is_none(), "{whole}");
    let (mut parts, mut place, mut leaves) = (Vec::new(), String::new(), Some("ana"));
    loop {
        let (status, part) = eve.get(&format!("/audit/who-could?resource=db-1&limit=2{place}")).await;
        assert_eq!(status, StatusCode::OK, "{part}");
        let items = part["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        parts.extend(items.iter().cloned());
        let Some(cursor) = part["next_cursor"].as_str() else { break };
        place = format!("&cursor={cursor}");
        // What happens meanwhile did not count at that moment.
        served.test.time.advance(Duration::from_secs(1));
        if let Some(name) = leaves.take() {
            let id = served.test.person(name).who.id();
            served.test.gate.disable(served.test.person("dan"), id, None).await.unwrap();
        }
    }
    assert_eq!(&parts, ways);
    let (_, now) = eve.get("/audit/who-could?resource=db-1&limit=500").await;
    assert_ne!(now["items"], whole["items"], "she is gone now");
    let (status, refused) = eve.get("/audit/who-could?resource=db-1&cursor=MTc").await;
    assert_eq!((status, &refused["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")), "{refused}");
}
