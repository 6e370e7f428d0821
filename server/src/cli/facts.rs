//! What a host says of itself, in words.

use super::time;
use handover_identity::rough;
use handover_model::{Duration, Timestamp};
use handover_proto::v1::{CloneAlarm, HostFacts};

/// A clock that is wrong by more than that is worth a word.
const CLOCK: Duration = Duration::from_secs(30);

/// Bytes as a person says them: in the largest unit that leaves a number above one.
fn bytes(count: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None => format!("{count} B"),
    }
}

/// The free space of the agent's file system; nothing where it is not known.
pub(super) fn disk_free(facts: &HostFacts) -> String {
    if facts.disk_total == 0 { String::new() } else { bytes(facts.disk_free) }
}

/// Free and whole.
pub(super) fn disk(facts: &HostFacts) -> String {
    if facts.disk_total == 0 {
        return "not known".to_owned();
    }
    format!("{} free of {}", bytes(facts.disk_free), bytes(facts.disk_total))
}

/// What matters to the gate and to what the agent starts.
pub(super) fn abilities(facts: &HostFacts) -> String {
    let migrate = facts.tcp_migrate_req.map_or_else(|| "missing".to_owned(), |value| value.to_string());
    let journald = if facts.journald { "journald" } else { "no journald" };
    format!("{}, tcp_migrate_req {migrate}, {journald}", facts.containment)
}

/// The alarm about a copy, and what to do.
pub(super) fn alarm(host: &str, alarm: &CloneAlarm) -> String {
    format!(
        "ALARM: its identity is used in two places: {}; the one from {} was refused ({}). Enrol the copy under another name, then `handover hosts acknowledge {host}`",
        alarm.why,
        alarm.from,
        time::ago(alarm.since_unix_millis)
    )
}

/// A clock that is wrong.
pub(super) fn clock(ahead_millis: i64) -> Option<String> {
    let by = Duration::from_millis(ahead_millis.unsigned_abs());
    let how = if ahead_millis > 0 { "ahead of" } else { "behind" };
    (by > CLOCK).then(|| format!("its clock is {} {how} the server's: set it", rough(by)))
}

/// A certificate that has less than a quarter of its life left: it should have been renewed at a third.
pub(super) fn certificate(issued: u64, expires: u64, now: Timestamp) -> Option<String> {
    let (issued, expires) = (Timestamp::from_unix_millis(issued), Timestamp::from_unix_millis(expires));
    let left = expires.since(now);
    if now > expires {
        return Some(format!(
            "its certificate ended {} ago: join it again with a token for it",
            rough(now.since(expires))
        ));
    }
    // When it was made is not known of those of an earlier version.
    let soon = issued != Timestamp::default() && left < expires.since(issued) / 4;
    soon.then(|| format!("its certificate ends in {} and was not renewed yet", rough(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_worth_a_note_once_its_renewal_is_late() {
        let day = 86_400_000;
        let note = |now: u64| certificate(day, 31 * day, Timestamp::from_unix_millis(now));
        assert_eq!(note(22 * day), None);
        assert_eq!(note(25 * day).unwrap(), "its certificate ends in 6 d 0 h and was not renewed yet");
        assert_eq!(
            note(33 * day).unwrap(),
            "its certificate ended 2 d 0 h ago: join it again with a token for it"
        );
        assert_eq!(certificate(0, 31 * day, Timestamp::from_unix_millis(30 * day)), None);
    }

    #[test]
    fn a_clock_is_worth_a_note_past_half_a_minute_on_both_sides() {
        assert_eq!(clock(30_000), None);
        assert_eq!(clock(-86_400_000).unwrap(), "its clock is 1 d 0 h behind the server's: set it");
        assert_eq!(clock(7_200_000).unwrap(), "its clock is 2 h 0 min ahead of the server's: set it");
    }

    #[test]
    fn bytes_are_said_in_the_largest_unit() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
    }
}
