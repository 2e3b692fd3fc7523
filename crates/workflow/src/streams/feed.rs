//! What a stream sends next: the lines of entries from a place in the log on, and behind the end of a session what was done in it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;

use access::entry::Entry;
use access::event::{Actor, Event};
use access::ids::{GrantId, PrincipalId, SessionId};
use access::reason::{Reason, Refusal};
use access::session::SessionRow;
use evidence::lines::{Done, LineWriter};
use evidence::ocsf::{self, Known, Right};
use evidence::parts::{ascii, parts};
use evidence::recording::{About, RecordingReader};
use notify::stream::Line;
use serde_json::Value;
use store::LoggedEntry;

use super::{BATCH, Sink, Stream};
use crate::gate::{Gate, unavailable};
use crate::watch::end_of;

/// Entries that are read at once.
const ENTRIES: u32 = 500;
/// Frames of a recording that are looked at before others have their turn.
const FRAMES: usize = 2_000;
/// Ids of which it is remembered what they stand for.
const MOST_KNOWN: usize = 20_000;

/// Who reads for a stream. Losing it loses nothing: what it held is read again.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Where the next batch begins, if this is the feed for it.
    at: Option<(u64, u64)>,
    /// What was read and not handed over yet, with where each line is from.
    ready: VecDeque<((u64, u64), Line)>,
    /// The place of the entry that is read next.
    next: u64,
    /// Entries from there on.
    entries: VecDeque<LoggedEntry>,
    /// The recording that is being read, of the entry at this place, and how many lines came of that entry.
    open: Option<(u64, u64, Box<Open>)>,
    /// What was given as a batch, until it is taken.
    given: usize,
    /// Where the batch that was given ends.
    end: (u64, u64),
    /// What writes entries, and what it knows by now.
    writer: Option<LineWriter<Vec<u8>>>,
}

struct Open {
    about: About,
    done: Done,
    reader: RecordingReader<BufReader<File>>,
    writer: LineWriter<Vec<u8>>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("recording", &self.about.recording).finish_non_exhaustive()
    }
}

/// A batch's worth.
pub(super) struct Next {
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// Where the next one begins.
    pub(super) until: (u64, u64),
    /// Whether it is as much as one batch takes.
    pub(super) full: bool,
}

impl Feed {
    /// What was given was taken.
    pub(super) fn taken(&mut self) {
        self.ready.drain(..self.given.min(self.ready.len()));
        self.given = 0;
        self.at = Some(self.end);
    }

    /// Where reading has come to.
    fn read_to(&self) -> (u64, u64) {
        self.open.as_ref().map_or((self.next, 0), |(index, lines, _)| (*index, *lines))
    }

    fn bytes(&self) -> usize {
        self.ready.iter().map(|(_, line)| line.json.len()).sum()
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= BATCH.0 || self.bytes() >= BATCH.1
    }

    /// A line, unless it stands before where the batch begins.
    fn add(&mut self, from: (u64, u64), place: (u64, u64), line: Line) {
        if place >= from {
            self.ready.push_back((place, line));
        }
    }

    /// The part of what is ready that one batch takes.
    fn batch(&mut self) -> Next {
        let (mut count, mut bytes) = (0, 0);
        for (_, line) in &self.ready {
            bytes += line.json.len();
            if count > 0 && (count >= BATCH.0 || bytes > BATCH.1) {
                break;
            }
            count += 1;
        }
        let full = self.is_full();
        self.given = count;
        self.end = self.ready.get(count).map_or_else(|| self.read_to(), |(place, _)| *place);
        Next { lines: self.ready.iter().take(count).map(|(_, line)| line.clone()).collect(), until: self.end, full }
    }
}

impl Gate {
    /// The lines of a stream from a place on: of the entry there, without those that were taken.
    pub(super) async fn read_on(&self, stream: &Stream, feed: &mut Feed, from: (u64, u64)) -> Result<Next, Refusal> {
        if feed.at != Some(from) {
            *feed = Feed { at: Some(from), next: from.0, ..Feed::default() };
        }
        while !feed.is_full() {
            if let Some((index, mut lines, open)) = feed.open.take() {
                let (open, read, over) = read_activity(stream, open).await?;
                for line in read {
                    feed.add(from, (index, lines), line);
                    lines += 1;
                }
                if !over {
                    feed.open = Some((index, lines, open));
                }
                continue;
            }
            let Some(logged) = self.next_entry(feed).await? else { break };
            let index = feed.next;
            feed.next += 1;
            let mut writer = match feed.writer.take() {
                Some(writer) => writer,
                None => LineWriter::new(stream.form, Vec::new()).map_err(unwritten)?,
            };
            self.learn(writer.known(), &logged.entry).await?;
            writer.entry_at(&logged.entry, logged.index).map_err(unwritten)?;
            let mut lines = 0;
            for line in shaped(stream, &logged.entry, writer.take()) {
                feed.add(from, (index, lines), line);
                lines += 1;
            }
            let ended = if let Event::SessionEnded { session, .. } = logged.entry.event { Some(session) } else { None };
            let wanted = ended.filter(|_| stream.activity).map(|session| (session, writer.known().clone()));
            feed.writer = Some(writer);
            let Some((session, known)) = wanted else { continue };
            match self.opened(stream, session, known).await? {
                Activity::Open(open) => feed.open = Some((index, lines, open)),
                Activity::Absent(line) => feed.add(from, (index, lines), line),
                Activity::None => {}
            }
        }
        Ok(feed.batch())
    }

    async fn next_entry(&self, feed: &mut Feed) -> Result<Option<LoggedEntry>, Refusal> {
        let index = feed.next;
        if feed.entries.front().and_then(|logged| logged.index) != Some(index) {
            feed.entries = self.store.entries_from(index, ENTRIES).await.map_err(unavailable)?.into();
        }
        match feed.entries.front().and_then(|logged| logged.index) {
            Some(found) if found != index => {
                Err(Refusal::because(Reason::Internal, format!("the log has no entry {index}; run `tidegate audit replay`")))
            }
            _ => Ok(feed.entries.pop_front()),
        }
    }

    /// Adds what the ids in an entry stand for.
    pub(crate) async fn learn(&self, known: &mut Known, entry: &Entry) -> Result<(), Refusal> {
        if known.people.len() + known.sessions.len() + known.grants.len() > MOST_KNOWN {
            *known = Known::default();
        }
        let fields = serde_json::to_value(&entry.event).unwrap_or_default();
        let named = |name: &str| fields.get(name).and_then(Value::as_str);
        if let Some(id) = named("session").and_then(|id| id.parse::<SessionId>().ok())
            && !known.sessions.contains_key(&id)
            && let Some(row) = self.store.session(id).await.map_err(unavailable)?
        {
            self.name(known, row.person).await?;
            known.sessions.insert(id, right(&row));
        }
        if let Some(id) = named("grant").and_then(|id| id.parse::<GrantId>().ok())
            && !known.grants.contains_key(&id)
            && let Some(row) = self.store.grant(id).await.map_err(unavailable)?
        {
            self.name(known, row.person).await?;
            known.grants.insert(id, Right { person: row.person, resource: row.resource, role: row.role, protocol: None });
        }
        if let Actor::Principal(id) = entry.actor {
            self.name(known, id).await?;
        }
        if let Some(id) = named("person").and_then(|id| id.parse::<PrincipalId>().ok()) {
            self.name(known, id).await?;
        }
        Ok(())
    }

    async fn name(&self, known: &mut Known, id: PrincipalId) -> Result<(), Refusal> {
        if !known.people.contains_key(&id)
            && let Some(person) = self.store.person(id).await.map_err(unavailable)?
        {
            known.people.insert(id, person.username);
        }
        Ok(())
    }

    /// The recording of a session that ended, opened at its beginning.
    async fn opened(&self, stream: &Stream, session: SessionId, known: Known) -> Result<Activity, Refusal> {
        let Some(row) = self.store.session(session).await.map_err(unavailable)? else { return Ok(Activity::None) };
        let path = self.recording_path(row.recording);
        let absent = |why: &str| {
            let mut out = LineWriter::new(stream.form, Vec::new()).map_err(unwritten)?.knowing(known.clone());
            out.absent(&session.to_string(), &row.person.to_string(), row.opened_at, why).map_err(unwritten)?;
            let json = String::from_utf8(out.take()).unwrap_or_default().trim_end().to_owned();
            Ok(Activity::Absent(Line { at: row.opened_at, event: "recording.absent".to_owned(), severity: 3, json }))
        };
        match tokio::fs::metadata(&path).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return absent("its file is not on this node"),
            Err(error) => return Err(Refusal::because(Reason::Internal, format!("a recording cannot be read: {error}"))),
        }
        let keys = match self.released_keys(row.recording, false) {
            Ok(keys) => keys,
            Err(why) => return absent(why.detail.as_deref().unwrap_or("it cannot be read")),
        };
        let opened =
            File::open(&path).map_err(|error| Refusal::because(Reason::Internal, format!("a recording cannot be read: {error}")))?;
        let reader = match RecordingReader::with_keys(BufReader::new(opened), keys) {
            Ok(reader) => reader.ending_at(end_of(&row)),
            Err(why) => return absent(&why.to_string()),
        };
        let about = reader.about().clone();
        let writer = LineWriter::new(stream.form, Vec::new()).map_err(unwritten)?.knowing(known);
        Ok(Activity::Open(Box::new(Open { done: Done::of(&about), about, reader, writer })))
    }
}

/// What there is of a session's activity.
enum Activity {
    /// A recording.
    Open(Box<Open>),
    /// None, and a line that says why.
    Absent(Line),
    /// Nothing is known of the session.
    None,
}

fn right(row: &SessionRow) -> Right {
    Right { person: row.person, resource: row.resource.clone(), role: row.role.clone(), protocol: Some(row.protocol) }
}

fn unwritten(error: std::io::Error) -> Refusal {
    Refusal::because(Reason::Internal, format!("a line cannot be written: {error}"))
}

/// An entry's line, in parts if it is long.
fn shaped(stream: &Stream, entry: &Entry, written: Vec<u8>) -> Vec<Line> {
    let (at, event) = (entry.at, entry.event.name());
    let severity = ocsf::severity(entry) as u8 + 1;
    cut(stream, written).into_iter().map(|json| Line { at, event: event.to_owned(), severity, json }).collect()
}

fn cut(stream: &Stream, written: Vec<u8>) -> Vec<String> {
    let json = String::from_utf8(written).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let json = json.trim_end_matches('\n');
    let json = if matches!(stream.sink, Sink::Syslog(_)) { ascii(json) } else { json.to_owned() };
    parts(json, stream.largest)
}

/// Reads on in a recording, beside everything else; whether that was the end of it.
async fn read_activity(stream: &Stream, mut open: Box<Open>) -> Result<(Box<Open>, Vec<Line>, bool), Refusal> {
    let stream = stream.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        let mut bytes = 0;
        for _ in 0..FRAMES {
            let Some(frame) = open.reader.next() else { return Ok((open, lines, true)) };
            let damaged = frame.is_err();
            let Open { about, done, writer, .. } = &mut *open;
            if !writer.frame(about, done, frame)? {
                continue;
            }
            let written = writer.take();
            let event = event_of(&written);
            let (at, severity) = (open.done.at(), if damaged { 3 } else { 1 });
            for json in cut(&stream, written) {
                bytes += json.len();
                lines.push(Line { at, event: event.clone(), severity, json });
            }
            if bytes >= BATCH.1 {
                break;
            }
        }
        Ok::<_, std::io::Error>((open, lines, false))
    });
    read.await.map_err(|_| Refusal::of(Reason::Internal))?.map_err(unwritten)
}

/// What a written activity is called.
fn event_of(line: &[u8]) -> String {
    let value: Value = serde_json::from_slice(line).unwrap_or_default();
    let name = value.get("event").or_else(|| value.get("message")).and_then(Value::as_str);
    name.unwrap_or("activity").chars().filter(char::is_ascii_graphic).take(64).collect()
}
