// SPDX-License-Identifier: GPL-2.0-only
//! The names of images, of their manifests and of what those consist of, in a repository.

use anyhow::{bail, Result};

use crate::digest::BlobDigest;

/// Where the references to manifests are.
const PREFIX: &str = "oci/";

/// The reference of an image's name.
///
/// # Errors
/// If it is none that an image can have.
pub fn reference(name: &str) -> Result<String> {
    // A digest is written so where a name could be.
    if name.is_empty() || name.starts_with('@') {
        bail!("cannot be the name of an image");
    }
    Ok(format!(
        "{PREFIX}{}",
        name.replace('%', "%25").replace('/', "%2F")
    ))
}

/// The image's name that a reference is; `None` if it is of something else.
pub fn name(reference: &str) -> Option<String> {
    let mut rest = reference.strip_prefix(PREFIX)?;
    let mut name = String::new();
    while let Some((before, after)) = rest.split_once('%') {
        name.push_str(before);
        let (meant, skip) = match after.get(..2) {
            Some("2F") => ('/', 2),
            Some("25") => ('%', 2),
            _ => ('%', 0),
        };
        name.push(meant);
        rest = after.get(skip..).unwrap_or_default();
    }
    name.push_str(rest);
    Some(name)
}

/// The stream of a manifest.
pub fn manifest(digest: &BlobDigest) -> String {
    format!("oci-manifest-{digest}")
}

/// The digest of the manifest that a stream is.
pub fn manifest_digest(stream: &str) -> Option<BlobDigest> {
    stream.strip_prefix("oci-manifest-")?.parse().ok()
}

/// The stream of a configuration.
pub fn config(digest: &BlobDigest) -> String {
    format!("oci-config-{digest}")
}

/// What a manifest refers to its configuration by.
pub fn config_key(digest: &BlobDigest) -> String {
    format!("config:{digest}")
}

/// The stream of a layer.
pub fn layer(diff_id: &BlobDigest) -> String {
    format!("oci-layer-{diff_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_there_and_back() {
        for (text, want) in [
            ("debian", "oci/debian"),
            ("docker://a.b/c:1", "oci/docker:%2F%2Fa.b%2Fc:1"),
            ("100%/%2F", "oci/100%25%2F%252F"),
        ] {
            assert_eq!(reference(text).expect(text), want);
            assert_eq!(name(want).as_deref(), Some(text));
        }
        assert_eq!(name("oci/a%2fb%zz%").as_deref(), Some("a%2fb%zz%"));
        assert_eq!(name("ostree/a"), None);
        reference("@sha256:00").expect_err("a digest");
        reference("").expect_err("nothing");
    }
}
