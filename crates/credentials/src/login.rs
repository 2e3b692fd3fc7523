//! The one principal a session's certificate has: a login on its target, or what the target wants in the place of it.
//!
//! `sshd` has matched lists, wildcards and look-alikes in this place before; so a login is plain ASCII from a short
//! alphabet or it is refused.

use std::fmt;

/// The longest login, in bytes.
pub const LONGEST: usize = 128;

/// A login that may stand in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login(String);

/// Why a text may not stand in a certificate as a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a login that the target CA signs; one is 1 to {LONGEST} of a-z, A-Z, 0-9, `_`, `-`, `.`, `@` and `\\`, and starts with a letter, digit or `_`"
)]
pub struct LoginError(String);

impl Login {
    /// The login as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Login {
    type Err = LoginError;
    fn from_str(text: &str) -> Result<Self, LoginError> {
        let starts_well = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@' | b'\\'));
        if starts_well && is_plain && text.len() <= LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(LoginError(text.chars().take(LONGEST).flat_map(char::escape_default).collect()))
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
