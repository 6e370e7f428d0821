//! `handover preview`: how to reach what no client is sent to yet, and commands beside it.

use super::{connection::Connection, error::CliError, exit, json, plain::plain, time};
use handover_proto::v1::{
    HiddenInstance, ListenerAddress, Pin, PreviewOutcome, PreviewRequest, RunPreviewRequest,
};
use std::collections::BTreeSet;

/// How to reach the instances of a service that no client is sent to: a release that waits for its flip, or one that stands
/// by.
///
/// Each has a pin on its host: whoever connects from there gets this instance on the real port. The lines that begin with
/// curl are for a shell on that host. With -- CMD the command runs on each of these hosts, as the instance's user, with
/// HANDOVER_PIN and HANDOVER_ADDRESS_HTTP (for a listener http) in its environment.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 printed, or the command ended with 0 beside every hidden instance; 1 it did not, on the hosts \
    that standard error names, or nothing is hidden; 6 the role does not allow it; 130 interrupted (what runs goes on, until its time is over)."
)]
pub(super) struct PreviewArgs {
    /// The service.
    service: String,
    /// On this host only; may be given several times.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// After this long the command is ended, 1s to 10m.
    #[arg(long, value_name = "TIME", value_parser = time::parse_span, default_value = "60s", requires = "command")]
    timeout: u64,
    /// Program and arguments. A relative program lies in the release's folder.
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(super) async fn run(
    args: PreviewArgs,
    mut to: Connection,
    as_json: bool,
) -> Result<exit::Exit, CliError> {
    if !args.command.is_empty() {
        return tokio::select! {
            ended = run_command(args, to, as_json) => ended,
            _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
        };
    }
    let request = PreviewRequest { service: args.service.clone(), hosts: args.hosts };
    let hidden = to.client.preview(request).await?.into_inner().hidden;
    for instance in &hidden {
        match as_json {
            true => println!("{}", json::hidden(instance, &curls(instance))),
            false => lines(instance).iter().for_each(|line| println!("{line}")),
        }
    }
    if hidden.is_empty() && !as_json {
        println!("no instance of {} is hidden now: clients are sent to every one that runs", args.service);
    }
    Ok(exit::DONE)
}

/// Has the command run on the hosts, and prints what comes of it.
async fn run_command(args: PreviewArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let PreviewArgs { service, hosts, timeout, command } = args;
    let request = RunPreviewRequest { service: service.clone(), hosts, command, timeout_millis: timeout };
    let mut stream = to.client.run_preview(request).await?.into_inner();
    let (mut ran, mut failed) = (0, BTreeSet::new());
    while let Some(outcome) = stream.message().await? {
        match as_json {
            true => println!("{}", json::outcome(&outcome)),
            false => outcome_lines(&outcome).iter().for_each(|line| println!("{line}")),
        }
        ran += 1;
        if !outcome.passed {
            failed.insert(plain(outcome.host.as_bytes()));
        }
    }
    if ran == 0 {
        return Err(CliError::Failed(format!("no instance of {service} is hidden now: nothing was run")));
    }
    if failed.is_empty() {
        return Ok(exit::DONE);
    }
    let failed: Vec<String> = failed.into_iter().collect();
    Err(CliError::Failed(format!("the command did not end with code 0 on {}", failed.join(", "))))
}

/// What is printed of an outcome: the host's name stands before each line of the output.
fn outcome_lines(outcome: &PreviewOutcome) -> Vec<String> {
    let PreviewOutcome { host, instance, version, passed: _, ended, code: _, output, cut } = outcome;
    let host = plain(host.as_bytes());
    let mut lines = Vec::new();
    if *cut {
        lines.push(format!("{host} | [cut: the last 64 KiB follow]"));
    }
    let text = output.strip_suffix(b"\n").unwrap_or(output);
    if !text.is_empty() {
        lines.extend(text.split(|byte| *byte == b'\n').map(|line| format!("{host} | {}", plain(line))));
    }
    let (instance, version) = (plain(instance.as_bytes()), plain(version.as_bytes()));
    lines.push(format!("{host}: {}, beside {instance}, release {version}", plain(ended.as_bytes())));
    lines
}

/// What is printed of an instance.
fn lines(hidden: &HiddenInstance) -> Vec<String> {
    let HiddenInstance { host, instance, version, phase: _, pin, addresses } = hidden;
    let Pin { address: source, first_port, last_port } = pin.clone().unwrap_or_default();
    let mut lines =
        vec![format!("{host}: {instance}, release {version}, {}", json::phase_of(hidden.phase()))];
    lines.push(format!("    pin {source} (IPv6: source ports {first_port}-{last_port})"));
    for ListenerAddress { listener, address } in addresses {
        lines.push(format!("    {listener} {address}"));
    }
    lines.extend(curls(hidden).into_iter().map(|curl| format!("    {curl}")));
    lines
}

/// A line for a shell on the host, for each listener.
fn curls(hidden: &HiddenInstance) -> Vec<String> {
    let Pin { address: source, first_port, last_port } = hidden.pin.clone().unwrap_or_default();
    let curl = |to: &ListenerAddress| {
        let address = &to.address;
        if address.starts_with('[') {
            // curl takes an address in brackets for a pattern, unless told otherwise.
            format!("curl -g --local-port {first_port}-{last_port} 'http://{address}/'")
        } else {
            format!("curl --interface {source} http://{address}/")
        }
    };
    hidden.addresses.iter().map(curl).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::v1::InstancePhase;

    #[test]
    fn each_listener_has_a_line_that_can_be_pasted() {
        let to = |listener: &str, address: &str| ListenerAddress {
            listener: listener.to_owned(),
            address: address.to_owned(),
        };
        let hidden = HiddenInstance {
            host: "web-1".to_owned(),
            instance: "shop-d7".to_owned(),
            version: "2.0".to_owned(),
            phase: InstancePhase::Ready.into(),
            pin: Some(Pin { address: "127.77.0.3".to_owned(), first_port: 61_048, last_port: 61_063 }),
            addresses: vec![to("http", "127.0.0.1:8080"), to("admin", "[::1]:9090")],
        };
        assert_eq!(
            lines(&hidden),
            [
                "web-1: shop-d7, release 2.0, ready",
                "    pin 127.77.0.3 (IPv6: source ports 61048-61063)",
                "    http 127.0.0.1:8080",
                "    admin [::1]:9090",
                "    curl --interface 127.77.0.3 http://127.0.0.1:8080/",
                "    curl -g --local-port 61048-61063 'http://[::1]:9090/'",
            ]
        );
    }

    #[test]
    fn what_a_command_wrote_stands_behind_its_host_and_moves_no_cursor() {
        let outcome = PreviewOutcome {
            host: "web-1".to_owned(),
            instance: "shop-d7".to_owned(),
            version: "2.0".to_owned(),
            ended: "exited with code 3".to_owned(),
            output: b"one\n\x1b[2Jtwo\n".to_vec(),
            ..Default::default()
        };
        assert_eq!(
            outcome_lines(&outcome),
            [
                "web-1 | one",
                "web-1 | \\u{1b}[2Jtwo",
                "web-1: exited with code 3, beside shop-d7, release 2.0",
            ]
        );
        let silent = PreviewOutcome { output: Vec::new(), cut: true, ..outcome };
        assert_eq!(outcome_lines(&silent).len(), 2);
    }
}
