//! What happens to legal holds.

macro_rules! hold_events {
    ($then:ident! $state:tt) => {
        $then! { $state Hold {
            /// Something is kept, whatever else says that it should go. Text: `reason`.
            "hold.set" HoldSet {
                /// Which hold.
                hold: HoldId,
                /// What is kept.
                scope: HoldScope,
            }
            /// It no longer is. Text: `note`.
            "hold.lifted" HoldLifted {
                /// Which hold.
                hold: HoldId,
            }
        } }
    };
}
