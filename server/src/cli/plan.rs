//! A compiled plan, before anything happens.

use super::{migrate, preflight, time::span};
use handover_model::Share;
use handover_proto::v1::Plan;
use std::collections::BTreeSet;

/// Longest list of hosts in one line.
const NAMED: usize = 8;

/// The plan in lines, with its preflight before it.
pub(super) fn lines(plan: &Plan) -> Vec<String> {
    let hosts: BTreeSet<&str> =
        plan.stages.iter().flat_map(|stage| &stage.hosts).map(|host| host.host.as_str()).collect();
    let hosts = hosts.len();
    let mut lines = plan.preflight.as_ref().map(preflight::brief).unwrap_or_default();
    lines.push(format!(
        "plan: {} {} to {hosts} {} in {} {}",
        plan.service,
        plan.version,
        if hosts == 1 { "host" } else { "hosts" },
        plan.stages.len(),
        if plan.stages.len() == 1 { "stage" } else { "stages" },
    ));
    for (number, stage) in plan.stages.iter().enumerate() {
        if let Some(migration) = &stage.migration {
            lines.push(format!("  stage {}: {}", number + 1, migrate::planned(migration)));
            continue;
        }
        let named: Vec<String> = stage
            .hosts
            .iter()
            .take(NAMED)
            .map(|host| match host.from_version.as_str() {
                "" => format!("{} (first)", host.host),
                from => format!("{} ({from})", host.host),
            })
            .collect();
        let more = stage.hosts.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let share =
            Share::new(stage.share).map_or_else(|_| stage.share.to_string(), |share| share.to_string());
        lines.push(format!(
            "  stage {}: {}{more}: share {share}{}, then healthy for {}{}{}",
            number + 1,
            named.join(", "),
            if stage.at_once { ", all in one step" } else { "" },
            span(stage.bake_millis),
            if stage.approval { ", then promoted by a person" } else { "" },
            if stage.returns { ", then back to what it ran" } else { "" },
        ));
        if let Some(judged) = &stage.judged {
            let otherwise = match judged.inconclusive.as_str() {
                "hold" => "a person decides",
                "rollback" => "every touched host goes back",
                _ => "it goes on",
            };
            lines.push(format!(
                "    judged all the time; the verdict within {} more, without one {otherwise}",
                span(judged.within_millis)
            ));
        }
    }
    for skip in &plan.skipped {
        lines.push(format!("  left out: {}: {}", skip.host, skip.reason));
    }
    if let Some(policy) = &plan.policy {
        lines.push(format!(
            "  at most {} in flight; {} may fail; on failure: {}; ready within {}, flipped within {}, drained within {}",
            policy.max_in_flight,
            policy.failures_allowed,
            policy.on_failure,
            span(policy.ready_deadline_millis),
            span(policy.flip_deadline_millis),
            span(policy.retire_deadline_millis)
        ));
        let waited = match policy.offline.as_str() {
            "wait" => format!(" for {}", span(policy.offline_deadline_millis)),
            _ => String::new(),
        };
        lines.push(format!("  hosts that are offline: {}{waited}", policy.offline));
        if policy.confirm_millis > 0 {
            lines.push(format!(
                "  a host that does not have its flip confirmed within {} undoes it by itself",
                span(policy.confirm_millis)
            ));
        }
        if policy.keep_warm_millis > 0 {
            lines.push(format!(
                "  the old instances stand by for {} afterwards: until then a rollback starts nothing",
                span(policy.keep_warm_millis)
            ));
        }
    }
    lines
}
