//! The example company, and changes to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use access::names::{ResourceName, RoleName, Username};
use jiff::Timestamp;
use tidegate_policy::{Ask, Bundle, Situation};

/// Where the example stands.
pub(crate) fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy")
}

/// Its files.
pub(crate) fn files() -> BTreeMap<String, Vec<u8>> {
    example().files().clone()
}

/// It, loaded.
pub(crate) fn example() -> Bundle {
    Bundle::load(&directory()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// It, with something replaced in one file.
pub(crate) fn with(file: &str, from: &str, to: &str) -> Bundle {
    let mut files = files();
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    files.insert(file.into(), text.replacen(from, to, 1).into_bytes());
    Bundle::from_files(files).unwrap_or_else(|problems| panic!("{problems}"))
}

/// It, with something added to one file.
pub(crate) fn plus(file: &str, more: &str) -> Bundle {
    let mut files = files();
    files.entry(file.into()).or_default().extend_from_slice(more.as_bytes());
    Bundle::from_files(files).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) fn user(name: &str) -> Username {
    name.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A Monday morning in Berlin.
pub(crate) fn monday() -> Timestamp {
    at("2026-11-23T09:00:00Z")
}

/// Somebody on that Monday.
pub(crate) fn who(bundle: &Bundle, name: &str) -> Situation {
    bundle.imagine(&user(name), monday()).unwrap()
}

/// `resource+role`, asked the ordinary way.
pub(crate) fn ask(selector: &str) -> Ask {
    let (resource, role) = selector.split_once('+').unwrap();
    Ask::plain(resource.parse::<ResourceName>().unwrap(), role.parse::<RoleName>().unwrap())
}
