//! Days put together: a number for each week or month, and for all of them.

use jiff::civil::Date;
use jiff::{Span, ToSpan as _};

use super::day::Day;
use super::projection::Projection;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A day, UTC.
    Day,
    /// Monday to Sunday.
    Week,
    /// A month of the calendar.
    Month,
}

impl By {
    /// The first day of the period that a day is in.
    fn begin(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Week => day.checked_sub(i32::from(day.weekday().to_monday_zero_offset()).days()).unwrap_or(day),
            Self::Month => day.first_of_month(),
        }
    }

    fn length(self) -> Span {
        match self {
            Self::Day => 1.days(),
            Self::Week => 1.weeks(),
            Self::Month => 1.months(),
        }
    }
}

/// What was counted in some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// The first of them.
    pub from: Date,
    /// The first that is not one of them.
    pub until: Date,
    /// All of them added up.
    pub sum: Day,
    /// Grants for production without an end that are active when the period is over.
    pub standing: u64,
}

/// Periods, one after another, and all of them as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many entries of the log it follows from.
    pub entries: u64,
    /// All of the time.
    pub total: Period,
    /// Its parts.
    pub periods: Vec<Period>,
}

impl Report {
    /// The periods from one day to before another, cut off there. `None` if there would be more than `most`, or none.
    #[must_use]
    pub fn of(projection: &Projection, since: Date, until: Date, by: By, most: usize) -> Option<Self> {
        let mut periods = Vec::new();
        let mut from = since;
        while from < until {
            if periods.len() == most {
                return None;
            }
            let next = by.begin(from).checked_add(by.length()).ok()?.min(until);
            periods.push(Period { from, until: next, sum: Day::default(), standing: 0 });
            from = next;
        }
        if periods.is_empty() {
            return None;
        }
        let mut standing = projection.days().range(..since).fold(0, |standing, (_, day)| after(standing, day));
        let mut days = projection.days().range(since..until).peekable();
        let mut sum = Day::default();
        for period in &mut periods {
            while let Some((_, day)) = days.next_if(|(date, _)| **date < period.until) {
                period.sum.add(day);
                standing = after(standing, day);
            }
            period.standing = u64::try_from(standing).unwrap_or(0);
            sum.add(&period.sum);
        }
        let standing = periods.last().map_or(0, |last| last.standing);
        Some(Self { entries: projection.entries(), total: Period { from: since, until, sum, standing }, periods })
    }

    /// All there is, as one period.
    #[must_use]
    pub fn whole(projection: &Projection) -> Period {
        let mut sum = Day::default();
        projection.days().values().for_each(|day| sum.add(day));
        let standing = u64::try_from(after(0, &sum)).unwrap_or(0);
        let first = projection.days().keys().next().copied().unwrap_or(Date::ZERO);
        let last = projection.days().keys().next_back().copied().unwrap_or(Date::ZERO);
        Period { from: first, until: last.tomorrow().unwrap_or(last), sum, standing }
    }
}

/// How many stand after a day, if so many stood before it. An end that is entered later than it was may stand on a day before.
fn after(standing: i64, day: &Day) -> i64 {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    standing.saturating_add(count(day.standing_began)).saturating_sub(count(day.standing_ended))
}
