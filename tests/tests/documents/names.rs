//! Targets, files, variables and links that documents name.

use crate::none_of;
use handover_tests::{markdown::Document, process::binary, repository, shell};
use std::{collections::BTreeMap, path::Path};

/// What is a file of this repository by its ending alone; others are files on a host.
const SOURCES: [&str; 3] = [".rs", ".proto", ".md"];

#[test]
fn each_target_of_make_is_in_the_makefile() {
    let makefile = repository::read("Makefile");
    let is_target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    let mut mistakes = Vec::new();
    let mut seen = 0;
    for document in Document::all() {
        let blocks = document.blocks.iter().map(|block| (block.line, &block.text));
        for (line, text) in blocks.chain(document.spans.iter().map(|span| (span.line, &span.text))) {
            for command in shell::commands(text).into_iter().filter(|command| command.program == "make") {
                seen += 1;
                let missing = command.words.iter().filter(|word| !is_target(word));
                mistakes.extend(missing.map(|word| format!("{}:{line}: no target {word}", document.path)));
            }
        }
    }
    none_of(&mistakes);
    assert!(seen > 5, "the documents name {seen} targets only");
}

/// The ways to write a path with `{a,b}`.
fn spelled_out(path: &str) -> Vec<String> {
    let parts = path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match parts {
        Some((before, (choices, after))) => {
            choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// Whether a file or folder is called so, from the repository's folder or from some folder of it.
fn is_there(files: &[String], path: &str) -> bool {
    let path = path.trim_start_matches("./").trim_end_matches('/');
    // `*.proto` is any of them.
    let (before, after) = path.split_once('*').unwrap_or((path, ""));
    files.iter().any(|file| {
        let begins = std::iter::once(0).chain(file.match_indices('/').map(|(at, _)| at + 1));
        begins.into_iter().any(|at| {
            file[at..].strip_prefix(before).is_some_and(|rest| {
                if path.contains('*') {
                    rest.ends_with(after)
                } else {
                    rest.is_empty() || rest.starts_with('/')
                }
            })
        })
    })
}

/// Whether a document means a file of this repository by it.
fn is_of_the_repository(text: &str) -> bool {
    let first = text.trim_start_matches("./").split('/').next().unwrap_or_default();
    let is_path = text.contains('/') && !text.starts_with(['/', '~', '$']) && !text.contains("://");
    let no_more = !text.contains([' ', '=', ':', '(', '<']);
    let in_root = is_path && repository::root().join(first).exists();
    no_more
        && (in_root
            || SOURCES.iter().any(|ending| text.ends_with(ending))
            || (is_path && text.ends_with('/')))
}

#[test]
fn each_file_of_the_repository_is_there() {
    let files = repository::files();
    let mut mistakes = Vec::new();
    let mut seen = 0;
    for document in Document::all() {
        for span in document.spans.iter().filter(|span| is_of_the_repository(&span.text)) {
            seen += 1;
            for path in spelled_out(&span.text) {
                // What is built lies where the programs of this test lie.
                let built = path.trim_start_matches("./").strip_prefix("target/").map(Path::new);
                let found = match built.and_then(Path::file_name) {
                    Some(program) => binary(program.to_str().unwrap()).is_file(),
                    None => is_there(&files, &path),
                };
                if !found {
                    mistakes.push(format!("{}:{}: there is no {path}", document.path, span.line));
                }
            }
        }
    }
    none_of(&mistakes);
    assert!(seen > 50, "the documents name {seen} files only");
    assert!(!is_there(&files, "server/src/clu/"), "a folder that is not there is found");
    assert!(!is_there(&files, "ain.rs"), "the end of a name is found");
}

#[test]
fn each_variable_of_the_environment_is_read_by_something() {
    let read: String = repository::files()
        .iter()
        .filter(|path| path.ends_with(".rs") || path.ends_with(".service"))
        .map(|path| repository::read(path))
        .collect();
    let mut mistakes = Vec::new();
    for document in Document::all() {
        let text = repository::read(&document.path);
        for (at, _) in text.match_indices("HANDOVER_") {
            let end =
                text[at..].find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(text.len() - at);
            let name = &text[at..at + end];
            // As `HANDOVER_*`: all of them.
            if !name.ends_with('_') && !read.contains(name) {
                mistakes.push(format!("{}: nothing reads {name}", document.path));
            }
        }
    }
    none_of(&mistakes);
}

#[test]
fn each_link_leads_to_a_file_and_a_heading() {
    let documents: BTreeMap<String, Document> =
        Document::all().into_iter().map(|document| (document.path.clone(), document)).collect();
    let root = repository::root();
    let mut mistakes = Vec::new();
    let mut seen = 0;
    for document in documents.values() {
        for link in document.links.iter().filter(|link| !link.text.contains("://")) {
            seen += 1;
            let (path, heading) = link.text.split_once('#').unwrap_or((&link.text, ""));
            let own = root.join(&document.path);
            let target = if path.is_empty() { own } else { own.parent().unwrap().join(path) };
            let target = target.canonicalize().ok();
            let target = target.as_deref().and_then(|path| path.strip_prefix(&root).ok()?.to_str());
            let has_heading = |path| {
                let page: Option<&Document> = documents.get(path);
                page.is_some_and(|page| page.anchors().iter().any(|anchor| anchor == heading))
            };
            if !target.is_some_and(|path| heading.is_empty() || has_heading(path)) {
                mistakes.push(format!("{}:{}: {} leads nowhere", document.path, link.line, link.text));
            }
        }
    }
    none_of(&mistakes);
    assert!(seen > 30, "the documents have {seen} links only");
}
