//! `handover status`.

use super::{
    connection::{self, Connection},
    error::CliError,
    exit, hosts, json, time,
};
use handover_proto::v1::{ListServicesRequest, ListServicesResponse, Service};
use std::io::{IsTerminal as _, stdout};

/// What runs where, and what it waits for.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Only this service.
    service: Option<String>,
    /// Go on showing it until interrupted.
    #[arg(long, short)]
    watch: bool,
}

pub(super) async fn run(args: StatusArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let request = ListServicesRequest { service: args.service.clone().unwrap_or_default() };
    if !args.watch {
        let status = to.client.list_services(request).await?.into_inner();
        if let Some(service) = args.service.filter(|_| status.services.is_empty()) {
            return Err(CliError::Failed(format!(
                "there is no service {service}; `handover status` lists all"
            )));
        }
        show(&mut to, &status, as_json).await?;
        return Ok(exit::DONE);
    }
    tokio::select! {
        ended = watch(&mut to, request, as_json) => ended,
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}

/// Shows each snapshot; a server that is started again meanwhile is waited for, with back-off and a limit.
async fn watch(
    to: &mut Connection,
    request: ListServicesRequest,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    let mut pause = connection::pauses();
    loop {
        let broke = match to.client.watch_services(request.clone()).await {
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(status)) => {
                            pause = connection::pauses();
                            if !as_json && stdout().is_terminal() {
                                // Home, and away with what stood below.
                                print!("\x1b[H\x1b[J");
                            }
                            show(to, &status, as_json).await?;
                        }
                        Ok(None) => break tonic::Status::unavailable("the server ended the watch"),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        let Some(wait) = pause.next().filter(|_| connection::is_worth_trying(&broke)) else {
            return Err(broke.into());
        };
        tokio::time::sleep(wait).await;
        // Not there yet: the next round tries again.
        let _ = to.again().await;
    }
}

async fn show(to: &mut Connection, status: &ListServicesResponse, as_json: bool) -> Result<(), CliError> {
    if as_json {
        status.services.iter().for_each(|service| println!("{}", json::service(service)));
        return Ok(());
    }
    if status.services.is_empty() {
        println!("no service yet: `handover release push DIR --version V` makes the first release");
    }
    for service in &status.services {
        let deployment = match service.deployment {
            Some(id) => {
                let request = handover_proto::v1::GetDeploymentRequest { id, service: service.name.clone() };
                Some(to.client.get_deployment(request).await?.into_inner())
            }
            None => None,
        };
        print_service(service);
        if let Some(deployment) = deployment {
            super::live::lines(&deployment).iter().for_each(|line| println!("  {line}"));
        }
    }
    Ok(())
}

fn print_service(service: &Service) {
    let version = if service.version.is_empty() { "nothing yet" } else { &service.version };
    let rollback = match (service.previous_version.as_str(), service.no_rollback.as_str()) {
        (_, why) if !why.is_empty() => format!("no rollback: {why}"),
        ("", _) => "no rollback".to_owned(),
        (previous, _) => format!("rollback goes to {previous}"),
    };
    println!("service {}: {version}; {rollback}", service.name);
    let instances = service
        .hosts
        .iter()
        .flat_map(|host| host.instances.iter().map(|instance| (Some(host.host.as_str()), instance)));
    hosts::instances(instances).lines().iter().for_each(|line| println!("  {line}"));
    for host in service.hosts.iter().filter(|host| !host.online) {
        println!(
            "  host {} is offline, last heard of {}",
            host.host,
            time::ago(host.last_contact_unix_millis)
        );
    }
}
