//! Files that are open over SFTP, and what was read and written of each.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sftp_packets::Nonsense;
use crate::hex;

/// Files open at once, at most.
const FILES: usize = 4096;
/// Ranges that are told apart in one file; beyond that they are counted.
const RANGES: usize = 64;

/// Bytes of their paths, at most.
const PATHS: usize = 1 << 20;

/// Open files by handle.
#[derive(Debug, Default)]
pub(crate) struct Files {
    by_handle: HashMap<Bytes, OpenFile>,
    paths: usize,
}

impl Files {
    /// Remembers a file.
    ///
    /// # Errors
    /// There are too many, or the handle is that of a file that was not closed.
    pub(crate) fn insert(&mut self, handle: Bytes, file: OpenFile) -> Result<(), Nonsense> {
        self.paths += file.path.len();
        if self.by_handle.len() >= FILES || self.paths > PATHS {
            return Err(Nonsense::TooManyFiles);
        }
        match self.by_handle.insert(handle, file) {
            None => Ok(()),
            Some(_) => Err(Nonsense::HandleInUse),
        }
    }
    pub(crate) fn get(&mut self, handle: &Bytes) -> Option<&mut OpenFile> {
        self.by_handle.get_mut(handle)
    }
    /// The same, but for a file that is being closed.
    pub(crate) fn open(&mut self, handle: &Bytes) -> Option<&mut OpenFile> {
        self.get(handle).filter(|file| !file.closing)
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.by_handle.is_empty()
    }
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut OpenFile> {
        self.by_handle.values_mut()
    }
    pub(crate) fn remove(&mut self, handle: &Bytes) -> Option<OpenFile> {
        let file = self.by_handle.remove(handle)?;
        self.paths = self.paths.saturating_sub(file.path.len());
        Some(file)
    }
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = OpenFile> + '_ {
        self.by_handle.drain().map(|(_, file)| file)
    }
}

/// One open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: String,
    for_writing: bool,
    /// Whether it holds nothing but what is written now.
    anew: bool,
    /// Its closing has been asked for.
    pub(crate) closing: bool,
    /// Bytes that had passed when it was last told of.
    told: u64,
    pub(crate) read: Content,
    pub(crate) written: Content,
}

impl OpenFile {
    pub(crate) fn new(path: String, for_writing: bool, anew: bool) -> Self {
        Self { path, for_writing, anew, closing: false, told: 0, read: Content::default(), written: Content::default() }
    }

    /// The file ends at `size` now; if that is where what was written in order ends, there is nothing else in it.
    pub(crate) fn holds_only_what_is_written(&mut self, size: u64) {
        self.anew |= self.written.ends_at(size);
    }

    /// The event of its being transferred still, if anything passed since the last.
    pub(crate) fn under_way(&mut self) -> Option<Value> {
        let passed = self.read.bytes + self.written.bytes;
        if std::mem::replace(&mut self.told, passed) == passed {
            return None;
        }
        let mut event = json!({"kind": "sftp", "act": "file", "path": self.path, "outcome": "under way"});
        for (content, bytes) in [("read", self.read.bytes), ("written", self.written.bytes)] {
            if bytes > 0 {
                event[content] = json!({"bytes": bytes});
            }
        }
        Some(event)
    }

    /// The event of its closing.
    pub(crate) fn report(self, outcome: &str) -> Value {
        let mut event = json!({"kind": "sftp", "act": "file", "path": self.path, "outcome": outcome});
        if let Some(object) = event.as_object_mut() {
            if self.for_writing {
                // There is no end of file to be seen: what was written in order into an empty file is all of it.
                object.insert("written".to_owned(), self.written.report(self.anew));
            }
            if self.read.bytes > 0 || !self.for_writing {
                let reached_end = self.read.reached_end;
                object.insert("read".to_owned(), self.read.report(reached_end));
            }
        }
        event
    }
}

/// One direction of a file's content.
#[derive(Debug, Default)]
pub(crate) struct Content {
    bytes: u64,
    /// Where the next byte has to stand for the digest to go on.
    next: u64,
    out_of_order: bool,
    failed: bool,
    reached_end: bool,
    digest: Sha256,
    ranges: Vec<(u64, u64)>,
    more_ranges: bool,
}

impl Content {
    /// Content that passed, beginning at `offset`.
    pub(crate) fn take(&mut self, offset: u64, data: &[u8]) {
        let length = data.len() as u64;
        let end = offset.saturating_add(length);
        self.bytes += length;
        if offset == self.next && !self.out_of_order {
            self.digest.update(data);
            self.next = end;
        } else {
            self.out_of_order = true;
        }
        if let Some((_, e)) = self.ranges.iter_mut().rev().find(|(_, e)| *e == offset) {
            *e = end;
        } else if self.ranges.len() < RANGES {
            self.ranges.push((offset, end));
        } else {
            self.more_ranges = true;
        }
    }

    /// The end of the file was seen at `offset`.
    pub(crate) fn ended(&mut self, offset: u64) {
        self.reached_end |= offset == self.next;
    }

    /// Whether it is all in order from the beginning to here.
    pub(crate) fn ends_at(&self, size: u64) -> bool {
        !self.out_of_order && self.next == size
    }

    /// Something else may have changed it.
    pub(crate) fn disturbed(&mut self, by_something: bool) {
        self.out_of_order |= by_something;
    }

    /// Part of it did not arrive.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }

    fn report(self, whole: bool) -> Value {
        if whole && !self.out_of_order && !self.failed {
            return json!({"bytes": self.bytes, "sha256": hex(&self.digest.finalize())});
        }
        json!({"bytes": self.bytes, "partial": true, "ranges": self.ranges, "more_ranges": self.more_ranges, "failed": self.failed})
    }
}
