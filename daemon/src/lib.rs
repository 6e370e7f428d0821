//! What both daemons share of being a service: whether their heart beats ([`Pulse`]), telling the service manager
//! ([`ServiceManager`]), and reading a file that a person named ([`read_bounded`]). Knows neither fleets nor hosts.

mod file;
mod manager;
mod pulse;

pub use file::{FileError, read_bounded};
pub use manager::ServiceManager;
pub use pulse::{Heart, Pulse, Still};
