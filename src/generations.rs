//! A bounded map that forgets what was not used for longest, without ever scanning.
//!
//! Two maps: fresh and old. What is used moves to fresh. When half the bound has been put into fresh, fresh becomes old
//! and the former old is dropped, so an entry survives as long as it is used once per generation. Remembered tokens and
//! rate limits stand on it (R26).

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;

/// See the module.
pub struct Generations<K, V, S> {
    maps: ArcSwap<Maps<K, V, S>>,
    /// Entries of one generation.
    half: usize,
    hasher: S,
}

struct Maps<K, V, S> {
    fresh: Arc<DashMap<K, V, S>>,
    old: Arc<DashMap<K, V, S>>,
    inserted: AtomicUsize,
}

impl<K: Eq + Hash, V, S: BuildHasher + Clone> Generations<K, V, S> {
    /// A map of at most `capacity` entries (2 or more), but for the few that threads insert at the moment of a change.
    pub fn new(capacity: usize, hasher: S) -> Self {
        let empty = || Arc::new(DashMap::with_hasher(hasher.clone()));
        let maps = Maps { fresh: empty(), old: empty(), inserted: AtomicUsize::new(0) };
        Self { maps: ArcSwap::from_pointee(maps), half: (capacity / 2).max(1), hasher }
    }

    /// Looks at an entry. `look` must not use this map.
    pub fn get<R>(&self, key: &K, look: impl FnOnce(&V) -> R) -> Option<R> {
        let maps = self.maps.load();
        if let Some(value) = maps.fresh.get(key) {
            return Some(look(&value));
        }
        let (key, value) = maps.old.remove(key)?;
        let result = look(&value);
        maps.fresh.insert(key, value);
        self.count(&maps);
        Some(result)
    }

    /// Looks at an entry, made first when it is not there. `make` and `look` must not use this map.
    pub fn get_or_insert<R>(&self, key: &K, make: impl FnOnce() -> V, look: impl FnOnce(&V) -> R) -> R
    where
        K: Clone,
    {
        let maps = self.maps.load();
        if let Some(value) = maps.fresh.get(key) {
            return look(&value);
        }
        let mut is_new = false;
        let entry = maps.fresh.entry(key.clone()).or_insert_with(|| {
            is_new = true;
            maps.old.remove(key).map_or_else(make, |(_, value)| value)
        });
        let result = look(&entry);
        drop(entry);
        if is_new {
            self.count(&maps);
        }
        result
    }

    /// Puts an entry, in place of one with the same key.
    pub fn insert(&self, key: K, value: V) {
        let maps = self.maps.load();
        maps.old.remove(&key);
        if maps.fresh.insert(key, value).is_none() {
            self.count(&maps);
        }
    }

    /// Takes an entry out.
    pub fn remove(&self, key: &K) {
        let maps = self.maps.load();
        maps.fresh.remove(key);
        maps.old.remove(key);
    }

    /// Starts a new generation. Called on a timer, it drops what was not used for one to two periods.
    pub fn rotate(&self) {
        self.start_generation(&self.maps.load());
    }

    /// Entries now.
    pub fn len(&self) -> usize {
        let maps = self.maps.load();
        maps.fresh.len() + maps.old.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every thread that sees a full generation ends it, so none can put in more than one entry too many.
    fn count(&self, maps: &Guard<Arc<Maps<K, V, S>>>) {
        if maps.inserted.fetch_add(1, Ordering::Relaxed) + 1 >= self.half {
            self.start_generation(maps);
        }
    }

    /// Only the first of those that end the same generation starts the next.
    fn start_generation(&self, ended: &Guard<Arc<Maps<K, V, S>>>) {
        let fresh = Arc::new(DashMap::with_hasher(self.hasher.clone()));
        let next = Maps { fresh, old: Arc::clone(&ended.fresh), inserted: AtomicUsize::new(0) };
        self.maps.compare_and_swap(ended, Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    fn map(capacity: usize) -> Generations<u64, u64, RandomState> {
        Generations::new(capacity, RandomState::new())
    }

    #[test]
    fn it_stays_within_its_bound() {
        let map = map(100);
        for key in 0..10_000 {
            map.insert(key, key);
            assert!(map.len() <= 100, "{} entries", map.len());
        }
        assert_eq!(map.get(&9_999, |value| *value), Some(9_999));
        assert_eq!(map.get(&0, |value| *value), None);
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let map = map(100);
        map.insert(1, 10);
        map.insert(2, 20);
        for key in 100..1_000 {
            map.insert(key, key);
            assert_eq!(map.get_or_insert(&1, || 99, |value| *value), 10, "at {key}");
        }
        assert_eq!(map.get(&2, |value| *value), None);
    }

    #[test]
    fn a_rotation_forgets_what_the_one_before_had_made_old() {
        let map = map(100);
        map.insert(1, 10);
        map.rotate();
        assert_eq!(map.get(&1, |value| *value), Some(10), "one generation old");
        map.rotate();
        map.rotate();
        assert!(map.is_empty());
    }

    #[test]
    fn threads_agree_and_the_bound_holds_but_for_an_entry_of_each() {
        let map = map(1_000);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let map = &map;
                scope.spawn(move || {
                    for key in 0..20_000 {
                        map.get_or_insert(&(key * 4 + thread), || key, |value| assert_eq!(*value, key));
                        assert!(map.len() <= 1_000 + 8, "{}", map.len());
                    }
                });
            }
        });
    }

    #[test]
    fn a_removed_entry_is_gone_in_both_generations() {
        let map = map(100);
        map.insert(1, 10);
        map.rotate();
        map.remove(&1);
        assert_eq!(map.get(&1, |value| *value), None);
    }
}
