//! Checking a recording without any key: the chain over its ciphertext, its numbers, its closing chunk, and the digests
//! that the audit log has for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use serde::Serialize;

use super::chunk::{CHUNK_HEAD, ChunkHead, Closing, LONGEST_SEALED, Stream, WholeChunk};
use super::header::{self, About, HeaderError, KeyState, Opening, WrappedTo};
use crate::finding::Finding;

const WINDOW: usize = CHUNK_HEAD + LONGEST_SEALED + 32;

/// What the audit log says about a recording at one moment: after so many chunks, the chain stood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// How many chunks, the closing one included once it is written.
    pub chunks: u64,
    /// The chain after them.
    pub digest: [u8; 32],
}

/// What a recording's file says of itself, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// What the recording is about.
    pub about: About,
    /// To whom its keys were wrapped.
    pub recipients: WrappedTo,
    /// How many whole chunks there are, the closing one included.
    pub chunks: u64,
    /// The chain after the last of them.
    #[serde(with = "crate::hexadecimal")]
    pub digest: [u8; 32],
    /// What the closing chunk says; `None` if the recording was never closed.
    pub closing: Option<Closing>,
    /// Bytes after the last whole chunk: of one that was being written when the recorder was stopped.
    pub torn: u64,
    /// Whether the wrapped keys are still there.
    pub keys: KeyState,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

/// What is met at one place of a file.
#[derive(Debug)]
pub(crate) enum Met {
    /// A whole chunk.
    Chunk(WholeChunk),
    /// Bytes that are no whole chunk with the right digest, with another chunk after them or at the end.
    Damage(u64),
    /// The start of a chunk that was being written when the recorder was stopped.
    Torn(u64),
}

/// Walks through the chunks of a file, finding the next whole one after damage. Holds two chunks at most.
pub(crate) struct Walk<R> {
    from: R,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

impl<R: Read> Walk<R> {
    /// The reader stands at the first chunk.
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), start: 0, ended: false }
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.buffer.len() - self.start >= wanted || self.ended {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let missing = (2 * WINDOW - self.buffer.len()) as u64;
        let read = self.from.by_ref().take(missing).read_to_end(&mut self.buffer)?;
        self.ended = (read as u64) < missing;
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// What is met next; `None` at the end.
    pub(crate) fn step(&mut self) -> io::Result<Option<Met>> {
        self.fill(WINDOW)?;
        if self.rest().is_empty() {
            return Ok(None);
        }
        if let Some(chunk) = WholeChunk::parse(self.rest()) {
            self.start += chunk.head.chunk_len();
            return Ok(Some(Met::Chunk(chunk)));
        }
        let here = self.rest().to_vec();
        let mut skipped = 0u64;
        loop {
            self.start += 1;
            skipped += 1;
            self.fill(WINDOW)?;
            let rest = self.rest();
            if rest.is_empty() {
                break;
            }
            if rest.starts_with(b"TGc1") && WholeChunk::parse(rest).is_some() {
                return Ok(Some(Met::Damage(skipped)));
            }
        }
        Ok(Some(if skipped == here.len() as u64 && is_torn(&here) { Met::Torn(skipped) } else { Met::Damage(skipped) }))
    }
}

/// Whether these last bytes of a file are how a chunk looks that was not written to its end.
fn is_torn(rest: &[u8]) -> bool {
    if rest.iter().all(|b| *b == 0) {
        return true;
    }
    let Some(head) = rest.first_chunk::<CHUNK_HEAD>() else {
        return rest.iter().zip(b"TGc1").all(|(here, mark)| here == mark);
    };
    match ChunkHead::decode(head) {
        Some(head) => rest.len() < head.chunk_len() && !is_whole_with_another_length(rest),
        None => false,
    }
}

/// Whether only the length in the header is wrong: then nothing was cut off, a byte was changed.
fn is_whole_with_another_length(rest: &[u8]) -> bool {
    let Some(length) = rest.len().checked_sub(CHUNK_HEAD + 32) else { return false };
    let mut repaired = rest.to_vec();
    repaired[29..33].copy_from_slice(&(length as u32).to_be_bytes());
    WholeChunk::parse(&repaired).is_some()
}

/// Checks a recording from its first byte, and against what the audit log says about it.
///
/// # Errors
/// When it cannot be read, or is no recording at all.
pub fn inspect(mut from: impl Read, anchors: &[Anchor]) -> Result<Inspection, HeaderError> {
    let opening = header::read(&mut from)?;
    let mut seen = Seen::new(opening.about().recording.clone());
    let mut walk = Walk::new(from);
    while let Some(met) = walk.step()? {
        seen.meet(met, &opening);
    }
    seen.judge(&opening, anchors);
    Ok(Inspection {
        about: opening.about().clone(),
        recipients: opening.recipients().clone(),
        chunks: seen.digests.len() as u64,
        digest: seen.last.unwrap_or_else(|| opening.chain()),
        closing: seen.closing.map(|(_, closing)| closing),
        torn: seen.torn,
        keys: opening.key_state(),
        findings: seen.findings,
    })
}

/// What was met so far.
struct Seen {
    recording: String,
    /// The numbers in the order of the file; `None` for damage.
    order: Vec<Option<u64>>,
    /// The chain before and after each whole chunk, by number.
    digests: BTreeMap<u64, ([u8; 32], [u8; 32])>,
    last: Option<[u8; 32]>,
    closing: Option<(u64, Closing)>,
    /// What the chunks' headers say they hold together: frames, and bytes before compression.
    frames: u64,
    bytes: u64,
    torn: u64,
    findings: Vec<Finding>,
}

impl Seen {
    fn new(recording: String) -> Self {
        let recording = crate::printable::name(&recording);
        let (order, digests, findings) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { recording, order, digests, last: None, closing: None, frames: 0, bytes: 0, torn: 0, findings }
    }

    fn altered(&mut self, chunk: u64, reason: &str) {
        let named = |f: &Finding| matches!(f, Finding::ChunkAltered { chunk: c, .. } if *c == chunk);
        if !self.findings.iter().any(named) {
            let recording = self.recording.clone();
            self.findings.push(Finding::ChunkAltered { recording, chunk, reason: reason.into() });
        }
    }

    fn header(&mut self, reason: &str) {
        let recording = self.recording.clone();
        self.findings.push(Finding::RecordingHeader { recording, reason: reason.into() });
    }

    fn meet(&mut self, met: Met, opening: &Opening) {
        match met {
            Met::Chunk(chunk) => {
                let number = chunk.head.number;
                self.order.push(Some(number));
                if self.order.len() == 1 && number == 0 && chunk.head.previous != opening.chain() {
                    self.header("its first chunk commits to another one");
                }
                if chunk.head.stream == Stream::End {
                    match chunk.closing() {
                        Some(closing) => self.closing = Some((number, closing)),
                        None => self.altered(number, "what it says at the end cannot be read"),
                    }
                } else {
                    self.frames = self.frames.saturating_add(u64::from(chunk.head.frames));
                    self.bytes = self.bytes.saturating_add(u64::from(chunk.head.raw_len));
                }
                if self.digests.insert(number, (chunk.head.previous, chunk.digest)).is_some() {
                    self.altered(number, "a chunk of this number stands there more than once");
                }
                self.last = Some(chunk.digest);
            }
            Met::Damage(_) => self.order.push(None),
            Met::Torn(bytes) => self.torn = bytes,
        }
    }

    fn judge(&mut self, opening: &Opening, anchors: &[Anchor]) {
        if opening.key_state() == KeyState::Altered {
            self.header("its key block was altered");
        }
        self.judge_order();
        self.judge_links();
        self.judge_closing();
        for anchor in anchors {
            self.judge_anchor(*anchor, opening);
        }
    }

    /// Names what is damaged, missing or moved.
    fn judge_order(&mut self) {
        // Damage stands for the numbers that are missing where it is.
        let present: BTreeSet<u64> = self.order.iter().flatten().copied().collect();
        let mut standing: Vec<u64> = Vec::new();
        let mut damaged = Vec::new();
        for (place, met) in self.order.iter().enumerate() {
            match met {
                Some(number) => standing.push(*number),
                None => {
                    let before = self.order[..place].iter().rev().flatten().next();
                    let after = self.order[place + 1..].iter().flatten().next().copied();
                    let first = before.map_or(0, |n| n.saturating_add(1));
                    let last = after.map_or(first, |n| n.saturating_sub(1)).min(first.saturating_add(1024));
                    if first > last || present.contains(&first) {
                        damaged.push((first, "bytes that are no chunk stand before it"));
                    } else {
                        damaged.extend((first..=last).map(|n| (n, "its bytes do not give its digest")));
                    }
                }
            }
        }
        for (number, reason) in &damaged {
            self.altered(*number, reason);
        }
        let known: BTreeSet<u64> = present.iter().copied().chain(damaged.iter().map(|(n, _)| *n)).collect();
        let mut next = 0;
        for number in known {
            if number > next {
                let recording = self.recording.clone();
                self.findings.push(Finding::ChunksMissing { recording, first: next, last: number - 1 });
            }
            next = number.saturating_add(1);
        }
        let mut sorted = standing.clone();
        sorted.sort_unstable();
        for (chunk, place) in standing.into_iter().zip(sorted).filter(|(stands, right)| stands != right) {
            let recording = self.recording.clone();
            self.findings.push(Finding::ChunkMoved { recording, chunk, place });
        }
    }

    /// Every whole chunk commits to the one before it; the later one is right, since still later ones commit to it.
    fn judge_links(&mut self) {
        let mut wrong = Vec::new();
        for (number, (previous, _)) in self.digests.range(1..) {
            if self.digests.get(&(number - 1)).is_some_and(|(_, before)| before != previous) {
                wrong.push(number - 1);
            }
        }
        for number in wrong {
            self.altered(number, "the chunk after it commits to another one");
        }
    }

    fn judge_closing(&mut self) {
        let Some((number, closing)) = self.closing.clone() else { return };
        if closing.chunks != number {
            self.altered(number, "it does not count the chunks before it");
        }
        let after = self.digests.keys().next_back().copied().unwrap_or(number);
        if after > number {
            self.altered(number, "chunks stand after the closing one");
        }
        if self.torn > 0 {
            self.altered(number, "bytes stand after the closing chunk");
        }
        if self.findings.is_empty() && (closing.frames, closing.bytes) != (self.frames, self.bytes) {
            self.altered(number, "it does not count what the chunks before it hold");
        }
    }

    fn judge_anchor(&mut self, anchor: Anchor, opening: &Opening) {
        let here = match anchor.chunks.checked_sub(1) {
            None => Some(opening.chain()),
            Some(last) => self.digests.get(&last).map(|(_, digest)| *digest),
        };
        let reason = match here {
            Some(digest) if digest == anchor.digest => return,
            Some(_) => format!("the log has another digest for its first {} chunks", anchor.chunks),
            None => format!("the log knows {} chunks and the file does not have them all", anchor.chunks),
        };
        let recording = self.recording.clone();
        self.findings.push(Finding::RecordingDiffers { recording, reason });
    }
}

#[cfg(test)]
mod tests;
