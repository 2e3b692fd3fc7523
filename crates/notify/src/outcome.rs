//! What came of an attempt to tell somebody something.

use std::time::Duration;

/// What a service answered to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It took it, and said this.
    Taken(T),
    /// It did not, and may later; not before this time, if it named one.
    Later {
        /// Why, as a sentence without a full stop.
        why: String,
        /// The wait it asked for.
        after: Option<Duration>,
    },
    /// It will never take this.
    Never {
        /// Why, as a sentence without a full stop.
        why: String,
    },
}

impl<T> Outcome<T> {
    /// It may be taken later.
    pub(crate) fn later(why: impl Into<String>) -> Self {
        Self::Later { why: why.into(), after: None }
    }

    /// The same with what was said made into something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Taken(said) => Outcome::Taken(f(said)),
            Self::Later { why, after } => Outcome::Later { why, after },
            Self::Never { why } => Outcome::Never { why },
        }
    }
}
