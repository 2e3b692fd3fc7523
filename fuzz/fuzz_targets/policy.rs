//! The policy directory: one file of the example is replaced by what the fuzzer makes. It is taken or refused with problems.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use policy::Bundle;

static EXAMPLE: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let bundle = Bundle::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policy"))).expect("the example is sound");
    bundle.files().clone()
});
const FILES: [&str; 7] = ["tiers.toml", "resources.toml", "roles.toml", "approvals.toml", "windows.toml", "people.toml", "access.cedar"];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, content)) = bytes.split_first() else { return };
    let mut files = EXAMPLE.clone();
    files.insert(FILES[usize::from(*which) % FILES.len()].to_owned(), content.to_vec());
    if let Err(problems) = Bundle::from_files(files) {
        assert!(!problems.to_string().is_empty());
    }
});
