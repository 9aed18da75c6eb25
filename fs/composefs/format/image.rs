// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! An image as a whole.

use super::source::{offset_in_block, SHORT_BLOCK};
use super::superblock::TRUNCATED;
use super::{Error, FileType, Source, Superblock};

/// A manifest image whose header and superblock have been checked.
pub struct Image<S: Source> {
    source: S,
    superblock: Superblock,
}

impl<S: Source> Image<S> {
    /// Reads and checks header, superblock and root inode.
    ///
    /// # Errors
    ///
    /// [`Error::NotComposefs`] if this is something else, [`Error::Unsupported`] if it uses what
    /// composefs images do not, [`Error::Corrupt`] if it is damaged or truncated; or the source's
    /// errors.
    pub fn open(source: S) -> Result<Self, S::Error> {
        if source.size() == 0 {
            return Err(Error::NotComposefs("file is empty").into());
        }
        let superblock = Superblock::parse(&source.block(0)?)?;
        if superblock.end() > source.size() {
            return Err(TRUNCATED.into());
        }
        let image = Self { source, superblock };
        if image.inode(image.root())?.node.file_type() != FileType::Directory {
            return Err(Error::Corrupt("root is not a directory").into());
        }
        Ok(image)
    }

    /// What the image says about itself.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Where the bytes come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Number of the root directory's inode.
    pub fn root(&self) -> u64 {
        self.superblock.root_nid()
    }

    /// Block `index` of the image.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if there is no such block, else the source's.
    #[inline]
    pub(super) fn block(&self, index: u64) -> Result<S::Block<'_>, S::Error> {
        if index >= u64::from(self.superblock.blocks()) {
            return Err(Error::Corrupt("reference to a place past the end of the image").into());
        }
        self.source.block(index)
    }

    /// The `len` bytes at position `pos`, which must lie within one block.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if they do not, else the source's.
    #[inline]
    pub(super) fn view(&self, pos: u64, len: usize) -> Result<View<S::Block<'_>>, S::Error> {
        let block = self.block(pos / super::BLOCK_SIZE)?;
        let start = offset_in_block(pos);
        let end = start.saturating_add(len);
        if block.get(start..end).is_none() {
            return Err(SHORT_BLOCK.into());
        }
        Ok(View { block, start, end })
    }
}

/// A part of one block.
pub(super) struct View<B> {
    block: B,
    start: usize,
    end: usize,
}

impl<B: core::ops::Deref<Target = [u8]>> View<B> {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // [`Image::view`] has checked the range.
        self.block.get(self.start..self.end).unwrap_or_default()
    }
}
