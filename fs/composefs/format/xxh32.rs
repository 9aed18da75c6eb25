// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The 32-bit xxHash, which EROFS hashes attribute names with.
//!
//! After the algorithm's specification (`doc/xxhash_spec.md` of xxHash, version 0.1.1).

const PRIME_1: u32 = 0x9e37_79b1;
const PRIME_2: u32 = 0x85eb_ca77;
const PRIME_3: u32 = 0xc2b2_ae3d;
const PRIME_4: u32 = 0x27d4_eb2f;
const PRIME_5: u32 = 0x1656_67b1;

/// Hash of `input`, of which the length counts modulo 2^32.
pub(super) fn xxh32(input: &[u8], seed: u32) -> u32 {
    let mut rest = input;
    let mut hash = if input.len() < 16 {
        seed.wrapping_add(PRIME_5)
    } else {
        let mut a = seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2);
        let mut b = seed.wrapping_add(PRIME_2);
        let mut c = seed;
        let mut d = seed.wrapping_sub(PRIME_1);
        while let Some((stripe, after)) = rest.split_first_chunk::<16>() {
            let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = *stripe;
            a = round(a, [a0, a1, a2, a3]);
            b = round(b, [b0, b1, b2, b3]);
            c = round(c, [c0, c1, c2, c3]);
            d = round(d, [d0, d1, d2, d3]);
            rest = after;
        }
        a.rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18))
    };
    hash = hash.wrapping_add(input.len() as u32);
    while let Some((lane, after)) = rest.split_first_chunk::<4>() {
        let lane = u32::from_le_bytes(*lane).wrapping_mul(PRIME_3);
        hash = hash
            .wrapping_add(lane)
            .rotate_left(17)
            .wrapping_mul(PRIME_4);
        rest = after;
    }
    for byte in rest {
        let lane = u32::from(*byte).wrapping_mul(PRIME_5);
        hash = hash
            .wrapping_add(lane)
            .rotate_left(11)
            .wrapping_mul(PRIME_1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 16)
}

#[inline]
fn round(accumulator: u32, lane: [u8; 4]) -> u32 {
    accumulator
        .wrapping_add(u32::from_le_bytes(lane).wrapping_mul(PRIME_2))
        .rotate_left(13)
        .wrapping_mul(PRIME_1)
}

#[cfg(test)]
mod tests {
    use super::xxh32;

    #[test]
    fn hashes_are_those_of_the_reference_implementation() {
        assert_eq!(xxh32(b"", 0), 0x02cc_5d05);
        assert_eq!(xxh32(b"a", 0), 0x550d_7456);
        assert_eq!(xxh32(b"abc", 0), 0x32d1_53ff);
        let long = b"Nobody inspects the spammish repetition";
        assert_eq!(xxh32(long, 0), 0xe229_3b2f);
    }
}
