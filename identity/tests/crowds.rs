//! Those without a certificate cannot keep out those who have one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of #[test] functions")]

mod fixture;

use fixture::{Fleet, PATIENCE, until, who_am_i};
use handover_identity::{AcceptLimits, connect, pinned_client_config};
use handover_model::Duration;
use std::net::Ipv4Addr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

async fn silent(fleet: &Fleet) -> TcpStream {
    TcpStream::connect((fleet.address.host(), fleet.address.port())).await.unwrap()
}

/// The same from another address.
async fn silent_from(fleet: &Fleet, source: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    let server = (fleet.address.host().parse::<Ipv4Addr>().unwrap(), fleet.address.port());
    socket.connect(server.into()).await.unwrap()
}

/// Reads until the other end closes; how it closes does not matter.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection was never closed");
}

#[tokio::test]
async fn more_silent_clients_than_places_do_not_keep_an_agent_out() {
    let fleet = Fleet::with(AcceptLimits { handshakes: 4, ..AcceptLimits::default() });
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(silent(&fleet).await);
    }
    let mut channel = connect(&fleet.address, fleet.client("web-1").config()).await.unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), "spiffe://prod/agent/web-1");
    assert!(fleet.counters.handshakes_displaced_total() >= 56);
    until_closed(&mut crowd[0]).await;
}

#[tokio::test]
async fn a_client_in_the_middle_of_its_handshake_is_kept_before_silent_ones() {
    let fleet = Fleet::with(AcceptLimits { handshakes: 3, ..AcceptLimits::default() });
    let mut slow = silent(&fleet).await;
    // The beginning of a TLS record: type, version, length, and nothing of it.
    slow.write_all(&[0x16, 3, 1, 1, 0]).await.unwrap();
    until("it was accepted", || fleet.counters.accepted_total() == 1).await;
    let mut crowd = Vec::new();
    for count in 0..20 {
        crowd.push(silent(&fleet).await);
        until("it was accepted", || fleet.counters.accepted_total() == count + 2).await;
    }
    until("silent ones were displaced", || fleet.counters.handshakes_displaced_total() >= 18).await;
    until_closed(&mut crowd[0]).await;
    let still_open = timeout(Duration::from_millis(100), slow.read_u8()).await;
    assert!(still_open.is_err(), "the client that had begun was closed: {still_open:?}");
}

#[tokio::test]
async fn a_crowd_that_begins_its_handshakes_displaces_itself_and_nobody_from_elsewhere() {
    let fleet = Fleet::with(AcceptLimits { handshakes: 3, ..AcceptLimits::default() });
    let mut alone = silent_from(&fleet, Ipv4Addr::new(127, 66, 0, 1)).await;
    until("it was accepted", || fleet.counters.accepted_total() == 1).await;
    let mut crowd = Vec::new();
    for count in 0..20 {
        let mut client = silent_from(&fleet, Ipv4Addr::new(127, 66, 0, 2)).await;
        client.write_all(&[0x16, 3, 1, 1, 0]).await.unwrap();
        crowd.push(client);
        until("it was accepted", || fleet.counters.accepted_total() == count + 2).await;
    }
    assert_eq!(fleet.counters.handshakes_displaced_total(), 18);
    until_closed(&mut crowd[0]).await;
    let still_open = timeout(Duration::from_millis(100), alone.read_u8()).await;
    assert!(still_open.is_err(), "the one from elsewhere was closed: {still_open:?}");
}

#[tokio::test]
async fn an_agent_that_says_nothing_after_its_handshake_is_sent_away_and_one_that_speaks_stays() {
    let limits = AcceptLimits { greeting_deadline: Duration::from_millis(300), ..AcceptLimits::default() };
    let fleet = Fleet::with(limits);
    let mut agent = connect(&fleet.address, fleet.client("web-1").config()).await.unwrap();
    let stream = silent(&fleet).await;
    let connector = tokio_rustls::TlsConnector::from(fleet.client("web-2").config());
    let mut silent = connector.connect("handover-server".try_into().unwrap(), stream).await.unwrap();
    until_closed(&mut silent).await;
    assert_eq!(fleet.counters.greetings_late_total(), 1);
    let accepted = fleet.counters.accepted_total();
    assert_eq!(who_am_i(&mut agent).await.unwrap(), "spiffe://prod/agent/web-1");
    assert_eq!(fleet.counters.accepted_total(), accepted, "the agent's connection was a new one");
}

#[tokio::test]
async fn nobodies_of_one_address_leave_places_for_those_of_others() {
    let fleet = Fleet::with(AcceptLimits { anonymous_of_one_source: 1, ..AcceptLimits::default() });
    let pinned = || pinned_client_config(fleet.ca.fingerprint()).unwrap();
    let _first = connect(&fleet.address, pinned()).await.unwrap();
    assert!(connect(&fleet.address, pinned()).await.is_err());
    assert_eq!(fleet.counters.refused_full_total(), 1);
    let stream = silent_from(&fleet, Ipv4Addr::new(127, 66, 0, 1)).await;
    let connector = tokio_rustls::TlsConnector::from(pinned());
    let mut elsewhere = connector.connect("handover-server".try_into().unwrap(), stream).await.unwrap();
    // The server's SETTINGS: it was taken.
    elsewhere.read_u8().await.unwrap();
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let limits = AcceptLimits { handshake_deadline: Duration::from_millis(100), ..AcceptLimits::default() };
    let fleet = Fleet::with(limits);
    let mut client = silent(&fleet).await;
    until_closed(&mut client).await;
    assert_eq!(fleet.counters.handshakes_late_total(), 1);
}

#[tokio::test]
async fn nobodies_have_few_places_and_agents_their_own() {
    let fleet = Fleet::with(AcceptLimits { anonymous: 2, ..AcceptLimits::default() });
    let pinned = || pinned_client_config(fleet.ca.fingerprint()).unwrap();
    let _first = connect(&fleet.address, pinned()).await.unwrap();
    let _second = connect(&fleet.address, pinned()).await.unwrap();
    let error = connect(&fleet.address, pinned()).await.unwrap_err();
    assert!(format!("{error:?}").contains("Closed"), "{error:?}");
    assert_eq!(fleet.counters.refused_full_total(), 1);
    let mut channel = connect(&fleet.address, fleet.client("web-1").config()).await.unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), "spiffe://prod/agent/web-1");
}

#[tokio::test]
async fn nobodies_are_sent_away_after_their_time_and_agents_stay() {
    let limits = AcceptLimits { anonymous_deadline: Duration::from_millis(300), ..AcceptLimits::default() };
    let fleet = Fleet::with(limits);
    let mut agent = connect(&fleet.address, fleet.client("web-1").config()).await.unwrap();
    let stream = silent(&fleet).await;
    let connector = tokio_rustls::TlsConnector::from(pinned_client_config(fleet.ca.fingerprint()).unwrap());
    let mut nobody = connector.connect("handover-server".try_into().unwrap(), stream).await.unwrap();
    nobody.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    until_closed(&mut nobody).await;
    assert_eq!(fleet.counters.anonymous_late_total(), 1);
    let accepted = fleet.counters.accepted_total();
    assert_eq!(who_am_i(&mut agent).await.unwrap(), "spiffe://prod/agent/web-1");
    assert_eq!(fleet.counters.accepted_total(), accepted, "the agent's connection was a new one");
}

#[tokio::test]
async fn one_identity_cannot_take_all_places() {
    let fleet = Fleet::with(AcceptLimits { of_one_agent: 2, ..AcceptLimits::default() });
    let noisy = fleet.client("web-1");
    let first = connect(&fleet.address, noisy.config()).await.unwrap();
    let _second = connect(&fleet.address, noisy.config()).await.unwrap();
    assert!(connect(&fleet.address, noisy.config()).await.is_err());
    assert!(connect(&fleet.address, fleet.client("web-2").config()).await.is_ok());
    drop(first);
    let again = async { while connect(&fleet.address, noisy.config()).await.is_err() {} };
    assert!(timeout(PATIENCE, again).await.is_ok(), "a place was never given back");
}
