//! Filters and paths of a directory: what is read is written the same way again, and whatever is sent is answered.
#![no_main]

use identity::scim::filter::Filter;
use identity::scim::path::PatchPath;
use identity::scim::schema::{GROUP, USER};
use identity::scim::user::User;
use identity::scim::{group, patch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Filter>() {
        Ok(filter) => {
            let shown = filter.to_string();
            assert!(shown.len() > 4096 || shown.parse::<Filter>().is_ok_and(|read| read == filter), "{text:?} is read as {shown:?}");
            let one = serde_json::json!({ "userName": "ana", "emails": [{ "value": "a@b", "type": "work" }], "active": true });
            for schema in [&USER, &GROUP] {
                let _either = filter.check(schema).is_ok() && filter.matches(schema, &one);
            }
        }
        Err(error) => assert!(!error.detail.is_empty()),
    }
    if let Ok(path) = text.parse::<PatchPath>() {
        let shown = path.to_string();
        assert!(shown.len() > 4096 || shown.parse::<PatchPath>().is_ok_and(|read| read == path), "{text:?} is read as {shown:?}");
    }
    let Ok(body) = serde_json::from_str::<serde_json::Value>(text) else { return };
    let known = User { user_name: "ana".into(), external_id: None, active: Some(true), profile: Default::default() };
    let _whole = (User::read(&body).is_ok(), group::Group::read(&body).is_ok());
    if let Ok(operations) = patch::read(&body) {
        let _changed = (known.changed(&operations).is_ok(), group::steps(&operations).is_ok());
    }
});
