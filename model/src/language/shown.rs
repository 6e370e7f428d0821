//! Mistakes as a person reads them: place, reason, the line with a caret, what was meant.
//!
//! Own code instead of a library: plain text of two shapes is a page, and the libraries for it draw frames and colours
//! around it.

use super::mistake::{Mistake, Mistakes};
use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
};
use unicode_width::UnicodeWidthStr as _;

/// Widest piece of a line that is shown.
const WIDEST: usize = 100;
/// How much of a longer line is shown before the place.
const BEFORE: usize = 40;

/// A file with everything that is wrong with it.
#[derive(Clone, Debug)]
pub struct WrongFile {
    /// Where it is.
    pub path: PathBuf,
    /// What stands in it; empty where it was refused unread.
    pub text: String,
    /// What is wrong.
    pub mistakes: Mistakes,
}

impl WrongFile {
    /// A file that was read, at most `most` bytes of it, and what is wrong with it.
    #[must_use]
    pub fn new(path: &Path, bytes: &[u8], most: usize, mistakes: Mistakes) -> Self {
        // Of one that was refused unread nothing is shown.
        let text =
            if bytes.len() > most { String::new() } else { String::from_utf8_lossy(bytes).into_owned() };
        Self { path: path.to_owned(), text, mistakes }
    }

    /// `2 mistakes`.
    #[must_use]
    pub fn count(&self) -> String {
        match self.mistakes.all().len() {
            1 => "1 mistake".to_owned(),
            more => format!("{more} mistakes"),
        }
    }
}

impl fmt::Display for WrongFile {
    /// Every mistake; nothing behind the last line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.mistakes.all().iter().map(|mistake| shown(&self.path, &self.text, mistake));
        f.write_str(all.collect::<Vec<_>>().join("\n").trim_end())
    }
}

/// One mistake, in two to three lines, each ended.
#[must_use]
pub fn shown(path: &Path, text: &str, error: &Mistake) -> String {
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
#[must_use]
pub fn source<'t>(text: &'t str, error: &Mistake) -> Option<&'t str> {
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
    let visible = |part: &[char]| printable(&part.iter().collect::<String>());
    let (left, right) = (if from > 0 { "..." } else { "" }, if to < characters.len() { "..." } else { "" });
    let before = format!("{left}{}", visible(&characters[from..at]));
    // A place over several lines is marked to the end of its first.
    let end = (at + covered(line, at, error.span.len())).min(to);
    let width = visible(&characters[at..end]).width().max(1);
    let piece = format!("{before}{}{right}", visible(&characters[at..to]));
    (piece, before.width(), width)
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
#[must_use]
pub fn end(text: &str, error: &Mistake) -> (u32, u32) {
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
#[must_use]
pub fn printable(text: &str) -> String {
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
    use crate::config::Manifest;

    fn of(text: &str) -> String {
        let mistakes = Manifest::from_bytes(text.as_bytes()).expect_err("a wrong manifest was taken");
        WrongFile::new("handover.toml".as_ref(), text.as_bytes(), 65_536, mistakes).to_string()
    }

    #[test]
    fn a_mistake_has_its_line_a_caret_and_what_was_meant() {
        let text = "service = \"web\"\ncommand = [\"bin/web\"]\n\n[drain]\nsignal = \"TERM\"\ndeadline = 5\n";
        assert_eq!(
            of(text),
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
            of("command = [\"bin/web\"]\n"),
            "handover.toml:1:1: service: is missing\n  = write it like this: service = \"web\""
        );
    }

    #[test]
    fn a_caret_stands_under_its_place_whatever_is_before_it() {
        for before in ["", "\t", "ä ", "日本 ", "a\u{301}", "\u{200b}"] {
            let text = format!("service = \"web\"\ncommand = [\"bin/web\", '{before}{{nonsense}}']\n");
            let shown = of(&text);
            let lines: Vec<&str> = shown.lines().collect();
            let column = lines[1].split("{nonsense").next().unwrap().width();
            assert_eq!(lines[2].find('^').unwrap(), column, "{before:?}\n{shown}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let long = "x".repeat(1000);
        let text =
            format!("service = \"web\"\ncommand = [\"bin/web\", \"{long}\", \"{{bad}}\", \"{long}\"]\n");
        let shown = of(&text);
        assert!(shown.lines().nth(1).unwrap().width() < 120, "{shown}");
        let caret = shown.lines().nth(2).unwrap().find('^').unwrap();
        assert_eq!(&shown.lines().nth(1).unwrap()[caret..caret + 5], "{bad}", "{shown}");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        let text = "service = \"web\"\ncommand = [\"bin/web\"]\n\"a\\u001b[2J\" = 1\nuser = \"\u{202e}x\"\n";
        let shown = of(text);
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(!shown.contains('\u{202e}'), "{shown:?}");
    }
}
