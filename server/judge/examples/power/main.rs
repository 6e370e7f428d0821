//! How soon a bad canary is found: the tables of docs/judge.md.
//!
//! `cargo run --release -p handover-judge --example power`

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
#![allow(unreachable_pub, dead_code, missing_docs, reason = "the tests share the simulation")]

#[path = "../../tests/validation/simulation.rs"]
mod simulation;

use handover_judge::Config;
use simulation::{Arms, Canary, Until, generator, quantile, share};

const SEED: u64 = 20_263;
const DEPLOYMENTS: u64 = 1_000;
const BLOCK_SECONDS: u64 = 10;
/// A day.
const MOST_BLOCKS: u64 = 8_640;
/// Columns of the plot: from 10 s to a day, in equal steps of the logarithm.
const COLUMNS: usize = 64;

/// A canary with 5 % of the requests.
struct Case {
    requests_a_second: u64,
    baseline: f64,
    times: f64,
    /// Blocks for which the canary is as good as the baseline.
    healthy: u64,
    /// The part of alpha for canaries that turn bad late.
    late: f64,
}

struct Measured {
    name: String,
    found: f64,
    p10: Option<u64>,
    median: Option<u64>,
    p90: Option<u64>,
    requests: Option<u64>,
}

fn measure(case: &Case) -> Measured {
    let Case { requests_a_second, baseline, times, healthy, late } = *case;
    let all = requests_a_second * BLOCK_SECONDS;
    let n_c = all / 20;
    let equal = Arms::new((n_c, baseline), (all - n_c, baseline));
    let worse = Arms::new((n_c, times * baseline), (all - n_c, baseline));
    let mut canary = Canary { blocks: healthy + MOST_BLOCKS, ..Canary::usual() };
    canary.config.late = late;
    let one = |deployment| {
        let mut random = generator(SEED, deployment);
        let end = canary.run(Until::Failed, &mut random, &equal, |block, random| {
            if block <= healthy { equal.draw(random) } else { worse.draw(random) }
        });
        end.map(|block| block.saturating_sub(healthy).max(1))
    };
    let ends: Vec<Option<u64>> = (0..DEPLOYMENTS).map(one).collect();
    let since =
        if healthy > 0 { format!(", after {} min", healthy * BLOCK_SECONDS / 60) } else { String::new() };
    let without = if late > 0.0 { "" } else { ", late = 0" };
    let [p10, median, p90] = [0.1, 0.5, 0.9].map(|part| quantile(&ends, part));
    Measured {
        name: format!("{requests_a_second}/s, {} % x {times}{since}{without}", baseline * 100.0),
        found: share(&ends),
        p10,
        median,
        p90,
        requests: median.map(|blocks| blocks * n_c),
    }
}

fn time(blocks: Option<u64>) -> String {
    let Some(blocks) = blocks else { return "-".to_owned() };
    match blocks * BLOCK_SECONDS {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{:.1} min", seconds as f64 / 60.0),
        seconds => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}

fn plot(measured: &Measured) -> String {
    let column = |blocks: u64| {
        let part = (blocks as f64).ln() / (MOST_BLOCKS as f64).ln();
        (part * (COLUMNS - 1) as f64).round() as usize
    };
    let mut line = vec![' '; COLUMNS];
    if let (Some(from), Some(to)) = (measured.p10, measured.p90) {
        line[column(from)..=column(to)].fill('-');
    }
    if let Some(median) = measured.median {
        line[column(median)] = 'O';
    }
    format!("{:<40}|{}", measured.name, line.into_iter().collect::<String>().trim_end())
}

fn main() {
    let late = Config::default().late;
    let mut cases = Vec::new();
    for requests_a_second in [10, 100, 10_000] {
        for (baseline, times) in [(0.01, 2.0), (0.01, 5.0), (0.001, 5.0)] {
            cases.push(Case { requests_a_second, baseline, times, healthy: 0, late });
        }
    }
    for (requests_a_second, times) in [(100, 5.0), (10_000, 2.0), (10_000, 5.0)] {
        for late in [late, 0.0] {
            cases.push(Case { requests_a_second, baseline: 0.01, times, healthy: 60, late });
        }
    }
    let measured: Vec<Measured> = cases.iter().map(measure).collect();
    println!(
        "{DEPLOYMENTS} deployments each, seed {SEED}, at most a day each; a canary with 5 % of the requests\n"
    );
    println!(
        "| service | found | median | p90 | canary requests (median) |\n| --- | --- | --- | --- | --- |"
    );
    for Measured { name, found, median, p90, requests, .. } in &measured {
        let requests = requests.map_or("-".to_owned(), |requests| requests.to_string());
        println!("| {name} | {:.1} % | {} | {} | {requests} |", found * 100.0, time(*median), time(*p90));
    }
    println!("\nTime to detection: p10 to p90 (-), median (O)\n");
    measured.iter().for_each(|measured| println!("{}", plot(measured)));
    let mut axis = vec![' '; COLUMNS + 4];
    for (label, seconds) in [("10 s", 10), ("1 min", 60), ("10 min", 600), ("1 h", 3600), ("1 day", 86_400)] {
        let part = f64::ln((seconds / BLOCK_SECONDS) as f64) / (MOST_BLOCKS as f64).ln();
        let at = (part * (COLUMNS - 1) as f64).round() as usize;
        label.chars().enumerate().for_each(|(index, char)| axis[(at + index).min(COLUMNS + 3)] = char);
    }
    println!("{:<40}|{}", "", axis.into_iter().collect::<String>().trim_end());
}
