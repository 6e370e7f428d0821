//! What a table of keys is made of: keys, what may stand under each, what holds without it, what it is for.
//!
//! Each kind of file has one such table. Its reader takes names, ranges and words from it, and refuses what does not
//! stand in it; schema and reference are made from it.

use super::quantity::{fraction_written as fraction, written};
use std::{fmt, time::Duration};

/// A table of a file with the keys that it knows.
pub struct Table {
    /// Its name as a person would write it: `drain`. Empty for the file itself.
    pub name: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    pub(crate) keys: &'static [&'static dyn Described],
    /// For tables whose keys depend on `kind`: the keys, besides those that all have, of each kind.
    pub(crate) kinds: fn() -> Vec<(&'static str, &'static [&'static str])>,
}

impl Table {
    /// Its keys, in the order in which a person would write them.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.keys.iter().map(|key| key.entry())
    }

    /// For tables whose keys depend on `kind`: each kind with the keys that only some kinds have. Empty elsewhere.
    #[must_use]
    pub fn kinds(&self) -> Vec<(&'static str, &'static [&'static str])> {
        (self.kinds)()
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name()).collect()
    }

    /// Every table that stands in this one, at any depth, itself first. One that may stand under several keys is there once.
    #[must_use]
    pub fn all(&'static self) -> Vec<&'static Self> {
        let mut tables = vec![self];
        for entry in self.entries() {
            entry.shape.tables(&mut tables);
        }
        let mut names = std::collections::BTreeSet::new();
        tables.retain(|table| names.insert(table.name));
        tables
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).field("keys", &self.names()).finish()
    }
}

/// One key, for whoever describes the language.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What may stand under it.
    pub shape: Shape,
    /// What holds where it is left out.
    pub absent: Absent,
    /// What it is for, as one or more sentences.
    pub meaning: &'static str,
}

/// What holds where a key is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// It must not be left out; how it may be written.
    Required(&'static str),
    /// The same as if this stood there, as TOML.
    Default(&'static str),
    /// What words say.
    Otherwise(&'static str),
}

/// What may stand under a key.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A string.
    Text(Text),
    /// A duration as a string: a whole number and one of ms, s, m, h.
    Duration(Duration, Duration),
    /// A whole number.
    Integer(u64, u64),
    /// A whole number of bytes, or a string of a whole number and one of B, KiB, MiB, GiB, TiB.
    Size(u64, u64),
    /// A string of a whole number and `%`.
    Percent(u32, u32),
    /// A string of a number with at most four decimals and `%`: from and to in millionths.
    Fraction(u32, u32),
    /// One of these words, each with its meaning.
    Words(Vec<(&'static str, &'static str)>),
    /// A list of texts.
    Texts(Text, usize),
    /// A list of 1 to so many of these.
    List(Box<Shape>, usize),
    /// Two whole numbers, the first not greater than the second.
    Range(u64, u64),
    /// A table with keys of its own.
    Table(&'static Table),
    /// A table whose keys the operator chooses: what they must be, what stands under each, and how many there may be.
    Members(Text, Box<Shape>, usize),
    /// One of these.
    Either(Vec<Shape>),
}

impl Shape {
    fn tables(&self, tables: &mut Vec<&'static Table>) {
        match self {
            Self::Table(table) => tables.extend(table.all()),
            Self::Members(_, member, _) | Self::List(member, _) => member.tables(tables),
            Self::Either(shapes) => shapes.iter().for_each(|shape| shape.tables(tables)),
            Self::Text(_)
            | Self::Duration(..)
            | Self::Integer(..)
            | Self::Size(..)
            | Self::Percent(..)
            | Self::Fraction(..)
            | Self::Words(_)
            | Self::Texts(..)
            | Self::Range(..) => {}
        }
    }
}

/// What a string must look like.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// In words.
    pub what: &'static str,
    /// As a regular expression (ECMA 262, which JSON Schema takes); it refuses no string that the reader takes.
    pub pattern: &'static str,
    /// Whether `{host.name}`, `{host.address}` and `{label.KEY}` stand for values of the host.
    pub placeholders: bool,
}

/// A key whose values the reader makes a `V` of.
pub struct Key<V> {
    pub(crate) name: &'static str,
    pub(crate) value: V,
    absent: Absent,
    meaning: &'static str,
}

pub(crate) const fn key<V>(name: &'static str, value: V, absent: Absent, meaning: &'static str) -> Key<V> {
    Key { name, value, absent, meaning }
}

impl<V> Key<V> {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How it may be written, where it must not be left out.
    pub(crate) fn example(&self) -> Option<&'static str> {
        match self.absent {
            Absent::Required(example) => Some(example),
            Absent::Default(_) | Absent::Otherwise(_) => None,
        }
    }
}

/// A key, whatever stands under it.
pub(crate) trait Described: Sync {
    fn name(&self) -> &'static str;
    fn entry(&self) -> Entry;
}

impl<V: Shaped + Sync> Described for Key<V> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn entry(&self) -> Entry {
        Entry { name: self.name, shape: self.value.shape(), absent: self.absent, meaning: self.meaning }
    }
}

/// What a kind of values looks like.
pub(crate) trait Shaped {
    fn shape(&self) -> Shape;
}

/// Durations from the first to the second.
#[derive(Clone, Copy)]
pub(crate) struct Durations(pub(crate) Duration, pub(crate) Duration);
/// Whole numbers from the first to the second.
#[derive(Clone, Copy)]
pub(crate) struct Integers<N>(pub(crate) N, pub(crate) N);
/// Sizes in bytes from the first to the second.
#[derive(Clone, Copy)]
pub(crate) struct Sizes(pub(crate) u64, pub(crate) u64);
/// Percentages from the first to the second.
#[derive(Clone, Copy)]
pub(crate) struct Percents(pub(crate) u32, pub(crate) u32);
/// Percentages with at most four decimals, from the first to the second, in millionths.
#[derive(Clone, Copy)]
pub(crate) struct Fractions(pub(crate) u32, pub(crate) u32);
/// A list of at least one and at most so many values.
#[derive(Clone, Copy)]
pub(crate) struct Listed<V>(pub(crate) V, pub(crate) usize);
/// One of some words: what is written, what it means to the program, what it means to a person.
#[derive(Clone, Copy)]
pub struct Words<T: 'static>(pub(crate) &'static [(&'static str, T, &'static str)]);
/// Either of two kinds of values.
#[derive(Clone, Copy)]
pub(crate) struct Either<A, B>(pub(crate) A, pub(crate) B);
/// A list of texts, at most so many.
#[derive(Clone, Copy)]
pub(crate) struct Texts(pub(crate) Text, pub(crate) usize);
/// The first and the last of some whole numbers.
#[derive(Clone, Copy)]
pub(crate) struct FirstAndLast(pub(crate) u16, pub(crate) u16);
/// A table whose keys the operator chooses.
#[derive(Clone, Copy)]
pub(crate) struct Members<V>(pub(crate) Text, pub(crate) V, pub(crate) usize);

impl Shaped for Durations {
    fn shape(&self) -> Shape {
        Shape::Duration(self.0, self.1)
    }
}

impl<N: Copy + Into<u64>> Shaped for Integers<N> {
    fn shape(&self) -> Shape {
        Shape::Integer(self.0.into(), self.1.into())
    }
}

impl Shaped for Sizes {
    fn shape(&self) -> Shape {
        Shape::Size(self.0, self.1)
    }
}

impl Shaped for Percents {
    fn shape(&self) -> Shape {
        Shape::Percent(self.0, self.1)
    }
}

impl Shaped for Fractions {
    fn shape(&self) -> Shape {
        Shape::Fraction(self.0, self.1)
    }
}

impl<V: Shaped> Shaped for Listed<V> {
    fn shape(&self) -> Shape {
        Shape::List(Box::new(self.0.shape()), self.1)
    }
}

impl<T> Shaped for Words<T> {
    fn shape(&self) -> Shape {
        Shape::Words(self.0.iter().map(|(word, _, meaning)| (*word, *meaning)).collect())
    }
}

impl<A: Shaped, B: Shaped> Shaped for Either<A, B> {
    fn shape(&self) -> Shape {
        Shape::Either(vec![self.0.shape(), self.1.shape()])
    }
}

impl Shaped for Text {
    fn shape(&self) -> Shape {
        Shape::Text(*self)
    }
}

impl Shaped for Texts {
    fn shape(&self) -> Shape {
        Shape::Texts(self.0, self.1)
    }
}

impl Shaped for FirstAndLast {
    fn shape(&self) -> Shape {
        Shape::Range(self.0.into(), self.1.into())
    }
}

impl Shaped for &'static Table {
    fn shape(&self) -> Shape {
        Shape::Table(self)
    }
}

impl<V: Shaped> Shaped for Members<V> {
    fn shape(&self) -> Shape {
        Shape::Members(self.0, Box::new(self.1.shape()), self.2)
    }
}

impl fmt::Display for Shape {
    /// In words, as the reference has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text.what),
            Self::Duration(from, to) => write!(f, "duration, {} to {}", written(*from), written(*to)),
            Self::Integer(from, to) => write!(f, "whole number, {from} to {to}"),
            Self::Size(from, to) => write!(f, "size, {} to {}", size(*from), size(*to)),
            Self::Percent(from, to) => write!(f, "percentage, {from}% to {to}%"),
            Self::Fraction(from, to) => {
                write!(f, "percentage, {} to {}", fraction(*from), fraction(*to))
            }
            Self::List(member, most) => write!(f, "list of 1 to {most}: {member}"),
            Self::Words(words) => {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
                write!(f, "{}", words.join(", "))
            }
            Self::Texts(text, most) => write!(f, "list of 1 to {most} texts: {}", text.what),
            Self::Range(from, to) => {
                write!(f, "list of two whole numbers, {from} to {to}, the smaller first")
            }
            Self::Table(table) => {
                write!(f, "table with the keys of [{}](#{})", table.name, anchor(table.name))
            }
            Self::Members(key, member, most) => {
                write!(
                    f,
                    "table of at most {most} keys of your own choice ({}); under each: {member}",
                    key.what
                )
            }
            Self::Either(shapes) => {
                let shapes: Vec<_> = shapes.iter().map(ToString::to_string).collect();
                write!(f, "{}", shapes.join("; or "))
            }
        }
    }
}

fn anchor(name: &str) -> String {
    name.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect()
}

/// A size in the largest unit that writes it whole.
fn size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}
