//! What happens to requests, and to the votes on them.

macro_rules! request_events {
    ($then:ident! $state:tt) => {
        $then! { $state Request {
            /// Somebody asked. Texts: `reason`, `ticket`, `from`, `risk_says` (what is unusual, in sentences).
            "request.submitted" RequestSubmitted {
                /// Which request.
                request: RequestId,
                /// Who.
                person: PrincipalId,
                /// Where.
                resource: ResourceName,
                /// As what.
                role: RoleName,
                /// For how long.
                asked: Asked,
                /// What the asker renounced.
                limits: Limits,
                /// Whether it is an emergency.
                break_glass: bool,
                /// The grant it would make longer.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                extends: Option<GrantId>,
                /// How strongly the asker had proved who they are.
                mfa: Mfa,
                /// The job that asked, if it was a job.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                claims: Option<JobClaims>,
                /// What the path costs.
                terms: Terms,
                /// The bundle that decided.
                bundle: String,
                /// The policy whose path was chosen.
                policy: String,
                /// Until when.
                expires_at: Timestamp,
                /// What was unusual about it.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                risk: Option<Risk>,
            }
            /// The asker changed it; approvals are void. Texts: `reason`, `ticket`, `from`, `risk_says`.
            "request.edited" RequestEdited {
                /// Which request.
                request: RequestId,
                /// For how long.
                asked: Asked,
                /// What the asker renounced.
                limits: Limits,
                /// How strongly the asker had proved who they are.
                mfa: Mfa,
                /// What the path costs.
                terms: Terms,
                /// The bundle that decided.
                bundle: String,
                /// The policy whose path was chosen.
                policy: String,
                /// Until when.
                expires_at: Timestamp,
                /// What was unusual about it.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                risk: Option<Risk>,
            }
            /// Somebody asked and policy said no at once. Texts: `reason`, `from`, `detail`.
            "request.refused" RequestRefused {
                /// Who.
                person: PrincipalId,
                /// Where.
                resource: ResourceName,
                /// As what.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                role: Option<RoleName>,
                /// The bundle that decided.
                bundle: String,
                /// The policies that decided.
                policies: Vec<String>,
                /// Why.
                reason: Reason,
            }
            /// Somebody decided for themselves. Text: `note`.
            "request.voted" RequestVoted {
                /// Which request.
                request: RequestId,
                /// Which vote.
                vote: VoteId,
                /// Of which revision.
                revision: i64,
                /// Whose.
                voter: PrincipalId,
                /// Yes or no.
                decision: Decision,
                /// The stages the voter could fill.
                stages: Vec<usize>,
                /// The voter's passkey over the exact request, if it was signed.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                signature: Option<Box<VoteSignature>>,
                /// Whether the voter began here by an invitation of the asker's.
                #[serde(default, skip_serializing_if = "std::ops::Not::not")]
                invited_by_asker: bool,
            }
            /// Somebody tried to decide who may not. Texts: `note`, `detail`.
            "vote.refused" VoteRefused {
                /// Which request.
                request: RequestId,
                /// Whose.
                voter: PrincipalId,
                /// Why.
                reason: Reason,
                /// The bundle that decided, if policy did.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                bundle: Option<String>,
                /// The policies that decided.
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                policies: Vec<String>,
            }
            /// All that was needed agreed.
            "request.approved" RequestApproved {
                /// Which request.
                request: RequestId,
                /// Who agreed.
                approvers: Vec<PrincipalId>,
            }
            /// It was denied: by a person, or because policy changed. Text: `detail`.
            "request.denied" RequestDenied {
                /// Which request.
                request: RequestId,
                /// Why.
                reason: Reason,
                /// The bundle that decided, if policy did.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                bundle: Option<String>,
                /// The policies that decided.
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                policies: Vec<String>,
            }
            /// The asker took it back.
            "request.cancelled" RequestCancelled {
                /// Which request.
                request: RequestId,
            }
            /// Nobody answered in time.
            "request.expired" RequestExpired {
                /// Which request.
                request: RequestId,
            }
        } }
    };
}
