//! Frames: what passed, when, on which channel, in which direction.
//!
//! In a chunk a frame is 18 bytes and what it carries, numbers big-endian: time in microseconds since the recording
//! started (64 bits), channel (32), direction (8), kind (8), length (32). An activity longer than [`LONGEST_PIECE`] is
//! several frames with bit 7 of the kind set; each starts with the number of the activity (32 bits) and a byte that
//! is 1 in the last.

use bytes::Bytes;

/// Bytes before what a frame carries.
pub const FRAME_HEAD: usize = 18;
/// The most that one frame in a file carries; what is longer is split.
pub const LONGEST_PIECE: usize = 32 * 1024;
const PIECE: u8 = 0x80;
/// Bytes before the content of a piece of an activity.
pub(crate) const PIECE_HEAD: usize = 5;

/// Which way something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the target to the person.
    Output,
    /// From the person to the target.
    Input,
    /// From the gate itself.
    Gate,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Bytes as they passed.
    Bytes,
    /// Bytes of the error stream as they passed.
    Stderr,
    /// The terminal's size: columns and rows, 32 bits big-endian each.
    Resize,
    /// One structured activity, as JSON. Always sealed with the output, whichever way it went.
    Activity,
}

/// One thing that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Microseconds since the recording started.
    pub at_us: u64,
    /// The channel within the session.
    pub channel: u32,
    /// Which way it went.
    pub direction: Direction,
    /// What it carries.
    pub kind: FrameKind,
    /// What passed.
    pub bytes: Bytes,
}

impl Frame {
    /// A change of the terminal's size.
    #[must_use]
    pub fn resize(at_us: u64, channel: u32, columns: u32, rows: u32) -> Self {
        let bytes = [columns.to_be_bytes(), rows.to_be_bytes()].concat().into();
        Self { at_us, channel, direction: Direction::Input, kind: FrameKind::Resize, bytes }
    }

    /// Columns and rows, if that is what it carries.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        let (columns, rest) = self.bytes.split_first_chunk::<4>()?;
        let rows: [u8; 4] = rest.try_into().ok()?;
        (self.kind == FrameKind::Resize).then(|| (u32::from_be_bytes(*columns), u32::from_be_bytes(rows)))
    }

    /// Whether it may be read only with the key of the input.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.direction == Direction::Input && matches!(self.kind, FrameKind::Bytes | FrameKind::Stderr)
    }
}

/// A frame as it stands in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) at_us: u64,
    pub(crate) channel: u32,
    pub(crate) direction: Direction,
    pub(crate) kind: FrameKind,
    /// The activity this is a part of, and whether it is the last part.
    pub(crate) part: Option<(u32, bool)>,
    pub(crate) bytes: &'a [u8],
}

impl Piece<'_> {
    pub(crate) fn encoded_len(&self) -> usize {
        FRAME_HEAD + self.bytes.len() + if self.part.is_some() { PIECE_HEAD } else { 0 }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at_us.to_be_bytes());
        out.extend_from_slice(&self.channel.to_be_bytes());
        out.push(match self.direction {
            Direction::Output => 0,
            Direction::Input => 1,
            Direction::Gate => 2,
        });
        let kind = match self.kind {
            FrameKind::Bytes => 0,
            FrameKind::Stderr => 1,
            FrameKind::Resize => 2,
            FrameKind::Activity => 3,
        };
        out.push(kind | if self.part.is_some() { PIECE } else { 0 });
        let length = self.encoded_len() - FRAME_HEAD;
        // A piece is at most LONGEST_PIECE and its head.
        out.extend_from_slice(&(length as u32).to_be_bytes());
        if let Some((activity, last)) = self.part {
            out.extend_from_slice(&activity.to_be_bytes());
            out.push(u8::from(last));
        }
        out.extend_from_slice(self.bytes);
    }
}

/// The first piece of a chunk's frames and what follows it; `None` if there is no whole, known one.
pub(crate) fn decode(frames: &[u8]) -> Option<(Piece<'_>, &[u8])> {
    let (at_us, rest) = frames.split_first_chunk::<8>()?;
    let (channel, rest) = rest.split_first_chunk::<4>()?;
    let ([direction, kind], rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (mut bytes, after) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let direction = match direction {
        0 => Direction::Output,
        1 => Direction::Input,
        2 => Direction::Gate,
        _ => return None,
    };
    let part = if kind & PIECE == 0 {
        None
    } else {
        let (activity, content) = bytes.split_first_chunk::<4>()?;
        let (last, content) = content.split_first()?;
        bytes = content;
        Some((u32::from_be_bytes(*activity), *last == 1))
    };
    let kind = match kind & !PIECE {
        0 => FrameKind::Bytes,
        1 => FrameKind::Stderr,
        2 => FrameKind::Resize,
        3 => FrameKind::Activity,
        _ => return None,
    };
    let (at_us, channel) = (u64::from_be_bytes(*at_us), u32::from_be_bytes(*channel));
    Some((Piece { at_us, channel, direction, kind, part, bytes }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn direction() -> impl Strategy<Value = Direction> {
        prop_oneof![Just(Direction::Output), Just(Direction::Input), Just(Direction::Gate)]
    }

    fn kind() -> impl Strategy<Value = FrameKind> {
        use FrameKind::{Activity, Bytes, Resize, Stderr};
        prop_oneof![Just(Bytes), Just(Stderr), Just(Resize), Just(Activity)]
    }

    proptest! {
        #[test]
        fn frames_survive_being_written_and_read(
            at_us: u64, channel: u32, direction in direction(), kind in kind(),
            part in prop::option::of((any::<u32>(), any::<bool>())),
            bytes in prop::collection::vec(any::<u8>(), 0..200), more in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let piece = Piece { at_us, channel, direction, kind, part, bytes: &bytes };
            let mut encoded = Vec::new();
            piece.encode(&mut encoded);
            prop_assert_eq!(encoded.len(), piece.encoded_len());
            encoded.extend_from_slice(&more);
            prop_assert_eq!(decode(&encoded), Some((piece, &more[..])));
        }

        #[test]
        fn no_bytes_make_the_reader_stumble(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut rest = &bytes[..];
            while let Some((_, after)) = decode(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }

    #[test]
    fn a_length_beyond_the_chunk_is_refused() {
        let mut encoded = Vec::new();
        let piece = Piece { at_us: 1, channel: 2, direction: Direction::Output, kind: FrameKind::Bytes, part: None, bytes: b"abc" };
        piece.encode(&mut encoded);
        for length in [4u32, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            encoded[14..18].copy_from_slice(&length.to_be_bytes());
            assert_eq!(decode(&encoded), None);
        }
    }
}
