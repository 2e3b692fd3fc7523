//! Files that are open over SFTP, and what was read and written of each.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::hex;

/// Files open at once, at most.
const FILES: usize = 4096;
/// Ranges that are told apart in one file; beyond that they are counted.
const RANGES: usize = 64;

/// Open files by handle.
#[derive(Debug, Default)]
pub(crate) struct Files(HashMap<Bytes, OpenFile>);

impl Files {
    /// Remembers a file; `false` when there are too many.
    #[must_use]
    pub(crate) fn insert(&mut self, handle: Bytes, file: OpenFile) -> bool {
        self.0.len() < FILES && {
            self.0.insert(handle, file);
            true
        }
    }
    pub(crate) fn get(&mut self, handle: &Bytes) -> Option<&mut OpenFile> {
        self.0.get_mut(handle)
    }
    pub(crate) fn remove(&mut self, handle: &Bytes) -> Option<OpenFile> {
        self.0.remove(handle)
    }
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = OpenFile> + '_ {
        self.0.drain().map(|(_, file)| file)
    }
}

/// One open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: String,
    for_writing: bool,
    pub(crate) read: Content,
    pub(crate) written: Content,
}

impl OpenFile {
    pub(crate) fn new(path: String, for_writing: bool) -> Self {
        Self { path, for_writing, read: Content::default(), written: Content::default() }
    }

    /// The event of its closing.
    pub(crate) fn report(self, outcome: &str) -> Value {
        let mut event = json!({"kind": "sftp", "act": "file", "path": self.path, "outcome": outcome});
        if let Some(object) = event.as_object_mut() {
            if self.for_writing {
                // Written is written: there is no end of file to be seen.
                object.insert("written".to_owned(), self.written.report(true));
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
