//! The way from an operator's call to the fleet. A handler has no other: it says of what the call is, which must be what
//! the table says, and gets an [`Access`], through which it looks or changes. Each change writes its entry of the audit in
//! the same commit.

use super::{
    caller::Caller,
    permissions::{Kind, Permission, Rule, Scope},
    request,
};
use crate::{
    audit::{AuditLog, Deed, OK},
    events::Events,
    fleet::{Asker, Desk, Fleet, Grant, Link, LockScope, Refusal, State, granted},
    metrics::Metrics,
};
use handover_model::{DeploymentId, HostName, ServiceName, Timestamp};
use handover_rollout::{Deployment, Record};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;
use tonic::{Request, Status};

/// Who calls, with what they may do, as it was when the call began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Who it is.
    pub caller: Caller,
    /// What it may do.
    pub grant: Grant,
    /// From where it calls.
    pub from: String,
}

/// What a call is about, as the audit tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    service: String,
    resource: String,
    detail: String,
    reason: String,
    request: String,
}

impl Subject {
    /// About a service.
    pub(super) fn service(service: &ServiceName) -> Self {
        Self { service: service.to_string(), resource: format!("service {service}"), ..Self::default() }
    }

    /// About something else, in words: `host web-1`.
    pub(super) fn of(resource: impl Into<String>) -> Self {
        Self { resource: resource.into(), ..Self::default() }
    }

    /// With what exactly is done.
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With the reason that the operator gave.
    pub(super) fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// With the operator's name for the request.
    pub(super) fn request(mut self, request: impl Into<String>) -> Self {
        self.request = request.into();
        self
    }

    /// Says more of what is done, once it is known.
    pub(super) fn say(&mut self, detail: impl Into<String>) {
        self.detail = detail.into();
    }

    fn on(self, deed: Deed) -> Deed {
        let Self { service, resource, detail, reason, request } = self;
        Deed { service, resource, detail, reason, request, ..deed }
    }
}

/// What a call is about, shared between its handler and the layer around it, which tells of refusals.
#[derive(Clone, Debug, Default)]
pub(super) struct About(Arc<Mutex<(Subject, bool)>>);

impl About {
    fn set(&self, subject: Subject) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = subject;
    }

    fn set_told(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
    }

    /// Whether the audit has the call already.
    pub(super) fn told(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// The entry for the call's end.
    pub(super) fn deed(&self, deed: Deed, rule: &Rule, outcome: &str, detail: &str) -> Deed {
        let subject = self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        let mut deed = subject.on(deed);
        deed.method = rule.method().to_owned();
        deed.outcome = outcome.to_owned();
        if !detail.is_empty() {
            deed.detail = detail.to_owned();
        }
        deed
    }
}

/// An operator's call that the table allows. What it may touch is asked next.
#[derive(Clone, Debug)]
pub(super) struct Permit {
    fleet: Fleet,
    operator: Arc<Operator>,
    rule: &'static Rule,
    about: About,
}

impl Permit {
    pub(super) fn new(fleet: Fleet, operator: Arc<Operator>, rule: &'static Rule, about: About) -> Self {
        Self { fleet, operator, rule, about }
    }

    /// The permit of a request: the layer has laid it there.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let permit = request.extensions().get::<Self>();
        permit.cloned().ok_or_else(|| Refusal::Internal("a call came without a permit".to_owned()).into())
    }

    /// Who calls, as records and other operators name it.
    pub(super) fn by(&self) -> String {
        self.operator.caller.title()
    }

    /// Who calls, as the fleet asks before it changes something that may be locked.
    pub(super) fn asker(&self) -> Asker {
        Asker { by: self.by(), limited: !self.operator.grant.covers_all(), ..Asker::default() }
    }

    /// Access to the fleet as a whole.
    pub(super) fn fleet(self) -> Result<Access, Status> {
        self.in_scope(Scope::Fleet)
    }

    /// Access to one service.
    pub(super) fn service(self, service: &ServiceName) -> Result<Access, Status> {
        self.about.set(Subject::service(service));
        self.covers(service)?;
        self.in_scope(Scope::Service)
    }

    /// Access to the service of a deployment: the one of this number, or the newest of the service.
    pub(super) async fn deployment(self, id: u64, service: &str) -> Result<(Access, DeploymentId), Status> {
        if id == 0 {
            let service: ServiceName = request::parse("service", service)?;
            let access = self.service(&service)?;
            let about = Subject::service(&service);
            let newest = access.look(move |state, _| state.newest_deployment(&service)).await?;
            access.permit.about.set(about.detail(newest.to_string()));
            return Ok((access, newest));
        }
        let id = DeploymentId::new(id);
        self.about.set(Subject::of(format!("deployment {id}")));
        let service = self
            .fleet
            .ask(move |desk| Ok(desk.state.deployment(id)?.0.release.service.clone()))
            .await
            .map_err(Status::from)?;
        let access = self.service(&service)?;
        access.permit.about.set(Subject::service(&service).detail(id.to_string()));
        Ok((access, id))
    }

    /// Access to what a lock is on; the fleet's own only where the operator is not limited to services.
    pub(super) fn locks(self, scope: &LockScope) -> Result<Access, Status> {
        match scope {
            LockScope::Service(service) => self.service(service),
            LockScope::Fleet => {
                self.about.set(Subject::of("the fleet"));
                if !self.operator.grant.covers_all() {
                    let why = "it is about every service, and this operator is limited to some".to_owned();
                    return Err(Refusal::NotAllowed { who: self.operator.caller.title(), why }.into());
                }
                self.in_scope(Scope::Service)
            }
        }
    }

    /// What a freeze is on, so that it can be asked whether the operator may end it.
    pub(super) async fn frozen_by(self, number: u64) -> Result<(Self, LockScope), Status> {
        self.about.set(Subject::of(format!("freeze f{number}")));
        let scope = self.fleet.ask(move |desk| desk.state.frozen_by(number)).await.map_err(Status::from)?;
        Ok((self, scope))
    }

    /// Access to lists, of which only what [`Access::sees`] is shown.
    pub(super) fn filtered(self, only: Option<&ServiceName>) -> Result<Access, Status> {
        only.map_or(Ok(()), |service| self.covers(service))?;
        self.in_scope(Scope::Filtered)
    }

    fn covers(&self, service: &ServiceName) -> Result<(), Refusal> {
        let Operator { caller, grant, .. } = &*self.operator;
        if grant.covers(service) {
            return Ok(());
        }
        let services: Vec<_> = grant.services.iter().map(ToString::to_string).collect();
        Err(Refusal::NotAllowed {
            who: caller.title(),
            why: format!(
                "it is about service {service}, and this operator is limited to {}",
                services.join(", ")
            ),
        })
    }

    fn in_scope(self, scope: Scope) -> Result<Access, Status> {
        match self.rule.permission {
            Permission::Operator(_, named) if named == scope => Ok(Access { permit: self }),
            Permission::Local if scope == Scope::Fleet => Ok(Access { permit: self }),
            Permission::Operator(..) | Permission::Local | Permission::Agent | Permission::Anyone => {
                Err(Refusal::Internal(format!("{} stands in the table with another scope", self.rule.path))
                    .into())
            }
        }
    }
}

/// What a call may touch: the fleet, seen by one operator.
#[derive(Clone, Debug)]
pub(super) struct Access {
    permit: Permit,
}

impl Access {
    /// Whether the operator may see this service.
    pub(super) fn sees(&self, service: &ServiceName) -> bool {
        self.permit.operator.grant.covers(service)
    }

    /// Who calls, as records and other operators name it.
    pub(super) fn by(&self) -> String {
        self.permit.by()
    }

    /// Who calls, as the fleet asks before it changes something that may be locked.
    pub(super) fn asker(&self) -> Asker {
        self.permit.asker()
    }

    /// What is known already of what the call is about.
    pub(super) fn subject(&self) -> Subject {
        self.permit.about.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Looks, and changes nothing.
    pub(super) async fn look<T, F>(&self, look: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&State, Timestamp) -> Result<T, Refusal> + Send + 'static,
    {
        self.permit.fleet.ask(move |desk| look(desk.state, desk.now)).await
    }

    /// Changes something, and has it told in the audit. `change` may say more of it than was known before. What the
    /// operator may do is asked once more: a certificate may have been revoked since the call began.
    pub(super) async fn change<T, F>(&self, subject: Subject, change: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>, &mut Subject) -> Result<T, Refusal> + Send + 'static,
    {
        let Permit { fleet, operator, rule, about } = self.permit.clone();
        if rule.kind != Kind::Changes {
            return Err(Refusal::Internal(format!("{} stands in the table as a read", rule.path)));
        }
        about.set(subject.clone());
        let told = about.clone();
        let changed = fleet.ask(move |desk| {
            still(&operator, desk.state)?;
            let mut subject = subject;
            let changed = change(desk, &mut subject)?;
            about.set(subject);
            let deed = operator.caller.deed(operator.grant.role.as_str(), &operator.from);
            desk.state.record(about.deed(deed, rule, OK, ""), desk.now, desk.effects)?;
            Ok(changed)
        });
        let changed = changed.await?;
        told.set_told();
        Ok(changed)
    }

    /// Looks, with the ways to the hosts' sessions: to ask them something, not to change anything.
    pub(super) async fn ask_hosts<T, F>(&self, ask: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&State, &BTreeMap<HostName, Link>) -> Result<T, Refusal> + Send + 'static,
    {
        self.permit.fleet.ask(move |desk| ask(desk.state, desk.links)).await
    }

    /// What the server counts.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        self.permit.fleet.metrics()
    }

    /// What happened.
    pub(super) fn events(&self) -> Events {
        self.permit.fleet.events()
    }

    /// Counts up whenever something that can be seen has changed.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.permit.fleet.changes()
    }

    /// A deployment as the journal has it.
    pub(super) async fn replayed(&self, id: DeploymentId) -> Result<Deployment, Refusal> {
        self.permit.fleet.from_journal(id).await
    }

    /// Some records of a deployment as the journal has them, from number `from` on; fewer than `limit` where it ends.
    pub(super) async fn records(
        &self,
        id: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, Refusal> {
        self.permit.fleet.records(id, from, limit).await
    }

    /// The audit.
    pub(super) fn audit_log(&self) -> AuditLog {
        self.permit.fleet.audit_log()
    }
}

/// That the operator may still do what it might when its call began.
fn still(operator: &Operator, state: &State) -> Result<(), Refusal> {
    let Caller::Operator { name, serial, .. } = &operator.caller else { return Ok(()) };
    if *granted(state.operators(), name, serial)? == operator.grant {
        Ok(())
    } else {
        Err(Refusal::NotAllowed {
            who: operator.caller.title(),
            why: "its role or services were changed just now: try again".to_owned(),
        })
    }
}
