// SPDX-License-Identifier: GPL-2.0-only
//! The name of an image in a registry: `host:port/path:tag@digest`.

use std::fmt;

use anyhow::{anyhow, bail, ensure, Result};
use composefs_tools::quote;

use crate::digest::BlobDigest;

/// What names without a host are of.
const DOCKER: &str = "docker.io";
/// Where they are in there, if they are of one word.
const LIBRARY: &str = "library";
/// The tag where none is said.
const LATEST: &str = "latest";
const TAG_MAX: usize = 128;
const PATH_MAX: usize = 255;

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The host, with its port if that is said.
    pub host: String,
    /// The repository on it.
    pub path: String,
    version: Version,
}

/// Which of the images of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that has it now.
    Tag(String),
    /// The one and only.
    Digest(BlobDigest),
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl Name {
    /// Reads it.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || {
            anyhow!(
                "{} is not the name of an image in a registry",
                quote::bytes(text.as_bytes())
            )
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before a slash is that of a port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        let (host, path) = match path.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
                (host, path.to_owned())
            }
            Some(_) => (DOCKER, path.to_owned()),
            None => (DOCKER, format!("{LIBRARY}/{path}")),
        };
        ensure!(
            is_host(host) && path.len() <= PATH_MAX && path.split('/').all(is_component),
            bad()
        );
        let version = match (digest, tag) {
            (Some(digest), _) => Version::Digest(digest),
            (None, Some(tag)) if is_tag(tag) => Version::Tag(tag.to_owned()),
            (None, None) => Version::Tag(LATEST.into()),
            _ => bail!(bad()),
        };
        Ok(Self {
            host: host.to_owned(),
            path,
            version,
        })
    }

    /// Which one.
    pub fn version(&self) -> &Version {
        &self.version
    }
}

fn is_host(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_part)
}

fn is_component(part: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [part.as_bytes().first(), part.as_bytes().last()];
    let is_part = |byte: u8| is_word(&byte) || b"._-".contains(&byte);
    ends.iter().all(|end| end.is_some_and(is_word)) && part.bytes().all(is_part)
}

fn is_tag(tag: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TAG_MAX).contains(&tag.len()) && tag.bytes().all(is_part) && !tag.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let parse = |text: &str| {
            let name = Name::parse(text).expect(text);
            let version = name.version().to_string();
            (name.host, name.path, version)
        };
        let is = |text: &str, host: &str, path: &str, version: &str| {
            assert_eq!(parse(text), (host.into(), path.into(), version.into()));
        };
        is("debian", "docker.io", "library/debian", "latest");
        is("a/b:c", "docker.io", "a/b", "c");
        is("localhost/b", "localhost", "b", "latest");
        is("127.0.0.1:5000/b/c:1.0", "127.0.0.1:5000", "b/c", "1.0");
        is("[::1]:5000/b", "[::1]:5000", "b", "latest");
        let digest = format!("sha256:{}", "0a".repeat(32));
        is(&format!("q.io/b:x@{digest}"), "q.io", "b", &digest);
        for text in [
            "",
            "a.b/",
            "a.b/../c",
            "a.b/C",
            "a.b/c:",
            "a.b/c:-d",
            "a.b/c@sha256:1",
            "a b",
            "a.b/c d",
            "a.b/c?d",
        ] {
            Name::parse(text).expect_err(text);
        }
    }
}
