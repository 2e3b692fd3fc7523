use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::scim::schema::{GROUP, USER};

fn ana() -> Value {
    json!({
        "id": "usr_1",
        "userName": "Ana.Silva",
        "externalId": "Ext-1",
        "displayName": "Ana Silva",
        "name": { "familyName": "Silva", "givenName": "Ana" },
        "active": true,
        "emails": [{ "value": "ana@example.com", "type": "work", "primary": true }, { "value": "a@home.example", "type": "home" }],
        "meta": { "created": "2026-03-02T12:00:00Z", "lastModified": "2026-03-02T12:00:00.5Z" }
    })
}

fn is(filter: &str) -> bool {
    let filter: Filter = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.check(&USER).unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches(&USER, &ana())
}

#[test]
fn every_operator_does_what_the_rfc_says() {
    for yes in [
        "userName eq \"ana.silva\"",
        "USERNAME Eq \"ANA.SILVA\"",
        "urn:ietf:params:scim:schemas:core:2.0:User:userName sw \"ana\"",
        "userName ne \"ben\"",
        "displayName co \"a si\"",
        "displayName ew \"silva\"",
        "name.familyName pr",
        "externalId eq \"Ext-1\"",
        "active eq true",
        "active eq \"True\"",
        "emails.value eq \"A@home.example\"",
        "emails co \"@example.com\"",
        "emails[type eq \"work\" and value co \"@example.com\"]",
        "emails[not (type eq \"work\")]",
        "meta.created ge \"2026-03-02T12:00:00Z\"",
        "meta.created le \"2026-03-02T13:00:00+01:00\"",
        "meta.lastModified gt \"2026-03-02T12:00:00Z\"",
        "nickName eq null",
        "not (title pr)",
        "userName eq \"x\" or active eq true and displayName pr",
        "(userName eq \"x\" or active eq true) and displayName pr",
        "name.givenName eq \"ana\" and (active eq false or not (userName eq \"ben\"))",
    ] {
        assert!(is(yes), "{yes}");
    }
    for no in [
        "userName eq \"ana\"",
        "externalId eq \"ext-1\"",
        "userName ne \"ANA.SILVA\"",
        "active eq false",
        "title pr",
        "emails[type eq \"work\" and value co \"home\"]",
        "emails[type eq \"other\"]",
        "meta.created lt \"2026-03-02T12:00:00Z\"",
        "displayName eq null",
        "name.formatted pr",
        "userName gt \"b\"",
        "userName eq \"x\" and active eq true or displayName eq \"y\"",
        "not (userName pr)",
    ] {
        assert!(!is(no), "{no}");
    }
    let group = json!({ "displayName": "Platform", "members": [{ "value": "usr_1", "type": "User" }] });
    for (text, wanted) in [
        ("members eq \"usr_1\"", true),
        ("members[value eq \"usr_1\"]", true),
        ("members.value eq \"USR_1\"", false),
        ("displayName eq \"platform\"", false),
    ] {
        let filter: Filter = text.parse().unwrap();
        filter.check(&GROUP).unwrap();
        assert_eq!(filter.matches(&GROUP, &group), wanted, "{text}");
    }
}

#[test]
fn what_is_no_filter_says_why() {
    for (text, why) in [
        ("", "an attribute is missing"),
        ("userName", "an operator is missing"),
        ("userName eq", "a value is missing"),
        ("userName is \"ana\"", "`is` is no operator"),
        ("userName eq ana", "`ana` is no value"),
        ("userName eq 'ana'", "is no value"),
        ("userName eq \"ana", "has no end"),
        ("userName eq \"ana\\\"", "has no end"),
        ("userName eq {}", "is no value"),
        ("userName eq \"a\" and", "its end is missing"),
        ("userName eq \"a\" and ", "an attribute is missing"),
        ("userName eq \"a\" xor active eq true", "its end is missing"),
        ("(userName eq \"a\"", "`)` is missing"),
        ("userName eq \"a\")", "its end is missing"),
        ("not userName eq \"a\"", "`userName` is no operator"),
        ("emails[type eq \"work\"", "`]` is missing"),
        ("emails[type eq \"work\"].value eq \"a\"", "its end is missing"),
        ("a.b.c eq 1", "names no attribute"),
        ("userName eq 1e999", "is no value"),
    ] {
        let error = text.parse::<Filter>().unwrap_err();
        assert!(error.detail.contains(why), "{text}: {error}");
        assert_eq!((error.status, error.kind.map(ScimTypeCode::code)), (400, Some("invalidFilter")), "{text}");
    }
    let deep = format!("{}active eq true{}", "(".repeat(30), ")".repeat(30));
    assert!(deep.parse::<Filter>().unwrap_err().detail.contains("deeper"));
    let long = format!("userName eq \"{}\"", "a".repeat(5000));
    assert!(long.parse::<Filter>().unwrap_err().detail.contains("longer"));
    for wrong in
        ["shoeSize gt \"1\"", "active gt \"true\"", "name co \"a\"", "emails[x eq 1]", "userName[x eq 1]", "userName gt 1", "name.x pr"]
    {
        let filter: Filter = wrong.parse().unwrap();
        assert_eq!(filter.check(&USER).unwrap_err().status, 400, "{wrong}");
    }
}

use crate::scim::ScimType as ScimTypeCode;

fn path() -> impl Strategy<Value = AttributePath> {
    let name = "[a-zA-Z][a-zA-Z0-9_-]{0,8}";
    (proptest::option::of(Just("urn:ietf:params:scim:schemas:core:2.0:User".to_owned())), name, proptest::option::of(name))
        .prop_map(|(schema, name, sub)| AttributePath { schema, name, sub })
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let operator = proptest::sample::select(Operator::ALL.to_vec()).prop_map(|(_, operator)| operator);
    let leaf = prop_oneof![
        path().prop_map(Filter::Present),
        (path(), operator, value()).prop_map(|(path, operator, value)| Filter::Compare { path, operator, value }),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.clone().prop_map(|one| Filter::Not(Box::new(one))),
            (path(), inner).prop_map(|(path, one)| Filter::Where { path, filter: Box::new(one) }),
        ]
    })
}

proptest! {
    #[test]
    fn a_filter_is_read_as_it_was_written(filter in filter()) {
        let text = filter.to_string();
        if text.len() <= 4096 {
            prop_assert_eq!(text.parse::<Filter>(), Ok(filter), "{}", text);
        }
    }

    #[test]
    fn whatever_is_sent_is_a_filter_or_a_reason(text in "\\PC{0,200}", near in "(userName|emails|not|and|or|eq|pr|\\(|\\)|\\[|\\]| |\"a\"|\\.){0,24}") {
        for text in [text, near] {
            match text.parse::<Filter>() {
                Ok(filter) => {
                    let _either = filter.check(&USER).is_ok() && filter.matches(&USER, &ana());
                    prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
                }
                Err(error) => prop_assert!(!error.detail.is_empty()),
            }
            let _either = text.parse::<crate::scim::path::PatchPath>().map(|path| path.to_string());
        }
    }

    #[test]
    fn not_is_the_opposite(filter in filter()) {
        prop_assert_ne!(filter.matches(&USER, &ana()), Filter::Not(Box::new(filter.clone())).matches(&USER, &ana()));
    }
}
