//! A passive reader of SFTP version 3 (draft-ietf-secsh-filexfer-02, and OpenSSH's `PROTOCOL` for its extensions).
//!
//! It sees both directions as they pass, without waiting for whole files: which operations there were, how they ended, and for each file
//! how much was read and written and, if that was all of it in order, its digest. Where only reading is allowed it takes out requests that write
//! and answers them itself. No input or output, no clock; what it keeps is bounded.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::sftp_files::{Files, OpenFile};

/// The largest packet that is held to be read whole. OpenSSH's own limit.
const LARGEST: usize = 256 * 1024;
/// Requests without answer, at most.
const OUTSTANDING: usize = 8192;

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const RENAME: u8 = 18;
const SYMLINK: u8 = 20;
const EXTENDED: u8 = 200;
const INIT: u8 = 1;
const VERSION: u8 = 2;
const EXTENDED_REPLY: u8 = 201;
/// Requests that only look: close, read, lstat, fstat, opendir, readdir, realpath, stat, readlink.
const LOOKS: &[u8] = &[CLOSE, READ, 7, 8, OPENDIR, 12, 16, 17, 19];

const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;

/// Flags of `SSH_FXP_OPEN` that write: write, append, create, truncate.
const WRITES: u32 = 0x02 | 0x04 | 0x08 | 0x10;
const EOF: u32 = 1;
const PERMISSION_DENIED: u32 = 3;

/// Extensions that change nothing.
const HARMLESS: &[&[u8]] = &[
    b"statvfs@openssh.com",
    b"fstatvfs@openssh.com",
    b"limits@openssh.com",
    b"expand-path@openssh.com",
    b"home-directory",
    b"users-groups-by-id@openssh.com",
];

/// A stream that is not SFTP, or not within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Nonsense {
    #[error("a packet of {0} bytes; none may be larger than 256 KiB")]
    TooLarge(usize),
    #[error("a packet that ends too early")]
    Short,
    #[error("more than 8,192 requests without answer")]
    TooMany,
    #[error("more than 4,096 open files")]
    TooManyFiles,
    #[error("request {0} was sent again before it was answered")]
    IdInUse(u32),
    #[error("an answer to request {0}, which asked for something else or was never sent")]
    Unasked(u32),
    #[error("version {0} of SFTP; only version 3 can be read here")]
    Version(u32),
}

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

/// A request that waits for its answer.
#[derive(Debug)]
enum Pending {
    Open {
        path: String,
        flags: u32,
    },
    Close {
        handle: Bytes,
    },
    Read {
        handle: Bytes,
        offset: u64,
    },
    Write {
        handle: Bytes,
    },
    Act {
        act: &'static str,
        path: String,
        to: Option<String>,
    },
    /// Something that leaves no event, but whose answer must not be taken for another's.
    Look,
}

impl Pending {
    /// What is known of it when no answer passed.
    fn unanswered(self) -> Option<Value> {
        match self {
            Self::Open { path, flags } if flags & WRITES != 0 => Some(unanswered("open for writing", &path, None)),
            Self::Open { path, .. } => Some(unanswered("open for reading", &path, None)),
            Self::Act { act, path, to } => Some(unanswered(act, &path, to.as_deref())),
            Self::Close { .. } | Self::Read { .. } | Self::Write { .. } | Self::Look => None,
        }
    }
}

/// Reads one SFTP connection.
#[derive(Debug)]
pub(crate) struct Observer {
    writable: bool,
    up: Framer,
    down: Framer,
    pending: HashMap<u32, Pending>,
    files: Files,
    /// Replies of our own that wait for the end of a packet.
    waiting: VecDeque<Bytes>,
}

impl Observer {
    /// `writable` says whether writing is allowed.
    pub(crate) fn new(writable: bool) -> Self {
        Self {
            writable,
            up: Framer::default(),
            down: Framer::default(),
            pending: HashMap::new(),
            files: Files::default(),
            waiting: VecDeque::new(),
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

    fn wait(&mut self, id: u32, pending: Pending) -> Result<(), Nonsense> {
        if self.pending.len() >= OUTSTANDING {
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
            Event::Packet { kind, body } | Event::Bulk { kind, head: body } => (kind, body),
            Event::Body { owner: (handle, offset), data } => {
                if let Some(file) = self.files.get(&handle) {
                    file.written.take(offset, data);
                }
                return Ok(Verdict::Pass(None));
            }
        };
        if kind == INIT {
            return Ok(Verdict::Pass(None));
        }
        let mut r = Reader(body);
        let id = r.u32()?;
        if let Some((act, path)) = self.forbidden(kind, r)? {
            operations.push(serde_json::json!({"kind": "sftp.refused", "act": act, "path": path}));
            back.push(status(id, PERMISSION_DENIED, "your role may only read files here"));
            return Ok(Verdict::Drop);
        }
        let act = |act, path: &[u8], to: Option<&[u8]>| Pending::Act { act, path: shown(path), to: to.map(shown) };
        let pending = match kind {
            OPEN => Pending::Open { path: shown(r.string()?), flags: r.u32()? },
            CLOSE => Pending::Close { handle: r.owned()? },
            READ => Pending::Read { handle: r.owned()?, offset: r.u64()? },
            WRITE => {
                let (handle, offset) = (r.owned()?, r.u64()?);
                self.wait(id, Pending::Write { handle: handle.clone() })?;
                return Ok(Verdict::Pass(Some((handle, offset))));
            }
            SETSTAT => act("setstat", r.string()?, None),
            FSETSTAT => {
                let handle = r.owned()?;
                let path = self.files.get(&handle).map(|f| f.path.clone()).unwrap_or_default();
                Pending::Act { act: "setstat", path, to: None }
            }
            OPENDIR => act("list", r.string()?, None),
            REMOVE => act("remove", r.string()?, None),
            MKDIR => act("mkdir", r.string()?, None),
            RMDIR => act("rmdir", r.string()?, None),
            RENAME => act("rename", r.string()?, Some(r.string()?)),
            // OpenSSH sends the link's target first.
            SYMLINK => act("symlink", r.string()?, Some(r.string()?)),
            EXTENDED => match r.string()? {
                b"posix-rename@openssh.com" => act("rename", r.string()?, Some(r.string()?)),
                b"hardlink@openssh.com" => act("hardlink", r.string()?, Some(r.string()?)),
                b"lsetstat@openssh.com" => act("setstat", r.string()?, None),
                name if HARMLESS.contains(&name) || name == b"fsync@openssh.com" => Pending::Look,
                name => act("extension", name, None),
            },
            // Looking (stat, realpath, readdir, readlink) leaves no event: listing a directory does.
            _ => Pending::Look,
        };
        self.wait(id, pending)?;
        Ok(Verdict::Pass(None))
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
                let handle = r.owned()?;
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
            kind if LOOKS.contains(&kind) => return Ok(None),
            _ => return Ok(Some(("unknown", String::new()))),
        };
        Ok(Some((act, shown(r.string()?))))
    }

    fn answer(&mut self, event: Event<'_>, operations: &mut Vec<Value>) -> Result<Verdict, Nonsense> {
        let (kind, body) = match event {
            Event::Packet { kind, body } | Event::Bulk { kind, head: body } => (kind, body),
            Event::Body { owner: (handle, offset), data } => {
                if let Some(file) = self.files.get(&handle) {
                    file.read.take(offset, data);
                }
                return Ok(Verdict::Pass(None));
            }
        };
        let mut r = Reader(body);
        let id = r.u32()?;
        if kind == VERSION {
            // Other versions order their fields differently; what is read of them here would be wrong.
            return if id == 3 { Ok(Verdict::Pass(None)) } else { Err(Nonsense::Version(id)) };
        }
        let Some(pending) = self.pending.remove(&id) else { return Err(Nonsense::Unasked(id)) };
        if !matches!(kind, STATUS | HANDLE | DATA) {
            // Names, attributes, extended replies: their requests leave no event but extensions with a reply.
            return match pending {
                Pending::Act { act, path, to } if kind == EXTENDED_REPLY => {
                    operations.push(acted(act, &path, to.as_deref(), 0));
                    Ok(Verdict::Pass(None))
                }
                Pending::Look => Ok(Verdict::Pass(None)),
                _ => Err(Nonsense::Unasked(id)),
            };
        }
        match (kind, pending) {
            (HANDLE, Pending::Open { path, flags }) => {
                let handle = r.owned()?;
                if !self.files.insert(handle, OpenFile::new(path, flags & WRITES != 0)) {
                    return Err(Nonsense::TooManyFiles);
                }
            }
            (HANDLE, Pending::Act { act, path, to }) => operations.push(acted(act, &path, to.as_deref(), 0)),
            (DATA, Pending::Read { handle, offset }) => return Ok(Verdict::Pass(Some((handle, offset)))),
            (STATUS, pending) => {
                let code = r.u32()?;
                match pending {
                    Pending::Open { path, flags } => {
                        let act = if flags & WRITES == 0 { "open for reading" } else { "open for writing" };
                        operations.push(acted(act, &path, None, code));
                    }
                    Pending::Close { handle } => {
                        if let Some(file) = self.files.remove(&handle) {
                            operations.push(file.report(outcome(code)));
                        }
                    }
                    Pending::Read { handle, offset } => {
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
                    Pending::Act { act, path, to } => operations.push(acted(act, &path, to.as_deref(), code)),
                    Pending::Look => {}
                }
            }
            _ => return Err(Nonsense::Unasked(id)),
        }
        Ok(Verdict::Pass(None))
    }
}

fn unanswered(act: &str, path: &str, to: Option<&str>) -> Value {
    let mut value = acted(act, path, to, 0);
    if let Some(object) = value.as_object_mut() {
        object.insert("outcome".to_owned(), Value::from("unanswered"));
    }
    value
}

fn acted(act: &str, path: &str, to: Option<&str>, code: u32) -> Value {
    let mut value = serde_json::json!({"kind": "sftp", "act": act, "path": path, "outcome": outcome(code)});
    if let (Some(to), Some(object)) = (to, value.as_object_mut()) {
        object.insert("to".to_owned(), Value::from(to));
    }
    value
}

/// Names of `SSH_FX_…`.
fn outcome(code: u32) -> &'static str {
    match code {
        0 => "ok",
        1 => "end of file",
        2 => "no such file",
        3 => "permission denied",
        5 => "bad message",
        8 => "not supported",
        _ => "failed",
    }
}

/// A path as it stands in an event.
fn shown(path: &[u8]) -> String {
    let end = path.len().min(4096);
    String::from_utf8_lossy(path.get(..end).unwrap_or(path)).into_owned()
}

/// An `SSH_FXP_STATUS` packet.
fn status(id: u32, code: u32, message: &str) -> Bytes {
    let mut packet = BytesMut::new();
    let length = 1 + 4 + 4 + 4 + message.len() + 4;
    packet.extend_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
    packet.extend_from_slice(&[STATUS]);
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&code.to_be_bytes());
    packet.extend_from_slice(&u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    packet.extend_from_slice(message.as_bytes());
    packet.extend_from_slice(&0u32.to_be_bytes());
    packet.freeze()
}

/// Reads fields; every length is checked before it is believed.
#[derive(Debug, Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Nonsense> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Nonsense::Short)?;
        self.0 = rest;
        Ok(taken)
    }
    fn u32(&mut self) -> Result<u32, Nonsense> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| Nonsense::Short)
    }
    fn u64(&mut self) -> Result<u64, Nonsense> {
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| Nonsense::Short)
    }
    fn string(&mut self) -> Result<&'a [u8], Nonsense> {
        let length = self.u32()? as usize;
        self.take(length)
    }
    fn owned(&mut self) -> Result<Bytes, Nonsense> {
        self.string().map(Bytes::copy_from_slice)
    }
}

/// Whose bytes a bulk packet carries: file handle and offset.
type Owner = (Bytes, u64);

/// What a framer tells of.
enum Event<'a> {
    /// A whole packet, without its length and kind.
    Packet { kind: u8, body: &'a [u8] },
    /// The head of a packet that carries file content: all before the content.
    Bulk { kind: u8, head: &'a [u8] },
    /// Content of a bulk packet, as it arrives.
    Body { owner: Owner, data: &'a [u8] },
}

/// What to do with a packet.
enum Verdict {
    /// Forward it; content belongs to this file.
    Pass(Option<Owner>),
    /// Take it out.
    Drop,
}

/// Cuts one direction into packets without holding content back.
#[derive(Debug, Default)]
struct Framer {
    phase: Phase,
    /// Bytes of the packet under way that arrived in earlier pieces and are not decided on yet.
    held: Vec<Bytes>,
}

#[derive(Debug)]
enum Phase {
    /// Collecting what is needed to decide.
    Head(Vec<u8>),
    /// Letting the rest of a packet pass.
    Pass { left: usize, owner: Option<Owner> },
    /// Taking the rest of a packet out.
    Skip { left: usize },
}

impl Default for Phase {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// How many bytes, from the length on, have to be there to decide on a packet that begins like this; and whether it is bulk.
fn needed(head: &[u8]) -> Result<(usize, bool), Nonsense> {
    let Some((length, rest)) = head.split_first_chunk::<4>() else { return Ok((5, false)) };
    let length = u32::from_be_bytes(*length) as usize;
    let Some(kind) = rest.first() else { return Ok((5, false)) };
    let whole = length.saturating_add(4);
    if length == 0 {
        return Err(Nonsense::Short);
    }
    if length > LARGEST + 1024 {
        return Err(Nonsense::TooLarge(length));
    }
    match *kind {
        // kind, id, handle's length …
        WRITE => match head.get(9..13).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes) {
            None => Ok((13.min(whole), true)),
            // … handle, offset, content's length.
            Some(handle) if handle <= 256 => Ok(((13 + handle as usize + 8 + 4).min(whole), true)),
            Some(_) => Err(Nonsense::Short),
        },
        // kind, id, content's length.
        DATA => Ok((13.min(whole), true)),
        _ => Ok((whole, false)),
    }
}

impl Framer {
    fn is_between_packets(&self) -> bool {
        matches!(&self.phase, Phase::Head(head) if head.is_empty())
    }

    /// Takes bytes; puts what may be forwarded into `on`, in as few pieces as can be, without copying.
    fn feed(
        &mut self,
        bytes: Bytes,
        on: &mut Vec<Bytes>,
        decide: &mut dyn FnMut(Event<'_>) -> Result<Verdict, Nonsense>,
    ) -> Result<(), Nonsense> {
        let mut at = 0;
        // What lies between `passed` and the packet under way has been decided on and may pass.
        let mut passed = 0;
        let mut begins = 0;
        while at < bytes.len() {
            match &mut self.phase {
                Phase::Head(head) => {
                    if head.is_empty() {
                        begins = at;
                    }
                    let (need, _) = needed(head)?;
                    let more = need.saturating_sub(head.len()).min(bytes.len() - at);
                    head.extend_from_slice(bytes.get(at..at + more).unwrap_or_default());
                    at += more;
                    let (need, bulk) = needed(head)?;
                    if head.len() < need {
                        continue;
                    }
                    let left = head.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes) as usize + 4 - head.len();
                    let kind = head.get(4).copied().unwrap_or_default();
                    let body = head.get(5..).unwrap_or_default();
                    let event = if bulk { Event::Bulk { kind, head: body } } else { Event::Packet { kind, body } };
                    match decide(event)? {
                        Verdict::Pass(owner) => {
                            on.append(&mut self.held);
                            self.phase = if left == 0 { Phase::default() } else { Phase::Pass { left, owner } };
                        }
                        Verdict::Drop => {
                            self.held.clear();
                            push(on, bytes.slice(passed..begins));
                            passed = at;
                            self.phase = if left == 0 { Phase::default() } else { Phase::Skip { left } };
                        }
                    }
                }
                Phase::Pass { left, owner } => {
                    let here = (*left).min(bytes.len() - at);
                    if let Some(owner) = owner {
                        let data = bytes.get(at..at + here).unwrap_or_default();
                        decide(Event::Body { owner: owner.clone(), data })?;
                        owner.1 += here as u64;
                    }
                    at += here;
                    *left -= here;
                    if *left == 0 {
                        self.phase = Phase::default();
                    }
                }
                Phase::Skip { left } => {
                    let here = (*left).min(bytes.len() - at);
                    at += here;
                    passed = at;
                    *left -= here;
                    if *left == 0 {
                        self.phase = Phase::default();
                    }
                }
            }
        }
        match &self.phase {
            Phase::Head(head) if !head.is_empty() => {
                push(on, bytes.slice(passed..begins.max(passed)));
                self.held.push(bytes.slice(begins.max(passed)..));
            }
            Phase::Head(_) | Phase::Pass { .. } => push(on, bytes.slice(passed..)),
            Phase::Skip { .. } => {}
        }
        Ok(())
    }
}

fn push(on: &mut Vec<Bytes>, bytes: Bytes) {
    if !bytes.is_empty() {
        on.push(bytes);
    }
}

#[cfg(test)]
#[path = "sftp_tests.rs"]
mod tests;
