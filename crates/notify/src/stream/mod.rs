//! Where the log goes as it grows: collectors of logs by syslog, HTTP, S3 or OpenTelemetry.
//!
//! Each takes lines in batches, in order, and says whether it took them: only then does whoever sends go on. A line that is sent again,
//! because nobody knows whether it was taken, is known by the id in it.

pub mod http;
pub mod otlp;
pub mod s3;
pub mod syslog;

use jiff::Timestamp;

/// One event, written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: `session.opened`.
    pub event: String,
    /// How grave it is, as OCSF counts: 1 informational, 2 low, 3 medium, 4 high.
    pub severity: u8,
    /// The event: one JSON object without a line break.
    pub json: String,
}

/// Lines that follow one another.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The node that sends.
    pub node: &'a str,
    /// Where the first line is from: the entry's place in the log, and the line of that entry.
    pub first: (u64, u64),
    /// Where the last line is from.
    pub last: (u64, u64),
    /// Now.
    pub now: Timestamp,
    /// The lines; at least one.
    pub lines: &'a [Line],
}

impl Batch<'_> {
    /// When the first of it happened.
    fn begins(&self) -> Timestamp {
        self.lines.first().map_or(self.now, |line| line.at)
    }

    /// When the last of it happened.
    fn ends(&self) -> Timestamp {
        self.lines.last().map_or(self.now, |line| line.at)
    }

    /// All lines, each with a line break behind it.
    fn text(&self) -> String {
        let mut text = String::with_capacity(self.lines.iter().map(|line| line.json.len() + 1).sum());
        for line in self.lines {
            text.push_str(&line.json);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
pub(crate) fn example<'a>(lines: &'a [Line]) -> Batch<'a> {
    let now = "2026-03-02T12:00:05Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
    Batch { stream: "siem", node: "gate-1", first: (41, 2), last: (43, 0), now, lines }
}

#[cfg(test)]
pub(crate) fn example_line(event: &str, severity: u8, json: &str) -> Line {
    let at = "2026-03-02T12:00:00.123456Z".parse().unwrap_or(Timestamp::UNIX_EPOCH);
    Line { at, event: event.to_owned(), severity, json: json.to_owned() }
}
