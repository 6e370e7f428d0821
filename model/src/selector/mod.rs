//! Selectors: which series of a service's metrics are meant, written as in PromQL: `name{code=~"5..", path!="/ready"}`.
//!
//! Semantics are those of Prometheus (<https://prometheus.io/docs/prometheus/latest/querying/basics/>, "Time series
//! selectors"): all matchers must hold, a label that a series lacks is an empty one, and regular expressions match the
//! whole value, `.` also a line's end. Their syntax is that of the crate `regex`, which takes what RE2 takes but for
//! rare classes; `\d`, `\w` and `\s` know all of Unicode. They run in linear time, and are bounded in size.

mod read;

use regex::Regex;
use std::{fmt, ops::Range, str::FromStr};

/// Longest selector, in bytes.
pub const MAX_SELECTOR_BYTES: usize = 1024;
/// Most matchers of a selector.
pub const MAX_MATCHERS: usize = 16;

/// Which series of a service's metrics are meant.
#[derive(Clone)]
pub struct Selector {
    source: String,
    name: String,
    matchers: Vec<Matcher>,
}

/// What one label must be.
#[derive(Clone, Debug)]
pub struct Matcher {
    label: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Like(Regex),
    NotLike(Regex),
}

/// One mistake in a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorMistake {
    /// What it is about, in bytes of the selector; empty where something is missing.
    pub at: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be said.
    pub hint: Option<String>,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// All mistakes, at least one, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<SelectorMistake>> {
        read::selector(text)
    }

    /// The text that it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The metric's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its labels must be.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Whether a series of this name has the labels that are asked for. `value` tells a label's value, empty for one
    /// that the series lacks.
    pub fn takes<'v>(&self, value: impl Fn(&str) -> &'v str) -> bool {
        self.matchers.iter().all(|matcher| matcher.takes(value(&matcher.label)))
    }
}

impl Matcher {
    /// Which label it looks at.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    fn takes(&self, value: &str) -> bool {
        match &self.test {
            Test::Is(wanted) => value == wanted,
            Test::IsNot(unwanted) => value != unwanted,
            Test::Like(pattern) => pattern.is_match(value),
            Test::NotLike(pattern) => !pattern.is_match(value),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorMistake;

    /// The first mistake is enough for whoever shows no places.
    fn from_str(text: &str) -> Result<Self, SelectorMistake> {
        let whole =
            || SelectorMistake { at: 0..text.len(), message: "cannot be read".to_owned(), hint: None };
        Self::parse(text).map_err(|mistakes| mistakes.into_iter().next().unwrap_or_else(whole))
    }
}

/// Two that are written alike are alike.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Selector {}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests;
