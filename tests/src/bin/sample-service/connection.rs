//! One connection, from accept to close.

use crate::sample::Sample;
use handover_tests::service::{self, Guard, Phase};
use hyper::{
    Request,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::net::sockopt::set_socket_linger;
use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What an HTTP/2 connection begins with.
const HTTP2: &[u8] = b"PRI";

/// Serves a connection to its end. What its client does wrong ends it and is nobody else's matter.
pub(crate) async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, sample: Arc<Sample>, guard: Guard) {
    sample.connected();
    // Fails only for a connection that is gone already.
    let _ = stream.set_nodelay(true);
    match sample.flags().connection_age.filter(|_| sample.is_to_be_reset()) {
        Some(age) => {
            let _ = set_socket_linger(&stream, Some(Duration::ZERO));
            let _ = timeout(age, by_protocol(stream, tls, sample)).await;
        }
        None => by_protocol(stream, tls, sample).await,
    }
    drop(guard);
}

async fn by_protocol(stream: TcpStream, tls: Option<TlsAcceptor>, sample: Arc<Sample>) {
    let Some(tls) = tls else {
        return if sample.flags().grpc_health && begins_as_http2(&stream).await {
            serve_http2(stream, sample).await;
        } else {
            serve_http1(stream, sample).await;
        };
    };
    if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            serve_http2(stream, sample).await;
        } else {
            serve_http1(stream, sample).await;
        }
    }
}

async fn begins_as_http2(stream: &TcpStream) -> bool {
    let mut first = [0; HTTP2.len()];
    matches!(stream.peek(&mut first).await, Ok(n) if n > 0 && HTTP2.starts_with(&first[..n]))
}

async fn serve_http1(stream: impl AsyncRead + AsyncWrite + Unpin, sample: Arc<Sample>) {
    let began = Instant::now();
    let answer = |request: Request<Incoming>| {
        let sample = Arc::clone(&sample);
        async move {
            let mut response = sample.answer(request).await;
            if sample.flags().connection_age.is_some_and(|age| began.elapsed() >= age) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    service::http1(stream, sample.drain(), answer).await;
}

async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin, sample: Arc<Sample>) {
    let shared = Arc::clone(&sample);
    let service = service_fn(move |request: Request<Incoming>| {
        let sample = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(sample.answer(request).await) }
    });
    let builder = http2::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        // HTTP/2 can say it without cutting anything (GOAWAY).
        () = sample.drain().reached(Phase::Draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
