//! Where one message ends and the next begins.

use crate::Malformed;

/// The largest message there is: PostgreSQL itself takes no more (`PQ_LARGE_MESSAGE_LIMIT`).
pub const LARGEST: u32 = 0x3fff_fffe;
/// The largest of those that carry no data of the user's (`PQ_SMALL_MESSAGE_LIMIT` is 10,000 for the server; names may be long here).
const SMALL: u32 = 30_000;

/// Who sent a message: the same letter means different things from either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Front,
    /// The server.
    Back,
}

/// The first five bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its letter.
    pub kind: u8,
    /// Bytes of the whole message, these five included.
    pub total: usize,
}

/// The head of the message at the start of `bytes`; `None` while there are fewer than five.
///
/// # Errors
/// If the letter is unknown, or the length is one that no such message has. Nothing has been taken for it then.
pub fn head(bytes: &[u8], side: Side) -> Result<Option<Head>, Malformed> {
    let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
    let largest = match side {
        Side::Front => front(kind),
        Side::Back => back(kind),
    }
    .ok_or(Malformed("no message begins with this letter"))?;
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length < 4 {
        return Err(Malformed("its length is less than the length itself takes"));
    }
    if length > largest {
        return Err(Malformed("its length is more than such a message has"));
    }
    Ok(Some(Head { kind, total: length as usize + 1 }))
}

/// The largest length of what a client sends with this letter.
fn front(kind: u8) -> Option<u32> {
    Some(match kind {
        // Query, Parse, Bind, FunctionCall, CopyData.
        b'Q' | b'P' | b'B' | b'F' | b'd' => LARGEST,
        // Close, Describe, Execute, CopyFail, password and SASL answers.
        b'C' | b'D' | b'E' | b'f' | b'p' => SMALL,
        // Flush, Sync, Terminate, CopyDone.
        b'H' | b'S' | b'X' | b'c' => 4,
        _ => return None,
    })
}

/// The largest length of what a server sends with this letter.
fn back(kind: u8) -> Option<u32> {
    Some(match kind {
        // RowDescription, DataRow, FunctionCallResponse, CopyData, errors, notices, notifications.
        b'T' | b'D' | b'V' | b'd' | b'E' | b'N' | b'A' => LARGEST,
        // ParameterStatus, ParameterDescription, CopyIn/Out/BothResponse, NegotiateProtocolVersion.
        b'S' | b't' | b'G' | b'H' | b'W' | b'v' => 1 << 20,
        // Authentication, BackendKeyData, CommandComplete.
        b'R' | b'K' | b'C' => SMALL,
        // ReadyForQuery.
        b'Z' => 5,
        // ParseComplete, BindComplete, CloseComplete, NoData, PortalSuspended, EmptyQueryResponse, CopyDone.
        b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c' => 4,
        _ => return None,
    })
}
