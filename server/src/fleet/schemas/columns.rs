//! Columns: which of them a release's code uses, and which its migrations take away.
//!
//! A range of versions is what somebody thinks that code works with. Where a release names the columns that it uses, the
//! migrations themselves are held against it, whoever's they are: it works with no version from the one on that takes one of
//! them away, whatever its range says.

use super::ReleaseSchema;
use crate::{
    fleet::{effects::Effects, records::taken_key, refusal::Refusal, state::State},
    store::Keyspace,
};
use handover_model::{ColumnPattern, ReleaseRef, SchemaRange, SchemaVersion, lost_of};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Entries of what a release's migrations take away, and their bytes as JSON: with what it uses they are one value of the store.
const MOST_GONE: usize = 64;
const MOST_GONE_BYTES: usize = 3072;

/// The columns of a release.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReleaseColumns {
    /// Those that its code uses, where its manifest says so.
    pub uses: Vec<ColumnPattern>,
    /// Those that its migrations take away, in the order of their versions; where there are many of one version, wider ones that
    /// have them.
    gone: Vec<Gone>,
    /// The first and the last version of which it is only remembered that something is gone, where there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folded: Option<(SchemaVersion, SchemaVersion)>,
}

/// Columns that a migration takes away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::fleet) struct Gone {
    /// The first version of the schema without them.
    pub(in crate::fleet) at: SchemaVersion,
    /// Which.
    pub(in crate::fleet) what: ColumnPattern,
}

impl ReleaseColumns {
    /// What a release with this range uses and takes away. What is gone before its first version others have taken: the files of
    /// earlier releases may stay.
    #[must_use]
    pub fn new(
        reads: SchemaRange,
        uses: Vec<ColumnPattern>,
        gone: impl Iterator<Item = (SchemaVersion, ColumnPattern)>,
    ) -> Self {
        let gone = gone.filter(|(at, _)| *at >= reads.first()).map(|(at, what)| Gone { at, what });
        let (gone, folded) = bounded(gone.collect());
        Self { uses, gone, folded }
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.gone.is_empty()
    }

    /// What is taken away above one version and up to another, in order.
    pub(in crate::fleet) fn gone_between(
        &self,
        above: SchemaVersion,
        to: SchemaVersion,
    ) -> impl Iterator<Item = Gone> {
        let next = SchemaVersion::new(above.number().saturating_add(1));
        let folded = self.folded.filter(|(_, last)| above < *last).map(|(first, _)| first.max(next));
        let folded = folded.map(|at| Gone { at, what: ColumnPattern::ALL });
        let known = self.gone.iter().filter(move |gone| above < gone.at).cloned();
        folded.into_iter().chain(known).filter(move |gone| gone.at <= to)
    }
}

/// As many as are remembered, of the oldest versions the least: they are mostly applied. Where that makes it fewer, the table
/// stands for its columns and the schema for its tables; then it is only remembered that there is something. It is never less
/// than what was there.
fn bounded(mut gone: BTreeSet<Gone>) -> (Vec<Gone>, Option<(SchemaVersion, SchemaVersion)>) {
    let is_much = |gone: &BTreeSet<Gone>| {
        gone.len() > MOST_GONE || serde_json::to_vec(gone).map_or(true, |json| json.len() > MOST_GONE_BYTES)
    };
    let mut folded: Option<(SchemaVersion, SchemaVersion)> = None;
    while is_much(&gone) {
        let (Some(first), Some(last)) = (gone.first().map(|gone| gone.at), gone.last().map(|gone| gone.at))
        else {
            break;
        };
        let of_first = || gone.iter().filter(|gone| gone.at == first);
        let wider: BTreeSet<Gone> =
            of_first().map(|gone| Gone { at: first, what: gone.what.wider() }).collect();
        let keep = wider.len() < of_first().count() || first == last;
        gone.retain(|gone| gone.at > first);
        if keep {
            gone.extend(wider);
        } else {
            folded = Some((folded.map_or(first, |(from, _)| from), first));
        }
    }
    (gone.into_iter().collect(), folded)
}

/// Which versions of a database's schema a release's migrations have made, or may have, that take columns away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fleet) struct Taken {
    /// The version that the schema was at before, as far as that was known.
    above: SchemaVersion,
    /// The version that it is at behind them, or may be.
    to: SchemaVersion,
}

/// What migrations did to a schema's version.
pub(super) enum Step {
    /// Some were begun that lead from one version to another.
    Begun { above: SchemaVersion, to: SchemaVersion },
    /// It was seen.
    Reached(SchemaVersion),
}

/// A column that a release uses and that is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The column, as the release says that it uses it.
    pub column: ColumnPattern,
    /// What is taken away.
    pub with: ColumnPattern,
    /// The first version without it.
    pub at: SchemaVersion,
    /// The release whose migration takes it away.
    pub by: ReleaseRef,
}

/// The versions that a release's code works with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Works {
    /// Those that it says.
    pub reads: SchemaRange,
    /// What ends them before the last one.
    pub lost: Option<Lost>,
}

impl Works {
    /// Whether the code works with a version.
    #[must_use]
    pub fn with(&self, version: SchemaVersion) -> bool {
        self.reads.contains(version) && self.lost.as_ref().is_none_or(|lost| version < lost.at)
    }

    /// What is in the way of a version that the code says it works with.
    #[must_use]
    pub fn lost_at(&self, version: SchemaVersion) -> Option<&Lost> {
        self.lost.as_ref().filter(|lost| self.reads.contains(version) && lost.at <= version)
    }

    /// Why it does not work with a version, behind the release's name.
    #[must_use]
    pub fn why_not(&self, version: SchemaVersion) -> String {
        match self.lost_at(version) {
            Some(lost) => lost.told(),
            None => format!("reads {}", self.reads),
        }
    }

    /// The versions that are left; `None` where there are none.
    #[must_use]
    pub fn range(&self) -> Option<SchemaRange> {
        let Some(lost) = &self.lost else { return Some(self.reads) };
        let last = SchemaVersion::new(lost.at.number().checked_sub(1)?);
        self.reads.and(SchemaRange::new(SchemaVersion::NONE, last).ok()?)
    }
}

impl Lost {
    /// Whether it cannot be told what is taken away.
    #[must_use]
    pub fn is_untold(&self) -> bool {
        self.with == ColumnPattern::ALL
    }

    /// `uses customers.email, which migration 20 of shop 4 takes away`.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { column, with, at, by } = self;
        match with {
            _ if self.is_untold() => {
                format!("uses {column}, and what migration {at} of {by} takes away cannot be told")
            }
            with if with == column => format!("uses {column}, which migration {at} of {by} takes away"),
            with => format!("uses {column}, and migration {at} of {by} takes {with} away"),
        }
    }
}

impl State {
    /// The versions that a release's code works with, with what was taken from the database's schema, and with what another
    /// release would take.
    pub(in crate::fleet) fn works(&self, schema: &ReleaseSchema, planned: Option<&ReleaseRef>) -> Works {
        Works { reads: schema.reads, lost: self.lost(schema, planned) }
    }

    fn lost(&self, schema: &ReleaseSchema, planned: Option<&ReleaseRef>) -> Option<Lost> {
        let ReleaseSchema { database, reads, columns, .. } = schema;
        if columns.uses.is_empty() {
            return None;
        }
        let known = self.schema_version(database).unwrap_or_default();
        let taken = self.taken.get(database).into_iter().flatten();
        let taken = taken.map(|(by, taken)| (by, taken.above, taken.to));
        let planned = planned.map(|by| (by, known, SchemaVersion::new(u32::MAX)));
        let gone = taken.chain(planned).flat_map(|(by, above, to)| {
            let theirs = self.schema_of(by).filter(|theirs| theirs.database == *database);
            let gone = theirs.into_iter().flat_map(move |theirs| theirs.columns.gone_between(above, to));
            gone.map(move |gone| (by, gone))
        });
        let lost = gone.filter_map(|(by, Gone { at, what })| {
            let column = lost_of(&columns.uses, *reads, at, &what)?.clone();
            Some(Lost { column, with: what, at, by: by.clone() })
        });
        lost.min_by_key(|lost| lost.at)
    }

    /// Notes what migrations of a release did to a schema's version, in the order in which they did.
    pub(super) fn note_course(
        &mut self,
        release: &ReleaseRef,
        database: &str,
        course: Vec<Step>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        for step in course {
            match step {
                Step::Begun { above, to } => self.note_taken(release, above, to, effects)?,
                Step::Reached(version) => self.note_version(database, version, effects)?,
            }
        }
        Ok(())
    }

    /// Notes that migrations of a release were begun that make its database's schema another version: from then on what they
    /// take away may be gone. Nobody has to say how they ended for that.
    fn note_taken(
        &mut self,
        release: &ReleaseRef,
        above: SchemaVersion,
        to: SchemaVersion,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(schema) = self.schema_of(release) else { return Ok(()) };
        if schema.columns.gone_between(above, to).next().is_none() {
            return Ok(());
        }
        let database = schema.database.clone();
        let of_database = self.taken.entry(database.clone()).or_default();
        let before = of_database.get(release);
        let taken = Taken {
            above: before.map_or(above, |before| before.above.min(above)),
            to: before.map_or(to, |before| before.to.max(to)),
        };
        if before != Some(&taken) {
            effects.put(Keyspace::Taken, taken_key(&database, release), &taken)?;
            of_database.insert(release.clone(), taken);
        }
        Ok(())
    }

    /// Notes what a schema is: what was begun above it was not done.
    fn note_version(
        &mut self,
        database: &str,
        version: SchemaVersion,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let beyond = self.taken.get(database).into_iter().flatten();
        let beyond: Vec<(ReleaseRef, Taken)> = beyond
            .filter(|(_, taken)| taken.to > version)
            .map(|(release, taken)| (release.clone(), Taken { to: version, ..*taken }))
            .collect();
        for (release, taken) in beyond {
            let columns = self.schema_of(&release).map(|schema| &schema.columns);
            let is_any =
                columns.is_some_and(|columns| columns.gone_between(taken.above, taken.to).next().is_some());
            let of_database = self.taken.entry(database.to_owned()).or_default();
            let key = taken_key(database, &release);
            if is_any {
                effects.put(Keyspace::Taken, key, &taken)?;
                of_database.insert(release, taken);
            } else {
                effects.delete(Keyspace::Taken, key);
                of_database.remove(&release);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> SchemaVersion {
        SchemaVersion::new(number)
    }

    fn columns(reads: &str, gone: &[(u32, &str)]) -> ReleaseColumns {
        let gone = gone.iter().map(|(at, what)| (version(*at), what.parse().unwrap()));
        ReleaseColumns::new(reads.parse().unwrap(), Vec::new(), gone)
    }

    fn between(columns: &ReleaseColumns, above: u32, to: u32) -> Vec<String> {
        let gone = columns.gone_between(version(above), version(to));
        gone.map(|gone| format!("{} {}", gone.at, gone.what)).collect()
    }

    #[test]
    fn what_was_gone_before_the_code_is_left_out() {
        let columns = columns("10..=29", &[(20, "a.b"), (9, "a.c"), (10, "a.d")]);
        assert_eq!(between(&columns, 0, 99), ["10 a.d", "20 a.b"]);
        assert_eq!(between(&columns, 10, 20), ["20 a.b"]);
        assert!(between(&columns, 10, 19).is_empty());
    }

    #[test]
    fn what_is_too_much_of_one_version_becomes_wider() {
        let names: Vec<String> = (0..65).map(|n| format!("t{}.c{n}", n % 3)).collect();
        let many: Vec<(u32, &str)> = names.iter().map(|column| (20, column.as_str())).collect();
        assert_eq!(between(&columns("1..=29", &many[..64]), 0, 99).len(), 64);
        let mut in_two = many[..64].to_vec();
        in_two.push((21, "t0.d"));
        assert_eq!(between(&columns("1..=29", &in_two), 0, 99), ["20 t0.*", "20 t1.*", "20 t2.*", "21 t0.d"]);
        let mut with_old = many.clone();
        with_old.push((7, "a.b"));
        let wide = columns("1..=29", &with_old);
        assert_eq!(between(&wide, 0, 99), ["7 *.*.*", "20 t0.*", "20 t1.*", "20 t2.*"]);
        assert_eq!(
            between(&wide, 7, 99),
            ["20 t0.*", "20 t1.*", "20 t2.*"],
            "what is new is told by its name"
        );
        let long: Vec<String> = (0..40).map(|n| format!("s.{}{n}.c", "t".repeat(60))).collect();
        let long: Vec<(u32, &str)> = long.iter().map(|column| (20, column.as_str())).collect();
        assert_eq!(between(&columns("1..=29", &long), 0, 99), ["20 s.*.*"]);
    }

    #[test]
    fn of_too_many_versions_the_newest_are_told_and_of_the_others_that_there_is_something() {
        let ever: Vec<(u32, &str)> = (20..100).map(|at| (at, "a.b")).collect();
        let columns = columns("1..=29", &ever);
        let all = between(&columns, 0, 99);
        assert_eq!((all.len(), all[0].as_str(), all[1].as_str()), (65, "20 *.*.*", "36 a.b"));
        assert_eq!(between(&columns, 30, 36), ["31 *.*.*", "36 a.b"]);
        assert_eq!(between(&columns, 35, 37), ["36 a.b", "37 a.b"]);
        assert!(between(&columns, 0, 19).is_empty());
    }

    #[test]
    fn all_that_is_remembered_of_a_release_is_one_value_of_the_store() {
        // As many quotes as the manifest's bound allows: JSON writes each of them in two bytes.
        let name = "\"".repeat(63);
        let pattern = ColumnPattern::column(None, &name, &name);
        let most = handover_model::config::MAX_USES_BYTES / pattern.to_string().len();
        let uses = vec![pattern; most];
        let gone = (0..64)
            .map(|n| (version(n + 1), ColumnPattern::column(None, "t", &format!("{n}{}", "\"".repeat(8)))));
        let columns = ReleaseColumns::new("1..=99".parse().unwrap(), uses, gone);
        let json = serde_json::to_vec(&columns).unwrap();
        assert!((6000..=crate::store::MAX_VALUE_BYTES).contains(&json.len()), "{}", json.len());
    }

    #[test]
    fn what_is_lost_ends_the_range_and_is_told_as_what_it_is() {
        let works = |reads: &str, at: u32, with: &str| {
            let lost = Lost {
                column: "a.b".parse().unwrap(),
                with: with.parse().unwrap(),
                at: version(at),
                by: ReleaseRef { service: "shop".parse().unwrap(), version: "4".parse().unwrap() },
            };
            Works { reads: reads.parse().unwrap(), lost: Some(lost) }
        };
        let one = works("1..=29", 20, "a.b");
        assert!(one.with(version(19)) && !one.with(version(20)) && !one.with(version(30)));
        assert_eq!(one.why_not(version(20)), "uses a.b, which migration 20 of shop 4 takes away");
        assert_eq!(one.why_not(version(30)), "reads 1..=29");
        assert_eq!(one.range().unwrap().to_string(), "1..=19");
        assert_eq!(works("20..=29", 20, "a.b").range(), None);
        assert_eq!(works("1..=9", 20, "a.b").range().unwrap().to_string(), "1..=9");
        assert_eq!(
            works("1..=29", 20, "a.*").why_not(version(21)),
            "uses a.b, and migration 20 of shop 4 takes a.* away"
        );
        assert_eq!(
            works("1..=29", 20, "*.*.*").why_not(version(21)),
            "uses a.b, and what migration 20 of shop 4 takes away cannot be told"
        );
    }
}
