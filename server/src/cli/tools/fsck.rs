//! `handover server fsck`.

use super::{Data, refused};
use crate::{
    blobs,
    cli::{error::CliError, exit},
    fleet::check::{Checker, Problem, Report},
    store::{Inspection, OpenError},
};
use handover_model::chain;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    data: Data,
    /// Also read every bundle that a release needs and compare its digest.
    #[arg(long)]
    bundles: bool,
}

pub(super) async fn run(args: Args, as_json: bool) -> Result<exit::Exit, CliError> {
    let Args { data, bundles } = args;
    let data = data.folder()?;
    let looked = tokio::task::spawn_blocking(move || look(&data, bundles)).await;
    let report = looked.map_err(|error| CliError::Failed(format!("looking was interrupted: {error}")))??;
    let wrong = report.problems.len() as u64 + report.more;
    for problem in &report.problems {
        match as_json {
            true => println!("{}", json!({"problem": problem})),
            false => println!("{problem}"),
        }
    }
    if as_json {
        println!(
            "{}",
            json!({"problems": wrong, "entries": report.entries, "deployments": report.replayed,
                   "to_complete": report.to_complete})
        );
    } else {
        if report.more > 0 {
            println!("and {} more", report.more);
        }
        let verdict = match wrong {
            0 => "nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            wrong => format!("{wrong} problems"),
        };
        println!("{} records, {} deployments replayed: {verdict}", report.entries, report.replayed);
        if report.to_complete > 0 {
            println!(
                "{} of them ended as the server was killed; its next start completes that",
                report.to_complete
            );
        }
    }
    Ok(if wrong == 0 { exit::DONE } else { exit::FAILED })
}

fn look(data: &Path, bundles: bool) -> Result<Report, CliError> {
    let store = data.join("store");
    let mut report = match Inspection::of(&store) {
        Ok(inspection) => records(&store, &inspection),
        // That it cannot be read is what was asked for.
        Err(error @ (OpenError::Unreadable { .. } | OpenError::Record { .. } | OpenError::Lost { .. })) => {
            let mut report = Report::default();
            report.problems.push(unreadable(&store, chain(&error)));
            report
        }
        Err(error @ OpenError::Locked { .. }) => {
            return Err(refused(
                &error,
                "stop the server for a look, or take a backup and look at that elsewhere",
            ));
        }
        Err(error) => return Err(refused(&error, "")),
    };
    if bundles {
        for (release, bundle) in std::mem::take(&mut report.bundles) {
            let fault = blobs::fault(data, &bundle)
                .map_err(|error| CliError::File { path: PathBuf::from(data), problem: chain(&error) })?;
            if let Some(what) = fault {
                report.problems.push(Problem {
                    place: format!("bundle of release {release}"),
                    what: format!("{} {what}", bundle.digest),
                    means: "no host can fetch it; push the release again".to_owned(),
                });
            }
        }
    }
    Ok(report)
}

fn records(store: &Path, inspection: &Inspection) -> Report {
    let mut checker = Checker::default();
    let visited = inspection.visit(|keyspace, key, value| checker.entry(keyspace, key, value));
    let lost = inspection.check_commits();
    let mut report = checker.finish();
    if let Err(error) = visited {
        report.problems.push(unreadable(store, chain(&error)));
    }
    if let Err(error) = lost {
        report.problems.push(unreadable(store, chain(&error)));
    }
    report
}

fn unreadable(store: &Path, what: String) -> Problem {
    Problem {
        place: store.display().to_string(),
        what,
        means: "the server does not start with it; restore a backup".to_owned(),
    }
}
