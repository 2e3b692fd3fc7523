//! What an SFTP client asked for and has no answer to yet, and how that is told once it has.

use bytes::Bytes;
use serde_json::Value;

/// Flags of `SSH_FXP_OPEN` that write: write, append, create, truncate.
pub(super) const WRITES: u32 = 0x02 | 0x04 | 0x08 | 0x10;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) enum Pending {
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
        length: u32,
    },
    Write {
        handle: Bytes,
    },
    Act(Act),
    /// An open file is given a size.
    Size {
        handle: Bytes,
        size: u64,
        act: Act,
    },
    /// Something that leaves no event, but whose answer must not be taken for another's.
    Look,
}

/// An operation on a path.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) act: &'static str,
    pub(super) path: String,
    pub(super) to: Option<String>,
    /// The size that a file was given, cut off or filled up.
    pub(super) size: Option<u64>,
}

impl Act {
    pub(super) fn on(act: &'static str, path: &[u8]) -> Self {
        Self { act, path: shown(path), to: None, size: None }
    }
    pub(super) fn between(act: &'static str, path: &[u8], to: &[u8]) -> Self {
        Self { to: Some(shown(to)), ..Self::on(act, path) }
    }

    pub(super) fn event(&self, outcome: &str) -> Value {
        let mut event = serde_json::json!({"kind": "sftp", "act": self.act, "path": self.path, "outcome": outcome});
        if let Some(object) = event.as_object_mut() {
            object.extend(self.to.clone().map(|to| ("to".to_owned(), Value::from(to))));
            object.extend(self.size.map(|size| ("size".to_owned(), Value::from(size))));
        }
        event
    }
}

pub(super) fn opened(path: String, flags: u32) -> Act {
    let act = if flags & WRITES == 0 { "open for reading" } else { "open for writing" };
    Act { act, path, to: None, size: None }
}

impl Pending {
    /// What is told of it before it is forwarded: that it opens or changes something.
    pub(super) fn asked(&self) -> Option<Value> {
        match self {
            Self::Open { path, flags } => Some(opened(path.clone(), *flags).event("asked")),
            Self::Act(act) if act.act == "list" => None,
            Self::Act(act) | Self::Size { act, .. } => Some(act.event("asked")),
            Self::Close { .. } | Self::Read { .. } | Self::Write { .. } | Self::Look => None,
        }
    }

    /// What is known of it when no answer passed.
    pub(super) fn unanswered(self) -> Option<Value> {
        match self {
            Self::Open { path, flags } => Some(opened(path, flags).event("unanswered")),
            Self::Act(act) | Self::Size { act, .. } => Some(act.event("unanswered")),
            Self::Close { .. } | Self::Read { .. } | Self::Write { .. } | Self::Look => None,
        }
    }

    /// Bytes that are kept for it.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Open { path, .. } => path.len(),
            Self::Close { handle } | Self::Read { handle, .. } | Self::Write { handle } => handle.len(),
            Self::Act(act) => act.path.len() + act.to.as_ref().map_or(0, String::len),
            Self::Size { handle, act, .. } => handle.len() + act.path.len(),
            Self::Look => 0,
        }
    }
}

/// Names of `SSH_FX_…`.
pub(super) fn outcome(code: u32) -> &'static str {
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
pub(super) fn shown(path: &[u8]) -> String {
    let end = path.len().min(4096);
    String::from_utf8_lossy(path.get(..end).unwrap_or(path)).into_owned()
}
