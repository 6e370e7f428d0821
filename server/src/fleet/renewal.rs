//! Certificates of hosts: given anew by proof of the old one.
//!
//! Between the answer and the agent's disk anything can break. So both certificates are the host's, until it was seen with
//! the newer one.

use super::{
    effects::Effects,
    records::{HostRecord, RenewedCertificate},
    refusal::Refusal,
    state::{Host, State},
};
use crate::{
    events::{Event, EventKind},
    store::Keyspace,
};
use handover_model::HostName;

/// Whether the certificate is one that the host may come with.
pub(super) fn is_of(record: &HostRecord, serial: &str) -> bool {
    record.serial == serial || record.renewed.as_ref().is_some_and(|renewed| renewed.serial == serial)
}

/// Where the host comes with its newer certificate, that one is its certificate from here on.
pub(super) fn seen_with(record: &mut HostRecord, serial: &str) {
    if let Some(renewed) = record.renewed.take_if(|renewed| renewed.serial == serial) {
        record.former_serial = std::mem::replace(&mut record.serial, renewed.serial);
        record.certificate_issued = renewed.issued;
        record.certificate_expires = renewed.expires;
    }
}

impl State {
    /// Whether a host may have a new certificate now: asked before one is signed. It must come with one of its own, and be
    /// the run of the agent whose session is open: a copy of it must not take the certificate away from it.
    ///
    /// # Errors
    /// When it may not.
    pub fn check_renewal(&self, name: &HostName, serial: &str, session_id: &str) -> Result<(), Refusal> {
        let host = self.host_with(name, serial)?;
        let open = host.online.as_ref().is_some_and(|online| online.session_id == session_id);
        if open { Ok(()) } else { Err(Refusal::NoSession(name.clone())) }
    }

    /// Remembers the certificate that a host gets in place of the one that it came with.
    ///
    /// # Errors
    /// As [`State::check_renewal`].
    pub fn renew(
        &mut self,
        name: &HostName,
        serial: &str,
        session_id: &str,
        renewed: RenewedCertificate,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_renewal(name, serial, session_id)?;
        let Some(host) = self.hosts.get_mut(name) else { return Err(Refusal::HostRemoved(name.clone())) };
        seen_with(&mut host.record, serial);
        effects.events.push(Event::new(EventKind::CertificateRenewed, renewed.issued).host(name));
        host.record.renewed = Some(renewed);
        effects.put(Keyspace::Hosts, name.as_str().as_bytes().to_vec(), &host.record)?;
        effects.changed = true;
        Ok(())
    }

    /// The host, if the certificate with this serial number is one that it may come with.
    pub(super) fn host_with(&self, name: &HostName, serial: &str) -> Result<&Host, Refusal> {
        self.hosts
            .get(name)
            .filter(|host| is_of(&host.record, serial))
            .ok_or_else(|| Refusal::HostRemoved(name.clone()))
    }

    /// The host, for what belongs to its session: also with the certificate that the session was opened with, however often
    /// it was renewed since.
    pub(super) fn host_in_session(&self, name: &HostName, serial: &str) -> Result<&Host, Refusal> {
        self.hosts
            .get(name)
            .filter(|host| {
                is_of(&host.record, serial)
                    || host.online.as_ref().is_some_and(|online| online.serial == serial)
            })
            .ok_or_else(|| Refusal::HostRemoved(name.clone()))
    }
}
