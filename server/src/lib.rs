//! The Handover server and the operator's command line.

pub mod api;
pub mod audit;
pub mod blobs;
pub mod cli;
pub mod fleet;
pub mod server;
pub mod server_command;
pub mod sessions;
pub mod store;
