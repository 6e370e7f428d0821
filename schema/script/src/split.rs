//! A text of SQL taken apart into statements, by the tokenizer of a parser and not by looking for semicolons.
//!
//! Where the tokenizer and the database disagree, the database has the last word: PostgreSQL is given each statement by itself in
//! a way in which it refuses two, so that no statement gets there hidden in another.

use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Token, Tokenizer, Whitespace};

use crate::Kind;
use crate::directive::{Directive, directive};

/// Most statements of a file.
pub const MOST_STATEMENTS: usize = 10_000;

/// One statement of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text, without the semicolon and without what stands before its first word.
    pub text: String,
    /// The line on which it begins.
    pub line: usize,
    /// The byte of the file at which it begins, behind a byte order mark.
    pub(crate) at: usize,
    /// Its first words and signs, for looking at what it does.
    pub start: Vec<Piece>,
    /// Where `:first` and `:last` stand in the text, in capitals or not.
    pub holes: Vec<Hole>,
}

/// What a statement is made of, as far as anybody here looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A word as it was written, without quotes, and whether it had some.
    Word(String, bool),
    /// A dot, a bracket, a comma, a colon or a semicolon.
    Sign(&'static str),
    /// Anything else: a value, an operator.
    Other,
}

impl Piece {
    /// The word in capitals, if it is one that was not quoted.
    #[must_use]
    pub fn keyword(&self) -> Option<String> {
        match self {
            Self::Word(word, false) => Some(word.to_ascii_uppercase()),
            _ => None,
        }
    }
}

/// A place in a statement where one end of a batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Its first byte in the statement's text.
    pub from: usize,
    /// The byte behind it.
    pub to: usize,
    /// Whether it is `:last`.
    pub last: bool,
}

/// Why a text cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SplitError {
    /// Where.
    pub line: usize,
    /// What stands there, and what to do.
    pub what: String,
}

fn wrong(line: usize, what: impl Into<String>) -> SplitError {
    SplitError { line, what: what.into() }
}

/// What a comment says to the runner.
#[derive(Debug)]
pub(crate) struct Remark {
    pub(crate) line: usize,
    /// The byte at which the comment begins.
    pub(crate) at: usize,
    pub(crate) order: String,
}

/// What was found in a text.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its statements, in their order.
    pub(crate) statements: Vec<Statement>,
    /// What comments say to the runner.
    pub(crate) remarks: Vec<Remark>,
}

/// Takes a text apart.
pub(crate) fn split(kind: Kind, text: &str) -> Result<Found, SplitError> {
    let dialect: &dyn Dialect = match kind {
        Kind::Postgres => &PostgreSqlDialect {},
        Kind::MySql => &MySqlDialect {},
        Kind::Sqlite => &SQLiteDialect {},
    };
    if let Some(at) = text.find('\0') {
        return Err(wrong(
            text[..at].matches('\n').count() + 1,
            "a NUL byte stands there: no database takes it",
        ));
    }
    let tokens = Tokenizer::new(dialect, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|error| wrong(usize::try_from(error.location.line).unwrap_or(usize::MAX), error.message))?;
    let mut places = Places::new(text);
    let (mut statements, mut remarks) = (Vec::new(), Vec::new());
    let mut open = Open::default();
    for token in &tokens {
        let (from, to) = (places.offset(token.span.start), places.offset(token.span.end));
        let (Some(from), Some(to)) = (from, to) else {
            // Spans run backwards only inside of a comment that MySQL executes.
            return Err(wrong(
                line_of(token.span.start),
                "a comment that the database executes (/*! ... */): write what it says as a statement",
            ));
        };
        let piece = piece_of(&token.token);
        match &token.token {
            Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)) => {
                let comment = text.get(from..to).unwrap_or_default();
                if let Some(Directive::Runner(order)) = directive(comment) {
                    remarks.push(Remark {
                        line: line_of(token.span.start),
                        at: from,
                        order: order.to_owned(),
                    });
                }
            }
            Token::Whitespace(_) | Token::EOF => {}
            Token::CopyData { .. } => {
                return Err(wrong(
                    line_of(token.span.start),
                    "COPY FROM STDIN with its data in the file is psql's: write INSERT",
                ));
            }
            Token::Backslash if open.pieces.is_empty() => {
                return Err(wrong(line_of(token.span.start), "a command of psql: only SQL is applied here"));
            }
            Token::SemiColon if text.get(from..to) != Some(";") => {
                return Err(wrong(
                    line_of(token.span.start),
                    "a semicolon in a comment that the database executes (/*! ... */): write a statement of its own",
                ));
            }
            Token::SemiColon if !open.inside(kind) => {
                statements.extend(std::mem::take(&mut open).close(text));
                if statements.len() > MOST_STATEMENTS {
                    return Err(wrong(
                        line_of(token.span.start),
                        format!("more than {MOST_STATEMENTS} statements: make several files"),
                    ));
                }
            }
            _ => open.take(piece, &token.token, from, to, line_of(token.span.start)),
        }
    }
    if open.inside(kind) {
        return Err(wrong(open.line, "a body that begins with BEGIN has no END"));
    }
    statements.extend(open.close(text));
    Ok(Found { statements, remarks })
}

fn line_of(location: Location) -> usize {
    usize::try_from(location.line).unwrap_or(usize::MAX)
}

fn piece_of(token: &Token) -> Piece {
    match token {
        Token::Word(word) => Piece::Word(word.value.clone(), word.quote_style.is_some()),
        Token::Period => Piece::Sign("."),
        Token::LParen => Piece::Sign("("),
        Token::RParen => Piece::Sign(")"),
        Token::Comma => Piece::Sign(","),
        Token::Colon => Piece::Sign(":"),
        Token::SemiColon => Piece::Sign(";"),
        _ => Piece::Other,
    }
}

/// Byte offsets of places that are told as lines and columns, asked for in ascending order.
struct Places<'a> {
    rest: std::iter::Peekable<std::str::CharIndices<'a>>,
    length: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.char_indices().peekable(), length: text.len(), line: 1, column: 1 }
    }

    fn offset(&mut self, place: Location) -> Option<usize> {
        while (self.line, self.column) < (place.line, place.column) {
            match self.rest.next()?.1 {
                '\n' => (self.line, self.column) = (self.line + 1, 1),
                _ => self.column += 1,
            }
        }
        ((self.line, self.column) == (place.line, place.column))
            .then(|| self.rest.peek().map_or(self.length, |(offset, _)| *offset))
    }
}

/// The statement that is being read.
#[derive(Default)]
struct Open {
    from: usize,
    to: usize,
    line: usize,
    pieces: Vec<Piece>,
    depth: usize,
    holes: Vec<(usize, usize, bool)>,
    colon: Option<usize>,
}

/// No more of a statement is kept for looking at it; bodies of routines are long.
const MOST_PIECES: usize = 4096;

impl Open {
    fn take(&mut self, piece: Piece, token: &Token, from: usize, to: usize, line: usize) {
        if self.pieces.is_empty() {
            (self.from, self.line) = (from, line);
        }
        self.to = to;
        let word = piece.keyword();
        match (word.as_deref(), self.colon.take()) {
            (Some(end @ ("FIRST" | "LAST")), Some(colon)) if colon + 1 == from => {
                self.holes.push((colon, to, end == "LAST"));
            }
            _ => {}
        }
        match token {
            Token::Colon => self.colon = Some(from),
            Token::Placeholder(name) if matches!(name.to_ascii_lowercase().as_str(), ":first" | ":last") => {
                self.holes.push((from, to, name.eq_ignore_ascii_case(":last")));
            }
            _ => {}
        }
        let ended = self.pieces.last().and_then(Piece::keyword).is_some_and(|word| word == "END");
        match word.as_deref() {
            Some("BEGIN" | "CASE") if !(ended && word.as_deref() == Some("CASE")) => self.depth += 1,
            Some("IF" | "LOOP" | "WHILE" | "REPEAT") if ended => self.depth += 1,
            Some("END") => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.pieces.len() < MOST_PIECES {
            self.pieces.push(piece);
        } else if let Some(last) = self.pieces.last_mut() {
            *last = piece;
        }
    }

    /// Whether a semicolon here is inside of a routine's body, and so ends no statement.
    fn inside(&self, kind: Kind) -> bool {
        let mut words = self.pieces.iter().take(12).filter_map(Piece::keyword);
        if words.next().as_deref() != Some("CREATE") {
            return false;
        }
        let routine = words.any(|word| match kind {
            Kind::Sqlite => word == "TRIGGER",
            // The others' bodies are strings; only those of the SQL standard are in the open.
            Kind::Postgres => word == "FUNCTION" || word == "PROCEDURE",
            Kind::MySql => matches!(word.as_str(), "FUNCTION" | "PROCEDURE" | "TRIGGER" | "EVENT"),
        });
        routine && self.depth > 0
    }

    fn close(self, text: &str) -> Option<Statement> {
        let from = self.from;
        let holes = self.holes.into_iter().map(|(start, end, last)| Hole {
            from: start - from,
            to: end - from,
            last,
        });
        (!self.pieces.is_empty()).then(|| Statement {
            text: text.get(from..self.to).unwrap_or_default().to_owned(),
            line: self.line,
            at: from,
            start: self.pieces.into_iter().take(64).collect(),
            holes: holes.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(kind: Kind, text: &str) -> Vec<String> {
        split(kind, text).unwrap().statements.into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn a_semicolon_in_quotes_dollars_or_comments_ends_nothing() {
        let text = "select ';' , E'\\';', \"a;b\" -- ;\n/* ; /* ; */ ; */ ; select $a$ ; $b$ ; $a$;;\n ; select U&';'";
        let found = texts(Kind::Postgres, text);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert_eq!(found[1], "select $a$ ; $b$ ; $a$");
        assert_eq!(texts(Kind::MySql, "select 'a\\';', `;` # ;\n; select 2").len(), 2);
        assert_eq!(texts(Kind::Sqlite, "select 'a\\'; select ';''', [;]").len(), 2);
    }

    #[test]
    fn a_statement_knows_its_line_and_begins_with_its_first_word() {
        let found = split(Kind::Postgres, "-- head\n\n  select 1;\r\n/* é */ select\n 2 ;\nselect 3")
            .unwrap()
            .statements;
        let lines: Vec<(usize, &str)> = found.iter().map(|one| (one.line, one.text.as_str())).collect();
        assert_eq!(lines, [(3, "select 1"), (4, "select\n 2"), (6, "select 3")]);
    }

    #[test]
    fn bodies_in_the_open_are_whole() {
        let trigger = "create trigger t after insert on a begin update b set n = case when 1 then 2 else 3 end; select 1; end";
        assert_eq!(texts(Kind::Sqlite, &format!("{trigger}; select 2")), [trigger, "select 2"]);
        let procedure = "create procedure p() begin if a then select 1; end if; while b do select case c when 1 then 2 end; end while; case d when 1 then select 3; end case; end";
        assert_eq!(texts(Kind::MySql, &format!("{procedure}; select 2")), [procedure, "select 2"]);
        let function = "create or replace function f() returns int begin atomic select 1; select 2; end";
        assert_eq!(texts(Kind::Postgres, &format!("{function}; select 2")), [function, "select 2"]);
    }

    #[test]
    fn what_is_not_sql_is_refused_with_its_line() {
        for (kind, text, line) in [
            (Kind::Postgres, "select 1;\nselect 'a", 2),
            (Kind::Postgres, "\n\\i other.sql", 2),
            (Kind::Postgres, "copy t from stdin;\n1\n\\.\n", 2),
            (Kind::Postgres, "select 1;\0", 1),
            (Kind::Sqlite, "create trigger t after insert on a begin select 1;", 1),
            (Kind::MySql, "select 1 /*! ; drop table a */", 1),
        ] {
            let found = split(kind, text);
            assert_eq!(found.as_ref().map_err(|error| error.line).err(), Some(line), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn the_places_of_a_batch_are_found_and_casts_are_none() {
        let text = "update t set a = 'x :first' where id between :first and :LAST and b::first = 1 -- :last";
        let found = split(Kind::Postgres, text).unwrap().statements.remove(0);
        let holes: Vec<(&str, bool)> =
            found.holes.iter().map(|hole| (&found.text[hole.from..hole.to], hole.last)).collect();
        assert_eq!(holes, [(":first", false), (":LAST", true)]);
        for kind in [Kind::MySql, Kind::Sqlite] {
            assert_eq!(
                split(kind, "update t set a = 1 where id >= :first and id<=:last").unwrap().statements[0]
                    .holes
                    .len(),
                2
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_nothing_is_invented(text in "(?s).{0,200}") {
            for kind in [Kind::Postgres, Kind::MySql, Kind::Sqlite] {
                if let Ok(found) = split(kind, &text) {
                    for statement in found.statements {
                        prop_assert!(text.contains(&statement.text));
                    }
                }
            }
        }

        #[test]
        fn quotes_and_semicolons_in_any_order_do_not_panic(text in "[;'\"$a\\\\/*:\n -]{0,60}") {
            for kind in [Kind::Postgres, Kind::MySql, Kind::Sqlite] {
                let _ = split(kind, &text);
            }
        }
    }
}
