// SPDX-License-Identifier: GPL-2.0-only
//! How far a pull is.

use std::sync::Mutex;

use composefs_oci::digest::BlobDigest;
use composefs_oci::pull::{Advance, Watch};
use composefs_tools::lock::lock;
use composefs_tools::progress::{Lines, Progress};

/// What is shown of the digest of a layer.
const SHORT: usize = 12;

/// Shows it: a line for each layer that is being fetched, and one for all.
#[derive(Default)]
pub struct Pulling {
    lines: Lines,
    sum: Mutex<Option<Progress>>,
}

impl Pulling {
    fn show(&self, progress: impl FnOnce() -> Progress) {
        let mut shown = lock(&self.sum);
        // The one before goes first: there is one such line.
        *shown = None;
        *shown = Some(progress());
    }
}

impl Watch for Pulling {
    fn begin(&self, bytes: u64, layers: usize, known: usize) {
        let what = match known {
            0 => format!("{layers} layers"),
            known => format!("{layers} layers, {known} are here"),
        };
        self.show(|| self.lines.sum(what, bytes));
    }

    fn layer(&self, digest: &BlobDigest, bytes: u64) -> Advance<'_> {
        let short = digest.hex().get(..SHORT).unwrap_or_default();
        let line = self.lines.part(short.to_owned(), bytes);
        Box::new(move |bytes| {
            line.advance(bytes);
            if let Some(sum) = &*lock(&self.sum) {
                sum.advance(bytes);
            }
        })
    }

    fn compose(&self) {
        self.show(|| self.lines.of_time("making the image"));
    }
}
