//! Rolling plans: which hosts, in which order, in which batches.

use crate::{
    fleet::Settings,
    names::{host, old_placement, release, secs},
};
use handover_model::{HostName, Labels};
use handover_rollout::{BatchSize, OfflinePolicy, Placement, Plan, PlanError, PlanRequest, Rolling};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn request(hosts: usize) -> PlanRequest {
    Settings { hosts, ..Settings::default() }.request()
}

/// Batches of so many hosts.
fn rolling_by(request: &PlanRequest, hosts: u32) -> Result<Plan, PlanError> {
    handover_rollout::rolling(request, Rolling { batch: BatchSize::Hosts(hosts), bake: secs(5) })
}

fn rolling(request: &PlanRequest) -> Result<Plan, PlanError> {
    rolling_by(request, 1)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn batches(plan: &Plan) -> Vec<Vec<&str>> {
    plan.stages
        .iter()
        .map(|stage| stage.hosts.iter().map(|planned| planned.host.as_str()).collect())
        .collect()
}

#[test]
fn hosts_are_cut_into_batches_in_the_order_of_their_names() {
    let plan = rolling_by(&request(5), 2).unwrap();
    assert_eq!(batches(&plan), [vec!["h1", "h2"], vec!["h3", "h4"], vec!["h5"]]);
}

#[test]
fn a_percentage_is_rounded_up_and_at_least_one() {
    assert_eq!(BatchSize::Percent(25).of(5), 2);
    assert_eq!(BatchSize::Percent(1).of(5), 1);
    assert_eq!(BatchSize::Percent(100).of(5), 5);
    assert_eq!(BatchSize::Percent(200).of(5), 5);
    assert_eq!(BatchSize::Percent(0).of(5), 1);
    assert_eq!(BatchSize::Hosts(0).of(5), 1);
    assert_eq!(BatchSize::Hosts(9).of(5), 5);
}

#[test]
fn no_batch_mixes_two_zones_and_hosts_without_one_come_last() {
    let mut request = PlanRequest { order_by: Some("zone".to_owned()), ..request(6) };
    for (number, zone) in [(0, "b"), (1, "a"), (3, "b"), (4, "a"), (5, "a")] {
        request.hosts[number].labels = labels(&[("zone", zone)]);
    }
    let plan = rolling_by(&request, 2).unwrap();
    assert_eq!(batches(&plan), [vec!["h2", "h5"], vec!["h6"], vec!["h1", "h4"], vec!["h3"]]);
}

#[test]
fn only_hosts_with_the_labels_are_chosen() {
    let mut request = PlanRequest { labels: labels(&[("role", "web")]), ..request(3) };
    request.hosts[1].labels = labels(&[("role", "web"), ("zone", "a")]);
    request.hosts[2].labels = labels(&[("role", "db")]);
    assert_eq!(batches(&rolling(&request).unwrap()), [vec!["h2"]]);
}

#[test]
fn no_host_with_the_labels_is_an_error_that_names_them() {
    let request = PlanRequest { labels: labels(&[("role", "web")]), ..request(3) };
    let error = rolling(&request).unwrap_err();
    assert_eq!(
        error,
        PlanError::NoHosts {
            service: "web".parse().unwrap(),
            labels: labels(&[("role", "web")]),
            existing: 3
        }
    );
    let text = error.to_string();
    assert!(text.contains("role=web") && text.contains("3 hosts"), "{text}");
}

#[test]
fn a_host_that_was_asked_for_and_is_not_chosen_is_an_error() {
    let request = PlanRequest { only: BTreeSet::from([host(2), host(9)]), ..request(3) };
    let error = rolling(&request).unwrap_err();
    assert!(matches!(&error, PlanError::NotChosen { hosts, .. } if *hosts == [host(9)]), "{error:?}");
    let request = PlanRequest { only: BTreeSet::from([host(2)]), ..request };
    assert_eq!(batches(&rolling(&request).unwrap()), [vec!["h2"]]);
}

#[test]
fn hosts_that_are_left_out_are_named_with_the_reason() {
    let mut request = request(4);
    request.hosts[0].cordoned = true;
    request.hosts[1].runs = Some(Placement { release: release("2"), ..old_placement() });
    request.hosts[2].online = false;
    let plan = rolling(&request).unwrap();
    let reasons = ["cordoned", "runs it already", "offline"];
    let wanted: Vec<_> =
        (1..).zip(reasons).map(|(number, reason)| (host(number), reason.to_owned())).collect();
    assert_eq!(plan.skipped, wanted);
    assert_eq!(batches(&plan), [vec!["h4"]]);
}

#[test]
fn offline_hosts_stay_in_the_plan_where_they_are_waited_for() {
    let offline = OfflinePolicy::Wait { deadline: crate::names::secs(60) };
    let mut request = PlanRequest { offline, ..request(1) };
    request.hosts[0].online = false;
    assert_eq!(batches(&rolling(&request).unwrap()), [vec!["h1"]]);
}

#[test]
fn a_release_that_runs_everywhere_is_nothing_to_do_unless_forced() {
    let mut request = request(2);
    for host in &mut request.hosts {
        host.runs = Some(Placement { release: release("2"), ..old_placement() });
    }
    let error = rolling(&request).unwrap_err();
    assert!(matches!(&error, PlanError::NothingToDo { skipped, .. } if skipped.len() == 2), "{error:?}");
    assert_eq!(error.to_string(), "nothing to do for web 2: 2 hosts: runs it already");
    let forced = rolling(&PlanRequest { force: true, ..request.clone() }).unwrap();
    assert_eq!(batches(&forced), [vec!["h1"], vec!["h2"]]);
    request.hosts[1].gave_up = true;
    assert_eq!(batches(&rolling(&request).unwrap()), [vec!["h2"]], "what was given up does not run");
}

proptest! {
    #[test]
    fn every_chosen_host_is_in_exactly_one_batch_or_left_out(
        zones in proptest::collection::vec(proptest::option::of(0_u8..4), 1..40),
        cordoned in proptest::collection::vec(any::<bool>(), 40),
        percent in 0_u8..=100,
    ) {
        let mut request = PlanRequest { order_by: Some("zone".to_owned()), ..request(zones.len()) };
        let batches = Rolling { batch: BatchSize::Percent(percent), bake: secs(5) };
        for ((host, zone), cordoned) in request.hosts.iter_mut().zip(&zones).zip(&cordoned) {
            host.cordoned = *cordoned;
            host.labels = zone.iter().map(|zone| ("zone".to_owned(), zone.to_string())).collect();
        }
        let Ok(plan) = handover_rollout::rolling(&request, batches) else {
            prop_assert!(request.hosts.iter().all(|host| host.cordoned));
            return Ok(());
        };
        let changed = request.hosts.iter().filter(|host| !host.cordoned).count();
        let size = BatchSize::Percent(percent).of(changed);
        let mut named: Vec<_> = plan.skipped.iter().map(|(host, _)| host.clone()).collect();
        for stage in &plan.stages {
            prop_assert!(stage.hosts.len() <= size);
            let zone = |name: &HostName| {
                request.hosts.iter().find(|host| host.host == *name).unwrap().labels.get("zone").cloned()
            };
            let mixed: BTreeSet<_> = stage.hosts.iter().map(|planned| zone(&planned.host)).collect();
            prop_assert_eq!(mixed.len(), 1);
            named.extend(stage.hosts.iter().map(|planned| planned.host.clone()));
        }
        let all = named.len();
        prop_assert_eq!(named.into_iter().collect::<BTreeSet<_>>().len(), all);
        prop_assert_eq!(all, request.hosts.len());
    }
}
