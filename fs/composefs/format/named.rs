// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Which inodes a path leads to.
//!
//! Numbers of inodes are those of slots, and whatever lies in a slot can be taken for an inode: the
//! value of an attribute, say, or a small file. So a number that does not come from a directory is
//! to be looked for in all of them.

use core::ops::{Deref, DerefMut};

use super::directory::check_directory;
use super::disk::SLOT_SIZE;
use super::{Error, FileType, Image, Source};

/// Numbers of inodes, one bit for each slot of an image.
pub struct NidSet<M>(M);

impl<M: Deref<Target = [u8]>> NidSet<M> {
    /// Whether `nid` is one of them.
    pub fn contains(&self, nid: u64) -> bool {
        let (byte, bit) = place(nid);
        self.0.get(byte).is_some_and(|byte| byte & bit != 0)
    }
}

impl<M: DerefMut<Target = [u8]>> NidSet<M> {
    /// Adds `nid`; false if it was there, or is of no slot.
    fn insert(&mut self, nid: u64) -> bool {
        let (byte, bit) = place(nid);
        match self.0.get_mut(byte) {
            Some(byte) if *byte & bit == 0 => {
                *byte |= bit;
                true
            }
            _ => false,
        }
    }
}

impl<S: Source> Image<S> {
    /// How many bytes a set of its inodes takes: 1/256 of its size.
    pub fn nid_set_size(&self) -> u64 {
        self.superblock().end() / SLOT_SIZE / 8
    }
}

/// The byte that has the bit of `nid`, and that bit.
fn place(nid: u64) -> (usize, u8) {
    let byte = usize::try_from(nid / 8).unwrap_or(usize::MAX);
    (byte, 1 << (nid % 8))
}

/// A search of the whole tree for the inodes that it consists of. Who searches keeps the list of
/// directories that are yet to be read, which is the root's number at first.
pub struct Search<'a, S: Source, M> {
    image: &'a Image<S>,
    found: NidSet<M>,
    /// How many bytes of directories may still be read.
    budget: u64,
}

impl<'a, S: Source, M: DerefMut<Target = [u8]>> Search<'a, S, M> {
    /// Begins a search of `image` in zeroed `memory`, of [`Image::nid_set_size`] bytes.
    pub fn new(image: &'a Image<S>, memory: M) -> Self {
        let mut found = NidSet(memory);
        found.insert(image.root());
        Self {
            image,
            found,
            budget: image.superblock().end(),
        }
    }

    /// Adds the inodes that directory `nid` names, and calls `unread` for each directory among them
    /// that was not found before, until it returns false.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] or the source's if not all of the directory could be read.
    pub fn read(&mut self, nid: u64, unread: &mut dyn FnMut(u64) -> bool) -> Result<(), S::Error> {
        let dir = self.image.inode(nid)?.node;
        check_directory(&dir)?;
        // All are read once, so that the work is bounded by the size of the image, unless they
        // share their blocks.
        self.budget = self
            .budget
            .checked_sub(dir.size())
            .ok_or(Error::Corrupt("directories overlap"))?;

        self.image.read_dir(&dir, 0, &mut |entry| {
            if matches!(entry.name, b"." | b"..") || !self.found.insert(entry.nid) {
                return true;
            }
            entry.file_type != FileType::Directory || unread(entry.nid)
        })?;
        Ok(())
    }

    /// Ends the search.
    pub fn finish(self) -> NidSet<M> {
        self.found
    }
}
