//! How a host joins: a join token for a certificate.

use super::{Context, caller, request};
use crate::{
    audit::{Deed, OK},
    fleet::{Enrolment, Refusal},
};
use handover_identity::{Peer, TokenClaim, wall_clock};
use handover_model::HostName;
use handover_proto::{
    status::{Reason, refuse},
    v1::{EnrolRequest, EnrolResponse, enrolment_service_server::EnrolmentService},
    version,
};
use tonic::{Request, Response, Status};

/// The service for those who are not in the fleet yet.
#[derive(Clone, Debug)]
pub struct Enrolments(pub Context);

#[tonic::async_trait]
impl EnrolmentService for Enrolments {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let from = caller::origin(request.extensions());
        let source = request.extensions().get::<Peer>().map(|peer| peer.address.into());
        let tried = self.0.limits.enrolment(source)?;
        let EnrolRequest { secret, host, csr_pem, address, labels, agent_version } = request.into_inner();
        version::skew(&agent_version)
            .map_err(|error| refuse(Reason::VersionSkew, error.to_string(), "upgrade the older side"))?;
        let claim: TokenClaim = secret.parse().map_err(|_| Status::from(Refusal::TokenUnknown))?;
        let host: HostName = request::parse("host", &host)?;
        let enrolment =
            Enrolment { claim, host: host.clone(), address, labels: request::labels(labels), agent_version };
        // Asked before anything is signed: who has no token costs no signature.
        let asked = enrolment.clone();
        self.0.fleet.ask(move |desk| desk.state.check_enrolment(&asked, desk.now)).await?;
        let issued = self.0.ca.sign_agent(&csr_pem, &host, self.0.agent_life, wall_clock());
        let issued = issued.map_err(|error| request::not_signed(&error))?;
        let (serial, expires) = (issued.facts.serial, issued.facts.not_after);
        self.0
            .fleet
            .ask(move |desk| {
                let deed = joined(&enrolment, from);
                desk.state.enrol(enrolment, serial, expires, desk.now, desk.effects)?;
                desk.state.record(deed, desk.now, desk.effects)
            })
            .await?;
        tried.succeeded();
        tracing::info!(%host, "host enrolled");
        Ok(Response::new(EnrolResponse {
            certificate_pem: issued.chain_pem,
            ca_pem: self.0.ca.certificate_pem(),
            fleet: self.0.fleet_name.clone(),
        }))
    }
}

/// What the audit tells of a host that joined.
fn joined(enrolment: &Enrolment, from: String) -> Deed {
    Deed {
        who: format!("host {}", enrolment.host),
        role: "agent".to_owned(),
        credential: format!("token {}", enrolment.claim.id),
        from,
        method: "Enrol".to_owned(),
        resource: format!("host {}", enrolment.host),
        outcome: OK.to_owned(),
        detail: format!("address {}", enrolment.address),
        count: 1,
        ..Deed::default()
    }
}
