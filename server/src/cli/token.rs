//! `handover token`.

use super::{connection::Connection, error::CliError, exit, table::Table, time};
use handover_model::language::seconds;
use handover_proto::v1::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest};
use serde_json::json;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a token with which one host joins the fleet.
    Create {
        /// HOST:PORT that the agent reaches the server at, if not what the server was started with.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// Only this host may use it. Needed where a host joins again under its name.
        #[arg(long)]
        host: Option<String>,
        /// How long it can be used: 30s, 10m, 1h, 7d. At most 30 days.
        #[arg(long, default_value = "1h", value_parser = seconds)]
        ttl: u64,
    },
    /// The tokens, used or not. Never their secrets.
    List,
    /// Make a token worthless.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

pub(super) async fn run(command: Command, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    match command {
        Command::Create { address, host, ttl } => {
            let request = CreateTokenRequest {
                ttl_seconds: ttl,
                host: host.unwrap_or_default(),
                server: address.unwrap_or_default(),
            };
            let made = to.client.create_token(request).await?.into_inner();
            if json {
                println!(
                    "{}",
                    json!({"token": made.token, "id": made.id, "expires": made.expires_unix_millis})
                );
            } else {
                println!("{}", made.token);
                eprintln!(
                    "token {} can be used once, until {}; on the host: handover-agent join --token TOKEN",
                    made.id,
                    time::moment(made.expires_unix_millis)
                );
            }
        }
        Command::List => {
            let tokens = to.client.list_tokens(ListTokensRequest {}).await?.into_inner().tokens;
            let mut table = Table::new(&["token", "host", "created", "expires", "used by"]);
            for token in tokens {
                if json {
                    println!(
                        "{}",
                        json!({"id": token.id, "host": token.host, "created": token.created_unix_millis,
                               "expires": token.expires_unix_millis, "used_by": token.used_by})
                    );
                }
                let (created, expires) =
                    (time::moment(token.created_unix_millis), time::moment(token.expires_unix_millis));
                table.row([token.id, token.host, created, expires, token.used_by]);
            }
            if !json {
                table.print();
            }
        }
        Command::Revoke { id } => {
            to.client.revoke_token(RevokeTokenRequest { id: id.clone() }).await?;
            if json {
                println!("{}", json!({"revoked": id}));
            } else {
                println!("token {id} is worthless now");
            }
        }
    }
    Ok(exit::DONE)
}
