//! `handover man` and `handover completions`: what a package installs beside the binary.

use super::{Cli, error::CliError, exit};
use clap::CommandFactory as _;
use std::path::PathBuf;

/// Write the manual's pages, one for each command.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// An existing folder, such as /usr/local/share/man/man1.
    folder: PathBuf,
}

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// Which shell.
    shell: clap_complete::Shell,
}

pub(super) fn man(args: &ManArgs) -> Result<exit::Exit, CliError> {
    let what = || format!("write the manual's pages into {}", args.folder.display());
    handover_daemon::write_manual(Cli::command(), &args.folder)
        .map_err(|source| CliError::System { what: what(), source })?;
    Ok(exit::DONE)
}

pub(super) fn completions(args: &CompletionsArgs) -> exit::Exit {
    clap_complete::generate(args.shell, &mut Cli::command(), "handover", &mut std::io::stdout());
    exit::DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        man(&ManArgs { folder: folder.path().to_owned() }).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(
                page(&format!("handover-{}.1", command.get_name())).contains(".TH"),
                "{}",
                command.get_name()
            );
        }
        assert!(page("handover.1").contains("without dropping a request"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = man(&ManArgs { folder: "/nowhere/man1".into() }).unwrap_err();
        assert!(error.to_string().contains("/nowhere/man1"), "{error}");
    }
}
