//! kill -9 of the server, of an agent, of both, and of the live instance, in the middle of everything.

use handover_proto::v1::{Deployment, GetDeploymentRequest, operator_service_client::OperatorServiceClient};
use handover_tests::{
    fleet::{Fleet, Sample, Traffic},
    http,
    process::wait_until,
};
use std::time::Duration;

/// Points of a deployment at which something is killed: after so many snapshots of it.
const POINTS: usize = 10;

/// Deploys once for each point, kills then, and looks at what became of it.
fn killed_at_each_point(kill: impl Fn(&mut Fleet, usize)) {
    let mut fleet = Fleet::of(2);
    // An agent that is killed is offline for a moment; the plan says that such a host is waited for.
    let release = |version: &str| Sample::new(version).rollout("bake = \"200ms\"\noffline = \"wait\"");
    fleet.push(&release("v0"));
    fleet.deploy("v0").expect(0);
    let traffic = Traffic::on(&fleet);
    for point in 1..=POINTS {
        let version = format!("v{point}");
        fleet.push(&release(&version));
        let deploying = fleet.begin(&version);
        deploying.until_snapshots(point);
        kill(&mut fleet, point);
        let done = deploying.end().expect(0);
        assert_eq!(done.last()["state"], "succeeded", "killed at point {point}");
        assert_eq!(fleet.versions(), [version.as_str(), version.as_str()], "killed at point {point}");
        fleet.one_instance_each(point);
    }
    let seen = traffic.stop();
    seen.assert_no_failures();
    println!("{seen}");

    let live = told(&fleet);
    fleet.server.restart();
    fleet.online(2);
    assert_eq!(live, told(&fleet), "replay equals live");
}

/// Every deployment with its plan, its hosts' states, reasons and ledgers, as the server tells them; without what only
/// a running server knows: the last reports, who is online, and the count of views.
fn told(fleet: &Fleet) -> Vec<Deployment> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = handover_identity::connect_unix(&fleet.server.socket()).await.unwrap();
        let mut client = OperatorServiceClient::new(channel);
        let mut all = Vec::new();
        for id in 1..=POINTS as u64 + 1 {
            let request = GetDeploymentRequest { id, service: "web".to_owned() };
            let mut deployment = client.get_deployment(request).await.unwrap().into_inner();
            assert_eq!(deployment.hosts.len(), 2);
            deployment.revision = 0;
            for host in &mut deployment.hosts {
                host.online = false;
                host.new_instance = None;
                host.old_instance = None;
            }
            all.push(deployment);
        }
        all
    })
}

#[test]
fn a_killed_server_goes_on_with_the_deployment_where_it_was() {
    killed_at_each_point(|fleet, _| fleet.server.restart());
}

#[test]
fn a_killed_agent_adopts_what_runs_and_the_deployment_goes_on() {
    killed_at_each_point(|fleet, point| {
        let host = point % 2;
        fleet.agents[host].kill();
        fleet.agents[host].start();
    });
}

#[test]
fn server_and_agents_killed_together_go_on() {
    killed_at_each_point(|fleet, _| {
        fleet.server.kill();
        for agent in &mut fleet.agents {
            agent.kill();
        }
        for agent in &mut fleet.agents {
            agent.start();
        }
        fleet.server.restart();
    });
}

#[test]
fn losing_the_server_stops_nothing() {
    let mut fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let pids = fleet.agents[0].pids();
    let traffic = Traffic::on(&fleet);
    fleet.server.kill();
    // Also an agent that starts without a server goes on with what it has.
    fleet.agents[0].kill();
    fleet.agents[0].start();
    traffic.go_on_for(2_000);
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.agents[0].pids(), pids, "an instance was started again");
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn a_killed_live_instance_is_started_again_on_its_sockets_and_refuses_nobody() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each(&fleet);
    for kill in 1..=5 {
        let before = fleet.agents[0].pids();
        traffic.go_on_for(300);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(before[0]), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        wait_until(Duration::from_secs(20), &format!("kill {kill} to be survived"), || {
            let now = fleet.agents[0].pids();
            now.len() == 1 && now != before && http::version(fleet.addresses()[0]) == "v1"
        });
    }
    let seen = traffic.stop();
    println!("{seen}");
    // What it was working on is lost (reset or cut), nothing else: nobody is refused, nobody waits in vain.
    seen.assert_lost_only_what_was_being_worked_on(5);
}

#[test]
fn a_killed_agent_leaves_connections_alone() {
    let mut fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let pids = fleet.agents[0].pids();
    let traffic = Traffic::on(&fleet);
    for _ in 0..5 {
        fleet.agents[0].kill();
        traffic.go_on_for(200);
        fleet.agents[0].start();
        fleet.online(1);
        traffic.go_on_for(200);
    }
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.agents[0].pids(), pids);
}
