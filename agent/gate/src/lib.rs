//! The gate: the kernel traffic switch of one listener on one host.
//!
//! A TCP listener is a group of sockets with `SO_REUSEPORT` on one address, one socket for each instance. A classic
//! BPF program on the group chooses the socket of each new connection: a pin reaches its own instance, everybody
//! else (a *stranger*) is drawn against the shares. A flip is one setsockopt(2), needs no privilege, and no byte of a
//! connection ever passes through the agent.
//!
//! Two walls keep strangers from a hidden instance (one whose share is 0):
//!
//! 1. the program ([`program`]) never names it for a stranger;
//! 2. its listening socket carries a socket filter ([`wall`]) that drops what a stranger sends, because there are ways
//!    around the program: a number out of range, or an skb whose header cannot be pulled, makes the kernel fall back
//!    to its hash over all sockets (`run_bpf_filter` and `reuseport_select_sock` in net/core/sock_reuseport.c).
//!    A dropped SYN is sent again by the client's kernel one second later; an answered one would be a wrong answer.
//!
//! The crate is synchronous and knows no runtime. Calls take microseconds, except those that say how long they wait.
//! [`Gate`] must be used from one thread at a time, by the one process that owns the listener.

mod bpf;
pub mod destroyed;
mod error;
mod gate;
mod join;
mod order;
mod pin;
pub mod program;
mod queues;
mod removal;
mod restore;
mod shares;
mod snapshot;
pub mod sock_diag;
mod socket;
mod sys;
mod sysctl;
mod trial;
pub mod wall;

pub use bpf::Instruction;
pub use error::GateError;
pub use gate::{Gate, Retired};
pub use order::{Order, OrderCheck};
pub use pin::{Pin, PinError, is_from_pin};
pub use queues::PendingRequests;
pub use restore::Restored;
pub use shares::Flip;
pub use snapshot::{GateSnapshot, MemberSnapshot};
pub use sysctl::{reserve_pin_ports, set_tcp_migrate_req};
pub use trial::try_gate;

#[cfg(test)]
mod tests;
