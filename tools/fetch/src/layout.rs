// SPDX-License-Identifier: GPL-2.0-only
//! How a source has its objects: each in a file of its own, or many in a pack.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;

use anyhow::{ensure, Context, Error, Result};
use composefs_tools::fsverity::{Algorithm, Digest};

use crate::missing::Wanted;
use crate::pack::list::{self, List};
use crate::pack::{self, index};
use crate::queue::Number;
use crate::source::{Refusal, Source};

/// Bytes of all indexes of a source at most: they are worth nothing to whoever finds none of his
/// objects in them.
const INDEXES_MAX: u64 = 256 << 20;
/// Bytes of a pack that are asked for together.
const RUN: u64 = 2 << 20;

/// How a source has its objects.
pub enum Layout {
    /// By their digests.
    Objects,
    /// In packs.
    Packs(Packs),
}

/// Where the wanted objects are, by a source's own word.
#[derive(Default)]
pub struct Packs {
    frames: Vec<Frame>,
    /// The frame of each object that is in one.
    places: HashMap<Number, usize>,
    runs: Vec<Range<usize>>,
}

/// A frame that has wanted objects.
#[derive(Debug)]
pub struct Frame {
    /// In which pack.
    pub pack: Digest,
    /// Where in that.
    pub part: Range<u64>,
    /// The wanted objects, and where they are in the frame, in this order.
    pub objects: Vec<(Number, u64)>,
    run: usize,
}

impl Layout {
    /// The objects that are asked for together with one.
    pub fn near(&self, number: Number) -> Vec<Number> {
        match self {
            Self::Objects => Vec::new(),
            Self::Packs(packs) => {
                let objects = packs.run(number).iter().flat_map(|frame| &frame.objects);
                objects.map(|&(number, _)| number).collect()
            }
        }
    }

    /// That of a source. `is_over` says whether it does not matter any more.
    ///
    /// # Errors
    /// If it says that it has packs, but has none that can be read.
    pub fn of(source: &dyn Source, wanted: &[Wanted], is_over: &dyn Fn() -> bool) -> Result<Self> {
        let path = format!("{}/{}", pack::DIR, list::NAME);
        let text = match source.open(&path, None) {
            Ok(stream) => read(stream, is_over).with_context(|| path.clone())?,
            Err(Refusal::Absent) => return Ok(Self::Objects),
            Err(Refusal::Broken(error)) => return Err(error),
        };
        let list = List::parse(&text).context(path)?;
        let mut packs = Packs::default();
        let mut missing: HashMap<_, _> = wanted
            .iter()
            .enumerate()
            .map(|(number, object)| (object.digest, number))
            .collect();
        let mut left = INDEXES_MAX;
        for pack in list.packs {
            if missing.is_empty() {
                break;
            }
            let path = format!("{}/{}", pack::DIR, pack::index_name(&pack));
            let stream = source.open(&path, None);
            let mut stream = Bounded {
                inner: stream
                    .map_err(|refusal| refusal.into_error(&path))?
                    .take(left),
                is_over,
            };
            let added = packs.add(pack, &mut stream, list.algorithm, wanted, &mut missing);
            added.with_context(|| path.clone())?;
            left = stream.inner.limit();
            ensure!(
                left > 0,
                "{path}: the indexes are of more than {INDEXES_MAX} bytes"
            );
        }
        packs.divide();
        Ok(Self::Packs(packs))
    }
}

fn read(stream: impl Read, is_over: &dyn Fn() -> bool) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let mut stream = Bounded {
        inner: stream.take(list::SIZE_MAX + 1),
        is_over,
    };
    stream.read_to_end(&mut text)?;
    ensure!(
        text.len() as u64 <= list::SIZE_MAX,
        "is of more than {} bytes",
        list::SIZE_MAX
    );
    Ok(text)
}

impl Packs {
    /// Adds what an index says of the objects that are not found yet.
    fn add(
        &mut self,
        pack: Digest,
        index: &mut impl Read,
        algorithm: Algorithm,
        wanted: &[Wanted],
        missing: &mut HashMap<Digest, Number>,
    ) -> Result<()> {
        index::read(
            &mut io::BufReader::new(index),
            algorithm,
            &mut |start, frame| {
                let mut objects = Vec::new();
                let mut at = 0_u64;
                for object in frame.objects {
                    // What is of another size is another.
                    let number = missing.get(&object.digest).copied();
                    let number = number.filter(|&number| wanted.get(number) == Some(&object));
                    if let Some(number) = number {
                        missing.remove(&object.digest);
                        self.places.insert(number, self.frames.len());
                        objects.push((number, at));
                    }
                    at = at.saturating_add(object.size);
                }
                if !objects.is_empty() {
                    self.frames.push(Frame {
                        pack,
                        part: start..start.saturating_add(frame.len),
                        objects,
                        run: 0,
                    });
                }
                Ok(())
            },
        )
    }

    /// Says which frames are asked for together.
    fn divide(&mut self) {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut first: Option<(Digest, u64)> = None;
        for (at, frame) in self.frames.iter_mut().enumerate() {
            let goes_on = first.is_some_and(|(pack, start)| {
                pack == frame.pack && frame.part.end.saturating_sub(start) <= RUN
            });
            match runs.last_mut().filter(|_| goes_on) {
                Some(run) => run.end = at + 1,
                None => {
                    first = Some((frame.pack, frame.part.start));
                    runs.push(at..at + 1);
                }
            }
            frame.run = runs.len() - 1;
        }
        self.runs = runs;
    }

    /// Whether a wanted object is in none of them.
    pub fn lacks(&self, number: Number) -> bool {
        !self.places.contains_key(&number)
    }

    /// The frames that are asked for together with that of an object.
    pub fn run(&self, number: Number) -> &[Frame] {
        let frame = self.places.get(&number).and_then(|&at| self.frames.get(at));
        let run = frame.and_then(|frame| self.runs.get(frame.run));
        run.and_then(|run| self.frames.get(run.clone()))
            .unwrap_or_default()
    }
}

/// A stream that is given up when it does not matter any more.
struct Bounded<'a, R> {
    inner: io::Take<R>,
    is_over: &'a dyn Fn() -> bool,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.is_over)() {
            true => Err(io::Error::other("is not wanted any more")),
            false => self.inner.read(buffer),
        }
    }
}
