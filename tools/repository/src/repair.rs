// SPDX-License-Identifier: GPL-2.0-only
//! What can be mended of a repository without fetching anything.

use anyhow::Result;
use composefs_tools::fsverity::Digest;
use composefs_tools::measure;
use composefs_tools::verity::{self, Enabled};

use crate::fsck::{Fault, Place};
use crate::gc;
use crate::repository::Repository;

/// Whether an object is what its name says. One that only lacks the protection of fs-verity gets
/// it.
///
/// # Errors
/// If the disk is full or broken.
pub fn protect(repository: &Repository, digest: &Digest) -> Result<bool> {
    let Ok(file) = repository.open_object(digest) else {
        return Ok(false);
    };
    let Ok(found) = measure::file(&file, repository.algorithm()) else {
        return Ok(false);
    };
    if found.digest != *digest {
        return Ok(false);
    }
    if found.has_verity || !repository.is_secure() {
        return Ok(true);
    }
    if verity::enable(&file, repository.algorithm())? != Enabled::Yes {
        return Ok(false);
    }
    // It may have been written to in between.
    Ok(verity::measure(&file, repository.algorithm())? == Some(*digest))
}

/// What was removed, and what was not.
#[derive(Debug)]
pub enum Tidied {
    /// The paths of what had been left behind.
    Done(Vec<String>),
    /// Others use the repository, so what they may be about to use was left alone.
    Others,
}

/// Removes what others left behind who did not come to an end, and references that lead to nothing:
/// those among `faults`. Nobody else may be using the repository meanwhile.
///
/// # Errors
/// If it cannot be removed.
pub fn tidy(repository: &Repository, faults: &[Fault]) -> Result<Tidied> {
    let leftovers = gc::leftovers(repository)?;
    let references: Vec<_> = faults
        .iter()
        .filter_map(|fault| match &fault.place {
            Place::Reference(category, name) => Some((*category, name)),
            _ => None,
        })
        .collect();
    if leftovers.is_empty() && references.is_empty() {
        return Ok(Tidied::Done(leftovers));
    }
    if !repository.try_lock_out_others()? {
        return Ok(Tidied::Others);
    }
    for (category, name) in references {
        // It may lead to something by now. What cannot even be read stays.
        if let Ok(Some(target)) = repository.get_ref(category, name) {
            if !matches!(repository.lookup(category, &target), Ok(Some(_))) {
                repository.remove_ref(category, name)?;
            }
        }
    }
    let leftovers = gc::leftovers(repository)?;
    for path in &leftovers {
        gc::remove(repository, path, false)?;
    }
    Ok(Tidied::Done(leftovers))
}
