//! What happens to recordings, and to evidence that is taken away or erased.

macro_rules! recording_events {
    ($then:ident! $state:tt) => {
        $then! { $state Recording {
            /// How far the recordings of a node have come.
            "recording.progress" RecordingProgress {
                /// The node.
                node: String,
                /// Those that moved.
                recordings: Vec<Progress>,
            }
            /// Somebody read a recording.
            "recording.read" RecordingRead {
                /// Its recording.
                recording: RecordingId,
                /// Which session.
                session: SessionId,
                /// Whether what was typed was read too.
                input: bool,
            }
            /// Somebody looked for a text in recordings that they may read. Text: `text`.
            "recordings.searched" RecordingsSearched {
                /// How many were looked into.
                looked_into: u64,
                /// The sessions in whose recordings it was found.
                found: Vec<SessionId>,
            }
            /// Somebody took evidence away.
            "evidence.exported" EvidenceExported {
                /// Which sessions.
                sessions: Vec<SessionId>,
                /// SHA-256, hex.
                digest: String,
            }
            /// A free or personal text was erased; its digest stays, and the log verifies. Text: `reason`.
            "text.erased" TextErased {
                /// Of which entry.
                entry: EntryId,
                /// Which of its texts.
                name: String,
            }
            /// A recording's keys were destroyed: nobody reads it any more, and that it was still verifies. Text: `reason`.
            "recording.destroyed" RecordingDestroyed {
                /// Which recording.
                recording: RecordingId,
                /// Of which session.
                session: SessionId,
            }
            /// It was kept for as long as its tier says: its keys are destroyed and its file is gone; this is the proof that it was.
            "recording.expired" RecordingExpired {
                /// Which recording.
                recording: RecordingId,
                /// Of which session.
                session: SessionId,
                /// The tier that says for how long.
                tier: TierName,
                /// For how long it was kept after the session's end.
                kept: Span,
                /// Whole chunks.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                chunks: Option<i64>,
                /// What closed its chain.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                digest: Option<String>,
            }
            /// No recording goes by age any more, because the clock may be wrong, until somebody looks at it. Text: `why`.
            "retention.stopped" RetentionStopped {
                /// The node.
                node: String,
            }
        } }
    };
}
