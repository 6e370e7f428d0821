//! What stands by after a deployment: former instances that are kept hidden, so that going back to them is one flip.
//!
//! They belong to their service, not to the deployment, which has ended: for a time, or until the next deployment orders
//! the hosts something else.

use super::{
    effects::Effects,
    records::ServiceRecord,
    refusal::Refusal,
    schemas::ReleaseSchema,
    state::{Host, State},
};
use crate::store::Keyspace;
use handover_model::{HostName, ReleaseRef, SchemaPhase, ServiceName, Timestamp};
use handover_rollout::{Assignment, Deployment, HostState};

impl State {
    /// The services whose time of standing by runs, and until when. One with a deployment waits for its end.
    pub(super) fn standbys(&self) -> impl Iterator<Item = (&ServiceName, Timestamp)> {
        self.services.iter().filter_map(|(service, record)| {
            let until = record.standby_until?;
            self.live_of(service).is_none().then_some((service, until))
        })
    }

    /// After a deployment: its old instances stand by from now on, where it leaves any.
    pub(super) fn keep_standbys(
        &mut self,
        engine: &Deployment,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let kept = engine.hosts().any(|view| matches!(view.state, HostState::Done { standby: true, .. }));
        if !kept {
            return Ok(());
        }
        let service = engine.service().clone();
        let record = self.services.entry(service.clone()).or_default();
        record.standby_until = Some(now + engine.plan().policy.keep_warm);
        write(&service, record, effects)
    }

    /// What has stood by long enough is taken out.
    pub(super) fn end_standbys(&mut self, now: Timestamp, effects: &mut Effects) -> Result<(), Refusal> {
        let over: Vec<ServiceName> =
            self.standbys().filter(|(_, until)| *until <= now).map(|(service, _)| service.clone()).collect();
        for service in over {
            for (host, _, assignment) in self.with_standby(&service) {
                tracing::info!(%service, %host, "the former instance has stood by long enough and ends");
                self.assign(&host, &service, assignment, None, effects)?;
            }
            if let Some(record) = self.services.get_mut(&service) {
                record.standby_until = None;
                write(&service, record, effects)?;
            }
        }
        Ok(())
    }

    /// What stands by and does not read what a phase makes of its schema is taken out, of all services, in the order that
    /// begins the migration: a host gives a standby connections by itself where the other instance ends.
    pub(super) fn give_up_standbys(
        &mut self,
        release: &ReleaseRef,
        phase: SchemaPhase,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let schema =
            self.schema_of(release).and_then(|schema| Some((schema.database.clone(), schema.after(phase)?)));
        let Some((database, to)) = schema else { return Ok(()) };
        for service in self.services.keys().cloned().collect::<Vec<_>>() {
            for (host, standby, assignment) in self.with_standby(&service) {
                let left_behind = |schema: &ReleaseSchema| {
                    schema.database == database && !self.works(schema, Some(release)).with(to)
                };
                if self.schema_of(&standby).is_some_and(left_behind) {
                    tracing::info!(%host, release = %standby, schema = %to, "what stands by does not read what the schema becomes, and ends");
                    self.assign(&host, &service, assignment, None, effects)?;
                }
            }
        }
        Ok(())
    }

    /// The hosts on which something of the service stands by, what that is, and what is ordered there without it.
    fn with_standby(&self, service: &ServiceName) -> Vec<(HostName, ReleaseRef, Assignment)> {
        let of_host = |(name, host): (&HostName, &Host)| {
            let assignment = &host.assignments.get(service)?.assignment;
            let (main, standby) = (assignment.main()?, assignment.standby()?);
            Some((name.clone(), standby.release.clone(), Assignment(vec![main.clone()])))
        };
        self.hosts.iter().filter_map(of_host).collect()
    }
}

fn write(service: &ServiceName, record: &ServiceRecord, effects: &mut Effects) -> Result<(), Refusal> {
    effects.put(Keyspace::Services, service.as_str().as_bytes().to_vec(), record)?;
    effects.changed = true;
    Ok(())
}
