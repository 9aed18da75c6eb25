// SPDX-License-Identifier: GPL-2.0-only
//! Images that are signed, in the form of composefs-rs's sealing specification.
//!
//! What is signed are fs-verity digests, as the kernel has them signed: that of the composefs image,
//! and those of the configuration and of the manifest. The signatures are in an artifact that is
//! about the image's manifest ([`artifact`]); or in the manifest's own annotations ([`inline`]),
//! which can have none of the manifest.

pub mod artifact;
pub mod find;
pub mod inline;
pub mod kept;
pub mod make;

use std::fmt;

use anyhow::{anyhow, bail, Context, Result};
use composefs_sign::{Certificate, Message};
use composefs_tools::fsverity::{digest_of, Algorithm, Digest, BLOCK_SIZE};
use composefs_tools::info::signature::{first_that_holds, Statement};

use crate::digest::BlobDigest;
use crate::manifest::Manifest;

/// What the name of a digest has behind it if it is that of its signature.
const SIGNATURE: &str = ".sig";

/// What of an image is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its manifest.
    Manifest,
    /// Its configuration.
    Config,
    /// The composefs image of this format version that its layers give.
    Merged(u8),
}

impl Role {
    /// What its digest is annotated as.
    pub fn key(self, algorithm: Algorithm) -> String {
        let what = match self {
            Self::Manifest => "composefs.manifest".to_owned(),
            Self::Config => "composefs.config".to_owned(),
            Self::Merged(version) => format!("composefs.merged.erofs.v{version}"),
        };
        let (name, bits) = (algorithm.name(), BLOCK_SIZE.trailing_zeros());
        format!("{what}.fsverity-{name}-{bits}")
    }

    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Merged(_) => "merged",
        }
    }
}

/// An image, as far as it is signed. All of it was read once.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The digest of its manifest.
    pub digest: &'a BlobDigest,
    /// Its manifest.
    pub manifest_text: &'a [u8],
    /// What that says.
    pub manifest: &'a Manifest,
    /// Its configuration.
    pub config_text: &'a [u8],
    /// Which digests it has here.
    pub algorithm: Algorithm,
    /// The format version of its composefs image here.
    pub version: u8,
}

impl Subject<'_> {
    /// What has to be signed of it, in the order in which an artifact has it.
    pub fn roles(&self) -> [Role; 3] {
        [Role::Manifest, Role::Config, Role::Merged(self.version)]
    }

    /// The digest of a text of it; that of the composefs image is not known before that is made.
    fn digest_of(&self, role: Role) -> Option<Digest> {
        let text = match role {
            Role::Manifest => self.manifest_text,
            Role::Config => self.config_text,
            Role::Merged(_) => return None,
        };
        Some(digest_of(self.algorithm, text))
    }
}

/// A digest and its signature.
#[derive(Clone, Debug)]
pub struct Seal {
    /// What it is of.
    pub role: Role,
    /// What is signed.
    pub digest: Digest,
    /// PKCS#7 in DER, as the kernel takes it.
    pub signature: Vec<u8>,
}

/// Where signatures are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the annotations of the image's manifest.
    Inline,
    /// In the artifact of this digest.
    Artifact(BlobDigest),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline => f.write_str("its annotations"),
            Self::Artifact(digest) => write!(f, "artifact {digest}"),
        }
    }
}

/// The signatures of an image that are in one place.
#[derive(Clone, Debug)]
pub struct Signatures {
    /// Where they are.
    pub place: Place,
    seals: Vec<Seal>,
}

/// Whose word holds for an image.
#[derive(Debug)]
pub struct Held {
    /// The digest that its composefs image has to have.
    pub digest: Digest,
    /// What is said of that.
    pub statement: Statement,
    /// Who has signed.
    pub signer: Certificate,
    /// The certificate that is trusted, and vouches for the signer.
    pub anchor: Certificate,
}

impl Held {
    /// That of whoever made this signature of a digest.
    ///
    /// # Errors
    /// If the signature does not hold, or none of `trusted` vouches for who made it.
    pub fn of(digest: Digest, signature: &[u8], trusted: &[Certificate]) -> Result<Self> {
        let message = Message::parse(signature)?;
        let digests = [digest];
        let (_, statement, verified) = first_that_holds(&message, &digests, trusted)?;
        Ok(Self {
            digest,
            statement,
            signer: verified.signer.clone(),
            anchor: verified.anchor.clone(),
        })
    }
}

impl Signatures {
    /// The digest of the composefs image that is signed, and its signature.
    ///
    /// # Errors
    /// If there is none of this kind.
    pub fn merged(&self, subject: &Subject) -> Result<&Seal> {
        self.seal(Role::Merged(subject.version), subject.algorithm)
    }

    /// All of them that are of an image.
    pub fn seals<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Seal> {
        let is_ours = |seal: &&Seal| seal.digest.algorithm() == subject.algorithm;
        self.seals.iter().filter(is_ours)
    }

    fn seal(&self, role: Role, algorithm: Algorithm) -> Result<&Seal> {
        let is_it = |seal: &&Seal| seal.role == role && seal.digest.algorithm() == algorithm;
        let found = self.seals.iter().find(is_it);
        found.ok_or_else(|| anyhow!("has no {}", role.key(algorithm)))
    }

    /// Looks whether all that has to be signed is, by those whom `trusted` vouch for. A manifest
    /// that holds the signatures cannot be signed itself; the configuration, which says what the
    /// layers are, has to be in either place.
    ///
    /// # Errors
    /// If not. What the digest of the composefs image is, is not known here.
    pub fn check(&self, subject: &Subject, trusted: &[Certificate]) -> Result<Held> {
        let check = || {
            let mut held = None;
            for role in subject.roles() {
                if role == Role::Manifest && self.place == Place::Inline {
                    continue;
                }
                let seal = self.seal(role, subject.algorithm)?;
                held = Some(check(seal, subject, trusted).context(role.name())?);
            }
            held.ok_or_else(|| anyhow!("has no signatures"))
        };
        check().with_context(|| self.place.to_string())
    }
}

fn check(seal: &Seal, subject: &Subject, trusted: &[Certificate]) -> Result<Held> {
    if let Some(found) = subject.digest_of(seal.role) {
        if found != seal.digest {
            bail!("is signed with another digest, {}", seal.digest);
        }
    }
    Held::of(seal.digest, &seal.signature, trusted)
}
