//! Migrations by themselves: a plan that changes no host.

use crate::{Migration, Plan, PlanRequest};

/// Makes the plan of one phase of a release's migrations.
#[must_use]
pub fn migrating(request: &PlanRequest, migration: Migration) -> Plan {
    let plan = Plan {
        service: request.service.clone(),
        release: request.release.clone(),
        stages: Vec::new(),
        policy: request.policy(1),
        skipped: Vec::new(),
    };
    plan.with_migrations(Some(migration), None)
}
