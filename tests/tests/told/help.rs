//! The help of every command. A command that is new fails this test until its help was looked at and accepted.

use crate::printed::is_as_agreed;
use handover_tests::help::{self, Help};
use std::{collections::BTreeSet, fs, path::Path};

/// One snapshot for each command of the program, with the commands below it.
fn is_as_it_was_agreed(program: &str) {
    let helps = help::of(program);
    let of = |name: &str| format!("help-{program}-{name}");
    let mut snapshots = BTreeSet::new();
    for own in helps.iter().filter(|help| help.path.len() <= 2) {
        let below = helps.iter().filter(|help| help.path.starts_with(&own.path));
        let below = below.filter(|help| own.path.len() > 1 || help.path.len() == 1);
        let text: String = below.map(shown).collect();
        let name = of(own.path.get(1).map_or("itself", String::as_str));
        is_as_agreed!(name.clone(), text);
        snapshots.insert(format!("{name}.snap"));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/told/snapshots");
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let is_own = file.starts_with(&of("")) && file.ends_with(".snap") && !is_of_the_agent(program, &file);
        assert!(!is_own || snapshots.contains(&file), "{file} is of a command that there is not");
    }
}

/// The name of the agent's program begins with that of the other.
fn is_of_the_agent(program: &str, file: &str) -> bool {
    program == "handover" && file.starts_with("help-handover-agent-")
}

fn shown(help: &Help) -> String {
    // What every command takes stands in the help of the program itself.
    let own = help.text.split_once("\nEvery command:\n").filter(|_| help.path.len() > 1);
    let text = own.map_or(help.text.as_str(), |(own, _)| own);
    format!("$ {} --help\n{text}\n", help.path.join(" "))
}

#[test]
fn the_help_of_each_command_is_as_it_was_agreed() {
    is_as_it_was_agreed("handover");
}

#[test]
fn the_help_of_each_command_of_the_agent_is_as_it_was_agreed() {
    is_as_it_was_agreed("handover-agent");
}

#[test]
fn no_line_of_help_is_wider_than_a_terminal_and_each_command_says_what_it_does() {
    for help in ["handover", "handover-agent"].into_iter().flat_map(help::of) {
        let name = help.path.join(" ");
        let wide = help.text.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{name}");
        let first = help.text.lines().next().unwrap_or_default();
        assert!(!first.is_empty() && !first.starts_with("Usage"), "{name} does not say what it does");
    }
}
