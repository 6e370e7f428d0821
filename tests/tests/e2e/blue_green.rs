//! Blue-green deployments under load, and the way back to what stands by.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    process::wait_until,
};
use serde_json::Value;

const GREEN: &str = "strategy = \"blue-green\"\nbake = \"200ms\"";

fn green(version: &str, more: &str) -> Sample {
    Sample::new(version).rollout(&format!("{GREEN}\n{more}"))
}

/// That the deployment tells how far apart its five hosts flipped in a stage, and that it is so: all agents read the clock of
/// this machine's one kernel, so that their own readings tell it exactly.
fn assert_flips(fleet: &Fleet, deployment: &Value, stage: u64) {
    let flips = deployment["flips"].as_array().unwrap();
    assert_eq!(flips.len(), 1, "{flips:?}");
    assert_eq!((&flips[0]["stage"], &flips[0]["hosts"]), (&stage.into(), &5.into()));
    let millis = |figure: &str| flips[0][figure].as_f64().unwrap() / 1e6;
    let (skew, give_or_take) = (millis("first_to_last_nanos"), millis("give_or_take_nanos"));
    let hosts = deployment["hosts"].as_array().unwrap();
    let logged = fleet.agents.iter().map(|agent| {
        let row = hosts.iter().find(|row| row["host"] == *agent.host).unwrap();
        let of_it = format!("instance={} ", row["new_instance"]["instance"].as_str().unwrap());
        let log = agent.log();
        let flip = log.lines().rfind(|line| line.contains(": flip ") && line.contains(&of_it)).unwrap();
        let (_, at) = flip.split_once(" at_nanos=").unwrap();
        at.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    let logged: Vec<u64> = logged.collect();
    let apart = (logged.iter().max().unwrap() - logged.iter().min().unwrap()) as f64 / 1e6;
    println!("told: {skew} ms ± {give_or_take} ms; by the kernel's clock: {apart} ms");
    assert!((skew - apart).abs() <= give_or_take, "told: {skew} ms ± {give_or_take} ms, it was {apart} ms");
    assert!(skew > 0.0 && give_or_take > 0.0 && give_or_take < 1_000.0, "{skew} ± {give_or_take}");
}

#[test]
fn five_hosts_flip_in_one_step_and_go_back_to_processes_that_never_ended() {
    let mut fleet = Fleet::of(5);
    fleet.push(&green("v1", "keep_warm = \"10m\""));
    fleet.deploy("v1").expect(0);
    let first = fleet.pids();
    let traffic = Traffic::on(&fleet);
    fleet.push(&green("v2", "keep_warm = \"10m\""));
    let done = fleet.deploy("v2").expect(0);
    let plan = &done.last()["plan"];
    assert_flips(&fleet, &done.last(), 1);
    assert_eq!((&plan["stages"][0]["share"], &plan["stages"][1]["at_once"]), (&0.into(), &true.into()));
    assert_eq!(fleet.versions(), ["v2"; 5]);
    let both = fleet.pids();
    assert!(both.iter().zip(&first).all(|(both, first)| both.len() == 2 && both.contains(&first[0])));

    let back = fleet.cli().run(["rollback", "web", "--yes", "--json"]).expect(0);
    assert_eq!(back.last()["plan"]["stages"].as_array().unwrap().len(), 1);
    assert_flips(&fleet, &back.last(), 0);
    // What is told of it stands in the journal, and also a server that is started again has it.
    fleet.server.restart();
    fleet.online(5);
    let told = fleet.cli().run(["watch", "web", "--json"]).expect(0).last();
    assert_eq!(told["flips"], back.last()["flips"]);
    for command in [&["watch", "web"][..], &["explain", "web"]] {
        let told = fleet.cli().run(command).expect(0).stdout;
        assert!(told.contains("5 hosts flipped within "), "{told}");
    }
    assert_eq!(fleet.versions(), ["v1"; 5]);
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.pids(), first, "something was started for the rollback, or left behind");
}

#[test]
fn nobody_sees_a_release_that_does_not_get_ready_on_one_of_the_hosts() {
    let fleet = Fleet::of(3);
    fleet.push(&green("v1", ""));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&fleet);
    // Ready on all hosts but that of this address.
    let unready = fleet.agents[1].address;
    let readiness = format!(
        "kind = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"[ \\\"$ADDRESS\\\" != {unready} ]\"]\ninterval = \"50ms\"\ndeadline = \"3s\""
    );
    let broken = green("v2", "").readiness(&readiness).more("[environment]\nADDRESS = \"{host.address}\"");
    fleet.push(&broken);
    let done = fleet.deploy("v2").expect(3);
    let reason = done.last()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(&fleet.agents[1].host) && reason.contains("not ready within"), "{reason}");
    let seen = traffic.stop();
    seen.assert_no_failures();
    assert!(seen.first_answer_of("v2").is_none(), "somebody saw the release");
}

#[test]
fn a_release_waits_for_its_promotion_over_a_crash_of_the_server() {
    let mut fleet = Fleet::of(2);
    fleet.push(&green("v1", ""));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&fleet);
    fleet.push(&green("v2", "approve = \"manual\""));
    let waits = fleet.deploy("v2").expect(4);
    assert_eq!(waits.last()["state"], "waits to be promoted");
    assert!(waits.last()["waiting"]["then"].as_str().unwrap().contains("handover promote web"));
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    fleet.server.kill();
    fleet.server.restart();
    fleet.online(2);
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    let promoted = fleet.cli().run(["promote", "web", "--json"]).expect(0);
    assert_eq!(promoted.last()["state"], "succeeded");
    assert_eq!(fleet.versions(), ["v2", "v2"]);
    // A second time there is nothing to promote, and that is said and no failure.
    let again = fleet.cli().run(["promote", "web"]);
    assert!(again.code != 0 && again.stderr.contains("has ended"), "{again:?}");
    traffic.stop().assert_no_failures();
}

#[test]
fn what_stands_by_ends_when_its_time_is_over_and_a_rollback_starts_it_again() {
    let fleet = Fleet::of(2);
    fleet.push(&green("v1", ""));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&fleet);
    fleet.push(&green("v2", "keep_warm = \"2s\""));
    fleet.deploy("v2").expect(0);
    assert!(fleet.pids().iter().all(|pids| pids.len() == 2), "{:?}", fleet.pids());
    wait_until(UP, "the former instances to end", || fleet.pids().iter().all(|pids| pids.len() == 1));
    assert_eq!(fleet.versions(), ["v2", "v2"]);
    fleet.cli().run(["rollback", "web", "--yes", "--json"]).expect(0);
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    traffic.stop().assert_no_failures();
}

#[test]
fn a_former_release_that_crashed_while_it_served_is_gone_back_to_all_the_same() {
    let fleet = Fleet::of(1);
    fleet.push(&green("v1", ""));
    fleet.deploy("v1").expect(0);
    let before = fleet.pids();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before[0][0]), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    wait_until(UP, "it to be started again", || {
        let now = fleet.pids();
        now[0].len() == 1 && now != before && fleet.versions() == ["v1"]
    });
    let restarted = fleet.pids();
    fleet.push(&green("v2", "keep_warm = \"10m\""));
    fleet.deploy("v2").expect(0);
    let traffic = Traffic::on(&fleet);
    fleet.cli().run(["rollback", "web", "--yes", "--json"]).expect(0);
    assert_eq!((fleet.versions(), fleet.pids()), (vec!["v1".to_owned()], restarted));
    traffic.stop().assert_no_failures();
}

#[test]
fn agents_and_server_killed_while_old_instances_stand_by_lose_neither_of_both() {
    let mut fleet = Fleet::of(2);
    fleet.push(&green("v1", "keep_warm = \"10m\""));
    fleet.deploy("v1").expect(0);
    let first = fleet.pids();
    let traffic = Traffic::on(&fleet);
    fleet.push(&green("v2", "keep_warm = \"10m\""));
    fleet.deploy("v2").expect(0);
    fleet.server.kill();
    for agent in &mut fleet.agents {
        agent.kill();
    }
    for agent in &mut fleet.agents {
        agent.start();
    }
    fleet.server.restart();
    fleet.online(2);
    assert_eq!(fleet.versions(), ["v2", "v2"]);
    fleet.cli().run(["rollback", "web", "--yes", "--json"]).expect(0);
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    assert_eq!(fleet.pids(), first, "the standby was started again");
    traffic.stop().assert_no_failures();
}
