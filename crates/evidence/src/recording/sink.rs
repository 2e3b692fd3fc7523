//! Writing one recording's file, chunk by chunk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zstd::bulk::Compressor;

use super::chunk::{self, ChunkError, ChunkHead, Closing, LONGEST_RAW, Stream};
use super::header::{self, About, HeaderError};
use super::keys::{DataKey, KeyBlock, KeyError, KeyRecipients};

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Its id cannot name a file.
    #[error("`{0}` cannot name a recording: ids are lower-case letters, digits and `_`")]
    Name(String),
    /// Its keys could not be made.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Its header could not be made.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A chunk could not be sealed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The file system said no.
    #[error("{0}")]
    Write(#[from] io::Error),
}

/// The open file of one recording and where its chain stands.
pub(crate) struct Sink {
    file: File,
    output: DataKey,
    input: DataKey,
    chain: [u8; 32],
    chunks: u64,
    frames: u64,
    raw_bytes: u64,
    length: u64,
    /// Whether compressing the last chunk gained next to nothing.
    dense: bool,
}

/// The file of a recording below the recordings' directory.
pub(crate) fn file_name(recording: &str) -> Result<String, SinkError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if recording.is_empty() || recording.len() > 64 || !recording.bytes().all(fits) {
        return Err(SinkError::Name(crate::printable::name(recording)));
    }
    Ok(format!("{recording}.tgr"))
}

impl Sink {
    /// Makes the file, which must not be there yet, and writes its header.
    pub(crate) fn create(dir: &Path, about: &About, output_to: &KeyRecipients, input_to: &KeyRecipients) -> Result<Self, SinkError> {
        let path = dir.join(file_name(&about.recording)?);
        let (output, input) = (DataKey::generate()?, DataKey::generate()?);
        let keys = KeyBlock::wrap((&output, output_to), (&input, input_to))?;
        let (bytes, chain) = header::encode(about, (output.commitment(), input.commitment()), (output_to, input_to), &keys)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        if let Err(e) = file.write_all(&bytes) {
            // An empty or cut file would only be in the way of the next attempt.
            let _ = std::fs::remove_file(&path);
            return Err(e.into());
        }
        let length = bytes.len() as u64;
        Ok(Self { file, output, input, chain, chunks: 0, frames: 0, raw_bytes: 0, length, dense: false })
    }

    /// Compresses, seals and writes one chunk.
    pub(crate) fn write(&mut self, tools: &mut Tools, stream: Stream, first_at_us: u64, frames: u32, raw: &[u8]) -> Result<(), SinkError> {
        let (number, previous) = (self.chunks, self.chain);
        let head = ChunkHead { stream, number, first_at_us, frames, raw_len: 0, sealed_len: 0, previous };
        let key = if stream == Stream::Input { &self.input } else { &self.output };
        tools.compress_at(if self.dense && number % ANEW != 0 { HASTY } else { THOROUGH })?;
        let chain = chunk::seal(&mut tools.compressor, key, head, raw, &mut tools.out)?;
        self.dense = raw.len() >= LONGEST_RAW / 2 && tools.out.len() > raw.len() - raw.len() / 16;
        if let Err(e) = self.file.write_all(&tools.out) {
            // Cut back to the last whole chunk; if that fails too, readers know a torn chunk when they see one.
            let _ = self.file.set_len(self.length);
            return Err(e.into());
        }
        self.chain = chain;
        self.chunks += 1;
        self.length += tools.out.len() as u64;
        if stream != Stream::End {
            self.frames += u64::from(frames);
            self.raw_bytes += raw.len() as u64;
        }
        Ok(())
    }

    /// Writes the closing chunk.
    pub(crate) fn close(&mut self, tools: &mut Tools, reason: &str, ended_at_us: u64) -> Result<(), SinkError> {
        let closing = Closing {
            chunks: self.chunks,
            frames: self.frames,
            bytes: self.raw_bytes,
            reason: reason.chars().take(256).collect(),
            ended_at_us,
        };
        let said = serde_json::to_vec(&closing).map_err(io::Error::from)?;
        self.write(tools, Stream::End, ended_at_us, 0, &said)
    }

    /// Forces what was written to the disk.
    pub(crate) fn sync(&self) -> Result<(), SinkError> {
        Ok(self.file.sync_data()?)
    }

    /// How many chunks there are, the chain after them, and how many bytes the file has.
    pub(crate) fn standing(&self) -> (u64, [u8; 32], u64) {
        (self.chunks, self.chain, self.length)
    }
}

/// zstd's levels: what is written well, and what is known to gain next to nothing, such as an archive that is sent.
const THOROUGH: i32 = 1;
const HASTY: i32 = -10;
/// Of chunks that gain nothing, each so many-th is tried thoroughly again.
const ANEW: u64 = 16;

/// What a worker needs to write chunks and a session need not have: the compression context is over half a MiB.
pub(crate) struct Tools {
    compressor: Compressor<'static>,
    level: i32,
    out: Vec<u8>,
}

impl Tools {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { compressor: Compressor::new(THOROUGH)?, level: THOROUGH, out: Vec::new() })
    }

    fn compress_at(&mut self, level: i32) -> io::Result<()> {
        if self.level != level {
            self.compressor.set_compression_level(level)?;
            self.level = level;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Sink {
    pub(crate) fn miscount_for_test(&mut self) {
        self.frames += 1;
    }

    pub(crate) fn break_for_test(&mut self) {
        self.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    }
}
