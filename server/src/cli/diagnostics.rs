//! Mistakes in a manifest as a person reads them: place, reason, the line with a caret, what was meant.
//!
//! Own code instead of a library: plain text of two shapes is a page, and the libraries for it draw frames and colours
//! around it.

use console::measure_text_width;
use handover_model::config::{Mistake, Mistakes};
use handover_proto::status::{Reason, Refusal};
use serde_json::{Value, json};
use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};

/// Widest piece of a line that is shown.
const WIDEST: usize = 100;
/// How much of a longer line is shown before the place.
const BEFORE: usize = 40;

/// A manifest with everything that is wrong with it.
#[derive(Debug)]
pub(crate) struct Mistakes {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) errors: Mistakes,
}

impl Mistakes {
    /// As JSON: one object, its mistakes in the order of the text. Columns count characters; ends are exclusive.
    pub(super) fn json(&self) -> Value {
        let mistake = |error: &Mistake| {
            let (end_line, end_column) = end(&self.text, error);
            json!({
                "line": error.line, "column": error.column, "end_line": end_line, "end_column": end_column,
                "key": error.key, "message": error.message, "hint": error.hint,
                "source": source(&self.text, error).map(printable),
            })
        };
        json!({
            "file": self.path.display().to_string(), "valid": false,
            "mistakes": self.errors.all().iter().map(mistake).collect::<Vec<_>>(),
        })
    }

    /// `2 mistakes`.
    pub(super) fn count(&self) -> String {
        match self.errors.all().len() {
            1 => "1 mistake".to_owned(),
            more => format!("{more} mistakes"),
        }
    }
}

impl fmt::Display for Mistakes {
    /// Every mistake; nothing behind the last line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.errors.all().iter().map(|error| one(&self.path, &self.text, error));
        f.write_str(shown.collect::<Vec<_>>().join("\n").trim_end())
    }
}

/// What a server found in a manifest that this command took for good: a server of another version.
pub(super) fn of_refusal(refusal: &Refusal, path: &Path, text: &str) -> Option<String> {
    if refusal.reason != Reason::InvalidManifest || refusal.violations.is_empty() {
        return None;
    }
    let mut shown = String::new();
    for violation in &refusal.violations {
        match Mistake::from_violation(&violation.field, &violation.description, text) {
            Some(error) => shown.push_str(&one(path, text, &error)),
            None => {
                let _ = writeln!(shown, "{}", printable(&violation.description));
            }
        }
    }
    Some(shown.trim_end().to_owned())
}

/// One mistake, in two to three lines.
fn one(path: &Path, text: &str, error: &Mistake) -> String {
    let mut shown = format!("{}:{}:{}: ", path.display(), error.line, error.column);
    if !error.key.is_empty() {
        let _ = write!(shown, "{}: ", printable(&error.key));
    }
    shown.push_str(&printable(&error.message));
    shown.push('\n');
    let hint = error.hint.as_deref().map(printable).unwrap_or_default();
    match source(text, error) {
        Some(line) => {
            let (piece, caret, width) = excerpt(line, error);
            let number = error.line.to_string();
            let margin = " ".repeat(number.len());
            let under = format!("{}{} {hint}", " ".repeat(caret), "^".repeat(width));
            let _ = writeln!(shown, "  {number} | {}", piece.trim_end());
            let _ = writeln!(shown, "  {margin} | {}", under.trim_end());
        }
        None if hint.is_empty() => {}
        None => {
            let _ = writeln!(shown, "  = {hint}");
        }
    }
    shown
}

/// The line that a mistake is about; `None` where it is about something that stands nowhere.
fn source<'t>(text: &'t str, error: &Mistake) -> Option<&'t str> {
    if error.span.is_empty() && error.line == 1 && error.column == 1 {
        return None;
    }
    let line = text.split('\n').nth(usize::try_from(error.line).ok()?.checked_sub(1)?)?;
    Some(line.strip_suffix('\r').unwrap_or(line).trim_start_matches('\u{feff}'))
}

/// The piece of a line that is shown, how far in the caret begins, and how wide it is.
fn excerpt(line: &str, error: &Mistake) -> (String, usize, usize) {
    let characters: Vec<char> = line.chars().collect();
    let at = usize::try_from(error.column).unwrap_or(1).saturating_sub(1).min(characters.len());
    let from = if characters.len() > WIDEST { at.saturating_sub(BEFORE) } else { 0 };
    let to = (from + WIDEST).min(characters.len());
    let shown = |part: &[char]| printable(&part.iter().collect::<String>());
    let (left, right) = (if from > 0 { "..." } else { "" }, if to < characters.len() { "..." } else { "" });
    let before = format!("{left}{}", shown(&characters[from..at]));
    // A place over several lines is marked to the end of its first.
    let end = (at + covered(line, at, error.span.len())).min(to);
    let width = measure_text_width(&shown(&characters[at..end])).max(1);
    let piece = format!("{before}{}{right}", shown(&characters[at..to]));
    (piece, measure_text_width(&before), width)
}

/// How many characters of the line from `at` on `bytes` bytes cover.
fn covered(line: &str, at: usize, bytes: usize) -> usize {
    let mut left = bytes;
    let covers = |c: &char| {
        let covered = left > 0;
        left = left.saturating_sub(c.len_utf8());
        covered
    };
    line.chars().skip(at).take_while(covers).count()
}

/// Where a mistake's place ends: line and column, exclusive.
fn end(text: &str, error: &Mistake) -> (u32, u32) {
    let covered = text.get(error.span.clone()).unwrap_or_default();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    match covered.rsplit_once('\n') {
        None => (error.line, error.column.saturating_add(count(covered.chars().count()))),
        Some((before, last)) => {
            (error.line + 1 + count(before.matches('\n').count()), 1 + count(last.chars().count()))
        }
    }
}

/// A text in which nothing moves the cursor, turns the direction or hides: one column stands for each such character.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_model::config::Manifest;

    fn shown(text: &str) -> String {
        let errors = Manifest::from_bytes(text.as_bytes()).expect_err("a wrong manifest was taken");
        Mistakes { path: "handover.toml".into(), text: text.to_owned(), errors }.to_string()
    }

    #[test]
    fn a_mistake_has_its_line_a_caret_and_what_was_meant() {
        let text = "service = \"web\"\ncommand = [\"bin/web\"]\n\n[drain]\nsignal = \"TERM\"\ndeadline = 5\n";
        assert_eq!(
            shown(text),
            "\
handover.toml:5:10: drain.signal: \"TERM\" is none of SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH
  5 | signal = \"TERM\"
    |          ^^^^^^ did you mean \"SIGTERM\"?

handover.toml:6:12: drain.deadline: expected a duration as a string, like \"5s\", found an integer
  6 | deadline = 5
    |            ^ did you mean \"5s\"?"
        );
    }

    #[test]
    fn what_is_missing_has_no_line_but_an_example() {
        assert_eq!(
            shown("command = [\"bin/web\"]\n"),
            "handover.toml:1:1: service: is missing\n  = write it like this: service = \"web\""
        );
    }

    #[test]
    fn a_caret_stands_under_its_place_whatever_is_before_it() {
        for before in ["", "\t", "ä ", "日本 ", "a\u{301}", "\u{200b}"] {
            let text = format!("service = \"web\"\ncommand = [\"bin/web\", '{before}{{nonsense}}']\n");
            let shown = shown(&text);
            let lines: Vec<&str> = shown.lines().collect();
            let column = measure_text_width(lines[1].split("{nonsense").next().unwrap());
            assert_eq!(lines[2].find('^').unwrap(), column, "{before:?}\n{shown}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let long = "x".repeat(1000);
        let text =
            format!("service = \"web\"\ncommand = [\"bin/web\", \"{long}\", \"{{bad}}\", \"{long}\"]\n");
        let shown = shown(&text);
        assert!(measure_text_width(shown.lines().nth(1).unwrap()) < 120, "{shown}");
        let caret = shown.lines().nth(2).unwrap().find('^').unwrap();
        assert_eq!(&shown.lines().nth(1).unwrap()[caret..caret + 5], "{bad}", "{shown}");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        let text = "service = \"web\"\ncommand = [\"bin/web\"]\n\"a\\u001b[2J\" = 1\nuser = \"\u{202e}x\"\n";
        let shown = shown(text);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
    }

    #[test]
    fn json_has_the_end_of_each_place() {
        let text = "service = \"web\"\ncommand = [\"a\"]\nusr = \"b\"\nhosts = [\n1]\n";
        let errors = Manifest::parse(text).expect_err("a wrong manifest was taken");
        let json = Mistakes { path: "a/handover.toml".into(), text: text.to_owned(), errors }.json();
        assert_eq!(json["valid"], false);
        assert_eq!(json["file"], "a/handover.toml");
        let place = |n: usize| {
            let mistake = &json["mistakes"][n];
            ["line", "column", "end_line", "end_column"].map(|key| mistake[key].as_u64().unwrap())
        };
        assert_eq!(place(0), [3, 1, 3, 4]);
        assert_eq!(place(1), [4, 9, 5, 3]);
        assert_eq!(json["mistakes"][0]["hint"], "did you mean \"user\"?");
        assert_eq!(json["mistakes"][0]["source"], "usr = \"b\"");
    }

    #[test]
    fn a_servers_refusal_is_shown_with_the_lines_of_the_file() {
        let text = "service = \"web\"\ncommand = [\"a\"]\n[drain]\nsignal = \"SIGTERM\"\n";
        let refusal = Refusal::new(Reason::InvalidManifest, "the manifest has 2 mistakes")
            .violation("handover.toml:4:10: drain.signal", "is not what it was\ntry another")
            .violation("", "and 3 more");
        let shown = of_refusal(&refusal, Path::new("x.toml"), text).unwrap();
        assert_eq!(
            shown,
            "x.toml:4:10: drain.signal: is not what it was\n  4 | signal = \"SIGTERM\"\n    |          ^^^^^^^^^ try another\nand 3 more"
        );
        assert_eq!(of_refusal(&Refusal::new(Reason::Busy, "busy"), Path::new("x"), text), None);
    }
}
