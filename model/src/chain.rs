//! Errors for a line: a report's detail, a log, a status.

use std::error::Error;

/// An error with everything behind it, in one line. Errors do not name their sources in their own text, so that each
/// stands in it once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
