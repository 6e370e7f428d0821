//! Strangers who guess join tokens.

use super::middle_and_most;
use crate::fixture::{Agent, Server, reason};
use handover_identity::{JoinToken, KeyPair, ServerAddress, endpoint, pinned_client_config};
use handover_proto::{
    status::Refusal,
    v1::{EnrolRequest, enrolment_service_client::EnrolmentServiceClient},
};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 66, 4, 1);
/// Wrong tokens that are looked at: at first, and each second (`limits::FAILED_ENROLMENTS`).
const LOOKED_AT: (usize, usize) = (64, 1);

/// A connection without a certificate from this address.
async fn nobody(from: Ipv4Addr, server: &ServerAddress, token: &JoinToken) -> Channel {
    let to = (server.host().parse::<Ipv4Addr>().unwrap(), server.port());
    let tls = TlsConnector::from(pinned_client_config(token.ca_fingerprint).unwrap());
    let connector = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            let stream = socket.connect(to.into()).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(
                tls.connect("handover-server".try_into().unwrap(), stream).await?,
            ))
        }
    });
    endpoint().connect_with_connector(connector).await.unwrap()
}

fn request(token: &JoinToken, host: &str) -> EnrolRequest {
    EnrolRequest {
        secret: token.claim.expose(),
        host: host.into(),
        csr_pem: KeyPair::generate().unwrap().csr_pem().unwrap(),
        address: "127.0.0.1".into(),
        labels: [].into(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// The token with another secret.
fn wrong(token: &JoinToken, host: &str) -> EnrolRequest {
    let mut wrong = request(token, host);
    let last = wrong.secret.pop().unwrap();
    wrong.secret.push(if last == '0' { '1' } else { '0' });
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_tokens_at_a_high_rate_are_refused_unseen_and_delay_no_honest_host() {
    let server = Server::start();
    let token = server.token("").await;
    let began = Instant::now();
    let attack: Vec<_> = (0..8)
        .map(|number| {
            let (address, token) = (server.address(), token.clone());
            tokio::spawn(async move {
                let mut client = EnrolmentServiceClient::new(nobody(ATTACKER, &address, &token).await);
                let guess = wrong(&token, &format!("guess-{number}"));
                let mut answers = BTreeMap::<String, usize>::new();
                while began.elapsed() < Duration::from_secs(3) {
                    let refused = client.enrol(guess.clone()).await.unwrap_err();
                    *answers.entry(reason(&refused)).or_default() += 1;
                }
                answers
            })
        })
        .collect();
    let mut honest = Vec::new();
    for number in 0..10 {
        let host = format!("honest-{number}");
        let own = server.token(&host).await;
        let joining = Instant::now();
        Agent::enrol_with(&server, &host, &own).await.unwrap();
        honest.push(joining.elapsed());
    }
    let mut answers = BTreeMap::<String, usize>::new();
    for attacker in attack {
        for (reason, count) in attacker.await.unwrap() {
            *answers.entry(reason).or_default() += count;
        }
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    let (median, slowest) = middle_and_most(&mut honest);
    println!(
        "wrong tokens: {answers:?} in {seconds} s; honest hosts enrolled in {median:.0?} (at most {slowest:.0?})"
    );
    assert!(answers["TOKEN_INVALID"] <= LOOKED_AT.0 + LOOKED_AT.1 * seconds, "{answers:?}");
    assert!(answers["BUSY"] > 100, "the rate was not high: {answers:?}");
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(slowest < Duration::from_secs(2), "an honest host enrolled in {slowest:?}");

    // Who shares the address waits with it, and is told how long.
    let mut neighbour = EnrolmentServiceClient::new(nobody(ATTACKER, &server.address(), &token).await);
    let refused = loop {
        match neighbour.enrol(wrong(&token, "neighbour")).await {
            Err(refused) if reason(&refused) == "BUSY" => break Refusal::of(&refused).unwrap(),
            other => assert_eq!(reason(&other.unwrap_err()), "TOKEN_INVALID"),
        }
    };
    assert!(refused.message.contains(&ATTACKER.to_string()), "{refused:?}");
    assert!(refused.hint.contains("handover token create"), "{refused:?}");
}

#[tokio::test]
async fn an_enrolment_larger_than_any_is_not_read() {
    let server = Server::start();
    let token = server.token("").await;
    let mut client = EnrolmentServiceClient::new(nobody(ATTACKER, &server.address(), &token).await);
    let large = EnrolRequest { csr_pem: "x".repeat(32 * 1024), ..request(&token, "large") };
    let refused = client.enrol(large).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused:?}");
    client.enrol(request(&token, "usual")).await.unwrap();
}
