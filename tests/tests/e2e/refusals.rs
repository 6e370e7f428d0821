//! What must be refused, with a clear error, and changes nothing.

use handover_tests::fleet::{Agent, Fleet, Sample};
use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    process::Output,
    thread,
};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Tries to join with a token, and expects to be refused with these words.
fn refused(fleet: &Fleet, host: &str, token: &str, words: &str) {
    let before = fleet.cli().run(["hosts", "--json"]).expect(0).stdout;
    let stranger = Agent::not_joined(host, Ipv4Addr::new(127, 66, 9, 9), &fleet.path(host));
    let output = stranger.join_command(token).output().unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains(words), "{:?} not in:\n{}", words, said(&output));
    let names = |text: &str| {
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&before),
        names(&fleet.cli().run(["hosts", "--json"]).expect(0).stdout),
        "a host was added"
    );
}

fn token(fleet: &Fleet, more: &[&str]) -> String {
    let mut words = vec!["token", "create"];
    words.extend(more);
    let address = fleet.server.address();
    words.extend(["--address", &address]);
    fleet.cli().run(words).expect(0).stdout.trim().to_owned()
}

#[test]
fn a_token_that_is_none_or_has_a_typing_error() {
    let fleet = Fleet::with_server();
    refused(&fleet, "stranger-1", "nonsense", "token");
    let good = token(&fleet, &[]);
    let mut typed = good.clone().into_bytes();
    let at = typed.len() / 2;
    typed[at] = if typed[at] == b'A' { b'B' } else { b'A' };
    refused(&fleet, "stranger-2", &String::from_utf8(typed).unwrap(), "token");
}

/// A way to the server on which the first so many connections are cut as soon as they are there; the next one is let
/// through, and nothing after it.
fn way_that_cuts(server: &str, first: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    thread::spawn(move || {
        for _ in 0..first {
            drop(listener.accept().unwrap());
        }
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(server).unwrap();
        let (mut up, mut down) =
            ((client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client));
        thread::spawn(move || {
            let _ = io::copy(&mut up.0, &mut up.1);
            let _ = up.1.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut down.0, &mut down.1);
    });
    address
}

#[test]
fn a_host_whose_handshakes_are_cut_tries_again_and_not_for_ever() {
    let fleet = Fleet::with_server();
    let join = |host: &str, first: usize| {
        let way = way_that_cuts(&fleet.server.address(), first);
        let host = Agent::not_joined(host, Ipv4Addr::new(127, 66, 9, 1), &fleet.path(host));
        host.join_command(&token(&fleet, &[])).args(["--server", &way]).output().unwrap()
    };
    let joined = join("patient-1", 3);
    assert!(joined.status.success(), "{}", said(&joined));
    let refused = join("patient-2", 50);
    assert!(!refused.status.success());
    assert!(said(&refused).contains("closed during the handshake"), "{}", said(&refused));
}

#[test]
fn a_token_that_was_used() {
    let fleet = Fleet::with_server();
    let token = token(&fleet, &[]);
    let first = Agent::not_joined("first-1", Ipv4Addr::new(127, 66, 9, 1), &fleet.path("first"));
    assert!(first.join_command(&token).output().unwrap().status.success());
    refused(&fleet, "second-1", &token, "used");
}

#[test]
fn a_token_that_has_expired() {
    let fleet = Fleet::with_server();
    let token = token(&fleet, &["--ttl", "1s"]);
    handover_tests::process::wait_until(std::time::Duration::from_secs(10), "the token to expire", || {
        let listed = fleet.cli().run(["token", "list", "--json"]).expect(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        listed.json()[0]["expires"].as_u64().is_some_and(|expires| u128::from(expires) < now)
    });
    refused(&fleet, "late-1", &token, "expired");
}

#[test]
fn a_token_of_another_server_is_not_even_shown_to_this_one() {
    let (fleet, other) = (Fleet::with_server(), Fleet::with_server());
    let address = fleet.server.address();
    // The other fleet's token, sent to this server.
    let token = other.cli().run(["token", "create", "--address", &address]).expect(0).stdout;
    refused(&fleet, "astray-1", token.trim(), "not the server that made the token");
}

#[test]
fn a_token_for_another_host() {
    let fleet = Fleet::with_server();
    let token = token(&fleet, &["--host", "right-1"]);
    refused(&fleet, "wrong-1", &token, "right-1");
}

#[test]
fn a_manifest_with_mistakes_is_refused_with_all_of_them() {
    let fleet = Fleet::with_server();
    let folder = fleet.path("bad");
    Sample::new("v1").more("[drian]\nsignal = \"SIGTERM\"\n\n[restart]\ninitial = \"soon\"").write(&folder);
    let done = fleet.cli().run(["release", "push", folder.to_str().unwrap(), "--version", "v1"]).expect(1);
    assert!(done.stderr.contains("drian") && done.stderr.contains("soon"), "{}", done.stderr);
    // What is pushed and what is only checked is judged alike.
    let checked = fleet.cli().run(["check", folder.to_str().unwrap()]).expect(1);
    let mistakes = checked.stdout.trim_end().rsplit_once("\n\n").unwrap().0;
    assert!(done.stderr.contains(mistakes), "{}\nwithout\n{mistakes}", done.stderr);
    assert!(fleet.cli().run(["release", "list", "--json"]).expect(0).json().is_empty());
}

#[test]
fn a_version_is_used_once() {
    let fleet = Fleet::with_server();
    fleet.push(&Sample::new("v1"));
    // The same again is the same release; something else under the name is refused.
    fleet.push(&Sample::new("v1"));
    let folder = fleet.path("other");
    Sample::new("v1").flag("--never-ready").write(&folder);
    let done = fleet.cli().run(["release", "push", folder.to_str().unwrap(), "--version", "v1"]).expect(1);
    assert!(done.stderr.contains("v1"), "{}", done.stderr);
    assert_eq!(fleet.cli().run(["release", "list", "--json"]).expect(0).json().len(), 1);
}

#[test]
fn a_command_without_a_server_says_so() {
    let cli = handover_tests::fleet::Cli::on("/nonexistent/handover.sock");
    let done = cli.run(["status"]).expect(5);
    assert!(done.stderr.contains("cannot reach the server"), "{}", done.stderr);
}

#[test]
fn an_operator_from_elsewhere_needs_a_certificate_and_gets_one() {
    let fleet = Fleet::with_server();
    let identity = fleet.path("operator");
    let identity = identity.to_str().unwrap();
    fleet.cli().run(["operator", "create", "ada", "--out", identity]).expect(0);
    let address = fleet.server.address();
    let listed = fleet.cli().run(["hosts", "--json", "--server", &address, "--identity", identity]);
    listed.expect(0);
    // Another fleet's operator is a stranger here.
    let other = Fleet::with_server();
    let theirs = other.path("operator");
    other.cli().run(["operator", "create", "eve", "--out", theirs.to_str().unwrap()]).expect(0);
    let done = fleet.cli().run(["hosts", "--server", &address, "--identity", theirs.to_str().unwrap()]);
    assert_ne!(done.code, 0, "{}", done.stdout);
}

#[test]
fn an_agent_can_speak_for_itself_only() {
    let mut fleet = Fleet::of(2);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    let other = format!("{}-x", fleet.agents[0].host);
    fleet.agents[0].kill();
    // The first host's certificate, in the hands of an agent that says it is another host.
    let mut impostor = fleet.agents[0].impostor(&other, &fleet.path("impostor"));
    impostor.start();
    handover_tests::process::wait_until(std::time::Duration::from_secs(20), "the agent to be told", || {
        impostor.log().contains(&format!("the target is for host {}", fleet.agents[0].host))
    });
    let hosts = fleet.cli().run(["hosts", "--json"]).expect(0).json();
    assert!(hosts.iter().all(|host| host["name"] != other.as_str()), "{hosts:?}");
    let first = hosts.iter().find(|host| host["name"] == fleet.agents[0].host.as_str()).unwrap();
    assert!(first["target_refused"].as_str().unwrap().contains("the target is for host"), "{first}");
    assert!(impostor.pids().is_empty(), "it runs something");
    impostor.kill();
    fleet.agents[0].start();
    fleet.online(2);
    assert_eq!(fleet.versions(), ["v1", "v1"]);
}
