//! What happens to sessions.

macro_rules! session_events {
    ($then:ident! $state:tt) => {
        $then! { $state Session {
            /// A session may begin. Text: `from`.
            "session.opened" SessionOpened {
                /// Which session.
                session: SessionId,
                /// Which grant.
                grant: GrantId,
                /// Who.
                person: PrincipalId,
                /// Where.
                resource: ResourceName,
                /// As what.
                role: RoleName,
                /// In which protocol.
                protocol: Protocol,
                /// Its recording.
                recording: RecordingId,
                /// SHA-256 over the recording's header, hex: where its chain starts.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                recording_header: Option<String>,
                /// What is kept.
                level: RecordLevel,
                /// The node.
                node: String,
                /// The bundle that decided.
                bundle: String,
                /// Until when; none: standing.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                ends_at: Option<Timestamp>,
            }
            /// It is over.
            "session.ended" SessionEnded {
                /// Which session.
                session: SessionId,
                /// Why.
                reason: EndReason,
                /// Whether the target's end was seen to close.
                confirmed: bool,
                /// Bytes from the client.
                bytes_up: i64,
                /// Bytes from the target.
                bytes_down: i64,
                /// Whole chunks.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                recording_chunks: Option<i64>,
                /// What closes the recording's chain.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                recording_digest: Option<String>,
            }
            /// Its target was not seen to close when it ended; now the gate looked there again, and nothing of it is left.
            "session.confirmed" SessionConfirmed {
                /// Which session.
                session: SessionId,
            }
            /// It stands on another grant of the same person, role and resource now.
            "session.rehomed" SessionRehomed {
                /// Which session.
                session: SessionId,
                /// The grant that ended.
                from_grant: GrantId,
                /// The grant it stands on now.
                to_grant: GrantId,
            }
            /// A session was let through by a tier that is only observed: no path allowed it, or people would have had to agree.
            "session.observed" SessionObserved {
                /// Which session.
                session: SessionId,
                /// Which tier.
                tier: TierName,
                /// Until when the tier is only observed.
                until: Timestamp,
            }
            /// It was opened from the machine on which another one, that is named too, lived then.
            "session.stepped" SessionStepped {
                /// Which session.
                session: SessionId,
                /// From which.
                from_session: SessionId,
            }
            /// Through it somebody went on from its target: to somewhere behind it, or with an agent of theirs that it may use. Text: `to`.
            "session.onward" SessionOnward {
                /// Which session.
                session: SessionId,
                /// How.
                how: Onward,
            }
            /// It went over a threshold of its tier.
            "session.alerted" SessionAlerted {
                /// Which session.
                session: SessionId,
                /// What is watched.
                what: Watched,
                /// How many there were.
                value: u64,
                /// More than this was too much.
                bound: u64,
                /// What followed.
                then: Consequence,
            }
            /// Somebody knocked and was not let through. Texts: `from`, `detail`.
            "session.refused" SessionRefused {
                /// Who.
                person: PrincipalId,
                /// Where.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                resource: Option<ResourceName>,
                /// As what.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                role: Option<RoleName>,
                /// At which door.
                door: Door,
                /// Why.
                reason: Reason,
                /// The bundle that decided, if policy did.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                bundle: Option<String>,
                /// The policies that decided.
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                policies: Vec<String>,
            }
            /// Somebody tried inside a session what their role does not include. Text: `detail`.
            "session.denied" SessionDenied {
                /// Which session.
                session: SessionId,
                /// What was tried.
                action: String,
                /// Why.
                reason: Reason,
            }
            /// Somebody watched it live.
            "session.watched" SessionWatched {
                /// Which session.
                session: SessionId,
            }
            /// Somebody joined it, by a session of their own to the same resource.
            "session.joined" SessionJoined {
                /// Which session was joined.
                session: SessionId,
                /// By which.
                by: SessionId,
            }
            /// Somebody ended it by hand. Text: `reason`.
            "session.killed" SessionKilled {
                /// Which session.
                session: SessionId,
            }
        } }
    };
}
