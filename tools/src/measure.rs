// SPDX-License-Identifier: GPL-2.0-only
//! The fs-verity digest of a file: the kernel's if it has one, else computed from the content.

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use anyhow::{anyhow, Result};

use crate::fsverity::{Algorithm, Digest, Hasher};
use crate::read::{read, BUFFER_SIZE};
use crate::verity;

/// What a file was found to have.
#[derive(Debug)]
pub struct Measured {
    /// Its digest.
    pub digest: Digest,
    /// Whether fs-verity is enabled on it.
    pub has_verity: bool,
}

/// The digest of a file that is open at its start.
///
/// # Errors
/// If fs-verity is enabled with another algorithm, or the file cannot be read.
pub fn file(file: &File, algorithm: Algorithm) -> Result<Measured> {
    let known = verity::measure(file, algorithm)?;
    Ok(Measured {
        has_verity: known.is_some(),
        digest: match known {
            Some(digest) => digest,
            None => content(file, algorithm)?,
        },
    })
}

/// The digest of what a file holds from where it is positioned to its end.
///
/// # Errors
/// If it cannot be read.
pub fn content(file: &File, algorithm: Algorithm) -> Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        match read(file, &mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// The digests that a file may be known by: of `algorithm` if one is wanted; else the one that the
/// kernel has for it; else, if fs-verity is not enabled on it, of every algorithm, the usual one
/// first.
///
/// # Errors
/// If the file cannot be read, or fs-verity is enabled with another algorithm.
pub fn candidates(path: &Path, algorithm: Option<Algorithm>) -> Result<Vec<Digest>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(anyhow!("is not a regular file"));
    }
    let algorithms = match &algorithm {
        Some(algorithm) => std::slice::from_ref(algorithm),
        None => &[Algorithm::Sha256, Algorithm::Sha512],
    };
    let mut other = None;
    for &algorithm in algorithms {
        match verity::measure(&file, algorithm) {
            Ok(Some(digest)) => return Ok(vec![digest]),
            Ok(None) => {}
            Err(error) => other = Some(error),
        }
    }
    if let Some(error) = other {
        return Err(error);
    }
    let compute = |&algorithm| {
        file.rewind()?;
        content(&file, algorithm)
    };
    algorithms.iter().map(compute).collect()
}
