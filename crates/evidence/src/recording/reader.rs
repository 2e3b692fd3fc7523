//! Reading a recording's frames with its data keys.

use std::collections::{HashMap, VecDeque};
use std::io::Read;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use super::chain::{Met, Walk};
use super::chunk::{ChunkError, Closing, Stream, WholeChunk};
use super::frame::{self, Direction, Frame, FrameKind};
use super::header::{self, About, HeaderError, Opening};
use super::keys::{KeyError, KeyIdentity, ReleasedKeys};

/// The longest activity that is put together again.
const LONGEST_ACTIVITY: usize = 64 * 1024 * 1024;
/// How many activities may be in pieces at once.
const MANY_ACTIVITIES: usize = 64;

/// Why a part of a recording cannot be read. What follows it still may be.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The start of the file cannot be used.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A released key is not this recording's.
    #[error("the {0} key is not the key of recording `{1}`")]
    WrongKey(&'static str, String),
    /// No key was given.
    #[error("recording `{0}` cannot be read without a key")]
    NoKey(String),
    /// The keys could not be unwrapped.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A chunk does not open.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A chunk opens, but its frames make no sense.
    #[error("the frames of chunk {0} cannot be read")]
    Frames(u64),
    /// Bytes that are no chunk.
    #[error("{0} bytes after chunk {1} are no chunk: the recording was altered there")]
    Damage(u64, u64),
    /// An activity is longer than any that is recorded.
    #[error("an activity in chunk {0} is longer than any that is recorded")]
    TooLong(u64),
    /// The file cannot be read.
    #[error("the recording cannot be read")]
    Io(#[from] std::io::Error),
}

/// The frames of a recording, in the order in which their chunks were written: in order of time within output and
/// within input, and to within a second between the two.
///
/// Chunks whose key is not there are passed over. After damage it goes on with the next whole chunk.
pub struct RecordingReader<R> {
    opening: Opening,
    keys: ReleasedKeys,
    walk: Walk<R>,
    decompressor: Decompressor<'static>,
    ready: VecDeque<Frame>,
    activities: HashMap<u32, Vec<u8>>,
    last: Option<u64>,
    closing: Option<Closing>,
    torn: bool,
}

impl<R: Read> RecordingReader<R> {
    /// Reads the header of a recording and takes its keys from an identity.
    ///
    /// # Errors
    /// When it is no recording, or its keys are wrapped to others or destroyed.
    pub fn open(mut from: R, identity: &KeyIdentity) -> Result<Self, ReadError> {
        let opening = header::read(&mut from)?;
        let keys = opening.unwrap_keys(identity)?;
        Self::with(opening, from, keys)
    }

    /// Reads the header of a recording whose keys were released.
    ///
    /// # Errors
    /// When it is no recording, no key is given, or one is another recording's.
    pub fn with_keys(mut from: R, keys: ReleasedKeys) -> Result<Self, ReadError> {
        let opening = header::read(&mut from)?;
        Self::with(opening, from, keys)
    }

    fn with(opening: Opening, from: R, keys: ReleasedKeys) -> Result<Self, ReadError> {
        let recording = || opening.about().recording.clone();
        if keys.output.is_none() && keys.input.is_none() {
            return Err(ReadError::NoKey(recording()));
        }
        if let Some(wrong) = opening.wrong_keys(&keys).first() {
            return Err(ReadError::WrongKey(wrong, recording()));
        }
        Ok(Self {
            opening,
            keys,
            walk: Walk::new(from),
            decompressor: Decompressor::new()?,
            ready: VecDeque::new(),
            activities: HashMap::new(),
            last: None,
            closing: None,
            torn: false,
        })
    }

    /// What the recording is about.
    #[must_use]
    pub fn about(&self) -> &About {
        self.opening.about()
    }

    /// The keys it reads with: to be released with an export, by whoever may.
    #[must_use]
    pub fn released(&self) -> ReleasedKeys {
        self.keys.clone()
    }

    /// What the closing chunk says; `None` before it was read, or if the recording was never closed.
    #[must_use]
    pub fn closing(&self) -> Option<&Closing> {
        self.closing.as_ref()
    }

    /// Whether the file ended in the middle of a chunk.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    fn take_chunk(&mut self, chunk: &WholeChunk) -> Result<(), ReadError> {
        let number = chunk.head.number;
        self.last = Some(number);
        let key = if chunk.head.stream == Stream::Input { &self.keys.input } else { &self.keys.output };
        let Some(key) = key else {
            if chunk.head.stream == Stream::End {
                self.closing = chunk.closing();
            }
            return Ok(());
        };
        let raw = chunk.open(key, &mut self.decompressor)?;
        if chunk.head.stream == Stream::End {
            self.closing = chunk.closing();
            return Ok(());
        }
        let mut rest = &raw[..];
        let mut frames = 0;
        while let Some((piece, after)) = frame::decode(rest) {
            frames += 1;
            rest = after;
            let whole = match piece.part {
                None => Some(Bytes::copy_from_slice(piece.bytes)),
                Some((activity, last)) => self.put_together(number, activity, last, piece.bytes)?,
            };
            if let Some(bytes) = whole {
                let (at_us, channel, direction, kind) = (piece.at_us, piece.channel, piece.direction, piece.kind);
                self.ready.push_back(Frame { at_us, channel, direction, kind, bytes });
            }
        }
        if !rest.is_empty() || frames != chunk.head.frames {
            return Err(ReadError::Frames(number));
        }
        Ok(())
    }

    fn put_together(&mut self, chunk: u64, activity: u32, last: bool, bytes: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let open = self.activities.len();
        let parts = self.activities.entry(activity).or_default();
        if parts.len() + bytes.len() > LONGEST_ACTIVITY || open > MANY_ACTIVITIES {
            self.activities.remove(&activity);
            return Err(ReadError::TooLong(chunk));
        }
        parts.extend_from_slice(bytes);
        Ok(if last { self.activities.remove(&activity).map(Bytes::from) } else { None })
    }
}

impl<R: Read> Iterator for RecordingReader<R> {
    type Item = Result<Frame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(Ok(frame));
            }
            match self.walk.step() {
                Ok(Some(Met::Chunk(chunk))) => {
                    if let Err(e) = self.take_chunk(&chunk) {
                        return Some(Err(e));
                    }
                }
                Ok(Some(Met::Damage(bytes))) => return Some(Err(ReadError::Damage(bytes, self.last.unwrap_or(0)))),
                Ok(Some(Met::Torn(_))) => self.torn = true,
                Ok(None) => return None,
                Err(e) => return Some(Err(e.into())),
            }
        }
    }
}

/// Whether a frame is part of what a terminal showed.
pub(crate) fn is_shown(frame: &Frame) -> bool {
    frame.direction != Direction::Input && matches!(frame.kind, FrameKind::Bytes | FrameKind::Stderr)
}
