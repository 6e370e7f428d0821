//! A command as a probe.

use super::{ProbeFailure, failure::quoted};
use crate::instance::{ExitStatus, SideCommand};
use std::time::Duration;

/// Bytes of output that are kept: the last ones.
const KEPT_OUTPUT_BYTES: usize = 4096;

/// Runs the command once.
pub(super) async fn ask(command: &SideCommand, limit: Duration) -> Result<(), ProbeFailure> {
    let ran = command.run(limit, KEPT_OUTPUT_BYTES).await?;
    let output = quoted(last_line(&String::from_utf8_lossy(&ran.output)));
    match ran.status {
        Some(ExitStatus::Code(0)) => Ok(()),
        Some(status) => Err(ProbeFailure::Exec { what: command.subject(), status, output }),
        None => Err(ProbeFailure::ExecLate { what: command.subject(), after: limit, output }),
    }
}

fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_those_of_the_last_line_that_is_not_empty() {
        assert_eq!(last_line("asking\nno database \n\n"), "no database");
        assert_eq!(last_line("\n"), "");
    }
}
