// SPDX-License-Identifier: GPL-2.0-only
//! Which object is to be asked for next, and of whom: nobody is asked twice for one.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use composefs_tools::lock::lock;

/// Most sources.
pub const SOURCES_MAX: usize = 64;
/// After so long another source may try to be sooner.
const PATIENCE: Duration = Duration::from_secs(3);

/// The number of a wanted object.
pub type Number = usize;

/// What is known of an object.
#[derive(Clone)]
struct Entry {
    is_here: bool,
    /// How many are at it, and since when the last of them.
    takers: u32,
    since: Instant,
    /// A bit for each source that was asked.
    asked: u64,
}

impl Entry {
    fn is_free_for(&self, source: usize) -> bool {
        self.takers == 0 && self.may_be_asked_of(source)
    }

    /// Whoever is at it takes long.
    fn is_slow_for(&self, source: usize) -> bool {
        self.since.elapsed() >= PATIENCE && self.may_be_asked_of(source)
    }

    fn may_be_asked_of(&self, source: usize) -> bool {
        !self.is_here && self.asked & bit(source) == 0
    }
}

/// The place of an entry among those of a queue.
type Place = usize;

/// What is left to be looked at for a source.
#[derive(Clone, Default)]
struct Left {
    /// The first that was not.
    next: Place,
    /// Those that somebody else was at when they were, and did not give.
    returned: Vec<Place>,
}

struct Inner {
    /// The numbers of the entries, in their order.
    numbers: Vec<Number>,
    entries: Vec<Entry>,
    sources: Vec<Left>,
    /// Those that somebody is at.
    taken: Vec<Place>,
    /// A bit for each source that is not asked for anything any more.
    left: u64,
    /// How many are not here.
    missing: usize,
    is_stopped: bool,
}

/// Those that are wanted together.
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Queue {
    /// The objects with these numbers, which are each greater than the one before, of so many
    /// sources, [`SOURCES_MAX`] at most.
    pub fn new(numbers: Vec<Number>, sources: usize) -> Self {
        let objects = numbers.len();
        let entry = Entry {
            is_here: false,
            takers: 0,
            since: Instant::now(),
            asked: 0,
        };
        Self {
            inner: Mutex::new(Inner {
                numbers,
                entries: vec![entry; objects],
                sources: vec![Left::default(); sources],
                taken: Vec::new(),
                left: 0,
                missing: objects,
                is_stopped: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// One that the source is to be asked for, and those `near` it that nobody is at, in one step:
    /// otherwise another would take some of them. `None` if there will be none any more. Waits as
    /// long as another source may still fail to give one.
    pub fn take(&self, source: usize, near: &dyn Fn(Number) -> Vec<Number>) -> Option<Vec<Number>> {
        let mut inner = lock(&self.inner);
        loop {
            if inner.is_stopped || inner.left & bit(source) != 0 {
                return None;
            }
            if let Some((place, number)) = inner.find(source) {
                inner.take(place, source);
                let mut taken = vec![number];
                for number in near(number) {
                    let place = inner.place(number);
                    let is_free = |place: &Place| {
                        let entry = inner.entries.get(*place);
                        entry.is_some_and(|entry| entry.is_free_for(source))
                    };
                    if let Some(place) = place.filter(is_free) {
                        inner.take(place, source);
                        taken.push(number);
                    }
                }
                return Some(taken);
            }
            if inner.taken.is_empty() {
                return None;
            }
            let waited = self.changed.wait_timeout(inner, PATIENCE);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The source has none of these, and is not to be asked for them.
    pub fn rule_out(&self, source: usize, is_absent: impl Fn(Number) -> bool) {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        for (&number, entry) in inner.numbers.iter().zip(&mut inner.entries) {
            if is_absent(number) {
                entry.asked |= bit(source);
            }
        }
    }

    /// Whoever is at these is not slow: others of them came just now.
    pub fn touch<'a>(&self, numbers: impl IntoIterator<Item = &'a Number>) {
        let mut inner = lock(&self.inner);
        for &number in numbers {
            if let Some(entry) = inner.entry(number) {
                entry.since = Instant::now();
            }
        }
    }

    /// It is here.
    pub fn done(&self, number: Number) {
        self.settle(number, true);
    }

    /// The source does not give it.
    pub fn give_back(&self, number: Number) {
        self.settle(number, false);
    }

    /// Whether another source was sooner, or all is over.
    pub fn is_idle(&self, number: Number) -> bool {
        let mut inner = lock(&self.inner);
        inner.is_stopped || inner.entry(number).is_none_or(|entry| entry.is_here)
    }

    /// Whether all of them are here, or nobody is to be asked any more.
    pub fn is_over(&self) -> bool {
        let inner = lock(&self.inner);
        inner.is_stopped || inner.missing == 0
    }

    /// The source is not to be asked for anything any more. Whether that is news.
    pub fn leave(&self, source: usize) -> bool {
        let mut inner = lock(&self.inner);
        let is_news = inner.left & bit(source) == 0;
        inner.left |= bit(source);
        self.changed.notify_all();
        is_news
    }

    /// Whether the source is not to be asked any more.
    pub fn is_left(&self, source: usize) -> bool {
        lock(&self.inner).left & bit(source) != 0
    }

    /// Nobody is to be asked for anything any more.
    pub fn stop(&self) {
        lock(&self.inner).is_stopped = true;
        self.changed.notify_all();
    }

    /// Those that are not here.
    pub fn rest(&self) -> Vec<Number> {
        let inner = lock(&self.inner);
        let rest = inner.numbers.iter().zip(&inner.entries);
        rest.filter(|(_, entry)| !entry.is_here)
            .map(|(&number, _)| number)
            .collect()
    }

    fn settle(&self, number: Number, is_here: bool) {
        let mut inner = lock(&self.inner);
        let inner = &mut *inner;
        let place = inner.place(number);
        let entry = place.and_then(|place| Some((place, inner.entries.get_mut(place)?)));
        if let Some((place, entry)) = entry {
            if is_here && !entry.is_here {
                entry.is_here = true;
                inner.missing = inner.missing.saturating_sub(1);
            }
            entry.takers = entry.takers.saturating_sub(1);
            if entry.takers == 0 {
                inner.taken.retain(|&taken| taken != place);
            }
            for (source, left) in inner.sources.iter_mut().enumerate() {
                if place < left.next && entry.is_free_for(source) {
                    left.returned.push(place);
                }
            }
        }
        self.changed.notify_all();
    }
}

impl Inner {
    fn place(&self, number: Number) -> Option<Place> {
        self.numbers.binary_search(&number).ok()
    }

    fn entry(&mut self, number: Number) -> Option<&mut Entry> {
        let place = self.place(number)?;
        self.entries.get_mut(place)
    }

    fn find(&mut self, source: usize) -> Option<(Place, Number)> {
        let place = self.find_place(source)?;
        Some((place, *self.numbers.get(place)?))
    }

    fn find_place(&mut self, source: usize) -> Option<Place> {
        let entries = &self.entries;
        let is = |place: Place, is: fn(&Entry, usize) -> bool| {
            entries.get(place).is_some_and(|entry| is(entry, source))
        };
        let left = self.sources.get_mut(source)?;
        while let Some(place) = left.returned.pop() {
            if is(place, Entry::is_free_for) {
                return Some(place);
            }
        }
        while left.next < entries.len() {
            let place = left.next;
            left.next += 1;
            if is(place, Entry::is_free_for) {
                return Some(place);
            }
        }
        let mut taken = self.taken.iter().copied();
        taken.find(|&place| is(place, Entry::is_slow_for))
    }

    fn take(&mut self, place: Place, source: usize) {
        if let Some(entry) = self.entries.get_mut(place) {
            if entry.takers == 0 {
                self.taken.push(place);
            }
            entry.takers += 1;
            entry.since = Instant::now();
            entry.asked |= bit(source);
        }
    }
}

fn bit(source: usize) -> u64 {
    1 << (source % SOURCES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &Queue, source: usize) -> Vec<Number> {
        queue.take(source, &|_| Vec::new()).unwrap_or_default()
    }

    #[test]
    fn nobody_is_asked_twice() {
        let queue = Queue::new(vec![0, 1], 2);
        assert_eq!(take(&queue, 0), [0]);
        assert_eq!(take(&queue, 1), [1]);
        queue.give_back(0);
        assert_eq!(take(&queue, 1), [0]);
        queue.give_back(0);
        queue.give_back(1);
        assert_eq!(take(&queue, 0), [1]);
        queue.done(1);
        assert!(take(&queue, 0).is_empty());
        assert!(take(&queue, 1).is_empty());
        assert_eq!(queue.rest(), [0]);
    }

    #[test]
    fn several_are_taken_together() {
        let queue = Queue::new((0..5).collect(), 2);
        assert_eq!(take(&queue, 1), [0]);
        queue.rule_out(0, |number| number == 4);
        let near = |_| vec![0, 1, 2, 3, 4];
        assert_eq!(queue.take(0, &near), Some(vec![1, 2, 3]));
        queue.give_back(2);
        assert_eq!(queue.take(1, &near), Some(vec![2, 4]));
        for number in 0..5 {
            assert!(!queue.is_over());
            queue.done(number);
            queue.done(number);
        }
        assert!(queue.is_over());
    }

    #[test]
    fn only_some_are_wanted() {
        let queue = Queue::new(vec![3, 7, 9], 1);
        assert_eq!(queue.take(0, &|_| vec![3, 4, 9]), Some(vec![3, 9]));
        queue.done(3);
        queue.done(4);
        queue.give_back(9);
        assert!(queue.is_idle(4));
        assert_eq!(take(&queue, 0), [7]);
        queue.done(7);
        assert!(take(&queue, 0).is_empty());
        assert_eq!(queue.rest(), [9]);
    }

    #[test]
    fn who_was_left_gets_nothing() {
        let queue = Queue::new(vec![0, 1], 1);
        assert!(queue.leave(0));
        assert!(!queue.leave(0));
        assert!(take(&queue, 0).is_empty());
    }

    #[test]
    fn somebody_slow_is_overtaken() {
        let queue = Queue::new(vec![0], 2);
        assert_eq!(take(&queue, 0), [0]);
        assert!(!queue.is_idle(0));
        // Comes back once the first was slow.
        assert_eq!(take(&queue, 1), [0]);
        queue.done(0);
        assert!(queue.is_idle(0));
        queue.give_back(0);
        assert!(take(&queue, 0).is_empty());
        assert!(queue.rest().is_empty());
    }
}
