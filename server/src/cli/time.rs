//! Times as people read them.

use jiff::{Timestamp, tz::TimeZone};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in Unix milliseconds.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment, in local time; `-` for none.
pub(super) fn moment(millis: u64) -> String {
    let parsed = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    match parsed {
        Some(moment) if millis != 0 => {
            moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        Some(_) | None => "-".to_owned(),
    }
}

/// A moment to the millisecond, in local time.
pub(super) fn exact_moment(micros: u64) -> String {
    let parsed = i64::try_from(micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    parsed.map_or_else(
        || "-".to_owned(),
        |moment| moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
    )
}

/// Milliseconds of a span as people write it: a number and s, m, h or d; without a letter they are seconds.
pub(super) fn parse_span(text: &str) -> Result<u64, String> {
    let end = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len();
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{unit:?} is no unit: s, m, h or d")),
    };
    let number: u64 = number.parse().map_err(|_| "expected a time as 90s, 10m, 2h, 1d".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is too long ago".to_owned())
}

/// A moment as people write it, in Unix milliseconds: with a zone, or in local time.
pub(super) fn parse_moment(text: &str) -> Result<u64, String> {
    let with_zone = text.parse::<Timestamp>().ok();
    let local = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp())
    };
    let moment = with_zone.or_else(local).map(Timestamp::as_millisecond);
    moment.and_then(|millis| u64::try_from(millis).ok()).ok_or_else(|| {
        "expected a time such as \"2026-12-24 18:00\" (local time) or 2026-12-24T17:00:00Z".to_owned()
    })
}

/// The time of day, with which plain lines begin.
pub(super) fn clock() -> String {
    Timestamp::now().to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// The time of day of a moment, in local time.
pub(super) fn time_of_day(millis: u64) -> String {
    let parsed = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    parsed.map_or_else(
        || "-".to_owned(),
        |moment| moment.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string(),
    )
}

/// How long ago something was.
pub(super) fn ago(millis: u64) -> String {
    if millis == 0 { "never".to_owned() } else { format!("{} ago", span(now().saturating_sub(millis))) }
}

/// A span of milliseconds, in the two largest units.
pub(super) fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis}ms"),
        1..60 if seconds < 10 => format!("{}.{}s", seconds, millis % 1000 / 100),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_a_zone_or_are_local() {
        assert_eq!(parse_moment("2026-12-24T17:00:00Z"), Ok(1_798_131_600_000));
        assert_eq!(parse_moment("2026-12-24T18:00:00+01:00"), Ok(1_798_131_600_000));
        assert!(parse_moment("2026-12-24 18:00").is_ok() && parse_moment("2026-12-24").is_ok());
        for bad in ["", "tomorrow", "18:00", "2026-13-01 00:00"] {
            assert!(parse_moment(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn spans_are_short_and_exact_enough() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_500, "1.5s"),
            (59_999, "59s"),
            (61_000, "1m01s"),
            (3_660_000, "1h01m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }

    #[test]
    fn spans_are_read() {
        for (text, millis) in
            [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000), ("5", 5_000)]
        {
            assert_eq!(parse_span(text), Ok(millis));
        }
        for bad in ["", "m", "1w", "-1s", "1.5h", "99999999999999999d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_never_was_has_no_moment() {
        assert_eq!(moment(0), "-");
        assert_eq!(ago(0), "never");
    }
}
