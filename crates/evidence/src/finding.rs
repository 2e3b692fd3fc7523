//! What a verification found wrong, each thing by name: the entry, the chunk, the tile, the member.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// One thing that is not as it was signed. Its `Display` is a sentence; its JSON has the same fields and the sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The checkpoint that came with the log cannot be used.
    CheckpointUnusable {
        /// Why.
        reason: String,
    },
    /// The entries do not add up to what was signed, and the tiles do not say where.
    RootDiffers {
        /// How many entries the checkpoint signs.
        size: u64,
    },
    /// An entry is not the one that was logged at its place.
    EntryAltered {
        /// Its place in the log.
        index: u64,
        /// The id in what stands there now.
        id: Option<String>,
    },
    /// An entry was taken out.
    EntryMissing {
        /// Its place in the log.
        index: u64,
        /// Its id, where something else still tells it.
        id: Option<String>,
        /// The id of the entry before it.
        after: Option<String>,
    },
    /// Something stands in the log that was never logged.
    EntryForeign {
        /// Where it stands in the copy.
        place: u64,
        /// What it calls itself.
        id: Option<String>,
    },
    /// An entry stands at another place than it was logged at.
    EntryMoved {
        /// Its place in the log.
        index: u64,
        /// Where it stands in the copy.
        place: u64,
        /// Its id.
        id: Option<String>,
    },
    /// Two entries have changed places.
    EntriesSwapped {
        /// The earlier place and the id that belongs there.
        first: (u64, Option<String>),
        /// The later place and the id that belongs there.
        second: (u64, Option<String>),
    },
    /// Entries cannot be read.
    EntriesUnreadable {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
        /// The id of the first, where something still tells it.
        id: Option<String>,
        /// Why.
        reason: String,
    },
    /// A tile of hashes is wrong although the entries are right.
    TileAltered {
        /// The file.
        file: String,
        /// Which of its hashes, counted from 0.
        position: Option<u64>,
        /// What is wrong with it.
        reason: String,
    },
    /// The proof that an entry is in the log does not hold.
    ProofWrong {
        /// The entry's place in the log.
        index: u64,
        /// Its id.
        id: Option<String>,
    },
    /// A side text is not the one that was logged.
    TextAltered {
        /// The entry it belongs to.
        entry: String,
        /// Its name.
        name: String,
    },
    /// A side text is not there, and no entry says that it was erased.
    TextGone {
        /// The entry it belongs to.
        entry: String,
        /// Its name.
        name: String,
    },
    /// An entry has more than one side record.
    TextTwice {
        /// The entry.
        entry: String,
    },
    /// A side record belongs to no entry here.
    TextUnbound {
        /// The entry it claims.
        entry: String,
    },
    /// A line of side records cannot be read.
    TextUnreadable {
        /// The line, counted from 1.
        line: u64,
    },
    /// A line that says which key signs after which does not hold.
    SuccessionBroken {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint from elsewhere commits to more entries than this copy has.
    Truncated {
        /// Where that checkpoint came from.
        source: String,
        /// How many entries it commits to.
        committed: u64,
        /// How many this copy has.
        here: u64,
    },
    /// A checkpoint from elsewhere commits to another history.
    Forked {
        /// Where that checkpoint came from.
        source: String,
        /// How many entries it commits to.
        size: u64,
    },
    /// A recording's chunk is not the one that was written.
    ChunkAltered {
        /// The recording.
        recording: String,
        /// The chunk's number, counted from 0.
        chunk: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Chunks were taken out of a recording.
    ChunksMissing {
        /// The recording.
        recording: String,
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
    },
    /// A chunk stands at another place than it was written at.
    ChunkMoved {
        /// The recording.
        recording: String,
        /// The chunk's number.
        chunk: u64,
        /// Where it stands.
        place: u64,
    },
    /// What stands before a recording's chunks is wrong.
    RecordingHeader {
        /// The recording.
        recording: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A recording does not have the digest that the log has for it.
    RecordingDiffers {
        /// The recording.
        recording: String,
        /// What the log says and what the file has.
        reason: String,
    },
    /// An approval that is signed, or had to be, is not proved to be its approver's.
    ApprovalUnproved {
        /// Of which request.
        request: String,
        /// Whose.
        voter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of a bundle is not the one that was exported.
    MemberAltered {
        /// Its name.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A part of a bundle is missing.
    MemberMissing {
        /// Its name.
        member: String,
    },
    /// A bundle holds something that was not exported.
    MemberForeign {
        /// Its name.
        member: String,
    },
    /// The container around a bundle's parts is not written the one way it is written.
    ContainerAltered {
        /// The part it is before, in or after.
        member: String,
        /// The byte at which it is wrong.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl Finding {
    /// The finding's kind, as its JSON says it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CheckpointUnusable { .. } => "checkpoint_unusable",
            Self::RootDiffers { .. } => "root_differs",
            Self::EntryAltered { .. } => "entry_altered",
            Self::EntryMissing { .. } => "entry_missing",
            Self::EntryForeign { .. } => "entry_foreign",
            Self::EntryMoved { .. } => "entry_moved",
            Self::EntriesSwapped { .. } => "entries_swapped",
            Self::EntriesUnreadable { .. } => "entries_unreadable",
            Self::TileAltered { .. } => "tile_altered",
            Self::ProofWrong { .. } => "proof_wrong",
            Self::TextAltered { .. } => "text_altered",
            Self::TextGone { .. } => "text_gone",
            Self::TextTwice { .. } => "text_twice",
            Self::TextUnbound { .. } => "text_unbound",
            Self::TextUnreadable { .. } => "text_unreadable",
            Self::SuccessionBroken { .. } => "succession_broken",
            Self::Truncated { .. } => "truncated",
            Self::Forked { .. } => "forked",
            Self::ChunkAltered { .. } => "chunk_altered",
            Self::ChunksMissing { .. } => "chunks_missing",
            Self::ChunkMoved { .. } => "chunk_moved",
            Self::RecordingHeader { .. } => "recording_header",
            Self::RecordingDiffers { .. } => "recording_differs",
            Self::ApprovalUnproved { .. } => "approval_unproved",
            Self::MemberAltered { .. } => "member_altered",
            Self::MemberMissing { .. } => "member_missing",
            Self::MemberForeign { .. } => "member_foreign",
            Self::ContainerAltered { .. } => "container_altered",
        }
    }

    /// The places in the log that this finding names.
    #[must_use]
    pub fn entries(&self) -> Vec<u64> {
        match self {
            Self::EntryAltered { index, .. }
            | Self::EntryMissing { index, .. }
            | Self::EntryMoved { index, .. }
            | Self::ProofWrong { index, .. } => vec![*index],
            Self::EntriesSwapped { first, second } => vec![first.0, second.0],
            Self::EntriesUnreadable { first, last, .. } => (*first..=*last).collect(),
            _ => Vec::new(),
        }
    }

    /// The ids that this finding names.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        let ids = match self {
            Self::EntryAltered { id, .. }
            | Self::EntryMissing { id, .. }
            | Self::EntryForeign { id, .. }
            | Self::EntryMoved { id, .. }
            | Self::ProofWrong { id, .. }
            | Self::EntriesUnreadable { id, .. } => vec![id.as_deref()],
            Self::EntriesSwapped { first, second } => vec![first.1.as_deref(), second.1.as_deref()],
            Self::TextAltered { entry, .. } | Self::TextGone { entry, .. } | Self::TextTwice { entry } | Self::TextUnbound { entry } => {
                vec![Some(entry.as_str())]
            }
            Self::ApprovalUnproved { request, voter, .. } => vec![Some(request.as_str()), Some(voter.as_str())],
            _ => Vec::new(),
        };
        ids.into_iter().flatten().collect()
    }
}

/// ` (`ent_…`)`, or nothing.
struct Named<'a>(&'a Option<String>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, " (`{id}`)"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckpointUnusable { reason } => write!(f, "the checkpoint cannot be used: {reason}"),
            Self::RootDiffers { size } => {
                write!(f, "the log does not add up to the root that its checkpoint signs for {size} entries")
            }
            Self::EntryAltered { index, id } => {
                write!(f, "entry {index} is not the one that was logged")?;
                match id {
                    Some(id) => write!(f, "; what stands there calls itself `{id}`"),
                    None => Ok(()),
                }
            }
            Self::EntryMissing { index, id, after } => {
                write!(f, "entry {index}{} is missing", Named(id))?;
                match after {
                    Some(after) => write!(f, "; it stood after `{after}`"),
                    None => Ok(()),
                }
            }
            Self::EntryForeign { place, id } => {
                write!(f, "what stands at place {place}{} was never logged", Named(id))
            }
            Self::EntryMoved { index, place, id } => {
                write!(f, "entry {index}{} stands at place {place}", Named(id))
            }
            Self::EntriesSwapped { first, second } => {
                write!(f, "entries {}{} and {}{} have changed places", first.0, Named(&first.1), second.0, Named(&second.1))
            }
            Self::EntriesUnreadable { first, last, id, reason } if first == last => {
                write!(f, "entry {first}{} cannot be read: {reason}", Named(id))
            }
            Self::EntriesUnreadable { first, last, id, reason } => {
                write!(f, "entries {first}{} to {last} cannot be read: {reason}", Named(id))
            }
            Self::TileAltered { file, position: Some(position), reason } => {
                write!(f, "hash {position} of `{file}` is wrong: {reason}")
            }
            Self::TileAltered { file, position: None, reason } => write!(f, "`{file}` is wrong: {reason}"),
            Self::ProofWrong { index, id } => {
                write!(f, "the proof that entry {index}{} is in the log does not hold", Named(id))
            }
            Self::TextAltered { entry, name } => {
                write!(f, "the text `{name}` of entry `{entry}` is not the one that was logged")
            }
            Self::TextGone { entry, name } => {
                write!(f, "the text `{name}` of entry `{entry}` is gone, and no entry here says that anybody erased it")
            }
            Self::TextTwice { entry } => write!(f, "there are texts for `{entry}` more than once"),
            Self::TextUnbound { entry } => write!(f, "there are texts for `{entry}`, but no such entry"),
            Self::TextUnreadable { line } => write!(f, "line {line} of the side records cannot be read"),
            Self::SuccessionBroken { line, reason } => {
                write!(f, "line {line} of the succession of keys does not hold: {reason}")
            }
            Self::Truncated { source, committed, here } => write!(
                f,
                "the checkpoint from {source} commits to {committed} entries and this copy has {here}: \
                 the log was truncated or rolled back"
            ),
            Self::Forked { source, size } => write!(
                f,
                "the checkpoint from {source} commits to another history of the first {size} entries: \
                 the log was forked or rewritten"
            ),
            Self::ChunkAltered { recording, chunk, reason } => {
                write!(f, "chunk {chunk} of recording `{recording}` is not the one that was written: {reason}")
            }
            Self::ChunksMissing { recording, first, last } if first == last => {
                write!(f, "chunk {first} of recording `{recording}` is missing")
            }
            Self::ChunksMissing { recording, first, last } => {
                write!(f, "chunks {first} to {last} of recording `{recording}` are missing")
            }
            Self::ChunkMoved { recording, chunk, place } => {
                write!(f, "chunk {chunk} of recording `{recording}` stands at place {place}")
            }
            Self::RecordingHeader { recording, reason } => {
                write!(f, "the header of recording `{recording}` is wrong: {reason}")
            }
            Self::RecordingDiffers { recording, reason } => {
                write!(f, "recording `{recording}` is not the one that the log knows: {reason}")
            }
            Self::ApprovalUnproved { request, voter, reason } => {
                write!(f, "the approval of `{request}` by `{voter}` is not proved: {reason}")
            }
            Self::MemberAltered { member, reason } => {
                write!(f, "`{member}` is not the one that was exported: {reason}")
            }
            Self::MemberMissing { member } => write!(f, "`{member}` is missing"),
            Self::MemberForeign { member } => write!(f, "`{member}` was not exported"),
            Self::ContainerAltered { member, offset, reason } => {
                write!(f, "the container was altered at byte {offset}, at `{member}`: {reason}")
            }
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("kind", self.kind())?;
        map.serialize_entry("sentence", &self.to_string())?;
        let entries = self.entries();
        if !entries.is_empty() && entries.len() <= 256 {
            map.serialize_entry("entries", &entries)?;
        }
        let ids = self.ids();
        if !ids.is_empty() {
            map.serialize_entry("ids", &ids)?;
        }
        match self {
            Self::ChunkAltered { recording, chunk, .. } | Self::ChunkMoved { recording, chunk, .. } => {
                map.serialize_entry("recording", recording)?;
                map.serialize_entry("chunks", &[chunk])?;
            }
            Self::ChunksMissing { recording, first, last } => {
                map.serialize_entry("recording", recording)?;
                map.serialize_entry("chunks", &[first, last])?;
            }
            Self::RecordingHeader { recording, .. } | Self::RecordingDiffers { recording, .. } => {
                map.serialize_entry("recording", recording)?;
            }
            Self::MemberAltered { member, .. }
            | Self::MemberMissing { member }
            | Self::MemberForeign { member }
            | Self::ContainerAltered { member, .. } => map.serialize_entry("member", member)?,
            Self::Truncated { source, .. } | Self::Forked { source, .. } => map.serialize_entry("source", source)?,
            _ => {}
        }
        map.end()
    }
}
