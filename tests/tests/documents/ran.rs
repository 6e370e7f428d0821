//! Every command that the README, docs/, CONTRIBUTING and SECURITY show is run by a test, or has a reason here not to be.
//!
//! What is run: the README's quick start, typed as a whole by `e2e documents`, and what the tests of `e2e pages` give
//! to a real fleet by [`Page`](../e2e/pages/mod.rs)'s methods, each of which takes the command as the page shows it.

use crate::none_of;
use handover_tests::{
    markdown::Document,
    repository,
    shell::{self, Command},
};
use regex::Regex;
use std::collections::BTreeSet;

/// The programs whose commands count; others only help in a script.
const PROGRAMS: [&str; 8] =
    ["handover", "handover-agent", "load", "bench", "make", "cargo", "systemctl", "journalctl"];

const NEEDS_SYSTEMD: &str = "needs a systemd that runs the machine: tests/systemd/try.sh restarts, stops and kills both units on one of its own";
const IS_THE_SUITE: &str = "runs this suite, or a part of it";
const IS_AN_OPTION: &str = "names an option, not a command";

const MIGRATES: &str = "`e2e schema::*` gives it to a fleet with a PostgreSQL";

const IS_IN_THE_DEMO: &str = "the demo gives it to a canary that is judged: `e2e demo`";

const ON_A_STUCK_HOST: &str = "`e2e stories::a_rollback_that_fails_on_a_host_*` does so where a host is stuck, and `e2e control::*` a retry";

/// What no test runs, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("make demo", "builds, then runs `handover demo`, which `e2e demo` runs"),
    ("make test", IS_THE_SUITE),
    ("make lint", "formats and lints the sources: .ci/run does it before the suite"),
    ("make soak", "hours: the suite with many more cases"),
    ("make bench", "minutes on a machine with nothing beside it"),
    ("make mysql", "needs a MySQL, which it brings from Debian's unstable release"),
    ("make systemd", "needs a Debian with systemd of its own, which it makes from packages"),
    (
        "make session",
        "writes docs/quick-start-session.txt; `documents session` and `session::tests` look at both ends",
    ),
    ("cargo nextest run -p handover-tests -E 'binary(documents)'", IS_THE_SUITE),
    ("cargo nextest run -p handover-tests --test e2e -E 'test(example)'", IS_THE_SUITE),
    ("INSTA_UPDATE=always cargo nextest run -p handover-tests -E 'binary(told)'", IS_THE_SUITE),
    ("systemctl restart handover-server", NEEDS_SYSTEMD),
    ("systemctl restart handover-agent", NEEDS_SYSTEMD),
    ("systemctl status handover-server", NEEDS_SYSTEMD),
    ("systemctl status handover-agent", NEEDS_SYSTEMD),
    ("systemctl status", NEEDS_SYSTEMD),
    ("journalctl -u handover-server", NEEDS_SYSTEMD),
    ("cargo nextest run -p handover -E 'binary(cli)'", IS_THE_SUITE),
    ("cargo nextest run -p handover-judge --no-capture", IS_THE_SUITE),
    ("cargo nextest run -p handover-lint page", IS_THE_SUITE),
    ("cargo run --release -p handover-judge --example power", "minutes: makes the figures of docs/judge.md"),
    ("handover server --ca-certificate", IS_AN_OPTION),
    ("handover explain SERVICE", ON_A_STUCK_HOST),
    ("handover logs SERVICE --host HOST", ON_A_STUCK_HOST),
    ("handover deploy SERVICE --version FORMER", ON_A_STUCK_HOST),
    ("handover retry SERVICE", ON_A_STUCK_HOST),
    ("handover deploy SERVICE --plan", MIGRATES),
    ("handover pause SERVICE", MIGRATES),
    ("handover migrate contract", MIGRATES),
    ("handover migrate contract SERVICE", MIGRATES),
    ("handover migrate contract SERVICE --force --reason WHY", MIGRATES),
    ("handover migrate expand SERVICE --release VERSION", MIGRATES),
    ("handover migrate backfill SERVICE", MIGRATES),
    ("handover migrate backfill SERVICE --release v2", "`fleet::tests::overtaken::*` ask for it"),
    (
        "handover migrate backfill SERVICE --resolve 3=took-effect --reason WHY",
        "`fleet::tests::overtaken::*` ask for it",
    ),
    ("handover migrate expand SERVICE --release VERSION --resolve 42=took-effect --reason WHY", MIGRATES),
    ("handover migrate plan SERVICE", MIGRATES),
    ("handover migrate status SERVICE", MIGRATES),
    ("handover migrate status", MIGRATES),
    ("handover migrate lint", "`cli migrate` of the server's tests gives it to folders"),
    ("handover judge aa SERVICE", "`e2e judge` gives it to a service with traffic"),
    ("handover migrate contract web --force --reason WHY", MIGRATES),
    ("handover canary SERVICE", IS_IN_THE_DEMO),
    ("handover canary", IS_IN_THE_DEMO),
    (
        "cargo test --release -p handover-gate -- --ignored --nocapture what_it_costs",
        "measures: a figure of docs/canary.md, on a machine with nothing beside it",
    ),
];

/// The documents that tell people what to type. The changelog and ARCHITECTURE.md name commands and tell nobody to.
fn is_for_typing(document: &Document) -> bool {
    !["CHANGELOG.md", "ARCHITECTURE.md"].contains(&document.path.as_str())
}

/// Each command that is shown, with the place where it stands.
fn shown() -> Vec<(String, Command)> {
    let mut all = Vec::new();
    for document in Document::all().into_iter().filter(is_for_typing) {
        let typed =
            document.blocks.iter().filter(|block| block.language.as_deref().is_none_or(|it| it == "sh"));
        let typed = typed.map(|block| (block.line, block.text.as_str()));
        // The names of tests begin with the names of crates, which are those of programs.
        let spans = document.spans.iter().filter(|span| !span.text.contains("::"));
        let spans = spans.map(|span| (span.line, span.text.as_str()));
        for (line, text) in typed.chain(spans) {
            let commands = shell::commands(text).into_iter();
            let counts =
                commands.filter(|it| PROGRAMS.contains(&it.program.as_str()) && !it.words.is_empty());
            all.extend(counts.map(|command| (format!("{}:{line}", document.path), command)));
        }
    }
    all
}

/// What tests give to the programs.
fn ran() -> Vec<Command> {
    let mut ran = shell::commands(&Document::read("README.md").script("Quick start"));
    let call = Regex::new(r#"\.(?:run|follow|begin)\(\s*"((?:[^"\\]|\\.)*)""#).unwrap();
    let files = repository::files();
    let pages: Vec<&String> =
        files.iter().filter(|path| path.starts_with("tests/tests/e2e/pages/")).collect();
    assert!(pages.len() > 2, "{pages:?}");
    for path in pages {
        let source = repository::read(path);
        assert!(!source.contains("#[ignore"), "{path}: what is ignored runs nothing");
        for found in call.captures_iter(&source) {
            ran.extend(shell::commands(&found[1].replace("\\\"", "\"")));
        }
    }
    ran
}

/// Whether a command only names one that is run in another place with what it needs, as `handover promote`.
fn names(shown: &Command, ran: &Command) -> bool {
    let is_plain = |word: &String| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    shown.program == ran.program
        && ran.words.starts_with(&shown.words)
        && shown.words.iter().all(|word| is_plain(word) && !word.starts_with('-'))
}

/// A command as it is typed.
fn typed(command: &Command) -> String {
    format!("{} {}", command.program, command.words.join(" "))
}

#[test]
fn each_command_is_run_by_a_test_or_has_a_reason_not_to_be() {
    let (shown, ran) = (shown(), ran());
    let reasons: Vec<Command> =
        NOT_RUN.iter().map(|(command, _)| shell::commands(command).remove(0)).collect();
    let is_run = |command: &Command| ran.iter().any(|ran| ran == command || names(command, ran));
    let mut mistakes = BTreeSet::new();
    for (place, command) in &shown {
        if !is_run(command) && !reasons.contains(command) {
            mistakes.insert(format!(
                "{place}: no test runs `{}`: give it to a fleet in tests/tests/e2e/pages, or add a reason here",
                typed(command)
            ));
        }
    }
    for (command, (text, reason)) in reasons.iter().zip(NOT_RUN) {
        assert!(!reason.is_empty());
        if !shown.iter().any(|(_, shown)| shown == command) {
            mistakes.insert(format!("no document shows `{text}` any more: take its reason away"));
        }
        if is_run(command) {
            mistakes.insert(format!("`{text}` is run: take its reason away"));
        }
    }
    none_of(&mistakes.into_iter().collect::<Vec<_>>());
    assert!(shown.len() > 100, "the documents show {} commands only", shown.len());
}

#[test]
fn a_command_that_no_test_runs_would_be_found() {
    let ran = ran();
    let is_run = |text: &str| {
        let command = shell::commands(text).remove(0);
        ran.iter().any(|ran| *ran == command || names(&command, ran))
    };
    assert!(is_run("handover status") && is_run("handover server backup FILE") && is_run("handover promote"));
    for text in
        ["handover status --json", "handover server backup OTHER", "handover server --data", "handover pro"]
    {
        assert!(!is_run(text), "{text}");
    }
}
