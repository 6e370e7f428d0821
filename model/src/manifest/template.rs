//! Texts with a host's values in them: `{host.name}`, `{host.address}`, `{label.KEY}`.

use crate::{
    HostValues, Label,
    language::{Place, quoted},
};
use std::{fmt, net::Ipv6Addr, ops::Range};

/// A text in which `{host.name}`, `{host.address}` and `{label.KEY}` stand for values of the host.
/// `{{` stands for one brace; a closing brace outside a placeholder stands for itself.
#[derive(Clone)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    HostName,
    HostAddress,
    Label(String),
}

/// A text whose braces make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace is opened and not closed.
    #[error("a placeholder is opened with {{ and not closed")]
    Open {
        /// The brace, in bytes of the text.
        at: Range<usize>,
    },
    /// A name that stands for nothing.
    #[error("unknown placeholder {}", quoted(name))]
    Unknown {
        /// The placeholder with its braces, in bytes of the text.
        at: Range<usize>,
        /// The name.
        name: String,
    },
}

/// How a text is written into its surroundings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Filling {
    /// As it is.
    Plain,
    /// As the host of an address: an IPv6 address gets its brackets.
    Address,
}

impl Template {
    /// Reads a text with placeholders.
    ///
    /// # Errors
    /// For a placeholder that is not closed, or that stands for nothing known.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some(at) = rest.find('{') {
            let start = source.len() - rest.len() + at;
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                text.push('{');
                rest = after;
                continue;
            }
            let end = rest.find('}').ok_or(TemplateError::Open { at: start..start + 1 })?;
            let part = placeholder(&rest[..end]).ok_or_else(|| TemplateError::Unknown {
                at: start..start + end + 2,
                name: rest[..end].to_owned(),
            })?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(part);
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { source: source.to_owned(), parts, place: Place::default() })
    }

    /// The text as the manifest has it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text itself where it is the same on every host.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with the host's values; the key of the label that the host lacks otherwise.
    pub(super) fn fill(&self, host: &HostValues, filling: Filling) -> Result<String, String> {
        let mut filled = String::with_capacity(self.source.len());
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::HostName => filled.push_str(host.name.as_str()),
                Part::Label(key) => filled.push_str(host.labels.get(key).ok_or(key)?),
                Part::HostAddress => {
                    let naked = filling == Filling::Address
                        && host.address.parse::<Ipv6Addr>().is_ok()
                        && !filled.ends_with('[');
                    match naked {
                        true => filled.extend(["[", &host.address, "]"]),
                        false => filled.push_str(&host.address),
                    }
                }
            }
        }
        Ok(filled)
    }
}

fn placeholder(name: &str) -> Option<Part> {
    match name {
        "host.name" => Some(Part::HostName),
        "host.address" => Some(Part::HostAddress),
        _ => match name.strip_prefix("label.") {
            Some(key) if Label::new(key, "").is_ok() => Some(Part::Label(key.to_owned())),
            _ => None,
        },
    }
}

/// Where a text stands in its file is no part of what it is.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostValues {
        HostValues {
            name: "alpha".parse().unwrap(),
            address: "fd00::1".to_owned(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
        }
    }

    fn filled(source: &str) -> Result<String, String> {
        Template::parse(source).unwrap().fill(&host(), Filling::Plain)
    }

    #[test]
    fn a_hosts_values_are_put_in() {
        assert_eq!(filled("--on={host.name}/{label.zone}@{host.address}").unwrap(), "--on=alpha/a@fd00::1");
        assert_eq!(filled("").unwrap(), "");
    }

    #[test]
    fn a_doubled_brace_is_one_brace_and_a_lone_closing_one_is_itself() {
        assert_eq!(filled("{{\"zone\": \"{label.zone}\"}").unwrap(), "{\"zone\": \"a\"}");
        assert_eq!(Template::parse("{{x}").unwrap().literal(), Some("{x}"));
        assert_eq!(Template::parse("a}b").unwrap().literal(), Some("a}b"));
    }

    #[test]
    fn a_value_is_not_read_for_placeholders_again() {
        let mut host = host();
        host.labels.insert("zone".to_owned(), "{host.name}".to_owned());
        let filled = Template::parse("{label.zone}").unwrap().fill(&host, Filling::Plain);
        assert_eq!(filled.unwrap(), "{host.name}");
    }

    #[test]
    fn braces_that_make_no_sense_are_refused() {
        for bad in [
            "{",
            "{host.name",
            "{}",
            "{host}",
            "{label.}",
            "{label.a b}",
            "{ host.name}",
            "{{{",
            "{label.\u{1b}}",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad:?} was taken");
        }
        let error = Template::parse("{label.\u{1b}[31m}").unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }

    #[test]
    fn a_label_that_the_host_lacks_is_named() {
        assert_eq!(filled("{label.rack}"), Err("rack".to_owned()));
    }

    #[test]
    fn an_ipv6_address_gets_brackets_in_front_of_a_port() {
        let address =
            |source: &str| Template::parse(source).unwrap().fill(&host(), Filling::Address).unwrap();
        assert_eq!(address("{host.address}:80"), "[fd00::1]:80");
        assert_eq!(address("[{host.address}]:80"), "[fd00::1]:80");
    }
}
