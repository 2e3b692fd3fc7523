//! GitHub's issues: `GET /repos/{owner}/{repo}/issues/{number}` and `POST …/comments` (<https://docs.github.com/en/rest/issues>).

use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::{Ticket, TicketId, Wrong, all_of, number};

#[derive(Deserialize)]
struct Issue {
    state: String,
    #[serde(default)]
    labels: Vec<Label>,
    pull_request: Option<serde::de::IgnoredAny>,
}

/// A label is an object, or just its name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Label {
    Named { name: String },
    Bare(String),
}

/// `owner/repository#123`, of one of these repositories; `#123`, if there is just one.
pub(super) fn read(text: &str, repositories: &[String]) -> Option<TicketId> {
    let (place, issue) = text.split_once('#')?;
    let place = match (place, repositories) {
        ("", [only]) => only.as_str(),
        (place, several) => several.iter().find(|repository| repository.eq_ignore_ascii_case(place))?,
    };
    let (owner, repository) = split(place)?;
    Some(TicketId::GitHub { owner: owner.to_owned(), repository: repository.to_owned(), number: number(issue)? })
}

/// `owner/repository`, if it could be one.
pub(super) fn split(place: &str) -> Option<(&str, &str)> {
    let (owner, repository) = place.split_once('/')?;
    let owned = all_of(owner, 1..=39, |b| b.is_ascii_alphanumeric() || b == b'-');
    let named = all_of(repository, 1..=100, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (owned && named && !matches!(repository, "." | "..")).then_some((owner, repository))
}

pub(super) fn address(mut base: Url, owner: &str, repository: &str, issue: u64) -> Result<Url, String> {
    match base.path_segments_mut() {
        Ok(mut path) => path.pop_if_empty().extend(["repos", owner, repository, "issues", &issue.to_string()]),
        Err(()) => return Err("has no address that a ticket could be asked for at".to_owned()),
    };
    Ok(base)
}

pub(super) fn headers(token: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("accept", "application/vnd.github+json".to_owned()), ("x-github-api-version", "2022-11-28".to_owned())];
    headers.extend(token.map(|token| ("authorization", format!("Bearer {token}"))));
    headers
}

pub(super) fn ticket(body: &[u8]) -> Result<Ticket, Wrong> {
    let issue: Issue = serde_json::from_slice(body).map_err(|error| Wrong::Unreadable(error.to_string()))?;
    if issue.pull_request.is_some() {
        return Err(Wrong::Other("that is a pull request; name the issue it belongs to".to_owned()));
    }
    let open = match issue.state.as_str() {
        "open" => true,
        "closed" => false,
        _ => return Err(Wrong::Unreadable("its state is neither `open` nor `closed`".to_owned())),
    };
    let labels = issue.labels.into_iter().map(|label| match label {
        Label::Named { name } | Label::Bare(name) => name,
    });
    // A label of an issue that is closed says nothing any more.
    let labels: Vec<String> = if open { labels.collect() } else { Vec::new() };
    Ok(Ticket { states: std::iter::once(issue.state).chain(labels).collect(), open })
}

/// A name as a comment shows it: comments are Markdown, in which a name could call whole teams, show pictures, or hide.
pub(super) fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            c if c.is_control() => out.push(' '),
            // What is looked for in the finished page is broken by a letter of no width.
            '@' | '#' | ':' => out.extend([c, '\u{200b}']),
            c if c.is_ascii_punctuation() => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn comment(text: &str) -> String {
    json!({ "body": text }).to_string()
}
