//! The commands of the other pages.

use super::{Page, on_v1};
use handover_tests::{
    fleet::{Agent, Fleet, Sample, Traffic, UP},
    process::wait_until,
};
use std::fs;

#[test]
fn the_steps_of_upgrading_touch_nothing_that_runs() {
    let mut fleet = on_v1(2);
    let traffic = Traffic::on(&fleet);
    let backup = fleet.path("before.backup");
    Page::of(&fleet, "docs/upgrading.md").with("FILE", &backup).run(
        "handover server backup FILE",
        &[],
        0,
        "before.backup",
    );
    let before: Vec<Vec<i32>> = fleet.agents.iter().map(Agent::pids).collect();
    fleet.server.restart();
    fleet.online(2);
    for agent in &mut fleet.agents {
        agent.start();
    }
    fleet.online(2);
    let page = Page::of(&fleet, "docs/upgrading.md");
    page.run("handover hosts", &[], 0, "online");
    assert_eq!(
        fleet.agents.iter().map(Agent::pids).collect::<Vec<_>>(),
        before,
        "an instance was started again"
    );
    // And the way back.
    let data = fleet.path("restored");
    let restored =
        fleet.cli().run(["server", "restore", backup.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    restored.expect(0);
    traffic.stop().assert_no_failures();
}

#[test]
fn what_configuration_names_writes_checks_and_describes_manifests() {
    let fleet = Fleet::with_server();
    let page = Page::of(&fleet, "docs/configuration.md").with("FILE", fleet.path("elsewhere.toml"));
    page.run("handover config show", &[], 0, "HANDOVER_SOCKET");
    Sample::new("v1").write(&fleet.path("web"));
    fs::rename(fleet.path("web/handover.toml"), fleet.path("elsewhere.toml")).unwrap();
    page.run("handover release push --manifest FILE", &["web", "--version", "v1"], 0, "v1");
    page.run("handover init", &[], 0, "handover.toml");
    page.run("handover check", &[], 0, "");
    page.run("handover schema", &[], 0, "json-schema.org");
    page.run("handover schema --reference", &[], 0, "# Configuration, key by key");
    page.run("handover server --print-config", &[], 0, "server.toml");
}

#[test]
fn what_hosts_names_for_each_of_them_does_it() {
    let mut fleet = on_v1(1);
    let host = fleet.agents[0].host.clone();
    let mut copy = fleet.agents[0].impostor(&format!("{host}-copy"), &fleet.path("copy"));
    copy.start();
    let page = Page::of(&fleet, "docs/hosts.md").with("NAME", &host);
    wait_until(UP, "the alarm", || page.run("handover hosts", &[], 0, "").stdout.contains("ALARM"));
    copy.kill();
    page.run("handover hosts acknowledge NAME", &[], 0, &host);
    assert!(!page.run("handover hosts", &[], 0, &host).stdout.contains("ALARM"));
    let server = fleet.server.address();
    let token = page.run("handover token create --host NAME", &["--address", &server], 0, "").stdout;
    drop(page);
    // What it runs goes on until it is told to stop; the agent must not run meanwhile.
    fleet.agents[0].kill();
    let joined = fleet.agents[0].join_command(token.trim()).args(["--label", "zone=a"]).output().unwrap();
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    assert_eq!(fleet.versions(), ["v1"]);
    let config = fleet.path("host-a/agent.toml");
    let page = Page::of(&fleet, "docs/hosts.md");
    page.run("handover-agent stop", &["--config", config.to_str().unwrap()], 0, "");
    assert_eq!(fleet.agents[0].processes(), Vec::<i32>::new());
}

#[test]
fn what_is_told_of_replaying_a_canary_is_so() {
    let fleet = Fleet::with_server();
    let blocks =
        "block,canary_requests,canary_bad,baseline_requests,baseline_bad\n1,0,0,540,0\n2,60,6,540,0\n";
    fs::write(fleet.path("blocks.csv"), blocks).unwrap();
    let page = Page::of(&fleet, "docs/judge.md").with("FILE", fleet.path("blocks.csv"));
    page.run("handover judge replay FILE", &[], 0, "fail");
    page.run("handover judge aa --file FILE", &[], 0, "canaries of it against itself");
}

#[test]
fn a_freeze_holds_is_overridden_listed_and_ended_as_the_page_of_canaries_tells() {
    let fleet = on_v1(1);
    fleet.push(&Sample::new("v2"));
    let page = Page::of(&fleet, "docs/canary.md").with("SERVICE", "web").with("WHY", "it cannot wait");
    let until =
        jiff::Zoned::now().saturating_add(jiff::Span::new().days(30)).strftime("%F 08:00").to_string();
    let page = page.with("2026-12-27 08:00", &until).with("f3", "f1");
    page.follow("handover status --watch", "service web: v1");
    page.run("handover freeze SERVICE --until \"2026-12-27 08:00\" --reason \"the sales\"", &[], 0, "f1");
    let refused = fleet.deploy("v2").expect(6);
    assert!(refused.stderr.contains("the sales"), "{}", refused.stderr);
    page.run("handover freeze", &[], 0, "the sales");
    let over = ["--version", "v2", "--yes"];
    page.run("handover deploy SERVICE --override-freeze --reason WHY", &over, 0, "succeeded");
    page.run("handover unfreeze f3", &[], 0, "f1");
    assert!(!page.run("handover freeze", &[], 0, "").stdout.contains("the sales"));
    assert_eq!(fleet.versions(), ["v2"]);
}

#[test]
fn what_the_page_of_previews_names_leads_to_a_release_that_waits() {
    let fleet = on_v1(1);
    fleet.push(
        &Sample::new("v2").rollout("strategy = \"blue-green\"\napprove = \"manual\"\nbake = \"200ms\""),
    );
    fleet.deploy("v2").expect(4);
    let page = Page::of(&fleet, "docs/preview.md").with("SERVICE", "web");
    page.run("handover preview SERVICE", &[], 0, "curl --interface 127.77.0.");
    let page = page.with("CMD", "/bin/echo").with("ARGS...", "a smoke test");
    page.run("handover preview SERVICE -- CMD ARGS...", &[], 0, "| a smoke test");
}

#[test]
fn a_release_is_rehearsed_listed_and_deployed_without_it_as_the_page_of_rehearsals_tells() {
    let fleet = on_v1(1);
    let required = |version: &str| Sample::new(version).rollout("bake = \"200ms\"\nrehearsal = \"required\"");
    fleet.push(&required("v2"));
    let page = Page::of(&fleet, "docs/rehearsal.md").with("SERVICE", "web").with("WHY", "it cannot wait");
    let page = page.with("1.3.0", "v2");
    fleet.deploy("v2").expect(6);
    page.run("handover rehearse web --release 1.3.0 --for 10s", &["--yes"], 0, "flip back: ");
    page.run("handover rehearse SERVICE", &["--for", "1s", "--yes"], 0, "flip to the release: ");
    let listed = page.run("handover rehearse SERVICE --list", &[], 0, "v1 -> v2 -> v1 on").stdout;
    assert_eq!(listed.matches(": succeeded").count(), 2, "{listed}");
    fleet.deploy("v2").expect(0);
    fleet.push(&required("v3"));
    fleet.deploy("v3").expect(6);
    let over = ["--version", "v3", "--yes"];
    page.run("handover deploy SERVICE --override-rehearsal --reason WHY", &over, 0, "succeeded");
    assert_eq!(fleet.versions(), ["v3"]);
}
