//! How the sample service behaves, and misbehaves.

use crate::metrics;
use clap::Parser;
use handover_tests::duration;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// An HTTP service that behaves as tests need it: well without flags.
///
/// Its sockets are those it was passed (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES) and those of --listen.
/// Paths: / /ready /live /metrics /sleep?ms=N /bytes?n=N /stats /fail-live /crash
#[derive(Clone, Debug, Parser)]
#[command(name = "sample-service", disable_version_flag = true)]
pub(crate) struct Flags {
    /// The version that it tells in each answer's x-version.
    #[arg(long = "version", default_value = "v0")]
    pub(crate) version: String,
    /// Binds this address itself; may be given several times. With port 0 it prints the port that it got.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Serves https: the certificate chain, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Serves https: the private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Answers grpc.health.v1.Health/Check as well (HTTP/2).
    #[arg(long)]
    pub(crate) grpc_health: bool,
    /// No sockets: appends a line to this file every 50 ms.
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    pub(crate) worker: Option<PathBuf>,

    /// /ready answers 503 for this long.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "0s")]
    pub(crate) ready_after: Duration,
    /// /ready answers 503 for ever.
    #[arg(long)]
    pub(crate) never_ready: bool,
    /// /ready answers with this status.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(crate) ready_status: Option<u16>,
    /// Accepts no connection before this time: they wait in the queue.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "0s")]
    pub(crate) accept_after: Duration,
    /// Accepts no connection any more after the first one of a client (not of the agent): they wait in the queue, and are turned
    /// away once it is full.
    #[arg(long)]
    pub(crate) stops_accepting: bool,
    /// Calls listen(2) on its sockets with this, which makes their queues as long.
    #[arg(long, value_name = "CONNECTIONS", value_parser = clap::value_parser!(i32).range(1..=4096))]
    pub(crate) backlog: Option<i32>,
    /// Sends READY=1 to NOTIFY_SOCKET after this time.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) notify_after: Option<Duration>,

    /// Ends at once with this code and a last line on standard error.
    #[arg(long, value_name = "CODE")]
    pub(crate) exit_at_once: Option<u8>,
    /// Ends with code 1 after this time, as a program with a fault would.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) exit_after: Option<Duration>,
    /// Does nothing at SIGTERM.
    #[arg(long)]
    pub(crate) ignore_term: bool,
    /// Ends at once at SIGTERM, whatever it is doing.
    #[arg(long)]
    pub(crate) no_drain: bool,
    /// Closes idle keep-alive connections at once at SIGTERM.
    #[arg(long)]
    pub(crate) closes_idle_on_term: bool,
    /// How long idle keep-alive connections may wait for their next request after SIGTERM.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "5s")]
    pub(crate) grace: Duration,
    /// Starts itself as a child that ignores SIGTERM and stays.
    #[arg(long)]
    pub(crate) fork_child: bool,
    /// That child.
    #[arg(long, hide = true)]
    pub(crate) child_that_stays: bool,

    /// This part of the answers to / has status 500: 0 to 1.
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    pub(crate) error_rate: f64,
    /// Answers / that much later.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "0s")]
    pub(crate) latency: Duration,
    /// Closes each connection after the first answer that is given after this time, and says so in it.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) connection_age: Option<Duration>,
    /// This part of the connections ends with a reset at that age, whatever is going on: 0 to 1.
    #[arg(long, value_name = "PART", default_value_t = 0.0, requires = "connection_age")]
    pub(crate) reset_rate: f64,
    /// What /metrics answers: what was counted, or how it does wrong.
    #[arg(long, value_name = "KIND", default_value = "text")]
    pub(crate) metrics: metrics::Kind,
    /// /metrics answers 404 after this time.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) metrics_vanish_after: Option<Duration>,
    /// Has so many mebibytes of memory more than it needs.
    #[arg(long, value_name = "MEBIBYTES", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) hoard: Option<u16>,
    /// Keeps one processor busy.
    #[arg(long)]
    pub(crate) burn: bool,
    /// Prints so many lines a second.
    #[arg(long, value_name = "LINES")]
    pub(crate) print: Option<u32>,
}
