//! Who: people and workloads, their keys, and the proof that one of them is here.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::claims::JobClaims;
use crate::ids::{DeliveryId, GrantId, KeyId, PasskeyId, PrincipalId, RequestId, TokenId, UserId, WebSessionId};
use crate::names::{GroupName, Username};

codes! {
    /// How strongly somebody proved to be who they are, weakest first.
    Mfa("MFA kind") {
        /// Something they have, and nothing says a person was there.
        None = "none",
        /// A security key that was touched.
        KeyWithTouch = "key_with_touch",
        /// A security key with PIN or fingerprint, or a passkey.
        Verified = "verified",
    }
}

codes! {
    /// Whether somebody may sign in.
    PersonState("person state") {
        /// They may.
        Active = "active",
        /// They may not, and nothing of theirs is open.
        Disabled = "disabled",
    }
}

codes! {
    /// Whether a key still signs its owner in.
    KeyState("key state") {
        /// It does.
        Active = "active",
        /// It was taken away.
        Removed = "removed",
    }
}

codes! {
    /// How a key came to be trusted.
    KeyKind("key kind") {
        /// Its owner registered it.
        Registered = "registered",
        /// The login CA signed it for a short time.
        Certificate = "certificate",
        /// The gate's own CA signed it for a short time, for connections over TLS.
        ClientCertificate = "client_certificate",
    }
}

codes! {
    /// What a passkey was used for.
    PasskeyUse("use of a passkey") {
        /// To sign in.
        SignIn = "sign_in",
        /// To prove again, freshly, that it is them.
        StepUp = "step_up",
        /// To sign an approval.
        Approval = "approval",
    }
}

codes! {
    /// What a bearer token may be used for.
    Scope("token scope") {
        /// Look at what its owner may see.
        Read = "read",
        /// Ask, cancel, activate, extend, give back, connect.
        Ask = "ask",
        /// Approve, deny, review.
        Approve = "approve",
        /// Administrative verbs that its owner has the right to.
        Administer = "administer",
        /// Say, for a directory, who there is and in which groups; nothing else, and nobody but a directory has it.
        Directory = "directory",
    }
}

impl Scope {
    /// What people and machines can sign in for. A directory's own is none of these.
    pub const OF_PEOPLE: &'static [Self] = &[Self::Read, Self::Ask, Self::Approve, Self::Administer];
}

row! {
    /// A person or workload that can sign in.
    PersonRow in "people" {
        /// `usr_…` or `wkl_…`.
        id: PrincipalId,
        /// How they sign in; never reused.
        username: Username,
        /// How they are called; `None` once erased.
        display_name: Option<String>,
        /// The human who answers for a workload.
        owner: Option<UserId>,
        /// Groups the store itself gives (the first administrator's); all others are facts of the bundle.
        groups: Groups,
        /// Whether they may sign in.
        state: PersonState,
        /// Since when they are known.
        created_at: Timestamp,
        /// Counts changes.
        version: i64,
    }
}

/// Group names in one column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Groups(pub Vec<GroupName>);
json_fields!(Groups);

row! {
    /// A key that signs somebody in.
    KeyRow in "keys" {
        /// `key_…`.
        id: KeyId,
        /// Whose it is.
        person: PrincipalId,
        /// Registered, or a certificate.
        kind: KeyKind,
        /// `SHA256:…` as OpenSSH prints it.
        fingerprint: String,
        /// The public key in OpenSSH's format, without comment.
        public_key: String,
        /// What its owner calls it; `None` once erased.
        label: Option<String>,
        /// Whether it still signs in.
        state: KeyState,
        /// Since when.
        added_at: Timestamp,
        /// When a certificate stops being valid.
        expires_at: Option<Timestamp>,
        /// The job that has it, if it is a job's.
        claims: Option<JobClaims>,
        /// Counts changes.
        version: i64,
    }
}

row! {
    /// Who somebody is at an identity provider.
    IdentityRow in "identities" {
        /// SHA-256 over issuer and subject, hex.
        id: String,
        /// Whose it is here.
        person: PrincipalId,
        /// The provider's issuer.
        issuer: String,
        /// Their subject there; `None` once erased.
        subject: Option<String>,
        /// The local groups that the provider's last word about them means …
        groups: Groups,
        /// … and when it said so: when they last signed in there.
        proved_at: Option<Timestamp>,
        /// Since when it is theirs.
        linked_at: Timestamp,
        /// Since when it is theirs no more.
        unlinked_at: Option<Timestamp>,
        /// Counts changes.
        version: i64,
    }
}

/// By what means somebody proved to be who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// An SSH key they registered.
    SshKey(KeyId),
    /// A certificate of the login CA.
    LoginCertificate(KeyId),
    /// A certificate of the gate's own CA, shown while TLS begins.
    ClientCertificate(KeyId),
    /// A bearer token.
    Token(TokenId),
    /// A token that opens connections on one grant, and nothing else.
    ConnectToken {
        /// Which.
        token: TokenId,
        /// The grant.
        grant: GrantId,
    },
    /// A passkey of theirs, just now.
    Passkey(PasskeyId),
    /// A browser that was signed in before.
    WebSession(WebSessionId),
    /// The single-use link of the first administrator, or an invitation.
    Invitation,
    /// A sign-in at an identity provider.
    Provider,
    /// An account at a chat service that they said is theirs, by [`crate::chat::key`].
    ChatAccount(String),
    /// The single-use link of a mail to their mailbox, which decides on one request and does nothing else.
    MailLink {
        /// The mail.
        delivery: DeliveryId,
        /// The request.
        request: RequestId,
    },
    /// The local socket of the machine the gate runs on.
    LocalSocket,
}

/// Proof that somebody is here: who, how strongly, by what, from where, since when.
///
/// Made in `identity` alone; see [`crate::mint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedIdentity {
    pub(crate) id: PrincipalId,
    pub(crate) username: Username,
    pub(crate) mfa: Mfa,
    pub(crate) via: Via,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) from: Option<IpAddr>,
    pub(crate) at: Timestamp,
    pub(crate) claims: Option<JobClaims>,
}

impl VerifiedIdentity {
    /// Who.
    #[must_use]
    pub fn id(&self) -> PrincipalId {
        self.id
    }
    /// Under which name.
    #[must_use]
    pub fn username(&self) -> &Username {
        &self.username
    }
    /// How strongly, at [`Self::at`].
    #[must_use]
    pub fn mfa(&self) -> Mfa {
        self.mfa
    }
    /// By what.
    #[must_use]
    pub fn via(&self) -> &Via {
        &self.via
    }
    /// Whether what they signed in with may be used for this.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
    /// From where.
    #[must_use]
    pub fn from(&self) -> Option<IpAddr> {
        self.from
    }
    /// Which job of a CI system it is, if it is one.
    #[must_use]
    pub fn claims(&self) -> Option<&JobClaims> {
        self.claims.as_ref()
    }
    /// Since when.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}
