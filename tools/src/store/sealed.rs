// SPDX-License-Identifier: GPL-2.0-only
//! Objects without a name: from a file that is written to one that nobody can write to.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{anyhow, Result};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::{Store, Target};
use crate::fsverity::Digest;
use crate::staged::{rename_new, Published, Staged};

/// How many files are sealed at a time: each waits for the disk, hardly for a processor.
const SEALERS: usize = 8;

/// An object without a name.
#[derive(Debug)]
pub struct Object<P> {
    pub digest: Digest,
    pub size: u64,
    pub place: P,
}

/// An open file, and that it is counted: several threads may have such objects.
#[derive(Debug)]
pub struct Open<'a> {
    staged: Staged,
    count: Count<'a>,
}

#[derive(Debug)]
struct Count<'a>(&'a AtomicUsize);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Open<'a> {
    /// A file that is written.
    pub fn new(store: &'a Store, staged: Staged) -> Self {
        store.unnamed.fetch_add(1, Ordering::Relaxed);
        let count = Count(&store.unnamed);
        Self { staged, count }
    }
}

/// A file under a temporary name, which is gone with this unless it got another.
#[derive(Debug)]
pub struct Parked<'a> {
    dir: BorrowedFd<'a>,
    name: String,
    is_named: bool,
}

impl<'a> Parked<'a> {
    /// Closes a file.
    fn new(store: &'a Store, staged: Staged) -> Result<Self, Errno> {
        let dir = store.dir.as_fd();
        Ok(Self {
            dir,
            name: staged.park(dir)?,
            is_named: false,
        })
    }

    /// Gives it another name.
    fn publish(mut self, to: &Target, replace: bool) -> Result<Published, Errno> {
        let Target { dir, name } = to;
        let renamed = match replace {
            true => rustix::fs::renameat(self.dir, &self.name, dir, name),
            false => rename_new(self.dir, &self.name, dir.as_fd(), name),
        };
        match renamed {
            Ok(()) => {
                self.is_named = true;
                Ok(Published::Created)
            }
            Err(Errno::EXIST) => Ok(Published::Exists),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        if !self.is_named {
            // Nothing is left to do if even this fails.
            let _ = rustix::fs::unlinkat(self.dir, &self.name, AtFlags::empty());
        }
    }
}

/// Where an object is that is sealed.
#[derive(Debug)]
pub enum Place<'a> {
    Open(Open<'a>),
    /// There is an end to how many files can be open.
    Parked(Parked<'a>),
}

impl Place<'_> {
    /// Gives the object a name, in place of whatever has it or unless something has.
    pub fn publish(self, store: &Store, to: &Target, replace: bool) -> Result<Published, Errno> {
        match self {
            Place::Open(open) => publish(store, open.staged, to, replace),
            Place::Parked(parked) => parked.publish(to, replace),
        }
    }
}

/// Gives an open file a name.
pub fn publish(
    store: &Store,
    staged: Staged,
    to: &Target,
    replace: bool,
) -> Result<Published, Errno> {
    match replace {
        true => Parked::new(store, staged)?.publish(to, true),
        false => staged.publish(to.dir.as_fd(), &to.name),
    }
}

/// Seals all of them. If the filesystem may have fs-verity, then several at a time, as each is
/// written to the disk.
pub fn seal<'a>(
    store: &'a Store,
    mut objects: Vec<Object<Open<'a>>>,
) -> Result<Vec<Object<Place<'a>>>> {
    if store.lacks_verity() {
        return seal_in_order(store, objects);
    }
    let share = objects.len().div_ceil(SEALERS);
    thread::scope(|scope| {
        let mut sealers = Vec::with_capacity(SEALERS);
        while !objects.is_empty() {
            let part = objects.split_off(objects.len().saturating_sub(share));
            sealers.push(scope.spawn(|| seal_in_order(store, part)));
        }
        let mut sealed = Vec::new();
        for sealer in sealers {
            let part = sealer.join().map_err(|_| anyhow!("cannot be sealed"))?;
            sealed.append(&mut part?);
        }
        Ok(sealed)
    })
}

fn seal_in_order<'a>(
    store: &'a Store,
    objects: Vec<Object<Open<'a>>>,
) -> Result<Vec<Object<Place<'a>>>> {
    let seal = |object: Object<Open<'a>>| {
        let place = seal_one(store, object.place, &object.digest);
        Ok(Object {
            digest: object.digest,
            size: object.size,
            place: place.map_err(|error| store.name_object(&object.digest, error))?,
        })
    };
    objects.into_iter().map(seal).collect()
}

fn seal_one<'a>(store: &'a Store, mut open: Open<'a>, digest: &Digest) -> Result<Place<'a>> {
    store.seal(&mut open.staged, digest, true)?;
    if store.unnamed.load(Ordering::Relaxed) <= store.batch {
        return Ok(Place::Open(open));
    }
    let Open { staged, count } = open;
    let parked = Parked::new(store, staged)?;
    drop(count);
    Ok(Place::Parked(parked))
}
