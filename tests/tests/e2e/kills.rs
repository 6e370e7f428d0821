//! kill -9 of the server, of an agent and of both at every stage of a blue-green deployment, of the rollback to what stands
//! by, and of a rehearsal: under load no request fails, everything ends as it should, and nothing is left behind.

use handover_tests::{
    fleet::{Deploying, Fleet, Sample, Traffic},
    http,
};
use serde_json::Value;
use std::{net::SocketAddr, thread};

/// Longer than it takes a killed agent to come back, so that what was killed while it held is still there then.
const HOLDS: &str = "9s";
const GREEN: &str =
    "strategy = \"blue-green\"\nbake = \"2s\"\napprove = \"manual\"\nkeep_warm = \"10m\"\noffline = \"wait\"";

/// Who is killed, and started again.
#[derive(Clone, Copy, Debug)]
enum Killed {
    Server,
    Agent,
    Both,
}

impl Killed {
    /// Kills at one of the points; the hosts in turn.
    fn at(self, fleet: &mut Fleet, points: &mut Vec<&'static str>, point: &'static str) {
        let host = points.len() % fleet.agents.len();
        points.push(point);
        if matches!(self, Self::Server | Self::Both) {
            fleet.server.kill();
        }
        if matches!(self, Self::Agent | Self::Both) {
            fleet.agents[host].kill();
            fleet.agents[host].start();
        }
        if matches!(self, Self::Server | Self::Both) {
            fleet.server.restart();
        }
    }
}

/// Follows a deployment that was begun in the background.
fn follow(fleet: &Fleet, id: &str) -> Deploying {
    fleet.begin_with(&format!("watch-{id}"), &["watch", id, "--json"])
}

/// Begins something and leaves it alone; its number.
fn begun(fleet: &Fleet, args: &[&str]) -> String {
    let args = [args, &["--yes", "--detach", "--json"]].concat();
    fleet.cli().run(args).expect(0).last()["id"].as_str().unwrap().to_owned()
}

/// A request on each host that holds up whatever serves it, so that finishing connections takes its time.
fn slow_requests(fleet: &Fleet) -> Vec<thread::JoinHandle<u16>> {
    let ask =
        |address: SocketAddr| thread::spawn(move || http::get(address, "/sleep?ms=4000").unwrap().status);
    let asked: Vec<_> = fleet.addresses().into_iter().map(ask).collect();
    (0..fleet.agents.len()).for_each(|host| fleet.until_requests(host, 1));
    asked
}

fn answered(asked: Vec<thread::JoinHandle<u16>>) {
    for request in asked {
        assert_eq!(request.join().unwrap(), 200, "a slow request was cut");
    }
}

/// A blue-green deployment and the rollback of it, killed at each point of both.
fn blue_green(killed: Killed) {
    let mut fleet = Fleet::of(2);
    let release = |version: &str| Sample::new(version).rollout(GREEN);
    fleet.push(&release("v1").rollout(&GREEN.replace("\"manual\"", "\"auto\"")));
    fleet.deploy("v1").expect(0);
    let first = fleet.pids();
    let traffic = Traffic::on(&fleet);
    let mut points = Vec::new();
    fleet.push(&release("v2").flag("--ready-after 2s"));

    let id = begun(&fleet, &["deploy", "web", "--version", "v2"]);
    let deploying = follow(&fleet, &id);
    deploying.until_a_host_is(&["starting"]);
    killed.at(&mut fleet, &mut points, "hidden candidates start");
    assert_eq!(deploying.end().expect(4).last()["state"], "waits to be promoted");
    killed.at(&mut fleet, &mut points, "it waits for approval");
    fleet.online(2);
    assert_eq!(fleet.versions(), ["v1"; 2]);
    // Answered once it is durable: the flip is being ordered in this moment.
    fleet.cli().run(["promote", "web", "--detach"]).expect(0);
    killed.at(&mut fleet, &mut points, "all hosts flip");
    let flipping = follow(&fleet, &id);
    fleet.until_versions(&["v2", "v2"]);
    flipping.until_a_host_is(&["baking"]);
    killed.at(&mut fleet, &mut points, "it bakes");
    let done = flipping.end().expect(0);
    assert_eq!(done.last()["state"], "succeeded", "{points:?}");
    killed.at(&mut fleet, &mut points, "the former instances stand by");
    fleet.online(2);
    assert_eq!(fleet.versions(), ["v2"; 2]);
    let both = fleet.pids();
    assert!(
        both.iter().zip(&first).all(|(both, first)| both.len() == 2 && both.contains(&first[0])),
        "{both:?}"
    );

    let asked = slow_requests(&fleet);
    let id = begun(&fleet, &["rollback", "web"]);
    killed.at(&mut fleet, &mut points, "it flips back to what stands by");
    let returning = follow(&fleet, &id);
    returning.until_a_host_is(&["retiring"]);
    killed.at(&mut fleet, &mut points, "the newer instances finish their connections");
    assert_eq!(returning.end().expect(0).last()["state"], "succeeded", "{points:?}");
    answered(asked);
    fleet.online(2);
    assert_eq!(fleet.versions(), ["v1"; 2]);
    assert_eq!(fleet.pids(), first, "what stood by was started again, or something was left behind");
    fleet.one_instance_each(points.len());
    traffic.stop().assert_no_failures();
    println!("{killed:?} killed while: {}", points.join("; "));
}

#[test]
fn a_server_killed_at_every_point_of_blue_green_and_its_rollback() {
    blue_green(Killed::Server);
}

#[test]
fn agents_killed_at_every_point_of_blue_green_and_its_rollback() {
    blue_green(Killed::Agent);
}

#[test]
fn server_and_agents_killed_at_every_point_of_blue_green_and_its_rollback() {
    blue_green(Killed::Both);
}

/// A host's release, what a rollback goes back to, and what runs.
fn state(fleet: &Fleet) -> (Value, Value, Vec<Vec<i32>>) {
    let status = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
    (status["version"].clone(), status["previous_version"].clone(), fleet.pids())
}

/// A rehearsal, killed at each point of it.
fn rehearsal(killed: Killed) {
    let mut fleet = Fleet::of(1);
    for version in ["v0", "v1"] {
        fleet.push(&Sample::new(version));
        fleet.deploy(version).expect(0);
    }
    let before = state(&fleet);
    let traffic = Traffic::on(&fleet);
    let mut points = Vec::new();
    fleet.push(&Sample::new("v2").flag("--ready-after 2s"));
    let id = begun(&fleet, &["rehearse", "web", "--release", "v2", "--for", HOLDS]);
    let rehearsing = follow(&fleet, &id);
    rehearsing.until_a_host_is(&["starting"]);
    killed.at(&mut fleet, &mut points, "the release starts hidden");
    rehearsing.until_a_host_is(&["shifting", "baking"]);
    killed.at(&mut fleet, &mut points, "it flips to the release");
    fleet.until_version(0, "v2");
    killed.at(&mut fleet, &mut points, "the release has everything");
    fleet.until_version(0, "v2");
    let asked = slow_requests(&fleet);
    rehearsing.until_a_host_is(&["returning"]);
    killed.at(&mut fleet, &mut points, "it flips back");
    fleet.until_version(0, "v1");
    killed.at(&mut fleet, &mut points, "the release finishes its connections");
    let done = rehearsing.end().expect(0).last();
    assert_eq!(done["rehearsal"]["succeeded"], true, "{points:?}: {done}");
    answered(asked);
    fleet.online(1);
    assert_eq!(fleet.versions(), ["v1"]);
    assert_eq!(state(&fleet), before, "something of the rehearsal stayed");
    fleet.one_instance_each(points.len());
    traffic.stop().assert_no_failures();
    println!("{killed:?} killed while: {}", points.join("; "));
}

#[test]
fn a_server_killed_at_every_point_of_a_rehearsal() {
    rehearsal(Killed::Server);
}

#[test]
fn an_agent_killed_at_every_point_of_a_rehearsal() {
    rehearsal(Killed::Agent);
}

#[test]
fn server_and_agent_killed_at_every_point_of_a_rehearsal() {
    rehearsal(Killed::Both);
}
