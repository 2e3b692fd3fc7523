//! What one side of a channel has sent and could not be passed on yet.
//!
//! The SSH library stops reading a whole connection when one channel's queue is full, so a relay that waits for one side goes on taking what
//! the other sends. The bytes are bounded by the window; that they may come one by one is met here by putting small pieces together, so that
//! what is kept stays in proportion to them.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use russh::ChannelMsg;

use super::door::PACKET;

/// Messages that are kept as they came.
const LOOSE: usize = 256;
/// Pieces of data below this are put together beyond that.
const SMALL: usize = 512;
/// Messages other than data, at most.
const SIGNS: usize = 256;

/// More signals and the like than anybody means to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one side of a channel sent more than {SIGNS} signals while the other took nothing")]
pub(crate) struct TooMuch;

#[derive(Debug)]
enum Kept {
    Message(ChannelMsg),
    /// Small pieces of the channel's own stream, or of standard error.
    Pieces {
        error: bool,
        data: BytesMut,
    },
}

/// A queue of messages.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    kept: VecDeque<Kept>,
    /// How many were taken out since the beginning: what `pieces` and `size` count from.
    taken: usize,
    signs: usize,
    /// The last pieces of the channel's own stream, and of the extended one.
    pieces: [Option<usize>; 2],
    /// The last change of the terminal's size.
    size: Option<usize>,
}

impl Backlog {
    /// Keeps a message, if it means anything to a relay.
    ///
    /// # Errors
    /// There are too many that are not data.
    pub(crate) fn push(&mut self, message: ChannelMsg) -> Result<(), TooMuch> {
        match message {
            ChannelMsg::Data { data } => self.data(false, data),
            // Only standard error is defined (RFC 4254 section 5.2).
            ChannelMsg::ExtendedData { data, ext: 1 } => self.data(true, data),
            ChannelMsg::WindowChange { .. } => match self.size.and_then(|at| self.at(at)) {
                // Only the last size counts.
                Some(Kept::Message(before)) => *before = message,
                _ => {
                    self.size = Some(self.taken + self.kept.len());
                    self.kept.push_back(Kept::Message(message));
                }
            },
            ChannelMsg::Eof
            | ChannelMsg::Close
            | ChannelMsg::Signal { .. }
            | ChannelMsg::ExitStatus { .. }
            | ChannelMsg::ExitSignal { .. }
            | ChannelMsg::XonXoff { .. } => {
                self.signs += 1;
                if self.signs > SIGNS {
                    return Err(TooMuch);
                }
                self.kept.push_back(Kept::Message(message));
            }
            _ => {}
        }
        Ok(())
    }

    /// The next message.
    pub(crate) fn pop(&mut self) -> Option<ChannelMsg> {
        let kept = self.kept.pop_front()?;
        self.taken += 1;
        Some(match kept {
            Kept::Pieces { error: false, data } => ChannelMsg::Data { data: data.freeze() },
            Kept::Pieces { error: true, data } => ChannelMsg::ExtendedData { data: data.freeze(), ext: 1 },
            Kept::Message(message) => {
                if !matches!(message, ChannelMsg::Data { .. } | ChannelMsg::ExtendedData { .. } | ChannelMsg::WindowChange { .. }) {
                    self.signs -= 1;
                }
                message
            }
        })
    }

    fn at(&mut self, position: usize) -> Option<&mut Kept> {
        position.checked_sub(self.taken).and_then(|index| self.kept.get_mut(index))
    }

    fn data(&mut self, error: bool, more: Bytes) {
        if more.is_empty() {
            return;
        }
        let position = self.taken + self.kept.len();
        let [own, extended] = &mut self.pieces;
        let pieces = if error { extended } else { own };
        if self.kept.len() < LOOSE || more.len() >= SMALL {
            // What comes later must not be put in front of this.
            *pieces = None;
            self.kept.push_back(Kept::Message(if error {
                ChannelMsg::ExtendedData { data: more, ext: 1 }
            } else {
                ChannelMsg::Data { data: more }
            }));
            return;
        }
        let last = pieces.replace(position);
        if let Some(last) = last
            && let Some(Kept::Pieces { data, .. }) = self.at(last)
            && data.len() + more.len() <= PACKET as usize
        {
            data.extend_from_slice(&more);
            let [own, extended] = &mut self.pieces;
            *(if error { extended } else { own }) = Some(last);
            return;
        }
        self.kept.push_back(Kept::Pieces { error, data: BytesMut::from(&more[..]) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(backlog: &mut Backlog) -> (Vec<u8>, Vec<u8>, usize) {
        let (mut out, mut err, mut others) = (Vec::new(), Vec::new(), 0);
        while let Some(message) = backlog.pop() {
            match message {
                ChannelMsg::Data { data } => out.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, .. } => err.extend_from_slice(&data),
                _ => others += 1,
            }
        }
        (out, err, others)
    }

    // covers: E7 (ssh), SSH-3 (ssh)
    #[test]
    fn a_window_of_single_bytes_takes_little_room_and_loses_nothing() {
        let mut backlog = Backlog::default();
        let total: u32 = 2 << 20;
        for n in 0..total {
            let byte = Bytes::from(vec![n.to_le_bytes()[0]]);
            // Two streams in turn: the worst there is.
            backlog
                .push(if n % 2 == 0 { ChannelMsg::Data { data: byte } } else { ChannelMsg::ExtendedData { data: byte, ext: 1 } })
                .unwrap();
            backlog.push(ChannelMsg::WindowChange { col_width: n, row_height: 1, pix_width: 0, pix_height: 0 }).unwrap();
        }
        assert!(backlog.kept.len() < 400, "{} messages", backlog.kept.len());
        let (out, err, others) = joined(&mut backlog);
        assert!(out.iter().enumerate().all(|(at, b)| usize::from(*b) == at * 2 % 256) && out.len() == 1 << 20);
        assert!(err.iter().enumerate().all(|(at, b)| usize::from(*b) == (at * 2 + 1) % 256) && err.len() == 1 << 20);
        assert_eq!(others, 1);
    }

    proptest! {
        #[test]
        fn each_stream_keeps_its_order(steps in prop::collection::vec((any::<bool>(), prop_oneof![1usize..20, 400usize..600], 0usize..3), 0..600)) {
            let mut backlog = Backlog::default();
            let (mut sent, mut got) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
            let mut counter = 0u8;
            let mut take = |message| match message {
                Some(ChannelMsg::Data { data }) => got[0].extend_from_slice(&data),
                Some(ChannelMsg::ExtendedData { data, .. }) => got[1].extend_from_slice(&data),
                _ => {}
            };
            for (error, length, taken) in steps {
                let bytes: Vec<u8> = (0..length).map(|_| { counter = counter.wrapping_add(1); counter }).collect();
                sent[usize::from(error)].extend_from_slice(&bytes);
                let data = Bytes::from(bytes);
                backlog.push(if error { ChannelMsg::ExtendedData { data, ext: 1 } } else { ChannelMsg::Data { data } }).unwrap();
                // Taken more slowly than sent.
                for _ in 1..taken {
                    take(backlog.pop());
                }
            }
            while let Some(message) = backlog.pop() {
                take(Some(message));
            }
            prop_assert_eq!(sent, got);
        }
    }

    #[test]
    fn signals_are_counted() {
        let mut backlog = Backlog::default();
        for _ in 0..SIGNS {
            backlog.push(ChannelMsg::Signal { signal: russh::Sig::INT }).unwrap();
        }
        assert_eq!(backlog.push(ChannelMsg::Signal { signal: russh::Sig::INT }), Err(TooMuch));
        assert!(backlog.pop().is_some());
    }
}
