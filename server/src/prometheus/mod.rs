//! Asking the Prometheus server for the metrics of services whose manifests say so.
//!
//! Where it is stands in `server.toml`: a manifest's author names series, and never what the server connects to. One task
//! asks for all services, each at its interval; it waits for nobody and the fleet's task does not wait for it. What is
//! asked and what an answer says is `handover-prometheus`; what becomes of it is told in `fleet/judging`.

mod asking;
mod client;
mod failure;

pub use asking::Asking;
pub use client::Client;
pub use failure::AskFailure;
