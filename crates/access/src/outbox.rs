//! Messages to the outside that wait to be delivered.

codes! {
    /// How far a message has come.
    OutboxState("message state") {
        /// It is to be delivered, for the first time or again.
        Waiting = "waiting",
        /// Its receiver took it, or there was nothing left to say.
        Delivered = "delivered",
        /// It was given up; somebody may send it again.
        Dead = "dead",
    }
}
