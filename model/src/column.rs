//! Columns of a database, as code uses them and migrations take them away.

use crate::{SchemaRange, SchemaVersion};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt, str::FromStr};

/// Longest name of anything that PostgreSQL keeps, in bytes (`NAMEDATALEN` - 1); it cuts the rest off without an error.
pub const MAX_NAME_BYTES: usize = 63;
/// The schema of what is written without one.
const PUBLIC: &str = "public";

/// Columns of a PostgreSQL database: one, all of a table or a view, all of a schema, or all: `customers.email`,
/// `billing.invoices.total`, `customers.*`, `billing.*.*`, `*.*.*`. Without a schema it is `public`.
///
/// Names are as SQL writes them: in any case, which counts for nothing, or in double quotes, where it does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ColumnPattern(Of);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Of {
    All,
    Schema(String),
    Table(String, String),
    Column(String, String, String),
}

/// Text that names no columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no columns: {problem}; write TABLE.COLUMN or SCHEMA.TABLE.COLUMN, with `*` for all columns of a table"
)]
pub struct ColumnPatternError {
    /// The text, at most 200 characters of it.
    text: String,
    problem: &'static str,
}

impl ColumnPattern {
    /// All columns that there are.
    pub const ALL: Self = Self(Of::All);

    /// All columns of a schema. Names here and in what follows are as SQL has them behind its quotes, of any length: PostgreSQL
    /// keeps the first 63 bytes. What has a name that is not written here is in the wider pattern that it becomes.
    #[must_use]
    pub fn of_schema(schema: &str) -> Self {
        Self(kept(schema).map_or(Of::All, Of::Schema))
    }

    /// All columns of a table; a schema that is not given is `public`.
    #[must_use]
    pub fn of_table(schema: Option<&str>, table: &str) -> Self {
        let schema = schema.unwrap_or(PUBLIC);
        match (kept(schema), kept(table)) {
            (Some(schema), Some(table)) => Self(Of::Table(schema, table)),
            _ => Self::of_schema(schema),
        }
    }

    /// One column; a schema that is not given is `public`.
    #[must_use]
    pub fn column(schema: Option<&str>, table: &str, column: &str) -> Self {
        match (Self::of_table(schema, table), kept(column)) {
            (Self(Of::Table(schema, table)), Some(column)) => Self(Of::Column(schema, table, column)),
            (wider, _) => wider,
        }
    }

    /// Whether it is of the schema `public` alone, which is where what is written without a schema mostly is.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.parts()[0] == Some(PUBLIC)
    }

    /// Whether there can be a column that both mean.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.parts(), other.parts());
        let alike =
            |(our, their): (Option<&str>, Option<&str>)| our.is_none() || their.is_none() || our == their;
        ours.into_iter().zip(theirs).all(alike)
    }

    /// The next larger one that has all of it: a column's table, a table's schema, everything.
    #[must_use]
    pub fn wider(&self) -> Self {
        Self(match &self.0 {
            Of::Column(schema, table, _) => Of::Table(schema.clone(), table.clone()),
            Of::Table(schema, _) => Of::Schema(schema.clone()),
            Of::Schema(_) | Of::All => Of::All,
        })
    }

    fn parts(&self) -> [Option<&str>; 3] {
        match &self.0 {
            Of::All => [None; 3],
            Of::Schema(schema) => [Some(schema), None, None],
            Of::Table(schema, table) => [Some(schema), Some(table), None],
            Of::Column(schema, table, column) => [Some(schema), Some(table), Some(column)],
        }
    }
}

impl FromStr for ColumnPattern {
    type Err = ColumnPatternError;

    fn from_str(text: &str) -> Result<Self, ColumnPatternError> {
        let wrong = |problem| ColumnPatternError { text: text.chars().take(200).collect(), problem };
        let mut parts = parts(text).map_err(wrong)?;
        if parts.len() == 2 {
            parts.insert(0, Some(PUBLIC.to_owned()));
        }
        let [schema, table, column]: [Option<String>; 3] =
            parts.try_into().map_err(|_| wrong("it has neither two nor three parts"))?;
        match (schema, table, column) {
            (None, None, None) => Ok(Self(Of::All)),
            (Some(schema), None, None) => Ok(Self(Of::Schema(schema))),
            (Some(schema), Some(table), None) => Ok(Self(Of::Table(schema, table))),
            (Some(schema), Some(table), Some(column)) => Ok(Self(Of::Column(schema, table, column))),
            (_, _, _) => Err(wrong("behind a `*` there is nothing but `*`")),
        }
    }
}

/// The first of the columns that code uses which it has not any more from the version on that takes some away. What is gone
/// before the first version that it works with, it was written without; and what is gone with that very version it was mostly
/// as well, unless it names that very column.
#[must_use]
pub fn lost_of<'u>(
    uses: &'u [ColumnPattern],
    reads: SchemaRange,
    at: SchemaVersion,
    gone: &ColumnPattern,
) -> Option<&'u ColumnPattern> {
    let is_lost = |used: &&ColumnPattern| match at.cmp(&reads.first()) {
        Ordering::Less => false,
        Ordering::Equal => matches!(gone.0, Of::Column(..)) && *used == gone,
        Ordering::Greater => used.meets(gone),
    };
    uses.iter().find(is_lost)
}

/// A name as PostgreSQL keeps it; `None` for one that nobody writes.
fn kept(name: &str) -> Option<String> {
    let end = (0..=MAX_NAME_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.get(..end).filter(|name| !name.is_empty() && !name.chars().any(char::is_control)).map(str::to_owned)
}

/// The parts between the dots; `None` for `*`.
fn parts(text: &str) -> Result<Vec<Option<String>>, &'static str> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, behind) = part(rest)?;
        parts.push(part);
        match behind.strip_prefix('.') {
            Some(behind) => rest = behind,
            None if behind.is_empty() => return Ok(parts),
            None => return Err("what is no letter, digit, `_` or `$` stands in double quotes"),
        }
    }
}

/// The first part, and what stands behind it.
fn part(text: &str) -> Result<(Option<String>, &str), &'static str> {
    if let Some(behind) = text.strip_prefix('*') {
        return Ok((None, behind));
    }
    let (name, behind) = match text.strip_prefix('"') {
        Some(quoted) => in_quotes(quoted)?,
        None => {
            let end = text.find(|c: char| !is_plain(c)).unwrap_or(text.len());
            let (name, behind) = text.split_at(end);
            if name.starts_with(|c: char| c.is_ascii_digit() || c == '$') {
                return Err("a name that begins with a digit stands in double quotes");
            }
            (name.to_ascii_lowercase(), behind)
        }
    };
    match name.len() {
        0 => Err("a part of it is empty"),
        1..=MAX_NAME_BYTES => Ok((Some(name), behind)),
        _ => Err("a name has more than 63 bytes"),
    }
}

/// A name whose first quote is read already.
fn in_quotes(text: &str) -> Result<(String, &str), &'static str> {
    let mut name = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if chars.next_if(|(_, next)| *next == '"').is_some() => name.push('"'),
            '"' => return Ok((name, text.get(at + 1..).unwrap_or_default())),
            c if c.is_control() => return Err("it has a control character"),
            c => name.push(c),
        }
    }
    Err("a quote is not closed")
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii() && c.is_alphanumeric()
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        let skipped = usize::from(parts[0] == Some(PUBLIC) && parts[1].is_some());
        for (at, part) in parts.into_iter().enumerate().skip(skipped) {
            if at > skipped {
                f.write_str(".")?;
            }
            match part {
                None => f.write_str("*")?,
                Some(name) if is_written_plainly(name) => f.write_str(name)?,
                Some(name) => write!(f, "\"{}\"", name.replace('"', "\"\""))?,
            }
        }
        Ok(())
    }
}

fn is_written_plainly(name: &str) -> bool {
    let plain = |c: char| c == '_' || c.is_ascii_lowercase();
    name.starts_with(plain) && name.chars().all(|c| plain(c) || c.is_ascii_digit())
}

impl TryFrom<String> for ColumnPattern {
    type Error = ColumnPatternError;

    fn try_from(text: String) -> Result<Self, ColumnPatternError> {
        text.parse()
    }
}

impl From<ColumnPattern> for String {
    fn from(pattern: ColumnPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ColumnPattern {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_those_of_sql() {
        for (text, same) in [
            ("customers.email", "customers.email"),
            ("Public.Customers.EMail", "customers.email"),
            ("\"Customers\".\"e-mail\"", "\"Customers\".\"e-mail\""),
            ("a.\"say \"\"x\"\".y\"", "a.\"say \"\"x\"\".y\""),
            ("billing.invoices.*", "billing.invoices.*"),
            ("billing.*.*", "billing.*.*"),
            ("public.*.*", "public.*.*"),
            ("*.*", "public.*.*"),
            ("*.*.*", "*.*.*"),
            ("kunden.größe", "kunden.\"größe\""),
        ] {
            assert_eq!(pattern(text).to_string(), same, "{text}");
            assert_eq!(pattern(same), pattern(text), "{text}");
        }
        assert_eq!(pattern("a.b"), ColumnPattern::column(None, "a", "b"));
        assert_eq!(pattern("a.*"), ColumnPattern::of_table(Some("public"), "a"));
        assert_eq!(pattern("a.*.*"), ColumnPattern::of_schema("a"));
    }

    #[test]
    fn what_names_no_columns_is_refused_with_its_reason() {
        let long = format!("a.{}", "x".repeat(64));
        for (text, why) in [
            ("customers", "neither two nor three parts"),
            ("a.b.c.d", "neither two nor three parts"),
            ("", "is empty"),
            ("a.", "is empty"),
            (".a", "is empty"),
            ("*.b", "nothing but `*`"),
            ("a.*.c", "nothing but `*`"),
            ("*", "neither two nor three parts"),
            ("a.b c", "in double quotes"),
            ("a.b*", "in double quotes"),
            ("a.1b", "begins with a digit"),
            ("a.\"b", "not closed"),
            ("a.\"\"", "is empty"),
            ("a.\"b\nc\"", "control character"),
            (&long, "more than 63 bytes"),
        ] {
            let error = text.parse::<ColumnPattern>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn whatever_name_a_database_has_the_pattern_can_be_read_again() {
        let long = "x".repeat(64);
        for (made, written) in [
            (ColumnPattern::column(None, &long, "a"), format!("{}.a", &long[..63])),
            (ColumnPattern::column(None, "t", &"ä".repeat(32)), format!("t.\"{}\"", "ä".repeat(31))),
            (ColumnPattern::column(None, "a\tb", "c"), "public.*.*".to_owned()),
            (ColumnPattern::column(None, "t", "a\nb"), "t.*".to_owned()),
            (ColumnPattern::column(None, "t", ""), "t.*".to_owned()),
            (ColumnPattern::of_schema("\u{1b}"), "*.*.*".to_owned()),
            (
                ColumnPattern::column(Some("*"), "a.b", "say \"x\""),
                "\"*\".\"a.b\".\"say \"\"x\"\"\"".to_owned(),
            ),
        ] {
            assert_eq!(made.to_string(), written);
            assert_eq!(pattern(&written), made);
        }
    }

    #[test]
    fn what_is_gone_is_lost_by_code_that_was_written_with_it() {
        let lost = |uses: &str, reads: &str, at: u32, gone: &str| {
            let uses = [pattern(uses)];
            lost_of(&uses, reads.parse().unwrap(), SchemaVersion::new(at), &pattern(gone)).is_some()
        };
        assert!(lost("a.b", "1..=29", 20, "a.b") && lost("a.*", "1..=29", 20, "a.b"));
        assert!(!lost("a.b", "1..=29", 20, "a.c") && !lost("a.b", "21..=29", 20, "a.b"));
        assert!(lost("a.b", "20..=29", 20, "a.b"), "it says that it is written without and with it");
        assert!(!lost("a.*", "20..=29", 20, "a.b") && !lost("a.b", "20..=29", 20, "a.*"));
        assert!(!lost("a.*", "20..=29", 20, "a.*"), "there may be another in its place");
    }

    #[test]
    fn patterns_meet_where_a_column_can_be_of_both() {
        let meets = |a: &str, b: &str| {
            assert_eq!(pattern(a).meets(&pattern(b)), pattern(b).meets(&pattern(a)));
            pattern(a).meets(&pattern(b))
        };
        assert!(meets("a.b", "public.a.b") && meets("a.b", "a.*") && meets("a.b", "*.*.*"));
        assert!(meets("a.*", "a.*") && meets("s.a.b", "s.*.*"));
        assert!(
            !meets("a.b", "a.c") && !meets("a.b", "s.a.b") && !meets("a.*", "b.*") && !meets("a.b", "s.*.*")
        );
    }

    #[test]
    fn a_wider_one_has_all_of_it() {
        let mut one = pattern("s.a.b");
        for wider in ["s.a.*", "s.*.*", "*.*.*", "*.*.*"] {
            assert!(one.wider().meets(&one));
            one = one.wider();
            assert_eq!(one, pattern(wider));
        }
    }
}
