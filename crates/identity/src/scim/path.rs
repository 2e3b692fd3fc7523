//! Names of attributes, and the paths of changes (RFC 7644 §3.5.2, figure 7).

use std::fmt;
use std::str::FromStr;

use super::error::{ScimError, quoted};
use super::filter::Filter;
use super::scanner::Scanner;

/// `name`, `name.familyName`, or either behind a schema's URN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributePath {
    /// The schema, if it is named.
    pub schema: Option<String>,
    /// The attribute.
    pub name: String,
    /// What of it.
    pub sub: Option<String>,
}

/// Where a change is made: an attribute, those of its values that a filter finds, and what of these.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPath {
    /// The attribute.
    pub attribute: AttributePath,
    /// Which of its values.
    pub filter: Option<Filter>,
    /// What of these.
    pub sub: Option<String>,
}

impl AttributePath {
    /// An attribute of no named schema.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self { schema: None, name: name.to_owned(), sub: None }
    }

    pub(super) fn of(word: &str) -> Result<Self, String> {
        let no = || format!("`{}` names no attribute", quoted(word));
        let is_urn = word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:"));
        let (schema, rest) = if is_urn {
            let (schema, rest) = word.rsplit_once(':').ok_or_else(no)?;
            if schema.len() < 5 || schema.contains('$') {
                return Err(no());
            }
            (Some(schema.to_owned()), rest)
        } else {
            (None, word)
        };
        let (name, sub) = match rest.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (rest, None),
        };
        if !is_name(name) || sub.is_some_and(|sub| !is_name(sub)) {
            return Err(no());
        }
        Ok(Self { schema, name: name.to_owned(), sub: sub.map(str::to_owned) })
    }
}

/// `ATTRNAME = ALPHA *(nameChar)`; and `$ref`, which the RFC's own schemas have.
fn is_name(text: &str) -> bool {
    let text = text.strip_prefix('$').unwrap_or(text);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

impl FromStr for AttributePath {
    type Err = ScimError;
    fn from_str(text: &str) -> Result<Self, ScimError> {
        let read = || {
            let mut scanner = Scanner::new(text)?;
            let path = Self::of(scanner.word())?;
            if scanner.is_done() { Ok(path) } else { Err(scanner.wants("its end")) }
        };
        read().map_err(|why: String| ScimError::path(format!("the path `{}`: {why}", quoted(text))))
    }
}

impl FromStr for PatchPath {
    type Err = ScimError;
    fn from_str(text: &str) -> Result<Self, ScimError> {
        let read = || {
            let mut scanner = Scanner::new(text)?;
            let attribute = AttributePath::of(scanner.word())?;
            let (mut filter, mut sub) = (None, None);
            if scanner.take('[') {
                filter = Some(Filter::read(&mut scanner, 1)?);
                scanner.blanks();
                if !scanner.take(']') {
                    return Err(scanner.wants("`]`"));
                }
                if scanner.take('.') {
                    let word = scanner.word();
                    if !is_name(word) {
                        return Err(format!("`{}` names no attribute", quoted(word)));
                    }
                    sub = Some(word.to_owned());
                }
            }
            if scanner.is_done() { Ok(Self { attribute, filter, sub }) } else { Err(scanner.wants("its end")) }
        };
        read().map_err(|why: String| ScimError::path(format!("the path `{}`: {why}", quoted(text))))
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}:")?;
        }
        f.write_str(&self.name)?;
        self.sub.as_ref().map_or(Ok(()), |sub| write!(f, ".{sub}"))
    }
}

impl fmt::Display for PatchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attribute.fmt(f)?;
        if let Some(filter) = &self.filter {
            write!(f, "[{filter}]")?;
        }
        self.sub.as_ref().map_or(Ok(()), |sub| write!(f, ".{sub}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_the_rfc_are_read_and_written_the_same() {
        for text in [
            "members",
            "name.familyName",
            "addresses[type eq \"work\"]",
            "members[value eq \"2819c223-7f76-453a-919d-413861904646\"]",
            "members[value eq \"2819c223-7f76-453a-919d-413861904646\"].displayName",
            "emails[type eq \"work\" and value ew \"example.com\"].value",
            "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            "members.$ref",
        ] {
            let path: PatchPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
        }
        let path: PatchPath = "urn:ietf:params:scim:schemas:core:2.0:User:name.familyName".parse().unwrap();
        assert_eq!(path.attribute.schema.as_deref(), Some("urn:ietf:params:scim:schemas:core:2.0:User"));
        assert_eq!((path.attribute.name.as_str(), path.attribute.sub.as_deref()), ("name", Some("familyName")));
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (text, why) in [
            ("", "names no attribute"),
            (".x", "names no attribute"),
            ("a.b.c", "names no attribute"),
            ("urn:", "names no attribute"),
            ("emails[", "missing at its end"),
            ("emails[type eq \"work\"", "`]` is missing"),
            ("emails[type eq \"work\"].", "names no attribute"),
            ("emails[type eq \"work\"]x", "its end is missing"),
            ("emails[type eq]", "is missing"),
            ("name familyName", "its end is missing"),
            ("1name", "names no attribute"),
        ] {
            let error = text.parse::<PatchPath>().unwrap_err();
            assert!(error.detail.contains(why), "{text}: {error}");
            assert_eq!(error.kind.map(super::super::ScimType::code), Some("invalidPath"));
        }
        let long = "a".repeat(5000);
        assert!(long.parse::<PatchPath>().is_err() && long.parse::<AttributePath>().is_err());
    }
}
