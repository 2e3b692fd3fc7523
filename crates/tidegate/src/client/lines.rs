//! A body read line by line: frames of a recording, entries of an export.

use reqwest::Response;

use super::sse::StreamError;

/// The longest line that is taken; a frame has at most 64 KiB of bytes, in base64, or one statement, however long it was.
const LONGEST: usize = 256 << 20;

/// Lines as they come, without their ends.
#[derive(Debug)]
pub struct Lines {
    response: Response,
    buffer: Vec<u8>,
    read: usize,
    ended: bool,
}

impl Lines {
    /// The lines of a body.
    #[must_use]
    pub fn new(response: Response) -> Self {
        Self { response, buffer: Vec::new(), read: 0, ended: false }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// If the body breaks off.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, StreamError> {
        loop {
            let rest = self.buffer.get(self.read..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|b| *b == b'\n') {
                let line = rest.get(..length).unwrap_or_default().to_vec();
                self.read += length + 1;
                return Ok(Some(line));
            }
            if self.ended {
                let last = rest.to_vec();
                self.read = self.buffer.len();
                return Ok(Some(last).filter(|l| !l.is_empty()));
            }
            if rest.len() > LONGEST {
                return Err(StreamError::TooLong);
            }
            self.buffer.drain(..std::mem::take(&mut self.read));
            match self.response.chunk().await.map_err(|e| StreamError::BrokenOff(e.without_url()))? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.ended = true,
            }
        }
    }
}
