//! `handover operator`: who may do what from another machine.

use super::{connection::Connection, error::CliError, exit, json, table::Table, time};
use crate::fleet::Role;
use handover_identity::{Credentials, KeyPair};
use handover_model::chain;
use handover_proto::v1::{
    ListOperatorsRequest, Operator, OperatorRole, RevokeOperatorRequest, SignOperatorRequest,
    UpdateOperatorRequest,
};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a key here, have it signed, write both into a folder for --identity. An operator who exists gets one more
    /// certificate.
    Create {
        /// The operator's name.
        name: String,
        /// viewer (looks and watches), deployer (pushes, deploys, rolls back, aborts) or admin (everything); a new
        /// operator is a viewer where it is left out.
        #[arg(long)]
        role: Option<Role>,
        /// Only this service; can be given several times. All of them where it is left out.
        #[arg(long = "service", value_name = "SERVICE")]
        services: Vec<String>,
        /// The folder, which must not exist yet; named after the operator where it is left out.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Days that the certificate is valid, 1 to 365.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: u32,
    },
    /// All operators with certificates.
    List,
    /// Change what an operator may do; its certificates stay.
    Set {
        /// The operator's name.
        name: String,
        /// The new role.
        #[arg(long, required_unless_present_any = ["services", "all_services"])]
        role: Option<Role>,
        /// Only this service from now on; can be given several times.
        #[arg(long = "service", value_name = "SERVICE", conflicts_with = "all_services")]
        services: Vec<String>,
        /// All services from now on.
        #[arg(long)]
        all_services: bool,
    },
    /// Make every certificate of an operator worthless, at once; what it watches ends.
    Revoke {
        /// The operator's name.
        name: String,
        /// Why; it stands in the audit.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(super) async fn run(command: Command, mut to: Connection, json: bool) -> Result<exit::Exit, CliError> {
    match command {
        Command::Create { name, role, services, out, days } => {
            let out = out.unwrap_or_else(|| PathBuf::from(&name));
            let request =
                SignOperatorRequest { name, csr_pem: String::new(), days, role: wire(role).into(), services };
            create(request, out, to, json).await?;
        }
        Command::List => {
            let operators = to.client.list_operators(ListOperatorsRequest {}).await?.into_inner().operators;
            if json {
                operators.iter().for_each(|operator| println!("{}", json::operator(operator)));
            } else {
                list(&operators);
            }
        }
        Command::Set { name, role, services, all_services } => {
            let request = UpdateOperatorRequest {
                name,
                role: wire(role).into(),
                change_services: all_services || !services.is_empty(),
                services,
            };
            let operator = to.client.update_operator(request).await?.into_inner();
            tell(&operator, json, &format!("operator {} is {} now", operator.name, rights(&operator)));
        }
        Command::Revoke { name, reason } => {
            let operator =
                to.client.revoke_operator(RevokeOperatorRequest { name, reason }).await?.into_inner();
            tell(
                &operator,
                json,
                &format!("operator {} is revoked: its certificates are worthless", operator.name),
            );
        }
    }
    Ok(exit::DONE)
}

async fn create(
    mut request: SignOperatorRequest,
    out: PathBuf,
    mut to: Connection,
    json: bool,
) -> Result<(), CliError> {
    if out.exists() {
        return Err(CliError::Usage(format!("{} exists already: choose another folder", out.display())));
    }
    let problem = |error: &dyn std::error::Error| CliError::File { path: out.clone(), problem: chain(error) };
    let key = KeyPair::generate().map_err(|error| problem(&error))?;
    request.csr_pem = key.csr_pem().map_err(|error| problem(&error))?;
    let signed = to.client.sign_operator(request).await?.into_inner();
    let credentials =
        Credentials::new(key, &signed.certificate_pem, &signed.ca_pem).map_err(|error| problem(&error))?;
    credentials.save(&out).map_err(|error| problem(&error))?;
    let operator = signed.operator.unwrap_or_default();
    if json {
        let mut value = json::operator(&operator);
        value["folder"] = json!(out);
        value["fleet"] = json!(signed.fleet);
        value["serial"] = json!(credentials.facts().serial);
        println!("{value}");
    } else {
        println!(
            "operator {} of fleet {}, {}, until {}: {} (copy the folder, keep key.pem secret)",
            operator.name,
            signed.fleet,
            rights(&operator),
            time::moment(credentials.facts().not_after.unix_millis()),
            out.display()
        );
    }
    Ok(())
}

const fn wire(role: Option<Role>) -> OperatorRole {
    match role {
        None => OperatorRole::Unspecified,
        Some(Role::Viewer) => OperatorRole::Viewer,
        Some(Role::Deployer) => OperatorRole::Deployer,
        Some(Role::Admin) => OperatorRole::Admin,
    }
}

/// The role in a word.
pub(super) const fn role(operator: OperatorRole) -> &'static str {
    match operator {
        OperatorRole::Unspecified => "unknown",
        OperatorRole::Viewer => "viewer",
        OperatorRole::Deployer => "deployer",
        OperatorRole::Admin => "admin",
    }
}

fn services(operator: &Operator) -> String {
    if operator.services.is_empty() { "all".to_owned() } else { operator.services.join(", ") }
}

fn rights(operator: &Operator) -> String {
    format!("{} (services: {})", role(operator.role()), services(operator))
}

fn tell(operator: &Operator, as_json: bool, line: &str) {
    if as_json {
        println!("{}", json::operator(operator));
    } else {
        println!("{line}");
    }
}

fn list(operators: &[Operator]) {
    let mut table =
        Table::new(&["operator", "role", "services", "certificate", "expires", "revoked", "made by"]);
    for operator in operators {
        let revoked = operator.revoked.as_ref().map(|revoked| {
            let reason =
                if revoked.reason.is_empty() { String::new() } else { format!(": {}", revoked.reason) };
            format!("{} by {}{reason}", time::moment(revoked.at_unix_millis), revoked.by)
        });
        for (number, certificate) in operator.certificates.iter().enumerate() {
            let first = |text: String| if number == 0 { text } else { "\"".to_owned() };
            table.row([
                first(operator.name.clone()),
                first(role(operator.role()).to_owned()),
                first(services(operator)),
                certificate.serial.clone(),
                time::moment(certificate.expires_unix_millis),
                first(revoked.clone().unwrap_or_default()),
                first(operator.created_by.clone()),
            ]);
        }
    }
    table.print();
}
