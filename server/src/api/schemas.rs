//! Schemas: how a service stands with its database's; and what a release that is about to be made says of one, from its
//! manifest and the names of the migrations in its bundle.

use super::{operators::Answer, permit::Permit, request, uploads};
use crate::{
    blobs::Bundles,
    fleet::{LintRecord, Lost, REMEMBERED, Reader, ReleaseColumns, ReleaseSchema, SchemaView, Soak, State},
    linting,
    migrations::{FileContent, MigrationError, Migrations, NoFile, folder},
};
use handover_bundle::{FilesLimits, Found, FoundFile, Other, OtherKind};
use handover_model::{
    HostName, MAX_MIGRATION_BYTES, MAX_MIGRATIONS, Release, ReleaseRef, SchemaPhase, SchemaVersion,
    ServiceName, Timestamp,
    config::{Manifest, SchemaConfig},
};
use handover_proto::{
    status::{Reason, refuse},
    v1,
};
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
    let SchemaView { database, schema, releases, readers, overtaken, soak, no_return } = view;
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
        overtaken: overtaken.map(|(version, by)| v1::OvertakenBackfill {
            version: version.number(),
            by_service: by.service.to_string(),
            by_version: by.version.to_string(),
        }),
        soak: soak.map(|Soak { due, waits_for, .. }| v1::ContractSoak {
            due_unix_millis: due.unix_millis(),
            waits_for: waits_for.unwrap_or_default(),
        }),
    }
}

fn reader(reader: &Reader) -> v1::SchemaReaderInfo {
    let Reader { release, works, runs, stands_by, offline, current, rollback } = reader;
    let names = |hosts: &[HostName]| hosts.iter().map(ToString::to_string).collect();
    v1::SchemaReaderInfo {
        service: release.service.to_string(),
        version: release.version.to_string(),
        reads: works.reads.to_string(),
        lost: works.lost.as_ref().map(Lost::told).unwrap_or_default(),
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
    let migrations = read(&config, found).map_err(|why| {
        refuse(Reason::InvalidManifest, format!("the migrations of {} are refused: {why}", release.name), "")
    })?;
    let programs = u32::try_from(migrations.programs().count()).unwrap_or(u32::MAX);
    let mut schema = ReleaseSchema {
        database: config.database.clone(),
        reads: config.reads,
        expand: migrations.after(SchemaPhase::Expand),
        backfill: migrations.after(SchemaPhase::Backfill),
        by_hand: Vec::new(),
        programs,
        backfills: last(migrations.versions(SchemaPhase::Backfill)),
        contract: migrations.after(SchemaPhase::Contract),
        contract_after: config.contract_after.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        lint: None,
        columns: ReleaseColumns::default(),
    };
    let (reads, uses) = (config.reads, config.uses.clone());
    // Bounded, but it may take a while.
    let looked = tokio::task::spawn_blocking(move || {
        (linting::lint(&config, &migrations), migrations.by_hand(config.kind))
    });
    let looked = looked.await;
    let (report, by_hand) =
        looked.map_err(|_| refuse(Reason::Internal, "the linter of migrations ended", ""))?;
    let gone = report.iter().flat_map(|report| &report.gone);
    let gone = gone.map(|gone| (gone.version, gone.what.clone()));
    schema.columns = ReleaseColumns::new(reads, uses, gone);
    schema.lint = report.map(|report| summary(&report));
    schema.by_hand = last(by_hand.into_iter());
    Ok(Some(schema))
}

/// As many of them as are remembered, the last ones, in order.
fn last(versions: impl DoubleEndedIterator<Item = SchemaVersion>) -> Vec<SchemaVersion> {
    let mut last: Vec<SchemaVersion> = versions.rev().take(REMEMBERED).collect();
    last.reverse();
    last
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

/// Why the migrations of a bundle are none.
#[derive(Debug, thiserror::Error)]
enum BundleMigrationsError {
    #[error("the bundle has no folder {0}")]
    NoFolder(String),
    #[error(transparent)]
    Migration(#[from] MigrationError),
}

/// The migrations among what was found in their folders.
fn read(config: &SchemaConfig, found: Found) -> Result<Migrations, BundleMigrationsError> {
    let Found { folders, files, others } = found;
    let mut migrations = Migrations::default();
    let phases: Vec<(SchemaPhase, String)> =
        SchemaPhase::ALL.into_iter().filter_map(|phase| Some((phase, folder(config, phase)?))).collect();
    if let Some((_, missing)) = phases.iter().find(|(_, folder)| !folders.contains(folder)) {
        return Err(BundleMigrationsError::NoFolder(missing.clone()));
    }
    if let Some(Other { path, kind }) = others.into_iter().next() {
        let what = match kind {
            OtherKind::Folder => NoFile::Folder,
            OtherKind::Link => NoFile::Link,
            OtherKind::NotUtf8 => NoFile::NotUtf8,
        };
        return Err(MigrationError::NoFile { path, what }.into());
    }
    for FoundFile { path, content, executable } in files {
        let Some((within, name)) = path.rsplit_once('/') else { continue };
        // Where two phases name one folder, each number is there twice.
        for (phase, folder) in phases.iter().filter(|(_, folder)| folder == within) {
            let file = FileContent { content: content.clone(), executable };
            migrations.add(*phase, folder, name, file)?;
        }
    }
    Ok(migrations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::SchemaVersion;

    fn config(rest: &str) -> SchemaConfig {
        let text = format!(
            "service = \"shop\"\ncommand = [\"shop\"]\n[schema]\ndatabase = \"shop\"\nreads = \"41..=43\"\n{rest}"
        );
        Manifest::parse(&text).unwrap().schema.unwrap()
    }

    fn file(path: &&str) -> FoundFile {
        FoundFile { path: (*path).to_owned(), content: Vec::new(), executable: false }
    }

    fn found(paths: &[&str]) -> Found {
        let folder = |path: &&str| path.rsplit_once('/').unwrap().0.to_owned();
        Found {
            folders: paths.iter().map(folder).collect(),
            files: paths.iter().map(file).collect(),
            others: Vec::new(),
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
        let migrations = read(&config, found).unwrap();
        let numbers = SchemaPhase::ALL.map(|phase| migrations.after(phase).map(SchemaVersion::number));
        assert_eq!(numbers, [Some(42), Some(43), Some(44)]);
    }

    #[test]
    fn what_a_host_would_not_apply_is_refused_by_name() {
        let of = |found: Found| {
            read(&config("expand = \"m\"\nbackfill = \"n\"\n"), found).unwrap_err().to_string()
        };
        assert_eq!(of(found(&["m/0042_a.sql"])), "the bundle has no folder n");
        let wrong = of(found(&["m/readme.txt", "n/0043_a.sql"]));
        assert!(wrong.starts_with("in m, \"readme.txt\" is not named NUMBER_NAME.sql"), "{wrong}");
        let twice = of(found(&["m/0042_a.sql", "n/42_b.sql"]));
        assert_eq!(twice, "m/0042_a.sql and n/42_b.sql have the same number: give the newer one the next");
        let one_folder = config("expand = \"m\"\nbackfill = \"m\"\n");
        assert!(read(&one_folder, found(&["m/0042_a.sql"])).unwrap_err().to_string().contains("same number"));
        let inert = of(found(&["m/0042_a.run", "n/0043_a.sql"]));
        assert_eq!(inert, "m/0042_a.run is a program and not executable: chmod +x");
        for (kind, what) in [
            (OtherKind::Folder, "a folder"),
            (OtherKind::Link, "a link"),
            (OtherKind::NotUtf8, "a file whose name is no UTF-8"),
        ] {
            let other = Other { path: "m/0044_b.sql".to_owned(), kind };
            let refused = of(Found { others: vec![other], ..found(&["m/0042_a.sql", "n/0043_a.sql"]) });
            assert!(refused.starts_with(&format!("\"m/0044_b.sql\" is {what}: ")), "{refused}");
        }
    }
}
