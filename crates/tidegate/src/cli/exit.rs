//! How a command ends: 0 done, 1 failed, 2 not understood, 75 come back later, 77 refused.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use access::reason::Reason;
use serde::Serialize;

use crate::client::ClientError;
use crate::output::note;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// It could not.
    Failed,
    /// It was not understood.
    Usage,
    /// Somebody or something has to happen first (`EX_TEMPFAIL`).
    Pending,
    /// The gate said no (`EX_NOPERM`).
    Refused,
    /// As the program ended that was run.
    Of(u8),
}

impl Exit {
    /// The status that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Pending => 75,
            Self::Refused => 77,
            Self::Of(code) => code,
        }
    }

    /// How a command ends that the gate refused.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Internal | Reason::TargetUnreachable | Reason::RecorderFailed => Self::Failed,
            Reason::Invalid => Self::Usage,
            reason if reason.ssh_exit() == 75 => Self::Pending,
            _ => Self::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Prints an error and what caused it, once, and says how the command ended. With `json` it is one object on stderr: the problem as the API
/// answered it, or `code`, `title` and `detail` of what went wrong here.
#[must_use]
pub fn report(error: &anyhow::Error, json: bool) -> Exit {
    // Whoever read our output has seen enough of it (`tidegate … | head`).
    if error.chain().any(is_broken_pipe) {
        return Exit::Done;
    }
    if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>())
        && let ClientError::Refused(problem) = refused
    {
        if json {
            tell(problem)
        } else {
            note(refused)
        }
        return Exit::of(problem.code);
    }
    if json {
        tell(&serde_json::json!({"code": "failed", "title": "The command failed.", "detail": sentence(error)}));
    } else {
        note(sentence(error));
    }
    Exit::Failed
}

/// One object on stderr; where it can't be written there is nobody to tell.
fn tell(what: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(what) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn is_broken_pipe(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// The chain of causes as one text; a cause that the one before already said is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_an_exit_status() {
        let mut table = String::new();
        for reason in Reason::ALL {
            table.push_str(&format!("{} {}\n", Exit::of(*reason).code(), reason.code()));
        }
        insta::assert_snapshot!("exits", table);
    }

    #[test]
    fn causes_are_printed_once() {
        let error = anyhow::anyhow!("no such host").context("cannot reach the gate: no such host").context("cannot list requests");
        assert_eq!(sentence(&error), "cannot list requests: cannot reach the gate: no such host");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot print");
        assert_eq!(report(&error, false), Exit::Done);
    }
}
