//! Probes: asking an instance whether it is ready, or still alive.
//!
//! Network probes connect from the instance's pin, so that they reach this instance on the real address and port,
//! whatever its share is. Each probe has one deadline over all that it does, and what it reads is bounded. The kinds
//! `notify` and `alive` ask nothing: the supervisor knows them from the notify socket and the process.

mod connect;
mod exec;
mod failure;
mod grpc;
mod http;
mod tls;

pub use connect::Route;
pub use failure::ProbeFailure;
pub use grpc::GrpcProbe;
pub use http::{HttpProbe, Page, Wanted};

use super::SideCommand;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What to ask.
#[derive(Clone, Debug)]
pub enum ProbeKind {
    /// An HTTP request without TLS.
    Http(HttpProbe),
    /// An HTTP request over TLS. The certificate is not checked: see [`mod@self`] and `tls.rs`.
    Https(HttpProbe),
    /// `grpc.health.v1.Health/Check`, without TLS.
    Grpc(GrpcProbe),
    /// A TCP connection that is accepted by the kernel: says that the socket listens, not that the program accepts.
    Tcp(Route),
    /// A command that ends with code 0.
    Exec(Box<SideCommand>),
}

/// One probe.
#[derive(Clone, Debug)]
pub struct ProbeSpec {
    /// What to ask.
    pub kind: ProbeKind,
    /// How long the answer may take, connecting and all.
    pub timeout: Duration,
}

impl ProbeSpec {
    /// Asks once; tells how long the answer took.
    ///
    /// # Errors
    /// When the answer is not as it should be, or there is none in time.
    pub async fn ask(&self) -> Result<Duration, ProbeFailure> {
        let began = Instant::now();
        let asked = async {
            match &self.kind {
                ProbeKind::Http(probe) => probe.ask(false).await,
                ProbeKind::Https(probe) => probe.ask(true).await,
                ProbeKind::Grpc(probe) => probe.ask().await,
                ProbeKind::Tcp(route) => route.connect().await.map(drop),
                // It ends its processes when its time is over, so it must know.
                ProbeKind::Exec(probe) => return exec::ask(probe, self.timeout).await,
            }
        };
        let ProbeKind::Exec(_) = &self.kind else {
            let late = |_| ProbeFailure::Late { what: self.subject(), after: self.timeout };
            return timeout(self.timeout, asked).await.map_err(late)?.map(|()| began.elapsed());
        };
        asked.await.map(|()| began.elapsed())
    }

    fn subject(&self) -> String {
        match &self.kind {
            ProbeKind::Http(probe) | ProbeKind::Https(probe) => format!("GET {}", probe.path),
            ProbeKind::Grpc(_) => "grpc.health.v1.Health/Check".to_owned(),
            ProbeKind::Tcp(route) => format!("a TCP connection to {}", route.target),
            ProbeKind::Exec(probe) => probe.subject(),
        }
    }
}
