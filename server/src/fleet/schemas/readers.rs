//! Who reads a database's schema: what runs on hosts, stands by, finishes its connections, may come back with a host that
//! is offline, or would be gone back to.

use super::Works;
use crate::fleet::state::{Host, State};
use handover_model::{
    HostName, InstancePhase, ReleaseRef, SchemaRange, SchemaReader, SchemaVersion, Timestamp, Version,
};
use std::{collections::BTreeMap, fmt};

/// Hosts that are named of each kind; the others are counted.
const NAMED: usize = 3;
/// Longest sentence about one release, in characters of one byte: a record with all of them stays below what the store takes.
const MAX_WHO: usize = 60;

/// A release whose code may meet the schema, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Which release.
    pub release: ReleaseRef,
    /// What it works with.
    pub works: Works,
    /// Where it gets connections, or finishes them.
    pub runs: Vec<HostName>,
    /// Where it stands by.
    pub stands_by: Vec<HostName>,
    /// Hosts that are offline and would come back with it.
    pub offline: Vec<HostName>,
    /// Whether hosts that come to its service get it.
    pub current: bool,
    /// Whether a rollback goes to it.
    pub rollback: bool,
}

impl fmt::Display for Reader {
    /// `shop 1.2.0 (runs on web-1; rollback target)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (hosts, what) in
            [(&self.runs, "runs on"), (&self.stands_by, "stands by on"), (&self.offline, "on offline")]
        {
            if !hosts.is_empty() {
                parts.push(format!("{what} {}", some(hosts)));
            }
        }
        if self.current && parts.is_empty() {
            parts.push("for hosts that come to the service".to_owned());
        }
        if self.rollback {
            parts.push("rollback target".to_owned());
        }
        write!(f, "{} ({})", self.release, parts.join("; "))
    }
}

impl Reader {
    fn of(release: ReleaseRef, works: Works) -> Self {
        let (runs, stands_by, offline) = (Vec::new(), Vec::new(), Vec::new());
        Self { release, works, runs, stands_by, offline, current: false, rollback: false }
    }

    /// Whether it is nowhere, and only a rollback would bring it back.
    pub(super) fn is_only_rollback(&self) -> bool {
        self.rollback
            && !self.current
            && self.runs.is_empty()
            && self.stands_by.is_empty()
            && self.offline.is_empty()
    }

    /// Whether its code runs, for whatever somebody forces.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.runs.is_empty()
    }
}

fn some(hosts: &[HostName]) -> String {
    let named: Vec<&str> = hosts.iter().take(NAMED).map(HostName::as_str).collect();
    match hosts.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl State {
    /// Every release whose code may meet a database's schema, with where and why. Releases that declare nothing of a
    /// schema are not among them: nothing is known of what they read. `planned`: a release whose migrations would be applied, too.
    #[must_use]
    pub fn schema_readers(
        &self,
        database: &str,
        planned: Option<&ReleaseRef>,
        now: Timestamp,
    ) -> Vec<Reader> {
        let mut readers: BTreeMap<ReleaseRef, Reader> = BTreeMap::new();
        for (name, host) in &self.hosts {
            let online = self.reachable(host, now);
            for (release, serves) in placed(host) {
                let Some(reader) = self.reader(&mut readers, &release, (database, planned)) else { continue };
                let hosts = match (online, serves) {
                    (false, _) => &mut reader.offline,
                    (true, true) => &mut reader.runs,
                    (true, false) => &mut reader.stands_by,
                };
                if hosts.last() != Some(name) {
                    hosts.push(name.clone());
                }
            }
        }
        for (service, record) in &self.services {
            let named = |version: &Version| ReleaseRef { service: service.clone(), version: version.clone() };
            for (release, is_current) in [(record.current.as_ref(), true), (record.history.last(), false)] {
                let release = release.map(named);
                let reader =
                    release.and_then(|release| self.reader(&mut readers, &release, (database, planned)));
                if let Some(reader) = reader {
                    reader.current |= is_current;
                    reader.rollback |= !is_current;
                }
            }
        }
        readers.into_values().collect()
    }

    fn reader<'a>(
        &self,
        readers: &'a mut BTreeMap<ReleaseRef, Reader>,
        release: &ReleaseRef,
        (database, planned): (&str, Option<&ReleaseRef>),
    ) -> Option<&'a mut Reader> {
        if !readers.contains_key(release) {
            let schema = self.schema_of(release).filter(|schema| schema.database == database)?;
            let works = self.works(schema, planned);
            readers.insert(release.clone(), Reader::of(release.clone(), works));
        }
        readers.get_mut(release)
    }
}

/// The releases of a host's instances, ordered and reported, and whether each has connections or finishes them.
fn placed(host: &Host) -> Vec<(ReleaseRef, bool)> {
    let ordered = host.assignments.values().flat_map(|record| &record.assignment.0);
    let mut placed: Vec<_> =
        ordered.map(|placement| (placement.release.clone(), !placement.share.is_hidden())).collect();
    let reported = host.report.iter().flat_map(|report| report.instances.values());
    for instance in reported {
        let serves = match instance.phase {
            InstancePhase::Exited | InstancePhase::GaveUp => continue,
            InstancePhase::Draining | InstancePhase::Stopping => true,
            InstancePhase::Fetching
            | InstancePhase::Starting
            | InstancePhase::Ready
            | InstancePhase::Unhealthy
            | InstancePhase::BackingOff => !instance.share.is_hidden(),
        };
        placed.push((instance.release.clone(), serves));
    }
    placed.sort();
    placed.dedup();
    placed
}

/// Those that do not work with a version.
pub(super) fn cannot_read(readers: &[Reader], version: SchemaVersion) -> Vec<&Reader> {
    readers.iter().filter(|reader| !reader.works.with(version)).collect()
}

/// What a host that migrates is told of them, at most so many: where there are more, the last stands for the rest.
pub(super) fn told(readers: &[Reader], most: usize) -> Vec<SchemaReader> {
    let who = |reader: &Reader| reader.to_string().chars().take(MAX_WHO).collect();
    let mut told: Vec<SchemaReader> = readers
        .iter()
        .map(|reader| SchemaReader {
            who: who(reader),
            reads: reader.works.range().unwrap_or(reader.works.reads),
        })
        .collect();
    if told.len() > most {
        let rest = told.split_off(most.saturating_sub(1));
        // The server has held the migrations against each of them; this is the second look.
        let reads = rest.iter().try_fold(SchemaRange::ALL, |all, reader| all.and(reader.reads));
        let first = rest.first().map_or(SchemaRange::ALL, |reader| reader.reads);
        told.push(SchemaReader {
            who: format!("{} more releases", rest.len()),
            reads: reads.unwrap_or(first),
        });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fleet::schemas::MigrationRecord, store::MAX_VALUE_BYTES};
    use handover_model::{DeploymentId, MAX_READERS, MigrationId, SchemaPhase};

    fn readers(count: u32) -> Vec<Reader> {
        let of = |number: u32| {
            let release = ReleaseRef {
                service: "s".repeat(48).parse().unwrap(),
                version: format!("{number:0>64}").parse().unwrap(),
            };
            let reads = format!("{}..=4294967295", 4_000_000_000 + number).parse().unwrap();
            Reader { rollback: true, ..Reader::of(release, Works { reads, lost: None }) }
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn whom_there_is_no_room_for_one_at_the_end_stands() {
        let told = told(&readers(100), 63);
        assert_eq!((told.len(), told[62].who.as_str()), (63, "38 more releases"));
        assert_eq!(told[62].reads.first().number(), 4_000_000_099, "the narrowest of them");
    }

    #[test]
    fn as_many_readers_as_there_may_be_fit_into_a_record() {
        let mut readers = told(&readers(200), MAX_READERS - 1);
        readers.insert(0, readers[0].clone());
        let record = MigrationRecord {
            id: MigrationId { deployment: DeploymentId::new(u64::MAX), stage: u32::MAX, attempt: u32::MAX },
            release: ReleaseRef {
                service: "s".repeat(48).parse().unwrap(),
                version: "1".repeat(64).parse().unwrap(),
            },
            phase: SchemaPhase::Contract,
            readers,
            resolve: Some("4294967295=took-effect".parse().unwrap()),
            paused: true,
        };
        let bytes = serde_json::to_vec(&record).unwrap().len();
        assert!(bytes <= MAX_VALUE_BYTES, "{bytes}");
    }
}
