//! Contracts that come by themselves: once their release has been the current one for as long as its manifest says.
//!
//! Nothing of it is written down: since when a release is the current one, and whether its contract was tried, follows from
//! the deployments that are remembered. What holds such a contract up is what holds up one that a person asks for.

use crate::fleet::{
    asked::DeploymentRequest,
    effects::Effects,
    locks::Asker,
    records::{Ending, Purpose},
    refusal::Refusal,
    state::State,
};
use handover_model::{DeploymentId, Duration, ReleaseRef, SchemaPhase, ServiceName, Timestamp};
use handover_rollout::Plan;

/// Who begins contracts whose time has come.
pub(in crate::fleet) const SOAK: &str = "server (contract after its time)";
/// So long after a refusal it is asked again.
const AGAIN: Duration = Duration::from_secs(60);

/// A contract that comes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soak {
    /// Whose.
    pub release: ReleaseRef,
    /// When its release will have been the current one for long enough.
    pub due: Timestamp,
    /// What is in the way since then, in words; `None` where nothing was asked yet, or nothing is.
    pub waits_for: Option<String>,
    /// The deployment that began it. None comes by itself after it: a person looks at what became of it.
    pub begun: Option<DeploymentId>,
}

/// A contract that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::fleet) struct Held {
    /// Of which release it is.
    release: ReleaseRef,
    /// When it is asked again.
    again: Timestamp,
    /// Why.
    why: String,
}

impl State {
    /// The contract of a service's current release, where it comes by itself and is not applied.
    #[must_use]
    pub fn soak(&self, service: &ServiceName) -> Option<Soak> {
        let current = self.services.get(service)?.current.clone()?;
        let release = ReleaseRef { service: service.clone(), version: current };
        let schema = self.schema_of(&release)?;
        let after = Duration::from_millis(schema.contract_after?);
        schema.pending(SchemaPhase::Contract, self.schema_version(&schema.database))?;
        let of_service =
            self.deployments.iter().rev().filter(|(_, record)| record.release.service == *service);
        let made_current = of_service.clone().find_map(|(id, record)| {
            let (at, ending) = record.ended?;
            let is_current = matches!(record.purpose, Purpose::Release | Purpose::Rollback);
            (is_current && ending == Ending::Succeeded).then_some((*id, at, &record.release))
        });
        let (id, since, _) = made_current.filter(|(_, _, made)| **made == release)?;
        let begun = of_service.take_while(|(later, _)| **later > id);
        let begun = begun.filter(|(_, record)| record.created_by == SOAK).map(|(id, _)| *id).last();
        // One that a person began and ended is a person's, too.
        let halfway = self.heading(&schema.database).filter(|heading| heading.phase == SchemaPhase::Contract);
        let begun = begun.or(halfway.map(|heading| heading.by));
        let held = self.held_contracts.get(service).filter(|held| held.release == release);
        let waits_for = match begun {
            Some(id) if !self.live.contains_key(&id) => Some(format!(
                "{id} began it and has not applied it: go on with `handover migrate contract {service}`"
            )),
            Some(_) => None,
            None => held.map(|held| held.why.clone()),
        };
        Some(Soak { release, due: since + after, waits_for, begun })
    }

    /// Those that were not begun, each with when it is asked whether it may be. One behind a deployment waits for its end.
    fn soaks(&self) -> impl Iterator<Item = (Soak, Timestamp)> {
        let free = self.services.keys().filter(|service| self.live_of(service).is_none());
        let soaks = free.filter_map(|service| self.soak(service)).filter(|soak| soak.begun.is_none());
        soaks.map(|soak| {
            let held = self.held_contracts.get(&soak.release.service);
            let again = held.filter(|held| held.release == soak.release).map(|held| held.again);
            let asked = again.map_or(soak.due, |again| again.max(soak.due));
            (soak, asked)
        })
    }

    /// When [`Self::end_soaks`] is wanted next.
    pub(in crate::fleet) fn next_soak(&self) -> Option<Timestamp> {
        self.soaks().map(|(_, at)| at).min()
    }

    /// Begins the contracts whose time has come, unless something is in their way.
    pub(in crate::fleet) fn end_soaks(
        &mut self,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let due: Vec<ReleaseRef> =
            self.soaks().filter(|(_, at)| *at <= now).map(|(soak, _)| soak.release).collect();
        for release in due {
            match self.may_contract(&release, now) {
                Ok(plan) => {
                    let id = self.begin(&plan, Purpose::Migration, SOAK, "", now, effects)?;
                    let detail = format!("{id}: the contract of {release}, which has run for long enough");
                    self.record_own("CreateDeployment", release.service.as_str(), detail, "", now, effects)?;
                    self.held_contracts.remove(&release.service);
                }
                Err(refusal) => {
                    let (service, why) = (release.service.clone(), refusal.to_string());
                    let before = self.held_contracts.get(&service).map(|held| &held.why);
                    if before != Some(&why) {
                        tracing::info!(%release, why, "the contract waits, though its time has come");
                        effects.changed = true;
                    }
                    self.held_contracts.insert(service, Held { release, again: now + AGAIN, why });
                }
            }
        }
        Ok(())
    }

    /// The plan of a contract that nobody asked for: it takes over no lock, and overrides no freeze.
    fn may_contract(&self, release: &ReleaseRef, now: Timestamp) -> Result<Plan, Refusal> {
        let ReleaseRef { service, version } = release;
        let request = DeploymentRequest {
            migrate: Some(SchemaPhase::Contract),
            ..DeploymentRequest::of(service, version)
        };
        let asker = Asker { by: SOAK.to_owned(), request: String::new(), take_over: None, limited: false };
        self.pass_locks(service, &asker, &request.command(), now)?;
        self.pass_freezes(service, None, &asker, &request.command(), now)?;
        Ok(self.plan_deployment(&request, now)?.0)
    }
}
