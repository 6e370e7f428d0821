//! The exit codes that documents list, against those that the program has.

use handover_tests::repository;
use regex::Regex;
use std::collections::BTreeSet;

/// The codes of `server/src/cli/exit.rs`.
fn of_the_program() -> BTreeSet<u32> {
    let source = repository::read("server/src/cli/exit.rs");
    let code = Regex::new(r"pub const [A-Z_]+: Exit = Exit\((\d+)\);").unwrap();
    let codes: BTreeSet<u32> = code.captures_iter(&source).map(|found| found[1].parse().unwrap()).collect();
    assert_eq!(codes.len(), source.matches(": Exit = ").count(), "a code is written in another way");
    codes
}

#[test]
fn the_table_of_exit_codes_has_each_of_the_program_and_no_other() {
    let text = repository::read("docs/operations.md");
    let (_, section) = text.split_once("## Exit codes").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).skip(2).collect();
    let codes: BTreeSet<u32> =
        rows.iter().map(|row| row.split('|').nth(1).unwrap().trim().parse().unwrap()).collect();
    assert_eq!(codes, of_the_program());
    assert_eq!(codes.len(), rows.len(), "a code stands there twice");
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(cells.len() == 5 && cells[2..4].iter().all(|cell| !cell.is_empty()), "{row}");
    }
}

#[test]
fn the_readme_lists_each_exit_code_and_no_other() {
    let text = repository::read("README.md").replace('\n', " ");
    let (_, list) = text.split_once("Exit codes: ").unwrap();
    let (list, _) = list.split_once("## ").unwrap();
    let item = Regex::new(r"^\s*(\d+) \S").unwrap();
    let codes = list.split(';').map(|part| {
        let found = item.captures(part).unwrap_or_else(|| panic!("no code begins {part:?}"));
        found[1].parse().unwrap()
    });
    assert_eq!(codes.collect::<BTreeSet<u32>>(), of_the_program());
}
