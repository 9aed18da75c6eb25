// SPDX-License-Identifier: GPL-2.0-only
//! fs-verity digests, computed in user space.
//!
//! The digest of a file is the hash of a descriptor that holds the size of the file and the root
//! of a Merkle tree over its blocks of 4096 bytes (Documentation/filesystems/fsverity.rst in the
//! kernel). composefs uses no salt.

use sha2::{Digest as _, Sha256, Sha512};

/// Size of a data block and of a block of hashes.
pub const BLOCK_SIZE: usize = 4096;

pub use composefs_format::{Algorithm, Digest};

/// Where the object of a digest lies in a store: two hex digits, a slash, the others.
pub fn object_path(digest: &Digest) -> String {
    let mut hex = digest.to_string();
    hex.insert(2, '/');
    hex
}

fn hash(algorithm: Algorithm, data: &[u8]) -> Digest {
    let digest = match algorithm {
        Algorithm::Sha256 => Digest::from_bytes(algorithm, &Sha256::digest(data)),
        Algorithm::Sha512 => Digest::from_bytes(algorithm, &Sha512::digest(data)),
    };
    digest.expect("a hash has the size of its algorithm")
}

/// One level of the Merkle tree: the block of hashes being filled.
struct Level {
    block: Box<[u8; BLOCK_SIZE]>,
    len: usize,
}

/// Computes the fs-verity digest of a stream.
pub struct Hasher {
    algorithm: Algorithm,
    /// The data block that is not complete yet.
    partial: Vec<u8>,
    levels: Vec<Level>,
    size: u64,
}

impl Hasher {
    /// A hasher that has seen no data.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            partial: Vec::with_capacity(BLOCK_SIZE),
            levels: Vec::new(),
            size: 0,
        }
    }

    /// Number of bytes seen so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds `data` to the stream.
    pub fn update(&mut self, mut data: &[u8]) {
        self.size += data.len() as u64;
        if !self.partial.is_empty() {
            let (head, rest) = data.split_at(data.len().min(BLOCK_SIZE - self.partial.len()));
            self.partial.extend_from_slice(head);
            data = rest;
            if self.partial.len() == BLOCK_SIZE {
                let hash = hash(self.algorithm, &self.partial);
                self.partial.clear();
                self.push(0, &hash);
            }
        }
        let mut blocks = data.chunks_exact(BLOCK_SIZE);
        for block in &mut blocks {
            let hash = hash(self.algorithm, block);
            self.push(0, &hash);
        }
        self.partial.extend_from_slice(blocks.remainder());
    }

    /// The digest of everything seen; the hasher is as new afterwards.
    pub fn finish(&mut self) -> Digest {
        if !self.partial.is_empty() {
            self.partial.resize(BLOCK_SIZE, 0);
            let hash = hash(self.algorithm, &self.partial);
            self.partial.clear();
            self.push(0, &hash);
        }
        let root = self.root();
        let mut descriptor = [0; 256];
        descriptor[0] = 1;
        descriptor[1] = self.algorithm.id();
        descriptor[2] = BLOCK_SIZE.trailing_zeros() as u8;
        descriptor[8..16].copy_from_slice(&self.size.to_le_bytes());
        if let Some(root) = root {
            descriptor[16..16 + root.as_bytes().len()].copy_from_slice(root.as_bytes());
        }
        self.size = 0;
        hash(self.algorithm, &descriptor)
    }

    /// The root of the tree; an empty file has none, and the kernel puts zeros in its place.
    fn root(&mut self) -> Option<Digest> {
        let digest_size = self.algorithm.digest_size();
        let mut root = None;
        let mut index = 0;
        while let Some(level) = self.levels.get_mut(index) {
            let len = std::mem::take(&mut level.len);
            if len == digest_size && self.levels.iter().skip(index + 1).all(|l| l.len == 0) {
                root = Digest::from_bytes(self.algorithm, &self.levels[index].block[..digest_size]);
                break;
            }
            if len != 0 {
                let block = &mut self.levels[index].block;
                block[len..].fill(0);
                let hash = hash(self.algorithm, &block[..]);
                self.push(index + 1, &hash);
            }
            index += 1;
        }
        root
    }

    /// Appends a hash to a level. A full block is passed on only when one more hash comes: a
    /// level that fits one block is the top of the tree.
    fn push(&mut self, index: usize, digest: &Digest) {
        if self.levels.len() <= index {
            self.levels.push(Level {
                block: Box::new([0; BLOCK_SIZE]),
                len: 0,
            });
        }
        if self.levels[index].len == BLOCK_SIZE {
            let full = hash(self.algorithm, &self.levels[index].block[..]);
            self.levels[index].len = 0;
            self.push(index + 1, &full);
        }
        let level = &mut self.levels[index];
        let end = level.len + digest.as_bytes().len();
        level.block[level.len..end].copy_from_slice(digest.as_bytes());
        level.len = end;
    }
}

/// The digest of `data`.
pub fn digest_of(algorithm: Algorithm, data: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(data);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree, level by level, straight from the definition.
    fn reference(algorithm: Algorithm, data: &[u8]) -> Digest {
        let pad = |chunk: &[u8]| {
            let mut block = chunk.to_vec();
            block.resize(BLOCK_SIZE, 0);
            hash(algorithm, &block).as_bytes().to_vec()
        };
        let mut level: Vec<u8> = data.chunks(BLOCK_SIZE).flat_map(pad).collect();
        while level.len() > algorithm.digest_size() {
            level = level.chunks(BLOCK_SIZE).flat_map(pad).collect();
        }
        let mut descriptor = vec![1, algorithm.id(), 12, 0, 0, 0, 0, 0];
        descriptor.extend_from_slice(&(data.len() as u64).to_le_bytes());
        descriptor.extend_from_slice(&level);
        descriptor.resize(256, 0);
        hash(algorithm, &descriptor)
    }

    #[test]
    fn equals_the_definition_at_every_boundary() {
        let data: Vec<u8> = (0..(BLOCK_SIZE * 129 * 2 + 5) as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for blocks in [0, 1, 2, 63, 64, 65, 127, 128, 129, 258] {
                for extra in [-1, 0, 1] {
                    let Ok(len) = usize::try_from(blocks * BLOCK_SIZE as i64 + extra) else {
                        continue;
                    };
                    let data = &data[..len];
                    let want = reference(algorithm, data);
                    assert_eq!(digest_of(algorithm, data), want, "{len} bytes");
                    let mut hasher = Hasher::new(algorithm);
                    for _ in 0..2 {
                        data.chunks(1000).for_each(|chunk| hasher.update(chunk));
                        assert_eq!(hasher.finish(), want, "{len} bytes, in parts");
                    }
                }
            }
        }
    }

    #[test]
    fn known_digests() {
        // Both from fsverity-utils: `fsverity digest` of an empty file and of "hello world\n".
        assert_eq!(
            digest_of(Algorithm::Sha256, b"").to_string(),
            "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"
        );
        assert_eq!(
            digest_of(Algorithm::Sha256, b"hello world\n").to_string(),
            "37061ef2ac4c21bec68489b56138c5780306a4ad7fe6676236ecdf2c9027cd92"
        );
        assert_eq!(
            digest_of(Algorithm::Sha512, b"hello world\n").to_string(),
            "4098b052d2427dc9029c85062215dd6e6c41667bfae09f5ce90a49f7e01fca29\
             5c89b16a4d2703ac5b0593f476ca174675ee51829c2f1fd07c4133a87041c1d7"
        );
    }
}
