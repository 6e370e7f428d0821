//! Commands of the README and of the other pages, given to a real fleet in the situation that the page is about.
//!
//! `documents ran` holds the commands that the pages show against those that are given here, by their words.

mod operations;
mod other_pages;
mod readme;

use handover_tests::{
    fleet::{Done, Fleet, Sample, UP, without_settings},
    markdown::Document,
    process::{Running, binary, wait_until},
    shell,
};
use nix::sys::signal::Signal;
use std::process::Command;

/// A page, and what its placeholders stand for in this test.
struct Page<'a> {
    fleet: &'a Fleet,
    document: Document,
    names: Vec<(String, String)>,
}

impl<'a> Page<'a> {
    fn of(fleet: &'a Fleet, path: &str) -> Self {
        Self { fleet, document: Document::read(path), names: Vec::new() }
    }

    /// With something for a placeholder, or for a path or address of somebody else's machine.
    fn with(mut self, name: &str, stands_for: impl AsRef<std::path::Path>) -> Self {
        self.names.push((name.to_owned(), stands_for.as_ref().to_str().unwrap().to_owned()));
        self
    }

    /// The words of a command that stands on the page, its program first.
    #[track_caller]
    fn words(&self, command: &str) -> Vec<String> {
        let blocks = self.document.blocks.iter().map(|block| block.text.as_str());
        let spans = self.document.spans.iter().map(|span| span.text.as_str());
        let told = shell::commands(command).remove(0);
        let is_told = blocks.chain(spans).any(|text| shell::commands(text).contains(&told));
        assert!(is_told, "{} does not tell {command:?}", self.document.path);
        let filled = |word: String| match self.names.iter().find(|(name, _)| *name == word) {
            Some((_, stands_for)) => stands_for.clone(),
            None => self.names.iter().fold(word, |word, (name, stands_for)| {
                // A placeholder in capitals is a word of its own.
                if name.contains(['/', ':']) { word.replace(name, stands_for) } else { word }
            }),
        };
        [told.program].into_iter().chain(told.words.into_iter().map(filled)).collect()
    }

    /// A command of the page with more words behind it, in the fleet's folder, which is also the home.
    #[track_caller]
    fn command(&self, command: &str, more: &[&str]) -> Command {
        let words = self.words(command);
        let mut command = match words[0].as_str() {
            "handover" => self.fleet.cli().command(&words[1..]),
            program => {
                let mut command = Command::new(binary(program));
                command.args(&words[1..]).stdin(std::process::Stdio::null());
                command
            }
        };
        let folder = self.fleet.folder.path();
        command.args(more).current_dir(folder).env("HOME", folder).env_remove("XDG_CONFIG_HOME");
        command.env("HANDOVER_SERVER_CONFIG", without_settings(folder));
        command
    }

    /// Runs a command of the page, with more words behind it; it must end so and say so.
    #[track_caller]
    fn run(&self, command: &str, more: &[&str], code: i32, said: &str) -> Done {
        let output = self.command(command, more).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let done = Done {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        let done = done.expect(code);
        assert!(done.stdout.contains(said) || done.stderr.contains(said), "{said:?} was not said:\n{done:?}");
        done
    }

    /// Begins a command of the page that goes on by itself.
    #[track_caller]
    fn begin(&self, command: &str, more: &[&str]) -> Running {
        Running::start_command(self.fleet.folder.path(), "begun", self.command(command, more))
    }

    /// Runs a command that goes on until it is interrupted, once it has shown this.
    #[track_caller]
    fn follow(&self, command: &str, shows: &str) {
        let mut following = self.begin(command, &[]);
        wait_until(UP, &format!("{command} to show {shows:?}"), || following.stdout().contains(shows));
        following.signal(Signal::SIGINT);
        assert_eq!(following.wait(UP).code(), Some(130), "{command}: {}", following.stderr());
    }
}

/// A fleet on v1, in a release that wrote something.
fn on_v1(hosts: usize) -> Fleet {
    let fleet = Fleet::of(hosts);
    fleet.push(&Sample::new("v1"));
    fleet.deploy("v1").expect(0);
    fleet
}
