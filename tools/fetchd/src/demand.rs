// SPDX-License-Identifier: GPL-2.0-only
//! Which objects of an image are waited for. Whoever wants one that somebody else waits for already
//! waits with them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use composefs_tools::fsverity::Digest;
use composefs_tools::lock::lock;

/// What is called when an object has come, or cannot be had.
pub type Waiter = Box<dyn FnOnce(Outcome) + Send>;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the store, or is none that can be fetched.
    Settled,
    /// It cannot be had.
    Failed,
}

#[derive(Default)]
struct State {
    /// By the object, whether somebody fetches it already or not.
    waiters: HashMap<Digest, Vec<Waiter>>,
    /// Those that nobody fetches yet.
    queue: VecDeque<Digest>,
    is_over: bool,
}

/// The objects that are waited for.
#[derive(Default)]
pub struct Demand {
    state: Mutex<State>,
    /// There is something to be fetched.
    queued: Condvar,
    /// Somebody waits, or does not any more: not for those who fetch, who are many.
    changed: Condvar,
}

impl Demand {
    /// Waits for an object. The waiter is called by whoever fetches.
    pub fn add(&self, digest: Digest, waiter: Waiter) {
        let mut state = lock(&self.state);
        if state.is_over {
            drop(state);
            return waiter(Outcome::Failed);
        }
        match state.waiters.entry(digest) {
            Entry::Occupied(mut others) => others.get_mut().push(waiter),
            Entry::Vacant(nobody) => {
                nobody.insert(vec![waiter]);
                state.queue.push_back(digest);
                self.queued.notify_one();
                self.changed.notify_all();
            }
        }
    }

    /// The next object to be fetched, which is waited for here; `None` if all is over.
    pub fn next(&self) -> Option<Digest> {
        let mut state = lock(&self.state);
        loop {
            if state.is_over {
                return None;
            }
            if let Some(digest) = state.queue.pop_front() {
                return Some(digest);
            }
            state = self
                .queued
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether somebody waits for an object.
    pub fn is_waited_for(&self, digest: &Digest) -> bool {
        lock(&self.state).waiters.contains_key(digest)
    }

    /// Tells all who wait for an object.
    pub fn settle(&self, digest: &Digest, outcome: Outcome) {
        let Some(waiters) = lock(&self.state).waiters.remove(digest) else {
            return;
        };
        for waiter in waiters {
            waiter(outcome);
        }
        self.changed.notify_all();
    }

    /// Waits until nobody has waited for anything for so long. Whether there is still somebody who
    /// could.
    pub fn wait_until_idle(&self, quiet: Duration) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.is_over {
                return false;
            }
            let was_idle = state.waiters.is_empty();
            let waited = self.changed.wait_timeout(state, quiet);
            let (next, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = next;
            if was_idle && timeout.timed_out() && state.waiters.is_empty() {
                return !state.is_over;
            }
        }
    }

    /// Whether all is over.
    pub fn is_over(&self) -> bool {
        lock(&self.state).is_over
    }

    /// Nobody is to fetch anything any more.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.is_over = true;
        let waiters = std::mem::take(&mut state.waiters);
        drop(state);
        self.queued.notify_all();
        self.changed.notify_all();
        for waiter in waiters.into_values().flatten() {
            waiter(Outcome::Failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{mpsc, Arc};

    fn digest(byte: u8) -> Digest {
        Digest::parse_hex(format!("{byte:02x}").repeat(32).as_bytes()).expect("a digest")
    }

    #[test]
    fn all_hear_of_one() {
        let demand = Demand::default();
        let (tell, heard) = mpsc::channel();
        for number in 0..3 {
            let tell = tell.clone();
            let waiter = move |outcome| tell.send((number, outcome)).expect("a listener");
            demand.add(digest(1), Box::new(waiter));
        }
        assert_eq!(demand.next(), Some(digest(1)));
        assert!(demand.is_waited_for(&digest(1)));
        demand.settle(&digest(1), Outcome::Settled);
        assert!(!demand.is_waited_for(&digest(1)));
        let mut all: Vec<_> = heard.try_iter().collect();
        all.sort_by_key(|(number, _)| *number);
        assert_eq!(
            all,
            (0..3)
                .map(|number| (number, Outcome::Settled))
                .collect::<Vec<_>>()
        );
        // Who comes later asks anew.
        demand.add(digest(1), Box::new(|_| {}));
        assert_eq!(demand.next(), Some(digest(1)));
    }

    #[test]
    fn in_the_end_nobody_waits() {
        let demand = Arc::new(Demand::default());
        let fetcher = demand.clone();
        let fetcher = std::thread::spawn(move || fetcher.next());
        let (tell, heard) = mpsc::channel();
        demand.end();
        assert_eq!(fetcher.join().expect("a thread"), None);
        demand.add(
            digest(2),
            Box::new(move |outcome| tell.send(outcome).expect("a listener")),
        );
        assert_eq!(heard.recv(), Ok(Outcome::Failed));
        assert!(!demand.wait_until_idle(Duration::from_secs(60)));
    }

    #[test]
    fn idle_is_who_waits_for_nothing() {
        let demand = Demand::default();
        let quiet = Duration::from_millis(1);
        assert!(demand.wait_until_idle(quiet));
        demand.add(digest(3), Box::new(|_| {}));
        std::thread::scope(|scope| {
            let idle = scope.spawn(|| demand.wait_until_idle(quiet));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!idle.is_finished());
            demand.settle(&digest(3), Outcome::Failed);
            assert!(idle.join().expect("a thread"));
        });
    }
}
