//! The generator against small servers made by hand, each of which fails in one way.

mod counting;
mod running;
mod server;

use super::{Config, Counts, Load, Mode, Report};
use crate::process::wait_until;
use std::{net::SocketAddr, time::Duration};

/// Longest time that one run may take.
const SOON: Duration = Duration::from_secs(60);
/// One client that keeps its connection.
const KEPT: Mode = Mode::KeepAlive { connections: 1 };
/// One client with a connection for each request.
const ONE_EACH: Mode = Mode::OnePerRequest { workers: 1 };

/// A run of so many requests.
fn requests(target: SocketAddr, mode: Mode, number: u64) -> Config {
    let request_timeout = Duration::from_secs(20);
    Config { max_requests: Some(number), request_timeout, ..Config::new(vec![target], mode) }
}

fn run(config: Config) -> Report {
    let load = Load::start(config);
    wait_until(SOON, "the run to end by itself", || load.is_finished());
    load.stop()
}
