// SPDX-License-Identifier: GPL-2.0-only
//! Small files of a layer, which one thread reads and hashes, and another puts into the store.

use std::io::Read;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};

use anyhow::{bail, Result};
use composefs_tools::fsverity::{digest_of, Algorithm, Digest};
use composefs_tools::pipe::Used;
use composefs_tools::read;
use composefs_tools::store::Unnamed;

/// Bytes of the largest. What is larger takes long enough to be written where it is read.
pub const SIZE_MAX: u64 = 128 << 10;
/// How many wait.
const WAITING: usize = 16;

/// The end where they are read.
pub struct Small {
    algorithm: Algorithm,
    objects: SyncSender<(Digest, Vec<u8>)>,
    used: Used,
}

/// The end where they are stored.
pub struct Stored {
    objects: Receiver<(Digest, Vec<u8>)>,
    used: Used,
}

/// Both ends.
pub fn small(algorithm: Algorithm) -> (Small, Stored) {
    let (sender, receiver) = sync_channel(WAITING);
    let used = Used::default();
    let small = Small {
        algorithm,
        objects: sender,
        used: used.clone(),
    };
    let stored = Stored {
        objects: receiver,
        used,
    };
    (small, stored)
}

impl Small {
    /// Hands on the next `size` bytes of a stream; the digest of the object.
    ///
    /// # Errors
    /// If the stream fails or ends before, or the other end gave up, which says why.
    pub fn put(&self, stream: &mut impl Read, size: u64) -> Result<Digest> {
        let mut content = self.used.take();
        content.resize(usize::try_from(size)?, 0);
        read::of_file(stream, &mut content)?;
        let digest = digest_of(self.algorithm, &content);
        if self.objects.send((digest, content)).is_err() {
            bail!("cannot be stored");
        }
        Ok(digest)
    }
}

impl Stored {
    /// Adds all that come to `objects`.
    ///
    /// # Errors
    /// As of [`Unnamed::put`].
    pub fn put_into(self, objects: &mut Unnamed) -> Result<()> {
        for (digest, content) in &self.objects {
            objects.put_hashed(&digest, &content)?;
            self.used.give(content);
        }
        Ok(())
    }
}
