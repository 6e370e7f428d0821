//! End to end: the real server, agents, command line and service, under load. A single failed request fails a test.

mod bundles;
mod crashes;
mod deployments;
mod drains;
mod failures;
mod refusals;
mod workers;
