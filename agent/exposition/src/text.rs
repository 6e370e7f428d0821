//! The Prometheus text format 0.0.4 and OpenMetrics 1.0: line by line, each by itself.

use crate::{
    MAX_LABELS, MAX_LINE_BYTES,
    collector::Collector,
    error::{ExpositionError, LineError, shown},
};
use std::borrow::Cow;

/// A label's name and value.
pub(crate) type Label<'t> = (Cow<'t, str>, Cow<'t, str>);

/// Reads a body.
pub(crate) fn read(
    body: &[u8],
    open_metrics: bool,
    collector: &mut Collector,
) -> Result<(), ExpositionError> {
    let text = std::str::from_utf8(body).map_err(|error| ExpositionError::NotText(error.valid_up_to()))?;
    let mut ended = false;
    let mut labels = Vec::new();
    for (at, line) in text.split_inclusive('\n').enumerate() {
        let wrong = |problem| ExpositionError::Line { number: at + 1, problem };
        if line.len() > MAX_LINE_BYTES {
            return Err(wrong(LineError::TooLong));
        }
        let Some(line) = line.strip_suffix('\n') else {
            // OpenMetrics may end without a line's end.
            if open_metrics && line == "# EOF" {
                ended = true;
                break;
            }
            return Err(ExpositionError::Cut("the end of its last line"));
        };
        if ended {
            return Err(wrong(LineError::BehindEnd));
        }
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start_matches([' ', '\t']);
        if let Some(comment) = line.strip_prefix('#') {
            ended = open_metrics && comment == " EOF";
            if let Some(name) = typed(comment) {
                collector.family(name);
            }
        } else if !line.is_empty() {
            collector.looked()?;
            labels.clear();
            let (name, value) = Line { rest: line }.sample(&mut labels).map_err(wrong)?;
            collector.sample_with_edge(&name, &labels, value)?;
        }
    }
    if open_metrics && !ended {
        return Err(ExpositionError::Cut("\"# EOF\""));
    }
    Ok(())
}

/// The family that a comment tells the type of.
fn typed(comment: &str) -> Option<&str> {
    let mut words = comment.split_ascii_whitespace();
    (words.next()? == "TYPE").then(|| words.next()).flatten()
}

/// What is left of a line.
struct Line<'t> {
    rest: &'t str,
}

impl<'t> Line<'t> {
    /// Name and number; its labels go into `labels`.
    fn sample(mut self, labels: &mut Vec<Label<'t>>) -> Result<(Cow<'t, str>, f64), LineError> {
        let mut name = Cow::Borrowed(self.word(|byte| byte == b':'));
        self.space();
        if self.rest.starts_with('{') {
            self.rest = &self.rest[1..];
            if let Some(quoted) = self.labels(labels)? {
                if !name.is_empty() {
                    return Err(self.expected("a label"));
                }
                name = quoted;
            }
            self.space();
        }
        if name.is_empty() {
            return Err(self.expected("a metric's name"));
        }
        let number = self.until_space();
        let value = number.parse::<f64>();
        let value = value.map_err(|_| LineError::Expected { expected: "a number", found: found(number) })?;
        self.space();
        // A time-stamp, and in OpenMetrics an exemplar behind "#", may follow. They are not asked for.
        if !self.rest.is_empty() && !self.rest.starts_with('#') {
            let stamp = self.until_space();
            if stamp.parse::<f64>().is_err() {
                return Err(LineError::Expected { expected: "a time-stamp", found: found(stamp) });
            }
            self.space();
            if !self.rest.is_empty() && !self.rest.starts_with('#') {
                return Err(self.expected("the line's end"));
            }
        }
        Ok((name, value))
    }

    /// What stands between the braces, with the closing one. A quoted text without a value is the metric's name, as
    /// Prometheus 3 writes names that are more than letters, digits, `_` and `:`.
    fn labels(&mut self, labels: &mut Vec<Label<'t>>) -> Result<Option<Cow<'t, str>>, LineError> {
        let mut name = None;
        loop {
            self.space();
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Ok(name);
            }
            let quoted = self.rest.starts_with('"');
            let label = if quoted { self.quoted()? } else { Cow::Borrowed(self.word(|_| false)) };
            if label.is_empty() {
                return Err(self.expected("a label or \"}\""));
            }
            self.space();
            if let Some(rest) = self.rest.strip_prefix('=') {
                self.rest = rest;
                self.space();
                let value = self.quoted()?;
                if labels.len() >= MAX_LABELS {
                    return Err(LineError::TooManyLabels);
                }
                labels.push((label, value));
            } else if quoted && name.is_none() && labels.is_empty() {
                name = Some(label);
            } else {
                return Err(self.expected("\"=\""));
            }
            self.space();
            match self.rest.as_bytes().first() {
                Some(b',') => self.rest = &self.rest[1..],
                Some(b'}') => {}
                Some(_) | None => return Err(self.expected("\",\" or \"}\"")),
            }
        }
    }

    /// A text in quotes, in which `\\`, `\"` and `\n` are escapes.
    fn quoted(&mut self) -> Result<Cow<'t, str>, LineError> {
        let inside = self.rest.strip_prefix('"').ok_or_else(|| self.expected("a value in quotes"))?;
        let mut text = Cow::Borrowed("");
        let mut rest = inside;
        loop {
            let end = rest.find(['"', '\\']);
            let Some(end) = end else {
                return Err(LineError::Expected { expected: "a closing quote", found: found("") });
            };
            let (plain, behind) = rest.split_at(end);
            if text.is_empty() {
                text = Cow::Borrowed(plain);
            } else {
                text.to_mut().push_str(plain);
            }
            if let Some(behind) = behind.strip_prefix('"') {
                self.rest = behind;
                return Ok(text);
            }
            let mut escape = behind.chars();
            escape.next();
            match escape.next() {
                Some('n') => text.to_mut().push('\n'),
                Some(plain @ ('\\' | '"')) => text.to_mut().push(plain),
                // As the reader of Prometheus has it: another backslash stands for itself.
                Some(other) => text.to_mut().extend(['\\', other]),
                None => {}
            }
            rest = escape.as_str();
        }
    }

    /// Letters, digits, `_` and what is `more`, not beginning with a digit.
    fn word(&mut self, more: impl Fn(u8) -> bool) -> &'t str {
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || more(*byte);
        let length = self.rest.bytes().take_while(|byte| good(byte)).count();
        if self.rest.starts_with(|first: char| first.is_ascii_digit()) {
            return "";
        }
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word
    }

    fn until_space(&mut self) -> &'t str {
        let end = self.rest.find([' ', '\t']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn expected(&self, expected: &'static str) -> LineError {
        LineError::Expected { expected, found: found(self.rest) }
    }
}

fn found(text: &str) -> String {
    if text.is_empty() { "the line's end".to_owned() } else { shown(text) }
}
