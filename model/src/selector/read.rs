//! From text to selector, with every mistake on the way.

use super::{MAX_MATCHERS, MAX_SELECTOR_BYTES, Matcher, Selector, SelectorMistake, Test};
use crate::language::quoted;
use regex::{Error, Regex, RegexBuilder};
use std::ops::Range;

/// Most memory of one compiled regular expression, in bytes; `\w{20}` needs about as much.
const MAX_PATTERN_SIZE: usize = 1 << 20;
const EXAMPLE: &str = "write it like this: http_requests_total{code=~\"5..\"}";
const NO_QUERY: &str =
    "only a selector is taken: the counters are read as they are, without functions, ranges and operators";

/// Reads a selector; see [`Selector::parse`].
pub(super) fn selector(text: &str) -> Result<Selector, Vec<SelectorMistake>> {
    if text.len() > MAX_SELECTOR_BYTES {
        let message = format!("has {} bytes, more than the {MAX_SELECTOR_BYTES} that are read", text.len());
        return Err(vec![SelectorMistake { at: 0..text.len(), message, hint: None }]);
    }
    let mut reader = Reader { text, at: 0, mistakes: Vec::new() };
    let read = reader.selector();
    match (read, reader.mistakes) {
        (Some((name, matchers)), mistakes) if mistakes.is_empty() => {
            Ok(Selector { source: text.to_owned(), name, matchers })
        }
        (_, mistakes) => Err(mistakes),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    mistakes: Vec<SelectorMistake>,
}

impl Reader<'_> {
    fn selector(&mut self) -> Option<(String, Vec<Matcher>)> {
        self.space();
        let (name, at) = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let at = if name.is_empty() { self.here() } else { at };
            let message = "a selector begins with the metric's name: letters, digits, '_' and ':'";
            self.wrong(at, message, Some(EXAMPLE));
            return None;
        }
        self.space();
        let matchers = match self.next() {
            None => Vec::new(),
            Some('{') => {
                self.at += 1;
                self.matchers()?
            }
            Some(found) => {
                let hint = if matches!(found, '.' | '-' | '/') { EXAMPLE } else { NO_QUERY };
                self.unexpected("\"{\" or the end after the metric's name", Some(hint));
                return None;
            }
        };
        self.space();
        if self.next().is_some() {
            self.unexpected("the end after \"}\"", Some(NO_QUERY));
            return None;
        }
        if matchers.len() > MAX_MATCHERS {
            let message =
                format!("has {} matchers, more than the {MAX_MATCHERS} that are taken", matchers.len());
            self.wrong(0..self.text.len(), message, None);
        }
        Some((name, matchers))
    }

    /// What stands between the braces, with the closing one. A matcher that cannot be read is left out, with its
    /// mistake noted; `None` where the closing brace is missing.
    fn matchers(&mut self) -> Option<Vec<Matcher>> {
        let mut matchers = Vec::new();
        loop {
            self.space();
            match self.next() {
                Some('}') => break,
                None => {
                    self.unexpected("a label or \"}\"", None);
                    return None;
                }
                Some(_) => {}
            }
            match self.matcher() {
                Some(matcher) => matchers.push(matcher),
                None => self.skip(),
            }
            self.space();
            match self.next() {
                Some(',') => self.at += 1,
                Some('}') => break,
                Some(_) | None => {
                    self.unexpected("\",\" or \"}\"", None);
                    self.skip();
                    self.next()?;
                    if self.next() == Some(',') {
                        self.at += 1;
                    }
                }
            }
        }
        self.at += 1;
        Some(matchers)
    }

    /// `label="value"`; `None` with the mistakes noted. A regular expression that is none does not end the matcher.
    fn matcher(&mut self) -> Option<Matcher> {
        let (label, at) = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        if label.is_empty() {
            self.unexpected("a label", Some(EXAMPLE));
            return None;
        }
        if label.starts_with(|c: char| c.is_ascii_digit()) {
            self.wrong(at.clone(), format!("{} is no label: it begins with a digit", quoted(&label)), None);
        }
        if label == "__name__" {
            self.wrong(at, "the metric's name stands before the brace", Some(EXAMPLE));
        }
        self.space();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(operator) = ["=~", "!~", "!=", "="].into_iter().find(|known| rest.starts_with(known)) else {
            self.unexpected("one of =, !=, =~, !~ after the label", None);
            return None;
        };
        self.at += operator.len();
        self.space();
        let start = self.at;
        let value = self.quoted_text()?;
        let test = match operator {
            "=" => Test::Is(value),
            "!=" => Test::IsNot(value),
            _ => match pattern(&value) {
                Ok(pattern) if operator == "=~" => Test::Like(pattern),
                Ok(pattern) => Test::NotLike(pattern),
                Err(message) => {
                    self.wrong(start..self.at, message, None);
                    // Refused already: what stands here is never used.
                    Test::Is(value)
                }
            },
        };
        Some(Matcher { label, test })
    }

    /// A text in one of PromQL's three kinds of quotes. Between backticks nothing is escaped.
    fn quoted_text(&mut self) -> Option<String> {
        let start = self.at;
        let Some(quote @ ('"' | '\'' | '`')) = self.next() else {
            self.unexpected("a value in quotes", Some("label values stand in quotes: code=\"500\""));
            return None;
        };
        self.at += 1;
        let mut value = String::new();
        loop {
            let Some(next) = self.next() else {
                self.wrong(start..self.text.len(), "the value's closing quote is missing", None);
                return None;
            };
            let from = self.at;
            self.at += next.len_utf8();
            match next {
                _ if next == quote => return Some(value),
                '\\' if quote != '`' => match self.escaped() {
                    Some(character) => value.push(character),
                    None => {
                        let hint =
                            "a backslash itself is written \\\\, or the value stands in backticks: `\\d+`";
                        self.wrong(from..self.at, "is no escape that is known in a value", Some(hint));
                    }
                },
                _ => value.push(next),
            }
        }
    }

    /// The character that an escape stands for, the backslash being read; the escape is left behind in any case.
    fn escaped(&mut self) -> Option<char> {
        let kind = self.next()?;
        self.at += kind.len_utf8();
        let digits = match kind {
            'a' => return Some('\u{7}'),
            'b' => return Some('\u{8}'),
            'f' => return Some('\u{c}'),
            'n' => return Some('\n'),
            'r' => return Some('\r'),
            't' => return Some('\t'),
            'v' => return Some('\u{b}'),
            '\\' | '"' | '\'' => return Some(kind),
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let code = self.text.get(self.at..self.at + digits)?;
        let code = u32::from_str_radix(code, 16).ok().filter(|_| !code.starts_with('+'))?;
        self.at += digits;
        char::from_u32(code)
    }

    /// Goes on to the next comma or closing brace outside of quotes.
    fn skip(&mut self) {
        let mut quote = None;
        while let Some(next) = self.next() {
            match quote {
                None if matches!(next, ',' | '}') => return,
                None if matches!(next, '"' | '\'' | '`') => quote = Some(next),
                Some(open) if open == next => quote = None,
                None | Some(_) => {}
            }
            self.at += next.len_utf8();
        }
    }

    fn next(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn space(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// The longest run of these characters from here on, and where it stands.
    fn word(&mut self, good: impl Fn(char) -> bool) -> (String, Range<usize>) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.find(|c: char| !good(c)).unwrap_or(rest.len());
        let at = self.at..self.at + length;
        self.at = at.end;
        (rest[..length].to_owned(), at)
    }

    /// The character that stands here.
    fn here(&self) -> Range<usize> {
        self.at..self.at + self.next().map_or(0, char::len_utf8)
    }

    fn unexpected(&mut self, expected: &str, hint: Option<&str>) {
        let found = match self.next() {
            Some(next) => quoted(next.encode_utf8(&mut [0; 4])),
            None => "the end".to_owned(),
        };
        self.wrong(self.here(), format!("expected {expected}, found {found}"), hint);
    }

    fn wrong(&mut self, at: Range<usize>, message: impl Into<String>, hint: Option<&str>) {
        self.mistakes.push(SelectorMistake { at, message: message.into(), hint: hint.map(str::to_owned) });
    }
}

/// A regular expression over a whole value.
fn pattern(source: &str) -> Result<Regex, String> {
    // By itself first: one that closes the group around it is none.
    build(source)?;
    build(&format!("^(?s:{source})$"))
}

fn build(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(source).size_limit(MAX_PATTERN_SIZE).nest_limit(32).build().map_err(|error| match error
    {
        Error::CompiledTooBig(_) => "the regular expression is too large once it is compiled".to_owned(),
        // Its last line says what is wrong, those before draw it.
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("is no regular expression: {reason}")
        }
    })
}
