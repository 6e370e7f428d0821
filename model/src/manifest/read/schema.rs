//! Reading of what a release needs of its schema.

use super::{Reader, directory};
use crate::{
    ColumnPattern, SchemaRange,
    language::{Section, Value, quoted},
    manifest::{
        DatabaseKind, MAX_USES_BYTES, SchemaConfig,
        keys::{Listed, schema as keys},
    },
};
use std::{path::PathBuf, time::Duration};

impl Reader<'_, '_> {
    /// `None` where the table is not there, and where a mistake in it was noted.
    pub(super) fn schema(&mut self, section: &Section<'_>) -> Option<SchemaConfig> {
        if !section.is_present() {
            return None;
        }
        let seconds = Duration::from_secs;
        let database = section.required(&keys::DATABASE, self.problems);
        let database = database.and_then(|value| value.parsed(self.problems, database_name));
        let kind = section.choice(&keys::KIND, self.problems).unwrap_or(DatabaseKind::Postgres);
        let reads = section.required(&keys::READS, self.problems);
        let reads = reads.and_then(|value| value.parsed(self.problems, str::parse::<SchemaRange>));
        let uses = section.get(&keys::USES).and_then(|value| self.uses(&value));
        if kind != DatabaseKind::Postgres {
            let reason =
                "only what migrations of PostgreSQL take away is known: leave it out, `reads` decides";
            section.meaningless([keys::USES.name], reason, self.problems);
        }
        let hosts = section.free(&keys::HOSTS, self.problems);
        let hosts = hosts.is_present().then(|| self.hosts(&hosts));
        let mut phase = |key| section.get(key).and_then(|value| value.parsed(self.problems, folder));
        let (expand, backfill, contract) =
            (phase(&keys::EXPAND), phase(&keys::BACKFILL), phase(&keys::CONTRACT));
        if contract.is_none() {
            let reason = "there is no `contract` that could come by itself";
            section.meaningless([keys::CONTRACT_AFTER.name], reason, self.problems);
        }
        let config = SchemaConfig {
            database: database.clone().unwrap_or_default(),
            kind,
            reads: reads.unwrap_or(SchemaRange::ALL),
            uses: uses.unwrap_or_default(),
            hosts,
            expand,
            backfill,
            contract,
            contract_after: section.present_duration(&keys::CONTRACT_AFTER, self.problems),
            within: section.duration(&keys::WITHIN, seconds(600), self.problems),
            backfill_within: section.duration(&keys::BACKFILL_WITHIN, seconds(24 * 3600), self.problems),
            lock_timeout: section.duration(&keys::LOCK_TIMEOUT, seconds(1), self.problems),
            statement_timeout: section.duration(&keys::STATEMENT_TIMEOUT, seconds(60), self.problems),
            max_lag: section.duration(&keys::MAX_LAG, seconds(10), self.problems),
        };
        section.refuse_unknown(self.problems);
        database.and(reads).map(|_| config)
    }

    fn uses(&mut self, value: &Value<'_>) -> Option<Vec<ColumnPattern>> {
        let Listed(_, most) = keys::USES.value;
        let listed = value.list(self.problems)?;
        if listed.is_empty() || listed.len() > most {
            let message = format!("has {} entries, expected 1 to {most}", listed.len());
            self.problems.add_with_hint(
                value.span.clone(),
                &value.path,
                message,
                "all columns of a table are one entry: \"customers.*\"".to_owned(),
            );
            return None;
        }
        let uses: Vec<ColumnPattern> =
            listed.iter().filter_map(|pattern| pattern.parsed(self.problems, str::parse)).collect();
        let bytes: usize = uses.iter().map(|pattern| pattern.to_string().len()).sum();
        if bytes > MAX_USES_BYTES {
            let message = format!("has names of {bytes} bytes together, expected at most {MAX_USES_BYTES}");
            self.problems.add(value.span.clone(), &value.path, message);
        }
        Some(uses)
    }
}

fn database_name(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    match (1..=63).contains(&text.len()) && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{} is no database's name: expected 1 to 63 of the characters a-z, 0-9, '-' and '_'",
            quoted(text)
        )),
    }
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let path = directory(text)?;
    if path.is_absolute() {
        return Err(format!("{} is absolute: migrations lie in the bundle", quoted(text)));
    }
    Ok(path)
}
