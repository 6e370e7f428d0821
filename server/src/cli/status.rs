//! `handover status`.

use super::{connection::Connection, error::CliError, exit, hosts, json, time};
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
    let request = ListServicesRequest { service: args.service.unwrap_or_default() };
    if !args.watch {
        let status = to.client.list_services(request).await?.into_inner();
        show(&mut to, &status, as_json).await?;
        return Ok(exit::DONE);
    }
    let mut stream = to.client.watch_services(request).await?.into_inner();
    loop {
        let next = tokio::select! {
            next = stream.message() => next?,
            _ = tokio::signal::ctrl_c() => return Ok(exit::INTERRUPTED),
        };
        let Some(status) = next else { return Ok(exit::UNREACHABLE) };
        if !as_json && stdout().is_terminal() {
            // Home, and away with what stood below.
            print!("\x1b[H\x1b[J");
        }
        show(&mut to, &status, as_json).await?;
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
