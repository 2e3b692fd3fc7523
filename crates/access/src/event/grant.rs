//! What happens to grants.

macro_rules! grant_events {
    ($then:ident! $state:tt) => {
        $then! { $state Grant {
            /// A bounded right exists.
            "grant.created" GrantCreated {
                /// Which grant.
                grant: GrantId,
                /// Which request.
                request: RequestId,
                /// Who.
                person: PrincipalId,
                /// Where.
                resource: ResourceName,
                /// As what.
                role: RoleName,
                /// What the asker renounced.
                limits: Limits,
                /// What the path costs.
                terms: Terms,
                /// How long; none: standing.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                length: Option<Span>,
                /// Whether it is an emergency.
                break_glass: bool,
                /// The bundle that decided.
                bundle: String,
                /// The policy whose path was chosen.
                policy: String,
                /// Who agreed.
                approvers: Vec<PrincipalId>,
                /// What was true.
                frozen: Frozen,
                /// Until when its clock must start.
                activate_by: Timestamp,
            }
            /// Its clock started.
            "grant.activated" GrantActivated {
                /// Which grant.
                grant: GrantId,
                /// From when.
                starts_at: Timestamp,
                /// Until when; none: standing.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                ends_at: Option<Timestamp>,
            }
            /// Its end moved, by a decision of its own.
            "grant.extended" GrantExtended {
                /// Which grant.
                grant: GrantId,
                /// Which request.
                request: RequestId,
                /// Until when; none: standing.
                ends_at: Timestamp,
            }
            /// Its time was up.
            "grant.expired" GrantExpired {
                /// Which grant.
                grant: GrantId,
            }
            /// Somebody who may took it away. Text: `reason`.
            "grant.revoked" GrantRevoked {
                /// Which grant.
                grant: GrantId,
                /// What else still opens the same door to the same person.
                still_open: Vec<GrantId>,
            }
            /// Its holder gave it back.
            "grant.returned" GrantReturned {
                /// Which grant.
                grant: GrantId,
            }
            /// No path that was paid for is left. Text: `detail`.
            "grant.withdrawn" GrantWithdrawn {
                /// Which grant.
                grant: GrantId,
                /// Why.
                reason: Reason,
                /// The bundle that decided.
                bundle: String,
                /// The policies that decided.
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                policies: Vec<String>,
            }
            /// It was not used in time.
            "grant.lapsed" GrantLapsed {
                /// Which grant.
                grant: GrantId,
            }
            /// Nobody used it for its idle time.
            "grant.idled" GrantIdled {
                /// Which grant.
                grant: GrantId,
            }
        } }
    };
}
