//! The server's own certificate: renewed in the running process. Sessions that are open go on with the former one.

use handover_identity::{Ca, CertificateFacts, Renewal, ServerTls, SignError, TlsError, wall_clock};
use handover_model::{Duration, chain};
use std::sync::Arc;

/// The clock is looked at that often at least: it may be set, and a machine may sleep.
const LOOK: Duration = Duration::from_secs(60);
/// After each.
const MOMENT: Duration = Duration::from_secs(1);
/// Between two tries, where one failed.
const AGAIN: Duration = Duration::from_secs(30);

/// What is needed to renew it.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    /// Who signs.
    pub(crate) ca: Arc<Ca>,
    /// Where it is shown.
    pub(crate) tls: ServerTls,
    /// How long each is good.
    pub(crate) life: Duration,
}

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("it cannot be signed")]
    Sign(#[from] SignError),
    #[error("it cannot be used")]
    Tls(#[from] TlsError),
}

impl OwnCertificate {
    /// Renews the certificate whenever two thirds of its life are over. `facts` are those of the one that is shown now.
    pub(crate) async fn keep(self, mut facts: CertificateFacts) {
        loop {
            let now = wall_clock();
            // Alone: nothing to spread. One that is over, or not valid yet because the clock was set, is replaced too.
            if let Renewal::At(at) = facts.renewal(0, now) {
                tokio::time::sleep(at.since(now).min(LOOK)).await;
                continue;
            }
            match self.renew() {
                Ok(renewed) => {
                    tracing::info!(
                        until = renewed.not_after.unix_millis(),
                        "the server's certificate is renewed"
                    );
                    facts = renewed;
                    // The last certificates of a CA that ends have no life to speak of.
                    tokio::time::sleep(MOMENT).await;
                }
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        "the server's certificate cannot be renewed; agents find no server once it ends"
                    );
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn renew(&self) -> Result<CertificateFacts, RenewError> {
        let certificate = self.ca.issue_server(self.life, wall_clock())?;
        let facts = certificate.facts.clone();
        self.tls.replace_certificate(certificate)?;
        Ok(facts)
    }
}
