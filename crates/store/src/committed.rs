//! Rows of which the log holds a keyed digest: tokens, passkeys, invitations, sealed secrets; and host keys, whose fingerprint it holds.

use access::claims::JobClaims;
use access::identity::{Mfa, Scope};
use access::ids::{GrantId, PasskeyId, PrincipalId, TokenId, WebSessionId};
use access::names::{ResourceName, SecretName};
use access::row::{Column, ColumnError, Field, Row, json_from_column, json_to_column};
use base64::Engine as _;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

macro_rules! committed {
    ($($(#[$doc:meta])* $name:ident in $table:literal { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }

        impl Row for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];
            fn to_columns(&self) -> Vec<Column> {
                vec![$(self.$field.to_column()),*]
            }
            fn from_columns(columns: &[Column]) -> Result<Self, ColumnError> {
                let mut values = columns.iter();
                $(
                    let column = values.next().unwrap_or(&Column::Null);
                    let $field = <$ty as Field>::from_column(column).ok_or_else(|| ColumnError {
                        table: $table,
                        column: stringify!($field),
                        found: column.to_string(),
                        wanted: stringify!($ty),
                    })?;
                )*
                Ok(Self { $($field),* })
            }
        }
    )*};
}

/// What a token may be used for, in one column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(pub Vec<Scope>);

impl Field for Scopes {
    fn to_column(&self) -> Column {
        json_to_column(&self.0)
    }
    fn from_column(column: &Column) -> Option<Self> {
        json_from_column(column).map(Self)
    }
}

committed! {
    /// A bearer token; the token itself is nowhere.
    TokenRow in "tokens" {
        /// `tok_…`.
        id: TokenId,
        /// Whose.
        person: PrincipalId,
        /// Who made it.
        made_by: PrincipalId,
        /// SHA-256 of the token, hex.
        verifier: String,
        /// For what.
        scopes: Scopes,
        /// The one grant that a connect token opens connections on; `None`: it is none.
        grant: Option<GrantId>,
        /// How strongly whoever got it had proved who they are, when they got it.
        mfa: Mfa,
        /// The job of a CI system that has it, if it is a job's.
        claims: Option<JobClaims>,
        /// What the CI system's own token is known by that it was given for: no other is given for the same.
        assertion: Option<String>,
        /// Who its owner is at the identity provider, if a browser that was signed in there let a device have it; it ends with their session
        /// there.
        identity: Option<String>,
        /// That session, as the provider calls it.
        sid: Option<String>,
        /// What its owner calls it.
        label: Option<String>,
        /// Since when.
        created_at: Timestamp,
        /// Until when.
        expires_at: Timestamp,
        /// When it was taken away.
        revoked_at: Option<Timestamp>,
    }
    /// A passkey. What is kept of it signs nobody in.
    PasskeyRow in "passkeys" {
        /// `pky_…`.
        id: PasskeyId,
        /// Whose.
        person: PrincipalId,
        /// Its id, as its authenticator knows it; base64url without padding.
        credential: String,
        /// Its public key (COSE_Key); base64url without padding.
        public_key: String,
        /// What its owner calls it.
        label: Option<String>,
        /// Which make of authenticator, by its own account; hex.
        aaguid: String,
        /// Whether its owner's other devices have it too.
        backed_up: bool,
        /// How often it says it was used; 0 if it does not count.
        counter: i64,
        /// Counts changes, each use among them.
        version: i64,
        /// Since when.
        added_at: Timestamp,
        /// When it was last used.
        used_at: Option<Timestamp>,
        /// When it was taken away.
        removed_at: Option<Timestamp>,
    }
    /// A single-use way to sign in for the first time.
    InvitationRow in "invitations" {
        /// Any text that is used once.
        id: String,
        /// Whose.
        person: PrincipalId,
        /// SHA-256 of the link's secret, hex.
        verifier: String,
        /// Until when.
        expires_at: Timestamp,
        /// When it was used, or voided.
        used_at: Option<Timestamp>,
    }
    /// A browser that was signed in. Ephemeral: losing it takes away nothing but the sign-in.
    WebSessionRow in "web_sessions" {
        /// `web_…`.
        id: WebSessionId,
        /// Whose.
        person: PrincipalId,
        /// SHA-256 of the cookie, hex.
        verifier: String,
        /// The token it was made from; it ends with that.
        token: Option<TokenId>,
        /// Who they are at the identity provider it was made from; it ends with their session there.
        identity: Option<String>,
        /// That session, as the provider calls it.
        sid: Option<String>,
        /// The passkey it was made with; it ends with that.
        passkey: Option<PasskeyId>,
        /// The passkey that proved it again since; with that goes what it proved.
        raised_with: Option<PasskeyId>,
        /// For what.
        scopes: Scopes,
        /// How strongly the sign-in proved who it was …
        mfa: Mfa,
        /// … and when.
        proved_at: Timestamp,
        /// From where it was made.
        address: Option<String>,
        /// What the browser calls itself.
        agent: Option<String>,
        /// Since when.
        created_at: Timestamp,
        /// When it was last used.
        seen_at: Timestamp,
        /// Until when in any case.
        ends_at: Timestamp,
    }
    /// A secret, sealed; the store can't open it.
    SecretRow in "secrets" {
        /// As `resources.toml` names it.
        name: SecretName,
        /// The sealed bytes, base64.
        sealed: String,
        /// The key that seals it.
        key_id: String,
        /// Since when.
        set_at: Timestamp,
    }
    /// The one host key that is trusted for a resource since it was first seen.
    HostKeyRow in "host_keys" {
        /// Whose.
        resource: ResourceName,
        /// `SHA256:…` as OpenSSH prints it.
        fingerprint: String,
        /// The public key in OpenSSH's format, without comment.
        public_key: String,
        /// Since when.
        learned_at: Timestamp,
    }
}

impl HostKeyRow {
    /// Whether the fingerprint is this public key's.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let blob = self.public_key.split(' ').nth(1).and_then(|b| base64::engine::general_purpose::STANDARD.decode(b).ok());
        let Some(blob) = blob else { return false };
        self.fingerprint.strip_prefix("SHA256:") == Some(&base64::engine::general_purpose::STANDARD_NO_PAD.encode(Sha256::digest(blob)))
    }
}

/// The bytes of a row that a keyed digest is taken of: the same for who writes the entry and for who replays the log.
///
/// JSON of the table's name and of each column's name and value, in order.
pub fn digestible<R: Row>(row: &R) -> Vec<u8> {
    let values = row.to_columns();
    let columns: Vec<_> = R::COLUMNS
        .iter()
        .zip(&values)
        .map(|(name, value)| match value {
            Column::Null => serde_json::json!([name, null]),
            Column::Int(n) => serde_json::json!([name, n]),
            Column::Text(t) => serde_json::json!([name, t]),
        })
        .collect();
    serde_json::json!([R::TABLE, columns]).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_and_its_fingerprint_belong_together() {
        let mut row = HostKeyRow {
            resource: "db-1".parse().unwrap(),
            fingerprint: "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU".into(),
            public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl".into(),
            learned_at: Timestamp::UNIX_EPOCH,
        };
        assert!(row.is_consistent());
        row.public_key.push('x');
        assert!(!row.is_consistent());
    }

    #[test]
    fn every_column_is_in_what_is_digested() {
        let row = InvitationRow {
            id: "inv".into(),
            person: "usr_00000000000000000000000001".parse().unwrap(),
            verifier: "00ff".into(),
            expires_at: Timestamp::UNIX_EPOCH,
            used_at: None,
        };
        assert_eq!(
            String::from_utf8(digestible(&row)).unwrap(),
            r#"["invitations",[["id","inv"],["person","usr_00000000000000000000000001"],["verifier","00ff"],["expires_at",0],["used_at",null]]]"#
        );
    }
}
