// SPDX-License-Identifier: GPL-2.0-only
//! Signatures of images: detached PKCS#7 over the fs-verity digest, in the form in which the
//! kernel has digests signed. Made here, and checked by the kernel's rules.

mod asn1;
pub mod certificate;
mod compose;
mod fault;
mod hash;
pub mod key;
mod name;
mod oid;
mod pem;
pub mod pkcs7;
mod prompt;
mod public_key;
mod trust;

use std::path::Path;

use anyhow::{anyhow, Context, Result};

pub use compose::compose;
pub use fault::Fault;
pub use trust::Verified;

use crate::fsverity::Digest;
use crate::quote;
use certificate::Certificate;

/// What is signed: the kernel's `struct fsverity_formatted_digest`, that is `FSVerity`, the number
/// of the algorithm and the size of the digest (16 bits each, little endian), and the digest.
pub fn formatted_digest(digest: &Digest) -> Vec<u8> {
    let bytes = digest.as_bytes();
    let mut formatted = b"FSVerity".to_vec();
    formatted.extend_from_slice(&u16::from(digest.algorithm().id()).to_le_bytes());
    formatted.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    formatted.extend_from_slice(bytes);
    formatted
}

/// Reads the certificates in a file: PEM, of which there may be several, or DER.
///
/// # Errors
/// If there is none, or the kernel would not take it.
pub fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let read = || {
        let content = std::fs::read(path)?;
        if !pem::is_pem(&content) {
            return Ok(vec![Certificate::parse(&content)?]);
        }
        let blocks = pem::blocks(&content, |label| label == "CERTIFICATE")?;
        if blocks.is_empty() {
            return Err(anyhow!("there is no certificate in it"));
        }
        let parsed = blocks.iter().map(|block| Certificate::parse(&block.der));
        Ok(parsed.collect::<Result<_, Fault>>()?)
    };
    read().with_context(|| format!("cannot use the certificate {}", quote::path(path)))
}
