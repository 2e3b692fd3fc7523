//! How bundles change.

use crate::bundle::BundleRow;
use crate::event::{Entry, Event as E};

use super::no_row;
use super::tables::{FoldError, Tables, add};

pub(super) fn apply(tables: &mut Tables, entry: &Entry) -> Result<(), FoldError> {
    let at = entry.at;
    match entry.event.clone() {
        E::BundleActivated { bundle, digest, previous } => add(tables, BundleRow { id: bundle, digest, previous, activated_at: at }),
        other => no_row(&other),
    }
}
