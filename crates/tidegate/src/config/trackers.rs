//! `[[tracker]]`: which trackers are asked how a ticket is, and whose tickets they are.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use access::names::GroupName;
use notify::http::{Reach, permitted};
use notify::tickets::{Kind, Tracker};
use policy::document::{At, Document, Table};
use policy::problem::shown;

use super::parts::{self, RawSecret};

/// A tracker as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawTracker {
    name: Option<At<GroupName>>,
    kind: Option<At<String>>,
    url: Option<At<String>>,
    projects: Vec<At<String>>,
    repositories: Vec<At<String>>,
    prefixes: Vec<At<String>>,
    user: Option<At<String>>,
    token: RawSecret,
    pointer: Option<At<String>>,
    id_pointer: Option<At<String>>,
    open: Vec<At<String>>,
    page: Option<At<String>>,
    ca_file: Option<At<String>>,
    addresses: Vec<At<IpAddr>>,
}

/// A tracker, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerConfig {
    /// What it is. What may be reached has no roots yet: they are read when the gate starts.
    pub tracker: Tracker,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawTracker {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            kind: table.text("kind"),
            url: table.text("url"),
            projects: table.list("projects", "a project's key"),
            repositories: table.list("repositories", "a repository"),
            prefixes: table.list("prefixes", "the beginning of an id"),
            user: table.text("user"),
            token: RawSecret::read(&table, "token", "token_file"),
            pointer: table.text("pointer"),
            id_pointer: table.text("id_pointer"),
            open: table.list("open", "a state"),
            page: table.text("page"),
            ca_file: table.text("ca_file"),
            addresses: table.list("addresses", "an IP address"),
        };
        table.missing("name", "it is named in messages");
        table.missing("kind", "it is `jira`, `github` or `json`");
        table.finish();
        raw
    }
}

/// Checks all of them. Paths are below `base`.
pub(crate) fn check(all: Vec<RawTracker>, document: &Document<'_>, base: &Path) -> Vec<TrackerConfig> {
    let mut trackers: Vec<TrackerConfig> = Vec::new();
    for raw in all {
        let (Some(name), Some(kind)) = (raw.name.clone(), &raw.kind) else { continue };
        let Some(kind) = parts::kind(kind, &Kind::ALL, "tracker.kind", "tracker", document) else { continue };
        if trackers.iter().any(|other| other.tracker.name == name.value) {
            document.reject(&name, format!("`tracker.name`: `{}` stands here twice", name.value));
            continue;
        }
        trackers.extend(one(raw, &name, kind, document, base));
    }
    trackers
}

fn one(raw: RawTracker, name: &At<GroupName>, kind: Kind, document: &Document<'_>, base: &Path) -> Option<TrackerConfig> {
    let addresses: Vec<IpAddr> = raw.addresses.iter().map(|address| address.value).collect();
    let url = match (&raw.url, kind) {
        (Some(url), _) => {
            if let Err(error) = permitted(&url.value.replace("{id}", "X-1"), &addresses) {
                document.reject(url, format!("`tracker.url`: {error}"));
                return None;
            }
            if kind == Kind::Json && !behind_the_host(&url.value) {
                document.reject(url, "`tracker.url` says where a ticket is asked for, with `{id}` once behind the host");
                return None;
            }
            url.value.clone()
        }
        (None, Kind::GitHub) => "https://api.github.com".to_owned(),
        (None, _) => {
            document.reject(name, format!("`tracker.url` is missing; say where `{}` is", name.value));
            return None;
        }
    };
    let named = [
        ("projects", &raw.projects, Kind::Jira),
        ("repositories", &raw.repositories, Kind::GitHub),
        ("prefixes", &raw.prefixes, Kind::Json),
    ];
    let mut of = Vec::new();
    for (key, values, whose) in named.iter().filter(|(.., whose)| *whose != kind) {
        if let Some(first) = values.first() {
            document.reject(first, format!("`tracker.{key}` is for `{}`, and this is `{}`", whose.code(), kind.code()));
        }
    }
    for (key, values, _) in named.iter().filter(|(.., whose)| *whose == kind) {
        for value in *values {
            let good = match kind {
                Kind::Jira => {
                    value.value.starts_with(|c: char| c.is_ascii_uppercase())
                        && is(&value.value, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
                }
                Kind::GitHub => value.value.split_once('/').is_some_and(|(owner, repository)| {
                    let part = |text: &str| is(text, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
                    part(owner) && part(repository) && !matches!(repository, "." | "..")
                }),
                Kind::Json => is(&value.value, |b| b.is_ascii_alphanumeric() || b == b'-'),
            };
            if good {
                of.push(value.value.clone());
            } else {
                document.reject(value, format!("`tracker.{key}`: `{}` is none", shown(&value.value)));
            }
        }
        // Whose tickets count is never anybody's.
        if values.is_empty() {
            document.reject(name, format!("`tracker.{key}` is missing; say whose tickets of `{}` count", name.value));
            return None;
        }
    }
    let token = raw.token.token("tracker.token", document, base);
    if kind == Kind::Json {
        for (key, there) in [("pointer", raw.pointer.is_some()), ("open", !raw.open.is_empty())] {
            if !there {
                document.reject(
                    name,
                    format!("`tracker.{key}` is missing; say where the state of `{}` stands and which count as open", name.value),
                );
                return None;
            }
        }
    } else {
        let json = [
            ("pointer", raw.pointer.as_ref()),
            ("id_pointer", raw.id_pointer.as_ref()),
            ("page", raw.page.as_ref()),
            ("open", raw.open.first()),
        ];
        for (key, at) in json {
            if let Some(at) = at {
                document.reject(at, format!("`tracker.{key}` is for `json`, and this is `{}`", kind.code()));
            }
        }
    }
    for (key, pointer) in [("pointer", &raw.pointer), ("id_pointer", &raw.id_pointer)] {
        if let Some(pointer) = pointer.as_ref().filter(|pointer| !pointer.value.starts_with('/')) {
            document.reject(pointer, format!("`tracker.{key}`: `{}` is no JSON pointer like `/result/state`", shown(&pointer.value)));
        }
    }
    if let Some(page) = raw.page.as_ref().filter(|page| !page.value.starts_with("https://") || !page.value.contains("{id}")) {
        document.reject(
            page,
            format!("`tracker.page`: `{}` is no address like `https://change.example.com/view?id={{id}}`", shown(&page.value)),
        );
    }
    if let Some(user) = raw.user.as_ref().filter(|user| kind != Kind::Jira || user.value.contains(':')) {
        document.reject(user, "`tracker.user` is the account of a Jira token, without a colon");
    }
    Some(TrackerConfig {
        tracker: Tracker {
            name: name.value.clone(),
            kind,
            url,
            of,
            user: raw.user.as_ref().map(|user| user.value.clone()),
            token,
            pointer: raw.pointer.as_ref().map(|pointer| pointer.value.clone()).unwrap_or_default(),
            id_pointer: raw.id_pointer.as_ref().map(|pointer| pointer.value.clone()),
            open: raw.open.iter().map(|open| open.value.clone()).collect(),
            page: raw.page.as_ref().map(|page| page.value.clone()),
            reach: Reach { addresses, roots: None },
        },
        ca_file: raw.ca_file.as_ref().map(|file| base.join(&file.value)),
    })
}

/// Whether `{id}` stands in it once, and in no part that says which machine is asked.
fn behind_the_host(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or_default();
    url.matches("{id}").count() == 1 && path.contains("{id}")
}

fn is(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const START: &str = "data_dir = '/var/lib/tidegate'\npolicy_dir = 'policy'\nnode = 'gate-1'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let file = Path::new("/etc/tidegate/tidegate.toml");
        Config::parse(file, &format!("{START}{text}"), &Environment::default()).map_err(|mistakes| mistakes.to_string())
    }

    // covers: RUN-3 (cli), ASK-5 (cli)
    #[test]
    fn trackers_and_mistakes_in_them() {
        let jira = "[[tracker]]\nname = 'jira'\nkind = 'jira'\nurl = 'https://acme.atlassian.net'\nprojects = ['OPS']\nuser = 'gate@example.com'\ntoken = 'jira'\n";
        let github = "[[tracker]]\nname = 'github'\nkind = 'github'\nrepositories = ['acme/shop']\ntoken_file = 'github.token'\n";
        let json = "[[tracker]]\nname = 'changes'\nkind = 'json'\nurl = 'https://change.example.com/api/{id}'\nprefixes = ['CHG']\npointer = '/state'\nopen = ['implement']\n";
        let config = parse(&format!("{jira}{github}{json}")).unwrap();
        assert_eq!(config.trackers.len(), 3);
        assert_eq!(config.trackers[1].tracker.url, "https://api.github.com");
        for (text, wanted) in [
            (jira.replace("'jira'\nurl", "'jria'\nurl"), "did you mean `jira`?"),
            (jira.replace("['OPS']", "['ops']"), "`tracker.projects`: `ops` is none"),
            (jira.replace("projects = ['OPS']\n", ""), "`tracker.projects` is missing"),
            (jira.replace("projects", "repositories"), "is for `github`"),
            (jira.replace("https://", "http://"), "is not `https://`"),
            (jira.replace("token =", "token_file = 'x'\ntoken ="), "not both"),
            (format!("{jira}{jira}"), "stands here twice"),
            (format!("{jira}pointer = '/x'\n"), "is for `json`"),
            (github.replace("acme/shop", "acme"), "`tracker.repositories`: `acme` is none"),
            (github.replace("kind", "kin"), "did you mean `kind`?"),
            (json.replace("change.example.com/api/{id}", "{id}.example.com/"), "behind the host"),
            (json.replace("{id}", "x"), "behind the host"),
            (json.replace("'/state'", "'state'"), "no JSON pointer"),
            (format!("{json}id_pointer = 'number'\n"), "`tracker.id_pointer`: `number` is no JSON pointer"),
            (format!("{jira}id_pointer = '/x'\n"), "`tracker.id_pointer` is for `json`"),
            (format!("{json}page = 'javascript:alert(1)//{{id}}'\n"), "no address like"),
            (json.replace("open = ['implement']\n", ""), "`tracker.open` is missing"),
            (json.replace("['CHG']", "['CHG/']"), "`tracker.prefixes`: `CHG/` is none"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
