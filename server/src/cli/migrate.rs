//! `handover migrate`: schemas of databases, and the migrations of releases.

mod lint;

pub(super) use lint::run as lint;

use super::{
    connection::Connection,
    deploy::{self, How},
    error::CliError,
    exit, json,
    table::Table,
    time,
};
use handover_model::Resolution;
use handover_proto::v1::{
    ContractSoak, DeploymentRequest, GetSchemaRequest, MigrationProgress, PlanMigration, Schema, SchemaPhase,
    SchemaReaderInfo, SchemaRelease,
};
use std::path::PathBuf;

/// Schemas of databases: what they are, who reads them, and what of a release's migrations is to be applied.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what the schema is, what reads it, and what cannot be gone back to.
    Status {
        /// The service.
        service: String,
    },
    /// Look at the migrations in a folder, without a server: what would break a live system, why, and the safe steps.
    ///
    /// Exit code 0: nothing would. 1: something would, or a file cannot be read.
    Lint {
        /// A folder with a handover.toml.
        #[arg(value_name = "DIR", default_value = ".")]
        folder: PathBuf,
    },
    /// Show what a phase would do, and do nothing.
    Plan {
        #[command(flatten)]
        whose: Whose,
        /// The phase; where it is left out, the first that has something to apply.
        #[arg(long)]
        phase: Option<Phase>,
    },
    /// Apply what a release needs before its code runs. A deployment does it by itself.
    Expand(PhaseArgs),
    /// Carry data over, batch by batch. A deployment does it by itself, once the release runs everywhere.
    Backfill(PhaseArgs),
    /// Take away what only older code needs: refused while anything is left, or could be gone back to, that needs it.
    Contract(ContractArgs),
}

/// Whose migrations.
#[derive(Debug, clap::Args)]
pub(super) struct Whose {
    /// The service.
    service: String,
    /// The release; where it is left out, the current one.
    #[arg(long, visible_alias = "version", value_name = "VERSION")]
    release: Option<String>,
}

/// A phase as it is written in a command.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Phase {
    Expand,
    Backfill,
    Contract,
}

impl From<Phase> for SchemaPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Expand => Self::Expand,
            Phase::Backfill => Self::Backfill,
            Phase::Contract => Self::Contract,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct PhaseArgs {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    half: Half,
    #[command(flatten)]
    how: How,
}

/// A migration that stands half.
#[derive(Debug, clap::Args)]
struct Half {
    /// Say what you found of a migration that an attempt left half, and go on from there: its number and took-effect,
    /// did-not, put-back where all of it was put back by hand, or again for a backfill (42=did-not); it needs --reason, which goes into the audit.
    #[arg(long, value_name = "NUMBER=FOUND", requires = "reason")]
    resolve: Option<Resolution>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ContractArgs {
    #[command(flatten)]
    whose: Whose,
    /// Also where a standby, a host that is offline or a rollback would bring back code that does not read the result; it
    /// needs --reason, which goes into the audit. Never where such code runs.
    #[arg(long, requires = "reason")]
    force: bool,
    #[command(flatten)]
    half: Half,
    #[command(flatten)]
    how: How,
}

pub(super) async fn run(command: Command, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    match command {
        // Needs no server, and does not come here.
        Command::Lint { folder } => lint(&folder, as_json),
        Command::Status { service } => status(service, &mut to, as_json).await,
        Command::Plan { whose, phase } => plan(whose, phase.map(Into::into), &mut to, as_json).await,
        Command::Expand(PhaseArgs { whose, half, how }) => {
            begin(half.of(asked(whose, SchemaPhase::Expand)), how, to, as_json).await
        }
        Command::Backfill(PhaseArgs { whose, half, how }) => {
            begin(half.of(asked(whose, SchemaPhase::Backfill)), how, to, as_json).await
        }
        Command::Contract(ContractArgs { whose, force, half, how }) => {
            let asked = DeploymentRequest { force, ..asked(whose, SchemaPhase::Contract) };
            begin(half.of(asked), how, to, as_json).await
        }
    }
}

impl Half {
    /// The request, with what was found.
    fn of(self, request: DeploymentRequest) -> DeploymentRequest {
        let resolve = self.resolve.map(|found| found.to_string()).unwrap_or_default();
        DeploymentRequest { resolve, ..request }
    }
}

async fn begin(
    asked: DeploymentRequest,
    how: How,
    to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let request = DeploymentRequest {
        request_id: how.sent.id(),
        take_over: how.sent.take_over,
        reason: how.sent.why(),
        ..asked
    };
    deploy::begin(request, how, to, as_json).await
}

fn asked(whose: Whose, phase: SchemaPhase) -> DeploymentRequest {
    DeploymentRequest {
        service: whose.service,
        version: whose.release.unwrap_or_default(),
        migrate: phase.into(),
        ..DeploymentRequest::default()
    }
}

async fn plan(
    whose: Whose,
    phase: Option<SchemaPhase>,
    to: &mut Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let phase = match phase {
        Some(phase) => phase,
        None => first_pending(&whose, to).await?,
    };
    let plan = to.client.plan_deployment(asked(whose, phase)).await?.into_inner();
    if as_json {
        println!("{}", json::plan(&plan));
    } else {
        super::plan::lines(&plan).iter().for_each(|line| println!("{line}"));
    }
    Ok(exit::DONE)
}

/// The first phase of the release that has something to apply, or the first at all: then the server says why not.
async fn first_pending(whose: &Whose, to: &mut Connection) -> Result<SchemaPhase, CliError> {
    let request = GetSchemaRequest { service: whose.service.clone() };
    let schema = to.client.get_schema(request).await?.into_inner();
    let release = schema.releases.iter().find(|release| match &whose.release {
        Some(version) => release.version == *version,
        None => release.current,
    });
    let pending = release.and_then(|release| {
        phases(release)
            .into_iter()
            .find(|(_, to)| to.is_some_and(|to| schema.version.is_none_or(|at| to > at)))
    });
    Ok(pending.map_or(SchemaPhase::Expand, |(phase, _)| phase))
}

fn phases(release: &SchemaRelease) -> [(SchemaPhase, Option<u32>); 3] {
    [
        (SchemaPhase::Expand, release.expand),
        (SchemaPhase::Backfill, release.backfill),
        (SchemaPhase::Contract, release.contract),
    ]
}

async fn status(service: String, to: &mut Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let schema = to.client.get_schema(GetSchemaRequest { service }).await?.into_inner();
    if as_json {
        println!("{}", json::schema(&schema));
        return Ok(exit::DONE);
    }
    shown(&schema).iter().for_each(|line| println!("{line}"));
    Ok(exit::DONE)
}

/// A schema in lines.
fn shown(schema: &Schema) -> Vec<String> {
    if schema.database.is_empty() {
        return vec![format!("service {}: no release declares a schema", schema.service)];
    }
    let known = match schema.version {
        Some(version) => format!(
            "schema {version} since {}, by the {} of d{}",
            time::moment(schema.since_unix_millis),
            phase_name(schema.by_phase()),
            schema.by_deployment
        ),
        None => "schema not seen yet".to_owned(),
    };
    let mut lines = vec![format!("service {}: database {}, {known}", schema.service, schema.database)];
    let mut releases = Table::new(&["RELEASE", "READS", "EXPAND", "BACKFILL", "CONTRACT", ""]);
    for release in &schema.releases {
        let to = |to: Option<u32>| match (to, schema.version) {
            (None, _) => "-".to_owned(),
            (Some(to), Some(at)) if to <= at => format!("{to} applied"),
            (Some(to), _) => to.to_string(),
        };
        let reads = if release.reads.is_empty() { "not declared" } else { &release.reads };
        releases.row(vec![
            release.version.clone(),
            reads.to_owned(),
            to(release.expand),
            to(release.backfill),
            to(release.contract),
            role(release).to_owned(),
        ]);
    }
    lines.extend(releases.lines().iter().map(|line| format!("  {line}")));
    lines.extend(schema.readers.iter().map(|reader| format!("  {}", reader_line(reader))));
    lines.extend(schema.overtaken.as_ref().map(|backfill| {
        format!(
            "  backfill {} has to be done again: {} {} has run since, which does not know of it",
            backfill.version, backfill.by_service, backfill.by_version
        )
    }));
    lines.extend(schema.soak.as_ref().map(|soak| format!("  {}", soak_line(soak, time::now()))));
    if !schema.no_return.is_empty() {
        lines.push(format!("  point of no return: {}", schema.no_return));
    }
    lines
}

const fn role(release: &SchemaRelease) -> &'static str {
    match (release.current, release.rollback_target) {
        (true, _) => "current",
        (false, true) => "a rollback goes there",
        (false, false) => "newest",
    }
}

fn reader_line(reader: &SchemaReaderInfo) -> String {
    let mut parts = Vec::new();
    if reader.current {
        parts.push("the current release".to_owned());
    }
    for (hosts, what) in [
        (&reader.runs_on, "runs on"),
        (&reader.stands_by_on, "stands by on"),
        (&reader.offline_on, "on offline"),
    ] {
        if !hosts.is_empty() {
            parts.push(format!("{what} {}", hosts.join(", ")));
        }
    }
    if reader.rollback_target {
        parts.push("a rollback goes there".to_owned());
    }
    let lost = if reader.lost.is_empty() { String::new() } else { format!(", but {}", reader.lost) };
    format!("{} {} reads {}{lost}: {}", reader.service, reader.version, reader.reads, parts.join("; "))
}

/// When the contract comes by itself, or what it waits for.
fn soak_line(soak: &ContractSoak, now: u64) -> String {
    match soak.due_unix_millis.checked_sub(now) {
        Some(left) => format!("the contract comes by itself in {}", time::span(left)),
        None if soak.waits_for.is_empty() => "the contract comes by itself now".to_owned(),
        None => format!(
            "the contract would come by itself since {}, and waits: {}",
            time::moment(soak.due_unix_millis),
            soak.waits_for
        ),
    }
}

/// A phase's name, as manifests have it.
pub(super) const fn phase_name(phase: SchemaPhase) -> &'static str {
    match phase {
        SchemaPhase::Unspecified => "migration",
        SchemaPhase::Expand => "expand",
        SchemaPhase::Backfill => "backfill",
        SchemaPhase::Contract => "contract",
    }
}

/// A stage that migrates, in a plan.
pub(super) fn planned(migration: &PlanMigration) -> String {
    let failed = match migration.on_failure.as_str() {
        "rollback" => "everything goes back",
        _ => "a person decides",
    };
    let found = match migration.resolve.as_str() {
        "" => String::new(),
        found => format!("; what was found: {found}"),
    };
    format!(
        "the {} migrations, run by {} within {}; if they fail, {failed}{found}",
        phase_name(migration.phase()),
        migration.host,
        time::span(migration.within_millis)
    )
}

/// How far migrations are that go on, in one line.
pub(super) fn progress(progress: &MigrationProgress) -> String {
    let rows = match (progress.rows, progress.of_rows) {
        (None, _) => String::new(),
        (Some(rows), None) => format!(", {rows} rows"),
        (Some(rows), Some(of)) => format!(", {} {rows} of about {of} rows", bar(rows, of)),
    };
    let doing = if progress.doing.is_empty() { "waits for its agent" } else { &progress.doing };
    format!("{} on {}: {doing}{rows}", phase_name(progress.phase()), progress.host)
}

/// How much of it is done, as ten signs.
fn bar(done: u64, of: u64) -> String {
    const SIGNS: u64 = 10;
    let full = done.min(of).saturating_mul(SIGNS).checked_div(of).unwrap_or(0);
    let signs = |sign: &str, number: u64| sign.repeat(usize::try_from(number).unwrap_or(0));
    format!("[{}{}]", signs("#", full), signs(".", SIGNS.saturating_sub(full)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_shown_with_what_reads_it_and_what_is_lost() {
        let release = |version: &str, reads: &str, contract| SchemaRelease {
            version: version.to_owned(),
            reads: reads.to_owned(),
            expand: Some(42),
            contract,
            ..SchemaRelease::default()
        };
        let reader = || SchemaReaderInfo { service: "shop".to_owned(), ..SchemaReaderInfo::default() };
        let schema = Schema {
            service: "shop".to_owned(),
            database: "shop".to_owned(),
            version: Some(42),
            by_deployment: 7,
            by_phase: SchemaPhase::Expand.into(),
            releases: vec![
                SchemaRelease { current: true, ..release("2.0.0", "42..=44", Some(44)) },
                SchemaRelease { rollback_target: true, ..release("1.0.0", "41..=43", None) },
                release("3.0.0", "", None),
            ],
            readers: vec![
                SchemaReaderInfo {
                    version: "1.0.0".to_owned(),
                    reads: "41..=43".to_owned(),
                    stands_by_on: vec!["web-1".to_owned()],
                    rollback_target: true,
                    ..reader()
                },
                SchemaReaderInfo {
                    version: "2.0.0".to_owned(),
                    reads: "42..=44".to_owned(),
                    runs_on: vec!["web-1".to_owned(), "web-2".to_owned()],
                    current: true,
                    ..reader()
                },
                SchemaReaderInfo {
                    service: "bill".to_owned(),
                    version: "7".to_owned(),
                    reads: "40..=44".to_owned(),
                    current: true,
                    lost: "uses bills.vat, which migration 44 of shop 2.0.0 takes away".to_owned(),
                    ..reader()
                },
            ],
            no_return: "the contract waits".to_owned(),
            ..Schema::default()
        };
        let lines = shown(&schema);
        assert!(lines[0].starts_with("service shop: database shop, schema 42 since "), "{}", lines[0]);
        assert!(lines[0].ends_with(", by the expand of d7"), "{}", lines[0]);
        assert_eq!(
            lines[1..],
            [
                "  RELEASE  READS         EXPAND      BACKFILL  CONTRACT",
                "  2.0.0    42..=44       42 applied  -         44        current",
                "  1.0.0    41..=43       42 applied  -         -         a rollback goes there",
                "  3.0.0    not declared  42 applied  -         -         newest",
                "  shop 1.0.0 reads 41..=43: stands by on web-1; a rollback goes there",
                "  shop 2.0.0 reads 42..=44: the current release; runs on web-1, web-2",
                "  bill 7 reads 40..=44, but uses bills.vat, which migration 44 of shop 2.0.0 takes away: the current release",
                "  point of no return: the contract waits",
            ]
        );
        let none = Schema { service: "shop".to_owned(), ..Schema::default() };
        assert_eq!(shown(&none), ["service shop: no release declares a schema"]);
    }

    #[test]
    fn a_contract_that_comes_by_itself_says_when_or_what_it_waits_for() {
        let soak = |due_unix_millis, waits_for: &str| {
            soak_line(&ContractSoak { due_unix_millis, waits_for: waits_for.to_owned() }, 60_000)
        };
        assert_eq!(soak(120_000, ""), "the contract comes by itself in 1m00s");
        assert_eq!(soak(60_000 - 1, ""), "the contract comes by itself now");
        let waits = soak(1_000, "shop 1 reads 41");
        assert!(
            waits.starts_with("the contract would come by itself since ")
                && waits.ends_with(", and waits: shop 1 reads 41"),
            "{waits}"
        );
    }

    #[test]
    fn a_backfill_shows_how_far_it_is() {
        let at = |rows, of_rows| {
            progress(&MigrationProgress {
                host: "db-1".to_owned(),
                phase: SchemaPhase::Backfill.into(),
                doing: "0043_fill, 1200 rows/s".to_owned(),
                rows,
                of_rows,
            })
        };
        assert_eq!(
            at(Some(500), Some(1_000)),
            "backfill on db-1: 0043_fill, 1200 rows/s, [#####.....] 500 of about 1000 rows"
        );
        assert_eq!(at(Some(500), None), "backfill on db-1: 0043_fill, 1200 rows/s, 500 rows");
        assert_eq!(at(None, None), "backfill on db-1: 0043_fill, 1200 rows/s");
        assert!(at(Some(20), Some(10)).contains("[##########]"));
    }
}
