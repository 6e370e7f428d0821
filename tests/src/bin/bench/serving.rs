//! Load on the program behind the gate and on the same program listening by itself, in turns.
//!
//! A third one, by itself as well, tells what this machine makes of two programs that do not differ at all.

use crate::{
    Effort, Failed,
    alone::Alone,
    interrupt::Interrupt,
    table::{Bound, Table},
};
use handover_tests::{
    fleet::Fleet,
    load::{Config, Load, Mode, Report},
};
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

/// What a second of load on one program found.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    per_second: f64,
    p99_us: f64,
}

/// All rounds of one way of using connections.
#[derive(Debug)]
struct Rounds {
    mode: Mode,
    rounds: Vec<[Seen; 3]>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Serving {
    modes: Vec<Rounds>,
    failed: u64,
    requests: u64,
}

/// Loads the program of the fleet's first host and two by themselves.
pub(crate) fn measure(fleet: &Fleet, effort: Effort, interrupt: &Interrupt) -> Result<Serving, Failed> {
    let gate = fleet.addresses()[0];
    let folder = fleet.path("alone");
    let alone = Alone::start(&folder, "alone", beside(gate, 101))?;
    let again = Alone::start(&folder, "again", beside(gate, 102))?;
    let targets = [gate, alone.address, again.address];
    let mut serving = Serving { modes: Vec::new(), failed: 0, requests: 0 };
    for mode in [Mode::KeepAlive { connections: CLIENTS }, Mode::OnePerRequest { workers: CLIENTS }] {
        let mut load = |target: usize| {
            let duration = Duration::from_millis(effort.round_millis);
            let report = Load::start(Config { duration, ..Config::new(vec![targets[target]], mode) }).wait();
            serving.failed += report.failed();
            serving.requests += report.requests();
            seen(&report)
        };
        // Caches, lazily made buffers and a processor that had slept.
        for target in [GATE, ALONE, AGAIN] {
            load(target)?;
        }
        let mut rounds = Vec::with_capacity(effort.rounds);
        for order in ORDERS.iter().cycle().take(effort.rounds) {
            let mut round = [Seen::default(); 3];
            for &target in order {
                interrupt.check()?;
                round[target] = load(target)?;
            }
            rounds.push(round);
        }
        serving.modes.push(Rounds { mode, rounds });
    }
    Ok(serving)
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

fn seen(report: &Report) -> Result<Seen, Failed> {
    if report.counts.ok == 0 {
        return Err(format!("no request was answered\n{report}").into());
    }
    Ok(Seen { per_second: report.per_second(), p99_us: report.latency.p99_us as f64 })
}

impl Serving {
    pub(crate) fn lines(&self, table: &mut Table) {
        for Rounds { mode, rounds } in &self.modes {
            let figures = |of: &dyn Fn(&[Seen; 3]) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
            table.section(format!("{}, as fast as it goes, {CLIENTS} clients", mode.words()));
            table.line(
                "requests/s, behind the gate to by itself",
                "ratio",
                Bound::AtLeast(THROUGHPUT),
                figures(&|round| round[GATE].per_second / round[ALONE].per_second),
            );
            table.line(
                "p99, behind the gate to by itself",
                "ratio",
                Bound::AtMost(P99),
                figures(&|round| round[GATE].p99_us / round[ALONE].p99_us),
            );
            table.line(
                "for comparison: requests/s, by itself twice",
                "ratio",
                Bound::None,
                figures(&|round| round[AGAIN].per_second / round[ALONE].per_second),
            );
            table.line(
                "for comparison: p99, by itself twice",
                "ratio",
                Bound::None,
                figures(&|round| round[AGAIN].p99_us / round[ALONE].p99_us),
            );
            for (which, words) in [(GATE, "behind the gate"), (ALONE, "by itself")] {
                let per_second = figures(&|round| round[which].per_second);
                table.line(format!("requests/s {words}"), "/s", Bound::None, per_second);
                let p99 = figures(&|round| round[which].p99_us);
                table.line(format!("p99 {words}"), "us", Bound::None, p99);
            }
        }
        table.section(format!("of all {} requests", self.requests));
        table.line("failed", "", Bound::AtMost(0.0), [self.failed as f64]);
    }
}
