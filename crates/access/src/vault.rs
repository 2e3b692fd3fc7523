//! Where a secret of a target is: sealed in the gate's own store, or in a vault from which it is fetched for each session.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::inert::inert;
use crate::names::{NameError, SecretName, VaultName};

/// The longest path in a vault, in bytes. Amazon's names and ARNs have at most 2048 characters.
const LONGEST_PATH: usize = 2048;
/// The longest name of a field, in bytes.
const LONGEST_FIELD: usize = 128;

/// Where a secret is; written `secret:NAME` or `vault:NAME/PATH#FIELD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Sealed in the store.
    Sealed(SecretName),
    /// In a vault.
    Fetched(VaultSecret),
}

/// A secret in a vault: which vault, where in it, and which field of what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSecret {
    vault: VaultName,
    path: String,
    field: Option<String>,
}

/// Why a text does not say where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Neither of the two kinds.
    #[error("`{0}` names no secret; write `secret:NAME` or `vault:NAME/PATH#FIELD`")]
    NoSource(String),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nothing behind the vault's name.
    #[error("`vault:{0}` says no path in that vault; write `vault:{0}/PATH#FIELD`")]
    NoPath(VaultName),
    /// Nothing behind `#`.
    #[error("`{0}` ends with `#`, and no field stands behind it; write `vault:NAME/PATH#FIELD`")]
    NoField(String),
    /// What stands between two slashes leads nowhere.
    #[error("the path `{0}` has an empty part, `.` or `..` in it; write each part as it is in the vault, with one `/` between two")]
    Part(String),
    /// It would ask for something else than a secret.
    #[error("`{0}` has a query in it; write the path alone, as in `vault:NAME/kv/data/router-1#password`")]
    Query(String),
    /// It has what can't be seen.
    #[error("`{0}` has a space at an end, or a control character in it; write path and field as they are in the vault")]
    Unseen(String),
    /// It is too long.
    #[error("a path has at most {LONGEST_PATH} bytes and a field {LONGEST_FIELD}; this is longer")]
    TooLong,
}

impl VaultSecret {
    /// Which vault has it.
    #[must_use]
    pub fn vault(&self) -> &VaultName {
        &self.vault
    }

    /// Where in the vault: parts with one slash between two, none of them empty, `.` or `..`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Which field of what is there; `None`: all of it.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl FromStr for VaultSecret {
    type Err = SourceError;
    /// Reads `NAME/PATH#FIELD`: the name ends at the first slash, and the field begins after the last `#`.
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (vault, rest) = text.split_once('/').unwrap_or((text, ""));
        let vault: VaultName = vault.parse()?;
        let (path, field) = match rest.rsplit_once('#') {
            Some((path, field)) => (path, Some(field)),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(SourceError::NoPath(vault));
        }
        if field.is_some_and(str::is_empty) {
            return Err(SourceError::NoField(shown(text)));
        }
        if path.len() > LONGEST_PATH || field.is_some_and(|field| field.len() > LONGEST_FIELD) {
            return Err(SourceError::TooLong);
        }
        let unseen = |part: &str| part.trim() != part || part.chars().any(char::is_control);
        if path.split('/').chain(field).any(unseen) {
            return Err(SourceError::Unseen(shown(text)));
        }
        if path.contains('?') {
            return Err(SourceError::Query(shown(text)));
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(SourceError::Part(shown(path)));
        }
        Ok(Self { vault, path: path.to_owned(), field: field.map(str::to_owned) })
    }
}

impl fmt::Display for VaultSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vault, self.path)?;
        match &self.field {
            Some(field) => write!(f, "#{field}"),
            None => Ok(()),
        }
    }
}

impl FromStr for SecretSource {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text.split_once(':') {
            Some(("secret", name)) => Ok(Self::Sealed(name.parse()?)),
            Some(("vault", place)) => Ok(Self::Fetched(place.parse()?)),
            _ => Err(SourceError::NoSource(shown(text))),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(name) => write!(f, "secret:{name}"),
            Self::Fetched(place) => write!(f, "vault:{place}"),
        }
    }
}

impl Serialize for SecretSource {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A text for a message: inert, and no longer than one reads.
fn shown(text: &str) -> String {
    inert(text).chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SecretSource, String> {
        text.parse().map_err(|error: SourceError| error.to_string())
    }

    #[test]
    fn a_source_is_written_as_it_is_read() {
        for text in [
            "secret:router-1",
            "vault:corp/kv/data/network/router-1#password",
            "vault:corp/kv/data/a b#pass word",
            "vault:corp/kv/with#hash/x#password",
            "vault:aws-eu/prod/router",
            "vault:aws-eu/arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/router-AbCdEf#password",
        ] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        let Ok(SecretSource::Fetched(place)) = read("vault:corp/kv/with#hash/x#password") else { panic!("it is fetched") };
        assert_eq!((place.vault().as_str(), place.path(), place.field()), ("corp", "kv/with#hash/x", Some("password")));
    }

    #[test]
    fn what_leads_elsewhere_is_refused_with_what_is_wrong() {
        for (text, wanted) in [
            ("router-1", "write `secret:NAME` or `vault:NAME/PATH#FIELD`"),
            ("vualt:corp/x#y", "names no secret"),
            ("secret:Router", "is not a secret name"),
            ("vault:Corp/kv/x#password", "is not a vault name"),
            ("vault:/kv/x#password", "is not a vault name"),
            ("vault:corp", "says no path"),
            ("vault:corp/", "says no path"),
            ("vault:corp/#password", "says no path"),
            ("vault:corp/kv/x#", "no field stands behind it"),
            ("vault:corp//kv/x#password", "empty part"),
            ("vault:corp/kv//x#password", "empty part"),
            ("vault:corp/kv/x/#password", "empty part"),
            ("vault:corp/kv/../sys/seal#password", "`..`"),
            ("vault:corp/./kv#password", "`..`"),
            ("vault:corp/kv/x?version=1#password", "has a query"),
            ("vault:corp/kv/x\u{0}#password", "control character"),
            ("vault:corp/kv/x#pass\nword", "control character"),
            ("vault:corp/kv/ x#password", "a space at an end"),
            ("vault:corp/kv/x# password", "a space at an end"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(wanted), "{text:?}: {said}");
            assert!(!said.chars().any(char::is_control), "{text:?}: {said:?}");
        }
        assert!(read(&format!("vault:corp/{}#x", "a".repeat(2049))).unwrap_err().contains("longer"));
        assert!(read(&format!("vault:corp/kv/x#{}", "a".repeat(129))).unwrap_err().contains("longer"));
    }
}
