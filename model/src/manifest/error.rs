//! What is wrong with a manifest: all of it, each with its place.

use std::{fmt, ops::Range};

/// Most mistakes that are listed; a file with more is hardly a manifest.
const MAX_LISTED: usize = 100;

/// One mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
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

impl fmt::Display for ManifestError {
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

impl std::error::Error for ManifestError {}

/// Everything that is wrong with a manifest, in the order of the text. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestErrors(Vec<ManifestError>);

impl ManifestErrors {
    /// The mistakes, in the order of the text; at least one.
    #[must_use]
    pub fn all(&self) -> &[ManifestError] {
        &self.0
    }

    /// One mistake about the whole file.
    pub(super) fn whole_file(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self(vec![ManifestError {
            line: 1,
            column: 1,
            span: 0..0,
            key: String::new(),
            message: message.into(),
            hint: hint.map(str::to_owned),
        }])
    }
}

impl fmt::Display for ManifestErrors {
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

impl std::error::Error for ManifestErrors {}

impl<'a> IntoIterator for &'a ManifestErrors {
    type Item = &'a ManifestError;
    type IntoIter = std::slice::Iter<'a, ManifestError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A place in the text of a manifest, kept by what is checked only once the host is known.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    line: u32,
    column: u32,
    span: Range<usize>,
}

impl Place {
    /// Where `span` lies in `text`.
    pub(super) fn new(text: &str, span: Range<usize>) -> Self {
        let bytes = text.as_bytes();
        let before = &bytes[..span.start.min(bytes.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        // Not at a character's border only if a span is wrong; then the count is a little off, and nothing panics.
        let characters = String::from_utf8_lossy(&before[line_start..]).chars().count();
        let counted = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
        Self { line: counted(lines), column: counted(characters), span }
    }
}

/// Mistakes while they are being collected.
pub(super) struct Problems<'t> {
    text: &'t str,
    list: Vec<ManifestError>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, list: Vec::new() }
    }

    pub(super) fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.text, span)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Notes a mistake at `span`.
    pub(super) fn add(&mut self, span: Range<usize>, key: &str, message: impl Into<String>) {
        self.add_at(span, key, message, None);
    }

    /// Notes a mistake at `span` and what to write instead.
    pub(super) fn add_with_hint(
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
    pub(super) fn push(&mut self, place: Place, key: &str, message: impl Into<String>, hint: Option<String>) {
        if self.list.len() < MAX_LISTED {
            let Place { line, column, span } = place;
            let (key, message) = (key.to_owned(), message.into());
            self.list.push(ManifestError { line, column, span, key, message, hint });
        }
    }

    /// The mistakes in the order of the text.
    pub(super) fn into_errors(mut self) -> ManifestErrors {
        self.list.sort_by_key(|error| (error.line, error.column));
        if self.list.is_empty() {
            return ManifestErrors::whole_file("the manifest cannot be read", None);
        }
        ManifestErrors(self.list)
    }
}
