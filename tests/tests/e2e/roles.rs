//! Operators on other machines, as their command line shows it: roles, their end, and what the audit has of them.

use handover_tests::{
    exposition::Exposition,
    fleet::{Done, Fleet, Sample},
    http,
    process::{Running, wait_until},
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A revoked operator's watches are over by then.
const REVOKED: Duration = Duration::from_secs(5);
/// Longest wait for a command to show something.
const SHOWN: Duration = Duration::from_secs(30);

/// Makes an operator and gives the folder with its certificate.
fn operator(fleet: &Fleet, name: &str, more: &[&str]) -> PathBuf {
    let folder = fleet.path(format!("identity-{name}"));
    let mut words = vec!["operator", "create", name, "--out", folder.to_str().unwrap()];
    words.extend(more);
    fleet.cli().run(words).expect(0);
    folder
}

/// The words of a command that an operator gives from another machine.
fn remote(fleet: &Fleet, identity: &Path, words: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    all.extend(["--server".to_owned(), fleet.server.address()]);
    all.extend(["--identity".to_owned(), identity.to_str().unwrap().to_owned()]);
    all
}

fn run(fleet: &Fleet, identity: &Path, words: &[&str]) -> Done {
    fleet.cli().run(remote(fleet, identity, words))
}

fn start(fleet: &Fleet, identity: &Path, name: &str, words: &[&str]) -> Running {
    let command = fleet.cli().command(remote(fleet, identity, words));
    Running::start_command(fleet.folder.path(), name, command)
}

#[test]
fn a_revoked_operators_commands_end_within_five_seconds_and_none_begins_again() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1").rollout("bake = \"5m\""));
    let eve = operator(&fleet, "eve", &["--role", "deployer"]);
    let mut status = start(&fleet, &eve, "status", &["status", "--watch"]);
    let mut deploy = start(&fleet, &eve, "deploy", &["deploy", "web", "--version", "v1", "--yes"]);
    wait_until(SHOWN, "both to watch", || {
        status.stdout().contains("service web") && deploy.stdout().contains("baking")
    });
    fleet.cli().run(["operator", "revoke", "eve", "--reason", "left the company"]).expect(0);
    let began = Instant::now();
    let (status_code, deploy_code) = (status.wait(REVOKED).code(), deploy.wait(REVOKED).code());
    assert!(began.elapsed() < REVOKED, "{:?}", began.elapsed());
    assert_eq!((status_code, deploy_code), (Some(6), Some(6)), "{}\n{}", status.stderr(), deploy.stderr());
    for complaint in [status.stderr(), deploy.stderr()] {
        assert!(complaint.contains("operator eve were revoked by uid:"), "{complaint}");
    }
    let again = run(&fleet, &eve, &["status", "--watch"]).expect(6);
    assert!(again.stderr.contains("hint: ask an admin for a new certificate"), "{}", again.stderr);
    let deployments = fleet.cli().run(["history", "--json"]).expect(0).json();
    assert_eq!(deployments[0]["state"], "running", "what eve began goes on");
    assert_eq!(deployments[0]["created_by"], "eve");
    fleet.cli().run(["abort", "web", "--detach"]).expect(0);
    let listed = fleet.cli().run(["operator", "list", "--json"]).expect(0).last();
    assert_eq!(listed["operator"], "eve");
    assert_eq!(listed["revoked"]["reason"], "left the company");
}

#[test]
fn who_follows_logs_and_events_is_sent_away_within_five_seconds_of_the_revocation() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let eve = operator(&fleet, "eve", &["--role", "deployer"]);
    let ada = operator(&fleet, "ada", &["--role", "deployer"]);
    let follow = |identity: &Path, name: &str| {
        let logs = start(&fleet, identity, &format!("logs-{name}"), &["logs", "web", "--follow"]);
        let events = start(&fleet, identity, &format!("events-{name}"), &["events", "--follow"]);
        [logs, events]
    };
    let ([mut logs, mut events], mut others) = (follow(&eve, "eve"), follow(&ada, "ada"));
    let open = |gauge: &str| {
        let told = http::get(fleet.server.metrics(), "/metrics").unwrap().body;
        Exposition::parse(&told).value(gauge, &[])
    };
    wait_until(SHOWN, "all to follow", || {
        (open("handover_log_readers"), open("handover_watchers")) == (Some(2.0), Some(2.0))
    });

    fleet.cli().run(["operator", "revoke", "eve", "--reason", "left the company"]).expect(0);
    let began = Instant::now();
    let codes = (logs.wait(REVOKED).code(), events.wait(REVOKED).code());
    assert!(began.elapsed() < REVOKED, "{:?}", began.elapsed());
    assert_eq!(codes, (Some(6), Some(6)), "{}\n{}", logs.stderr(), events.stderr());
    for complaint in [logs.stderr(), events.stderr()] {
        assert!(complaint.contains("operator eve were revoked by uid:"), "{complaint}");
    }
    // The server and the agent read no more for eve, and go on reading for ada.
    wait_until(SHOWN, "what eve followed to be over", || {
        (open("handover_log_readers"), open("handover_watchers")) == (Some(1.0), Some(1.0))
    });
    fleet.push(&Sample::new("v2"));
    let [logs, events] = &mut others;
    wait_until(SHOWN, "ada to be told of the new release", || events.stdout().contains("v2"));
    assert!(logs.is_running() && events.is_running());
    for again in [&["logs", "web", "--follow"][..], &["events", "--follow"]] {
        run(&fleet, &eve, again).expect(6);
    }
}

#[test]
fn roles_and_services_limit_what_an_operators_commands_do() {
    let fleet = Fleet::with_server();
    fleet.push(&Sample::new("v1"));
    let viewer = operator(&fleet, "vera", &[]);
    let deployer = operator(&fleet, "dora", &["--role", "deployer", "--service", "web"]);
    let other = operator(&fleet, "otto", &["--role", "deployer", "--service", "api", "--service", "db"]);
    for (who, services) in [(&viewer, 1), (&deployer, 1), (&other, 0)] {
        assert_eq!(run(&fleet, who, &["status", "--json"]).expect(0).json().len(), services);
    }
    let refused = run(&fleet, &viewer, &["token", "create"]).expect(6);
    assert!(refused.stderr.contains("vera may not do this: it needs the role admin"), "{}", refused.stderr);
    let refused = run(&fleet, &other, &["rollback", "web", "--yes"]).expect(6);
    assert!(refused.stderr.contains("limited to api, db"), "{}", refused.stderr);
    run(&fleet, &deployer, &["hosts", "remove", "web-1"]).expect(6);
    // The role allows it: it fails for another reason.
    run(&fleet, &deployer, &["rollback", "web", "--yes"]).expect(1);

    fleet.cli().run(["operator", "set", "vera", "--role", "admin"]).expect(0);
    run(&fleet, &viewer, &["token", "create", "--address", &fleet.server.address()]).expect(0);
    let listed = fleet.cli().run(["operator", "list"]).expect(0).stdout;
    let row = listed.lines().find(|line| line.starts_with("otto")).unwrap();
    assert!(row.contains("deployer") && row.contains("api, db"), "{listed}");
}

#[test]
fn the_audit_is_read_and_checked_from_the_command_line() {
    let fleet = Fleet::with_server();
    fleet.push(&Sample::new("v1"));
    let vera = operator(&fleet, "vera", &[]);
    run(&fleet, &vera, &["token", "create"]).expect(6);
    wait_until(SHOWN, "the refusal to be told", || {
        !fleet.cli().run(["audit", "--who", "vera", "--json"]).expect(0).json().is_empty()
    });
    let refused = fleet.cli().run(["audit", "--who", "vera", "--since", "1h", "--json"]).expect(0).last();
    assert_eq!((&refused["method"], &refused["outcome"]), (&"CreateToken".into(), &"NOT_AUTHORISED".into()));
    let shown = fleet.cli().run(["audit", "--service", "web"]).expect(0).stdout;
    assert!(shown.contains("CreateRelease") && shown.contains("service web"), "{shown}");
    let head = shown.lines().last().unwrap().strip_prefix("head ").unwrap().to_owned();

    fleet.cli().run(["token", "create"]).expect(0);
    let verified = fleet.cli().run(["audit", "verify", "--head", &head]).expect(0).stdout;
    assert!(verified.starts_with("whole: ") && verified.contains("the noted entry"), "{verified}");
    let (hash, number) = head.split_once('@').unwrap();
    let other = format!("{}@{number}", hash.chars().rev().collect::<String>());
    let broken = fleet.cli().run(["audit", "verify", "--head", &other]).expect(1).stdout;
    assert!(broken.starts_with(&format!("broken at entry {number}: ")), "{broken}");
    let broken = fleet.cli().run(["audit", "verify", "--head", &other, "--json"]).expect(1).last();
    assert_eq!(broken["whole"], false);
    fleet.cli().run(["audit", "verify", "--head", "nonsense"]).expect(2);
    run(&fleet, &vera, &["audit"]).expect(6);
}
