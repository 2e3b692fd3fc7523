//! `[[directory]]`: what brings people and groups by SCIM. Who of them may do what is not said here.

use std::collections::BTreeMap;

use access::names::{GroupName, Username};
use identity::scim::{Directory, Subject};
use policy::document::{At, Document, Table};
use policy::problem::shown;

use super::providers::ProviderConfig;

/// A directory as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawDirectory {
    name: Option<At<Username>>,
    identity_provider: Option<At<String>>,
    subject: Option<At<String>>,
    domains: Vec<At<String>>,
    brings_named: Option<At<bool>>,
    groups: Vec<(String, At<GroupName>)>,
}

impl RawDirectory {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let groups = table.table("groups");
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            identity_provider: table.text("identity_provider"),
            subject: table.text("subject"),
            domains: table.list("domains", "a domain"),
            brings_named: table.flag("brings_named"),
            groups: groups.pairs("a group's name: 1 to 63 of a-z, 0-9, `.` and `-`"),
        };
        table.missing("name", "the machine that speaks for it signs in under this name: `tidegate directory token NAME`");
        table.finish();
        raw
    }
}

/// Checks all of them, against the identity providers that there are.
pub(crate) fn check(all: Vec<RawDirectory>, document: &Document<'_>, providers: &[ProviderConfig]) -> Vec<Directory> {
    let mut directories: Vec<Directory> = Vec::new();
    for raw in all {
        let Some(name) = raw.name else { continue };
        if directories.iter().any(|other| other.name == name.value) {
            document.reject(&name, format!("`directory.name`: `{}` stands here twice", name.value));
            continue;
        }
        let subject = match &raw.subject {
            None => Subject::ExternalId,
            Some(at) => match [Subject::ExternalId, Subject::UserName].into_iter().find(|subject| subject.attribute() == at.value) {
                Some(subject) => subject,
                None => {
                    document.reject(at, format!("`directory.subject`: `{}` is neither `externalId` nor `userName`", shown(&at.value)));
                    continue;
                }
            },
        };
        let signs_in = match &raw.identity_provider {
            None => {
                if let Some(at) = &raw.subject {
                    document.reject(at, "`directory.subject` says who somebody is at an identity provider; name it: `identity_provider`");
                }
                None
            }
            Some(at) => match providers.iter().find(|other| other.provider.name == at.value) {
                Some(other)
                    if directories
                        .iter()
                        .any(|before| before.signs_in.as_ref().is_some_and(|(issuer, _)| *issuer == other.provider.issuer)) =>
                {
                    document
                        .reject(at, format!("`directory.identity_provider`: `{}` goes with another directory already", shown(&at.value)));
                    continue;
                }
                Some(other) => Some((other.provider.issuer.clone(), subject)),
                None => {
                    document
                        .reject(at, format!("`directory.identity_provider`: no `[[identity_provider]]` is called `{}`", shown(&at.value)));
                    continue;
                }
            },
        };
        let groups: BTreeMap<String, GroupName> = raw.groups.into_iter().map(|(theirs, ours)| (theirs, ours.value)).collect();
        directories.push(Directory {
            name: name.value,
            signs_in,
            domains: raw.domains.into_iter().map(|domain| domain.value).collect(),
            groups,
            brings_named: raw.brings_named.is_some_and(|flag| flag.value),
        });
    }
    directories
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n\
                         [[identity_provider]]\nname = 'corp'\nissuer = 'https://login.example.com'\nclient_id = 'tidegate'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_directory_says_who_its_people_are_and_what_its_groups_mean() {
        let config = parse(
            "[[directory]]\nname = 'hr'\nidentity_provider = 'corp'\nsubject = 'userName'\ndomains = ['example.com']\nbrings_named = true\n\
             [directory.groups]\n'Platform Team' = 'platform'\n[[directory]]\nname = 'partners'\n",
        )
        .unwrap();
        let [hr, partners] = config.directories.as_slice() else { panic!("two directories") };
        assert_eq!(hr.signs_in, Some(("https://login.example.com".to_owned(), Subject::UserName)));
        assert_eq!(hr.means(Some("Platform Team")), Some(&"platform".parse().unwrap()));
        assert_eq!((hr.means(Some("administrators")), hr.means(None), hr.brings_named), (None, None, true));
        assert_eq!((partners.subject(), partners.brings_named), (None, false));
    }

    #[test]
    fn mistakes_in_directories_are_named() {
        let good = "[[directory]]\nname = 'hr'\nidentity_provider = 'corp'\n";
        parse(good).unwrap();
        for (text, wanted) in [
            (good.replace("'corp'", "'other'"), "no `[[identity_provider]]` is called `other`"),
            (good.replace("'hr'", "'HR'"), "a name: 1 to 63"),
            (good.replace("name", "nam"), "`directory.name` is missing"),
            (format!("{good}{good}"), "stands here twice"),
            (format!("{good}{}", good.replace("hr", "hr2")), "goes with another directory"),
            (format!("{good}subject = 'email'\n"), "neither `externalId` nor `userName`"),
            ("[[directory]]\nname = 'hr'\nsubject = 'userName'\n".to_owned(), "name it"),
            (format!("{good}[directory.groups]\n'Platform' = 'Platform Team'\n"), "a group's name"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
