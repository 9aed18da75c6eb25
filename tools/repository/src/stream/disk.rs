// SPDX-License-Identifier: GPL-2.0-only
//! The numbers of the format.

use composefs_tools::fsverity::BLOCK_SIZE;

/// What a stream begins with.
pub const MAGIC: &[u8; 11] = b"SplitStream";
/// Version of the format.
pub const VERSION: u8 = 0;
/// Binary logarithm of the size of fs-verity's blocks.
pub const BLOCK_BITS: u8 = BLOCK_SIZE.trailing_zeros() as u8;
/// Size of the header.
pub const HEADER_SIZE: usize = 32;
/// Size of what follows it.
pub const INFO_SIZE: usize = 80;

/// Where the fields of the header are.
#[derive(Clone, Copy, Debug)]
pub struct HeaderAt {
    pub magic: usize,
    pub version: usize,
    pub algorithm: usize,
    pub block_bits: usize,
    /// Start and end.
    pub info: usize,
}

/// As they are written.
pub const HEADER: HeaderAt = HeaderAt {
    magic: 0,
    version: 11,
    algorithm: 14,
    block_bits: 15,
    info: 16,
};

/// As composefs-rs wrote them up to 0.6, whose compiler had put them in an order of its own.
pub const OLD_HEADER: HeaderAt = HeaderAt {
    magic: 18,
    version: 29,
    algorithm: 30,
    block_bits: 31,
    info: 0,
};

/// Where the fields of the info are; the first four are ranges in the file, start and end.
pub mod info {
    pub const NAMED: usize = 0;
    pub const OBJECTS: usize = 16;
    pub const CONTENT: usize = 32;
    pub const NAMES: usize = 48;
    pub const TYPE: usize = 64;
    pub const SIZE: usize = 72;
}

/// Size of what is in front of a chunk: minus the number of bytes that follow, or an index.
pub const CHUNK_HEADER_SIZE: usize = 8;
