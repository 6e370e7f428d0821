//! Asking a Prometheus server that means harm, or is not there: each way ends at a bound, with a reason.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use handover::prometheus::Client;
use handover_model::{chain, config::PrometheusMetrics};
use handover_prometheus::Answer;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// Longer than an answer of this machine takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what is to be late.
const SHORT: Duration = Duration::from_millis(300);

const GOOD: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
{"metric":{"handover_part":"sampled","host":"a","version":"v1"},"value":[1795676153.015,"1795676152.081"]},
{"metric":{"handover_part":"requests","host":"a","version":"v1"},"value":[1795676153.015,"9"]}]}}"#;

/// How a server answers, after it has read the request.
#[derive(Clone, Copy)]
enum Answers {
    /// These bytes, and the end.
    With(&'static str),
    /// A good answer.
    Well,
    /// These bytes, and then spaces without end.
    WithoutEnd(&'static str),
    /// These bytes, and then a byte now and then.
    Dripping(&'static str),
    /// Never.
    Never,
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";

/// A server of the test's own, and what it was asked.
struct Played {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Played {
    async fn start(answers: Answers) -> Self {
        Self::with_tls(answers, None).await
    }

    async fn with_tls(answers: Answers, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        // Ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heard, tls) = (Arc::clone(&heard), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answers, &heard).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answers, &heard).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, asked }
    }

    fn client(&self) -> Client {
        Client { url: self.url.parse().unwrap(), token_file: None, ca_file: PathBuf::from("/nowhere") }
    }

    fn heard(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: Answers,
    heard: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    // The end of the form is the last thing that is sent.
    while !String::from_utf8_lossy(&request).contains("partial_response=false") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&piece[..read]),
        }
    }
    heard.lock().unwrap().push(String::from_utf8(request).unwrap());
    let _ = match answers {
        Answers::With(text) => stream.write_all(text.as_bytes()).await,
        Answers::Well => stream.write_all(format!("{OK}{GOOD}").as_bytes()).await,
        Answers::WithoutEnd(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            while stream.write_all(&[b' '; 64 << 10]).await.is_ok() {}
            Ok(())
        }
        Answers::Dripping(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
        Answers::Never => {
            tokio::time::sleep(PATIENCE * 2).await;
            Ok(())
        }
    };
    let _ = stream.shutdown().await;
}

fn asked() -> PrometheusMetrics {
    PrometheusMetrics {
        requests: "r{job=\"shop\"}".parse().unwrap(),
        errors: "e".parse().unwrap(),
        latency: None,
        host_label: "host".to_owned(),
        release_label: "version".to_owned(),
    }
}

async fn ask(client: &Client, patience: Duration) -> Result<Answer, String> {
    client.ask(&asked(), patience).await.map_err(|failure| chain(&failure))
}

/// Why there is no answer; fails the test where finding out took much longer than it was to.
async fn problem(answers: Answers, patience: Duration) -> String {
    let played = Played::start(answers).await;
    let began = Instant::now();
    let problem = ask(&played.client(), patience).await.unwrap_err();
    assert!(began.elapsed() < patience + Duration::from_secs(5), "{:?}: {problem}", began.elapsed());
    problem
}

#[tokio::test]
async fn a_good_answer_is_read_and_the_query_is_a_form() {
    let played = Played::start(Answers::Well).await;
    let mut client = played.client();
    client.url = format!("{}/prom/", played.url).parse().unwrap();
    let answer = ask(&client, PATIENCE).await.unwrap();
    let reading = answer.readings.values().next().unwrap().clone().unwrap();
    assert_eq!((reading.traffic.requests, reading.age), (9, Duration::from_millis(934)));
    let heard = played.heard();
    assert!(heard[0].starts_with("POST /prom/api/v1/query HTTP/1.1\r\n"), "{}", heard[0]);
    assert!(
        heard[0].contains("\r\n\r\nquery=label%5Freplace") && heard[0].contains("&timeout=10000ms"),
        "{}",
        heard[0]
    );
    assert!(!heard[0].to_lowercase().contains("authorization"), "{}", heard[0]);
}

#[tokio::test]
async fn answers_without_an_end_are_cut_at_a_bound() {
    let said = problem(Answers::WithoutEnd(OK), PATIENCE).await;
    assert_eq!(said, "the answer is longer than 8 MiB");
    let huge = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
    assert_eq!(problem(Answers::WithoutEnd(huge), PATIENCE).await, "the answer is longer than 8 MiB");
    let bad = problem(Answers::WithoutEnd("HTTP/1.1 500 No\r\n\r\nbroken"), PATIENCE).await;
    assert!(bad.starts_with("HTTP 500 Internal Server Error: \"broken"), "{bad}");
    let headers = problem(Answers::WithoutEnd("HTTP/1.1 200 OK\r\nx: "), PATIENCE).await;
    assert!(headers.starts_with("the connection ended without a valid answer"), "{headers}");
}

#[tokio::test]
async fn one_that_takes_its_time_is_late() {
    for answers in [Answers::Never, Answers::Dripping("HTTP/1.1 200 OK\r\nx: "), Answers::Dripping(OK)] {
        assert_eq!(problem(answers, SHORT).await, "no answer within 300ms");
    }
}

#[tokio::test]
async fn what_is_no_answer_says_so() {
    for (text, words) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "the connection ended without a valid answer"),
        ("", "the connection ended without a valid answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "the connection ended without a valid answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "the answer is none of Prometheus's query API"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>welcome</html>", "the answer is none of Prometheus's query API"),
        (
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f",
            "it answered in \"gzip\", which was not asked for",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204 No Content"),
        ("HTTP/1.1 401 Unauthorized\r\n\r\nUnauthorized\n", "HTTP 401 Unauthorized: \"Unauthorized\""),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\x1b[2J\r\ncontent-length: 0\r\n\r\n",
            "the connection ended without a valid answer",
        ),
        (
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n",
            "HTTP 307 Temporary Redirect: to \"http://10.0.0.1/\"; redirects are not followed",
        ),
        (
            "HTTP/1.1 422 Unprocessable Entity\r\n\r\n{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"too many \x1b[2J samples\"}",
            "HTTP 422 Unprocessable Entity",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"error\",\"errorType\":\"timeout\",\"error\":\"query timed out\"}",
            "HTTP 503 Service Unavailable: \"query timed out\"",
        ),
    ] {
        let said = problem(Answers::With(text), PATIENCE).await;
        assert!(said.starts_with(words), "{said}\nexpected {words}");
        assert!(!said.contains('\x1b'), "{said:?}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client { url: url.parse().unwrap(), token_file: None, ca_file: PathBuf::from("/nowhere") };
    let said = ask(&client, PATIENCE).await.unwrap_err();
    assert!(said.starts_with("cannot connect to 127.0.0.1:") && said.contains("refused"), "{said}");
}

#[tokio::test]
async fn the_token_is_read_anew_each_time_and_sent_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    for (answers, token) in [(Answers::Well, "first.token"), (Answers::With(redirect), "second=token")] {
        let played = Played::start(answers).await;
        let client = Client { token_file: Some(file.clone()), ..played.client() };
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let _ = ask(&client, PATIENCE).await;
        let expected = format!("authorization: Bearer {token}\r\n");
        assert!(played.heard()[0].contains(&expected), "{:?}", played.heard());
    }
    let played = Played::start(Answers::Well).await;
    let client = Client { token_file: Some(file.clone()), ..played.client() };
    for (content, words) in [
        (Vec::new(), "prometheus_token_file holds no token"),
        (b"two words".to_vec(), "prometheus_token_file holds no token"),
        (b"a\r\nx-evil: 1".to_vec(), "prometheus_token_file holds no token"),
        (vec![0xff], "prometheus_token_file holds no token"),
        (vec![b'a'; 1 << 20], "the file of its token (prometheus_token_file) cannot be read"),
    ] {
        std::fs::write(&file, content).unwrap();
        let said = ask(&client, PATIENCE).await.unwrap_err();
        assert!(said.starts_with(words), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(ask(&client, PATIENCE).await.unwrap_err().contains("cannot read"));
    assert!(played.heard().is_empty(), "it was asked without its token: {:?}", played.heard());
}

/// A CA in a file, and a server's TLS with a certificate of it for this address.
fn tls(folder: &TempDir, address: &str) -> (PathBuf, TlsAcceptor) {
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let file = folder.path().join(format!("ca-{address}.pem"));
    std::fs::write(&file, ca.self_signed(&key).unwrap().pem()).unwrap();
    let own_key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(vec![address.to_owned()]).unwrap();
    let own = own.signed_by(&own_key, &rcgen::Issuer::new(ca, key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(own.der().to_vec())],
            PrivateKeyDer::from_pem_slice(own_key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    (file, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn over_tls_the_certificate_must_be_of_a_known_ca_and_for_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, acceptor) = tls(&folder, "127.0.0.1");
    let (other_ca, other) = tls(&folder, "10.0.0.1");
    let played = Played::with_tls(Answers::Well, Some(acceptor)).await;
    let with = |played: &Played, ca_file: &PathBuf| Client { ca_file: ca_file.clone(), ..played.client() };
    assert!(ask(&with(&played, &ca), PATIENCE).await.is_ok());
    let unknown = ask(&with(&played, &other_ca), PATIENCE).await.unwrap_err();
    assert!(unknown.starts_with("the TLS handshake with 127.0.0.1:"), "{unknown}");
    let elsewhere = Played::with_tls(Answers::Well, Some(other)).await;
    let wrong = ask(&with(&elsewhere, &other_ca), PATIENCE).await.unwrap_err();
    assert!(wrong.starts_with("the TLS handshake with "), "{wrong}");
    assert_eq!(elsewhere.heard(), Vec::<String>::new(), "nothing is sent before it is known who answers");
    let plain = Played::start(Answers::With("HTTP/1.1 400 No TLS\r\n\r\n")).await;
    let mut client = with(&plain, &ca);
    client.url = plain.url.replace("http:", "https:").parse().unwrap();
    let said = ask(&client, SHORT).await.unwrap_err();
    assert!(said.contains("TLS handshake") || said.contains("no answer within"), "{said}");
    std::fs::write(&ca, "no certificate").unwrap();
    let empty = ask(&with(&played, &ca), PATIENCE).await.unwrap_err();
    assert!(empty.starts_with("prometheus_ca_file holds no certificate"), "{empty}");
    let none = ask(&with(&played, &PathBuf::from("/nowhere")), PATIENCE).await.unwrap_err();
    assert!(none.starts_with("the file of its CAs (prometheus_ca_file) cannot be read"), "{none}");
}
