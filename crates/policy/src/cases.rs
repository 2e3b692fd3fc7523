//! `tests/*.toml`: who asks what when, and what the answer has to be.

use crate::document::Document;
use crate::problem::Sink;

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it shows.
    pub name: String,
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> Vec<Case> {
    for (file, bytes) in files {
        let Some(doc) = Document::open(file, bytes, sink) else { continue };
        doc.root();
    }
    Vec::new()
}
