//! Each kind of probe against a small server of its own.

use crate::support::{Room, launcher, session, start, until};
use handover_agent::instance::SideCommand;
use handover_agent::instance::probe::{GrpcProbe, HttpProbe, ProbeFailure, ProbeKind, ProbeSpec, Route};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tonic_prost::ProstCodec;

const ENOUGH: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

fn pin_to(target: SocketAddr) -> Route {
    Route { source: "127.77.0.5:0".parse().unwrap(), target }
}

/// Answers each connection with `answer`, and tells what was asked and by whom.
fn server(answer: impl Into<Vec<u8>>) -> (SocketAddr, std::sync::mpsc::Receiver<(SocketAddr, String)>) {
    let answer = answer.into();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let request = read_request(&mut stream);
            // Probes that have enough may close before all is written.
            let _ = stream.write_all(&answer);
            if sender.send((peer, request)).is_err() {
                return;
            }
        }
    });
    (address, asked)
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

fn http(route: Route) -> HttpProbe {
    HttpProbe { route, path: "/ready".into(), host: Some("example.org".into()), status: 200..=299 }
}

async fn ask(kind: ProbeKind, timeout: Duration) -> Result<Duration, ProbeFailure> {
    ProbeSpec { kind, timeout }.ask().await
}

async fn words(kind: ProbeKind, timeout: Duration) -> String {
    ask(kind, timeout).await.unwrap_err().to_string()
}

#[tokio::test]
async fn an_http_probe_asks_from_its_pin_with_its_host() {
    let (target, asked) = server("HTTP/1.1 204 No Content\r\n\r\n");
    ask(ProbeKind::Http(http(pin_to(target))), ENOUGH).await.unwrap();
    let (peer, request) = asked.recv_timeout(ENOUGH).unwrap();
    assert_eq!(peer.ip().to_string(), "127.77.0.5");
    let request = request.to_lowercase();
    assert!(request.starts_with("get /ready http/1.1\r\n"), "{request}");
    let agent = format!("user-agent: handover-probe/{}\r\n", env!("CARGO_PKG_VERSION"));
    for line in ["host: example.org\r\n", "connection: close\r\n", &agent] {
        assert!(request.contains(line), "{line:?} is not in {request}");
    }
}

#[tokio::test]
async fn a_bad_status_is_told_with_the_bodys_words() {
    let (target, _asked) =
        server("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 14\r\n\r\nno \x1b[31mdatabase");
    let said = words(ProbeKind::Http(http(pin_to(target))), ENOUGH).await;
    assert_eq!(said, "GET /ready answered 503 Service Unavailable: no \\u{1b}[31mdataba");
    let (target, _asked) = server("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n");
    let said = words(ProbeKind::Http(http(pin_to(target))), ENOUGH).await;
    assert_eq!(said, "GET /ready answered 302 Found: to /login; redirects are not followed");
    let probe = HttpProbe { status: 200..=399, ..http(pin_to(target)) };
    ask(ProbeKind::Http(probe), ENOUGH).await.unwrap();
}

#[tokio::test]
async fn silence_refusal_and_nonsense_are_told_apart() {
    // Accepted by the kernel, answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = words(ProbeKind::Http(http(pin_to(silent.local_addr().unwrap()))), SHORT).await;
    assert_eq!(said, "no answer to GET /ready within 100ms");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = words(ProbeKind::Http(http(pin_to(closed))), ENOUGH).await;
    assert_eq!(said, format!("connection to {closed} refused: nothing listens there"));
    let (target, _asked) = server("this is no HTTP\r\n\r\n");
    let said = words(ProbeKind::Http(http(pin_to(target))), ENOUGH).await;
    assert_eq!(said, "GET /ready: the connection ended without a valid answer");
    let (target, _asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut off");
    let failure = ask(ProbeKind::Http(http(pin_to(target))), ENOUGH).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::Broken { .. }), "{failure:?}");
    let probe = HttpProbe { path: "no path".into(), ..http(pin_to(target)) };
    let failure = ask(ProbeKind::Http(probe), ENOUGH).await.unwrap_err();
    assert!(matches!(failure, ProbeFailure::Request { .. }), "{failure:?}");
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    answer.resize(answer.len() + (8 << 20), b'x');
    let (target, _asked) = server(answer);
    ask(ProbeKind::Http(http(pin_to(target))), ENOUGH).await.unwrap();
}

#[tokio::test]
async fn a_pin_that_is_a_port_can_be_used_again_at_once() {
    let (target, asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let source = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for _ in 0..3 {
        ask(ProbeKind::Http(http(Route { source, target })), ENOUGH).await.unwrap();
        assert_eq!(asked.recv_timeout(ENOUGH).unwrap().0, source);
    }
    for _ in 0..3 {
        ask(ProbeKind::Tcp(Route { source, target }), ENOUGH).await.unwrap();
    }
}

#[tokio::test]
async fn a_tcp_probe_is_content_with_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    ask(ProbeKind::Tcp(pin_to(target)), ENOUGH).await.unwrap();
    drop(listener);
    assert!(matches!(ask(ProbeKind::Tcp(pin_to(target)), ENOUGH).await, Err(ProbeFailure::Refused(_))));
}

/// Answers TLS connections; the certificate is self-signed, for another name, and long expired.
async fn tls_server() -> SocketAddr {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["other.example.net".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn an_https_probe_takes_the_instances_certificate_whatever_its_name() {
    let target = tls_server().await;
    ask(ProbeKind::Https(http(pin_to(target))), ENOUGH).await.unwrap();
    let by_address = HttpProbe { host: None, ..http(pin_to(target)) };
    ask(ProbeKind::Https(by_address), ENOUGH).await.unwrap();
    let (plain, _asked) = server("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let silent = ask(ProbeKind::Https(http(pin_to(plain))), SHORT).await.unwrap_err();
    assert!(matches!(silent, ProbeFailure::Tls { .. } | ProbeFailure::Late { .. }), "{silent:?}");
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A health service: the whole server is SERVING, "sick" is NOT_SERVING, others are not found.
#[derive(Clone)]
struct Health;

impl tonic::server::UnaryService<CheckRequest> for Health {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        ready(match request.into_inner().service.as_str() {
            "" => Ok(tonic::Response::new(CheckResponse { status: 1 })),
            "sick" => Ok(tonic::Response::new(CheckResponse { status: 2 })),
            _ => Err(tonic::Status::not_found("no such service")),
        })
    }
}

impl tonic::server::NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl tower::Service<http::Request<tonic::body::Body>> for Health {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<CheckResponse, CheckRequest>::default());
        Box::pin(async move { Ok(grpc.unary(Health, request).await) })
    }
}

#[tokio::test]
async fn a_grpc_probe_tells_what_the_health_service_says() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(Health).serve_with_incoming(incoming));
    let probe =
        |name: &str| ProbeKind::Grpc(GrpcProbe { route: pin_to(target), service_name: name.to_owned() });
    ask(probe(""), ENOUGH).await.unwrap();
    let said = words(probe("sick"), ENOUGH).await;
    assert_eq!(said, "grpc.health.v1.Health/Check of \"sick\" answered NOT_SERVING");
    let said = words(probe("none"), ENOUGH).await;
    assert!(said.contains("does not know it (NOT_FOUND): no such service"), "{said}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = ProbeKind::Grpc(GrpcProbe { route: pin_to(closed), service_name: String::new() });
    assert!(matches!(ask(refused, ENOUGH).await, Err(ProbeFailure::Refused(_))));
    let (plain, _asked) = server("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let nonsense = ProbeKind::Grpc(GrpcProbe { route: pin_to(plain), service_name: String::new() });
    assert!(matches!(ask(nonsense, ENOUGH).await, Err(ProbeFailure::Grpc { .. })));
}

fn exec(room: &Room, script: &str) -> ProbeKind {
    let mut spec = room.shell(script);
    spec.environment.insert("ZONE".into(), "a".into());
    ProbeKind::Exec(Box::new(SideCommand { launcher: launcher(), spec, place: session() }))
}

#[tokio::test]
async fn an_exec_probe_sees_the_instances_environment_and_tells_its_last_line() {
    let room = Room::new();
    ask(exec(&room, "test \"$ZONE\" = a && test \"$HANDOVER_INSTANCE\" = web-1"), ENOUGH).await.unwrap();
    let said = words(exec(&room, "echo first; echo 'no database' >&2; exit 3"), ENOUGH).await;
    assert!(said.ends_with(" exited with code 3: no database"), "{said}");
    let said = words(exec(&room, "kill -9 $$"), ENOUGH).await;
    assert!(said.ends_with(" was killed by SIGKILL"), "{said}");
    let mut spec = room.spec(&["bin/missing"]);
    spec.environment.clear();
    let missing = ProbeKind::Exec(Box::new(SideCommand { launcher: launcher(), spec, place: session() }));
    assert!(matches!(ask(missing, ENOUGH).await, Err(ProbeFailure::Launch(_))));
}

#[tokio::test]
async fn an_exec_probe_that_hangs_is_killed_with_its_children() {
    let room = Room::new();
    let marker = room.path().join("pid");
    let script =
        format!("sleep 300 & echo $! >{0}.new; mv {0}.new {0}; echo waiting; wait", marker.display());
    let said = words(exec(&room, &script), Duration::from_millis(600)).await;
    assert!(said.ends_with(" did not end within 600ms and was killed: waiting"), "{said}");
    let child: u32 = std::fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "it lives on: {stat}");
}

#[tokio::test]
async fn an_exec_probe_that_is_given_up_leaves_nothing() {
    let room = Room::new();
    let marker = room.path().join("pid");
    let script = format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 300", marker.display());
    let probe = tokio::spawn({
        let kind = exec(&room, &script);
        async move { ask(kind, ENOUGH).await }
    });
    until("the command's start", || marker.exists()).await;
    probe.abort();
    let pid: u32 = std::fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
    until("the command's end", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    })
    .await;
}

#[tokio::test]
async fn an_exec_probe_is_no_member_of_the_instances_session() {
    let room = Room::new();
    let running = start(&room.spec(&["/bin/sleep", "300"]), Vec::new()).await.unwrap();
    let spec = room.shell("exit 1");
    let probe = SideCommand { launcher: launcher(), spec, place: running.group.place_beside() };
    assert!(ask(ProbeKind::Exec(Box::new(probe)), ENOUGH).await.is_err());
    assert!(running.process.status().is_none(), "the probe's end took the instance with it");
    crate::support::end(&running.group).await;
}
