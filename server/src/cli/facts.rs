//! What a host says of itself, in words.

use super::time;
use handover_identity::rough;
use handover_model::{Disk, Duration, HostFacts as Facts, Room, Timestamp, in_bytes};
use handover_proto::v1::{CloneAlarm, HostFacts};

/// A clock that is wrong by more than that is worth a word.
const CLOCK: Duration = Duration::from_secs(30);

/// The free space of the agent's file system; nothing where it is not known.
pub(super) fn disk_free(facts: &HostFacts) -> String {
    if facts.disk_total == 0 { String::new() } else { in_bytes(facts.disk_free) }
}

/// Free and whole.
pub(super) fn disk(facts: &HostFacts) -> String {
    if facts.disk_total == 0 {
        return "not known".to_owned();
    }
    format!("{} free of {}", in_bytes(facts.disk_free), in_bytes(facts.disk_total))
}

/// What matters to the gate and to what the agent starts.
pub(super) fn abilities(facts: &HostFacts) -> String {
    let migrate = facts.tcp_migrate_req.map_or_else(|| "missing".to_owned(), |value| value.to_string());
    let journald = if facts.journald { "journald" } else { "no journald" };
    format!("{}, tcp_migrate_req {migrate}, {journald}", facts.containment)
}

/// The file systems of the agent's folders, as it told; of one that tells of its state alone, that.
pub(super) fn disks(facts: &HostFacts) -> Vec<Disk> {
    let told = Facts::from(facts.clone());
    if told.disks.is_empty() && told.disk_total > 0 {
        let folders = vec!["state".to_owned()];
        let path = "the agent's state".to_owned();
        return vec![Disk { folders, path, free: told.disk_free, total: told.disk_total }];
    }
    told.disks
}

/// How much room there is on a disk, in a word.
pub(super) const fn room(disk: Room) -> &'static str {
    match disk {
        Room::Enough => "enough",
        Room::Low => "low",
        Room::Full => "full",
    }
}

/// Disks without room, and what that costs.
pub(super) fn wants_room(facts: &HostFacts) -> Vec<String> {
    let unwritten = facts.unwritten.as_ref().map(|unwritten| {
        format!(
            "its agent cannot write down what it does ({}): {}. What runs goes on, nothing new is begun",
            time::ago(unwritten.since_unix_millis),
            unwritten.what
        )
    });
    unwritten.into_iter().chain(disks(facts).iter().filter_map(without_room)).collect()
}

fn without_room(disk: &Disk) -> Option<String> {
    let there = format!(
        "{} free of {} at {} ({})",
        in_bytes(disk.free),
        in_bytes(disk.total),
        disk.path,
        disk.folders.join(", ")
    );
    match disk.room() {
        Room::Enough => None,
        Room::Low => Some(format!("its disk is getting full: {there}; make room before it is")),
        Room::Full => Some(format!(
            "its disk is full: {there}. What runs goes on; {}. Make room there, the agent goes on by itself",
            costs(disk).join(", ")
        )),
    }
}

/// What a full disk costs, by what lies on it.
fn costs(disk: &Disk) -> Vec<&'static str> {
    let costs = [
        ("state", "no release is fetched to it"),
        ("logs", "what its services write to log files is lost"),
        ("runtime", "services that say READY=1 may not start"),
    ];
    let has = |word: &str| disk.folders.iter().any(|folder| folder == word);
    costs.into_iter().filter(|(word, _)| has(word)).map(|(_, text)| text).collect()
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
    fn a_disk_without_room_is_told_with_what_it_costs() {
        let mib = 1 << 20;
        let disk = |folders: &[&str], free: u64| Disk {
            folders: folders.iter().map(|&folder| folder.to_owned()).collect(),
            path: "/var/lib/handover".into(),
            free,
            total: 320 * mib,
        };
        assert_eq!(without_room(&disk(&["state"], 32 * mib)), None);
        assert_eq!(
            without_room(&disk(&["state"], 16 * mib)).unwrap(),
            "its disk is getting full: 16.0 MiB free of 320.0 MiB at /var/lib/handover (state); make room before it is"
        );
        assert_eq!(
            without_room(&disk(&["state", "logs"], 0)).unwrap(),
            "its disk is full: 0 B free of 320.0 MiB at /var/lib/handover (state, logs). What runs goes on; no release is fetched to it, what its services write to log files is lost. Make room there, the agent goes on by itself"
        );
    }

    #[test]
    fn an_agent_that_tells_of_its_state_alone_is_told_of_too() {
        let facts = HostFacts { disk_free: 1, disk_total: 1 << 30, ..HostFacts::default() };
        assert!(wants_room(&facts)[0].starts_with("its disk is full: 1 B free of 1.0 GiB"), "{facts:?}");
        assert!(wants_room(&HostFacts::default()).is_empty(), "not known");
    }
}
