// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Extended attributes as stored: some follow their inode, others are shared and referred to by
//! number.
//!
//! An entry is a header of 4 bytes (length of the name, prefix of the name, length of the value),
//! the name without its prefix, and the value, padded to a multiple of 4. Names and values may
//! straddle blocks; headers cannot.

use super::bytes::{array, copy};
use super::disk::xattr::{self, at, entry, ENTRY_SIZE, NAME_MAX};
use super::source::{offset_in_block, Window, SHORT_BLOCK};
use super::{overlay, Error, Image, Node, Source, XattrFilter, XattrIndex, BLOCK_SIZE};

const HEADER_SIZE: u64 = xattr::HEADER_SIZE as u64;
const REFERENCE_SIZE: u64 = xattr::REFERENCE_SIZE as u64;
/// What numbers of shared attributes, and the places of all, are multiples of.
const ALIGNMENT: u64 = xattr::ALIGNMENT as u64;

/// Where the value of an attribute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrValue {
    offset: u64,
    len: u16,
}

impl XattrValue {
    /// Position of the value in the image.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the value in bytes.
    #[allow(clippy::len_without_is_empty)] // An empty value is an attribute like any other.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
}

impl<S: Source> Image<S> {
    /// Looks for the attribute with the prefix `index` and `name` after it, as stored, not as
    /// overlayfs shows it.
    ///
    /// Where the image has filters of names, most absent ones are known from the inode's alone.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if what was looked at is malformed, or the source's.
    pub fn xattr(
        &self,
        node: &Node,
        index: XattrIndex,
        name: &[u8],
    ) -> Result<Option<XattrValue>, S::Error> {
        Ok(match Entries::new(self, node)? {
            Some(entries) if entries.filter.excludes(index, name) => None,
            Some(mut entries) => entries.find(index, name)?.map(|entry| entry.value()),
            None => None,
        })
    }

    /// Reads the attribute with the name that users see through overlayfs, see [`overlay`], into
    /// the start of `out`, unless it is longer. Returns its length; `None` if there is no such
    /// attribute.
    ///
    /// `filter` is that of the inode if it is known from an earlier call, else it becomes known:
    /// with it, most absent names cost no look at the image.
    ///
    /// # Errors
    ///
    /// As [`xattr`](Self::xattr).
    pub fn read_visible_xattr(
        &self,
        node: &Node,
        index: XattrIndex,
        name: &[u8],
        filter: &mut XattrFilter,
        out: &mut [u8],
    ) -> Result<Option<usize>, S::Error> {
        let stored = overlay::stored_name(index, name);
        if stored.head.is_empty() {
            return self.read_stored_xattr(node, index, stored.tail, filter, out);
        }
        let mut buffer = [0; NAME_MAX];
        let head = copy(&mut buffer, stored.head);
        let tail = copy(buffer.get_mut(head..).unwrap_or_default(), stored.tail);
        if tail < stored.tail.len() {
            // No attribute has so long a name.
            return Ok(None);
        }
        let name = buffer.get(..head.saturating_add(tail)).unwrap_or_default();
        self.read_stored_xattr(node, index, name, filter, out)
    }

    fn read_stored_xattr(
        &self,
        node: &Node,
        index: XattrIndex,
        name: &[u8],
        filter: &mut XattrFilter,
        out: &mut [u8],
    ) -> Result<Option<usize>, S::Error> {
        let known = *filter;
        if known.excludes(index, name) {
            return Ok(None);
        }
        let Some(mut entries) = Entries::new(self, node)? else {
            return Ok(None);
        };
        if known == XattrFilter::default() {
            *filter = entries.filter;
            if filter.excludes(index, name) {
                return Ok(None);
            }
        }
        let Some(entry) = entries.find(index, name)? else {
            return Ok(None);
        };
        let value = entry.value();
        if let Some(out) = out.get_mut(..value.len()) {
            copy_out(entries.window_of(&entry), value.offset, out)?;
        }
        Ok(Some(value.len()))
    }

    /// Copies the start of `value` into `out`, and returns how many bytes fit.
    ///
    /// # Errors
    ///
    /// Those of the source, or [`Error::Corrupt`] if `value` is of another image.
    pub fn read_xattr(&self, value: &XattrValue, out: &mut [u8]) -> Result<usize, S::Error> {
        let len = value.len().min(out.len());
        let out = out.get_mut(..len).unwrap_or_default();
        copy_out(&mut Window::new(self), value.offset, out)?;
        Ok(len)
    }

    /// Calls `emit` for every attribute as stored, the inode's own first, then the shared ones,
    /// with the prefix, the name after it and the value, until `emit` returns false.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if an attribute is malformed, or the source's.
    pub fn list_xattrs(
        &self,
        node: &Node,
        emit: &mut dyn FnMut(XattrIndex, &[u8], XattrValue) -> bool,
    ) -> Result<(), S::Error> {
        let Some(mut entries) = Entries::new(self, node)? else {
            return Ok(());
        };
        let mut buffer = [0; NAME_MAX];
        while let Some(entry) = entries.next()? {
            let index = XattrIndex::from_disk(entry.index)
                .ok_or(Error::Corrupt("attribute name has an unknown prefix"))?;
            let name = entries.name(&entry, &mut buffer)?;
            if name.contains(&0) {
                return Err(Error::Corrupt("attribute name contains a NUL").into());
            }
            if !emit(index, name, entry.value()) {
                break;
            }
        }
        Ok(())
    }
}

/// An attribute, in the image as a whole.
pub(super) struct RawEntry {
    index: u8,
    name_len: u8,
    value_len: u16,
    name_pos: u64,
    shared: bool,
}

impl RawEntry {
    #[inline]
    pub(super) fn is_trusted(&self) -> bool {
        self.index == XattrIndex::Trusted as u8
    }

    #[inline]
    pub(super) fn value(&self) -> XattrValue {
        XattrValue {
            offset: self.name_pos.saturating_add(u64::from(self.name_len)),
            len: self.value_len,
        }
    }

    /// First position past the value.
    #[inline]
    fn end(&self) -> u64 {
        self.value()
            .offset
            .saturating_add(u64::from(self.value_len))
    }
}

/// Goes through the attributes of an inode.
pub(super) struct Entries<'a, S: Source> {
    /// Of the inode's own attributes and the numbers of the shared ones.
    body: Window<'a, S>,
    /// Of the shared attributes, elsewhere in the image.
    shared: Window<'a, S>,
    filter: XattrFilter,
    /// The next of its own attributes, and the end of them.
    next: u64,
    end: u64,
    /// The next number of a shared attribute, and the end of those.
    next_id: u64,
    end_ids: u64,
}

impl<'a, S: Source> Entries<'a, S> {
    /// `None` if the inode has no attributes.
    #[inline]
    pub(super) fn new(image: &'a Image<S>, node: &Node) -> Result<Option<Self>, S::Error> {
        if !node.has_xattrs() {
            return Ok(None);
        }
        let mut body = Window::new(image);
        let (pos, end) = (node.xattr_pos(), node.xattr_end());
        let bytes = body.bytes(pos)?;
        let (Some(filter), Some(shared)) = (at::FILTER.read(bytes), at::SHARED.read(bytes)) else {
            return Err(SHORT_BLOCK.into());
        };
        let next_id = pos.saturating_add(HEADER_SIZE);
        let end_ids = next_id.saturating_add(u64::from(shared).saturating_mul(REFERENCE_SIZE));
        if end_ids > end {
            return Err(Error::Corrupt("inode has no room for its shared attributes").into());
        }
        Ok(Some(Self {
            body,
            shared: Window::new(image),
            filter: XattrFilter::from_bits(if image.superblock().xattr_filter() {
                filter
            } else {
                0
            }),
            next: end_ids,
            end,
            next_id,
            end_ids,
        }))
    }

    /// The next attribute, checked to lie where it may.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<RawEntry>, S::Error> {
        if self.next < self.end {
            let entry = read_entry(&mut self.body, self.next, false)?;
            self.next = entry.end().saturating_add(ALIGNMENT - 1) & !(ALIGNMENT - 1);
            if self.next > self.end {
                return Err(Error::Corrupt("attribute reaches past its inode").into());
            }
            return Ok(Some(entry));
        }
        if self.next_id < self.end_ids {
            let bytes = self.body.bytes(self.next_id)?;
            let id = xattr::REFERENCE.read(bytes).ok_or(SHORT_BLOCK)?;
            self.next_id = self.next_id.saturating_add(REFERENCE_SIZE);
            let superblock = self.shared.image().superblock();
            let pos = superblock
                .shared_xattrs()
                .saturating_add(u64::from(id).saturating_mul(ALIGNMENT));
            let entry = read_entry(&mut self.shared, pos, true)?;
            if entry.end() > superblock.end() {
                return Err(Error::Corrupt("shared attribute reaches past the image").into());
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// The attribute with this prefix and name after it, as stored.
    #[inline]
    fn find(&mut self, index: XattrIndex, name: &[u8]) -> Result<Option<RawEntry>, S::Error> {
        while let Some(entry) = self.next()? {
            if entry.index == index as u8 && self.is_named(&entry, name)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether `name` is what follows the prefix in the name of `entry`.
    #[inline]
    pub(super) fn is_named(&mut self, entry: &RawEntry, name: &[u8]) -> Result<bool, S::Error> {
        if usize::from(entry.name_len) != name.len() {
            return Ok(false);
        }
        let window = self.window_of(entry);
        let (mut pos, mut rest) = (entry.name_pos, name);
        while !rest.is_empty() {
            let bytes = window.bytes(pos)?;
            let len = rest.len().min(bytes.len());
            if rest.get(..len) != bytes.get(..len) {
                return Ok(false);
            }
            pos = pos.saturating_add(len as u64);
            rest = rest.get(len..).unwrap_or_default();
        }
        Ok(true)
    }

    /// What follows the prefix in the name of `entry`; `buffer` is used where that straddles
    /// blocks.
    #[inline]
    fn name<'n>(
        &'n mut self,
        entry: &RawEntry,
        buffer: &'n mut [u8; NAME_MAX],
    ) -> Result<&'n [u8], S::Error> {
        let len = usize::from(entry.name_len);
        let window = self.window_of(entry);
        let name = if offset_in_block(entry.name_pos).saturating_add(len) <= BLOCK_SIZE as usize {
            window.bytes(entry.name_pos)?.get(..len)
        } else {
            let name = buffer.get_mut(..len).unwrap_or_default();
            copy_out(window, entry.name_pos, name)?;
            Some(&*name)
        };
        name.ok_or_else(|| SHORT_BLOCK.into())
    }

    #[inline]
    pub(super) fn window_of(&mut self, entry: &RawEntry) -> &mut Window<'a, S> {
        if entry.shared {
            &mut self.shared
        } else {
            &mut self.body
        }
    }
}

/// Reads the header of the entry at `pos`, a multiple of 4.
#[inline]
fn read_entry<S: Source>(
    window: &mut Window<'_, S>,
    pos: u64,
    shared: bool,
) -> Result<RawEntry, S::Error> {
    let header: [u8; ENTRY_SIZE] = array(window.bytes(pos)?, 0).ok_or(SHORT_BLOCK)?;
    let fields = (
        entry::PREFIX.read(&header),
        entry::NAME_LEN.read(&header),
        entry::VALUE_LEN.read(&header),
    );
    let (Some(index), Some(name_len), Some(value_len)) = fields else {
        return Err(SHORT_BLOCK.into());
    };
    Ok(RawEntry {
        index,
        name_len,
        value_len,
        name_pos: pos.saturating_add(ENTRY_SIZE as u64),
        shared,
    })
}

/// Fills `out` from position `pos` of the image on.
pub(super) fn copy_out<S: Source>(
    window: &mut Window<'_, S>,
    pos: u64,
    out: &mut [u8],
) -> Result<(), S::Error> {
    let (mut pos, mut rest) = (pos, out);
    while !rest.is_empty() {
        let copied = copy(rest, window.bytes(pos)?);
        if copied == 0 {
            return Err(SHORT_BLOCK.into());
        }
        pos = pos.saturating_add(copied as u64);
        rest = rest.get_mut(copied..).unwrap_or_default();
    }
    Ok(())
}
