//! `handover logs`.

use super::{connection::Connection, error::CliError, exit, plain::plain, time};
use console::{Style, style};
use handover_proto::v1::{HostLogs, LogLine, ReadLogsRequest};
use serde_json::json;
use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _, stdout},
};

/// What a service's instances wrote, of all its hosts, in the order of time.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lines from journald carry the time at which they were written. Lines of files carry none, \
    so those of several hosts cannot be merged in the order in which they were written: they stand first, with `-`; those \
    that come while following have the time at which the agent saw them, with `~`.\n\
    Exit codes: 0 every host was read; 1 a host could not be read, or not to its end (which one stands on standard \
    error); 130 interrupted."
)]
pub(super) struct LogsArgs {
    /// Whose.
    service: String,
    /// Go on with what is written from now on, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// Only of this host; may be given often.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Only instances of this release.
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// Nothing from before: a time as 90s, 10m, 2h, 1d.
    #[arg(long, value_name = "TIME", value_parser = time::parse_span)]
    since: Option<u64>,
    /// The newest so many lines of each host; 200, or with --since 10000.
    #[arg(long, short = 'n', value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lines: Option<u32>,
}

pub(super) async fn run(args: LogsArgs, mut to: Connection, as_json: bool) -> Result<exit::Exit, CliError> {
    let LogsArgs { service, follow, hosts, release, since, lines } = args;
    let request = ReadLogsRequest {
        service,
        hosts,
        version: release.unwrap_or_default(),
        since_unix_millis: since.map_or(0, |since| time::now().saturating_sub(since)),
        follow,
        lines: lines.unwrap_or(if since.is_some() { 10_000 } else { 0 }),
    };
    let reading = async {
        let mut stream = to.client.read_logs(request).await?.into_inner();
        let mut shown = Shown::new(as_json);
        while let Some(logs) = stream.message().await? {
            if logs.left_out > 0 {
                shown.left_out(logs.left_out);
            }
            logs.lines.iter().for_each(|line| shown.line(line));
            // Written at once: who follows waits for it.
            let _ = stdout().flush();
            logs.ended.iter().for_each(|host| shown.ended(host));
        }
        Ok(if shown.failed { exit::FAILED } else { exit::DONE })
    };
    tokio::select! {
        ended = reading => ended,
        _ = tokio::signal::ctrl_c() => Ok(exit::INTERRUPTED),
    }
}

/// What was printed.
struct Shown {
    as_json: bool,
    /// Each host's colour, on a terminal.
    colours: Option<BTreeMap<String, Style>>,
    failed: bool,
}

impl Shown {
    fn new(as_json: bool) -> Self {
        let colours = stdout().is_terminal() && console::colors_enabled();
        Self { as_json, colours: colours.then(BTreeMap::new), failed: false }
    }

    fn line(&mut self, line: &LogLine) {
        if self.as_json {
            println!("{}", json_line(line));
            return;
        }
        let LogLine { host, instance, version, time_unix_micros, seen, text, cut } = line;
        let time = match (time_unix_micros, seen) {
            (0, _) => "-".to_owned(),
            (micros, false) => time::exact_moment(*micros),
            (micros, true) => format!("{}~", time::exact_moment(*micros)),
        };
        let name = |text: &str| if text.is_empty() { "-".to_owned() } else { plain(text.as_bytes()) };
        let of = format!("{} {}/{}", plain(host.as_bytes()), name(version), name(instance));
        let of = match &mut self.colours {
            None => of,
            Some(colours) => {
                let next = colours.len();
                colours.entry(host.clone()).or_insert_with(|| colour(next)).apply_to(of).to_string()
            }
        };
        let mark = if *cut { " [cut]" } else { "" };
        println!("{time} {of} {}{mark}", plain(text));
    }

    fn left_out(&self, count: u64) {
        if self.as_json {
            println!("{}", json!({"left_out": count}));
        } else {
            println!("... {count} lines left out: this reader was too slow");
        }
    }

    fn ended(&mut self, host: &HostLogs) {
        let HostLogs { host, failed, notes } = host;
        let host = plain(host.as_bytes());
        for note in notes {
            eprintln!("{host}: {}", plain(note.as_bytes()));
        }
        if !failed.is_empty() {
            self.failed = true;
            let error = style("error").for_stderr().red();
            eprintln!("{error}: {host} could not be read: {}", plain(failed.as_bytes()));
        }
    }
}

/// Colours that can be told apart; with more hosts than that they come again.
fn colour(number: usize) -> Style {
    let style = Style::new();
    match number % 6 {
        0 => style.cyan(),
        1 => style.yellow(),
        2 => style.green(),
        3 => style.magenta(),
        4 => style.blue(),
        _ => style.red(),
    }
}

fn json_line(line: &LogLine) -> serde_json::Value {
    let LogLine { host, instance, version, time_unix_micros, seen, text, cut } = line;
    let source = match (time_unix_micros, seen) {
        (0, _) => None,
        (_, false) => Some("journald"),
        (_, true) => Some("seen"),
    };
    json!({
        "time_micros": (*time_unix_micros != 0).then_some(time_unix_micros), "time_source": source, "host": host,
        "version": version, "instance": instance, "text": String::from_utf8_lossy(text), "cut": cut,
    })
}
