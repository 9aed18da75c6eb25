// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Where the bytes of an image come from.

use core::ops::Deref;

use super::{Error, Image, BLOCK_SIZE};

/// Where the parser gets the bytes of an image.
pub trait Source {
    /// What a call fails with: the source's own errors, or the parser's.
    type Error: From<Error>;

    /// The bytes of one block, for as long as the value lives.
    type Block<'a>: Deref<Target = [u8]>
    where
        Self: 'a;

    /// Size of the image in bytes.
    fn size(&self) -> u64;

    /// Block number `index`: [`BLOCK_SIZE`] bytes, fewer only if the image ends in it.
    ///
    /// The parser never asks for a block at or past [`size`](Self::size).
    ///
    /// # Errors
    ///
    /// The source's own, when the block cannot be read.
    fn block(&self, index: u64) -> Result<Self::Block<'_>, Self::Error>;
}

/// Looks at an image through one block at a time, and fetches that block once for as long as it is
/// looked at.
pub(super) struct Window<'a, S: Source> {
    image: &'a Image<S>,
    index: u64,
    block: Option<S::Block<'a>>,
}

impl<'a, S: Source> Window<'a, S> {
    #[inline]
    pub(super) fn new(image: &'a Image<S>) -> Self {
        Self {
            image,
            index: 0,
            block: None,
        }
    }

    #[inline]
    pub(super) fn image(&self) -> &'a Image<S> {
        self.image
    }

    /// The bytes from position `pos` of the image up to the end of the block that `pos` is in.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if `pos` is not in the image, else the source's.
    #[inline]
    pub(super) fn bytes(&mut self, pos: u64) -> Result<&[u8], S::Error> {
        let index = pos / BLOCK_SIZE;
        if self.block.is_none() || self.index != index {
            // Let go of the old block first: a source may have a limit to how many are held.
            self.block = None;
            self.block = Some(self.image.block(index)?);
            self.index = index;
        }
        self.block
            .as_deref()
            .and_then(|block| block.get(offset_in_block(pos)..))
            .ok_or_else(|| SHORT_BLOCK.into())
    }
}

/// The image ends within a block that its superblock counts; [`Image::open`] refuses such, so the
/// file has shrunk.
pub(super) const SHORT_BLOCK: Error = Error::Corrupt("image is shorter than it was when opened");

/// The offset of image position `pos` within its block.
#[inline]
pub(super) fn offset_in_block(pos: u64) -> usize {
    (pos % BLOCK_SIZE) as usize
}
