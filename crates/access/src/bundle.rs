//! Which policy was in force when.

use jiff::Timestamp;

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
