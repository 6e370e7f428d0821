//! The picture of a canary: a pure function of what was seen, the size of the terminal and the time.

use super::{
    interval::{number, wilson},
    limits,
};
use crate::cli::{outcome, time::span, tree::Look, waits};
use console::truncate_str;
use handover_model::Share;
use handover_proto::v1::{Canary, CanaryBlock, CanaryMetric, Deployment};

/// Columns of the bars of evidence.
const BAR: usize = 10;
/// Columns of the row of names.
pub(super) const NAME: usize = 20;
/// Columns of each release's rates.
pub(super) const RATES: usize = 34;

/// The picture of a deployment's canary.
pub(in crate::cli) fn lines(deployment: &Deployment, look: Look) -> Vec<String> {
    let mut lines = vec![headline(deployment)];
    match &deployment.canary {
        None => lines.push("  nothing was measured yet".to_owned()),
        Some(canary) => {
            lines.push(format!("  {}", shares(canary)));
            lines.push(format!("  {}", verdict(canary)));
            lines.extend(next(deployment, canary, look.now));
            lines.push(String::new());
            lines.push(format!("  {:<NAME$}{:<RATES$}{}", "", "new release", "old release"));
            for metric in &canary.metrics {
                lines.extend(rates(metric, look.unicode));
            }
            lines.extend(canary.limits.iter().flat_map(limits::lines));
            lines.push(String::new());
            lines.extend(blocks(&canary.blocks, look));
        }
    }
    let cut =
        |line: &String| truncate_str(line, look.width, if look.unicode { "…" } else { "..." }).into_owned();
    lines.iter().take(look.height).map(cut).collect()
}

/// The canary in a line, for a tree.
pub(in crate::cli) fn in_short(canary: &Canary) -> String {
    let errors = canary.metrics.first().map(|metric| {
        let rate = |bad, requests| percent(bad, requests).unwrap_or_else(|| "none".to_owned());
        format!(
            "; {}: {} against {}",
            metric.name,
            rate(metric.canary_bad, metric.canary_requests),
            rate(metric.baseline_bad, metric.baseline_requests)
        )
    });
    format!("canary: {}{}; {}", shares(canary), errors.unwrap_or_default(), verdict(canary))
}

/// How many requests the new release answered before it was taken back, and how many of them badly.
pub(in crate::cli) fn share_hit(canary: &Canary) -> Option<String> {
    let errors = canary.metrics.first()?;
    let all = errors.canary_requests.saturating_add(errors.baseline_requests);
    let part = percent(errors.canary_requests, all)?;
    Some(format!(
        "the new release answered {} of {all} requests ({part}) on its hosts, {} of them badly",
        errors.canary_requests, errors.canary_bad
    ))
}

fn headline(deployment: &Deployment) -> String {
    let stages = deployment.plan.as_ref().map_or(0, |plan| plan.stages.len());
    format!(
        "{} {} (d{}): {}, stage {} of {stages}",
        deployment.service,
        deployment.version,
        deployment.id,
        outcome::state(deployment),
        deployment.stage.saturating_add(1)
    )
}

/// What was asked for, and what was measured: with connections that are kept, a share of connections is no share of
/// requests.
fn shares(canary: &Canary) -> String {
    let asked = Share::new(canary.asked_share).map_or_else(|_| String::new(), |share| share.to_string());
    let mut parts = vec![format!("{asked} of new connections asked")];
    let seen = canary.canary_connections.saturating_add(canary.baseline_connections);
    if let Some(part) = percent(canary.canary_connections, seen) {
        parts.push(format!("{part} of {seen} that were seen"));
    }
    if let Some(block) = canary.blocks.last() {
        let all = block.canary_requests.saturating_add(block.baseline_requests);
        parts.extend(percent(block.canary_requests, all).map(|part| format!("{part} of the last requests")));
    }
    parts.join(", ")
}

fn verdict(canary: &Canary) -> String {
    let said = match (canary.verdict.as_str(), canary.says.as_str()) {
        ("", _) => "no verdict yet".to_owned(),
        (verdict, "") => verdict.to_owned(),
        (verdict, says) => format!("{verdict}: {says}"),
    };
    match canary.silent.as_str() {
        "" => said,
        silent => format!("{said}; {silent}"),
    }
}

fn next(deployment: &Deployment, canary: &Canary, now: u64) -> Vec<String> {
    if deployment.ended_unix_millis != 0 {
        return outcome::summary(deployment).into_iter().take(1).map(|line| format!("  {line}")).collect();
    }
    let look = (canary.next_unix_millis > now)
        .then(|| format!("  next look in {}", span(canary.next_unix_millis.saturating_sub(now))));
    let waits = deployment.waiting.as_ref().map(|wait| format!("  {}", waits::in_short(wait, now)));
    look.into_iter().chain(waits).collect()
}

/// A metric of both releases with its interval, and how far the evidence is.
fn rates(metric: &CanaryMetric, unicode: bool) -> Vec<String> {
    let name = match metric.slower_than_seconds {
        Some(seconds) => format!("{} > {seconds} s", metric.name),
        None => metric.name.clone(),
    };
    let canary = rate(metric.canary_bad, metric.canary_requests);
    let baseline = rate(metric.baseline_bad, metric.baseline_requests);
    let bar = |ln: f64, at: f64| bar(ln, at, unicode);
    let mut evidence = format!("worse {}", bar(metric.ln_e, metric.ln_fails_at));
    if let Some(promotion) = metric.ln_promotion {
        evidence.push_str(&format!("   good enough {}", bar(promotion, metric.ln_passes_at)));
    }
    match metric.skipped_blocks {
        0 => {}
        1 => evidence.push_str("   1 block could not be compared"),
        blocks => evidence.push_str(&format!("   {blocks} blocks could not be compared")),
    }
    vec![format!("  {name:<NAME$}{canary:<RATES$}{baseline}"), format!("  {:<NAME$}{evidence}", "")]
}

/// Counts, their rate, and its 95 % interval.
fn rate(bad: u64, requests: u64) -> String {
    let Some((low, high)) = wilson(bad, requests) else { return "no requests".to_owned() };
    let of_hundred = |part: f64| format!("{:.2}", part * 100.0);
    let part = percent(bad, requests).unwrap_or_default();
    format!("{bad}/{requests} {part} [{}-{}]", of_hundred(low), of_hundred(high))
}

/// How far the logarithm of some evidence is on its way to its bound.
fn bar(ln: f64, at: f64, unicode: bool) -> String {
    let part = if at > 0.0 { (ln / at).clamp(0.0, 1.0) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and BAR")]
    let full = (part * number(BAR as u64)).floor() as usize;
    let (on, off) = if unicode { ("█", "░") } else { ("#", ".") };
    format!("{}{} {:.0} %", on.repeat(full), off.repeat(BAR.saturating_sub(full)), part * 100.0)
}

/// The error rates of the last blocks, of both releases on one scale.
fn blocks(blocks: &[CanaryBlock], look: Look) -> Vec<String> {
    let room = look.width.saturating_sub(NAME + 14).max(1);
    let from = blocks.len().saturating_sub(room);
    let shown = &blocks[from..];
    let rate = |bad: u64, requests: u64| (requests > 0).then(|| number(bad) / number(requests));
    let canary: Vec<_> = shown.iter().map(|block| rate(block.canary_bad, block.canary_requests)).collect();
    let baseline: Vec<_> =
        shown.iter().map(|block| rate(block.baseline_bad, block.baseline_requests)).collect();
    let most = canary.iter().chain(&baseline).flatten().copied().fold(0.0_f64, f64::max);
    if shown.is_empty() {
        return Vec::new();
    }
    let title = format!("errors by block, up to {:.2} %", most * 100.0);
    vec![
        format!("  {title}"),
        format!("  {:<NAME$}{}", "  new release", spark(&canary, most, look.unicode)),
        format!("  {:<NAME$}{}", "  old release", spark(&baseline, most, look.unicode)),
    ]
}

/// A row of bars; a gap is a block without requests.
fn spark(rates: &[Option<f64>], most: f64, unicode: bool) -> String {
    const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['_', '.', ',', '-', '=', '+', '*', '#'];
    let signs = if unicode { UNICODE } else { ASCII };
    let sign = |rate: &Option<f64>| match rate {
        None => ' ',
        Some(_) if most <= 0.0 => signs[0],
        Some(rate) => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 7")]
            let height = (rate / most * 7.0).round().clamp(0.0, 7.0) as usize;
            signs[height]
        }
    };
    rates.iter().map(sign).collect()
}

/// A part of a whole in percent; `None` where there is no whole.
pub(in crate::cli) fn percent(part: u64, whole: u64) -> Option<String> {
    (whole > 0).then(|| format!("{:.2} %", number(part) / number(whole) * 100.0))
}

/// A line for each block, where there is no terminal.
#[derive(Debug, Default)]
pub(in crate::cli) struct Lines {
    told: u64,
}

impl Lines {
    /// The blocks that were not told yet, each in a line, and the verdict behind the last.
    pub(in crate::cli) fn of(&mut self, canary: &Canary) -> Vec<String> {
        let fresh: Vec<_> =
            canary.blocks.iter().filter(|block| block.ended_unix_millis > self.told).collect();
        let last = fresh.last().map(|block| block.ended_unix_millis);
        self.told = last.unwrap_or(self.told);
        let line = |block: &&CanaryBlock| {
            let mut line = format!(
                "stage {}: new release {}, old release {}",
                canary.stage.saturating_add(1),
                rate(block.canary_bad, block.canary_requests),
                rate(block.baseline_bad, block.baseline_requests)
            );
            if Some(block.ended_unix_millis) == last {
                line.push_str(&format!("; {}", verdict(canary)));
            }
            line
        };
        fresh.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary() -> Canary {
        let errors = CanaryMetric {
            name: "errors".to_owned(),
            canary_requests: 1204,
            canary_bad: 3,
            baseline_requests: 22_871,
            baseline_bad: 12,
            ln_e: 2.0,
            ln_fails_at: 5.3,
            ln_promotion: Some(1.5),
            ln_passes_at: 3.0,
            ..CanaryMetric::default()
        };
        let latency = CanaryMetric {
            name: "latency".to_owned(),
            slower_than_seconds: Some(0.1),
            canary_bad: 120,
            baseline_bad: 2300,
            ln_promotion: None,
            skipped_blocks: 1,
            ..errors.clone()
        };
        let block = |at, bad, requests| CanaryBlock {
            ended_unix_millis: at,
            canary_requests: requests,
            canary_bad: bad,
            baseline_requests: 1900,
            baseline_bad: 1,
        };
        Canary {
            stage: 0,
            verdict: "needs more data".to_owned(),
            says: "to pass about 1200 more canary requests, 20 s at the present rate".to_owned(),
            silent: String::new(),
            asked_share: 500,
            canary_connections: 110,
            baseline_connections: 2200,
            metrics: vec![errors, latency],
            blocks: vec![block(10_000, 0, 100), block(20_000, 2, 100), block(30_000, 0, 0)],
            next_unix_millis: 34_000,
            limits: Vec::new(),
        }
    }

    fn deployment() -> Deployment {
        Deployment {
            id: 12,
            service: "shop".to_owned(),
            version: "1.5.0".to_owned(),
            state: handover_proto::v1::DeploymentState::Running.into(),
            canary: Some(canary()),
            ..Deployment::default()
        }
    }

    #[test]
    fn the_picture_has_shares_rates_intervals_evidence_and_the_last_blocks() {
        let look = Look { width: 100, height: 40, now: 30_000, colour: false, unicode: true };
        insta::assert_snapshot!(lines(&deployment(), look).join("\n"), @"
        shop 1.5.0 (d12): running, stage 1 of 0
          5 % of new connections asked, 4.76 % of 2310 that were seen, 0.00 % of the last requests
          needs more data: to pass about 1200 more canary requests, 20 s at the present rate
          next look in 4.0s

                              new release                       old release
          errors              3/1204 0.25 % [0.08-0.73]         12/22871 0.05 % [0.03-0.09]
                              worse ███░░░░░░░ 38 %   good enough █████░░░░░ 50 %
          latency > 0.1 s     120/1204 9.97 % [8.40-11.79]      2300/22871 10.06 % [9.67-10.45]
                              worse ███░░░░░░░ 38 %   1 block could not be compared

          errors by block, up to 2.00 %
            new release       ▁█ 
            old release       ▁▁▁
        ");
    }

    #[test]
    fn a_narrow_terminal_without_unicode_gets_what_fits() {
        let look = Look { width: 60, height: 8, now: 30_000, colour: false, unicode: false };
        let lines = lines(&deployment(), look);
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().all(|line| line.is_ascii() && line.len() <= 60), "{lines:#?}");
    }

    #[test]
    fn each_block_is_told_once() {
        let mut told = Lines::default();
        assert_eq!(told.of(&canary()).len(), 3);
        assert_eq!(told.of(&canary()), Vec::<String>::new());
        let mut later = canary();
        later.blocks.push(CanaryBlock { ended_unix_millis: 40_000, ..later.blocks[0] });
        let lines = told.of(&later);
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].ends_with(
                "needs more data: to pass about 1200 more canary requests, 20 s at the present rate"
            )
        );
    }
}
