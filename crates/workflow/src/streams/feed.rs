//! What a stream sends next: the lines of entries from a place in the log on, and behind the end of a session what was done in it.
//!
//! INVARIANT: whoever goes on in the middle of an entry goes on behind the very lines that were taken. Where they are others by now (a text
//! was erased, a recording is gone) the entry is sent anew: something may come twice, nothing is passed over.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use access::entry::Entry;
use access::event::{Actor, Event};
use access::ids::{GrantId, PrincipalId, SessionId};
use access::reason::{Reason, Refusal};
use access::session::SessionRow;
use evidence::lines::{Done, LineWriter};
use evidence::ocsf::{self, Known, Right};
use evidence::parts::{ascii, parts};
use evidence::recording::header::{self, HeaderError, KeyState, Opening};
use evidence::recording::{About, ReadError, RecordingReader};
use notify::stream::Line;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use store::{LoggedEntry, StreamRow};

use super::{BATCH, Sink, Stream};
use crate::gate::{Gate, unavailable};
use crate::watch::{DESTROYED, end_of};

/// Entries that are read at once.
const ENTRIES: u32 = 500;
/// Frames of a recording that are looked at before others have their turn.
const FRAMES: usize = 2_000;
/// Ids of which it is remembered what they stand for.
const MOST_KNOWN: usize = 20_000;

/// A place in what is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The entry's place in the log.
    index: u64,
    /// How many of that entry's lines come before.
    lines: u64,
    /// What those come to: a chain of digests over them.
    before: [u8; 32],
}

impl Place {
    /// Where a stream stands.
    pub(super) fn of(row: &StreamRow) -> Self {
        let before = hex::decode(&row.mark).ok().and_then(|mark| mark.try_into().ok());
        Self { index: row.next, lines: row.line, before: before.unwrap_or_default() }
    }

    /// The beginning of an entry.
    fn begins(index: u64) -> Self {
        Self { index, ..Self::default() }
    }

    fn behind(&self, line: &str) -> Self {
        let before = Sha256::new().chain_update(self.before).chain_update(line).finalize().into();
        Self { index: self.index, lines: self.lines + 1, before }
    }

    /// The entry's place and the line there.
    pub(super) fn at(&self) -> (u64, u64) {
        (self.index, self.lines)
    }

    /// What the lines before come to, as it is kept.
    pub(super) fn mark(&self) -> String {
        if self.lines == 0 { String::new() } else { hex::encode(self.before) }
    }
}

/// Who reads for a stream. Losing it loses nothing: what it held is read again.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// Where the next batch begins, if this is the feed for it.
    at: Option<Place>,
    /// What was read and not handed over yet, with where each line is from.
    ready: VecDeque<(Place, Line)>,
    /// Where the line that is read next is from.
    next: Place,
    /// Until where the lines of the first entry were taken already.
    taken: Option<Place>,
    /// Whether that entry's lines are not those that were taken.
    differs: bool,
    /// Entries from there on.
    entries: VecDeque<LoggedEntry>,
    /// The recording that is being read, of the entry at this place.
    open: Option<Box<Open>>,
    /// What was given as a batch, until it is taken.
    given: usize,
    /// Where the batch that was given ends.
    end: Place,
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
    /// Where the first of them is from.
    pub(super) first: (u64, u64),
    /// Where the last of them is from.
    pub(super) last: (u64, u64),
    /// Where the next batch begins.
    pub(super) until: Place,
    /// Whether it is as much as one batch takes.
    pub(super) full: bool,
}

impl Feed {
    /// One for what follows a place.
    fn standing_at(place: &Place) -> Self {
        let taken = (place.lines > 0).then(|| place.clone());
        Self { at: Some(place.clone()), next: Place::begins(place.index), taken, ..Self::default() }
    }

    /// The same without what was said to be taken of its first entry.
    fn anew(&mut self) {
        let Some(place) = self.at.take() else { return };
        *self = Self { at: Some(place.clone()), next: Place::begins(place.index), ..Self::default() };
    }

    /// What was given was taken.
    pub(super) fn taken(&mut self) {
        self.ready.drain(..self.given.min(self.ready.len()));
        self.given = 0;
        self.at = Some(self.end.clone());
    }

    fn bytes(&self) -> usize {
        self.ready.iter().map(|(_, line)| line.json.len()).sum()
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= BATCH.0 || self.bytes() >= BATCH.1
    }

    /// The next line of the entry that is read, unless it was taken already.
    fn add(&mut self, line: Line) {
        let behind = self.next.behind(&line.json);
        let place = std::mem::replace(&mut self.next, behind);
        let Some(taken) = &self.taken else { return self.ready.push_back((place, line)) };
        if self.next.lines == taken.lines {
            self.differs = self.next != *taken;
            self.taken = None;
        }
    }

    /// That was all of an entry.
    fn entry_ends(&mut self) {
        // It had more lines when some of them were taken.
        self.differs |= self.taken.is_some();
        self.next = Place::begins(self.next.index + 1);
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
        let from = |nth: usize| self.ready.get(nth).map(|(place, _)| place);
        let (first, last) = (from(0).unwrap_or(&self.next).at(), from(count.saturating_sub(1)).unwrap_or(&self.next).at());
        let until = from(count).unwrap_or(&self.next).clone();
        self.end = until.clone();
        Next { lines: self.ready.iter().take(count).map(|(_, line)| line.clone()).collect(), first, last, until, full }
    }
}

impl Gate {
    /// The lines of a stream from a place on: of the entry there, without those that were taken if they still are the same.
    pub(super) async fn read_on(&self, stream: &Stream, feed: &mut Feed, from: &Place) -> Result<Next, Refusal> {
        if feed.at.as_ref() != Some(from) {
            *feed = Feed::standing_at(from);
        }
        while feed.differs || !feed.is_full() {
            if feed.differs {
                tracing::warn!(stream = stream.name, entry = from.index, "an entry changed while it was sent; it is sent again, all of it");
                feed.anew();
            }
            if let Some(open) = feed.open.take() {
                let (open, read, over) = read_activity(stream, open).await?;
                for line in read {
                    feed.add(line);
                }
                if over {
                    feed.entry_ends();
                } else {
                    feed.open = Some(open);
                }
                continue;
            }
            let Some(logged) = self.next_entry(feed).await? else { break };
            let mut writer = match feed.writer.take() {
                Some(writer) => writer,
                None => LineWriter::new(stream.form, Vec::new()).map_err(unwritten)?,
            };
            self.learn(writer.known(), &logged.entry).await?;
            writer.entry_at(&logged.entry, logged.index).map_err(unwritten)?;
            for line in shaped(stream, &logged.entry, writer.take()) {
                feed.add(line);
            }
            let ended = if let Event::SessionEnded { session, .. } = logged.entry.event { Some(session) } else { None };
            let wanted = ended.filter(|_| stream.activity).map(|session| (session, writer.known().clone()));
            feed.writer = Some(writer);
            let activity = match wanted {
                Some((session, known)) => self.opened(stream, session, known).await?,
                None => Activity::None,
            };
            match activity {
                Activity::Open(open) => {
                    feed.open = Some(open);
                    continue;
                }
                Activity::Absent(line) => feed.add(line),
                Activity::None => {}
            }
            feed.entry_ends();
        }
        Ok(feed.batch())
    }

    async fn next_entry(&self, feed: &mut Feed) -> Result<Option<LoggedEntry>, Refusal> {
        let index = feed.next.index;
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

    /// The recording of a session that ended, opened at its beginning. Absent is what never can be read again; what cannot be read at this
    /// moment is a failure, so that it is tried again.
    async fn opened(&self, stream: &Stream, session: SessionId, known: Known) -> Result<Activity, Refusal> {
        let Some(row) = self.store.session(session).await.map_err(unavailable)? else { return Ok(Activity::None) };
        let path = self.recording_path(row.recording);
        let absent = |why: &str| {
            let mut out = LineWriter::new(stream.form, Vec::new()).map_err(unwritten)?.knowing(known.clone());
            out.absent(&session.to_string(), &row.person.to_string(), row.opened_at, why).map_err(unwritten)?;
            let json = String::from_utf8(out.take()).unwrap_or_default().trim_end().to_owned();
            Ok(Activity::Absent(Line { at: row.opened_at, event: "recording.absent".to_owned(), severity: 3, json }))
        };
        let opening = match opening_of(&path) {
            // INVARIANT: what is merely not there at this moment is not left out.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.was_let_go(row.recording).await? => return absent(LET_GO),
            Err(error) => return Err(unread(error)),
            Ok(Ok(opening)) if opening.key_state() == KeyState::Destroyed => return absent(DESTROYED),
            Ok(Ok(opening)) => opening,
            Ok(Err(why)) => return absent(&why),
        };
        let keys = self.unwrapped(&opening, false)?;
        let opened = File::open(&path).map_err(unread)?;
        let reader = match RecordingReader::with_keys(BufReader::new(opened), keys) {
            Ok(reader) => reader.ending_at(end_of(&row)),
            Err(ReadError::Io(error) | ReadError::Header(HeaderError::Io(error))) => return Err(unread(error)),
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

/// What is said of a recording whose file is gone for good.
const LET_GO: &str = "it was kept for as long as it had to be, and its file is gone";

/// What stands before a recording's chunks, or why there never will be any.
fn opening_of(path: &Path) -> std::io::Result<Result<Opening, String>> {
    match header::read(&mut File::open(path)?) {
        Err(HeaderError::Io(error)) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error),
        read => Ok(read.map_err(|why| why.to_string())),
    }
}

fn unread(error: std::io::Error) -> Refusal {
    Refusal::because(Reason::Internal, format!("a recording cannot be read: {error}"))
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
            let frame = match frame {
                // What follows nobody knows: the entry is read again.
                Err(ReadError::Io(error)) => return Err(error),
                frame => frame,
            };
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
    read.await.map_err(|_| Refusal::of(Reason::Internal))?.map_err(unread)
}

/// What a written activity is called.
fn event_of(line: &[u8]) -> String {
    let value: Value = serde_json::from_slice(line).unwrap_or_default();
    let name = value.get("event").or_else(|| value.get("message")).and_then(Value::as_str);
    name.unwrap_or("activity").chars().filter(char::is_ascii_graphic).take(64).collect()
}
