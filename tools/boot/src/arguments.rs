// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel command line says: `composefs=HEX`, `composefs.digest=vN-ALGORITHM-12:HEX`, and
//! `composefs.signature=FILE`. A `?` before the value of the first two is for an image of which
//! nothing has to be proven. They can be there several times: the first that is on the disk counts.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use composefs_format::Digest;

/// log2 of the size of the blocks that fs-verity hashes.
const BLOCK_BITS: &str = "12";

/// What is to be mounted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The images that will do, the best first.
    pub images: Vec<Image>,
    /// A signature that the image must have: a path on the disk.
    pub signature: Option<PathBuf>,
}

/// An image that will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its fs-verity digest, which is its name as well.
    pub digest: Digest,
    /// It need not have that, nor its objects theirs.
    pub is_insecure: bool,
}

impl Arguments {
    /// The arguments in a kernel command line.
    ///
    /// # Errors
    /// If one of them is malformed.
    pub fn parse(line: &str) -> Result<Self> {
        let mut arguments = Self::default();
        for word in words(line) {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let image = match key {
                "composefs" => image(value, |value| Ok(Digest::parse_hex(value.as_bytes())?)),
                "composefs.digest" => image(value, described),
                "composefs.signature" => {
                    arguments.signature = Some(value.into());
                    continue;
                }
                _ => continue,
            };
            let image = image.with_context(|| format!("{word} on the kernel command line"))?;
            arguments.images.push(image);
        }
        Ok(arguments)
    }

    /// Where the image is that a signature alone names: in the file of the same name, less its
    /// suffix. The last part of that stands for a digest in the name of the state's directory.
    ///
    /// # Errors
    /// If there is no such suffix.
    pub fn signed_image(signature: &Path) -> Result<(PathBuf, PathBuf)> {
        let image = signature.with_extension("");
        match image.file_name() {
            Some(name) if image != signature => Ok((name.into(), image)),
            _ => bail!(
                "composefs.signature={} on the kernel command line: no image is named, and this has \
                 no suffix after the name of one",
                signature.display()
            ),
        }
    }
}

/// The words of a kernel command line: between double quotes, blanks are part of a word.
fn words(line: &str) -> impl Iterator<Item = String> + '_ {
    let mut is_quoted = false;
    line.split(move |c: char| {
        is_quoted ^= c == '"';
        !is_quoted && c.is_ascii_whitespace()
    })
    .map(|word| word.replace('"', ""))
}

fn image(value: &str, digest: impl FnOnce(&str) -> Result<Digest>) -> Result<Image> {
    let (value, is_insecure) = match value.strip_prefix('?') {
        Some(rest) => (rest, true),
        None => (value, false),
    };
    Ok(Image {
        digest: digest(value)?,
        is_insecure,
    })
}

/// The digest in `vN-ALGORITHM-12:HEX`, where N is the version of the image's format.
fn described(value: &str) -> Result<Digest> {
    let (description, hex) = value
        .split_once(':')
        .context("no colon before the digest")?;
    let digest = Digest::parse_hex(hex.as_bytes())?;
    let parts: Vec<_> = description.split('-').collect();
    match parts[..] {
        ["v1" | "v2", algorithm, BLOCK_BITS] if algorithm == digest.algorithm().name() => {
            Ok(digest)
        }
        ["v1" | "v2", "sha256" | "sha512", BLOCK_BITS] => {
            bail!("the digest is not one by {}", parts[1])
        }
        _ => bail!(
            "{description} is neither v1 nor v2, sha256 nor sha512, with blocks of 2^12 bytes"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(len: usize) -> String {
        "ab".repeat(len)
    }

    #[test]
    fn each_form() {
        let line = format!(
            "root=/dev/vda composefs.digest=v1-sha256-12:{a} composefs=?{b} quiet \
             composefs.digest=?v2-sha512-12:{b} \"composefs.signature=/a b.sig\" composefsx=1 composefs",
            a = hex(32),
            b = hex(64),
        );
        let arguments = Arguments::parse(&line).expect("arguments");
        let all: Vec<_> = arguments
            .images
            .iter()
            .map(|image| (image.digest.to_string(), image.is_insecure))
            .collect();
        assert_eq!(all, [(hex(32), false), (hex(64), true), (hex(64), true)]);
        assert_eq!(arguments.signature, Some("/a b.sig".into()));
    }

    #[test]
    fn refused() {
        for (word, why) in [
            (
                format!("composefs={}", hex(31)),
                "wrong number of hex digits",
            ),
            ("composefs=".into(), "wrong number of hex digits"),
            (format!("composefs.digest={}", hex(32)), "no colon"),
            (
                format!("composefs.digest=v3-sha256-12:{}", hex(32)),
                "v3-sha256-12 is neither",
            ),
            (
                format!("composefs.digest=v1-sha256-16:{}", hex(32)),
                "v1-sha256-16 is neither",
            ),
            (
                format!("composefs.digest=v1-sha512-12:{}", hex(32)),
                "not one by sha512",
            ),
            (
                format!("composefs.digest=v1-md5-12:{}", hex(32)),
                "v1-md5-12 is neither",
            ),
        ] {
            let error = format!("{:#}", Arguments::parse(&word).expect_err(&word));
            assert!(error.contains(why) && error.starts_with(&word), "{error}");
        }
    }

    #[test]
    fn a_signature_names_its_image() {
        let image = Arguments::signed_image(Path::new("/images/os.sig")).expect("image");
        assert_eq!(image, ("os".into(), "/images/os".into()));
        for bad in ["/images/os", "/", ""] {
            assert!(Arguments::signed_image(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
