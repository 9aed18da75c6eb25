// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Content that lives in the image: small regular files, symlink targets and directories.

use super::bytes::copy;
use super::image::View;
use super::source::offset_in_block;
use super::{Error, FileType, Image, Node, Source, BLOCK_SIZE};

impl<S: Source> Image<S> {
    /// Copies content from byte `offset` on into `out`, and returns how many bytes those are: fewer
    /// than `out` has room for only at the end of the file.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the content is not in the image, or is a symlink target with a NUL in
    /// it; or the source's.
    pub fn read_data(&self, node: &Node, offset: u64, out: &mut [u8]) -> Result<usize, S::Error> {
        if node.is_external() {
            return Err(Error::Corrupt("content is not in the image").into());
        }
        let mut done = 0_usize;
        loop {
            let at = offset.saturating_add(done as u64);
            let rest = out.get_mut(done..).unwrap_or_default();
            if rest.is_empty() || at >= node.size() {
                return Ok(done);
            }
            let view = self.data(node, at)?;
            let bytes = view.bytes();
            let copied = copy(rest, bytes);
            let symlink = node.file_type() == FileType::Symlink;
            if symlink && rest.get(..copied).unwrap_or_default().contains(&0) {
                return Err(Error::Corrupt("symlink target contains a NUL").into());
            }
            if copied == 0 {
                return Ok(done);
            }
            done = done.saturating_add(copied);
        }
    }

    /// The content from byte `at`, which is less than the size, up to the end of the content's
    /// block.
    #[inline]
    pub(super) fn data(&self, node: &Node, at: u64) -> Result<View<S::Block<'_>>, S::Error> {
        let index = at / BLOCK_SIZE;
        let start = index.saturating_mul(BLOCK_SIZE);
        let left = node.size().saturating_sub(start);
        let pos = if node.has_tail() && left <= BLOCK_SIZE {
            node.xattr_end()
        } else {
            node.data_block()
                .saturating_add(index)
                .saturating_mul(BLOCK_SIZE)
        };
        let skip = offset_in_block(at);
        let len = (left.min(BLOCK_SIZE) as usize).saturating_sub(skip);
        self.view(pos.saturating_add(skip as u64), len)
    }
}
