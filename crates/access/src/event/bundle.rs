//! What happens to policy bundles.

macro_rules! bundle_events {
    ($then:ident! $state:tt) => {
        $then! { $state Bundle {
            /// A policy bundle is in force. Texts: `diff`, and `by` if it was put back at the machine itself.
            "bundle.activated" BundleActivated {
                /// The bundle that decided.
                bundle: BundleId,
                /// SHA-256, hex.
                digest: String,
                /// The one before.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                previous: Option<String>,
            }
            /// A policy directory was not taken; the one before stays in force. Text: `errors`.
            "bundle.rejected" BundleRejected {
                /// SHA-256, hex.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                digest: Option<String>,
            }
        } }
    };
}
