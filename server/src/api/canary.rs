//! A canary as the protocol has it.

use crate::fleet::{BlockView, CanaryView};
use handover_judge::{CeilingReport, LimitReport, MetricReport, Verdict};
use handover_model::Timestamp;
use handover_proto::v1::{self, canary_limit::Of};

pub(super) fn view(view: CanaryView) -> v1::Canary {
    let CanaryView {
        stage,
        judgement,
        ceilings,
        ends,
        limit_failure,
        limits_without_figure,
        silent,
        blocks,
        asked,
        connections,
        next,
        prometheus,
    } = view;
    let (mut verdict, mut says) = judgement.as_ref().map_or_else(Default::default, |judgement| {
        let says = match &judgement.verdict {
            Verdict::Fail(failure) => failure.line.clone(),
            Verdict::NeedsMore(outlook) => outlook.to_string(),
            Verdict::Inconclusive(why) => why.to_string(),
            Verdict::Pass => String::new(),
        };
        (judgement.verdict.name().to_owned(), says)
    });
    if let Some(line) = limit_failure {
        (verdict, says) = ("fail".to_owned(), line);
    } else if let Some(missing) = limits_without_figure
        && judgement.as_ref().is_some_and(|judgement| matches!(judgement.verdict, Verdict::Pass))
    {
        (verdict, says) = ("needs more data".to_owned(), missing);
    }
    let (metrics, limits) =
        judgement.map(|judgement| (judgement.metrics, judgement.limits)).unwrap_or_default();
    v1::Canary {
        stage,
        verdict,
        says,
        silent,
        asked_share: u32::from(asked.basis_points()),
        canary_connections: connections[0],
        baseline_connections: connections[1],
        metrics: metrics.iter().map(metric).collect(),
        blocks: blocks.iter().map(block).collect(),
        next_unix_millis: next.map_or(0, Timestamp::unix_millis),
        prometheus_since_unix_millis: prometheus
            .as_ref()
            .and_then(|prometheus| prometheus.since)
            .map_or(0, Timestamp::unix_millis),
        prometheus: prometheus.map(|prometheus| prometheus.said).unwrap_or_default(),
        limits: limits
            .iter()
            .map(on_requests)
            .chain(ends.iter().map(on_ends))
            .chain(ceilings.iter().map(on_use))
            .collect(),
    }
}

fn on_ends(report: &LimitReport) -> v1::CanaryLimit {
    let LimitReport { limit, canary, baseline } = report;
    let ends = v1::CanaryEndLimit {
        most: limit.over,
        at_least: limit.at_least,
        canary_ended: canary[0],
        canary_reset: canary[1],
        baseline_ended: baseline[0],
        baseline_reset: baseline[1],
    };
    v1::CanaryLimit { name: limit.name.clone(), of: Some(Of::Ends(ends)) }
}

fn on_requests(report: &LimitReport) -> v1::CanaryLimit {
    let LimitReport { limit, canary, baseline } = report;
    let requests = v1::CanaryRequestLimit {
        slower_than_seconds: limit.slower_than,
        most: limit.over,
        at_least: limit.at_least,
        canary_requests: canary[0],
        canary_bad: canary[1],
        baseline_requests: baseline[0],
        baseline_bad: baseline[1],
    };
    v1::CanaryLimit { name: limit.name.clone(), of: Some(Of::Requests(requests)) }
}

fn on_use(report: &CeilingReport) -> v1::CanaryLimit {
    let CeilingReport { ceiling, highest, above } = report;
    let used = v1::CanaryUseLimit {
        most: ceiling.most,
        blocks: ceiling.blocks,
        above: *above,
        host: highest.as_ref().map(|used| used.host.clone()).unwrap_or_default(),
        canary: highest.as_ref().map_or(0, |used| used.canary),
        baseline: highest.as_ref().and_then(|used| used.baseline),
    };
    v1::CanaryLimit { name: ceiling.name.clone(), of: Some(Of::Use(used)) }
}

fn metric(report: &MetricReport) -> v1::CanaryMetric {
    v1::CanaryMetric {
        name: report.metric.clone(),
        slower_than_seconds: report.slower_than,
        canary_requests: report.canary[0],
        canary_bad: report.canary[1],
        baseline_requests: report.baseline[0],
        baseline_bad: report.baseline[1],
        ln_e: report.e.ln(),
        ln_fails_at: report.fails_at.ln(),
        ln_promotion: report.promotion.map(handover_judge::Evidence::ln),
        ln_passes_at: report.passes_at.ln(),
        skipped_blocks: report.skipped.total(),
    }
}

fn block(block: &BlockView) -> v1::CanaryBlock {
    v1::CanaryBlock {
        ended_unix_millis: block.at.unix_millis(),
        canary_requests: block.canary[0],
        canary_bad: block.canary[1],
        baseline_requests: block.baseline[0],
        baseline_bad: block.baseline[1],
    }
}
