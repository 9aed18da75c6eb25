// SPDX-License-Identifier: GPL-2.0-only

//! The store: from what an image says of a file to a backing file that was checked. This is the one
//! place where objects are looked for.

use crate::{
    digest::{self, Mismatch, Named},
    format::{Digest, Verity},
    proof::{Level, ProofState},
    vfs::{
        backing::{BackingFile, BackingSlot},
        context::{errorf, warnf, Log},
        credential,
        error::{is_denial, is_transient, EOPNOTSUPP},
        frozen_file::FrozenFile,
        named::NamedDirectory,
        path::PrivateDirectories,
        stacking::{Registered, StackDepth},
    },
    Composefs,
};
use kernel::{cred::Credential, fmt, prelude::*, sync::aref::ARef};

/// What helps where there is no fs-verity.
const REMEDY: &str = "put the objects on ext4 (after tune2fs -O verity), btrfs or f2fs";

/// Directories of objects, and what objects in them must prove.
pub(crate) struct Store {
    basedirs: PrivateDirectories,
    credential: ARef<Credential>,
    level: Level,
    registered: Registered<Composefs>,
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
    /// The store at `basedirs`, in which objects are read as the current task may; and how high that
    /// stands which reads from it. What objects must prove is `asked`, if that was said.
    ///
    /// Where no object can prove anything, and nobody has said that it must, it need not: a mount
    /// on which each open fails is of no use.
    ///
    /// # Errors
    ///
    /// All described in `log`: those of looking a basedir up; [`EINVAL`] if one is on too many
    /// stacked file systems; [`EOPNOTSUPP`] if objects have to prove something, and none of them
    /// can.
    pub(crate) fn new(
        basedirs: &mut [NamedDirectory],
        asked: Option<Verity>,
        image: &FrozenFile<Composefs>,
        registered: Registered<Composefs>,
        log: &Log<'_>,
    ) -> Result<(Self, StackDepth)> {
        let mut directories = PrivateDirectories::with_capacity(basedirs.len())?;
        let mut depth = StackDepth::default();
        for basedir in basedirs {
            let opened = basedir.open();
            let name = basedir.name();
            let directory = opened
                .and_then(|directory| directories.push(&directory).map(|()| directory))
                .inspect_err(|error| {
                    errorf!(log, "basedir {name}: cannot be used: {error:?}");
                })?;
            let above = directory.stack_depth(registered).inspect_err(|_| {
                errorf!(log, "basedir {name}: is on too many stacked file systems");
            })?;
            depth = depth.max(above);
        }

        let mut this = Self {
            basedirs: directories,
            credential: credential::current_to_read()?,
            level: Level::new(asked.unwrap_or(Verity::On)),
            registered,
        };
        match asked {
            Some(level) => this.check_possible(level, image, log)?,
            None if this.lacks_verity(image) => {
                warnf!(
                    log,
                    "no basedir is on a file system with fs-verity, so verity=off is assumed; \
                     {REMEDY}"
                );
                this.level = Level::new(Verity::Off);
            }
            None => {}
        }
        Ok((this, depth))
    }

    /// Raises what objects must prove, for a remount.
    ///
    /// # Errors
    ///
    /// All described in `log`: [`EINVAL`] if that would lower it; [`EOPNOTSUPP`] if no object can
    /// prove as much.
    pub(crate) fn raise_level(
        &self,
        level: Verity,
        image: &FrozenFile<Composefs>,
        log: &Log<'_>,
    ) -> Result {
        if level > self.level.get() {
            self.check_possible(level, image, log)?;
        }
        self.level.raise(level).inspect_err(|_| {
            errorf!(log, "verity={}: cannot be lowered", level.name());
        })
    }

    fn check_possible(
        &self,
        level: Verity,
        image: &FrozenFile<Composefs>,
        log: &Log<'_>,
    ) -> Result {
        if level == Verity::Off || !self.lacks_verity(image) {
            return Ok(());
        }
        errorf!(
            log,
            "verity={}: no basedir is on a file system with fs-verity; \
             use verity=off, and neither digest= nor signature=, or {REMEDY}",
            level.name(),
        );
        Err(EOPNOTSUPP)
    }

    /// Whether no object of `image` can have fs-verity, wherever it is.
    pub(crate) fn lacks_verity(&self, image: &FrozenFile<Composefs>) -> bool {
        let mut basedirs = self.basedirs.iter().peekable();
        basedirs.peek().is_some()
            && basedirs.all(|basedir| basedir.lacks_verity(image, self.registered))
    }

    /// With which credentials objects are opened and read.
    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What objects must prove.
    pub(crate) fn level(&self) -> &Level {
        &self.level
    }

    /// Opens an object: the first in the order of the basedirs that is what it should be. One that
    /// is not does not hide one that is.
    fn open(&self, wanted: &Wanted<'_>, level: Verity) -> Result<ARef<BackingFile>, Refusal> {
        let mut refusal = Refusal::Missing;
        for basedir in self.basedirs.iter() {
            let found = basedir
                .open_file(wanted.path, &self.credential)
                .map_err(|error| match error {
                    ENOENT | ENOTDIR => Refusal::Missing,
                    error => Refusal::Open(error),
                })
                .and_then(|file| self.check(wanted, &file, level).map(|()| file));

            match found {
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

    /// Checks that `file` is what is wanted, as far as `level` asks for it.
    ///
    /// fs-verity has the file system check each block that is read from a file, so it stays what it
    /// is found to be.
    fn check(&self, wanted: &Wanted<'_>, file: &BackingFile, level: Verity) -> Result<(), Refusal> {
        match (level, wanted.digest) {
            (Verity::Off, _) | (Verity::On, None) => {}
            (Verity::Require, None) => return Err(Refusal::NoDigest),
            (Verity::On | Verity::Require, Some(expected)) => {
                let found = digest::of(file.verity_digest(self.registered));
                digest::check(found, &expected).map_err(Refusal::Digest)?;
            }
        }
        match file.size() {
            size if size == wanted.size => Ok(()),
            size => Err(Refusal::WrongSize(size)),
        }
    }
}

/// The object of an inode: what was found and proven so far.
///
/// A view of two fields of an inode: as a field of its own it would be padded, and inodes grow.
pub(crate) struct Object<'a> {
    pub(crate) backing: &'a BackingSlot,
    pub(crate) proof: &'a ProofState,
}

impl<'a> Object<'a> {
    /// Its file, if it is open already and that is enough for `level`.
    #[inline]
    pub(crate) fn opened(&self, level: Verity) -> Option<&'a BackingFile> {
        self.backing.get().filter(|_| self.proof.satisfies(level))
    }

    /// Finds and checks it: on the first open, and again on the first one after the level was
    /// raised.
    ///
    /// If several tasks are the first, the file of one of them prevails, and the others check that
    /// one too: theirs may have had to prove more. After the level was raised from `off`, an object
    /// that does not prove enough stays refused until the inode is evicted, even if there is a
    /// better one by then.
    pub(crate) fn open(
        &self,
        store: &Store,
        wanted: &Wanted<'_>,
        level: Verity,
    ) -> Result<&'a BackingFile, Refusal> {
        let (file, is_checked) = match self.backing.get() {
            Some(file) => (file, false),
            None => self.backing.publish(store.open(wanted, level)?),
        };
        if !is_checked {
            store.check(wanted, file, level)?;
        }
        if level != Verity::Off && wanted.digest.is_some() {
            self.proof.set_proven();
        } else {
            self.proof.note(wanted.digest.is_some());
        }
        Ok(file)
    }
}

/// Why an object is not to be had.
pub(crate) enum Refusal {
    /// No basedir has it.
    Missing,
    /// It must have a digest, but the image gives none.
    NoDigest,
    /// It cannot be opened.
    Open(Error),
    /// It does not have its digest.
    Digest(Mismatch),
    /// It has another size, in bytes.
    WrongSize(u64),
}

impl Refusal {
    /// The error of `open(2)`.
    pub(crate) fn errno(&self) -> Error {
        match self {
            Self::Open(error) if is_transient(*error) || is_denial(*error) => *error,
            _ => EIO,
        }
    }

    /// Whether something is wrong with the store, which is worth a message.
    pub(crate) fn is_fault(&self) -> bool {
        !matches!(self, Self::Open(error) if is_transient(*error))
    }
}

/// A refusal in words, with what was wanted.
pub(crate) struct Complaint<'a>(pub(crate) &'a Wanted<'a>, pub(crate) &'a Refusal);

impl fmt::Display for Complaint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(wanted, refusal) = self;

        f.write_fmt(fmt!("object {} ", wanted.path))?;
        match refusal {
            Refusal::Missing => return f.write_str("is in no basedir"),
            Refusal::NoDigest => {
                return f.write_str("has no digest in the image, which verity=require wants")
            }
            Refusal::Open(error) => return f.write_fmt(fmt!("cannot be opened: {error:?}")),
            Refusal::WrongSize(found) => {
                return f.write_fmt(fmt!(
                    "has the wrong size: {found} bytes, expected {}",
                    wanted.size
                ))
            }
            Refusal::Digest(mismatch) => fmt::Display::fmt(mismatch, f)?,
        }
        match &wanted.digest {
            Some(expected) => f.write_fmt(fmt!(", expected {}", Named(expected))),
            None => Ok(()),
        }
    }
}
