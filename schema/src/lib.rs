//! Applies migrations of a schema: a release's folders of SQL files and programs, to PostgreSQL, MySQL or SQLite.
//!
//! What it promises:
//!
//! - A migration is applied once. A file in a transaction and its record commit together; of a statement that no transaction
//!   holds, that it begins is recorded before, and what became of it is read from the catalog; a batch of a backfill and how far it
//!   is commit together. Two runners at once find that out at the lock, and if there were none, at the rows of the table.
//! - The lock is the session's that does the work. So a runner without the lock has nothing to commit, and the lock of one that is
//!   gone goes when its session does: the server looks for a client that is gone while a statement runs, and ends sessions that
//!   stand still for longer than the lease.
//! - A statement waits a second for a lock, then everything is taken back and tried again later: what queues up behind it waits no
//!   longer either.
//! - A file that was applied and is not what it was is refused. So is what cannot be told: then it says what stands.
//! - The password comes from a file or a credential of this host, and is in nothing that is printed.
//!
//! [`plan`] decides and does no I/O; [`run`] does what it says.

mod address;
mod control;
mod database;
mod error;
mod file;
mod folder;
mod limits;
pub mod plan;
mod programs;
mod progress;
mod record;
mod runner;
mod secret;

pub use handover_model::{Found, Resolution, SchemaPhase, SchemaRange, SchemaReader, SchemaVersion};

pub use address::{Address, AddressError, Kind, Tls};
pub use control::Control;
pub use error::{Error, Fault, FaultKind};
pub use folder::{FolderError, Scripts};
pub use handover_script::{BatchHeader, Checksum, Script, ScriptError, Work};
pub use limits::{Brake, Limits, Throttle};
pub use plan::{Plan, Refusal};
pub use programs::{ProgramCall, ProgramEnd, Programs, RunsProgram};
pub use progress::{Blocker, Progress};
pub use record::{BackfillRecord, Record, State};
pub use runner::{Job, Listener, Outcome, Status, Target, resolve, run, status};
pub use secret::{PasswordSource, Secret, SecretError};
