//! Readiness, liveness, crashes, children, output.

use super::service::{SOON, Service, ended, inheriting};
use handover_tests::{
    http::{self, Connection},
    load::{Config, Load, Mode},
    process::{Running, binary, wait_until},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    net::TcpListener,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    time::{Duration, Instant},
};

fn status(service: &Service, path: &str) -> u16 {
    http::get(service.address, path).unwrap().status
}

#[test]
fn an_answer_tells_version_and_pid() {
    let service = Service::listening(&["--version", "v1.2"]);
    for path in ["/", "/ready", "/live", "/stats", "/bytes?n=3", "/nowhere"] {
        let answer = http::get(service.address, path).unwrap();
        assert_eq!(answer.headers["x-version"], "v1.2", "{path}");
        assert_eq!(answer.status, if path == "/nowhere" { 404 } else { 200 }, "{path}");
    }
    let greeting = http::get(service.address, "/").unwrap().body;
    assert_eq!(greeting, format!("v1.2 {}\n", service.process.pid()));
    assert_eq!(service.stats()["pid"], service.process.pid());
}

#[test]
fn bytes_are_as_many_as_asked_for() {
    let service = Service::listening(&[]);
    let mut connection = Connection::open(service.address).unwrap();
    for n in [0, 1, 65_536, 1_000_000] {
        assert_eq!(connection.get(&format!("/bytes?n={n}")).unwrap().body.len(), n);
    }
}

#[test]
fn inherited_sockets_are_taken_by_their_names_and_only_by_their_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = Service::inheriting(&listener, &["--version", "v3"]);
    assert_eq!(service.address, listener.local_addr().unwrap());
    assert!(service.process.stdout().contains("(http)"), "{}", service.process.stdout());
    assert_eq!(http::version(service.address), "v3");

    let others = inheriting(&listener, "LISTEN_PID=1").output().unwrap();
    assert_eq!(others.status.code(), Some(1));
    let stderr = String::from_utf8(others.stderr).unwrap();
    assert!(stderr.contains("meant for another process"), "{stderr}");
    let (code, stderr) = ended([] as [&str; 0]);
    assert!(code == Some(1) && stderr.contains("no sockets"), "{stderr}");
}

#[test]
fn readiness_comes_when_the_flags_say() {
    let began = Instant::now();
    let service = Service::listening(&["--ready-after", "400ms"]);
    assert!(status(&service, "/ready") == 503 || began.elapsed() > Duration::from_millis(400));
    assert_eq!((status(&service, "/"), status(&service, "/live")), (200, 200));
    wait_until(SOON, "readiness", || status(&service, "/ready") == 200);
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(status(&Service::listening(&["--never-ready"]), "/ready"), 503);
    assert_eq!(status(&Service::listening(&["--ready-status", "500"]), "/ready"), 500);
}

#[test]
fn liveness_fails_once_told_and_a_crash_is_one() {
    let mut service = Service::listening(&[]);
    assert_eq!(
        (status(&service, "/live"), status(&service, "/fail-live"), status(&service, "/live")),
        (200, 200, 500)
    );
    assert_eq!(status(&service, "/ready"), 200);
    assert!(http::get(service.address, "/crash").is_err());
    assert_eq!(service.process.wait(SOON).signal(), Some(Signal::SIGABRT as i32));
}

#[test]
fn exits_come_when_the_flags_say() {
    let (code, stderr) = ended(["--exit-at-once", "7"]);
    assert!(code == Some(7) && stderr.contains("as told"), "{stderr}");
    let (code, stderr) = ended(["--listen", "127.0.0.1:0", "--exit-after", "50ms"]);
    assert!(code == Some(1) && stderr.contains("as told"), "{stderr}");
}

#[test]
fn errors_are_exactly_the_part_that_was_asked_for_and_latency_is_added() {
    let service = Service::listening(&["--error-rate", "0.02", "--latency", "3ms"]);
    let mode = Mode::KeepAlive { connections: 4 };
    let report =
        Load::start(Config { max_requests: Some(200), ..Config::new(vec![service.address], mode) }).wait();
    assert_eq!((report.counts.ok, report.counts.non_2xx, report.failed()), (196, 4, 4), "{report}");
    assert!(report.latency.p50_us >= 3000, "{report}");
}

#[test]
fn requests_are_counted_for_prometheus_by_status_and_by_how_long_they_took() {
    let service = Service::listening(&["--error-rate", "0.1", "--latency", "3ms"]);
    let mode = Mode::KeepAlive { connections: 2 };
    let report =
        Load::start(Config { max_requests: Some(50), ..Config::new(vec![service.address], mode) }).wait();
    assert_eq!((report.counts.ok, report.counts.server_errors), (45, 5), "{report}");
    for path in ["/ready", "/live", "/stats", "/metrics"] {
        http::get(service.address, path).unwrap();
    }
    let text = http::get(service.address, "/metrics").unwrap().body;
    for line in [
        "http_requests_total{code=\"200\"} 45",
        "http_requests_total{code=\"500\"} 5",
        "http_request_duration_seconds_bucket{le=\"0.0025\"} 0",
        "http_request_duration_seconds_bucket{le=\"+Inf\"} 50",
        "http_request_duration_seconds_count 50",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
}

#[test]
fn metrics_do_wrong_when_they_are_told_to() {
    let answer = |flags: &[&str]| {
        let service = Service::listening(flags);
        http::get(service.address, "/metrics").unwrap()
    };
    assert_eq!(answer(&["--metrics", "none"]).status, 404);
    assert_eq!(answer(&["--metrics", "redirect"]).status, 302);
    assert!(answer(&["--metrics", "garbage"]).body.contains("no metrics"));
    assert_eq!(answer(&["--metrics-vanish-after", "0s"]).status, 404);
}

#[test]
fn a_forked_child_ignores_sigterm_and_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut service = Service::inheriting(&listener, &["--fork-child"]);
    wait_until(SOON, "the child", || service.process.stderr().contains("started the child "));
    let stderr = service.process.stderr();
    let child = stderr.lines().find_map(|line| line.split_once("started the child ")).unwrap().1;
    let child = Pid::from_raw(child.parse().unwrap());
    let catches = |signal: Signal| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap_or("0");
        u64::from_str_radix(caught, 16).unwrap() & (1 << (signal as i32 - 1)) != 0
    };
    wait_until(SOON, "the child to be up", || catches(Signal::SIGTERM));
    let descriptors = |pid: u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect::<Vec<_>>()
    };
    let socket = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    assert!(descriptors(service.process.pid()).contains(&socket));
    assert!(!descriptors(child.as_raw().unsigned_abs()).contains(&socket), "the child has the listener");
    assert_eq!(service.process.terminate(SOON).code(), Some(0));
    kill(child, Signal::SIGTERM).unwrap();
    assert!(catches(Signal::SIGTERM), "the child is gone");
    kill(child, Signal::SIGKILL).unwrap();
}

#[test]
fn a_worker_appends_lines_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("work");
    let args = ["--version", "v4", "--worker", file.to_str().unwrap()];
    let mut worker = Running::start(folder.path(), "worker", binary("sample-service"), args);
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    wait_until(SOON, "three lines", || lines() >= 3);
    assert_eq!(worker.terminate(SOON).code(), Some(0));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(&format!("v4 {} 1\n", worker.pid())), "{text}");
}

#[test]
fn lines_are_printed_at_their_rate() {
    let service = Service::listening(&["--print", "500", "--version", "v5"]);
    let began = Instant::now();
    wait_until(SOON, "a hundred lines", || service.process.stdout().contains("v5 line 100\n"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} for 100 lines", began.elapsed());
    assert!(service.folder.path().join("sample.out").exists());
}

#[test]
fn a_connection_of_a_certain_age_is_closed_with_an_answer_that_says_so() {
    let service = Service::listening(&["--connection-age", "300ms"]);
    let mut connection = Connection::open(service.address).unwrap();
    assert!(!connection.get("/").unwrap().headers.contains_key("connection"));
    let mut said = None;
    wait_until(SOON, "the answer that says so", || {
        said = connection.get("/").unwrap().headers.get("connection").cloned();
        said.is_some()
    });
    assert_eq!(said.as_deref(), Some("close"));
}
