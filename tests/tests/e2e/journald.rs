//! `handover logs` over hosts with a journald each: there each line has the time at which it was written.

use handover_tests::{
    fleet::{Fleet, Sample, UP},
    journald,
    process::{Running, wait_until},
};
use serde_json::Value;
use std::{fs, path::Path};

/// A worker that writes a line when the turn is its zone's, and gives the turn to the other one some time after it: of
/// two hosts the lines are written in the order of their numbers.
fn taking_turns(version: &str, turn: &Path) -> Sample {
    let mut sample = Sample::new(version).command("/bin/sh").logs("to = \"journald\"");
    sample.listeners.clear();
    sample.readiness = "kind = \"alive\"\nsettle = \"200ms\"".to_owned();
    let script = "mine=0; [ \"$ZONE\" = b ] && mine=1\n\
        while sleep 0.05; do n=$(cat \"$TURN\"); [ $((n % 2)) = $mine ] || continue\n\
        echo \"line $n\"; sleep 0.4; echo $((n + 1)) >\"$TURN.new\"; mv \"$TURN.new\" \"$TURN\"; done";
    sample.flags = vec!["-c".to_owned(), script.to_owned()];
    sample.more(&format!("[environment]\nZONE = \"{{label.zone}}\"\nTURN = \"{}\"", turn.display()))
}

/// The lines so far, each with its number; the last one may be half written.
fn numbered(printed: &str) -> Vec<(u64, Value)> {
    let lines = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let numbered = lines.filter_map(|line| {
        let number = line["text"].as_str()?.strip_prefix("line ")?.parse().ok()?;
        Some((number, line))
    });
    numbered.collect()
}

/// Fails the test where these are not the lines of both hosts in turn, in the order of their times.
#[track_caller]
fn are_merged(lines: &[(u64, Value)], fleet: &Fleet) {
    let numbers: Vec<u64> = lines.iter().map(|(number, _)| *number).collect();
    let first = numbers[0];
    assert_eq!(numbers, (first..first + numbers.len() as u64).collect::<Vec<_>>(), "{lines:?}");
    for (number, line) in lines {
        let host = &fleet.agents[usize::try_from(number % 2).unwrap()].host;
        assert_eq!(
            (&line["host"], &line["time_source"]),
            (&host.as_str().into(), &"journald".into()),
            "{line}"
        );
    }
    let times: Vec<u64> = lines.iter().map(|(_, line)| line["time_micros"].as_u64().unwrap()).collect();
    assert!(times.is_sorted(), "{lines:?}");
}

#[test]
fn lines_of_two_hosts_with_a_journald_each_are_merged_in_the_order_in_which_they_were_written() {
    if !journald::can_be_started() {
        return;
    }
    let mut fleet = Fleet::of(2);
    let turn = fleet.path("turn");
    fs::write(&turn, "0\n").unwrap();
    for agent in &mut fleet.agents {
        agent.start_beside_a_journald();
    }
    fleet.online(2);
    fleet.push(&taking_turns("v1", &turn));
    fleet.deploy("v1").expect(0);
    let written = || fs::read_to_string(&turn).unwrap().trim().parse::<u64>().unwrap_or(0);
    wait_until(UP, "ten lines", || written() >= 10);

    let mut shown = Vec::new();
    wait_until(UP, "ten lines to be read", || {
        shown = numbered(&fleet.cli().run(["logs", "web", "--json"]).expect(0).stdout);
        shown.len() >= 10
    });
    are_merged(&shown, &fleet);
    assert_eq!(shown[0].0, 0, "the first line is missing: {shown:?}");
    // What was before is not read, and nothing has to be said about it: each line has its time.
    let since = fleet.cli().run(["logs", "web", "--since", "2s", "--json"]).expect(0);
    let lately = numbered(&since.stdout);
    assert!(!lately.is_empty() && lately[0].0 > 0, "{lately:?}");
    assert!(!since.stderr.contains("carry no time"), "{}", since.stderr);
    are_merged(&lately, &fleet);

    let follow = fleet.cli().command(["logs", "web", "--follow", "--json", "-n", "1"]);
    let following = Running::start_command(fleet.folder.path(), "following", follow);
    wait_until(UP, "eight lines to be followed", || numbered(&following.stdout()).len() >= 8);
    are_merged(&numbered(&following.stdout()), &fleet);
}
