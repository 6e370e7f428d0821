//! A recorded session: what a person who types a document's commands sees on a terminal, as plain text.

use crate::shell;
use avt::Terminal;
use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

/// What a person types stands behind it; further lines of a command behind [`MORE`].
const PROMPT: &str = "$ ";
const MORE: &str = "> ";

/// A session as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What was typed, in order; a command of several lines is one.
    pub typed: Vec<String>,
}

/// Why a session could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Something that is needed for it could not be done.
    #[error("cannot {what}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A command failed.
    #[error("a command of the session failed; what the terminal showed until then:\n{shown}")]
    Failed {
        /// The session until then.
        shown: String,
    },
}

impl Session {
    /// Where the quick start's stands.
    pub const PATH: &'static str = "docs/quick-start-session.txt";
    /// The terminal's width, in characters.
    pub const COLUMNS: u16 = 100;
    /// The terminal's height, in lines.
    pub const ROWS: u16 = 30;

    /// Whether a session goes on without this command: it runs programs that are built already.
    #[must_use]
    pub fn leaves_out(typed: &str) -> bool {
        typed.starts_with("cargo build ")
    }

    /// Reads what [`record`](Self::record) gave.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut typed: Vec<String> = Vec::new();
        for line in text.lines() {
            if let Some(command) = line.strip_prefix(PROMPT) {
                typed.push(command.to_owned());
            } else if let (Some(more), Some(last)) = (line.strip_prefix(MORE), typed.last_mut())
                && last.ends_with('\\')
            {
                last.push('\n');
                last.push_str(more);
            }
        }
        Self { typed }
    }

    /// Types a script's commands in a folder, with the programs of another one in the place of `$PWD/target/release`, and
    /// gives what a terminal of [`COLUMNS`](Self::COLUMNS) and [`ROWS`](Self::ROWS) shows, from the first line to the last.
    ///
    /// # Errors
    /// Where a command ends with anything but 0, or `script`, `bash` or a temporary folder cannot be had.
    pub fn record(script: &str, folder: &Path, programs: &Path) -> Result<String, RecordError> {
        let failed = |what| move |source| RecordError::System { what, source };
        let home = tempfile::Builder::new().prefix("session-").tempdir();
        let home = home.map_err(failed("make a temporary folder"))?;
        let typed = home.path().join("typed");
        fs::write(&typed, Self::runnable(script, programs)).map_err(failed("write the session's script"))?;
        // Nobody types: what the terminal would echo is shown by the script itself.
        let inside = format!(
            "stty -echo rows {} cols {}; exec bash -eu {}",
            Self::ROWS,
            Self::COLUMNS,
            typed.display()
        );
        let output = Command::new("script")
            .args(["--quiet", "--return", "--command", &inside, "/dev/null"])
            .current_dir(folder)
            .env("TMPDIR", home.path())
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .map_err(failed("start script(1)"))?;
        let shown = Self::shown(&String::from_utf8_lossy(&output.stdout));
        if output.status.success() { Ok(shown) } else { Err(RecordError::Failed { shown }) }
    }

    /// A script that shows each command before it runs it, and leaves nothing behind where one fails.
    fn runnable(script: &str, programs: &Path) -> String {
        let mut runnable =
            "trap 'kill $(jobs -p) || true; wait; handover-agent stop --config $home/agent.toml' ERR\n"
                .to_owned();
        for command in shell::typed(script).iter().filter(|command| !Self::leaves_out(command)) {
            let shown = format!("{PROMPT}{}", command.replace('\n', &format!("\n{MORE}")));
            let quoted = shown.replace('\'', r"'\''");
            let command = command.replace("$PWD/target/release", &programs.display().to_string());
            runnable.push_str(&format!("printf '%s\\n' '{quoted}'\n{command}\n"));
        }
        runnable
    }

    /// What a terminal shows of this, what has left it at its top included; without colours and movements.
    fn shown(written: &str) -> String {
        let mut shown = String::new();
        // Only a size of zero is refused.
        if let Ok(mut terminal) = Terminal::with_scrollback(Self::COLUMNS.into(), Self::ROWS.into(), None) {
            terminal.feed(written);
            for line in terminal.primary_screen().text() {
                shown.push_str(line.trim_end());
                shown.push('\n');
            }
        }
        shown.truncate(shown.trim_end().len());
        shown.push('\n');
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "cargo build --release\n# a comment\nwords=\"it's\"\nprintf '%s\\n' \\\n    \"$words\"\n\
                          printf 'one\\r\\033[2Ktwo\\033[32m!\\033[0m\\n'; tput cols\n";

    #[test]
    fn a_session_shows_what_was_typed_and_what_a_terminal_kept_of_the_answers() {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::record(SCRIPT, folder.path(), folder.path()).unwrap();
        let expected = "$ words=\"it's\"\n$ printf '%s\\n' \\\n>     \"$words\"\nit's\n\
                        $ printf 'one\\r\\033[2Ktwo\\033[32m!\\033[0m\\n'; tput cols\ntwo!\n100\n";
        assert_eq!(session, expected);
        assert_eq!(Session::read(&session).typed, shell::typed(SCRIPT)[1..]);
    }

    #[test]
    fn a_session_in_which_a_command_fails_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            Session::record("home=/nowhere\necho before\nfalse\necho after\n", folder.path(), folder.path());
        let told = error.unwrap_err().to_string();
        assert!(told.contains("\nbefore\n") && !told.contains("\nafter\n"), "{told}");
    }
}
