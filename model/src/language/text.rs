//! From bytes to a text, and from a text to what a reader makes of it: bounded, and with every mistake.

use super::{
    keys::Table,
    mistake::{Mistakes, Problems},
    table::Section,
};
use std::ops::Range;
use toml::de::DeTable;

/// So many statements that cannot be read are left out to find the mistakes of the others.
const MOST_LEFT_OUT: usize = 16;
/// A text in which the parser stumbles more often is hardly one of ours, and is not looked at any further.
const MOST_STUMBLES: usize = 100;
/// So many lines a statement may have whose end is missing, for its beginning to be found.
const LONGEST_STATEMENT: usize = 16;

/// A kind of file: how messages call it, how long it may be, and its keys.
#[derive(Clone, Copy, Debug)]
pub struct FileKind {
    /// Its name with an article: `the manifest`.
    pub what: &'static str,
    /// The most bytes that are read.
    pub most: usize,
    /// Its keys.
    pub keys: &'static Table,
}

/// The bytes as text, or what they are instead.
pub(crate) fn text<'b>(bytes: &'b [u8], kind: &FileKind) -> Result<&'b str, Mistakes> {
    check_length(bytes.len(), kind)?;
    let what = kind.what;
    if let Some((encoding, hint)) = utf16(bytes) {
        return Err(Mistakes::whole_file(format!("{what} is in {encoding}, not in UTF-8"), Some(hint)));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let message = format!("this is no text but binary data: byte {at} is zero");
        return Err(Mistakes::whole_file(message, Some("is it the right file?")));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = error.valid_up_to();
        let message =
            format!("{what} is not UTF-8: byte {good} (0x{:02x}) belongs to no character", bytes[good]);
        let hint = "save it as UTF-8; from Latin-1: iconv -f ISO-8859-1 -t UTF-8 OLD > NEW";
        let text = String::from_utf8_lossy(bytes);
        let mut problems = Problems::new(&text);
        problems.add_with_hint(good..good + char::REPLACEMENT_CHARACTER.len_utf8(), "", message, hint);
        problems.into_errors()
    })
}

/// Which UTF-16 the bytes are in, and how to make UTF-8 of it; `None` where they are in something else.
fn utf16(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some((
            "UTF-16 (it begins with a byte order mark)",
            "convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW",
        )),
        // ASCII in UTF-16 has a zero in every other byte.
        [a, 0, b, 0, ..] if *a != 0 && *b != 0 => {
            Some(("UTF-16 (little endian)", "convert it: iconv -f UTF-16LE -t UTF-8 OLD > NEW"))
        }
        [0, a, 0, b, ..] if *a != 0 && *b != 0 => {
            Some(("UTF-16 (big endian)", "convert it: iconv -f UTF-16BE -t UTF-8 OLD > NEW"))
        }
        _ => None,
    }
}

fn check_length(length: usize, kind: &FileKind) -> Result<(), Mistakes> {
    let FileKind { what, most, keys: _ } = kind;
    if length <= *most {
        return Ok(());
    }
    let message = format!("{what} has {length} bytes, more than the {most} that are read");
    Err(Mistakes::whole_file(message, Some("is it the right file?")))
}

/// Reads a text of some kind. `read` notes every mistake but those of syntax, and makes `None` only of a text with one.
///
/// Where the syntax is wrong, the statements that cannot be read are left out and the others are still looked at.
pub(crate) fn read<T>(
    text: &str,
    kind: &FileKind,
    read: impl FnOnce(&Section<'_>, &mut Problems<'_>) -> Option<T>,
) -> Result<T, Mistakes> {
    check_length(text.len(), kind)?;
    let mut problems = Problems::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return match read(&Section::root(document.get_ref(), kind.keys), &mut problems) {
            Some(value) if problems.is_empty() => Ok(value),
            Some(_) | None => Err(problems.into_errors()),
        };
    }
    for error in errors {
        problems.add(error.span().unwrap_or(0..0), "", error.message());
    }
    // What the parser made up to go on would give mistakes that nobody made, so it gets a text without them.
    if let Some(rest) = legible(text) {
        let (document, _) = DeTable::parse_recoverable(&rest);
        problems.doubt();
        let _ = read(&Section::root(document.get_ref(), kind.keys), &mut problems);
    }
    Err(problems.into_errors())
}

/// The text with spaces instead of each statement that cannot be read, so that every place stays what it was; `None`
/// where what is left cannot be read either.
fn legible(text: &str) -> Option<String> {
    let mut rest = text.to_owned();
    for _ in 0..MOST_LEFT_OUT {
        let (_, errors) = DeTable::parse_recoverable(&rest);
        if errors.is_empty() {
            return Some(rest);
        }
        if errors.len() > MOST_STUMBLES {
            return None;
        }
        let places: Option<Vec<usize>> = errors.iter().map(|error| Some(error.span()?.start)).collect();
        let broken = statement(&rest, places?.into_iter().min()?)?;
        let blank: String = rest
            .get(broken.clone())?
            .chars()
            .flat_map(|c| {
                let blank = if matches!(c, '\n' | '\r') { c } else { ' ' };
                // As many bytes as before.
                std::iter::repeat_n(blank, c.len_utf8())
            })
            .collect();
        if rest.get(broken.clone()) == Some(blank.as_str()) {
            return None;
        }
        rest.replace_range(broken, &blank);
    }
    None
}

/// The lines of the first statement that cannot be read, given where the parser stumbled. With a table's name go all of
/// its keys: they would be taken for those of the table before.
fn statement(text: &str, at: usize) -> Option<Range<usize>> {
    let line = line_start(text, at);
    let mut start = line;
    // One whose end is missing began on a line before: it is what cannot be read, and not the line that came next.
    let mut lines = 0;
    while !DeTable::parse_recoverable(text.get(..start)?).1.is_empty() {
        lines += 1;
        if lines > LONGEST_STATEMENT || start == 0 {
            return None;
        }
        start = line_start(text, start - 1);
    }
    let mut end = if start < line { line } else { next_line(text, line) };
    if text.get(start..)?.trim_start().starts_with('[') {
        while end < text.len() && !text.get(end..)?.trim_start_matches([' ', '\t']).starts_with('[') {
            end = next_line(text, end);
        }
    }
    Some(start..end)
}

fn line_start(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

fn next_line(text: &str, at: usize) -> usize {
    let from = text.as_bytes().get(at..).unwrap_or_default();
    from.iter().position(|byte| *byte == b'\n').map_or(text.len(), |newline| at + newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn left(text: &str) -> String {
        let rest = legible(text).unwrap();
        assert_eq!(rest.len(), text.len(), "every place stays");
        rest.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn only_the_statement_that_cannot_be_read_is_left_out() {
        assert_eq!(left("a = 1\nb = x\nc = 3\n"), "a = 1|c = 3");
        assert_eq!(left("a = 1\na = 2\nc = 3"), "a = 1|c = 3", "a key that is there twice");
        assert_eq!(left("a = [1,\n  2\nb = 2\n"), "b = 2", "the end of a list is missing");
        assert_eq!(left("a = x\nb = y\nc = 'ä'\n"), "c = 'ä'");
    }

    #[test]
    fn with_a_tables_name_its_keys_are_left_out() {
        assert_eq!(left("a = 1\n[b\nc = 1\nd = 2\n[e]\nf = 1\n"), "a = 1|[e]|f = 1");
        assert_eq!(left("[b]\nc = 1\n[b]\nd = 2\n"), "[b]|c = 1");
    }

    proptest! {
        #[test]
        fn whatever_is_left_of_a_text_can_be_read_and_stands_where_it_stood(text in "([a-b=\\[\\]\"'{},.# ä]{0,6}\n?){0,12}") {
            if let Some(rest) = legible(&text) {
                prop_assert_eq!(rest.len(), text.len());
                prop_assert!(DeTable::parse_recoverable(&rest).1.is_empty());
            }
        }
    }
}
