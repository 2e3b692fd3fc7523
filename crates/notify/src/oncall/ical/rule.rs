//! Recurrence rules (RFC 5545 §3.3.10): by day, week, month and year. What is not understood is refused, never left out.

use std::cell::Cell;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// So many times does one event happen at most until now.
const MOST: usize = 50_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Instant(Timestamp),
    Local(DateTime),
    Day(Date),
}

/// A rule, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    frequency: Frequency,
    interval: i64,
    count: Option<usize>,
    until: Option<Until>,
    months: Vec<i8>,
    month_days: Vec<i8>,
    /// With the which-one; 0: every.
    days: Vec<(i16, Weekday)>,
    positions: Vec<i16>,
    week_start: Weekday,
}

/// What reading one feed may take, in days that are looked at: enough for thousands of events over decades, and less than a second.
#[derive(Debug)]
pub(super) struct Work(Cell<u64>);

impl Default for Work {
    fn default() -> Self {
        Self(Cell::new(5_000_000))
    }
}

impl Work {
    /// # Errors
    /// It is used up.
    pub(super) fn spend(&self, steps: u64) -> Result<(), String> {
        let left =
            self.0.get().checked_sub(steps).ok_or("the feed asks for more work than it may; it repeats too much, or for too long")?;
        self.0.set(left);
        Ok(())
    }
}

impl Rule {
    /// Reads `FREQ=…;…` of an event that first happens at `first`.
    pub(super) fn read(text: &str, first: DateTime) -> Result<Self, String> {
        let mut rule = Self {
            frequency: Frequency::Daily,
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
        };
        let mut frequency = None;
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is no part of a recurrence rule"))?;
            let wrong = || format!("`{part}` in a recurrence rule is not understood");
            match key.to_ascii_uppercase().as_str() {
                "FREQ" => {
                    frequency = Some(match value.to_ascii_uppercase().as_str() {
                        "DAILY" => Frequency::Daily,
                        "WEEKLY" => Frequency::Weekly,
                        "MONTHLY" => Frequency::Monthly,
                        "YEARLY" => Frequency::Yearly,
                        _ => return Err(wrong()),
                    });
                }
                "INTERVAL" => rule.interval = value.parse().ok().filter(|n| (1..=10_000).contains(n)).ok_or_else(wrong)?,
                "COUNT" => rule.count = Some(value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?),
                "UNTIL" => rule.until = Some(until(value).ok_or_else(wrong)?),
                "BYMONTH" => rule.months = numbers(value, 1, 12).ok_or_else(wrong)?,
                "BYMONTHDAY" => {
                    rule.month_days = numbers(value, -31, 31).filter(|days: &Vec<i8>| !days.contains(&0)).ok_or_else(wrong)?;
                }
                "BYDAY" => rule.days = value.split(',').map(which_day).collect::<Option<_>>().ok_or_else(wrong)?,
                "BYSETPOS" => {
                    rule.positions = numbers(value, -366, 366).filter(|at: &Vec<i16>| !at.contains(&0)).ok_or_else(wrong)?;
                }
                "WKST" => rule.week_start = weekday(value).ok_or_else(wrong)?,
                // Said again what the first time says already.
                "BYHOUR" if value.parse() == Ok(first.hour()) => {}
                "BYMINUTE" if value.parse() == Ok(first.minute()) => {}
                "BYSECOND" if value.parse() == Ok(first.second()) => {}
                _ => return Err(wrong()),
            }
        }
        rule.frequency = frequency.ok_or_else(|| "a recurrence rule has no `FREQ`".to_owned())?;
        let ordinals = rule.days.iter().any(|(which, _)| *which != 0);
        if ordinals && !matches!(rule.frequency, Frequency::Monthly | Frequency::Yearly) {
            return Err("a recurrence rule asks for the n-th weekday of what has just one".to_owned());
        }
        if rule.frequency == Frequency::Weekly && !rule.month_days.is_empty() {
            return Err("a recurrence rule by week asks for days of the month".to_owned());
        }
        Ok(rule)
    }

    /// What looking at one of its periods takes: days of it for each that is wanted.
    fn cost(&self) -> u64 {
        let days = match self.frequency {
            Frequency::Daily => 1,
            Frequency::Weekly => 7,
            Frequency::Monthly => 31,
            Frequency::Yearly => 366,
        };
        let wanted = self.days.len().max(self.month_days.len()).max(self.positions.len()).max(1);
        days * u64::try_from(wanted).unwrap_or(u64::MAX >> 16)
    }

    /// When it happens, up to `now`, on the clock of its zone.
    pub(super) fn times(&self, first: DateTime, zone: &TimeZone, now: Timestamp, work: &Work) -> Result<Vec<DateTime>, String> {
        let far = |_| "a recurrence rule leads out of time".to_owned();
        let instant = |at: DateTime| zone.to_timestamp(at).map_err(far);
        let mut out = Vec::new();
        if !self.still(first, instant(first)?) {
            return Ok(out);
        }
        // The first one is what the event says, whether or not the rule would have it (§3.8.5.3).
        out.push(first);
        let end = zone.to_datetime(now).date().saturating_add(2.days());
        for step in 0..i64::MAX {
            work.spend(self.cost())?;
            let Some(period) = self.period(first.date(), step) else { break };
            if period > end {
                break;
            }
            for date in self.dates(first.date(), period) {
                let at = date.to_datetime(first.time());
                if at <= first {
                    continue;
                }
                let when = instant(at)?;
                if self.count.is_some_and(|count| out.len() >= count) || !self.still(at, when) || when > now {
                    return Ok(out);
                }
                if out.len() >= MOST {
                    return Err(format!("an event happens more than {MOST} times"));
                }
                out.push(at);
            }
        }
        Ok(out)
    }

    fn still(&self, at: DateTime, when: Timestamp) -> bool {
        match self.until {
            None => true,
            Some(Until::Instant(until)) => when <= until,
            Some(Until::Local(until)) => at <= until,
            Some(Until::Day(until)) => at.date() <= until,
        }
    }

    /// The first day of the period so many steps on; `None`: out of time.
    fn period(&self, first: Date, step: i64) -> Option<Date> {
        let ahead = step.checked_mul(self.interval)?;
        match self.frequency {
            Frequency::Daily => first.checked_add(ahead.try_days()?).ok(),
            Frequency::Weekly => {
                let back = i64::from(first.weekday().since(self.week_start));
                first.checked_add(ahead.checked_mul(7)?.checked_sub(back)?.try_days()?).ok()
            }
            Frequency::Monthly => {
                let months = i64::from(first.year()).checked_mul(12)?.checked_add(i64::from(first.month()) - 1)?.checked_add(ahead)?;
                let (year, month) = (i16::try_from(months.div_euclid(12)).ok()?, i8::try_from(months.rem_euclid(12) + 1).ok()?);
                Date::new(year, month, 1).ok()
            }
            Frequency::Yearly => Date::new(i16::try_from(i64::from(first.year()).checked_add(ahead)?).ok()?, 1, 1).ok(),
        }
    }

    /// The days in a period, in order.
    fn dates(&self, first: Date, period: Date) -> Vec<Date> {
        let mut dates = match self.frequency {
            Frequency::Daily => vec![period],
            Frequency::Weekly => {
                let wanted = |date: &Date| match self.days.as_slice() {
                    [] => date.weekday() == first.weekday(),
                    days => days.iter().any(|(_, day)| *day == date.weekday()),
                };
                run(period, 7).into_iter().filter(wanted).collect()
            }
            Frequency::Monthly => self.in_month(first, period),
            Frequency::Yearly => {
                let month = |month: i8| Date::new(period.year(), month, 1).ok();
                if self.months.is_empty() && self.month_days.is_empty() && !self.days.is_empty() {
                    self.picked(&run(period, i64::from(period.days_in_year())))
                } else {
                    let months: Vec<i8> = match (self.months.as_slice(), self.month_days.as_slice()) {
                        ([], []) => vec![first.month()],
                        ([], _) => (1..=12).collect(),
                        (months, _) => months.to_vec(),
                    };
                    months.into_iter().filter_map(month).flat_map(|begin| self.in_month(first, begin)).collect()
                }
            }
        };
        if !self.months.is_empty() {
            dates.retain(|date| self.months.contains(&date.month()));
        }
        if self.frequency == Frequency::Daily {
            dates.retain(|date| {
                (self.month_days.is_empty() || self.month_days.iter().any(|day| day_of(*date, *day) == Some(*date)))
                    && (self.days.is_empty() || self.days.iter().any(|(_, day)| *day == date.weekday()))
            });
        }
        dates.sort_unstable();
        dates.dedup();
        if self.positions.is_empty() {
            return dates;
        }
        let mut chosen: Vec<Date> = self.positions.iter().filter_map(|at| nth(&dates, *at)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    fn in_month(&self, first: Date, begin: Date) -> Vec<Date> {
        let all = run(begin, i64::from(begin.days_in_month()));
        match (self.month_days.as_slice(), self.days.as_slice()) {
            ([], []) => day_of(begin, first.day()).into_iter().collect(),
            ([], _) => self.picked(&all),
            (month_days, days) => {
                let mut dates: Vec<Date> = month_days.iter().filter_map(|day| day_of(begin, *day)).collect();
                if !days.is_empty() {
                    let picked = self.picked(&all);
                    dates.retain(|date| picked.contains(date));
                }
                dates
            }
        }
    }

    /// Of these days, which are some time in order, the wanted weekdays.
    fn picked(&self, all: &[Date]) -> Vec<Date> {
        let mut out = Vec::new();
        for (which, day) in &self.days {
            let such: Vec<Date> = all.iter().filter(|date| date.weekday() == *day).copied().collect();
            match which {
                0 => out.extend(such),
                which => out.extend(nth(&such, *which)),
            }
        }
        out
    }
}

trait TryDays {
    fn try_days(self) -> Option<jiff::Span>;
}

impl TryDays for i64 {
    /// So many days, if that many fit.
    fn try_days(self) -> Option<jiff::Span> {
        jiff::Span::new().try_days(self).ok()
    }
}

fn run(begin: Date, days: i64) -> Vec<Date> {
    (0..days).filter_map(|ahead| begin.checked_add(ahead.days()).ok()).collect()
}

/// The n-th, from the front or, if negative, from the back.
fn nth(dates: &[Date], which: i16) -> Option<Date> {
    let away = usize::from(which.unsigned_abs());
    let at = if which > 0 { away.checked_sub(1)? } else { dates.len().checked_sub(away)? };
    dates.get(at).copied()
}

/// The day of the month a date is in, from the front or, if negative, from the back.
fn day_of(month: Date, day: i8) -> Option<Date> {
    let day = if day < 0 { month.days_in_month().checked_add(day)?.checked_add(1)? } else { day };
    Date::new(month.year(), month.month(), day).ok()
}

fn numbers<T: TryFrom<i16>>(text: &str, least: i16, most: i16) -> Option<Vec<T>> {
    text.split(',')
        .map(|number| {
            let number: i16 = number.trim().trim_start_matches('+').parse().ok().filter(|n| (least..=most).contains(n))?;
            T::try_from(number).ok()
        })
        .collect()
}

fn which_day(text: &str) -> Option<(i16, Weekday)> {
    let text = text.trim();
    let (number, day) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let which = match number {
        "" => 0,
        number => number.trim_start_matches('+').parse().ok().filter(|n: &i16| *n != 0 && (-53..=53).contains(n))?,
    };
    Some((which, weekday(day)?))
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text.to_ascii_uppercase().as_str() {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    })
}

fn until(text: &str) -> Option<Until> {
    Some(match super::event::written(text)? {
        (at, true) => Until::Instant(TimeZone::UTC.to_timestamp(at).ok()?),
        (at, false) if text.contains('T') => Until::Local(at),
        (at, false) => Until::Day(at.date()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rule: &str, first: &str, now: &str) -> Result<Vec<String>, String> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let first: DateTime = first.parse().unwrap();
        let found = Rule::read(rule, first)?.times(first, &zone, now.parse().unwrap(), &Work::default())?;
        Ok(found.into_iter().map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).collect())
    }

    #[track_caller]
    fn is(rule: &str, first: &str, now: &str, wanted: &[&str]) {
        assert_eq!(times(rule, first, now).unwrap(), wanted, "{rule}");
    }

    // The examples of RFC 5545 §3.8.5.3, moved to Berlin where the place matters.
    #[test]
    fn rules_of_the_standard() {
        let (start, late) = ("1997-09-02T09:00", "1999-01-01T00:00:00Z");
        is("FREQ=DAILY;COUNT=3", start, late, &["1997-09-02 09:00", "1997-09-03 09:00", "1997-09-04 09:00"]);
        is("FREQ=DAILY;INTERVAL=10;COUNT=3", start, late, &["1997-09-02 09:00", "1997-09-12 09:00", "1997-09-22 09:00"]);
        is("FREQ=WEEKLY;UNTIL=19970916T070000Z", start, late, &["1997-09-02 09:00", "1997-09-09 09:00", "1997-09-16 09:00"]);
        is(
            "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,TH;COUNT=4",
            start,
            late,
            &["1997-09-02 09:00", "1997-09-04 09:00", "1997-09-16 09:00", "1997-09-18 09:00"],
        );
        // The day a week begins on matters.
        is(
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
            "1997-08-05T09:00",
            late,
            &["1997-08-05 09:00", "1997-08-10 09:00", "1997-08-19 09:00", "1997-08-24 09:00"],
        );
        is(
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
            "1997-08-05T09:00",
            late,
            &["1997-08-05 09:00", "1997-08-17 09:00", "1997-08-19 09:00", "1997-08-31 09:00"],
        );
        is("FREQ=MONTHLY;COUNT=3;BYDAY=1FR", "1997-09-05T09:00", late, &["1997-09-05 09:00", "1997-10-03 09:00", "1997-11-07 09:00"]);
        is("FREQ=MONTHLY;COUNT=3;BYDAY=-2MO", "1997-09-22T09:00", late, &["1997-09-22 09:00", "1997-10-20 09:00", "1997-11-17 09:00"]);
        is("FREQ=MONTHLY;BYMONTHDAY=-3;COUNT=3", "1997-09-28T09:00", late, &["1997-09-28 09:00", "1997-10-29 09:00", "1997-11-28 09:00"]);
        is(
            "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3",
            "1997-09-04T09:00",
            late,
            &["1997-09-04 09:00", "1997-10-07 09:00", "1997-11-06 09:00"],
        );
        is("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=2", "1998-02-13T09:00", late, &["1998-02-13 09:00", "1998-03-13 09:00"]);
        is("FREQ=YEARLY;COUNT=2;BYMONTH=6,7", "1997-06-10T09:00", late, &["1997-06-10 09:00", "1997-07-10 09:00"]);
        is("FREQ=YEARLY;BYDAY=20MO;COUNT=2", "1997-05-19T09:00", late, &["1997-05-19 09:00", "1998-05-18 09:00"]);
        // There is no thirty-first in every month.
        is("FREQ=MONTHLY;COUNT=3", "1997-08-31T09:00", late, &["1997-08-31 09:00", "1997-10-31 09:00", "1997-12-31 09:00"]);
    }

    #[test]
    fn nothing_beyond_now_is_counted_and_nothing_runs_away() {
        is("FREQ=WEEKLY", "2026-03-02T09:00", "2026-03-16T08:00:00Z", &["2026-03-02 09:00", "2026-03-09 09:00", "2026-03-16 09:00"]);
        is("FREQ=WEEKLY", "2026-03-02T09:00", "2026-03-16T07:59:59Z", &["2026-03-02 09:00", "2026-03-09 09:00"]);
        assert!(times("FREQ=DAILY", "0001-01-01T09:00", "2026-03-16T08:00:00Z").unwrap_err().contains("more than"));
        let all_mondays = format!("FREQ=YEARLY;BYDAY={}", vec!["MO"; 100_000].join(","));
        assert!(times(&all_mondays, "2026-01-01T09:00", "2026-03-16T08:00:00Z").unwrap_err().contains("more work"));
        assert!(
            times("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30,30,30,30,30,30,30,30", "0001-01-01T09:00", "2026-03-16T08:00:00Z")
                .unwrap_err()
                .contains("more work")
        );
        assert_eq!(times("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2026-02-01T09:00", "2026-03-16T08:00:00Z").unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let first = "2026-03-02T09:00";
        for rule in [
            "INTERVAL=1",
            "FREQ=HOURLY",
            "FREQ=DAILY;INTERVAL=0",
            "FREQ=DAILY;COUNT=0",
            "FREQ=DAILY;BYHOUR=9,21",
            "FREQ=WEEKLY;BYDAY=1MO",
            "FREQ=WEEKLY;BYDAY=XX",
            "FREQ=WEEKLY;BYMONTHDAY=1",
            "FREQ=YEARLY;BYWEEKNO=20",
            "FREQ=YEARLY;BYYEARDAY=1",
            "FREQ=MONTHLY;BYMONTHDAY=0",
            "FREQ=DAILY;UNTIL=tomorrow",
            "RSCALE=CHINESE;FREQ=YEARLY",
            "FREQ",
        ] {
            assert!(Rule::read(rule, first.parse().unwrap()).is_err(), "{rule}");
        }
        assert!(Rule::read("FREQ=DAILY;BYHOUR=9;BYMINUTE=0;BYSECOND=0", first.parse().unwrap()).is_ok());
    }
}
