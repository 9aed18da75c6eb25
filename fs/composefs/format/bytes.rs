// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Little-endian fields and copies that cannot panic.
//!
//! Every on-disk integer of EROFS is little-endian and may be unaligned in memory.

use core::cmp::Ordering;

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

/// Compares byte strings as `memcmp()` does.
///
/// The order of slices itself is found by subtracting their lengths, in code of `core` that the kernel compiles with
/// overflow checks and so with a reference to a panic.
#[inline]
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().cmp(b.iter())
}

/// Copies as many bytes as both slices have, and returns how many those are.
#[inline]
pub(super) fn copy(to: &mut [u8], from: &[u8]) -> usize {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    to.len().min(from.len())
}
