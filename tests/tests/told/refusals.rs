//! What a server refuses, as it is printed.

use crate::printed::{Told, is_as_agreed};
use handover_tests::fleet::{Agent, Fleet, Sample};
use std::net::Ipv4Addr;

#[test]
fn what_there_is_not() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let mut told = Told::of(&fleet);
    for words in [
        &["status", "wbe"][..],
        &["deploy", "wbe", "--yes"],
        &["deploy", "web", "--version", "v9", "--yes"],
        &["deploy", "web", "--version", "v1", "--host", "nobody", "--yes"],
        &["rollback", "web", "--yes"],
        &["rollback", "wbe", "--yes"],
        &["logs", "wbe"],
        &["logs", "web", "--release", "v9"],
        &["explain", "d99"],
        &["watch", "wbe"],
        &["pause", "web"],
        &["retry", "web"],
        &["abort", "d99"],
        &["lock", "wbe", "--reason", "why"],
        &["unlock", "wbe"],
        &["hosts", "show", "nobody"],
        &["hosts", "label", "nobody", "zone=b"],
        &["hosts", "remove", "nobody"],
        &["hosts", "remove", &fleet.agents[0].host],
        &["release", "show", "web", "v9"],
        &["token", "revoke", "nothing"],
        &["operator", "revoke", "nobody"],
        &["operator", "set", "nobody", "--role", "admin"],
    ] {
        told.run(fleet.cli().command(words));
    }
    is_as_agreed!("refusals-unknown", told.text());
}

/// Makes an operator and gives the words with which they call from another machine.
fn operator(fleet: &Fleet, name: &str, more: &[&str]) -> Vec<String> {
    let identity = fleet.path(format!("identity-{name}")).to_str().unwrap().to_owned();
    fleet.cli().run([&["operator", "create", name, "--out", &identity], more].concat()).expect(0);
    vec!["--server".to_owned(), fleet.server.address(), "--identity".to_owned(), identity]
}

#[test]
fn what_an_operator_may_not_do() {
    let fleet = Fleet::of(1);
    fleet.push(&Sample::new("v1"));
    let vera = operator(&fleet, "vera", &[]);
    let otto = operator(&fleet, "otto", &["--role", "deployer", "--service", "api", "--service", "db"]);
    let eve = operator(&fleet, "eve", &["--role", "admin"]);
    fleet.cli().run(["operator", "revoke", "eve", "--reason", "left the company"]).expect(0);
    let mut told = Told::of(&fleet);
    for (who, words) in [
        (&vera, &["token", "create"][..]),
        (&vera, &["deploy", "web", "--version", "v1", "--yes"]),
        (&otto, &["deploy", "web", "--version", "v1", "--yes"]),
        (&otto, &["lock", "--fleet", "--reason", "why"]),
        (&eve, &["status"]),
    ] {
        let words = words.iter().copied().chain(who.iter().map(String::as_str));
        told.run(fleet.cli().command(words));
    }
    is_as_agreed!("refusals-role", told.text());
}

#[test]
fn what_another_operator_holds() {
    let fleet = Fleet::of(1);
    // What a preflight says of it does not hang on how far the deployment has come.
    let tcp = |version: &str| Sample::new(version).readiness("kind = \"tcp\"");
    fleet.push(&tcp("v1").rollout("bake = \"10m\""));
    fleet.push(&tcp("v2"));
    let ada = operator(&fleet, "ada", &["--role", "deployer"]);
    let bob = operator(&fleet, "bob", &["--role", "deployer"]);
    let mut told = Told::of(&fleet);
    let mut run = |who: &[String], words: &[&str]| {
        let words = words.iter().copied().chain(who.iter().map(String::as_str));
        told.run(fleet.cli().command(words));
    };
    run(&ada, &["lock", "web", "--reason", "schema work", "--for", "2h"]);
    run(&bob, &["deploy", "web", "--version", "v1", "--yes"]);
    run(&bob, &["lock", "web", "--reason", "mine"]);
    run(&bob, &["unlock", "web"]);
    run(&ada, &["unlock", "web"]);
    run(&ada, &["deploy", "web", "--version", "v1", "--yes", "--detach"]);
    run(&bob, &["deploy", "web", "--version", "v2", "--yes"]);
    run(&bob, &["rollback", "web", "--yes"]);
    fleet.cli().run(["abort", "web", "--detach"]).expect(0);
    is_as_agreed!("refusals-held", told.text());
}

#[test]
fn a_token_that_opens_nothing() {
    let mut fleet = Fleet::of(1);
    let other = Fleet::with_server();
    let address = fleet.server.address();
    let token = |fleet: &Fleet, more: &[&str]| {
        let words = [&["token", "create", "--address", &address], more].concat();
        fleet.cli().run(words).expect(0).stdout.trim().to_owned()
    };
    let used = token(&fleet, &[]);
    let joined = Agent::join("joined", Ipv4Addr::new(127, 66, 9, 8), &fleet.path("joined"), &used, "zone=a");
    let taken = fleet.agents[0].host.clone();
    let tokens = [
        (used, "stranger"),
        (token(&other, &[]), "stranger"),
        (token(&fleet, &["--host", "web-7"]), "stranger"),
        (token(&fleet, &[]), taken.as_str()),
    ];
    let mut told = Told::of(&fleet).with(other.folder.path(), "[other]");
    for (token, host) in &tokens {
        told = told.with(token, "[token]");
        let stranger = Agent::not_joined(host, Ipv4Addr::new(127, 66, 9, 9), &fleet.path("stranger"));
        told.run(stranger.join_command(token));
    }
    is_as_agreed!("refusals-token", told.text());
    fleet.agents.push(joined);
}
