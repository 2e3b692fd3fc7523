//! A passive reader of SFTP version 3 (draft-ietf-secsh-filexfer-02, and OpenSSH's `PROTOCOL` for its extensions).
//!
//! It sees both directions as they pass, without waiting for whole files: which operations there were, how they ended, and for each file
//! how much was read and written and, if that was all of it in order, its digest. Where only reading is allowed it takes out requests that write
//! and answers them itself. No input or output, no clock; what it keeps is bounded.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde_json::Value;

use super::sftp_files::{Files, OpenFile};
use super::sftp_packets::{
    ATTRS, CLOSE, DATA, EXTENDED, EXTENDED_REPLY, Event, FSETSTAT, FSTAT, Framer, HANDLE, INIT, LSTAT, MKDIR, NAME, Nonsense, OPEN,
    OPENDIR, READ, READDIR, READLINK, REALPATH, REMOVE, RENAME, RMDIR, Reader, SETSTAT, STAT, STATUS, SYMLINK, VERSION, Verdict, WRITE,
    status,
};
use super::sftp_pending::{Act, Pending, WRITES, opened, outcome, shown};

/// Requests without answer, at most.
const OUTSTANDING: usize = 8192;
/// Bytes of their paths and handles, at most.
const HELD: usize = 1 << 20;

/// Those after which the file holds what is written now and nothing else: truncate, exclusive.
const ANEW: u32 = 0x10 | 0x20;
/// A transfer that goes on leaves a note whenever so much has passed …
pub(crate) const OFTEN: u64 = 64 << 20;
/// … or so many microseconds have.
pub(crate) const SELDOM: u64 = 10_000_000;
const EOF: u32 = 1;
const PERMISSION_DENIED: u32 = 3;
const FAILURE: u32 = 4;

/// Extensions that change nothing.
const HARMLESS: &[&[u8]] = &[
    b"statvfs@openssh.com",
    b"fstatvfs@openssh.com",
    b"limits@openssh.com",
    b"expand-path@openssh.com",
    b"home-directory",
    b"users-groups-by-id@openssh.com",
];

/// What comes of some bytes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// To be forwarded.
    pub(crate) on: Vec<Bytes>,
    /// Packets to be sent back.
    pub(crate) back: Vec<Bytes>,
    /// What was done, for the recording.
    pub(crate) operations: Vec<Value>,
}

/// How far both sides are in agreeing on a version. Nothing else passes before, since other versions order their fields differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    Awaited,
    Asked,
    Done,
}

/// Reads one SFTP connection.
#[derive(Debug)]
pub(crate) struct Observer {
    writable: bool,
    greeting: Greeting,
    up: Framer,
    down: Framer,
    pending: HashMap<u32, Pending>,
    /// Bytes kept for what is pending.
    held: usize,
    files: Files,
    /// Replies of our own that wait for the end of a packet.
    waiting: VecDeque<Bytes>,
    /// Content that has passed since transfers that go on were last told of, and when that was.
    moved: u64,
    told_at_us: u64,
}

impl Observer {
    /// `writable` says whether writing is allowed.
    pub(crate) fn new(writable: bool) -> Self {
        Self {
            writable,
            greeting: Greeting::Awaited,
            up: Framer::default(),
            down: Framer::default(),
            pending: HashMap::new(),
            held: 0,
            files: Files::default(),
            waiting: VecDeque::new(),
            moved: 0,
            told_at_us: 0,
        }
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    /// They are no SFTP. Nothing more may be forwarded.
    pub(crate) fn up(&mut self, bytes: Bytes) -> Result<Seen, Nonsense> {
        let mut seen = Seen::default();
        let mut up = std::mem::take(&mut self.up);
        let result = up.feed(bytes, &mut seen.on, &mut |event| self.request(event, &mut seen.back, &mut seen.operations));
        self.up = up;
        result.map(|()| seen)
    }

    /// Takes bytes from the target.
    ///
    /// # Errors
    /// They are no SFTP. Nothing more may be forwarded.
    pub(crate) fn down(&mut self, bytes: Bytes) -> Result<Seen, Nonsense> {
        let mut seen = Seen::default();
        let mut down = std::mem::take(&mut self.down);
        let result = down.feed(bytes, &mut seen.on, &mut |event| self.answer(event, &mut seen.operations));
        self.down = down;
        if result.is_ok() && self.down.is_between_packets() {
            seen.on.extend(self.waiting.drain(..));
        }
        result.map(|()| seen)
    }

    /// A reply of our own to the client: what to send now. It waits while a packet of the target is under way.
    pub(crate) fn inject(&mut self, reply: Bytes) -> Vec<Bytes> {
        if self.down.is_between_packets() {
            vec![reply]
        } else {
            self.waiting.push_back(reply);
            Vec::new()
        }
    }

    /// The channel is closed: what is known of files that were never closed, and of requests whose answer never passed.
    pub(crate) fn finish(&mut self) -> Vec<Value> {
        let mut left: Vec<Value> = self.files.drain().map(|file| file.report("unclosed")).collect();
        left.extend(self.pending.drain().filter_map(|(_, pending)| pending.unanswered()));
        left
    }

    /// What there is to tell at this time of transfers that go on. The end of a large file is long in coming, and a gate that dies before it
    /// would leave no word of what had passed.
    pub(crate) fn under_way(&mut self, at_us: u64) -> Vec<Value> {
        if !self.files.is_empty() && self.moved < OFTEN && at_us.saturating_sub(self.told_at_us) < SELDOM {
            return Vec::new();
        }
        (self.moved, self.told_at_us) = (0, at_us);
        self.files.all().filter_map(OpenFile::under_way).collect()
    }

    fn wait(&mut self, id: u32, pending: Pending) -> Result<(), Nonsense> {
        self.held += pending.held();
        if self.pending.len() >= OUTSTANDING || self.held > HELD {
            return Err(Nonsense::TooMany);
        }
        match self.pending.insert(id, pending) {
            None => Ok(()),
            Some(_) => Err(Nonsense::IdInUse(id)),
        }
    }

    /// A request: forward it, or answer it here.
    fn request(&mut self, event: Event<'_>, back: &mut Vec<Bytes>, operations: &mut Vec<Value>) -> Result<Verdict, Nonsense> {
        let (kind, body) = match event {
            Event::Packet { kind, body } => (kind, body),
            Event::Body { owner: (handle, offset), data } => {
                self.moved += data.len() as u64;
                if let Some(file) = self.files.get(&handle) {
                    file.written.take(offset, data);
                }
                return Ok(Verdict::Pass(None));
            }
        };
        let mut r = Reader(body);
        let id = r.u32()?;
        if kind == INIT {
            return match std::mem::replace(&mut self.greeting, Greeting::Asked) {
                Greeting::Awaited => Ok(Verdict::Pass(None)),
                Greeting::Asked | Greeting::Done => Err(Nonsense::Order),
            };
        }
        if self.greeting != Greeting::Done {
            return Err(Nonsense::Order);
        }
        if self.waiting.len() >= OUTSTANDING {
            return Err(Nonsense::TooMany);
        }
        if let Some((act, path)) = self.forbidden(kind, r)? {
            operations.push(serde_json::json!({"kind": "sftp.refused", "act": act, "path": path}));
            back.push(status(id, PERMISSION_DENIED, "your role may only read files here"));
            return Ok(Verdict::Drop);
        }
        let Some(pending) = self.understand(kind, r)? else {
            back.push(status(id, FAILURE, "no file is open under this handle"));
            return Ok(Verdict::Drop);
        };
        let owner = match (&pending, kind) {
            (Pending::Write { handle }, WRITE) => {
                r.string()?;
                Some((handle.clone(), r.u64()?))
            }
            _ => None,
        };
        // INVARIANT: what opens or changes something stands in the recording before the target is asked.
        operations.extend(pending.asked());
        self.wait(id, pending)?;
        Ok(Verdict::Pass(owner))
    }

    /// What is asked for; `None` for content of a file that is not open as far as was seen. A handle that was only guessed, or that is being
    /// closed, would let content pass that belongs to no file here, or to a digest although it never reaches the file.
    fn understand(&mut self, kind: u8, mut r: Reader<'_>) -> Result<Option<Pending>, Nonsense> {
        let pending = match kind {
            OPEN => {
                let (path, flags) = (shown(r.string()?), r.u32()?);
                r.attributes()?;
                Pending::Open { path, flags }
            }
            CLOSE => {
                let handle = r.handle()?;
                if let Some(file) = self.files.get(&handle) {
                    file.closing = true;
                }
                Pending::Close { handle }
            }
            READ => {
                let (handle, offset, length) = (r.handle()?, r.u64()?, r.u32()?);
                if self.files.open(&handle).is_none() {
                    return Ok(None);
                }
                Pending::Read { handle, offset, length }
            }
            WRITE => {
                let handle = r.handle()?;
                if self.files.open(&handle).is_none() {
                    return Ok(None);
                }
                Pending::Write { handle }
            }
            SETSTAT => Pending::Act(self.set_attributes(r)?),
            FSETSTAT => {
                let handle = r.handle()?;
                let size = r.attributes()?;
                let file = self.files.get(&handle);
                let path = file.as_ref().map(|file| file.path.clone()).unwrap_or_default();
                let act = Act { act: "setstat", path, to: None, size };
                match (size, file) {
                    (Some(size), Some(file)) => {
                        // `scp` writes over what is there, and cuts off what is left of it.
                        file.written.disturbed(!file.written.ends_at(size));
                        Pending::Size { handle, size, act }
                    }
                    _ => Pending::Act(act),
                }
            }
            OPENDIR => Pending::Act(Act::on("list", r.string()?)),
            REMOVE => Pending::Act(Act::on("remove", r.string()?)),
            MKDIR => {
                let path = r.string()?;
                r.attributes()?;
                Pending::Act(Act::on("mkdir", path))
            }
            RMDIR => Pending::Act(Act::on("rmdir", r.string()?)),
            RENAME => Pending::Act(Act::between("rename", r.string()?, r.string()?)),
            // OpenSSH sends the link's target first.
            SYMLINK => Pending::Act(Act::between("symlink", r.string()?, r.string()?)),
            // Looking leaves no event: listing a directory does.
            FSTAT | READDIR => {
                r.handle()?;
                Pending::Look
            }
            LSTAT | STAT | REALPATH | READLINK => {
                r.string()?;
                Pending::Look
            }
            EXTENDED => return self.extension(r),
            kind => return Err(Nonsense::Kind(kind)),
        };
        Ok(Some(pending))
    }

    fn extension(&mut self, mut r: Reader<'_>) -> Result<Option<Pending>, Nonsense> {
        let act = match r.string()? {
            b"posix-rename@openssh.com" => Act::between("rename", r.string()?, r.string()?),
            b"hardlink@openssh.com" => Act::between("hardlink", r.string()?, r.string()?),
            b"lsetstat@openssh.com" => self.set_attributes(r)?,
            // From one open file into another, without passing here.
            b"copy-data" => {
                let from = r.handle()?;
                r.u64()?;
                r.u64()?;
                let to = r.handle()?;
                let Some(path) = self.files.open(&from).map(|file| file.path.clone()) else { return Ok(None) };
                let Some(file) = self.files.open(&to) else { return Ok(None) };
                file.written.disturbed(true);
                Act { act: "copy", path, to: Some(file.path.clone()), size: None }
            }
            name if HARMLESS.contains(&name) || name == b"fsync@openssh.com" => return Ok(Some(Pending::Look)),
            name => Act::on("extension", name),
        };
        Ok(Some(Pending::Act(act)))
    }

    fn set_attributes(&mut self, mut r: Reader<'_>) -> Result<Act, Nonsense> {
        let mut act = Act::on("setstat", r.string()?);
        act.size = r.attributes()?;
        if act.size.is_some() {
            // By whatever path: it may be one of the open files.
            self.files.all().for_each(|file| file.written.disturbed(true));
        }
        Ok(act)
    }

    /// What this request would change, if changing is not allowed.
    fn forbidden(&mut self, kind: u8, mut r: Reader<'_>) -> Result<Option<(&'static str, String)>, Nonsense> {
        if self.writable {
            return Ok(None);
        }
        let act = match kind {
            OPEN => {
                let path = shown(r.string()?);
                return Ok((r.u32()? & WRITES != 0).then_some(("open for writing", path)));
            }
            WRITE | FSETSTAT => {
                let handle = r.handle()?;
                let path = self.files.get(&handle).map(|f| f.path.clone()).unwrap_or_default();
                return Ok(Some((if kind == WRITE { "write" } else { "setstat" }, path)));
            }
            SETSTAT => "setstat",
            REMOVE => "remove",
            MKDIR => "mkdir",
            RMDIR => "rmdir",
            RENAME => "rename",
            SYMLINK => "symlink",
            EXTENDED => {
                let name = r.string()?;
                return Ok((!HARMLESS.contains(&name)).then(|| ("extension", shown(name))));
            }
            // Requests that only look; and what is none of these is no request.
            CLOSE | READ | LSTAT | FSTAT | OPENDIR | READDIR | REALPATH | STAT | READLINK => return Ok(None),
            kind => return Err(Nonsense::Kind(kind)),
        };
        Ok(Some((act, shown(r.string()?))))
    }

    fn answer(&mut self, event: Event<'_>, operations: &mut Vec<Value>) -> Result<Verdict, Nonsense> {
        let (kind, body) = match event {
            Event::Packet { kind, body } => (kind, body),
            Event::Body { owner: (handle, offset), data } => {
                self.moved += data.len() as u64;
                if let Some(file) = self.files.get(&handle) {
                    file.read.take(offset, data);
                }
                return Ok(Verdict::Pass(None));
            }
        };
        let mut r = Reader(body);
        let id = r.u32()?;
        if kind == VERSION {
            if self.greeting != Greeting::Asked {
                return Err(Nonsense::Order);
            }
            if id != 3 {
                return Err(Nonsense::Version(id));
            }
            r.strings_to_the_end()?;
            self.greeting = Greeting::Done;
            return Ok(Verdict::Pass(None));
        }
        let Some(pending) = self.pending.remove(&id) else { return Err(Nonsense::Unasked(id)) };
        self.held = self.held.saturating_sub(pending.held());
        match (kind, pending) {
            (HANDLE, Pending::Open { path, flags }) => {
                let file = OpenFile::new(path, flags & WRITES != 0, flags & ANEW != 0);
                self.files.insert(r.handle()?, file)?;
            }
            (HANDLE, Pending::Act(act)) => operations.push(act.event("ok")),
            (DATA, Pending::Read { handle, offset, length }) => {
                if r.u32()? > length {
                    return Err(Nonsense::Unasked(id));
                }
                return Ok(Verdict::Pass(Some((handle, offset))));
            }
            (NAME, Pending::Look) => {
                for _ in 0..r.u32()? {
                    r.string()?;
                    r.string()?;
                    r.attributes()?;
                }
            }
            (ATTRS, Pending::Look) => {
                r.attributes()?;
            }
            (EXTENDED_REPLY, Pending::Act(act)) => operations.push(act.event("ok")),
            (EXTENDED_REPLY, Pending::Look) => {}
            (STATUS, pending) => {
                let code = r.u32()?;
                r.strings_to_the_end()?;
                self.ended(pending, code, operations);
            }
            (HANDLE | DATA | NAME | ATTRS | EXTENDED_REPLY, _) => return Err(Nonsense::Unasked(id)),
            (kind, _) => return Err(Nonsense::Kind(kind)),
        }
        Ok(Verdict::Pass(None))
    }

    /// A request was answered with a status.
    fn ended(&mut self, pending: Pending, code: u32, operations: &mut Vec<Value>) {
        match pending {
            Pending::Open { path, flags } => operations.push(opened(path, flags).event(outcome(code))),
            Pending::Close { handle } => {
                if let Some(file) = self.files.remove(&handle) {
                    operations.push(file.report(outcome(code)));
                }
            }
            Pending::Read { handle, offset, .. } => {
                if let Some(file) = self.files.get(&handle) {
                    if code == EOF { file.read.ended(offset) } else { file.read.failed() }
                }
            }
            Pending::Write { handle } => {
                if code != 0
                    && let Some(file) = self.files.get(&handle)
                {
                    file.written.failed();
                }
            }
            Pending::Act(act) => operations.push(act.event(outcome(code))),
            Pending::Size { handle, size, act } => {
                if let Some(file) = self.files.get(&handle)
                    && code == 0
                {
                    file.holds_only_what_is_written(size);
                }
                operations.push(act.event(outcome(code)));
            }
            Pending::Look => {}
        }
    }
}

#[cfg(test)]
#[path = "sftp_tests.rs"]
mod tests;
