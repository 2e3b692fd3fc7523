//! Where a text stands in one recording: in what was done there, and in the lines that were shown.

use std::collections::BTreeMap;
use std::io::Read;

use evidence::recording::{Direction, FrameKind, RecordingReader};
use serde_json::Value;

use crate::pieces::texts;
use crate::shown::Shown;

/// How much of one recording is looked into, in bytes as they passed.
pub const OF_EACH: usize = 64 * 1024 * 1024;
/// How many passages of one recording are given.
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

/// What names a text, which is in lower case, in one recording: the first few. And whether all of it could be looked through.
#[must_use]
pub fn passages<R: Read>(reader: RecordingReader<R>, text: &str) -> (Vec<Passage>, bool) {
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
    let mut named = false;
    texts(value, &mut |found| named = named || found.to_lowercase().contains(text));
    named
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
    }
}
