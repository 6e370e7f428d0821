//! The Handover server and the operator's command line.

pub mod api;
pub mod audit;
pub mod backup;
pub mod blobs;
pub mod cli;
pub mod commands;
mod descriptors;
pub mod events;
pub mod fleet;
pub mod heart;
pub mod limits;
mod linting;
pub mod logs;
pub mod metrics;
mod migrations;
mod moments;
mod own_certificate;
pub mod prometheus;
pub mod server;
pub mod server_command;
pub mod sessions;
pub mod settings;
pub mod store;
pub mod vitals;
