//! Times as people read them: on their own clock, and how far away.

use access::time::Span;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What time it is for whoever sits at this terminal. Nothing is decided by it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the command line says how long ago something was; the gate's clock decides")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// `14:02 (in 42m)`; with the date when it is not today.
#[must_use]
pub fn local(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let there = at.to_zoned(zone.clone());
    let here = now.to_zoned(zone.clone());
    let format = if there.date() == here.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    format!("{} ({})", there.strftime(format), relative(at, now))
}

/// `in 42m`, `3d ago`, `now`: the two largest units.
#[must_use]
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second().saturating_sub(now.as_second());
    let length = rounded(Span::seconds(seconds.unsigned_abs()));
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {length}"),
        _ => format!("{length} ago"),
    }
}

/// A length of time in its two largest units, without seconds beside hours.
fn rounded(span: Span) -> Span {
    let seconds = span.as_seconds();
    let unit = match seconds {
        0..3600 => 1,
        3600..86_400 => 60,
        _ => 3600,
    };
    Span::seconds(seconds - seconds % unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_and_relative() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let at = |text: &str| local(text.parse().unwrap(), now, &zone);
        assert_eq!(at("2026-03-01T12:42:00Z"), "14:42 (in 42m)");
        assert_eq!(at("2026-03-01T10:29:58Z"), "12:29 (1h30m ago)");
        assert_eq!(at("2026-02-26T11:00:00Z"), "2026-02-26 13:00 (3d1h ago)");
        assert_eq!(at("2026-03-01T12:00:00Z"), "14:00 (now)");
    }
}
