//! What packages install beside the binaries: manual pages and completions, as their readers take them.

use crate::none_of;
use handover_skips::Lack;
use handover_tests::{help, process::binary};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PROGRAMS: [&str; 2] = ["handover", "handover-agent"];

/// What mandoc says of every page, and why that may be.
const KNOWN: [(&str, &str); 2] = [
    ("cannot parse date, using it verbatim: TH version ", "a page is of a version, not of a day"),
    ("skipping paragraph macro: br ", "the generator breaks a line that is broken anyway"),
];

/// Whether a program is in the path; says so where it is not.
fn there(name: &'static str, package: &'static str) -> bool {
    let there = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", name]).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        Lack::Program { name, package }.skips("a reader of manual pages or completions");
    }
    there
}

/// The pages of a program, written by itself.
fn pages(program: &str, folder: &Path) -> Vec<PathBuf> {
    let written = Command::new(binary(program)).arg("man").arg(folder).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let mut pages: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// What a program says of a file, line by line.
fn said(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn each_command_has_a_manual_page_that_its_readers_take_without_a_complaint() {
    for program in PROGRAMS {
        let folder = tempfile::tempdir().unwrap();
        let pages = pages(program, folder.path());
        let commands: Vec<String> = help::of(program).iter().map(|help| help.path.join("-")).collect();
        for command in &commands {
            let page = folder.path().join(format!("{command}.1"));
            assert!(pages.contains(&page), "{command} has no page");
        }
        assert_eq!(pages.len(), commands.len(), "{pages:?}");
        let mut mistakes = Vec::new();
        for page in &pages {
            let text = fs::read_to_string(page).unwrap();
            let name = page.file_stem().unwrap().to_str().unwrap();
            assert!(text.contains(&format!(".TH {name} 1 \"version ")), "{name}: {text}");
            if there("mandoc", "mandoc") {
                let lint = said(Command::new("mandoc").args(["-Tlint", "-W", "warning"]).arg(page));
                let unknown = |line: &String| !KNOWN.iter().any(|(known, _)| line.contains(known));
                mistakes.extend(lint.into_iter().filter(unknown));
            }
            if there("groff", "groff") {
                mistakes
                    .extend(said(Command::new("groff").args(["-man", "-Tutf8", "-wall", "-z"]).arg(page)));
            }
        }
        none_of(&mistakes);
    }
}

#[test]
fn what_is_wrong_with_a_page_would_be_found() {
    if !there("mandoc", "mandoc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("bad.1");
    fs::write(&page, ".TH bad 1 \"version 1\" Handover\n.SH NAME\nbad \\- bad\n.RS\n.NO SUCH\n").unwrap();
    assert!(!said(Command::new("mandoc").args(["-Tlint", "-W", "warning"]).arg(&page)).is_empty());
}

#[test]
fn the_completions_of_each_shell_are_a_script_that_it_reads() {
    let shells = [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")];
    for (shell, package) in shells {
        if !there(shell, package) {
            continue;
        }
        for program in PROGRAMS {
            let printed = Command::new(binary(program)).args(["completions", shell]).output().unwrap();
            assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
            let folder = tempfile::tempdir().unwrap();
            let script = folder.path().join(program);
            fs::write(&script, &printed.stdout).unwrap();
            let read = |path: &Path| Command::new(shell).arg("-n").arg(path).output().unwrap();
            let output = read(&script);
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && complaint.is_empty(), "{shell}, {program}: {complaint}");
            // Every command stands in it, and one that is cut off would be found.
            let text = String::from_utf8(printed.stdout).unwrap();
            for help in help::of(program) {
                let last = help.path.last().unwrap();
                assert!(text.contains(last.as_str()), "{shell}, {program}: {last} is not completed");
            }
            fs::write(&script, format!("{text}\nif true\n(\"\n")).unwrap();
            assert!(!read(&script).status.success(), "{shell} reads anything");
        }
    }
}

#[test]
fn a_line_is_completed_in_bash() {
    if !there("bash", "bash") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("handover.bash");
    let printed = Command::new(binary("handover")).args(["completions", "bash"]).output().unwrap();
    fs::write(&script, printed.stdout).unwrap();
    let typed = "source \"$0\"; COMP_WORDS=(handover ro); COMP_CWORD=1; _handover handover ro handover; \
                 printf '%s\\n' \"${COMPREPLY[@]}\"";
    let completed = Command::new("bash").args(["-c", typed]).arg(&script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "rollback\n");
}
