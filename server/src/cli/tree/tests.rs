//! Trees as they are drawn: small and large fleets, narrow and low terminals, with and without colour.

use super::*;
use handover_proto::v1::{
    DeploymentHost, DeploymentState, InstancePhase, InstanceReport, Lock, Plan, PlanStage, Service,
    ServiceHost, Wait,
};

const NOW: u64 = 1_000_000;

fn look(width: usize, height: usize) -> Look {
    Look { width, height, now: NOW, colour: false, unicode: true }
}

/// As an agent reports it: of one that no client was ever on no connections are counted.
fn instance(
    name: &str,
    version: &str,
    phase: InstancePhase,
    share: u32,
    connections: impl Into<Option<u64>>,
) -> InstanceReport {
    InstanceReport {
        instance: name.into(),
        service: "web".into(),
        version: version.into(),
        phase: phase.into(),
        share,
        connections: connections.into(),
        ..InstanceReport::default()
    }
}

fn wait(what: &str, left: u64, then: &str) -> Option<Wait> {
    let until_unix_millis = if left == 0 { 0 } else { NOW + left };
    Some(Wait { what: what.into(), since_unix_millis: NOW - 3_000, until_unix_millis, then: then.into() })
}

fn host(number: usize, stage: u32, state: &str) -> DeploymentHost {
    DeploymentHost {
        host: format!("h{number:03}"),
        stage,
        state: state.into(),
        online: true,
        attempt: 1,
        from_version: "1.4.1".into(),
        ..DeploymentHost::default()
    }
}

fn done(number: usize, stage: u32) -> DeploymentHost {
    let new = instance("web-d7", "1.4.2", InstancePhase::Ready, 10_000, 12);
    DeploymentHost { new_instance: Some(new), ..host(number, stage, "done") }
}

fn starting(number: usize, stage: u32) -> DeploymentHost {
    DeploymentHost {
        waiting: wait("web-d7 to become ready (starting)", 42_000, "it counts as failed and goes back"),
        new_instance: Some(instance("web-d7", "1.4.2", InstancePhase::Starting, 0, None)),
        old_instance: Some(instance("web-d6", "1.4.1", InstancePhase::Ready, 10_000, 1)),
        ..host(number, stage, "starting")
    }
}

fn pending(number: usize, stage: u32) -> DeploymentHost {
    let then = "a host that is late counts as failed, and every touched host goes back";
    DeploymentHost {
        waiting: wait("its turn in batch 3 of 3; now batch 2 of 3", 42_000, then),
        old_instance: Some(instance("web-d6", "1.4.1", InstancePhase::Ready, 10_000, 4)),
        ..host(number, stage, "pending")
    }
}

fn deployment(hosts: Vec<DeploymentHost>, stages: u32, stage: u32) -> Deployment {
    let planned = PlanStage { share: 10_000, bake_millis: 30_000, ..PlanStage::default() };
    Deployment {
        id: 7,
        service: "web".into(),
        version: "1.4.2".into(),
        created_by: "ada".into(),
        state: DeploymentState::Running.into(),
        stage,
        plan: Some(Plan { stages: (0..stages).map(|_| planned.clone()).collect(), ..Plan::default() }),
        waiting: wait(
            "batch 2 of 3: 1 starting",
            42_000,
            "a host that is late counts as failed, and every touched host goes back",
        ),
        hosts,
        ..Deployment::default()
    }
}

fn small() -> Deployment {
    deployment(vec![done(1, 0), starting(2, 1), pending(3, 2)], 3, 1)
}

/// 400 hosts in 4 stages of 100: the first is done, in the second ten start, one failed and two are offline.
fn large() -> Deployment {
    let mut hosts: Vec<DeploymentHost> = (0..100).map(|number| done(number, 0)).collect();
    hosts.push(DeploymentHost {
        reason: "h100: web-d7: not ready within 5s: GET /ready answered 503".into(),
        ..host(100, 1, "returned")
    });
    hosts.extend((101..111).map(|number| starting(number, 1)));
    hosts.extend((111..113).map(|number| DeploymentHost {
        online: false,
        waiting: wait("the host to come online", 600_000, "it counts as failed, untouched"),
        ..host(number, 1, "offline")
    }));
    hosts.extend((113..200).map(|number| pending(number, 1)));
    hosts.extend((200..300).map(|number| pending(number, 2)));
    hosts.extend((300..400).map(|number| pending(number, 3)));
    deployment(hosts, 4, 1)
}

fn drawn(lines: &[String]) -> String {
    lines.join("\n")
}

#[test]
fn a_small_deployment_shows_stages_hosts_instances_shares_and_connections() {
    insta::assert_snapshot!(drawn(&of_deployment(&small(), look(100, 40))));
}

#[test]
fn a_narrow_terminal_cuts_lines_and_loses_none() {
    insta::assert_snapshot!(drawn(&of_deployment(&small(), look(40, 40))));
}

#[test]
fn a_terminal_that_knows_ascii_only_gets_ascii_only() {
    let lines = of_deployment(&small(), Look { unicode: false, ..look(100, 40) });
    assert!(lines.iter().all(|line| line.is_ascii()));
    insta::assert_snapshot!(drawn(&lines));
}

#[test]
fn a_large_deployment_counts_what_is_calm_and_shows_what_moves_or_failed() {
    insta::assert_snapshot!(drawn(&of_deployment(&large(), look(120, 50))));
}

#[test]
fn a_large_deployment_on_a_usual_terminal() {
    insta::assert_snapshot!(drawn(&of_deployment(&large(), look(80, 24))));
}

#[test]
fn a_large_deployment_on_a_low_terminal() {
    insta::assert_snapshot!(drawn(&of_deployment(&large(), look(80, 8))));
}

#[test]
fn a_paused_deployment_says_what_each_command_does() {
    let paused = Deployment {
        state: DeploymentState::Paused.into(),
        reason: "paused by bob: lunch".into(),
        waiting: wait(
            "a person: paused by bob: lunch",
            0,
            "nothing by itself: `handover resume web` goes on, `handover abort web` takes every touched host back",
        ),
        ..small()
    };
    insta::assert_snapshot!(drawn(&of_deployment(&paused, look(160, 40))));
}

fn status() -> (ListServicesResponse, BTreeMap<u64, Deployment>) {
    let resting = |number: usize, online: bool| ServiceHost {
        host: format!("h{number:03}"),
        online,
        version: "1.4.1".into(),
        instances: vec![instance("web-d6", "1.4.1", InstancePhase::Ready, 10_000, 4)],
        ..ServiceHost::default()
    };
    let held = Lock {
        owner: "ada".into(),
        reason: "schema work".into(),
        until_unix_millis: NOW + 2_520_000,
        ..Lock::default()
    };
    let web = Service {
        name: "web".into(),
        version: "1.4.1".into(),
        previous_version: "1.4.0".into(),
        deployment: Some(7),
        hosts: (1..=5).map(|number| resting(number, true)).collect(),
        lock: Some(held),
        ..Service::default()
    };
    let api = Service {
        name: "api".into(),
        version: "1.4.1".into(),
        no_rollback: "there is no release before the current one".into(),
        hosts: vec![resting(1, true), resting(2, false)],
        ..Service::default()
    };
    let services = ListServicesResponse { services: vec![api, web], ..ListServicesResponse::default() };
    (services, BTreeMap::from([(7, small())]))
}

#[test]
fn services_show_their_lock_their_deployment_and_the_hosts_that_it_does_not_touch() {
    let (services, deployments) = status();
    insta::assert_snapshot!(drawn(&of_services(&services, &deployments, look(120, 60))));
}

#[test]
fn services_on_a_low_terminal() {
    let (services, deployments) = status();
    insta::assert_snapshot!(drawn(&of_services(&services, &deployments, look(80, 12))));
}

#[test]
fn colours_only_repeat_what_signs_and_words_say() {
    let (services, deployments) = status();
    let plain = of_services(&services, &deployments, look(120, 60));
    let coloured = of_services(&services, &deployments, Look { colour: true, ..look(120, 60) });
    assert!(coloured.iter().any(|line| line.contains("\x1b[32m")));
    let stripped: Vec<_> = coloured.iter().map(|line| without_colours(line)).collect();
    assert_eq!(stripped, plain);
    assert!(!drawn(&plain).contains('\x1b'));
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.filter_map(|part| part.split_once('m')).map(|(_, rest)| rest).collect::<String>()
}

#[test]
fn no_tree_is_wider_or_higher_than_the_terminal() {
    let (services, deployments) = status();
    for width in [20, 33, 80, 200] {
        for height in [3, 5, 10, 24, 100] {
            for lines in [
                of_deployment(&small(), look(width, height)),
                of_deployment(&large(), look(width, height)),
                of_services(&services, &deployments, look(width, height)),
            ] {
                assert!(lines.len() <= height, "{} lines of {height}", lines.len());
                for line in &lines {
                    assert!(measure_text_width(line) <= width, "{line:?} is wider than {width}");
                }
            }
        }
    }
}

#[test]
fn ten_thousand_hosts_are_drawn_within_a_blink() {
    let hosts = (0..10_000).map(|number| pending(number, u32::try_from(number / 100).unwrap())).collect();
    let deployment = deployment(hosts, 100, 1);
    let began = std::time::Instant::now();
    let lines = of_deployment(&deployment, look(80, 24));
    assert!(lines.len() <= 24);
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
}
