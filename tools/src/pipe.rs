// SPDX-License-Identifier: GPL-2.0-only
//! A stream that another thread reads ahead of us.

use std::io::{self, Read};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::read;

/// Size of the parts that are handed over.
const PART: usize = 32 << 10;
/// Parts that wait.
const PARTS: usize = 8;

/// The end that is read from.
#[derive(Debug)]
pub struct Pipe {
    parts: Receiver<io::Result<Vec<u8>>>,
    part: Vec<u8>,
    done: usize,
    used: Used,
}

/// The end that is written to.
#[derive(Debug)]
pub struct Filler {
    parts: SyncSender<io::Result<Vec<u8>>>,
    used: Used,
}

/// Parts that were read, to be filled again. What one thread takes and another gives back, the
/// allocator keeps for the first: a pull took nearly twice the memory.
#[derive(Clone, Debug, Default)]
pub struct Used(Arc<Mutex<Vec<Vec<u8>>>>);

impl Used {
    /// One that holds something, or nothing yet.
    pub fn take(&self) -> Vec<u8> {
        lock(&self.0).pop().unwrap_or_default()
    }

    /// Gives one back.
    pub fn give(&self, part: Vec<u8>) {
        lock(&self.0).push(part);
    }
}

/// Both ends.
pub fn pipe() -> (Filler, Pipe) {
    with(Used::default())
}

fn with(used: Used) -> (Filler, Pipe) {
    let (filler, parts) = sync_channel(PARTS);
    let pipe = Pipe {
        parts,
        part: Vec::new(),
        done: 0,
        used: used.clone(),
    };
    let filler = Filler {
        parts: filler,
        used,
    };
    (filler, pipe)
}

impl Filler {
    /// Hands over all of `stream`. Whether it came to its end; if not, the other end knows why, or
    /// is gone.
    pub fn fill(&self, stream: &mut impl Read) -> bool {
        loop {
            let mut part = self.used.take();
            part.reserve_exact(PART.saturating_sub(part.len()));
            // What was there stays until it is read over: to clear all of it each time was one
            // instruction of twenty.
            part.resize(PART, 0);
            let (count, read) = read::up_to(stream, &mut part);
            part.truncate(count);
            let is_end = part.is_empty();
            if !is_end && !self.hand_over(part) {
                return false;
            }
            match read {
                Err(error) => {
                    self.fail(error);
                    return false;
                }
                Ok(()) if is_end => return true,
                Ok(()) => {}
            }
        }
    }

    /// Hands over a part that is not empty. Whether the other end is still there.
    pub fn hand_over(&self, part: Vec<u8>) -> bool {
        self.parts.send(Ok(part)).is_ok()
    }

    /// Hands over a copy of something that is not empty. Whether the other end is still there.
    pub fn hand_over_copy(&self, data: &[u8]) -> bool {
        let mut part = self.used.take();
        part.clear();
        part.extend_from_slice(data);
        self.hand_over(part)
    }

    /// Makes the other end fail.
    pub fn fail(&self, error: io::Error) {
        // Nobody wants to know if the other end is gone.
        let _ = self.parts.send(Err(error));
    }
}

impl Pipe {
    /// Both ends of another pipe, for the parts that come from this one.
    pub fn continued(&self) -> (Filler, Pipe) {
        with(self.used.clone())
    }

    /// The parts as they are handed over, for whoever hands them on.
    pub fn parts(self) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        self.parts.into_iter()
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.done == self.part.len() {
            match self.parts.recv() {
                Ok(part) => self.used.give(std::mem::replace(&mut self.part, part?)),
                Err(_) => return Ok(0),
            }
            self.done = 0;
        }
        let mut rest = self.part.get(self.done..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.done += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    /// Gives little at a time, is interrupted in between, and fails in the end if it has to.
    struct Stream<'a> {
        rest: &'a [u8],
        is_interrupted: bool,
        fails: bool,
    }

    impl<'a> Stream<'a> {
        fn new(rest: &'a [u8], fails: bool) -> Self {
            Self {
                rest,
                is_interrupted: false,
                fails,
            }
        }
    }

    impl Read for Stream<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.is_interrupted = !self.is_interrupted;
            if self.is_interrupted {
                return Err(ErrorKind::Interrupted.into());
            }
            if self.fails && self.rest.is_empty() {
                return Err(ErrorKind::TimedOut.into());
            }
            let some = buffer.len().min(10_007);
            self.rest.read(&mut buffer[..some])
        }
    }

    fn content() -> Vec<u8> {
        (0..100_003_u32).map(|number| number as u8).collect()
    }

    /// All that comes, a bit at a time.
    fn read_all(pipe: &mut Pipe) -> (Vec<u8>, Option<ErrorKind>) {
        let (mut all, mut some) = (Vec::new(), [0; 5003]);
        loop {
            match pipe.read(&mut some) {
                Ok(0) => return (all, None),
                Ok(count) => all.extend_from_slice(&some[..count]),
                Err(error) => return (all, Some(error.kind())),
            }
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let content = content();
        let (filler, mut pipe) = pipe();
        assert!(filler.fill(&mut Stream::new(&content, false)));
        assert!(filler.hand_over(b"one".to_vec()));
        assert!(filler.hand_over_copy(b"two"));
        drop(filler);
        assert_eq!(
            read_all(&mut pipe),
            ([&content[..], b"onetwo"].concat(), None)
        );
    }

    #[test]
    fn the_parts_are_those_that_were_handed_over() {
        let (filler, pipe) = pipe();
        for part in [&b"one"[..], b"two"] {
            assert!(filler.hand_over_copy(part));
        }
        drop(filler);
        let parts: io::Result<Vec<_>> = pipe.parts().collect();
        assert_eq!(parts.expect("no error"), [b"one", b"two"]);
    }

    #[test]
    fn an_error_comes_behind_what_was_read_before_it() {
        let content = content();
        let (filler, mut pipe) = pipe();
        assert!(!filler.fill(&mut Stream::new(&content, true)));
        assert_eq!(read_all(&mut pipe), (content, Some(ErrorKind::TimedOut)));
    }

    #[test]
    fn nothing_is_handed_to_nobody() {
        let (filler, pipe) = pipe();
        drop(pipe);
        assert!(!filler.hand_over(vec![1]));
        assert!(!filler.hand_over_copy(&[1]));
        let mut stream = Stream::new(&[1; 2 * PART], false);
        assert!(!filler.fill(&mut stream));
        assert!(!stream.rest.is_empty());
    }

    #[test]
    fn parts_are_filled_again() {
        let (filler, mut pipe) = pipe();
        let part = Vec::from([1; 1000]);
        let place = part.as_ptr();
        assert!(filler.hand_over(part));
        assert!(filler.hand_over(vec![2]));
        drop(filler);
        // Of the pipe that goes on with what comes from this one.
        let (filler, continued) = pipe.continued();
        assert_eq!(read_all(&mut pipe).0.len(), 1001);
        assert!(filler.hand_over_copy(&[3; 10]));
        drop(filler);
        let again = continued.parts().next().expect("a part").expect("no error");
        assert_eq!((again.as_ptr(), &again[..]), (place, &[3; 10][..]));
    }
}
