//! The tables in which a database remembers what was applied: their names, and the statements that make, read and write them.

use crate::database::{Row, Value};
use crate::error::Error;
use crate::record::{BackfillRecord, Record, State};
use handover_model::{SchemaPhase, SchemaVersion};
use handover_script::{Checksum, Script};

/// In which words a database says what our tables need.
pub(crate) struct Words {
    pub(crate) number: &'static str,
    pub(crate) text: &'static str,
    /// A text of any length.
    pub(crate) long_text: &'static str,
    pub(crate) time: &'static str,
    pub(crate) now: &'static str,
    /// What is around a time to make Unix milliseconds of it.
    pub(crate) ms: (&'static str, &'static str),
    /// What follows the columns of a new table.
    pub(crate) end: &'static str,
}

/// The tables of one database.
pub(crate) struct Tables {
    words: Words,
    pub(crate) migrations: String,
    pub(crate) backfills: String,
    pub(crate) lock: String,
}

/// Who applies, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    pub(crate) by: String,
    pub(crate) deployment: String,
}

impl Tables {
    /// With their names after `prefix`, which is a schema, quoted, with its dot.
    pub(crate) fn new(words: Words, prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}{name}");
        Self {
            words,
            migrations: name("handover_migrations"),
            backfills: name("handover_backfills"),
            lock: name("handover_lock"),
        }
    }

    pub(crate) fn create(&self) -> [String; 3] {
        let Words { number, text, long_text, time, end, .. } = self.words;
        [
            format!(
                "CREATE TABLE IF NOT EXISTS {} (version {number} NOT NULL PRIMARY KEY, phase {text} NOT NULL, name {text} NOT NULL, \
                 checksum {text} NOT NULL, state {text} NOT NULL, begun {number} NOT NULL, done {number} NOT NULL, \
                 started_at {time} NOT NULL, applied_at {time}, applied_by {text} NOT NULL, took_ms {number} NOT NULL, \
                 deployment {text} NOT NULL){end}",
                self.migrations
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (version {number} NOT NULL PRIMARY KEY, last_key {long_text}, rows_done {number} NOT NULL, \
                 batches {number} NOT NULL, started_at {time} NOT NULL, updated_at {time} NOT NULL){end}",
                self.backfills
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS {} (id {number} NOT NULL PRIMARY KEY, holder {text} NOT NULL, epoch {number} NOT NULL, \
                 until_ms {number} NOT NULL){end}",
                self.lock
            ),
        ]
    }

    /// Writes that a migration begins, or that it is applied.
    pub(crate) fn insert(&self, script: &Script, state: State, hand: &Hand) -> (String, Vec<Value>) {
        let now = self.words.now;
        let applied_at = if state == State::Applied { now } else { "NULL" };
        let sql = format!(
            "INSERT INTO {} (version, phase, name, checksum, state, begun, done, started_at, applied_at, applied_by, took_ms, deployment) \
             VALUES (?, ?, ?, ?, ?, 0, 0, {now}, {applied_at}, ?, 0, ?)",
            self.migrations
        );
        let values = vec![
            number(script.version),
            script.phase.name().into(),
            script.name.as_str().into(),
            Value::Text(script.checksum.to_string()),
            state.name().into(),
            short(&hand.by),
            short(&hand.deployment),
        ];
        (sql, values)
    }

    /// Writes how many statements were begun and are done.
    pub(crate) fn at_statement(&self, version: SchemaVersion, begun: u32, done: u32) -> (String, Vec<Value>) {
        let sql = format!(
            "UPDATE {} SET begun = ?, done = ? WHERE version = ? AND state = 'started'",
            self.migrations
        );
        (sql, vec![Value::Int(begun.into()), Value::Int(done.into()), number(version)])
    }

    /// Writes that so many statements are done and none behind them is begun, as somebody says who looked.
    pub(crate) fn at_statement_by(
        &self,
        version: SchemaVersion,
        done: u32,
        hand: &Hand,
    ) -> (String, Vec<Value>) {
        let sql = format!(
            "UPDATE {} SET begun = ?, done = ?, applied_by = ?, deployment = ? WHERE version = ? AND state = 'started'",
            self.migrations
        );
        let done = Value::Int(done.into());
        (sql, vec![done.clone(), done, short(&hand.by), short(&hand.deployment), number(version)])
    }

    /// Writes that a backfill begins anew.
    pub(crate) fn reopen(&self, version: SchemaVersion, hand: &Hand) -> (String, Vec<Value>) {
        let sql = format!(
            "UPDATE {} SET state = 'started', begun = 0, done = 0, took_ms = 0, applied_at = NULL, started_at = {}, applied_by = ?, deployment = ? \
             WHERE version = ?",
            self.migrations, self.words.now
        );
        (sql, vec![short(&hand.by), short(&hand.deployment), number(version)])
    }

    /// Writes that a migration is whole.
    pub(crate) fn applied(&self, version: SchemaVersion, took_ms: i64) -> (String, Vec<Value>) {
        let sql = format!(
            "UPDATE {} SET state = 'applied', applied_at = {}, took_ms = took_ms + ? WHERE version = ?",
            self.migrations, self.words.now
        );
        (sql, vec![Value::Int(took_ms), number(version)])
    }

    /// Forgets that something was begun.
    pub(crate) fn forget(&self, version: SchemaVersion) -> (String, Vec<Value>) {
        (
            format!("DELETE FROM {} WHERE version = ? AND state = 'started'", self.migrations),
            vec![number(version)],
        )
    }

    pub(crate) fn records(&self) -> String {
        let (before, after) = self.words.ms;
        format!(
            "SELECT version, phase, name, checksum, state, begun, done, {before}started_at{after}, {before}applied_at{after}, applied_by, \
             took_ms, deployment FROM {} ORDER BY version",
            self.migrations
        )
    }

    pub(crate) fn backfill(&self, version: SchemaVersion) -> (String, Vec<Value>) {
        (
            format!("SELECT version, last_key, rows_done, batches FROM {} WHERE version = ?", self.backfills),
            vec![number(version)],
        )
    }

    pub(crate) fn all_backfills(&self) -> String {
        format!("SELECT version, last_key, rows_done, batches FROM {} ORDER BY version", self.backfills)
    }

    pub(crate) fn insert_backfill(&self, version: SchemaVersion) -> (String, Vec<Value>) {
        let now = self.words.now;
        let sql = format!(
            "INSERT INTO {} (version, last_key, rows_done, batches, started_at, updated_at) VALUES (?, NULL, 0, 0, {now}, {now})",
            self.backfills
        );
        (sql, vec![number(version)])
    }

    /// Forgets how far a backfill is.
    pub(crate) fn forget_backfill(&self, version: SchemaVersion) -> (String, Vec<Value>) {
        (format!("DELETE FROM {} WHERE version = ?", self.backfills), vec![number(version)])
    }

    /// Writes a batch. It touches a row only where nobody else did the same batch.
    pub(crate) fn batch(&self, before: &BackfillRecord, last_key: &str, rows: u64) -> (String, Vec<Value>) {
        let sql = format!(
            "UPDATE {} SET last_key = ?, rows_done = rows_done + ?, batches = batches + 1, updated_at = {} WHERE version = ? AND batches = ?",
            self.backfills, self.words.now
        );
        (sql, vec![last_key.into(), count(rows), number(before.version), count(before.batches)])
    }
}

fn number(version: SchemaVersion) -> Value {
    Value::Int(version.number().into())
}

fn count(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// As long as a column of names takes.
fn short(text: &str) -> Value {
    Value::Text(text.chars().filter(|c| *c != '\0').take(200).collect())
}

/// A row of the table of what was applied.
pub(crate) fn record(row: &Row) -> Result<Record, Error> {
    let nonsense = |what: &str| Error::Nonsense { what: format!("{what} in the row {row:?}") };
    let [version, phase, name, checksum, state, begun, done, started, applied, by, took, deployment] =
        row.as_slice()
    else {
        return Err(nonsense("another number of columns"));
    };
    let int = |value: &Value, what: &str| value.int().ok_or_else(|| nonsense(what));
    let text = |value: &Value, what: &str| value.text().map(ToOwned::to_owned).ok_or_else(|| nonsense(what));
    let small = |value: &Value, what: &str| {
        int(value, what).and_then(|number| u32::try_from(number).map_err(|_| nonsense(what)))
    };
    Ok(Record {
        version: version_of(version).ok_or_else(|| nonsense("no version"))?,
        phase: phase.text().and_then(SchemaPhase::named).ok_or_else(|| nonsense("no phase"))?,
        name: text(name, "no name")?,
        checksum: checksum.text().and_then(Checksum::parse).ok_or_else(|| nonsense("no checksum"))?,
        state: match state.text() {
            Some("started") => State::Started,
            Some("applied") => State::Applied,
            _ => return Err(nonsense("no state")),
        },
        begun: small(begun, "no count of statements")?,
        done: small(done, "no count of statements")?,
        started_ms: int(started, "no time")?,
        applied_ms: applied.int(),
        by: text(by, "nobody")?,
        took_ms: int(took, "no duration")?,
        deployment: text(deployment, "no deployment")?,
    })
}

/// A row of the table of backfills.
pub(crate) fn backfill_record(row: &Row) -> Result<BackfillRecord, Error> {
    let nonsense = || Error::Nonsense { what: format!("the row {row:?} of a backfill") };
    let [version, last_key, rows, batches] = row.as_slice() else { return Err(nonsense()) };
    let count =
        |value: &Value| value.int().and_then(|number| u64::try_from(number).ok()).ok_or_else(nonsense);
    Ok(BackfillRecord {
        version: version_of(version).ok_or_else(nonsense)?,
        last_key: last_key.text().map(ToOwned::to_owned),
        rows: count(rows)?,
        batches: count(batches)?,
    })
}

fn version_of(value: &Value) -> Option<SchemaVersion> {
    value.int().and_then(|number| u32::try_from(number).ok()).map(SchemaVersion::new)
}
