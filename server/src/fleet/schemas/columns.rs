//! Columns: which of them a release's code uses, and which its migrations take away.
//!
//! A range of versions is what somebody thinks that code works with. Where a release names the columns that it uses, the
//! migrations themselves are held against it, whoever's they are: it works with no version from the one on that takes one of
//! them away, whatever its range says.

use super::ReleaseSchema;
use crate::fleet::state::State;
use handover_model::{ColumnPattern, ReleaseRef, SchemaRange, SchemaVersion};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Entries of what a release's migrations take away, and their bytes as JSON: with what it uses they are one value of the store.
const MOST_GONE: usize = 64;
const MOST_GONE_BYTES: usize = 3072;
/// So many releases whose migrations took something away are remembered of a database.
const MOST_TAKERS: usize = 16;

/// The columns of a release.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReleaseColumns {
    /// Those that its code uses, where its manifest says so.
    pub uses: Vec<ColumnPattern>,
    /// Those that its migrations take away, in the order of their versions; where there are many, wider ones that have them.
    pub gone: Vec<Gone>,
}

/// Columns that a migration takes away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gone {
    /// The first version of the schema without them.
    pub at: SchemaVersion,
    /// Which.
    pub what: ColumnPattern,
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
        Self { uses, gone: bounded(gone.collect()) }
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uses.is_empty() && self.gone.is_empty()
    }

    /// What a version takes away, and none before it.
    pub(in crate::fleet) fn gone_between(
        &self,
        above: SchemaVersion,
        to: SchemaVersion,
    ) -> impl Iterator<Item = &Gone> {
        self.gone.iter().filter(move |gone| above < gone.at && gone.at <= to)
    }
}

/// As many as are remembered: where there are more, the table stands for its columns, then the schema for its tables, then all
/// for everything. It is never less than what was there.
fn bounded(mut gone: BTreeSet<Gone>) -> Vec<Gone> {
    let bytes = |gone: &BTreeSet<Gone>| serde_json::to_vec(gone).map_or(usize::MAX, |json| json.len());
    while gone.len() > MOST_GONE || bytes(&gone) > MOST_GONE_BYTES {
        let wider: BTreeSet<Gone> =
            gone.iter().map(|Gone { at, what }| Gone { at: *at, what: what.wider() }).collect();
        if wider == gone {
            // All is gone, again and again: what comes first has it already.
            gone = gone.pop_first().into_iter().collect();
            break;
        }
        gone = wider;
    }
    gone.into_iter().collect()
}

/// A release whose migrations took something away, and which of them were applied for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fleet) struct Taker {
    release: ReleaseRef,
    /// The version that the schema was at before, as far as that was known.
    above: SchemaVersion,
    /// The version that it may be at behind them.
    to: SchemaVersion,
}

/// Notes that migrations of a release were begun, from one version to another.
pub(super) fn begin(takers: &mut Vec<Taker>, release: &ReleaseRef, above: SchemaVersion, to: SchemaVersion) {
    takers.retain(|taker| taker.release != *release || taker.above < above);
    takers.push(Taker { release: release.clone(), above, to });
    let too_many = takers.len().saturating_sub(MOST_TAKERS);
    takers.drain(..too_many);
}

/// Notes what the schema is now that a release's migrations are applied: what others had begun above them they have not done.
pub(super) fn end(takers: &mut Vec<Taker>, release: &ReleaseRef, version: SchemaVersion) {
    let Some(own) = takers.iter().rposition(|taker| taker.release == *release) else { return };
    let mut last = takers.remove(own);
    for taker in takers.iter_mut() {
        taker.to = taker.to.min(last.above);
    }
    last.to = version;
    takers.push(last);
    takers.retain(|taker| taker.above < taker.to);
}

/// A column that a release uses and that is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The column, as the release says that it uses it.
    pub column: ColumnPattern,
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

    /// Why it does not work with a version, behind the release's name.
    #[must_use]
    pub fn why_not(&self, version: SchemaVersion) -> String {
        match &self.lost {
            Some(lost) if self.reads.contains(version) => lost.told(),
            Some(_) | None => format!("reads {}", self.reads),
        }
    }

    /// The versions that are left; those that it says where none is.
    #[must_use]
    pub fn range(&self) -> SchemaRange {
        let last = self.lost.as_ref().and_then(|lost| lost.at.number().checked_sub(1));
        let left = last.and_then(|last| {
            SchemaRange::new(self.reads.first(), SchemaVersion::new(last).min(self.reads.last())).ok()
        });
        left.unwrap_or(self.reads)
    }
}

impl Lost {
    /// `uses customers.email, which migration 20 of shop 4 takes away`.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { column, at, by } = self;
        format!("uses {column}, which migration {at} of {by} takes away")
    }
}

impl State {
    /// The versions that a release's code works with, with what was taken from the database's schema, and with what another
    /// release would take; `None` where it says nothing of a schema.
    pub(in crate::fleet) fn works(
        &self,
        release: &ReleaseRef,
        planned: Option<&ReleaseRef>,
    ) -> Option<Works> {
        let schema = self.schema_of(release)?;
        Some(Works { reads: schema.reads, lost: self.lost(schema, planned) })
    }

    fn lost(&self, schema: &ReleaseSchema, planned: Option<&ReleaseRef>) -> Option<Lost> {
        let ReleaseSchema { database, reads, columns, .. } = schema;
        if columns.uses.is_empty() {
            return None;
        }
        let known = self.schema_version(database).unwrap_or_default();
        let taken = self.schemas.get(database).into_iter().flat_map(|record| &record.takers);
        let taken = taken.map(|taker| (&taker.release, taker.above, taker.to));
        let planned = planned.map(|release| (release, known, SchemaVersion::new(u32::MAX)));
        let gone = taken.chain(planned).flat_map(|(by, above, to)| {
            let theirs = self.schema_of(by).filter(|theirs| theirs.database == *database);
            let gone = theirs.into_iter().flat_map(move |theirs| theirs.columns.gone_between(above, to));
            gone.map(move |gone| (by, gone))
        });
        let lost = gone.filter(|(_, gone)| gone.at >= reads.first()).filter_map(|(by, gone)| {
            let column = columns.uses.iter().find(|used| used.meets(&gone.what))?;
            Some(Lost { column: column.clone(), at: gone.at, by: by.clone() })
        });
        lost.min_by_key(|lost| lost.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> SchemaVersion {
        SchemaVersion::new(number)
    }

    fn gone(reads: &str, gone: &[(u32, &str)]) -> Vec<String> {
        let gone = gone.iter().map(|(at, what)| (version(*at), what.parse().unwrap()));
        let columns = ReleaseColumns::new(reads.parse().unwrap(), Vec::new(), gone);
        columns.gone.iter().map(|gone| format!("{} {}", gone.at, gone.what)).collect()
    }

    #[test]
    fn what_was_gone_before_the_code_is_left_out() {
        assert_eq!(gone("10..=29", &[(20, "a.b"), (9, "a.c"), (10, "a.d")]), ["10 a.d", "20 a.b"]);
    }

    #[test]
    fn what_is_too_much_becomes_wider_and_never_less() {
        let columns: Vec<String> = (0..65).map(|n| format!("t{}.c{n}", n % 3)).collect();
        let many: Vec<(u32, &str)> = columns.iter().map(|column| (20, column.as_str())).collect();
        assert_eq!(gone("1..=29", &many[..64]).len(), 64);
        assert_eq!(gone("1..=29", &many), ["20 t0.*", "20 t1.*", "20 t2.*"]);
        let long: Vec<String> = (0..40).map(|n| format!("s.{}{n}.c", "t".repeat(60))).collect();
        let long: Vec<(u32, &str)> = long.iter().map(|column| (20, column.as_str())).collect();
        assert_eq!(gone("1..=29", &long), ["20 s.*.*"]);
        let ever: Vec<(u32, &str)> = (20..100).map(|at| (at, "a.b")).collect();
        assert_eq!(gone("1..=29", &ever), ["20 *.*.*"]);
    }

    #[test]
    fn all_that_is_remembered_of_a_release_is_one_value_of_the_store() {
        let uses: Vec<ColumnPattern> =
            (0..10).map(|n| format!("\"{}\"\"{n}\".*", "\"\"".repeat(60)).parse().unwrap()).collect();
        let taken = (0..64).map(|n| (version(n + 1), format!("{}.c{n}", "t".repeat(30)).parse().unwrap()));
        let columns = ReleaseColumns::new("1..=99".parse().unwrap(), uses, taken);
        let json = serde_json::to_vec(&columns).unwrap();
        assert!(json.len() <= crate::store::MAX_VALUE_BYTES, "{}", json.len());
    }

    #[test]
    fn what_others_began_above_what_was_applied_they_have_not_done() {
        let release = |version: &str| ReleaseRef {
            service: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
        };
        let mut takers = Vec::new();
        let told = |takers: &[Taker]| {
            let told = takers.iter().map(|t| format!("{}: {}-{}", t.release.version, t.above, t.to));
            told.collect::<Vec<_>>().join(", ")
        };
        begin(&mut takers, &release("4"), version(12), version(20));
        begin(&mut takers, &release("4"), version(12), version(20));
        assert_eq!(told(&takers), "4: 12-20", "another attempt");
        begin(&mut takers, &release("5"), version(12), version(25));
        assert_eq!(told(&takers), "4: 12-20, 5: 12-25", "nobody knows what became of the first");
        end(&mut takers, &release("5"), version(25));
        assert_eq!(told(&takers), "5: 12-25");
        begin(&mut takers, &release("6"), version(25), version(40));
        end(&mut takers, &release("6"), version(30));
        assert_eq!(told(&takers), "5: 12-25, 6: 25-30");
        end(&mut takers, &release("9"), version(50));
        for number in 0..20 {
            begin(&mut takers, &release(&format!("7.{number}")), version(30 + number), version(31 + number));
        }
        assert_eq!(takers.len(), MOST_TAKERS);
    }
}
