//! Who is on call, as schedules kept elsewhere say it: PagerDuty, Opsgenie, and iCalendar feeds.
//!
//! A [`Source`] is asked as a whole and answers per service; a service that any part of its answer is missing for is an error, not
//! an empty list. Whom a source means is said by its mapping alone: nobody is recognised by a name that looks alike. What an answer
//! is worth, and for how long, is for `workflow` to say.

mod ical;
mod opsgenie;
mod pagerduty;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use access::names::{GroupName, SecretName, Username};
use access::secret::Secret;
use access::time::Span;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::http::{Answer, Caller, Reach, ReachError};

/// The largest answer that is read; a calendar of many years is about this.
const LARGEST: usize = 4 * 1024 * 1024;

/// Which kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PagerDuty's REST API v2.
    PagerDuty,
    /// Opsgenie's schedule API v2.
    Opsgenie,
    /// iCalendar (RFC 5545), over HTTPS or from a file.
    ICalendar,
}

impl Kind {
    /// Every kind, as the configuration writes it.
    pub const ALL: [(&'static str, Self); 3] =
        [("pagerduty", Self::PagerDuty), ("opsgenie", Self::Opsgenie), ("icalendar", Self::ICalendar)];

    /// As the configuration writes it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::PagerDuty => "pagerduty",
            Self::Opsgenie => "opsgenie",
            Self::ICalendar => "icalendar",
        }
    }

    /// Where its API is, unless the configuration says otherwise.
    #[must_use]
    pub fn url(self) -> Option<&'static str> {
        match self {
            Self::PagerDuty => Some("https://api.pagerduty.com"),
            Self::Opsgenie => Some("https://api.opsgenie.com"),
            Self::ICalendar => None,
        }
    }
}

/// Where the token that a source is asked with comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFrom {
    /// It is asked without.
    Nowhere,
    /// A sealed secret of the gate.
    Sealed(SecretName),
    /// A file.
    File(PathBuf),
}

/// What stands at the source for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// PagerDuty: an escalation policy, by id; its levels are the service's.
    EscalationPolicy(String),
    /// PagerDuty: a schedule, by id. Opsgenie: by id or name.
    Schedule(String),
    /// iCalendar: a feed.
    Feed(String),
    /// iCalendar: a feed whose address, which may be a secret, stands in a file.
    FeedNamedIn(PathBuf),
    /// iCalendar: a file.
    File(PathBuf),
}

/// A service and where its people stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// As policy calls it.
    pub service: GroupName,
    /// Where its people stand.
    pub place: Place,
    /// The escalation level of the people there, where the source itself tells none.
    pub level: u32,
}

/// A source, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As policy calls it.
    pub name: GroupName,
    /// Which kind.
    pub kind: Kind,
    /// Where its API is; empty for feeds.
    pub url: String,
    /// What it is asked with.
    pub token: TokenFrom,
    /// Its services.
    pub schedules: Vec<Mapped>,
    /// The people: an id or e-mail address there, and who that is here.
    pub people: BTreeMap<String, Username>,
    /// The directory of the gate by whose `userName` people are known too, if it is their e-mail address at the source.
    pub directory: Option<Username>,
    /// How often it is asked.
    pub refresh: Span,
    /// How long its last answer counts.
    pub stale_after: Span,
    /// The zone of feeds whose times have none.
    pub time_zone: Option<TimeZone>,
    /// Of feeds: by e-mail address, whose invitations give out duty.
    pub organizers: Vec<String>,
    /// What may be reached.
    pub reach: Reach,
}

impl Source {
    /// Its services, each once.
    #[must_use]
    pub fn services(&self) -> Vec<GroupName> {
        let mut all: Vec<GroupName> = self.schedules.iter().map(|mapped| mapped.service.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Who somebody at the source is here, if the mapping says so.
    #[must_use]
    pub fn known(&self, them: &Them) -> Option<&Username> {
        let same = |key: &str| key == them.id || them.email.as_deref().is_some_and(|email| key.eq_ignore_ascii_case(email));
        self.people.iter().find(|(key, _)| same(key)).map(|(_, who)| who)
    }
}

/// Somebody, as a source calls them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Them {
    /// The id there; of a feed the attendee's address, or the summary where there is none.
    pub id: String,
    /// Their e-mail address, if it is told.
    pub email: Option<String>,
}

impl std::fmt::Display for Them {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.email.as_deref().filter(|email| *email != self.id) {
            Some(email) => write!(f, "{} ({})", shown(&self.id), shown(email)),
            None => f.write_str(&shown(&self.id)),
        }
    }
}

/// Somebody on call there, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// Who.
    pub who: Them,
    /// The escalation level, 1 first.
    pub level: u32,
    /// The first moment at which they no longer are, if it is told.
    pub until: Option<Timestamp>,
}

/// Why a source did not say who is on call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No answer.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The token is wrong.
    #[error("it does not take the gate's token (HTTP {0}); give the gate a new one")]
    Refused(u16),
    /// Asked too often.
    #[error("it wants to be asked less often (HTTP 429)")]
    TooOften(Option<Duration>),
    /// It says that it failed.
    #[error("it answered with HTTP {0}")]
    Failed(u16),
    /// What the configuration names is not there.
    #[error("it knows no `{0}`; correct the `[[oncall.schedule]]`")]
    NoSuch(String),
    /// An answer that is none.
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
    /// The token or file can't be had on this side.
    #[error("{0}")]
    Here(String),
}

/// What a source said of one service.
pub type Said = Result<Vec<Shift>, Trouble>;

/// Asks sources.
#[derive(Debug, Clone)]
pub struct OnCallClient {
    caller: Caller,
}

impl OnCallClient {
    /// A client that reaches what a source may reach and nothing else.
    ///
    /// # Errors
    /// If TLS can't be set up, or the source's address may not be called.
    pub fn new(source: &Source) -> Result<Self, ReachError> {
        let caller = Caller::new(&source.reach)?;
        if !source.url.is_empty() {
            caller.url(&source.url)?;
        }
        for mapped in &source.schedules {
            if let Place::Feed(url) = &mapped.place {
                caller.url(url)?;
            }
        }
        Ok(Self { caller })
    }

    /// Asks a source who is on call at `now`, for each of its services.
    pub async fn look(&self, source: &Source, token: Option<&Secret<String>>, now: Timestamp) -> BTreeMap<GroupName, Said> {
        match source.kind {
            Kind::PagerDuty => pagerduty::look(&self.caller, source, token).await,
            Kind::Opsgenie => opsgenie::look(&self.caller, source, token).await,
            Kind::ICalendar => ical::look(&self.caller, source, token, now).await,
        }
    }
}

/// Adds what one part of a source said of a service to what others said: one trouble is enough.
fn add(all: &mut BTreeMap<GroupName, Said>, service: &GroupName, said: Said) {
    match (all.get_mut(service), said) {
        (Some(Ok(before)), Ok(more)) => before.extend(more),
        (Some(Err(_)), _) => {}
        (_, said) => {
            all.insert(service.clone(), said);
        }
    }
}

/// An answer that is a success; else what every source means by its status.
fn good(answer: Answer, about: &str) -> Result<Vec<u8>, Trouble> {
    match answer.status {
        200..=299 => Ok(answer.body),
        401 | 403 => Err(Trouble::Refused(answer.status)),
        404 => Err(Trouble::NoSuch(shown(about))),
        429 => Err(Trouble::TooOften(answer.retry_after)),
        status => Err(Trouble::Failed(status)),
    }
}

/// What a source wrote, short and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
