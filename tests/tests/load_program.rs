//! The program `load`: its output and its exit codes.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot do its work ends the test")]

use handover_tests::process::{Running, binary, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Command,
    thread,
    time::Duration,
};

const SOON: Duration = Duration::from_secs(20);

/// A service that answers each connection's first request and closes.
fn service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\nx-version: v1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                );
            });
        }
    });
    address
}

fn load(target: SocketAddr, flags: &[&str]) -> (Option<i32>, String, String) {
    let output =
        Command::new(binary("load")).args(["--target", &target.to_string()]).args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_run_without_a_failure_exits_with_0_and_prints_a_table() {
    let (code, table, stderr) = load(service(), &["--one-per-request", "2", "--requests", "20"]);
    assert_eq!(code, Some(0), "{table}{stderr}");
    assert!(table.starts_with("20 requests, one connection per request"), "{table}");
}

#[test]
fn a_run_with_a_failure_exits_with_1_and_names_its_kind() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, line, _) = load(nobody, &["--keep-alive", "1", "--requests", "3", "--json"]);
    let report: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (code, &report["failed"], &report["counts"]["refused"]),
        (Some(1), &3.into(), &3.into()),
        "{line}"
    );
}

#[test]
fn a_target_elsewhere_is_a_usage_error() {
    let (code, _, stderr) = load("192.0.2.1:80".parse().unwrap(), &[]);
    assert!(code == Some(2) && stderr.contains("never sends to another machine"), "{stderr}");
    assert_eq!(load(service(), &["--seconds", "601"]).0, Some(2));
}

#[test]
fn progress_goes_on_until_sigterm_and_the_last_line_is_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let target = service().to_string();
    let args = ["--target", &target, "--rate", "200", "--json", "--progress"];
    let mut load = Running::start(folder.path(), "load", binary("load"), args);
    wait_until(SOON, "two lines of progress", || load.stdout().lines().count() >= 2);
    load.signal(Signal::SIGTERM);
    assert_eq!(load.wait(SOON).code(), Some(0), "{}", load.stdout());
    let requests = |line: &str| serde_json::from_str::<Value>(line).unwrap()["requests"].as_u64().unwrap();
    let requests: Vec<u64> = load.stdout().lines().map(requests).collect();
    assert!(requests.is_sorted() && requests.len() >= 3 && requests[1] > 0, "{requests:?}");
}
