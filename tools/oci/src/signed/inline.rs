// SPDX-License-Identifier: GPL-2.0-only
//! Signatures in the annotations of an image's manifest: that of the composefs image in those of the
//! manifest, that of the configuration in those of its descriptor.

use std::collections::BTreeMap;

use anyhow::{anyhow, Context, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use composefs_tools::fsverity::Digest;
use serde_json::Value;

use super::{Place, Role, Seal, Signatures, Subject, SIGNATURE};

/// Those of an image; `None` if it has no signature of its composefs image.
///
/// # Errors
/// If they are not what they should be.
pub fn read(subject: &Subject) -> Result<Option<Signatures>> {
    let merged = Role::Merged(subject.version);
    let manifest = subject.manifest;
    if !manifest
        .annotations
        .contains_key(&(merged.key(subject.algorithm) + SIGNATURE))
    {
        return Ok(None);
    }
    let mut seals = Vec::new();
    for (role, annotations) in [
        (Role::Config, &manifest.config.annotations),
        (merged, &manifest.annotations),
    ] {
        let key = role.key(subject.algorithm);
        seals.extend(seal(role, &key, annotations).with_context(|| format!("annotation {key}"))?);
    }
    Ok(Some(Signatures {
        place: Place::Inline,
        seals,
    }))
}

fn seal(role: Role, key: &str, annotations: &BTreeMap<String, String>) -> Result<Option<Seal>> {
    let Some(signature) = annotations.get(&format!("{key}{SIGNATURE}")) else {
        return Ok(None);
    };
    let digest = annotations.get(key);
    let digest = digest.ok_or_else(|| anyhow!("is missing, but its signature is there"))?;
    Ok(Some(Seal {
        role,
        digest: Digest::parse_hex(digest.as_bytes())?,
        signature: BASE64_STANDARD
            .decode(signature)
            .context("has a signature that is not base64")?,
    }))
}

/// Puts them into a manifest, in place of those there.
///
/// # Errors
/// If it is none.
pub fn write(manifest: &mut Value, seals: &[Seal]) -> Result<()> {
    for seal in seals {
        let annotated = match seal.role {
            // It would be another one then.
            Role::Manifest => continue,
            Role::Config => manifest.get_mut("config"),
            Role::Merged(_) => Some(&mut *manifest),
        };
        let annotated = annotated.and_then(Value::as_object_mut);
        let annotated = annotated.ok_or_else(|| anyhow!("is not a manifest"))?;
        let annotations = annotated
            .entry("annotations")
            .or_insert_with(|| Value::Object(Default::default()));
        if annotations.is_null() {
            *annotations = Value::Object(Default::default());
        }
        let annotations = annotations.as_object_mut();
        let annotations = annotations.ok_or_else(|| anyhow!("has annotations that are none"))?;
        let key = seal.role.key(seal.digest.algorithm());
        let signature = BASE64_STANDARD.encode(&seal.signature);
        annotations.insert(key.clone() + SIGNATURE, signature.into());
        annotations.insert(key, seal.digest.to_string().into());
    }
    Ok(())
}
