//! Reading a recording's frames with its data keys.

use std::collections::{HashMap, VecDeque};
use std::io::Read;

use bytes::Bytes;
use zstd::bulk::Decompressor;

use super::chain::{Anchor, Met, Walk};
use super::chunk::{ChunkError, Closing, Stream, WholeChunk};
use super::frame::{self, Direction, Frame, FrameKind};
use super::header::{self, About, HeaderError, Opening};
use super::keys::{KeyError, KeyIdentity, ReleasedKeys};

/// The longest activity that is put together again.
const LONGEST_ACTIVITY: usize = 64 * 1024 * 1024;
/// How many activities may be in pieces at once.
const MANY_ACTIVITIES: usize = 64;
/// The most that all activities in pieces hold at once.
const MOST_IN_PIECES: usize = 2 * LONGEST_ACTIVITY;

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
    /// Chunks are not there.
    #[error("{} missing: the recording was altered there", chunks(*.0, *.1))]
    Missing(u64, u64),
    /// A chunk stands where another should.
    #[error("chunk {0} does not stand in its place")]
    Misplaced(u64),
    /// A chunk commits to another one than the one before it.
    #[error("chunk {0} does not continue the one before it: one of them was exchanged")]
    Broken(u64),
    /// The chain is not the one that the log knows.
    #[error("the log has another digest for its first {0} chunks")]
    Differs(u64),
    /// An activity is longer than any that is recorded.
    #[error("an activity in chunk {0} is longer than any that is recorded")]
    TooLong(u64),
    /// The file cannot be read.
    #[error("the recording cannot be read")]
    Io(#[from] std::io::Error),
}

fn chunks(first: u64, last: u64) -> String {
    if first == last { format!("chunk {first} is") } else { format!("the chunks {first} to {last} are") }
}

/// Where a reader stands in the chain.
#[derive(Debug)]
struct Place {
    /// The number that comes next.
    next: u64,
    /// What the next chunk has to commit to; `None` after damage.
    chain: Option<[u8; 32]>,
    /// Whether bytes that are no chunk were just met.
    damaged: bool,
    /// What the log says of the end.
    end: Option<Anchor>,
}

impl Place {
    /// What is wrong with where this chunk stands.
    fn take(&mut self, chunk: &WholeChunk) -> Vec<ReadError> {
        let number = chunk.head.number;
        let mut wrong = Vec::new();
        if number < self.next {
            wrong.push(ReadError::Misplaced(number));
        } else {
            // Damage has been told of, and stands for one chunk.
            let gone = number > self.next.saturating_add(u64::from(self.damaged));
            if gone {
                wrong.push(ReadError::Missing(self.next, number - 1));
            } else if number == self.next && self.chain.is_some_and(|chain| chain != chunk.head.previous) {
                wrong.push(ReadError::Broken(number));
            }
            self.next = number.saturating_add(1);
        }
        if let Some(end) = self.end
            && end.chunks == number.saturating_add(1)
            && end.digest != chunk.digest
        {
            wrong.push(ReadError::Differs(end.chunks));
        }
        self.damaged = false;
        if number.saturating_add(1) == self.next {
            self.chain = Some(chunk.digest);
        }
        wrong
    }

    /// What the end of the file leaves out; told once.
    fn finish(&mut self) -> Option<ReadError> {
        let end = self.end.take()?;
        let first = self.next.saturating_add(u64::from(self.damaged));
        (first < end.chunks).then(|| ReadError::Missing(first, end.chunks - 1))
    }
}

/// The frames of a recording, in the order in which their chunks were written: in order of time within output and
/// within input, and to within a second between the two.
///
/// Chunks whose key is not there are passed over. After damage it goes on with the next whole chunk; what is missing, stands twice or
/// elsewhere, or was exchanged is told where it is met. It ends where the file cannot be read on.
pub struct RecordingReader<R> {
    opening: Opening,
    keys: ReleasedKeys,
    walk: Walk<R>,
    decompressor: Decompressor<'static>,
    ready: VecDeque<Result<Frame, ReadError>>,
    place: Place,
    activities: HashMap<u32, Vec<u8>>,
    in_pieces: usize,
    last: Option<u64>,
    closing: Option<Closing>,
    torn: bool,
    /// Whether the file could not be read on: what comes then nobody knows.
    failed: bool,
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
        let place = Place { next: 0, chain: Some(opening.chain()), damaged: false, end: None };
        Ok(Self {
            opening,
            place,
            keys,
            walk: Walk::new(from),
            decompressor: Decompressor::new()?,
            ready: VecDeque::new(),
            activities: HashMap::new(),
            in_pieces: 0,
            last: None,
            closing: None,
            torn: false,
            failed: false,
        })
    }

    /// Also tells if the file does not end as the log says it does; `None` if the log says nothing of it.
    #[must_use]
    pub fn ending_at(mut self, end: Option<Anchor>) -> Self {
        self.place.end = end;
        self
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
        self.ready.extend(self.place.take(chunk).into_iter().map(Err));
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
                self.ready.push_back(Ok(Frame { at_us, channel, direction, kind, bytes }));
            }
        }
        if !rest.is_empty() || frames != chunk.head.frames {
            return Err(ReadError::Frames(number));
        }
        Ok(())
    }

    fn put_together(&mut self, chunk: u64, activity: u32, last: bool, bytes: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let before = self.activities.remove(&activity);
        let mut parts = before.unwrap_or_default();
        self.in_pieces -= parts.len();
        let length = parts.len() + bytes.len();
        if length > LONGEST_ACTIVITY || self.in_pieces + length > MOST_IN_PIECES || self.activities.len() >= MANY_ACTIVITIES {
            return Err(ReadError::TooLong(chunk));
        }
        parts.extend_from_slice(bytes);
        if last {
            return Ok(Some(Bytes::from(parts)));
        }
        self.in_pieces += length;
        self.activities.insert(activity, parts);
        Ok(None)
    }
}

impl<R: Read> Iterator for RecordingReader<R> {
    type Item = Result<Frame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Some(frame);
            }
            if self.failed {
                return None;
            }
            match self.walk.step() {
                Ok(Some(Met::Chunk(chunk))) => {
                    if let Err(e) = self.take_chunk(&chunk) {
                        self.ready.push_back(Err(e));
                    }
                }
                Ok(Some(Met::Damage(bytes))) => {
                    (self.place.chain, self.place.damaged) = (None, true);
                    return Some(Err(ReadError::Damage(bytes, self.last.unwrap_or(0))));
                }
                Ok(Some(Met::Torn(_))) => self.torn = true,
                Ok(None) => return self.place.finish().map(Err),
                Err(e) => {
                    self.failed = true;
                    return Some(Err(e.into()));
                }
            }
        }
    }
}

/// Whether a frame is part of what a terminal showed.
pub(crate) fn is_shown(frame: &Frame) -> bool {
    frame.direction != Direction::Input && matches!(frame.kind, FrameKind::Bytes | FrameKind::Stderr)
}
