// SPDX-License-Identifier: GPL-2.0-only
//! `meta.json`: what a repository is.

use std::collections::BTreeSet;

use anyhow::{anyhow, Context, Result};
use composefs_format::disk::header::NEWEST_FORMAT;
use composefs_tools::fsverity::{Algorithm, BLOCK_SIZE};
use serde::{Deserialize, Serialize};

/// Its name.
pub const FILE: &str = "meta.json";
/// The version of repositories that this is about.
const VERSION: u32 = 1;
/// Says that images are of format version 1, which older tools take for a later one.
const V1_EROFS: &str = "v1_erofs";
/// Format version of images where nothing else is said.
const FORMAT_UNSAID: u8 = 2;

/// The content of `meta.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Metadata {
    version: u32,
    algorithm: String,
    #[serde(default)]
    features: Features,
    #[serde(default)]
    erofs_formats: ErofsFormats,
}

/// What a tool has to know of to use a repository.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", default)]
struct Features {
    /// Nothing.
    compatible: Vec<String>,
    /// To write to it.
    read_only_compatible: Vec<String>,
    /// At all.
    incompatible: Vec<String>,
}

/// The format versions of the images that are made.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct ErofsFormats {
    default: u8,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    extra: BTreeSet<u8>,
}

impl Default for ErofsFormats {
    fn default() -> Self {
        Self::only(FORMAT_UNSAID)
    }
}

impl ErofsFormats {
    /// One version.
    pub fn only(default: u8) -> Self {
        Self::with_extra(default, [])
    }

    /// Others as well.
    pub fn with_extra(default: u8, extra: impl IntoIterator<Item = u8>) -> Self {
        let extra = extra.into_iter().filter(|&version| version != default);
        Self {
            default,
            extra: extra.collect(),
        }
    }

    /// The one that is mounted.
    pub fn default(&self) -> u8 {
        self.default
    }

    /// All of them, that one first.
    pub fn all(&self) -> impl Iterator<Item = u8> + '_ {
        let extra = self.extra.iter().copied();
        std::iter::once(self.default).chain(extra.filter(|&version| version != self.default))
    }
}

/// The word for how objects are named.
fn algorithm_text(algorithm: Algorithm) -> String {
    let block_bits = BLOCK_SIZE.trailing_zeros();
    format!("fsverity-{}-{block_bits}", algorithm.name())
}

impl Metadata {
    /// What is said of a new repository.
    pub fn new(algorithm: Algorithm, erofs_formats: ErofsFormats) -> Self {
        let mut features = Features::default();
        if erofs_formats.default == 1 {
            features.read_only_compatible.push(V1_EROFS.into());
        }
        Self {
            version: VERSION,
            algorithm: algorithm_text(algorithm),
            features,
            erofs_formats,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// If it is not what it should be, or asks for more than we know of.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let metadata: Self = serde_json::from_slice(text).context("is damaged")?;
        if metadata.version > VERSION {
            let version = metadata.version;
            return Err(anyhow!(
                "is of version {version}, which this program does not know"
            ));
        }
        metadata.algorithm()?;
        if metadata
            .erofs_formats
            .all()
            .any(|version| u32::from(version) > NEWEST_FORMAT)
        {
            return Err(anyhow!("asks for a format of images that there is not"));
        }
        if !metadata.features.incompatible.is_empty() {
            let features = metadata.features.incompatible.join(", ");
            return Err(anyhow!(
                "asks for features that this program does not know: {features}"
            ));
        }
        Ok(metadata)
    }

    /// The text of it.
    ///
    /// # Errors
    /// None that can be helped.
    pub fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// How objects are named.
    ///
    /// # Errors
    /// If it is not known.
    pub fn algorithm(&self) -> Result<Algorithm> {
        [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|&algorithm| algorithm_text(algorithm) == self.algorithm)
            .ok_or_else(|| {
                anyhow!(
                    "asks for digests that this program does not know: {}",
                    self.algorithm
                )
            })
    }

    /// The format versions of the images that are made.
    pub fn erofs_formats(&self) -> ErofsFormats {
        // Tools that say nothing of formats have the feature, or else make version 2.
        let has_v1 = self
            .features
            .read_only_compatible
            .iter()
            .any(|feature| feature == V1_EROFS);
        match self.erofs_formats == ErofsFormats::only(FORMAT_UNSAID) && has_v1 {
            true => ErofsFormats::only(1),
            false => self.erofs_formats.clone(),
        }
    }

    /// Refuses to write where a feature that is not known asks for that.
    ///
    /// # Errors
    /// If one does.
    pub fn expect_writable(&self) -> Result<()> {
        let features = &self.features.read_only_compatible;
        let mut unknown = features.iter().filter(|&feature| feature != V1_EROFS);
        match unknown.next() {
            None => Ok(()),
            Some(feature) => Err(anyhow!(
                "can only be read: it has the feature {feature}, which this program does not know"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "{\n  \"version\": 1,\n  \"algorithm\": \"fsverity-sha512-12\",\n  \"features\": {\n    \"compatible\": [],\n    \"read-only-compatible\": [\n      \"v1_erofs\"\n    ],\n    \"incompatible\": []\n  },\n  \"erofs_formats\": {\n    \"default\": 1\n  }\n}\n";

    #[test]
    fn text_is_the_known_one() {
        let metadata = Metadata::new(Algorithm::Sha512, ErofsFormats::only(1));
        assert_eq!(metadata.text().expect("text"), V1);
        assert_eq!(Metadata::parse(V1.as_bytes()).expect("metadata"), metadata);
    }

    #[test]
    fn formats_of_older_tools() {
        let parse = |text: &str| Metadata::parse(text.as_bytes()).expect("metadata");
        let plain = r#"{"version":1,"algorithm":"fsverity-sha256-12"}"#;
        assert_eq!(parse(plain).erofs_formats().default(), 2);
        let flagged = r#"{"version":1,"algorithm":"fsverity-sha256-12","features":{"read-only-compatible":["v1_erofs"]}}"#;
        assert_eq!(parse(flagged).erofs_formats().default(), 1);
        let both = V1.replace("\"default\": 1", "\"default\": 1, \"extra\": [2]");
        let formats = parse(&both).erofs_formats();
        assert_eq!(formats.all().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let refused = |from: &str, to: &str| {
            let text = V1.replace(from, to);
            assert_ne!(text, V1);
            let error = Metadata::parse(text.as_bytes()).expect_err(to);
            format!("{error:#}")
        };
        assert!(refused("\"version\": 1", "\"version\": 2").contains("version 2"));
        assert!(refused("sha512-12", "sha512-16").contains("fsverity-sha512-16"));
        let incompatible = refused("\"incompatible\": []", "\"incompatible\": [\"new\"]");
        assert!(incompatible.contains("new"));
        assert!(refused("\"default\": 1", "\"default\": 3").contains("format"));
        refused("\"default\"", "\"other\"");
    }

    #[test]
    fn a_feature_that_forbids_to_write() {
        let text = V1.replace("\"v1_erofs\"", "\"v1_erofs\", \"packs\"");
        let metadata = Metadata::parse(text.as_bytes()).expect("readable");
        let error = metadata.expect_writable().expect_err("not writable");
        assert!(error.to_string().contains("packs"));
        let metadata = Metadata::parse(V1.as_bytes()).expect("readable");
        metadata.expect_writable().expect("writable");
    }
}
