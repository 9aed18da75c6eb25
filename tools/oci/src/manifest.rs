// SPDX-License-Identifier: GPL-2.0-only
//! Manifests, indexes and configurations of images, as far as they concern us: those of OCI, and
//! those of Docker ("v2, schema 2"), which differ in the names of their types.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, Context, Result};
use composefs_tools::quote;
use serde::Deserialize;

use crate::compression::Compression;
use crate::digest::BlobDigest;

/// Largest manifest, index or configuration: what registries take.
pub const SIZE_MAX: u64 = 4 << 20;
/// Most layers of an image.
const LAYERS_MAX: usize = 1000;

/// The type of an image's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The type of a list of manifests, one for each platform.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a layer's type may begin with.
const LAYERS: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

/// Where a blob is, and what it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Its type.
    pub media_type: String,
    /// Its digest.
    pub digest: BlobDigest,
    /// Its size in bytes.
    pub size: u64,
    /// What it is, if it is the manifest of an artifact.
    pub artifact_type: Option<String>,
    /// For whom it is.
    pub platform: Option<Platform>,
    /// What else is said of it.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A kind of machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Platform {
    /// Its processor, in the words of Go.
    pub architecture: String,
    /// Its operating system.
    pub os: String,
    /// Which of several processors.
    pub variant: Option<String>,
}

/// A manifest or an index, whichever it turns out to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Named {
    /// An image.
    Manifest(Box<Manifest>),
    /// Images, one for each platform.
    Index(Vec<Descriptor>),
}

/// The manifest of an image, or of what is none.
#[derive(Clone, Debug)]
pub struct Manifest {
    artifact_type: Option<String>,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The digest of the manifest that it is about, if it is about one.
    pub subject: Option<BlobDigest>,
    /// What else is said of it.
    pub annotations: BTreeMap<String, String>,
}

/// The configuration of an image.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The processor that its programs are for.
    pub architecture: Option<String>,
    /// The operating system.
    pub os: Option<String>,
    /// When it was made.
    pub created: Option<String>,
    rootfs: RootFs,
}

#[derive(Clone, Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<BlobDigest>,
}

/// Reads a manifest or an index.
///
/// # Errors
/// If it is neither.
pub fn parse(text: &[u8]) -> Result<Named> {
    let either: Either = serde_json::from_slice(text).context("is not a manifest")?;
    let known = [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_INDEX];
    if let Some(kind) = either.media_type.filter(|kind| !known.contains(&&**kind)) {
        bail!("is not a manifest, but {}", quote::bytes(kind.as_bytes()));
    }
    match (either.config, either.layers, either.manifests) {
        (None, None, Some(manifests)) => Ok(Named::Index(manifests)),
        (Some(config), Some(layers), None) => {
            if layers.len() > LAYERS_MAX {
                bail!("has {} layers, more than {LAYERS_MAX}", layers.len());
            }
            Ok(Named::Manifest(Box::new(Manifest {
                artifact_type: either.artifact_type,
                config,
                layers,
                subject: either.subject.map(|subject| subject.digest),
                annotations: either.annotations.unwrap_or_default(),
            })))
        }
        _ => Err(anyhow!("is neither a manifest nor an index")),
    }
}

impl Manifest {
    /// Whether it is that of an image of a file system. What is none is an artifact: blobs that
    /// have a manifest.
    pub fn is_image(&self) -> bool {
        let kind = &*self.config.media_type;
        kind == OCI_CONFIG || kind == DOCKER_CONFIG
    }

    /// The type that it is sent as.
    pub fn media_type(&self) -> &'static str {
        match &*self.config.media_type {
            DOCKER_CONFIG => DOCKER_MANIFEST,
            _ => OCI_MANIFEST,
        }
    }

    /// Refuses an image that has layers of a kind that is not known.
    ///
    /// # Errors
    /// If there is one.
    pub fn expect_known_layers(&self) -> Result<()> {
        let layers = self.layers.iter().filter(|_| self.is_image());
        layers
            .map(Descriptor::compression)
            .try_for_each(|kind| kind.map(drop))
    }

    /// What an artifact is, in its own words.
    pub fn artifact_type(&self) -> Option<&str> {
        let kind = self.artifact_type.as_ref();
        (!self.is_image()).then(|| &**kind.unwrap_or(&self.config.media_type))
    }
}

impl Descriptor {
    /// How a layer is compressed.
    ///
    /// # Errors
    /// If it is none that we know.
    pub fn compression(&self) -> Result<Compression> {
        let rest = LAYERS
            .iter()
            .find_map(|kind| self.media_type.strip_prefix(kind));
        match rest {
            Some("") => Ok(Compression::None),
            Some("+gzip" | ".gzip") => Ok(Compression::Gzip),
            Some("+zstd" | ".zstd") => Ok(Compression::Zstd),
            _ => Err(anyhow!(
                "layer {} is {}, which is not known",
                self.digest,
                quote::bytes(self.media_type.as_bytes())
            )),
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).context("is not the configuration of an image")
    }

    /// The digests of the layers as they are when decompressed, the lowest first.
    pub fn diff_ids(&self) -> &[BlobDigest] {
        &self.rootfs.diff_ids
    }
}

impl Platform {
    /// That of this machine.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self {
            architecture: architecture.into(),
            os: std::env::consts::OS.into(),
            variant: None,
        }
    }

    fn fits(&self, wanted: &Self) -> bool {
        let has_variant = wanted.variant.is_none() || wanted.variant == self.variant;
        self.architecture == wanted.architecture && self.os == wanted.os && has_variant
    }
}

/// The image in an index that is for a platform.
///
/// # Errors
/// If there is none.
pub fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    let fits = |manifest: &&Descriptor| match &manifest.platform {
        Some(platform) => platform.fits(wanted),
        // One that says nothing is for whoever takes it.
        None => manifests.len() == 1,
    };
    manifests.iter().find(fits).ok_or_else(|| {
        let platforms = manifests
            .iter()
            .filter_map(|manifest| manifest.platform.as_ref());
        let platforms =
            platforms.map(|platform| format!("{}/{}", platform.os, platform.architecture));
        let all = platforms.collect::<Vec<_>>().join(", ");
        let all = quote::bytes(all.as_bytes()).to_string();
        anyhow!(
            "has no image for {}/{}, only for {all}",
            wanted.os,
            wanted.architecture
        )
    })
}
