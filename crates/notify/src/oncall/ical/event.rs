//! Events: when they are, and who is in them.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan};

use super::lines::{Component, Property};
use super::rule::{Rule, Work};
use crate::oncall::{Them, shown};

/// A moment as an event writes it.
#[derive(Debug, Clone)]
struct When {
    local: DateTime,
    zone: TimeZone,
    /// A day, without a time.
    day: bool,
}

impl When {
    fn instant(&self) -> Result<Timestamp, String> {
        at(&self.zone, self.local)
    }
}

/// How long an event lasts: by the clock on the wall, or by the time that passes (§3.8.5.3).
#[derive(Debug, Clone)]
enum Length {
    Nominal(Span),
    Exact(SignedDuration),
}

/// An event, read.
struct Event {
    uid: String,
    start: When,
    length: Length,
    rule: Option<Rule>,
    more: Vec<When>,
    except: Vec<When>,
    /// Which occurrence of the event by this id it takes the place of.
    instead: Option<Timestamp>,
    cancelled: bool,
    /// Who is on duty by it; `None`: it names nobody at all.
    who: Option<Vec<Them>>,
    /// Why it gives nobody a duty, whoever is in it.
    foreign: Option<String>,
}

/// Who is in an event at `now`, and until when.
///
/// INVARIANT: an event that comes from none of `organizers` gives nobody a duty and takes nobody's, and is no reason to believe nothing.
pub(super) fn on_call(
    calendar: &Component,
    zone: Option<&TimeZone>,
    organizers: &[String],
    now: Timestamp,
) -> Result<Vec<(Them, Timestamp)>, String> {
    let zones = Zones { calendar, floating: floating(calendar, zone)? };
    let (work, for_others) = (Work::default(), Work::default());
    let mut events = Vec::new();
    for component in calendar.components("VEVENT") {
        work.spend(1)?;
        let uid = component.get("UID").map(|uid| uid.value.clone()).unwrap_or_default();
        let foreign = foreign(component, organizers);
        match read(component, uid.clone(), foreign.clone(), &zones) {
            Ok(event) => events.push(event),
            Err(_) if foreign.is_some() => {}
            Err(why) => return Err(format!("the event `{}`: {why}", shown(&uid))),
        }
    }
    let own = events.iter().filter(|event| event.foreign.is_none());
    let replaced: BTreeSet<(&str, Timestamp)> = own.filter_map(|event| Some((event.uid.as_str(), event.instead?))).collect();
    let mut out = Vec::new();
    for event in &events {
        if let Some(why) = &event.foreign {
            // Said, so that whoever wonders why finds out; by these words nobody is known here.
            if let Ok(Some(until)) = event.running(&replaced, now, &for_others) {
                let named = |who: &Them| Them { id: format!("{why}: {}", shown(&who.id)), email: None };
                out.extend(event.who.iter().flatten().map(|who| (named(who), until)));
            }
            continue;
        }
        let ends = event.running(&replaced, now, &work).map_err(|why| format!("the event `{}`: {why}", shown(&event.uid)))?;
        let Some(until) = ends else { continue };
        let Some(who) = &event.who else {
            return Err(format!("the event `{}` names nobody: it has neither an attendee nor a summary", shown(&event.uid)));
        };
        out.extend(who.iter().map(|who| (who.clone(), until)));
    }
    Ok(out)
}

impl Event {
    /// Until when it goes on, if it does at `now`.
    fn running(&self, replaced: &BTreeSet<(&str, Timestamp)>, now: Timestamp, work: &Work) -> Result<Option<Timestamp>, String> {
        if self.cancelled {
            return Ok(None);
        }
        let zone = &self.start.zone;
        let mut starts = match &self.rule {
            Some(rule) if self.instead.is_none() => rule.times(self.start.local, zone, now, work)?,
            _ => vec![self.start.local],
        };
        for more in &self.more {
            starts.push(zone.to_datetime(more.instant()?));
        }
        let mut except = BTreeSet::new();
        for when in &self.except {
            // A day takes away whatever begins on it.
            if when.day && !self.start.day {
                work.spend(u64::try_from(starts.len()).unwrap_or(u64::MAX))?;
                except.extend(starts.iter().filter(|start| start.date() == when.local.date()).filter_map(|start| at(zone, *start).ok()));
            } else {
                except.insert(when.instant()?);
            }
        }
        let mut latest = None;
        for local in starts {
            let start = at(zone, local)?;
            let gone = except.contains(&start) || (self.instead.is_none() && replaced.contains(&(self.uid.as_str(), start)));
            if start > now || gone {
                continue;
            }
            let end = match &self.length {
                Length::Exact(length) => start.checked_add(*length).map_err(|error| error.to_string())?,
                Length::Nominal(span) => at(zone, local.checked_add(*span).map_err(|error| error.to_string())?)?,
            };
            if now < end {
                latest = latest.max(Some(end));
            }
        }
        Ok(latest)
    }
}

fn read(component: &Component, uid: String, foreign: Option<String>, zones: &Zones<'_>) -> Result<Event, String> {
    let start = zones.when(component.get("DTSTART").ok_or("it has no `DTSTART`")?)?;
    let length = match (component.get("DTEND"), component.get("DURATION")) {
        (Some(end), _) => {
            let end = zones.when(end)?;
            if start.day {
                Length::Nominal(start.local.until((jiff::Unit::Day, end.local)).map_err(|error| error.to_string())?)
            } else {
                Length::Exact(end.instant()?.duration_since(start.instant()?))
            }
        }
        (None, Some(duration)) => Length::Nominal(duration.value.parse::<Span>().map_err(|_| "its `DURATION` is not understood")?),
        (None, None) if start.day => Length::Nominal(1.day()),
        (None, None) => Length::Exact(SignedDuration::ZERO),
    };
    let negative = match &length {
        Length::Nominal(span) => span.is_negative(),
        Length::Exact(length) => length.is_negative(),
    };
    if negative {
        return Err("it ends before it begins".to_owned());
    }
    let mut rules = component.all("RRULE");
    let rule = rules.next().map(|rule| Rule::read(&rule.value, start.local)).transpose()?;
    if rules.next().is_some() || component.get("EXRULE").is_some() {
        return Err("it has more than one recurrence rule".to_owned());
    }
    let instead = match component.get("RECURRENCE-ID") {
        Some(id) if id.param("RANGE").is_some() => return Err("`RANGE` in `RECURRENCE-ID` is not understood".to_owned()),
        Some(id) => Some(zones.when(id)?.instant()?),
        None => None,
    };
    Ok(Event {
        rule,
        more: list(component, "RDATE", zones)?,
        except: list(component, "EXDATE", zones)?,
        instead,
        // What is not settled yet is no duty.
        cancelled: component
            .get("STATUS")
            .is_some_and(|status| ["CANCELLED", "TENTATIVE"].iter().any(|not| status.value.eq_ignore_ascii_case(not))),
        who: who(component),
        foreign,
        uid,
        start,
        length,
    })
}

/// The attendees that accepted, or of whom nothing is said, as rotas write them; whom the summary names if there are none.
///
/// Somebody who was only invited is not on duty, and that nobody has accepted yet is no fault. `None`: it names nobody at all.
fn who(component: &Component) -> Option<Vec<Them>> {
    let mut attendees = component.all("ATTENDEE").peekable();
    if attendees.peek().is_none() {
        let summary = component.get("SUMMARY").map(Property::text).filter(|text| !text.is_empty());
        return summary.map(|id| vec![Them { id, email: None }]);
    }
    let accepted = attendees.filter(|attendee| attendee.param("PARTSTAT").is_none_or(|said| said.eq_ignore_ascii_case("ACCEPTED")));
    let them = accepted.map(|attendee| {
        let mail = mail(attendee);
        Them { id: mail.unwrap_or(attendee.value.trim()).to_owned(), email: mail.map(str::to_owned) }
    });
    Some(them.collect())
}

/// The e-mail address that a property is.
fn mail(property: &Property) -> Option<&str> {
    let value = property.value.trim();
    value.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("mailto:")).and_then(|_| value.get(7..))
}

/// Why an event is nobody's duty, by where it comes from; `None`: it may be one.
///
/// Calendars take invitations from strangers, and it is the stranger who writes that others accepted. An invitation has an `ORGANIZER`
/// (RFC 5546 §3.2.2), so one that has none was written into the calendar itself.
fn foreign(component: &Component, organizers: &[String]) -> Option<String> {
    let known = |by: &Property| mail(by).is_some_and(|mail| organizers.iter().any(|one| one.eq_ignore_ascii_case(mail.trim())));
    let mut all = component.all("ORGANIZER").peekable();
    if all.peek().is_none() {
        let asked_for = !organizers.is_empty() && component.get("ATTENDEE").is_some();
        return asked_for.then(|| "invited by nobody of `organizers`".to_owned());
    }
    all.find(|by| !known(by)).map(|by| {
        let who: String = shown(mail(by).unwrap_or(&by.value)).chars().take(40).collect();
        format!("invited by {who}, who is none of `organizers`")
    })
}

/// Times that one event may be given or relieved of one by one.
const MOST_DATES: usize = 10_000;

fn list(component: &Component, name: &str, zones: &Zones<'_>) -> Result<Vec<When>, String> {
    let mut out = Vec::new();
    for property in component.all(name) {
        let mut one = Property { value: String::new(), ..property.clone() };
        for value in property.value.split(',') {
            if out.len() >= MOST_DATES {
                return Err(format!("`{name}` names more than {MOST_DATES} times"));
            }
            one.value = value.to_owned();
            out.push(zones.when(&one)?);
        }
    }
    Ok(out)
}

/// The zones of a calendar.
struct Zones<'c> {
    calendar: &'c Component,
    /// Of times that name none.
    floating: Option<TimeZone>,
}

impl Zones<'_> {
    fn when(&self, property: &Property) -> Result<When, String> {
        let (local, utc) = written(&property.value).ok_or_else(|| format!("`{}` is no time", shown(&property.value)))?;
        let day = !property.value.contains('T');
        let zone = match (utc, property.param("TZID")) {
            (true, _) => TimeZone::UTC,
            (false, Some(name)) => self.named(name)?,
            (false, None) => self.floating.clone().ok_or("its times name no zone; give the source a `time_zone`")?,
        };
        Ok(When { local, zone, day })
    }

    /// A zone by its name in the IANA database: as it is, behind a prefix (§3.8.3.1), or as the calendar's own definition says.
    fn named(&self, name: &str) -> Result<TimeZone, String> {
        let own = self.calendar.components("VTIMEZONE").find(|zone| zone.get("TZID").is_some_and(|id| id.value == name));
        let located = own.and_then(|zone| zone.get("X-LIC-LOCATION")).map(|place| place.value.as_str());
        let behind = name.char_indices().filter(|(_, c)| *c == '/').filter_map(|(at, _)| name.get(at + 1..));
        std::iter::once(name)
            .chain(located)
            .chain(behind)
            .find_map(|name| TimeZone::get(name).ok())
            .ok_or_else(|| format!("the time zone `{}` is none of the IANA database", shown(name)))
    }
}

fn floating(calendar: &Component, zone: Option<&TimeZone>) -> Result<Option<TimeZone>, String> {
    match (zone, calendar.get("X-WR-TIMEZONE")) {
        (Some(zone), _) => Ok(Some(zone.clone())),
        (None, Some(named)) => {
            let none = || format!("the time zone `{}` of the calendar is none of the IANA database", shown(&named.value));
            TimeZone::get(named.value.trim()).map(Some).map_err(|_| none())
        }
        (None, None) => Ok(None),
    }
}

fn at(zone: &TimeZone, local: DateTime) -> Result<Timestamp, String> {
    zone.to_timestamp(local).map_err(|error| error.to_string())
}

/// `20260302`, `20260302T090000` or `20260302T090000Z`, and whether it is UTC.
pub(super) fn written(text: &str) -> Option<(DateTime, bool)> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(date, 8) {
        return None;
    }
    let date = Date::new(date.get(..4)?.parse().ok()?, date.get(4..6)?.parse().ok()?, date.get(6..)?.parse().ok()?).ok()?;
    let Some(time) = time else { return Some((date.to_datetime(Time::midnight()), false)) };
    let (time, utc) = time.strip_suffix('Z').map_or((time, false), |time| (time, true));
    if !digits(time, 6) {
        return None;
    }
    let [hour, minute, second] = [time.get(..2)?, time.get(2..4)?, time.get(4..)?].map(|part| part.parse::<i8>().ok());
    // A leap second is the one before it.
    let time = Time::new(hour?, minute?, second?.min(59), 0).ok()?;
    Some((date.to_datetime(time), utc))
}

#[cfg(test)]
mod tests {
    use super::super::lines::parse;
    use super::*;

    fn who_at(events: &str, zone: Option<&str>, now: &str) -> Result<Vec<String>, String> {
        let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}END:VCALENDAR\r\n", events.replace('\n', "\r\n"));
        let zone = zone.map(|name| TimeZone::get(name).unwrap());
        let organizers = ["rota@example.com".to_owned()];
        let organizers = if text.contains("ORGANIZER") { organizers.as_slice() } else { &[] };
        let mut found: Vec<String> = on_call(&parse(&text).unwrap(), zone.as_ref(), organizers, now.parse().unwrap())?
            .into_iter()
            .map(|(who, until)| format!("{} until {until}", who.id))
            .collect();
        found.sort();
        Ok(found)
    }

    const ROTA: &str = "BEGIN:VEVENT\nUID:ben\nDTSTART;TZID=Europe/Berlin:20260302T090000\nDTEND;TZID=Europe/Berlin:20260309T090000\n\
        RRULE:FREQ=WEEKLY;INTERVAL=2\nEXDATE;TZID=Europe/Berlin:20260316T090000\nATTENDEE;PARTSTAT=ACCEPTED:mailto:ben@example.com\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:ana\nDTSTART;TZID=Europe/Berlin:20260309T090000\nDTEND;TZID=Europe/Berlin:20260316T090000\n\
        RRULE:FREQ=WEEKLY;INTERVAL=2\nATTENDEE:MAILTO:ana@example.com\nEND:VEVENT\n\
        BEGIN:VEVENT\nUID:ana\nRECURRENCE-ID;TZID=Europe/Berlin:20260323T090000\nDTSTART;TZID=Europe/Berlin:20260324T090000\n\
        DTEND;TZID=Europe/Berlin:20260325T090000\nATTENDEE:mailto:dan@example.com\nEND:VEVENT\n";

    // covers: OK-6
    #[test]
    fn shifts_recur_fall_out_and_are_replaced() {
        let who = |now: &str| who_at(ROTA, None, now).unwrap();
        assert!(who("2026-03-02T07:59:59Z").is_empty());
        assert_eq!(who("2026-03-02T08:00:00Z"), ["ben@example.com until 2026-03-09T08:00:00Z"]);
        assert_eq!(who("2026-03-09T08:00:00Z"), ["ana@example.com until 2026-03-16T08:00:00Z"]);
        // Ben's second week is taken out, Ana's second is Dan's one day.
        assert!(who("2026-03-16T08:00:00Z").is_empty());
        assert!(who("2026-03-23T08:00:00Z").is_empty());
        assert_eq!(who("2026-03-24T08:00:00Z"), ["dan@example.com until 2026-03-25T08:00:00Z"]);
        // In summer a turn still begins at nine o'clock in Berlin.
        assert!(who("2026-03-30T06:59:59Z").is_empty());
        assert_eq!(who("2026-03-30T07:00:00Z"), ["ben@example.com until 2026-04-06T07:00:00Z"]);
    }

    #[test]
    fn days_durations_further_dates_and_what_is_cancelled() {
        let day = "BEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20260302\nDTEND;VALUE=DATE:20260304\nSUMMARY:Ben\\, first\nEND:VEVENT\n";
        assert_eq!(who_at(day, Some("Europe/Berlin"), "2026-03-03T22:59:59Z").unwrap(), ["Ben, first until 2026-03-03T23:00:00Z"]);
        assert!(who_at(day, Some("Europe/Berlin"), "2026-03-03T23:00:00Z").unwrap().is_empty());
        assert!(who_at(day, None, "2026-03-03T12:00:00Z").unwrap_err().contains("give the source a `time_zone`"));
        let own = format!("X-WR-TIMEZONE:Europe/Berlin\n{day}");
        assert_eq!(who_at(&own, None, "2026-03-03T12:00:00Z").unwrap().len(), 1);

        let often = "BEGIN:VEVENT\nUID:2\nDTSTART:20260302T090000Z\nDURATION:PT8H\nRDATE:20260305T090000Z,20260307T090000Z\nSUMMARY:Ben\nEND:VEVENT\n";
        assert_eq!(who_at(often, None, "2026-03-05T16:59:59Z").unwrap(), ["Ben until 2026-03-05T17:00:00Z"]);
        assert!(who_at(often, None, "2026-03-06T12:00:00Z").unwrap().is_empty());
        let off = often.replace("SUMMARY:Ben", "STATUS:CANCELLED\nSUMMARY:Ben");
        assert!(who_at(&off, None, "2026-03-05T16:00:00Z").unwrap().is_empty());
        let declined = "BEGIN:VEVENT\nUID:3\nDTSTART:20260302T090000Z\nDURATION:P1W\nATTENDEE;PARTSTAT=DECLINED:mailto:a@x\nATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:c@x\nATTENDEE:mailto:b@x\nEND:VEVENT\n";
        assert_eq!(who_at(declined, None, "2026-03-05T16:00:00Z").unwrap(), ["b@x until 2026-03-09T09:00:00Z"]);
    }

    // covers: OK-6
    #[test]
    fn who_invites_themselves_is_on_call_for_nothing_and_takes_nobodys_duty() {
        let now = "2026-03-24T12:00:00Z";
        let event =
            |uid: &str, inside: &str| format!("BEGIN:VEVENT\nUID:{uid}\nDTSTART:20260324T080000Z\nDURATION:PT8H\n{inside}\nEND:VEVENT\n");
        let accepted = |who: &str| format!("ATTENDEE;PARTSTAT=ACCEPTED:mailto:{who}@example.com");
        let shift = event("shift", &format!("ORGANIZER;CN=Rota:MAILTO:Rota@example.com\n{}", accepted("ana")));
        let ana = "ana@example.com until 2026-03-24T16:00:00Z".to_owned();
        assert_eq!(who_at(&shift, None, now).unwrap(), std::slice::from_ref(&ana));
        // The same by anybody else: said, and nobody whom a mapping knows.
        for by in
            ["ORGANIZER:mailto:eve@example.com", "ORGANIZER:mailto:rota@example.com\nORGANIZER:mailto:eve@example.com", "ORGANIZER:rota"]
        {
            let own = event("own", &format!("{by}\n{}", accepted("eve")));
            let found = who_at(&format!("{shift}{own}"), None, now).unwrap();
            assert_eq!((found.len(), &found[0]), (2, &ana), "{found:?}");
            assert!(found[1].starts_with("invited by ") && found[1].contains("none of `organizers`: eve@"), "{found:?}");
        }
        let without = event("own", &accepted("eve"));
        let found = who_at(&format!("{shift}{without}"), None, now).unwrap();
        assert!(found.len() == 2 && found[1].starts_with("invited by nobody of `organizers`: eve@"), "{found:?}");
        // It neither takes the place of a shift nor makes the feed unreadable.
        let eves = "ORGANIZER:mailto:eve@example.com";
        let instead = event("shift", &format!("RECURRENCE-ID:20260324T080000Z\n{eves}\nATTENDEE;PARTSTAT=DECLINED:mailto:x@example.com"));
        let odd = event("odd", &format!("RRULE:FREQ=SECONDLY\n{eves}"));
        let long = event("long", &format!("RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\n{eves}"));
        let nobody = event("nobody", eves);
        assert_eq!(who_at(&format!("{shift}{instead}{odd}{long}{nobody}"), None, now).unwrap(), std::slice::from_ref(&ana));
        // The rota's own does all of it.
        let replaced = instead.replace("eve@", "rota@");
        assert!(who_at(&format!("{shift}{replaced}"), None, now).unwrap().is_empty());
        assert!(who_at(&format!("{shift}{}", odd.replace("eve@", "rota@")), None, now).is_err());
        // A shift that nobody has accepted yet is nobody's, and no reason to doubt the others.
        let open = event("open", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:ben@example.com");
        assert!(who_at(&open, None, now).unwrap().is_empty());
        let own = event("ana", "ATTENDEE:mailto:ana@example.com");
        assert_eq!(who_at(&format!("{open}{own}"), None, now).unwrap(), [ana]);
    }

    #[test]
    fn no_feed_makes_it_stumble() {
        let now = "2026-03-24T08:00:00Z".parse().unwrap();
        let look = |text: &str| parse(text).and_then(|calendar| on_call(&calendar, None, &[], now)).map_or(0, |found| found.len());
        let whole = format!("BEGIN:VCALENDAR\n{ROTA}END:VCALENDAR\n");
        assert_eq!(look(&whole), 1);
        for at in 0..whole.trim_end().len() {
            // Broken off anywhere it says nothing; with anything else in a place it says something or nothing, and goes on.
            assert_eq!(look(&whole[..at]), 0, "{at}");
            for odd in ["9", ";", ":", "\u{fc}", "\n", "-"] {
                look(&format!("{}{odd}{}", &whole[..at], &whole[at + 1..]));
            }
        }
    }

    #[test]
    fn a_feed_that_is_not_understood_says_nothing() {
        let event = |inside: &str| format!("BEGIN:VEVENT\nUID:odd\n{inside}\nSUMMARY:Ben\nEND:VEVENT\n");
        for (inside, wanted) in [
            ("SUMMARY:x", "no `DTSTART`"),
            ("DTSTART:2026-03-02", "is no time"),
            ("DTSTART;TZID=Middle Earth:20260302T090000", "none of the IANA database"),
            ("DTSTART:20260302T090000Z\nRRULE:FREQ=SECONDLY", "not understood"),
            ("DTSTART:20260302T090000Z\nRRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY", "more than one"),
            ("DTSTART:20260302T090000Z\nDTEND:20260301T090000Z", "ends before it begins"),
            ("DTSTART:20260302T090000Z\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260302T090000Z", "`RANGE`"),
            ("DTSTART:20260302T090000Z\nDURATION:long", "`DURATION`"),
        ] {
            let why = who_at(&event(inside), None, "2026-03-05T12:00:00Z").unwrap_err();
            assert!(why.contains(wanted) && why.contains("`odd`"), "{inside}: {why}");
        }
        let prefixed = event("DTSTART;TZID=/example.org/1/Europe/Berlin:20260302T090000\nDURATION:P1D");
        assert_eq!(who_at(&prefixed, None, "2026-03-02T12:00:00Z").unwrap().len(), 1);
        let nobody = "BEGIN:VEVENT\nUID:odd\nDTSTART:20260302T090000Z\nDURATION:P1D\nEND:VEVENT\n";
        assert!(who_at(nobody, None, "2026-03-02T12:00:00Z").unwrap_err().contains("names nobody"));
    }
}
