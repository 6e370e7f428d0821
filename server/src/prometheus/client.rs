//! One query and its answer, bounded in bytes and time.

use super::AskFailure;
use handover_daemon::read_bounded;
use handover_exposition::shown;
use handover_model::{config::PrometheusMetrics, settings::PrometheusUrl};
use handover_prometheus::{Answer, AnswerError, MAX_BYTES};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use std::{fmt::Write as _, future::pending, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

/// Longest file of a token, and longest token, in bytes.
const MAX_TOKEN: usize = 16 << 10;
/// Longest file of CAs, in bytes: the bundles of distributions have some 200 KiB.
const MAX_CAS: usize = 4 << 20;
/// Bytes of the body of a bad answer that are read.
const MAX_BAD_BODY: usize = 64 << 10;

/// Where the Prometheus server is, and how it is asked.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it is.
    pub url: PrometheusUrl,
    /// The file of its token.
    pub token_file: Option<PathBuf>,
    /// The file of the CAs that may have signed its certificate.
    pub ca_file: PathBuf,
}

impl Client {
    /// Asks once, for one moment: that of the Prometheus server, whose clock is the one that its samples have.
    ///
    /// # Errors
    /// When there is no good answer within `patience`, or one that is longer than is read.
    pub async fn ask(&self, asked: &PrometheusMetrics, patience: Duration) -> Result<Answer, AskFailure> {
        let form = form(&handover_prometheus::query(asked), patience);
        let body = timeout(patience, self.send(form)).await.map_err(|_| AskFailure::Late(patience))??;
        let asked = asked.clone();
        // Some milliseconds for the largest: not on a thread that others wait for.
        let read = tokio::task::spawn_blocking(move || handover_prometheus::read(&body, &asked)).await;
        Ok(read.map_err(|error| AskFailure::Task(error.to_string()))??)
    }

    async fn send(&self, form: String) -> Result<Vec<u8>, AskFailure> {
        let request = self.request(form).await?;
        let to = self.url.authority();
        let failed = |source| AskFailure::Connect(to.clone(), source);
        let stream = TcpStream::connect((self.url.host(), self.url.port())).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if !self.url.tls() {
            return exchange(stream, request).await;
        }
        let connector = self.connector().await?;
        let name = ServerName::try_from(self.url.host().to_owned()).map_err(|_| AskFailure::Request)?;
        let stream = connector.connect(name, stream).await.map_err(|source| AskFailure::Tls(to, source))?;
        exchange(stream, request).await
    }

    async fn request(&self, form: String) -> Result<Request<Full<Bytes>>, AskFailure> {
        let mut request = Request::post(format!("{}/api/v1/query", self.url.path()))
            .header(header::HOST, self.url.authority())
            .header(header::USER_AGENT, concat!("handover/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(token) = self.token().await? {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(Bytes::from(form))).map_err(|_| AskFailure::Request)
    }

    /// The token, as it stands in its file now.
    async fn token(&self) -> Result<Option<String>, AskFailure> {
        let Some(path) = self.token_file.clone() else { return Ok(None) };
        let read = blocking(move || read_bounded(&path, MAX_TOKEN)).await?.map_err(AskFailure::TokenFile)?;
        let token = String::from_utf8(read).map_err(|_| AskFailure::NoToken)?;
        let token = token.trim();
        let good = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| Some(token.to_owned())).ok_or(AskFailure::NoToken)
    }

    /// TLS with the CAs as they stand in their file now.
    async fn connector(&self) -> Result<TlsConnector, AskFailure> {
        let path = self.ca_file.clone();
        let read = move || {
            let pem = read_bounded(&path, MAX_CAS).map_err(AskFailure::CaFile)?;
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                // A bundle may hold one that is not understood; the others are good all the same.
                let _ = roots.add(certificate.map_err(|_| AskFailure::NoCa)?);
            }
            if roots.is_empty() { Err(AskFailure::NoCa) } else { Ok(roots) }
        };
        let roots = blocking(read).await??;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| AskFailure::Task(error.to_string()))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, AskFailure> {
    tokio::task::spawn_blocking(run).await.map_err(|error| AskFailure::Task(error.to_string()))
}

/// The query as a form. What a Prometheus server does not know in it it leaves alone: with `partial_response` Thanos
/// is told not to answer with a part of the series.
fn form(query: &str, patience: Duration) -> String {
    let mut form = "query=".to_owned();
    for byte in query.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() => form.push(char::from(byte)),
            // Writing to a text cannot fail.
            byte => {
                let _ = write!(form, "%{byte:02X}");
            }
        }
    }
    let _ = write!(form, "&timeout={}ms&partial_response=false", patience.as_millis());
    form
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Vec<u8>, AskFailure> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(AskFailure::Broken)?;
    let mut connection = std::pin::pin!(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(AskFailure::Broken)?;
        body(response).await
    };
    // The connection moves the bytes; it ending first is told by the answer, so it is never waited for alone.
    tokio::select! {
        answered = answer => answered,
        never = async { let _ = connection.as_mut().await; pending::<Result<Vec<u8>, AskFailure>>().await } => never,
    }
}

/// The body of a good answer.
async fn body(response: Response<Incoming>) -> Result<Vec<u8>, AskFailure> {
    let said = |name| response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if response.status() == StatusCode::OK {
        if let Some(encoding) = said(header::CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
            return Err(AskFailure::Encoded(shown(&encoding)));
        }
        let (body, whole) = read(response.into_body(), MAX_BYTES).await.map_err(AskFailure::Broken)?;
        return if whole { Ok(body) } else { Err(AnswerError::TooLong.into()) };
    }
    let status = response.status();
    let words = match said(header::LOCATION) {
        Some(to) => format!(": to {}; redirects are not followed", shown(&to)),
        // Whatever it is, the status is what counts.
        None => match read(response.into_body(), MAX_BAD_BODY).await {
            Ok((body, _)) => words(&body),
            Err(_) => String::new(),
        },
    };
    let status = status
        .canonical_reason()
        .map_or_else(|| status.as_u16().to_string(), |reason| format!("{} {reason}", status.as_u16()));
    Err(AskFailure::Status { status, words })
}

/// What the body of a bad answer says: Prometheus's own words, or the first ones.
fn words(body: &[u8]) -> String {
    let nothing = PrometheusWords::of(body);
    match nothing {
        Some(words) => format!(": {}", shown(&words)),
        None if body.is_empty() => String::new(),
        None => format!(": {}", shown(String::from_utf8_lossy(body).trim())),
    }
}

/// The error in the body of a bad answer.
#[derive(serde::Deserialize)]
struct PrometheusWords {
    error: String,
}

impl PrometheusWords {
    fn of(body: &[u8]) -> Option<String> {
        serde_json::from_slice::<Self>(body).ok().map(|words| words.error)
    }
}

/// At most so many bytes of a body, and whether that is all of it.
async fn read(mut from: Incoming, most: usize) -> Result<(Vec<u8>, bool), hyper::Error> {
    let mut body = Vec::new();
    while let Some(frame) = from.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = most - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_form_whatever_stands_in_it() {
        let form = form("a{b=~\"5..\"}\n&+ü", Duration::from_millis(2500));
        assert_eq!(
            form,
            "query=a%7Bb%3D%7E%225%2E%2E%22%7D%0A%26%2B%C3%BC&timeout=2500ms&partial_response=false"
        );
    }
}
