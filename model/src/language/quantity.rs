//! Quantities as people write them: `"200ms"`, `"512MiB"`, `"25%"`.

use std::{ops::RangeInclusive, time::Duration};

/// Splits `12ms` into 12 and `ms`; `None` where it does not begin with a number that fits.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

/// Reads a whole number with one of the units ms, s, m, h; inside `range`.
pub(crate) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or_else(|| {
        format!(
            "{} is no duration: expected a whole number and one of ms, s, m, h, like \"200ms\"",
            quoted(text)
        )
    })?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => {
            return Err(format!(
                "{} is no duration: after the number stands one of ms, s, m, h, like \"200ms\"",
                quoted(text)
            ));
        }
    };
    match millis.map(Duration::from_millis) {
        Some(duration) if range.contains(&duration) => Ok(duration),
        _ => Err(format!(
            "{} is outside {} to {}",
            quoted(text),
            written(*range.start()),
            written(*range.end())
        )),
    }
}

/// A duration in the largest unit that writes it whole.
pub(crate) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(size, _)| millis > 0 && millis.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", millis / size),
        None => format!("{millis}ms"),
    }
}

/// Reads a whole number with one of the units B, KiB, MiB, GiB, TiB.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "{} is no size: expected a whole number and one of B, KiB, MiB, GiB, TiB, like \"512MiB\"",
            quoted(text)
        )
    };
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{} is too large", quoted(text)))
}

/// Reads a whole number followed by `%`, inside `range`.
pub(crate) fn percent(text: &str, range: &RangeInclusive<u32>) -> Result<u32, String> {
    let number = match split(text) {
        Some((number, "%")) => u32::try_from(number).ok(),
        _ => {
            return Err(format!(
                "{} is no percentage: expected a whole number and %, like \"25%\"",
                quoted(text)
            ));
        }
    };
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{} is outside {}% to {}%", quoted(text), range.start(), range.end()))
}

/// Reads a number with at most four decimals followed by `%`, in millionths, inside `range`.
pub(crate) fn fraction(text: &str, range: &RangeInclusive<u32>) -> Result<u32, String> {
    let wrong = || {
        format!(
            "{} is no percentage: expected a number with at most four decimals and %, like \"0.2%\"",
            quoted(text)
        )
    };
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 5) || !digits(decimals, 4) {
        return Err(wrong());
    }
    let millionths = format!("{whole}{decimals:0<4}").parse::<u32>().map_err(|_| wrong())?;
    if range.contains(&millionths) {
        return Ok(millionths);
    }
    let (from, to) = (fraction_written(*range.start()), fraction_written(*range.end()));
    Err(format!("{} is outside {from} to {to}", quoted(text)))
}

/// Millionths as a percentage.
pub(crate) fn fraction_written(millionths: u32) -> String {
    let (whole, rest) = (millionths / 10_000, millionths % 10_000);
    let decimals = format!("{rest:04}");
    match decimals.trim_end_matches('0') {
        "" => format!("{whole}%"),
        decimals => format!("{whole}.{decimals}%"),
    }
}

/// Reads a whole number with one of the units s, m, h, d, as options of both daemons take it, into seconds.
///
/// # Errors
/// A text that is none, or 0, or too long.
pub fn seconds(text: &str) -> Result<u64, String> {
    let problem = || {
        format!(
            "{} is no duration: expected a number with s, m, h or d behind it, like 30s or 1h",
            quoted(text)
        )
    };
    let (number, unit) = split(text).ok_or_else(problem)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(problem()),
    };
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).ok_or_else(problem)
}

/// The reverse of [`seconds`], in the largest unit that writes it whole.
#[must_use]
pub fn written_seconds(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    match units.into_iter().find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", seconds / size),
        None => format!("{seconds}s"),
    }
}

/// A text that is nearly a duration, as one; `None` where it cannot be guessed.
pub(crate) fn meant_duration(text: &str) -> Option<String> {
    let (number, unit) = split(text.trim())?;
    let unit = match unit.trim().to_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millis" | "milliseconds" => "ms",
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => return number.checked_mul(24).map(|hours| format!("{hours}h")),
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// A text that is nearly a size, as one; `None` where it cannot be guessed.
pub(crate) fn meant_size(text: &str) -> Option<String> {
    let (number, unit) = split(text.trim())?;
    let unit = match unit.trim().to_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => "B",
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        "t" | "tb" | "ti" | "tib" => "TiB",
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// A value of the text in quotes, with what a terminal would obey escaped, cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{:?}", start + "...")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);

    #[test]
    fn durations_are_whole_numbers_with_one_unit() {
        for (text, millis) in [("200ms", 200), ("5s", 5_000), ("10m", 600_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text, &DAY), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in
            ["", "5", "s", "5 s", "1.5s", "-1s", "1m30s", "5S", "1d", "99999999999999999999s", "25h", "٣s"]
        {
            assert!(duration(bad, &DAY).is_err(), "{bad:?} was taken");
        }
        assert!(duration("18446744073709551615h", &DAY).is_err());
    }

    #[test]
    fn a_duration_outside_its_range_names_the_range() {
        assert_eq!(duration("25h", &DAY), Err("\"25h\" is outside 0ms to 24h".to_owned()));
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert_eq!(bytes("0B"), Ok(0));
        for bad in ["512", "512MB", "512 MiB", "MiB", "1.5GiB", "99999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn what_is_nearly_a_quantity_is_understood_only_to_be_proposed() {
        for (text, meant) in [("30 s", "30s"), ("5min", "5m"), ("2d", "48h"), ("30", "30s"), ("1 Hour", "1h")]
        {
            assert_eq!(meant_duration(text).as_deref(), Some(meant), "{text}");
            assert!(duration(meant, &(Duration::ZERO..=Duration::MAX)).is_ok());
        }
        for (text, meant) in [("512MB", "512MiB"), ("1g", "1GiB"), ("10 kb", "10KiB"), ("512", "512B")] {
            assert_eq!(meant_size(text).as_deref(), Some(meant), "{text}");
            assert!(bytes(meant).is_ok());
        }
        for nonsense in ["soon", "1m30s", "", "5 parsecs"] {
            assert_eq!(meant_duration(nonsense), None, "{nonsense}");
            assert_eq!(meant_size(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn options_have_durations_of_whole_seconds() {
        for (text, number) in [("90s", 90), ("2m", 120), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(number));
            assert_eq!(written_seconds(number), text);
        }
        for bad in ["", "1", "s", "1w", "0s", "-1s", "5ms", "99999999999999999999s", "9999999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn fractions_are_percentages_with_decimals() {
        for (text, millionths) in [("1%", 10_000), ("0.2%", 2_000), ("0.0001%", 1), ("125%", 1_250_000)] {
            assert_eq!(fraction(text, &(0..=100_000_000)), Ok(millionths));
            assert_eq!(fraction_written(millionths), text);
        }
        for bad in ["", "%", "1", ".5%", "1.%", "0.00001%", "-1%", "1e3%", "123456%", "1.5.5%", " 1%"] {
            assert!(fraction(bad, &(0..=u32::MAX)).is_err(), "{bad:?} was taken");
        }
        assert_eq!(fraction("60%", &(1..=500_000)).unwrap_err(), "\"60%\" is outside 0.0001% to 50%");
    }

    #[test]
    fn percentages_end_with_their_sign() {
        assert_eq!(percent("25%", &(1..=100)), Ok(25));
        for bad in ["25", "%", "0%", "101%", "2.5%", "4294967297%"] {
            assert!(percent(bad, &(1..=100)).is_err(), "{bad:?} was taken");
        }
    }
}
