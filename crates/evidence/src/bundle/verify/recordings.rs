//! The recordings of a bundle: whole, of the sessions that the log says, and no others.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Seek};

use jiff::Timestamp;

use super::{Bundle, RecordingSummary, Verification};
use crate::bundle::export::KeyLine;
use crate::bundle::manifest::{Manifest, parts, recording_part};
use crate::finding::Finding;
use crate::printable;
use crate::recording::header::KeyState;
use crate::recording::{About, Anchor, DataKey, RecordingReader, ReleasedKeys, inspect};

impl Verification {
    pub(super) fn recordings<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>, manifest: &Manifest) -> io::Result<()> {
        let keys = match bundle.named(parts::KEYS)? {
            None => BTreeMap::new(),
            Some(content) => match serde_json::from_slice::<BTreeMap<String, KeyLine>>(&content) {
                Ok(keys) => keys,
                Err(e) => {
                    self.altered(parts::KEYS, format!("it cannot be read: {e}"));
                    BTreeMap::new()
                }
            },
        };
        for line in &manifest.recordings {
            let mut anchors = vec![Anchor { chunks: line.chunks, digest: line.digest }];
            anchors.extend(self.anchors.get(&line.recording).cloned().unwrap_or_default());
            // What was exported while it lived may be behind what later entries say.
            let ended = self.ended.contains_key(&line.recording);
            anchors.retain(|anchor| ended || line.closed || anchor.chunks <= line.chunks);
            let known = anchors.len() as u64 - 1;
            let part = recording_part(&line.recording);
            let Some(content) = bundle.stream(&part)? else {
                // One that is listed as a part has been named as missing already.
                if !manifest.parts.iter().any(|listed| listed.name == part) {
                    self.report.findings.push(Finding::MemberMissing { member: printable::start_of(&part) });
                }
                continue;
            };
            let inspection = match inspect(content, &anchors) {
                Ok(inspection) => inspection,
                Err(e) => {
                    let recording = printable::name(&line.recording);
                    self.report.findings.push(Finding::RecordingHeader { recording, reason: e.to_string() });
                    continue;
                }
            };
            self.report.findings.extend(inspection.findings);
            if inspection.keys == KeyState::Destroyed && !self.destroyed.contains(&line.recording) {
                let reason = "its keys are gone, and no entry here says that anybody destroyed them".to_owned();
                self.report.findings.push(Finding::RecordingDiffers { recording: printable::name(&line.recording), reason });
            }
            self.belongs(&line.recording, &inspection.about);
            let frames = match keys.get(&line.recording) {
                Some(keys) => self.open(bundle, &part, keys)?,
                None => None,
            };
            self.report.recordings.push(RecordingSummary {
                recording: printable::name(&line.recording),
                chunks: inspection.chunks,
                closed: inspection.closing.is_some(),
                destroyed: inspection.keys == KeyState::Destroyed,
                anchors: known,
                end_unknown: self.end_unknown.contains(&line.recording),
                frames,
            });
        }
        self.only_listed(bundle, manifest, &keys);
        Ok(())
    }

    /// Whether a recording's header speaks of what the log says it is of.
    fn belongs(&mut self, recording: &str, about: &About) {
        let reason = match self.opened.get(recording) {
            None => Some("no entry here says that such a recording was begun".to_owned()),
            Some(logged) => {
                let fields = [
                    ("recording", &about.recording, &logged.recording),
                    ("session", &about.session, &logged.session),
                    ("grant", &about.grant, &logged.grant),
                    ("person", &about.person, &logged.person),
                    ("resource", &about.resource, &logged.resource),
                    ("bundle", &about.bundle, &logged.bundle),
                ];
                let wrong = fields.into_iter().find(|(_, header, log)| header != log).map(|(field, header, log)| {
                    format!("it speaks of {field} `{}`, and the log of `{}`", printable::name(header), printable::name(log))
                });
                wrong.or_else(|| (about.levels != logged.levels).then(|| "it keeps another level than the log says".to_owned()))
            }
        };
        if let Some(reason) = reason {
            self.report.findings.push(Finding::RecordingHeader { recording: printable::name(recording), reason });
        }
    }

    /// Recordings and keys that the manifest does not list, and recordings that entries name and that are not here.
    fn only_listed<F>(&mut self, bundle: &Bundle<F>, manifest: &Manifest, keys: &BTreeMap<String, KeyLine>) {
        let listed: HashSet<&str> = manifest.recordings.iter().map(|line| line.recording.as_str()).collect();
        let recording_of = |name: &str| Some(name.strip_prefix("recordings/")?.strip_suffix(".tgr")?.to_owned());
        for name in bundle.parts.iter().filter_map(|part| part.name.as_deref()).filter(|name| name.starts_with("recordings/")) {
            if recording_of(name).is_none_or(|recording| !listed.contains(recording.as_str())) {
                self.report.findings.push(Finding::MemberForeign { member: printable::start_of(name) });
            }
        }
        let unknown: Vec<&String> = keys.keys().filter(|recording| !listed.contains(recording.as_str())).collect();
        for recording in unknown {
            self.altered(parts::KEYS, format!("it holds keys of `{}`, which was not exported", printable::name(recording)));
        }
        let absent = self.opened.iter().filter(|(recording, _)| !listed.contains(recording.as_str()));
        for (recording, about) in absent {
            self.report.recordings_absent.push(printable::name(recording));
            let let_go = self.destroyed.contains(recording) || self.expired.contains(recording);
            if !let_go && self.had_to_be_here(&manifest.selection, recording, about) {
                let reason = "its session ended and it is not here, and no entry here says that anybody let it go".to_owned();
                self.report.findings.push(Finding::RecordingDiffers { recording: printable::name(recording), reason });
            }
        }
    }

    /// Whether a recording's session is one of those that were asked for, and had ended. An export also tells of others on the same grant.
    fn had_to_be_here(&self, selection: &str, recording: &str, about: &About) -> bool {
        let Some(ended) = self.ended.get(recording) else { return false };
        match selection.split_once(' ') {
            Some(("session", id)) => about.session == id,
            Some(("person", id)) => about.person == id,
            Some(("resource", name)) => about.resource == name,
            Some(("period", bounds)) => bounds
                .split_once(" to ")
                .and_then(|(from, until)| Some((from.parse::<Timestamp>().ok()?, until.parse::<Timestamp>().ok()?)))
                .is_some_and(|(from, until)| about.started < until && *ended >= from),
            _ => false,
        }
    }

    /// Opens every chunk with the released keys; how many frames there are.
    fn open<F: Read + Seek>(&mut self, bundle: &mut Bundle<F>, part: &str, keys: &KeyLine) -> io::Result<Option<u64>> {
        let key = |text: &Option<String>| text.as_deref().and_then(crate::hexadecimal::decode).map(DataKey::from_bytes);
        let released = ReleasedKeys { output: key(&keys.output), input: key(&keys.input) };
        if released.output.is_none() != keys.output.is_none() || released.input.is_none() != keys.input.is_none() {
            self.altered(parts::KEYS, "a key in it is not 32 bytes in lower-case hexadecimal");
        }
        if released.output.is_none() && released.input.is_none() {
            return Ok(None);
        }
        let Some(content) = bundle.stream(part)? else { return Ok(None) };
        let reader = match RecordingReader::with_keys(content, released) {
            Ok(reader) => reader,
            Err(e) => {
                self.altered(parts::KEYS, e.to_string());
                return Ok(None);
            }
        };
        let mut frames = 0;
        let mut failed = None;
        for frame in reader {
            match frame {
                Ok(_) => frames += 1,
                Err(e) => failed = failed.or(Some(e.to_string())),
            }
        }
        if let Some(reason) = failed {
            self.altered(part, reason);
        }
        Ok(Some(frames))
    }
}
