//! The manual's pages of a program, made from its command line.

use clap::Command;
use clap_mangen::Man;
use std::{io, path::Path};

/// Writes the pages of a command and of each one below it into a folder, which is there, as `COMMAND-SUBCOMMAND.1`.
///
/// A page is of a version, not of a day: the version stands where others have the date. An empty date would be left out
/// by the generator, and what follows it be taken for one.
///
/// # Errors
/// Where a page cannot be written.
pub fn write_manual(command: Command, folder: &Path) -> io::Result<()> {
    let version = format!("version {}", command.get_version().unwrap_or_default());
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_page(&command, &version, folder)
}

fn write_page(command: &Command, version: &str, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_page(below, version, folder)?;
    }
    Man::new(command.clone()).date(version).source("Handover").generate_to(folder).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn each_command_has_a_page_whose_version_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let below = Command::new("show").about("Shows").arg(Arg::new("HOST"));
        let hidden = Command::new("inner").hide(true);
        let command = Command::new("tool").version("1.2.3").subcommand(below).subcommand(hidden);
        write_manual(command, folder.path()).unwrap();
        let title = |page: &str| {
            let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
            text.lines().find(|line| line.starts_with(".TH")).unwrap().trim_end().to_owned()
        };
        assert_eq!(title("tool.1"), r#".TH tool 1 "version 1.2.3" Handover"#);
        assert_eq!(title("tool-show.1"), r#".TH tool-show 1 "version 1.2.3" Handover"#);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
