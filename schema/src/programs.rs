//! Migrations that are programs: who runs them is told what to run, and the runner holds the lock meanwhile.

use std::fmt;
use std::path::Path;
use std::pin::Pin;

use handover_model::{SchemaPhase, SchemaVersion};
use tokio::sync::mpsc;

/// Why a program did not end with code 0. Each holds how it ended, in words behind its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramEnd {
    /// It was not executed.
    NotRun(String),
    /// It ended by itself.
    Failed(String),
    /// It was killed, by its time or by somebody: what it was doing is not known.
    CutOff(String),
}

/// A program that runs, to its end.
pub type RunsProgram<'a> = Pin<Box<dyn Future<Output = Result<(), ProgramEnd>> + Send + 'a>>;

/// Runs programs of a release.
pub trait Programs: fmt::Debug + Send + Sync {
    /// Runs one to its end. Whoever drops the future ends the program.
    fn run<'a>(&'a self, call: ProgramCall<'a>) -> RunsProgram<'a>;
}

/// What is to be run.
#[derive(Debug)]
pub struct ProgramCall<'a> {
    /// The program.
    pub path: &'a Path,
    /// Its phase.
    pub phase: SchemaPhase,
    /// The schema's version once it has ended well.
    pub version: SchemaVersion,
    /// Whether it was begun before and cut off.
    pub again: bool,
    /// Takes lines of its output, as far as there is room.
    pub said: mpsc::Sender<String>,
}
