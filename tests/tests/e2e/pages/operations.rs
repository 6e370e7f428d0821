//! The commands of docs/operations.md.

use super::{Page, on_v1};
use handover_tests::{
    fleet::{Agent, Fleet, Sample, UP},
    process::{Running, wait_until},
};
use std::fs;

#[test]
fn what_operations_tells_of_a_fleet_at_rest_is_so() {
    let fleet = on_v1(1);
    let page = Page::of(&fleet, "docs/operations.md")
        .with("SERVICE", "web")
        .with("VERSION", "v1")
        .with("HOST", &fleet.agents[0].host);
    page.run("handover config show", &[], 0, "HANDOVER_SOCKET");
    page.run("handover logs SERVICE --release VERSION --host HOST", &[], 0, "web-d1");
    page.run("handover logs SERVICE", &[], 0, "web-d1");
    page.run("handover status SERVICE", &[], 0, "service web: v1");
    page.run("handover hosts", &[], 0, "online");
    page.run("handover hosts show HOST", &[], 0, "web-d1");
    page.follow("handover logs SERVICE --host HOST -f", "web-d1");
    page.follow("handover status SERVICE --watch", "service web: v1");
    page.run("handover audit --since 2h", &[], 0, "CreateDeployment");
    page.run("handover events --since 2h", &[], 0, "d1");
    page.run("handover audit verify", &[], 0, "whole: ");
    page.run("handover rollback SERVICE", &["--yes"], 1, "no release before");
    fleet.push(&Sample::new("v2"));
    fleet.deploy("v2").expect(0);
    page.run("handover rollback SERVICE", &["--yes"], 0, "succeeded");
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn what_operations_tells_of_a_deployment_that_must_stop_is_so() {
    let fleet = on_v1(1);
    fleet.push(&Sample::new("v2").rollout("bake = \"60s\""));
    let page = Page::of(&fleet, "docs/operations.md").with("SERVICE", "web");
    fleet.cli().run(["deploy", "web", "--version", "v2", "--yes", "--detach"]).expect(0);
    fleet.until_version(0, "v2");
    page.run("handover pause SERVICE --reason ...", &[], 0, "d2 is paused");
    page.run("handover status SERVICE", &[], 0, "handover resume web");
    page.run("handover resume SERVICE", &["--detach"], 0, "d2");
    page.run("handover abort SERVICE", &[], 3, "rolled back");
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn a_host_that_is_gone_for_good_is_removed_and_its_name_given_to_another_as_operations_tells() {
    let mut fleet = on_v1(2);
    let gone = fleet.agents.remove(1);
    let (host, address) = (gone.host.clone(), gone.address);
    // With everything that it ran: the machine is away.
    drop(gone);
    wait_until(UP, "the host to be offline", || {
        fleet.cli().run(["hosts", "show", &host, "--json"]).last()["online"] == false
    });
    fleet.push(&Sample::new("v2").rollout("batch = 2\nbake = \"100ms\"\noffline = \"wait\""));
    let waiting = fleet.cli().command(["deploy", "web", "--version", "v2", "--yes", "--json"]);
    let mut waiting = Running::start_command(fleet.folder.path(), "waiting", waiting);
    wait_until(UP, "the deployment to wait for the host", || {
        waiting.stdout().contains("the host to come online")
    });
    let page = Page::of(&fleet, "docs/operations.md").with("HOST", &host);
    page.run("handover hosts remove HOST", &[], 1, "--force");
    page.run("handover hosts remove HOST", &["--force"], 0, "is removed");
    assert_eq!(waiting.wait(UP).code(), Some(0), "{}", waiting.stdout());
    let server = fleet.server.address();
    let token = page.run("handover token create --host HOST", &["--address", &server], 0, "").stdout;
    let agent = Agent::join(&host, address, &fleet.path("host-new"), token.trim(), "zone=b");
    fleet.agents.push(agent);
    fleet.online(2);
    fleet.until_versions(&["v2", "v2"]);
}

#[test]
fn a_release_that_waits_for_its_approval_is_promoted_as_operations_tells() {
    let fleet = Fleet::of(1);
    let waiting = |version: &str| {
        Sample::new(version).rollout("strategy = \"blue-green\"\napprove = \"manual\"\nbake = \"200ms\"")
    };
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&waiting("v2"));
    fleet.deploy("v2").expect(4);
    let page = Page::of(&fleet, "docs/operations.md").with("SERVICE", "web");
    page.run("handover status SERVICE", &[], 0, "waits for its approval");
    page.run("handover promote SERVICE", &[], 0, "succeeded");
    assert_eq!(fleet.versions(), ["v2"]);
    fleet.push(&waiting("v3"));
    fleet.deploy("v3").expect(4);
    page.run("handover abort SERVICE", &[], 3, "rolled back");
    assert_eq!(fleet.versions(), ["v2"]);
}

#[test]
fn a_damaged_store_is_looked_at_and_restored_as_operations_tells() {
    let mut fleet = on_v1(1);
    let (backup, data) = (fleet.path("fleet.backup"), fleet.path("server"));
    let page = Page::of(&fleet, "docs/operations.md").with("FILE", &backup).with("DIR", &data);
    page.run("handover server backup FILE", &[], 0, "fleet.backup");
    drop(page);
    fleet.server.kill();
    let db = data.join("store/db");
    let mut bytes = fs::read(&db).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    fs::write(&db, bytes).unwrap();
    let page = Page::of(&fleet, "docs/operations.md").with("FILE", &backup).with("DIR", &data);
    page.run("handover server fsck --data DIR", &[], 1, "");
    fs::rename(&data, fleet.path("damaged")).unwrap();
    page.run("handover server restore FILE --data DIR", &[], 0, "restored");
    drop(page);
    fleet.server.restart();
    fleet.online(1);
    assert_eq!(fleet.versions(), ["v1"]);
    Page::of(&fleet, "docs/operations.md").with("SERVICE", "web").run(
        "handover status SERVICE",
        &[],
        0,
        "service web: v1",
    );
}
