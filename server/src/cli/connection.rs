//! The way to the server: its Unix socket, or mTLS from another machine.

use super::{
    Global,
    context::{self, Way},
    error::CliError,
};
use backon::BackoffBuilder as _;
use handover_identity::{ClientTls, Credentials, ServerAddress};
use handover_proto::v1::operator_service_client::OperatorServiceClient;
use std::time::Duration;
use tonic::{Code, transport::Channel};

/// Longest answer that is read: a status of many hosts.
const LONGEST: usize = 64 * 1024 * 1024;

/// An open connection, and how to open it again.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) client: OperatorServiceClient<Channel>,
    way: Way,
}

impl Connection {
    /// Opens the connection that flags, environment and contexts choose.
    pub(super) async fn open(global: &Global) -> Result<Self, CliError> {
        let way = context::way(global)?;
        let client = client(&way).await?;
        Ok(Self { client, way })
    }

    /// Opens it anew after it broke.
    pub(super) async fn again(&mut self) -> Result<(), CliError> {
        self.client = client(&self.way).await?;
        Ok(())
    }
}

async fn client(way: &Way) -> Result<OperatorServiceClient<Channel>, CliError> {
    let channel = match way {
        Way::Socket(path) => handover_identity::connect_unix(path).await.map_err(|error| {
            CliError::Unreachable { address: path.display().to_string(), source: error.into() }
        })?,
        Way::Network { server, identity } => {
            let unreachable = |source| CliError::Unreachable { address: server.clone(), source };
            let address: ServerAddress =
                server.parse().map_err(|error| CliError::Usage(format!("{error}")))?;
            let credentials = Credentials::load(identity).map_err(|error| CliError::File {
                path: identity.clone(),
                problem: handover_model::chain(&error),
            })?;
            let tls = ClientTls::new(&credentials).map_err(|error| unreachable(error.into()))?;
            let channel = handover_identity::connect(&address, tls.config()).await;
            channel.map_err(|error| unreachable(error.into()))?
        }
    };
    Ok(OperatorServiceClient::new(channel).max_decoding_message_size(LONGEST))
}

/// The pauses between attempts to reach a server that went away: with back-off and jitter, some two minutes in all.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(40)
        .build()
}

/// Whether a broken call may go well another time: the connection broke, the server did not refuse.
pub(super) fn is_worth_trying(broke: &tonic::Status) -> bool {
    matches!(broke.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
}
