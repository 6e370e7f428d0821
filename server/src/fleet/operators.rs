//! Operators with certificates: made, changed, revoked. The certificate says who somebody is; what they may do stands
//! here, so that it can be changed and taken away without a new certificate.

use super::{
    effects::Effects,
    refusal::Refusal,
    role::{Grant, Role},
    state::State,
};
use crate::store::Keyspace;
use handover_identity::OperatorName;
use handover_model::{Duration, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most operators, revoked ones too.
const MAX_OPERATORS: usize = 10_000;
/// Most services that an operator is limited to: an operator is one value in the store.
const MAX_SERVICES: usize = 64;
/// Most certificates of one operator that have not expired.
const MAX_CERTIFICATES: usize = 8;
/// How long an operator who was revoked is still listed after the last certificate's end.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest reason, in characters.
const MAX_REASON: usize = 300;

/// Who stands in the audit under these names is no operator.
const RESERVED: [&str; 2] = ["server", "nobody"];

/// Every operator, by name; cheap to share.
pub type Roster = Arc<BTreeMap<OperatorName, OperatorRecord>>;

/// An operator as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// What it may do.
    #[serde(flatten)]
    pub grant: Grant,
    /// When it was made.
    pub created: Timestamp,
    /// By whom.
    pub created_by: String,
    /// Its certificates, the newest last; those that have expired are dropped with the next one.
    pub certificates: Vec<CertificateRecord>,
    /// Set where it is revoked.
    pub revoked: Option<RevocationRecord>,
}

/// A certificate that was signed for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Serial number, as the identity crate writes it.
    pub serial: String,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// Who took an operator's rights away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationRecord {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why; empty where nobody said.
    pub reason: String,
}

/// A certificate for an operator, and what the operator is to be.
#[derive(Clone, Debug)]
pub struct OperatorRequest {
    /// The role; `None`: as it is, or viewer.
    pub role: Option<Role>,
    /// The services that it is limited to; empty: as it is, or all.
    pub services: BTreeSet<ServiceName>,
    /// The certificate that was signed.
    pub certificate: CertificateRecord,
}

/// What the bearer of a certificate may do now.
///
/// # Errors
/// When the certificate is none of the operator's, or the operator is revoked.
pub fn granted<'a>(
    roster: &'a BTreeMap<OperatorName, OperatorRecord>,
    name: &OperatorName,
    serial: &str,
) -> Result<&'a Grant, Refusal> {
    let unknown = || Refusal::CertificateUnknown(name.clone());
    let record = roster.get(name).ok_or_else(unknown)?;
    if !record.certificates.iter().any(|certificate| certificate.serial == serial) {
        return Err(unknown());
    }
    match &record.revoked {
        Some(revoked) => Err(Refusal::Revoked { name: name.clone(), by: revoked.by.clone() }),
        None => Ok(&record.grant),
    }
}

fn check(grant: &Grant) -> Result<(), Refusal> {
    if grant.services.len() > MAX_SERVICES {
        return Err(Refusal::Invalid(format!(
            "an operator is limited to at most {MAX_SERVICES} services, not {}",
            grant.services.len()
        )));
    }
    if grant.role == Role::Admin && !grant.covers_all() {
        return Err(Refusal::Invalid(
            "an admin looks after the whole fleet and is not limited to services: take the role deployer"
                .to_owned(),
        ));
    }
    Ok(())
}

fn key(name: &OperatorName) -> Vec<u8> {
    name.as_str().as_bytes().to_vec()
}

impl State {
    /// Every operator.
    #[must_use]
    pub const fn operators(&self) -> &Roster {
        &self.operators
    }

    /// Gives an operator a certificate. One that is new, or was revoked, is made: with the role that is asked for, or as a
    /// viewer. One that exists gets one more certificate.
    ///
    /// # Errors
    /// When it exists with another role or other services than were asked for, or there are too many.
    pub fn sign_operator(
        &mut self,
        name: &OperatorName,
        request: OperatorRequest,
        by: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<OperatorRecord, Refusal> {
        let OperatorRequest { role, services, certificate } = request;
        if RESERVED.contains(&name.as_str()) {
            return Err(Refusal::Invalid(format!(
                "an operator cannot be named {name}: the audit calls others so"
            )));
        }
        let known = self.operators.get(name).filter(|record| record.revoked.is_none());
        let mut record = match known {
            Some(record) => {
                let other_role = role.is_some_and(|role| role != record.grant.role);
                if other_role || (!services.is_empty() && services != record.grant.services) {
                    return Err(Refusal::OperatorExists { name: name.clone(), role: record.grant.role });
                }
                record.clone()
            }
            None => {
                let grant = Grant { role: role.unwrap_or(Role::Viewer), services };
                check(&grant)?;
                OperatorRecord {
                    grant,
                    created: now,
                    created_by: by.to_owned(),
                    certificates: Vec::new(),
                    revoked: None,
                }
            }
        };
        record.certificates.retain(|certificate| certificate.expires > now);
        if record.certificates.len() >= MAX_CERTIFICATES {
            return Err(Refusal::TooMany(format!(
                "operator {name} has {MAX_CERTIFICATES} certificates already: revoke it and make it anew"
            )));
        }
        record.certificates.push(certificate);
        self.forget_operators(now, effects);
        if self.operators.len() >= MAX_OPERATORS && !self.operators.contains_key(name) {
            return Err(Refusal::TooMany(format!("there are {MAX_OPERATORS} operators already")));
        }
        self.keep_operator(name, record, effects)
    }

    /// Gives an operator another role, or other services (an empty set: all).
    ///
    /// # Errors
    /// When there is none of that name, or it is revoked.
    pub fn update_operator(
        &mut self,
        name: &OperatorName,
        role: Option<Role>,
        services: Option<BTreeSet<ServiceName>>,
        effects: &mut Effects,
    ) -> Result<OperatorRecord, Refusal> {
        let mut record = self.operator(name)?.clone();
        if record.revoked.is_some() {
            return Err(Refusal::OperatorRevoked(name.clone()));
        }
        record.grant.role = role.unwrap_or(record.grant.role);
        if let Some(services) = services {
            record.grant.services = services;
        }
        check(&record.grant)?;
        self.keep_operator(name, record, effects)
    }

    /// Makes every certificate of an operator worthless. Once more is no change.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn revoke_operator(
        &mut self,
        name: &OperatorName,
        by: &str,
        reason: &str,
        now: Timestamp,
        effects: &mut Effects,
    ) -> Result<OperatorRecord, Refusal> {
        let mut record = self.operator(name)?.clone();
        if record.revoked.is_some() {
            return Ok(record);
        }
        let reason = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        record.revoked = Some(RevocationRecord { at: now, by: by.to_owned(), reason });
        self.keep_operator(name, record, effects)
    }

    fn operator(&self, name: &OperatorName) -> Result<&OperatorRecord, Refusal> {
        self.operators.get(name).ok_or_else(|| Refusal::NoOperator(name.clone()))
    }

    fn keep_operator(
        &mut self,
        name: &OperatorName,
        record: OperatorRecord,
        effects: &mut Effects,
    ) -> Result<OperatorRecord, Refusal> {
        effects.put(Keyspace::Operators, key(name), &record)?;
        effects.roster = true;
        Arc::make_mut(&mut self.operators).insert(name.clone(), record.clone());
        Ok(record)
    }

    /// Drops operators who were revoked and whose certificates have long expired: those are refused either way.
    fn forget_operators(&mut self, now: Timestamp, effects: &mut Effects) {
        let over = |record: &OperatorRecord| {
            let last = record.certificates.iter().map(|certificate| certificate.expires).max();
            record.revoked.is_some() && last.is_none_or(|last| now.since(last) > REMEMBERED)
        };
        let old: Vec<OperatorName> =
            self.operators.iter().filter(|(_, record)| over(record)).map(|(name, _)| name.clone()).collect();
        for name in old {
            effects.delete(Keyspace::Operators, key(&name));
            Arc::make_mut(&mut self.operators).remove(&name);
            effects.roster = true;
        }
    }
}
