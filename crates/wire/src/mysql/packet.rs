//! Where one packet ends and the next begins.

use crate::Malformed;

/// Bytes of a packet's head: three of length, one of sequence number.
pub const HEAD: usize = 4;
/// A packet of this length goes on in the next one.
pub const FULL: usize = 0x00ff_ffff;

/// The first four bytes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes that follow, at most [`FULL`].
    pub length: usize,
    /// Counts packets since the command began; wraps at 256.
    pub sequence: u8,
}

impl Head {
    /// The head at the start of `bytes`; `None` while there are fewer than four.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, sequence] = *bytes.first_chunk::<HEAD>()?;
        Some(Self { length: u32::from_le_bytes([a, b, c, 0]) as usize, sequence })
    }

    /// Whether what it announces goes on in the next packet.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.length == FULL
    }
}

/// One message at the start of `bytes`, its packets joined: the message, the sequence number of its last packet, and how many bytes of
/// `bytes` it took. `None` while it is not whole.
///
/// # Errors
/// If it is longer than `most` bytes, as soon as its heads say so, or its packets are not numbered one after the other.
pub fn message(bytes: &[u8], most: usize) -> Result<Option<(std::borrow::Cow<'_, [u8]>, u8, usize)>, Malformed> {
    let Some(first) = Head::read(bytes) else { return Ok(None) };
    if first.length > most {
        return Err(Malformed("it is longer than such a message may be"));
    }
    if !first.goes_on() {
        let body = bytes.get(HEAD..HEAD + first.length);
        return Ok(body.map(|body| (body.into(), first.sequence, HEAD + first.length)));
    }
    // First only the heads: nothing is copied before the message is whole.
    let mut at = 0;
    let mut total = 0;
    let mut sequence = first.sequence;
    loop {
        let Some(head) = Head::read(bytes.get(at..).unwrap_or_default()) else { return Ok(None) };
        if head.sequence != sequence {
            return Err(Malformed("its packets are not numbered one after the other"));
        }
        total += head.length;
        if total > most {
            return Err(Malformed("it is longer than such a message may be"));
        }
        at += HEAD + head.length;
        if at > bytes.len() {
            return Ok(None);
        }
        if !head.goes_on() {
            break;
        }
        sequence = sequence.wrapping_add(1);
    }
    let mut whole = Vec::with_capacity(total);
    let mut from = 0;
    while let Some(head) = bytes.get(from..at).and_then(Head::read) {
        whole.extend_from_slice(&bytes[from + HEAD..from + HEAD + head.length]);
        from += HEAD + head.length;
    }
    Ok(Some((whole.into(), sequence, at)))
}

/// Writes a message in as many packets as it needs, the first with this sequence number, and says the number that comes next.
pub fn write(out: &mut Vec<u8>, sequence: u8, message: &[u8]) -> u8 {
    let mut sequence = sequence;
    let mut rest = message;
    loop {
        let (now, later) = rest.split_at(rest.len().min(FULL));
        out.extend_from_slice(&(now.len() as u32).to_le_bytes()[..3]);
        out.push(sequence);
        out.extend_from_slice(now);
        sequence = sequence.wrapping_add(1);
        rest = later;
        // A message whose length is a multiple of the largest packet ends with an empty one.
        if now.len() < FULL {
            return sequence;
        }
    }
}
