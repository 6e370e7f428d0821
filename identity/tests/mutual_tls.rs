//! Who gets in, and whom clients trust, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of #[test] functions")]

mod fixture;

use fixture::{DAY, Fleet, impostor, who_am_i};
use handover_identity::{
    ClientTls, ConnectError, Credentials, CredentialsError, KeyPair, ServerAddress, ServerTls, TlsProblem,
    UnixIncoming, connect, connect_unix, http2_server, pinned_client_config, wall_clock,
};
use handover_model::{Digest, Duration, Timestamp};
use std::{os::unix::fs::PermissionsExt, sync::Arc};
use tokio::net::{TcpListener, TcpStream};

async fn problem(address: &ServerAddress, tls: Arc<rustls::ClientConfig>) -> TlsProblem {
    match connect(address, tls).await {
        Err(ConnectError::Tls { problem, .. }) => problem,
        Err(other) => panic!("another error: {other:?}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn an_agent_is_known_by_its_certificate() {
    let fleet = Fleet::start();
    let mut channel = connect(&fleet.address, fleet.client("web-1").config()).await.unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), "spiffe://prod/agent/web-1");
}

#[tokio::test]
async fn a_host_that_enrols_reaches_the_pinned_server_as_nobody() {
    let fleet = Fleet::start();
    let tls = pinned_client_config(fleet.ca.fingerprint()).unwrap();
    let mut channel = connect(&fleet.address, tls).await.unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_server_with_another_ca_than_the_tokens_is_refused_before_anything_is_sent() {
    let fleet = Fleet::start();
    let expected = Digest::of(b"another CA");
    let refused = problem(&fleet.address, pinned_client_config(expected).unwrap()).await;
    assert!(matches!(&refused, TlsProblem::WrongServer(pin) if pin.expected == expected), "{refused:?}");
    assert!(refused.to_string().contains("not the server that made the token"), "{refused}");
    fixture::until("the server sees a failed handshake", || fleet.counters.handshakes_failed_total() == 1)
        .await;
    assert_eq!(fleet.counters.admitted_total(), 0);
}

#[tokio::test]
async fn who_shows_the_pinned_ca_without_being_signed_by_it_is_refused() {
    let (fleet, other) = (Fleet::start(), Fleet::start());
    let forged = other.forge("spiffe://prod/server", Some("handover-server"));
    let address = impostor(&forged, &[&other.ca, &fleet.ca]).await;
    let tls = pinned_client_config(fleet.ca.fingerprint()).unwrap();
    assert_eq!(problem(&address, tls).await, TlsProblem::UnknownServer);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let (fleet, other) = (Fleet::start(), Fleet::start());
    // It trusts the right server, and shows what another CA signed.
    let tls = fleet.client("web-1");
    tls.replace_certificate(&other.agent("web-1")).unwrap();
    assert_eq!(problem(&fleet.address, tls.config()).await, TlsProblem::OwnUnknown);
}

#[tokio::test]
async fn a_server_of_another_ca_is_refused() {
    let (fleet, other) = (Fleet::start(), Fleet::start());
    assert_eq!(problem(&other.address, fleet.client("web-1").config()).await, TlsProblem::UnknownServer);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_both_sides_say_so() {
    let fleet = Fleet::start();
    let two_days_ago = Timestamp::from_unix_millis(wall_clock().unix_millis() - 2 * 86_400_000);
    let expired = fleet.agent_at("web-1", two_days_ago, DAY);
    assert!(matches!(expired.check_validity(wall_clock()), Err(CredentialsError::Expired(_))));
    let tls = ClientTls::new(&expired).unwrap();
    assert_eq!(problem(&fleet.address, tls.config()).await, TlsProblem::OwnExpired);
}

#[tokio::test]
async fn certificates_that_name_no_client_of_this_fleet_are_refused() {
    let fleet = Fleet::start();
    let agent = "spiffe://prod/agent/web-1";
    assert!(connect(&fleet.address, fleet.client_naming(&[agent])).await.is_ok());
    let bad: [&[&str]; 6] = [
        &[],
        &[agent, "spiffe://prod/agent/web-2"],
        &["spiffe://prod/server"],
        &["spiffe://test/agent/web-1"],
        &["spiffe://prod/root"],
        &["https://prod/agent/web-1"],
    ];
    for uris in bad {
        let tls = fleet.client_naming(uris);
        assert_eq!(problem(&fleet.address, tls).await, TlsProblem::OwnRefused, "{uris:?}");
    }
}

#[tokio::test]
async fn an_agents_certificate_cannot_answer_as_the_server() {
    let fleet = Fleet::start();
    let address = impostor(&fleet.agent("web-2"), &[&fleet.ca]).await;
    let pinned = pinned_client_config(fleet.ca.fingerprint()).unwrap();
    assert_eq!(problem(&address, fleet.client("web-1").config()).await, TlsProblem::NotTheServer);
    assert_eq!(problem(&address, pinned).await, TlsProblem::NotTheServer);
}

#[tokio::test]
async fn the_servers_name_alone_does_not_make_a_server() {
    let fleet = Fleet::start();
    for uri in ["spiffe://prod/agent/web-2", "spiffe://test/server"] {
        let address = impostor(&fleet.forge(uri, Some("handover-server")), &[&fleet.ca]).await;
        assert_eq!(
            problem(&address, fleet.client("web-1").config()).await,
            TlsProblem::NotTheServer,
            "{uri}"
        );
    }
}

#[tokio::test]
async fn both_certificates_are_replaced_while_connections_live() {
    let fleet = Fleet::start();
    let tls = fleet.client("web-1");
    let mut before = connect(&fleet.address, tls.config()).await.unwrap();
    assert_eq!(who_am_i(&mut before).await.unwrap(), "spiffe://prod/agent/web-1");
    let renewed = fleet.ca.issue_server(DAY, wall_clock()).unwrap();
    let serial = renewed.facts.serial.clone();
    fleet.tls.replace_certificate(renewed).unwrap();
    tls.replace_certificate(&fleet.agent("web-2")).unwrap();
    let mut after = connect(&fleet.address, tls.config()).await.unwrap();
    assert_eq!(who_am_i(&mut after).await.unwrap(), "spiffe://prod/agent/web-2");
    assert_eq!(who_am_i(&mut before).await.unwrap(), "spiffe://prod/agent/web-1");
    let shown = handshake(&fleet.address, tls.config()).await;
    let shown = &shown.get_ref().1.peer_certificates().unwrap()[0];
    assert_eq!(handover_identity::CertificateFacts::from_der(shown).unwrap().serial, serial);
}

async fn handshake(
    address: &ServerAddress,
    config: Arc<rustls::ClientConfig>,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect((address.host(), address.port())).await.unwrap();
    let name = handover_identity::SERVER_NAME.try_into().unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn no_session_is_resumed_even_for_a_client_that_would() {
    use tokio::io::AsyncReadExt as _;
    let fleet = Fleet::start();
    let mut config = fleet.client("web-1").config().as_ref().clone();
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let config = Arc::new(config);
    for _ in 0..2 {
        let mut stream = handshake(&fleet.address, Arc::clone(&config)).await;
        // Tickets would come before the first bytes.
        stream.read_u8().await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn what_is_no_handover_server_is_named_so() {
    let fleet = Fleet::start();
    let tls = fleet.client("web-1").config();

    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let error = connect(&nobody.into(), Arc::clone(&tls)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tcp { .. }), "{error:?}");

    let error = connect(&"handover.invalid:7443".parse().unwrap(), Arc::clone(&tls)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Resolve { .. } | ConnectError::Late { .. }), "{error:?}");

    let plain = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = plain.local_addr().unwrap().into();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.readable().await.unwrap();
    });
    assert_eq!(problem(&address, Arc::clone(&tls)).await, TlsProblem::NotOurProtocol);

    let closing = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = closing.local_addr().unwrap().into();
    tokio::spawn(async move { drop(closing.accept().await) });
    assert_eq!(problem(&address, tls).await, TlsProblem::Closed);
}

#[tokio::test]
async fn the_operator_on_the_servers_machine_is_known_by_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handover.sock");
    let error = connect_unix(&path).await.unwrap_err();
    assert!(error.to_string().contains("no server runs on this machine"), "{error}");
    let incoming = UnixIncoming::bind(&path).await.unwrap();
    let server = tokio::spawn(http2_server().add_service(fixture::WhoAmI).serve_with_incoming(incoming));
    let mut channel = connect_unix(&path).await.unwrap();
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), format!("uid {uid}"));
    server.abort();
}

#[tokio::test]
async fn credentials_survive_being_saved_and_are_private() {
    let fleet = Fleet::start();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("agent");
    assert!(!Credentials::exist(&directory));
    fleet.agent("web-1").save(&directory).unwrap();
    let mode = |name: &str| std::fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("key.pem"), mode("cert.pem"), mode("ca.pem")), (0o700, 0o600, 0o644, 0o644));
    let loaded = Credentials::load(&directory).unwrap();
    assert_eq!(*loaded.identity(), fixture::identity("spiffe://prod/agent/web-1"));
    let tls = ClientTls::new(&loaded).unwrap();
    let mut channel = connect(&fleet.address, tls.config()).await.unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), "spiffe://prod/agent/web-1");
}

#[tokio::test]
async fn credentials_that_do_not_belong_together_are_refused() {
    let (fleet, other) = (Fleet::start(), Fleet::start());
    let key = KeyPair::generate().unwrap();
    let csr = key.csr_pem().unwrap();
    let chain = fleet.ca.sign_agent(&csr, &"web-1".parse().unwrap(), DAY, wall_clock()).unwrap().chain_pem;
    let new = |key, ca: &str| Credentials::new(key, &chain, ca);
    let stranger = KeyPair::generate().unwrap();
    assert!(matches!(new(stranger, &fleet.ca.certificate_pem()), Err(CredentialsError::OtherKey)));
    assert!(matches!(new(key, &other.ca.certificate_pem()), Err(CredentialsError::OtherCa)));
    assert!(matches!(new(KeyPair::generate().unwrap(), ""), Err(CredentialsError::NotOneCa(0))));
}

#[tokio::test]
async fn an_interrupted_enrolment_goes_on_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let first = Credentials::enrolment_key(&folder.path().join("agent")).unwrap();
    let again = Credentials::enrolment_key(&folder.path().join("agent")).unwrap();
    first.save(&folder.path().join("a.pem")).unwrap();
    again.save(&folder.path().join("b.pem")).unwrap();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("a.pem"), read("b.pem"));
}

#[tokio::test]
async fn a_server_certificate_past_its_end_is_refused_by_clients() {
    let fleet = Fleet::start();
    let long_ago = Timestamp::from_unix_millis(wall_clock().unix_millis() - 2 * 86_400_000);
    fleet.tls.replace_certificate(fleet.ca.issue_server(DAY, long_ago).unwrap()).unwrap();
    let expired = problem(&fleet.address, fleet.client("web-1").config()).await;
    assert!(matches!(expired, TlsProblem::ServerExpired(Some(_))), "{expired}");
    let ahead = Timestamp::from_unix_millis(wall_clock().unix_millis() + 86_400_000);
    fleet.tls.replace_certificate(fleet.ca.issue_server(DAY, ahead).unwrap()).unwrap();
    let early = problem(&fleet.address, fleet.client("web-1").config()).await;
    assert!(matches!(early, TlsProblem::ServerNotValidYet(Some(_))), "{early}");
    assert!(
        ServerTls::new(&fleet.ca, fleet.ca.issue_server(Duration::from_secs(60), wall_clock()).unwrap())
            .is_ok()
    );
}
