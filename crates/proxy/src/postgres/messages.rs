//! Messages one after another, where each is read whole: before there is a session, and at a console.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use wire::Malformed;
use wire::postgres::{Side, head};

pub(crate) use crate::database::wrong;

/// The largest message that is taken, and what is said of a larger one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most(pub(crate) usize, pub(crate) &'static str);

/// The next message of that side: letter and body. Cancelling this loses nothing.
///
/// # Errors
/// `InvalidData` if it is none, or is too large; `UnexpectedEof` if there is none any more.
pub(crate) async fn next<S>(stream: &mut S, unread: &mut BytesMut, side: Side, most: Most) -> io::Result<(u8, BytesMut)>
where
    S: AsyncRead + Unpin,
{
    loop {
        if let Some(head) = head(unread, side).map_err(wrong)? {
            if head.total > most.0 {
                return Err(wrong(Malformed(most.1)));
            }
            if unread.len() >= head.total {
                let mut message = unread.split_to(head.total);
                message.advance(5);
                return Ok((head.kind, message));
            }
        }
        if stream.read_buf(unread).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
