//! Server-sent events (WHATWG HTML §9.2), as far as the gate sends them: `event`, `data`, comments.

use reqwest::Response;

/// The longest event that is taken; the gate's are far shorter.
const LONGEST: usize = 8 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerEvent {
    /// Its name; `message` if none was given.
    pub name: String,
    /// Its data, lines joined.
    pub data: String,
}

/// Why a stream ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The connection broke.
    #[error("the gate broke off the stream; try again")]
    BrokenOff(#[source] reqwest::Error),
    /// An event without an end.
    #[error("the gate sent an event that is too long")]
    TooLong,
}

/// Events as they come.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    parser: Parser,
}

impl EventStream {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, parser: Parser::default() }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// If the stream breaks.
    pub async fn next(&mut self) -> Result<Option<ServerEvent>, StreamError> {
        loop {
            if let Some(event) = self.parser.next() {
                return Ok(Some(event));
            }
            match self.response.chunk().await.map_err(|e| StreamError::BrokenOff(e.without_url()))? {
                Some(bytes) => self.parser.push(&bytes)?,
                None => return Ok(None),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    read: usize,
    name: String,
    data: Vec<String>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        self.buffer.drain(..std::mem::take(&mut self.read));
        self.buffer.extend_from_slice(bytes);
        let held = self.buffer.len() + self.data.iter().map(String::len).sum::<usize>();
        if held > LONGEST { Err(StreamError::TooLong) } else { Ok(()) }
    }

    fn next(&mut self) -> Option<ServerEvent> {
        while let Some(length) = self.buffer.get(self.read..)?.iter().position(|b| *b == b'\n') {
            let line = self.buffer.get(self.read..self.read + length).unwrap_or_default();
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            self.read += length + 1;
            if line.is_empty() {
                let name = std::mem::take(&mut self.name);
                let data = std::mem::take(&mut self.data);
                if data.is_empty() {
                    continue;
                }
                let name = if name.is_empty() { "message".to_owned() } else { name };
                return Some(ServerEvent { name, data: data.join("\n") });
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" => self.data.push(value.to_owned()),
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_arrive_whole_however_they_are_cut() {
        let bytes = b": keep-alive\n\nevent: frame\r\ndata: one\r\ndata: two\r\n\r\nid: 7\ndata:three\n\ndata: cut off";
        for size in 1..bytes.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in bytes.chunks(size) {
                parser.push(piece).unwrap();
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            let event = |name: &str, data: &str| ServerEvent { name: name.to_owned(), data: data.to_owned() };
            assert_eq!(events, [event("frame", "one\ntwo"), event("message", "three")], "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..10).any(|_| parser.push(&piece).is_err()));
    }
}
