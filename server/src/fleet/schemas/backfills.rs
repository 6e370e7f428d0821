//! What is remembered of a service's backfills: which were begun, and whether what they carried over is right.

use super::record::REMEMBERED;
use handover_model::{DeploymentId, ReleaseRef, SchemaVersion};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The backfills of a service that were begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fleet) struct Backfills {
    /// The versions behind them, the last [`REMEMBERED`].
    versions: BTreeSet<SchemaVersion>,
    /// Which deployment began some from their beginning last.
    begun_by: DeploymentId,
    /// It began those from this version on, and nothing that does not know of one of them has run since.
    fresh_from: Option<SchemaVersion>,
    /// Which are not right.
    overtaken: Option<Overtaken>,
}

/// Code has run since that does not know of some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Overtaken {
    /// The last version that it knows of.
    knows: SchemaVersion,
    /// A release that has that code.
    by: ReleaseRef,
}

impl Backfills {
    /// A deployment begins or resumes backfills to these versions; `again`: all from this one on from their beginnings.
    pub(in crate::fleet) fn begin(
        before: Option<Self>,
        versions: impl IntoIterator<Item = SchemaVersion>,
        by: DeploymentId,
        again: Option<SchemaVersion>,
    ) -> Self {
        let nothing = || Self { versions: BTreeSet::new(), begun_by: by, fresh_from: None, overtaken: None };
        let known = before.is_some();
        let mut backfills = before.unwrap_or_else(nothing);
        let new: BTreeSet<_> =
            versions.into_iter().filter(|version| !backfills.versions.contains(version)).collect();
        // A second attempt of one deployment goes on where the first one was.
        if !known || backfills.begun_by != by {
            (backfills.begun_by, backfills.fresh_from) = (by, again.or(new.first().copied()));
        }
        backfills.versions.extend(new);
        while backfills.versions.len() > REMEMBERED {
            backfills.versions.pop_first();
        }
        backfills
    }

    /// They are through: those that were begun from their beginnings are right.
    pub(in crate::fleet) fn end(&mut self) {
        let stale = self.stale().next();
        if stale.is_some_and(|first| self.fresh_from.is_some_and(|from| from <= first)) {
            self.overtaken = None;
        }
    }

    /// A person says that one is right: the first that was not.
    pub(in crate::fleet) fn is_right(&mut self, version: SchemaVersion) {
        if self.stale().next() != Some(version) {
            return;
        }
        if let Some(overtaken) = &mut self.overtaken {
            overtaken.knows = version;
        }
        if self.stale().next().is_none() {
            self.overtaken = None;
        }
    }

    /// A release gets connections whose code knows of this version and none behind it. Whether that is news.
    pub(in crate::fleet) fn serves(&mut self, by: &ReleaseRef, knows: SchemaVersion) -> bool {
        if self.versions.last().is_none_or(|last| *last <= knows) {
            return false;
        }
        let further = self.overtaken.as_ref().is_none_or(|before| knows < before.knows);
        let news = further || self.fresh_from.is_some();
        self.fresh_from = None;
        if further {
            self.overtaken = Some(Overtaken { knows, by: by.clone() });
        }
        news
    }

    /// Releases that have connections now, each with the last version that its code knows of.
    pub(in crate::fleet) fn serve(&mut self, serving: &[(ReleaseRef, SchemaVersion)]) {
        for (release, knows) in serving {
            self.serves(release, *knows);
        }
    }

    /// Those that are not right, in order.
    pub(in crate::fleet) fn stale(&self) -> impl Iterator<Item = SchemaVersion> {
        let knows = self.overtaken.as_ref().map(|overtaken| overtaken.knows);
        self.versions.iter().copied().filter(move |version| knows.is_some_and(|knows| *version > knows))
    }

    /// The first that is not right, and a release that has run since and does not know of it.
    pub(in crate::fleet) fn overtaken(&self) -> Option<(SchemaVersion, &ReleaseRef)> {
        Some((self.stale().next()?, &self.overtaken.as_ref()?.by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> SchemaVersion {
        SchemaVersion::new(number)
    }

    fn release(version: &str) -> ReleaseRef {
        ReleaseRef { service: "shop".parse().unwrap(), version: version.parse().unwrap() }
    }

    fn begin(before: Option<Backfills>, versions: &[u32], by: u64, again: Option<u32>) -> Backfills {
        let versions = versions.iter().copied().map(version);
        Backfills::begin(before, versions, DeploymentId::new(by), again.map(version))
    }

    fn stale(backfills: &Backfills) -> Vec<u32> {
        backfills.stale().map(SchemaVersion::number).collect()
    }

    #[test]
    fn they_are_right_where_nothing_ran_that_does_not_know_of_them_since_their_beginning() {
        let mut backfills = begin(None, &[3, 4], 2, None);
        backfills.end();
        assert!(!backfills.serves(&release("2"), version(4)));
        assert!(backfills.serves(&release("1.5"), version(3)) && stale(&backfills) == [4]);
        assert!(
            backfills.serves(&release("1"), version(1)) && stale(&backfills) == [3, 4],
            "whoever knows least"
        );
        assert!(!backfills.serves(&release("1"), version(1)));
        let mut resumed = begin(Some(backfills.clone()), &[3, 4], 3, None);
        resumed.end();
        assert_eq!(stale(&resumed), [3, 4], "it went on where it was");
        let mut last = begin(Some(backfills.clone()), &[3, 4], 3, Some(4));
        last.end();
        assert_eq!(stale(&last), [3, 4], "3 was not done again");
        let mut again = begin(Some(backfills.clone()), &[3, 4], 3, Some(3));
        assert_eq!(stale(&again), [3, 4], "it is not through");
        again.end();
        assert_eq!(stale(&again), [0; 0]);
        let mut again = begin(Some(backfills), &[3, 4], 3, Some(3));
        assert!(again.serves(&release("1"), version(1)), "while it is done again");
        let mut second = begin(Some(again), &[3, 4], 3, Some(3));
        second.end();
        assert_eq!(stale(&second), [3, 4], "a second attempt of the deployment goes on where the first was");
        second.is_right(version(4));
        assert_eq!(stale(&second), [3, 4], "3 comes first");
        second.is_right(version(3));
        assert_eq!(stale(&second), [4], "of 4 nothing was said");
        second.is_right(version(4));
        assert_eq!(stale(&second), [0; 0]);
    }

    #[test]
    fn another_backfill_makes_those_before_it_no_better() {
        let mut backfills = begin(None, &[3], 2, None);
        backfills.end();
        backfills.serves(&release("1"), version(1));
        let mut another = begin(Some(backfills), &[3, 5], 4, None);
        another.end();
        assert_eq!(stale(&another), [3, 5], "5 may rest on 3, and what ran knows neither");
        let many = begin(None, &(1..=40).collect::<Vec<u32>>(), 2, None);
        assert_eq!(many.versions.len(), REMEMBERED);
    }
}
