//! Reading of a file whose values other crates know how to check.

use super::{
    keys::{Key, Text, Words},
    mistake::{Mistakes, Problems},
    table::{Section, Value},
    text::{self, FileKind},
};
use std::fmt::Display;

/// A value of a file, and the line that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated<T> {
    /// The value.
    pub value: T,
    /// Its line, counted from 1.
    pub line: u32,
}

impl<T> Stated<T> {
    /// The same of another kind.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Stated<U> {
        Stated { value: change(self.value), line: self.line }
    }
}

/// The top of a file while it is read: every key is asked for, and every mistake is noted.
pub struct Reading<'s, 'p, 't> {
    section: &'s Section<'s>,
    problems: &'p mut Problems<'t>,
}

impl Reading<'_, '_, '_> {
    /// Reads a file as it is on the disk. `read` asks for each key, and makes `None` only where one is wrong or missing.
    ///
    /// # Errors
    /// Everything that is wrong, at once: what is too long or no UTF-8, mistakes of syntax, unknown and missing keys,
    /// and what `read` does not take.
    pub fn of<T>(
        bytes: &[u8],
        kind: &FileKind,
        read: impl FnOnce(&mut Reading<'_, '_, '_>) -> Option<T>,
    ) -> Result<T, Mistakes> {
        text::read(text::text(bytes, kind)?, kind, |section, problems| {
            section.refuse_unknown(problems);
            read(&mut Reading { section, problems })
        })
    }

    /// What `parse` makes of the text under a key; `None` where there is none or a wrong one.
    pub fn text<T, E: Display>(
        &mut self,
        key: &Key<Text>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Stated<T>> {
        let value = self.section.get(key)?;
        self.parsed(&value, parse)
    }

    /// The same of a key that must not be left out.
    pub fn required<T, E: Display>(
        &mut self,
        key: &Key<Text>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Stated<T>> {
        let value = self.section.required(key, self.problems)?;
        self.parsed(&value, parse)
    }

    /// One of the words under a key.
    pub fn word<T: Copy>(&mut self, key: &Key<Words<T>>) -> Option<Stated<T>> {
        let value = self.section.get(key)?;
        let line = self.problems.place(value.span.clone()).line;
        value.choice(key.value, self.problems).map(|value| Stated { value, line })
    }

    fn parsed<T, E: Display>(
        &mut self,
        value: &Value<'_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Stated<T>> {
        let line = self.problems.place(value.span.clone()).line;
        value.parsed(self.problems, parse).map(|value| Stated { value, line })
    }
}
