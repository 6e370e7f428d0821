//! `handover judge aa`: how often the judge would be wrong of a release that is compared with itself, on its own traffic.

mod data;
mod simulation;
mod split;
mod told;

use super::super::{
    Global,
    connection::Connection,
    error::CliError,
    exit::{self, Exit},
};
use data::Recorded;
use handover_model::config::{Batch, StepConfig};
use simulation::{End, Simulation, Step};
use split::Clumps;
use std::{path::PathBuf, thread, time::Duration};
use told::{Outcomes, Told};

/// Compare a release with itself, on its own traffic: how often would its canaries be stopped for nothing?
///
/// The server remembers what a service did in its last 120 blocks without a deployment. From them canaries of the same
/// release are made, in the manifest's steps and with its [judge]: each request goes to one of both arms at random, and
/// the judge looks at each block. Every failure is a false alarm. Where bad requests come in bursts, it is done a second
/// time with each burst in one arm, as one client's would be.
///
/// Exit code 0: it was done, whatever was found.
#[derive(Debug, clap::Args)]
pub(in super::super) struct AaArgs {
    /// The service.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    service: Option<String>,
    /// Take the baseline's counts of a file as `handover judge replay` reads them, without a server; - is standard input.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Try the steps and the [judge] of this manifest, or of a folder's, instead of the current release's.
    #[arg(long, value_name = "DIR|FILE")]
    manifest: Option<PathBuf>,
    /// So many canaries are made.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    runs: u64,
    /// The same number makes the same canaries of the same blocks; a random one where it is left out.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

pub(super) fn run(args: &AaArgs, global: &Global) -> Result<Exit, CliError> {
    let recorded = recorded(args, global)?;
    let blocks = recorded.blocks.len();
    if recorded.counted()[0] == 0 {
        let left_out = told::left_out(recorded.left_out).map(|told| format!(" ({told})")).unwrap_or_default();
        return Err(CliError::Failed(format!(
            "of {} {blocks} blocks are known, and in none of them a request was counted{left_out}: there is nothing to \
             compare; the service needs [metrics], traffic, and some time without a deployment",
            recorded.name
        )));
    }
    let seed = args.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let simulation =
        Simulation { blocks: &recorded.blocks, judge: recorded.manifest.judge, steps: steps(&recorded) };
    let wrong = |error: handover_judge::ConfigError| CliError::Failed(error.to_string());
    let over_dispersion = simulation.over_dispersion().map_err(wrong)?;
    let clumps = clumps(over_dispersion);
    let mut splits = vec![Clumps::NONE];
    splits.extend((clumps != Clumps::NONE).then_some(clumps));
    let mut outcomes = Vec::with_capacity(splits.len());
    for clumps in splits {
        let ends = ends(&simulation, clumps, seed, args.runs).map_err(wrong)?;
        outcomes.push(Outcomes::of(clumps, &ends));
    }
    let told = Told {
        recorded: &recorded,
        steps: &simulation.steps,
        runs: args.runs,
        seed,
        over_dispersion,
        outcomes,
    };
    if global.json {
        println!("{}", told.json());
    } else {
        told.lines().iter().for_each(|line| println!("{line}"));
    }
    Ok(exit::DONE)
}

fn recorded(args: &AaArgs, global: &Global) -> Result<Recorded, CliError> {
    let manifest = args.manifest.as_deref().map(data::manifest).transpose()?;
    if let Some(file) = &args.file {
        return Recorded::of_file(file, manifest);
    }
    let service = args.service.as_deref().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { what: "start the runtime".to_owned(), source })?;
    runtime.block_on(async { Recorded::of_service(service, manifest, Connection::open(global).await?).await })
}

/// The steps of the manifest in which something is compared: those that leave the old release a part.
fn steps(recorded: &Recorded) -> Vec<Step> {
    let Recorded { manifest, block, hosts, .. } = recorded;
    let (rollout, judge) = (&manifest.rollout, &manifest.judge);
    let blocks = |time: Duration| {
        u64::try_from(time.as_millis().div_ceil(block.as_millis().max(1))).unwrap_or(u64::MAX)
    };
    let mut most = 0.0_f64;
    let step = |step: &StepConfig| {
        let part = match step.hosts {
            Batch::Percent(percent) => f64::from(percent) / 100.0,
            Batch::Hosts(number) => f64::from(number) / f64::from(hosts.unwrap_or(1).max(1)),
        };
        most = most.max(part.min(1.0));
        Step {
            share: f64::from(step.share.basis_points()) / 10_000.0,
            hosts: most,
            bake: blocks(step.bake.unwrap_or(rollout.bake)),
            within: blocks(step.within.unwrap_or(judge.within)),
        }
    };
    let steps = rollout.steps.iter().map(step);
    steps.take_while(|step| step.share < 1.0 || step.hosts < 1.0).collect()
}

/// As many stay together as counts are over-dispersed by: that is what makes them so where each clump is one client's.
fn clumps([bad, slow]: [f64; 2]) -> Clumps {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; at least 1")]
    let size = |factor: f64| factor.round().max(1.0) as u64;
    Clumps { bad: size(bad), slow: size(slow) }
}

/// All of them, on all processors; which processor had which makes no difference.
fn ends(
    simulation: &Simulation<'_>,
    clumps: Clumps,
    seed: u64,
    runs: u64,
) -> Result<Vec<End>, handover_judge::ConfigError> {
    let workers = thread::available_parallelism().map_or(1, |number| number.get() as u64).min(runs);
    thread::scope(|scope| {
        let part = |worker: u64| {
            let numbers = (worker..runs).step_by(usize::try_from(workers).unwrap_or(1));
            let part = move || numbers.map(|number| simulation.run(clumps, seed, number)).collect();
            scope.spawn(part)
        };
        let parts: Vec<_> = (0..workers).map(part).collect();
        let mut ends = Vec::new();
        for part in parts {
            let part: Result<Vec<End>, _> =
                part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ends.extend(part?);
        }
        Ok(ends)
    })
}
