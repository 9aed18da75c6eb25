// SPDX-License-Identifier: GPL-2.0-only
//! What is known of a source.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use composefs_tools::lock::lock;

use crate::layout::Layout;
use crate::source::Source;

/// How long a source that fails is left alone: at first, and at most.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);

/// A source, and what is known of it.
pub(crate) struct Asked<'a> {
    pub number: usize,
    pub source: &'a dyn Source,
    pub layout: Mutex<Option<Arc<Layout>>>,
    state: Mutex<State>,
}

/// Whether it may be asked.
#[derive(Clone, Copy)]
enum State {
    Well,
    /// From then on; and how long it was to rest for.
    Rests(Instant, Duration),
    /// It gave something wrong.
    Lies,
}

impl<'a> Asked<'a> {
    pub fn new(number: usize, source: &'a dyn Source) -> Self {
        Self {
            number,
            source,
            layout: Mutex::new(None),
            state: Mutex::new(State::Well),
        }
    }

    pub fn may_be_asked(&self) -> bool {
        match *lock(&self.state) {
            State::Well => true,
            State::Rests(until, _) => until <= Instant::now(),
            State::Lies => false,
        }
    }

    /// It has given what it was asked for.
    pub fn recover(&self) {
        let mut state = lock(&self.state);
        if let State::Rests(..) = *state {
            *state = State::Well;
        }
    }

    /// It fails: each time in a row it is left alone for longer.
    pub fn rest(&self) {
        let mut state = lock(&self.state);
        let rest = match *state {
            State::Well => REST,
            State::Rests(_, before) => (before * 2).min(REST_MAX),
            State::Lies => return,
        };
        *state = State::Rests(Instant::now() + rest, rest);
    }

    pub fn never_again(&self) {
        *lock(&self.state) = State::Lies;
    }
}
