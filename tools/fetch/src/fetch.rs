// SPDX-License-Identifier: GPL-2.0-only
//! Fetching: several objects of several sources at a time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{bail, Error, Result};
use composefs_repository::Repository;
use composefs_tools::fsverity::{object_path, Digest};
use composefs_tools::lock::lock;

use crate::asked::Asked;
use crate::batch::{Batch, Trouble};
use crate::layout::Layout;
use crate::missing::Wanted;
use crate::packed;
use crate::queue::{Number, Queue, SOURCES_MAX};
use crate::rate::{Limited, Rate};
use crate::source::{Image, Refusal, Source};

/// How many may ask sources at the same time, beside one for each round and source.
const ASKING_MAX: usize = 32;

/// Who is told what happens. From several threads.
pub trait Watch: Sync {
    /// So many more bytes came.
    fn advance(&self, bytes: u64);
    /// A source is not asked again, because of this.
    fn leave(&self, source: &str, why: &Error);
    /// These are in the repository now.
    fn named(&self, _: &[Number]) {}
}

/// Fetches all that is `wanted`, at no more than `bytes_per_second` if that is said.
///
/// # Errors
/// If something cannot be had from any source, or not be written. What could be had is in the
/// repository then.
pub fn fetch(
    repository: &Repository,
    wanted: &[Wanted],
    sources: &[Box<dyn Source>],
    bytes_per_second: Option<u64>,
    watch: &dyn Watch,
) -> Result<()> {
    let fetcher = Fetcher::new(repository, wanted, sources, bytes_per_second)?;
    let rest = fetcher.round((0..wanted.len()).collect(), watch)?;
    match rest.first().and_then(|&number| wanted.get(number)) {
        None => Ok(()),
        Some(first) if rest.len() == 1 => bail!("no source has object {}", first.digest),
        Some(first) => bail!(
            "no source has object {}, nor {} others",
            first.digest,
            rest.len() - 1
        ),
    }
}

/// Sources that may be asked again and again, and what is known of them.
pub struct Fetcher<'a> {
    repository: &'a Repository,
    wanted: &'a [Wanted],
    askeds: Vec<Asked<'a>>,
    rate: Option<Rate>,
    /// How many ask, in all rounds.
    asking: AtomicUsize,
}

impl<'a> Fetcher<'a> {
    /// Of objects that may be `wanted`, at no more than `bytes_per_second` if that is said.
    ///
    /// # Errors
    /// If there are too many sources, or the repository can only be read.
    pub fn new(
        repository: &'a Repository,
        wanted: &'a [Wanted],
        sources: &'a [Box<dyn Source>],
        bytes_per_second: Option<u64>,
    ) -> Result<Self> {
        repository.expect_writable()?;
        if sources.len() > SOURCES_MAX {
            bail!("there can be {SOURCES_MAX} sources at most");
        }
        let askeds = sources.iter().enumerate();
        Ok(Self {
            repository,
            wanted,
            askeds: askeds
                .map(|(number, source)| Asked::new(number, &**source))
                .collect(),
            rate: bytes_per_second.map(Rate::new),
            asking: AtomicUsize::new(0),
        })
    }

    /// The wanted objects that come with this one at little cost, as far as that is known.
    pub fn near(&self, number: Number) -> Vec<Number> {
        let layouts = self.askeds.iter().map(|asked| lock(&asked.layout).clone());
        let near = layouts.flatten().map(|layout| layout.near(number));
        near.max_by_key(Vec::len).unwrap_or_default()
    }

    /// Fetches the wanted objects with these numbers, which are each greater than the one before, and
    /// gives back those that no source has. Sources that have failed are not asked for a while, and
    /// those that gave something wrong never again. Several rounds may go on at the same time.
    ///
    /// # Errors
    /// If something cannot be written. What could be had is in the repository then.
    pub fn round(&self, numbers: Vec<Number>, watch: &dyn Watch) -> Result<Vec<Number>> {
        let free = ASKING_MAX.saturating_sub(self.asking.load(Ordering::Relaxed));
        let count = numbers.len().min(free.max(1));
        let all = Fetching {
            repository: self.repository,
            wanted: self.wanted,
            queue: Queue::new(numbers, self.askeds.len()),
            rate: self.rate.as_ref(),
            watch,
            failure: Mutex::new(None),
        };
        thread::scope(|scope| {
            for asked in self.askeds.iter().filter(|asked| asked.may_be_asked()) {
                for _ in 0..asked.source.parallel().min(count) {
                    let all = &all;
                    self.asking.fetch_add(1, Ordering::Relaxed);
                    scope.spawn(move || {
                        if let Err(error) = all.ask(asked) {
                            lock(&all.failure).get_or_insert(error);
                            all.queue.stop();
                        }
                        self.asking.fetch_sub(1, Ordering::Relaxed);
                    });
                }
            }
        });
        if let Some(failure) = lock(&all.failure).take() {
            return Err(failure);
        }
        self.repository.expect_protected()?;
        Ok(all.queue.rest())
    }
}

/// What is fetched together.
pub(crate) struct Fetching<'a> {
    pub repository: &'a Repository,
    pub wanted: &'a [Wanted],
    pub queue: Queue,
    pub rate: Option<&'a Rate>,
    pub watch: &'a dyn Watch,
    /// Why all of it ends.
    failure: Mutex<Option<Error>>,
}

impl Fetching<'_> {
    /// Asks one source, until there is nothing left that it may have.
    fn ask(&self, asked: &Asked) -> Result<()> {
        if let Some(image) = asked.source.image() {
            self.ask_for_layers(asked, image);
            return Ok(());
        }
        let Some(layout) = self.layout(asked) else {
            return Ok(());
        };
        let mut batch = Batch::new(self);
        while let Some(objects) = self.queue.take(asked.number, &|first| layout.near(first)) {
            match &*layout {
                Layout::Objects => {
                    for object in objects {
                        let put = self.ask_for_object(asked, object, &mut batch);
                        self.settle(asked, object, put)?;
                    }
                }
                Layout::Packs(packs) => packed::ask(self, asked, packs, &objects, &mut batch)?,
            }
        }
        batch.publish()
    }

    /// Asks for the layers that have what nobody else is at.
    fn ask_for_layers(&self, asked: &Asked, image: &Image) {
        let all = self.queue.rest();
        while let Some(mut taken) = self.queue.take(asked.number, &|_| all.clone()) {
            let digest = |&number: &Number| self.wanted.get(number).map(|wanted| wanted.digest);
            let digests: HashSet<_> = taken.iter().filter_map(digest).collect();
            let mut is_missing = || {
                taken.retain(|number| {
                    let is_here = digest(number)
                        .is_some_and(|digest| self.repository.object(&digest).is_ok());
                    if is_here {
                        self.here(*number);
                    }
                    !is_here
                });
                !taken.is_empty()
            };
            let wanted = |digest: &Digest| digests.contains(digest);
            let brought = image.bring(self.repository, self.rate, &wanted, &mut is_missing);
            let is_whole = taken.is_empty();
            for number in taken {
                self.queue.give_back(number);
            }
            match brought {
                Ok(()) if is_whole => asked.recover(),
                Ok(()) => {}
                Err(error) => self.leave(asked, &error),
            }
        }
    }

    /// An object has come with others.
    fn here(&self, number: Number) {
        if let Some(wanted) = self.wanted.get(number) {
            self.watch.advance(wanted.size);
        }
        self.watch.named(&[number]);
        self.queue.done(number);
    }

    /// How the source has its objects; `None` if that cannot be found out.
    fn layout(&self, asked: &Asked) -> Option<Arc<Layout>> {
        let mut known = lock(&asked.layout);
        let layout = match &*known {
            Some(layout) => layout.clone(),
            // Another thread was in here, and could not.
            None if self.queue.is_left(asked.number) => return None,
            None => {
                let is_over = || self.queue.is_over();
                match Layout::of(asked.source, self.wanted, &is_over) {
                    Ok(layout) => known.insert(Arc::new(layout)).clone(),
                    Err(error) => {
                        self.leave(asked, &error);
                        return None;
                    }
                }
            }
        };
        if let Layout::Packs(packs) = &*layout {
            self.queue
                .rule_out(asked.number, |number| packs.lacks(number));
        }
        Some(layout)
    }

    fn ask_for_object(
        &self,
        asked: &Asked,
        object: Number,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let Some(wanted) = self.wanted.get(object) else {
            return Ok(());
        };
        let stream = match asked.source.open(&object_path(&wanted.digest), None) {
            Ok(stream) => stream,
            Err(Refusal::Absent) => return Err(Trouble::Absent),
            Err(Refusal::Broken(error)) => return Err(Trouble::Source(error)),
        };
        let mut stream = Limited::new(stream, self.rate);
        batch.put(object, wanted, &mut stream)?;
        batch.expect_end(wanted, stream)
    }

    /// Notes what became of an object that was asked for.
    pub fn settle(&self, asked: &Asked, object: Number, put: Result<(), Trouble>) -> Result<()> {
        match put {
            Ok(()) => {
                asked.recover();
                self.queue.done(object);
            }
            Err(trouble) => {
                self.queue.give_back(object);
                match trouble {
                    Trouble::Absent | Trouble::Overtaken => {}
                    Trouble::Source(error) => self.leave(asked, &error),
                    Trouble::Lie(error) => self.leave_for_good(asked, &error),
                    Trouble::Here(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The source is not asked again in this round, and for a while.
    pub fn leave(&self, asked: &Asked, why: &Error) {
        // What was not to be read to its end is no news of the source.
        if !self.queue.is_over() && self.queue.leave(asked.number) {
            asked.rest();
            self.watch.leave(asked.source.name(), why);
        }
    }

    /// The source gave something wrong.
    pub fn leave_for_good(&self, asked: &Asked, why: &Error) {
        asked.never_again();
        if self.queue.leave(asked.number) {
            self.watch.leave(asked.source.name(), why);
        }
    }
}
