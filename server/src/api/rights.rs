//! What operators may do: given with a certificate, changed, taken away.

use super::{
    permit::{Access, Subject},
    request, views,
};
use crate::fleet::{CertificateRecord, OperatorRecord, OperatorRequest};
use handover_identity::{Ca, IssuedCertificate, OperatorName, wall_clock};
use handover_model::{Duration, ServiceName};
use handover_proto::{
    status::{Reason, refuse},
    v1,
};
use tonic::Status;

/// How long an operator's certificate is good where nothing is said, in days.
const DAYS: u32 = 30;
/// How long it may be good, in days.
const MOST_DAYS: u32 = 365;

/// Signs a certificate and writes down whose it is. It is worth nothing before that: the server knows each certificate by
/// its serial number.
pub(super) async fn sign(
    access: &Access,
    ca: &Ca,
    request: v1::SignOperatorRequest,
) -> Result<(v1::Operator, IssuedCertificate), Status> {
    let role = request::role(request.role());
    let v1::SignOperatorRequest { name, csr_pem, days, role: _, services } = request;
    let name: OperatorName = request::parse("name", &name)?;
    let services = request::services(&services)?;
    if days > MOST_DAYS {
        return Err(refuse(Reason::InvalidRequest, format!("at most {MOST_DAYS} days, not {days}"), ""));
    }
    let days = if days == 0 { DAYS } else { days };
    let validity = Duration::from_secs(u64::from(days) * 24 * 3600);
    let now = wall_clock();
    let issued = ca.sign_operator(&csr_pem, &name, validity, now);
    let issued = issued.map_err(|error| request::not_signed(&error))?;
    let serial = issued.facts.serial.clone();
    let certificate =
        CertificateRecord { serial: serial.clone(), issued: now, expires: issued.facts.not_after };
    let wanted = OperatorRequest { role, services, certificate };
    let (by, signed) = (access.by(), name.clone());
    let record = access.change(Subject::of(format!("operator {name}")), move |desk, subject| {
        let record = desk.state.sign_operator(&signed, wanted, &by, desk.now, desk.effects)?;
        subject.say(format!("{}; certificate {serial} for {days} days", in_words(&record)));
        Ok(record)
    });
    Ok((views::operator(&name, &record.await?), issued))
}

/// Gives an operator another role or other services.
pub(super) async fn update(
    access: &Access,
    request: v1::UpdateOperatorRequest,
) -> Result<v1::Operator, Status> {
    let role = request::role(request.role());
    let v1::UpdateOperatorRequest { name, role: _, services, change_services } = request;
    let name: OperatorName = request::parse("name", &name)?;
    let services = request::services(&services)?;
    let services = change_services.then_some(services);
    let updated = name.clone();
    let record = access.change(Subject::of(format!("operator {name}")), move |desk, subject| {
        let record = desk.state.update_operator(&updated, role, services, desk.effects)?;
        subject.say(in_words(&record));
        Ok(record)
    });
    Ok(views::operator(&name, &record.await?))
}

/// Makes an operator's certificates worthless.
pub(super) async fn revoke(
    access: &Access,
    request: v1::RevokeOperatorRequest,
) -> Result<v1::Operator, Status> {
    let v1::RevokeOperatorRequest { name, reason } = request;
    let name: OperatorName = request::parse("name", &name)?;
    let (by, revoked) = (access.by(), name.clone());
    let subject = Subject::of(format!("operator {name}")).reason(&*reason);
    let record = access.change(subject, move |desk, _| {
        desk.state.revoke_operator(&revoked, &by, &reason, desk.now, desk.effects)
    });
    Ok(views::operator(&name, &record.await?))
}

fn in_words(record: &OperatorRecord) -> String {
    let services: Vec<&str> = record.grant.services.iter().map(ServiceName::as_str).collect();
    let limit = if services.is_empty() { "all services".to_owned() } else { services.join(", ") };
    format!("{} of {limit}", record.grant.role)
}
