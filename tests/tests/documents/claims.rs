//! Tests that documents name as the proof of a claim: each is there.
//!
//! They are looked for in the sources, by the same words with which `cargo nextest run` shows them: the crate, the
//! binary of tests where it is not the crate's own, the modules, the function.

use crate::none_of;
use handover_tests::{markdown::Document, repository};

/// A test of this workspace.
struct Test {
    krate: String,
    /// `None`: of the crate's library or program.
    binary: Option<String>,
    /// Modules and function, with `::` between them.
    path: String,
}

fn every_test() -> Vec<Test> {
    let files = repository::files();
    let manifests = files.iter().filter(|path| path.ends_with("/Cargo.toml"));
    let mut crates: Vec<(String, String)> = manifests.map(|path| crate_of(path)).collect();
    // The deepest folder first: a crate may lie in another one's.
    crates.sort_by_key(|(folder, _)| std::cmp::Reverse(folder.len()));
    let sources = files.iter().filter(|path| path.ends_with(".rs"));
    let mut tests = Vec::new();
    for source in sources {
        let home = crates.iter().find_map(|(folder, name)| Some((name, source.strip_prefix(folder)?)));
        let (krate, inside) = home.unwrap_or_else(|| panic!("{source} is of no crate"));
        let (binary, modules) = modules_of(inside);
        for path in functions_of(&repository::read(source)) {
            let path = modules.iter().chain(&path).map(String::as_str).collect::<Vec<_>>().join("::");
            tests.push(Test { krate: krate.clone(), binary: binary.clone(), path });
        }
    }
    tests
}

/// The folder of a crate's manifest, with a slash, and the crate's name.
fn crate_of(manifest: &str) -> (String, String) {
    let text = repository::read(manifest);
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    (manifest.trim_end_matches("Cargo.toml").to_owned(), name.expect("a crate has a name").to_owned())
}

/// The binary of tests and the modules that a file of a crate is.
fn modules_of(file: &str) -> (Option<String>, Vec<String>) {
    let parts: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    let (binary, modules) = match parts[0].as_str() {
        "tests" => (Some(parts[1].clone()), &parts[2..]),
        "src" if parts.len() > 2 && parts[1] == "bin" => (Some(parts[2].clone()), &parts[3..]),
        _ => (None, &parts[1..]),
    };
    let is_root = |name: &&String| ["lib", "main", "mod"].contains(&name.as_str());
    let own = modules.len() - usize::from(modules.last().as_ref().is_some_and(is_root));
    let mut modules = modules[..own].to_vec();
    // What lies beside its module is its `tests` by `#[path]`.
    if let Some(of) = modules.last().and_then(|name| name.strip_suffix("_tests")).map(str::to_owned) {
        modules.pop();
        modules.extend([of, "tests".to_owned()]);
    }
    (binary, modules)
}

/// The functions of tests in a source, each with the modules around it; formatted sources close a module under its `mod`.
fn functions_of(source: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut around: Vec<(usize, String)> = Vec::new();
    let mut is_test = false;
    for line in source.lines() {
        let depth = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.trim().split([' ', '(', '<']).collect();
        match words.as_slice() {
            ["mod", name, "{"] => around.push((depth, (*name).to_owned())),
            ["}"] if around.last().is_some_and(|(opened, _)| *opened == depth) => drop(around.pop()),
            [attribute, ..] if ["#[test]", "#[tokio::test]", "#[tokio::test"].contains(attribute) => {
                is_test = true;
            }
            ["async", "fn", name, ..] | ["fn", name, ..] if std::mem::take(&mut is_test) => {
                let modules = around.iter().map(|(_, name)| name.clone());
                found.push(modules.chain([(*name).to_owned()]).collect());
            }
            _ => {}
        }
    }
    found
}

/// Whether a pattern is the name, or its beginning where it ends in `*` or `…`.
fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix(['*', '…']).map_or(pattern == name, |beginning| name.starts_with(beginning))
}

impl Test {
    /// Whether words such as `e2e drains::*` mean this test: all but the last name its crate or binary, the last one its
    /// path from some module on.
    fn is_meant_by(&self, words: &str) -> bool {
        let mut words: Vec<&str> = words.split(' ').collect();
        let pattern = words.pop().unwrap_or_default();
        let of_it = words.iter().all(|word| self.krate == *word || self.binary.as_deref() == Some(*word));
        // A binary of tests that is one file has no module that a pattern could begin with but its own name.
        let path = self.binary.iter().chain([&self.path]).map(String::as_str).collect::<Vec<_>>().join("::");
        let begins = std::iter::once(0).chain(path.match_indices("::").map(|(at, _)| at + 2));
        of_it && begins.into_iter().any(|at| fits(pattern, &path[at..]))
    }
}

/// Whether words name tests: `e2e drains::*`, or a function's whole sentence; `Access::change` is something else, and
/// so is the name of a metric.
fn is_claim(words: &str) -> bool {
    let is_sentence = words.matches('_').count() >= 3
        && !words.starts_with("handover_")
        && words
            .trim_end_matches('…')
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (words.contains("::") && words.contains([' ', '*'])) || is_sentence
}

#[test]
fn each_test_that_a_document_names_is_there() {
    let tests = every_test();
    assert!(tests.len() > 500, "only {} tests were found", tests.len());
    let mut mistakes = Vec::new();
    let mut seen = 0;
    for document in Document::all() {
        for span in document.spans.iter().filter(|span| is_claim(&span.text)) {
            seen += 1;
            if !tests.iter().any(|test| test.is_meant_by(&span.text)) {
                mistakes.push(format!("{}:{}: there is no test {}", document.path, span.line, span.text));
            }
        }
    }
    none_of(&mistakes);
    assert!(seen > 60, "the documents name {seen} tests only");
}

#[test]
fn each_row_of_a_table_of_claims_names_a_test_or_says_that_it_has_none() {
    for (path, header) in
        [("README.md", "| claim | how | test |"), ("SECURITY.md", "| threat | answer | test |")]
    {
        let text = repository::read(path);
        let rows = text.split_once(header).expect("the table is there").1.trim_start();
        let rows: Vec<&str> = rows.lines().skip(1).take_while(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 5, "{path}: {} rows", rows.len());
        for row in rows {
            let proof = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
            let proven = proof.contains("::") || proof.contains("`make ");
            assert!(proven || row.starts_with("| not guaranteed"), "{path}: nothing shows: {row}");
        }
    }
}

#[test]
fn a_test_that_is_not_there_would_be_missed() {
    let tests = every_test();
    let is_there = |words: &str| tests.iter().any(|test| test.is_meant_by(words));
    assert!(is_there("documents claims::a_test_that_is_not_there_*"));
    assert!(is_there("handover-tests markdown::tests::*") && is_there("a_test_that_is_not…"));
    for words in [
        "documents claims::a_test_that_is_there_*",
        "e2e claims::*",
        "documents laims::*",
        "a_test_that_is_not",
    ] {
        assert!(!is_there(words), "{words}");
    }
}
