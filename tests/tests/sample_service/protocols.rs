//! READY=1, https, gRPC health.

use super::service::{SOON, Service};
use handover_tests::process::{Running, binary};
use hyper::{
    Request,
    body::{Body, Bytes},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    fs,
    future::poll_fn,
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    pin::Pin,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

#[test]
fn ready_is_told_after_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = Command::new(binary("sample-service"));
    command.args(["--listen", "127.0.0.1:0", "--notify-after", "300ms"]).env("NOTIFY_SOCKET", &path);
    let began = Instant::now();
    let _service = Running::start_command(folder.path(), "sample", command);
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut message = [0; 64];
    let length = socket.recv(&mut message).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(&message[..length], b"READY=1");
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.recv(&mut message).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn https_is_served_with_the_given_certificate() {
    let certified = rcgen::generate_simple_self_signed(["sample.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, certified.cert.pem()).unwrap();
    fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let service =
        Service::listening(&["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);

    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(service.address).await.unwrap();
    let name = ServerName::try_from("sample.example").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: sample.example\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("x-version: v0\r\n"), "{answer}");
}

/// The status in the answer to grpc.health.v1.Health/Check: 1 is SERVING, 2 NOT_SERVING.
async fn health(service: &Service) -> u8 {
    let stream = TcpStream::connect(service.address).await.unwrap();
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let uri = format!("http://{}/grpc.health.v1.Health/Check", service.address);
    let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    let mut response = sender.send_request(request.body(Message(vec![0; 5])).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await {
        match frame.unwrap().into_data() {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    connection.abort();
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
    let [0, 0, 0, 0, 2, 8, status] = data[..] else { panic!("{data:?}") };
    status
}

/// A request's body of one piece.
struct Message(Vec<u8>);

impl Body for Message {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let bytes = std::mem::take(&mut self.0);
        std::task::Poll::Ready((!bytes.is_empty()).then(|| Ok(hyper::body::Frame::data(bytes.into()))))
    }
}

#[tokio::test]
async fn grpc_health_follows_readiness_beside_http1() {
    let service = Service::listening(&["--grpc-health"]);
    assert_eq!(health(&service).await, 1);
    assert_eq!(handover_tests::http::version(service.address), "v0");
    assert_eq!(health(&Service::listening(&["--grpc-health", "--never-ready"])).await, 2);
}
