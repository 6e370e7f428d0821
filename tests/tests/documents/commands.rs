//! Every command of Handover's programs that a document shows, held against the program itself.
//!
//! The words go to the real program with `--help` behind them: it reads them from the left, so an unknown command,
//! an unknown flag or a value out of its range ends it before it comes to `--help`, and nothing is done in either case.

use crate::none_of;
use handover_tests::{
    help,
    markdown::Document,
    process::binary,
    shell::{self, Command},
};
use std::{
    collections::BTreeSet,
    process::{self, Stdio},
};

/// What operators and hosts run, and what the quick start loads with.
const PROGRAMS: [&str; 4] = ["handover", "handover-agent", "load", "bench"];
/// What documents name and nobody types: the agent starts itself with it, before it reads its command line.
const INTERNAL: [(&str, &str); 1] = [("handover-agent", "launch")];

/// A command and where it stands.
struct Shown {
    place: String,
    command: Command,
}

fn shown() -> Vec<Shown> {
    let mut all = Vec::new();
    for document in Document::all() {
        let typed =
            document.blocks.iter().filter(|block| block.language.as_deref().is_none_or(|it| it == "sh"));
        let typed = typed.map(|block| (block.line, block.text.as_str()));
        // The names of tests begin with the names of crates, which are those of programs.
        let spans = document.spans.iter().filter(|span| !span.text.contains("::"));
        let spans = spans.map(|span| (span.line, span.text.as_str()));
        for (line, text) in typed.chain(spans) {
            for command in shell::commands(text) {
                if PROGRAMS.contains(&command.program.as_str()) && !command.words.is_empty() {
                    all.push(Shown { place: format!("{}:{line}", document.path), command });
                }
            }
        }
    }
    all
}

/// What stands for something of the reader's own, with something that can stand there.
fn filled_in(word: &str) -> String {
    let known = match word {
        "HOST" => "web-1",
        "SERVICE" => "web",
        "VERSION" | "V" => "1.0.0",
        "ADDR" => "127.0.0.1:7445",
        "DEPLOYMENT" => "d1",
        word if word.starts_with('$') => "/nowhere",
        word => word,
    };
    known.to_owned()
}

/// Whether the program knows each of the words and only lacks what the reader has: the value of the flag that the
/// document is about, or the one that a placeholder stands for.
fn is_understood(words: &[String], said: &str) -> bool {
    let last = words.last().map(String::as_str).unwrap_or_default();
    let is_placeholder = |word: &&String| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase());
    let lacks_value = last.starts_with("--") && said.contains(&format!("a value is required for '{last} <"));
    let of_placeholder = |word: &String| said.contains(&format!("invalid value '{word}' for '--"));
    lacks_value || words.iter().filter(is_placeholder).any(of_placeholder)
}

#[test]
fn each_command_is_one_that_its_program_understands() {
    let shown = shown();
    let mut mistakes = Vec::new();
    for Shown { place, command: Command { program, words } } in &shown {
        if INTERNAL.contains(&(program.as_str(), words[0].as_str())) {
            continue;
        }
        let mut command = process::Command::new(binary(program));
        // What stands behind `--` is another program's.
        let own = words.iter().take_while(|word| *word != "--");
        command.args(own.map(|word| filled_in(word))).arg("--help").stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default();
        if !output.status.success() && !is_understood(words, said) {
            mistakes.push(format!("{place}: {program} {}: {said}", words.join(" ")));
        }
    }
    none_of(&mistakes);
    for program in ["handover", "handover-agent", "load"] {
        assert!(shown.iter().any(|shown| shown.command.program == program), "no document shows {program}");
    }
    assert!(shown.len() > 80, "the documents show {} commands only", shown.len());
}

#[test]
fn a_command_that_does_not_exist_would_be_found() {
    for words in
        [&["deply", "web"][..], &["deploy", "web", "--releas", "1"], &["token", "create", "--ttl", "soon"]]
    {
        let output = process::Command::new(binary("handover")).args(words).arg("--help").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn each_flag_that_stands_alone_is_one_of_a_program() {
    let helps = PROGRAMS.into_iter().flat_map(help::of);
    let flags: BTreeSet<String> = helps.flat_map(|help| help.flags()).collect();
    assert!(
        flags.contains("--take-over") && flags.contains("-f") && flags.contains("--admin-group"),
        "{flags:?}"
    );
    let mut mistakes = Vec::new();
    for document in Document::all() {
        for span in document.spans.iter().filter(|span| span.text.starts_with('-')) {
            let flag = span.text.split([' ', '=']).next().unwrap_or_default();
            // `-` alone is a character; standard input for some. `--` ends options, and begins a comment of SQL.
            if !["-", "--"].contains(&flag) && !flags.contains(flag) {
                mistakes.push(format!("{}:{}: no program has {flag}", document.path, span.line));
            }
        }
    }
    none_of(&mistakes);
}
