//! The activities of a recording as JSON lines and as CSV (RFC 4180).

use std::io::{Read, Write};

use serde::Serialize;
use serde_json::Value;

use super::asciicast::ExportError;
use super::frame::FrameKind;
use super::reader::RecordingReader;
use crate::printable;

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    at_us: u64,
    channel: u32,
    session: &'a str,
    resource: &'a str,
    activity: Value,
}

/// One JSON object for each activity, one to a line.
///
/// # Errors
/// When the recording cannot be read on, or the export cannot be written.
pub fn export_json_lines<R: Read>(reader: &mut RecordingReader<R>, out: &mut impl Write) -> Result<(), ExportError> {
    let about = reader.about().clone();
    each(reader, |at, at_us, channel, activity| {
        let line = Line { at, at_us, channel, session: &about.session, resource: &about.resource, activity };
        let mut json = serde_json::to_vec(&line).map_err(std::io::Error::from)?;
        json.push(b'\n');
        Ok(out.write_all(&json)?)
    })
}

/// A table with a header line: time, session, person, resource, channel, what was done, and the whole activity.
///
/// # Errors
/// When the recording cannot be read on, or the export cannot be written.
pub fn export_csv<R: Read>(reader: &mut RecordingReader<R>, out: &mut impl Write) -> Result<(), ExportError> {
    let about = reader.about().clone();
    out.write_all(b"time,session,person,resource,channel,kind,activity\r\n")?;
    each(reader, |at, _, channel, activity| {
        let kind = activity.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let whole = activity.to_string();
        let cells = [&at, &about.session, &about.person, &about.resource, &channel.to_string(), &kind, &whole];
        let row: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        Ok(out.write_all((row.join(",") + "\r\n").as_bytes())?)
    })
}

fn each<R: Read>(
    reader: &mut RecordingReader<R>,
    mut write: impl FnMut(String, u64, u32, Value) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let started = reader.about().started;
    for frame in reader.by_ref() {
        let frame = frame?;
        if frame.kind != FrameKind::Activity {
            continue;
        }
        let elapsed = jiff::SignedDuration::from_micros(i64::try_from(frame.at_us).unwrap_or(i64::MAX));
        let at = started.checked_add(elapsed).unwrap_or(jiff::Timestamp::MAX).to_string();
        let activity =
            serde_json::from_slice(&frame.bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&frame.bytes).into_owned()));
        write(at, frame.at_us, frame.channel, activity)?;
    }
    Ok(())
}

/// One cell: quoted where RFC 4180 asks for it; what a spreadsheet would take for a formula starts with an apostrophe.
#[must_use]
pub fn cell(text: &str) -> String {
    let text = printable::text(text);
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '|', '%']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: E9 (csv)
    #[test]
    fn no_cell_is_a_formula_or_breaks_the_table() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(cell(" @SUM(A1)"), "' @SUM(A1)");
        assert_eq!(cell("-2+3"), "'-2+3");
        assert_eq!(cell("a,b\r\nc"), "\"a,b\\r\\nc\"");
    }
}
