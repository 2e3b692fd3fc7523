//! Finding sessions again: by whose, where, as what, when and how they ended, and by what was done in them.
//!
//! *Takes* a question and the proof of who asks. *Proves* for each session that they may see it, and before its recording is looked
//! into that they may read that. *Hands to* them what was found, and to the log what was looked for.

use std::collections::BTreeMap;
use std::fs::File;

use access::event::Event;
use access::ids::SessionId;
use access::reason::{Reason, Refusal};
use access::session::SessionRow;
use evidence::recording::{Anchor, Direction, FrameKind, RecordingReader, ReleasedKeys};
use policy::{Act, Object};
use serde_json::Value;
use store::{Change, Page, SessionFilter};

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};
use crate::shown::Shown;
use crate::watch::end_of;

/// The longest text that is looked for, in characters.
const LONGEST_TEXT: usize = 200;
/// How many rows are looked at for one part of the answer.
const ROWS: usize = 5_000;
/// How many recordings are looked into for one part of the answer.
const RECORDINGS: usize = 200;
/// How much of one recording is looked into, in bytes as they passed.
const OF_EACH: usize = 64 * 1024 * 1024;
/// How many passages of one recording are shown.
const PASSAGES: usize = 20;

/// One thing that was done in a session, as the gate recorded it: a command, an operation on a file, a forward; or a line that was shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Microseconds since the recording began.
    pub at_us: u64,
    /// The channel within the session.
    pub channel: u32,
    /// What was done.
    pub activity: Value,
}

/// A session that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which.
    pub session: SessionRow,
    /// Where the text stands; the first few.
    pub passages: Vec<Passage>,
    /// Whether its recording could be looked through to its end. Without a text none is looked into.
    pub whole: bool,
}

/// A part of an answer.
#[derive(Debug, Clone, Default)]
pub struct Searched {
    /// What was found, newest first.
    pub found: Vec<Found>,
    /// The last session that was looked at, if there are more behind it.
    pub last: Option<SessionId>,
}

impl Gate {
    /// Looks for sessions that the caller may see. With a text: those in whose recordings something was done that names it, or a line
    /// shown that holds it, as far as they may read them; a recording that they may not read is passed over as if it did not exist.
    ///
    /// # Errors
    /// If the text is none, or the store can't be read.
    pub async fn search_sessions(
        &self,
        caller: &Caller,
        filter: &SessionFilter,
        text: Option<&str>,
        page: &Page,
    ) -> Result<Searched, Refusal> {
        let text = text.map(needle).transpose()?;
        let mut out = Searched::default();
        let (mut rows_seen, mut looked_into) = (0, 0);
        let mut next = Page { limit: 200, after: page.after.clone() };
        'pages: loop {
            let rows = self.store.sessions(filter, &next).await.map_err(unavailable)?;
            let more = rows.len() >= next.limit as usize;
            for row in rows {
                if out.found.len() >= page.limit as usize || rows_seen >= ROWS || looked_into >= RECORDINGS {
                    break 'pages;
                }
                rows_seen += 1;
                next.after = Some(row.id.to_string());
                out.last = Some(row.id);
                let Some(row) = seen(self.visible_session(caller, Some(row)).await)? else { continue };
                let Some(text) = &text else {
                    out.found.push(Found { session: row, passages: Vec::new(), whole: true });
                    continue;
                };
                let recording = Object::Recording(self.about_session(&row).await?);
                if seen(self.allowed(caller, Act::Read, &recording).await)?.is_none() {
                    continue;
                }
                looked_into += 1;
                let (passages, whole) = self.look_into(&row, text.clone()).await;
                if !passages.is_empty() || !whole {
                    out.found.push(Found { session: row, passages, whole });
                }
            }
            if !more {
                out.last = None;
                break;
            }
        }
        if let Some(text) = text
            && looked_into > 0
        {
            let found = out.found.iter().filter(|found| !found.passages.is_empty()).map(|found| found.session.id).collect();
            let event = Event::RecordingsSearched { looked_into: looked_into as u64, found };
            self.commit(Change::new(self.draft(caller, event).text("text", Some(text)))).await.map_err(refused)?;
        }
        Ok(out)
    }

    /// What names the text in one recording, and whether all of it could be looked through.
    async fn look_into(&self, row: &SessionRow, text: String) -> (Vec<Passage>, bool) {
        let Ok(keys) = self.released_keys(row.recording, false) else { return (Vec::new(), false) };
        let (path, end) = (self.recording_path(row.recording), end_of(row));
        let looked = tokio::task::spawn_blocking(move || {
            let file = File::open(path).ok()?;
            Some(passages(file, keys, end, &text))
        });
        looked.await.ok().flatten().unwrap_or((Vec::new(), false))
    }
}

fn passages(file: File, keys: ReleasedKeys, end: Option<Anchor>, text: &str) -> (Vec<Passage>, bool) {
    let Ok(reader) = RecordingReader::with_keys(file, keys) else { return (Vec::new(), false) };
    let reader = reader.ending_at(end);
    let (mut found, mut whole, mut passed) = (Vec::new(), true, 0);
    let mut shown: BTreeMap<(u32, bool), (Shown, u64)> = BTreeMap::new();
    for frame in reader {
        let Ok(frame) = frame else {
            whole = false;
            continue;
        };
        passed += frame.bytes.len();
        match (frame.direction, frame.kind) {
            (_, FrameKind::Activity) => {
                let activity = serde_json::from_slice::<Value>(&frame.bytes).ok().filter(|activity| names(activity, text));
                found.extend(activity.map(|activity| Passage { at_us: frame.at_us, channel: frame.channel, activity }));
            }
            (Direction::Output, FrameKind::Bytes | FrameKind::Stderr) => {
                let stream = shown.entry((frame.channel, frame.kind == FrameKind::Stderr)).or_default();
                stream.1 = frame.at_us;
                found.extend(stream.0.take(&frame.bytes, text).into_iter().map(|line| showed(frame.at_us, frame.channel, &line)));
            }
            _ => {}
        }
        if found.len() >= PASSAGES {
            break;
        }
        if passed >= OF_EACH {
            whole = false;
            break;
        }
    }
    for ((channel, _), (mut stream, at_us)) in shown {
        found.extend(stream.ends(text).map(|line| showed(at_us, channel, &line)));
    }
    found.sort_by_key(|passage| passage.at_us);
    found.truncate(PASSAGES);
    (found, whole)
}

/// A line that was shown, in the words of an activity.
fn showed(at_us: u64, channel: u32, line: &str) -> Passage {
    Passage { at_us, channel, activity: serde_json::json!({"kind": "shown", "line": line}) }
}

/// Whether any text within names the wanted one, in whatever case.
fn names(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found.to_lowercase().contains(text),
        Value::Array(items) => items.iter().any(|item| names(item, text)),
        Value::Object(fields) => fields.values().any(|field| names(field, text)),
        _ => false,
    }
}

fn needle(text: &str) -> Result<String, Refusal> {
    let text = text.trim().to_lowercase();
    if text.is_empty() || text.chars().count() > LONGEST_TEXT {
        return Err(Refusal::because(Reason::Invalid, format!("`text` has to be 1 to {LONGEST_TEXT} characters")));
    }
    Ok(text)
}

/// What one may see; that one may not is no trouble, that nobody can tell is.
fn seen<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match answer {
        Ok(seen) => Ok(Some(seen)),
        Err(refusal) if matches!(refusal.reason, Reason::NotFound | Reason::NotAllowed) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        let copy = json!({"kind": "sftp", "act": "file", "path": "/srv/Invoices/march.csv", "written": {"bytes": 7}});
        assert!(names(&copy, "invoices/march") && names(&copy, "file"));
        assert!(!names(&copy, "april") && !names(&copy, "path") && !names(&copy, "7"), "names of fields and numbers are not texts");
        assert_eq!(needle("  RM -rf ").unwrap(), "rm -rf");
        for wrong in ["", "  ", &"x".repeat(201)] {
            assert_eq!(needle(wrong).unwrap_err().reason, Reason::Invalid);
        }
    }
}
