//! A bundle's file as whoever reads it needs it: its parts by name.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};

use super::manifest::parts;
use super::tar::{self, Part};

/// The longest part that is read into memory. Recordings are not.
const LONGEST_PART: u64 = 1 << 30;

/// The file and its parts.
pub(super) struct Bundle<F> {
    file: F,
    pub(super) parts: Vec<Part>,
    pub(super) flaws: Vec<tar::Flaw>,
}

impl<F: Read + Seek> Bundle<F> {
    pub(super) fn read(mut file: F) -> io::Result<Self> {
        let (mut parts, flaws) = tar::scan(&mut file)?;
        // The first two are known by their place, so that a damaged header does not hide them.
        for (part, name) in parts.iter_mut().zip([parts::MANIFEST, parts::SIGNATURE]) {
            part.name.get_or_insert_with(|| name.into());
        }
        let mut bundle = Self { file, parts, flaws };
        bundle.trim_damaged(2)?;
        Ok(bundle)
    }

    /// Parts with a damaged header run up to the next one: their padding is cut off where they are text.
    fn trim_damaged(&mut self, first: usize) -> io::Result<()> {
        for i in 0..self.parts.len().min(first) {
            if self.flaws.iter().any(|flaw| flaw.part == i) {
                let content = self.content(i)?;
                let trimmed = content.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
                self.parts[i].bytes = trimmed as u64;
            }
        }
        Ok(())
    }

    pub(super) fn content(&mut self, i: usize) -> io::Result<Vec<u8>> {
        let part = &self.parts[i];
        self.file.seek(SeekFrom::Start(part.offset))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(part.bytes.min(LONGEST_PART)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.parts.iter().position(|part| part.name.as_deref() == Some(name))
    }

    pub(super) fn named(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.place(name).map(|i| self.content(i)).transpose()
    }

    /// One part as a stream.
    pub(super) fn stream(&mut self, name: &str) -> io::Result<Option<impl Read + '_>> {
        let Some(i) = self.place(name) else { return Ok(None) };
        let part = &self.parts[i];
        self.file.seek(SeekFrom::Start(part.offset))?;
        Ok(Some(BufReader::with_capacity(64 * 1024, (&mut self.file).take(part.bytes))))
    }

    /// The same, and nothing else of the file any more.
    pub(super) fn into_stream(mut self, name: &str) -> io::Result<Option<BufReader<Take<F>>>> {
        let Some(i) = self.place(name) else { return Ok(None) };
        let (offset, bytes) = (self.parts[i].offset, self.parts[i].bytes);
        self.file.seek(SeekFrom::Start(offset))?;
        Ok(Some(BufReader::with_capacity(64 * 1024, self.file.take(bytes))))
    }
}
