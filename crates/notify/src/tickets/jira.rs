//! Jira's REST API v3: `GET` and `POST …/comment` at `/rest/api/3/issue/{key}`
//! (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/>).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::{Ticket, Wrong, all_of, number};

#[derive(Deserialize)]
struct Issue {
    key: String,
    fields: Fields,
}

#[derive(Deserialize)]
struct Fields {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    name: String,
    #[serde(rename = "statusCategory")]
    category: Category,
}

#[derive(Deserialize)]
struct Category {
    key: String,
}

/// `KEY-123`, of one of these projects; of any if none are named.
pub(super) fn read(text: &str, projects: &[String]) -> Option<String> {
    let (key, issue) = text.rsplit_once('-')?;
    let named = projects.is_empty() || projects.iter().any(|project| project == key);
    let shaped = key.starts_with(|c: char| c.is_ascii_uppercase())
        && all_of(key, 1..=40, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    (named && shaped && number(issue).is_some()).then(|| text.to_owned())
}

pub(super) fn address(mut base: Url, key: &str) -> Result<Url, String> {
    match base.path_segments_mut() {
        Ok(mut path) => path.pop_if_empty().extend(["rest", "api", "3", "issue", key]),
        Err(()) => return Err("has no address that a ticket could be asked for at".to_owned()),
    };
    base.query_pairs_mut().append_pair("fields", "status");
    Ok(base)
}

pub(super) fn headers(user: Option<&str>, token: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("accept", "application/json".to_owned())];
    match (user, token) {
        (Some(user), Some(token)) => {
            headers.push(("authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{token}")))))
        }
        (None, Some(token)) => headers.push(("authorization", format!("Bearer {token}"))),
        (_, None) => {}
    }
    headers
}

pub(super) fn ticket(body: &[u8], key: &str) -> Result<Ticket, Wrong> {
    let issue: Issue = serde_json::from_slice(body).map_err(|error| Wrong::Unreadable(error.to_string()))?;
    if issue.key != key {
        let now: String = issue.key.chars().filter(|c| !c.is_control()).take(60).collect();
        return Err(Wrong::Other(format!("the ticket is `{now}` now; name that")));
    }
    let open = match issue.fields.status.category.key.as_str() {
        "new" | "indeterminate" => true,
        "done" => false,
        _ => return Err(Wrong::Unreadable("its status is of no category that is known".to_owned())),
    };
    Ok(Ticket { states: vec![issue.fields.status.name], open })
}

/// A comment in Atlassian's document format, a paragraph per line.
pub(super) fn comment(text: &str) -> String {
    let paragraph = |line: &str| json!({ "type": "paragraph", "content": [{ "type": "text", "text": line }] });
    let paragraphs: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(paragraph).collect();
    json!({ "body": { "type": "doc", "version": 1, "content": paragraphs } }).to_string()
}
