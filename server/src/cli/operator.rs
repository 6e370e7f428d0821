//! `handover operator`: certificates for operators who work from another machine.

use super::{connection::Connection, error::CliError, exit};
use handover_identity::{Credentials, KeyPair};
use handover_model::chain;
use handover_proto::v1::SignOperatorRequest;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key here, have it signed, write both into a folder for --identity.
    Create {
        /// The operator's name.
        name: String,
        /// The folder, which must not exist yet.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Days that the certificate is valid, 1 to 365.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: u32,
    },
}

pub(super) async fn run(command: Command, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    let Command::Create { name, out, days } = command;
    if out.exists() {
        return Err(CliError::Usage(format!("{} exists already: choose another folder", out.display())));
    }
    let problem = |error: &dyn std::error::Error| CliError::File { path: out.clone(), problem: chain(error) };
    let key = KeyPair::generate().map_err(|error| problem(&error))?;
    let csr_pem = key.csr_pem().map_err(|error| problem(&error))?;
    let request = SignOperatorRequest { name: name.clone(), csr_pem, days };
    let signed = to.client.sign_operator(request).await?.into_inner();
    let credentials =
        Credentials::new(key, &signed.certificate_pem, &signed.ca_pem).map_err(|error| problem(&error))?;
    credentials.save(&out).map_err(|error| problem(&error))?;
    if json {
        println!("{}", json!({"operator": name, "folder": out, "fleet": signed.fleet}));
    } else {
        println!(
            "operator {name} of fleet {}: {} (copy the folder, keep key.pem secret)",
            signed.fleet,
            out.display()
        );
    }
    Ok(exit::DONE)
}
