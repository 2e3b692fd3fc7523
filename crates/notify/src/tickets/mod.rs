//! Trackers of tickets: whether a ticket is there and in which state, and what is written back to it.
//!
//! Jira, GitHub's issues, and anything that answers JSON at an address. A ticket's id is read before it becomes a part of an
//! address, and is none unless it looks like one of that tracker's. What a state is worth is for `workflow` to say.

mod github;
mod jira;
mod json;

use access::names::GroupName;
use access::secret::Secret;
use reqwest::Url;

use crate::http::{Answer, Caller, Reach, ReachError};
use crate::oncall::TokenFrom;
use crate::outcome::Outcome;

/// The largest answer that is read.
const LARGEST: usize = 1024 * 1024;

/// Which kind of tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Jira's REST API v3.
    Jira,
    /// GitHub's issues.
    GitHub,
    /// An address that answers JSON.
    Json,
}

impl Kind {
    /// Every kind, as the configuration writes it.
    pub const ALL: [(&'static str, Self); 3] = [("jira", Self::Jira), ("github", Self::GitHub), ("json", Self::Json)];

    /// As the configuration writes it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Jira => "jira",
            Self::GitHub => "github",
            Self::Json => "json",
        }
    }
}

/// A tracker, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    /// Its name.
    pub name: GroupName,
    /// Which kind.
    pub kind: Kind,
    /// Jira: the site. GitHub: the API. JSON: the address of a ticket, with `{id}` in it.
    pub url: String,
    /// Whose tickets: Jira's project keys, GitHub's `owner/repository`, or what ids begin with.
    pub of: Vec<String>,
    /// Jira: the account whose token it is (basic authentication); without it the token is a bearer's.
    pub user: Option<String>,
    /// What it is asked with.
    pub token: TokenFrom,
    /// JSON: where the state stands in the answer (RFC 6901).
    pub pointer: String,
    /// JSON: where the ticket's id stands in the answer; `None`: the answer is not asked which ticket it is about.
    pub id_pointer: Option<String>,
    /// JSON: the states that count as open.
    pub open: Vec<String>,
    /// JSON: where people look at a ticket, with `{id}` in it.
    pub page: Option<String>,
    /// What may be reached.
    pub reach: Reach,
}

/// A ticket's id, read: it is safe in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketId {
    /// `KEY-123`.
    Jira(String),
    /// `owner/repository#123`.
    GitHub {
        /// Whose.
        owner: String,
        /// Which repository.
        repository: String,
        /// Which issue.
        number: u64,
    },
    /// What begins as the tracker's tickets do.
    Json(String),
}

impl std::fmt::Display for TicketId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Jira(id) | Self::Json(id) => f.write_str(id),
            Self::GitHub { owner, repository, number } => write!(f, "{owner}/{repository}#{number}"),
        }
    }
}

/// A ticket as its tracker says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The state as the tracker calls it first, then whatever else may be asked for: GitHub's labels.
    pub states: Vec<String>,
    /// Whether the tracker counts it as open.
    pub open: bool,
}

impl Ticket {
    /// Whether it is as it should be: open, or in one of these states.
    #[must_use]
    pub fn is(&self, wanted: &[String]) -> bool {
        if wanted.is_empty() {
            return self.open;
        }
        self.states.iter().any(|state| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(state)))
    }
}

/// Why a tracker did not say how a ticket is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is none.
    #[error("`{0}` knows no such ticket")]
    NoSuch(GroupName),
    /// It goes by another id now, or is something else.
    #[error("{0}")]
    Other(String),
    /// No answer, or none that can be used.
    #[error("`{name}` {why}")]
    Silent {
        /// The tracker.
        name: GroupName,
        /// Why.
        why: String,
    },
}

impl Tracker {
    /// A ticket's id, if it looks like one of this tracker's.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<TicketId> {
        let text = text.trim();
        match self.kind {
            Kind::Jira => jira::read(text, &self.of).map(TicketId::Jira),
            Kind::GitHub => github::read(text, &self.of),
            Kind::Json => json::read(text, &self.of).map(TicketId::Json),
        }
    }

    /// What its tickets look like, for who wrote something else.
    #[must_use]
    pub fn looks_like(&self) -> String {
        let first = self.of.first().map(String::as_str);
        match self.kind {
            Kind::Jira => format!("{}-123", first.unwrap_or("KEY")),
            Kind::GitHub => format!("{}#123", first.unwrap_or("owner/repository")),
            Kind::Json => format!("{}123", first.unwrap_or_default()),
        }
    }

    /// Where people look at a ticket.
    #[must_use]
    pub fn page_of(&self, id: &TicketId) -> Option<String> {
        match id {
            TicketId::Jira(key) => Some(format!("{}/browse/{key}", self.url.trim_end_matches('/'))),
            TicketId::GitHub { owner, repository, number } => {
                let site = match self.url.trim_end_matches('/') {
                    "https://api.github.com" => "https://github.com",
                    other => other.strip_suffix("/api/v3").unwrap_or(other),
                };
                Some(format!("{site}/{owner}/{repository}/issues/{number}"))
            }
            TicketId::Json(id) => self.page.as_ref().map(|page| page.replace("{id}", id)),
        }
    }

    /// A name in a text that is written to its tickets: it means nothing else there.
    #[must_use]
    pub fn plain(&self, name: &str) -> String {
        match self.kind {
            Kind::GitHub => github::plain(name),
            // A comment there is a text, and no markup.
            Kind::Jira | Kind::Json => name.to_owned(),
        }
    }

    /// Whether what is decided can be written to its tickets.
    #[must_use]
    pub fn takes_comments(&self) -> bool {
        self.kind != Kind::Json
    }
}

/// Asks one tracker.
#[derive(Debug, Clone)]
pub struct TrackerClient {
    caller: Caller,
}

impl TrackerClient {
    /// A client that reaches what a tracker may reach and nothing else.
    ///
    /// # Errors
    /// If TLS can't be set up, or the tracker's address may not be called.
    pub fn new(tracker: &Tracker) -> Result<Self, ReachError> {
        let caller = Caller::new(&tracker.reach)?;
        caller.url(&tracker.url.replace("{id}", "X-1"))?;
        Ok(Self { caller })
    }

    /// How a ticket is.
    ///
    /// # Errors
    /// If there is none, or the tracker doesn't say.
    pub async fn look(&self, tracker: &Tracker, token: Option<&Secret<String>>, id: &TicketId) -> Result<Ticket, Trouble> {
        let (url, headers) = self.asked(tracker, token, id).map_err(|why| silent(tracker, why))?;
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.caller.get(&url, &headers, LARGEST).await.map_err(|why| silent(tracker, format!("cannot be reached: {why}")))?;
        let body = good(tracker, answer)?;
        match id {
            TicketId::Jira(key) => jira::ticket(&body, key),
            TicketId::GitHub { .. } => github::ticket(&body),
            TicketId::Json(asked) => json::ticket(&body, tracker, asked),
        }
        .map_err(|wrong| match wrong {
            Wrong::Other(says) => Trouble::Other(says),
            Wrong::Unreadable(why) => silent(tracker, format!("gave an answer that cannot be read: {why}")),
        })
    }

    /// Writes something to a ticket. The text has lines.
    pub async fn comment(&self, tracker: &Tracker, token: Option<&Secret<String>>, id: &TicketId, text: &str) -> Outcome<()> {
        let (url, mut headers) = match self.asked(tracker, token, id) {
            Ok(asked) => asked,
            Err(why) => return Outcome::Never { why },
        };
        let (below, body) = match id {
            TicketId::Jira(_) => ("comment", jira::comment(text)),
            TicketId::GitHub { .. } => ("comments", github::comment(text)),
            TicketId::Json(_) => return Outcome::Never { why: "nothing can be written there".to_owned() },
        };
        let mut url = url;
        url.set_query(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(below);
        }
        headers.push(("content-type", "application/json".to_owned()));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match self.caller.post(&url, &headers, body.into_bytes()).await {
            Err(why) => Outcome::later(why),
            Ok(answer) if (200..300).contains(&answer.status) => Outcome::Taken(()),
            // A ticket that is gone takes nothing, today or tomorrow.
            Ok(Answer { status: status @ (400 | 404 | 410 | 422), .. }) => {
                Outcome::Never { why: format!("it answered with HTTP {status}") }
            }
            Ok(answer) => answer.refused(),
        }
    }

    /// Where a ticket is asked for, and with what.
    fn asked(
        &self,
        tracker: &Tracker,
        token: Option<&Secret<String>>,
        id: &TicketId,
    ) -> Result<(Url, Vec<(&'static str, String)>), String> {
        let base = |text: &str| self.caller.url(text).map_err(|error| error.to_string());
        let token = token.map(|token| token.expose().trim());
        match id {
            TicketId::Jira(key) => Ok((jira::address(base(&tracker.url)?, key)?, jira::headers(tracker.user.as_deref(), token))),
            TicketId::GitHub { owner, repository, number } => {
                Ok((github::address(base(&tracker.url)?, owner, repository, *number)?, github::headers(token)))
            }
            TicketId::Json(id) => Ok((base(&tracker.url.replace("{id}", id))?, json::headers(token))),
        }
    }
}

/// What is wrong with an answer.
#[derive(Debug)]
enum Wrong {
    Other(String),
    Unreadable(String),
}

fn silent(tracker: &Tracker, why: String) -> Trouble {
    Trouble::Silent { name: tracker.name.clone(), why }
}

fn good(tracker: &Tracker, answer: Answer) -> Result<Vec<u8>, Trouble> {
    match answer.status {
        200 => Ok(answer.body),
        404 | 410 => Err(Trouble::NoSuch(tracker.name.clone())),
        301 | 302 | 307 | 308 => Err(Trouble::Other("the ticket has moved; name the new one".to_owned())),
        401 => Err(silent(tracker, "does not take the gate's token (HTTP 401); its administrator has to set a new one".to_owned())),
        403 => Err(silent(tracker, "does not let the gate see the ticket, or wants to be asked less often (HTTP 403)".to_owned())),
        429 => Err(silent(tracker, "wants to be asked less often (HTTP 429)".to_owned())),
        status => Err(silent(tracker, format!("answered with HTTP {status}"))),
    }
}

/// Whether all of a text is of some bytes, and so long.
fn all_of(text: &str, length: std::ops::RangeInclusive<usize>, allowed: impl Fn(u8) -> bool) -> bool {
    length.contains(&text.len()) && text.bytes().all(allowed)
}

/// A number as tickets have it: no sign, no zero in front.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n: &u64| *n > 0 && n.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(kind: Kind, url: &str, of: &[&str]) -> Tracker {
        Tracker {
            name: "tracker".parse().unwrap(),
            kind,
            url: url.into(),
            of: of.iter().map(|of| (*of).to_owned()).collect(),
            user: None,
            token: TokenFrom::Nowhere,
            pointer: "/state".into(),
            id_pointer: None,
            open: vec!["implement".into()],
            page: Some("https://change.example.com/?{id}".into()),
            reach: Reach::default(),
        }
    }

    // covers: ASK-5
    #[test]
    fn an_id_is_one_of_the_tracker_s_or_none() {
        let jira = tracker(Kind::Jira, "https://acme.atlassian.net", &["OPS"]);
        assert_eq!(jira.page_of(&jira.read(" OPS-12 ").unwrap()).unwrap(), "https://acme.atlassian.net/browse/OPS-12");
        for wrong in [
            "",
            "OPS",
            "OPS-",
            "OPS-0",
            "OPS-012",
            "ops-12",
            "OTHER-1",
            "OPS-12/../OPS-13",
            "OPS-12?x=1",
            "../OPS-1",
            "OPS-1 OR",
            "OPS-1%2F",
        ] {
            assert!(jira.read(wrong).is_none(), "{wrong}");
        }
        let github = tracker(Kind::GitHub, "https://api.github.com", &["acme/shop"]);
        assert_eq!(github.read("#7").unwrap().to_string(), "acme/shop#7");
        assert_eq!(github.page_of(&github.read("acme/shop#7").unwrap()).unwrap(), "https://github.com/acme/shop/issues/7");
        for wrong in
            ["acme/other#7", "acme/shop", "acme/shop#x", "acme/../shop#7", "acme/shop/issues#7", "a/b#1", "#0", "#-1", "#1/comments"]
        {
            assert!(github.read(wrong).is_none(), "{wrong}");
        }
        let two = tracker(Kind::GitHub, "https://api.github.com", &["acme/shop", "acme/ledger"]);
        assert!(two.read("#7").is_none(), "of which?");
        let json = tracker(Kind::Json, "https://change.example.com/api/{id}", &["CHG"]);
        assert_eq!(json.page_of(&json.read("CHG-0042").unwrap()).unwrap(), "https://change.example.com/?CHG-0042");
        for wrong in ["INC1", "CHG", "CHG/1", "CHG..", "CHG?1", "CHG#1", "CHG 1", "CHG%31", &format!("CHG{}", "1".repeat(80))] {
            assert!(json.read(wrong).is_none(), "{wrong}");
        }
    }

    // covers: E9 (chat)
    #[test]
    fn a_name_is_no_markup() {
        let github = tracker(Kind::GitHub, "https://api.github.com", &["acme/shop"]);
        assert_eq!(github.plain("Ana Silva"), "Ana Silva");
        let hostile = github.plain("@acme/security ![x](https://evil.example/x.png) <!-- #7 www.evil.example");
        for live in ["@a", "![", "](", "<!", "#7", "://", "www.evil"] {
            assert!(!hostile.contains(live), "{live}: {hostile}");
        }
        assert_eq!(github.plain("a\nb"), "a b");
        let jira = tracker(Kind::Jira, "https://acme.atlassian.net", &["OPS"]);
        assert_eq!(jira.plain("*Ana*"), "*Ana*");
    }

    // covers: ASK-5
    #[test]
    fn an_answer_about_another_ticket_is_none() {
        let asked =
            Tracker { id_pointer: Some("/result/number".into()), ..tracker(Kind::Json, "https://change.example.com/api/{id}", &["CHG"]) };
        let said = |number: &str| format!(r#"{{"state": "implement", "result": {{"number": "{number}"}}}}"#);
        assert!(json::ticket(said("CHG1").as_bytes(), &asked, "CHG1").unwrap().open);
        assert!(json::ticket(said("chg1").as_bytes(), &asked, "CHG1").unwrap().open);
        assert!(json::ticket(said("CHG2").as_bytes(), &asked, "CHG1").is_err());
        assert!(json::ticket(br#"{"state": "implement"}"#, &asked, "CHG1").is_err(), "it does not say whose");
        let trusting = Tracker { id_pointer: None, ..asked };
        assert!(json::ticket(said("CHG2").as_bytes(), &trusting, "CHG1").unwrap().open);
    }

    #[test]
    fn open_or_in_a_state_that_is_asked_for() {
        let ticket = |state: &str, open| Ticket { states: vec![state.into(), "approved".into()], open };
        assert!(ticket("In Progress", true).is(&[]) && !ticket("Done", false).is(&[]));
        assert!(ticket("In Progress", true).is(&["in progress".into()]) && ticket("Done", false).is(&["Approved".into()]));
        assert!(!ticket("To Do", true).is(&["In Progress".into()]));
    }
}
