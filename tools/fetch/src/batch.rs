// SPDX-License-Identifier: GPL-2.0-only
//! What has come and is right, and gets its names.

use std::cell::Cell;
use std::io::{self, Read};

use anyhow::{anyhow, bail, Error, Result};
use composefs_tools::store::Unnamed;

use crate::fetch::{Fetching, Watch};
use crate::missing::Wanted;
use crate::queue::Number;

/// Objects that get their names together, by each of those who fetch. As many are lost at most if
/// it is interrupted.
const BATCH: usize = 128;
/// Bytes of those.
const BATCH_BYTES: u64 = 16 << 20;

/// Why an object was not put.
pub(crate) enum Trouble {
    /// The source has it not, and never said that it has.
    Absent,
    /// Because of its source, which fails.
    Source(Error),
    /// Because of its source, which gave something else.
    Lie(Error),
    /// Somebody else was sooner.
    Overtaken,
    /// Because of us.
    Here(Error),
}

/// Objects that have no names yet.
pub(crate) struct Batch<'a> {
    all: &'a Fetching<'a>,
    objects: Unnamed<'a>,
    numbers: Vec<Number>,
    bytes: u64,
}

impl<'a> Batch<'a> {
    pub fn new(all: &'a Fetching<'a>) -> Self {
        Self {
            all,
            objects: Unnamed::new(all.repository.store()),
            numbers: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds an object, of whose bytes the stream's next are said to be.
    pub fn put(
        &mut self,
        number: Number,
        wanted: &Wanted,
        stream: &mut impl Read,
    ) -> Result<(), Trouble> {
        let all = self.all;
        let mut content = Content {
            inner: stream,
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
                true if is_wrong.get() => Trouble::Lie(error),
                true => Trouble::Source(error.context(format!("object {}", wanted.digest))),
                false => Trouble::Here(error),
            });
        }
        self.numbers.push(number);
        self.bytes = self.bytes.saturating_add(wanted.size);
        if self.numbers.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.publish().map_err(Trouble::Here)?;
        }
        Ok(())
    }

    /// A source that sends more than what is wanted wants to be read for ever.
    pub fn expect_end(&self, wanted: &Wanted, mut stream: impl Read) -> Result<(), Trouble> {
        let about = || format!("object {}", wanted.digest);
        let error = match stream.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                let error = anyhow!("is longer than it should be");
                return Err(Trouble::Lie(error.context(about())));
            }
            Err(error) => error,
        };
        Err(Trouble::Source(Error::from(error).context(about())))
    }

    /// Names them.
    pub fn publish(&mut self) -> Result<()> {
        let next = Unnamed::new(self.all.repository.store());
        std::mem::replace(&mut self.objects, next).publish()?;
        self.all.watch.named(&self.numbers);
        self.numbers.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// What comes from a source.
struct Content<'a, R> {
    inner: &'a mut R,
    left: u64,
    /// Whether it failed, or came to an end too early.
    is_broken: bool,
    /// Whether nobody wants it any more.
    is_idle: &'a dyn Fn() -> bool,
    watch: &'a dyn Watch,
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
