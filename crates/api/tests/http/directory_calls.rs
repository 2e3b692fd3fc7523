//! What a directory may say by SCIM (RFC 7644): what is wrong is refused whole, lists are filtered and counted through, many changes come in one request.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::directory::{BULK, GROUP, Hr, PATCH, SEARCH, USER, user};
use crate::{Served, read};

// covers: WHO-3
#[tokio::test]
async fn what_is_wrong_is_refused_with_a_reason_and_nothing_is_written() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let gina = hr.bring("gina").await;
    let team = hr.group("Platform Team", &[&gina]).await;
    let entered = async || served.test.entries().await.unwrap().into_iter().filter(|name| name != "action.refused").count();
    let before = entered().await;
    let (user_at, group_at) = (format!("/Users/{gina}"), format!("/Groups/{team}"));
    let with = |change: fn(&mut Value)| {
        let mut body = user("hal");
        change(&mut body);
        body
    };
    let patch = |operations: Value| json!({ "schemas": [PATCH], "Operations": operations });
    for (method, path, body, status, kind) in [
        (Method::POST, "/Users", with(|u| drop(u.as_object_mut().unwrap().remove("userName"))), 400, "invalidValue"),
        (Method::POST, "/Users", with(|u| u["userName"] = json!("hal@other.example")), 400, "invalidValue"),
        (Method::POST, "/Users", with(|u| u["userName"] = json!("Jürgen")), 400, "invalidValue"),
        (Method::POST, "/Users", with(|u| u["schemas"] = json!([GROUP])), 400, "invalidSyntax"),
        (Method::POST, "/Users", with(|u| u["active"] = json!("perhaps")), 400, "invalidValue"),
        (Method::POST, "/Users", with(|u| u["userName"] = json!("GINA@example.com")), 409, "uniqueness"),
        (Method::POST, "/Users", with(|u| u["externalId"] = json!("00u-gina")), 409, "uniqueness"),
        (Method::POST, "/Users", json!([1]), 400, "invalidSyntax"),
        (Method::PUT, user_at.as_str(), json!({ "schemas": [USER] }), 400, "invalidValue"),
        (
            Method::PATCH,
            user_at.as_str(),
            patch(json!([{ "op": "replace", "path": "active", "value": false }, { "op": "replace", "path": "x", "value": 1 }])),
            400,
            "invalidPath",
        ),
        (Method::PATCH, user_at.as_str(), json!({ "Operations": [] }), 400, "invalidSyntax"),
        (Method::POST, "/Groups", json!({ "schemas": [GROUP] }), 400, "invalidValue"),
        (Method::POST, "/Groups", json!({ "schemas": [GROUP], "displayName": "Platform Team" }), 409, "uniqueness"),
        (
            Method::PATCH,
            group_at.as_str(),
            patch(json!([{ "op": "add", "path": "members", "value": [{ "value": "usr_00000000000000000000000001" }] }])),
            400,
            "invalidValue",
        ),
        (
            Method::PATCH,
            group_at.as_str(),
            patch(json!([{ "op": "remove", "path": "members" }, { "op": "remove", "path": "displayName" }])),
            400,
            "mutability",
        ),
        (Method::POST, "/Bulk", json!({ "schemas": [BULK], "Operations": [] }), 400, "invalidSyntax"),
        (Method::POST, "/Users/.search", json!({ "filter": "userName pr" }), 400, "invalidSyntax"),
    ] {
        let (said, error) = hr.send(method.clone(), path, body.clone()).await;
        assert_eq!((said.as_u16(), &error["scimType"]), (status, &json!(kind)), "{method} {path} {body}: {error}");
        assert_eq!((&error["status"], error["detail"].as_str().map(str::is_empty)), (&json!(status.to_string()), Some(false)), "{error}");
    }
    for (path, status) in [
        ("/Users?filter=userName", 400),
        ("/Users?filter=shoeSize%20eq%201", 400),
        ("/Users?count=many", 400),
        ("/Users?attributes=a&excludedAttributes=b", 400),
        ("/Schemas?filter=id%20pr", 403),
        ("/Users/usr_nobody", 404),
        ("/Shoes", 404),
        ("/Me", 501),
    ] {
        let (said, error) = hr.get(path).await;
        assert_eq!(
            (said.as_u16(), &error["schemas"][0]),
            (status, &json!("urn:ietf:params:scim:api:messages:2.0:Error")),
            "{path}: {error}"
        );
    }
    let text = hr.call(Method::POST, "/Users").header("content-type", "text/plain").body(user("hal").to_string());
    assert_eq!(text.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let broken = hr.call(Method::POST, "/Users").header("content-type", "application/scim+json").body("{\"userName\": ");
    assert_eq!(read(broken.send().await.unwrap()).await.1["scimType"], "invalidSyntax");
    let large = hr.call(Method::POST, "/Bulk").header("content-type", "application/scim+json").body("x".repeat(1024 * 1024 + 1));
    assert_eq!(large.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(hr.send(Method::PUT, "/Users", json!({})).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(entered().await, before, "nothing was written but that it was refused");
    assert!(
        served.test.entries().await.unwrap().iter().any(|name| name == "action.refused"),
        "who reaches for another's name stands in the log"
    );
    assert_eq!(hr.get(&user_at).await.1["active"], true);
}

// covers: WHO-3
#[tokio::test]
async fn lists_are_filtered_sorted_and_counted_through_and_versions_are_held() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let mut ids = Vec::new();
    for name in ["gina", "hal", "ivan", "jo", "kim"] {
        ids.push(hr.bring(name).await);
    }
    let team = hr.group("Platform Team", &[&ids[0], &ids[1]]).await;
    let total = async |path: &str| hr.get(path).await.1["totalResults"].as_u64();
    for (path, count) in [
        ("/Users", 5),
        ("/Users?filter=userName%20eq%20%22GINA@example.com%22", 1),
        ("/Users?filter=externalId%20eq%20%2200u-hal%22", 1),
        ("/Users?filter=externalId%20eq%20%2200U-HAL%22", 0),
        ("/Users?filter=userName%20eq%20%22nobody%22", 0),
        ("/Users?filter=active%20eq%20true%20and%20displayName%20co%20%22silva%22", 5),
        ("/Users?filter=emails%5Btype%20eq%20%22work%22%5D.value%20eq%20%22x%22", 0),
        ("/Users?filter=groups.display%20eq%20%22platform%20team%22", 2),
        ("/Groups?filter=displayName%20eq%20%22Platform%20Team%22", 1),
        ("/Groups?filter=displayName%20eq%20%22platform%20team%22", 0),
        ("/ResourceTypes", 2),
        ("/Schemas", 5),
    ] {
        if path.contains("%5D.value") {
            // A filter of values has no part behind it in a filter (RFC 7644 §3.4.2.2).
            assert_eq!(hr.get(path).await.0, StatusCode::BAD_REQUEST);
            continue;
        }
        assert_eq!(total(path).await, Some(count), "{path}");
    }
    assert_eq!(total(&format!("/Users?filter=id%20eq%20%22{}%22", ids[2])).await, Some(1));
    assert_eq!(total(&format!("/Groups?filter=members%20eq%20%22{}%22", ids[1])).await, Some(1));
    assert_eq!(total(&format!("/Groups?filter=members%5Bvalue%20eq%20%22{}%22%5D", ids[2])).await, Some(0));
    // All of them, part by part, each once.
    let mut seen = Vec::new();
    for start in [1, 3, 5, 7] {
        let (_, page) = hr.get(&format!("/Users?startIndex={start}&count=2&attributes=userName")).await;
        assert_eq!((&page["totalResults"], &page["startIndex"]), (&json!(5), &json!(start)));
        seen.extend(page["Resources"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
    }
    let mut all = ids.clone();
    all.sort();
    assert_eq!(seen, all);
    let (_, sorted) = hr.get("/Users?sortBy=userName&sortOrder=descending&count=1").await;
    assert_eq!(sorted["Resources"][0]["userName"], "kim@example.com");
    let search = json!({ "schemas": [SEARCH], "filter": "userName sw \"h\"", "attributes": ["userName"] });
    let (_, found) = hr.send(Method::POST, "/Users/.search", search).await;
    assert_eq!(found["Resources"], json!([{ "schemas": [USER], "id": ids[1], "userName": "hal@example.com" }]));
    let (_, both) = hr.send(Method::POST, "/.search", json!({ "schemas": [SEARCH], "filter": "meta.resourceType eq \"Group\"" })).await;
    assert_eq!((&both["totalResults"], &both["Resources"][0]["id"]), (&json!(1), &json!(team)), "{both}");
    let (_, without) = hr.get(&format!("/Groups/{team}?excludedAttributes=members")).await;
    assert!(without.get("members").is_none() && without["displayName"] == "Platform Team");
    let (_, shown) = hr.get(&format!("/Users/{}", ids[0])).await;
    assert_eq!((&shown["groups"][0]["value"], shown.get("password")), (&json!(team), None), "{shown}");

    // Who has seen another version changes nothing.
    let at = format!("/Users/{}", ids[0]);
    let seen = hr.call(Method::GET, &at).send().await.unwrap().headers()["etag"].to_str().unwrap().to_owned();
    let same = hr.call(Method::GET, &at).header("if-none-match", &seen).send().await.unwrap();
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let leave = json!({ "schemas": [PATCH], "Operations": [{ "op": "replace", "path": "displayName", "value": "G" }] }).to_string();
    let change = |tag: &str| {
        let call = hr.call(Method::PATCH, &at).header("content-type", "application/scim+json").header("if-match", tag);
        call.body(leave.clone()).send()
    };
    assert_eq!(change(&seen).await.unwrap().status(), StatusCode::OK);
    assert_eq!(change(&seen).await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(change("W/\"x\"").await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(change("*").await.unwrap().status(), StatusCode::OK);
    let stale = hr.call(Method::DELETE, &at).header("if-match", &seen).send().await.unwrap();
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
}

// covers: WHO-3
#[tokio::test]
async fn many_changes_in_one_request_refer_to_each_other() {
    let served = Served::start().await;
    let hr = Hr::start(&served).await;
    let make = |path: &str, id: &str, data: Value| json!({ "method": "POST", "path": path, "bulkId": id, "data": data });
    let team =
        json!({ "schemas": [GROUP], "displayName": "Platform Team", "members": [{ "value": "bulkId:gina" }, { "value": "bulkId:hal" }] });
    let add = json!({ "schemas": [PATCH], "Operations": [{ "op": "add", "path": "members", "value": [{ "value": "bulkId:ivan" }] }] });
    let body = json!({ "schemas": [BULK], "failOnErrors": 1, "Operations": [
        make("/Groups", "team", team),
        make("/Users", "gina", user("gina")),
        make("/Users", "hal", user("hal")),
        { "method": "PATCH", "path": "/Groups/bulkId:team", "data": add },
        make("/Users", "ivan", user("ivan")),
    ] });
    let (status, answer) = hr.send(Method::POST, "/Bulk", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let outcomes = answer["Operations"].as_array().unwrap();
    assert!(outcomes.iter().all(|one| ["200", "201"].contains(&one["status"].as_str().unwrap())), "{answer}");
    let team =
        outcomes.iter().find(|one| one["bulkId"] == "team").unwrap()["location"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let (_, shown) = hr.get(&format!("/Groups/{team}")).await;
    assert_eq!(shown["members"].as_array().map(Vec::len), Some(3), "{shown}");
    // The second that fails ends it; what was done before stays, what comes after is not done.
    let body = json!({ "schemas": [BULK], "failOnErrors": 2, "Operations": [
        make("/Users", "jo", user("jo")),
        make("/Users", "half", json!({ "schemas": [USER] })),
        make("/Users", "gina", user("gina")),
        make("/Users", "kim", user("kim")),
    ] });
    let (_, answer) = hr.send(Method::POST, "/Bulk", body).await;
    let said: Vec<&str> = answer["Operations"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(said, ["201", "400", "409"], "{answer}");
    assert_eq!(answer["Operations"][1]["response"]["scimType"], "invalidValue");
    assert_eq!(hr.get("/Users").await.1["totalResults"], 4);
    let many: Vec<Value> = (0..1001).map(|n| make("/Users", &n.to_string(), json!({}))).collect();
    assert_eq!(hr.send(Method::POST, "/Bulk", json!({ "schemas": [BULK], "Operations": many })).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}
