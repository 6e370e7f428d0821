//! What is remembered of schemas: what a release does to one, what a database's is, what a host should apply.

use handover_model::{
    DeploymentId, MigrationId, ReleaseRef, Resolution, SchemaPhase, SchemaRange, SchemaReader, SchemaVersion,
    ServiceName, Timestamp,
};
use serde::{Deserialize, Serialize};

/// What a release needs of a schema and makes of it: from its manifest and the names of its migrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSchema {
    /// The database.
    pub database: String,
    /// The versions that its code works with.
    pub reads: SchemaRange,
    /// The version after its expand migrations; `None` where it has none.
    pub expand: Option<SchemaVersion>,
    /// The version after its backfill.
    pub backfill: Option<SchemaVersion>,
    /// The version after its contract migrations.
    pub contract: Option<SchemaVersion>,
    /// How long it is the current release before its contract comes by itself, in milliseconds; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_after: Option<u64>,
    /// What the linter says of its migrations; `None` where it does not know the kind of database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lint: Option<LintRecord>,
}

/// What the linter says of a release's migrations.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LintRecord {
    /// Findings that would break or stop a live system.
    pub fails: u32,
    /// Migrations that are programs: nobody looks at what they do.
    #[serde(default)]
    pub programs: u32,
    /// Findings that are worth a look.
    pub warns: u32,
    /// The first of them, a line each, at most 200 characters: those that fail before the others.
    pub first: Vec<String>,
}

impl ReleaseSchema {
    /// The version after the migrations of a phase; `None` where the release has none.
    #[must_use]
    pub const fn after(&self, phase: SchemaPhase) -> Option<SchemaVersion> {
        match phase {
            SchemaPhase::Expand => self.expand,
            SchemaPhase::Backfill => self.backfill,
            SchemaPhase::Contract => self.contract,
        }
    }

    /// The version that a phase still has to make of a schema, as far as is known where that is.
    #[must_use]
    pub fn pending(&self, phase: SchemaPhase, known: Option<SchemaVersion>) -> Option<SchemaVersion> {
        self.after(phase).filter(|after| known.is_none_or(|known| *after > known))
    }
}

/// A database's schema, as far as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::fleet) struct SchemaRecord {
    /// What it was when a host that migrated it said so last; `None` where none did.
    pub(in crate::fleet) seen: Option<SeenSchema>,
    /// Migrations that were ordered and of which nobody has said that all are applied. The schema may be at any version up to
    /// theirs, also when their deployment has ended meanwhile.
    pub(in crate::fleet) heading: Option<Heading>,
    /// The last backfill that was begun; `None` where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::fleet) backfilled: Option<Backfilled>,
}

/// A backfill that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fleet) struct Backfilled {
    /// The version behind it.
    pub(in crate::fleet) version: SchemaVersion,
    /// Of which service's releases it is.
    pub(in crate::fleet) service: ServiceName,
    /// By which deployment, the last time from its beginning.
    pub(in crate::fleet) begun_by: DeploymentId,
    /// Whether it was begun from its beginning, and nothing that does not know of it has run since.
    pub(in crate::fleet) fresh: bool,
    /// A release that has run since it was begun, and does not know of it; `None`: what it carries over is right.
    pub(in crate::fleet) overtaken_by: Option<ReleaseRef>,
}

impl Backfilled {
    /// A deployment begins or resumes a service's backfill to a version; `again`: from its beginning.
    pub(in crate::fleet) fn begins(
        before: Option<Self>,
        version: SchemaVersion,
        service: &ServiceName,
        by: DeploymentId,
        again: bool,
    ) -> Self {
        match before.filter(|before| before.version == version && before.service == *service) {
            None => Self { version, service: service.clone(), begun_by: by, fresh: true, overtaken_by: None },
            // What was overtaken stays so until it is through. A second attempt goes on where the first one was.
            Some(before) if again && before.begun_by != by => Self { begun_by: by, fresh: true, ..before },
            Some(before) => before,
        }
    }

    /// It is through.
    pub(in crate::fleet) fn ends(&mut self) {
        if self.fresh {
            self.overtaken_by = None;
        }
    }

    /// A release that does not know of it gets connections. Whether that is news.
    pub(in crate::fleet) fn overtaken(&mut self, by: &ReleaseRef) -> bool {
        let news = self.fresh || self.overtaken_by.is_none();
        if news {
            (self.fresh, self.overtaken_by) = (false, Some(by.clone()));
        }
        news
    }
}

/// A database's schema, as a host that migrated it said last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSchema {
    /// Its version.
    pub version: SchemaVersion,
    /// When it became so.
    pub at: Timestamp,
    /// By which deployment.
    pub by: DeploymentId,
    /// By which of its release's migrations.
    pub phase: SchemaPhase,
}

/// Where migrations lead that were ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fleet) struct Heading {
    /// The version behind the last of them.
    pub(in crate::fleet) to: SchemaVersion,
    /// Of which deployment they are.
    pub(in crate::fleet) by: DeploymentId,
    /// Which of its release's migrations.
    pub(in crate::fleet) phase: SchemaPhase,
}

/// What a host should apply to the database of a service. Written with the target's revision: under one revision it
/// is always the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::fleet) struct MigrationRecord {
    /// Which attempt.
    pub(in crate::fleet) id: MigrationId,
    /// Whose migrations.
    pub(in crate::fleet) release: ReleaseRef,
    /// Which of them.
    pub(in crate::fleet) phase: SchemaPhase,
    /// Code that must work with whatever the schema becomes.
    pub(in crate::fleet) readers: Vec<SchemaReader>,
    /// What a person found of one that an earlier attempt left half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::fleet) resolve: Option<Resolution>,
    /// Whether it stands still.
    pub(in crate::fleet) paused: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backfill_is_right_where_nothing_ran_that_does_not_know_of_it_since_it_was_begun_from_its_beginning()
    {
        let (service, version): (ServiceName, _) = ("shop".parse().unwrap(), SchemaVersion::new(3));
        let old = ReleaseRef { service: service.clone(), version: "1".parse().unwrap() };
        let begins =
            |before, by, again| Backfilled::begins(before, version, &service, DeploymentId::new(by), again);
        let mut backfill = begins(None, 2, false);
        backfill.ends();
        assert_eq!(backfill.overtaken_by, None);
        assert!(backfill.overtaken(&old) && !backfill.overtaken(&old));
        let mut resumed = begins(Some(backfill.clone()), 3, false);
        resumed.ends();
        assert_eq!(resumed.overtaken_by.as_ref(), Some(&old), "it went on where it was");
        let mut again = begins(Some(backfill.clone()), 3, true);
        assert_eq!(again.overtaken_by.as_ref(), Some(&old), "it is not through");
        again.ends();
        assert_eq!(again.overtaken_by, None);
        let mut again = begins(Some(backfill), 3, true);
        assert!(again.overtaken(&old), "while it was done again");
        let mut second = begins(Some(again), 3, true);
        second.ends();
        assert_eq!(
            second.overtaken_by,
            Some(old),
            "a second attempt of the deployment goes on where the first was"
        );
    }

    #[test]
    fn a_phase_has_something_to_do_where_its_version_is_above_what_is_known() {
        let version = SchemaVersion::new;
        let schema = ReleaseSchema {
            database: "shop".to_owned(),
            reads: "41..=43".parse().unwrap(),
            expand: Some(version(42)),
            backfill: None,
            contract: Some(version(44)),
            contract_after: None,
            lint: None,
        };
        assert_eq!(schema.pending(SchemaPhase::Expand, None), Some(version(42)));
        assert_eq!(schema.pending(SchemaPhase::Expand, Some(version(41))), Some(version(42)));
        assert_eq!(schema.pending(SchemaPhase::Expand, Some(version(42))), None);
        assert_eq!(schema.pending(SchemaPhase::Backfill, None), None);
        assert_eq!(schema.pending(SchemaPhase::Contract, Some(version(42))), Some(version(44)));
    }
}
