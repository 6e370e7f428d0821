//! Places: how many of a kind there may be at once, of one key and in all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Places of one kind. A clone is the same places.
#[derive(Clone, Debug)]
pub struct Places<K: Ord> {
    of_one: usize,
    of_all: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    by_key: BTreeMap<K, usize>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place<K: Ord> {
    places: Places<K>,
    key: K,
}

/// No place is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// This key has all that one may have.
    OfOne(usize),
    /// All keys together have all that there are.
    OfAll(usize),
}

impl<K: Ord + Clone> Places<K> {
    /// Free places: `of_one` for each key, `of_all` in all.
    #[must_use]
    pub fn new(of_one: usize, of_all: usize) -> Self {
        Self { of_one, of_all, taken: Arc::new(Mutex::new(Taken { all: 0, by_key: BTreeMap::new() })) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// [`Full`] where none is left.
    pub fn take(&self, key: K) -> Result<Place<K>, Full> {
        // Each change is complete before anything could panic.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this = taken.by_key.get(&key).copied().unwrap_or(0);
        if of_this >= self.of_one {
            return Err(Full::OfOne(self.of_one));
        }
        if taken.all >= self.of_all {
            return Err(Full::OfAll(self.of_all));
        }
        taken.all += 1;
        taken.by_key.insert(key.clone(), of_this + 1);
        Ok(Place { places: self.clone(), key })
    }
}

impl<K: Ord> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(count) = taken.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cannot_take_the_places_of_the_others_and_what_is_dropped_is_free() {
        let places = Places::new(2, 3);
        let a = [places.take("a").unwrap(), places.take("a").unwrap()];
        assert_eq!(places.take("a").unwrap_err(), Full::OfOne(2));
        let b = places.take("b").unwrap();
        assert_eq!(places.take("b").unwrap_err(), Full::OfAll(3));
        drop(a);
        places.take("b").unwrap();
        drop(b);
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_key.len()), (0, 0));
    }
}
