//! Chunks: frames compressed, sealed and chained.
//!
//! The header is 65 bytes, numbers big-endian: `TGc1`, stream (8 bits), number (64), time of the first frame (64),
//! frames (32), length before sealing (32), length sealed (32), and the 32 bytes of the chain so far. It is the
//! associated data of the seal; the nonce is the stream (32 bits) and the number (64). After the sealed bytes stands the
//! chain's next digest, so that a flipped byte is found in the chunk it is in.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zstd::bulk::{Compressor, Decompressor};

use super::keys::DataKey;

/// The most that a chunk holds before compression.
pub const LONGEST_RAW: usize = 64 * 1024;
/// The most that a chunk holds sealed: zstd's bound for [`LONGEST_RAW`], and the tag.
pub const LONGEST_SEALED: usize = LONGEST_RAW + LONGEST_RAW / 128 + 64 + TAG;
/// Bytes before the sealed part.
pub const CHUNK_HEAD: usize = 65;
const MARK: &[u8; 4] = b"TGc1";
const TAG: usize = 16;

/// Which key a chunk is sealed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Output and activity.
    Output,
    /// What was typed.
    Input,
    /// The closing chunk: in the clear, authenticated under the key of the output.
    End,
}

impl Stream {
    fn code(self) -> u8 {
        match self {
            Self::Output => 0,
            Self::Input => 1,
            Self::End => 2,
        }
    }
}

/// What stands before the sealed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHead {
    /// Which key it is sealed under.
    pub stream: Stream,
    /// Its number, counted from 0 over both streams.
    pub number: u64,
    /// Microseconds since the recording started, of the first frame.
    pub first_at_us: u64,
    /// How many frames it holds.
    pub frames: u32,
    /// Length before compression and sealing.
    pub raw_len: u32,
    /// Length of the sealed bytes.
    pub sealed_len: u32,
    /// The chain up to here.
    pub previous: [u8; 32],
}

/// Why a chunk cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// Compressing failed.
    #[error("cannot compress a chunk")]
    Compress(#[source] std::io::Error),
    /// The cipher refused.
    #[error("cannot seal a chunk: the cipher refused")]
    Seal,
    /// The key is another, or the bytes were altered.
    #[error("chunk {0} does not open: it was altered, or the key is another recording's")]
    Open(u64),
    /// It opens, but what is in it is not what its header says.
    #[error("chunk {0} opens, but does not hold what its header says")]
    Content(u64),
}

/// What the closing chunk says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// How many chunks stand before it.
    pub chunks: u64,
    /// How many frames they hold.
    pub frames: u64,
    /// How many bytes they hold before compression.
    pub bytes: u64,
    /// Why the session ended.
    pub reason: String,
    /// Microseconds since the recording started.
    pub ended_at_us: u64,
}

impl ChunkHead {
    fn encode(&self) -> [u8; CHUNK_HEAD] {
        let mut out = [0; CHUNK_HEAD];
        out[..4].copy_from_slice(MARK);
        out[4] = self.stream.code();
        out[5..13].copy_from_slice(&self.number.to_be_bytes());
        out[13..21].copy_from_slice(&self.first_at_us.to_be_bytes());
        out[21..25].copy_from_slice(&self.frames.to_be_bytes());
        out[25..29].copy_from_slice(&self.raw_len.to_be_bytes());
        out[29..33].copy_from_slice(&self.sealed_len.to_be_bytes());
        out[33..].copy_from_slice(&self.previous);
        out
    }

    /// Reads a header; `None` if it is none or claims lengths that no chunk has.
    #[must_use]
    pub fn decode(bytes: &[u8; CHUNK_HEAD]) -> Option<Self> {
        let (mark, rest) = bytes.split_first_chunk::<4>()?;
        let (stream, rest) = rest.split_first()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (first_at_us, rest) = rest.split_first_chunk::<8>()?;
        let (frames, rest) = rest.split_first_chunk::<4>()?;
        let (raw_len, rest) = rest.split_first_chunk::<4>()?;
        let (sealed_len, rest) = rest.split_first_chunk::<4>()?;
        let head = Self {
            stream: match stream {
                0 => Stream::Output,
                1 => Stream::Input,
                2 => Stream::End,
                _ => return None,
            },
            number: u64::from_be_bytes(*number),
            first_at_us: u64::from_be_bytes(*first_at_us),
            frames: u32::from_be_bytes(*frames),
            raw_len: u32::from_be_bytes(*raw_len),
            sealed_len: u32::from_be_bytes(*sealed_len),
            previous: rest.try_into().ok()?,
        };
        let fits = head.raw_len as usize <= LONGEST_RAW && (TAG..=LONGEST_SEALED).contains(&(head.sealed_len as usize));
        (mark == MARK && fits).then_some(head)
    }

    /// How long the whole chunk is in the file.
    #[must_use]
    pub fn chunk_len(&self) -> usize {
        CHUNK_HEAD + self.sealed_len as usize + 32
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3] = self.stream.code();
        nonce[4..].copy_from_slice(&self.number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

fn cipher(key: &DataKey) -> Result<LessSafeKey, ChunkError> {
    UnboundKey::new(&AES_256_GCM, key.expose()).map(LessSafeKey::new).map_err(|_| ChunkError::Seal)
}

/// Compresses, seals and frames one chunk into `out`, in place of what stands there; returns the chain's next digest.
/// `raw_len` and `sealed_len` of the header are filled in.
pub(crate) fn seal(
    compressor: &mut Compressor<'_>,
    key: &DataKey,
    mut head: ChunkHead,
    raw: &[u8],
    out: &mut Vec<u8>,
) -> Result<[u8; 32], ChunkError> {
    out.resize(CHUNK_HEAD + LONGEST_SEALED, 0);
    let length = if head.stream == Stream::End {
        out[CHUNK_HEAD..CHUNK_HEAD + raw.len()].copy_from_slice(raw);
        raw.len()
    } else {
        compressor.compress_to_buffer(raw, &mut out[CHUNK_HEAD..]).map_err(ChunkError::Compress)?
    };
    head.raw_len = raw.len() as u32;
    head.sealed_len = (length + TAG) as u32;
    let encoded = head.encode();
    out[..CHUNK_HEAD].copy_from_slice(&encoded);
    out.truncate(CHUNK_HEAD + length);
    let cipher = cipher(key)?;
    let tag = if head.stream == Stream::End {
        // In the clear, so that it is read without a key; the tag is over the header and what it says.
        let said = out.clone();
        cipher.seal_in_place_separate_tag(head.nonce(), Aad::from(said), &mut [])
    } else {
        cipher.seal_in_place_separate_tag(head.nonce(), Aad::from(encoded), &mut out[CHUNK_HEAD..])
    };
    out.extend_from_slice(tag.map_err(|_| ChunkError::Seal)?.as_ref());
    let digest: [u8; 32] = Sha256::digest(&out).into();
    out.extend_from_slice(&digest);
    Ok(digest)
}

/// A chunk as it stands in a file, whole and with its own digest right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeChunk {
    /// Its header.
    pub head: ChunkHead,
    sealed: Vec<u8>,
    /// The chain after it.
    pub digest: [u8; 32],
}

impl WholeChunk {
    /// Takes a chunk apart; `None` if its bytes are not a whole chunk with the right digest.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = ChunkHead::decode(bytes.first_chunk()?)?;
        let (content, digest) = bytes.get(..head.chunk_len())?.split_last_chunk::<32>()?;
        let right: [u8; 32] = Sha256::digest(content).into();
        (right == *digest).then(|| Self { sealed: content[CHUNK_HEAD..].to_vec(), head, digest: right })
    }

    /// What the closing chunk says; `None` for any other chunk.
    #[must_use]
    pub fn closing(&self) -> Option<Closing> {
        if self.head.stream != Stream::End {
            return None;
        }
        let said = self.sealed.len().checked_sub(TAG)?;
        serde_json::from_slice(&self.sealed[..said]).ok()
    }

    /// Opens the chunk: its frames, or what the closing chunk says. Nothing larger than [`LONGEST_RAW`] is ever made.
    ///
    /// # Errors
    /// When the key is another, or the chunk does not hold what its header says.
    pub fn open(&self, key: &DataKey, decompressor: &mut Decompressor<'_>) -> Result<Vec<u8>, ChunkError> {
        let number = self.head.number;
        let cipher = cipher(key)?;
        let mut sealed = self.sealed.clone();
        if self.head.stream == Stream::End {
            let said = sealed.split_off(sealed.len() - TAG);
            let mut tag = said;
            let aad = [self.head.encode().as_slice(), &sealed].concat();
            cipher.open_in_place(self.head.nonce(), Aad::from(aad), &mut tag).map_err(|_| ChunkError::Open(number))?;
            return Ok(sealed);
        }
        let compressed =
            cipher.open_in_place(self.head.nonce(), Aad::from(self.head.encode()), &mut sealed).map_err(|_| ChunkError::Open(number))?;
        let mut raw = Vec::with_capacity(self.head.raw_len as usize);
        let length = decompressor.decompress_to_buffer(compressed, &mut raw).map_err(|_| ChunkError::Content(number))?;
        if length != self.head.raw_len as usize {
            return Err(ChunkError::Content(number));
        }
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(stream: Stream, number: u64) -> ChunkHead {
        ChunkHead { stream, number, first_at_us: 5, frames: 1, raw_len: 0, sealed_len: 0, previous: [9; 32] }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn chunks_survive_being_sealed_and_opened(
            raw in prop::collection::vec(any::<u8>(), 0..LONGEST_RAW), number: u64, typed: bool
        ) {
            let key = DataKey::generate().unwrap();
            let stream = if typed { Stream::Input } else { Stream::Output };
            let mut out = Vec::new();
            let digest = seal(&mut Compressor::new(1).unwrap(), &key, head(stream, number), &raw, &mut out).unwrap();
            let chunk = WholeChunk::parse(&out).unwrap();
            prop_assert_eq!(chunk.digest, digest);
            let mut decompressor = Decompressor::new().unwrap();
            prop_assert_eq!(chunk.open(&key, &mut decompressor).unwrap(), raw);
            let other = DataKey::generate().unwrap();
            prop_assert!(matches!(chunk.open(&other, &mut decompressor), Err(ChunkError::Open(n)) if n == number));
        }

        #[test]
        fn no_bytes_make_the_reader_stumble(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(WholeChunk::parse(&bytes), None);
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(MARK);
                prop_assert_eq!(WholeChunk::parse(&bytes), None);
            }
        }
    }

    #[test]
    fn absurd_lengths_are_refused_before_memory_is_taken() {
        let mut good = head(Stream::Output, 0);
        good.sealed_len = 100;
        assert!(ChunkHead::decode(&good.encode()).is_some());
        for (raw_len, sealed_len) in [(u32::MAX, 100), (65_537, 100), (10, u32::MAX), (10, 0x8000_0000), (10, 0), (10, 15)] {
            let wrong = ChunkHead { raw_len, sealed_len, ..head(Stream::Output, 0) };
            assert_eq!(ChunkHead::decode(&wrong.encode()), None);
        }
    }

    // covers: E7 (recording)
    #[test]
    fn a_compression_bomb_stays_within_what_its_header_says() {
        let key = DataKey::generate().unwrap();
        let bomb = zstd::bulk::compress(&vec![0; 1 << 30], 1).unwrap();
        assert!(bomb.len() < LONGEST_SEALED);
        let mut small = head(Stream::Output, 0);
        (small.raw_len, small.sealed_len) = (1000, (bomb.len() + TAG) as u32);
        let mut sealed = bomb;
        let tag = cipher(&key).unwrap();
        let tag = tag.seal_in_place_separate_tag(small.nonce(), Aad::from(small.encode()), &mut sealed).unwrap();
        sealed.extend_from_slice(tag.as_ref());
        let chunk = WholeChunk { head: small, sealed, digest: [0; 32] };
        let opened = chunk.open(&key, &mut Decompressor::new().unwrap());
        assert!(matches!(opened, Err(ChunkError::Content(0))), "{opened:?}");
    }

    #[test]
    fn the_closing_chunk_is_read_without_a_key_and_proved_with_one() {
        let key = DataKey::generate().unwrap();
        let closing = Closing { chunks: 3, frames: 9, bytes: 77, reason: "client".into(), ended_at_us: 5 };
        let said = serde_json::to_vec(&closing).unwrap();
        let mut out = Vec::new();
        seal(&mut Compressor::new(1).unwrap(), &key, head(Stream::End, 3), &said, &mut out).unwrap();
        let chunk = WholeChunk::parse(&out).unwrap();
        assert_eq!(chunk.closing(), Some(closing));
        let mut decompressor = Decompressor::new().unwrap();
        assert_eq!(chunk.open(&key, &mut decompressor).unwrap(), said);
        let mut forged = chunk;
        let three = forged.sealed.iter().position(|b| *b == b'3').unwrap();
        forged.sealed[three] = b'4';
        assert!(forged.closing().is_some());
        assert!(forged.open(&key, &mut decompressor).is_err());
    }
}
