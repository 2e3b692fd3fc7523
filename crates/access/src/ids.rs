//! Typed ids: a prefix that says what is meant, then a UUIDv7 (RFC 9562) as 26 lower-case Crockford base32 digits.
//!
//! An id is never a secret: knowing one gives nobody a right.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why a text is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {noun} id; one looks like `{prefix}_` and 26 letters and digits")]
pub struct IdError {
    text: String,
    noun: &'static str,
    prefix: &'static str,
}

fn encode(value: u128) -> [u8; 26] {
    let mut out = [b'0'; 26];
    let mut rest = value;
    for slot in out.iter_mut().rev() {
        *slot = DIGITS[(rest & 31) as usize];
        rest >>= 5;
    }
    out
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != 26 || text.as_bytes()[0] > b'7' {
        return None;
    }
    let mut value = 0u128;
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|d| *d == byte)?;
        value = (value << 5) | digit as u128;
    }
    Some(value)
}

/// When an id of whatever noun was made, to the millisecond; `None` of what is no id.
#[must_use]
pub fn made_at(id: &str) -> Option<Timestamp> {
    let value = decode(id.split_once('_')?.1)?;
    Timestamp::from_millisecond(i64::try_from(value >> 80).ok()?).ok()
}

fn uuid_v7(now: Timestamp) -> u128 {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let stamp = uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000);
    uuid::Uuid::new_v7(stamp).as_u128()
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id whose time part is `now`.
            #[must_use]
            pub fn generate(now: Timestamp) -> Self {
                Self(uuid_v7(now))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = encode(self.0);
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| IdError { text: text.chars().take(64).collect(), noun: $noun, prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A human.
    UserId = "usr", "user";
    /// A machine with an owner.
    WorkloadId = "wkl", "workload";
    /// Somebody asked for a role on a resource.
    RequestId = "req", "request";
    /// One person's yes or no to a request.
    VoteId = "vot", "vote";
    /// A bounded right.
    GrantId = "grt", "grant";
    /// One connection through the gate.
    SessionId = "ses", "session";
    /// What a session left behind.
    RecordingId = "rec", "recording";
    /// One line of the audit log.
    EntryId = "ent", "audit entry";
    /// A policy bundle as it was activated.
    BundleId = "bnd", "bundle activation";
    /// A bearer token.
    TokenId = "tok", "token";
    /// A registered or issued key.
    KeyId = "key", "key";
    /// Something that keeps a person, role or resource shut.
    LockId = "lck", "lock";
    /// Something that keeps evidence.
    HoldId = "hld", "hold";
    /// A passkey that somebody registered.
    PasskeyId = "pky", "passkey";
    /// A look back that somebody owes.
    ReviewId = "rvw", "review";
    /// A message to the outside.
    DeliveryId = "dlv", "delivery";
    /// An account made in a database.
    AccountId = "acc", "account";
    /// A browser that is signed in.
    WebSessionId = "web", "web session";
    /// Filters of a search that somebody keeps.
    SavedSearchId = "sav", "saved search";
    /// A group of a directory.
    DirectoryGroupId = "grp", "directory group";
    /// A way to a target that inventory found.
    PathId = "pth", "path";
    /// Something on a target that the gate did not put there.
    FindingId = "fnd", "finding";
}

/// Who acts: a human or a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalId {
    /// A human.
    User(UserId),
    /// A machine with an owner.
    Workload(WorkloadId),
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Workload(id) => id.fmt(f),
        }
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PrincipalId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.starts_with("wkl_") { text.parse().map(Self::Workload) } else { text.parse().map(Self::User) }
    }
}

impl Serialize for PrincipalId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PrincipalId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl From<UserId> for PrincipalId {
    fn from(id: UserId) -> Self {
        Self::User(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_id_survives_being_written_and_read(value: u128) {
            let id = RequestId(value);
            prop_assert_eq!(id.to_string().parse::<RequestId>(), Ok(id));
        }

        #[test]
        fn no_text_but_the_canonical_one_is_an_id(text in "req_[0-9a-zA-Z]{26}") {
            if let Ok(id) = text.parse::<RequestId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let early = GrantId::generate(Timestamp::from_second(1_700_000_000).unwrap());
        let late = GrantId::generate(Timestamp::from_second(1_700_000_001).unwrap());
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn an_id_says_when_it_was_made() {
        let now = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        assert_eq!(made_at(&SessionId::generate(now).to_string()), Some(now));
        for other in ["", "ses_", "slack.T1.U1", "ses_0123"] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }

    #[test]
    fn an_id_of_another_noun_is_refused_by_name() {
        let error = "grt_0123456789abcdefghjkmnpqrs".parse::<RequestId>().unwrap_err();
        insta::assert_snapshot!(error, @"`grt_0123456789abcdefghjkmnpqrs` is not a request id; one looks like `req_` and 26 letters and digits");
    }
}
