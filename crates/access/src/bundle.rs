//! Which policy was in force when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::ids::BundleId;

row! {
    /// One activation of a policy bundle. The newest one is in force.
    BundleRow in "bundles" {
        /// `bnd_…`.
        id: BundleId,
        /// SHA-256 over the bundle's sorted paths and digests, hex.
        digest: String,
        /// The one it replaced.
        previous: Option<String>,
        /// When.
        activated_at: Timestamp,
    }
}

/// The digest by which a bundle is known: SHA-256 over the sorted lines `path NUL sha256-of-content-in-hex LF`, in hex.
#[must_use]
pub fn digest_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut whole = Sha256::new();
    for (path, content) in files.into_iter().collect::<BTreeMap<_, _>>() {
        whole.update(path.as_bytes());
        whole.update([0]);
        whole.update(hex::encode(Sha256::digest(content)));
        whole.update(b"\n");
    }
    hex::encode(whole.finalize())
}
