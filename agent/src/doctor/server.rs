//! Whether the server can be reached from here, and is the right one.

use super::Check;
use handover_identity::{ClientTls, Credentials, JoinToken, ServerAddress, pinned_client_config};
use handover_model::chain;
use std::path::Path;
use tokio::{net::TcpStream, time::timeout};

const COSTS: &str = "the agent cannot join, or gets no targets; what runs here goes on";
const ADVICE: &str =
    "the message says which side; the agent needs to reach the server's port, never the other way round";

/// Reaches it as the agent would: with the certificate of an enrolled host, with the token's pin, or else by TCP alone.
pub(super) async fn reach(address: &ServerAddress, token: Option<&JoinToken>, identity: &Path) -> Check {
    let config = if let Some(token) = token {
        pinned_client_config(token.ca_fingerprint).map(Some).map_err(|error| chain(&error))
    } else if Credentials::exist(identity) {
        let credentials = Credentials::load(identity).map_err(|error| chain(&error));
        credentials.and_then(|credentials| {
            ClientTls::new(&credentials).map(|tls| Some(tls.config())).map_err(|error| chain(&error))
        })
    } else {
        Ok(None)
    };
    match config {
        Ok(Some(config)) => match handover_identity::connect(address, config).await {
            Ok(_) => {
                Check::pass("server", format!("{address} answers, with the certificate of the fleet's CA"))
            }
            Err(error) => not_reached(chain(&error)),
        },
        Ok(None) => tcp(address).await,
        Err(why) => no_identity(why),
    }
}

async fn tcp(address: &ServerAddress) -> Check {
    let dialled =
        timeout(handover_identity::CONNECT_DEADLINE, TcpStream::connect((address.host(), address.port())));
    match dialled.await {
        Ok(Ok(_)) => somebody(address),
        Ok(Err(error)) => not_reached(format!("{address}: {error}")),
        Err(_) => not_reached(format!("{address} does not answer")),
    }
}

pub(super) fn somebody(address: &ServerAddress) -> Check {
    Check::warn(
        "server",
        format!("{address} accepts connections"),
        "whether it is the fleet's server was not looked at",
        "give the join token with --token: it is not used up",
    )
}

pub(super) fn not_reached(why: String) -> Check {
    Check::fail("server", why, COSTS, ADVICE)
}

pub(super) fn no_identity(why: String) -> Check {
    Check::fail("server", why, COSTS, "join this host again with a new token")
}
