//! Durations on a command line.

use std::time::Duration;

/// Reads `250ms`, `3s`, `1.5s`, `2m`; for flags of this crate's programs.
///
/// # Errors
/// Anything else, in words.
pub fn parse(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{text:?} has no unit: us, ms, s or m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{number:?} is no number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| format!("{text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit() {
        for (text, ms) in [("250ms", 250), ("3s", 3000), ("1.5s", 1500), ("2m", 120_000), ("500us", 0)] {
            assert_eq!(parse(text).unwrap().as_millis(), ms, "{text}");
        }
        for text in ["", "3", "s", "-1s", "3h", "1e400s", "nans"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
