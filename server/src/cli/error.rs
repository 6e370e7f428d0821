//! What a command tells when it cannot do what it was asked, and how it then ends.

use super::exit::{self, Exit};
use handover_daemon::FileError;
use handover_model::config::WrongFile;
use handover_proto::status::{Reason, Refusal, Violation};
use std::{error::Error, io, path::PathBuf};
use tonic::Code;

type Source = Box<dyn Error + Send + Sync>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// No connection to the server.
    #[error("cannot reach the server at {address}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// Why.
        source: Source,
    },
    /// The server said no.
    #[error("{}", refusal.message)]
    Refused {
        /// What it said.
        refusal: Box<Refusal>,
    },
    /// The connection broke, or what answered is no Handover server.
    #[error("the server failed to answer: {0}")]
    Status(Box<tonic::Status>),
    /// The operating system said no.
    #[error("cannot {what}")]
    System {
        /// What was to be done.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A file that the command was given is not what it should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A manifest, or a configuration, with mistakes.
    #[error("{} has {}", .0.path.display(), .0.count())]
    Manifest(Box<WrongFile>),
    /// The server found mistakes in a manifest that are none to this command; they are rendered already.
    #[error("{}\n{shown}", refusal.message)]
    ManifestRefused {
        /// What the server said.
        refusal: Box<Refusal>,
        /// The mistakes with their lines.
        shown: String,
    },
    /// The words of the command line do not go together.
    #[error("{0}")]
    Usage(String),
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    /// The exit code that goes with it.
    #[must_use]
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } => exit::UNREACHABLE,
            Self::Refused { refusal } => match refusal.reason {
                Reason::NotAuthorised
                | Reason::NoCertificate
                | Reason::Revoked
                | Reason::CertificateUnknown
                | Reason::CertificateExpired
                | Reason::Locked
                | Reason::Frozen
                | Reason::RehearsalRequired
                | Reason::PreflightFailed
                | Reason::SchemaRefused
                | Reason::DeploymentInProgress => exit::REFUSED,
                _ => exit::FAILED,
            },
            Self::Status(status) if status.code() == Code::Unavailable => exit::UNREACHABLE,
            Self::Usage(_) => exit::USAGE,
            Self::Status(_)
            | Self::System { .. }
            | Self::File { .. }
            | Self::Manifest(_)
            | Self::ManifestRefused { .. }
            | Self::Failed(_) => exit::FAILED,
        }
    }

    /// Prints it to standard error: what happened, why, what to do.
    pub(crate) fn print(&self) {
        eprintln!("error: {self}");
        let mut source = self.source();
        while let Some(error) = source {
            eprintln!("  because: {error}");
            source = error.source();
        }
        if let Self::Manifest(mistakes) = self {
            eprintln!("{mistakes}");
        }
        if let Self::Refused { refusal } = self {
            // A single one is the message already.
            let told = |violation: &&Violation| !refusal.message.ends_with(&violation.description);
            for violation in refusal.violations.iter().filter(told) {
                eprintln!("  {}: {}", violation.field, violation.description.replace('\n', "; "));
            }
            if !refusal.hint.is_empty() {
                eprintln!("  hint: {}", refusal.hint);
            }
        }
        if let Self::Unreachable { .. } = self {
            eprintln!(
                "  hint: is it running? On its own machine: --socket or HANDOVER_SOCKET; from elsewhere: --server and --identity"
            );
        }
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::System { path, source } => {
                Self::System { what: format!("read {}", path.display()), source }
            }
            FileError::Refused { path, problem } => Self::File { path, problem },
        }
    }
}

impl From<tonic::Status> for CliError {
    fn from(status: tonic::Status) -> Self {
        match Refusal::of(&status) {
            Some(refusal) => Self::Refused { refusal: Box::new(refusal) },
            None => Self::Status(Box::new(status)),
        }
    }
}
