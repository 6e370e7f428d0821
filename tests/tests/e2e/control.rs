//! Operators at work: pause, resume, retry, locks, two at once, the same request twice, a command line that dies.

use handover_tests::{
    fleet::{Cli, Done, Fleet, Sample, Traffic, UP},
    process::{Running, wait_until},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;

/// `handover` as another operator, with a certificate.
struct Operator<'a> {
    fleet: &'a Fleet,
    identity: String,
}

impl<'a> Operator<'a> {
    fn new(fleet: &'a Fleet, name: &str) -> Self {
        let identity = fleet.path(format!("operator-{name}")).to_str().unwrap().to_owned();
        fleet.cli().run(["operator", "create", name, "--role", "deployer", "--out", &identity]).expect(0);
        Self { fleet, identity }
    }

    fn words<'b>(&'b self, words: &[&'b str]) -> Vec<String> {
        let address = self.fleet.server.address();
        let more = ["--server", &address, "--identity", &self.identity];
        words.iter().copied().chain(more).map(str::to_owned).collect()
    }

    fn run(&self, words: &[&str]) -> Done {
        self.fleet.cli().run(self.words(words))
    }

    fn start(&self, name: &str, words: &[&str]) -> Running {
        let command = self.fleet.cli().command(self.words(words));
        Running::start_command(self.fleet.folder.path(), name, command)
    }
}

/// Two hosts on v1, and v2 pushed with a bake that is long enough to do something in it.
fn fleet_with_two_releases(hosts: usize, rollout: &str) -> Fleet {
    let fleet = Fleet::of(hosts);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&Sample::new("v2").rollout(rollout));
    fleet
}

fn deployment(cli: &Cli, which: &str) -> Value {
    cli.run(["watch", which, "--json"]).json().remove(0)
}

fn course(fleet: &Fleet) -> Value {
    fleet.cli().run(["status", "web", "--json"]).expect(0).last()["course"].clone()
}

fn unix_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Waits until the deployment that goes on shows something.
fn until(fleet: &Fleet, what: &str, holds: impl Fn(&Value) -> bool) {
    wait_until(UP, what, || holds(&course(fleet)));
}

#[test]
fn a_paused_deployment_begins_nothing_and_goes_on_where_it_was() {
    let mut fleet = fleet_with_two_releases(3, "bake = \"2s\"\nbatch = 1");
    let traffic = Traffic::on(&fleet);
    let deploying = fleet.begin("v2");
    fleet.until_version(0, "v2");
    let cli = fleet.cli();
    let said = cli.run(["pause", "web", "--reason", "a phone call"]).expect(0).stdout;
    assert!(said.contains("d2 is paused: no host begins a change"), "{said}");
    let again = cli.run(["pause", "web"]).expect(0).stdout;
    assert!(again.contains("d2 is paused already: paused by") && again.contains("a phone call"), "{again}");
    // Who watches is told to decide.
    assert_eq!(deploying.end().expect(4).last()["state"], "paused");
    let before = course(&fleet);
    let wait = &before["waiting"];
    assert_eq!(wait["until"], 0, "a person has no deadline: {wait}");
    assert!(wait["then"].as_str().unwrap().contains("handover resume web"), "{wait}");
    assert!(before["hosts"].as_array().unwrap().iter().any(|host| host["state"] == "pending"));
    // The pause is the journal's, not the process's.
    fleet.server.restart();
    fleet.online(3);
    // Longer than the bake: nothing moved meanwhile.
    wait_until(UP, "the pause to outlast the bake", || {
        let since = course(&fleet)["waiting"]["since"].as_u64().unwrap();
        unix_millis() - since > 2_500
    });
    let after = course(&fleet);
    let states = |course: &Value| -> Vec<String> {
        course["hosts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|host| host["state"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(states(&before)[1..], states(&after)[1..], "{after}");
    assert_eq!(fleet.versions()[1..], ["v1", "v1"]);
    let done = cli.run(["resume", "web", "--json"]).expect(0);
    assert_eq!(done.last()["state"], "succeeded");
    assert_eq!(fleet.versions(), ["v2", "v2", "v2"]);
    traffic.stop().assert_no_failures();
    let over = cli.run(["resume", "web"]).expect(1);
    assert!(over.stderr.contains("d2 has ended: succeeded"), "{}", over.stderr);
}

#[test]
fn a_host_that_failed_is_tried_again_in_the_deployment_that_paused() {
    let fleet = Fleet::of(2);
    // Something else sits on the second host's address.
    let taken = std::net::TcpListener::bind(fleet.addresses()[1]).unwrap();
    fleet.push(&Sample::new("v1").rollout("on_failure = \"pause\"\nbake = \"100ms\""));
    assert_eq!(fleet.deploy("v1").expect(4).last()["state"], "paused");
    let cli = fleet.cli();
    until(&fleet, "the host to be back", |course| course["hosts"][1]["state"] == "returned");
    drop(taken);
    let said = cli.run(["retry", "web"]).expect(4).stdout;
    assert!(said.contains("d1: another attempt for") && said.contains("handover resume web"), "{said}");
    let done = cli.run(["resume", "d1", "--json"]).expect(0);
    assert_eq!(done.last()["state"], "succeeded", "{}", done.last());
    assert_eq!(done.last()["hosts"][1]["attempt"], 2);
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    // The whole story, in order.
    let story = cli.run(["explain", "web"]).expect(0).stdout;
    let mut rest = story.as_str();
    for part in [
        "began d1",
        "planned for stage 1",
        "stage 1",
        "the new instance starts, hidden",
        "stage 2",
        "failed: ",
        "is in use",
        "paused until a person decides",
        "given another attempt by",
        "resumed by",
        "succeeded: 2 hosts run the release",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} does not come in:\n{story}"));
        rest = &rest[at..];
    }
    let records = cli.run(["explain", "d1", "--json"]).expect(0).json();
    let kinds: Vec<&str> = records.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds.last()), ("created", Some(&"ended")));
    assert!(
        records
            .iter()
            .enumerate()
            .all(|(number, line)| line["sequence"] == number && line["record"].is_object())
    );
}

#[test]
fn a_host_that_an_ended_deployment_left_behind_is_tried_again_in_a_new_one() {
    let fleet = Fleet::of(2);
    let taken = std::net::TcpListener::bind(fleet.addresses()[1]).unwrap();
    fleet.push(&Sample::new("v1").rollout("failures_allowed = 1\nbake = \"100ms\""));
    fleet.deploy("v1").expect(0);
    drop(taken);
    let done = fleet.cli().run(["retry", "web", "--request-id", "again", "--json"]).expect(0);
    let first = &done.json()[0];
    assert_eq!(first["id"], "d2");
    assert!(first["answer"].as_str().unwrap().starts_with("d1 has ended: d2 carries web v1 to "), "{first}");
    assert_eq!(done.last()["hosts"].as_array().unwrap().len(), 1, "just that host");
    assert_eq!(fleet.versions(), ["v1", "v1"]);
    // The answer got lost, and the command is given once more under its name.
    let again = fleet.cli().run(["retry", "web", "--request-id", "again", "--detach", "--json"]).expect(0);
    assert_eq!(again.last()["id"], "d2");
}

#[test]
fn a_lock_keeps_another_operator_out_until_it_is_taken_over() {
    let mut fleet = fleet_with_two_releases(1, "bake = \"60s\"");
    {
        let ada = Operator::new(&fleet, "ada");
        let locked = ada.run(&["lock", "web", "--reason", "schema work", "--for", "2h"]).expect(0).stdout;
        assert!(locked.contains("service web is locked: locked by ada for"), "{locked}");
    }
    // It is the store's, not the process's.
    fleet.server.restart();
    fleet.online(1);
    let (ada, bob) = (Operator::new(&fleet, "ada-2"), Operator::new(&fleet, "bob"));
    let shown = bob.run(&["status"]).expect(0).stdout;
    assert!(shown.contains("locked by ada for") && shown.contains("schema work"), "{shown}");
    let refused = bob.run(&["deploy", "web", "--version", "v2", "--yes", "--json"]).expect(6).stderr;
    for part in [
        "service web is locked by ada: schema work; the lock ends in",
        "handover deploy web --version v2 --take-over --reason WHY",
    ] {
        assert!(refused.contains(part), "{part:?} not in {refused}");
    }
    // Its owner's name is what counts: another name is another operator.
    ada.run(&["rollback", "web", "--yes"]).expect(1);
    let silent = bob.run(&["deploy", "web", "--version", "v2", "--yes", "--json", "--take-over"]);
    silent.expect(2);
    let before = unix_millis();
    let taking = bob.start(
        "taking",
        &["deploy", "web", "--version", "v2", "--yes", "--json", "--take-over", "--reason", "incident 7"],
    );
    fleet.until_version(0, "v2");
    let status = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
    assert_eq!(
        (&status["lock"]["owner"], &status["lock"]["taken_from"]),
        (&"bob".into(), &"ada".into()),
        "{status}"
    );
    let entries = fleet.cli().run(["audit", "--service", "web", "--json"]).expect(0).json();
    let taken: Vec<&Value> = entries.iter().filter(|entry| entry["reason"] == "incident 7").collect();
    assert_eq!(taken.len(), 1, "{entries:#?}");
    assert_eq!((&taken[0]["who"], &taken[0]["outcome"]), (&"bob".into(), &"ok".into()), "{}", taken[0]);
    assert!((before..=unix_millis()).contains(&taken[0]["at"].as_u64().unwrap()), "{}", taken[0]);
    // At 3 in the morning: the abort is refused with the very command that does it.
    let refused = ada.run(&["abort", "web"]).expect(6).stderr;
    let command = "handover abort web --take-over --reason WHY";
    assert!(refused.contains(command), "{refused}");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let aborted = ada.run(&[&words[..], &["--json"]].concat()).expect(3);
    assert_eq!(aborted.last()["state"], "rolled back");
    drop(taking);
    assert_eq!(fleet.versions(), ["v1"]);
    ada.run(&["abort", "web", "--json"]).expect(3);
    assert!(bob.run(&["unlock", "web"]).expect(6).stderr.contains("locked by ada-2"));
    ada.run(&["unlock", "web"]).expect(0);
    let nothing = ada.run(&["unlock", "web"]).expect(0).stdout;
    assert!(nothing.contains("was not locked"), "{nothing}");
}

#[test]
fn a_lock_ends_by_itself_and_the_fleets_is_every_services() {
    let fleet = fleet_with_two_releases(1, "bake = \"100ms\"");
    let (ada, bob) = (Operator::new(&fleet, "ada"), Operator::new(&fleet, "bob"));
    ada.run(&["lock", "--fleet", "--reason", "the network is being changed", "--for", "3s"]).expect(0);
    let refused = bob.run(&["deploy", "web", "--version", "v2", "--yes", "--json"]).expect(6).stderr;
    assert!(refused.contains("the fleet is locked by ada: the network is being changed"), "{refused}");
    wait_until(UP, "the lock to end", || {
        fleet.cli().run(["status", "web", "--json"]).last()["fleet_lock"].is_null()
    });
    bob.run(&["deploy", "web", "--version", "v2", "--yes", "--json"]).expect(0);
}

#[test]
fn of_two_operators_at_once_one_wins_and_the_other_is_told_who() {
    let fleet = fleet_with_two_releases(1, "bake = \"5s\"");
    fleet.push(&Sample::new("v3").rollout("bake = \"5s\""));
    let operators = [Operator::new(&fleet, "ada"), Operator::new(&fleet, "bob")];
    let mut running: Vec<Running> = operators
        .iter()
        .zip(["v2", "v3"])
        .map(|(operator, version)| {
            operator.start(version, &["deploy", "web", "--version", version, "--yes", "--json"])
        })
        .collect();
    let codes: Vec<i32> =
        running.iter_mut().map(|deploy| deploy.wait(Duration::from_secs(60)).code().unwrap()).collect();
    let winner = codes.iter().position(|code| *code == 0).unwrap_or_else(|| panic!("{codes:?}"));
    let loser = 1 - winner;
    assert_eq!(codes[loser], 6, "{}", running[loser].stderr());
    let told = running[loser].stderr();
    let (name, version) = [("ada", "v2"), ("bob", "v3")][winner];
    assert!(told.contains(&format!("d2 of service web (to {version}, by {name})")), "{told}");
    assert_eq!(fleet.versions(), [version]);
}

#[test]
fn an_abort_and_a_resume_at_once_end_in_the_order_in_which_the_server_heard_them() {
    let fleet = fleet_with_two_releases(1, "bake = \"60s\"");
    fleet.cli().run(["deploy", "web", "--version", "v2", "--yes", "--detach"]).expect(0);
    fleet.cli().run(["pause", "web"]).expect(0);
    let (ada, bob) = (Operator::new(&fleet, "ada"), Operator::new(&fleet, "bob"));
    let mut abort = ada.start("abort", &["abort", "web", "--json"]);
    let mut resume = bob.start("resume", &["resume", "web", "--json"]);
    assert_eq!(abort.wait(UP).code(), Some(3), "{}", abort.stderr());
    // Heard first, it goes on for a moment and is taken back; heard second, it is refused, and says why.
    match resume.wait(UP).code() {
        Some(3) => {}
        Some(1) => {
            let told = resume.stderr();
            assert!(told.contains("going back") || told.contains("has ended: rolled back"), "{told}");
        }
        other => panic!("{other:?}: {}", resume.stderr()),
    }
    assert_eq!(fleet.versions(), ["v1"]);
}

#[test]
fn a_command_line_that_is_killed_before_its_answer_is_given_again_under_its_name() {
    let fleet = fleet_with_two_releases(1, "bake = \"3s\"");
    let named = ["deploy", "web", "--version", "v2", "--yes", "--request-id", "release-42"];
    let deploy = Running::start_command(fleet.folder.path(), "killed", fleet.cli().command(named));
    // It has the plan and is sending the request: whether that arrives is left to chance.
    wait_until(UP, "the plan", || deploy.stdout().contains("plan: web v2"));
    deploy.kill();
    let words: Vec<&str> = named.into_iter().chain(["--json"]).collect();
    let done = fleet.cli().run(&words).expect(0);
    assert_eq!((&done.last()["id"], &done.last()["state"]), (&"d2".into(), &"succeeded".into()));
    // And once more, long after its end.
    let again = fleet.cli().run(&words).expect(0);
    assert_eq!(again.last()["id"], "d2");
    assert_eq!(fleet.cli().run(["history", "web", "--json"]).expect(0).json().len(), 2);
    let other = fleet.cli().run([
        "deploy",
        "web",
        "--version",
        "v1",
        "--yes",
        "--json",
        "--request-id",
        "release-42",
    ]);
    assert!(other.expect(1).stderr.contains("release-42 was used for deployment d2"));
}

#[test]
fn a_command_line_that_is_killed_while_it_watches_stops_nothing() {
    let fleet = fleet_with_two_releases(2, "bake = \"1s\"\nbatch = 1");
    let words = ["deploy", "web", "--version", "v2", "--yes", "--json"];
    let deploy = Running::start_command(fleet.folder.path(), "killed", fleet.cli().command(words));
    wait_until(UP, "its first snapshot", || deploy.stdout().lines().count() > 1);
    deploy.kill();
    let shown = fleet.cli().run(["status", "web"]).expect(0).stdout;
    assert!(shown.contains("d2 web v2: running"), "{shown}");
    let watched = fleet.cli().run(["watch", "web", "--json"]).expect(0);
    assert_eq!(watched.last()["state"], "succeeded");
    assert_eq!(deployment(&fleet.cli(), "d2")["state"], "succeeded");
    assert_eq!(fleet.versions(), ["v2", "v2"]);
}

#[test]
fn an_interrupted_command_says_that_the_deployment_goes_on() {
    let fleet = fleet_with_two_releases(1, "bake = \"3s\"");
    let words = ["deploy", "web", "--version", "v2", "--yes"];
    let mut deploy = Running::start_command(fleet.folder.path(), "interrupted", fleet.cli().command(words));
    until(&fleet, "the deployment to go on", |course| course["state"] == "running");
    wait_until(UP, "its first line", || deploy.stdout().contains("d2 web v2"));
    deploy.signal(Signal::SIGINT);
    assert_eq!(deploy.wait(UP).code(), Some(130));
    assert!(
        deploy.stderr().contains("d2 goes on without this command; `handover watch d2` shows it"),
        "{}",
        deploy.stderr()
    );
    fleet.cli().run(["watch", "d2", "--json"]).expect(0);
}

#[test]
fn what_each_host_waits_for_is_in_the_status_for_people_and_programs() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1").flag("--ready-after 4s"));
    fleet.cli().run(["deploy", "web", "--version", "v1", "--yes", "--detach"]).expect(0);
    until(&fleet, "a host to start", |course| course["hosts"][0]["new_instance"]["phase"] == "starting");
    let now = course(&fleet);
    for wait in [&now["waiting"], &now["hosts"][0]["waiting"], &now["hosts"][1]["waiting"]] {
        assert!(
            !wait["what"].as_str().unwrap().is_empty() && !wait["then"].as_str().unwrap().is_empty(),
            "{now}"
        );
        assert!(wait["until"].as_u64().unwrap() > wait["since"].as_u64().unwrap(), "{now}");
    }
    assert_eq!(now["hosts"][1]["state"], "pending");
    let shown = fleet.cli().run(["status", "web"]).expect(0).stdout;
    for part in [
        "waits since",
        "for web-d1 to become ready",
        "left); then it counts as failed and goes back",
        "pending: waits since",
    ] {
        assert!(shown.contains(part), "{part:?} not in:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "colours in a pipe:\n{shown}");
    fleet.cli().run(["watch", "web", "--json"]).expect(0);
}

/// What a command writes to a terminal of 100 columns and 30 lines.
fn on_terminal(fleet: &Fleet, words: &str, environment: &[(&str, &str)]) -> String {
    let handover = handover_tests::process::binary("handover");
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &format!("stty rows 30 cols 100; {} {words}", handover.display()), "/dev/null"]);
    command.env("HANDOVER_SOCKET", fleet.server.socket()).stdin(std::process::Stdio::null());
    command.env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_terminal_gets_a_tree_that_stays_in_the_scrollback_and_a_dumb_one_gets_lines() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1").rollout("bake = \"1s\""));
    let live = on_terminal(&fleet, "deploy web --version v1 --yes", &[]);
    let host = &fleet.agents[0].host;
    for part in
        ["service web", "└─ ", "d1 to v1 by", "stage 1: 1 host, share 100 %", "web-d1 v1: ready, share 100 %"]
    {
        assert!(live.contains(part), "{part:?} not in:\n{live}");
    }
    assert!(live.contains("\u{1b}[2K"), "it is drawn in place");
    assert!(live.contains("\u{1b}[32m"), "and in colour");
    assert!(!live.contains("\u{1b}[?1049h"), "on the screen that stays");
    assert!(live.contains("d1 web v1: succeeded after"), "{live}");
    let plain = on_terminal(&fleet, "watch d1", &[("NO_COLOR", "1")]);
    assert!(plain.contains("└─ ") && !plain.contains("\u{1b}[3"), "{plain}");
    let ascii = on_terminal(&fleet, "watch d1", &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    assert!(ascii.contains("`- ") && ascii.is_ascii(), "{ascii}");
    let dumb = on_terminal(&fleet, "watch d1", &[("TERM", "dumb")]);
    assert!(dumb.contains(&format!("host {host}: done")) && !dumb.contains('\u{1b}'), "{dumb}");
}

#[test]
fn a_watched_status_is_a_line_for_each_change_where_there_is_no_terminal() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1").rollout("bake = \"1s\""));
    let command = fleet.cli().command(["status", "--watch"]);
    let mut watching = Running::start_command(fleet.folder.path(), "watching", command);
    wait_until(UP, "the service to be shown", || watching.stdout().contains("service web: nothing yet"));
    fleet.deploy("v1").expect(0);
    wait_until(UP, "its release to be shown", || watching.stdout().contains("service web: v1; no rollback"));
    let shown = watching.stdout();
    assert!(
        shown.contains("d1 web v1: running")
            && shown.contains(&format!("host {}: baking", fleet.agents[0].host)),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let lines: Vec<&str> = shown.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "a line twice:\n{shown}");
    watching.signal(Signal::SIGINT);
    assert_eq!(watching.wait(UP).code(), Some(130));
}
