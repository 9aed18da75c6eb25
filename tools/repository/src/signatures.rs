// SPDX-License-Identifier: GPL-2.0-only
//! Signatures of images that have no manifest, which would lead to them: for the kernel, when the image
//! is mounted.

use anyhow::Result;
use composefs_format::MAX_SIGNATURE_SIZE;
use composefs_tools::fsverity::Digest;

use crate::notes::Notes;
use crate::repository::Repository;

/// By the digests of images.
pub(crate) const SIGNATURES: Notes = Notes {
    dir: "signatures",
    max: MAX_SIGNATURE_SIZE,
};

impl Repository {
    /// Keeps the signature of an image, in place of another.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_signature(&self, image: &Digest, signature: &[u8]) -> Result<()> {
        SIGNATURES.write(self, &image.to_string(), signature)
    }

    /// The signature that is kept of an image.
    pub fn signature(&self, image: &Digest) -> Option<Vec<u8>> {
        SIGNATURES.read(self, &image.to_string())
    }
}
