// SPDX-License-Identifier: GPL-2.0-only
//! The signatures of an image that is being fetched: before anything is fetched but its manifest and
//! its configuration.

use anyhow::{anyhow, bail, Context, Error, Result};
use composefs_sign::Certificate;

use super::artifact::{Artifact, METADATA};
use super::{inline, Held, Subject};
use crate::manifest::Descriptor;
use crate::source::{self, Source};

/// Most artifacts of one image that are looked at.
const ARTIFACTS_MAX: usize = 50;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// Whose word holds.
    pub held: Held,
    /// The artifact that has it; `None` if the manifest has.
    pub artifact: Option<Artifact>,
}

/// Finds signatures of an image that hold for `trusted`, in its annotations or where it comes from.
///
/// # Errors
/// If there are none. All that was found is named.
pub fn find(source: &dyn Source, subject: &Subject, trusted: &[Certificate]) -> Result<Found> {
    let mut errors = Vec::new();
    match inline::read(subject).and_then(|found| {
        let held = found.map(|signatures| signatures.check(subject, trusted));
        held.transpose()
    }) {
        Ok(Some(held)) => {
            return Ok(Found {
                held,
                artifact: None,
            })
        }
        Ok(None) => {}
        Err(error) => errors.push(error),
    }
    let mut referrers = source
        .referrers(subject.digest, METADATA)
        .context("cannot find out who has signed it")?;
    // Who says otherwise is not asked; who says nothing is.
    referrers.retain(|found| {
        found
            .artifact_type
            .as_ref()
            .is_none_or(|kind| kind == METADATA)
    });
    let count = referrers.len();
    referrers.truncate(ARTIFACTS_MAX);
    for descriptor in &referrers {
        match look(source, descriptor, subject, trusted) {
            Ok(found) => return Ok(found),
            Err(error) => errors.push(error),
        }
    }
    if count > ARTIFACTS_MAX {
        let error = "which are all that are looked at";
        errors.push(anyhow!(
            "none of the first {ARTIFACTS_MAX} of {count} artifacts, {error}"
        ));
    }
    match errors.is_empty() {
        true => bail!("it is not signed"),
        false => bail!(
            "it is not signed by anybody who is trusted: {}",
            join(&errors)
        ),
    }
}

fn look(
    source: &dyn Source,
    descriptor: &Descriptor,
    subject: &Subject,
    trusted: &[Certificate],
) -> Result<Found> {
    let read = || {
        let text = source::manifest_text(source, descriptor)?;
        let blob = |descriptor: &Descriptor| source::blob_text(source, descriptor);
        Artifact::read(text, subject.digest, blob)
    };
    let artifact = read().with_context(|| format!("artifact {}", descriptor.digest))?;
    let held = artifact.signatures(subject)?.check(subject, trusted)?;
    Ok(Found {
        held,
        artifact: Some(artifact),
    })
}

/// A line of a few errors.
fn join(errors: &[Error]) -> String {
    let shown = errors.iter().take(3).map(|error| format!("{error:#}"));
    let shown = shown.collect::<Vec<_>>().join("; ");
    match errors.len() {
        0..=3 => shown,
        count => format!("{shown}; and {} others", count - 3),
    }
}
