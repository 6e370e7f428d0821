//! What the daemons tell of themselves: metrics, health, and log lines that can be searched.

use handover_tests::{
    exposition::Exposition,
    fleet::{Fleet, Sample},
    http,
    process::wait_until,
};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};

const SOON: Duration = Duration::from_secs(30);

fn metrics(address: SocketAddr) -> Exposition {
    let answer = http::get(address, "/metrics").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    Exposition::parse(&answer.body)
}

#[test]
fn metrics_of_server_and_agent_keep_the_conventions_and_count_what_happened() {
    let fleet = Fleet::of(2);
    for version in ["v1", "v2"] {
        fleet.push(&Sample::new(version));
        fleet.deploy(version).expect(0);
    }
    let server = metrics(fleet.server.metrics());
    assert_eq!(server.mistakes(), Vec::<String>::new());
    assert_eq!(server.value("handover_agents_connected", &[]), Some(2.0));
    assert_eq!(server.value("handover_fleet_answering", &[]), Some(1.0));
    assert_eq!(server.value("handover_sessions_opened_total", &[]), Some(2.0));
    assert_eq!(server.value("handover_deployments", &[("state", "running")]), Some(0.0));
    let ended = server.value("handover_deployments_ended_total", &[("outcome", "succeeded")]);
    assert_eq!(ended, Some(2.0));
    assert!(server.value("handover_store_commit_duration_seconds_count", &[]).unwrap() > 4.0);
    let created = [("method", "OperatorService/CreateDeployment"), ("code", "ok")];
    assert_eq!(server.value("handover_grpc_requests_total", &created), Some(2.0));
    assert!(server.value("handover_connections_accepted_total", &[("listener", "tls")]).unwrap() >= 4.0);

    let agent = metrics(fleet.agents[0].metrics());
    assert_eq!(agent.mistakes(), Vec::<String>::new());
    let web = [("service", "web")];
    let ready = [("service", "web"), ("phase", "ready")];
    assert_eq!(agent.value("handover_agent_instances", &ready), Some(1.0));
    assert!(agent.value("handover_agent_flips_total", &web).unwrap() >= 2.0);
    assert!(agent.value("handover_agent_flip_duration_seconds_sum", &[]).unwrap() < 1.0);
    assert_eq!(agent.value("handover_agent_session_connected", &[]), Some(1.0));
    let cut = [("service", "web"), ("how", "force_closed")];
    assert_eq!(agent.value("handover_agent_drain_connections_cut_total", &cut), Some(0.0));
    let expires = agent.value("handover_agent_certificate_expiry_timestamp_seconds", &[]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let days = (expires - now) / 86_400.0;
    assert!((29.0..=30.1).contains(&days), "{days} days");
}

#[test]
fn health_tells_of_the_session_and_an_agent_without_a_server_is_healthy() {
    let mut fleet = Fleet::of(1);
    let server = http::get(fleet.server.metrics(), "/healthz").unwrap();
    assert_eq!((server.status, server.body.as_str()), (200, "ok: 1 of 1 agents connected\n"));
    let told = |fleet: &Fleet| http::get(fleet.agents[0].metrics(), "/healthz").unwrap();
    let agent = told(&fleet);
    assert_eq!((agent.status, agent.body.as_str()), (200, "ok: connected, 0 instances\n"));
    fleet.server.kill();
    wait_until(SOON, "the agent to tell that it has no session", || {
        let agent = told(&fleet);
        assert_eq!(agent.status, 200, "{}", agent.body);
        agent.body.contains("no session with the server")
    });
}

/// The lines of a log, each of which must be JSON but the ones that say that a daemon is ready.
fn lines(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| !line.starts_with("handover"));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn spans_have(line: &Value, key: &str, value: &str) -> bool {
    line["spans"].as_array().is_some_and(|spans| spans.iter().any(|span| span[key] == value))
}

#[test]
fn every_line_of_a_deployments_step_carries_deployment_host_and_service() {
    let mut fleet = Fleet::of(1);
    let json = [("HANDOVER_LOG_FORMAT", "json")];
    fleet.server.restart_with(&json);
    fleet.agents[0].start_with(&json);
    fleet.online(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let host = fleet.agents[0].host.clone();

    let server = lines(&fleet.server.log());
    let moves: Vec<&Value> = server.iter().filter(|line| line["message"] == "host moves").collect();
    assert!(moves.len() >= 3, "{server:#?}");
    for line in moves {
        for (key, value) in [("deployment", "d1"), ("host", host.as_str()), ("service", "web")] {
            assert!(spans_have(line, key, value), "{key} is missing: {line}");
        }
    }
    let agent = lines(&fleet.agents[0].log());
    for message in ["started", "ready"] {
        let line = agent.iter().find(|line| line["message"] == message).unwrap();
        let fields = [("deployment", "d1"), ("host", &host), ("service", "web"), ("instance", "web-d1")];
        for (key, value) in fields {
            assert!(spans_have(line, key, value), "{key} is missing: {line}");
        }
    }
    let hosts = agent.iter().filter(|line| !spans_have(line, "host", &host));
    assert_eq!(hosts.count(), 0, "a line of the agent's without its host: {agent:#?}");
}
