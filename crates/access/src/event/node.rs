//! What happens to the gate itself: its log, its nodes, their clock.

macro_rules! node_events {
    ($then:ident! $state:tt) => {
        $then! { $state Node {
            /// The log's first entry.
            "log.started" LogStarted {
                /// The node.
                node: String,
            }
            /// A node of the gate began to serve.
            "node.started" NodeStarted {
                /// The node.
                node: String,
                /// The release.
                version: String,
            }
            /// A node of the gate stopped in order.
            "node.stopped" NodeStopped {
                /// The node.
                node: String,
            }
            /// The wall clock was found behind the log's newest time; nothing opens until it is right.
            "clock.behind" ClockBehind {
                /// The wall clock.
                wall: Timestamp,
                /// The newest time in the log.
                mark: Timestamp,
            }
            /// Somebody at the machine itself said that the wall clock is right, and that the log had run ahead of it. What had an end was
            /// ended before. From here on the log's times are the wall clock's again. Text: `by`.
            "clock.accepted" ClockAccepted {
                /// The wall clock.
                wall: Timestamp,
                /// The time that the log had reached.
                mark: Timestamp,
            }
        } }
    };
}
