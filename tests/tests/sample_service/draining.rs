//! Well-behaved ends, and the three ways of ending badly.

use super::service::{SOON, Service};
use handover_tests::{
    http::{self, Connection},
    load::{Config, Load, Mode},
    process::wait_until,
};
use nix::sys::signal::Signal;
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

/// A kept connection on which one request was answered.
fn idle(service: &Service) -> Connection {
    let mut connection = Connection::open(service.address).unwrap();
    assert!(!connection.get("/").unwrap().says_close());
    connection
}

/// A connection with a request that takes this long, which the service is working on.
fn busy(service: &Service, ms: u32) -> Connection {
    let mut connection = Connection::open(service.address).unwrap();
    connection.ask(&format!("/sleep?ms={ms}"), "").unwrap();
    // It, and the one for the statistics.
    wait_until(SOON, "the request to arrive", || service.stats()["working"] == 2);
    connection
}

fn wait_until_draining(service: &Service) {
    // The listener is closed last of what SIGTERM starts.
    wait_until(SOON, "the listener to be closed", || Connection::open(service.address).is_err());
}

#[test]
fn an_idle_connection_gets_one_more_answer_that_says_close() {
    let mut service = Service::listening(&["--grace", "60s"]);
    let mut connection = idle(&service);
    service.process.signal(Signal::SIGTERM);
    wait_until_draining(&service);
    assert!(service.process.is_running(), "it did not wait for its connection");
    let answer = connection.get("/").unwrap();
    assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
    assert!(connection.is_closed());
    assert_eq!(service.process.wait(SOON).code(), Some(0));
}

#[test]
fn an_idle_connection_without_another_request_is_closed_after_the_grace() {
    let mut service = Service::listening(&["--grace", "300ms"]);
    let (mut connection, mut unused) = (idle(&service), Connection::open(service.address).unwrap());
    let told = Instant::now();
    assert_eq!(service.process.terminate(SOON).code(), Some(0));
    assert!(told.elapsed() >= Duration::from_millis(300), "ended after {:?}", told.elapsed());
    assert!(connection.is_closed() && unused.is_closed());
}

#[test]
fn a_running_request_is_finished_even_after_the_grace() {
    let mut service = Service::listening(&["--grace", "10ms"]);
    let mut connection = busy(&service, 800);
    service.process.signal(Signal::SIGTERM);
    let answer = connection.answer().unwrap();
    assert!(answer.body == "slept 800 ms\n" && answer.says_close(), "{answer:?}");
    assert_eq!(service.process.wait(SOON).code(), Some(0));
}

#[test]
fn without_connections_it_ends_at_once() {
    let mut service = Service::listening(&["--grace", "60s"]);
    assert_eq!(http::version(service.address), "v0");
    assert_eq!(service.process.terminate(SOON).code(), Some(0));
    assert!(
        service.process.stderr().contains("drained, 1 requests answered"),
        "{}",
        service.process.stderr()
    );
}

#[test]
fn a_successor_on_the_same_socket_takes_over_without_a_failed_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut old = Service::inheriting(&listener, &["--version", "v1"]);
    let start = |mode| Load::start(Config { rate: Some(1000), ..Config::new(vec![old.address], mode) });
    let loads = [start(Mode::KeepAlive { connections: 8 }), start(Mode::OnePerRequest { workers: 8 })];
    let answers = |version: &str| loads.iter().all(|load| load.snapshot().answers_of(version) >= 100);
    wait_until(SOON, "answers of the old version", || answers("v1"));
    let _new = Service::inheriting(&listener, &["--version", "v2"]);
    assert_eq!(old.process.terminate(SOON).code(), Some(0));
    wait_until(SOON, "answers of the new version", || answers("v2"));
    for report in loads.map(handover_tests::load::RunningLoad::stop) {
        report.assert_no_failures();
    }
}

#[test]
fn with_closes_idle_on_term_idle_connections_are_closed_before_the_grace() {
    let mut service = Service::listening(&["--closes-idle-on-term", "--grace", "60s"]);
    let (mut connection, mut working) = (idle(&service), busy(&service, 1000));
    let told = Instant::now();
    service.process.signal(Signal::SIGTERM);
    assert!(connection.is_closed());
    assert_eq!(working.answer().unwrap().body, "slept 1000 ms\n");
    assert_eq!(service.process.wait(SOON).code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(60));
}

#[test]
fn with_no_drain_running_requests_are_cut() {
    let mut service = Service::listening(&["--no-drain"]);
    let mut working = busy(&service, 60_000);
    assert_eq!(service.process.terminate(SOON).code(), Some(0));
    assert!(working.answer().is_err());
}

#[test]
fn with_ignore_term_it_goes_on() {
    let mut service = Service::listening(&["--ignore-term", "--version", "v9"]);
    let mut connection = idle(&service);
    service.process.signal(Signal::SIGTERM);
    service.process.signal(Signal::SIGINT);
    // A drain would have closed the listener after 100 ms.
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert_eq!(http::version(service.address), "v9");
    }
    assert!(!connection.get("/").unwrap().says_close());
    service.process.signal(Signal::SIGKILL);
    assert_eq!(service.process.wait(SOON).code(), None);
}
