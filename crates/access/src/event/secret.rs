//! What happens to sealed secrets, the gate's own keys, and the host keys it trusts.

macro_rules! secret_events {
    ($then:ident! $state:tt) => {
        $then! { $state Secret {
            /// A sealed secret was set.
            "secret.set" SecretSet {
                /// Which secret.
                secret: SecretName,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// A sealed secret was removed.
            "secret.removed" SecretRemoved {
                /// Which secret.
                secret: SecretName,
            }
            /// A key of the gate that is to take the place of one was made, so that others learn it before it is used.
            "keys.announced" KeysAnnounced {
                /// Which key.
                key: String,
                /// The id of the one that is in use still.
                old: String,
                /// The new id.
                new: String,
                /// The half of the new one that may be known.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                public: Option<String>,
            }
            /// A key of the gate is replaced; the old one still verifies what it signed.
            "keys.rotated" KeysRotated {
                /// Which key.
                key: String,
                /// The old id.
                old: String,
                /// The new id.
                new: String,
                /// The half of the new one that may be known; of `audit` the key that verifies checkpoints from here on.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                public: Option<String>,
                /// Until when targets are to go on trusting the old one.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                trusted_until: Option<Timestamp>,
            }
            /// A target's host key was seen for the first time and is the only one trusted from now on.
            "host_key.learned" HostKeyLearned {
                /// Where.
                resource: ResourceName,
                /// `SHA256:…`.
                fingerprint: String,
            }
        } }
    };
}
