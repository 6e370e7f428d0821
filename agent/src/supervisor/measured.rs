//! Telling who is measured: the instances of services that count their requests.

use super::{Instance, Supervisor};
use crate::{
    measuring::{Asked, Limited, Roster, Subject},
    state::{Run, State},
};
use handover_model::{InstanceId, ServiceName};
use std::collections::BTreeMap;
use tokio::sync::watch;

impl Supervisor {
    /// Who is to be measured, told anew whenever something has happened.
    #[must_use]
    pub fn roster(&self) -> watch::Receiver<Roster> {
        self.roster.subscribe()
    }

    /// Tells whoever measures what runs. Never waits.
    pub(super) fn tell_measured(&self) {
        let mut roster: Roster = BTreeMap::new();
        for (id, instance) in &self.instances {
            if let Some(subject) = self.subject(id, instance) {
                roster.entry(instance.service().clone()).or_default().push(subject);
            }
        }
        // One of them is enough: it is compared with the others.
        roster.retain(|_, subjects| subjects.iter().any(|subject| subject.config.is_some()));
        self.roster.send_if_modified(|told| {
            let changed = *told != roster;
            if changed {
                *told = roster;
            }
            changed
        });
    }

    /// An instance that serves or is to serve. One that is taken out is not measured any more.
    fn subject(&self, id: &InstanceId, instance: &Instance) -> Option<Subject> {
        let State::Running { group, run, .. } = &instance.state else { return None };
        let service: &ServiceName = instance.service();
        let manifest = instance.manifest.as_ref()?;
        let asked = match run {
            Run::Starting { .. } => Asked::NotYet,
            Run::Ready { .. } | Run::Unhealthy { .. } => {
                // Through a pin that is not set another instance would answer for this one.
                let leads = self.gates.leads_to(service, &manifest.listeners, id);
                let endpoint = manifest.metrics.as_ref().and_then(|metrics| metrics.source.endpoint());
                let way = endpoint.and_then(|endpoint| instance.way(&endpoint.listener));
                way.filter(|_| leads).map_or(Asked::Unreachable, Asked::By)
            }
            Run::Emptying { .. } | Run::Draining { .. } | Run::Stopping { .. } => return None,
        };
        Some(Subject {
            instance: id.clone(),
            life: instance.life,
            run: instance.restarts,
            share: self.gates.share(service, id).unwrap_or_default(),
            asked,
            config: manifest.metrics.clone(),
            limited: Limited {
                resets: manifest.judge.max_resets.is_some(),
                refused: manifest.judge.max_refused.is_some(),
            },
            listeners: manifest.listeners.iter().map(|listener| listener.address).collect(),
            group: group.clone(),
        })
    }
}
