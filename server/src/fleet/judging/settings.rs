//! From a manifest's `[judge]` to the judge's settings.

use handover_judge::{Ceiling, Comparison, Config, Counted, Kind, Limit, Metric, Resource, Tolerance};
use handover_model::config::{JudgeConfig, MaxSlow, Millionths};
use handover_rollout::Plan;

/// The share of errors.
pub(super) const ERRORS: &str = "errors";
/// Latency at three thresholds.
pub(super) const LATENCY: &str = "latency";
/// The whole histogram of latencies.
pub(super) const HISTOGRAM: &str = "histogram";

/// How connections end.
pub(super) const ENDS: &str = "ends";
/// The limit on it.
pub(super) const MAX_RESETS: &str = "max_resets";

/// Requests, or connections, over which a plain limit is counted.
const LIMIT_OVER: u64 = 100;
/// In so many blocks in a row an instance must use more than it may: one peak is no failure.
const CEILING_BLOCKS: u32 = 3;

/// The settings of a deployment's judge. `latency`: whether the service has a histogram of it.
pub(crate) fn config(judge: &JudgeConfig, comparison: Comparison, latency: bool) -> Config {
    let tolerance = Tolerance::new(
        judge.ratio.fraction(),
        judge.difference.fraction(),
        Some(judge.intolerable.fraction()),
    );
    let errors =
        |weight| Metric { name: ERRORS.to_owned(), weight, kind: Kind::Share { tolerance, fixed: None } };
    let metrics = match judge.latency && latency {
        true => vec![errors(0.5), Metric::latency(LATENCY, 0.25), Metric::histogram(HISTOGRAM, 0.25)],
        false => vec![errors(1.0)],
    };
    let limit = |name: &str, metric: &str, slower_than, most: Millionths| Limit {
        name: name.to_owned(),
        metric: metric.to_owned(),
        slower_than,
        over: most.fraction(),
        at_least: LIMIT_OVER,
        of: Counted::Requests,
    };
    let errors_at_most = judge.max_errors.map(|most| limit("max_errors", ERRORS, None, most));
    let slow_at_most = judge
        .max_slow
        .map(|MaxSlow { over, share }| limit("max_slow", LATENCY, Some(over.as_secs_f64()), share));
    Config {
        alpha: judge.alpha.fraction(),
        alpha_promotion: judge.alpha_promotion.fraction(),
        block_millis: u64::try_from(judge.block.as_millis()).unwrap_or(u64::MAX),
        comparison,
        cap: (judge.cap > 0).then_some(judge.cap),
        metrics,
        limits: errors_at_most.into_iter().chain(slow_at_most).collect(),
        ..Config::default()
    }
}

/// The settings of a judge that looks at the ends of connections alone; `None` where there is no limit on them.
pub(super) fn ends(judge: &JudgeConfig) -> Option<Config> {
    let limit = Limit {
        name: MAX_RESETS.to_owned(),
        metric: ENDS.to_owned(),
        slower_than: None,
        over: judge.max_resets?.fraction(),
        at_least: LIMIT_OVER,
        of: Counted::Connections,
    };
    Some(Config { metrics: Vec::new(), limits: vec![limit], ..Config::default() })
}

/// What no instance of the new release may use of its host, or turn away.
pub(super) fn ceilings(judge: &JudgeConfig) -> Vec<Ceiling> {
    let ceiling = |name: &str, resource, most| Ceiling {
        name: name.to_owned(),
        resource,
        most,
        blocks: CEILING_BLOCKS,
    };
    let memory = judge.max_memory.map(|most| ceiling("max_memory", Resource::Memory, most));
    // A percent of a processor is ten thousand millionths of it.
    let cpu = judge.max_cpu.map(|most| ceiling("max_cpu", Resource::Cpu, u64::from(most) * 10_000));
    let refused =
        judge.max_refused.map(|most| ceiling("max_refused", Resource::Refused, u64::from(most) * 1000));
    [memory, cpu, refused].into_iter().flatten().collect()
}

/// Within hosts, unless some judged stage has hosts that run the new release alone.
pub(super) fn comparison(plan: &Plan) -> Comparison {
    let alone = |stage: &handover_rollout::Stage| stage.judged.is_some() && stage.share.rest().is_hidden();
    match plan.stages.iter().any(alone) {
        true => Comparison::AcrossHosts,
        false => Comparison::WithinHosts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_manifest_may_say_makes_a_judge() {
        let extremes = [
            "",
            "alpha = \"0.0001%\"",
            "alpha = \"50%\"",
            "ratio = \"10000%\"",
            "cap = 1",
            "difference = \"0%\"\nintolerable = \"0.0001%\"",
            "intolerable = \"90%\"",
            "max_errors = \"0%\"",
            "max_errors = \"99.9999%\"",
            "max_slow = { over = \"1ms\", share = \"0%\" }",
            "max_slow = { over = \"1h\", share = \"99.9999%\" }",
            "max_errors = \"5%\"\nmax_slow = { over = \"500ms\" }\nmax_memory = \"1MiB\"\nmax_cpu = \"1%\"",
            "max_resets = \"0%\"\nmax_refused = 0",
            "max_resets = \"99.9999%\"\nmax_refused = 1000000",
            "alpha_promotion = \"0.0001%\"",
            "block = \"1s\"",
            "latency = \"ignore\"",
        ];
        for words in extremes {
            let text = format!("service = \"shop\"\ncommand = [\"shop\"]\n[judge]\n{words}\n");
            let manifest = handover_model::config::Manifest::parse(&text).unwrap();
            for latency in [false, true] {
                let config = config(&manifest.judge, comparison(&plan()), latency);
                assert_eq!(config.check(), Ok(()), "{words}");
                assert!(ends(&manifest.judge).is_none_or(|config| config.check().is_ok()), "{words}");
            }
        }
    }

    fn plan() -> Plan {
        use handover_model::Duration;
        use handover_rollout::{
            BatchSize, FleetHost, OfflinePolicy, OnFailure, PlanRequest, Rolling, rolling,
        };
        let host = FleetHost {
            host: "a".parse().unwrap(),
            labels: handover_model::Labels::new(),
            cordoned: false,
            online: true,
            runs: None,
            gave_up: false,
            standby: None,
        };
        let request = PlanRequest {
            service: "shop".parse().unwrap(),
            release: handover_model::ReleaseRef {
                service: "shop".parse().unwrap(),
                version: "2".parse().unwrap(),
            },
            labels: handover_model::Labels::new(),
            only: std::collections::BTreeSet::new(),
            hosts: vec![host],
            order_by: None,
            max_in_flight: None,
            failures_allowed: 0,
            on_failure: OnFailure::RollBack,
            offline: OfflinePolicy::Skip,
            ready_deadline: Duration::ZERO,
            flip_deadline: Duration::ZERO,
            retire_deadline: Duration::ZERO,
            keep_warm: Duration::ZERO,
            confirm: Duration::ZERO,
            force: false,
        };
        rolling(&request, Rolling { batch: BatchSize::Hosts(1), bake: Duration::ZERO }).unwrap()
    }
}
