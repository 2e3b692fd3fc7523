//! What happens to people and workloads.

macro_rules! person_events {
    ($then:ident! $state:tt) => {
        $then! { $state Person {
            /// Somebody became known. Text: `display_name`.
            "person.created" PersonCreated {
                /// Who.
                person: PrincipalId,
                /// Under which name.
                username: Username,
                /// The human who answers for a workload.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                owner: Option<UserId>,
                /// Groups the store itself gives.
                groups: Vec<GroupName>,
            }
            /// Somebody is called differently; the name they sign in with stays. Text: `display_name`.
            "person.renamed" PersonRenamed {
                /// Who.
                person: PrincipalId,
            }
            /// Somebody may no longer sign in. Text: `reason`.
            "person.disabled" PersonDisabled {
                /// Who.
                person: PrincipalId,
            }
            /// Somebody may sign in again.
            "person.enabled" PersonEnabled {
                /// Who.
                person: PrincipalId,
            }
            /// A single-use way to sign in for the first time was made.
            "invitation.issued" InvitationIssued {
                /// Who.
                person: PrincipalId,
                /// Until when.
                expires_at: Timestamp,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// It was used.
            "invitation.used" InvitationUsed {
                /// Who.
                person: PrincipalId,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// It lets nobody in any more: whom it is for was contained before it was used.
            "invitation.voided" InvitationVoided {
                /// Who.
                person: PrincipalId,
                /// Keyed digest of the row as it stands now.
                row_digest: String,
            }
            /// Somebody at the machine itself invited an administrator, because none could sign in any more. Text: `by`.
            "administrator.recovered" AdministratorRecovered {
                /// Who.
                person: PrincipalId,
            }
            /// A job of a CI system signed in with the token that its issuer gave it. Texts: `from`, `run` (what set it off, as the issuer says).
            "workload.signed_in" WorkloadSignedIn {
                /// Which workload it is.
                person: PrincipalId,
                /// By which claims.
                claims: JobClaims,
                /// SHA-256, hex, of what the issuer's token is known by: it does once.
                assertion: String,
                /// The token that it was given for it.
                token: TokenId,
                /// The bundle that says whose jobs are whose.
                bundle: String,
            }
            /// Somebody else answers for a workload from now on, as `workloads.toml` says.
            "workload.handed_over" WorkloadHandedOver {
                /// Which workload.
                person: PrincipalId,
                /// The human who answers for it.
                owner: UserId,
            }
            /// Somebody tried an action they have no right to. Text: `detail`.
            "action.refused" ActionRefused {
                /// What was tried.
                action: String,
                /// On what.
                object: String,
                /// Why.
                reason: Reason,
                /// The bundle that decided, if policy did.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                bundle: Option<String>,
                /// The policies that decided.
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                policies: Vec<String>,
            }
        } }
    };
}
