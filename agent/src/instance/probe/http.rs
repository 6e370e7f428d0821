//! One HTTP/1.1 request.

use super::{ProbeFailure, Route, failure::quoted, tls};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use std::{future::pending, ops::RangeInclusive, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::timeout,
};

/// Most bytes of a body that are read, and then thrown away; an answer that is longer is good all the same.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Bytes of a body that are kept for the failure's words.
const KEPT_BODY_BYTES: usize = 1024;
/// Bytes of a body that wait for no room.
const FREE_BODY_BYTES: usize = 1 << 20;
/// How long the other side may take to close first. Closing first is what leaves a port in TIME_WAIT.
const CLOSE_WAIT: Duration = Duration::from_millis(50);

/// A GET request and the answer that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// From the pin to the listener.
    pub route: Route,
    /// Path and query.
    pub path: String,
    /// Host header and TLS server name; the target's address where it is left out.
    pub host: Option<String>,
    /// The status codes that are good. A redirect is followed by nobody: it is good only if it is in here.
    pub status: RangeInclusive<u16>,
}

/// What is wanted of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The formats, as the header `Accept`.
    pub accept: &'static str,
    /// Most bytes of the body.
    pub most: usize,
    /// How many bodies of more than 1 MiB may be held at once; one more waits.
    pub room: &'w Semaphore,
}

/// A good answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// What it says that its body is.
    pub content_type: Option<String>,
    /// All of it.
    pub body: Vec<u8>,
}

impl HttpProbe {
    /// Asks once. The caller bounds the time.
    pub(super) async fn ask(&self, with_tls: bool) -> Result<(), ProbeFailure> {
        self.send(with_tls, "*/*", |response| self.judge(response)).await
    }

    /// Asks once, and gives the whole of a good answer. The caller bounds the time.
    ///
    /// # Errors
    /// When there is no good answer, or one that is longer than `wanted` has it.
    pub async fn read(&self, with_tls: bool, wanted: &Wanted<'_>) -> Result<Page, ProbeFailure> {
        self.send(with_tls, wanted.accept, |response| self.page(response, wanted)).await
    }

    async fn send<T, F: Future<Output = Result<T, ProbeFailure>>>(
        &self,
        with_tls: bool,
        accept: &str,
        take: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, ProbeFailure> {
        let stream = self.route.connect().await?;
        if with_tls {
            let stream = tls::handshake(stream, self.route, self.host.as_deref()).await?;
            return self.exchange(stream, accept, take).await;
        }
        self.exchange(stream, accept, take).await
    }

    fn subject(&self) -> String {
        format!("GET {}", self.path)
    }

    async fn exchange<T, F: Future<Output = Result<T, ProbeFailure>>>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        accept: &str,
        take: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, ProbeFailure> {
        let broken = |source| ProbeFailure::Broken { what: self.subject(), source };
        let request = self.request(accept)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut connection = std::pin::pin!(connection);
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            take(response).await
        };
        // The connection moves the bytes; it ending first is told by the answer, so it is never waited for alone.
        let answered = tokio::select! {
            answered = answer => answered,
            never = async { let _ = connection.as_mut().await; pending::<Result<T, ProbeFailure>>().await } => never,
        };
        drop(sender);
        if self.route.source.port() != 0 && answered.is_ok() {
            // The answer is there. Whether the other side closes in time changes nothing about it.
            let _ = timeout(CLOSE_WAIT, connection).await;
        }
        answered
    }

    fn request(&self, accept: &str) -> Result<Request<Empty<Bytes>>, ProbeFailure> {
        let host = self.host.clone().unwrap_or_else(|| self.route.target.to_string());
        Request::get(&self.path)
            .header(header::HOST, &host)
            .header(header::USER_AGENT, concat!("handover-probe/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .header(header::ACCEPT, accept)
            .body(Empty::new())
            .map_err(|_| ProbeFailure::Request { what: format!("{} (host {host})", self.path) })
    }

    async fn judge(&self, response: Response<Incoming>) -> Result<(), ProbeFailure> {
        if !self.status.contains(&response.status().as_u16()) {
            return Err(self.refused(response).await);
        }
        // An answer that breaks off is no good answer; one that is merely long is.
        let body = read_some(response.into_body()).await;
        body.map(drop).map_err(|source| ProbeFailure::Broken { what: self.subject(), source })
    }

    async fn page(&self, response: Response<Incoming>, wanted: &Wanted<'_>) -> Result<Page, ProbeFailure> {
        if !self.status.contains(&response.status().as_u16()) {
            return Err(self.refused(response).await);
        }
        let said = |name| {
            response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if let Some(encoding) = said(header::CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
            let encoding = quoted(&encoding).trim_start_matches(": ").to_owned();
            return Err(ProbeFailure::Encoded { what: self.subject(), encoding });
        }
        let content_type = said(header::CONTENT_TYPE);
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        // Held as long as there is more than is free.
        let mut room = None;
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|source| ProbeFailure::Broken { what: self.subject(), source })?;
            let Ok(data) = frame.into_data() else { continue };
            if body.len() + data.len() > wanted.most {
                return Err(ProbeFailure::TooLong { what: self.subject(), most: wanted.most });
            }
            if room.is_none() && body.len() + data.len() > FREE_BODY_BYTES {
                room = wanted.room.acquire().await.ok();
            }
            body.extend_from_slice(&data);
        }
        Ok(Page { content_type, body })
    }

    /// What to say of an answer with another status.
    async fn refused(&self, response: Response<Incoming>) -> ProbeFailure {
        let status = response.status();
        let location = response
            .headers()
            .get(header::LOCATION)
            .map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        let body = read_some(response.into_body()).await;
        let body = match (location, body) {
            (Some(to), _) => format!("{}; redirects are not followed", quoted(&format!("to {to}"))),
            (None, Ok(body)) => quoted(&String::from_utf8_lossy(&body)),
            (None, Err(_)) => String::new(),
        };
        ProbeFailure::Status { what: self.subject(), status: describe(status), body }
    }
}

fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Reads up to the bound and gives the beginning.
async fn read_some(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let (mut kept, mut seen) = (Vec::new(), 0);
    while seen < MAX_BODY_BYTES {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            seen += data.len();
            let room = KEPT_BODY_BYTES.saturating_sub(kept.len());
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(kept)
}
