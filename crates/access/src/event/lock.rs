//! What happens to locks.

macro_rules! lock_events {
    ($then:ident! $state:tt) => {
        $then! { $state Lock {
            /// Something is kept shut. Text: `reason`.
            "lock.set" LockSet {
                /// Which lock.
                lock: LockId,
                /// What is locked.
                scope: LockScope,
                /// Until when by itself.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                until: Option<Timestamp>,
                /// Whether it contains somebody or something: whoever set it also took away what they had, and it is lifted by that name alone.
                #[serde(default, skip_serializing_if = "std::ops::Not::not")]
                contains: bool,
                /// The transmitter whose signal set it; left out: somebody here did.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                transmitter: Option<Username>,
                /// Of a lock on a network: the sessions in it that were open then. Their addresses are texts, which can be erased.
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                sessions: Vec<SessionId>,
            }
            /// What was in the scope of a lock that contains is taken away, as far as it was seen.
            "containment.reached" ContainmentReached {
                /// Which lock.
                lock: LockId,
                /// Sessions that were seen to end at their targets.
                sessions: u64,
                /// Sessions that are cut off and were not seen to end there yet.
                unconfirmed: u64,
                /// Requests that were denied.
                requests: u64,
                /// Grants that were revoked.
                grants: u64,
                /// Tokens, keys, certificates, accounts at chat services, mailboxes and invitations that no longer work.
                credentials: u64,
                /// Browsers that were signed out.
                browsers: u64,
                /// From the order to the last end that was seen, in microseconds.
                took_us: u64,
            }
            /// It no longer is. Text: `note`.
            "lock.lifted" LockLifted {
                /// Which lock.
                lock: LockId,
            }
        } }
    };
}
