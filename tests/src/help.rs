//! What a program says of itself: the help of each of its commands.

use crate::process::binary;
use std::process::{Command, Stdio};

/// The help of one command.
#[derive(Clone, Debug)]
pub struct Help {
    /// The command's words, the program's name first.
    pub path: Vec<String>,
    /// What `--help` prints where there is no terminal: 100 columns wide.
    pub text: String,
}

/// The help of a program and of each command that the help names, in the order in which it names them.
///
/// # Panics
/// Where a command has no help.
#[must_use]
pub fn of(program: &str) -> Vec<Help> {
    let mut all = Vec::new();
    let mut open = vec![vec![program.to_owned()]];
    while let Some(path) = open.pop() {
        let help = Help { text: asked(&path), path };
        let commands: Vec<String> = help.commands();
        open.extend(commands.into_iter().rev().map(|name| [help.path.clone(), vec![name]].concat()));
        all.push(help);
    }
    all
}

fn asked(path: &[String]) -> String {
    let mut command = Command::new(binary(&path[0]));
    // Defaults from the environment would stand in the text.
    command.args(&path[1..]).arg("--help").env_clear().stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{path:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

impl Help {
    /// The commands below this one, `help` left out.
    fn commands(&self) -> Vec<String> {
        let section = self.text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let section = section.take_while(|line| !line.is_empty());
        // Further lines of a description stand deeper.
        let names = section.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
    }

    /// The flags that it lists, long and short.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let described = self.text.lines().filter(|line| line.trim_start().starts_with('-'));
        let words = described.flat_map(|line| line.split([' ', ',', '=', '[']));
        words.filter(|word| word.starts_with('-')).map(str::to_owned).collect()
    }
}
