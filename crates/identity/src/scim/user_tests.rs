use serde_json::json;

use super::*;
use crate::scim::ScimType;

fn okta() -> Value {
    // As Okta's documentation shows it.
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ana.silva@example.com",
        "name": { "givenName": "Ana", "familyName": "Silva" },
        "emails": [{ "primary": true, "value": "ana.silva@example.com", "type": "work" }],
        "displayName": "Ana Silva",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": true
    })
}

fn entra() -> Value {
    // As Microsoft's documentation shows it.
    json!({
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
        ],
        "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
        "userName": "Test_User_ab6490ee-1e48-479e-a20b-2d77186b5dd1",
        "active": true,
        "emails": [{ "primary": true, "type": "work", "value": "Test_User_fd0ea19b-0777-472c-9f96-4f70d2226f2e@testuser.com" }],
        "meta": { "resourceType": "User" },
        "name": { "formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName" },
        "roles": [],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "x", "manager": { "value": "y" } }
    })
}

fn read(body: &Value) -> User {
    User::read(body).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn change(user: &User, operations: Value) -> Result<User, ScimError> {
    let body = json!({ "schemas": [crate::scim::patch::PATCH_URN], "Operations": operations });
    user.changed(&crate::scim::patch::read(&body)?)
}

#[test]
fn what_okta_and_entra_send_is_a_user() {
    let user = read(&okta());
    assert_eq!(
        (user.user_name.as_str(), user.external_id.as_deref(), user.active),
        ("ana.silva@example.com", Some("00ujl29u0le5T6Aj10h7"), Some(true))
    );
    assert_eq!(user.profile.called().as_deref(), Some("Ana Silva"));
    let user = read(&entra());
    assert_eq!(user.profile.called().as_deref(), Some("givenName familyName"));
    // Names of attributes are spelled as one likes.
    let odd = json!({ "SCHEMAS": [schema::USER_URN], "USERNAME": "ana", "Active": "False", "Name": { "FAMILYNAME": "Silva" } });
    let user = read(&odd);
    assert_eq!((user.active, user.profile.name.unwrap().family_name.as_deref()), (Some(false), Some("Silva")));
}

#[test]
fn half_a_user_is_none() {
    read(&okta());
    let wrong = |change: fn(&mut Map<String, Value>)| {
        let mut body = okta();
        change(body.as_object_mut().unwrap());
        User::read(&body).unwrap_err()
    };
    for (error, kind, why) in [
        (wrong(|u| drop(u.remove("userName"))), ScimType::InvalidValue, "userName is missing"),
        (wrong(|u| drop(u.insert("userName".into(), "".into()))), ScimType::InvalidValue, "userName is missing"),
        (wrong(|u| drop(u.insert("userName".into(), " ana".into()))), ScimType::InvalidValue, "begins or ends"),
        (wrong(|u| drop(u.insert("userName".into(), "an\u{0}a".into()))), ScimType::InvalidValue, "cannot be seen"),
        (wrong(|u| drop(u.insert("userName".into(), json!(7)))), ScimType::InvalidValue, "userName has to be a text"),
        (wrong(|u| drop(u.insert("userName".into(), "a".repeat(300).into()))), ScimType::InvalidValue, "longer than"),
        (wrong(|u| drop(u.insert("USERNAME".into(), "ben".into()))), ScimType::InvalidSyntax, "stands there twice"),
        (wrong(|u| drop(u.remove("schemas"))), ScimType::InvalidSyntax, "`schemas`"),
        (wrong(|u| drop(u.insert("schemas".into(), json!([schema::GROUP_URN])))), ScimType::InvalidSyntax, "`schemas`"),
        (wrong(|u| drop(u.insert("active".into(), "perhaps".into()))), ScimType::InvalidValue, "true or false"),
        (wrong(|u| drop(u.insert("emails".into(), "ana@example.com".into()))), ScimType::InvalidValue, "emails has to be an object"),
        (wrong(|u| drop(u.insert("name".into(), json!([1])))), ScimType::InvalidValue, "name has to be an object"),
        (
            wrong(|u| drop(u.insert("emails".into(), json!([{ "value": "a", "primary": true }, { "value": "b", "primary": "True" }])))),
            ScimType::InvalidValue,
            "more than one",
        ),
    ] {
        assert_eq!((error.status, error.kind), (400, Some(kind)), "{error}");
        assert!(error.detail.contains(why), "{error}");
    }
    assert!(User::read(&json!([])).is_err());
}

#[test]
fn whoever_says_that_somebody_left_is_understood() {
    let user = read(&okta());
    for operations in [
        // Okta.
        json!([{ "op": "replace", "value": { "active": false } }]),
        json!([{ "op": "replace", "value": { "id": "usr_1", "active": false } }]),
        // Microsoft Entra ID, with and without its flag for the RFC.
        json!([{ "op": "Replace", "path": "active", "value": "False" }]),
        json!([{ "op": "replace", "path": "active", "value": false }]),
        json!([{ "op": "Replace", "value": { "active": "False" } }]),
        json!([{ "op": "Add", "path": "active", "value": "false" }]),
        json!([{ "op": "replace", "path": "urn:ietf:params:scim:schemas:core:2.0:User:active", "value": false }]),
        json!([{ "OP": "REPLACE", "Path": "ACTIVE", "Value": false }]),
    ] {
        let left = change(&user, operations.clone()).unwrap_or_else(|error| panic!("{operations}: {error}"));
        assert_eq!(left, User { active: Some(false), ..user.clone() }, "{operations}");
    }
}

#[test]
fn changes_do_what_the_rfc_says() {
    let user = read(&okta());
    let profile = |operations: Value| change(&user, operations.clone()).unwrap_or_else(|error| panic!("{operations}: {error}")).profile;
    // Parts that are not named stay.
    let both = profile(json!([{ "op": "replace", "path": "name", "value": { "familyName": "Costa" } }])).name.unwrap();
    assert_eq!((both.given_name.as_deref(), both.family_name.as_deref()), (Some("Ana"), Some("Costa")));
    assert_eq!(
        profile(json!([{ "op": "add", "path": "name.familyName", "value": "Costa" }])).name.unwrap().family_name.as_deref(),
        Some("Costa")
    );
    assert_eq!(
        profile(json!([{ "op": "Replace", "value": { "name.familyName": "Costa" } }])).name.unwrap().family_name.as_deref(),
        Some("Costa")
    );
    assert_eq!(profile(json!([{ "op": "remove", "path": "name" }])).name, None);
    assert_eq!(profile(json!([{ "op": "remove", "path": "name.givenName" }, { "op": "remove", "path": "name.familyName" }])).name, None);
    assert_eq!(profile(json!([{ "op": "remove", "path": "displayName" }])).called().as_deref(), Some("Ana Silva"));

    let emails = |operations: Value| -> Vec<(String, Option<bool>)> {
        profile(operations).emails.into_iter().map(|email| (email.value.unwrap_or_default(), email.primary)).collect()
    };
    let (old, new) = ("ana.silva@example.com".to_owned(), "a@b.example".to_owned());
    assert_eq!(
        emails(json!([{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@b.example" }])),
        [(new.clone(), Some(true))]
    );
    // Another primary: the first is none any more.
    let added = json!([{ "op": "add", "path": "emails", "value": [{ "value": "a@b.example", "type": "home", "primary": true }] }]);
    assert_eq!(emails(added), [(old.clone(), Some(false)), (new.clone(), Some(true))]);
    // The same once more changes nothing.
    let same = json!([{ "op": "add", "path": "emails", "value": { "value": "ana.silva@example.com", "type": "work", "primary": true } }]);
    assert_eq!(emails(same).len(), 1);
    // Entra adds to what is not there yet.
    let other = json!([{ "op": "Add", "path": "emails[type eq \"other\"].value", "value": "a@b.example" }]);
    assert_eq!(emails(other), [(old, Some(true)), (new, None)]);
    assert!(emails(json!([{ "op": "remove", "path": "emails[type eq \"work\"]" }])).is_empty());
    assert_eq!(emails(json!([{ "op": "remove", "path": "emails[type eq \"home\"]" }])).len(), 1);
    assert!(emails(json!([{ "op": "remove", "path": "emails" }])).is_empty());
    // What is not kept changes nothing, and is no mistake.
    let ignored = json!([
        { "op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "x" },
        { "op": "replace", "path": "phoneNumbers[type eq \"work\"].value", "value": "1" },
        { "op": "replace", "value": { "title": "x", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "division": "y" } } }
    ]);
    assert_eq!(change(&user, ignored).unwrap(), user);
}

#[test]
fn what_cannot_be_changed_says_why() {
    let user = read(&okta());
    change(&user, json!([{ "op": "replace", "path": "userName", "value": "ben" }])).unwrap();
    for (operations, kind, why) in [
        (json!([]), "invalidSyntax", "Operations"),
        (json!([{ "op": "move", "path": "active" }]), "invalidSyntax", "`move` is no operation"),
        (json!([{ "op": "replace", "path": "shoeSize", "value": 1 }]), "invalidPath", "no attribute `shoeSize`"),
        (json!([{ "op": "replace", "value": { "shoeSize": 1 } }]), "invalidPath", "no attribute `shoeSize`"),
        (json!([{ "op": "replace", "path": "name.shoe", "value": "1" }]), "invalidPath", "no part `shoe`"),
        (json!([{ "op": "replace", "path": "emails[", "value": 1 }]), "invalidPath", "missing"),
        (json!([{ "op": "replace", "path": "userName[type eq \"x\"]", "value": 1 }]), "invalidPath", "no list of values"),
        (json!([{ "op": "replace", "path": "emails[shoe eq \"x\"]", "value": 1 }]), "invalidPath", "no attribute `shoe`"),
        (json!([{ "op": "replace", "path": "id", "value": "usr_2" }]), "mutability", "given by the gate"),
        (json!([{ "op": "add", "path": "groups", "value": [{ "value": "grp_1" }] }]), "mutability", "given by the gate"),
        (json!([{ "op": "remove", "path": "userName" }]), "mutability", "needed"),
        (json!([{ "op": "remove", "path": "active" }]), "mutability", "needed"),
        (json!([{ "op": "remove" }]), "noTarget", "path is missing"),
        (json!([{ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "x" }]), "noTarget", "none of the `emails`"),
        (json!([{ "op": "replace", "path": "active" }]), "invalidValue", "value is missing"),
        (json!([{ "op": "replace", "path": "active", "value": "perhaps" }]), "invalidValue", "true or false"),
        (json!([{ "op": "replace", "path": "active", "value": null }]), "invalidValue", "cannot be null"),
        (json!([{ "op": "replace", "value": "x" }]), "invalidValue", "an object"),
        (json!([{ "op": "replace", "path": "userName", "value": { "a": 1 } }]), "invalidValue", "a text"),
    ] {
        let error = change(&user, operations.clone()).unwrap_err();
        assert_eq!((error.status, error.kind.map(ScimType::code)), (400, Some(kind)), "{operations}: {error}");
        assert!(error.detail.contains(why), "{operations}: {error}");
    }
    let many: Vec<Value> = (0..1001).map(|_| json!({ "op": "replace", "path": "active", "value": true })).collect();
    assert_eq!(change(&user, json!(many)).unwrap_err().status, 413);
}
