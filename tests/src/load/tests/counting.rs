//! Each failure is counted as what it is, once, and never tried again.

use super::{
    Counts, KEPT, ONE_EACH, Report, requests, run,
    server::{Client, OK, Server},
};
use crate::load::{Config, FailureKind};
use std::{
    net::{TcpListener, TcpStream},
    time::Duration,
};

/// Three requests by one client in each mode to a server that treats each connection's first request like this.
fn three_of_each(behave: impl Fn(Client) + Send + Sync + Clone + 'static, expected: &Counts) {
    for mode in [KEPT, ONE_EACH] {
        let behave = behave.clone();
        let server = Server::start(move |mut client| {
            if client.request().is_some() {
                behave(client);
            }
        });
        let report = run(requests(server.address, mode, 3));
        assert_eq!(&report.counts, expected, "{report}");
        assert_eq!(server.accepted(), 3, "something was tried again, in the mode {mode:?}");
        assert_eq!(report.failures.len(), 3);
        assert!(
            report.failures.iter().all(|failure| failure.answered_before == 0 && failure.source.is_some())
        );
        assert_eq!(report.latency.max_us, 0, "a failure has no latency");
    }
}

#[test]
fn a_refused_connection_is_counted_as_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for mode in [KEPT, ONE_EACH] {
        let report = run(requests(address, mode, 3));
        assert_eq!(report.counts, Counts { refused: 3, ..Counts::default() });
        assert_eq!(report.connections, 0);
    }
}

#[test]
fn a_reset_before_the_response_is_counted_as_reset() {
    three_of_each(Client::reset, &Counts { reset: 3, ..Counts::default() });
}

#[test]
fn a_reset_in_the_middle_of_a_response_is_counted_as_reset() {
    let behave = |mut client: Client| {
        client.send(&OK[..OK.len() - 1]);
        client.reset();
    };
    three_of_each(behave, &Counts { reset: 3, ..Counts::default() });
}

#[test]
fn a_close_in_the_middle_of_a_response_is_counted_as_truncated() {
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
    for beginning in [&OK[..1], &OK[..20], &OK[..OK.len() - 1], chunked] {
        let behave = move |mut client: Client| {
            client.send(beginning);
            client.close();
        };
        three_of_each(behave, &Counts { truncated: 3, ..Counts::default() });
    }
}

#[test]
fn a_close_before_the_first_byte_is_counted_as_closed() {
    three_of_each(Client::close, &Counts { closed: 3, ..Counts::default() });
}

#[test]
fn a_keep_alive_connection_closed_between_requests_is_counted_as_closed() {
    let server = Server::start(|mut client| {
        if client.request().is_some() {
            client.send(OK);
            client.close();
        }
    });
    let report = run(requests(server.address, KEPT, 6));
    assert_eq!(report.counts, Counts { ok: 3, closed: 3, ..Counts::default() }, "{report}");
    assert_eq!(server.accepted(), 3);
    assert!(report.failures.iter().all(|failure| failure.answered_before == 1), "{report}");
}

#[test]
fn another_status_is_counted_as_non_2xx_and_keeps_its_connection() {
    let server = Server::start(|client| {
        client.answer_all(b"HTTP/1.1 503 Busy\r\nx-version: v2\r\ncontent-length: 0\r\n\r\n");
    });
    let report = run(requests(server.address, KEPT, 3));
    assert_eq!(report.counts, Counts { non_2xx: 3, server_errors: 3, ..Counts::default() }, "{report}");
    assert_eq!((server.accepted(), report.connections, report.answers_of("v2")), (1, 1, 3));
    let before: Vec<u64> = report.failures.iter().map(|failure| failure.answered_before).collect();
    assert_eq!(before, [0, 1, 2]);
}

#[test]
fn what_is_no_response_is_counted_as_malformed() {
    for answer in [b"SSH-2.0-x\r\n".to_vec(), [OK, b"more"].concat()] {
        let behave = move |mut client: Client| {
            client.send(&answer);
            client.close();
        };
        three_of_each(behave, &Counts { malformed: 3, ..Counts::default() });
    }
}

#[test]
fn a_response_that_does_not_end_in_time_is_counted_as_timed_out() {
    for beginning in [&b""[..], &OK[..OK.len() - 1]] {
        let server = Server::start(move |mut client| {
            client.request();
            client.send(beginning);
            // Holds the connection until the client gives up.
            client.request();
        });
        let request_timeout = Duration::from_millis(50);
        let config = Config { request_timeout, ..requests(server.address, KEPT, 2) };
        let report = run(config);
        assert_eq!(report.counts, Counts { timed_out: 2, ..Counts::default() }, "{report}");
        assert_eq!(server.accepted(), 2, "a connection was used again after a time-out");
    }
}

#[test]
fn a_connection_that_is_not_made_in_time_is_counted_as_timed_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // One connection fits into a queue of length 0; the kernel drops further handshakes silently.
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let _fills_the_queue = TcpStream::connect(address).unwrap();
    let config = Config { connect_timeout: Duration::from_millis(300), ..requests(address, ONE_EACH, 1) };
    let report = run(config);
    assert_eq!(report.counts, Counts { timed_out: 1, ..Counts::default() }, "{report}");
    assert!(report.failures[0].detail.contains("no connection"), "{report}");
}

#[test]
fn other_errors_while_connecting_are_counted_by_themselves() {
    // A routing failure is hard to bring about on loopback; the table that sorts errors is asked itself.
    let kind = |error: rustix::io::Errno| FailureKind::of_connect(&error.into());
    assert_eq!(kind(rustix::io::Errno::ADDRNOTAVAIL), FailureKind::ConnectError);
    assert_eq!(kind(rustix::io::Errno::NETUNREACH), FailureKind::ConnectError);
    assert_eq!(kind(rustix::io::Errno::TIMEDOUT), FailureKind::TimedOut);
}

#[test]
fn a_report_says_the_same_as_json_and_names_each_kind_as_text() {
    let server = Server::start(Client::reset);
    let report = run(requests(server.address, KEPT, 2));
    let again: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(again, report);
    let text = report.to_string();
    assert!(FailureKind::ALL.iter().all(|kind| text.contains(&kind.to_string())), "{text}");
    assert!(text.contains(&server.address.to_string()), "{text}");
}

#[test]
#[should_panic(expected = "2 requests failed")]
fn a_single_failure_ends_the_test_that_allows_none() {
    let server = Server::start(Client::reset);
    run(requests(server.address, KEPT, 2)).assert_no_failures();
}
