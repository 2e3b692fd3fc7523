use super::*;
use crate::scim::schema::USER;

fn query(parameters: &[(&str, &str)]) -> Query {
    Query::of_parameters(parameters.iter().copied()).unwrap()
}

fn people() -> Vec<Value> {
    let person = |name: &str, family: Option<&str>| json!({ "schemas": ["x"], "id": name, "userName": name, "name": { "familyName": family, "givenName": "G" }, "active": true });
    vec![person("carla", Some("Zimmer")), person("Ana", None), person("ben", Some("adams"))]
}

fn ids(found: &[Value]) -> Vec<&str> {
    found.iter().filter_map(|one| one["id"].as_str()).collect()
}

#[test]
fn a_part_of_a_list_in_an_order() {
    let (found, total) = query(&[("sortBy", "userName"), ("startIndex", "2"), ("count", "1")]).choose(&USER, people());
    assert_eq!((ids(&found), total), (vec!["ben"], 3));
    let (found, _) = query(&[("sortBy", "name.familyName"), ("sortOrder", "ascending")]).choose(&USER, people());
    assert_eq!(ids(&found), ["ben", "carla", "Ana"], "who has none stands last");
    let (found, total) = query(&[("filter", "userName co \"a\" and active eq true"), ("count", "0")]).choose(&USER, people());
    assert_eq!((found.len(), total), (0, 2));
    let all = query(&[("startIndex", "-3"), ("count", "100000")]);
    assert_eq!((all.start, all.count), (1, MAX_RESULTS));
    assert_eq!(query(&[("count", "-1")]).count, 0);
    let answer = all.answer(people(), 3);
    assert_eq!((&answer["totalResults"], &answer["itemsPerPage"], &answer["startIndex"]), (&json!(3), &json!(3), &json!(1)));
}

#[test]
fn only_what_is_wanted_is_shown() {
    let one = || people().remove(0);
    let shown = |name: &str, list: &str| query(&[(name, list)]).shown.of_resource(one());
    assert_eq!(shown("attributes", "userName"), json!({ "schemas": ["x"], "id": "carla", "userName": "carla" }));
    assert_eq!(shown("attributes", "NAME.familyname"), json!({ "schemas": ["x"], "id": "carla", "name": { "familyName": "Zimmer" } }));
    assert_eq!(shown("excludedAttributes", "name.givenName,active,id")["name"], json!({ "familyName": "Zimmer" }));
    assert_eq!(shown("excludedAttributes", "name.givenName,active,id")["id"], "carla", "an id is always shown");
    assert!(shown("excludedAttributes", "name").get("name").is_none());
    assert!(!query(&[("excludedAttributes", "members")]).shown.shows("members"));
    assert!(!query(&[("attributes", "displayName")]).shown.shows("members"));
    assert!(query(&[]).shown.shows("members"));
}

#[test]
fn what_cannot_be_read_is_told() {
    for wrong in [
        [("count", "many")],
        [("startIndex", "")],
        [("sortOrder", "up")],
        [("filter", "userName")],
        [("attributes", "a b")],
        [("sortBy", "a.b.c")],
    ] {
        assert_eq!(Query::of_parameters(wrong).unwrap_err().status, 400, "{wrong:?}");
    }
    assert!(Query::of_parameters([("attributes", "a"), ("excludedAttributes", "b")]).is_err());
    assert!(query(&[("sortBy", "shoeSize")]).check(&USER).is_err());
    assert!(query(&[("filter", "shoeSize pr")]).check(&USER).is_err());
    assert!(Query::of_body(&json!({ "filter": "userName pr" })).is_err());
    let body = json!({ "schemas": [SEARCH_URN], "filter": "userName pr", "startIndex": 2, "count": 1, "attributes": ["userName"] });
    assert_eq!(Query::of_body(&body).unwrap().start, 2);
    assert!(Query::of_body(&json!({ "schemas": [SEARCH_URN], "count": "1" })).is_err());
}
