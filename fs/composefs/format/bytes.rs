// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! Looking at bytes, comparing and copying them in ways that cannot panic.

use core::cmp::Ordering;

/// The `N` bytes at byte `at`, if `bytes` holds all of them.
#[inline]
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Compares byte strings as `memcmp()` does, eight bytes at a time.
///
/// The order of slices itself is found by subtracting their lengths, in code of `core` that the
/// kernel compiles with overflow checks and so with a reference to a panic.
#[inline]
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    while let (Some((x, after_x)), Some((y, after_y))) =
        (a.split_first_chunk::<8>(), b.split_first_chunk::<8>())
    {
        if x != y {
            return u64::from_be_bytes(*x).cmp(&u64::from_be_bytes(*y));
        }
        (a, b) = (after_x, after_y);
    }
    for (x, y) in a.iter().zip(b) {
        if x != y {
            return x.cmp(y);
        }
    }
    a.len().cmp(&b.len())
}

/// Copies as many bytes as both slices have, and returns how many those are.
#[inline]
pub(super) fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        // Of one length, so that no trace of a panic is left.
        to.copy_from_slice(from);
    }
    len
}

/// Whether `bytes` contain a byte that the name of a file cannot contain: a slash or a NUL.
///
/// Eight at a time, as every name of a directory that is read goes through here.
#[inline]
pub(super) fn has_slash_or_nul(bytes: &[u8]) -> bool {
    const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);

    let has = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        has_zero_byte(word) | has_zero_byte(word ^ SLASHES)
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().any(|byte| matches!(byte, 0 | b'/'));
    };
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        if has(word) {
            return true;
        }
        rest = after;
    }
    // What is left over, and some of what was looked at.
    has(last)
}

/// Whether one of the eight bytes of `word` is 0: only then does subtracting 1 from each set a top
/// bit that was clear.
#[inline]
fn has_zero_byte(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

    word.wrapping_sub(ONES) & !word & TOPS != 0
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::{compare, has_slash_or_nul};

    #[test]
    fn strings_are_compared_as_slices_are() {
        for len in 0..20 {
            for other in 0..20 {
                for at in 0..20 {
                    let (mut a, mut b) = ([b'n'; 20], [b'n'; 20]);
                    for (x, y) in [(b'a', b'b'), (0x7f, 0x80), (0, 0xff)] {
                        a[at] = x;
                        b[at] = y;
                        let (a, b) = (&a[..len], &b[..other]);
                        assert_eq!(compare(a, b), a.cmp(b));
                        assert_eq!(compare(b, a), b.cmp(a));
                    }
                }
            }
        }
    }

    #[test]
    fn every_byte_of_a_name_is_looked_at() {
        for len in 0..20 {
            for at in 0..20 {
                for byte in 0..=255 {
                    // Bytes whose neighbours differ from the ones looked for in one bit.
                    for around in [1, b'n', b'.', 0x80, 0xaf] {
                        let mut name = [around; 20];
                        name[at] = byte;
                        let bad = at < len && matches!(byte, 0 | b'/');
                        assert_eq!(has_slash_or_nul(&name[..len]), bad);
                    }
                }
            }
        }
        assert!(has_slash_or_nul(b"both/\0 ."));
    }
}
