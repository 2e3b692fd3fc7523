//! Names people type: of resources, roles, people, groups, plans and tiers, and `resource[+role]`.
//!
//! One grammar for all: `[a-z0-9][a-z0-9.-]{0,62}`. Nothing else is ever folded into it, so a name is spelled the same
//! in sign-in, in policy and at the target.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {noun} name; a name is 1 to 63 of a-z, 0-9, `.` and `-`, and starts with a letter or digit")]
pub struct NameError {
    text: String,
    noun: &'static str,
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    let shown = text.chars().take(64).flat_map(char::escape_default).collect();
                    Err(NameError { text: shown, noun: $noun })
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
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

names! {
    /// Something behind the gate: a machine, a database, a cluster.
    ResourceName = "resource";
    /// A task one may do on a resource.
    RoleName = "role";
    /// How a person or workload signs in; never reused.
    Username = "user";
    /// Several people.
    GroupName = "group";
    /// An approval plan.
    PlanName = "approval plan";
    /// A sensitivity tier: the floor of what access costs.
    TierName = "tier";
    /// A maintenance window, freeze or working time.
    WindowName = "window";
    /// A sealed secret that a resource names as its credential.
    SecretName = "secret";
    /// A vault that secrets of targets are fetched from.
    VaultName = "vault";
}

/// What one writes where a user name is asked for: `resource` or `resource+role`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Where to.
    pub resource: ResourceName,
    /// As what; absent means the one role that is open there.
    pub role: Option<RoleName>,
}

impl FromStr for Selector {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (resource, role) = match text.split_once('+') {
            Some((resource, role)) => (resource, Some(role.parse()?)),
            None => (text, None),
        };
        Ok(Self { resource: resource.parse()?, role })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Some(role) => write!(f, "{}+{role}", self.resource),
            None => self.resource.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: A10 (ssh, api)
    #[test]
    fn only_the_one_spelling_is_a_name() {
        assert!("db-1.eu".parse::<ResourceName>().is_ok());
        for wrong in ["", "Ana", "аna", "ana ", "-ana", "a_b", "a\n", &"a".repeat(64), "ana\u{301}"] {
            assert!(wrong.parse::<Username>().is_err(), "{wrong:?} was taken for a name");
        }
    }

    #[test]
    fn a_selector_is_a_resource_and_maybe_a_role() {
        let plain: Selector = "db-1".parse().unwrap();
        assert_eq!((plain.resource.as_str(), plain.role.is_none()), ("db-1", true));
        let with_role: Selector = "db-1+debug".parse().unwrap();
        assert_eq!(with_role.to_string(), "db-1+debug");
        for wrong in ["+debug", "db-1+", "a+b+c", "db 1+x"] {
            assert!(wrong.parse::<Selector>().is_err(), "{wrong:?} was taken for a selector");
        }
    }
}
