// SPDX-License-Identifier: GPL-2.0-only
//! Files whose content is elsewhere. To EROFS they are one hole, described in chunks.

use anyhow::{anyhow, Result};
use composefs_format::disk::{inode, BLOCK_BITS};

/// How a file is described: in chunks of `1 << bits` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    pub bits: u32,
    pub count: u32,
}

impl Chunks {
    /// The fewest chunks that describe a file of `size` bytes, at least one.
    pub fn of(size: u64) -> Self {
        const BITS_MIN: u32 = BLOCK_BITS as u32;
        const BITS_MAX: u32 = BITS_MIN + inode::CHUNK_BITS as u32;
        let bits = size.wrapping_sub(1).checked_ilog2().unwrap_or(0) + 1;
        let bits = bits.clamp(BITS_MIN, BITS_MAX);
        Self {
            bits,
            // At most 2^21: 64 - 43 bits.
            count: size.div_ceil(1 << bits) as u32,
        }
    }
}

/// Checks that an image can describe a file of `size` bytes whose content is elsewhere.
///
/// # Errors
/// If it is larger than 8 PiB: one block of chunk addresses is all that composefs uses.
pub fn check_size(size: u64) -> Result<()> {
    const COUNT_MAX: u32 = 1024;
    if Chunks::of(size).count > COUNT_MAX {
        return Err(anyhow!("a file of {size} bytes is larger than 8 PiB"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Chunks;

    #[test]
    fn chunk_sizes() {
        let of = |size| {
            let Chunks { bits, count } = Chunks::of(size);
            (bits, count)
        };
        assert_eq!(of(1), (12, 1));
        assert_eq!(of(4096), (12, 1));
        assert_eq!(of(4097), (13, 1));
        assert_eq!(of(8192), (13, 1));
        assert_eq!(of(1 << 43), (43, 1));
        assert_eq!(of((1 << 43) + 1), (43, 2));
        assert_eq!(of(1 << 53), (43, 1024));
        assert_eq!(of((1 << 53) + 1), (43, 1025));
        assert_eq!(of(u64::MAX), (43, 1 << 21));
    }
}
