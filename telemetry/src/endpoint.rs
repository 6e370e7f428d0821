//! `/metrics` and `/healthz` over HTTP/1.1 on an address of its own, for those who watch from outside.
//!
//! Whoever reaches the address may ask, so everything is bounded: connections at once, a request's size, and the time
//! of a connection. One request a connection; what is asked for beyond the two paths does not exist.

use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Connections at once; one more is closed.
const CONNECTIONS: usize = 32;
/// Longest request line and headers together, in bytes.
const REQUEST_BYTES: usize = 8 * 1024;
/// Most headers of a request.
const REQUEST_HEADERS: usize = 64;
/// How long a request may take to arrive.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// How long an answer may take to be found.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// How long a whole connection may last.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(15);
/// After accept(2) failed, mostly for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// What is told.
pub trait Told: Send + Sync + 'static {
    /// Every metric, as OpenMetrics text.
    fn metrics(&self) -> BoxFuture<'_, Result<String, std::fmt::Error>>;
    /// Whether the daemon does its work.
    fn health(&self) -> BoxFuture<'_, Health>;
}

/// Whether a daemon does its work, and in words why or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it does.
    pub healthy: bool,
    /// Lines for people.
    pub text: String,
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for /metrics and /healthz")]
pub struct EndpointError {
    /// Which.
    pub address: SocketAddr,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// A bound address that is not served yet.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Endpoint {
    /// Binds the address; port 0 takes a free one.
    ///
    /// # Errors
    /// When it is taken or not this machine's.
    pub async fn bind(address: SocketAddr) -> Result<Self, EndpointError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound.await.map_err(|source| EndpointError { address, source })
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub async fn serve(self, told: Arc<dyn Told>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    // No place left: dropping the stream closes it.
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let (told, stop) = (Arc::clone(&told), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            () = speak(stream, told) => {}
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection for /metrics or /healthz cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn speak(stream: TcpStream, told: Arc<dyn Told>) {
    let service = service_fn(move |request| {
        let told = Arc::clone(&told);
        async move { Ok::<_, Infallible>(answer(&request, &*told).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_DEADLINE)
        .max_buf_size(REQUEST_BYTES)
        .max_headers(REQUEST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_DEADLINE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request for /metrics or /healthz broke off"),
        Err(_) => tracing::debug!("a connection for /metrics or /healthz took too long"),
    }
}

async fn answer(request: &Request<Incoming>, told: &dyn Told) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
    }
    let late = || plain(StatusCode::SERVICE_UNAVAILABLE, format!("no answer within {ANSWER_DEADLINE:?}\n"));
    match request.uri().path() {
        "/metrics" => match timeout(ANSWER_DEADLINE, told.metrics()).await {
            Ok(Ok(text)) => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                respond(StatusCode::OK, kind, text)
            }
            Ok(Err(error)) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            Err(_) => late(),
        },
        "/healthz" => match timeout(ANSWER_DEADLINE, told.health()).await {
            Ok(Health { healthy: true, text }) => plain(StatusCode::OK, text),
            Ok(Health { healthy: false, text }) => plain(StatusCode::SERVICE_UNAVAILABLE, text),
            Err(_) => late(),
        },
        _ => plain(StatusCode::NOT_FOUND, "/metrics and /healthz are here\n".to_owned()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// More than the kernel keeps for a reader that does not read.
    const LARGE: usize = 64 * 1024 * 1024;

    struct Fixed(bool);

    impl Told for Fixed {
        fn metrics(&self) -> BoxFuture<'_, Result<String, std::fmt::Error>> {
            Box::pin(async { Ok("# EOF\n".to_owned()) })
        }

        fn health(&self) -> BoxFuture<'_, Health> {
            Box::pin(async { Health { healthy: self.0, text: "because\n".into() } })
        }
    }

    /// Whose metrics are large, and whose health is never found.
    struct Tiresome;

    impl Told for Tiresome {
        fn metrics(&self) -> BoxFuture<'_, Result<String, std::fmt::Error>> {
            Box::pin(async { Ok("#".repeat(LARGE)) })
        }

        fn health(&self) -> BoxFuture<'_, Health> {
            Box::pin(std::future::pending())
        }
    }

    async fn serving(healthy: bool) -> (SocketAddr, tokio_util::sync::DropGuard) {
        told(Fixed(healthy)).await
    }

    async fn told(told: impl Told) -> (SocketAddr, tokio_util::sync::DropGuard) {
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, stop) = (endpoint.address(), CancellationToken::new());
        tokio::spawn(endpoint.serve(Arc::new(told), stop.clone()));
        (address, stop.drop_guard())
    }

    /// Everything that comes back, until the end of the connection.
    async fn asked(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset at the end is an end.
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn two_paths_exist_and_nothing_else() {
        let (address, _stop) = serving(true).await;
        let metrics = asked(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0"), "{metrics}");
        let health = asked(address, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("because\n"), "{health}");
        let other = asked(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(other.starts_with("HTTP/1.1 404"), "{other}");
        let post = asked(address, "POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    }

    #[tokio::test]
    async fn who_is_not_healthy_says_so() {
        let (address, _stop) = serving(false).await;
        let health = asked(address, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(health.starts_with("HTTP/1.1 503") && health.ends_with("because\n"), "{health}");
    }

    #[tokio::test]
    async fn a_request_that_is_too_large_gets_nothing_and_one_that_is_never_ended_is_closed() {
        let (address, _stop) = serving(true).await;
        let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(64 * 1024));
        let answer = asked(address, &long).await;
        assert!(!answer.contains("# EOF"), "{answer}");
        let began = tokio::time::Instant::now();
        asked(address, "GET /metrics HTTP/1.1\r\n").await;
        assert!(began.elapsed() < CONNECTION_DEADLINE, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_request_of_more_headers_than_any_has_is_refused() {
        let (address, _stop) = serving(true).await;
        let request = |headers: usize| {
            // With the one that names the host.
            format!("GET /metrics HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: a\r\n".repeat(headers - 1))
        };
        let most = asked(address, &request(REQUEST_HEADERS)).await;
        assert!(most.starts_with("HTTP/1.1 200"), "{most}");
        let more = asked(address, &request(REQUEST_HEADERS + 1)).await;
        assert!(more.starts_with("HTTP/1.1 431"), "{more}");
    }

    #[tokio::test]
    async fn a_reader_who_does_not_read_is_closed_at_its_deadline() {
        let (address, _stop) = told(Tiresome).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let began = tokio::time::Instant::now();
        // Nothing can be sent to it any more: the other side is closed.
        while stream.write_all(b"x").await.is_ok() {
            assert!(began.elapsed() < CONNECTION_DEADLINE + Duration::from_secs(5), "it is still open");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(began.elapsed() > CONNECTION_DEADLINE - Duration::from_secs(1), "{:?}", began.elapsed());
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
        assert!(read.len() < LARGE, "all of it was sent");
    }

    #[tokio::test]
    async fn what_is_not_found_in_time_is_said_to_be_unavailable() {
        let (address, _stop) = told(Tiresome).await;
        let health = asked(address, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(health.starts_with("HTTP/1.1 503") && health.contains("no answer within"), "{health}");
    }

    #[tokio::test]
    async fn silent_connections_take_their_places_only_and_are_closed_at_their_deadline() {
        let (address, _stop) = serving(true).await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let turned_away = asked(address, "").await;
        assert_eq!(turned_away, "", "one more than there are places is closed at once");
        for mut stream in silent {
            let mut byte = [0];
            // 0: closed.
            assert!(matches!(timeout(CONNECTION_DEADLINE, stream.read(&mut byte)).await, Ok(Ok(0) | Err(_))));
        }
        let served = asked(address, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(served.ends_with("# EOF\n"), "{served}");
    }
}
