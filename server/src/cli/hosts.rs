//! `handover hosts`.

use super::{connection::Connection, error::CliError, exit, facts, json, table::Table, time};
use handover_model::{Label, Share, Timestamp};
use handover_proto::v1::{
    GetHostRequest, Host, InstanceReport, ListHostsRequest, RemoveHostRequest, UpdateHostRequest,
};
use serde_json::json;
use std::collections::HashMap;

/// The hosts of the fleet; without a command they are listed.
#[derive(Debug, clap::Args)]
pub(super) struct HostsArgs {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// All hosts.
    List,
    /// One host, with what runs there.
    Show {
        /// Its name.
        host: String,
    },
    /// Set labels (KEY=VALUE) and take labels away (KEY-).
    Label {
        /// Its name.
        host: String,
        /// What to change.
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        labels: Vec<String>,
    },
    /// Give it no new deployments; what it runs stays.
    Cordon {
        /// Its name.
        host: String,
    },
    /// Give it deployments again.
    Uncordon {
        /// Its name.
        host: String,
    },
    /// Take away the alarm that its identity is used in two places. It comes again while that lasts.
    Acknowledge {
        /// Its name.
        host: String,
    },
    /// Take it out of the fleet: its certificate is worthless then, what it runs goes on.
    Remove {
        /// Its name.
        host: String,
        /// Also while it is online or a deployment touches it.
        #[arg(long)]
        force: bool,
        /// Why; it stands in the audit.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(super) async fn run(args: HostsArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    match args.command.unwrap_or(Command::List) {
        Command::List => {
            let hosts = to.client.list_hosts(ListHostsRequest {}).await?.into_inner().hosts;
            if as_json {
                hosts.iter().for_each(|host| println!("{}", json::host(host)));
            } else {
                list(&hosts);
            }
        }
        Command::Show { host } => {
            let host = to.client.get_host(GetHostRequest { name: host }).await?.into_inner();
            show(&host, as_json);
        }
        Command::Label { host, labels } => {
            let (set_labels, remove_labels) = changes(&labels)?;
            let request = UpdateHostRequest { name: host, set_labels, remove_labels, ..Default::default() };
            show(&to.client.update_host(request).await?.into_inner(), as_json);
        }
        Command::Acknowledge { host } => {
            let request = UpdateHostRequest { name: host, acknowledge_clone: true, ..Default::default() };
            show(&to.client.update_host(request).await?.into_inner(), as_json);
        }
        Command::Cordon { host } => show(&cordon(&mut to, host, true).await?, as_json),
        Command::Uncordon { host } => show(&cordon(&mut to, host, false).await?, as_json),
        Command::Remove { host, force, reason } => {
            to.client.remove_host(RemoveHostRequest { name: host.clone(), force, reason }).await?;
            if as_json {
                println!("{}", json!({"removed": host}));
            } else {
                println!("host {host} is removed; what it runs goes on until it is stopped there");
            }
        }
    }
    Ok(exit::DONE)
}

async fn cordon(to: &mut Connection, name: String, cordoned: bool) -> Result<Host, CliError> {
    let request = UpdateHostRequest { name, cordoned: Some(cordoned), ..Default::default() };
    Ok(to.client.update_host(request).await?.into_inner())
}

/// What `KEY=VALUE` and `KEY-` ask for.
fn changes(labels: &[String]) -> Result<(HashMap<String, String>, Vec<String>), CliError> {
    let mut set = HashMap::new();
    let mut remove = Vec::new();
    for text in labels {
        match text.strip_suffix('-').filter(|_| !text.contains('=')) {
            Some(key) => remove.push(key.to_owned()),
            None => {
                let Label { key, value } =
                    text.parse().map_err(|error| CliError::Usage(format!("{error}")))?;
                set.insert(key, value);
            }
        }
    }
    Ok((set, remove))
}

fn condition(host: &Host) -> String {
    let online = if host.online { "online" } else { "offline" };
    if host.cordoned { format!("{online}, cordoned") } else { online.to_owned() }
}

fn labels(host: &Host) -> String {
    let mut labels: Vec<String> = host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.sort();
    labels.join(",")
}

fn list(hosts: &[Host]) {
    let mut table = Table::new(&[
        "host",
        "state",
        "address",
        "agent",
        "last contact",
        "runs",
        "disk free",
        "kernel",
        "gate",
        "labels",
    ]);
    for host in hosts {
        let runs = host.assignments.iter().map(|a| match a.outdated.as_str() {
            "" => format!("{} {}", a.service, a.version),
            newer => format!("{} {} (outdated: {newer})", a.service, a.version),
        });
        table.row([
            host.name.clone(),
            condition(host),
            host.address.clone(),
            host.agent_version.clone(),
            if host.online { "now".to_owned() } else { time::ago(host.last_contact_unix_millis) },
            runs.collect::<Vec<_>>().join(", "),
            host.facts.as_ref().map(facts::disk_free).unwrap_or_default(),
            host.kernel.clone(),
            host.facts.as_ref().map(facts::abilities).unwrap_or_default(),
            labels(host),
        ]);
    }
    table.print();
    for host in hosts.iter().filter(|host| !host.target_refused.is_empty()) {
        println!("host {} refuses its target: {}", host.name, host.target_refused);
    }
    for host in hosts {
        notes(host).for_each(|note| println!("host {}: {note}", host.name));
    }
}

/// What an operator should know of a host beyond the columns.
fn notes(host: &Host) -> impl Iterator<Item = String> {
    let skew = Some(host.skew.clone()).filter(|skew| !skew.is_empty());
    let now = Timestamp::from_unix_millis(time::now());
    [
        host.clone.as_ref().map(|alarm| facts::alarm(&host.name, alarm)),
        skew,
        facts::clock(host.clock_ahead_millis),
        facts::certificate(host.certificate_issued_unix_millis, host.certificate_expires_unix_millis, now),
    ]
    .into_iter()
    .flatten()
    .chain(host.facts.as_ref().map(facts::wants_room).unwrap_or_default())
}

fn show(host: &Host, as_json: bool) {
    if as_json {
        println!("{}", json::host(host));
        return;
    }
    println!("host {} ({})", host.name, condition(host));
    println!("  address        {}", host.address);
    println!("  labels         {}", labels(host));
    println!("  agent          {}", host.agent_version);
    println!("  kernel         {}", host.kernel);
    if let Some(facts) = &host.facts {
        println!("  disk           {}", facts::disk(facts));
        println!("  gate           {}", facts::abilities(facts));
    }
    println!("  last contact   {}", time::ago(host.last_contact_unix_millis));
    println!("  enrolled       {}", time::moment(host.enrolled_unix_millis));
    println!("  certificate    until {}", time::moment(host.certificate_expires_unix_millis));
    println!("  target         revision {} {}", host.target_revision, host.target_refused);
    notes(host).for_each(|note| println!("  note           {note}"));
    if !host.instances.is_empty() {
        instances(host.instances.iter().map(|instance| (None, instance))).print();
    }
}

/// Instances in a table; with their hosts where these are given.
pub(super) fn instances<'a>(rows: impl Iterator<Item = (Option<&'a str>, &'a InstanceReport)>) -> Table {
    let mut table =
        Table::new(&["host", "instance", "version", "phase", "share", "pid", "restarts", "since", "detail"]);
    for (host, report) in rows {
        let phase = report.phase().as_str_name();
        let share =
            Share::new(report.share).map_or_else(|_| report.share.to_string(), |share| share.to_string());
        table.row([
            host.unwrap_or_default().to_owned(),
            report.instance.clone(),
            report.version.clone(),
            phase.strip_prefix("INSTANCE_PHASE_").unwrap_or(phase).to_lowercase().replace('_', " "),
            share,
            report.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            report.restarts.to_string(),
            time::ago(report.since_unix_millis),
            report.detail.clone(),
        ]);
    }
    table
}
