//! Schemas: how a service stands with its database's; and what a release that is about to be made says of one, from its
//! manifest and the names of the migrations in its bundle.

use super::{operators::Answer, permit::Permit, request, uploads};
use crate::{
    blobs::Bundles,
    fleet::{LintRecord, Reader, ReleaseSchema, SchemaView, Soak, State},
    linting::{self, MigrationFile, folder},
};
use handover_bundle::{FilesLimits, Found};
use handover_model::{
    HostName, MAX_MIGRATION_BYTES, MAX_MIGRATIONS, MigrationName, Release, ReleaseRef, SchemaPhase,
    SchemaVersion, ServiceName, Timestamp,
    config::{Manifest, SchemaConfig},
};
use handover_proto::{
    status::{Reason, refuse},
    v1,
};
use std::collections::BTreeMap;
use tonic::{Request, Response, Status};

/// How much is read of all migrations of a release.
const MOST: FilesLimits = FilesLimits {
    files: SchemaPhase::ALL.len() as u64 * MAX_MIGRATIONS as u64,
    bytes: 64 * MAX_MIGRATION_BYTES,
};

/// How a service stands with its database's schema.
pub(super) async fn get(wire: Request<v1::GetSchemaRequest>) -> Answer<v1::Schema> {
    let permit = Permit::of(&wire)?;
    let v1::GetSchemaRequest { service } = wire.into_inner();
    let service: ServiceName = request::parse("service", &service)?;
    let access = permit.service(&service)?;
    let schema = access.look(move |state, now| {
        let view = state.schema_view(&service, now)?;
        Ok(shown(state, &service, view))
    });
    Ok(Response::new(schema.await?))
}

fn shown(state: &State, service: &ServiceName, view: SchemaView) -> v1::Schema {
    let SchemaView { database, schema, releases, readers, soak, no_return } = view;
    let record = state.service(service);
    let release = |(name, schema): (ReleaseRef, Option<ReleaseSchema>)| {
        let after = |phase| Some(schema.as_ref()?.after(phase)?.number());
        v1::SchemaRelease {
            current: record.is_some_and(|record| record.current.as_ref() == Some(&name.version)),
            rollback_target: record.is_some_and(|record| record.history.last() == Some(&name.version)),
            version: name.version.to_string(),
            reads: schema.as_ref().map(|schema| schema.reads.to_string()).unwrap_or_default(),
            expand: after(SchemaPhase::Expand),
            backfill: after(SchemaPhase::Backfill),
            contract: after(SchemaPhase::Contract),
        }
    };
    v1::Schema {
        service: service.to_string(),
        database,
        version: schema.as_ref().map(|schema| schema.version.number()),
        since_unix_millis: schema.as_ref().map(|schema| schema.at).map_or(0, Timestamp::unix_millis),
        by_deployment: schema.as_ref().map_or(0, |schema| schema.by.number()),
        by_phase: schema.map_or(v1::SchemaPhase::Unspecified, |schema| schema.phase.into()).into(),
        releases: releases.into_iter().map(release).collect(),
        readers: readers.iter().map(reader).collect(),
        no_return: no_return.unwrap_or_default(),
        soak: soak.map(|Soak { due, waits_for, .. }| v1::ContractSoak {
            due_unix_millis: due.unix_millis(),
            waits_for: waits_for.unwrap_or_default(),
        }),
    }
}

fn reader(reader: &Reader) -> v1::SchemaReaderInfo {
    let Reader { release, reads, runs, stands_by, offline, current, rollback } = reader;
    let names = |hosts: &[HostName]| hosts.iter().map(ToString::to_string).collect();
    v1::SchemaReaderInfo {
        service: release.service.to_string(),
        version: release.version.to_string(),
        reads: reads.to_string(),
        runs_on: names(runs),
        stands_by_on: names(stands_by),
        offline_on: names(offline),
        rollback_target: *rollback,
        current: *current,
    }
}

/// Findings that are remembered one by one, and bytes of each in a record.
const FINDINGS: usize = 5;
const FINDING: usize = 200;

/// What a release that is about to be made says of a schema; `None` where its manifest says nothing, or is none: then
/// whoever makes the release says so.
pub(super) async fn declared(bundles: &Bundles, release: &Release) -> Result<Option<ReleaseSchema>, Status> {
    let Ok(Manifest { schema: Some(config), .. }) = Manifest::parse(&release.manifest) else {
        return Ok(None);
    };
    let folders = SchemaPhase::ALL.into_iter().filter_map(|phase| folder(&config, phase)).collect();
    let found = bundles.files(release.bundle.clone(), folders, MOST).await;
    let found = found.map_err(|error| uploads::refused(&error))?;
    let (linted, files) = (config.clone(), found.files.clone());
    // Bounded, but it may take a while.
    let lint = tokio::task::spawn_blocking(move || lint(&linted, &files)).await;
    let lint = lint.map_err(|_| refuse(Reason::Internal, "the linter of migrations ended", ""))?;
    let mut schema = read(&config, &found).map_err(|why| {
        refuse(Reason::InvalidManifest, format!("the migrations of {} are refused: {why}", release.name), "")
    })?;
    schema.lint = lint;
    Ok(Some(schema))
}

/// What the linter says of the migrations; `None` where it does not know the kind of database.
fn lint(config: &SchemaConfig, files: &[(String, Vec<u8>)]) -> Option<LintRecord> {
    let of_phase = |phase| folder(config, phase).map(|folder| (phase, format!("{folder}/")));
    let files: Vec<MigrationFile> = SchemaPhase::ALL
        .into_iter()
        .filter_map(of_phase)
        .flat_map(|(phase, prefix)| {
            let within = files.iter().filter(move |(path, _)| path.starts_with(&prefix));
            within.map(move |(path, text)| MigrationFile {
                phase,
                path: path.clone(),
                text: String::from_utf8_lossy(text).into_owned(),
            })
        })
        .collect();
    let programs = files.iter().filter(|file| file.is_program()).count();
    let programs = u32::try_from(programs).unwrap_or(u32::MAX);
    linting::lint(config, &files).map(|report| LintRecord { programs, ..summary(&report) })
}

fn summary(report: &handover_lint::Report) -> LintRecord {
    let of = |severity| report.findings.iter().filter(move |finding| finding.severity == severity);
    let count = |severity| u32::try_from(of(severity).count()).unwrap_or(u32::MAX);
    let (fail, warn) = (handover_lint::Severity::Fail, handover_lint::Severity::Warn);
    let line = |finding: &handover_lint::Finding| {
        let place = format!("{}:{}: {}: {}", finding.file, finding.line, finding.rule.id(), finding.message);
        cut(&place)
    };
    LintRecord {
        programs: 0,
        fails: count(fail).saturating_add(u32::try_from(report.left_out).unwrap_or(u32::MAX)),
        warns: count(warn),
        first: of(fail).chain(of(warn)).take(FINDINGS).map(line).collect(),
    }
}

/// As much of a text as has room: escaped, or in letters of several bytes, it takes more than it has characters.
fn cut(text: &str) -> String {
    let mut room = FINDING;
    let mut fits = |letter: &char| {
        let size = match letter {
            '"' | '\\' => 2,
            letter if letter.is_control() => 6,
            letter => letter.len_utf8(),
        };
        room = room.checked_sub(size)?;
        Some(*letter)
    };
    text.chars().map_while(|letter| fits(&letter)).collect()
}

fn read(config: &SchemaConfig, found: &Found) -> Result<ReleaseSchema, String> {
    let mut taken = BTreeMap::new();
    let mut after = BTreeMap::new();
    for phase in SchemaPhase::ALL {
        let versions = match folder(config, phase) {
            Some(folder) => numbers(&folder, found)?,
            None => Vec::new(),
        };
        for (version, what) in versions {
            if let Some(other) = taken.insert(version, what.clone()) {
                return Err(format!("{other} and {what} have the same number: give the newer one the next"));
            }
            let last = after.entry(phase).or_insert(version);
            *last = version.max(*last);
        }
    }
    let of = |phase| after.get(&phase).copied();
    Ok(ReleaseSchema {
        database: config.database.clone(),
        reads: config.reads,
        expand: of(SchemaPhase::Expand),
        backfill: of(SchemaPhase::Backfill),
        contract: of(SchemaPhase::Contract),
        contract_after: config.contract_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        lint: None,
    })
}

/// The migrations in a folder by number, each with its path.
fn numbers(folder: &str, found: &Found) -> Result<Vec<(SchemaVersion, String)>, String> {
    if !found.folders.iter().any(|there| there == folder) {
        return Err(format!("the bundle has no folder {folder}"));
    }
    let prefix = format!("{folder}/");
    let mut numbers = Vec::new();
    for (path, content) in &found.files {
        let Some(name) = path.strip_prefix(&prefix).filter(|name| !name.contains('/')) else { continue };
        let MigrationName { version, .. } = name.parse().map_err(|error| format!("in {folder}, {error}"))?;
        if content.len() as u64 > MAX_MIGRATION_BYTES {
            return Err(format!("{path} has more than {MAX_MIGRATION_BYTES} bytes"));
        }
        numbers.push((version, path.clone()));
    }
    if numbers.len() > MAX_MIGRATIONS {
        return Err(format!("{folder} has more than {MAX_MIGRATIONS} files"));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rest: &str) -> SchemaConfig {
        let text = format!(
            "service = \"shop\"\ncommand = [\"shop\"]\n[schema]\ndatabase = \"shop\"\nreads = \"41..=43\"\n{rest}"
        );
        Manifest::parse(&text).unwrap().schema.unwrap()
    }

    fn found(paths: &[&str]) -> Found {
        let folder = |path: &&str| path.rsplit_once('/').unwrap().0.to_owned();
        Found {
            folders: paths.iter().map(folder).collect(),
            files: paths.iter().map(|path| ((*path).to_owned(), Vec::new())).collect(),
        }
    }

    #[test]
    fn each_phase_leads_to_its_largest_number() {
        let config =
            config("expand = \"./m/expand/\"\nbackfill = \"m/backfill\"\ncontract = \"m/contract\"\n");
        let found = found(&[
            "m/expand/0041_a.sql",
            "m/expand/0042_b.sql",
            "m/backfill/0043_c.sql",
            "m/contract/0044_d.sql",
        ]);
        let schema = read(&config, &found).unwrap();
        let numbers = SchemaPhase::ALL.map(|phase| schema.after(phase).map(SchemaVersion::number));
        assert_eq!(numbers, [Some(42), Some(43), Some(44)]);
    }

    #[test]
    fn a_folder_that_is_not_there_and_names_that_say_nothing_are_refused() {
        let of = |paths: &[&str]| read(&config("expand = \"m\"\nbackfill = \"n\"\n"), &found(paths));
        assert_eq!(of(&["m/0042_a.sql"]).unwrap_err(), "the bundle has no folder n");
        let wrong = of(&["m/readme.txt", "n/0043_a.sql"]).unwrap_err();
        assert!(wrong.starts_with("in m, \"readme.txt\" is not named NUMBER_NAME.sql"), "{wrong}");
        let twice = of(&["m/0042_a.sql", "n/42_b.sql"]).unwrap_err();
        assert_eq!(twice, "m/0042_a.sql and n/42_b.sql have the same number: give the newer one the next");
    }
}
