//! Load on the program behind the gate and on the same program listening by itself, in turns.
//!
//! Two things make such a comparison lie on a machine that is not quiet. Its speed drifts: so the turns are a fifth of a
//! second long, each program has each place in the order equally often, and only sums over many turns are compared. And two
//! processes of the same program differ by where their memory and threads happened to come to lie: so all of them are
//! started anew for each of many trials, and a figure is the median over the trials, with its interval. A further process
//! by itself tells what this machine makes of two that do not differ at all.

use crate::{
    Effort, Failed,
    alone::Alone,
    cores::Cores,
    deploying::Bench,
    interrupt::Interrupt,
    table::{Bound, Table},
};
use handover_tests::load::{Config, Load, Mode, Report};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Clients of each run.
const CLIENTS: usize = 16;
/// Least requests a second, behind the gate to by itself.
const THROUGHPUT: f64 = 0.98;
/// Most p99, behind the gate to by itself.
const P99: f64 = 1.05;

/// In which order the three are loaded: each place as often as the others, each before each other as often as after it.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2]];
const GATE: usize = 0;
const ALONE: usize = 1;
const AGAIN: usize = 2;

/// What all turns of one process in one trial found.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    per_second: f64,
    p99_us: f64,
}

/// All trials of one way of using connections.
#[derive(Debug)]
struct Trials {
    mode: Mode,
    trials: Vec<[Seen; 3]>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Serving {
    modes: Vec<Trials>,
    cores: Cores,
    failed: u64,
    requests: u64,
}

/// Loads the program of the fleet's only host and two by themselves.
pub(crate) fn measure(bench: &mut Bench<'_>, effort: Effort, interrupt: &Interrupt) -> Result<Serving, Failed> {
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
        for which in 0..modes.len() {
            let seen = serving.trial(&fresh, modes[which], effort, interrupt)?;
            serving.modes[which].trials.push(seen);
        }
    }
    Ok(serving)
}

/// Processes of one trial.
struct Fresh {
    targets: [SocketAddr; 3],
    _alone: [Alone; 2],
}

impl Fresh {
    /// Deploys another instance, starts the two by themselves, and keeps all of them on the program's core.
    fn start(bench: &mut Bench<'_>, cores: Cores, trial: usize) -> Result<Self, Failed> {
        let (gate, pids) = bench.fresh_instance()?;
        let folder = bench.folder("alone");
        let start = |name: &str, last| Alone::start(&folder, &format!("{name}-{trial}"), beside(gate, last));
        let alone = [start("alone", 101)?, start("again", 102)?];
        let targets = [gate, alone[0].address, alone[1].address];
        for pid in pids.into_iter().chain(alone.iter().map(Alone::pid)) {
            cores.keep_program(pid)?;
        }
        Ok(Self { targets, _alone: alone })
    }
}

/// The same port at another address of the same block.
fn beside(gate: SocketAddr, last: u8) -> SocketAddr {
    let ip = match gate.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, last))
        }
        other @ IpAddr::V6(_) => other,
    };
    SocketAddr::new(ip, gate.port())
}

impl Serving {
    /// All turns of one trial in one mode.
    fn trial(
        &mut self,
        fresh: &Fresh,
        mode: Mode,
        effort: Effort,
        interrupt: &Interrupt,
    ) -> Result<[Seen; 3], Failed> {
        let duration = Duration::from_millis(effort.turn_millis);
        let load = |target: usize| {
            let config = Config { duration, ..Config::new(vec![fresh.targets[target]], mode) };
            self.cores.keep_clients()?;
            Ok::<_, Failed>(Load::try_start(config)?.wait())
        };
        // Caches, lazily made buffers and a processor that had slept.
        for target in [GATE, ALONE, AGAIN] {
            load(target)?;
        }
        let mut turns: [Vec<Report>; 3] = Default::default();
        for order in ORDERS.iter().cycle().take(effort.rounds) {
            for &target in order {
                interrupt.check()?;
                turns[target].push(load(target)?);
            }
        }
        for report in turns.iter().flatten() {
            self.failed += report.failed();
            self.requests += report.requests();
        }
        let [gate, alone, again] = turns.map(|turns| Seen::of(&turns));
        Ok([gate?, alone?, again?])
    }

    pub(crate) fn lines(&self, table: &mut Table) {
        for Trials { mode, trials } in &self.modes {
            let figures = |of: &dyn Fn(&[Seen; 3]) -> f64| trials.iter().map(of).collect::<Vec<_>>();
            table.section(format!(
                "{}, as fast as it goes, {CLIENTS} clients, {}",
                mode.words(),
                self.cores
            ));
            let ratios: [(&str, fn(&Seen) -> f64, Bound); 2] = [
                ("requests/s", |seen| seen.per_second, Bound::AtLeast(THROUGHPUT)),
                ("p99", |seen| seen.p99_us, Bound::AtMost(P99)),
            ];
            for (name, of, bound) in ratios {
                // Both that run by themselves are the same thing: their mean is a steadier measure than either.
                table.line(
                    format!("{name}, behind the gate to by itself"),
                    "ratio",
                    bound,
                    figures(&|seen| of(&seen[GATE]) / f64::midpoint(of(&seen[ALONE]), of(&seen[AGAIN]))),
                );
                table.line(
                    format!("for comparison: {name}, by itself twice"),
                    "ratio",
                    Bound::None,
                    figures(&|seen| of(&seen[AGAIN]) / of(&seen[ALONE])),
                );
            }
            for (which, words) in [(GATE, "behind the gate"), (ALONE, "by itself")] {
                let per_second = figures(&|seen| seen[which].per_second);
                table.line(format!("requests/s {words}"), "/s", Bound::None, per_second);
                let p99 = figures(&|seen| seen[which].p99_us);
                table.line(format!("p99 {words}"), "us", Bound::None, p99);
            }
        }
        table.section(format!("of all {} requests", self.requests));
        table.line("failed", "", Bound::AtMost(0.0), [self.failed as f64]);
    }
}

impl Seen {
    /// The sum of some turns.
    fn of(turns: &[Report]) -> Result<Self, Failed> {
        let (first, rest) = turns.split_first().ok_or("no turn")?;
        let mut latency = first.latency.clone();
        rest.iter().for_each(|turn| latency.merge(&turn.latency));
        let answered: u64 = turns.iter().map(|turn| turn.counts.ok).sum();
        let millis: u64 = turns.iter().map(|turn| turn.elapsed_ms).sum();
        if answered == 0 || millis == 0 {
            return Err(format!("no request was answered\n{first}").into());
        }
        Ok(Self { per_second: answered as f64 * 1e3 / millis as f64, p99_us: latency.p99_us as f64 })
    }
}
