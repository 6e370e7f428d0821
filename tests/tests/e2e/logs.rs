//! `handover logs`: what real instances wrote, from real agents.

use handover_tests::{
    exposition::Exposition,
    fleet::{Fleet, Sample},
    http,
    process::{Running, wait_until},
};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// A worker that writes something for terminals first, and then a line now and then.
fn talking(version: &str) -> Sample {
    let mut sample = Sample::new(version).command("/bin/sh");
    sample.listeners.clear();
    sample.readiness = "kind = \"alive\"\nsettle = \"200ms\"".to_owned();
    let script = format!(
        "printf '{version} says \\033[31mred \\377\\n'; while sleep 0.1; do echo {version} goes on; done"
    );
    sample.flags = vec!["-c".to_owned(), script];
    sample
}

fn lines(printed: &str) -> Vec<Value> {
    // The last one may be half written.
    printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn lines_of_all_hosts_are_shown_escaped_chosen_and_a_host_that_is_away_is_named() {
    let mut fleet = Fleet::of(2);
    fleet.push(&talking("v1"));
    fleet.deploy("v1").expect(0);
    let hosts: Vec<String> = fleet.agents.iter().map(|agent| agent.host.clone()).collect();

    let shown = fleet.cli().run(["logs", "web", "-n", "10000"]).expect(0);
    assert!(!shown.stdout.contains('\u{1b}'), "{}", shown.stdout);
    for host in &hosts {
        let line = format!("- {host} v1/web-d1 v1 says \\u{{1b}}[31mred \\xff");
        assert!(shown.stdout.lines().any(|shown| shown == line), "{line} is missing: {}", shown.stdout);
    }
    let json =
        fleet.cli().run(["logs", "web", "-n", "10000", "--json", "--host", &hosts[1]]).expect(0).json();
    assert!(json.iter().all(|line| line["host"] == hosts[1].as_str() && line["time_micros"].is_null()));
    assert!(json.iter().any(|line| line["text"] == "v1 says \u{1b}[31mred \u{fffd}"), "{json:?}");
    let two = fleet.cli().run(["logs", "web", "-n", "2", "--json"]).expect(0).json();
    assert_eq!(two.len(), 4, "two of each host: {two:?}");

    fleet.push(&talking("v2"));
    fleet.deploy("v2").expect(0);
    let first = fleet.cli().run(["logs", "web", "--release", "v1", "--json"]).expect(0).json();
    assert!(!first.is_empty() && first.iter().all(|line| line["version"] == "v1"), "{first:?}");
    let since = fleet.cli().run(["logs", "web", "--since", "10m"]).expect(0);
    assert!(since.stderr.contains("carry no time"), "{}", since.stderr);
    let refused = fleet.cli().run(["logs", "web", "--release", "v9"]).expect(1);
    assert!(refused.stderr.contains("v9"), "{}", refused.stderr);
    fleet.cli().run(["logs", "nothing"]).expect(1);
    let help = fleet.cli().run(["logs", "--help"]).expect(0).stdout.replace('\n', " ");
    assert!(help.contains("cannot be merged in the order in which they were written"), "{help}");

    fleet.agents[0].kill();
    fleet.offline(0);
    let partly = fleet.cli().run(["logs", "web"]).expect(1);
    assert!(partly.stdout.contains(&hosts[1]) && !partly.stdout.contains(&hosts[0]), "{}", partly.stdout);
    let named = format!("{} could not be read: it is offline", hosts[0]);
    assert!(partly.stderr.contains(&named), "{}", partly.stderr);
}

#[test]
fn who_follows_gets_new_lines_of_all_hosts_and_leaves_nothing_behind() {
    let fleet = Fleet::of(2);
    fleet.push(&talking("v1"));
    fleet.deploy("v1").expect(0);
    // More often than an agent or the server reads at once: each must end with its reader.
    for round in 0..10 {
        let command = fleet.cli().command(["logs", "web", "--follow", "--json", "-n", "1"]);
        let following = Running::start_command(fleet.folder.path(), &format!("follow-{round}"), command);
        wait_until(SOON, "new lines of both hosts", || {
            let lines = lines(&following.stdout());
            fleet.agents.iter().all(|agent| {
                let of_it = lines.iter().filter(|line| line["host"] == agent.host.as_str());
                of_it.filter(|line| line["time_source"] == "seen" && line["text"] == "v1 goes on").count()
                    >= 2
            })
        });
        let times: Vec<u64> =
            lines(&following.stdout()).iter().filter_map(|l| l["time_micros"].as_u64()).collect();
        assert!(times.is_sorted(), "{times:?}");
        following.kill();
        wait_until(SOON, "the request to end", || {
            let told = http::get(fleet.server.metrics(), "/metrics").unwrap().body;
            Exposition::parse(&told).value("handover_log_readers", &[]) == Some(0.0)
        });
    }
}
