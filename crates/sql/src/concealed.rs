//! A text as a record keeps it under a role with masks, in whatever language: what stands in the place of values, and which go.

use std::collections::BTreeSet;

use crate::verdict::{Allowed, Hidden};

/// What stands in the place of a constant.
pub(crate) const CONSTANT: &str = "'‹hidden›'";
/// What stands in the place of a comment.
pub(crate) const COMMENT: &str = "/*‹hidden›*/";

/// A text as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concealed {
    /// The text without what is hidden.
    pub text: String,
    /// How many constants, names and comments were taken out.
    pub count: usize,
    /// If it was refused: why, without what is hidden.
    pub why: Option<String>,
}

/// What is recorded of a text whose statements are all allowed; `None`: all of it. `without` takes out the constants that begin at
/// some places, if it finds them all; `nothing` keeps no value.
pub(crate) fn of_allowed(
    all: &[Allowed],
    without: impl FnOnce(&BTreeSet<i32>) -> Option<Concealed>,
    nothing: impl Fn() -> Concealed,
) -> Option<Concealed> {
    let mut starts = BTreeSet::new();
    for one in all {
        match &one.hidden {
            Hidden::Nothing => {}
            Hidden::Some { constants, .. } => starts.extend(constants.iter().copied()),
            Hidden::Everything => return Some(nothing()),
        }
    }
    (!starts.is_empty()).then(|| without(&starts).unwrap_or_else(nothing))
}
