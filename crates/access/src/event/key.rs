//! What happens to what signs people in: keys, passkeys, tokens.

macro_rules! key_events {
    ($then:ident! $state:tt) => {
        $then! { $state Key {
            /// A key signs somebody in from now on. Text: `label`.
            "key.added" KeyAdded {
                /// Which key.
                key: KeyId,
                /// Who.
                person: PrincipalId,
                /// Of which kind.
                kind: KeyKind,
                /// `SHA256:…`.
                fingerprint: String,
                /// OpenSSH format, without comment.
                public_key: String,
                /// Until when.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                expires_at: Option<Timestamp>,
                /// What its owner was signed in with when they asked for this certificate: it ends with that.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                with: Option<Via>,
                /// The job that has it, if it is a job's.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                claims: Option<JobClaims>,
            }
            /// A key no longer signs anybody in.
            "key.removed" KeyRemoved {
                /// Which key.
                key: KeyId,
            }
            /// A passkey signs somebody in from now on. Text: `label`.
            "passkey.added" PasskeyAdded {
                /// Which passkey.
                passkey: PasskeyId,
                /// Who.
                person: PrincipalId,
                /// SHA-256 of its public key (COSE_Key), hex: by it a signed approval is known as theirs without the gate.
                public_key: String,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// A passkey was used. Text: `from`.
            "passkey.used" PasskeyUsed {
                /// Which passkey.
                passkey: PasskeyId,
                /// Who.
                person: PrincipalId,
                /// What for.
                purpose: PasskeyUse,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// A passkey is called differently. Text: `label`.
            "passkey.renamed" PasskeyRenamed {
                /// Which passkey.
                passkey: PasskeyId,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// A passkey no longer signs anybody in.
            "passkey.removed" PasskeyRemoved {
                /// Which passkey.
                passkey: PasskeyId,
                /// Who.
                person: PrincipalId,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// A bearer token was made. Text: `label`.
            "token.issued" TokenIssued {
                /// Which token.
                token: TokenId,
                /// Who.
                person: PrincipalId,
                /// For what.
                scopes: Vec<Scope>,
                /// The one grant that it opens connections on, and with which it ends; absent: it is no connect token.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                grant: Option<GrantId>,
                /// Until when, at most.
                expires_at: Timestamp,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// A bearer token is called differently. Text: `label`.
            "token.renamed" TokenRenamed {
                /// Which token.
                token: TokenId,
                /// Whose.
                person: PrincipalId,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// A bearer token no longer works.
            "token.revoked" TokenRevoked {
                /// Which token.
                token: TokenId,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
        } }
    };
}
