//! The plain limits of a canary in the picture.

use super::picture::{NAME, RATES, percent};
use handover_judge::{Amount, Resource};
use handover_proto::v1::{CanaryEndLimit, CanaryLimit, CanaryRequestLimit, CanaryUseLimit, canary_limit::Of};

/// A limit: both releases, then the limit itself.
pub(super) fn lines(limit: &CanaryLimit) -> Vec<String> {
    let name = &limit.name;
    match &limit.of {
        Some(Of::Requests(requests)) => on_requests(name, requests),
        Some(Of::Ends(ends)) => on_ends(name, ends),
        Some(Of::Use(used)) => resource(name).map_or_else(Vec::new, |resource| on_use(name, resource, used)),
        None => Vec::new(),
    }
}

fn row(name: &str, canary: &str, baseline: &str, limit: &str) -> Vec<String> {
    vec![format!("  {name:<NAME$}{canary:<RATES$}{baseline}"), format!("  {:<NAME$}{limit}", "")]
}

fn on_requests(name: &str, limit: &CanaryRequestLimit) -> Vec<String> {
    let name = match limit.slower_than_seconds {
        Some(seconds) => format!("{name} > {seconds} s"),
        None => name.to_owned(),
    };
    row(
        &name,
        &counted(limit.canary_bad, limit.canary_requests),
        &counted(limit.baseline_bad, limit.baseline_requests),
        &format!("at most {} % of {} requests or more", percents(limit.most), limit.at_least),
    )
}

fn on_ends(name: &str, limit: &CanaryEndLimit) -> Vec<String> {
    let most = percents(limit.most);
    row(
        name,
        &counted(limit.canary_reset, limit.canary_ended),
        &counted(limit.baseline_reset, limit.baseline_ended),
        &format!("at most {most} % of {} connections or more that ended", limit.at_least),
    )
}

fn counted(bad: u64, all: u64) -> String {
    match percent(bad, all) {
        Some(part) => format!("{bad}/{all} {part}"),
        None => "nothing counted yet".to_owned(),
    }
}

fn percents(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

/// What of; `None` where it is a limit that a newer server knows.
fn resource(name: &str) -> Option<Resource> {
    match name {
        "max_memory" => Some(Resource::Memory),
        "max_cpu" => Some(Resource::Cpu),
        "max_refused" => Some(Resource::Refused),
        _unknown => None,
    }
}

fn on_use(name: &str, resource: Resource, limit: &CanaryUseLimit) -> Vec<String> {
    let canary = match limit.host.as_str() {
        "" => "nothing measured yet".to_owned(),
        host => format!("{} on {host}", Amount(resource, limit.canary)),
    };
    let baseline = match limit.baseline {
        Some(used) => Amount(resource, used).to_string(),
        None => "nothing measured there".to_owned(),
    };
    let (most, above, blocks) = (Amount(resource, limit.most), limit.above, limit.blocks);
    row(name, &canary, &baseline, &format!("at most {most}; above it in {above} of {blocks} blocks in a row"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_both_releases_and_how_near_it_is() {
        let used = CanaryUseLimit {
            most: 512 << 20,
            blocks: 3,
            above: 2,
            host: "web-1".to_owned(),
            canary: 734 << 20,
            baseline: Some(120 << 20),
        };
        let memory = CanaryLimit { name: "max_memory".to_owned(), of: Some(Of::Use(used)) };
        let requests = CanaryRequestLimit {
            slower_than_seconds: Some(0.5),
            most: 0.01,
            at_least: 100,
            canary_requests: 120,
            canary_bad: 3,
            ..CanaryRequestLimit::default()
        };
        let slow = CanaryLimit { name: "max_slow".to_owned(), of: Some(Of::Requests(requests)) };
        let cpu = CanaryLimit {
            name: "max_cpu".to_owned(),
            of: Some(Of::Use(CanaryUseLimit { most: 1_500_000, blocks: 3, ..CanaryUseLimit::default() })),
        };
        let ends = CanaryEndLimit {
            most: 0.01,
            at_least: 100,
            canary_ended: 130,
            canary_reset: 4,
            baseline_ended: 1900,
            baseline_reset: 1,
        };
        let resets = CanaryLimit { name: "max_resets".to_owned(), of: Some(Of::Ends(ends)) };
        let turned_away = CanaryUseLimit {
            most: 30_000,
            blocks: 3,
            above: 1,
            host: "web-1".to_owned(),
            canary: 45_500,
            baseline: Some(0),
        };
        let refused = CanaryLimit { name: "max_refused".to_owned(), of: Some(Of::Use(turned_away)) };
        let of_a_newer_server = CanaryLimit { name: "max_threads".to_owned(), ..memory.clone() };
        let shown: Vec<_> =
            [memory, slow, cpu, resets, refused, of_a_newer_server].iter().flat_map(lines).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
          max_memory          734.0 MiB on web-1                120.0 MiB
                              at most 512.0 MiB; above it in 2 of 3 blocks in a row
          max_slow > 0.5 s    3/120 2.50 %                      nothing counted yet
                              at most 1 % of 100 requests or more
          max_cpu             nothing measured yet              nothing measured there
                              at most 150.0 % of a processor; above it in 0 of 3 blocks in a row
          max_resets          4/130 3.08 %                      1/1900 0.05 %
                              at most 1 % of 100 connections or more that ended
          max_refused         45.5 refused a minute on web-1    0.0 refused a minute
                              at most 30.0 refused a minute; above it in 1 of 3 blocks in a row
        ");
    }
}
