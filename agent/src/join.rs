//! `handover-agent join`: the host's first contact. The token pins the server; the key never leaves the host.

use crate::config::{AgentConfig, ConfigError};
use backon::Retryable as _;
use handover_identity::{
    ConnectError, Credentials, CredentialsError, JoinToken, KeyError, KeyPair, ServerAddress, TlsProblem,
    pinned_client_config,
};
use handover_model::{HostName, Labels};
use handover_proto::v1::{EnrolRequest, enrolment_service_client::EnrolmentServiceClient};
use rustls::ClientConfig;
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tonic::transport::Channel;

/// Longest wait for the server's answer.
const ANSWER: Duration = Duration::from_secs(30);
/// So often a handshake that the server cut is begun again.
const CUT_HANDSHAKES: usize = 5;

/// What a host says of itself when it joins.
#[derive(Debug)]
pub struct Joining {
    /// What the operator was given.
    pub token: JoinToken,
    /// Where the server is, if not where the token says.
    pub server: Option<String>,
    /// The host's name.
    pub name: HostName,
    /// The address that its services are reached at.
    pub address: String,
    /// Its labels.
    pub labels: Labels,
    /// Where the agent keeps things.
    pub config: AgentConfig,
    /// Where its configuration is written.
    pub config_path: PathBuf,
}

/// Why a host did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No connection, or not to the server that made the token.
    #[error("cannot reach the server at {0}")]
    Connect(String, #[source] ConnectError),
    /// The token's fingerprint cannot be used.
    #[error("cannot prepare the first connection")]
    Tls(#[source] handover_identity::TlsError),
    /// The server's address makes no sense.
    #[error("{0:?} is no server address")]
    Address(String, #[source] handover_identity::AddressError),
    /// The folder for it cannot be made.
    #[error("cannot make the folder {}", .0.display())]
    Folder(PathBuf, #[source] std::io::Error),
    /// The key cannot be made or read.
    #[error("cannot make this host's key")]
    Key(#[from] KeyError),
    /// The certificate cannot be kept.
    #[error("cannot keep this host's certificate")]
    Credentials(#[from] CredentialsError),
    /// The server refused.
    #[error("the server refused: {message}{}", bracketed(.hint))]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The server did not answer.
    #[error("the server did not answer within {ANSWER:?}")]
    Silent,
    /// The configuration cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn bracketed(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!(" ({hint})") }
}

/// The first connection. A server whose places for strangers are all taken cuts one of them in the middle of its handshake,
/// which may be this one; nothing was asked of it yet, so it is asked again, for some seconds.
async fn reach(address: &ServerAddress, tls: Arc<ClientConfig>) -> Result<Channel, ConnectError> {
    let pauses = backon::ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(1))
        .with_max_times(CUT_HANDSHAKES);
    (|| handover_identity::connect(address, Arc::clone(&tls)))
        .retry(pauses)
        .sleep(tokio::time::sleep)
        .when(|error| matches!(error, ConnectError::Tls { problem: TlsProblem::Closed, .. }))
        .await
}

/// Makes a folder that nobody else can look into.
fn make_private(folder: &Path) -> std::io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

impl Joining {
    /// Makes the key, has it signed, writes certificate and configuration. Returns the fleet's name.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or a file cannot be written.
    pub async fn join(self) -> Result<String, JoinError> {
        let identity = self.config.identity();
        make_private(&identity).map_err(|source| JoinError::Folder(identity.clone(), source))?;
        // A key that an earlier attempt made is used again: the certificate that it may have got is then this one's.
        let key = KeyPair::load_or_generate(&identity.join("key.pem"))?;
        let address = match &self.server {
            Some(text) => text.parse().map_err(|error| JoinError::Address(text.clone(), error))?,
            None => self.token.server.clone(),
        };
        let tls = pinned_client_config(self.token.ca_fingerprint).map_err(JoinError::Tls)?;
        let channel =
            reach(&address, tls).await.map_err(|error| JoinError::Connect(address.to_string(), error))?;
        let request = EnrolRequest {
            secret: self.token.claim.expose(),
            host: self.name.to_string(),
            csr_pem: key.csr_pem()?,
            address: self.address.clone(),
            labels: self.labels.clone().into_iter().collect(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut client = EnrolmentServiceClient::new(channel);
        let answer =
            tokio::time::timeout(ANSWER, client.enrol(request)).await.map_err(|_| JoinError::Silent)?;
        let answer = answer.map_err(|status| match handover_proto::status::Refusal::of(&status) {
            Some(refusal) => JoinError::Refused { message: refusal.message, hint: refusal.hint },
            None => JoinError::Refused { message: status.message().to_owned(), hint: String::new() },
        })?;
        let answer = answer.into_inner();
        Credentials::new(key, &answer.certificate_pem, &answer.ca_pem)?.replace(&identity)?;
        let config = AgentConfig { server: address.to_string(), ..self.config };
        config.write(&self.config_path)?;
        Ok(answer.fleet)
    }
}
