//! A TOML table that notes each mistake and goes on, and knows which keys were asked for.

use super::{
    error::Problems,
    quantity::{self, quoted},
};
use std::{fmt::Display, ops::Range, ops::RangeInclusive, time::Duration};
use toml::de::{DeTable, DeValue};

/// A table of the manifest, or an absent one, in which nothing stands.
pub(super) struct Section<'a> {
    table: Option<&'a DeTable<'a>>,
    path: String,
    span: Range<usize>,
    known: Vec<&'static str>,
}

/// A value of the manifest with its place.
pub(super) struct Value<'a> {
    value: &'a DeValue<'a>,
    /// Its key, with those of its tables before it.
    pub(super) path: String,
    /// Its bytes in the text.
    pub(super) span: Range<usize>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>) -> Self {
        Self { table: Some(table), path: String::new(), span: 0..0, known: Vec::new() }
    }

    /// Whether the table stands in the file.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Its key.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where it begins.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value under `key`, which is known from now on.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table?.get(key)?;
        Some(Value { value: value.get_ref(), path: joined(&self.path, key), span: value.span() })
    }

    /// The value under `key`; a mistake where there is none.
    pub(super) fn required(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            problems.add(self.span.start..self.span.start, &joined(&self.path, key), "is missing");
        }
        value
    }

    /// The table under `key`, an absent one where there is none.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Section<'a> {
        let absent = Section {
            table: None,
            path: joined(&self.path, key),
            span: self.span.clone(),
            known: Vec::new(),
        };
        self.get(key).and_then(|value| value.section(problems)).unwrap_or(absent)
    }

    /// The duration under `key`, `default` where there is none.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
        problems: &mut Problems<'_>,
    ) -> Duration {
        self.get(key).and_then(|value| value.duration(&range, problems)).unwrap_or(default)
    }

    /// The whole number under `key`.
    pub(super) fn integer<N>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
        problems: &mut Problems<'_>,
    ) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + Display,
    {
        self.get(key)?.integer(&range, problems)
    }

    /// One of the words under `key`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        self.get(key)?.choice(choices, problems)
    }

    /// Refuses keys that exist but mean nothing here.
    pub(super) fn meaningless(&mut self, keys: &[&'static str], reason: &str, problems: &mut Problems<'_>) {
        for key in keys {
            if let Some(value) = self.get(key) {
                problems.add(value.span, &value.path, reason);
            }
        }
    }

    /// Takes keys as known without reading them.
    pub(super) fn know(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// Refuses every key that nobody asked for.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let path = joined(&self.path, name);
            match nearest(name, &self.known) {
                Some(near) => {
                    problems.add_with_hint(
                        key.span(),
                        &path,
                        "unknown key",
                        format!("did you mean {near:?}?"),
                    );
                }
                None => problems.add(key.span(), &path, "unknown key"),
            }
        }
    }

    /// Keys of the user's own choice with their values, in the order of the text; the key's place comes third.
    pub(super) fn members(&self) -> Vec<(&'a str, Value<'a>, Range<usize>)> {
        let mut members: Vec<_> = self
            .table
            .into_iter()
            .flat_map(|table| table.iter())
            .map(|(key, value)| {
                let name = key.get_ref().as_ref();
                let path = joined(&self.path, name);
                (name, Value { value: value.get_ref(), path, span: value.span() }, key.span())
            })
            .collect();
        members.sort_by_key(|(_, _, span)| span.start);
        members
    }
}

impl<'a> Value<'a> {
    fn wrong_type(&self, expected: &str, problems: &mut Problems<'_>) {
        let found = self.value.type_str();
        problems.add(self.span.clone(), &self.path, format!("expected {expected}, found {}", article(found)));
    }

    pub(super) fn section(&self, problems: &mut Problems<'_>) -> Option<Section<'a>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.wrong_type("a table", problems);
        }
        let section = |table| Section {
            table: Some(table),
            path: self.path.clone(),
            span: self.span.clone(),
            known: Vec::new(),
        };
        table.map(section)
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(super) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    pub(super) fn text(&self, problems: &mut Problems<'_>) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => {
                self.wrong_type("a string", problems);
                None
            }
        }
    }

    /// A text that `read` makes something of.
    pub(super) fn parsed<T, E: Display>(
        &self,
        problems: &mut Problems<'_>,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match read(self.text(problems)?) {
            Ok(value) => Some(value),
            Err(error) => {
                problems.add(self.span.clone(), &self.path, error.to_string());
                None
            }
        }
    }

    pub(super) fn duration(
        &self,
        range: &RangeInclusive<Duration>,
        problems: &mut Problems<'_>,
    ) -> Option<Duration> {
        if !self.value.is_str() {
            self.wrong_type("a duration as a string, like \"5s\"", problems);
            return None;
        }
        self.parsed(problems, |text| quantity::duration(text, range))
    }

    pub(super) fn integer<N>(&self, range: &RangeInclusive<N>, problems: &mut Problems<'_>) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + Display,
    {
        let Some(integer) = self.value.as_integer() else {
            self.wrong_type("a whole number", problems);
            return None;
        };
        let number =
            i128::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|n| N::try_from(n).ok());
        let inside = number.filter(|number| range.contains(number));
        if inside.is_none() {
            let message = format!("{integer} is outside {} to {}", range.start(), range.end());
            problems.add(self.span.clone(), &self.path, message);
        }
        inside
    }

    /// A size in bytes: a whole number, or one with a unit as a string; inside `range`.
    pub(super) fn bytes(&self, range: &RangeInclusive<u64>, problems: &mut Problems<'_>) -> Option<u64> {
        if self.value.is_integer() {
            return self.integer(range, problems);
        }
        if !self.value.is_str() {
            self.wrong_type("a size: a number of bytes, or a string like \"512MiB\"", problems);
            return None;
        }
        self.parsed(problems, |text| match quantity::bytes(text) {
            Ok(bytes) if !range.contains(&bytes) => {
                Err(format!("{} is outside {} to {} bytes", quoted(text), range.start(), range.end()))
            }
            other => other,
        })
    }

    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)], problems: &mut Problems<'_>) -> Option<T> {
        let text = self.text(problems)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let message = format!("{} is none of {}", quoted(text), words.join(", "));
        match nearest(text, &words) {
            Some(near) => {
                problems.add_with_hint(
                    self.span.clone(),
                    &self.path,
                    message,
                    format!("did you mean {near:?}?"),
                );
            }
            None => problems.add(self.span.clone(), &self.path, message),
        }
        None
    }

    /// The members of a list, `None` where it is no list.
    pub(super) fn list(&self, problems: &mut Problems<'_>) -> Option<Vec<Value<'a>>> {
        let Some(array) = self.value.as_array() else {
            self.wrong_type("a list", problems);
            return None;
        };
        let member = |(index, value): (usize, &'a toml::Spanned<DeValue<'a>>)| Value {
            value: value.get_ref(),
            path: format!("{}[{index}]", self.path),
            span: value.span(),
        };
        Some(array.iter().enumerate().map(member).collect())
    }
}

fn article(kind: &str) -> String {
    match kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        true => format!("an {kind}"),
        false => format!("a {kind}"),
    }
}

/// `a` and `b` as `a.b`; `b` is quoted where TOML would ask for it.
fn joined(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let key = if bare { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// The known word that `text` is most likely meant to be, if any is near.
fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    if text.len() > 40 {
        return None;
    }
    let scored = words.iter().map(|word| (distance(text, word), *word));
    let (distance, word) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.len() / 4).then_some(word)
}

/// How many characters must be put in, taken out or replaced to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_only_where_it_is_near() {
        let words = ["listeners", "liveness", "limits", "logs"];
        assert_eq!(nearest("listener", &words), Some("listeners"));
        assert_eq!(nearest("log", &words), Some("logs"));
        assert_eq!(nearest("database", &words), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_key_that_is_not_bare_is_quoted_in_its_path() {
        assert_eq!(joined("environment", "A B"), "environment.\"A B\"");
        assert_eq!(joined("", "service"), "service");
    }
}
