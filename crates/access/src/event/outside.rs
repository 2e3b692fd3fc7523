//! What happens to what the gate is told from outside, and to what it sends there.

macro_rules! outside_events {
    ($then:ident! $state:tt) => {
        $then! { $state Outside {
            /// A message to the outside was given up. Text: `detail`.
            "delivery.abandoned" DeliveryAbandoned {
                /// Which message.
                delivery: DeliveryId,
                /// Where it was to go.
                destination: String,
            }
            /// Somebody had a message sent again.
            "delivery.replayed" DeliveryReplayed {
                /// Which message.
                delivery: DeliveryId,
                /// Where it goes.
                destination: String,
            }
            /// What the gate believes of who is on call changed, for a service of a source outside of it. Text: `detail` (why it is not known).
            "oncall.changed" OnCallChanged {
                /// The source.
                source: GroupName,
                /// Its service.
                service: GroupName,
                /// Whether it is known; if not, nobody counts as on call.
                known: bool,
                /// Who is on call.
                people: Vec<OnDuty>,
            }
            /// A transmitter of signals said something of somebody. Texts: `says` (the type of its event), `detail` (why, in its words or ours), `from`.
            "signal.heard" SignalHeard {
                /// Which transmitter.
                transmitter: Username,
                /// SHA-256 over its issuer and the signal's `jti`, hex: the same signal counts once.
                signal: String,
                /// What it said.
                kind: SignalKind,
                /// What came of it.
                outcome: SignalOutcome,
                /// Of whom, if they are somebody here.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                person: Option<PrincipalId>,
            }
            /// Something came in the name of a transmitter that proves nothing. Texts: `detail`, `from`.
            "signal.refused" SignalRefused {
                /// Which transmitter.
                transmitter: Username,
            }
        } }
    };
}
