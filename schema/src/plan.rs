//! What is to be done, from what was applied and what a release has. No I/O: the server can ask it as well.
//!
//! Versions are one line: a migration is applied only when every one with a lower number is, whatever its phase. Otherwise the
//! highest number would not say what the schema looks like, and nothing that code declares to read could be held against it.

use crate::folder::Scripts;
use crate::record::{Record, State};
use handover_model::{SchemaPhase, SchemaRange, SchemaReader, SchemaVersion};
use handover_script::{Checksum, Script};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The schema's version now.
    pub from: SchemaVersion,
    /// The schema's version afterwards.
    pub to: SchemaVersion,
    /// The migrations, in their order. Of the first, a part may be done: see `resumes`.
    pub steps: Vec<&'a Script>,
    /// The record of the first, where it was begun before.
    pub resumes: Option<Record>,
}

/// Why nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A file was changed after it was applied.
    #[error(
        "{file} was applied as {was} and is {is} now: what was applied stays as it is; put the former text back, and write the change as a migration of its own"
    )]
    Changed {
        /// The file.
        file: String,
        /// The checksum that was applied.
        was: Checksum,
        /// The checksum of the file.
        is: Checksum,
    },
    /// A file was moved to another phase after it was applied.
    #[error("{file} was applied in the phase {was}: put it back")]
    Moved {
        /// The file.
        file: String,
        /// The phase in which it was applied.
        was: SchemaPhase,
    },
    /// What was applied is not in the release, though later files are.
    #[error(
        "version {version} ({name}) was applied and is not in this release, which has later ones: put its file back"
    )]
    Missing {
        /// Its number.
        version: SchemaVersion,
        /// Its name.
        name: String,
    },
    /// A file has a number below what is applied.
    #[error("{file} was not applied, and the schema is at version {at} already: give it a number above {at}")]
    TooLate {
        /// The file.
        file: String,
        /// The schema's version.
        at: SchemaVersion,
    },
    /// A file of another phase comes first.
    #[error("{file} comes before {then}: run the phase {phase} first")]
    OtherPhaseFirst {
        /// What comes first.
        file: String,
        /// Its phase.
        phase: SchemaPhase,
        /// What was asked for.
        then: String,
    },
    /// Something that was begun is not whole, and is not of the phase that was asked for.
    #[error(
        "version {version} ({name}) was begun in the phase {phase} and is not whole: run that phase, which goes on with it"
    )]
    Unfinished {
        /// Its number.
        version: SchemaVersion,
        /// Its name.
        name: String,
        /// Its phase.
        phase: SchemaPhase,
    },
    /// Something that was begun is not in the release.
    #[error(
        "version {version} ({name}) was begun, is not whole, and is not in this release: deploy the release that has it, and run the phase {phase}"
    )]
    UnfinishedMissing {
        /// Its number.
        version: SchemaVersion,
        /// Its name.
        name: String,
        /// Its phase.
        phase: SchemaPhase,
    },
    /// Code that may run does not work with what would come of it.
    #[error("{file} makes the schema's version {version}, and {who} works with {reads} only")]
    NotRead {
        /// The file.
        file: String,
        /// The version that it makes.
        version: SchemaVersion,
        /// Whose code.
        who: String,
        /// What that works with.
        reads: SchemaRange,
    },
}

/// The schema's version: the highest number that was applied.
pub fn version_of(records: &[Record]) -> SchemaVersion {
    records
        .iter()
        .filter(|record| record.state == State::Applied)
        .map(|record| record.version)
        .max()
        .unwrap_or_default()
}

/// What a phase has to do, or why it is refused.
pub fn plan<'a>(
    phase: SchemaPhase,
    scripts: &'a Scripts,
    records: &[Record],
    readers: &[SchemaReader],
) -> Result<Plan<'a>, Refusal> {
    for record in records {
        held_against(record, scripts)?;
    }
    let from = version_of(records);
    let mut begun: Vec<&Record> = records.iter().filter(|record| record.state == State::Started).collect();
    begun.sort_by_key(|record| record.version);
    let resumes = begun.first().copied().cloned();
    let applied = |version: SchemaVersion| {
        records.iter().any(|record| record.version == version && record.state == State::Applied)
    };
    let open: Vec<&Script> = scripts.iter().filter(|script| !applied(script.version)).collect();
    // Whoever only looks what the schema is finds that: half a backfill takes nothing away. Half a contract may.
    let looks = |record: &Record| {
        record.phase == SchemaPhase::Backfill && !open.iter().any(|script| script.phase == phase)
    };
    if let Some(record) = &resumes
        && record.phase != phase
        && !looks(record)
    {
        return Err(Refusal::Unfinished {
            version: record.version,
            name: record.name.clone(),
            phase: record.phase,
        });
    }
    let touched = records.iter().map(|record| record.version).max().unwrap_or_default();
    if let Some(late) = open.iter().find(|script| {
        script.version < touched && !records.iter().any(|record| record.version == script.version)
    }) {
        return Err(Refusal::TooLate { file: late.to_string(), at: touched });
    }
    let steps: Vec<&Script> = open.iter().copied().take_while(|script| script.phase == phase).collect();
    if steps.is_empty()
        && let Some(first) = open.first()
        && let Some(then) = open.iter().find(|script| script.phase == phase)
    {
        return Err(Refusal::OtherPhaseFirst {
            file: first.to_string(),
            phase: first.phase,
            then: then.to_string(),
        });
    }
    for script in &steps {
        // A backfill that is done again changes no version: the schema stays where it is.
        let version = script.version.max(from);
        if let Some(reader) = readers.iter().find(|reader| !reader.reads.contains(version)) {
            let (who, reads) = (reader.who.clone(), reader.reads);
            return Err(Refusal::NotRead { file: script.to_string(), version, who, reads });
        }
    }
    // A backfill that is done again is below what is applied already.
    let to = steps.last().map_or(from, |script| script.version.max(from));
    let resumes = resumes.filter(|_| !steps.is_empty());
    Ok(Plan { from, to, steps, resumes })
}

/// What was applied, or begun, against the file of the same number.
fn held_against(record: &Record, scripts: &Scripts) -> Result<(), Refusal> {
    let (version, name) = (record.version, record.name.clone());
    let Some(script) = scripts.get(version) else {
        let first = scripts.iter().next().map(|script| script.version);
        let last = scripts.iter().next_back().map(|script| script.version);
        return match record.state {
            State::Started => Err(Refusal::UnfinishedMissing { version, name, phase: record.phase }),
            // Below: an old file that was folded or deleted. Above: a newer release's, which this one need not have.
            State::Applied if first > Some(version) || last < Some(version) => Ok(()),
            State::Applied => Err(Refusal::Missing { version, name }),
        };
    };
    if script.checksum != record.checksum {
        return Err(Refusal::Changed { file: script.to_string(), was: record.checksum, is: script.checksum });
    }
    if script.phase != record.phase {
        return Err(Refusal::Moved { file: script.to_string(), was: record.phase });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Kind;

    fn version(number: u32) -> SchemaVersion {
        SchemaVersion::new(number)
    }

    fn text(number: u32) -> String {
        format!("select {number}")
    }

    fn scripts(files: &[(SchemaPhase, u32)]) -> Scripts {
        let mut scripts = Scripts::default();
        for (phase, number) in files {
            scripts
                .add(
                    Script::read(Kind::Postgres, *phase, version(*number), "x", text(*number).as_bytes())
                        .unwrap(),
                )
                .unwrap();
        }
        scripts
    }

    fn record(phase: SchemaPhase, number: u32, state: State) -> Record {
        Record {
            version: version(number),
            phase,
            name: "x".to_owned(),
            checksum: Checksum::of(text(number).as_bytes()),
            state,
            begun: 1,
            done: 0,
            started_ms: 0,
            applied_ms: None,
            by: "me".to_owned(),
            took_ms: 0,
            deployment: String::new(),
        }
    }

    fn planned(
        phase: SchemaPhase,
        files: &[(SchemaPhase, u32)],
        records: &[Record],
    ) -> Result<(u32, u32, Vec<u32>), Refusal> {
        let scripts = scripts(files);
        plan(phase, &scripts, records, &[]).map(|plan| {
            (
                plan.from.number(),
                plan.to.number(),
                plan.steps.iter().map(|script| script.version.number()).collect(),
            )
        })
    }

    use SchemaPhase::{Backfill, Contract, Expand};
    use State::{Applied, Started};

    #[test]
    fn a_phase_applies_its_files_up_to_the_next_one_of_another_phase() {
        let files = [(Expand, 41), (Expand, 42), (Backfill, 43), (Contract, 44), (Expand, 45)];
        assert_eq!(planned(Expand, &files, &[]), Ok((0, 42, vec![41, 42])));
        let two = [record(Expand, 41, Applied), record(Expand, 42, Applied)];
        assert_eq!(planned(Backfill, &files, &two), Ok((42, 43, vec![43])));
        let refused = planned(Expand, &files, &two).unwrap_err();
        assert!(matches!(&refused, Refusal::OtherPhaseFirst { phase: Backfill, .. }), "{refused}");
        assert_eq!(planned(Expand, &[(Expand, 41)], &[record(Expand, 41, Applied)]), Ok((41, 41, vec![])));
        assert_eq!(planned(Contract, &files[..2], &[]), Ok((0, 0, vec![])));
    }

    #[test]
    fn a_changed_a_moved_and_a_late_file_are_refused() {
        let mut changed = record(Expand, 1, Applied);
        changed.checksum = Checksum::of(b"other");
        assert!(matches!(planned(Expand, &[(Expand, 1)], &[changed]), Err(Refusal::Changed { .. })));
        assert!(matches!(
            planned(Expand, &[(Expand, 1)], &[record(Contract, 1, Applied)]),
            Err(Refusal::Moved { .. })
        ));
        assert!(matches!(
            planned(Expand, &[(Expand, 1), (Expand, 2)], &[record(Expand, 2, Applied)]),
            Err(Refusal::TooLate { .. })
        ));
    }

    #[test]
    fn what_was_applied_may_be_missing_at_the_ends_only() {
        let records = [record(Expand, 1, Applied), record(Expand, 2, Applied), record(Expand, 3, Applied)];
        assert_eq!(planned(Expand, &[(Expand, 2)], &records), Ok((3, 3, vec![])));
        assert_eq!(planned(Expand, &[], &records), Ok((3, 3, vec![])));
        assert!(matches!(
            planned(Expand, &[(Expand, 1), (Expand, 3)], &records),
            Err(Refusal::Missing { .. })
        ));
    }

    #[test]
    fn what_was_begun_is_gone_on_with_and_nothing_else_before() {
        let files = [(Backfill, 1), (Contract, 2)];
        let begun = [record(Backfill, 1, Started)];
        let release = scripts(&files);
        let plan = plan(Backfill, &release, &begun, &[]).unwrap();
        assert_eq!((plan.from.number(), plan.to.number(), plan.resumes), (0, 1, Some(begun[0].clone())));
        assert!(matches!(planned(Contract, &files, &begun), Err(Refusal::Unfinished { .. })));
        // A phase without a file of its own changes nothing, and is how a schema is looked at.
        assert_eq!(planned(Expand, &files, &begun), Ok((0, 0, vec![])));
        let half = [record(Contract, 2, Started)];
        let looked = planned(Expand, &files[1..], &half);
        assert!(
            matches!(looked, Err(Refusal::Unfinished { .. })),
            "half a contract is nothing that can be told"
        );
        assert!(matches!(planned(Backfill, &files[1..], &begun), Err(Refusal::UnfinishedMissing { .. })));
    }

    #[test]
    fn a_version_that_running_code_does_not_work_with_is_refused_with_who_it_is() {
        let release = scripts(&[(Contract, 3)]);
        let reader =
            |who: &str, reads: &str| SchemaReader { who: who.to_owned(), reads: reads.parse().unwrap() };
        let readers = [reader("1.1.0 on a", "2..=3"), reader("1.0.0 on b (standby)", "1..=2")];
        let refused = plan(Contract, &release, &[], &readers).unwrap_err().to_string();
        assert_eq!(
            refused,
            "contract/0003_x.sql makes the schema's version 3, and 1.0.0 on b (standby) works with 1..=2 only"
        );
        assert!(plan(Contract, &release, &[], &readers[..1]).is_ok());
    }
}
