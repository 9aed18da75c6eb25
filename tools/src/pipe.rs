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
