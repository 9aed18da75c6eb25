// SPDX-License-Identifier: GPL-2.0-only
//! Objects that are written, but are to get their names only together: when what they came in has
//! proven to be right.

use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};

use super::existing::Known;
use super::sealed::{self, Object, Open, Place};
use super::{Store, BATCH_BYTES};
use crate::copy::write_all;
use crate::fsverity::{digest_of, Digest, Hasher};
use crate::quote;
use crate::read::{self, BUFFER_SIZE};
use crate::staged::Staged;

/// Files up to this size are hashed before they are written, which the store's may spare.
const MEMORY_MAX: u64 = 1 << 20;

/// Objects without names. Those that get none are gone with it.
#[derive(Debug)]
pub struct Unnamed<'a> {
    store: &'a Store,
    seen: HashSet<Digest>,
    /// Not on disk yet.
    written: Vec<Object<Open<'a>>>,
    written_bytes: u64,
    sealed: Vec<Object<Place<'a>>>,
    buffer: Vec<u8>,
}

impl<'a> Unnamed<'a> {
    /// None yet, for this store.
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            seen: HashSet::new(),
            written: Vec::new(),
            written_bytes: 0,
            sealed: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Adds an object, unless it is there.
    ///
    /// # Errors
    /// If an object of that name is there but is another file, or writing fails.
    pub fn put(&mut self, content: &[u8]) -> Result<Digest> {
        self.put_if(content, |_| Ok(()))
    }

    fn put_if(&mut self, content: &[u8], accept: impl Fn(&Digest) -> Result<()>) -> Result<Digest> {
        let digest = digest_of(self.store.algorithm, content);
        accept(&digest)?;
        self.put_hashed(&digest, content)?;
        Ok(digest)
    }

    /// Adds an object, unless it is there, whose digest was found to be this.
    ///
    /// # Errors
    /// As of [`Unnamed::put`].
    pub fn put_hashed(&mut self, digest: &Digest, content: &[u8]) -> Result<()> {
        if self.is_new(digest, Known::Content(content))? {
            let staged = self.store.create().and_then(|staged| {
                write_all(staged.file(), content).context("cannot write")?;
                Ok(staged)
            });
            let staged = staged.map_err(|error| self.store.name_object(digest, error))?;
            self.add(*digest, content.len() as u64, staged)?;
        }
        Ok(())
    }

    /// The same for the next `size` bytes of a stream.
    ///
    /// # Errors
    /// As of [`Unnamed::put`]; if the stream fails, or ends before.
    pub fn put_stream(&mut self, stream: &mut impl Read, size: u64) -> Result<Digest> {
        self.put_stream_if(stream, size, |_| Ok(()))
    }

    /// The same, if what it is found to be is accepted.
    ///
    /// # Errors
    /// As of [`Unnamed::put_stream`]; that of `accept`.
    pub fn put_stream_if(
        &mut self,
        stream: &mut impl Read,
        size: u64,
        accept: impl Fn(&Digest) -> Result<()>,
    ) -> Result<Digest> {
        let mut buffer = std::mem::take(&mut self.buffer);
        if size <= MEMORY_MAX {
            let size = usize::try_from(size).unwrap_or(0);
            if buffer.len() < size {
                // Not in steps, each of which leaves a hole behind.
                buffer.reserve_exact(size - buffer.len());
                buffer.resize(size, 0);
            }
            let content = buffer.get_mut(..size).unwrap_or_default();
            let read = read::of_file(stream, content);
            let digest = read.and_then(|()| self.put_if(content, accept));
            self.buffer = buffer;
            return digest;
        }
        let context = || {
            format!(
                "cannot write an object in {}",
                quote::path(&self.store.path)
            )
        };
        let staged = self.store.create().with_context(context)?;
        let mut hasher = Hasher::new(self.store.algorithm);
        buffer.resize(BUFFER_SIZE, 0);
        let mut left = size;
        while left > 0 {
            let want = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let part = buffer.get_mut(..want).unwrap_or_default();
            read::of_file(stream, part)?;
            hasher.update(part);
            write_all(staged.file(), part).with_context(context)?;
            left = left.saturating_sub(part.len() as u64);
        }
        self.buffer = buffer;
        let digest = hasher.finish();
        accept(&digest)?;
        if self.is_new(&digest, Known::Size(size))? {
            self.add(digest, size, staged)?;
        }
        Ok(digest)
    }

    /// Gives all of them their names, and sees to it that they stay.
    ///
    /// # Errors
    /// If that fails for one of them; others may have got theirs.
    pub fn publish(mut self) -> Result<()> {
        self.seal()?;
        let store = self.store;
        let any = !self.sealed.is_empty();
        if any && store.lacks_verity() {
            store.sync()?;
        }
        while let Some(object) = self.sealed.pop() {
            let Object {
                digest,
                size,
                place,
            } = object;
            let named = store.name(&digest, size, |to, replace| {
                place.publish(store, to, replace)
            });
            named.map_err(|error| store.name_object(&digest, error))?;
        }
        if any {
            store.sync()?;
        }
        Ok(())
    }

    fn is_new(&mut self, digest: &Digest, known: Known) -> Result<bool> {
        if self.seen.contains(digest) {
            return Ok(false);
        }
        let found = self.store.check_existing(digest, known);
        let found = found.map_err(|error| self.store.name_object(digest, error))?;
        self.seen.insert(*digest);
        Ok(!found)
    }

    fn add(&mut self, digest: Digest, size: u64, staged: Staged) -> Result<()> {
        self.written.push(Object {
            digest,
            size,
            place: Open::new(self.store, staged),
        });
        self.written_bytes = self.written_bytes.saturating_add(size);
        let is_full = self.store.unnamed.load(Ordering::Relaxed) >= 2 * self.store.batch;
        if is_full || self.written.len() >= self.store.batch || self.written_bytes >= BATCH_BYTES {
            self.seal()?;
        }
        Ok(())
    }

    /// Gets fs-verity on what is written.
    fn seal(&mut self) -> Result<()> {
        if self.written.is_empty() {
            return Ok(());
        }
        // To enable fs-verity writes a file to the disk: all of them at once are written sooner.
        if !self.store.lacks_verity() {
            self.store.sync()?;
        }
        self.written_bytes = 0;
        let written = std::mem::take(&mut self.written);
        self.sealed.append(&mut sealed::seal(self.store, written)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsverity::{object_path, Algorithm};

    /// However many have such objects, files that are open are few.
    #[test]
    fn open_files_are_counted() {
        let dir = std::env::temp_dir().join(format!("composefs-unnamed-{}", std::process::id()));
        let mut store = Store::open(&dir, Algorithm::Sha256).expect("store");
        store.batch = 4;
        let several = 5;
        let mut all: Vec<_> = (0..several).map(|_| Unnamed::new(&store)).collect();
        for number in 0..200_u32 {
            for (index, unnamed) in all.iter_mut().enumerate() {
                let content = format!("{number} {index}");
                unnamed.put(content.as_bytes()).expect("object");
                // Each may have one more than there should be.
                assert!(store.unnamed.load(Ordering::Relaxed) <= 2 * store.batch + several);
            }
        }
        drop(all.pop());
        for unnamed in all {
            unnamed.publish().expect("names");
        }
        assert_eq!(store.unnamed.load(Ordering::Relaxed), 0);
        let mut left = 0;
        for directory in std::fs::read_dir(&dir).expect("store") {
            let directory = directory.expect("directory");
            assert_eq!(directory.file_name().len(), 2, "a temporary name");
            for object in std::fs::read_dir(directory.path()).expect("directory") {
                let path = object.expect("object").path();
                let content = std::fs::read(&path).expect("content");
                let digest = digest_of(Algorithm::Sha256, &content);
                assert_eq!(path, dir.join(object_path(&digest)));
                left += 1;
            }
        }
        assert_eq!(left, 4 * 200);
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
