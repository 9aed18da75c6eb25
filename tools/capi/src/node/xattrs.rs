// SPDX-License-Identifier: GPL-2.0-only
//! The extended attributes of a node.

use std::ffi::CStr;

use composefs_format::disk::xattr;
use rustix::io::Errno;
use smallvec::SmallVec;

use super::Node;

/// Longest name of an extended attribute.
const XATTR_NAME_MAX: usize = 255;
/// What the attributes of a node may take: half of what EROFS has room for.
const XATTRS_MAX: u32 = u16::MAX as u32 / 2;
/// The same for what an image was found to have.
const XATTRS_FOUND_MAX: u32 = u16::MAX as u32;

/// An extended attribute: a name and a value, in one allocation, as there are many of them.
#[derive(Clone)]
pub struct Xattr {
    /// Both have a NUL behind them.
    bytes: Box<[u8]>,
}

impl Xattr {
    fn new(name: &CStr, value: &[u8]) -> Self {
        let bytes = [name.to_bytes_with_nul(), value, &[0]].concat();
        Self {
            bytes: bytes.into(),
        }
    }

    pub fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    pub fn value(&self) -> &[u8] {
        let start = self.name().count_bytes() + 1;
        let end = self.bytes.len().saturating_sub(1);
        self.bytes.get(start..end).unwrap_or_default()
    }
}

/// The extended attributes of a node.
#[derive(Default)]
pub(super) struct Xattrs {
    /// Most nodes have one.
    list: SmallVec<[Xattr; 1]>,
    /// What they are reckoned to take.
    size: u32,
}

impl Xattrs {
    /// What they take is forgotten, as in C: more can be added than to the first.
    pub(super) fn copy(&self) -> Self {
        Self {
            list: self.list.clone(),
            size: 0,
        }
    }
}

impl Node {
    pub fn xattr_count(&self) -> usize {
        self.inner.borrow().xattrs.list.len()
    }

    /// Calls `look` with the attribute of this number, which stays where it is until it is set
    /// anew or taken away.
    pub fn xattr<T>(&self, index: usize, look: impl FnOnce(Option<&Xattr>) -> T) -> T {
        look(self.inner.borrow().xattrs.list.get(index))
    }

    /// The number of the attribute `name`.
    pub fn find_xattr(&self, name: &CStr) -> Option<usize> {
        let inner = self.inner.borrow();
        let mut list = inner.xattrs.list.iter();
        list.position(|xattr| xattr.name() == name)
    }

    /// Sets an attribute, in place of one of this name.
    ///
    /// # Errors
    /// [`Errno::RANGE`] if the name is none, or the attributes take too much; [`Errno::INVAL`] if
    /// the value does.
    pub fn set_xattr(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        self.set_xattr_up_to(name, value, XATTRS_MAX)
    }

    /// As [`set_xattr()`](Self::set_xattr), for what an image was found to have.
    ///
    /// # Errors
    /// As there.
    pub fn set_found_xattr(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        self.set_xattr_up_to(name, value, XATTRS_FOUND_MAX)
    }

    fn set_xattr_up_to(&self, name: &CStr, value: &[u8], max: u32) -> Result<(), Errno> {
        if !(1..=XATTR_NAME_MAX).contains(&name.count_bytes()) {
            return Err(Errno::RANGE);
        }
        if value.len() > u16::MAX as usize {
            return Err(Errno::INVAL);
        }
        // They may be those of the attribute that goes.
        let (cost, new) = (cost(name, value), Xattr::new(name, value));
        // What has this name is gone even if there is no room for the new value, as in C.
        let _ = self.unset_xattr(new.name());
        let mut inner = self.inner.borrow_mut();
        let xattrs = &mut inner.xattrs;
        let header = match xattrs.list.is_empty() {
            true => xattr::HEADER_SIZE,
            false => 0,
        };
        let size = xattrs.size + (header + cost) as u32;
        if size > max {
            return Err(Errno::RANGE);
        }
        // None has many.
        xattrs.list.reserve_exact(1);
        xattrs.list.push(new);
        xattrs.size = size;
        Ok(())
    }

    /// Takes an attribute away.
    ///
    /// # Errors
    /// [`Errno::NODATA`] if there is none of this name.
    pub fn unset_xattr(&self, name: &CStr) -> Result<(), Errno> {
        let index = self.find_xattr(name).ok_or(Errno::NODATA)?;
        let mut inner = self.inner.borrow_mut();
        let xattrs = &mut inner.xattrs;
        let xattr = xattrs.list.swap_remove(index);
        xattrs.size = match xattrs.list.is_empty() {
            true => 0,
            false => xattrs
                .size
                .saturating_sub(cost(xattr.name(), xattr.value()) as u32),
        };
        Ok(())
    }
}

/// What an attribute is reckoned to take: with its header, and the worst alignment.
fn cost(name: &CStr, value: &[u8]) -> usize {
    xattr::ENTRY_SIZE + xattr::ALIGNMENT - 1 + name.count_bytes() + value.len()
}
