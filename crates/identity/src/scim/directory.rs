//! A directory as the configuration names it.

use std::collections::BTreeMap;

use access::names::{GroupName, Username};

use super::error::{ScimError, quoted};

/// Which attribute of a directory's user is their subject at the identity provider it goes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `externalId`: what the directory itself calls them.
    ExternalId,
    /// `userName`.
    UserName,
}

impl Subject {
    /// As it is written in messages and in SCIM.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::ExternalId => "externalId",
            Self::UserName => "userName",
        }
    }
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its name; the machine that speaks for it signs in under this name.
    pub name: Username,
    /// Where its people sign in: the issuer of an identity provider, and what of them is their subject there.
    pub signs_in: Option<(String, Subject)>,
    /// The parts behind `@` that its user names may have; the part before is the name here.
    pub domains: Vec<String>,
    /// The directory's groups that mean something here. All others mean nothing.
    pub groups: BTreeMap<String, GroupName>,
    /// Whether it may bring people whom the policy names: then it decides who they are.
    pub brings_named: bool,
}

impl Directory {
    /// How somebody with this `userName` is called here: itself, or what stands before `@` and one of the directory's domains. Letters
    /// from A to Z are made small; nothing else is folded into a name.
    ///
    /// # Errors
    /// If that is no name here.
    pub fn username(&self, user_name: &str) -> Result<Username, ScimError> {
        let small = user_name.to_ascii_lowercase();
        let local = match small.split_once('@') {
            None => small.as_str(),
            Some((local, domain)) if self.domains.iter().any(|own| own.eq_ignore_ascii_case(domain)) => local,
            Some((_, domain)) => {
                return Err(ScimError::value(format!(
                    "userName `{}`: `{}` is none of the domains that the gate's configuration lists for this directory",
                    quoted(user_name),
                    quoted(domain)
                )));
            }
        };
        local.parse().map_err(|_| {
            ScimError::value(format!(
                "userName `{}` gives no name that somebody can have at the gate: 1 to 63 of a-z, 0-9, `.` and `-`; map another attribute to it",
                quoted(user_name)
            ))
        })
    }

    /// What of a user is their subject at the identity provider, if they sign in at one.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        self.signs_in.as_ref().map(|(_, subject)| *subject)
    }

    /// The group here that one of the directory's means.
    #[must_use]
    pub fn means(&self, display_name: Option<&str>) -> Option<&GroupName> {
        self.groups.get(display_name?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: A10
    #[test]
    fn a_user_name_gives_one_name_here_or_none() {
        let corp = Directory {
            name: "corp".parse().unwrap(),
            signs_in: None,
            domains: vec!["example.com".into()],
            groups: BTreeMap::new(),
            brings_named: false,
        };
        for (user_name, name) in [("ana", "ana"), ("Ana.Silva@Example.com", "ana.silva"), ("ANA", "ana")] {
            assert_eq!(corp.username(user_name).unwrap().as_str(), name);
        }
        for wrong in ["ana@other.example", "ana@example.com@example.com", "аna", "ana silva", "@example.com", "", "ana@", "\u{212a}ate"] {
            let error = corp.username(wrong).unwrap_err();
            assert_eq!((error.status, error.kind.map(super::super::ScimType::code)), (400, Some("invalidValue")), "{wrong}");
        }
    }
}
