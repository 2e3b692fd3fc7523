//! SFTP's packets (draft-ietf-secsh-filexfer-02 section 3): one direction is cut into them without holding file content back, and their
//! fields are read so that no length is believed that does not fit into what is there.

use bytes::{Bytes, BytesMut};

/// The largest packet that is held to be read whole. OpenSSH's own limit.
const LARGEST: usize = 256 * 1024;
/// The longest file handle (section 6.3).
const LONGEST_HANDLE: usize = 256;

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
pub(super) const EXTENDED_REPLY: u8 = 201;

/// A stream that is not SFTP, or not within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Nonsense {
    #[error("a packet of {0} bytes; none may be larger than 256 KiB")]
    TooLarge(usize),
    #[error("a packet that ends too early")]
    Short,
    #[error("a packet says that {said} bytes of a file follow, and {there} do")]
    Content { said: usize, there: usize },
    #[error("a file handle of {0} bytes; none is longer than 256")]
    Handle(usize),
    #[error("a packet of kind {0}, which version 3 of SFTP does not know")]
    Kind(u8),
    #[error("a request before both sides had agreed on the version of SFTP, or that agreement a second time")]
    Order,
    #[error("more requests without answer than can be kept: 8,192, or 1 MiB of paths")]
    TooMany,
    #[error("more open files than can be kept: 4,096, or 1 MiB of paths")]
    TooManyFiles,
    #[error("a file handle given out a second time before it was closed")]
    HandleInUse,
    #[error("request {0} was sent again before it was answered")]
    IdInUse(u32),
    #[error("an answer to request {0}, which asked for something else or was never sent")]
    Unasked(u32),
    #[error("version {0} of SFTP; only version 3 can be read here")]
    Version(u32),
}

/// An `SSH_FXP_STATUS` packet.
pub(super) fn status(id: u32, code: u32, message: &str) -> Bytes {
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
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Nonsense> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Nonsense::Short)?;
        self.0 = rest;
        Ok(taken)
    }
    pub(super) fn u32(&mut self) -> Result<u32, Nonsense> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| Nonsense::Short)
    }
    pub(super) fn u64(&mut self) -> Result<u64, Nonsense> {
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| Nonsense::Short)
    }
    pub(super) fn string(&mut self) -> Result<&'a [u8], Nonsense> {
        let length = self.u32()? as usize;
        self.take(length)
    }
    /// A file handle.
    pub(super) fn handle(&mut self) -> Result<Bytes, Nonsense> {
        let handle = self.string()?;
        if handle.len() > LONGEST_HANDLE {
            return Err(Nonsense::Handle(handle.len()));
        }
        Ok(Bytes::copy_from_slice(handle))
    }
    /// File attributes (section 5): the size, if they set or tell one.
    pub(super) fn attributes(&mut self) -> Result<Option<u64>, Nonsense> {
        let flags = self.u32()?;
        let size = if flags & 0x01 == 0 { None } else { Some(self.u64()?) };
        // User and group, permissions, two times.
        for (flag, length) in [(0x02, 8), (0x04, 4), (0x08, 8)] {
            if flags & flag != 0 {
                self.take(length)?;
            }
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(size)
    }
    /// Strings up to the end of the packet; some servers leave the last ones of a status out.
    pub(super) fn strings_to_the_end(&mut self) -> Result<(), Nonsense> {
        while !self.0.is_empty() {
            self.string()?;
        }
        Ok(())
    }
}

/// Whose bytes a bulk packet carries: file handle and offset.
pub(super) type Owner = (Bytes, u64);

/// What a framer tells of.
pub(super) enum Event<'a> {
    /// A whole packet, or all of one that carries file content but the content: without its length and kind.
    Packet { kind: u8, body: &'a [u8] },
    /// File content, as it arrives.
    Body { owner: Owner, data: &'a [u8] },
}

/// What to do with a packet.
pub(super) enum Verdict {
    /// Forward it; content belongs to this file.
    Pass(Option<Owner>),
    /// Take it out.
    Drop,
}

/// Cuts one direction into packets without holding content back.
#[derive(Debug, Default)]
pub(super) struct Framer {
    phase: Phase,
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

/// How many bytes, from the length on, have to be there to decide on a packet that begins like this; and whether file content follows.
fn needed(head: &[u8]) -> Result<(usize, bool), Nonsense> {
    let Some((length, rest)) = head.split_first_chunk::<4>() else { return Ok((5, false)) };
    let length = u32::from_be_bytes(*length) as usize;
    if length == 0 {
        return Err(Nonsense::Short);
    }
    if length > LARGEST + 1024 {
        return Err(Nonsense::TooLarge(length));
    }
    let Some(kind) = rest.first() else { return Ok((5, false)) };
    let whole = length + 4;
    let fits = |need: usize| if need > whole { Err(Nonsense::Short) } else { Ok((need, true)) };
    match *kind {
        // kind, id, handle's length …
        WRITE => match head.get(9..13).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes) {
            None => fits(13),
            // … handle, offset, content's length.
            Some(handle) if handle as usize <= LONGEST_HANDLE => fits(13 + handle as usize + 8 + 4),
            Some(handle) => Err(Nonsense::Handle(handle as usize)),
        },
        // kind, id, content's length.
        DATA => fits(13),
        _ => Ok((whole, false)),
    }
}

impl Framer {
    pub(super) fn is_between_packets(&self) -> bool {
        matches!(&self.phase, Phase::Head(head) if head.is_empty())
    }

    /// Takes bytes; puts what may be forwarded into `on`, in as few pieces as can be. Nothing is copied but the head of a packet that
    /// arrives in pieces.
    pub(super) fn feed(
        &mut self,
        bytes: Bytes,
        on: &mut Vec<Bytes>,
        decide: &mut dyn FnMut(Event<'_>) -> Result<Verdict, Nonsense>,
    ) -> Result<(), Nonsense> {
        let mut at = 0;
        // What lies between `passed` and the packet under way has been decided on and may pass.
        let mut passed = 0;
        let mut begins = 0;
        // Whether the packet under way began in bytes that came earlier.
        let mut began_earlier = !self.is_between_packets();
        while at < bytes.len() {
            match &mut self.phase {
                Phase::Head(head) => {
                    if head.is_empty() {
                        begins = at;
                        began_earlier = false;
                    }
                    let (need, _) = needed(head)?;
                    let more = need.saturating_sub(head.len()).min(bytes.len() - at);
                    head.extend_from_slice(bytes.get(at..at + more).unwrap_or_default());
                    at += more;
                    let (need, content_follows) = needed(head)?;
                    if head.len() < need {
                        continue;
                    }
                    let left = head.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes) as usize + 4 - head.len();
                    if content_follows {
                        let said = head.last_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b)) as usize;
                        // Otherwise what is digested here would not be what the other side takes for the content.
                        if said != left {
                            return Err(Nonsense::Content { said, there: left });
                        }
                    }
                    let kind = head.get(4).copied().unwrap_or_default();
                    match decide(Event::Packet { kind, body: head.get(5..).unwrap_or_default() })? {
                        Verdict::Pass(owner) => {
                            if began_earlier {
                                on.push(Bytes::from(std::mem::take(head)));
                                passed = at;
                            }
                            self.phase = if left == 0 { Phase::default() } else { Phase::Pass { left, owner } };
                        }
                        Verdict::Drop => {
                            push(on, bytes.slice(passed..begins.max(passed)));
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
                        owner.1 = owner.1.saturating_add(here as u64);
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
            Phase::Head(head) if !head.is_empty() => push(on, bytes.slice(passed..begins.max(passed))),
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
