// SPDX-License-Identifier: GPL-2.0-only
//! On-disk structures, filled in field by field.

use composefs_format::disk::Field;

/// A structure of `N` bytes. What is not filled in is zero.
pub struct Structure<const N: usize>([u8; N]);

/// What a field can hold.
pub trait Value {
    /// Puts it to the start of `place`.
    fn put(self, place: &mut [u8]);
}

macro_rules! values {
    ($($integer:ty)*) => {$(
        impl Value for $integer {
            fn put(self, place: &mut [u8]) {
                place[..size_of::<Self>()].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

values!(u8 u16 u32 u64);

impl<const N: usize> Structure<N> {
    /// A structure of zeros.
    pub fn new() -> Self {
        Self([0; N])
    }

    /// Fills in a field.
    ///
    /// # Panics
    /// If the structure is too small to have it.
    pub fn put<T: Value>(&mut self, field: Field<T>, value: T) -> &mut Self {
        value.put(&mut self.0[field.offset()..]);
        self
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}
