//! `workloads.toml`: whose CI systems are trusted, and which of their jobs is which machine here.
//!
//! A job is known by the claims that its issuer signs. Every workload names the claims it wants; a job that fits none, or several,
//! is nobody. A repository is named by the id that its issuer never gives to another one, because names are given anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use access::claims::{GITHUB, GITLAB, JobClaims, SignatureAlgorithm};
use access::names::{GroupName, Username};
use access::time::Span;
use serde::Serialize;

use super::collect;
use super::people::People;
use super::resources::Word;
use crate::document::{At, Document, Table};
use crate::problem::{Place, Sink, shown};

/// How long what a job gets for its token is good for, if nothing is said.
const DEFAULT_TOKEN: Span = Span::minutes(30);
/// The longest it may be.
const LONGEST_TOKEN: Span = Span::hours(12);
/// What every token carries and the gate checks by itself.
const CHECKED: &[&str] = &["iss", "aud", "exp", "nbf", "iat", "jti"];

/// Whose claims they are, which says what ids it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKind {
    /// GitHub Actions.
    Github,
    /// GitLab CI/CD.
    Gitlab,
    /// Anything else that issues OIDC tokens to its jobs.
    Other,
}

impl FromStr for IssuerKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "github" => Ok(Self::Github),
            "gitlab" => Ok(Self::Gitlab),
            "other" => Ok(Self::Other),
            _ => {
                let near = crate::problem::nearest(text, ["github", "gitlab", "other"]);
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                Err(format!("`{}` is no kind of issuer; there is `github`, `gitlab` and `other`{hint}", shown(text)))
            }
        }
    }
}

impl IssuerKind {
    /// The ids that this issuer gives for good.
    fn ids(self) -> &'static [&'static str] {
        match self {
            Self::Github => &["repository_id", "repository_owner_id"],
            Self::Gitlab => &["project_id", "namespace_id"],
            Self::Other => &[],
        }
    }

    /// The claims its tokens have; `None`: whatever they like.
    fn claims(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Github => Some(GITHUB),
            Self::Gitlab => Some(GITLAB),
            Self::Other => None,
        }
    }
}

/// A CI system whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustedIssuer {
    /// Its name in this file.
    pub name: String,
    /// Whose claims they are.
    pub kind: IssuerKind,
    /// What stands as `iss` in its tokens, and where its keys are found (OpenID Connect Discovery 1.0 §4).
    pub url: String,
    /// What has to stand as `aud` in a token: this gate.
    pub audience: String,
    /// What it may sign with.
    pub algorithms: BTreeSet<SignatureAlgorithm>,
    /// The CAs that its own certificate is to be under, PEM; `None`: those the machine trusts.
    pub roots: Option<String>,
    /// The longest that a token of ours for one of theirs is good for.
    pub max_token: Span,
}

/// What one claim may be: a text, in which `*` stands for one whole part between `/` or `:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    fn parts(text: &str) -> impl Iterator<Item = &str> {
        text.split_inclusive(['/', ':'])
    }

    /// Whether a claim's value is one of these.
    #[must_use]
    pub fn fits(&self, value: &str) -> bool {
        let (mut wanted, mut found) = (Self::parts(&self.0), Self::parts(value));
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return true,
                (Some(wanted), Some(found)) => {
                    let (name, end) = split_end(wanted);
                    let (part, its_end) = split_end(found);
                    if end != its_end || !(name == part || (name == "*" && !part.is_empty())) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }

    /// Whether it is one value and no other.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether anything in it has to be as it says.
    fn is_specific(&self) -> bool {
        Self::parts(&self.0).any(|part| !matches!(split_end(part).0, "*" | ""))
    }
}

/// A part, and the separator behind it.
fn split_end(part: &str) -> (&str, &str) {
    match part.strip_suffix(['/', ':']) {
        Some(name) => part.split_at(name.len()),
        None => (part, ""),
    }
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 512 || text.chars().any(char::is_control) {
            return Err("a claim's value has 1 to 512 letters, none of which is invisible".to_owned());
        }
        match Self::parts(text).find(|part| split_end(part).0 != "*" && part.contains('*')) {
            Some(part) => Err(format!(
                "`*` stands for one whole part between `/` or `:`, not for a piece of one as in `{}`; list the values one by one",
                shown(part)
            )),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// A machine that jobs of a CI system are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// Its user name.
    pub name: Username,
    /// In plain words, what it does.
    pub description: Option<String>,
    /// The issuer of its tokens, by the name it has in this file.
    pub issuer: String,
    /// The human who answers for it.
    pub owner: Username,
    /// The groups it is in, besides those of `people.toml`.
    pub groups: BTreeSet<GroupName>,
    /// How long what a job gets for its token is good for.
    pub max_token: Span,
    /// What each of these claims has to be: one of its patterns.
    pub claims: BTreeMap<String, Vec<Pattern>>,
}

impl Workload {
    /// The first claim that is not as it has to be, and whether the ids in it are: then it is a job of the same house.
    fn misfit(&self, job: &JobClaims) -> Option<(String, bool)> {
        let fits = |(name, wanted): (&String, &Vec<Pattern>)| job.get(name).is_some_and(|value| wanted.iter().any(|w| w.fits(value)));
        let (name, wanted) = self.claims.iter().find(|claim| !fits(*claim))?;
        let same_house = self.claims.iter().filter(|(name, _)| name.ends_with("_id")).all(fits);
        let wanted = wanted.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
        let says = match job.get(name) {
            Some(value) => format!("`{}` wants `{name}` to be {wanted}, and it is `{}`", self.name, shown(value)),
            None => format!("`{}` wants `{name}` to be {wanted}, and the token does not say it", self.name),
        };
        Some((says, same_house && self.claims.keys().any(|name| name.ends_with("_id"))))
    }

    /// The claims of a job that would be this workload, as far as its conditions name one value: the first of each.
    #[must_use]
    pub(crate) fn example(&self) -> BTreeMap<String, String> {
        let exact = |wanted: &Vec<Pattern>| wanted.iter().find(|w| w.is_exact()).or(wanted.first()).map(|w| w.0.replace('*', "any"));
        self.claims.iter().filter_map(|(name, wanted)| Some((name.clone(), exact(wanted)?))).collect()
    }
}

/// Which workload a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job<'w> {
    /// This one.
    Is(&'w Workload),
    /// None; why the nearest is not, for the log, and whether the job may be told, as it is one of the same repository.
    Nobody {
        /// For each workload of the issuer, the first claim that is not as it has to be.
        misfits: Vec<String>,
        /// Those of them that are about the same repository or project.
        own: Vec<String>,
    },
    /// Several, which is none: what they are is for whoever keeps the policy to say.
    Several(Vec<&'w Username>),
}

/// Everything `workloads.toml` says.
#[derive(Debug, Clone, Default)]
pub struct Workloads {
    /// The issuers, by name.
    pub issuers: BTreeMap<String, TrustedIssuer>,
    /// The workloads, by name.
    pub all: BTreeMap<Username, Workload>,
}

impl Workloads {
    /// The issuer with this URL, exactly.
    #[must_use]
    pub fn issuer(&self, url: &str) -> Option<&TrustedIssuer> {
        self.issuers.values().find(|issuer| issuer.url == url)
    }

    /// Which workload a job with these claims is.
    #[must_use]
    pub fn who_is(&self, job: &JobClaims) -> Job<'_> {
        let Some(issuer) = self.issuer(&job.issuer) else { return Job::Nobody { misfits: Vec::new(), own: Vec::new() } };
        let (mut found, mut misfits, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for workload in self.all.values().filter(|workload| workload.issuer == issuer.name) {
            match workload.misfit(job) {
                None => found.push(workload),
                Some((says, same_house)) => {
                    if same_house {
                        own.push(says.clone());
                    }
                    misfits.push(says);
                }
            }
        }
        match found.as_slice() {
            [] => Job::Nobody { misfits, own },
            [one] => Job::Is(one),
            several => Job::Several(several.iter().map(|workload| &workload.name).collect()),
        }
    }

    /// Whether a job with these claims is this workload and no other, now.
    ///
    /// # Errors
    /// Says why it is not, or no longer.
    pub fn trust(&self, name: &Username, job: &JobClaims) -> Result<(), String> {
        match self.who_is(job) {
            Job::Is(workload) if workload.name == *name => Ok(()),
            Job::Is(other) => Err(format!("by these claims the job is `{}` now, and not `{name}`", other.name)),
            Job::Several(names) => Err(several(&names)),
            Job::Nobody { misfits, .. } if misfits.is_empty() => {
                Err(format!("no workload of the issuer {} is known here; `workloads.toml` says which are", shown(&job.issuer)))
            }
            Job::Nobody { misfits, .. } => Err(misfits.join("; ")),
        }
    }
}

/// What is said of a job that fits several workloads.
#[must_use]
pub fn several(names: &[&Username]) -> String {
    let names = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
    format!("the claims of this job fit {names}; make their conditions in `workloads.toml` tell them apart")
}

/// What was read, before names are checked against each other.
#[derive(Default)]
pub(crate) struct WorkloadsSource {
    pub(crate) workloads: Workloads,
    places: BTreeMap<Username, Places>,
}

/// Where the names stand that a workload uses.
struct Places {
    issuer: Place,
    owner: Place,
    groups: Vec<At<GroupName>>,
    claims: Vec<(String, Place)>,
    whole: Place,
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> WorkloadsSource {
    let mut issuers: BTreeMap<String, (TrustedIssuer, Place)> = BTreeMap::new();
    let mut all: BTreeMap<Username, ((Workload, Places), Place)> = BTreeMap::new();
    for (file, bytes) in files {
        let Some(doc) = Document::open(file, bytes, sink) else { continue };
        let root = doc.root();
        collect(&root, "issuer", &mut issuers, read_issuer);
        collect(&root, "workload", &mut all, read_workload);
        root.finish();
    }
    let mut urls: BTreeMap<&str, &str> = BTreeMap::new();
    for (issuer, place) in issuers.values() {
        if let Some(first) = urls.insert(&issuer.url, &issuer.name) {
            sink.error(place.clone(), format!("`{}` and `{first}` are the same issuer; one of them is enough", issuer.name));
        }
    }
    let mut out = WorkloadsSource::default();
    for (name, ((workload, places), _)) in all {
        out.places.insert(name.clone(), places);
        out.workloads.all.insert(name, workload);
    }
    out.workloads.issuers = issuers.into_iter().map(|(name, (issuer, _))| (name, issuer)).collect();
    out
}

fn read_issuer(table: &Table<'_>) -> Option<(At<String>, TrustedIssuer)> {
    let sink = table.sink();
    let name: Option<At<Word>> = table.required("name");
    let url: Option<At<String>> = table.required("url");
    let audience: Option<At<String>> = table.required("audience");
    let kind: Option<At<IssuerKind>> = table.read("kind");
    let listed = table.read_list::<SignatureAlgorithm>("algorithms");
    let roots = table.text("roots");
    let max_token = bounded(table);
    if table.has("algorithms") && listed.is_empty() {
        sink.error(table.place(), "with no `algorithms` no token is ever believed; leave the line out for all that prove anything");
    }
    if let Some(roots) = roots.as_ref().filter(|roots| !roots.value.contains("-----BEGIN CERTIFICATE-----")) {
        sink.error(roots.place.clone(), "`roots` are the certificates of CAs as PEM: `-----BEGIN CERTIFICATE-----` and so on");
    }
    let (name, url, audience) = (name?, url?, audience?);
    if !is_issuer(&url.value) {
        let says = format!("`{}` is no issuer; it is an `https://` address without `?`, `#` or `@`", shown(&url.value));
        sink.error(url.place.clone(), says);
    }
    if audience.value.trim().is_empty() || audience.value.len() > 255 {
        sink.error(audience.place.clone(), "`audience` is what the job asks its token for: the address of this gate, best");
    }
    let kind = kind.map_or_else(|| kind_of(&url.value), |kind| kind.value);
    let listed: BTreeSet<SignatureAlgorithm> = listed.into_iter().map(|a| a.value).collect();
    let algorithms = if listed.is_empty() { SignatureAlgorithm::ALL.iter().copied().collect() } else { listed };
    let name = At { value: name.value.0, place: name.place };
    let issuer = TrustedIssuer {
        name: name.value.clone(),
        kind,
        url: url.value,
        audience: audience.value,
        algorithms,
        roots: roots.map(|roots| roots.value),
        max_token: max_token.unwrap_or(LONGEST_TOKEN),
    };
    Some((name, issuer))
}

fn read_workload(table: &Table<'_>) -> Option<(At<Username>, (Workload, Places))> {
    let name: Option<At<Username>> = table.required("name");
    let issuer: Option<At<String>> = table.required("issuer");
    let owner: Option<At<Username>> = table.required("owner");
    let description = table.text("description").map(|text| text.value);
    let groups = table.read_list::<GroupName>("groups");
    let max_token = bounded(table);
    if !table.has("claims") {
        let says =
            "`claims` is missing here: what a job has to be, as in `claims = { repository_id = \"1234\", ref = \"refs/heads/main\" }`";
        table.sink().error(table.place(), says);
    }
    let (mut claims, mut claim_places) = (BTreeMap::new(), Vec::new());
    for (claim, values) in table.table("claims").if_there().map(Table::entries::<Pattern>).unwrap_or_default() {
        if CHECKED.contains(&claim.value.as_str()) {
            let says = format!("`{}` is checked in every token; say which job it has to be, as by its repository", claim.value);
            table.sink().error(claim.place.clone(), says);
        }
        claim_places.push((claim.value.clone(), claim.place));
        claims.insert(claim.value, values.into_iter().map(|value| value.value).collect::<Vec<_>>());
    }
    let (name, issuer, owner) = (name?, issuer?, owner?);
    let places =
        Places { issuer: issuer.place, owner: owner.place, groups: groups.clone(), claims: claim_places, whole: name.place.clone() };
    let workload = Workload {
        name: name.value.clone(),
        description,
        issuer: issuer.value,
        owner: owner.value,
        groups: groups.into_iter().map(|group| group.value).collect(),
        max_token: max_token.unwrap_or(DEFAULT_TOKEN),
        claims,
    };
    Some((name, (workload, places)))
}

fn bounded(table: &Table<'_>) -> Option<Span> {
    let max: At<Span> = table.read("max_token")?;
    if max.value == Span::default() || max.value > LONGEST_TOKEN {
        let says = format!("a job's token is good for longer than nothing and for at most {LONGEST_TOKEN}; a session may last longer");
        table.sink().error(max.place, says);
    }
    Some(max.value)
}

/// An address that tokens may be believed from: HTTPS, or this machine itself.
fn is_issuer(url: &str) -> bool {
    let here = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    let rest = url.strip_prefix("https://").or_else(|| {
        let host = here.iter().find(|host| url.starts_with(**host))?;
        url.get(host.len()..).filter(|rest| rest.is_empty() || rest.starts_with([':', '/'])).map(|_| "here")
    });
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '"' | '\\');
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && url.chars().all(plain)
}

fn kind_of(url: &str) -> IssuerKind {
    match url {
        "https://token.actions.githubusercontent.com" => IssuerKind::Github,
        "https://gitlab.com" => IssuerKind::Gitlab,
        _ => IssuerKind::Other,
    }
}

impl WorkloadsSource {
    /// Every name that is used has to be there, and every workload has to be somebody in particular.
    pub(crate) fn check(&self, people: &People, sink: &Sink) {
        for (name, workload) in &self.workloads.all {
            let Some(places) = self.places.get(name) else { continue };
            for group in places.groups.iter().filter(|group| !people.groups.contains_key(&group.value)) {
                sink.unknown(group.place.clone(), "group", group.value.as_str(), people.groups.keys().map(GroupName::as_str));
            }
            if self.workloads.all.contains_key(&workload.owner) || people.workloads.contains(&workload.owner) {
                sink.error(places.owner.clone(), format!("`{}` is a machine itself; a human answers for each of them", workload.owner));
            }
            if people.contractors.contains_key(name) {
                sink.error(places.whole.clone(), format!("`{name}` is a contractor in `people.toml`; a machine has a name of its own"));
            }
            match self.workloads.issuers.get(&workload.issuer) {
                Some(issuer) => check_claims(workload, issuer, places, sink),
                None => {
                    let known = self.workloads.issuers.keys().map(String::as_str);
                    sink.unknown(places.issuer.clone(), "issuer", &workload.issuer, known);
                }
            }
        }
    }
}

fn check_claims(workload: &Workload, issuer: &TrustedIssuer, places: &Places, sink: &Sink) {
    if let Some(known) = issuer.kind.claims() {
        for (name, place) in places.claims.iter().filter(|(name, _)| !CHECKED.contains(&name.as_str())) {
            if !known.contains(&name.as_str()) {
                sink.unknown(place.clone(), &format!("claim of {}", issuer.name), name, known.iter().copied());
            }
        }
    }
    for (name, place) in &places.claims {
        let wanted = workload.claims.get(name).map(Vec::as_slice).unwrap_or_default();
        if wanted.is_empty() {
            sink.error(place.clone(), format!("no job's `{name}` can be one of none; name what it may be, or leave the line out"));
        } else if wanted.iter().any(|w| !w.is_specific()) {
            sink.error(place.clone(), format!("every job's `{name}` is that; name at least a part of it, or leave the line out"));
        }
    }
    let one = |name: &str| workload.claims.get(name).is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(Pattern::is_exact));
    let ids = issuer.kind.ids();
    if ids.is_empty() {
        if !workload.claims.keys().any(|name| !CHECKED.contains(&name.as_str()) && one(name)) {
            let says = format!("any job of `{}` could be `{}`; name at least one claim whole, as `sub`", issuer.name, workload.name);
            sink.error(places.whole.clone(), says);
        }
    } else if !ids.iter().any(|name| one(name)) {
        let ids = ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" or ");
        let says = format!(
            "`{}` says by no id whose job it is: names of repositories and owners are given to others once they are free; name {ids}",
            workload.name
        );
        sink.error(places.whole.clone(), says);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    // covers: WHO-6, A7
    #[test]
    fn a_star_is_one_whole_part_and_nothing_less_or_more() {
        let release = pattern("refs/heads/release/*");
        assert!(release.fits("refs/heads/release/1.2"));
        for other in
            ["refs/heads/release", "refs/heads/release/", "refs/heads/release/1/2", "refs/heads/release:1", "x/refs/heads/release/1"]
        {
            assert!(!release.fits(other), "{other}");
        }
        let subject = pattern("repo:acme/*:environment:production");
        assert!(subject.fits("repo:acme/shop:environment:production"));
        assert!(!subject.fits("repo:acme/shop:environment:production:x"));
        assert!(!subject.fits("repo:acme/shop:x:environment:production"));
        assert!(!subject.fits("repo:evil/shop:environment:production"));
        assert!(pattern("refs/heads/main").fits("refs/heads/main"));
        assert!(!pattern("refs/heads/main").fits("refs/heads/Main"));
        for wrong in ["refs/heads/rel*", "*main", "a/**", "", "a\nb"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_issuer_is_an_address_that_can_be_believed() {
        for good in
            ["https://token.actions.githubusercontent.com", "https://git.example:8443/ci", "http://127.0.0.1:4711", "http://localhost"]
        {
            assert!(is_issuer(good), "{good}");
        }
        for wrong in [
            "http://git.example",
            "https://",
            "https:///x",
            "http://127.0.0.1.evil.example",
            "http://localhostevil",
            "https://a@evil.example",
            "https://git.example?x",
            "https://git.example/#a",
            "git.example",
            "https://git example",
        ] {
            assert!(!is_issuer(wrong), "{wrong}");
        }
    }
}
