//! Deployments that the preflight refuses, and how it is overridden.

use super::{
    super::{asked::DeploymentRequest, locks::reason_of, records::Purpose, refusal::Refusal, state::State},
    Point, Subject,
};
use handover_model::{ReleaseRef, Timestamp};

impl State {
    /// That no point of its preflight stops the deployment of a release, or that this is overridden with a reason.
    ///
    /// # Errors
    /// When one does.
    pub(in crate::fleet) fn pass_preflight(
        &self,
        release: &ReleaseRef,
        purpose: Purpose,
        request: &DeploymentRequest,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        match purpose {
            Purpose::Release | Purpose::NamedHosts => {}
            Purpose::Rollback | Purpose::CatchUp | Purpose::Rehearsal | Purpose::Migration => return Ok(()),
        }
        let preflight = self.preflight(&release.service, Some(&release.version), now)?;
        // Whoever overrides the rehearsal has said why it goes without.
        let excused =
            |point: &Point| point.subject == Subject::Rollback && request.override_rehearsal.is_some();
        let stopping = preflight.points.iter().filter(|point| preflight.stops(point) && !excused(point));
        let what: Vec<String> = stopping.map(told).collect();
        if what.is_empty() {
            return Ok(());
        }
        match request.override_preflight.as_deref().map(reason_of) {
            None => Err(Refusal::PreflightFailed {
                release: release.clone(),
                what: what.join("; ").into(),
                command: format!("{} --override-preflight --reason WHY", request.command()).into(),
            }),
            Some(reason) if reason.is_empty() => Err(Refusal::Invalid(
                "deploying past the preflight needs a reason, which goes into the audit: --reason WHY"
                    .to_owned(),
            )),
            Some(_) => Ok(()),
        }
    }
}

/// A point that stops something, in a line.
fn told(point: &Point) -> String {
    let evidence = point.evidence.first().map(String::as_str).unwrap_or_default();
    let advice = point.advice.first().map(|advice| format!(" ({advice})")).unwrap_or_default();
    format!("{} {}, {}: {evidence}{advice}", point.grade, point.subject.number(), point.subject.name())
}
