//! How the agent runs programs: starting them, knowing them again, watching them, ending them.
//!
//! Each module does one thing to one instance and decides nothing. What should run, and what is to be done when
//! something ends, is for `reconcile`. Nothing here may make an instance hang on the agent's life: no pipe from a
//! program to the agent, no signal when the agent dies, no program that the journal does not know.

pub mod cgroup;
mod cgroup2;
mod child;
pub mod command;
mod error;
pub mod launch;
pub mod logs;
pub mod notify;
pub mod probe;
pub mod process;
mod process_group;
mod procfs;
pub mod rotate;
pub mod sockets;
pub mod spec;
mod sys;
mod usage;

pub use cgroup::{CgroupLimits, Containment, Group, GroupRecord, Place};
pub(crate) use child::account;
pub use command::{Ran, SideCommand};
pub use error::{LaunchError, LaunchStep};
pub use launch::{Launcher, PassedSocket, Prepared, Running};
pub use process::{ExitStatus, Process, ProcessKey};
pub use spec::{LaunchSpec, LogSink, ResourceLimits};
