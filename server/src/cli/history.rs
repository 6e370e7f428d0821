//! `handover history`.

use super::{connection::Connection, error::CliError, exit, json, outcome, table::Table, time};
use handover_proto::v1::{Deployment, ListDeploymentsRequest};

/// Past deployments.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    /// Only this service's.
    service: Option<String>,
    /// How many, 1 to 200.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
}

pub(super) async fn run(
    args: HistoryArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let request = ListDeploymentsRequest { service: args.service.unwrap_or_default(), limit: args.limit };
    let deployments = to.client.list_deployments(request).await?.into_inner().deployments;
    let mut table =
        Table::new(&["deployment", "service", "version", "state", "began", "took", "by", "reason"]);
    for deployment in &deployments {
        if as_json {
            println!("{}", json::deployment(deployment));
        }
        let took = match deployment.ended_unix_millis {
            0 => String::new(),
            ended => time::span(ended.saturating_sub(deployment.created_unix_millis)),
        };
        table.row([
            format!("d{}", deployment.id),
            deployment.service.clone(),
            deployment.version.clone(),
            state(deployment),
            time::moment(deployment.created_unix_millis),
            took,
            deployment.created_by.clone(),
            deployment.reason.clone(),
        ]);
    }
    if !as_json {
        table.print();
    }
    Ok(exit::DONE)
}

/// How it stands; a rehearsal is told as one, since nothing of it stayed.
fn state(deployment: &Deployment) -> String {
    match deployment.purpose.as_str() {
        "rehearsal" => format!("rehearsal {}", outcome::state(deployment)),
        _ => outcome::state(deployment).to_owned(),
    }
}
