//! Entries and what was done in sessions, a line each: JSON lines, OCSF events, or a table as CSV (RFC 4180).
//!
//! Nothing is dropped or cut short: an entry, an activity of any length, and what cannot be read are each a line. A cell that
//! holds JSON is JSON again when it is read back; one that a spreadsheet would take for a formula starts with an apostrophe.

use std::io::{self, Read, Write};

use access::event::Entry;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::ocsf::{self, Did, Known};
use crate::printable;
use crate::recording::{About, Frame, FrameKind, ReadError, RecordingReader};

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object to a line.
    JsonLines,
    /// A table with a header line.
    Csv,
    /// One event of the Open Cybersecurity Schema Framework to a line, as JSON.
    Ocsf,
}

/// The columns of the table.
pub const COLUMNS: [&str; 8] = ["at", "kind", "id", "actor", "door", "event", "data", "texts"];

/// One line. Of an activity `id` is the session, `actor` the person; `door` and `texts` are empty.
#[derive(Debug, Serialize)]
struct Line<'a> {
    kind: &'a str,
    at: &'a str,
    id: &'a str,
    actor: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    door: &'a str,
    event: &'a str,
    data: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    texts: Value,
}

/// How far one has come in a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The time of the newest activity.
    last: Timestamp,
    /// The lines so far.
    lines: u64,
}

impl Done {
    /// Nothing yet.
    #[must_use]
    pub fn of(about: &About) -> Self {
        Self { last: about.started, lines: 0 }
    }

    /// When the newest activity was.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.last
    }
}

/// Writes lines.
#[derive(Debug)]
pub struct LineWriter<W> {
    out: W,
    form: Form,
    known: Known,
}

impl<W: Write> LineWriter<W> {
    /// Begins; a table with its header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(form: Form, mut out: W) -> io::Result<Self> {
        if form == Form::Csv {
            out.write_all(format!("{}\r\n", COLUMNS.join(",")).as_bytes())?;
        }
        Ok(Self { out, form, known: Known::default() })
    }

    /// Events say more of ids that are known.
    #[must_use]
    pub fn knowing(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// What is known of ids, for more to be added.
    pub fn known(&mut self) -> &mut Known {
        &mut self.known
    }

    /// An entry of the log, with the texts that were not erased.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.entry_at(entry, None)
    }

    /// An entry of the log and its place there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn entry_at(&mut self, entry: &Entry, sequence: Option<u64>) -> io::Result<()> {
        if self.form == Form::Ocsf {
            let event = ocsf::entry(entry, sequence, &self.known);
            return self.json(&event);
        }
        let texts: serde_json::Map<String, Value> =
            entry.texts.iter().map(|(name, text)| (name.clone(), Value::String(text.text.clone()))).collect();
        self.line(&Line {
            kind: "entry",
            at: &entry.at.to_string(),
            id: &entry.id.to_string(),
            actor: &entry.actor.to_string(),
            door: entry.door.code(),
            event: entry.event.name(),
            data: serde_json::to_value(&entry.event)?,
            texts: Value::Object(texts),
        })
    }

    /// Everything that was done in a session: its recording's activities. What cannot be read is a line of its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn recording<R: Read>(&mut self, reader: &mut RecordingReader<R>) -> io::Result<()> {
        let about = reader.about().clone();
        let mut did = Done::of(&about);
        for frame in reader.by_ref() {
            self.frame(&about, &mut did, frame)?;
        }
        Ok(())
    }

    /// One frame of a recording; whether it is a line: only activities are, and what cannot be read.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn frame(&mut self, about: &About, done: &mut Done, frame: Result<Frame, ReadError>) -> io::Result<bool> {
        let (kind, event, data) = match frame {
            Ok(frame) if frame.kind != FrameKind::Activity => return Ok(false),
            Ok(frame) => {
                let elapsed = jiff::SignedDuration::from_micros(i64::try_from(frame.at_us).unwrap_or(i64::MAX));
                done.last = about.started.checked_add(elapsed).unwrap_or(Timestamp::MAX);
                let activity: Value = serde_json::from_slice(&frame.bytes)
                    .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&frame.bytes).into_owned()));
                let name = activity.get("kind").and_then(Value::as_str).unwrap_or("unknown").to_owned();
                let data = serde_json::json!({ "resource": about.resource, "channel": frame.channel, "activity": activity });
                ("activity", name, data)
            }
            Err(error) => {
                let data = serde_json::json!({ "recording": about.recording, "why": error.to_string() });
                ("damage", "recording.damaged".to_owned(), data)
            }
        };
        let number = done.lines;
        done.lines += 1;
        self.did(Did { kind, at: done.last, session: &about.session, person: &about.person, event: &event, number, data: &data })?;
        Ok(true)
    }

    /// A session of which nothing can be said but its entries, and why.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn absent(&mut self, session: &str, person: &str, at: Timestamp, why: &str) -> io::Result<()> {
        let data = serde_json::json!({ "why": why });
        self.did(Did { kind: "absent", at, session, person, event: "recording.absent", number: 0, data: &data })
    }

    fn did(&mut self, did: Did<'_>) -> io::Result<()> {
        if self.form == Form::Ocsf {
            let event = ocsf::activity(did, &self.known);
            return self.json(&event);
        }
        let Did { kind, at, session, person, event, data, .. } = did;
        let data = data.clone();
        self.line(&Line { kind, at: &at.to_string(), id: session, actor: person, door: "", event, data, texts: Value::Null })
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        match self.form {
            Form::JsonLines | Form::Ocsf => self.json(line),
            Form::Csv => {
                let texts = if line.texts.is_null() { String::new() } else { json_cell(&line.texts) };
                let plain = [line.at, line.kind, line.id, line.actor, line.door, line.event].map(cell);
                self.out.write_all(plain.join(",").as_bytes())?;
                self.out.write_all(format!(",{},{texts}\r\n", json_cell(&line.data)).as_bytes())
            }
        }
    }

    /// What was written to.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

impl LineWriter<Vec<u8>> {
    /// What was written since this was asked the last time.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// One cell: quoted where RFC 4180 asks for it; what a spreadsheet would take for a formula starts with an apostrophe.
#[must_use]
pub fn cell(text: &str) -> String {
    let text = printable::text(text);
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '|', '%']);
    quoted(if formula { format!("'{text}") } else { text })
}

/// A cell that holds JSON: what could steer a terminal or a page is written as JSON writes it, so that it reads back the same.
#[must_use]
pub fn json_cell(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if printable::steers(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    // JSON starts with none of the characters that begin a formula, but for a number below zero.
    quoted(if text.starts_with('-') { format!("'{text}") } else { text })
}

fn quoted(text: String) -> String {
    if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use access::event::{Actor, EntryDraft, Event};
    use access::request::Door;
    use proptest::prelude::*;

    // covers: E9 (csv)
    #[test]
    fn no_cell_is_a_formula_or_breaks_the_table() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(cell(" @SUM(A1)"), "' @SUM(A1)");
        assert_eq!(cell("-2+3"), "'-2+3");
        assert_eq!(cell("a,b\r\nc"), "\"a,b\\r\\nc\"");
    }

    fn unquoted(cell: &str) -> String {
        cell.strip_prefix('"').and_then(|c| c.strip_suffix('"')).map_or_else(|| cell.to_owned(), |c| c.replace("\"\"", "\""))
    }

    proptest! {
        #[test]
        fn json_in_a_cell_reads_back_as_it_was_and_is_one_line(text in "(?s).{0,60}", number: i64) {
            let value = serde_json::json!({ "text": text, "number": number });
            let cell = json_cell(&value);
            let inert = !cell.contains(['\r', '\n', '\u{202e}', '\u{7f}', '\u{9b}']);
            prop_assert!(inert);
            prop_assert_eq!(serde_json::from_str::<Value>(&unquoted(&cell)).unwrap(), value);
        }
    }

    #[test]
    fn an_entry_is_a_line_with_all_its_texts() {
        let at = jiff::Timestamp::from_second(1_772_366_400).unwrap();
        let long = "=cmd|' /C calc'!A0 ".repeat(20_000);
        let entry =
            EntryDraft::new(at, Actor::Gate, Door::Gate, Event::LogStarted { node: "gate-1".into() }).text("reason", Some(&long)).seal();
        let mut writer = LineWriter::new(Form::Csv, Vec::new()).unwrap();
        writer.entry(&entry).unwrap();
        let table = String::from_utf8(writer.finish().unwrap()).unwrap();
        let (header, row) = table.split_once("\r\n").unwrap();
        assert_eq!(header, "at,kind,id,actor,door,event,data,texts");
        assert!(row.starts_with(&format!("2026-03-01T12:00:00Z,entry,{},gate,gate,log.started,\"{{", entry.id)), "{}", &row[..120]);
        let texts = row.trim_end().rsplit_once(",\"{").unwrap().1;
        let texts: Value = serde_json::from_str(&unquoted(&format!("\"{{{texts}"))).unwrap();
        assert_eq!(texts["reason"], Value::String(long));
    }
}
