// SPDX-License-Identifier: GPL-2.0-only
//! What is fetched ahead of who opens one file after the other, in the order of the image, as who
//! copies a tree does: together, rather than each when it is opened.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Mutex;

use composefs_fetch::Number;
use composefs_tools::lock::lock;

/// How many may read at the same time, each in another place.
const RUNS: usize = 16;
/// Objects that somebody may leave out and still reads one after the other.
const GAP: Number = 64;
/// Objects that are fetched together first, and at most; and bytes of them.
const FIRST: usize = 8;
const MOST: usize = 4096;
const MOST_BYTES: u64 = 64 << 20;

/// One who reads.
#[derive(Debug)]
struct Run {
    /// The last that was fetched for them together.
    window: Range<Number>,
    /// How many it will be next.
    next: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Those who read, the latest last.
    runs: Vec<Run>,
    in_flight: HashSet<Number>,
}

/// Who reads where, and what is being fetched.
#[derive(Debug, Default)]
pub struct Ahead(Mutex<State>);

/// What is to be done for an object that is not here.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// Somebody fetches it already.
    pub comes: bool,
    /// What is to be fetched ahead; the object is the first of it, unless it comes.
    pub window: Option<Range<Number>>,
}

impl Ahead {
    /// What is to be done for an object that somebody waits for; `size` is that of each, and `None`
    /// behind the last.
    pub fn turn(&self, number: Number, size: impl Fn(Number) -> Option<u64>) -> Turn {
        let state = &mut *lock(&self.0);
        let comes = state.in_flight.contains(&number);
        let reads_on = |run: &Run| {
            let window = &run.window;
            let behind = window.end..window.end.saturating_add(GAP);
            // Who waits for what comes wants to have the next come meanwhile.
            behind.contains(&number) || comes && window.contains(&number)
        };
        let known = state.runs.iter().position(reads_on);
        let mut run = match known {
            Some(place) => state.runs.remove(place),
            None if comes => {
                return Turn {
                    comes,
                    window: None,
                }
            }
            None => {
                let run = Run {
                    window: number..number.saturating_add(1),
                    next: FIRST,
                };
                // One that is asked for again and again, as it cannot be had, takes one place.
                state.runs.retain(|other| other.window != run.window);
                if state.runs.len() >= RUNS {
                    state.runs.remove(0);
                }
                run
            }
        };
        let mut window = None;
        if known.is_some() {
            let start = if comes { run.window.end } else { number };
            run.window = start..end_of(start, run.next, size);
            run.next = run.next.saturating_mul(2).min(MOST);
            window = Some(run.window.clone()).filter(|window| !window.is_empty());
        }
        state.runs.push(run);
        Turn { comes, window }
    }

    /// More is fetched with a window than was said: up to here.
    pub fn widen(&self, window: &Range<Number>, end: Number) {
        let mut state = lock(&self.0);
        let mut runs = state.runs.iter_mut().rev();
        if let Some(run) = runs.find(|run| run.window == *window) {
            run.window.end = end.max(window.end);
        }
    }

    /// Those that nobody fetches yet, whom the caller fetches now.
    pub fn claim(&self, numbers: impl IntoIterator<Item = Number>) -> Vec<Number> {
        let mut state = lock(&self.0);
        let free = numbers.into_iter();
        free.filter(|&number| state.in_flight.insert(number))
            .collect()
    }

    /// Nobody fetches these any more.
    pub fn release(&self, numbers: &[Number]) {
        let mut state = lock(&self.0);
        for number in numbers {
            state.in_flight.remove(number);
        }
    }
}

/// Where `most` objects end, or those of [`MOST_BYTES`].
fn end_of(start: Number, most: usize, size: impl Fn(Number) -> Option<u64>) -> Number {
    let mut bytes = 0_u64;
    let mut end = start;
    while let Some(size) = size(end).filter(|_| end - start < most && bytes < MOST_BYTES) {
        bytes = bytes.saturating_add(size);
        end = end.saturating_add(1);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(number: Number) -> Option<u64> {
        (number < 9999).then_some(1000)
    }

    fn alone() -> Turn {
        Turn {
            comes: false,
            window: None,
        }
    }

    fn window(comes: bool, window: Range<Number>) -> Turn {
        Turn {
            comes,
            window: Some(window),
        }
    }

    #[test]
    fn who_reads_on_gets_more_each_time() {
        let ahead = Ahead::default();
        assert_eq!(ahead.turn(100, sizes), alone());
        assert_eq!(ahead.turn(101, sizes), window(false, 101..109));
        assert_eq!(ahead.turn(109, sizes), window(false, 109..125));
        assert_eq!(ahead.turn(130, sizes), window(false, 130..162));
        // Not beyond the last, and not too much.
        let few = |number| (number < 170).then_some(1000);
        assert_eq!(ahead.turn(162, few), window(false, 162..170));
        assert_eq!(ahead.turn(170, few), alone());
        let large = |_| Some(30 << 20);
        assert_eq!(ahead.turn(171, large), window(false, 171..174));
    }

    #[test]
    fn who_reads_anywhere_gets_nothing() {
        let ahead = Ahead::default();
        for number in [500, 300, 700, 100, 299, 50] {
            assert_eq!(ahead.turn(number, sizes), alone(), "{number}");
        }
    }

    #[test]
    fn several_read() {
        let ahead = Ahead::default();
        for start in [0, 1000, 2000] {
            assert_eq!(ahead.turn(start, sizes), alone());
        }
        for start in [1000, 0, 2000] {
            let next = start + 1;
            assert_eq!(ahead.turn(next, sizes), window(false, next..next + FIRST));
        }
        // The one who has not read for longest is forgotten.
        for start in 0..RUNS {
            assert_eq!(ahead.turn(3000 + start * 100, sizes), alone());
        }
        assert_eq!(ahead.turn(1 + FIRST, sizes), alone());
    }

    #[test]
    fn who_asks_for_the_same_again_takes_one_place() {
        let ahead = Ahead::default();
        assert_eq!(ahead.turn(0, sizes), alone());
        for _ in 0..2 * RUNS {
            assert_eq!(ahead.turn(5000, sizes), alone());
        }
        assert_eq!(ahead.turn(1, sizes), window(false, 1..1 + FIRST));
    }

    #[test]
    fn who_waits_for_what_comes_has_the_next_come() {
        let ahead = Ahead::default();
        assert_eq!(ahead.claim([1]), [1]);
        // Of somebody else's.
        assert_eq!(
            ahead.turn(1, sizes),
            Turn {
                comes: true,
                window: None
            }
        );
        ahead.turn(10, sizes);
        assert_eq!(ahead.turn(11, sizes), window(false, 11..19));
        assert_eq!(ahead.claim(11..19), (11..19).collect::<Vec<_>>());
        assert!(ahead.claim([12]).is_empty());
        assert_eq!(ahead.turn(12, sizes), window(true, 19..35));
        ahead.widen(&(19..35), 50);
        assert_eq!(ahead.claim(19..50).len(), 31);
        assert_eq!(ahead.turn(40, sizes), window(true, 50..82));
        ahead.release(&[12]);
        assert_eq!(ahead.claim([12]), [12]);
    }
}
