//! The agent's certificate while the agent runs: renewed at two thirds of its life, taken from the disk after a new join,
//! and what to say where it is over. The session that is open is never touched: the next connection shows the new one.

use crate::config::AgentConfig;
use backon::BackoffBuilder as _;
use handover_identity::{
    CertificateFacts, ClientTls, ConnectError, Credentials, CredentialsError, KeyError, KeyPair, Renewal,
    ServerAddress, TlsError, rough, wall_clock,
};
use handover_model::{HostName, Timestamp, chain};
use handover_proto::v1::{RenewRequest, agent_service_client::AgentServiceClient};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tonic::transport::Channel;

/// The clock is looked at that often at least: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(30);
/// How often the disk is looked at for the certificate of a new join, where the one at hand is of no use.
const DISK: Duration = Duration::from_secs(1);
/// Longest wait for the server's answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Why there is no connection, or no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The certificate is over: the server would not let the agent in.
    #[error(
        "the certificate of host {host} ended {} ago, by this machine's clock: if that clock is wrong, set it; otherwise run `handover token create --host {host}` on the server's machine and here `handover-agent join --name {host}` with that token and the options of the first time; the running agent then takes the new certificate by itself, and what it runs goes on all the while", rough(*.ago)
    )]
    Expired {
        /// Whose.
        host: HostName,
        /// Since when.
        ago: Duration,
    },
    /// The certificate's life has not begun.
    #[error(
        "the certificate of host {host} is not valid yet: this machine's clock is behind by at least {}; set it, and the agent goes on by itself", rough(*.by)
    )]
    NotValidYet {
        /// Whose.
        host: HostName,
        /// By how much at least.
        by: Duration,
    },
    /// No connection.
    #[error("the server cannot be reached")]
    Connect(#[from] ConnectError),
    /// The server refused.
    #[error("the server refused")]
    Refused(#[source] Box<tonic::Status>),
    /// No answer.
    #[error("the server did not answer within {ANSWER:?}")]
    Silent,
    /// No key.
    #[error("no new key can be made")]
    Key(#[from] KeyError),
    /// What came cannot be used or kept.
    #[error("the new certificate cannot be used or kept")]
    Credentials(#[from] CredentialsError),
    /// What came cannot be shown.
    #[error("the new certificate cannot be used")]
    Tls(#[from] TlsError),
    /// The server answered with the certificate of somebody else.
    #[error("the server answered with a certificate of another host or another CA")]
    Other,
    /// A worker thread ended.
    #[error("keeping the new certificate was interrupted")]
    Interrupted,
}

impl RenewalError {
    /// Whether only a person can help: there is no hurry to try again.
    #[must_use]
    pub const fn needs_person(&self) -> bool {
        match self {
            Self::Expired { .. } | Self::NotValidYet { .. } => true,
            Self::Connect(_)
            | Self::Refused(_)
            | Self::Silent
            | Self::Key(_)
            | Self::Credentials(_)
            | Self::Tls(_)
            | Self::Other
            | Self::Interrupted => false,
        }
    }
}

/// The agent's identity, shared by all who dial.
#[derive(Debug)]
pub struct Renewing {
    host: HostName,
    folder: PathBuf,
    server: ServerAddress,
    session_id: String,
    tls: ClientTls,
    current: Mutex<Current>,
    /// Told when the agent may be let in again.
    changed: Arc<Notify>,
}

/// What is shown now.
#[derive(Clone, Debug)]
struct Current {
    facts: CertificateFacts,
    ca: Vec<u8>,
    generation: Option<PathBuf>,
    jitter: u16,
}

impl Current {
    fn of(credentials: &Credentials, generation: Option<PathBuf>) -> Self {
        Self {
            facts: credentials.facts().clone(),
            ca: credentials.ca().to_vec(),
            generation,
            jitter: rand::random_range(0..=1000),
        }
    }
}

impl Renewing {
    /// The identity that the configuration names. `session_id` is this run's.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub fn load(config: &AgentConfig, server: ServerAddress, session_id: &str) -> Result<Self, RenewalError> {
        let folder = config.identity();
        let generation = Credentials::generation(&folder);
        let credentials = Credentials::load(&folder)?;
        Ok(Self {
            host: config.name.clone(),
            server,
            session_id: session_id.to_owned(),
            tls: ClientTls::new(&credentials)?,
            current: Mutex::new(Current::of(&credentials, generation)),
            changed: Arc::default(),
            folder,
        })
    }

    /// Told whenever the certificate is another one, or the clock has made it good: a reason to dial at once.
    #[must_use]
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Reaches the server with the certificate of this moment.
    ///
    /// # Errors
    /// When the certificate is not good now, or the server is not reached.
    pub async fn dial(&self) -> Result<Channel, RenewalError> {
        self.usable(wall_clock())?;
        Ok(handover_identity::connect(&self.server, self.tls.config()).await?)
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn usable(&self, now: Timestamp) -> Result<(), RenewalError> {
        let facts = self.current().facts;
        match facts.renewal(0, now) {
            Renewal::At(_) | Renewal::Due => Ok(()),
            Renewal::Expired => {
                Err(RenewalError::Expired { host: self.host.clone(), ago: now.since(facts.not_after) })
            }
            Renewal::NotValidYet => {
                Err(RenewalError::NotValidYet { host: self.host.clone(), by: facts.not_before.since(now) })
            }
        }
    }

    /// Keeps the certificate good for as long as the agent runs.
    pub async fn keep(&self) {
        let mut pauses = pauses();
        let mut useless = false;
        loop {
            self.take_from_disk();
            let (Current { facts, jitter, .. }, now) = (self.current(), wall_clock());
            let due = facts.renewal(jitter, now);
            let was_useless =
                std::mem::replace(&mut useless, matches!(due, Renewal::Expired | Renewal::NotValidYet));
            if was_useless && !useless {
                self.changed.notify_one();
            }
            match due {
                Renewal::At(at) => {
                    pauses = self::pauses();
                    sleep(at.since(now).min(LOOK)).await;
                }
                // Whoever dials says so.
                Renewal::Expired | Renewal::NotValidYet => sleep(DISK).await,
                Renewal::Due => {
                    let pause = match self.renew().await {
                        Ok(()) => continue,
                        Err(error) => {
                            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                            // What is left of the life is enough for some tries more, however short it is.
                            let pause = pause.min(facts.not_after.since(now) / 8);
                            let left = rough(facts.not_after.since(now));
                            tracing::warn!(
                                error = chain(&error),
                                left,
                                ?pause,
                                "the certificate is not renewed yet"
                            );
                            pause
                        }
                    };
                    sleep(pause.max(Duration::from_millis(100))).await;
                }
            }
        }
    }

    /// A new key, a certificate for it by proof of the old one, both on the disk, and from here on shown.
    async fn renew(&self) -> Result<(), RenewalError> {
        // A connection of its own: it shows the newest certificate, by which the server sees that it has arrived.
        let channel = self.dial().await?;
        let key = KeyPair::generate()?;
        let request = RenewRequest { csr_pem: key.csr_pem()?, session_id: self.session_id.clone() };
        let mut client = AgentServiceClient::new(channel);
        let answer = timeout(ANSWER, client.renew(request)).await.map_err(|_| RenewalError::Silent)?;
        let answer = answer.map_err(|status| RenewalError::Refused(Box::new(status)))?.into_inner();
        let credentials = Credentials::new(key, &answer.certificate_pem, &answer.ca_pem)?;
        let current = self.current();
        if *credentials.identity() != current.facts.identity || credentials.ca().to_vec() != current.ca {
            return Err(RenewalError::Other);
        }
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || {
            credentials.replace(&folder)?;
            Ok::<_, CredentialsError>((Credentials::generation(&folder), credentials))
        });
        let (generation, credentials) = kept.await.map_err(|_| RenewalError::Interrupted)??;
        self.show(&credentials, generation)?;
        tracing::info!(until = credentials.facts().not_after.unix_millis(), "the certificate is renewed");
        Ok(())
    }

    fn show(&self, credentials: &Credentials, generation: Option<PathBuf>) -> Result<(), RenewalError> {
        self.tls.replace_certificate(credentials)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Current::of(credentials, generation);
        Ok(())
    }

    /// Somebody joined again while the agent runs: what lies there now counts.
    fn take_from_disk(&self) {
        let (generation, current) = (Credentials::generation(&self.folder), self.current());
        if generation == current.generation {
            return;
        }
        let taken = Credentials::load(&self.folder).map_err(RenewalError::from).and_then(|credentials| {
            // Another CA needs another start: connections verify the server by the one that was loaded first.
            if credentials.ca().to_vec() != current.ca {
                return Err(RenewalError::Other);
            }
            self.show(&credentials, generation.clone())
        });
        match taken {
            Ok(()) => {
                tracing::info!("another certificate was found on the disk and is used");
                self.changed.notify_one();
            }
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "the certificate on the disk is not used; start the agent again"
                );
                self.current.lock().unwrap_or_else(PoisonError::into_inner).generation = generation;
            }
        }
    }
}

fn pauses() -> backon::ExponentialBackoff {
    backon::ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .build()
}
