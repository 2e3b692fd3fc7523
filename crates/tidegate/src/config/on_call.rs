//! `[[oncall]]`: where it is asked who is on call, what stands there for which service, and who those people are here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use access::names::{GroupName, Username};
use access::time::Span;
use jiff::tz::TimeZone;
use notify::http::Reach;
use notify::mail::address::Address;
use notify::oncall::{Kind, Mapped, Place, Source, TokenFrom};
use policy::document::{At, Document, Table};
use policy::problem::shown;

use super::parts::{self, RawSecret};

/// How often a source is asked if nothing is said.
const REFRESH: Span = Span::minutes(1);
/// How long its last answer counts if nothing is said.
const STALE_AFTER: Span = Span::minutes(10);
/// No source is asked more often than this.
const OFTENEST: Span = Span::seconds(5);

/// A source as it stands in the file.
#[derive(Debug)]
pub(crate) struct RawOnCall {
    name: Option<At<GroupName>>,
    kind: Option<At<String>>,
    url: Option<At<String>>,
    token: RawSecret,
    ca_file: Option<At<String>>,
    addresses: Vec<At<IpAddr>>,
    refresh: Option<At<Span>>,
    stale_after: Option<At<Span>>,
    time_zone: Option<At<String>>,
    organizers: Vec<At<Address>>,
    schedules: Vec<RawSchedule>,
    people: Vec<(String, At<Username>)>,
    directory: Option<At<Username>>,
}

#[derive(Debug)]
struct RawSchedule {
    service: Option<At<GroupName>>,
    escalation_policy: Option<At<String>>,
    schedule: Option<At<String>>,
    url: Option<At<String>>,
    url_file: Option<At<String>>,
    file: Option<At<String>>,
    level: Option<At<u32>>,
}

/// A source, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnCallConfig {
    /// What it is. What may be reached has no roots yet: they are read when the gate starts.
    pub source: Source,
    /// PEM roots that alone are trusted for it; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

impl RawOnCall {
    /// Reads one table.
    pub(crate) fn read(table: Table<'_>) -> Self {
        let schedules = table.tables("schedule").into_iter().map(RawSchedule::read).collect();
        let people = table.table("people").pairs("a user's name: 1 to 63 of a-z, 0-9, `.` and `-`");
        let raw = Self {
            name: table.parse("name", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            kind: table.text("kind"),
            url: table.text("url"),
            token: RawSecret::read(&table, "token", "token_file"),
            ca_file: table.text("ca_file"),
            addresses: table.list("addresses", "an IP address"),
            refresh: table.read("refresh"),
            stale_after: table.read("stale_after"),
            time_zone: table.text("time_zone"),
            organizers: table.list("organizers", "an e-mail address"),
            schedules,
            people,
            directory: table.parse("directory", "a directory's name: 1 to 63 of a-z, 0-9, `.` and `-`"),
        };
        table.missing("name", "policy names it, as in `source = \"pagerduty\"` of an `[[on_call]]` in people.toml");
        table.missing("kind", "it is `pagerduty`, `opsgenie` or `icalendar`");
        table.missing("schedule", "say with `[[oncall.schedule]]` what stands there for which service");
        if raw.directory.is_none() {
            table.missing("people", "say with `[oncall.people]` who its people are here, as in `\"ben@example.com\" = \"ben\"`");
        }
        table.finish();
        raw
    }
}

impl RawSchedule {
    fn read(table: Table<'_>) -> Self {
        let raw = Self {
            service: table.parse("service", "a name: 1 to 63 of a-z, 0-9, `.` and `-`"),
            escalation_policy: table.text("escalation_policy"),
            schedule: table.text("schedule"),
            url: table.text("url"),
            url_file: table.text("url_file"),
            file: table.text("file"),
            level: table.number("level", 1, 100),
        };
        table.missing("service", "name the service as policy does");
        table.finish();
        raw
    }

    /// What stands at the source, of the keys that the kind has.
    fn place(&self, kind: Kind, document: &Document<'_>, base: &Path, addresses: &[IpAddr]) -> Option<Place> {
        let keys = [
            ("escalation_policy", &self.escalation_policy),
            ("schedule", &self.schedule),
            ("url", &self.url),
            ("url_file", &self.url_file),
            ("file", &self.file),
        ];
        let usable: &[&str] = match kind {
            Kind::PagerDuty => &["escalation_policy", "schedule"],
            Kind::Opsgenie => &["schedule"],
            Kind::ICalendar => &["url", "url_file", "file"],
        };
        let list = usable.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let mut given = keys.iter().filter_map(|(key, value)| value.as_ref().map(|value| (*key, value)));
        let Some((key, value)) = given.next() else {
            if let Some(service) = &self.service {
                document.reject(service, format!("`schedule`: what stands for `{}` at `{}` is one of {list}", service.value, kind.code()));
            }
            return None;
        };
        if let Some((other, at)) = given.next() {
            document.reject(at, format!("`schedule.{other}`: `{key}` stands here already; write another `[[oncall.schedule]]`"));
            return None;
        }
        if !usable.contains(&key) {
            document.reject(value, format!("`schedule.{key}`: `{}` has none; what it has is {list}", kind.code()));
            return None;
        }
        if value.value.trim().is_empty() {
            document.reject(value, format!("`schedule.{key}` is empty"));
            return None;
        }
        let text = value.value.clone();
        Some(match key {
            "escalation_policy" => Place::EscalationPolicy(text),
            "schedule" => Place::Schedule(text),
            "url_file" => Place::FeedNamedIn(base.join(text)),
            "file" => Place::File(base.join(text)),
            _ => {
                if !parts::may_be_called(value, "schedule.url", addresses, document) {
                    return None;
                }
                Place::Feed(text)
            }
        })
    }
}

/// Checks all of them. Paths are below `base`.
pub(crate) fn check(all: Vec<RawOnCall>, document: &Document<'_>, base: &Path) -> Vec<OnCallConfig> {
    let mut sources: Vec<OnCallConfig> = Vec::new();
    for raw in all {
        let (Some(name), Some(kind)) = (raw.name.clone(), &raw.kind) else { continue };
        let Some(kind) = parts::kind(kind, &Kind::ALL, "oncall.kind", "source", document) else { continue };
        if sources.iter().any(|other| other.source.name == name.value) {
            document.reject(&name, format!("`oncall.name`: `{}` stands here twice", name.value));
            continue;
        }
        sources.extend(one(raw, &name, kind, document, base));
    }
    sources
}

fn one(raw: RawOnCall, name: &At<GroupName>, kind: Kind, document: &Document<'_>, base: &Path) -> Option<OnCallConfig> {
    let addresses: Vec<IpAddr> = raw.addresses.iter().map(|address| address.value).collect();
    let url = match (&raw.url, kind.url()) {
        (Some(url), None) => {
            document.reject(url, "`oncall.url`: a calendar's address stands in its `[[oncall.schedule]]`");
            return None;
        }
        (Some(url), Some(_)) if !parts::may_be_called(url, "oncall.url", &addresses, document) => return None,
        (Some(url), Some(_)) => url.value.clone(),
        (None, usual) => usual.unwrap_or_default().to_owned(),
    };
    let token = raw.token.token("oncall.token", document, base);
    if token == TokenFrom::Nowhere && kind != Kind::ICalendar {
        document.reject(name, format!("`oncall.token`: `{}` is asked with a token; name a sealed secret, or a `token_file`", kind.code()));
        return None;
    }
    let time_zone = match raw.time_zone.as_ref() {
        Some(zone) if kind != Kind::ICalendar => {
            document.reject(zone, "`oncall.time_zone`: only the times of calendars may lack a zone");
            None
        }
        Some(zone) => match TimeZone::get(&zone.value) {
            Ok(found) => Some(found),
            Err(_) => {
                document.reject(zone, format!("`oncall.time_zone`: `{}` is no zone like `Europe/Berlin`", shown(&zone.value)));
                None
            }
        },
        None => None,
    };
    if let Some(first) = raw.organizers.first().filter(|_| kind != Kind::ICalendar) {
        document.reject(first, "`oncall.organizers`: only calendars take invitations");
    }
    let refresh = raw.refresh.as_ref().map_or(REFRESH, |refresh| refresh.value);
    let stale_after = raw.stale_after.as_ref().map_or(STALE_AFTER, |stale| stale.value);
    if let Some(at) = raw.refresh.as_ref().filter(|refresh| refresh.value < OFTENEST) {
        document.reject(at, format!("`oncall.refresh`: a source is asked every {OFTENEST} at most"));
    }
    if stale_after <= refresh
        && let Some(at) = raw.stale_after.as_ref().or(raw.refresh.as_ref())
    {
        let says = format!("`oncall.stale_after`: after {stale_after} its answer is too old, and it is asked only every {refresh}");
        document.reject(at, says);
    }
    let mut schedules = Vec::new();
    for schedule in &raw.schedules {
        let (Some(service), Some(place)) = (&schedule.service, schedule.place(kind, document, base, &addresses)) else { continue };
        if let (Some(level), Place::EscalationPolicy(_)) = (&schedule.level, &place) {
            document.reject(level, "`schedule.level`: an escalation policy has levels of its own");
        }
        let level = schedule.level.as_ref().map_or(1, |level| level.value);
        schedules.push(Mapped { service: service.value.clone(), place, level });
    }
    let mut people: BTreeMap<String, Username> = BTreeMap::new();
    for (theirs, ours) in &raw.people {
        if people.keys().any(|other| other.eq_ignore_ascii_case(theirs)) {
            document.reject(ours, format!("`oncall.people`: `{}` stands here twice", shown(theirs)));
        }
        people.insert(theirs.clone(), ours.value.clone());
    }
    Some(OnCallConfig {
        source: Source {
            name: name.value.clone(),
            kind,
            url,
            token,
            schedules,
            people,
            directory: raw.directory.as_ref().map(|directory| directory.value.clone()),
            refresh,
            stale_after,
            time_zone,
            organizers: raw.organizers.iter().map(|organizer| organizer.value.to_string()).collect(),
            reach: Reach { addresses, roots: None },
        },
        ca_file: raw.ca_file.as_ref().map(|file| base.join(&file.value)),
    })
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

    const GOOD: &str = "[[oncall]]\nname = 'pager'\nkind = 'pagerduty'\ntoken = 'pager-token'\nstale_after = '5m'\n\
        [[oncall.schedule]]\nservice = 'payments'\nescalation_policy = 'PPOL123'\n[oncall.people]\n'PUSER1' = 'ben'\n'ana@example.com' = 'ana'\n";

    #[test]
    fn a_source_is_services_people_and_how_long_its_word_counts() {
        let text = format!(
            "{GOOD}[[oncall]]\nname = 'calendar'\nkind = 'icalendar'\ntime_zone = 'Europe/Berlin'\norganizers = ['rota@example.com']\n[[oncall.schedule]]\nservice = 'platform'\n\
             file = 'rota.ics'\nlevel = 2\n[oncall.people]\n'Dan' = 'dan'\n"
        );
        let config = parse(&text).unwrap();
        let [pager, calendar] = config.on_call.as_slice() else { panic!("two sources") };
        assert_eq!((pager.source.url.as_str(), pager.source.refresh), ("https://api.pagerduty.com", Span::minutes(1)));
        assert_eq!(pager.source.stale_after, Span::minutes(5));
        assert_eq!(pager.source.token, TokenFrom::Sealed("pager-token".parse().unwrap()));
        assert_eq!(calendar.source.schedules[0].place, Place::File("/etc/tidegate/rota.ics".into()));
        assert_eq!((calendar.source.organizers.as_slice(), pager.source.organizers.len()), (&["rota@example.com".to_owned()][..], 0));
        assert_eq!((calendar.source.schedules[0].level, &calendar.source.token), (2, &TokenFrom::Nowhere));
    }

    // covers: RUN-3 (cli)
    #[test]
    fn mistakes_in_sources_are_named() {
        parse(GOOD).unwrap();
        let calendar = |key: &str| {
            format!(
                "[[oncall]]\nname = 'c'\nkind = 'icalendar'\n[[oncall.schedule]]\nservice = 'p'\n{key}\n[oncall.people]\n'Dan' = 'dan'\n"
            )
        };
        parse(&calendar("url = 'https://calendar.example.com/x.ics'")).unwrap();
        for (text, wanted) in [
            (GOOD.replace("'pagerduty'", "'pagerdutty'"), "did you mean `pagerduty`?"),
            (GOOD.replace("token =", "tokn ="), "did you mean `token`?"),
            (GOOD.replace("token = 'pager-token'\n", ""), "is asked with a token"),
            (GOOD.replace("token = 'pager-token'\n", "token = 'a'\ntoken_file = 'b'\n"), "not both"),
            (GOOD.replace("stale_after = '5m'", "stale_after = '30s'"), "is asked only every 1m"),
            (GOOD.replace("stale_after", "refresh = '1s'\nstale_after"), "every 5s at most"),
            (GOOD.replace("stale_after", "url = 'http://api.example.com'\nstale_after"), "is not `https://`"),
            (GOOD.replace("stale_after", "time_zone = 'Europe/Berlin'\nstale_after"), "only the times of calendars"),
            (GOOD.replace("stale_after", "organizers = ['a@example.com']\nstale_after"), "only calendars take invitations"),
            (GOOD.replace("stale_after", "organizers = ['Rota']\nstale_after"), "is not an e-mail address"),
            (GOOD.replace("escalation_policy = 'PPOL123'", "file = 'x.ics'"), "has none; what it has is `escalation_policy`, `schedule`"),
            (GOOD.replace("escalation_policy = 'PPOL123'", ""), "is one of `escalation_policy`, `schedule`"),
            (GOOD.replace("'PPOL123'", "'PPOL123'\nschedule = 'P2'"), "stands here already"),
            (GOOD.replace("'PPOL123'", "'PPOL123'\nlevel = 1"), "levels of its own"),
            (GOOD.replace("escalation_policy", "escalation_policie"), "did you mean `escalation_policy`?"),
            (GOOD.replace("'ben'", "'Ben Hur'"), "a user's name"),
            (format!("{GOOD}'ANA@example.com' = 'ben'\n"), "stands here twice"),
            (format!("{GOOD}{GOOD}"), "`pager` stands here twice"),
            (calendar("url = 'http://calendar.example.com/x.ics'"), "is not `https://`"),
            (calendar("url = 'https://10.0.0.8/x.ics'"), "is an address inside"),
            (calendar("file = 'x.ics'\nlevel = 0"), "`schedule.level`"),
        ] {
            let mistakes = parse(&text).unwrap_err();
            assert!(mistakes.contains(wanted), "{text}\n{mistakes}");
        }
    }
}
