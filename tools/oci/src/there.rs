// SPDX-License-Identifier: GPL-2.0-only
//! The layers that are there, of those that are being fetched.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Error, Result};
use composefs_tools::fsverity::Digest;
use composefs_tools::lock::lock;

use crate::digest::BlobDigest;

/// What is known.
struct Known {
    streams: HashMap<BlobDigest, Digest>,
    /// Why one of them will not come.
    failure: Option<Error>,
}

/// The layers, and who waits for them.
pub(crate) struct There {
    known: Mutex<Known>,
    changed: Condvar,
}

impl There {
    /// These are there.
    pub fn new(streams: HashMap<BlobDigest, Digest>) -> Self {
        Self {
            known: Mutex::new(Known {
                streams,
                failure: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Another one is.
    pub fn add(&self, id: BlobDigest, stream: Digest) {
        lock(&self.known).streams.insert(id, stream);
        self.changed.notify_all();
    }

    /// One will not come; of several causes, the first counts.
    pub fn fail(&self, error: Error) {
        lock(&self.known).failure.get_or_insert(error);
        self.changed.notify_all();
    }

    /// The stream of a layer, as soon as it is there; `None` if one of the layers will not come.
    pub fn wait(&self, id: &BlobDigest) -> Option<Digest> {
        let mut known = lock(&self.known);
        loop {
            if let Some(stream) = known.streams.get(id) {
                return Some(*stream);
            }
            if known.failure.is_some() {
                return None;
            }
            let waited = self.changed.wait(known);
            known = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The streams of all of them, when all who fetch have come to an end.
    ///
    /// # Errors
    /// If one of the layers did not come.
    pub fn end(self) -> Result<HashMap<BlobDigest, Digest>> {
        let known = self.known.into_inner();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        match known.failure {
            Some(error) => Err(error),
            None => Ok(known.streams),
        }
    }
}
