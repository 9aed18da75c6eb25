// SPDX-License-Identifier: GPL-2.0-only
//! PEM files (RFC 7468), which may hold several things and text between them.

use anyhow::{anyhow, Result};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// One thing in a PEM file.
pub struct Block {
    /// What it is: `CERTIFICATE`, say.
    pub label: String,
    pub der: Zeroizing<Vec<u8>>,
}

/// Whether a file is PEM, rather than DER.
pub fn is_pem(content: &[u8]) -> bool {
    memchr::memmem::find(content, BEGIN.as_bytes()).is_some()
}

/// All things with a label that is `wanted`.
///
/// # Errors
/// If one is damaged.
pub fn blocks(content: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&content[at..], BEGIN.as_bytes()) {
        let start = at + found;
        let rest = &content[start..];
        let end = memchr::memmem::find(rest, END.as_bytes())
            .ok_or_else(|| anyhow!("damaged PEM: no end line"))?;
        let end = memchr::memchr(b'\n', &rest[end..]).map_or(rest.len(), |line| end + line + 1);
        let block = &rest[..end];
        at = start + end;
        let label = pem_rfc7468::decode_label(block).map_err(|error| anyhow!("damaged {error}"))?;
        if !wanted(label) {
            continue;
        }
        if memchr::memmem::find(block, b"Proc-Type:").is_some() {
            return Err(anyhow!(
                "a key encrypted in the old way; convert it with openssl pkcs8 -topk8"
            ));
        }
        let (label, der) =
            pem_rfc7468::decode_vec(block).map_err(|error| anyhow!("damaged {error}"))?;
        blocks.push(Block {
            label: label.to_owned(),
            der: Zeroizing::new(der),
        });
    }
    Ok(blocks)
}
