//! What both daemons share of being a service: whether their heart beats ([`Pulse`]), and telling the service manager
//! ([`ServiceManager`]). Knows neither fleets nor hosts.

mod manager;
mod pulse;

pub use manager::ServiceManager;
pub use pulse::{Heart, Pulse, Still};
