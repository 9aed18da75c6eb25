// SPDX-License-Identifier: GPL-2.0-only
//! fs-verity digests, computed here from the kernel's documentation, so that no tool under test
//! vouches for itself. Source: Documentation/filesystems/fsverity.rst, "fs-verity descriptor".

use sha2::{Digest, Sha256, Sha512};

const BLOCK: usize = 4096;

/// The hash algorithms that composefs knows, with their fs-verity numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha256 = 1,
    Sha512 = 2,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

/// The fs-verity digest of a file with these contents, no salt and 4096-byte blocks.
pub fn digest(algorithm: Algorithm, content: &[u8]) -> Vec<u8> {
    let mut descriptor = Vec::with_capacity(256);
    descriptor.extend_from_slice(&[1, algorithm as u8, 12, 0, 0, 0, 0, 0]);
    descriptor.extend_from_slice(&(content.len() as u64).to_le_bytes());
    descriptor.extend_from_slice(&root_hash(algorithm, content));
    descriptor.resize(256, 0);
    algorithm.hash(&descriptor)
}

/// The same in lower-case hexadecimal, as tools print it and mount options take it.
pub fn hex_digest(algorithm: Algorithm, content: &[u8]) -> String {
    hex(&digest(algorithm, content))
}

/// Where a store keeps the object with this digest, relative to the store.
pub fn object_path(hex_digest: &str) -> String {
    let (directory, name) = hex_digest.split_at(2);
    format!("{directory}/{name}")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn root_hash(algorithm: Algorithm, content: &[u8]) -> Vec<u8> {
    if content.is_empty() {
        // The root hash of an empty file is all zeroes by definition.
        let length = algorithm.hash(&[]).len();
        return vec![0; length];
    }
    let mut level = content.to_vec();
    loop {
        let blocks = level.len().div_ceil(BLOCK);
        let mut hashes = Vec::new();
        for block in level.chunks(BLOCK) {
            let mut padded = block.to_vec();
            padded.resize(BLOCK, 0);
            hashes.extend_from_slice(&algorithm.hash(&padded));
        }
        if blocks == 1 {
            return hashes;
        }
        level = hashes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected values: `fsverity digest` of fsverity-utils 1.6.
    #[test]
    fn empty_file() {
        assert_eq!(
            hex_digest(Algorithm::Sha256, b""),
            "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"
        );
    }

    #[test]
    fn levels_and_algorithms() {
        let content = vec![b'x'; 1 << 20];
        assert_eq!(
            hex_digest(Algorithm::Sha256, &content),
            "129f937302957d8bfc8d33d8f0d76f40efda7fa61df7eb6db34a977de4af8b80"
        );
        assert_eq!(
            hex_digest(Algorithm::Sha512, &content),
            "4577494c144d56b6621d17852150351205f880c06630deab8d6484179e27f5d2\
             b0cd8c49c1410ad6eac45b2de79651305c4307bdf81363506d7f8b4bb6ef1b41"
        );
    }
}
