//! Reading of what a release declares for its preflight.

use super::Reader;
use crate::{
    language::{Section, Value},
    manifest::{
        PreflightPolicy, Releases, Stops,
        keys::{Key, Listed, Words, preflight as keys},
    },
};

impl Reader<'_, '_> {
    pub(super) fn compatible(&mut self, value: &Value<'_>) -> Option<Vec<Releases>> {
        let Listed(_, most) = keys::COMPATIBLE.value;
        let listed = value.list(self.problems)?;
        if listed.is_empty() || listed.len() > most {
            let message = format!("has {} entries, expected 1 to {most}", listed.len());
            self.problems.add(value.span.clone(), &value.path, message);
            return None;
        }
        Some(listed.iter().filter_map(|releases| releases.parsed(self.problems, str::parse)).collect())
    }

    pub(super) fn preflight(&mut self, section: &Section<'_>) -> PreflightPolicy {
        let mut stops = |key: &Key<Words<Stops>>| section.choice(key, self.problems).unwrap_or_default();
        let policy = PreflightPolicy {
            readiness: stops(&keys::READINESS),
            compatibility: stops(&keys::COMPATIBILITY),
            schema: stops(&keys::SCHEMA),
            draining: stops(&keys::DRAINING),
            rollback: stops(&keys::ROLLBACK),
        };
        section.refuse_unknown(self.problems);
        policy
    }
}
