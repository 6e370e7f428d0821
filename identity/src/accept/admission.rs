//! Places: how many connections of each kind there may be at once.

use crate::identity::Identity;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places of an acceptor.
#[derive(Debug)]
pub(super) struct Admission {
    anonymous: usize,
    identified: usize,
    of_one_identity: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    anonymous: usize,
    identified: usize,
    by_identity: BTreeMap<Identity, usize>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    identity: Option<Identity>,
}

impl Admission {
    pub(super) fn new(anonymous: usize, identified: usize, of_one_identity: usize) -> Arc<Self> {
        Arc::new(Self { anonymous, identified, of_one_identity, taken: Mutex::default() })
    }

    /// Takes a place, or none where all of this kind, or all of this identity, are taken.
    pub(super) fn admit(self: &Arc<Self>, identity: Option<&Identity>) -> Option<Place> {
        let mut taken = self.lock();
        if let Some(identity) = identity {
            let of_this_one = taken.by_identity.get(identity).copied().unwrap_or(0);
            if taken.identified >= self.identified || of_this_one >= self.of_one_identity {
                return None;
            }
            taken.identified += 1;
            taken.by_identity.insert(identity.clone(), of_this_one + 1);
        } else {
            if taken.anonymous >= self.anonymous {
                return None;
            }
            taken.anonymous += 1;
        }
        Some(Place { admission: Arc::clone(self), identity: identity.cloned() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Each change is complete before anything could panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.admission.lock();
        let Some(identity) = &self.identity else {
            taken.anonymous -= 1;
            return;
        };
        taken.identified -= 1;
        if let Some(count) = taken.by_identity.get_mut(identity) {
            *count -= 1;
            if *count == 0 {
                taken.by_identity.remove(identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_and_one_noisy_agent_leave_places_for_the_others() {
        let admission = Admission::new(1, 3, 2);
        let (a, b): (Identity, Identity) =
            ("spiffe://f/agent/a".parse().unwrap(), "spiffe://f/agent/b".parse().unwrap());
        let stranger = admission.admit(None);
        assert!(stranger.is_some() && admission.admit(None).is_none());
        let noisy = [admission.admit(Some(&a)), admission.admit(Some(&a))];
        assert!(noisy.iter().all(Option::is_some) && admission.admit(Some(&a)).is_none());
        let other = admission.admit(Some(&b));
        assert!(other.is_some() && admission.admit(Some(&b)).is_none(), "three in all");
        drop((noisy, stranger));
        assert!(admission.admit(Some(&a)).is_some() && admission.admit(None).is_some());
        drop(other);
        assert_eq!(admission.lock().by_identity.len(), 0);
    }
}
