//! Load on the program behind the gate and on the same program listening by itself, in turns.
//!
//! Two things make such a comparison lie on a machine that is not quiet. Its speed drifts, and jumps: so the turns are a tenth of
//! a second long, each target has each place in the order equally often, only turns of the same round are compared, and of a
//! trial's rounds the median counts. And two processes of the same program differ by some hundredths, by where their memory
//! and threads happened to come to lie: so the program that is behind the gate listens by itself as well, on sockets of its own,
//! and the bounds are on the ratio within that process. It is started anew for each trial, and a figure is the median over the
//! trials, with its interval. Its two own sockets tell what this machine makes of two that do not differ at all, and a process
//! without an agent what two processes make.

use crate::{
    Effort, Failed,
    alone::Alone,
    cores::Cores,
    deploying::Bench,
    interrupt::Interrupt,
    spread::Spread,
    table::{Bound, Table},
};
use handover_tests::load::{Config, Load, Mode, Report};
use std::{net::SocketAddr, time::Duration};

/// Clients of each run.
const CLIENTS: usize = 16;
/// Least requests a second, behind the gate to by itself.
const THROUGHPUT: f64 = 0.98;
/// Most p99, behind the gate to by itself.
const P99: f64 = 1.05;

/// In which order the four are loaded: a balanced Latin square, in which each has each place and each other before it once.
const ORDERS: [[usize; 4]; 4] = [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]];
/// The listener of the gate.
const GATE: usize = 0;
/// A socket of the same process's own.
const OWN: usize = 1;
/// Another one.
const TWIN: usize = 2;
/// A process that no agent started.
const ALONE: usize = 3;

/// What one turn of load on one process found.
#[derive(Clone, Copy, Debug)]
struct Seen {
    per_second: f64,
    p99_us: f64,
}

/// A turn of each target, close together.
type Round = [Seen; 4];
/// One of the figures of a turn.
type Figure = fn(&Seen) -> f64;

/// All trials of one way of using connections.
#[derive(Debug)]
struct Trials {
    mode: Mode,
    trials: Vec<Vec<Round>>,
}

impl Trials {
    /// A figure of each trial: the median over its rounds.
    fn figures(&self, of: impl Fn(&Round) -> f64) -> Vec<f64> {
        let median = |rounds: &Vec<Round>| Spread::of(rounds.iter().map(&of)).map(|spread| spread.median);
        self.trials.iter().filter_map(median).collect()
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Serving {
    modes: Vec<Trials>,
    cores: Cores,
    failed: u64,
    requests: u64,
}

/// Loads the program of the fleet's only host on all its sockets, and one by itself.
pub(crate) fn measure(
    bench: &mut Bench<'_>,
    effort: Effort,
    interrupt: &Interrupt,
) -> Result<Serving, Failed> {
    let cores = Cores::choose()?;
    let modes = [Mode::KeepAlive { connections: CLIENTS }, Mode::OnePerRequest { workers: CLIENTS }];
    let mut serving = Serving {
        modes: modes.map(|mode| Trials { mode, trials: Vec::new() }).into(),
        cores,
        failed: 0,
        requests: 0,
    };
    for trial in 0..effort.trials {
        let fresh = Fresh::start(bench, cores, trial)?;
        for (which, mode) in modes.into_iter().enumerate() {
            let seen = serving.trial(&fresh, mode, effort, interrupt)?;
            serving.modes[which].trials.push(seen);
        }
    }
    Ok(serving)
}

/// What is loaded in one trial.
struct Fresh {
    targets: [SocketAddr; 4],
    _alone: Alone,
}

impl Fresh {
    /// Deploys another instance, starts one process by itself, and keeps both on the program's core.
    fn start(bench: &mut Bench<'_>, cores: Cores, trial: usize) -> Result<Self, Failed> {
        // The instance before may still have its own.
        let last = 100 + u8::try_from(trial % 50)? * 3;
        let [own, twin, alone] = [last, last + 1, last + 2].map(|last| bench.beside(last));
        let (gate, pids) = bench.fresh_instance(&[own, twin])?;
        let process = Alone::start(&bench.folder("alone"), &format!("alone-{trial}"), alone)?;
        for pid in pids.into_iter().chain([process.pid()]) {
            cores.keep_program(pid)?;
        }
        Ok(Self { targets: [gate, own, twin, alone], _alone: process })
    }
}

impl Serving {
    /// One trial in one mode.
    fn trial(
        &mut self,
        fresh: &Fresh,
        mode: Mode,
        effort: Effort,
        interrupt: &Interrupt,
    ) -> Result<Vec<Round>, Failed> {
        let duration = Duration::from_millis(effort.turn_millis);
        let load = |target: usize| {
            let config = Config { duration, ..Config::new(vec![fresh.targets[target]], mode) };
            self.cores.keep_clients()?;
            Ok::<_, Failed>(Load::try_start(config)?.wait())
        };
        // Caches, lazily made buffers and a processor that had slept.
        for target in [GATE, OWN, TWIN, ALONE] {
            load(target)?;
        }
        let mut rounds = Vec::with_capacity(effort.rounds);
        for order in ORDERS.iter().cycle().take(effort.rounds) {
            let mut round = [Seen { per_second: 0.0, p99_us: 0.0 }; 4];
            for &target in order {
                interrupt.check()?;
                let report = load(target)?;
                round[target] = Seen::of(&report)?;
                self.failed += report.failed();
                self.requests += report.requests();
            }
            rounds.push(round);
        }
        Ok(rounds)
    }

    pub(crate) fn lines(&self, table: &mut Table) {
        for trials in &self.modes {
            let mode = trials.mode.words();
            table.section(format!("{mode}, as fast as it goes, {CLIENTS} clients, {}", self.cores));
            let ratios: [(&str, Figure, Bound); 2] = [
                ("requests/s", |seen| seen.per_second, Bound::AtLeast(THROUGHPUT)),
                ("p99", |seen| seen.p99_us, Bound::AtMost(P99)),
            ];
            for (name, of, bound) in ratios {
                // Both own sockets are the same thing: their mean is a steadier measure than either.
                let own = move |seen: &Round| f64::midpoint(of(&seen[OWN]), of(&seen[TWIN]));
                let line = format!("{name}, behind the gate to the same process by itself");
                table.line(line, "ratio", bound, trials.figures(|seen| of(&seen[GATE]) / own(seen)));
                let line = format!("for comparison: {name}, the same process by itself twice");
                table.line(
                    line,
                    "ratio",
                    Bound::None,
                    trials.figures(|seen| of(&seen[TWIN]) / of(&seen[OWN])),
                );
                let line = format!("for comparison: {name}, behind the gate to another process");
                table.line(
                    line,
                    "ratio",
                    Bound::None,
                    trials.figures(|seen| of(&seen[GATE]) / of(&seen[ALONE])),
                );
            }
            for (which, words) in [(GATE, "behind the gate"), (OWN, "by itself")] {
                let per_second = trials.figures(|seen| seen[which].per_second);
                table.line(format!("requests/s {words}"), "/s", Bound::None, per_second);
                let p99 = trials.figures(|seen| seen[which].p99_us);
                table.line(format!("p99 {words}"), "us", Bound::None, p99);
            }
        }
        table.section(format!("of all {} requests", self.requests));
        table.line("failed", "", Bound::AtMost(0.0), [self.failed as f64]);
    }
}

impl Seen {
    fn of(report: &Report) -> Result<Self, Failed> {
        if report.counts.ok == 0 {
            return Err(format!("no request was answered\n{report}").into());
        }
        Ok(Self { per_second: report.per_second(), p99_us: report.latency.p99_us as f64 })
    }
}
