//! `tidegate measures`: whether access is getting better.

use api::types::measures::{By, Done, Measures, MeasuresQuery, Period, Share};
use clap::{Args, ValueEnum};
use jiff::civil::Date;

use crate::client::Reply;
use crate::output::{Field, note};

use super::Context;
use super::exit::Exit;

/// Which numbers.
#[derive(Debug, Args)]
#[command(
    after_help = "Every number follows from the audit log alone; the book says what each counts (docs/measures.md). A cell is `-` where there \
                        was nothing to count."
)]
pub struct MeasuresArgs {
    /// The first day, UTC, as `2026-01-01`
    #[arg(long, value_name = "DAY")]
    since: Option<Date>,
    /// The first day that is not counted any more
    #[arg(long, value_name = "DAY")]
    until: Option<Date>,
    /// How long each period is
    #[arg(long, value_name = "PERIOD", default_value = "week")]
    by: Length,
}

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Length {
    /// A day, UTC.
    Day,
    /// Monday to Sunday.
    Week,
    /// A month of the calendar.
    Month,
}

impl MeasuresArgs {
    /// Prints them.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let by = match self.by {
            Length::Day => By::Day,
            Length::Week => By::Week,
            Length::Month => By::Month,
        };
        let query = MeasuresQuery { since: self.since, until: self.until, by: Some(by) };
        let reply: Reply<Measures> = context.client()?.get("/measures", &query).await?;
        context.print(&reply, |output, measures| {
            let mut rows: Vec<Vec<Field>> = measures.periods.iter().filter(|period| is_anything(period)).map(|p| row(p, p.from)).collect();
            if !rows.is_empty() {
                rows.push(row(&measures.total, "all"));
            }
            let header = ["from", "to session", "time-bound", "standing", "complete", "contained in", "lateral", "revoked in"];
            output.table(&header, rows, "Nothing was counted in that time.")?;
            if measures.waiting > 0 {
                note(format!("{} entries of the log are not counted yet; ask again in a moment.", measures.waiting));
            }
            Ok(())
        })
    }
}

fn is_anything(period: &Period) -> bool {
    period.request_to_session.count > 0
        || period.at_once > 0
        || period.complete_audit.of > 0
        || period.time_bound.of > 0
        || period.standing_privileged_roles > 0
}

fn row(period: &Period, name: impl std::fmt::Display) -> Vec<Field> {
    vec![
        name.to_string().into(),
        took(period.request_to_session.median_ms).into(),
        share(&period.time_bound).into(),
        period.standing_privileged_roles.into(),
        share(&period.complete_audit).into(),
        done(&period.containment).into(),
        period.lateral_steps.into(),
        done(&period.revocation_to_last_byte).into(),
    ]
}

fn share(share: &Share) -> String {
    // All is said only of all: 99.96 % is not 100 %.
    share.share.map_or_else(|| "-".to_owned(), |of| format!("{:.1} %", (of * 1000.0).floor() / 10.0))
}

fn done(done: &Done) -> String {
    match done.ordered - done.done.min(done.ordered) {
        0 => took(done.median_ms),
        open => format!("{} ({open} not seen)", took(done.median_ms)),
    }
}

/// A length in the unit that says it best.
fn took(millis: Option<u64>) -> String {
    let Some(millis) = millis else { return "-".to_owned() };
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
        _ => format!("{} h {} min", millis / 3_600_000, millis % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: BACK-5 (cli)
    #[test]
    fn lengths_and_shares_are_short_and_never_more_than_they_are() {
        let lengths = [None, Some(7), Some(1_990), Some(61_000), Some(3_660_000)].map(took);
        assert_eq!(lengths, ["-", "7 ms", "1.9 s", "1 min 1 s", "1 h 1 min"]);
        let of = |part: u32, of: u32| {
            share(&Share { part: part.into(), of: of.into(), share: (of > 0).then(|| f64::from(part) / f64::from(of)) })
        };
        assert_eq!([of(0, 0), of(9_999, 10_000), of(3, 3), of(1, 2)], ["-", "99.9 %", "100.0 %", "50.0 %"]);
        let seen = Done { ordered: 3, done: 2, median_ms: Some(40), p99_ms: None, longest_ms: None };
        assert_eq!(done(&seen), "40 ms (1 not seen)");
    }
}
