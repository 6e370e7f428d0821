//! What both daemons share of being a service: whether their heart beats ([`Pulse`]), telling the service manager
//! ([`ServiceManager`]), reading a file that a person named ([`read_bounded`]), and its manual ([`write_manual`]). Knows neither fleets nor hosts.

mod file;
mod manager;
mod manual;
mod pulse;

pub use file::{FileError, read_bounded};
pub use manager::ServiceManager;
pub use manual::write_manual;
pub use pulse::{Heart, Pulse, Still};
