// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Fields of on-disk structures.
//!
//! Every on-disk integer of EROFS is little-endian, and may be unaligned in memory.

use core::marker::PhantomData;

use super::bytes::array;

/// A field of a structure: where it is, and of what type.
pub struct Field<T> {
    offset: usize,
    value: PhantomData<T>,
}

impl<T> Field<T> {
    /// The field that starts `offset` bytes after its structure.
    pub const fn at(offset: usize) -> Self {
        Self {
            offset,
            value: PhantomData,
        }
    }

    /// How many bytes it starts after its structure.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The same field in what there is from byte `start` of the structure on.
    pub(super) const fn from(&self, start: usize) -> Self {
        Self::at(self.offset.saturating_sub(start))
    }
}

macro_rules! readable {
    ($($integer:ty)*) => {$(
        impl Field<$integer> {
            /// Its value, if `bytes`, which begin where the structure does, hold all of it.
            #[inline]
            pub(super) fn read(&self, bytes: &[u8]) -> Option<$integer> {
                array(bytes, self.offset).map(<$integer>::from_le_bytes)
            }
        }
    )*};
}

readable!(u8 u16 u32 u64);

impl<const N: usize> Field<[u8; N]> {
    /// Its value, if `bytes`, which begin where the structure does, hold all of it.
    #[inline]
    pub(super) fn read(&self, bytes: &[u8]) -> Option<[u8; N]> {
        array(bytes, self.offset)
    }
}
