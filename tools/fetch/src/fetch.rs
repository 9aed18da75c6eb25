// SPDX-License-Identifier: GPL-2.0-only
//! Fetching: several objects of several sources at a time.

use std::sync::{Mutex, OnceLock};
use std::thread;

use anyhow::{bail, Error, Result};
use composefs_repository::Repository;
use composefs_tools::fsverity::object_path;
use composefs_tools::lock::lock;

use crate::batch::{Batch, Trouble};
use crate::layout::Layout;
use crate::missing::Wanted;
use crate::packed;
use crate::queue::{Number, Queue, SOURCES_MAX};
use crate::rate::{Limited, Rate};
use crate::source::{Refusal, Source};

/// Who is told what happens. From several threads.
pub trait Watch: Sync {
    /// So many more bytes came.
    fn advance(&self, bytes: u64);
    /// A source is not asked again, because of this.
    fn leave(&self, source: &str, why: &Error);
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
    repository.expect_writable()?;
    if sources.len() > SOURCES_MAX {
        bail!("there can be {SOURCES_MAX} sources at most");
    }
    let rate = bytes_per_second.map(Rate::new);
    let all = Fetching {
        repository,
        wanted,
        queue: Queue::new(wanted.len(), sources.len()),
        rate: rate.as_ref(),
        watch,
        failure: Mutex::new(None),
    };
    let askeds: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(number, source)| Asked {
            number,
            source: &**source,
            layout: OnceLock::new(),
        })
        .collect();
    thread::scope(|scope| {
        for asked in &askeds {
            for _ in 0..asked.source.parallel().min(wanted.len()) {
                let all = &all;
                scope.spawn(move || {
                    if let Err(error) = all.ask(asked) {
                        lock(&all.failure).get_or_insert(error);
                        all.queue.stop();
                    }
                });
            }
        }
    });
    if let Some(failure) = lock(&all.failure).take() {
        return Err(failure);
    }
    repository.expect_protected()?;
    let rest = all.queue.rest();
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

pub(crate) struct Fetching<'a> {
    pub repository: &'a Repository,
    pub wanted: &'a [Wanted],
    pub queue: Queue,
    pub rate: Option<&'a Rate>,
    pub watch: &'a dyn Watch,
    /// Why all of it ends.
    failure: Mutex<Option<Error>>,
}

/// A source, and what is known of it.
pub(crate) struct Asked<'a> {
    pub number: usize,
    pub source: &'a dyn Source,
    /// `None` if that cannot be found out.
    layout: OnceLock<Option<Layout>>,
}

impl Fetching<'_> {
    /// Asks one source, until there is nothing left that it may have.
    fn ask(&self, asked: &Asked) -> Result<()> {
        let Some(layout) = asked.layout.get_or_init(|| self.layout(asked)) else {
            return Ok(());
        };
        let mut batch = Batch::new(self);
        while let Some(objects) = self.queue.take(asked.number, &|first| layout.near(first)) {
            match layout {
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

    fn layout(&self, asked: &Asked) -> Option<Layout> {
        let is_over = || self.queue.is_over();
        match Layout::of(asked.source, self.wanted, &is_over) {
            Ok(layout) => {
                if let Layout::Packs(packs) = &layout {
                    let absent = packs.absent(self.wanted.len());
                    self.queue.rule_out(asked.number, absent);
                }
                Some(layout)
            }
            Err(error) => {
                self.leave(asked, &error);
                None
            }
        }
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
            Ok(()) => self.queue.done(object),
            Err(trouble) => {
                self.queue.give_back(object);
                match trouble {
                    Trouble::Absent | Trouble::Overtaken => {}
                    Trouble::Source(error) => self.leave(asked, &error),
                    Trouble::Here(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    pub fn leave(&self, asked: &Asked, why: &Error) {
        // What was not to be read to its end is no news of the source.
        if !self.queue.is_over() && self.queue.leave(asked.number) {
            self.watch.leave(asked.source.name(), why);
        }
    }
}
