//! What a caller has seen of what they change.
//!
//! A change may say which version it was decided on. It is compared in the transaction that makes the change, so that nobody
//! ends, decides or changes what they have not seen.

use access::reason::{Reason, Refusal};
use access::row::Row;
use store::{Change, CommitError, Committed};

use crate::gate::{Gate, refused};

/// The versions a caller is content with; if they say none, any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(Option<Vec<String>>);

impl Seen {
    /// One of these versions, and no other.
    pub fn one_of(versions: impl IntoIterator<Item = String>) -> Self {
        Self(Some(versions.into_iter().collect()))
    }

    /// This thing, in a version that was seen.
    pub fn of<I>(self, id: I) -> AsSeen<I> {
        AsSeen { id, seen: self }
    }

    /// Whether it still is as they saw it.
    ///
    /// # Errors
    /// [`Reason::Stale`].
    pub fn is(&self, version: impl std::fmt::Display) -> Result<(), Refusal> {
        let Some(versions) = &self.0 else { return Ok(()) };
        let now = version.to_string();
        if versions.contains(&now) {
            return Ok(());
        }
        Err(Refusal::because(Reason::Stale, format!("it is version \"{now}\" now")))
    }
}

/// Something that is to be changed, and the version it was seen in. An id alone stands for any version.
#[derive(Debug, Clone)]
pub struct AsSeen<I> {
    pub(crate) id: I,
    pub(crate) seen: Seen,
}

impl<I> From<I> for AsSeen<I> {
    fn from(id: I) -> Self {
        Self { id, seen: Seen::default() }
    }
}

impl Gate {
    /// Commits a change to what the caller has seen: if they said which version, only while `row` still is as it was read.
    pub(crate) async fn commit_seen<R: Row>(&self, change: Change, row: &R, seen: &Seen) -> Result<Committed, Refusal> {
        if seen.0.is_none() {
            return self.commit(change).await.map_err(refused);
        }
        self.commit(change.expect(row)).await.map_err(|error| match error {
            CommitError::Conflict { .. } => Refusal::because(Reason::Stale, "somebody changed it at this very moment"),
            other => refused(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_was_not_seen_is_stale() {
        assert!(Seen::default().is(3).is_ok());
        assert!(Seen::one_of(["2".to_owned(), "3".to_owned()]).is(3).is_ok());
        for seen in [Seen::one_of(["2".to_owned()]), Seen::one_of([])] {
            assert_eq!(seen.is(3).unwrap_err().reason, Reason::Stale);
        }
    }
}
