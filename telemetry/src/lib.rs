//! What both daemons tell of themselves: their logs, and metrics and health over HTTP on an address of its own.
//!
//! Knows nothing of fleets, hosts or instances: what is told is the daemons' own, see [`Told`].

pub mod endpoint;
pub mod logging;
pub mod seconds;

pub use endpoint::{Endpoint, EndpointError, Health, Told};
pub use logging::{LogArgs, LogError, LogFormat};
