//! One migration as the runner takes it, a file of SQL or a program: its number, its checksum, its statements, and how it is to be run.
//!
//! Who runs migrations and who looks at them before ask here, so that what is refused when it is to run is known when it is
//! looked at. Pure: no database, no files, no clock.

mod alone;
mod directive;
mod header;
mod split;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use handover_model::{MigrationKind, SchemaPhase, SchemaVersion};

pub use alone::Alone;
pub use directive::{Directive, directive};
pub use handover_model::config::DatabaseKind as Kind;
pub use header::{BatchHeader, Header, MOST_ROWS};
pub use split::{Hole, MOST_STATEMENTS, Piece, Statement};

use alone::alone;
use split::{Remark, SplitError};

/// The SHA-256 of a file's bytes. Of the bytes, not of what they mean: what was applied is what is in the bundle.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// Of these bytes.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// Reads what its `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The schema's version once it is applied.
    pub version: SchemaVersion,
    /// The phase that it belongs to.
    pub phase: SchemaPhase,
    /// Its name, without number and ending.
    pub name: String,
    /// Of its bytes.
    pub checksum: Checksum,
    /// How it is run.
    pub work: Work,
    /// What it says instead of the runner's lock timeout.
    pub lock_timeout: Option<Duration>,
    /// What it says instead of the runner's statement timeout.
    pub statement_timeout: Option<Duration>,
}

impl fmt::Display for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = match self.work {
            Work::Program(_) => MigrationKind::Program.ending(),
            Work::Together(_) | Work::Alone(..) | Work::Batches(..) => MigrationKind::Sql.ending(),
        };
        write!(out, "{}/{:04}_{}{ending}", self.phase, self.version.number(), self.name)
    }
}

/// How a file is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// All its statements in one transaction, with the record of it. Where the database has no transactions for what changes a
    /// schema (MySQL), one after the other, each recorded.
    Together(Vec<Statement>),
    /// Its one statement by itself.
    Alone(Statement, Alone),
    /// Its one statement for one piece of a table after the other, each in a transaction with the record of how far it is.
    Batches(Statement, BatchHeader),
    /// It is a program, at this path: it runs while the lock is held, and connects to the database itself.
    Program(PathBuf),
}

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    /// Where in it.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub what: String,
}

impl From<SplitError> for ScriptError {
    fn from(SplitError { line, what }: SplitError) -> Self {
        Self { line, what }
    }
}

impl Script {
    /// A program with that content, at that path.
    pub fn program(
        phase: SchemaPhase,
        version: SchemaVersion,
        name: &str,
        content: &[u8],
        path: PathBuf,
    ) -> Self {
        Self {
            version,
            phase,
            name: name.to_owned(),
            checksum: Checksum::of(content),
            work: Work::Program(path),
            lock_timeout: None,
            statement_timeout: None,
        }
    }

    /// Reads a file's content.
    pub fn read(
        kind: Kind,
        phase: SchemaPhase,
        version: SchemaVersion,
        name: &str,
        content: &[u8],
    ) -> Result<Self, ScriptError> {
        let (header, work) = read(kind, phase, content)?;
        Ok(Self {
            version,
            phase,
            name: name.to_owned(),
            checksum: Checksum::of(content),
            work,
            lock_timeout: header.lock_timeout,
            statement_timeout: header.statement_timeout,
        })
    }
}

/// Reads what a file of a phase says of itself, and how it is run; or why the runner does not take it.
///
/// # Errors
///
/// The first thing in the file that the runner refuses.
pub fn read(kind: Kind, phase: SchemaPhase, content: &[u8]) -> Result<(Header, Work), ScriptError> {
    let wrong = |line: usize, what: &str| ScriptError { line, what: what.to_owned() };
    let text = std::str::from_utf8(content).map_err(|error| {
        let line = content.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        wrong(line, "bytes that are no UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = split::split(kind, text)?;
    let first = found
        .statements
        .first()
        .ok_or_else(|| wrong(1, "no statement in the file: delete it, or write one"))?;
    let mut header = Header::default();
    for Remark { line, at, order } in &found.remarks {
        if *at >= first.at {
            return Err(wrong(*line, "what is for the runner stands before the first statement"));
        }
        header.read(order).map_err(|what| ScriptError { line: *line, what })?;
    }
    let work = work(kind, phase, &header, found.statements)?;
    Ok((header, work))
}

/// Where in a file the ends of a batch go, and whether each is the last one: `:first`, `:last`. Of a file that says that it has
/// batches, whether the runner takes it or not; of others, nowhere.
#[must_use]
pub fn places(kind: Kind, text: &str) -> Vec<(Range<usize>, bool)> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mark = text.len() - body.len();
    let Ok(found) = split::split(kind, body) else { return Vec::new() };
    if !found.remarks.iter().any(|remark| header::is_batch(&remark.order)) {
        return Vec::new();
    }
    let place = |statement: &Statement, hole: &Hole| {
        let from = mark + statement.at;
        (from + hole.from..from + hole.to, hole.last)
    };
    let statements = found.statements.iter();
    statements.flat_map(|one| one.holes.iter().map(move |hole| place(one, hole))).collect()
}

fn work(
    kind: Kind,
    phase: SchemaPhase,
    header: &Header,
    statements: Vec<Statement>,
) -> Result<Work, ScriptError> {
    let many = statements.len() > 1;
    let mut by_itself = None;
    for statement in &statements {
        let wrong = |what: String| ScriptError { line: statement.line, what };
        let known = alone(kind, statement).map_err(|objection| wrong(objection.to_string()))?;
        if !statement.holes.is_empty() && header.batch.is_none() {
            return Err(wrong(
                ":first and :last are for batches: write \"-- handover: batch table=T key=K\" at the top"
                    .to_owned(),
            ));
        }
        if let Some(known) = known {
            if many {
                return Err(wrong("this statement cannot be in a transaction, so it is alone in its file: move it, or the others, to a file of their own".to_owned()));
            }
            by_itself = Some(known);
        }
    }
    let line = statements.get(1).or(statements.first()).map_or(1, |statement| statement.line);
    let only = |what: &str| if many { Err(ScriptError { line, what: what.to_owned() }) } else { Ok(()) };
    let first_line = statements.first().map_or(1, |statement| statement.line);
    match header.batch.clone() {
        Some(batch) => {
            only("a file with batches has one statement")?;
            if header.alone || by_itself.is_some() {
                return Err(ScriptError {
                    line: first_line,
                    what: "batches run in transactions, which this statement cannot be in".to_owned(),
                });
            }
            if phase != SchemaPhase::Backfill {
                return Err(ScriptError {
                    line: first_line,
                    what: format!("batches take long: move the file from {phase}/ to backfill/"),
                });
            }
            let statement = one(statements)?;
            let has = |last: bool| statement.holes.iter().any(|hole| hole.last == last);
            if !has(false) || !has(true) {
                return Err(ScriptError {
                    line: first_line,
                    what: format!(
                        "the statement does not say where a batch goes: write WHERE {} BETWEEN :first AND :last",
                        batch.key
                    ),
                });
            }
            Ok(Work::Batches(statement, batch))
        }
        None if header.alone || by_itself.is_some() => {
            only(
                "\"no transaction\" is for a file with one statement: each further one needs a file of its own",
            )?;
            Ok(Work::Alone(one(statements)?, by_itself.unwrap_or(Alone::Unknown)))
        }
        None => Ok(Work::Together(statements)),
    }
}

fn one(statements: Vec<Statement>) -> Result<Statement, ScriptError> {
    statements
        .into_iter()
        .next()
        .ok_or_else(|| ScriptError { line: 1, what: "no statement in the file".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(phase: SchemaPhase, text: &str) -> Result<Work, (usize, String)> {
        let version = SchemaVersion::new(7);
        Script::read(Kind::Postgres, phase, version, "x", text.as_bytes())
            .map(|script| script.work)
            .map_err(|error| (error.line, error.what))
    }

    #[test]
    fn a_file_is_one_transaction_a_statement_alone_or_batches() {
        assert!(
            matches!(read(SchemaPhase::Expand, "create table a(); create table b();"), Ok(Work::Together(two)) if two.len() == 2)
        );
        assert!(matches!(
            read(SchemaPhase::Expand, "create index concurrently i on a (b)"),
            Ok(Work::Alone(_, Alone::CreateIndex { .. }))
        ));
        assert!(matches!(
            read(SchemaPhase::Expand, "-- handover: no transaction\ncall p()"),
            Ok(Work::Alone(_, Alone::Unknown))
        ));
        let batches =
            "-- handover: batch table=a key=id\nupdate a set b = 1 where id between :first and :last";
        assert!(matches!(
            read(SchemaPhase::Backfill, batches),
            Ok(Work::Batches(_, BatchHeader { size: 1000, .. }))
        ));
    }

    #[test]
    fn a_file_that_cannot_be_run_says_where_and_what_to_do() {
        let batch = "-- handover: batch table=a key=id\n";
        for (phase, text, line, words) in [
            (SchemaPhase::Expand, "-- nothing\n;;", 1, "no statement"),
            (
                SchemaPhase::Expand,
                "select 1;\n\ncreate index concurrently i on a (b)",
                3,
                "alone in its file",
            ),
            (SchemaPhase::Expand, "-- handover: no transaction\nselect 1;\nselect 2", 3, "file of its own"),
            (
                SchemaPhase::Expand,
                "select 1;\n-- handover: no transaction\n",
                2,
                "before the first statement",
            ),
            (SchemaPhase::Expand, "-- handover: notransaction\nselect 1", 1, "not known"),
            (SchemaPhase::Expand, "select 1;\ncommit", 2, "runner's"),
            (SchemaPhase::Expand, "update a set b = 1 where id between :first and :last", 1, "for batches"),
            (
                SchemaPhase::Expand,
                &format!("{batch}update a set b = 1 where id between :first and :last"),
                2,
                "backfill/",
            ),
            (
                SchemaPhase::Backfill,
                &format!("{batch}update a set b = 1 where id > :first"),
                2,
                "BETWEEN :first AND :last",
            ),
            (SchemaPhase::Backfill, &format!("{batch}select 1;\nselect 2"), 3, "one statement"),
            (SchemaPhase::Expand, "create index concurrently on a (b)", 1, "no name"),
        ] {
            let (found, what) = read(phase, text).unwrap_err();
            assert!(found == line && what.contains(words), "{text:?}: {found}: {what}");
        }
        let error =
            Script::read(Kind::Postgres, SchemaPhase::Expand, SchemaVersion::NONE, "x", b"select\n'\xff'")
                .unwrap_err();
        assert_eq!(error.line, 2);
    }

    #[test]
    fn what_is_said_to_the_runner_is_heard_in_any_comment_and_what_is_said_to_the_linter_is_not() {
        for text in [
            "-- Handover: no transaction\nselect 1",
            "/* handover: no transaction */ select 1",
            "--handover:no transaction\nselect 1",
        ] {
            let read = read(SchemaPhase::Expand, text);
            assert!(matches!(read, Ok(Work::Alone(_, Alone::Unknown))), "{text:?}: {read:?}");
        }
        let allowed = "/* HANDOVER: Allow drop-table because nobody reads it */ drop table a; -- handover: allow x because y";
        assert!(matches!(read(SchemaPhase::Expand, allowed), Ok(Work::Together(_))));
        let batch = "\u{feff}/* Handover: batch table=a key=id */ update a set b = ':first' where id between :FIRST and :Last";
        let places = places(Kind::Postgres, batch);
        let found: Vec<(&str, bool)> =
            places.into_iter().map(|(place, last)| (&batch[place], last)).collect();
        assert_eq!(found, [(":FIRST", false), (":Last", true)]);
        // Nor what is said inside of a statement, or in a string.
        assert!(matches!(
            read(SchemaPhase::Expand, "select '-- handover: no transaction'"),
            Ok(Work::Together(_))
        ));
    }

    #[test]
    fn what_a_statement_leaves_in_a_session_of_mysql_is_refused() {
        let read = |text: &str| {
            super::read(Kind::MySql, SchemaPhase::Expand, text.as_bytes()).map_err(|error| error.what)
        };
        for (text, words) in [
            ("use other", "name the database before the table"),
            ("set foreign_key_checks = 0", "SET STATEMENT"),
            ("set @a = 1", "SET STATEMENT"),
            ("set global a = 1, session b = 2", "SET STATEMENT"),
            ("set names utf8mb4", "SET STATEMENT"),
            ("create temporary table a (n int)", "ordinary table"),
            ("create or replace temporary table a (n int)", "ordinary table"),
            ("prepare a from 'select 1'", "EXECUTE IMMEDIATE"),
            ("execute a", "EXECUTE IMMEDIATE"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains("session") && refused.contains(words), "{text}: {refused}");
        }
        for text in [
            "set global max_connections = 5",
            "set @@global.max_connections = 5",
            "set statement foreign_key_checks = 0 for drop table a",
            "set password for a = password('b')",
            "set default role a for b",
            "execute immediate 'select 1'",
            "create trigger t before insert on a for each row begin set new.n = 1; end",
            "update a set n = 1",
        ] {
            assert!(read(text).is_ok(), "{text}: {:?}", read(text));
        }
        // PostgreSQL gives each file a session that is as new.
        assert!(super::read(Kind::Postgres, SchemaPhase::Expand, b"set search_path = a").is_ok());
    }

    #[test]
    fn a_checksum_is_of_the_bytes_and_read_as_it_is_written() {
        let checksum = Checksum::of(b"select 1");
        assert_ne!(checksum, Checksum::of(b"select 1\n"));
        assert_eq!(Checksum::parse(&checksum.to_string()), Some(checksum));
        for text in ["", "é", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(Checksum::parse(text), None);
        }
    }
}
