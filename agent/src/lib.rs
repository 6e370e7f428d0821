//! The daemon on every host: starts instances, steers listeners, drains.
//!
//! [`reconcile`] decides, [`supervisor`] is the loop that does it, [`session`] speaks with the server, [`journal`]
//! is what survives the agent's own end.

pub mod bundles;
pub mod clock;
pub mod commands;
pub mod config;
pub mod confirming;
pub mod daemon;
pub mod disks;
pub mod doctor;
mod durable;
pub mod facts;
pub mod gates;
pub mod instance;
pub mod join;
pub mod journal;
pub mod logs;
pub mod measuring;
pub mod metrics;
mod migrating;
pub mod reconcile;
pub mod renewal;
pub mod session;
mod slot;
pub mod state;
pub mod status;
pub mod stop;
pub mod supervisor;
pub mod vitals;
