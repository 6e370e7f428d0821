//! Where wire types become domain types and back. Nothing else may trust a message.
//!
//! Every message is taken apart exhaustively: a field that the protocol gains does not compile until it is handled
//! here. What is refused is named by its path in the message. Sizes are bounded before anything is built.

mod facts;
mod flip;
mod measurement;
mod migration;
mod release;
mod report;
mod target;

use std::fmt;

/// Most services in a target or in a host's report.
pub const MAX_SERVICES: usize = 256;
/// Most instances in a target or in a host's report, over all services.
pub const MAX_INSTANCES: usize = 1024;
/// Longest `detail` of an instance's report, in characters. A longer one is cut, not refused: a talkative error must
/// not cost an agent its session.
pub const MAX_DETAIL_CHARS: usize = 2000;
/// Longest reason for which a flip was undone, in characters; a longer one is cut.
pub const MAX_MISSED_CHARS: usize = 500;
/// Longest address of a host, in bytes: a DNS name's length.
pub const MAX_ADDRESS_BYTES: usize = 255;
/// Most labels of a host.
pub const MAX_LABELS: usize = 64;

/// A message that is no domain value: which field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field}: {reason}")]
pub struct ConvertError {
    /// The field's path in the message, as `services[2].instances[0].share`.
    pub field: String,
    /// What is wrong with it, in words for an operator.
    pub reason: String,
}

impl ConvertError {
    /// The field `field` is wrong because of `reason`.
    pub fn new(field: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { field: field.into(), reason: reason.to_string() }
    }

    /// The same error, seen from the message that has the failing one in its field `outer`.
    #[must_use]
    pub fn inside(self, outer: impl fmt::Display) -> Self {
        Self { field: format!("{outer}.{}", self.field), reason: self.reason }
    }
}

/// Reads a field that is written as text.
fn parse<T>(field: &'static str, text: &str) -> Result<T, ConvertError>
where
    T: std::str::FromStr,
    T::Err: fmt::Display,
{
    text.parse().map_err(|error: T::Err| ConvertError::new(field, error))
}

/// Refuses a list that is longer than `most`.
fn bounded<T>(field: &'static str, list: &[T], most: usize) -> Result<(), ConvertError> {
    if list.len() > most {
        return Err(ConvertError::new(
            field,
            format!("has {} entries, at most {most} are taken", list.len()),
        ));
    }
    Ok(())
}

/// Text for an operator's terminal: at most `most` characters, and no control characters but line breaks (an agent
/// must not be able to move somebody's cursor).
fn plain(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
