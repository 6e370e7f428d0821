//! Connections, pace, bounds, targets and versions of a run.

use super::{
    KEPT, Load, Mode, ONE_EACH, SOON, requests, run,
    server::{OK, Server},
};
use crate::{
    load::{Config, ConfigError, LoadError, Report},
    process::wait_until,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

#[test]
fn each_client_keeps_its_connection() {
    let server = Server::start(|client| client.answer_all(OK));
    let config = requests(server.address, Mode::KeepAlive { connections: 4 }, 400);
    let report = run(config);
    report.assert_no_failures();
    assert_eq!((report.counts.ok, report.answers_of("v1")), (400, 400));
    assert!((1..=4).contains(&server.accepted()), "{} connections", server.accepted());
    assert_eq!(report.connections, server.accepted() as u64);
}

#[test]
fn a_service_that_says_close_gets_a_new_connection_for_the_next_request() {
    let server = Server::start(|mut client| {
        client.request();
        client.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
    });
    let report = run(requests(server.address, KEPT, 5));
    report.assert_no_failures();
    assert_eq!((server.accepted(), report.connections), (5, 5));
    assert_eq!(report.answers_of("(none)"), 5);
}

#[test]
fn with_a_connection_each_every_request_says_close_and_comes_from_its_own_address() {
    let sources = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sources);
    let server = Server::start(move |mut client| {
        let request = client.request().unwrap();
        assert!(request.starts_with("GET / HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
        assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
        seen.lock().unwrap().push(client.address());
        client.send(OK);
    });
    let report = run(requests(server.address, ONE_EACH, 50));
    report.assert_no_failures();
    let sources = sources.lock().unwrap();
    let ips: BTreeSet<IpAddr> = sources.iter().map(SocketAddr::ip).collect();
    assert_eq!((sources.len(), ips.len(), report.connections), (50, 50, 50));
    assert!(
        ips.iter().all(|ip| matches!(ip, IpAddr::V4(v4) if matches!(v4.octets(), [127, 0, 1..=9, _]))),
        "{ips:?}"
    );
}

#[test]
fn a_service_that_does_not_close_when_asked_costs_no_request() {
    let server = Server::start(|mut client| {
        while client.request().is_some() {
            client.send(OK);
        }
    });
    let report = run(requests(server.address, ONE_EACH, 2));
    report.assert_no_failures();
    assert_eq!(server.accepted(), 2);
}

#[test]
fn a_paced_run_sends_at_its_pace() {
    let server = Server::start(|client| client.answer_all(OK));
    let config =
        Config { rate: Some(500), ..requests(server.address, Mode::KeepAlive { connections: 4 }, 51) };
    let began = Instant::now();
    let report = run(config);
    report.assert_no_failures();
    assert_eq!(report.counts.ok, 51);
    // The 51st is due after 100 ms; late is allowed, early is not.
    assert!(began.elapsed() >= Duration::from_millis(100), "{report}");
}

#[test]
fn a_run_ends_after_its_duration() {
    let server = Server::start(|client| client.answer_all(OK));
    let config = Config {
        max_requests: None,
        duration: Duration::from_millis(100),
        ..requests(server.address, KEPT, 0)
    };
    let report = run(config);
    report.assert_no_failures();
    assert!(report.elapsed_ms >= 100, "{report}");
}

#[test]
fn targets_are_counted_each_by_itself() {
    let good = Server::start(|client| client.answer_all(OK));
    let bad = Server::start(|client| {
        client.answer_all(b"HTTP/1.1 500 No\r\nx-version: v2\r\ncontent-length: 0\r\n\r\n");
    });
    for mode in [Mode::KeepAlive { connections: 2 }, Mode::OnePerRequest { workers: 2 }] {
        let targets = vec![good.address, bad.address];
        // By rate, so that each of the two clients gets a turn at all.
        let config = Config { max_requests: Some(40), rate: Some(400), ..Config::new(targets, mode) };
        let report = run(config);
        let (good, bad) = (&report.targets[&good.address], &report.targets[&bad.address]);
        assert!(good.counts.ok > 0 && good.counts.failed() == 0, "{report}");
        assert!(bad.counts.ok == 0 && bad.counts.non_2xx > 0, "{report}");
        assert_eq!(good.counts.ok + bad.counts.non_2xx, 40);
        assert_eq!(report.answers_of("v1"), good.counts.ok);
        assert_eq!(report.answers_of("v2"), bad.counts.non_2xx);
        assert!(good.versions.contains_key("v1") && !good.versions.contains_key("v2"));
    }
}

#[test]
fn versions_have_the_times_of_their_first_and_last_answer() {
    let server = Server::start(|mut client| {
        for version in ["v1", "v1", "v2", "v2", "v2"] {
            if client.request().is_some() {
                client.send(
                    format!("HTTP/1.1 200 OK\r\nx-version: {version}\r\ncontent-length: 0\r\n\r\n")
                        .as_bytes(),
                );
            }
        }
    });
    let report = run(Config { rate: Some(50), ..requests(server.address, KEPT, 5) });
    report.assert_no_failures();
    let (v1, v2) = (report.versions["v1"], report.versions["v2"]);
    assert_eq!((v1.answers, v2.answers), (2, 3));
    assert!(
        report.began <= v1.first && v1.first < v1.last && v1.last < v2.first && v2.first < v2.last,
        "{report}"
    );
}

#[test]
fn a_stopped_run_ends_the_request_that_it_began_and_begins_no_other() {
    let (asked, was_asked) = mpsc::channel();
    let (let_go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let server = Server::start(move |mut client| {
        while client.request().is_some() {
            asked.send(()).unwrap();
            let _ = may_go.lock().unwrap().recv_timeout(SOON);
            client.send(OK);
        }
    });
    let load = Load::start(Config::new(vec![server.address], KEPT));
    was_asked.recv_timeout(SOON).unwrap();
    load.end();
    assert_eq!((load.snapshot().requests(), load.is_finished()), (0, false));
    let_go.send(()).unwrap();
    let report = load.stop();
    report.assert_no_failures();
    assert_eq!(report.counts.ok, 1);
    assert!(was_asked.try_recv().is_err(), "a request was begun after the stop");
}

#[test]
fn a_client_that_waits_for_its_turn_does_not_delay_a_stop() {
    let server = Server::start(|client| client.answer_all(OK));
    // More clients than turns in the first second: most of them wait.
    let config =
        Config { rate: Some(1), ..Config::new(vec![server.address], Mode::KeepAlive { connections: 600 }) };
    let load = Load::start(config);
    wait_until(SOON, "the first answer", || load.snapshot().counts.ok == 1);
    let began = Instant::now();
    // The last client's turn is in ten minutes.
    load.stop().assert_no_failures();
    assert!(began.elapsed() < SOON);
}

#[test]
fn two_reports_add_up() {
    let servers =
        [Server::start(|client| client.answer_all(OK)), Server::start(|mut client| drop(client.request()))];
    let [one, other] =
        [run(requests(servers[0].address, KEPT, 30)), run(requests(servers[1].address, ONE_EACH, 2))];
    let mut sum = one.clone();
    sum.merge(&other);
    assert_eq!((sum.requests(), sum.counts.ok, sum.failed(), sum.counts.closed), (32, 30, 2, 2), "{sum}");
    assert_eq!((sum.connections, sum.targets.len(), sum.failures.len(), sum.answers_of("v1")), (3, 2, 2, 30));
    assert_eq!((sum.began, &sum.latency), (one.began, &one.latency));
    let end = |report: &Report| report.began.unix_millis() + report.elapsed_ms;
    assert_eq!(end(&sum), end(&other).max(end(&one)));
}

#[test]
fn a_run_that_could_leave_this_machine_does_not_start() {
    let config = Config::new(vec!["192.0.2.1:80".parse().unwrap()], KEPT);
    let refused = Load::try_start(config.clone());
    assert!(matches!(refused, Err(LoadError::Config(ConfigError::NotLoopback(_)))), "{refused:?}");
    assert!(std::panic::catch_unwind(|| Load::start(config)).is_err());
}

#[test]
#[ignore = "half a minute: more connections than one source address has ports"]
fn more_connections_than_ports_do_not_run_out_of_ports() {
    let server = Server::start(|mut client| {
        client.request();
        client.send(OK);
    });
    let config = requests(server.address, Mode::OnePerRequest { workers: 16 }, 70_000);
    let report = Load::start(config).wait();
    report.assert_no_failures();
    assert_eq!(report.counts.ok, 70_000);
}
