// SPDX-License-Identifier: GPL-2.0-only
//! Fetching: several objects of several sources at a time.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Mutex;
use std::thread;

use anyhow::{anyhow, bail, Error, Result};
use composefs_repository::Repository;
use composefs_tools::lock::lock;
use composefs_tools::store::Unnamed;

use crate::missing::Wanted;
use crate::queue::{Number, Queue, SOURCES_MAX};
use crate::rate::{Limited, Rate};
use crate::source::{Refusal, Source};

/// Objects that get their names together, by each of those who fetch. As many are lost at most if
/// it is interrupted.
const BATCH: usize = 128;
/// Bytes of those.
const BATCH_BYTES: u64 = 16 << 20;

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
    thread::scope(|scope| {
        for (number, source) in sources.iter().enumerate() {
            for _ in 0..source.parallel().min(wanted.len()) {
                let (all, source) = (&all, &**source);
                scope.spawn(move || {
                    if let Err(error) = all.ask(number, source) {
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

struct Fetching<'a> {
    repository: &'a Repository,
    wanted: &'a [Wanted],
    queue: Queue,
    rate: Option<&'a Rate>,
    watch: &'a dyn Watch,
    /// Why all of it ends.
    failure: Mutex<Option<Error>>,
}

/// Why an object was not put.
enum Trouble {
    /// Because of its source.
    Source(Error),
    /// Somebody else was sooner.
    Overtaken,
    /// Because of us.
    Here(Error),
}

impl Fetching<'_> {
    /// Asks one source, until there is nothing left that it may have.
    fn ask(&self, number: usize, source: &dyn Source) -> Result<()> {
        let mut batch = Batch::new(self);
        while let Some(object) = self.queue.take(number) {
            let Some(wanted) = self.wanted.get(object) else {
                continue;
            };
            let got = match source.open(wanted) {
                Ok(content) => batch.put(object, wanted, content),
                Err(Refusal::Absent) => {
                    self.queue.give_back(object);
                    continue;
                }
                Err(Refusal::Broken(error)) => Err(Trouble::Source(error)),
            };
            match got {
                Ok(()) => self.queue.done(object),
                Err(Trouble::Overtaken) => self.queue.give_back(object),
                Err(Trouble::Source(error)) => {
                    self.queue.give_back(object);
                    if self.queue.leave(number) {
                        self.watch.leave(source.name(), &error);
                    }
                }
                Err(Trouble::Here(error)) => {
                    self.queue.give_back(object);
                    return Err(error);
                }
            }
        }
        batch.publish()
    }
}

/// Objects that have no names yet.
struct Batch<'a> {
    all: &'a Fetching<'a>,
    objects: Unnamed<'a>,
    count: usize,
    bytes: u64,
}

impl<'a> Batch<'a> {
    fn new(all: &'a Fetching<'a>) -> Self {
        Self {
            all,
            objects: Unnamed::new(all.repository.store()),
            count: 0,
            bytes: 0,
        }
    }

    fn put(&mut self, number: Number, wanted: &Wanted, content: impl Read) -> Result<(), Trouble> {
        let all = self.all;
        let mut content = Content {
            inner: Limited::new(content, all.rate),
            left: wanted.size,
            is_broken: false,
            is_idle: &|| all.queue.is_idle(number),
            watch: all.watch,
        };
        let is_wrong = Cell::new(false);
        let put = self
            .objects
            .put_stream_if(&mut content, wanted.size, |found| {
                if *found == wanted.digest {
                    return Ok(());
                }
                is_wrong.set(true);
                bail!("gave object {} with digest {found}", wanted.digest)
            });
        if let Err(error) = put {
            if all.queue.is_idle(number) {
                return Err(Trouble::Overtaken);
            }
            return Err(match content.is_broken || is_wrong.get() {
                true if is_wrong.get() => Trouble::Source(error),
                true => Trouble::Source(error.context(format!("object {}", wanted.digest))),
                false => Trouble::Here(error),
            });
        }
        content
            .expect_end()
            .map_err(|error| Trouble::Source(error.context(format!("object {}", wanted.digest))))?;
        self.count += 1;
        self.bytes = self.bytes.saturating_add(wanted.size);
        if self.count >= BATCH || self.bytes >= BATCH_BYTES {
            self.publish().map_err(Trouble::Here)?;
        }
        Ok(())
    }

    /// Names them.
    fn publish(&mut self) -> Result<()> {
        let next = Unnamed::new(self.all.repository.store());
        std::mem::replace(&mut self.objects, next).publish()?;
        (self.count, self.bytes) = (0, 0);
        Ok(())
    }
}

/// What comes from a source.
struct Content<'a, R> {
    inner: Limited<'a, R>,
    left: u64,
    /// Whether it failed, or came to an end too early.
    is_broken: bool,
    /// Whether nobody wants it any more.
    is_idle: &'a dyn Fn() -> bool,
    watch: &'a dyn Watch,
}

impl<R: Read> Content<'_, R> {
    /// A source that sends more than what is wanted wants to be read for ever.
    fn expect_end(&mut self) -> Result<()> {
        match self.inner.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(anyhow!("is longer than it should be")),
            Err(error) => Err(error.into()),
        }
    }
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.is_idle)() {
            return Err(io::Error::other("is not wanted any more"));
        }
        let read = self.inner.read(buffer);
        match &read {
            Ok(0) => self.is_broken |= self.left > 0 && !buffer.is_empty(),
            Ok(count) => {
                self.left = self.left.saturating_sub(*count as u64);
                self.watch.advance(*count as u64);
            }
            Err(error) => self.is_broken |= error.kind() != io::ErrorKind::Interrupted,
        }
        read
    }
}
