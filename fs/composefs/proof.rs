// SPDX-License-Identifier: GPL-2.0-only

//! What objects must prove, and what they have proven.

use crate::format::Verity;
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// The level in force on a mount. It can only rise.
pub(crate) struct Level(Atomic<i32>);

impl Level {
    pub(crate) fn new(level: Verity) -> Self {
        Self(Atomic::new(level as i32))
    }

    pub(crate) fn get(&self) -> Verity {
        // The level guards no other memory.
        match self.0.load(Relaxed) {
            level if level == Verity::Off as i32 => Verity::Off,
            level if level == Verity::On as i32 => Verity::On,
            _ => Verity::Require,
        }
    }

    /// Raises the level; the superblock's `s_umount` keeps others from doing so at the same time.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if that would lower it.
    pub(crate) fn raise(&self, level: Verity) -> Result {
        if level < self.get() {
            return Err(EINVAL);
        }
        self.0.store(level as i32, Relaxed);
        Ok(())
    }
}

/// What is known of the object of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing yet.
    Unknown,
    /// The image gives no digest for it.
    NoDigest,
    /// The image gives a digest for it.
    Digest,
    /// The backing file of the inode has the digest that the image gives.
    Proven,
}

impl Proof {
    /// Whether it is enough for `level`.
    fn satisfies(self, level: Verity) -> bool {
        match level {
            Verity::Off => true,
            Verity::On => matches!(self, Self::NoDigest | Self::Proven),
            Verity::Require => self == Self::Proven,
        }
    }
}

/// The [`Proof`] of an inode, which can only get better.
pub(crate) struct ProofState(Atomic<i32>);

impl ProofState {
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(Proof::Unknown as i32))
    }

    pub(crate) fn get(&self) -> Proof {
        // It is about a backing file that is published on its own, and never replaced, so it need
        // not be ordered with anything.
        match self.0.load(Relaxed) {
            proof if proof == Proof::Unknown as i32 => Proof::Unknown,
            proof if proof == Proof::NoDigest as i32 => Proof::NoDigest,
            proof if proof == Proof::Digest as i32 => Proof::Digest,
            _ => Proof::Proven,
        }
    }

    pub(crate) fn satisfies(&self, level: Verity) -> bool {
        self.get().satisfies(level)
    }

    /// Notes what the image says, unless more is known.
    pub(crate) fn note(&self, has_digest: bool) {
        let proof = if has_digest {
            Proof::Digest
        } else {
            Proof::NoDigest
        };
        // Where another task was first, it knows as much.
        let _ = self.0.cmpxchg(Proof::Unknown as i32, proof as i32, Relaxed);
    }

    /// Notes that the backing file was checked.
    pub(crate) fn set_proven(&self) {
        self.0.store(Proof::Proven as i32, Relaxed);
    }
}
