//! What an approver signs: the request as it was shown, in the one form it is ever written in.
//!
//! The passkey's challenge is the SHA-256 of its RFC 8785 JSON, so that the signature is over the exact request, by this person, at this
//! gate, and over nothing else. Free texts stand in it by the salted digests under which the log has them: erasing them leaves the signature whole.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{GrantId, PrincipalId, RequestId};
use crate::limits::Limits;
use crate::names::{ResourceName, RoleName};
use crate::request::{Asked, RequestRow};

/// What a statement says it is, so that no other signature of the passkey is ever taken for one.
pub const PURPOSE: &str = "tidegate approval 1";

/// An approval in words that a machine can compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalStatement {
    /// [`PURPOSE`].
    pub purpose: String,
    /// The gate's page: scheme, host and port.
    pub gate: String,
    /// The name that passkeys are bound to there.
    pub party: String,
    /// Which request.
    pub request: RequestId,
    /// Which revision of it: an edit makes another, and leaves this signature without worth.
    pub revision: i64,
    /// Who approves.
    pub approver: PrincipalId,
    /// Who asks.
    pub person: PrincipalId,
    /// Where to.
    pub resource: ResourceName,
    /// As what.
    pub role: RoleName,
    /// For how long.
    pub duration: Asked,
    /// What the asker renounces.
    pub limits: Limits,
    /// Whether it is an emergency.
    pub break_glass: bool,
    /// The grant it would make longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// The salted digest of the reason, as the log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The salted digest of the ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The policy bundle under which it was asked.
    pub bundle: String,
    /// 32 random bytes, hex: no statement is made twice.
    pub nonce: String,
}

impl ApprovalStatement {
    /// What somebody signs who approves a request as it stands, with the digests of its texts.
    #[must_use]
    pub fn of(
        request: &RequestRow,
        approver: PrincipalId,
        gate: &str,
        party: &str,
        reason: Option<String>,
        ticket: Option<String>,
    ) -> Self {
        Self {
            purpose: PURPOSE.to_owned(),
            gate: gate.to_owned(),
            party: party.to_owned(),
            request: request.id,
            revision: request.revision,
            approver,
            person: request.person,
            resource: request.resource.clone(),
            role: request.role.clone(),
            duration: request.asked,
            limits: request.limits.clone(),
            break_glass: request.break_glass,
            extends: request.extends,
            reason,
            ticket,
            bundle: request.bundle.clone(),
            nonce: hex::encode(rand::random::<[u8; 32]>()),
        }
    }

    /// Its RFC 8785 form.
    ///
    /// # Errors
    /// If it does not serialise, which no statement does.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json_canonicalizer::to_string(self)
    }

    /// Reads a statement that stands in just that form.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let statement: Self = serde_json::from_str(text).ok()?;
        (statement.purpose == PURPOSE && statement.text().ok()? == text).then_some(statement)
    }
}

/// The challenge that a passkey signs for a statement.
#[must_use]
pub fn challenge(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The digests of an entry's texts, by name, as its leaf has them: those of erased ones too.
#[must_use]
pub fn text_digests(leaf: &[u8]) -> std::collections::BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Bound {
        #[serde(default)]
        texts: std::collections::BTreeMap<String, String>,
    }
    serde_json::from_slice(leaf).map(|Bound { texts }| texts).unwrap_or_default()
}
