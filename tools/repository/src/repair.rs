// SPDX-License-Identifier: GPL-2.0-only
//! What can be mended of a repository without fetching anything.

use std::collections::HashSet;

use anyhow::Result;
use composefs_tools::fsverity::Digest;
use composefs_tools::measure;
use composefs_tools::verity::{self, Enabled};

use crate::fsck::{Fault, Place};
use crate::gc;
use crate::links::Category;
use crate::objects::needs;
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

/// Removes what others left behind who did not come to an end, and of what is wrong by `faults`:
/// references that lead to nothing, and objects that nothing needs. Nobody else may be using the
/// repository meanwhile.
///
/// # Errors
/// If it cannot be removed.
pub fn tidy(repository: &Repository, faults: &[Fault]) -> Result<Tidied> {
    let leftovers = gc::leftovers(repository)?;
    let mut references = Vec::new();
    let mut objects = Vec::new();
    for fault in faults {
        match (&fault.place, &fault.object) {
            (Place::Reference(category, name), _) => references.push((*category, name)),
            (Place::Object(path), Some(object)) => objects.push((path, object)),
            _ => {}
        }
    }
    if leftovers.is_empty() && references.is_empty() && objects.is_empty() {
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
    // As long as something cannot be read, it is not known what it needs.
    let needed = match objects.is_empty() {
        true => None,
        false => needed(repository).ok(),
    };
    for (path, object) in objects {
        let is_needed = needed.as_ref().is_none_or(|needed| needed.contains(object));
        if !is_needed && repository.checked_object(object).is_err() {
            gc::remove(repository, path, false)?;
        }
    }
    let leftovers = gc::leftovers(repository)?;
    for path in &leftovers {
        gc::remove(repository, path, false)?;
    }
    Ok(Tidied::Done(leftovers))
}

/// All that has a name, and what that needs, whether or not it is kept.
fn needed(repository: &Repository) -> Result<HashSet<Digest>> {
    let mut found = HashSet::new();
    for category in [Category::Streams, Category::Images] {
        for link in repository.names(category)? {
            found.extend(link.object(repository));
            if let Some(digest) = repository.lookup(category, &link.name)? {
                found.extend(needs(repository, category, &digest)?);
            }
        }
    }
    Ok(found)
}
