//! Reading `config.toml`: everything that is wrong with it at once, each with its line.

use super::file::{Context, ContextFile};
use handover_model::nearest;
use std::{ops::Range, path::PathBuf};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Mistakes that are told at most: a file with more is hardly one of ours.
const MOST: usize = 20;

/// What is wrong, each with its line.
struct Mistakes<'t> {
    text: &'t str,
    found: Vec<(usize, String)>,
}

/// What the text says.
///
/// # Errors
/// Everything that is wrong with it, as the end of a sentence that begins with the file's name.
pub(super) fn read(text: &str) -> Result<ContextFile, String> {
    let mut mistakes = Mistakes { text, found: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        mistakes.add(error.span().unwrap_or_default(), error.message());
    }
    // Behind a line that could not be read others may mean something else.
    let file = if mistakes.found.is_empty() {
        file(document.get_ref(), &mut mistakes)
    } else {
        ContextFile::default()
    };
    if mistakes.found.is_empty() { Ok(file) } else { Err(mistakes.told()) }
}

fn file(document: &DeTable<'_>, mistakes: &mut Mistakes<'_>) -> ContextFile {
    let mut file = ContextFile::default();
    for (key, value) in document {
        match &**key.get_ref() {
            "current" => file.current = text(key.get_ref(), value, mistakes),
            "contexts" => {
                let Some(contexts) = table("contexts", value, mistakes) else { continue };
                for (name, value) in contexts {
                    if let Some(context) = context(name.get_ref(), name.span(), value, mistakes) {
                        file.contexts.insert(name.get_ref().to_string(), context);
                    }
                }
            }
            other => mistakes.unknown(key.span(), other, &["current", "contexts"]),
        }
    }
    file
}

fn context(
    name: &str,
    at: Range<usize>,
    value: &Spanned<DeValue<'_>>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Context> {
    let before = mistakes.found.len();
    let mut context = Context::default();
    for (key, value) in table(name, value, mistakes)? {
        match &**key.get_ref() {
            word @ "socket" => context.socket = text(word, value, mistakes).map(PathBuf::from),
            word @ "server" => context.server = text(word, value, mistakes),
            word @ "identity" => context.identity = text(word, value, mistakes).map(PathBuf::from),
            other => mistakes.unknown(key.span(), other, &["socket", "server", "identity"]),
        }
    }
    // What it lacks may stand in a line that was not understood.
    if mistakes.found.len() == before
        && let Err(problem) = context.check()
    {
        mistakes.add(at, &format!("context {name:?} {problem}"));
    }
    Some(context)
}

fn text(key: &str, value: &Spanned<DeValue<'_>>, mistakes: &mut Mistakes<'_>) -> Option<String> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        mistakes.add(value.span(), &format!("{key} is no text in quotes"));
    }
    text.map(str::to_owned)
}

fn table<'a, 'i>(
    key: &str,
    value: &'a Spanned<DeValue<'i>>,
    mistakes: &mut Mistakes<'_>,
) -> Option<&'a DeTable<'i>> {
    let table = value.get_ref().as_table();
    if table.is_none() {
        mistakes.add(value.span(), &format!("{key} is no section"));
    }
    table
}

impl Mistakes<'_> {
    fn add(&mut self, at: Range<usize>, what: &str) {
        let before = self.text.as_bytes().iter().take(at.start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        self.found.push((line, what.trim().replace('\n', ", ")));
    }

    fn unknown(&mut self, at: Range<usize>, key: &str, known: &[&str]) {
        let more = match nearest(key, known) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", known.join(", ")),
        };
        self.add(at, &format!("{key:?} is no key here: {more}"));
    }

    /// In the order of lines.
    fn told(mut self) -> String {
        self.found.sort();
        let count = self.found.len();
        let mut lines = self.found.into_iter().take(MOST).map(|(line, what)| format!("line {line}: {what}"));
        if count == 1 {
            return lines.next().unwrap_or_default();
        }
        let listed: String = lines.map(|line| format!("\n  {line}")).collect();
        let rest = if count > MOST { format!("\n  and {} more", count - MOST) } else { String::new() };
        format!("it has {count} mistakes{listed}{rest}")
    }
}
