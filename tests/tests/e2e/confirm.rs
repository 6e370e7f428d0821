//! Flips that have to be confirmed, with the way between an agent and its server cut right after one.

use handover_tests::{
    fleet::{Fleet, Sample, Traffic, UP},
    http,
    process::wait_until,
    relay::Relay,
};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A release that flips once a person promotes it, and whose flips are confirmed within this time.
fn release(version: &str, confirm: &str) -> Sample {
    let rollout = format!(
        "strategy = \"blue-green\"\napprove = \"manual\"\nbake = \"200ms\"\nconfirm = \"{confirm}\"\noffline = \"wait\""
    );
    Sample::new(version).rollout(&rollout)
}

/// Two hosts at v1, the first one behind a relay; v2 stands ready on both and waits to be promoted.
fn waiting(confirm: &str) -> (Fleet, Relay) {
    let mut fleet = Fleet::with_server();
    let relay = Relay::to(&fleet.server.address());
    fleet.add_host_by(&relay.address());
    fleet.add_host();
    fleet.online(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet.push(&release("v2", confirm));
    fleet.deploy("v2").expect(4);
    (fleet, relay)
}

/// Lets all hosts flip. The first one hears of it, and is not heard from then on; gives when it had flipped.
fn promote_and_silence(fleet: &Fleet, relay: &Relay) -> Instant {
    relay.silence_at_the_next_order();
    fleet.cli().run(["promote", "web", "--detach"]).expect(0);
    wait_until(UP, "the flip of the host that is not heard", || http::version(fleet.addresses()[0]) == "v2");
    Instant::now()
}

/// How the first host stands in the deployment that goes on.
fn course(fleet: &Fleet) -> Value {
    let status = fleet.cli().run(["status", "web", "--json"]).expect(0).last();
    let hosts = status["course"]["hosts"].as_array().expect("no deployment goes on").clone();
    hosts.into_iter().find(|host| host["host"] == *fleet.agents[0].host).expect("the host is missing")
}

#[test]
fn a_host_whose_network_is_cut_after_its_flip_goes_back_by_itself_in_time() {
    let (fleet, relay) = waiting("4s");
    let first = fleet.pids();
    let traffic = Traffic::on(&fleet);
    let flipped = promote_and_silence(&fleet, &relay);
    relay.cut();
    fleet.offline(0);
    let waits = course(&fleet)["waiting"].clone();
    assert!(waits["what"].as_str().unwrap().contains("was not heard since its flip"), "{waits}");
    assert!(waits["then"].as_str().unwrap().contains("has undone it by itself"), "{waits}");
    let (since, until) = (waits["since"].as_u64().unwrap(), waits["until"].as_u64().unwrap());
    assert!((4_000..9_000).contains(&(until - since)), "{waits}");
    let told = fleet.cli().run(["explain", "web"]).expect(0).stdout;
    let line = told.lines().last().unwrap();
    assert!(line.contains("was not heard since its flip, until "), "{told}");

    wait_until(UP, "the former release to answer again", || http::version(fleet.addresses()[0]) == "v1");
    let took = flipped.elapsed();
    assert!(took < Duration::from_millis(6_500), "it took {took:?}");
    assert!(took > Duration::from_millis(2_000), "after {took:?}: nobody waited for a confirmation");
    assert_eq!(course(&fleet)["online"], false, "it was told to");
    assert_eq!(http::version(fleet.addresses()[1]), "v2", "the other host was heard");

    relay.heal();
    let done = fleet.cli().run(["watch", "web", "--json"]).expect(3).last();
    let reason = done["reason"].as_str().unwrap();
    let host = &fleet.agents[0].host;
    assert_eq!(reason, format!("{host}: undone: the flip was not confirmed within 4s"));
    assert_eq!(fleet.versions(), ["v1"; 2]);
    let seen = traffic.stop();
    seen.assert_no_failures();
    assert!(seen.first_answer_of("v2").is_some());
    let pids = fleet.pids();
    assert!(pids.iter().zip(&first).all(|(now, then)| now.len() == 1 && then.contains(&now[0])), "{pids:?}");
    let story = fleet.cli().run(["explain", "web"]).expect(0).stdout;
    assert!(story.contains("a flip that is not confirmed within 4s is undone"), "{story}");
    assert!(
        story.contains("failed: ") && story.contains("undone: the flip was not confirmed within 4s"),
        "{story}"
    );
}

#[test]
fn where_the_network_stays_every_flip_of_every_strategy_is_confirmed() {
    let fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let traffic = Traffic::on(&fleet);
    let strategies = [
        "strategy = \"rolling\"",
        "strategy = \"blue-green\"",
        "strategy = \"canary\"\nsteps = [{ share = \"20%\", approve = \"manual\" }, { share = \"100%\", approve = \"manual\" }]",
    ];
    for (number, strategy) in strategies.into_iter().enumerate() {
        let version = format!("v{}", number + 2);
        // Each stage lasts longer than the confirmation may take: what was not confirmed would be undone in it.
        let rollout = format!("{strategy}\nbake = \"2500ms\"\nconfirm = \"1s\"");
        fleet.push(&Sample::new(&version).rollout(&rollout));
        let mut done = fleet.deploy(&version);
        while done.code == 4 {
            done = fleet.cli().run(["promote", "web", "--json"]);
        }
        let done = done.expect(0).last();
        assert_eq!(done["plan"]["policy"]["confirm_millis"], 1_000);
        assert_eq!(fleet.versions(), [version.as_str(); 2]);
        for agent in &fleet.agents {
            assert!(agent.log().contains("the flip is confirmed"), "{strategy}: {}", agent.log());
            assert!(!agent.log().contains("was not confirmed"), "{strategy}: {}", agent.log());
        }
    }
    traffic.stop().assert_no_failures();
    // A rollback is not confirmed.
    let confirmed = |fleet: &Fleet| fleet.agents[0].log().matches("the flip is confirmed").count();
    let before = confirmed(&fleet);
    fleet.cli().run(["rollback", "web", "--yes"]).expect(0);
    assert_eq!((fleet.versions(), confirmed(&fleet)), (vec!["v3".to_owned(); 2], before));
}

#[test]
fn a_server_that_is_killed_after_the_flip_and_comes_back_in_time_confirms_it() {
    let (mut fleet, relay) = waiting("25s");
    let traffic = Traffic::on(&fleet);
    promote_and_silence(&fleet, &relay);
    fleet.server.kill();
    assert!(!fleet.agents[0].log().contains("the flip is confirmed"), "nothing is shown by it");
    relay.heal();
    fleet.server.restart();
    let done = fleet.cli().run(["watch", "web", "--json"]).expect(0).last();
    assert_eq!(done["state"], "succeeded");
    assert!(fleet.agents[0].log().contains("the flip is confirmed"));
    assert_eq!(fleet.versions(), ["v2"; 2]);
    traffic.stop().assert_no_failures();
    assert!(fleet.pids().iter().all(|pids| pids.len() == 1), "{:?}", fleet.pids());
}

#[test]
fn an_agent_that_is_killed_while_its_network_is_cut_undoes_the_flip_all_the_same() {
    let (mut fleet, relay) = waiting("6s");
    let traffic = Traffic::on(&fleet);
    promote_and_silence(&fleet, &relay);
    relay.cut();
    // An agent that is killed in the middle of a flip makes it anew as it starts.
    let made = || fleet.agents[0].log().contains("flip instance=web-d2 from=0 % to=100 %");
    wait_until(UP, "the flip to be written down", made);
    fleet.agents[0].kill();
    fleet.agents[0].start();
    wait_until(UP, "the former release to answer again", || http::version(fleet.addresses()[0]) == "v1");
    relay.heal();
    let done = fleet.cli().run(["watch", "web", "--json"]).expect(3).last();
    assert!(done["reason"].as_str().unwrap().contains("not confirmed within 6s"), "{done}");
    assert_eq!(fleet.versions(), ["v1"; 2]);
    traffic.stop().assert_no_failures();
}
