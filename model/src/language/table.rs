//! A TOML table that notes each mistake and goes on, and knows its keys from the language's table.

use super::{
    keys::{Durations, Integers, Key, Members, Percents, Sizes, Table, Words},
    mistake::Problems,
    quantity::{self, quoted},
};
use crate::nearest;
use std::{
    fmt::Display,
    ops::{Range, RangeInclusive},
    time::Duration,
};
use toml::de::{DeTable, DeValue};

/// A table of the file, or an absent one, in which nothing stands.
pub(crate) struct Section<'a> {
    table: Option<&'a DeTable<'a>>,
    path: String,
    span: Range<usize>,
    /// What may stand in it; `None` where the operator chooses the keys.
    keys: Option<&'static Table>,
    /// The whole file's table.
    language: &'static Table,
}

/// A value of the file with its place.
pub(crate) struct Value<'a> {
    value: &'a DeValue<'a>,
    /// Its key, with those of its tables before it.
    pub(crate) path: String,
    /// Its bytes in the text.
    pub(crate) span: Range<usize>,
    /// Its key's bytes in the text.
    pub(crate) key_span: Range<usize>,
    language: &'static Table,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn root(table: &'a DeTable<'a>, language: &'static Table) -> Self {
        Self { table: Some(table), path: String::new(), span: 0..0, keys: Some(language), language }
    }

    /// Whether the table stands in the file.
    pub(crate) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Its key.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Where it begins.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value under a key.
    pub(crate) fn get<V>(&self, key: &Key<V>) -> Option<Value<'a>> {
        self.named(key.name)
    }

    fn named(&self, name: &str) -> Option<Value<'a>> {
        let (key, value) = self.table?.get_key_value(name)?;
        let path = joined(&self.path, name);
        Some(self.value(path, key.span(), value))
    }

    fn value(
        &self,
        path: String,
        key_span: Range<usize>,
        value: &'a toml::Spanned<DeValue<'a>>,
    ) -> Value<'a> {
        Value { value: value.get_ref(), path, span: value.span(), key_span, language: self.language }
    }

    /// The value under a key; a mistake where there is none.
    pub(crate) fn required<V>(&self, key: &Key<V>, problems: &mut Problems<'_>) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.missing(key, problems);
        }
        value
    }

    fn missing<V>(&self, key: &Key<V>, problems: &mut Problems<'_>) {
        // It may stand where the text could not be read.
        if problems.doubtful() {
            return;
        }
        let (path, message) = (joined(&self.path, key.name), "is missing");
        match key.example() {
            Some(example) => {
                let hint = format!("write it like this: {example}");
                problems.add_with_hint(self.span.clone(), &path, message, hint);
            }
            None => problems.add(self.span.clone(), &path, message),
        }
    }

    /// The table under a key, an absent one where there is none.
    pub(crate) fn section(&self, key: &Key<&'static Table>, problems: &mut Problems<'_>) -> Section<'a> {
        self.below(key, Some(key.value), problems)
    }

    /// The table under a key whose own keys the operator chooses, an absent one where there is none.
    pub(crate) fn free<V>(&self, key: &Key<Members<V>>, problems: &mut Problems<'_>) -> Section<'a> {
        self.below(key, None, problems)
    }

    fn below<V>(
        &self,
        key: &Key<V>,
        keys: Option<&'static Table>,
        problems: &mut Problems<'_>,
    ) -> Section<'a> {
        let absent = Section {
            table: None,
            path: joined(&self.path, key.name),
            span: self.span.clone(),
            keys,
            language: self.language,
        };
        self.get(key).and_then(|value| value.section(keys, problems)).unwrap_or(absent)
    }

    /// The duration under a key, `default` where there is none.
    pub(crate) fn duration(
        &self,
        key: &Key<Durations>,
        default: Duration,
        problems: &mut Problems<'_>,
    ) -> Duration {
        let Durations(from, to) = key.value;
        self.get(key).and_then(|value| value.duration(&(from..=to), problems)).unwrap_or(default)
    }

    /// The duration under a key, where there is one.
    pub(crate) fn present_duration(
        &self,
        key: &Key<Durations>,
        problems: &mut Problems<'_>,
    ) -> Option<Duration> {
        let Durations(from, to) = key.value;
        self.get(key)?.duration(&(from..=to), problems)
    }

    /// The whole number under a key.
    pub(crate) fn integer<N>(&self, key: &Key<Integers<N>>, problems: &mut Problems<'_>) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + Display + Copy,
    {
        let Integers(from, to) = key.value;
        self.get(key)?.integer(&(from..=to), problems)
    }

    /// The size under a key, in bytes.
    pub(crate) fn bytes(&self, key: &Key<Sizes>, problems: &mut Problems<'_>) -> Option<u64> {
        let Sizes(from, to) = key.value;
        self.get(key)?.bytes(&(from..=to), problems)
    }

    /// The percentage under a key.
    pub(crate) fn percent(&self, key: &Key<Percents>, problems: &mut Problems<'_>) -> Option<u32> {
        let Percents(from, to) = key.value;
        self.get(key)?.percent(&(from..=to), problems)
    }

    /// One of the words under a key.
    pub(crate) fn choice<T: Copy>(&self, key: &Key<Words<T>>, problems: &mut Problems<'_>) -> Option<T> {
        self.get(key)?.choice(key.value, problems)
    }

    /// Refuses keys that exist but mean nothing here, because of what another key says.
    pub(crate) fn meaningless<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
        reason: &str,
        problems: &mut Problems<'_>,
    ) {
        // What the other key says may stand where the text could not be read.
        if problems.doubtful() {
            return;
        }
        for value in keys.into_iter().filter_map(|key| self.named(key)) {
            problems.add(value.key_span, &value.path, reason);
        }
    }

    /// Refuses every key that the language does not have here.
    pub(crate) fn refuse_unknown(&self, problems: &mut Problems<'_>) {
        let (Some(table), Some(keys)) = (self.table, self.keys) else { return };
        let known = keys.names();
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let path = joined(&self.path, name);
            match meant(name, keys, self.language, &known) {
                Some(hint) => problems.add_with_hint(key.span(), &path, "unknown key", hint),
                None => problems.add(key.span(), &path, "unknown key"),
            }
        }
    }

    /// Keys of the operator's own choice with their values, in the order of the text.
    pub(crate) fn members(&self) -> Vec<(&'a str, Value<'a>)> {
        let mut members: Vec<_> = self
            .table
            .into_iter()
            .flat_map(|table| table.iter())
            .map(|(key, value)| {
                let name = key.get_ref().as_ref();
                let path = joined(&self.path, name);
                (name, self.value(path, key.span(), value))
            })
            .collect();
        members.sort_by_key(|(_, value)| value.key_span.start);
        members
    }
}

impl<'a> Value<'a> {
    fn wrong_type(&self, expected: &str, problems: &mut Problems<'_>) {
        self.wrong_type_with_hint(expected, None, problems);
    }

    fn wrong_type_with_hint(&self, expected: &str, meant: Option<String>, problems: &mut Problems<'_>) {
        let found = self.value.type_str();
        let message = format!("expected {expected}, found {}", article(found));
        match meant {
            Some(meant) => {
                let hint = format!("did you mean {meant}?");
                problems.add_with_hint(self.span.clone(), &self.path, message, hint);
            }
            None => problems.add(self.span.clone(), &self.path, message),
        }
    }

    /// A whole number of the file with a unit behind it.
    fn with_unit(&self, unit: &str) -> Option<String> {
        let number = self.value.as_integer()?;
        number.as_str().bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("\"{number}{unit}\""))
    }

    pub(crate) fn section(
        &self,
        keys: Option<&'static Table>,
        problems: &mut Problems<'_>,
    ) -> Option<Section<'a>> {
        let table = self.value.as_table();
        if table.is_none() {
            self.wrong_type("a table", problems);
        }
        table.map(|table| Section {
            table: Some(table),
            path: self.path.clone(),
            span: self.span.clone(),
            keys,
            language: self.language,
        })
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// Its text, where it is one.
    pub(crate) fn str(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub(crate) fn text(&self, problems: &mut Problems<'_>) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => {
                self.wrong_type("a string", problems);
                None
            }
        }
    }

    /// A text that `read` makes something of.
    pub(crate) fn parsed<T, E: Display>(
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

    /// A text that `read` makes a quantity of; `meant` proposes another where it cannot.
    fn measured<T>(
        &self,
        meant: fn(&str) -> Option<String>,
        problems: &mut Problems<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(problems)?;
        match (read(text), meant(text)) {
            (Ok(value), _) => return Some(value),
            (Err(message), Some(meant)) if read(&meant).is_ok() => {
                let hint = format!("did you mean {meant:?}?");
                problems.add_with_hint(self.span.clone(), &self.path, message, hint);
            }
            (Err(message), _) => problems.add(self.span.clone(), &self.path, message),
        }
        None
    }

    pub(crate) fn duration(
        &self,
        range: &RangeInclusive<Duration>,
        problems: &mut Problems<'_>,
    ) -> Option<Duration> {
        if !self.value.is_str() {
            let expected = "a duration as a string, like \"5s\"";
            self.wrong_type_with_hint(expected, self.with_unit("s"), problems);
            return None;
        }
        self.measured(quantity::meant_duration, problems, |text| quantity::duration(text, range))
    }

    pub(crate) fn integer<N>(&self, range: &RangeInclusive<N>, problems: &mut Problems<'_>) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + Display,
    {
        let Some(integer) = self.value.as_integer() else {
            let digits = self.value.as_str().filter(|text| text.parse::<u32>().is_ok());
            self.wrong_type_with_hint("a whole number", digits.map(str::to_owned), problems);
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
    pub(crate) fn bytes(&self, range: &RangeInclusive<u64>, problems: &mut Problems<'_>) -> Option<u64> {
        if self.value.is_integer() {
            return self.integer(range, problems);
        }
        if !self.value.is_str() {
            self.wrong_type("a size: a number of bytes, or a string like \"512MiB\"", problems);
            return None;
        }
        self.measured(quantity::meant_size, problems, |text| match quantity::bytes(text) {
            Ok(bytes) if !range.contains(&bytes) => {
                Err(format!("{} is outside {} to {} bytes", quoted(text), range.start(), range.end()))
            }
            other => other,
        })
    }

    /// A string of a whole number and `%`, inside `range`.
    pub(crate) fn percent(&self, range: &RangeInclusive<u32>, problems: &mut Problems<'_>) -> Option<u32> {
        if !self.value.is_str() {
            let expected = "a percentage as a string, like \"25%\"";
            self.wrong_type_with_hint(expected, self.with_unit("%"), problems);
            return None;
        }
        self.parsed(problems, |text| quantity::percent(text, range))
    }

    /// A string of a number with decimals and `%`, inside `range`, in millionths.
    pub(crate) fn fraction(&self, range: &RangeInclusive<u32>, problems: &mut Problems<'_>) -> Option<u32> {
        if !self.value.is_str() {
            let expected = "a percentage as a string, like \"0.2%\"";
            self.wrong_type_with_hint(expected, self.with_unit("%"), problems);
            return None;
        }
        self.parsed(problems, |text| quantity::fraction(text, range))
    }

    pub(crate) fn choice<T: Copy>(&self, words: Words<T>, problems: &mut Problems<'_>) -> Option<T> {
        let text = self.text(problems)?;
        if let Some((_, value, _)) = words.0.iter().find(|(word, ..)| *word == text) {
            return Some(*value);
        }
        let words: Vec<&str> = words.0.iter().map(|(word, ..)| *word).collect();
        self.none_of(text, &words, &format!("is none of {}", words.join(", ")), problems);
        None
    }

    /// Notes that `text` is not among `words`, with the nearest of them.
    pub(crate) fn none_of(&self, text: &str, words: &[&str], what: &str, problems: &mut Problems<'_>) {
        let message = format!("{} {what}", quoted(text));
        match nearest(text, words) {
            Some(near) => {
                let hint = format!("did you mean {near:?}?");
                problems.add_with_hint(self.span.clone(), &self.path, message, hint);
            }
            None => problems.add(self.span.clone(), &self.path, message),
        }
    }

    /// The members of a list, `None` where it is no list.
    pub(crate) fn list(&self, problems: &mut Problems<'_>) -> Option<Vec<Value<'a>>> {
        let Some(array) = self.value.as_array() else {
            let words: Vec<&str> = self.str().unwrap_or_default().split_whitespace().collect();
            let meant = (1..=8).contains(&words.len()).then(|| format!("{words:?}"));
            self.wrong_type_with_hint("a list", meant, problems);
            return None;
        };
        let member = |(index, value): (usize, &'a toml::Spanned<DeValue<'a>>)| Value {
            value: value.get_ref(),
            path: format!("{}[{index}]", self.path),
            span: value.span(),
            key_span: self.key_span.clone(),
            language: self.language,
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

/// What an unknown key of a table is most likely meant to be: a near one of the table, or the same of another one.
fn meant(
    name: &str,
    table: &'static Table,
    language: &'static Table,
    known: &[&'static str],
) -> Option<String> {
    if let Some(near) = nearest(name, known) {
        return Some(format!("did you mean {near:?}?"));
    }
    let elsewhere: Vec<_> = language
        .all()
        .into_iter()
        .filter(|other| other.name != table.name && other.names().contains(&name))
        .map(|other| if other.name.is_empty() { "the top".to_owned() } else { format!("[{}]", other.name) })
        .collect();
    (!elsewhere.is_empty()).then(|| format!("it is a key of {}", elsewhere.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_bare_is_quoted_in_its_path() {
        assert_eq!(joined("environment", "A B"), "environment.\"A B\"");
        assert_eq!(joined("", "service"), "service");
    }
}
