//! The binary: installs the one crypto provider, and hands over to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    handover_identity::install_crypto_provider();
    handover::cli::main()
}
