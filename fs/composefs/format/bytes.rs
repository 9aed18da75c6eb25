// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Little-endian fields and copies that cannot panic.
//!
//! Every on-disk integer of EROFS is little-endian and may be unaligned in memory.

/// The `u16` at byte `at`, if `bytes` holds all of it.
#[inline]
pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    field(bytes, at).map(u16::from_le_bytes)
}

/// The `u32` at byte `at`, if `bytes` holds all of it.
#[inline]
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    field(bytes, at).map(u32::from_le_bytes)
}

/// The `u64` at byte `at`, if `bytes` holds all of it.
#[inline]
pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    field(bytes, at).map(u64::from_le_bytes)
}

/// The `N` bytes at byte `at`, if `bytes` holds all of them.
#[inline]
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Copies as many bytes as both slices have, and returns how many those are.
#[inline]
pub(super) fn copy(to: &mut [u8], from: &[u8]) -> usize {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    to.len().min(from.len())
}
