//! What is remembered of schemas: what a release does to one, what a database's is, what a host should apply.

use super::columns::ReleaseColumns;
use handover_model::{
    DeploymentId, MigrationId, ReleaseRef, Resolution, SchemaPhase, SchemaRange, SchemaReader, SchemaVersion,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// So many backfills are remembered, of a release and of a service.
pub(crate) const REMEMBERED: usize = 16;

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
    /// The versions after each of its backfills, the last [`REMEMBERED`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backfills: Vec<SchemaVersion>,
    /// Of its backfills those that nothing can do again by itself: neither programs nor in batches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_hand: Vec<SchemaVersion>,
    /// The version after its contract migrations.
    pub contract: Option<SchemaVersion>,
    /// How long it is the current release before its contract comes by itself, in milliseconds; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_after: Option<u64>,
    /// How many of its migrations are programs: nobody looks at what they do.
    #[serde(default)]
    pub programs: u32,
    /// What the linter says of its migrations; `None` where it does not know the kind of database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lint: Option<LintRecord>,
    /// The columns that its code uses and that its migrations take away. They are a record of their own.
    #[serde(skip)]
    pub columns: ReleaseColumns,
}

/// What the linter says of a release's migrations.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LintRecord {
    /// Findings that would break or stop a live system.
    pub fails: u32,
    /// Findings that are worth a look.
    pub warns: u32,
    /// The first of them, a line each, at most 200 bytes: those that fail before the others.
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

    /// The versions after its backfills, in order.
    pub(super) fn backfills(&self) -> Vec<SchemaVersion> {
        if self.backfills.is_empty() { self.backfill.into_iter().collect() } else { self.backfills.clone() }
    }

    /// The last version that its code was written with in mind.
    pub(super) fn knows(&self) -> SchemaVersion {
        let last = SchemaPhase::ALL.into_iter().filter_map(|phase| self.after(phase)).max();
        last.unwrap_or_default().max(self.reads.first())
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
    fn a_phase_has_something_to_do_where_its_version_is_above_what_is_known() {
        let version = SchemaVersion::new;
        let schema = ReleaseSchema {
            database: "shop".to_owned(),
            reads: "41..=43".parse().unwrap(),
            expand: Some(version(42)),
            backfill: None,
            backfills: Vec::new(),
            by_hand: Vec::new(),
            contract: Some(version(44)),
            contract_after: None,
            programs: 0,
            lint: None,
            columns: ReleaseColumns::default(),
        };
        assert_eq!(schema.pending(SchemaPhase::Expand, None), Some(version(42)));
        assert_eq!(schema.pending(SchemaPhase::Expand, Some(version(41))), Some(version(42)));
        assert_eq!(schema.pending(SchemaPhase::Expand, Some(version(42))), None);
        assert_eq!(schema.pending(SchemaPhase::Backfill, None), None);
        assert_eq!(schema.pending(SchemaPhase::Contract, Some(version(42))), Some(version(44)));
    }
}
