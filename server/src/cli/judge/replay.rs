//! `handover judge replay`: the judge on counts from a file, block by block.

use super::{
    super::{
        error::CliError,
        exit::{self, Exit},
        table::Table,
    },
    rows::{self, Row},
};
use handover_judge::{
    Alternative, Block, Config, Counts, End, Evidence, HostBlock, Judge, Judgement, Kind, Metric, Observed,
    Outlook, Reading, Tolerance, Verdict,
};
use handover_model::language::seconds;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The metric's name in what is printed.
const METRIC: &str = "errors";

/// Replay counts through the judge, without a server: E, promotion and verdict after each block.
///
/// A line of FILE is a block, as CSV (block,canary_requests,canary_bad,baseline_requests,baseline_bad) or as JSON with these
/// fields. Two empty fields of an arm: no data. Blocks before the canary's first request teach the baseline's rate.
///
/// Exit code 0: it was replayed, whatever the verdict. 1: a line is no block, or the file cannot be read.
#[derive(Debug, clap::Args)]
pub(in super::super) struct ReplayArgs {
    /// The file with the blocks, at most 16 MiB; - is standard input.
    file: PathBuf,
    /// The chance of ever failing a canary that is as good as tolerated.
    #[arg(long, default_value_t = 0.01)]
    alpha: f64,
    /// The chance of passing a canary that is intolerable.
    #[arg(long, value_name = "ALPHA", default_value_t = 0.05)]
    alpha_promotion: f64,
    /// The canary may have R times the baseline's rate ...
    #[arg(short, long, default_value_t = 1.25)]
    r: f64,
    /// ... and D more.
    #[arg(short, long, default_value_t = 0.002)]
    d: f64,
    /// It passes when it is proven to be below R times the baseline's rate plus this.
    #[arg(long, default_value_t = 0.02)]
    d_max: f64,
    /// Judge by this one alternative (rates of canary and baseline) instead of the six that are learnt.
    #[arg(long, value_name = "P_C1,P_B1", value_parser = alternative)]
    alternatives: Option<Alternative>,
    /// Count at most so many bad requests of a block as evidence, or four times what is expected.
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..))]
    cap: Option<u32>,
    /// Take bad requests as independent, whatever the baseline's look like.
    #[arg(long)]
    no_over_dispersion: bool,
    /// How long a block is; only for saying how long something takes.
    #[arg(long, value_name = "DURATION", value_parser = seconds, default_value = "10s")]
    block: u64,
}

fn alternative(text: &str) -> Result<Alternative, String> {
    let rate = |text: &str| text.trim().parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate));
    let rates = text.split_once(',').and_then(|(canary, baseline)| Some((rate(canary)?, rate(baseline)?)));
    let (canary, baseline) =
        rates.ok_or("expected two rates from 0 to 1, the canary's and the baseline's, like 0.1,0.01")?;
    Ok(Alternative { canary, baseline })
}

impl ReplayArgs {
    fn config(&self) -> Config {
        let tolerance = Tolerance::new(self.r, self.d, Some(self.d_max));
        let kind = Kind::Share { tolerance, fixed: self.alternatives };
        Config {
            alpha: self.alpha,
            // One alternative is for checking figures: E has all of alpha then.
            late: if self.alternatives.is_some() { 0.0 } else { Config::default().late },
            alpha_promotion: self.alpha_promotion,
            block_millis: self.block.saturating_mul(1000),
            cap: self.cap,
            over_dispersion: !self.no_over_dispersion,
            metrics: vec![Metric { kind, ..Metric::errors(METRIC, 1.0) }],
            ..Config::default()
        }
    }
}

pub(super) fn run(args: &ReplayArgs, as_json: bool) -> Result<Exit, CliError> {
    let mut judge = Judge::new(args.config()).map_err(|error| CliError::Usage(error.to_string()))?;
    let (_, rows) = rows::of_file(&args.file)?;
    let mut table = Table::new(&["block", "canary", "baseline", "E", "promotion", "verdict"]);
    let (mut began, mut failed) = (false, None);
    for row in &rows {
        began |= matches!(row.host.canary, Reading::Counted(counts) if counts.requests() > 0);
        let hosts = [row.host.clone()];
        let block = Block::from([(METRIC, Observed::Counts(&hosts))]);
        let skipped = skipped(&judge.judgement());
        if began {
            judge.observe(&block);
        } else {
            judge.watch(&block);
        }
        let judgement = judge.judgement();
        if judge.failure().is_some() {
            failed.get_or_insert(row.block);
        }
        let note = match (began, self::skipped(&judgement) > skipped) {
            (false, _) => "watched",
            (true, true) => "skipped",
            (true, false) => "judged",
        };
        if as_json {
            println!("{}", line(row, note, &judgement));
        } else {
            table.row(cells(row, note, &judgement));
        }
    }
    if !as_json {
        table.print();
        println!();
        summary(&judge, failed).iter().for_each(|line| println!("{line}"));
    }
    Ok(exit::DONE)
}

fn skipped(judgement: &Judgement) -> u64 {
    judgement.metrics.iter().map(|metric| metric.skipped.total()).sum()
}

/// `6/60`: bad of all.
fn counts(reading: &Reading<Counts>) -> String {
    match reading {
        Reading::Counted(counts) => format!("{}/{}", counts.bad(), counts.requests()),
        Reading::Absent | Reading::Reset => String::new(),
    }
}

fn cells(row: &Row, note: &str, judgement: &Judgement) -> Vec<String> {
    let Row { block, host: HostBlock { canary, baseline } } = row;
    let metric = judgement.metrics.first();
    let verdict = match (note, &judgement.verdict) {
        ("judged", verdict) => verdict.name().to_owned(),
        (note, verdict @ (Verdict::Fail(_) | Verdict::Pass)) => format!("{} ({note})", verdict.name()),
        (note, Verdict::NeedsMore(_) | Verdict::Inconclusive(_)) => note.to_owned(),
    };
    vec![
        block.to_string(),
        counts(canary),
        counts(baseline),
        metric.map_or_else(String::new, |metric| metric.e.to_string()),
        metric.and_then(|metric| metric.promotion).map_or_else(String::new, |value| value.to_string()),
        verdict,
    ]
}

/// The verdict of all, and what it would be at a deadline now.
fn summary(judge: &Judge, failed: Option<u64>) -> Vec<String> {
    let judgement = judge.judgement();
    let mut lines = vec![judgement.verdict.to_string()];
    lines.extend(failed.map(|block| format!("it failed in block {block}; as it stands at the end:")));
    if let Verdict::NeedsMore(_) = judgement.verdict {
        lines.push(format!("if this was the deadline: {}", judge.at_deadline().verdict));
    }
    lines.extend(judgement.metrics.iter().map(ToString::to_string));
    let Config { alpha, alpha_promotion, .. } = judge.config();
    lines.push(format!(
        "a canary that is as good as tolerated ever fails with a chance of at most {alpha}; one that is intolerable \
         passes with a chance of at most {alpha_promotion}"
    ));
    lines
}

fn line(row: &Row, note: &str, judgement: &Judgement) -> Value {
    let numbers = |reading: &Reading<Counts>| match reading {
        Reading::Counted(counts) => (json!(counts.requests()), json!(counts.bad())),
        Reading::Absent | Reading::Reset => (Value::Null, Value::Null),
    };
    let (canary_requests, canary_bad) = numbers(&row.host.canary);
    let (baseline_requests, baseline_bad) = numbers(&row.host.baseline);
    let metric = judgement.metrics.first();
    let promotion = metric.and_then(|metric| metric.promotion);
    let (end, more_requests, more_millis) = match judgement.verdict {
        Verdict::NeedsMore(Outlook::Toward { end, canary_requests, millis }) => {
            let end = match end {
                End::Pass => "pass",
                End::Fail => "fail",
            };
            (json!(end), json!(canary_requests), json!(millis))
        }
        _ => (Value::Null, Value::Null, Value::Null),
    };
    json!({
        "block": row.block, "canary_requests": canary_requests, "canary_bad": canary_bad,
        "baseline_requests": baseline_requests, "baseline_bad": baseline_bad, "was": note,
        "e": metric.map(|metric| metric.e.value()), "ln_e": metric.map(|metric| metric.e.ln()),
        "fails_at": metric.map(|metric| metric.fails_at.value()),
        "late": metric.and_then(|metric| metric.late).map(Evidence::value),
        "late_fails_at": metric.filter(|metric| metric.late.is_some()).map(|metric| metric.late_fails_at.value()),
        "promotion": promotion.map(Evidence::value), "ln_promotion": promotion.map(Evidence::ln),
        "passes_at": metric.map(|metric| metric.passes_at.value()),
        "verdict": judgement.verdict.name(), "detail": judgement.verdict.to_string(),
        "toward": end, "more_canary_requests": more_requests, "more_millis": more_millis,
    })
}
