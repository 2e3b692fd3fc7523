//! What recordings hold is said to people.

use std::collections::BTreeSet;
use std::path::Path;

// covers: SSH-2 (ssh)
#[test]
fn every_kind_of_activity_stands_in_the_page_about_recordings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/recordings.md")).unwrap();
    let table = page.split("## Activities").nth(1).unwrap().split("\n## ").next().unwrap();
    // What is started is named after what it is.
    let mut kinds = BTreeSet::from(["shell", "exec", "subsystem"].map(str::to_owned));
    for file in std::fs::read_dir(root.join("src/ssh")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        kinds.extend(text.split("\"kind\": \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(kinds.len() > 20, "{kinds:?}");
    let missing: Vec<_> = kinds.iter().filter(|kind| !table.contains(&format!("`{kind}`"))).collect();
    assert!(missing.is_empty(), "docs/recordings.md says nothing of {missing:?}");
}
