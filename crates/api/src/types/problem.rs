//! What a refusal looks like.

use access::ids::RequestId;
use access::reason::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::requests::AnswerCode;
use super::schema;

/// A problem in the sense of RFC 9457, sent as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:tidegate:problem:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, as a sentence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Which reason, for programs.
    #[schema(value_type = schema::Reason)]
    pub code: Reason,
    /// What to do about it.
    pub hint: String,
    /// The id under which the gate's log knows this call.
    pub request_id: String,
    /// The access request it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::RequestId>)]
    pub request: Option<RequestId>,
    /// When access was asked for: `deny`, or `step_up` if the asker can supply what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerCode>,
    /// The policies that decided, where policy did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

impl Problem {
    /// A refusal, as one call is told it.
    #[must_use]
    pub fn new(refusal: &Refusal, request_id: impl Into<String>) -> Self {
        let reason = refusal.reason;
        Self {
            kind: format!("urn:tidegate:problem:{reason}"),
            title: reason.sentence().to_owned(),
            status: reason.http(),
            detail: refusal.detail.clone(),
            code: reason,
            hint: reason.hint().to_owned(),
            request_id: request_id.into(),
            request: refusal.request,
            answer: None,
            policies: refusal.policies(),
        }
    }

    /// The refusal it was made of.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal { reason: self.code, detail: self.detail.clone(), request: self.request, ruled: None }
    }
}
