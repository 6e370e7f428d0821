//! The computation from within.

mod ceilings;
mod computation;
mod expectation;
mod hosts;
mod scenarios;
mod states;

use crate::{Block, Config, Counts, Histogram, HostBlock, Judge, Observed, Reading, Verdict};

/// What was counted.
fn counted(requests: u64, bad: u64) -> Reading<Counts> {
    Reading::Counted(Counts::new(requests, bad).unwrap())
}

/// One host: canary requests, bad ones, baseline requests, bad ones.
fn host(n_c: u64, e_c: u64, n_b: u64, e_b: u64) -> HostBlock<Counts> {
    HostBlock { canary: counted(n_c, e_c), baseline: counted(n_b, e_b) }
}

/// A judge with the default settings; each of these is one block of one host.
fn judged(watched: &[(u64, u64)], blocks: &[(u64, u64, u64, u64)]) -> Judge {
    let mut judge = Judge::new(Config::default()).unwrap();
    for &(requests, bad) in watched {
        let hosts = [HostBlock { canary: Reading::Absent, baseline: counted(requests, bad) }];
        judge.watch(&errors(&hosts));
    }
    for &(n_c, e_c, n_b, e_b) in blocks {
        judge.observe(&errors(&[host(n_c, e_c, n_b, e_b)]));
    }
    judge
}

fn errors(hosts: &[HostBlock<Counts>]) -> Block<'_> {
    Block::from([("errors", Observed::Counts(hosts))])
}

fn latency(hosts: &[HostBlock<Histogram>]) -> Block<'_> {
    Block::from([("latency", Observed::Histograms(hosts))])
}

fn verdict(judge: &Judge) -> Verdict {
    judge.judgement().verdict
}

/// E of the only metric.
fn e(judge: &Judge) -> f64 {
    judge.judgement().metrics[0].e.value()
}
