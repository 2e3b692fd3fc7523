//! The keys by which the gate shows who it is.

use russh::keys::PrivateKey;

/// The gate's host keys: those that it shows, and those that it will.
///
/// Clients that understand it (OpenSSH's `UpdateHostKeys`) are told of all of them on each connection, so that nobody meets a key they
/// have not heard of before.
#[derive(Debug, Clone)]
pub struct HostKeys {
    shown: Vec<PrivateKey>,
    announced: Vec<PrivateKey>,
}

impl HostKeys {
    /// Keys that are shown, one of each algorithm at most.
    #[must_use]
    pub fn new(shown: Vec<PrivateKey>) -> Self {
        Self { shown, announced: Vec::new() }
    }

    /// Keys that take the place of those one day.
    #[must_use]
    pub fn announcing(self, announced: Vec<PrivateKey>) -> Self {
        Self { announced, ..self }
    }

    /// Those that are shown.
    pub(crate) fn shown(&self) -> &[PrivateKey] {
        &self.shown
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PrivateKey> {
        self.shown.iter().chain(&self.announced)
    }

    /// Whether these are the same keys in the same places.
    pub(crate) fn are(&self, other: &Self) -> bool {
        let same = |a: &[PrivateKey], b: &[PrivateKey]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.public_key().key_data() == b.public_key().key_data())
        };
        same(&self.shown, &other.shown) && same(&self.announced, &other.announced)
    }
}
