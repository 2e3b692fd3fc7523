//! The texts of a recording in which something is found, as documents for the index: what an activity says, and lines that were shown.
//!
//! INVARIANT: in whatever [`crate::passages`] finds a text, all marks of that text stand in one document of this.

use std::collections::BTreeMap;
use std::io::Read;

use evidence::recording::{Direction, Frame, FrameKind, RecordingReader};
use serde_json::Value;

use crate::grams::{GramKey, Marker, write};
use crate::passages::OF_EACH;
use crate::shown::{LONGEST, Printer};

/// A document takes texts until it has so many bytes; after so many documents of a recording they are larger.
const LARGE_ENOUGH: usize = 512;
const MANY: usize = 1 << 16;
const LARGER: usize = 8 * LARGE_ENOUGH;
/// The most documents that one recording has.
pub(crate) const MOST: usize = 1 << 17;

/// Every text within an activity.
pub(crate) fn texts<'v>(value: &'v Value, each: &mut impl FnMut(&'v str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, each)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, each)),
        _ => {}
    }
}

/// One stream of one channel, cut into lines; a line that is very long into pieces that overlap.
#[derive(Debug, Default)]
struct Lines {
    printer: Printer,
    line: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], each: &mut impl FnMut(&str)) {
        for byte in bytes {
            match self.printer.printed(*byte) {
                Some(b'\n' | b'\r') => self.ends(each),
                Some(8) => {
                    self.line.pop();
                }
                Some(byte) => self.line.push(byte),
                None => {}
            }
            if self.line.len() >= LONGEST {
                each(&String::from_utf8_lossy(&self.line));
                self.line.drain(..LONGEST / 2);
            }
        }
    }

    fn ends(&mut self, each: &mut impl FnMut(&str)) {
        if !self.line.is_empty() {
            each(&String::from_utf8_lossy(&self.line));
            self.line.clear();
        }
    }
}

/// Puts texts together into documents.
struct Documents<F> {
    marker: Marker,
    marks: Vec<u64>,
    bytes: usize,
    count: usize,
    give: F,
    taken: bool,
}

impl<F: FnMut(String) -> bool> Documents<F> {
    fn add(&mut self, text: &str) {
        self.marker.marks(text, &mut self.marks);
        self.bytes += text.len();
        if self.bytes >= if self.count < MANY { LARGE_ENOUGH } else { LARGER } {
            self.ends();
        }
    }

    fn ends(&mut self) {
        self.bytes = 0;
        self.marks.sort_unstable();
        self.marks.dedup();
        if self.marks.is_empty() || !self.taken {
            return;
        }
        let mut document = String::with_capacity(self.marks.len() * 9);
        for mark in self.marks.drain(..) {
            write(mark, &mut document);
            document.push(' ');
        }
        self.count += 1;
        self.taken = self.count < MOST && (self.give)(document);
    }
}

/// Whether a recording can be looked through to its end.
pub(crate) fn is_within_reach<R: Read>(reader: RecordingReader<R>) -> bool {
    let mut passed = 0;
    for frame in reader {
        let Ok(frame) = frame else { return false };
        passed += frame.bytes.len();
        if passed >= OF_EACH {
            return false;
        }
    }
    true
}

/// Gives the documents of a recording, as far as they are taken; whether it could be looked through to its end, and all of them were taken.
pub(crate) fn documents<R: Read>(reader: RecordingReader<R>, key: GramKey, give: impl FnMut(String) -> bool) -> bool {
    let mut documents = Documents { marker: Marker::new(key), marks: Vec::new(), bytes: 0, count: 0, give, taken: true };
    let mut shown: BTreeMap<(u32, bool), Lines> = BTreeMap::new();
    let mut passed = 0;
    for frame in reader {
        let Ok(Frame { channel, direction, kind, bytes, .. }) = frame else { return false };
        passed += bytes.len();
        match (direction, kind) {
            (_, FrameKind::Activity) => {
                if let Ok(activity) = serde_json::from_slice::<Value>(&bytes) {
                    texts(&activity, &mut |text| documents.add(text));
                }
            }
            (Direction::Output, FrameKind::Bytes | FrameKind::Stderr) => {
                let lines = shown.entry((channel, kind == FrameKind::Stderr)).or_default();
                lines.take(&bytes, &mut |text| documents.add(text));
            }
            _ => {}
        }
        if passed >= OF_EACH || !documents.taken {
            return false;
        }
    }
    for mut lines in shown.into_values() {
        lines.ends(&mut |text| documents.add(text));
    }
    documents.ends();
    documents.taken
}
