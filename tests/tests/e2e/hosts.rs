//! What can become of a host and its identity: docs/hosts.md has the table.

use handover_tests::{
    clock::shifted,
    fleet::{Agent, Fleet, Sample, Traffic, UP},
    process::wait_until,
};
use serde_json::Value;
use std::fs;

fn shown(fleet: &Fleet, host: &str) -> Value {
    fleet.cli().run(["hosts", "show", host, "--json"]).expect(0).last()
}

/// The name of the agent's credentials that count; another one after each renewal.
fn generation(fleet: &Fleet, letter: char) -> Option<std::path::PathBuf> {
    fs::read_link(fleet.path(format!("host-{letter}/state/identity/current"))).ok()
}

/// Waits until the agent has renewed its certificate so many times more.
fn renewals(fleet: &Fleet, letter: char, count: usize) {
    for renewal in 1..=count {
        let before = generation(fleet, letter);
        wait_until(UP, &format!("renewal {renewal} of host {letter}"), || {
            generation(fleet, letter) != before
        });
    }
}

#[test]
fn certificates_of_agent_and_server_renew_under_load_without_a_restart_or_a_lost_session() {
    let mut fleet =
        Fleet::with_server_and(&["--agent-certificate-life", "15s", "--server-certificate-life", "15s"]);
    fleet.add_host();
    fleet.online(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let (pids, began) = (fleet.agents[0].pids(), fleet.server.log().matches("session begins").count());
    let traffic = Traffic::on(&fleet);
    renewals(&fleet, 'a', 2);
    wait_until(UP, "two renewals of the server", || {
        fleet.server.log().matches("the server's certificate is renewed").count() >= 2
    });
    // A bundle is fetched on the session's connection, whose certificate is two renewals old.
    fleet.push(&Sample::new("v2"));
    fleet.deploy("v2").expect(0);
    assert_eq!(fleet.server.log().matches("session begins").count(), began, "the session was lost");
    assert_eq!(fleet.agents[0].log().matches("no session").count(), 0);
    let host = shown(&fleet, &fleet.agents[0].host);
    assert!(host["certificate_issued"].as_u64().unwrap() > 0 && host["clone"].is_null(), "{host}");
    traffic.stop().assert_no_failures();
    assert_ne!(fleet.agents[0].pids(), pids);
}

#[test]
fn an_agent_killed_at_any_moment_of_its_renewals_comes_back() {
    let mut fleet = Fleet::with_server_and(&["--agent-certificate-life", "15s"]);
    fleet.add_host();
    fleet.online(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::one_connection_each(&fleet);
    for round in 0..4_u64 {
        // Killed the moment that the new key's folder is there, a little later each time.
        let identity = fleet.path("host-a/state/identity");
        let count = || fs::read_dir(&identity).unwrap().count();
        let (usual, before) = (count(), generation(&fleet, 'a'));
        wait_until(UP, "a renewal to begin", || count() > usual || generation(&fleet, 'a') != before);
        traffic.go_on_for(round * 3);
        fleet.agents[0].kill();
        fleet.agents[0].start();
        wait_until(UP, &format!("round {round}: a session after the kill"), || {
            fleet.agents[0].log().contains("session server=")
        });
        assert!(!fleet.agents[0].log().contains("not enrolled"), "{}", fleet.agents[0].log());
    }
    fleet.online(1);
    traffic.stop().assert_no_failures();
}

#[test]
fn an_agent_that_slept_past_the_end_of_its_certificate_says_what_to_do_and_takes_the_new_one_by_itself() {
    let mut fleet = Fleet::with_server_and(&["--agent-certificate-life", "10s"]);
    fleet.add_host();
    fleet.online(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let (host, pids) = (fleet.agents[0].host.clone(), fleet.agents[0].pids());
    let traffic = Traffic::one_connection_each(&fleet);
    fleet.agents[0].kill();
    fleet.offline(0);
    wait_until(UP, "the certificate to end", || {
        let listed = fleet.cli().run(["hosts", "list"]).expect(0).stdout;
        listed.contains(&format!("host {host}: its certificate ended"))
    });
    fleet.agents[0].start();
    wait_until(UP, "the agent to say what to do", || {
        let log = fleet.agents[0].log();
        log.contains(&format!("handover token create --host {host}")) && log.contains("handover-agent join")
    });
    assert_eq!(fleet.agents[0].pids(), pids, "it goes on with what runs");
    let address = fleet.server.address();
    let token = fleet.cli().run(["token", "create", "--host", &host, "--address", &address]).expect(0).stdout;
    let joined = fleet.agents[0].join_command(token.trim()).args(["--label", "zone=a"]).output().unwrap();
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    fleet.online(1);
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.agents[0].pids(), pids);
}

#[test]
fn a_copy_of_a_host_is_refused_with_an_alarm_and_the_host_goes_on() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let host = fleet.agents[0].host.clone();
    // Its certificate says who it is; the other name in its configuration keeps it from this host's cgroups.
    let mut copy = fleet.agents[0].impostor(&format!("{host}-copy"), &fleet.path("copy"));
    copy.start();
    wait_until(UP, "the alarm", || !shown(&fleet, &host)["clone"].is_null());
    wait_until(UP, "the copy to be told", || copy.log().contains("another agent that says it is host"));
    assert!(copy.pids().is_empty(), "the copy runs something");
    let alarm = shown(&fleet, &host)["clone"].clone();
    assert!(alarm["from"].as_str().unwrap().starts_with("127.0.0.1:"), "{alarm}");
    assert!(fleet.cli().run(["hosts"]).expect(0).stdout.contains("ALARM"));
    assert_eq!(fleet.server.log().matches("session begins").count(), 1, "the host lost its session");
    // The host itself may start again at once, whoever else tries.
    copy.kill();
    fleet.cli().run(["hosts", "acknowledge", &host]).expect(0);
    assert!(shown(&fleet, &host)["clone"].is_null());
    assert_eq!(shown(&fleet, &host)["online"], true);
}

#[test]
fn hosts_show_their_version_disk_and_what_the_gate_needs() {
    let fleet = Fleet::of(1);
    let host = shown(&fleet, &fleet.agents[0].host);
    let facts = &host["facts"];
    assert!(facts["disk_free"].as_u64().unwrap() > 0, "{host}");
    assert!(facts["disk_total"].as_u64() > facts["disk_free"].as_u64(), "{host}");
    assert!(["cgroup", "process group", "scope"].iter().any(|word| facts["containment"] == *word), "{host}");
    assert!(
        !host["kernel"].as_str().unwrap().is_empty() && !host["agent_version"].as_str().unwrap().is_empty()
    );
    let listed = fleet.cli().run(["hosts"]).expect(0).stdout;
    assert!(listed.contains("tcp_migrate_req") && listed.contains("DISK FREE"), "{listed}");
}

#[test]
fn a_host_that_was_imaged_anew_joins_with_a_token_for_it_and_gets_its_services_again() {
    let mut fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let host = fleet.agents[0].host.clone();
    let address = fleet.agents[0].address;
    // The machine is gone with everything on it.
    drop(fleet.agents.remove(0));
    fs::remove_dir_all(fleet.path("host-a")).unwrap();
    wait_until(UP, "the host to be offline", || shown(&fleet, &host)["online"] == false);
    let server = fleet.server.address();
    let token = fleet.cli().run(["token", "create", "--host", &host, "--address", &server]).expect(0).stdout;
    let again = Agent::join(&host, address, &fleet.path("host-a"), token.trim(), "zone=a");
    fleet.agents.push(again);
    fleet.until_versions(&["v1"]);
    assert!(shown(&fleet, &host)["clone"].is_null());
}

#[test]
fn a_host_that_returns_after_two_releases_catches_up_by_itself() {
    let mut fleet = Fleet::of(2);
    let release = |version: &str| Sample::new(version).rollout("bake = \"200ms\"\noffline = \"skip\"");
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    fleet.agents[1].kill();
    fleet.offline(1);
    for version in ["v2", "v3"] {
        fleet.push(&release(version));
        fleet.deploy(version).expect(0);
    }
    // Offline it goes on with what it has, and is shown as outdated.
    assert_eq!(fleet.versions(), ["v3", "v1"]);
    let away = shown(&fleet, &fleet.agents[1].host);
    assert_eq!(
        (&away["online"], &away["assignments"][0]["outdated"]),
        (&false.into(), &"v3".into()),
        "{away}"
    );
    fleet.agents[1].start();
    fleet.until_versions(&["v3", "v3"]);
}

#[test]
fn a_host_that_returns_when_the_releases_between_are_pruned_and_its_target_is_many_revisions_old_catches_up()
{
    let mut fleet = Fleet::of(2);
    let release = |version: &str| Sample::new(version).rollout("bake = \"100ms\"\noffline = \"skip\"");
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    let away = fleet.agents[1].host.clone();
    let held = shown(&fleet, &away)["target_revision"].as_u64().unwrap();
    fleet.agents[1].kill();
    fleet.offline(1);
    for number in 2..=8 {
        let version = format!("v{number}");
        fleet.push(&release(&version));
        fleet.deploy(&version).expect(0);
        fleet.cli().run(["hosts", "label", &away, &format!("week={number}")]).expect(0);
    }
    // A server forgets bundles that nothing needs when it starts. What the absent host runs, it needs.
    fleet.server.restart();
    fleet.online(1);
    let refused = fleet.deploy("v2");
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("push"), "v2 is not pruned: {refused:?}");
    assert!(shown(&fleet, &away)["target_revision"].as_u64().unwrap() >= held + 7);
    assert_eq!(fleet.versions(), ["v8", "v1"], "it goes on with what it has");
    let traffic = Traffic::on(&fleet);
    fleet.agents[1].start();
    fleet.until_versions(&["v8", "v8"]);
    wait_until(UP, "the old instance to be gone", || {
        shown(&fleet, &away)["instances"]
            .as_array()
            .unwrap()
            .iter()
            .all(|instance| instance["version"] == "v8" || instance["phase"] == "exited")
    });
    traffic.stop().assert_no_failures();
    assert_eq!(shown(&fleet, &away)["assignments"][0]["outdated"], "");
}

/// An operator's own CA, made with a tool of its own: its certificate and key, PEM.
fn own_ca(folder: &std::path::Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "Example Ltd fleet CA");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let paths = (folder.join("own-ca.pem"), folder.join("own-ca.key"));
    fs::write(&paths.0, certificate.pem()).unwrap();
    fs::write(&paths.1, key.serialize_pem()).unwrap();
    fs::set_permissions(&paths.1, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    paths
}

#[test]
fn under_a_ca_of_the_operators_own_certificates_of_agent_and_server_renew_too() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (certificate, key) = own_ca(elsewhere.path());
    let mut fleet = Fleet::with_server_and(&[
        "--ca-certificate",
        certificate.to_str().unwrap(),
        "--ca-key",
        key.to_str().unwrap(),
        "--agent-certificate-life",
        "15s",
        "--server-certificate-life",
        "15s",
    ]);
    fleet.add_host();
    fleet.online(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    assert!(!fleet.path("server/ca").exists(), "the server made a CA of its own");
    let began = fleet.server.log().matches("session begins").count();
    let traffic = Traffic::one_connection_each(&fleet);
    renewals(&fleet, 'a', 2);
    wait_until(UP, "two renewals of the server", || {
        fleet.server.log().matches("the server's certificate is renewed").count() >= 2
    });
    fleet.push(&Sample::new("v2"));
    fleet.deploy("v2").expect(0);
    assert_eq!(fleet.server.log().matches("session begins").count(), began, "the session was lost");
    // What was renewed is good for a new connection, of a new process, too.
    fleet.agents[0].start();
    wait_until(UP, "a session", || fleet.server.log().matches("session begins").count() > began);
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.versions(), ["v2"]);
}

#[test]
fn a_host_that_is_removed_in_the_middle_of_its_change_fails_no_deployment() {
    let fleet = Fleet::of(2);
    let release = |version: &str| Sample::new(version).rollout("batch = 1\nbake = \"1s\"");
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    // Its candidate is not ready for so long that it is removed while it starts.
    fleet.push(&release("v2").flag("--ready-after 5s"));
    let traffic = Traffic::on(&fleet);
    let deploying = fleet.begin("v2");
    let host = fleet.agents[0].host.clone();
    wait_until(UP, "the first host to start", || {
        shown(&fleet, &host)["instances"].as_array().unwrap().len() == 2
    });
    fleet.cli().run(["hosts", "remove", &host, "--force"]).expect(0);
    let done = deploying.end().expect(0).last();
    traffic.stop().assert_no_failures();
    assert_eq!((&done["hosts"][0]["state"], &done["hosts"][1]["state"]), (&"skipped".into(), &"done".into()));
    assert_eq!(fleet.versions()[1], "v2");
}

#[test]
fn a_host_that_is_removed_while_it_is_deployed_to_keeps_serving_and_the_others_get_the_release() {
    let fleet = Fleet::of(2);
    let release = |version: &str| Sample::new(version).rollout("batch = 1\nbake = \"2s\"");
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&release("v2"));
    let traffic = Traffic::on(&fleet);
    let deploying = fleet.begin("v2");
    deploying.until_snapshots(4);
    fleet.cli().run(["hosts", "remove", &fleet.agents[1].host, "--force"]).expect(0);
    let done = deploying.end().expect(0).last();
    traffic.stop().assert_no_failures();
    assert_eq!(done["state"], "succeeded", "{done}");
    let removed = &done["hosts"][usize::from(done["hosts"][1]["state"] == "skipped")];
    assert_eq!(
        (&removed["state"], &removed["reason"]),
        (&"skipped".into(), &"removed from the fleet".into()),
        "{done}"
    );
    assert_eq!(fleet.versions()[0], "v2", "the host that stayed");
    assert_eq!(fleet.cli().run(["hosts", "--json"]).expect(0).json().len(), 1);
}

#[test]
fn a_label_that_changes_while_its_host_is_deployed_to_fails_no_request() {
    let fleet = Fleet::of(2);
    let release = |version: &str| Sample::new(version).rollout("batch = 1\nbake = \"1s\"");
    fleet.push(&release("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&release("v2"));
    let traffic = Traffic::on(&fleet);
    let deploying = fleet.begin("v2");
    deploying.until_snapshots(4);
    for agent in &fleet.agents {
        fleet.cli().run(["hosts", "label", &agent.host, "zone=moved"]).expect(0);
    }
    deploying.end().expect(0);
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.versions(), ["v2", "v2"]);
    assert_eq!(shown(&fleet, &fleet.agents[0].host)["labels"]["zone"], "moved");
}

#[test]
fn an_agent_whose_clock_is_a_day_behind_is_told_by_how_much_and_goes_on_with_what_runs() {
    let mut fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let (host, pids) = (fleet.agents[0].host.clone(), fleet.agents[0].pids());
    let traffic = Traffic::one_connection_each(&fleet);
    fleet.agents[0].start_with(&shifted("-1d"));
    wait_until(UP, "the agent to name the clock", || {
        let log = fleet.agents[0].log();
        log.contains("clock is behind by at least 23 h") || log.contains("clock is behind by at least 1 d")
    });
    // Ahead it is let in (certificates live longer than a day), and both sides say so.
    fleet.agents[0].start_with(&shifted("+1d"));
    wait_until(UP, "both sides to say so", || {
        fleet.agents[0].log().contains("1 d 0 h ahead of the server's")
            && fleet.cli().run(["hosts"]).expect(0).stdout.contains(&format!("host {host}: its clock is"))
    });
    fleet.agents[0].start();
    fleet.online(1);
    traffic.stop().assert_no_failures();
    assert_eq!(fleet.agents[0].pids(), pids, "an instance was started again");
}

#[test]
fn the_doctor_reaches_the_server_with_a_token_that_stays_good_and_names_what_fails() {
    let mut fleet = Fleet::with_server();
    let address = fleet.server.address();
    let token = fleet.cli().run(["token", "create", "--address", &address]).expect(0).stdout;
    let doctor = |more: &[&str]| {
        let mut command = std::process::Command::new(handover_tests::process::binary("handover-agent"));
        command.args(["doctor", "--json", "--config", "/nonexistent/agent.toml", "--state"]);
        command.arg(fleet.path("new-host")).args(more);
        command.output().unwrap()
    };
    let outcome = |output: &std::process::Output, name: &str| {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let checks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        checks.into_iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {text}"))
    };
    let good = doctor(&["--token", token.trim()]);
    assert_eq!(outcome(&good, "server")["outcome"], "pass");
    assert_eq!(outcome(&good, "gate")["outcome"], "pass");
    for name in ["pidfd", "pidfd_getfd", "ptrace"] {
        assert_eq!(outcome(&good, name)["outcome"], "pass", "{name}");
    }
    assert!(outcome(&good, "disk")["found"].as_str().unwrap().contains(" free of "));
    let unknown = doctor(&["--server", &address]);
    assert_eq!(outcome(&unknown, "server")["outcome"], "warn", "it was not asked who it is");
    let nobody = doctor(&["--server", "127.0.0.1:1"]);
    assert_eq!(outcome(&nobody, "server")["outcome"], "fail");
    assert_eq!(nobody.status.code(), Some(1));
    // The token was looked at, not used.
    let stranger = Agent::not_joined("fit-1", "127.66.9.7".parse().unwrap(), &fleet.path("fit"));
    assert!(stranger.join_command(token.trim()).output().unwrap().status.success());
    fleet.server.kill();
}
