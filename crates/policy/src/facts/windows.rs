//! `windows.toml`: maintenance windows, freezes and working hours, and the time zone in which the house counts hours.

use std::collections::BTreeMap;
use std::str::FromStr;

use access::names::WindowName;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::collect;
use crate::document::{At, Document, Table};
use crate::problem::{Place, Sink, shown};

/// A time that recurs weekly, or spans of dates, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its name.
    pub name: WindowName,
    /// In plain words, what it is for.
    pub description: Option<String>,
    weekly: Vec<Weekly>,
    dates: Vec<(Timestamp, Timestamp)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Weekly {
    days: Vec<Weekday>,
    /// Minutes since midnight; `to` may be 1440. `to <= from` runs into the next day.
    from: i32,
    to: i32,
}

impl Window {
    /// Whether it is open at `now`, its weekly hours counted in `zone`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp, zone: &TimeZone) -> bool {
        if self.dates.iter().any(|(from, to)| *from <= now && now < *to) {
            return true;
        }
        let local = zone.to_datetime(now);
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let (today, yesterday) = (local.weekday(), local.weekday().previous());
        self.weekly.iter().any(|w| {
            if w.from < w.to {
                w.days.contains(&today) && w.from <= minute && minute < w.to
            } else {
                (w.days.contains(&today) && w.from <= minute) || (w.days.contains(&yesterday) && minute < w.to)
            }
        })
    }

    /// When it opens next after `now`, within five weeks for weekly hours; `None` if it doesn't.
    #[must_use]
    pub fn opens_next(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let dated = self.dates.iter().map(|(from, _)| *from).filter(|from| *from > now).min();
        let weekly = (0..36).find_map(|days| {
            let date = zone.to_datetime(now.checked_add(SignedDuration::from_hours(24 * days)).ok()?).date();
            self.weekly
                .iter()
                .filter(|w| w.days.contains(&date.weekday()))
                .filter_map(|w| start_of(date, w.from, zone))
                .filter(|at| *at > now)
                .min()
        });
        dated.into_iter().chain(weekly).min()
    }
}

fn start_of(date: Date, minute: i32, zone: &TimeZone) -> Option<Timestamp> {
    let at = date.at(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0);
    zone.to_timestamp(at).ok()
}

/// The windows and the zone they are counted in.
pub(crate) struct Windows {
    pub(crate) zone: TimeZone,
    pub(crate) windows: BTreeMap<WindowName, (Window, Place)>,
}

/// A point in time as it was written: with an offset, or local to the house's zone.
pub(crate) enum Moment {
    Exact(Timestamp),
    Local(DateTime),
    Day(Date),
}

impl Moment {
    pub(crate) fn resolve(&self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Exact(at) => Some(*at),
            Self::Local(at) => zone.to_timestamp(*at).ok(),
            Self::Day(date) => zone.to_timestamp(date.to_datetime(Time::midnight())).ok(),
        }
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::Exact(at));
        }
        if text.len() <= 10
            && let Ok(date) = text.parse()
        {
            return Ok(Self::Day(date));
        }
        text.parse().map(Self::Local).map_err(|_| {
            format!("`{}` is no date or time; write it like `2026-12-20`, `2026-12-20T18:00` or `2026-12-20T18:00:00Z`", shown(text))
        })
    }
}

/// A time zone of the IANA database.
pub(crate) struct Zone(pub(crate) TimeZone);

impl FromStr for Zone {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // The database is the one built into the program, so that every node judges hours alike.
        jiff::tz::TimeZoneDatabase::bundled()
            .get(text)
            .map(Self)
            .map_err(|_| format!("`{}` is no time zone; write it like `Europe/Berlin` or `UTC`", shown(text)))
    }
}

struct Day(Weekday);

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let day = match text {
            "mon" => Weekday::Monday,
            "tue" => Weekday::Tuesday,
            "wed" => Weekday::Wednesday,
            "thu" => Weekday::Thursday,
            "fri" => Weekday::Friday,
            "sat" => Weekday::Saturday,
            "sun" => Weekday::Sunday,
            other => return Err(format!("`{}` is no day; it is one of mon, tue, wed, thu, fri, sat, sun", shown(other))),
        };
        Ok(Self(day))
    }
}

/// The short name of a weekday, as policies see it in `context.weekday`.
pub(crate) fn day_name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "mon",
        Weekday::Tuesday => "tue",
        Weekday::Wednesday => "wed",
        Weekday::Thursday => "thu",
        Weekday::Friday => "fri",
        Weekday::Saturday => "sat",
        Weekday::Sunday => "sun",
    }
}

struct Clock(i32);

impl FromStr for Clock {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{}` is no time of day; write it like `09:00`, at most `24:00`", shown(text));
        let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
        // A time of TOML itself has seconds; only whole minutes count.
        let minute = minute.strip_suffix(":00").unwrap_or(minute);
        let number = |part: &str| if part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) { part.parse::<i32>().ok() } else { None };
        match (number(hour), number(minute)) {
            (Some(hour), Some(minute)) if (hour < 24 && minute < 60) || (hour, minute) == (24, 0) => Ok(Self(hour * 60 + minute)),
            _ => Err(bad()),
        }
    }
}

pub(crate) fn load(files: &[(&str, &[u8])], sink: &Sink) -> Windows {
    let mut out = Windows { zone: TimeZone::UTC, windows: BTreeMap::new() };
    for (file, bytes) in files {
        let Some(doc) = Document::open(file, bytes, sink) else { continue };
        let root = doc.root();
        out.zone = root.read::<Zone>("time_zone").map_or(TimeZone::UTC, |z| z.value.0);
        let zone = out.zone.clone();
        collect(&root, "window", &mut out.windows, |table| read(table, &zone));
        root.finish();
    }
    out
}

fn read(table: &Table<'_>, zone: &TimeZone) -> Option<(At<WindowName>, Window)> {
    let name: At<WindowName> = table.required("name")?;
    let description = table.text("description").map(|t| t.value);
    let mut weekly = Vec::new();
    for hours in table.tables("weekly") {
        let days: Vec<At<Day>> = hours.read_list("days");
        if days.is_empty() {
            hours.sink().error(hours.place(), "`days` is missing here, as in `days = [\"mon\", \"tue\"]`");
        }
        let (from, to): (Option<At<Clock>>, Option<At<Clock>>) = (hours.required("from"), hours.required("to"));
        hours.finish();
        if let (Some(from), Some(to)) = (from, to) {
            weekly.push(Weekly { days: days.into_iter().map(|d| d.value.0).collect(), from: from.value.0, to: to.value.0 });
        }
    }
    let mut dates = Vec::new();
    for span in table.tables("dates") {
        let (from, to): (Option<At<Moment>>, Option<At<Moment>>) = (span.required("from"), span.required("to"));
        let place = span.place();
        span.finish();
        let resolved = from.and_then(|f| f.value.resolve(zone)).zip(to.and_then(|t| t.value.resolve(zone)));
        match resolved {
            Some((from, to)) if from < to => dates.push((from, to)),
            Some(_) => table.sink().error(place, "this span of dates ends before it begins"),
            None => {}
        }
    }
    if weekly.is_empty() && dates.is_empty() {
        table
            .sink()
            .error(name.place.clone(), format!("the window `{}` has neither `weekly` nor `dates`, so it would never open", name.value));
    }
    let window = Window { name: name.value.clone(), description, weekly, dates };
    Some((name, window))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> (Window, TimeZone) {
        let sink = Sink::new("a test");
        let all = load(&[("windows.toml", text.as_bytes())], &sink);
        sink.close().unwrap();
        (all.windows.into_values().next().unwrap().0, all.zone)
    }

    // covers: MAY-3
    #[test]
    fn working_hours_follow_the_zone_of_the_house() {
        let (hours, zone) = window(
            "time_zone = \"Europe/Berlin\"\n[[window]]\nname = \"w\"\nweekly = [{ days = [\"mon\", \"fri\"], from = \"09:00\", to = \"17:00\" }]\n",
        );
        let open = |at: &str| hours.is_open(at.parse().unwrap(), &zone);
        // A Monday in winter (UTC+1) and one in summer (UTC+2).
        assert!(
            !open("2026-11-23T07:59:59Z") && open("2026-11-23T08:00:00Z") && open("2026-11-23T15:59:59Z") && !open("2026-11-23T16:00:00Z")
        );
        assert!(open("2026-07-06T07:00:00Z") && !open("2026-07-06T15:00:00Z"));
        assert!(!open("2026-11-24T10:00:00Z"));
        let next = hours.opens_next("2026-11-23T16:00:00Z".parse().unwrap(), &zone);
        assert_eq!(next, Some("2026-11-27T08:00:00Z".parse().unwrap()));
    }

    // covers: MAY-3
    #[test]
    fn a_night_window_runs_into_the_next_day_and_a_freeze_has_dates() {
        let (night, zone) = window(
            "[[window]]\nname = \"n\"\nweekly = [{ days = [\"sat\"], from = \"22:00\", to = \"04:00\" }]\ndates = [{ from = 2026-12-20, to = 2027-01-03T12:00 }]\n",
        );
        let open = |at: &str| night.is_open(at.parse().unwrap(), &zone);
        assert!(
            open("2026-11-21T22:00:00Z") && open("2026-11-22T03:59:00Z") && !open("2026-11-22T04:00:00Z") && !open("2026-11-21T03:00:00Z")
        );
        assert!(
            !open("2026-12-19T21:59:59Z") && open("2026-12-20T00:00:00Z") && open("2027-01-03T11:59:59Z") && !open("2027-01-03T12:00:00Z")
        );
    }
}
