// SPDX-License-Identifier: GPL-2.0-only
//! What of an image programs read when they start: objects, in the order in which they were first
//! opened, and which blocks of each. The image is among them, as an object like the others.
//!
//! ```text
//! composefs-profile 1 sha256:IMAGE
//! DIGEST 0-3 17
//! DIGEST
//! ```
//!
//! A line for each object: its digest, and the blocks that were read, first and last. Nothing depends
//! on what is there but how soon something is read.

mod blocks;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use anyhow::{anyhow, bail, Context, Result};
use composefs_tools::fsverity::Digest;

use crate::notes::Notes;
use crate::repository::Repository;

pub use blocks::{Blocks, BLOCK_SIZE};

/// Bytes of a profile: some 12,000 objects.
pub const MAX: usize = 1 << 20;
const BEGIN: &str = "composefs-profile 1 ";

/// By the digests of images.
pub(crate) const PROFILES: Notes = Notes {
    dir: "profiles",
    max: MAX,
};

/// What is read of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Which one.
    pub digest: Digest,
    /// Which blocks; it may have been opened only.
    pub blocks: Blocks,
}

/// What is read of an image and its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The image.
    pub image: Digest,
    /// Each once, that which is needed first in front.
    pub objects: Vec<Object>,
}

impl Profile {
    /// The profile that was written as `text`, of this image.
    ///
    /// # Errors
    /// If it is none, or of another one.
    pub fn parse(text: &[u8], image: &Digest) -> Result<Self> {
        let read = || {
            if text.len() > MAX {
                bail!("has more than {MAX} bytes");
            }
            let text = std::str::from_utf8(text).map_err(|_| anyhow!("is not text"))?;
            let mut lines = text.lines();
            let first = lines.next().and_then(|line| line.strip_prefix(BEGIN));
            let first = first.ok_or_else(|| anyhow!("does not begin like one"))?;
            if first != title(image) {
                bail!("is of another image");
            }
            let mut objects = Vec::new();
            let mut known = HashSet::new();
            for (number, line) in lines.enumerate() {
                let object = object(line, image).with_context(|| format!("line {}", number + 2))?;
                if !known.insert(object.digest) {
                    bail!("line {}: names an object again", number + 2);
                }
                objects.push(object);
            }
            Ok(objects)
        };
        let objects = read().context("the profile is damaged")?;
        Ok(Self {
            image: *image,
            objects,
        })
    }

    /// As it is written. If that is too long, what is needed last is left out.
    pub fn text(&self) -> String {
        let mut text = format!("{BEGIN}{}\n", title(&self.image));
        for object in &self.objects {
            let before = text.len();
            // A string takes anything.
            let _ = writeln!(text, "{}{}", object.digest, object.blocks);
            if text.len() > MAX {
                text.truncate(before);
                break;
            }
        }
        text
    }

    /// What was known, if anything was, with what another run has read.
    pub fn joined(known: Option<Self>, new: Self) -> Self {
        match known {
            Some(mut known) => {
                known.merge(new);
                known
            }
            None => new,
        }
    }

    /// Adds what another run has read. What only that one has opened comes after all else.
    fn merge(&mut self, other: Self) {
        let known = self.objects.iter().enumerate();
        let known: HashMap<_, _> = known.map(|(at, object)| (object.digest, at)).collect();
        for object in other.objects {
            let at = known.get(&object.digest);
            match at.and_then(|&at| self.objects.get_mut(at)) {
                Some(known) => known.blocks.merge(&object.blocks),
                None => self.objects.push(object),
            }
        }
    }
}

fn title(image: &Digest) -> String {
    format!("{}:{image}", image.algorithm().name())
}

fn object(line: &str, image: &Digest) -> Result<Object> {
    let (digest, blocks) = line.split_once(' ').unwrap_or((line, ""));
    let digest = Digest::parse_hex(digest.as_bytes()).map_err(|_| anyhow!("no digest"))?;
    if digest.algorithm() != image.algorithm() {
        bail!("a digest of {}", digest.algorithm().name());
    }
    Ok(Object {
        digest,
        blocks: Blocks::parse(blocks)?,
    })
}

impl Repository {
    /// Keeps the profile of an image, in place of another.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_profile(&self, profile: &Profile) -> Result<()> {
        let text = profile.text();
        PROFILES.write(self, &profile.image.to_string(), text.as_bytes())
    }

    /// The profile of an image, if one is kept.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn profile(&self, image: &Digest) -> Result<Option<Profile>> {
        let name = image.to_string();
        let Some(text) = PROFILES.read(self, &name) else {
            return Ok(None);
        };
        let profile = Profile::parse(&text, image);
        profile
            .map(Some)
            .with_context(|| self.quote(&PROFILES.path(&name)).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> Digest {
        Digest::parse_hex(format!("{number:064x}").as_bytes()).expect("a digest")
    }

    fn profile(objects: &[(u32, &str)]) -> Profile {
        Profile {
            image: digest(0),
            objects: objects
                .iter()
                .map(|&(number, blocks)| Object {
                    digest: digest(number),
                    blocks: Blocks::parse(blocks).expect("blocks"),
                })
                .collect(),
        }
    }

    fn fault(text: &str) -> String {
        let error = Profile::parse(text.as_bytes(), &digest(0)).expect_err("a fault");
        let text = format!("{error:#}");
        text.strip_prefix("the profile is damaged: ")
            .expect("a prefix")
            .into()
    }

    #[test]
    fn what_is_written_is_read() {
        let written = profile(&[(7, "0-3 17"), (0, "2"), (5, "")]);
        let text = written.text();
        assert_eq!(
            text,
            format!(
                "composefs-profile 1 sha256:{:064x}\n{:064x} 0-3 17\n{:064x} 2\n{:064x}\n",
                0, 7, 0, 5
            )
        );
        assert_eq!(
            Profile::parse(text.as_bytes(), &digest(0)).expect("one"),
            written
        );
    }

    #[test]
    fn runs_are_merged() {
        let mut one = profile(&[(3, "0-3"), (1, "5")]);
        one.merge(profile(&[(2, "1"), (1, "4 6-7"), (3, "2")]));
        assert_eq!(one, profile(&[(3, "0-3"), (1, "4-7"), (2, "1")]));
    }

    #[test]
    fn what_is_none_is_refused() {
        let image = digest(0);
        let begin = format!("composefs-profile 1 sha256:{image}\n");
        assert_eq!(fault(""), "does not begin like one");
        assert_eq!(fault(&begin.replace('1', "2")), "does not begin like one");
        let other = begin.replace(&image.to_string(), &digest(1).to_string());
        assert_eq!(fault(&other), "is of another image");
        assert_eq!(fault(&format!("{begin}some")), "line 2: no digest");
        assert_eq!(fault(&format!("{begin}\n")), "line 2: no digest");
        let long = "ab".repeat(64);
        assert_eq!(
            fault(&format!("{begin}{long}")),
            "line 2: a digest of sha512"
        );
        let twice = format!("{begin}{image}\n{image} 1\n");
        assert_eq!(fault(&twice), "line 3: names an object again");
        assert!(fault(&format!("{begin}{image} 3-1")).starts_with("line 2: "));
        let large = format!("{begin}{}", " ".repeat(MAX));
        assert_eq!(fault(&large), format!("has more than {MAX} bytes"));
        assert!(Profile::parse(&[0xff], &image).is_err());
    }

    #[test]
    fn what_is_too_long_ends_early() {
        let objects: Vec<_> = (1..20_000).map(|number| (number, "0-1")).collect();
        let written = profile(&objects);
        let text = written.text();
        assert!(
            text.len() <= MAX && text.len() > MAX - 100,
            "{}",
            text.len()
        );
        let read = Profile::parse(text.as_bytes(), &digest(0)).expect("one");
        assert_eq!(read.objects, written.objects[..read.objects.len()]);
    }
}
