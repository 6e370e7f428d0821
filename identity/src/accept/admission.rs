//! Places: how many connections of each kind there may be at once.

use super::{peer::Peer, source::Source, tls::AcceptLimits};
use crate::identity::Identity;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places of an acceptor.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AcceptLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    anonymous: usize,
    identified: usize,
    by_whom: BTreeMap<Whom, usize>,
}

/// Who shares a number of places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    Identity(Identity),
    Source(Source),
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    whom: Whom,
}

impl Admission {
    pub(super) fn new(limits: AcceptLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// Takes a place, or none where all of this kind, all of this identity, or all of this source are taken.
    pub(super) fn admit(self: &Arc<Self>, peer: &Peer) -> Option<Place> {
        let AcceptLimits {
            identified,
            of_one_agent,
            of_one_operator,
            anonymous,
            anonymous_of_one_source,
            ..
        } = self.limits;
        let whom = peer
            .identity()
            .map_or_else(|| Whom::Source(peer.address.into()), |identity| Whom::Identity(identity.clone()));
        let mut taken = self.lock();
        let (all, most, most_of_this_one) = match &whom {
            Whom::Identity(Identity::Operator { .. }) => (&mut taken.identified, identified, of_one_operator),
            Whom::Identity(Identity::Agent { .. } | Identity::Server { .. }) => {
                (&mut taken.identified, identified, of_one_agent)
            }
            Whom::Source(_) => (&mut taken.anonymous, anonymous, anonymous_of_one_source),
        };
        if *all >= most {
            return None;
        }
        *all += 1;
        let of_this_one = taken.by_whom.entry(whom.clone()).or_default();
        *of_this_one += 1;
        let fits = *of_this_one <= most_of_this_one;
        drop(taken);
        // One too many gives its place back here.
        let place = Place { admission: Arc::clone(self), whom };
        fits.then_some(place)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Each change is complete before anything could panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.admission.lock();
        match &self.whom {
            Whom::Identity(_) => taken.identified -= 1,
            Whom::Source(_) => taken.anonymous -= 1,
        }
        if let Some(count) = taken.by_whom.get_mut(&self.whom) {
            *count -= 1;
            if *count == 0 {
                taken.by_whom.remove(&self.whom);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::PeerCertificate;
    use handover_model::Timestamp;

    fn nobody(last: u8) -> Peer {
        Peer { address: ([192, 0, 2, last], 1).into(), certificate: None }
    }

    fn somebody(identity: &str) -> Peer {
        let identity = format!("spiffe://f/{identity}").parse().unwrap();
        let certificate =
            PeerCertificate { identity, serial: "1".into(), expires: Timestamp::from_unix_millis(0) };
        Peer { certificate: Some(certificate), ..nobody(1) }
    }

    fn limits() -> AcceptLimits {
        AcceptLimits {
            identified: 3,
            of_one_agent: 2,
            of_one_operator: 3,
            anonymous: 3,
            anonymous_of_one_source: 2,
            ..AcceptLimits::default()
        }
    }

    #[test]
    fn strangers_and_one_noisy_agent_leave_places_for_the_others() {
        let admission = Admission::new(limits());
        let (a, b) = (somebody("agent/a"), somebody("agent/b"));
        let strangers = [admission.admit(&nobody(1)), admission.admit(&nobody(1))];
        assert!(strangers.iter().all(Option::is_some) && admission.admit(&nobody(1)).is_none());
        let elsewhere = admission.admit(&nobody(2));
        assert!(elsewhere.is_some() && admission.admit(&nobody(3)).is_none(), "three in all");
        let noisy = [admission.admit(&a), admission.admit(&a)];
        assert!(noisy.iter().all(Option::is_some) && admission.admit(&a).is_none());
        let other = admission.admit(&b);
        assert!(other.is_some() && admission.admit(&b).is_none(), "three in all");
        drop((noisy, strangers, elsewhere));
        assert!(admission.admit(&a).is_some() && admission.admit(&nobody(1)).is_some());
        drop(other);
        let taken = admission.lock();
        assert_eq!((taken.anonymous, taken.identified, taken.by_whom.len()), (0, 0, 0));
    }

    #[test]
    fn an_operator_has_places_for_several_commands() {
        let admission = Admission::new(limits());
        let alice = somebody("operator/alice");
        let places = [admission.admit(&alice), admission.admit(&alice), admission.admit(&alice)];
        assert!(places.iter().all(Option::is_some) && admission.admit(&alice).is_none());
    }
}
