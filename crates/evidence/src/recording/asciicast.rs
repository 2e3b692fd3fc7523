//! Recordings as asciicast v2 (<https://docs.asciinema.org/manual/asciicast/v2/>), for any player.
//!
//! What the terminal showed is exported as it was, escapes included: a player is a terminal. Everything that is not
//! terminal output, such as the title, is made printable first.

use std::io::{self, Read, Write};

use serde::Serialize;

use super::frame::{Direction, Frame, FrameKind};
use super::reader::{ReadError, RecordingReader, is_shown};
use crate::printable;

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording could not be read on.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The export could not be written.
    #[error("cannot write the export")]
    Write(#[from] io::Error),
}

#[derive(Serialize)]
struct Head<'a> {
    version: u8,
    width: u32,
    height: u32,
    timestamp: i64,
    title: &'a str,
}

/// Writes one channel of a recording as asciicast. Typed input is written where the reader has its key.
///
/// # Errors
/// When the recording cannot be read on, or the export cannot be written; what was written up to there is whole lines.
pub fn export<R: Read>(reader: &mut RecordingReader<R>, channel: u32, with_input: bool, out: &mut impl Write) -> Result<(), ExportError> {
    let about = reader.about().clone();
    let title = printable::text(&format!("{} on {} ({})", about.person, about.resource, about.session));
    let timestamp = about.started.as_second();
    let mut head_written = false;
    let mut write_head = |out: &mut dyn Write, (width, height): (u32, u32)| -> io::Result<()> {
        if !std::mem::replace(&mut head_written, true) {
            line(out, &Head { version: 2, width, height, timestamp, title: &title })?;
        }
        Ok(())
    };
    let mut shown = Decoder::default();
    let mut typed = Decoder::default();
    for frame in reader.by_ref() {
        let frame = frame?;
        if frame.channel != channel {
            continue;
        }
        match (frame.kind, frame.size()) {
            (FrameKind::Resize, Some((columns, rows))) => {
                write_head(out, (columns, rows))?;
                line(out, &(seconds(&frame), "r", format!("{columns}x{rows}")))?;
            }
            _ if is_shown(&frame) => {
                write_head(out, (80, 24))?;
                event(out, &frame, "o", &mut shown)?;
            }
            _ if with_input && frame.direction == Direction::Input && frame.is_typed() => {
                write_head(out, (80, 24))?;
                event(out, &frame, "i", &mut typed)?;
            }
            _ => {}
        }
    }
    write_head(out, (80, 24))?;
    Ok(out.flush()?)
}

fn seconds(frame: &Frame) -> f64 {
    // Exact to the microsecond for 285 years.
    frame.at_us as f64 / 1e6
}

fn event(out: &mut impl Write, frame: &Frame, code: &str, decoder: &mut Decoder) -> io::Result<()> {
    let text = decoder.decode(&frame.bytes);
    if text.is_empty() { Ok(()) } else { line(out, &(seconds(frame), code, text)) }
}

fn line(out: &mut (impl Write + ?Sized), value: &impl Serialize) -> io::Result<()> {
    let mut json = serde_json::to_vec(value).map_err(io::Error::from)?;
    json.push(b'\n');
    out.write_all(&json)
}

/// UTF-8 that comes in pieces: a character cut in two is kept until its rest comes, wrong bytes become U+FFFD.
#[derive(Default)]
pub(crate) struct Decoder {
    kept: Vec<u8>,
}

impl Decoder {
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.kept);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut rest = &all[..];
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(good) => {
                    text.push_str(good);
                    break;
                }
                Err(e) => {
                    let (good, after) = rest.split_at(e.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(good));
                    match e.error_len() {
                        Some(wrong) => {
                            text.push('\u{fffd}');
                            rest = &after[wrong..];
                        }
                        None => {
                            self.kept = after.to_vec();
                            break;
                        }
                    }
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_in_two_is_whole_again() {
        let mut decoder = Decoder::default();
        let euro = "€".as_bytes();
        assert_eq!(decoder.decode(&[b'a', euro[0]]), "a");
        assert_eq!(decoder.decode(&euro[1..]), "€");
        assert_eq!(decoder.decode(&[0xff, b'b']), "\u{fffd}b");
    }
}
