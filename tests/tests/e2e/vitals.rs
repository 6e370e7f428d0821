//! What the daemons tell of themselves: metrics, health, and log lines that can be searched.

use handover_tests::{
    exposition::Exposition,
    fleet::{Fleet, Sample, Traffic},
    http,
    process::{Running, wait_until},
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
    agents_lines_carry_all(&fleet.agents[0].log(), &host, &["started", "ready", "flip"]);
    fleet.agents[0].start_with(&json);
    fleet.online(1);
    agents_lines_carry_all(&fleet.agents[0].log(), &host, &["taken over"]);
}

/// Expects these messages about instance web-d1, each with all that it can be searched by, and no line without the host.
#[track_caller]
fn agents_lines_carry_all(log: &str, host: &str, messages: &[&str]) {
    let agent = lines(log);
    for message in messages {
        let found: Vec<&Value> = agent.iter().filter(|line| line["message"] == *message).collect();
        assert!(!found.is_empty(), "no {message}: {agent:#?}");
        let fields = [("deployment", "d1"), ("host", host), ("service", "web"), ("instance", "web-d1")];
        for (line, (key, value)) in found.iter().flat_map(|line| fields.map(|field| (line, field))) {
            assert!(spans_have(line, key, value), "{key} is missing: {line}");
        }
    }
    let hosts = agent.iter().filter(|line| !spans_have(line, "host", host));
    assert_eq!(hosts.count(), 0, "a line of the agent's without its host: {agent:#?}");
}

#[test]
fn status_counts_the_connections_of_the_live_instance_and_follows_them_at_a_slow_pace() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let address = fleet.addresses()[0];
    let mut clients: Vec<http::Connection> =
        (0..7).map(|_| http::Connection::open(address).unwrap()).collect();
    let counted = |expected: u64, clients: &mut Vec<http::Connection>| {
        wait_until(SOON, &format!("{expected} connections in the status"), || {
            // Used now and then, as a client does that keeps its connection.
            clients.iter_mut().for_each(|client| assert_eq!(client.get("/").unwrap().status, 200));
            let status = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
            connections(&status) == Some(expected)
        });
    };
    counted(7, &mut clients);
    clients.truncate(2);
    counted(2, &mut clients);

    let watch = fleet.cli().command(["status", "web", "--watch", "--json"]);
    let mut watch = Running::start_command(fleet.folder.path(), "watch", watch);
    let numbers = |watch: &Running| {
        let mut numbers: Vec<u64> = whole_lines(&watch.stdout()).iter().filter_map(connections).collect();
        numbers.dedup();
        numbers
    };
    wait_until(SOON, "the watch to begin", || !numbers(&watch).is_empty());
    let traffic = Traffic::on(&fleet);
    let began = std::time::Instant::now();
    wait_until(SOON, "a number under load", || numbers(&watch).len() >= 2);
    traffic.go_on_for(6_000);
    let (seen, seconds) = (numbers(&watch), began.elapsed().as_secs());
    assert!(seen.len() as u64 <= seconds / 2 + 3, "{seen:?} in {seconds} s");
    traffic.stop().assert_no_failures();
    assert!(watch.is_running());
    watch.terminate(SOON);
}

/// The connections of the only instance.
fn connections(status: &Value) -> Option<u64> {
    status["hosts"][0]["instances"][0]["connections"].as_u64()
}

/// The JSON lines that are written to their ends.
fn whole_lines(text: &str) -> Vec<Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
