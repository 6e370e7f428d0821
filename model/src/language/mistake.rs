//! What is wrong with a file: all of it, each with its place.

use std::{fmt, ops::Range};

/// Most mistakes that are listed; a file with more is hardly one of ours.
const MAX_LISTED: usize = 100;

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The bytes of the text that it is about, for a caret; empty where it is about something missing.
    pub span: Range<usize>,
    /// The key, with those of its tables before it: `readiness.path`. Empty where it is about the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be said.
    pub hint: Option<String>,
}

/// What the field of a manifest's mistake begins with on the wire.
const FILE: &str = "handover.toml";

impl Mistake {
    /// A mistake at `span` of a text.
    #[must_use]
    pub fn at(text: &str, span: Range<usize>, key: &str, message: &str, hint: Option<String>) -> Self {
        let Place { line, column, span } = Place::new(text, span);
        Self { line, column, span, key: key.to_owned(), message: message.to_owned(), hint }
    }

    /// The mistake as a field and a description, as it goes over the wire: `handover.toml:8:10: drain.signal`, and
    /// what is wrong with what to write instead in a line of its own.
    #[must_use]
    pub fn to_violation(&self) -> (String, String) {
        let hint = self.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
        (format!("{FILE}:{}:{}: {}", self.line, self.column, self.key), format!("{}{hint}", self.message))
    }

    /// The reverse of [`Self::to_violation`]; its span in `text`, which is the manifest, covers the rest of the
    /// word at its place. `None` for a field that is no place in a manifest.
    #[must_use]
    pub fn from_violation(field: &str, description: &str, text: &str) -> Option<Self> {
        let (place, key) = field.strip_prefix(FILE)?.strip_prefix(':')?.split_once(": ")?;
        let (line, column) = place.split_once(':')?;
        let (line, column): (u32, u32) = (line.parse().ok()?, column.parse().ok()?);
        let start = offset(text, line, column);
        let rest = text.get(start..).unwrap_or_default();
        let word = rest
            .find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '='))
            .unwrap_or(rest.len());
        let (message, hint) = match description.split_once('\n') {
            Some((message, hint)) => (message, Some(hint.to_owned())),
            None => (description, None),
        };
        Some(Self {
            line,
            column,
            span: start..start + word,
            key: key.to_owned(),
            message: message.to_owned(),
            hint,
        })
    }
}

/// Where the character at a place begins; the text's end where it has no such place.
fn offset(text: &str, line: u32, column: u32) -> usize {
    let before = |number: u32| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let lines = text.split_inclusive('\n');
    let start: usize = lines.clone().take(before(line)).map(str::len).sum();
    let inside = lines.clone().nth(before(line)).unwrap_or_default();
    start + inside.char_indices().nth(before(column)).map_or(inside.len(), |(at, _)| at)
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Mistake {}

/// Everything that is wrong with a file, in the order of the text. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// The mistakes, in the order of the text; at least one.
    #[must_use]
    pub fn all(&self) -> &[Mistake] {
        &self.0
    }

    /// One mistake about the whole file.
    pub(crate) fn whole_file(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self(vec![Mistake {
            line: 1,
            column: 1,
            span: 0..0,
            key: String::new(),
            message: message.into(),
            hint: hint.map(str::to_owned),
        }])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A place in a text, kept by what is checked or told later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) line: u32,
    column: u32,
    span: Range<usize>,
}

impl Place {
    /// Where `span` lies in `text`.
    pub(crate) fn new(text: &str, span: Range<usize>) -> Self {
        let bytes = text.as_bytes();
        let before = &bytes[..span.start.min(bytes.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        // A byte order mark is no character of the first line. Not at a character's border only if a span is wrong;
        // then the count is a little off, and nothing panics.
        let line = String::from_utf8_lossy(&before[line_start..]);
        let characters = line.trim_start_matches('\u{feff}').chars().count();
        let counted = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
        Self { line: counted(lines), column: counted(characters), span }
    }
}

/// Mistakes while they are being collected.
pub(crate) struct Problems<'t> {
    text: &'t str,
    list: Vec<Mistake>,
    doubtful: bool,
}

impl<'t> Problems<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, list: Vec::new(), doubtful: false }
    }

    /// From here on parts of the text are missing, because they could not be read.
    pub(crate) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Whether parts of the text are missing. Then nothing is a mistake because of what is said elsewhere, or nowhere.
    pub(crate) fn doubtful(&self) -> bool {
        self.doubtful
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.text, span)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where a part of a string stands, given where the string stands with its quotes and what it says. The whole
    /// string where escapes in it make that impossible to say.
    pub(crate) fn inside(&self, string: Range<usize>, says: &str, part: Range<usize>) -> Range<usize> {
        let written = self.text.get(string.clone()).unwrap_or_default();
        let quotes = written.len().saturating_sub(says.len()) / 2;
        if written.len() != says.len() + 2 * quotes || written.get(quotes..quotes + says.len()) != Some(says)
        {
            return string;
        }
        let start = string.start + quotes;
        start + part.start..start + part.end
    }

    /// Notes a mistake at `span`.
    pub(crate) fn add(&mut self, span: Range<usize>, key: &str, message: impl Into<String>) {
        self.add_at(span, key, message, None);
    }

    /// Notes a mistake at `span` and what to write instead.
    pub(crate) fn add_with_hint(
        &mut self,
        span: Range<usize>,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add_at(span, key, message, Some(hint.into()));
    }

    fn add_at(&mut self, span: Range<usize>, key: &str, message: impl Into<String>, hint: Option<String>) {
        // Finding a place reads the text up to it: not for mistakes that are not listed.
        if self.list.len() < MAX_LISTED {
            let place = self.place(span);
            self.push(place, key, message, hint);
        }
    }

    /// Notes a mistake at a place that was kept.
    pub(crate) fn push(&mut self, place: Place, key: &str, message: impl Into<String>, hint: Option<String>) {
        if self.list.len() < MAX_LISTED {
            let Place { line, column, span } = place;
            let (key, message) = (key.to_owned(), message.into());
            self.list.push(Mistake { line, column, span, key, message, hint });
        }
    }

    /// The mistakes in the order of the text.
    pub(crate) fn into_errors(mut self) -> Mistakes {
        self.list.sort_by_key(|error| (error.line, error.column));
        // The parser may stumble over one place twice.
        self.list.dedup();
        if self.list.is_empty() {
            return Mistakes::whole_file("the file cannot be read", None);
        }
        Mistakes(self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_survives_the_wire_but_for_the_end_of_its_place() {
        let text = "# \u{e4}\n[drain]\nsignal = \"TERM\" # \n";
        let mut problems = Problems::new(text);
        problems.add_with_hint(22..28, "drain.signal", "is none of them", "did you mean \"SIGTERM\"?");
        problems.add(13..19, "drain.signal", "is tired");
        for error in &problems.into_errors() {
            let (field, description) = error.to_violation();
            assert_eq!(Mistake::from_violation(&field, &description, text).as_ref(), Some(error));
        }
    }

    #[test]
    fn fields_of_something_else_are_no_places() {
        for field in
            ["", "service", "handover.toml", "handover.toml:1", "handover.toml:a:b: c", "line 1, column 2"]
        {
            assert_eq!(Mistake::from_violation(field, "x", ""), None, "{field}");
        }
        let far = Mistake::from_violation("handover.toml:4294967295:4294967295: x", "y", "ab\n").unwrap();
        assert_eq!(far.span, 3..3);
    }
}
