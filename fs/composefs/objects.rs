// SPDX-License-Identifier: GPL-2.0-only

//! The store: from what an image says of a file to a backing file that was
//! checked. This is the one place where objects are looked for.

use crate::{
    format::Digest,
    trust::{Named, UnknownAlgorithm, Verity},
    vfs::{backing::BackingFile, credential::Credential, path::PrivateDirectory},
};
use kernel::{fmt, prelude::*, sync::aref::ARef};

/// Directories of objects, and what objects in them must prove.
pub(crate) struct Store {
    basedirs: KVec<PrivateDirectory>,
    credential: Credential,
    verity: Verity,
}

/// What an image says of the object of a file.
pub(crate) struct Wanted<'a> {
    /// Its path below a basedir.
    pub(crate) path: &'a CStr,
    /// Its fs-verity digest.
    pub(crate) digest: Option<Digest>,
    /// Its size in bytes.
    pub(crate) size: u64,
}

impl Store {
    /// A store that is accessed with the credentials of the current task.
    pub(crate) fn new(basedirs: KVec<PrivateDirectory>, verity: Verity) -> Self {
        Self {
            basedirs,
            credential: Credential::current(),
            verity,
        }
    }

    /// With which credentials objects are opened and read.
    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Opens an object: the first in the order of the basedirs that is what
    /// it should be. One that is not does not hide one that is.
    pub(crate) fn open(&self, wanted: &Wanted<'_>) -> Result<ARef<BackingFile>, Refusal> {
        if self.verity == Verity::Require && wanted.digest.is_none() {
            return Err(Refusal::NoDigest);
        }
        let mut refusal = Refusal::Missing;
        for basedir in &self.basedirs {
            match self.open_in(basedir, wanted) {
                Ok(file) => return Ok(file),
                // Whatever else was found is more telling.
                Err(Refusal::Missing) => {}
                Err(Refusal::Open(error)) if is_transient(error) => {
                    return Err(Refusal::Open(error));
                }
                Err(found) => refusal = found,
            }
        }
        Err(refusal)
    }

    fn open_in(
        &self,
        basedir: &PrivateDirectory,
        wanted: &Wanted<'_>,
    ) -> Result<ARef<BackingFile>, Refusal> {
        let file = basedir
            .open_file(wanted.path, &self.credential)
            .map_err(|error| match error {
                ENOENT | ENOTDIR => Refusal::Missing,
                error => Refusal::Open(error),
            })?;

        // fs-verity has the file system check each block that is read from
        // here on, so the object stays what it is found to be now.
        if let (Verity::On | Verity::Require, Some(expected)) = (self.verity, wanted.digest) {
            match file.verity_digest().map(|found| Digest::try_from(&found)) {
                Some(Ok(found)) if found == expected => {}
                Some(Ok(found)) => return Err(Refusal::WrongDigest { found, expected }),
                Some(Err(UnknownAlgorithm(found))) => {
                    return Err(Refusal::WrongAlgorithm { found, expected });
                }
                None => return Err(Refusal::NoVerity { expected }),
            }
        }
        let found = file.size();
        if found != wanted.size {
            return Err(Refusal::WrongSize {
                found,
                expected: wanted.size,
            });
        }
        Ok(file)
    }
}

/// Whether an error says nothing of the object: the next try may succeed.
fn is_transient(error: Error) -> bool {
    matches!(error, ENOMEM | EINTR | ERESTARTSYS | EMFILE | ENFILE)
}

/// Why an object is not to be had.
pub(crate) enum Refusal {
    /// No basedir has it.
    Missing,
    /// It must have a digest, but the image gives none.
    NoDigest,
    /// It cannot be opened.
    Open(Error),
    /// It has no fs-verity.
    NoVerity { expected: Digest },
    /// It has another digest.
    WrongDigest { found: Digest, expected: Digest },
    /// It has a digest by an algorithm that the format does not know.
    WrongAlgorithm { found: u8, expected: Digest },
    /// It has another size.
    WrongSize { found: u64, expected: u64 },
}

impl Refusal {
    /// The error of `open(2)`.
    pub(crate) fn errno(&self) -> Error {
        match self {
            Self::Open(error) if is_transient(*error) => *error,
            _ => EIO,
        }
    }

    /// Whether it is worth a message: something is wrong with the store.
    pub(crate) fn is_fault(&self) -> bool {
        !matches!(self, Self::Open(error) if is_transient(*error))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is in no basedir"),
            Self::NoDigest => f.write_str("has no digest in the image, which verity=require wants"),
            Self::Open(error) => f.write_fmt(fmt!("cannot be opened: {error:?}")),
            Self::NoVerity { expected } => f.write_fmt(fmt!(
                "has no fs-verity, so no digest, expected {}",
                Named(expected)
            )),
            Self::WrongDigest { found, expected } => f.write_fmt(fmt!(
                "has the wrong digest: {}, expected {}",
                Named(found),
                Named(expected)
            )),
            Self::WrongAlgorithm { found, expected } => f.write_fmt(fmt!(
                "has a digest by unknown algorithm {found}, expected {}",
                Named(expected)
            )),
            Self::WrongSize { found, expected } => {
                f.write_fmt(fmt!(
                    "has the wrong size: {found} bytes, expected {expected}"
                ))
            }
        }
    }
}
