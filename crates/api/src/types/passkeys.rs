//! Passkeys (Web Authentication Level 3), and proving freshly that it is oneself. Binary parts are base64url without padding.

use access::ids::{PasskeyId, PrincipalId, RequestId};
use access::names::{ResourceName, RoleName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// Where passkeys are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeyFacts {
    /// The name they are bound to.
    pub party: String,
    /// The only page they are used on: scheme, host and port.
    pub origin: String,
}

/// A passkey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passkey {
    /// Its id.
    #[schema(value_type = schema::PasskeyId)]
    pub id: PasskeyId,
    /// Whose.
    #[schema(value_type = schema::PrincipalId)]
    pub person: PrincipalId,
    /// Its id, as its authenticator knows it.
    pub credential: String,
    /// What its owner calls it.
    pub label: Option<String>,
    /// Which make of authenticator, by its own account: a UUID, all zero if it does not say.
    pub aaguid: String,
    /// Whether its owner's other devices have it too.
    pub backed_up: bool,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub added_at: Timestamp,
    /// When it was last used.
    #[schema(value_type = Option<schema::Time>)]
    pub used_at: Option<Timestamp>,
    /// Whether this browser was signed in with it.
    pub current: bool,
}

/// What a browser needs to make a passkey: parts of `PublicKeyCredentialCreationOptions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeyToMake {
    /// The challenge; good for one answer within five minutes.
    pub challenge: String,
    /// `rp.id`.
    pub party: String,
    /// `user.id`.
    pub user_handle: String,
    /// `user.name`.
    pub username: String,
    /// `user.displayName`.
    pub display_name: String,
    /// `pubKeyCredParams`: COSE algorithms, best first.
    pub algorithms: Vec<i64>,
    /// `excludeCredentials`.
    pub have: Vec<String>,
}

/// A passkey that a browser made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPasskey {
    /// `clientDataJSON`.
    #[schema(max_length = 16384)]
    pub client_data: String,
    /// `attestationObject`.
    #[schema(max_length = 65536)]
    pub attestation_object: String,
    /// What its owner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub label: Option<String>,
}

/// A passkey's new name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyName {
    /// What its owner calls it; empty: nothing.
    #[schema(max_length = 100)]
    pub label: String,
}

/// What a browser needs to use a passkey: parts of `PublicKeyCredentialRequestOptions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasskeyToUse {
    /// The challenge; good for one answer within five minutes.
    pub challenge: String,
    /// `rpId`.
    pub party: String,
    /// `allowCredentials`; empty: whichever the person has here.
    pub credentials: Vec<String>,
}

/// What a browser hands over when a passkey was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyAnswer {
    /// The passkey's id.
    #[schema(max_length = 2048)]
    pub credential: String,
    /// `clientDataJSON`.
    #[schema(max_length = 16384)]
    pub client_data: String,
    /// `authenticatorData`.
    #[schema(max_length = 16384)]
    pub authenticator_data: String,
    /// `signature`.
    #[schema(max_length = 4096)]
    pub signature: String,
    /// `userHandle`: whose it says it is; needed to sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub user_handle: Option<String>,
}

impl PasskeyAnswer {
    /// The answer, apart from whose it says it is.
    #[must_use]
    pub fn assertion(self) -> identity::passkeys::Assertion {
        let Self { credential, client_data, authenticator_data, signature, user_handle: _ } = self;
        identity::passkeys::Assertion { credential, client_data, authenticator_data, signature }
    }
}

/// For what a person proves freshly that it is them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProofFor {
    /// The code of a terminal that waits; absent: for the browser's own sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 20)]
    pub code: Option<String>,
}

/// A person used their passkey to prove freshly that it is them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProof {
    /// The code of a terminal that waits; absent: for the browser's own sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 20)]
    pub code: Option<String>,
    /// The passkey's answer.
    pub answer: PasskeyAnswer,
}

/// It was proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proof {
    /// When.
    #[schema(value_type = schema::Time)]
    pub proved_at: Timestamp,
}

/// Something a program wants to do for which its owner has to prove freshly that it is them: ask for access, or decide on a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStepUp {
    /// To ask for access: where to …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// … as what; absent means the one role that is open there …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RoleName>)]
    pub role: Option<RoleName>,
    /// … and whether it is an emergency.
    #[serde(default)]
    pub break_glass: bool,
    /// To decide on a request: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RequestId>)]
    pub request: Option<RequestId>,
    /// The program and machine, in its own words.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub client: String,
}

/// Where the person goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BegunStepUp {
    /// The page, with the code.
    pub link: String,
    /// The code, to compare or to type.
    pub user_code: String,
    /// Until when.
    #[schema(value_type = schema::Time)]
    pub expires_at: Timestamp,
    /// Seconds to leave between two looks.
    pub interval: u64,
}

/// How it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepUpState {
    /// Nobody answered yet, or it was too long ago.
    Open,
    /// It was proved: do it again now.
    Proved,
    /// The person said that it is not them.
    Refused,
}

/// How a program's wait goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepUpProgress {
    /// How it goes.
    pub state: StepUpState,
}

/// Who waits, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskingStepUp {
    /// The door, or what the program calls itself.
    pub client: String,
    /// From which address: what the gate sees itself.
    pub address: Option<String>,
    /// Where to.
    #[schema(value_type = Option<schema::ResourceName>)]
    pub resource: Option<ResourceName>,
    /// As what.
    #[schema(value_type = Option<schema::RoleName>)]
    pub role: Option<RoleName>,
    /// Whether it is an emergency.
    pub break_glass: bool,
    /// The request that is to be decided on.
    #[schema(value_type = Option<schema::RequestId>)]
    pub request: Option<RequestId>,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub asked_at: Timestamp,
}

/// What an approver signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ToSign {
    /// The statement, in RFC 8785 form. The challenge is the SHA-256 of its UTF-8 bytes: compute it, and compare the statement with what is shown.
    pub statement: String,
    /// `rpId`.
    pub party: String,
    /// `allowCredentials`.
    pub credentials: Vec<String>,
}
