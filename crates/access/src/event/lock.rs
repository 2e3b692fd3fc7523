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
            }
            /// It no longer is.
            "lock.lifted" LockLifted {
                /// Which lock.
                lock: LockId,
            }
        } }
    };
}
