use access::ids::UserId;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::scim::ScimType;

fn person() -> PrincipalId {
    UserId::generate(Timestamp::UNIX_EPOCH).into()
}

fn read(operations: Value) -> Result<Vec<Step>, ScimError> {
    let body = json!({ "schemas": [crate::scim::patch::PATCH_URN], "Operations": operations });
    steps(&crate::scim::patch::read(&body)?)
}

#[test]
fn a_group_has_a_name_and_people_in_it() {
    let (ana, ben) = (person(), person());
    let body = json!({
        "schemas": [schema::GROUP_URN],
        "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
        "displayName": "Platform Team",
        "members": [{ "value": ben }, { "value": ana, "display": "Ana", "$ref": "x" }, { "value": ana }],
        "meta": { "resourceType": "Group" }
    });
    let group = Group::read(&body).unwrap();
    let mut both = vec![ana, ben];
    both.sort();
    assert_eq!((group.display_name.as_str(), &group.members), ("Platform Team", &both));
    for (wrong, why) in [
        (json!({ "schemas": [schema::GROUP_URN] }), "displayName is missing"),
        (json!({ "displayName": "x" }), "`schemas`"),
        (json!({ "schemas": [schema::GROUP_URN], "displayName": "x", "members": ["usr_1"] }), "members has to be an object"),
        (json!({ "schemas": [schema::GROUP_URN], "displayName": "x", "members": [{ "display": "Ana" }] }), "has no `value`"),
        (json!({ "schemas": [schema::GROUP_URN], "displayName": "x", "members": [{ "value": "ana" }] }), "no user of this directory"),
        (
            json!({ "schemas": [schema::GROUP_URN], "displayName": "x", "members": [{ "value": "grp_00000000000000000000000001" }] }),
            "no user",
        ),
    ] {
        let error = Group::read(&wrong).unwrap_err();
        assert!(error.status == 400 && error.detail.contains(why), "{wrong}: {error}");
    }
}

#[test]
fn changes_of_okta_and_entra_are_steps() {
    let ana = person();
    for (operations, wanted) in [
        (json!([{ "op": "add", "path": "members", "value": [{ "value": ana, "display": "ana" }] }]), Step::Add(vec![ana])),
        (json!([{ "op": "Add", "path": "members", "value": { "value": ana } }]), Step::Add(vec![ana])),
        (json!([{ "op": "add", "value": { "members": [{ "value": ana }] } }]), Step::Add(vec![ana])),
        (json!([{ "op": "remove", "path": format!("members[value eq \"{ana}\"]") }]), Step::Remove(vec![ana])),
        (json!([{ "op": "Remove", "path": "members", "value": [{ "value": ana }] }]), Step::Remove(vec![ana])),
        (json!([{ "op": "remove", "path": "members[value eq \"nobody\"]" }]), Step::Remove(vec![])),
        (json!([{ "op": "remove", "path": "members" }]), Step::Replace(vec![])),
        (json!([{ "op": "replace", "path": "members", "value": [{ "value": ana }] }]), Step::Replace(vec![ana])),
        (json!([{ "op": "replace", "value": { "id": "grp_1", "displayName": "Ops" } }]), Step::Name("Ops".into())),
        (json!([{ "op": "Replace", "path": "displayName", "value": "Ops" }]), Step::Name("Ops".into())),
        (json!([{ "op": "remove", "path": "externalId" }]), Step::ExternalId(None)),
    ] {
        assert_eq!(read(operations.clone()).unwrap_or_else(|error| panic!("{operations}: {error}")), [wanted], "{operations}");
    }
    let some = read(json!([{ "op": "remove", "path": "members[type eq \"User\" and value sw \"usr\"]" }])).unwrap();
    assert!(matches!(some.as_slice(), [Step::RemoveWhere(_)]));
    for (operations, kind) in [
        (json!([{ "op": "replace", "path": format!("members[value eq \"{ana}\"].value"), "value": "x" }]), ScimType::Mutability),
        (json!([{ "op": "replace", "path": format!("members[value eq \"{ana}\"]"), "value": { "value": ana } }]), ScimType::Mutability),
        (json!([{ "op": "add", "path": "members.value", "value": "x" }]), ScimType::Mutability),
        (json!([{ "op": "remove", "path": "displayName" }]), ScimType::Mutability),
        (json!([{ "op": "replace", "path": "id", "value": "x" }]), ScimType::Mutability),
        (json!([{ "op": "add", "path": "members", "value": [{ "value": "nobody" }] }]), ScimType::InvalidValue),
        (json!([{ "op": "remove", "path": "members[shoe eq \"x\"]" }]), ScimType::InvalidPath),
        (json!([{ "op": "replace", "path": "displayName.x", "value": "x" }]), ScimType::InvalidPath),
    ] {
        assert_eq!(read(operations.clone()).unwrap_err().kind, Some(kind), "{operations}");
    }
}
